/* The Hugging Face Hub: revisions, redirects to other hosts, addresses that expire, lists in
 * pages. */
#include "store_testing.h"

#include "base/file.h"
#include "base/hash.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

/* The Hub, and another host where its large files lie. */
struct hub {
    struct http_server *other;
    unsigned char *data;
    size_t size;
    char sha256[HASH_HEX_SIZE];
    const char *repo;             /* "datasets/org/name" */
    const char *revision;         /* as it is sent */
    bool is_large;                /* lies at the other host */
    int signature;                /* that is good now */
    int revisions, resolves, lists, elsewhere, limited;
    bool renames;                 /* first a redirect inside the Hub */
};

static void serve_other(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct hub *h = arg;
    char wanted[60];
    h->elsewhere++;
    /* Our token is not for others. */
    server_expects_text(server_header(q, "authorization"), "");
    snprintf(wanted, sizeof wanted, "/blob?X-Sig=%d", h->signature);
    if (strcmp(q->path, wanted) != 0)
        reply_text(r, 403, "<Error><Message>Request has expired</Message></Error>");
    else
        reply_bytes(q, r, h->data, h->size, "ETag: \"cdn\"\r\n");
}

static void serve_file(struct hub *h, const struct server_request *q, struct server_reply *r)
{
    h->resolves++;
    if (h->renames && !strstr(q->path, "/new-name/")) {
        *r = (struct server_reply){.status = 307};
        r->headers = reply_headers(q, "Location: /datasets/org/new-name/resolve/" COMMIT
                                      "/a%%20b%%25/%%C3%%A9.tar\r\n");
        return;
    }
    server_expects(strstr(q->path, "/resolve/" COMMIT "/a%20b%25/%C3%A9.tar"));
    if (h->is_large) {
        *r = (struct server_reply){.status = 302};
        r->headers = reply_headers(q,
                                   "Location: %s/blob?X-Sig=%d\r\nX-Repo-Commit: " COMMIT
                                   "\r\nX-Linked-Size: %zu\r\nX-Linked-Etag: \"%s\"\r\n",
                                   http_server_url(h->other), h->signature, h->size, h->sha256);
        return;
    }
    reply_bytes(q, r, h->data, h->size,
                "ETag: \"ce013625030ba8dba906f756967f9e9ca394464a\"\r\nX-Repo-Commit: " COMMIT
                "\r\n");
}

static void serve_list(struct hub *h, const struct server_request *q, struct server_reply *r)
{
    static const char first[] =
        "[{\"type\":\"directory\",\"oid\":\"1\",\"size\":0,\"path\":\"a b\"},"
        "{\"type\":\"file\",\"oid\":\"2\",\"size\":135,\"path\":\"a b/z 2\",\"lfs\":{\"oid\":"
        "\"15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225\",\"size\":5000000000,"
        "\"pointerSize\":135}}]";
    static const char last[] =
        "[{\"type\":\"file\",\"oid\":\"3\",\"size\":7,\"path\":\"a b/z1\"},"
        "{\"type\":\"file\",\"oid\":\"3\",\"size\":7,\"path\":\"a b/other\"}]";
    static const char *const pages[] = {first, "[]", last};
    const char *cursor = strstr(q->path, "cursor=");
    int page = cursor ? atoi(cursor + 7) : 0;
    h->lists++;
    server_expects(strstr(q->path, "/api/datasets/org/name/tree/" COMMIT "/a%20b?recursive=true"));
    reply_text(r, 200, pages[page]);
    if (page < 2)
        r->headers = reply_headers(
            q, "Link: <https://huggingface.co%.*s?recursive=true&cursor=%d>; rel=\"next\"\r\n",
            (int)strcspn(q->path, "?"), q->path, page + 1);
}

static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct hub *h = arg;
    char wanted[300], text[200];
    server_expects_text(server_header(q, "authorization"), "Bearer hf_token");
    if (h->limited > 0) {
        h->limited--;
        reply_text(r, 429, "{\"error\":\"Too many requests\"}");
        r->headers = "RateLimit: \"resolvers\";r=0;t=42\r\n";
        return;
    }
    snprintf(wanted, sizeof wanted, "/api/%s/revision/%s?", h->repo, h->revision);
    if (strncmp(q->path, wanted, strlen(wanted)) == 0) {
        h->revisions++;
        snprintf(text, sizeof text, "{\"id\":\"org/name\",\"sha\":\"" COMMIT "\"}");
        reply_text(r, 200, text);
    } else if (strstr(q->path, "/resolve/")) {
        serve_file(h, q, r);
    } else if (strstr(q->path, "/tree/")) {
        serve_list(h, q, r);
    } else {
        reply_text(r, 404, "{\"error\":\"Repository not found\"}");
    }
}

static void begin(struct hub *h, struct site *s)
{
    *h = (struct hub){.data = testing_bytes(3000),
                      .size = 3000,
                      .repo = "datasets/org/name",
                      .revision = "main",
                      .is_large = true,
                      .signature = 1};
    hash_bytes(h->data, h->size, h->sha256);
    h->other = http_server_start(serve_other, h);
    setenv("HF_TOKEN", "hf_token", 1);
    site_open(s, "HF_ENDPOINT", serve, h, NULL);
}

static void end(struct hub *h, struct site *s)
{
    site_close(s);
    http_server_stop(h->other);
    free(h->data);
}

#define FILE_PATH "/a b%/\xc3\xa9.tar"

static void test_hf__reads_large_files_where_they_lie(void **state)
{
    (void)state;
    struct hub h;
    struct site s;
    struct object o;
    struct err e = {0};
    char out[100];
    size_t size;
    begin(&h, &s);
    must(store_stat(s.net, "hf://datasets/org/name" FILE_PATH, &o, &e));
    assert_int_equal(o.size, 3000);
    assert_string_equal(o.version, COMMIT);
    assert_string_equal(o.digest, h.sha256);
    for (int i = 0; i < 3; i++)
        must(store_read(s.net, &o, 900 * i, out, 100, 0, NULL, &e));
    assert_memory_equal(out, h.data + 1800, 100);
    /* The branch and the place are asked for once. */
    assert_int_equal(h.revisions, 1);
    assert_int_equal(h.resolves, 1);
    assert_int_equal(h.elsewhere, 3);

    /* The signature expires. */
    h.signature = 2;
    must(store_read(s.net, &o, 0, out, 100, 0, NULL, &e));
    assert_memory_equal(out, h.data, 100);
    assert_int_equal(h.resolves, 2);
    assert_int_equal(h.elsewhere, 5);

    char *data = store_load(s.net, &o, 3000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 3000);
    assert_memory_equal(data, h.data, 3000);
    free(data);
    object_release(&o);
    end(&h, &s);
}

static void test_hf__checks_the_sha256(void **state)
{
    (void)state;
    struct hub h;
    struct site s;
    struct object o;
    struct err e = {0};
    size_t size;
    begin(&h, &s);
    h.data[1500] ^= 1;
    object_init(&o, "hf://datasets/org/name" FILE_PATH);
    assert_null(store_load(s.net, &o, 3000, &size, &e));
    assert_err(e, ERR_INTEGRITY, "digest is ");
    assert_int_equal(h.elsewhere, 4);
    object_release(&o);
    end(&h, &s);
}

static void test_hf__reads_small_files_at_the_hub(void **state)
{
    (void)state;
    struct hub h;
    struct site s;
    struct object o;
    struct err e = {0};
    char out[100];
    size_t size;
    begin(&h, &s);
    h.is_large = false;
    h.renames = true;
    object_init(&o, "hf://datasets/org/name" FILE_PATH);
    char *data = store_load(s.net, &o, 3000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 3000);
    assert_memory_equal(data, h.data, 3000);
    assert_string_equal(o.version, COMMIT);
    assert_string_equal(o.digest, "");
    must(store_read(s.net, &o, 5, out, 100, 0, NULL, &e));
    assert_memory_equal(out, h.data + 5, 100);
    assert_int_equal(h.elsewhere, 0);
    free(data);
    object_release(&o);
    end(&h, &s);
}

static void test_hf__takes_names_apart(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *repo, *revision;
    } cases[] = {
        {"hf://datasets/org/name@v1.0" FILE_PATH, "datasets/org/name", "v1.0"},
        {"hf://datasets/org/name@refs%2Fpr%2F3" FILE_PATH, "datasets/org/name", "refs%2Fpr%2F3"},
        {"hf://datasets/org/name@refs/convert/parquet" FILE_PATH, "datasets/org/name",
         "refs%2Fconvert%2Fparquet"},
        {"hf://org/name" FILE_PATH, "models/org/name", "main"},
        {"hf://org/name@" COMMIT FILE_PATH, "models/org/name", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hub h;
        struct site s;
        struct object o;
        struct err e = {0};
        begin(&h, &s);
        h.repo = cases[i].repo;
        h.revision = cases[i].revision ? cases[i].revision : "none";
        must(store_stat(s.net, cases[i].uri, &o, &e));
        assert_int_equal(h.revisions, cases[i].revision != NULL);
        assert_string_equal(o.version, COMMIT);
        object_release(&o);
        end(&h, &s);
    }
    static const char *const bad[] = {"hf://",
                                      "hf://org",
                                      "hf://org/name",
                                      "hf://org/name/",
                                      "hf://datasets/org/x",
                                      "hf://org/name@/x",
                                      "hf://org/na?me/x"};
    struct net *n = net_open(&(struct net_options){0});
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct object o;
        struct err e = {0};
        assert_int_equal(store_stat(n, bad[i], &o, &e), -1);
        assert_err(e, ERR_DATA, "names no file");
    }
    net_close(n);
}

static void test_hf__lists_pages(void **state)
{
    (void)state;
    struct hub h;
    struct site s;
    struct object_list l;
    struct err e = {0};
    begin(&h, &s);
    must(store_list(s.net, "hf://datasets/org/name@main/a b/z", 100, &l, &e));
    assert_int_equal(h.lists, 3);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.at[0].uri, "hf://datasets/org/name@main/a b/z 2");
    assert_int_equal(l.at[0].size, 5000000000);
    assert_string_equal(l.at[0].digest,
                        "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    assert_string_equal(l.at[0].version, COMMIT);
    assert_string_equal(l.at[1].uri, "hf://datasets/org/name@main/a b/z1");
    assert_string_equal(l.at[1].digest, "");
    object_list_release(&l);
    assert_int_equal(store_list(s.net, "hf://datasets/org/name@main/a b/z", 1, &l, &e), -1);
    assert_err(e, ERR_DATA, "more than 1 objects");
    e = (struct err){0};
    assert_int_equal(store_list(s.net, "hf://datasets/org/other/a", 1, &l, &e), -1);
    assert_err(e, ERR_DATA, "404: Repository not found");
    end(&h, &s);
}

static void test_hf__waits_as_long_as_the_hub_asks(void **state)
{
    (void)state;
    struct hub h;
    struct site s;
    struct object o;
    struct err e = {0};
    begin(&h, &s);
    h.limited = 1;
    must(store_stat(s.net, "hf://datasets/org/name" FILE_PATH, &o, &e));
    assert_true(s.now >= 42);
    object_release(&o);
    end(&h, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hf__reads_large_files_where_they_lie),
        cmocka_unit_test(test_hf__checks_the_sha256),
        cmocka_unit_test(test_hf__reads_small_files_at_the_hub),
        cmocka_unit_test(test_hf__takes_names_apart),
        cmocka_unit_test(test_hf__lists_pages),
        cmocka_unit_test(test_hf__waits_as_long_as_the_hub_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
