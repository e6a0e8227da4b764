/* hf.c - files of datasets and models on the Hugging Face Hub.
 *
 * A branch or tag is resolved once to a commit, which is the version of its files from then on.
 * Large files lie elsewhere: the Hub answers with a redirect to an address that is signed for
 * about an hour. It is remembered, gets no token of ours, and is asked for anew when it is
 * refused.  The Hub tells size and SHA-256 of such files (X-Linked-Size, X-Linked-Etag).
 */
#include "net/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/checksum.h"
#include "net/fetch.h"
#include "net/memo.h"

enum { PAGE_BYTES_MAX = 32 << 20, REDIRECTS_MAX = 4, COMMIT_DIGITS = 40, URL_MAX = 8192 };

/* "hf://datasets/org/name@revision/path" taken apart. */
struct hf {
    struct net *n;
    const char *uri;
    bool is_dataset;
    char *repo;                   /* "org/name" */
    char *revision;
    const char *path;             /* points into the URI; may be "" for prefixes */
    char commit[COMMIT_DIGITS + 1];
};

/* ------------------------------------------------------------------ names -- */

static void hf_release(struct hf *h)
{
    free(h->repo);
    free(h->revision);
}

/* Undo "%2F" of a revision: branches may have slashes, and are written like that. */
static void decode_slashes(char *s)
{
    for (char *at; (at = strstr(s, "%2F")) != NULL || (at = strstr(s, "%2f")) != NULL;) {
        *at = '/';
        memmove(at + 1, at + 3, strlen(at + 3) + 1);
    }
}

/* The end of the revision at `at`: refs/convert/NAME and refs/pr/N have slashes of their own. */
static const char *revision_end(const char *at)
{
    int slashes = strncmp(at, "refs/convert/", 13) == 0 || strncmp(at, "refs/pr/", 8) == 0 ? 2 : 0;
    for (;; at++)
        if (!*at || (*at == '/' && slashes-- == 0))
            return at;
}

static int hf_parse(struct hf *h, struct net *n, const char *uri, bool is_prefix, struct err *e)
{
    const char *at = uri + strlen("hf://");
    *h = (struct hf){.n = n, .uri = uri};
    h->is_dataset = strncmp(at, "datasets/", 9) == 0;
    at += h->is_dataset ? 9 : strncmp(at, "models/", 7) == 0 ? 7 : 0;
    size_t org = strcspn(at, "/"), name = at[org] ? strcspn(at + org + 1, "/@") : 0;
    const char *end = at + org + 1 + name;
    if (org && name) {
        h->repo = xstrndup(at, org + 1 + name);
        if (*end == '@') {
            const char *last = revision_end(end + 1);
            h->revision = xstrndup(end + 1, (size_t)(last - end - 1));
            decode_slashes(h->revision);
            end = last;
        } else {
            h->revision = xstrdup("main");
        }
        h->path = *end == '/' ? end + 1 : end;
    }
    if (h->repo && *h->revision && (is_prefix || *h->path) && !strpbrk(h->repo, "?#% "))
        return 0;
    hf_release(h);
    err_set(e, ERR_DATA, "%s: names no file", uri);
    err_hint(e, "files are hf://datasets/ORG/NAME[@REVISION]/PATH, or hf://ORG/NAME/PATH of "
                "a model");
    return -1;
}

/* "https://huggingface.co", without a slash at its end.  The caller frees. */
static char *endpoint(void)
{
    const char *own = getenv("HF_ENDPOINT");
    char *url = xstrdup(own && *own ? own : "https://huggingface.co");
    for (size_t size = strlen(url); size && url[size - 1] == '/'; size--)
        url[size - 1] = 0;
    return url;
}

/* A token may go over https only. */
static enum request_login hub_login(void)
{
    char *base = endpoint();
    enum request_login login = fetch_is_protected(base) ? LOGIN_HUB : LOGIN_NONE;
    free(base);
    return login;
}

/* The address of an API call about the repository: "revision/main", "tree/COMMIT/dir?...". */
static char *api_url(const struct hf *h, const char *call)
{
    char *base = endpoint();
    char *url =
        xasprintf("%s/api/%s/%s/%s", base, h->is_dataset ? "datasets" : "models", h->repo, call);
    free(base);
    return url;
}

/* Where the Hub itself answers for the file. */
static char *file_url(const struct hf *h)
{
    char *base = endpoint(), *path = http_encode(h->path, true);
    char *url = xasprintf("%s/%s%s/resolve/%s/%s", base, h->is_dataset ? "datasets/" : "", h->repo,
                          h->commit, path);
    free(path);
    free(base);
    return url;
}

/* Is it below the same scheme, host and port as the Hub?  Then credentials may go there. */
static bool is_hub(const char *url)
{
    char *base = endpoint();
    size_t origin = strlen(base);
    if (strstr(base, "://")) {
        const char *host = strstr(base, "://") + 3;
        origin = (size_t)(host - base) + strcspn(host, "/");
    }
    bool is = strncmp(url, base, origin) == 0 && (url[origin] == '/' || !url[origin]);
    free(base);
    return is;
}

/* An address relative to the Hub, or one that is whole already.  The caller frees. */
static char *absolute(const char *location)
{
    if (location[0] != '/')
        return xstrdup(location);
    char *base = endpoint(), *host = strstr(base, "://");
    size_t origin = host ? (size_t)(host + 3 - base) + strcspn(host + 3, "/") : strlen(base);
    char *url = xasprintf("%.*s%s", (int)origin, base, location);
    free(base);
    return url;
}

/* ----------------------------------------------------------------- commit -- */

static int find_commit(struct hf *h, struct err *e)
{
    json_t *v = NULL;
    char *revision = http_encode(h->revision, false);
    char *call = xasprintf("revision/%s?expand%%5B%%5D=sha", revision), *url = api_url(h, call);
    struct request q = {.http = {.url = url, .body_max = PAGE_BYTES_MAX, .follows = true},
                        .login = hub_login(),
                        .what = h->uri};
    int failed = fetch_json(h->n, &q, &v, NULL, e);
    if (!failed) {
        const char *sha = json_need_str(v, "sha", e);
        if (e->kind)
            failed = err_in(e, "%s", h->uri);
        else if (!checksum_is_hex(sha, COMMIT_DIGITS))
            failed = err_set(e, ERR_FAILED, "%s: the Hub names no commit", h->uri);
        else
            memcpy(h->commit, sha, COMMIT_DIGITS + 1);
    }
    json_decref(v);
    free(url);
    free(call);
    free(revision);
    return failed;
}

/* `version` (may be "") is the commit that is wanted. */
static int hf_open(struct hf *h, struct net *n, const char *uri, bool is_prefix,
                   const char *version, struct err *e)
{
    if (hf_parse(h, n, uri, is_prefix, e))
        return -1;
    const char *known = checksum_is_hex(version, COMMIT_DIGITS) ? version : h->revision;
    if (checksum_is_hex(known, COMMIT_DIGITS)) {
        memcpy(h->commit, known, COMMIT_DIGITS + 1);
        return 0;
    }
    char *key = xasprintf("hf commit %d %s@%s", h->is_dataset, h->repo, h->revision);
    char *commit = memo_get(net_memo(n), key);
    int failed = 0;
    if (commit)
        memcpy(h->commit, commit, COMMIT_DIGITS + 1);
    else if (!(failed = find_commit(h, e)))
        memo_put(net_memo(n), key, h->commit);
    free(commit);
    free(key);
    if (failed)
        hf_release(h);
    return failed;
}

/* ------------------------------------------------------------------ place -- */

/* Where a file lies, in the memo: '=' and an address of the Hub, or '>' and one of somebody else.
 */
static char *place_key(const struct hf *h)
{
    return xasprintf("hf file %d %s@%s/%s", h->is_dataset, h->repo, h->commit, h->path);
}

/* What the Hub's headers say of a file. */
static void read_facts(const struct http_response *r, const char *commit, struct object *found)
{
    char etag[120];
    *found = (struct object){.size = fetch_header_int(r, "x-linked-size")};
    if (found->size < 0 && r->status == 200)
        found->size = fetch_header_int(r, "content-length");
    memcpy(found->version, commit, COMMIT_DIGITS + 1);
    if (!http_header(r, "x-linked-etag", etag, sizeof etag))
        return;
    char *sha = etag + (etag[0] == '"');
    sha[strcspn(sha, "\"")] = 0;
    if (checksum_is_hex(sha, HASH_HEX_SIZE - 1))
        memcpy(found->digest, sha, HASH_HEX_SIZE);
}

/* One answer of the Hub: either it has the file itself, or it says where to look. */
static int ask_hub(const struct hf *h, const char *url, char **next, struct object *found,
                   struct err *e)
{
    static const int redirects[] = {301, 302, 303, 307, 308, 0};
    static const char *const headers[] = {"Accept-Encoding: identity", NULL};
    struct http_response r = {0};
    char *location = xmalloc(URL_MAX);
    struct request q = {.http = {.method = "HEAD", .url = url, .headers = headers},
                        .login = hub_login(),
                        .what = h->uri,
                        .statuses = redirects};
    int failed = request_run(h->n, &q, &r, e);
    *next = NULL;
    if (!failed) {
        read_facts(&r, h->commit, found);
        if (r.status / 100 == 3 && http_header(&r, "location", location, URL_MAX) &&
            strlen(location) < URL_MAX - 1)
            *next = absolute(location);
        else if (r.status / 100 == 3)
            failed = err_set(e, ERR_FAILED, "%s: %d without an address", h->uri, r.status);
    }
    http_response_release(&r);
    free(location);
    return failed;
}

/* Ask where the file lies, remember it, and learn its facts.  NULL on failure; the caller frees. */
static char *find_place(const struct hf *h, struct object *o, struct err *e)
{
    struct object found;
    char *url = file_url(h), *next, *place = NULL;
    for (int i = 0; !place && !ask_hub(h, url, &next, &found, e); i++) {
        if (!next)
            place = xasprintf("=%s", url);
        else if (!is_hub(next))
            place = xasprintf(">%s", next);
        free(url);
        url = next;
        if (!place && i == REDIRECTS_MAX) {
            err_set(e, ERR_FAILED, "%s: more than %d redirects", h->uri, REDIRECTS_MAX);
            break;
        }
    }
    free(url);
    if (place) {
        char *key = place_key(h);
        memo_put(net_memo(h->n), key, place);
        free(key);
        fetch_learn(o, &found);
    }
    return place;
}

static int stat_object(struct net *n, const char *uri, struct object *o, struct err *e)
{
    struct hf h;
    if (hf_open(&h, n, uri, false, "", e))
        return -1;
    char *place = find_place(&h, o, e);
    int failed = place ? 0 : -1;
    if (place && o->size < 0)
        failed = err_set(e, ERR_FAILED, "%s: the Hub does not tell its size", uri);
    free(place);
    hf_release(&h);
    return failed;
}

/* ------------------------------------------------------------------ bytes -- */

/* Statuses with which an address that was signed for a time is refused afterwards. */
static const int expired_statuses[] = {400, 401, 403, 404, 410, 0};

static int expired(void *arg, const struct http_response *r, struct err *e)
{
    const struct hf *h = arg;
    return err_set(e, ERR_LOGIN, "%s: %d where the Hub said that it lies", h->uri, r->status);
}

static bool is_expired(const struct fetch *f)
{
    for (const int *s = f->statuses; s && *s; s++)
        if (*s == f->status)
            return true;
    return false;
}

/* Where it lies, from the memo or the Hub.  NULL on failure; the caller frees. */
static char *place_of(const struct hf *h, struct object *o, struct err *e)
{
    char *key = place_key(h), *place = memo_get(net_memo(h->n), key);
    free(key);
    return place ? place : find_place(h, o, e);
}

static struct fetch fetch_at(const struct hf *h, const char *place, const struct object *o)
{
    static const char *const headers[] = {"Accept-Encoding: identity", NULL};
    bool is_elsewhere = place[0] == '>';
    return (struct fetch){.url = place + 1,
                          .headers = headers,
                          .login = is_elsewhere ? LOGIN_NONE : hub_login(),
                          .follows = true,
                          .what = h->uri,
                          .object = o,
                          .refused = expired,
                          .arg = (void *)(uintptr_t)h,
                          .statuses = is_elsewhere ? expired_statuses : NULL};
}

/* Was it refused for the age of its address?  Then it is forgotten, and asked for once more. */
static bool try_again(const struct hf *h, const char *place, const struct fetch *f, int tries,
                      struct err *e)
{
    if (!e->kind || tries || !is_expired(f))
        return false;
    char *key = place_key(h);
    memo_drop(net_memo(h->n), key, place);
    free(key);
    *e = (struct err){0};
    return true;
}

static int read_range(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
                      double hedge_s, struct err *e)
{
    struct hf h;
    struct object known;
    bool again = true;
    if (hf_open(&h, n, o->uri, false, o->version, e))
        return -1;
    object_copy(&known, o);
    for (int tries = 0; again; tries++) {
        char *place = place_of(&h, &known, e);
        if (!place)
            break;
        struct fetch f = fetch_at(&h, place, o);
        f.hedge_s = hedge_s;
        again = fetch_range(n, &f, offset, out, size, e) && try_again(&h, place, &f, tries, e);
        free(place);
    }
    object_release(&known);
    hf_release(&h);
    return e->kind ? -1 : 0;
}

static void *read_first(struct net *n, struct object *o, size_t room, size_t *size, struct err *e)
{
    struct hf h;
    void *data = NULL;
    bool again = true;
    if (hf_open(&h, n, o->uri, false, o->version, e))
        return NULL;
    for (int tries = 0; again; tries++) {
        /* Only the Hub knows the checksum. */
        char *place = o->digest[0] ? place_of(&h, o, e) : find_place(&h, o, e);
        if (!place)
            break;
        struct fetch f = fetch_at(&h, place, o);
        data = fetch_first(n, &f, room, o, size, e);
        again = !data && try_again(&h, place, &f, tries, e);
        free(place);
    }
    hf_release(&h);
    return data;
}

/* ------------------------------------------------------------------- list -- */

struct listing {
    struct hf *h;
    int64_t max;
    struct object_list *l;
    char *root;                   /* the URI up to the files' paths */
};

static int add_item(struct listing *t, const json_t *v, struct err *e)
{
    const char *type = json_need_str(v, "type", e), *path = json_need_str(v, "path", e);
    int64_t size = json_get_int(v, "size", 0, e);
    const json_t *lfs = json_get_object(v, "lfs", e);
    const char *sha = lfs ? json_get_str(lfs, "oid", "", e) : "";
    if (lfs)
        size = json_get_int(lfs, "size", size, e);
    if (e->kind)
        return err_in(e, "%s", t->h->uri);
    if (strcmp(type, "file") != 0 || strncmp(path, t->h->path, strlen(t->h->path)) != 0)
        return 0;
    if (size < 0)
        return err_set(e, ERR_FAILED, "%s: the Hub tells a size of %lld", t->h->uri,
                       (long long)size);
    if (t->l->count == t->max)
        return err_set(e, ERR_DATA, "%s: more than %lld objects", t->h->uri, (long long)t->max);
    struct object o = {.uri = xasprintf("%s%s", t->root, path), .size = size};
    memcpy(o.version, t->h->commit, COMMIT_DIGITS + 1);
    if (checksum_is_hex(sha, HASH_HEX_SIZE - 1))
        memcpy(o.digest, sha, HASH_HEX_SIZE);
    object_list_add(t->l, &o);
    return 0;
}

/* The address in `<...>; rel="next"` (RFC 8288), on the Hub's own host; NULL: the last page. */
static char *next_page(const struct http_response *r)
{
    char *link = xmalloc(URL_MAX), *url = NULL;
    if (http_header(r, "link", link, URL_MAX)) {
        char *rel = strstr(link, "rel=\"next\""), *open = strchr(link, '<');
        char *close = open ? strchr(open, '>') : NULL;
        if (rel && close && close < rel) {
            *close = 0;
            char *host = strstr(open + 1, "://");
            url = absolute(host ? host + 3 + strcspn(host + 3, "/") : open + 1);
        }
    }
    free(link);
    return url;
}

static int add_page(struct listing *t, const json_t *page, struct err *e)
{
    if (!json_is_array(page))
        return err_set(e, ERR_FAILED, "%s: the Hub's list is %s, expected an array", t->h->uri,
                       json_kind_name(page));
    for (size_t i = 0; i < json_array_size(page); i++)
        if (add_item(t, json_array_get(page, i), e))
            return -1;
    return 0;
}

/* The first page of the folder that the prefix lies in. */
static char *first_page(const struct hf *h)
{
    const char *slash = strrchr(h->path, '/');
    char *dir = slash ? xstrndup(h->path, (size_t)(slash - h->path)) : xstrdup("");
    char *encoded = http_encode(dir, true);
    char *call = xasprintf("tree/%s%s%s?recursive=true", h->commit, *dir ? "/" : "", encoded);
    char *url = api_url(h, call);
    free(call);
    free(encoded);
    free(dir);
    return url;
}

/* All pages; a folder that is not there has no files. */
static int list_pages(struct listing *t, struct err *e)
{
    static const int missing[] = {404, 0};
    int failed = 0;
    for (char *url = first_page(t->h), *next; url; url = next) {
        struct http_response r = {0};
        json_t *v = NULL;
        struct request q = {.http = {.url = url, .body_max = PAGE_BYTES_MAX, .follows = true},
                            .login = hub_login(),
                            .what = t->h->uri,
                            .statuses = missing};
        failed = fetch_json_answer(t->h->n, &q, &v, &r, e) || (v && add_page(t, v, e));
        next = !failed && v ? next_page(&r) : NULL;
        if (next && strcmp(next, url) == 0) {
            failed = err_set(e, ERR_FAILED, "%s: the Hub sends the same page again", t->h->uri);
            free(next);
            next = NULL;
        }
        json_decref(v);
        http_response_release(&r);
        free(url);
    }
    return failed;
}

static int list(struct net *n, const char *prefix, int64_t max, struct object_list *l,
                struct err *e)
{
    struct hf h;
    if (hf_open(&h, n, prefix, true, "", e))
        return -1;
    int root = (int)(h.path - prefix);
    struct listing t = {.h = &h, .max = max, .l = l};
    t.root = xasprintf("%.*s%s", root, prefix, prefix[root - 1] == '/' ? "" : "/");
    int failed = list_pages(&t, e);
    free(t.root);
    hf_release(&h);
    return failed;
}

const struct store_kind store_hf = {
    .schemes = {"hf://"},
    .stat = stat_object,
    .list = list,
    .read = read_range,
    .first = read_first,
};
