/* Files on web servers: versions by ETag or date, servers without ranges, addresses that hold
 * secrets. */
#include "store_testing.h"

/* A server of one file. */
struct page {
    const char *path;
    unsigned char *data;
    size_t size;
    const char *headers;          /* ETag: ...\r\n */
    const char *etag, *changed;   /* that conditions are compared with; NULL: ignored */
    bool has_no_ranges, hides_length, is_chunked;
    bool ignores_conditions;
    int requests;
};

static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct page *p = arg;
    p->requests++;
    server_expects_text(server_header(q, "authorization"), "");
    server_expects_text(server_header(q, "accept-encoding"), "identity");
    if (strcmp(q->path, p->path) != 0) {
        reply_text(r, 404, "");
        return;
    }
    if (!p->ignores_conditions &&
        ((p->etag && *server_header(q, "if-match") &&
          strcmp(server_header(q, "if-match"), p->etag) != 0) ||
         (p->changed && *server_header(q, "if-unmodified-since") &&
          strcmp(server_header(q, "if-unmodified-since"), p->changed) != 0))) {
        reply_text(r, 412, "");
        return;
    }
    reply_bytes(q, r, p->data, p->size, p->headers ? p->headers : "");
    if (p->has_no_ranges) {
        *r = (struct server_reply){.status = 200, .body = p->data, .size = p->size};
        r->headers = p->headers;
    }
    r->hides_length = p->hides_length;
    r->is_chunked = p->is_chunked;
}

static void begin(struct page *p, struct site *s, const char *path, char uri[200])
{
    *p = (struct page){.path = path, .data = testing_bytes(1000), .size = 1000};
    site_open(s, "ATTUNE_TEST_URL", serve, p, "payer");
    snprintf(uri, 200, "%s%s", http_server_url(s->server), path);
}

static void end(struct page *p, struct site *s)
{
    site_close(s);
    free(p->data);
}

#define STRONG "ETag: \"v1\"\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n"
#define WEAK "ETag: W/\"v1\"\r\n"
#define DATED "Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n"
#define BOTH WEAK DATED

static void test_web__pins_a_version(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *version, *etag, *changed, *later;
    } cases[] = {
        {STRONG, "\"v1\"", "\"v2\"", NULL, "ETag: \"v2\"\r\n"},
        {WEAK, "W/\"v1\"", NULL, NULL, "ETag: W/\"v2\"\r\n"},
        {DATED, "Tue, 15 Nov 1994 12:45:26 GMT", NULL, "Tue, 15 Nov 1994 12:45:27 GMT",
         "Last-Modified: Tue, 15 Nov 1994 12:45:27 GMT\r\n"},
        {BOTH, "Tue, 15 Nov 1994 12:45:26 GMT", NULL, "Tue, 15 Nov 1994 12:45:27 GMT",
         "Last-Modified: Tue, 15 Nov 1994 12:45:27 GMT\r\n"},
        {"Last-Modified: yesterday\r\n", "", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct page p;
        struct site s;
        struct object o;
        struct err e = {0};
        char uri[200], out[10];
        begin(&p, &s, "/x.tar", uri);
        p.headers = cases[i].headers;
        must(store_stat(s.net, uri, &o, &e));
        assert_int_equal(o.size, 1000);
        assert_string_equal(o.version, cases[i].version);
        must(store_read(s.net, &o, 990, out, 10, 0, NULL, &e));
        assert_memory_equal(out, p.data + 990, 10);
        assert_int_equal(p.requests, 2);
        if (cases[i].later) {
            /* Seen by the server's condition, or by the headers of its answer. */
            p.headers = cases[i].later;
            p.etag = cases[i].etag;
            p.changed = cases[i].changed;
            assert_int_equal(store_read(s.net, &o, 0, out, 10, 0, NULL, &e), -1);
            assert_err(e, ERR_INTEGRITY, p.etag || p.changed ? "(412)" : "was replaced");
            e = (struct err){0};
            p.ignores_conditions = true;
            assert_int_equal(store_read(s.net, &o, 0, out, 10, 0, NULL, &e), -1);
            assert_err(e, ERR_INTEGRITY, "was replaced: its version is ");
        }
        object_release(&o);
        end(&p, &s);
    }
}

static void test_web__reads_whole_files_of_servers_without_ranges(void **state)
{
    (void)state;
    struct page p;
    struct site s;
    struct object o;
    struct err e = {0};
    char uri[200], out[1000];
    size_t size;
    begin(&p, &s, "/x.jsonl", uri);
    p.has_no_ranges = true;
    must(store_stat(s.net, uri, &o, &e));
    assert_int_equal(o.size, 1000);
    must(store_read(s.net, &o, 0, out, 1000, 0, NULL, &e));
    assert_memory_equal(out, p.data, 1000);
    char *data = store_load(s.net, &o, 1000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 1000);
    free(data);
    assert_int_equal(store_read(s.net, &o, 0, out, 999, 0, NULL, &e), -1);
    assert_err(e, ERR_DATA, "the server ignores ranges");
    assert_non_null(strstr(e.hint, "whole files only"));
    e = (struct err){0};
    object_release(&o);
    object_init(&o, uri);
    assert_null(store_load(s.net, &o, 999, &size, &e));
    assert_err(e, ERR_DATA, "a body of 1000 bytes, expected at most 999");
    assert_non_null(strstr(e.hint, "whole files only"));
    object_release(&o);
    end(&p, &s);
}

/* Without a length, a body that was cut looks whole. */
static void test_web__wants_to_know_the_length(void **state)
{
    (void)state;
    struct page p;
    struct site s;
    struct object o;
    struct err e = {0};
    char uri[200];
    size_t size;
    begin(&p, &s, "/x.jsonl", uri);
    p.has_no_ranges = true;
    p.hides_length = true;
    object_init(&o, uri);
    assert_null(store_load(s.net, &o, 5000, &size, &e));
    assert_err(e, ERR_DATA, "the server does not tell the size of the object");
    e = (struct err){0};
    p.hides_length = false;
    p.is_chunked = true;
    char *data = store_load(s.net, &o, 5000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 1000);
    assert_memory_equal(data, p.data, 1000);
    free(data);
    object_release(&o);
    end(&p, &s);
}

static void test_web__sends_addresses_that_are_ones(void **state)
{
    (void)state;
    struct page p;
    struct site s;
    struct object o;
    struct err e = {0};
    char uri[200], full[300];
    size_t size;
    begin(&p, &s, "/a%20b/%C3%A9%25%7B.txt?sig=a%2Fb&c=d+e", uri);
    snprintf(full, sizeof full, "%s/a b/\xc3\xa9%%25{.txt?sig=a%%2Fb&c=d+e#part",
             http_server_url(s.server));
    object_init(&o, full);
    char *data = store_load(s.net, &o, 1000, &size, &e);
    assert_ok(e);
    assert_string_equal(o.uri, full);
    free(data);
    object_release(&o);

    /* What stands in a query may be a signature. */
    snprintf(full, sizeof full, "%s/none?sig=secret", http_server_url(s.server));
    assert_int_equal(store_stat(s.net, full, &o, &e), -1);
    assert_err(e, ERR_DATA, "/none?...: 404");
    assert_null(strstr(e.text, "secret"));
    end(&p, &s);
}

static void test_web__refuses_what_is_not_protected(void **state)
{
    (void)state;
    static const char *const uris[] = {"http://example.org/x", "http://127.evil.org/x",
                                       "http://localhost.evil.org/x", "http://user@h/x",
                                       "https://me:secret@h/x"};
    struct net *n = net_open(&(struct net_options){0});
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        struct object o;
        struct err e = {0};
        assert_int_equal(store_stat(n, uris[i], &o, &e), -1);
        assert_int_equal(e.kind, ERR_DATA);
        assert_non_null(strstr(e.text, i < 3 ? "http is not protected" : "are not sent"));
        assert_null(strstr(e.text, "secret"));
    }
    net_close(n);
}

static void test_web__reads_an_empty_file(void **state)
{
    (void)state;
    struct page p;
    struct site s;
    struct object o;
    struct err e = {0};
    char uri[200];
    size_t size;
    begin(&p, &s, "/empty", uri);
    p.size = 0;
    must(store_stat(s.net, uri, &o, &e));
    assert_int_equal(o.size, 0);
    p.has_no_ranges = true;
    char *data = store_load(s.net, &o, 10, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 0);
    free(data);
    object_release(&o);
    end(&p, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_web__pins_a_version),
        cmocka_unit_test(test_web__reads_whole_files_of_servers_without_ranges),
        cmocka_unit_test(test_web__wants_to_know_the_length),
        cmocka_unit_test(test_web__sends_addresses_that_are_ones),
        cmocka_unit_test(test_web__refuses_what_is_not_protected),
        cmocka_unit_test(test_web__reads_an_empty_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
