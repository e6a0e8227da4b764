/* auth_hub.c - see auth.h: the token of the Hugging Face Hub. */
#include "net/auth.h"

#include "base/file.h"
#include "base/mem.h"
#include "net/auth_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_FILE_MAX = 16 << 10 };

/* Where `hf auth login` leaves the token; NULL when that cannot be said.  The caller frees. */
static char *token_path(void)
{
    const char *path = auth_variable("HF_TOKEN_PATH");
    if (path)
        return xstrdup(path);
    const char *home = auth_variable("HF_HOME");
    if (home)
        return path_join(home, "token");
    const char *cache = auth_variable("XDG_CACHE_HOME");
    return cache ? path_join(cache, "huggingface/token") : auth_home(".cache/huggingface/token");
}

static int put(const char *text, const char *place, char out[AUTH_HEADER_MAX], struct err *e)
{
    char *token = xstrdup(text + strspn(text, " \t\r\n"));
    size_t size = strlen(token);
    while (size > 0 && strchr(" \t\r\n", token[size - 1]))
        token[--size] = 0;
    int result = 0;
    if (size > 0 && !auth_is_clean(token))
        result = err_set(e, ERR_LOGIN, "%s: holds no token of the Hub", place);
    else if (size > 0)
        snprintf(out, AUTH_HEADER_MAX, "Authorization: Bearer %s", token);
    free(token);
    return result;
}

/* Read anew each time: who logs in while a run waits is heard. */
int auth_hub(struct net *n, char out[AUTH_HEADER_MAX], struct err *e)
{
    (void)n;
    *out = 0;
    const char *token = auth_variable("HF_TOKEN");
    if (token)
        return put(token, "HF_TOKEN", out, e);
    char *path = token_path(), *text = NULL;
    int result = 0;
    if (path && file_exists(path)) {
        text = file_read(path, TOKEN_FILE_MAX, NULL, e);
        result = text ? put(text, path, out, e) : -1;
        if (result)
            e->kind = ERR_LOGIN;
    }
    free(text);
    free(path);
    return result;
}
