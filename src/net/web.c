/* web.c - files on any web server that gives ranges.
 *
 * A version is a strong ETag (asked for by If-Match), else the time of the last change
 * (If-Unmodified- Since), else a weak ETag (compared only); RFC 9110, section 13.  There is no
 * checksum, and no list. A server that ignores ranges can still be read whole, as far as that
 * fits into memory.
 */
#include "net/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/fetch.h"
#include "net/retry.h"

enum { VERSION_HEADER_MAX = 120 };

/* A file: its address as it is sent, and as it is shown. */
struct page {
    char *url, *shown;
    char if_header[VERSION_HEADER_MAX];
    const char *headers[3];
};

static void page_release(struct page *p)
{
    free(p->url);
    free(p->shown);
}

/* What no address may hold as it is (spaces, letters beyond ASCII) is encoded; the fragment stays
 * here. */
static char *clean_url(const char *uri)
{
    size_t size = strcspn(uri, "#"), made = 0;
    char *url = xmalloc(3 * size + 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)uri[i];
        if (c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c)) {
            url[made++] = (char)c;
        } else {
            url[made++] = '%';
            url[made++] = "0123456789ABCDEF"[c >> 4];
            url[made++] = "0123456789ABCDEF"[c & 15];
        }
    }
    url[made] = 0;
    return url;
}

static int page_open(struct page *p, const char *uri, const char *version, struct err *e)
{
    const char *host = strstr(uri, "://") + 3;
    size_t size = strcspn(host, "/?#");
    *p = (struct page){.shown = store_shown(uri)};
    if (memchr(host, '@', size)) {
        /* The whole address is not shown: it holds a password. */
        err_set(e, ERR_DATA, "https://...%.*s: a name and password in an address are not sent",
                (int)(size < 60 ? size - strcspn(host, "@") : 0), host + strcspn(host, "@"));
    } else if (!fetch_is_protected(uri)) {
        err_set(e, ERR_DATA, "%s: http is not protected against changes on the way", p->shown);
        err_hint(e, "use https; http is for this machine alone");
    }
    if (e->kind) {
        page_release(p);
        return -1;
    }
    p->url = clean_url(uri);
    p->headers[0] = "Accept-Encoding: identity";
    if (version[0] == '"')
        snprintf(p->if_header, sizeof p->if_header, "If-Match: %s", version);
    else if (version[0] && version[0] != 'W')
        snprintf(p->if_header, sizeof p->if_header, "If-Unmodified-Since: %s", version);
    if (p->if_header[0])
        p->headers[1] = p->if_header;
    return 0;
}

static void facts(const struct http_response *r, struct object *found)
{
    char etag[VERSION_HEADER_MAX] = "", changed[VERSION_HEADER_MAX] = "", *version = etag;
    http_header(r, "etag", etag, sizeof etag);
    http_header(r, "last-modified", changed, sizeof changed);
    bool has_etag = *etag && strlen(etag) < sizeof found->version;
    bool has_date = *changed && strlen(changed) < sizeof found->version && retry_date(changed) >= 0;
    if (!has_etag || (etag[0] != '"' && has_date))
        version = changed;
    if (version == etag ? has_etag && (etag[0] == '"' || strncmp(etag, "W/\"", 3) == 0) : has_date)
        memcpy(found->version, version, strlen(version) + 1);
}

static struct fetch fetch_of(const struct page *p, const struct object *o)
{
    return (struct fetch){.url = p->url,
                          .headers = p->headers,
                          .follows = true,
                          .what = p->shown,
                          .object = o,
                          .facts = facts};
}

static void explain(struct err *e)
{
    if (strstr(e->text, "ignores ranges") || strstr(e->text, "expected at most"))
        err_hint(e, "this server gives whole files only: fetch a copy of it and name that");
}

static int stat_object(struct net *n, const char *uri, struct object *o, struct err *e)
{
    struct page p;
    if (page_open(&p, uri, "", e))
        return -1;
    struct fetch f = fetch_of(&p, o);
    int failed = fetch_facts(n, &f, o, e);
    page_release(&p);
    return failed;
}

static int read_range(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
                      double hedge_s, struct err *e)
{
    struct page p;
    if (page_open(&p, o->uri, o->version, e))
        return -1;
    struct fetch f = fetch_of(&p, o);
    f.hedge_s = hedge_s;
    int failed = fetch_range(n, &f, offset, out, size, e);
    if (failed)
        explain(e);
    page_release(&p);
    return failed;
}

static void *read_first(struct net *n, struct object *o, size_t room, size_t *size, struct err *e)
{
    struct page p;
    if (page_open(&p, o->uri, o->version, e))
        return NULL;
    struct fetch f = fetch_of(&p, o);
    void *data = fetch_first(n, &f, room, o, size, e);
    if (!data)
        explain(e);
    page_release(&p);
    return data;
}

const struct store_kind store_web = {
    .schemes = {"https://", "http://"},
    .stat = stat_object,
    .read = read_range,
    .first = read_first,
};
