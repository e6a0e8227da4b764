/* s3.c - Amazon S3, and what speaks like it: facts, lists, ranges.
 *
 * Addresses are https://BUCKET.s3.REGION.amazonaws.com/KEY;
 * https://s3.REGION.amazonaws.com/BUCKET/KEY for buckets with a dot, whose names no certificate
 * covers; ENDPOINT/BUCKET/KEY where AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names a service.
 * libcurl signs (Signature Version 4) what is sent just as it is: so keys are encoded here, and
 * queries are sorted by name.
 *
 * Each read asks for the ETag that is known (If-Match).  An ETag is the MD5 of an object that
 * went up in one piece, unless it is encrypted by a key of KMS; a listing does not tell, so only
 * the object's own headers do.
 */
#include "net/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/auth.h"
#include "net/checksum.h"
#include "net/fetch.h"
#include "net/memo.h"
#include "net/xml.h"

enum { PAGE_KEYS = 1000, PAGE_BYTES_MAX = 16 << 20, S3_HEADERS = 6 };

/* S3 wants the hash of the body as a header of its own; we send none, so this is SHA-256 of
 * nothing. */
#define EMPTY_BODY                                                                                 \
    "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* One operation on a bucket, in the region where the bucket is thought to lie. */
struct s3 {
    struct net *n;
    const char *uri;              /* what it is about */
    char *bucket;
    const char *key;              /* points into the URI */
    char region[64];
    char sigv4[96];
    char moved_to[64];            /* the region that an answer named; "": none did */
    bool has_moved;
    char if_match[120];
    const char *headers[S3_HEADERS];
};

/* -------------------------------------------------------------- addresses -- */

static char *region_key(const struct s3 *s)
{
    return xasprintf("s3 region %s", s->bucket);
}

static void set_region(struct s3 *s, const char *region)
{
    snprintf(s->region, sizeof s->region, "%s", region);
    snprintf(s->sigv4, sizeof s->sigv4, "aws:amz:%s:s3", s->region);
}

static bool is_region(const char *text)
{
    size_t size = strlen(text);
    return size && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static void s3_release(struct s3 *s)
{
    free(s->bucket);
}

static int s3_open(struct s3 *s, struct net *n, const char *uri, bool is_prefix, struct err *e)
{
    struct auth_aws *login = xcalloc(1, sizeof *login);
    const char *bucket = uri + strlen("s3://"), *slash = strchr(bucket, '/');
    int failed = -1;
    size_t size = slash ? (size_t)(slash - bucket) : strlen(bucket);
    *s = (struct s3){.n = n, .uri = uri, .key = slash ? slash + 1 : bucket + size};
    if (!size ||
        strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                       ".-_:") < size ||
        (!is_prefix && !*s->key)) {
        err_set(e, ERR_DATA, "%s: names no object", uri);
        err_hint(e, "objects are s3://BUCKET/KEY");
    } else if (!auth_aws(n, false, login, e)) {
        s->bucket = xstrndup(bucket, size);
        failed = 0;
        char *name = region_key(s), *known = memo_get(net_memo(n), name);
        set_region(s, known ? known : login->region);
        free(known);
        free(name);
    }
    free(login);
    return failed;
}

static const char *endpoint(void)
{
    const char *own = getenv("AWS_ENDPOINT_URL_S3"), *all = getenv("AWS_ENDPOINT_URL");
    return own && *own ? own : all && *all ? all : NULL;
}

/* The address of the key (or, with a query, of the bucket).  The caller frees. */
static char *s3_url(const struct s3 *s, const char *query)
{
    const char *own = endpoint();
    const char *china = strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "";
    char *key = http_encode(query ? "" : s->key, true), *url;
    const char *mark = query ? "?" : "";
    query = query ? query : "";
    if (own) {
        int size = (int)strlen(own);
        while (size && own[size - 1] == '/')
            size--;
        url =
            xasprintf("%.*s/%s%s%s%s%s", size, own, s->bucket, *mark ? "" : "/", key, mark, query);
    } else if (strpbrk(s->bucket, "._:")) {
        url = xasprintf("https://s3.%s.amazonaws.com%s/%s%s%s%s%s", s->region, china, s->bucket,
                        *mark ? "" : "/", key, mark, query);
    } else {
        url = xasprintf("https://%s.s3.%s.amazonaws.com%s/%s%s%s", s->bucket, s->region, china, key,
                        mark, query);
    }
    free(key);
    return url;
}

/* Headers of every request; a version (may be NULL) is asked for. */
static const char *const *s3_headers(struct s3 *s, const char *version)
{
    int count = 0;
    s->headers[count++] = EMPTY_BODY;
    if (net_settings(s->n)->user_project && *net_settings(s->n)->user_project)
        s->headers[count++] = "x-amz-request-payer: requester";
    if (version && *version) {
        snprintf(s->if_match, sizeof s->if_match, "If-Match: %s", version);
        s->headers[count++] = s->if_match;
    }
    s->headers[count] = NULL;
    return s->headers;
}

/* ---------------------------------------------------------------- answers -- */

/* A bucket lies in another region: 301 with its name, and for signed requests of some services 400
 * (AuthorizationHeaderMalformed), which other mistakes have, too. */
static const int moved_statuses[] = {301, 307, 400, 0};

static int refused(void *arg, const struct http_response *r, struct err *e)
{
    struct s3 *s = arg;
    char region[64] = "";
    struct xml_slice body = {r->body ? r->body : "", r->body ? r->size : 0};
    char *code = xml_text(body, "Code");
    bool is_passing = code && (!strcmp(code, "RequestTimeout") || !strcmp(code, "SlowDown"));
    free(code);
    if (is_passing)
        return err_set(e, ERR_RETRY, "%d", r->status);
    if (!http_header(r, "x-amz-bucket-region", region, sizeof region)) {
        char *text = xml_text(body, "Region");
        snprintf(region, sizeof region, "%s", text ? text : "");
        free(text);
    }
    if (is_region(region) && strcmp(region, s->region) != 0)
        snprintf(s->moved_to, sizeof s->moved_to, "%s", region);
    char *message = xml_text(body, "Message");
    err_set(e, ERR_FAILED, "%s: %d: %s", s->uri, r->status,
            message       ? message
            : *region     ? "the bucket lies in another region"
                      : "the request was not understood");
    free(message);
    return -1;
}

/* After a failure: shall it be tried in the region that the answer named?  Once. */
static bool follow(struct s3 *s, struct err *e)
{
    if (!s->moved_to[0] || s->has_moved || (e->kind != ERR_FAILED && e->kind != ERR_LOGIN))
        return false;
    char *name = region_key(s);
    memo_put(net_memo(s->n), name, s->moved_to);
    free(name);
    set_region(s, s->moved_to);
    s->has_moved = true;
    *e = (struct err){0};
    return true;
}

static void explain(const struct s3 *s, const char *permission, struct err *e)
{
    if (e->kind != ERR_LOGIN)
        return;
    struct err ignored = {0};
    struct auth_aws *login = xcalloc(1, sizeof *login);
    bool is_known = !auth_aws(s->n, false, login, &ignored);
    size_t id = strcspn(login->keys, ":");
    e->hint[0] = 0;
    if (is_known && id)
        err_hint(e, "the credentials used are: access key %.*s; they need %s on %s",
                 (int)(id < 40 ? id : 40), login->keys, permission, s->bucket);
    else
        err_hint(e,
                 "no credentials were found (AWS_ACCESS_KEY_ID, ~/.aws/credentials); they need "
                 "%s on %s",
                 permission, s->bucket);
    free(login);
}

/* Which checksums the headers of an object tell. */
static void facts(const struct http_response *r, struct object *found)
{
    char text[120], sse[40] = "";
    if (http_header(r, "etag", text, sizeof text) && strlen(text) < sizeof found->version)
        memcpy(found->version, text, strlen(text) + 1);
    bool has_key =
        http_header(r, "x-amz-server-side-encryption-customer-algorithm", sse, sizeof sse);
    http_header(r, "x-amz-server-side-encryption", sse, sizeof sse);
    size_t size = strlen(text);
    if (found->version[0] && size == CHECKSUM_MD5_DIGITS + 2 && text[0] == '"' && !has_key &&
        strncmp(sse, "aws:kms", 7) != 0) {
        text[size - 1] = 0;
        if (checksum_is_hex(text + 1, CHECKSUM_MD5_DIGITS))
            memcpy(found->digest, text + 1, CHECKSUM_MD5_DIGITS + 1);
    }
    if (http_header(r, "x-amz-checksum-type", text, sizeof text) &&
        strcmp(text, "FULL_OBJECT") != 0)
        return;
    if (http_header(r, "x-amz-checksum-crc32c", text, sizeof text))
        found->has_crc32c = checksum_crc32c_read(text, strlen(text), &found->crc32c);
}

/* ------------------------------------------------------------------ facts -- */

/* HEAD: all facts, but no reason when it is refused. */
static int head(struct s3 *s, struct object *o, struct err *e)
{
    struct http_response r = {0};
    struct object found = {.size = -1};
    char *url = s3_url(s, NULL);
    const char *const *headers = s3_headers(s, o->version);
    for (int i = 0; i < S3_HEADERS - 1; i++)
        if (!headers[i]) {
            s->headers[i] = "x-amz-checksum-mode: ENABLED";
            s->headers[i + 1] = NULL;
            break;
        }
    struct request q = {
        .http = {.method = "HEAD", .url = url, .headers = headers, .aws_sigv4 = s->sigv4},
        .login = LOGIN_AWS,
        .what = s->uri};
    int failed = request_run(s->n, &q, &r, e);
    if (!failed) {
        facts(&r, &found);
        found.size = fetch_header_int(&r, "content-length");
        if (found.size < 0)
            failed = err_set(e, ERR_FAILED, "%s: the answer does not tell its size", s->uri);
        fetch_learn(o, &found);
    } else if (http_header(&r, "x-amz-bucket-region", s->moved_to, sizeof s->moved_to) &&
               (!is_region(s->moved_to) || strcmp(s->moved_to, s->region) == 0)) {
        s->moved_to[0] = 0;
    }
    http_response_release(&r);
    free(url);
    return failed;
}

static struct fetch get(struct s3 *s, const char *url, const struct object *o)
{
    return (struct fetch){.url = url,
                          .headers = s3_headers(s, o->version),
                          .login = LOGIN_AWS,
                          .aws_sigv4 = s->sigv4,
                          .what = o->uri,
                          .object = o,
                          .facts = facts,
                          .refused = refused,
                          .arg = s,
                          .statuses = moved_statuses};
}

/* Why was a HEAD refused?  A GET is answered with a reason, renews old credentials, and finds the
 * region. */
static int ask_why(struct s3 *s, const struct object *o, struct err *e)
{
    struct object found;
    int failed;
    object_copy(&found, o);
    do {
        char *url = s3_url(s, NULL);
        struct fetch f = get(s, url, o);
        failed = fetch_facts(s->n, &f, &found, e);
        free(url);
    } while (failed && follow(s, e));
    object_release(&found);
    return failed;
}

static int complete(struct net *n, struct object *o, struct err *e)
{
    struct s3 s;
    struct err why = {0};
    if (s3_open(&s, n, o->uri, false, e))
        return -1;
    int failed = head(&s, o, &why);
    if (failed && follow(&s, &why))
        failed = head(&s, o, &why);
    if (failed && (why.kind == ERR_FAILED || why.kind == ERR_LOGIN)) {
        failed = ask_why(&s, o, e);
        why = (struct err){0};
        if (!failed)
            failed = head(&s, o, &why);
    }
    if (failed && !e->kind)
        *e = why;
    if (failed)
        explain(&s, "s3:GetObject", e);
    s3_release(&s);
    return failed;
}

static int stat_object(struct net *n, const char *uri, struct object *o, struct err *e)
{
    (void)uri;
    return complete(n, o, e);
}

/* ------------------------------------------------------------------- list -- */

struct listing {
    struct s3 *s;
    int64_t max;
    struct object_list *l;
    char *token;                  /* of the next page, NULL: none */
    int wrong;                    /* answers that were no list */
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo encoding-type=url, in place: %41 and, for a space, '+'. */
static void decode(char *s)
{
    char *to = s;
    for (; *s; s++) {
        int high = *s == '%' ? hex_value(s[1]) : -1, low = high < 0 ? -1 : hex_value(s[2]);
        if (low >= 0 && (high || low)) {
            *to++ = (char)(high << 4 | low);
            s += 2;
        } else {
            *to++ = *s == '+' ? ' ' : *s;
        }
    }
    *to = 0;
}

static int add_item(struct listing *t, struct xml_slice item, struct err *e)
{
    char *key = xml_text(item, "Key"), *size = xml_text(item, "Size");
    char *etag = xml_text(item, "ETag");
    struct object o = {.size = size ? fetch_int(size) : -1};
    if (!key || !*key || o.size < 0) {
        err_set(e, ERR_FAILED, "%s: a list with an object without a key or a size", t->s->uri);
    } else {
        decode(key);
        o.uri = xasprintf("s3://%s/%s", t->s->bucket, key);
        if (etag && strlen(etag) < sizeof o.version)
            memcpy(o.version, etag, strlen(etag) + 1);
        if (o.size > 0 || key[strlen(key) - 1] != '/') {
            if (t->l->count == t->max)
                err_set(e, ERR_DATA, "%s: more than %lld objects", t->s->uri, (long long)t->max);
            else
                object_list_add(t->l, &o);
        }
    }
    object_release(&o);
    free(key);
    free(size);
    free(etag);
    return e->kind ? -1 : 0;
}

/* An answer that was cut has no end. */
static int judge_page(void *arg, const struct http_response *r, struct err *e)
{
    struct listing *t = arg;
    struct xml_slice all = {r->body ? r->body : "", r->size}, inside;
    if (r->status != 200)
        return refused(t->s, r, e);
    if (xml_next(&all, "ListBucketResult", &inside))
        return 0;
    if (++t->wrong < FETCH_WRONG_MAX)
        return err_set(e, ERR_RETRY, "the answer is no list");
    return err_set(e, ERR_FAILED, "%s: the answer is no list", t->s->uri);
}

static int add_page(struct listing *t, const struct http_response *r, struct err *e)
{
    struct xml_slice all = {r->body, r->size}, inside, rest, item;
    if (!xml_next(&all, "ListBucketResult", &inside))
        return err_set(e, ERR_FAILED, "%s: the answer is no list", t->s->uri);
    rest = inside;
    while (xml_next(&rest, "Contents", &item))
        if (add_item(t, item, e))
            return -1;
    char *is_cut = xml_text(inside, "IsTruncated");
    char *next = xml_text(inside, "NextContinuationToken");
    bool has_more = is_cut && strcmp(is_cut, "true") == 0;
    if (has_more && (!next || !*next || (t->token && strcmp(next, t->token) == 0)))
        err_set(e, ERR_FAILED, "%s: a list that goes on, but does not say where", t->s->uri);
    free(t->token);
    t->token = has_more && !e->kind ? next : NULL;
    if (t->token != next)
        free(next);
    free(is_cut);
    return e->kind ? -1 : 0;
}

static int list_page(struct listing *t, struct err *e)
{
    struct http_response r = {0};
    char *prefix = http_encode(t->s->key, false);
    char *token = http_encode(t->token ? t->token : "", false);
    char *query =
        xasprintf("%s%s%sencoding-type=url&list-type=2&max-keys=%d&prefix=%s",
                  *token ? "continuation-token=" : "", token, *token ? "&" : "", PAGE_KEYS, prefix);
    char *url = s3_url(t->s, query);
    struct request q = {.http = {.url = url,
                                 .headers = s3_headers(t->s, NULL),
                                 .body_max = PAGE_BYTES_MAX,
                                 .aws_sigv4 = t->s->sigv4},
                        .login = LOGIN_AWS,
                        .what = t->s->uri,
                        .check = judge_page,
                        .arg = t,
                        .statuses = moved_statuses};
    int failed = request_run(t->s->n, &q, &r, e) || add_page(t, &r, e);
    http_response_release(&r);
    free(url);
    free(query);
    free(token);
    free(prefix);
    return failed;
}

static int list(struct net *n, const char *prefix, int64_t max, struct object_list *l,
                struct err *e)
{
    struct s3 s;
    if (s3_open(&s, n, prefix, true, e))
        return -1;
    struct listing t = {.s = &s, .max = max, .l = l};
    int failed;
    do
        failed = list_page(&t, e);
    while (failed ? follow(&s, e) : t.token != NULL);
    if (failed)
        explain(&s, "s3:ListBucket", e);
    free(t.token);
    s3_release(&s);
    return failed;
}

/* ------------------------------------------------------------------ bytes -- */

static int read_range(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
                      double hedge_s, struct err *e)
{
    struct s3 s;
    int failed;
    if (s3_open(&s, n, o->uri, false, e))
        return -1;
    do {
        char *url = s3_url(&s, NULL);
        struct fetch f = get(&s, url, o);
        f.hedge_s = hedge_s;
        failed = fetch_range(n, &f, offset, out, size, e);
        free(url);
    } while (failed && follow(&s, e));
    if (failed)
        explain(&s, "s3:GetObject", e);
    s3_release(&s);
    return failed;
}

static void *read_first(struct net *n, struct object *o, size_t room, size_t *size, struct err *e)
{
    struct s3 s;
    void *data;
    if (s3_open(&s, n, o->uri, false, e))
        return NULL;
    do {
        char *url = s3_url(&s, NULL);
        struct fetch f = get(&s, url, o);
        data = fetch_first(n, &f, room, o, size, e);
        free(url);
    } while (!data && follow(&s, e));
    if (!data)
        explain(&s, "s3:GetObject", e);
    s3_release(&s);
    return data;
}

const struct store_kind store_s3 = {
    .schemes = {"s3://"},
    .stat = stat_object,
    .list = list,
    .read = read_range,
    .first = read_first,
    .complete = complete,
};
