/* Google Cloud Storage: names, lists, ranges that are checked, objects that change. */
#include "store_testing.h"

#include <zlib.h>

#include "base/crc32c.h"
#include "net/checksum.h"

/* What happens to an answer with bytes. */
enum fault {
    FAULT_NONE,
    FAULT_RANGE,                  /* another range than was asked for */
    FAULT_200,                    /* the range is ignored */
    FAULT_CUT,                    /* the connection ends in the middle */
    FAULT_CUT_NO_LENGTH,          /* the same, and nothing tells that it is the middle */
    FAULT_RESET,
    FAULT_503,                    /* an error with a body */
    FAULT_429,
    FAULT_FLIP,                   /* one bit */
    FAULT_TOTAL,                  /* the object has another size */
};

/* A bucket of one object. */
struct bucket {
    const char *path;             /* "/storage/v1/b/bk/o/..." */
    unsigned char *data;
    size_t size;
    const char *generation;       /* "": there is none */
    const char *metadata;         /* more of it: ",\"a\":\"b\"" */
    const char *headers;          /* more of them, on bytes */
    const char *authorization;    /* NULL: none may come */
    bool wants_payer;
    enum fault fault;
    int faults;                   /* so many answers have it; -1: all */
    int requests;                 /* for bytes */
    unsigned char *flipped;
};

static void fail_reply(struct bucket *b, struct server_reply *r)
{
    switch (b->fault) {
    case FAULT_CUT:
        r->fault = SERVER_CLOSE;
        r->cut = r->size / 2;
        break;
    case FAULT_CUT_NO_LENGTH:
        r->hides_length = true;
        r->size /= 2;
        break;
    case FAULT_RESET:
        r->fault = SERVER_RESET;
        r->cut = r->size / 2;
        break;
    case FAULT_503: reply_text(r, 503, "<html>this must not be taken for data</html>"); break;
    case FAULT_429: reply_text(r, 429, "slower"); break;
    case FAULT_FLIP:
        free(b->flipped);
        b->flipped = xmemdup(r->body, r->size);
        b->flipped[r->size / 2] ^= 4;
        r->body = b->flipped;
        break;
    default: break;
    }
}

static void reply_media(struct bucket *b, const struct server_request *q, struct server_reply *r)
{
    char headers[500], crc[CHECKSUM_CRC32C_SIZE];
    int64_t first, last;
    bool is_faulty = b->faults == -1 || b->faults > 0;
    b->requests++;
    server_expects_text(server_header(q, "accept-encoding"), "gzip");
    checksum_crc32c_write(crc32c(0, b->data, b->size), crc);
    snprintf(headers, sizeof headers,
             "X-Goog-Generation: %s\r\nX-Goog-Hash: crc32c=%s\r\nX-Goog-Hash: md5=bad\r\n%s",
             b->generation, crc, b->headers ? b->headers : "");
    if (is_faulty && b->fault == FAULT_200) {
        *r = (struct server_reply){.status = 200, .body = b->data, .size = b->size};
        r->headers = reply_headers(q, "%s", headers);
    } else {
        reply_bytes(q, r, b->data, b->size, headers);
    }
    if (!is_faulty)
        return;
    if (b->faults > 0)
        b->faults--;
    if ((b->fault == FAULT_RANGE || b->fault == FAULT_TOTAL) && server_range(q, &first, &last)) {
        int shift = b->fault == FAULT_RANGE;
        r->headers =
            reply_headers(q, "Content-Range: bytes %lld-%lld/%zu\r\n", (long long)first + shift,
                          (long long)last + shift, b->size + (size_t)!shift);
    }
    fail_reply(b, r);
}

static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct bucket *b = arg;
    size_t size = strlen(b->path);
    char wanted[60], text[1000];
    const char *generation = strstr(q->path, "generation=");
    server_expects_text(server_header(q, "authorization"),
                        b->authorization ? b->authorization : "");
    if (b->wants_payer)
        server_expects(strstr(q->path, "&userProject=my-project"));
    snprintf(wanted, sizeof wanted, "generation=%s", b->generation);
    if (strncmp(q->path, b->path, size) != 0 || q->path[size] != '?' || !*b->generation ||
        (strstr(q->path, "alt=media") && generation &&
         strncmp(generation, wanted, strlen(wanted)) != 0)) {
        reply_text(r, 404, "{\"error\":{\"code\":404,\"message\":\"No such object: bk/x\"}}");
    } else if (strstr(q->path, "alt=media")) {
        reply_media(b, q, r);
    } else {
        char crc[CHECKSUM_CRC32C_SIZE];
        checksum_crc32c_write(crc32c(0, b->data, b->size), crc);
        snprintf(text, sizeof text,
                 "{\"name\":\"x\",\"size\":\"%zu\",\"generation\":\"%s\",\"crc32c\":\"%s\"%s}",
                 b->size, b->generation, crc, b->metadata ? b->metadata : "");
        reply_text(r, 200, text);
    }
}

static struct bucket make(size_t size)
{
    return (struct bucket){.path = "/storage/v1/b/bk/o/x",
                           .data = testing_bytes(size),
                           .size = size,
                           .generation = "1700000000000001"};
}

static void destroy(struct bucket *b)
{
    free(b->data);
    free(b->flipped);
}

/* -------------------------------------------------------------------------------- facts -- */

static void test_gcs__encodes_names_and_names_the_payer(void **state)
{
    (void)state;
    struct bucket b = make(100);
    struct site s;
    struct object o;
    struct err e = {0};
    char bytes[10];
    b.path = "/storage/v1/b/bk/o/a%20b%25c%20%C3%A9%2Fd%2Be%3F%23.txt";
    b.wants_payer = true;
    b.metadata = ",\"md5Hash\":\"1B2M2Y8AsgTpgAmY7PhCfg==\"";
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, "my-project");
    must(store_stat(s.net, "gs://bk/a b%c \xc3\xa9/d+e?#.txt", &o, &e));
    assert_int_equal(o.size, 100);
    assert_string_equal(o.version, "1700000000000001");
    assert_true(o.has_crc32c);
    assert_int_equal(o.crc32c, crc32c(0, b.data, 100));
    assert_string_equal(o.digest, "d41d8cd98f00b204e9800998ecf8427e");
    assert_false(o.is_gzip);
    must(store_read(s.net, &o, 5, bytes, 10, 0, NULL, &e));
    assert_memory_equal(bytes, b.data + 5, 10);
    assert_int_equal(http_server_requests(s.server), 2);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__reads_the_emulators_name_with_and_without_scheme(void **state)
{
    (void)state;
    struct bucket b = make(3);
    struct site s;
    struct object o;
    struct err e = {0};
    char host[60];
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    snprintf(host, sizeof host, "%s", http_server_url(s.server) + strlen("http://"));
    setenv("STORAGE_EMULATOR_HOST", host, 1);
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    object_release(&o);
    snprintf(host, sizeof host, "%s/", http_server_url(s.server));
    setenv("STORAGE_EMULATOR_HOST", host, 1);
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    const struct server_reply *as = arg;
    (void)q;
    reply_text(r, as->status, as->body);
    r->headers = as->headers;
}

/* A private endpoint is asked with the token that the credentials give. */
static void test_gcs__logs_in_at_a_private_endpoint(void **state)
{
    (void)state;
    struct bucket b = make(3);
    struct site s, metadata;
    struct object o;
    struct err e = {0};
    struct server_reply token = {.status = 200,
                                 .headers = "Metadata-Flavor: Google\r\n",
                                 .body = "{\"access_token\":\"t0ken\",\"expires_in\":3600}"};
    char host[60];
    b.authorization = "Bearer t0ken";
    site_open(&metadata, "GCE_METADATA_URL", answer, &token, NULL);
    site_open(&s, "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", serve, &b, NULL);
    snprintf(host, sizeof host, "%s", http_server_url(metadata.server) + strlen("http://"));
    setenv("GCE_METADATA_HOST", host, 1);
    unsetenv("STORAGE_EMULATOR_HOST");
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    object_release(&o);
    setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "http://example.org/", 1);
    assert_int_equal(store_stat(s.net, "gs://bk/x", &o, &e), -1);
    assert_err(e, ERR_USAGE, "http://example.org/: a token may go over https only");
    unsetenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE");
    unsetenv("GCE_METADATA_HOST");
    site_close(&s);
    site_close(&metadata);
    destroy(&b);
}

static void test_gcs__refuses_metadata_without_sense(void **state)
{
    (void)state;
    static const struct {
        const char *generation, *metadata, *text;
    } cases[] = {
        {"12x", "", "\"generation\" is a string, expected a number"},
        {"1", ",\"contentEncoding\":5", "\"contentEncoding\": expected a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bucket b = make(3);
        struct site s;
        struct object o;
        struct err e = {0};
        b.generation = cases[i].generation;
        b.metadata = cases[i].metadata;
        site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
        assert_int_equal(store_stat(s.net, "gs://bk/x", &o, &e), -1);
        assert_err(e, ERR_DATA, cases[i].text);
        assert_err(e, ERR_DATA, "gs://bk/x");
        site_close(&s);
        destroy(&b);
    }
}

/* Each is told at once, not after minutes of patience. */
static void test_gcs__fails_fast_where_patience_is_of_no_use(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err_kind kind;
        const char *body, *text, *hint;
    } cases[] = {
        {403, ERR_LOGIN, "{\"error\":{\"message\":\"x does not have storage.objects.get access\"}}",
         "gs://bk/x: 403: x does not have storage.objects.get access",
         "they need storage.objects.get on gs://bk"},
        {401, ERR_LOGIN, "{\"error\":{\"message\":\"Anonymous caller\"}}",
         "gs://bk/x: 401: Anonymous caller", "the credentials used are: "},
        {404, ERR_DATA, "Not Found", "gs://bk/x: 404", ""},
        {400, ERR_USAGE,
         "{\"error\":{\"message\":\"Bucket is a requester pays bucket but no user project "
         "provided.\"}}",
         "requester pays", "--user-project"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct server_reply as = {.status = cases[i].status, .body = cases[i].body};
        struct site s;
        struct object o;
        struct err e = {0};
        size_t size;
        site_open(&s, "STORAGE_EMULATOR_HOST", answer, &as, NULL);
        assert_int_equal(store_stat(s.net, "gs://bk/x", &o, &e), -1);
        assert_err(e, cases[i].kind, cases[i].text);
        assert_non_null(strstr(e.hint, cases[i].hint));
        assert_int_equal(http_server_requests(s.server), 1);
        e = (struct err){0};
        object_init(&o, "gs://bk/x");
        assert_null(store_load(s.net, &o, 100, &size, &e));
        assert_err(e, cases[i].kind, cases[i].text);
        assert_int_equal(http_server_requests(s.server), 2);
        assert_near(s.now, 0, 0);
        object_release(&o);
        site_close(&s);
    }
}

static void test_gcs__refuses_uris_without_a_name(void **state)
{
    (void)state;
    static const char *const uris[] = {"gs://", "gs://bk", "gs://bk/", "gs:///x"};
    struct net *n = net_open(&(struct net_options){0});
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        struct err e = {0};
        struct object o;
        assert_int_equal(store_stat(n, uris[i], &o, &e), -1);
        assert_err(e, ERR_DATA, "names no object");
    }
    net_close(n);
}

/* --------------------------------------------------------------------------------- list -- */

struct pages {
    int items;                    /* in all */
    int requests;
    bool repeats;
};

/* Items 2500 .. 0 in pages of 1000, the second page empty. */
static void serve_pages(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct pages *p = arg;
    const char *token = strstr(q->path, "pageToken=");
    int page = token ? atoi(token + strlen("pageToken=t%2F")) : 0;
    p->requests++;
    server_expects(strncmp(q->path, "/storage/v1/b/bk/o?", 19) == 0);
    server_expects(strstr(q->path, "prefix=dir%2F"));
    server_expects(strstr(q->path, "&userProject=payer"));
    server_expects(strstr(q->path, "fields=nextPageToken,items("));
    int first = page < 1 ? 0 : (page - 1) * 1000, count = page == 1 ? 0 : 1000;
    if (count > p->items - first)
        count = p->items - first;
    size_t room = 200 * (size_t)count + 200, size;
    char *text = xmalloc(room);
    size = (size_t)snprintf(text, room, "{\"kind\":\"storage#objects\"");
    if (first + count < p->items || p->repeats)
        size += (size_t)snprintf(text + size, room - size, ",\"nextPageToken\":\"t/%d\"",
                                 p->repeats && page ? page : page + 1);
    for (int i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, room - size,
                                 "%s{\"name\":\"dir/%s%05d\",\"size\":\"%d\",\"generation\":\"7\"}",
                                 i ? "," : ",\"items\":[", i % 2 ? "\xc3\xa9" : "Z",
                                 p->items - 1 - first - i, i + 1);
    size += (size_t)snprintf(text + size, room - size, "%s}", count ? "]" : "");
    *r = (struct server_reply){.status = 200, .owned = text, .size = size};
}

static void test_gcs__lists_all_pages_also_empty_ones(void **state)
{
    (void)state;
    struct pages p = {.items = 2501};
    struct site s;
    struct object_list l;
    struct err e = {0};
    site_open(&s, "STORAGE_EMULATOR_HOST", serve_pages, &p, "payer");
    must(store_list(s.net, "gs://bk/dir/", 10000, &l, &e));
    assert_int_equal(l.count, 2501);
    assert_int_equal(p.requests, 4);
    for (int64_t i = 1; i < l.count; i++)
        assert_true(strcmp(l.at[i - 1].uri, l.at[i].uri) < 0);
    assert_string_equal(l.at[0].uri, "gs://bk/dir/Z00000");
    assert_string_equal(l.at[0].version, "7");
    assert_int_equal(l.at[0].size, 501);
    assert_string_equal(l.at[2500].uri, "gs://bk/dir/\xc3\xa9"
                                        "02499");
    object_list_release(&l);

    assert_int_equal(store_list(s.net, "gs://bk/dir/", 2500, &l, &e), -1);
    assert_err(e, ERR_DATA, "more than 2500 objects");
    site_close(&s);
}

static void test_gcs__ends_a_list_that_goes_in_circles(void **state)
{
    (void)state;
    struct pages p = {.items = 10, .repeats = true};
    struct site s;
    struct object_list l;
    struct err e = {0};
    site_open(&s, "STORAGE_EMULATOR_HOST", serve_pages, &p, "payer");
    assert_int_equal(store_list(s.net, "gs://bk/dir/", 100000, &l, &e), -1);
    assert_err(e, ERR_FAILED, "the same page again");
    site_close(&s);
}

static void test_gcs__leaves_folder_markers_out(void **state)
{
    (void)state;
    struct server_reply as = {
        .status = 200,
        .body = "{\"items\":[{\"name\":\"a/\",\"size\":\"0\",\"generation\":\"1\"},"
                "{\"name\":\"a/b\",\"size\":\"0\",\"generation\":\"2\",\"contentEncoding\":"
                "\"gzip\"}]}"};
    struct site s;
    struct object_list l;
    struct err e = {0};
    site_open(&s, "STORAGE_EMULATOR_HOST", answer, &as, NULL);
    must(store_list(s.net, "gs://bk/a", 10, &l, &e));
    assert_int_equal(l.count, 1);
    assert_string_equal(l.at[0].uri, "gs://bk/a/b");
    assert_true(l.at[0].is_gzip);
    assert_false(l.at[0].has_crc32c);
    object_list_release(&l);
    as.body = "{\"items\":[{\"size\":\"0\"}]}";
    assert_int_equal(store_list(s.net, "gs://bk/a", 10, &l, &e), -1);
    assert_err(e, ERR_DATA, "\"name\" is missing");
    e = (struct err){0};
    as.body = "{\"items\":[";
    assert_int_equal(store_list(s.net, "gs://bk/a", 10, &l, &e), -1);
    assert_err(e, ERR_FAILED, "gs://bk/a: answer:1");
    site_close(&s);
}

/* -------------------------------------------------------------------------------- bytes -- */

/* Faults that pass are mended, and the bytes are right. */
static void test_gcs__mends_what_goes_wrong_on_the_way(void **state)
{
    (void)state;
    static const enum fault faults[] = {FAULT_RANGE, FAULT_200, FAULT_CUT, FAULT_CUT_NO_LENGTH,
                                        FAULT_RESET, FAULT_503, FAULT_429, FAULT_TOTAL};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct bucket b = make(100000);
        struct site s;
        struct object o;
        struct err e = {0};
        uint32_t crc = 0;
        unsigned char *out = xcalloc(1, 30000);
        site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
        must(store_stat(s.net, "gs://bk/x", &o, &e));
        b.fault = faults[i];
        b.faults = 2;
        must(store_read(s.net, &o, 50000, out, 30000, 0, &crc, &e));
        assert_memory_equal(out, b.data + 50000, 30000);
        assert_int_equal(crc, crc32c(0, b.data + 50000, 30000));
        assert_int_equal(b.requests, 3);
        struct net_stats stats;
        net_stats(s.net, &stats);
        assert_int_equal(stats.retries, 2);
        free(out);
        object_release(&o);
        site_close(&s);
        destroy(&b);
    }
}

/* What stays wrong is an error that tells what is wrong; soon, where the answer itself is wrong. */
static void test_gcs__says_what_stays_wrong(void **state)
{
    (void)state;
    static const struct {
        enum fault fault;
        enum err_kind kind;
        int requests_max;
        const char *text;
    } cases[] = {
        {FAULT_RANGE, ERR_INTEGRITY, 4, "bytes 51-80 came, expected 50-79"},
        {FAULT_200, ERR_DATA, 4, "the server ignores ranges"},
        {FAULT_TOTAL, ERR_INTEGRITY, 4, "has 1001 bytes now, expected 1000"},
        {FAULT_CUT_NO_LENGTH, ERR_RETRY, 1000, "15 bytes came, expected 30"},
        {FAULT_503, ERR_RETRY, 1000, "503 x "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bucket b = make(1000);
        struct site s;
        struct object o;
        struct err e = {0};
        char out[30];
        site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
        must(store_stat(s.net, "gs://bk/x", &o, &e));
        b.fault = cases[i].fault;
        b.faults = -1;
        assert_int_equal(store_read(s.net, &o, 50, out, 30, 0, NULL, &e), -1);
        assert_err(e, cases[i].kind, cases[i].text);
        assert_err(e, cases[i].kind, "gs://bk/x");
        assert_true(b.requests <= cases[i].requests_max);
        object_release(&o);
        site_close(&s);
        destroy(&b);
    }
}

static void test_gcs__takes_a_200_that_is_the_whole(void **state)
{
    (void)state;
    struct bucket b = make(1000);
    struct site s;
    struct object o;
    struct err e = {0};
    char out[1000];
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    b.fault = FAULT_200;
    b.faults = -1;
    must(store_read(s.net, &o, 0, out, 1000, 0, NULL, &e));
    assert_memory_equal(out, b.data, 1000);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__reads_nothing_outside_the_object(void **state)
{
    (void)state;
    struct bucket b = make(10);
    struct site s;
    struct object o;
    struct err e = {0};
    char out[20];
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    must(store_read(s.net, &o, 10, out, 0, 0, NULL, &e));
    assert_int_equal(store_read(s.net, &o, 5, out, 6, 0, NULL, &e), -1);
    assert_err(e, ERR_DATA, "has 10 bytes, 6 at 5 were asked for");
    assert_int_equal(b.requests, 0);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__catches_a_flipped_bit(void **state)
{
    (void)state;
    struct bucket b = make(1000);
    struct site s;
    struct object o;
    struct err e = {0};
    char out[1000];
    size_t size;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    object_init(&o, "gs://bk/x");
    b.fault = FAULT_FLIP;
    b.faults = 2;
    char *data = store_load(s.net, &o, 5000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 1000);
    assert_memory_equal(data, b.data, 1000);
    assert_int_equal(b.requests, 3);
    assert_string_equal(o.version, "1700000000000001");
    assert_int_equal(o.size, 1000);
    free(data);

    b.faults = 1;
    must(store_read(s.net, &o, 0, out, 1000, 0, NULL, &e));
    assert_memory_equal(out, b.data, 1000);

    b.faults = -1;
    b.requests = 0;
    assert_null(store_load(s.net, &o, 5000, &size, &e));
    assert_err(e, ERR_INTEGRITY, "gs://bk/x: CRC-32C is ");
    assert_int_equal(b.requests, 4);
    e = (struct err){0};
    assert_int_equal(store_read(s.net, &o, 0, out, 1000, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "CRC-32C");
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__names_both_generations_of_a_replaced_object(void **state)
{
    (void)state;
    struct bucket b = make(1000);
    struct site s;
    struct object o;
    struct err e = {0};
    char out[10];
    size_t size;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    must(store_stat(s.net, "gs://bk/x", &o, &e));
    b.generation = "1700000000000002";
    assert_int_equal(store_read(s.net, &o, 5, out, 10, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY,
               "gs://bk/x: was replaced: its generation is 1700000000000002, "
               "expected 1700000000000001");
    e = (struct err){0};
    assert_null(store_load(s.net, &o, 10000, &size, &e));
    assert_err(e, ERR_INTEGRITY, "was replaced");
    e = (struct err){0};
    b.generation = "";
    assert_int_equal(store_read(s.net, &o, 5, out, 10, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "was deleted: generation 1700000000000001 is not there");
    assert_near(s.now, 0, 0);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

/* -------------------------------------------------------------------------------- whole -- */

static void test_gcs__loads_by_one_request(void **state)
{
    (void)state;
    struct bucket b = make(5000);
    struct site s;
    struct object o;
    struct err e = {0};
    size_t size;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    object_init(&o, "gs://bk/x");
    char *data = store_load(s.net, &o, 5000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 5000);
    assert_memory_equal(data, b.data, 5000);
    assert_int_equal(data[5000], 0);
    assert_int_equal(http_server_requests(s.server), 1);
    assert_true(o.has_crc32c);
    free(data);
    assert_null(store_load(s.net, &o, 4999, &size, &e));
    assert_err(e, ERR_DATA, "gs://bk/x: has 5000 bytes, more than 4999");
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__loads_an_empty_object(void **state)
{
    (void)state;
    struct bucket b = make(0);
    struct site s;
    struct object o = {.uri = xstrdup("gs://bk/x")};
    struct err e = {0};
    size_t size = 7;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    char *data = store_load(s.net, &o, 100, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    assert_string_equal(o.version, "1700000000000001");
    assert_int_equal(o.size, 0);
    free(data);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__loads_a_large_object_in_parts(void **state)
{
    (void)state;
    struct bucket b = make((40 << 20) + 5);
    struct site s;
    struct object o;
    struct err e = {0};
    size_t size;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    object_init(&o, "gs://bk/x");
    char *data = store_load(s.net, &o, 50 << 20, &size, &e);
    assert_ok(e);
    assert_int_equal(size, b.size);
    assert_memory_equal(data, b.data, b.size);
    assert_int_equal(b.requests, 3);
    free(data);
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

/* An object that is stored packed by gzip, with these bytes inside. */
static struct bucket make_gzip(const char *text, size_t size)
{
    struct bucket b = make(0);
    z_stream z = {0};
    free(b.data);
    b.data = xmalloc(size + 1000);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)size;
    z.next_out = b.data;
    z.avail_out = (uInt)(size + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.size = z.total_out;
    deflateEnd(&z);
    b.metadata = ",\"contentEncoding\":\"gzip\"";
    b.headers = "Content-Encoding: gzip\r\nX-Goog-Stored-Content-Encoding: gzip\r\n";
    return b;
}

static void test_gcs__undoes_gzip(void **state)
{
    (void)state;
    enum { SIZE = 700000 };
    char *text = xmalloc(SIZE), part[5];
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)('a' + (i * i / 7) % 26);
    struct bucket b = make_gzip(text, SIZE);
    struct site s;
    struct object o;
    struct err e = {0};
    size_t size;
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    object_init(&o, "gs://bk/x");
    char *data = store_load(s.net, &o, SIZE, &size, &e);
    assert_ok(e);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, text, SIZE);
    assert_true(o.is_gzip);
    assert_int_equal(o.size, b.size);
    free(data);

    /* Parts are of the stored bytes. */
    must(store_read(s.net, &o, 2, part, 5, 0, NULL, &e));
    assert_memory_equal(part, b.data + 2, 5);

    assert_null(store_load(s.net, &o, SIZE - 1, &size, &e));
    assert_true(e.kind);
    assert_non_null(strstr(e.text, "its unpacked content"));
    e = (struct err){0};
    b.size -= 9;
    object_release(&o);
    object_init(&o, "gs://bk/x");
    assert_null(store_load(s.net, &o, SIZE, &size, &e));
    assert_err(e, ERR_DATA, "not whole gzip data");
    object_release(&o);
    site_close(&s);
    destroy(&b);
    free(text);
}

/* The service unpacks an object on the way although we told that we take gzip: no range, no
 * length, and a checksum of other bytes. */
static void test_gcs__notices_bytes_unpacked_on_the_way(void **state)
{
    (void)state;
    struct bucket b = make(1000);
    struct site s;
    struct object o;
    struct err e = {0};
    size_t size;
    b.fault = FAULT_200;
    b.faults = -1;
    b.headers = "X-Goog-Stored-Content-Encoding: gzip\r\nX-Goog-Stored-Content-Length: 300\r\n";
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &b, NULL);
    object_init(&o, "gs://bk/x");
    assert_null(store_load(s.net, &o, 10000, &size, &e));
    assert_err(e, ERR_INTEGRITY, "1000 bytes came, 300 are stored");
    object_release(&o);
    site_close(&s);
    destroy(&b);
}

static void test_gcs__removes_what_may_not_be_there(void **state)
{
    (void)state;
    struct server_reply as = {.status = 404, .body = "Not Found"};
    struct site s;
    struct err e = {0};
    site_open(&s, "STORAGE_EMULATOR_HOST", answer, &as, NULL);
    must(store_remove(s.net, "gs://bk/x", &e));
    as.status = 403;
    assert_int_equal(store_remove(s.net, "gs://bk/x", &e), -1);
    assert_err(e, ERR_LOGIN, "gs://bk/x: 403");
    assert_non_null(strstr(e.hint, "storage.objects.delete"));
    site_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcs__encodes_names_and_names_the_payer),
        cmocka_unit_test(test_gcs__reads_the_emulators_name_with_and_without_scheme),
        cmocka_unit_test(test_gcs__logs_in_at_a_private_endpoint),
        cmocka_unit_test(test_gcs__refuses_metadata_without_sense),
        cmocka_unit_test(test_gcs__fails_fast_where_patience_is_of_no_use),
        cmocka_unit_test(test_gcs__refuses_uris_without_a_name),
        cmocka_unit_test(test_gcs__lists_all_pages_also_empty_ones),
        cmocka_unit_test(test_gcs__ends_a_list_that_goes_in_circles),
        cmocka_unit_test(test_gcs__leaves_folder_markers_out),
        cmocka_unit_test(test_gcs__mends_what_goes_wrong_on_the_way),
        cmocka_unit_test(test_gcs__says_what_stays_wrong),
        cmocka_unit_test(test_gcs__takes_a_200_that_is_the_whole),
        cmocka_unit_test(test_gcs__reads_nothing_outside_the_object),
        cmocka_unit_test(test_gcs__catches_a_flipped_bit),
        cmocka_unit_test(test_gcs__names_both_generations_of_a_replaced_object),
        cmocka_unit_test(test_gcs__loads_by_one_request),
        cmocka_unit_test(test_gcs__loads_an_empty_object),
        cmocka_unit_test(test_gcs__loads_a_large_object_in_parts),
        cmocka_unit_test(test_gcs__undoes_gzip),
        cmocka_unit_test(test_gcs__notices_bytes_unpacked_on_the_way),
        cmocka_unit_test(test_gcs__removes_what_may_not_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
