/* fuzz_auth.c - any bytes as a credential file of Google, as a file of AWS's tools, as an answer
 * with a token, as a time, as a URL: something checked, or an error that can be shown. */
#include "base/mem.h"
#include "net/auth_google.h"
#include "net/auth_profile.h"
#include "net/auth_token.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_google(const char *text, size_t size)
{
    struct err e = {0};
    struct google_credentials *c = google_credentials_parse("key.json", text, size, &e);
    assert((c == NULL) == (e.kind == ERR_LOGIN));
    if (c) {
        char *words = google_credentials_describe(c);
        assert(strstr(words, "key.json"));
        free(words);
    }
    google_credentials_free(c);
}

static void check_profile(const char *text, size_t size)
{
    struct err e = {0};
    json_t *settings;
    char *copy = xstrndup(text, size);
    int result = profile_parse("config", copy, size, "default", &settings, &e);
    assert((result != 0) == (e.kind == ERR_LOGIN));
    assert(!result || !settings);
    json_decref(settings);
    free(copy);
}

static void check_answer(const char *text, size_t size)
{
    struct err e = {0}, garbled = {0};
    struct auth_token t = {0};
    json_t *o = json_read_text("answer", text, size, &garbled);
    if (o && !auth_token_read(&t, o, "it", &e))
        assert(auth_is_clean(t.text) && t.expires > 0);
    else
        assert(!o || e.kind == ERR_LOGIN);
    auth_token_release(&t);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    check_google(text, size);
    check_profile(text, size);
    check_answer(text, size);
    struct err e = {0};
    char *word = xstrndup(text, size);
    assert(auth_time(word) >= -1);
    if (auth_check_url(word, "url", NULL, &e))
        assert(e.kind == ERR_LOGIN);
    else
        assert(strncmp(word, "//", 2) != 0);
    free(word);
    return 0;
}
