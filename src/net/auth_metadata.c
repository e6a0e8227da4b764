/* auth_metadata.c - see auth_metadata.h. */
#include "net/auth_metadata.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Where there is none, a packet to its address may simply vanish. */
static const double patience_s[] = {1, 2};

static char *server_url(const char *name)
{
    const char *host = getenv("GCE_METADATA_HOST");
    if (!host || !*host)
        host = "169.254.169.254";
    return xasprintf("http://%s/computeMetadata/v1/%s", host, name);
}

/* Do the machine's own tables say that Google made it?  Then its server is only slow. */
static bool is_google_machine(void)
{
    struct err ignored = {0};
    char *name = file_read("/sys/class/dmi/id/product_name", 4096, NULL, &ignored);
    bool is_google = name && !strncmp(name, "Google", 6);
    free(name);
    return is_google;
}

static bool is_answer_of_google(const struct http_response *r)
{
    char flavor[16];
    return http_header(r, "metadata-flavor", flavor, sizeof flavor) && !strcmp(flavor, "Google");
}

/* One question: the answer's status, 0 for none (or none of a metadata server). */
static int ask(struct net *n, const char *name, double seconds, struct http_response *r,
               struct err *e)
{
    static const char *const headers[] = {"Metadata-Flavor: Google", NULL};
    char *url = server_url(name);
    struct http_request q = {.url = url,
                             .headers = headers,
                             .total_s = seconds,
                             .body_max = AUTH_ANSWER_MAX,
                             .group = net_group(n)};
    net_enter(n);
    net_count_request(n);
    int result = http_run(net_http(n), &q, r, e);
    net_leave(n, false);
    free(url);
    return !result && is_answer_of_google(r) ? r->status : 0;
}

int metadata_token(struct net *n, struct auth_token *t, struct err *e)
{
    const char *off = getenv("NO_GCE_CHECK");
    if (off && !strcmp(off, "true"))
        return 1;
    bool is_sure = is_google_machine();
    int tries = is_sure ? 5 : (int)(sizeof patience_s / sizeof *patience_s);
    for (int k = 0; k < tries; k++) {
        struct err failure = {0};
        struct http_response r = {0};
        int status = ask(n, "instance/service-accounts/default/token", is_sure ? 5 : patience_s[k],
                         &r, &failure);
        struct err garbled = {0};
        json_t *o =
            status == 200 ? json_read_text("", r.body ? r.body : "", r.size, &garbled) : NULL;
        http_response_release(&r);
        int result = 0;
        if (status == 200)
            result = auth_token_read(t, o, "the metadata server", e);
        json_decref(o);
        if (status == 200)
            return result;
        if (status == 404)
            return 1;
        if (failure.kind == ERR_STOPPED)
            return err_set(e, ERR_STOPPED, "%s", failure.text);
        /* Whoever answers at once without the flavor is somebody else. */
        is_sure = is_sure || status;
        tries = is_sure ? 5 : tries;
        if (k + 1 < tries && net_sleep(n, is_sure ? 0.5 * (k + 1) : 0.1, e))
            return -1;
    }
    return is_sure ? err_set(e, ERR_RETRY, "the metadata server gives no token") : 1;
}

char *metadata_text(struct net *n, const char *name)
{
    struct err failure = {0};
    struct http_response r = {0};
    char *text = NULL;
    if (ask(n, name, 2, &r, &failure) == 200 && r.body) {
        text = xstrdup(r.body);
        text[strcspn(text, "\r\n")] = 0;
        if (!auth_is_clean(text)) {
            free(text);
            text = NULL;
        }
    }
    http_response_release(&r);
    return text;
}
