/* gcs.c - Google Cloud Storage by its JSON API: facts, lists, ranges.
 *
 * Each read names the generation that it wants, so an object that was replaced is 404 and never a
 * mix. Each read sends Accept-Encoding: gzip: without it, the service unpacks objects that are
 * stored with Content-Encoding: gzip on the way, ignores the range, and sends what no checksum
 * belongs to.
 */
#include "net/gcs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/auth.h"
#include "net/checksum.h"
#include "net/fetch.h"

enum {
    PAGE_ITEMS = 1000,            /* the service's own maximum */
    PAGE_BYTES_MAX = 32 << 20,
    EMPTY_PAGES_MAX = 10000,      /* in a row; the service may send many */
};

/* -------------------------------------------------------------- addresses -- */

#define EMULATOR "STORAGE_EMULATOR_HOST"
#define ENDPOINT "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"

/* A variable of the environment, NULL when it says nothing. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

int gcs_name(struct gcs_name *g, const char *uri, bool is_prefix, struct err *e)
{
    const char *bucket = uri + strlen("gs://"), *slash = strchr(bucket, '/');
    size_t size = slash ? (size_t)(slash - bucket) : strlen(bucket);
    g->name = slash ? slash + 1 : bucket + size;
    if (!size || (!is_prefix && !*g->name)) {
        err_set(e, ERR_DATA, "%s: names no object", uri);
        err_hint(e, "objects are gs://BUCKET/NAME");
        return -1;
    }
    if (!variable(EMULATOR) && variable(ENDPOINT) && !fetch_is_protected(variable(ENDPOINT))) {
        err_set(e, ERR_USAGE, ENDPOINT " is %s: a token may go over https only",
                variable(ENDPOINT));
        return -1;
    }
    g->bucket = xstrndup(bucket, size);
    return 0;
}

char *gcs_origin(void)
{
    const char *emulator = variable(EMULATOR), *own = variable(ENDPOINT);
    if (!emulator && !own)
        return xstrdup("https://storage.googleapis.com");
    char *origin = !emulator                   ? xstrdup(own)
                   : strstr(emulator, "://") ? xstrdup(emulator)
                                             : xasprintf("http://%s", emulator);
    for (size_t size = strlen(origin); size && origin[size - 1] == '/'; size--)
        origin[size - 1] = 0;
    return origin;
}

char *gcs_url(struct net *n, enum gcs_service service, const char *bucket, const char *name,
              const char *query)
{
    const char *payer = net_settings(n)->user_project;
    char *origin = gcs_origin(), *b = http_encode(bucket, false);
    char *o = http_encode(name ? name : "", false), *p = http_encode(payer ? payer : "", false);
    char *url = xasprintf("%s%s/storage/v1/b/%s/o%s%s%s%s%s%s%s", origin,
                          service == GCS_UPLOAD ? "/upload" : "", b, name ? "/" : "", o,
                          *query || *p ? "?" : "", query, *query && *p ? "&" : "",
                          *p ? "userProject=" : "", p);
    free(origin);
    free(b);
    free(o);
    free(p);
    return url;
}

void gcs_explain(struct net *n, const char *uri, const char *permission, struct err *e)
{
    struct err ignored = {0};
    if (e->kind == ERR_LOGIN) {
        /* Credentials that cannot be told are the failure itself, and its text says why. */
        char *who = auth_google_describe(n, &ignored);
        if (who)
            e->hint[0] = 0;
        if (who)
            err_hint(e, "the credentials used are: %s; they need %s on %.*s", who, permission,
                     (int)(strcspn(uri + 5, "/") + 5), uri);
        free(who);
    } else if (e->kind && strstr(e->text, "requester pays")) {
        e->kind = ERR_USAGE;
        e->hint[0] = 0;
        err_hint(e, "readers of this bucket pay: name your project with --user-project");
    }
}

/* --------------------------------------------------------------- metadata -- */

/* A number that the API writes as a string. */
static int64_t number(const json_t *v, const char *key, struct err *e)
{
    const json_t *j = json_object_get(v, key);
    int64_t i = json_is_string(j) ? fetch_int(json_string_value(j)) : json_integer_value(j);
    if (!j || i < 0 || !(json_is_string(j) || json_is_integer(j)))
        err_set(e, ERR_DATA, "\"%s\" is %s, expected a number", key, json_kind_name(j));
    return i;
}

static void set_crc32c(struct object *o, const char *text, size_t size)
{
    o->has_crc32c = checksum_crc32c_read(text, size, &o->crc32c);
}

int gcs_metadata(const json_t *v, struct object *o, struct err *e)
{
    o->size = number(v, "size", e);
    snprintf(o->version, sizeof o->version, "%lld", (long long)number(v, "generation", e));
    const char *crc = json_get_str(v, "crc32c", "", e), *md5 = json_get_str(v, "md5Hash", "", e);
    const char *coding = json_get_str(v, "contentEncoding", "", e);
    if (e->kind)
        return err_in(e, "%s", o->uri);
    set_crc32c(o, crc, strlen(crc));
    checksum_md5_read(md5, strlen(md5), o->digest);
    o->is_gzip = strcmp(coding, "gzip") == 0;
    return 0;
}

/* A header may come several times, and hold several values: "crc32c=AAAAAA==,md5=...". */
static void read_hashes(const char *headers, struct object *o)
{
    static const char name[] = "x-goog-hash:";
    for (const char *line = headers; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, sizeof name - 1) != 0)
            continue;
        const char *at = line + sizeof name - 1, *end = at + strcspn(at, "\n");
        while (at < end) {
            at += strspn(at, " ,\t");
            size_t size = strcspn(at, ", \t\r\n");
            if (strncmp(at, "crc32c=", 7) == 0 && size > 7)
                set_crc32c(o, at + 7, size - 7);
            else if (strncmp(at, "md5=", 4) == 0 && size > 4)
                checksum_md5_read(at + 4, size - 4, o->digest);
            if (!size)
                break;
            at += size;
        }
    }
}

static void facts(const struct http_response *r, struct object *found)
{
    char text[40];
    int64_t generation = fetch_header_int(r, "x-goog-generation");
    if (generation >= 0)
        snprintf(found->version, sizeof found->version, "%lld", (long long)generation);
    read_hashes(r->headers, found);
    found->size = fetch_header_int(r, "x-goog-stored-content-length");
    if (http_header(r, "x-goog-stored-content-encoding", text, sizeof text) ||
        http_header(r, "content-encoding", text, sizeof text))
        found->is_gzip = strcmp(text, "gzip") == 0;
}

int gcs_stat(struct net *n, const char *uri, struct object *o, struct err *e)
{
    struct gcs_name g;
    json_t *v = NULL;
    if (gcs_name(&g, uri, false, e))
        return -1;
    char *url = gcs_url(n, GCS_STORAGE, g.bucket, g.name, "fields=" GCS_FIELDS);
    struct request q = {.http = {.url = url}, .login = LOGIN_GOOGLE, .what = uri};
    int failed = fetch_json(n, &q, &v, NULL, e) || gcs_metadata(v, o, e);
    if (failed)
        gcs_explain(n, uri, "storage.objects.get", e);
    json_decref(v);
    free(url);
    free(g.bucket);
    return failed;
}

/* ------------------------------------------------------------------- list -- */

struct listing {
    const char *prefix;           /* as it was asked for */
    const char *bucket;
    int64_t max;
    struct object_list *l;
    char *token;                  /* of the next page, NULL: none */
    int empty_pages;              /* in a row */
};

static int add_item(struct listing *t, const json_t *v, struct err *e)
{
    const char *name = json_need_str(v, "name", e);
    struct object o;
    if (!name)
        return err_in(e, "%s", t->prefix);
    char *uri = xasprintf("gs://%s/%s", t->bucket, name);
    object_init(&o, uri);
    free(uri);
    size_t size = strlen(name);
    if (gcs_metadata(v, &o, e)) {
        object_release(&o);
        return -1;
    }
    if (o.size == 0 && size && name[size - 1] == '/')
        object_release(&o);
    else if (t->l->count == t->max) {
        object_release(&o);
        return err_set(e, ERR_DATA, "%s: more than %lld objects", t->prefix, (long long)t->max);
    } else
        object_list_add(t->l, &o);
    return 0;
}

static int add_page(struct listing *t, const json_t *page, struct err *e)
{
    const json_t *items = json_get_array(page, "items", e);
    const char *next = json_get_str(page, "nextPageToken", NULL, e);
    if (e->kind)
        return err_in(e, "%s", t->prefix);
    size_t count = json_array_size(items);
    for (size_t i = 0; i < count; i++)
        if (add_item(t, json_array_get(items, i), e))
            return -1;
    t->empty_pages = count ? 0 : t->empty_pages + 1;
    if (next && t->token && strcmp(next, t->token) == 0)
        return err_set(e, ERR_FAILED, "%s: the service sends the same page again", t->prefix);
    if (t->empty_pages > EMPTY_PAGES_MAX)
        return err_set(e, ERR_FAILED, "%s: more than %d empty pages in a row", t->prefix,
                       EMPTY_PAGES_MAX);
    free(t->token);
    t->token = next && *next ? xstrdup(next) : NULL;
    return 0;
}

static int list_page(struct net *n, struct listing *t, const char *name, struct err *e)
{
    json_t *v = NULL;
    char *prefix = http_encode(name, false), *token = http_encode(t->token ? t->token : "", false);
    char *query =
        xasprintf("maxResults=%d&prefix=%s%s%s&fields=%s", PAGE_ITEMS, prefix,
                  t->token ? "&pageToken=" : "", token, "nextPageToken,items(" GCS_FIELDS ")");
    char *url = gcs_url(n, GCS_STORAGE, t->bucket, NULL, query);
    struct request q = {
        .http = {.url = url, .body_max = PAGE_BYTES_MAX}, .login = LOGIN_GOOGLE, .what = t->prefix};
    int failed = fetch_json(n, &q, &v, NULL, e) || add_page(t, v, e);
    if (failed)
        gcs_explain(n, t->prefix, "storage.objects.list", e);
    json_decref(v);
    free(url);
    free(query);
    free(prefix);
    free(token);
    return failed;
}

static int list(struct net *n, const char *prefix, int64_t max, struct object_list *l,
                struct err *e)
{
    struct gcs_name g;
    if (gcs_name(&g, prefix, true, e))
        return -1;
    struct listing t = {.prefix = prefix, .bucket = g.bucket, .max = max, .l = l};
    int failed;
    do
        failed = list_page(n, &t, g.name, e);
    while (!failed && t.token);
    free(t.token);
    free(g.bucket);
    return failed;
}

/* ------------------------------------------------------------------ bytes -- */

/* A generation that is gone: say whether another one is there. */
static void explain_gone(struct net *n, const struct object *o, struct err *e)
{
    struct err why = {0};
    struct object now;
    object_init(&now, o->uri);
    if (!gcs_stat(n, o->uri, &now, &why)) {
        *e = (struct err){0};
        err_set(e, ERR_INTEGRITY, "%s: was replaced: its generation is %s, expected %s", o->uri,
                now.version, o->version);
    } else if (why.kind == ERR_DATA) {
        *e = (struct err){0};
        err_set(e, ERR_INTEGRITY, "%s: was deleted: generation %s is not there any more", o->uri,
                o->version);
    }
    err_hint(e, "put the object back, or begin a new run with what is there now");
    object_release(&now);
}

static const char *const media_headers[] = {"Accept-Encoding: gzip", NULL};

static char *media_url(struct net *n, const struct object *o, struct err *e)
{
    struct gcs_name g;
    if (gcs_name(&g, o->uri, false, e))
        return NULL;
    char *version = http_encode(o->version, false);
    char *query = xasprintf("alt=media%s%s", *version ? "&generation=" : "", version);
    char *url = gcs_url(n, GCS_STORAGE, g.bucket, g.name, query);
    free(version);
    free(query);
    free(g.bucket);
    return url;
}

static void explain_read(struct net *n, const struct fetch *f, const struct object *o,
                         struct err *e)
{
    if (e->kind == ERR_INTEGRITY && (f->status == 404 || f->status == 410))
        explain_gone(n, o, e);
    else
        gcs_explain(n, o->uri, "storage.objects.get", e);
}

static int read_range(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
                      double hedge_s, struct err *e)
{
    char *url = media_url(n, o, e);
    if (!url)
        return -1;
    struct fetch f = {.url = url,
                      .headers = media_headers,
                      .login = LOGIN_GOOGLE,
                      .hedge_s = hedge_s,
                      .what = o->uri,
                      .object = o,
                      .facts = facts};
    int failed = fetch_range(n, &f, offset, out, size, e);
    if (failed)
        explain_read(n, &f, o, e);
    free(url);
    return failed;
}

static void *read_first(struct net *n, struct object *o, size_t room, size_t *size, struct err *e)
{
    char *url = media_url(n, o, e);
    if (!url)
        return NULL;
    struct fetch f = {.url = url,
                      .headers = media_headers,
                      .login = LOGIN_GOOGLE,
                      .what = o->uri,
                      .object = o,
                      .facts = facts};
    void *data = fetch_first(n, &f, room, o, size, e);
    if (!data)
        explain_read(n, &f, o, e);
    free(url);
    return data;
}

/* ----------------------------------------------------------------- remove -- */

int gcs_remove(struct net *n, const char *uri, const char *generation, struct err *e)
{
    static const int gone[] = {404, 0};
    struct gcs_name g;
    struct http_response r = {0};
    if (gcs_name(&g, uri, false, e))
        return -1;
    char *query =
        xasprintf("%s%s", generation ? "ifGenerationMatch=" : "", generation ? generation : "");
    char *url = gcs_url(n, GCS_STORAGE, g.bucket, g.name, query);
    struct request q = {.http = {.method = "DELETE", .url = url},
                        .login = LOGIN_GOOGLE,
                        .what = uri,
                        .statuses = gone};
    int failed = request_run(n, &q, &r, e);
    if (failed)
        gcs_explain(n, uri, "storage.objects.delete", e);
    http_response_release(&r);
    free(url);
    free(query);
    free(g.bucket);
    return failed;
}

static int remove_object(struct net *n, const char *uri, struct err *e)
{
    return gcs_remove(n, uri, NULL, e);
}

const struct store_kind store_gcs = {
    .schemes = {"gs://"},
    .stat = gcs_stat,
    .list = list,
    .read = read_range,
    .first = read_first,
    .write = gcs_write,
    .remove = remove_object,
};
