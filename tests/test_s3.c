/* S3: signatures that its rules give, too; names, lists, regions, and checksums that are ones. */
#include "store_testing.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/crc32c.h"
#include "base/hash.h"
#include "net/checksum.h"

/* A bucket of one object. */
struct bucket {
    const char *path;             /* "/bk/..." */
    unsigned char *data;
    size_t size;
    const char *etag;             /* without quotes; "": no object */
    const char *headers;
    const char *region;           /* that it lies in */
    bool wants_payer, is_anonymous;
    int expired;                  /* so many requests find the credentials old */
    int requests, moved, pages;
    const char *keys;             /* of a list: items between |, a page each */
};

/* ---------------------------------------------------------------------------- signature -- */

static void hmac(const void *key, size_t key_size, const char *text, unsigned char out[32])
{
    unsigned size = 32;
    server_expects(HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text),
                        out, &size));
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The query with its parameters sorted, as "Create a canonical request" of AWS's guide to Signature
 * Version 4 has it. */
static void canonical_query(const char *query, char *out, size_t room)
{
    char *copy = xstrdup(query), *parts[20], *save = NULL;
    int count = 0;
    for (char *p = strtok_r(copy, "&", &save); p; p = strtok_r(NULL, "&", &save))
        parts[count++] = p;
    qsort(parts, (size_t)count, sizeof parts[0], compare_lines);
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        size_t size = strlen(out);
        snprintf(out + size, room - size, "%s%s%s", i ? "&" : "", parts[i],
                 strchr(parts[i], '=') ? "" : "=");
    }
    free(copy);
}

/* Compute the signature from the request as it came, and compare. */
static void check_signature(const struct server_request *q, const char *region)
{
    char authorization[2000], names[500], text[6000], query[2000], date[40], scope[100], hash[65];
    unsigned char key[32], next[32];
    snprintf(authorization, sizeof authorization, "%s", server_header(q, "authorization"));
    const char *list = strstr(authorization, "SignedHeaders="), *at;
    server_expects(list);
    snprintf(names, sizeof names, "%.*s", (int)strcspn(list + 14, ", "), list + 14);
    snprintf(date, sizeof date, "%s", server_header(q, "x-amz-date"));
    snprintf(scope, sizeof scope, "%.8s/%s/s3/aws4_request", date, region);
    snprintf(text, sizeof text, "Credential=KEYID/%s", scope);
    server_expects(strstr(authorization, text));

    size_t path = strcspn(q->path, "?");
    canonical_query(q->path[path] ? q->path + path + 1 : "", query, sizeof query);
    int size = snprintf(text, sizeof text, "%s\n%.*s\n%s\n", q->method, (int)path, q->path, query);
    char *copy = xstrdup(names), *save = NULL;
    for (char *name = strtok_r(copy, ";", &save); name; name = strtok_r(NULL, ";", &save))
        size += snprintf(text + size, sizeof text - (size_t)size, "%s:%s\n", name,
                         server_header(q, name));
    free(copy);
    /* S3 insists on these. */
    server_expects(strstr(names, "x-amz-content-sha256"));
    server_expects(strstr(names, "x-amz-security-token"));
    server_expects(strstr(names, "host"));
    hash_bytes(q->body, q->body_size, hash);
    server_expects_text(hash, server_header(q, "x-amz-content-sha256"));
    snprintf(text + size, sizeof text - (size_t)size, "\n%s\n%s", names, hash);

    hash_bytes(text, strlen(text), hash);
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, hash);
    date[8] = 0;
    hmac("AWS4SECRET/+", 12, date, key);
    hmac(key, 32, region, next);
    hmac(next, 32, "s3", key);
    hmac(key, 32, "aws4_request", next);
    hmac(next, 32, text, key);
    for (int i = 0; i < 32; i++)
        snprintf(hash + 2 * i, 3, "%02x", key[i]);
    at = strstr(authorization, "Signature=");
    server_expects(at);
    server_expects_text(at + 10, hash);
}

/* ------------------------------------------------------------------------------- server -- */

static void reply_xml(struct server_reply *r, int status, const char *code, const char *more)
{
    char text[1000];
    snprintf(text, sizeof text,
             "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>It says &quot;%s&quot;"
             "</Message>%s</Error>",
             code, code, more);
    reply_text(r, status, text);
}

static void serve_list(struct bucket *b, const struct server_request *q, struct server_reply *r)
{
    char token[40], text[4000];
    const char *from = strstr(q->path, "continuation-token="), *keys = b->keys;
    server_expects(strncmp(q->path, "/bk?", 4) == 0);
    server_expects(strstr(q->path, "encoding-type=url&list-type=2&max-keys=1000&prefix=d%20%2F"));
    int page = from ? atoi(from + strlen("continuation-token=t%2F%2B")) : 0;
    b->pages++;
    for (int i = 0; i < page; i++)
        keys = strchr(keys, '|') + 1;
    snprintf(token, sizeof token, "t/+%d", page + 1);
    bool has_more = strchr(keys, '|') != NULL;
    int size = snprintf(text, sizeof text,
                        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/"
                        "doc/2006-03-01/\"><Name>bk</Name><Prefix>d+%%2F</Prefix><IsTruncated>%s"
                        "</IsTruncated>",
                        has_more ? "true" : "false");
    if (has_more)
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "<NextContinuationToken>%s</NextContinuationToken>", token);
    while (*keys && *keys != '|') {
        size_t key = strcspn(keys, " |");
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "<Contents><Key>%.*s</Key><LastModified>x</LastModified><ETag>&quot;"
                         "0123456789abcdef0123456789abcdef&quot;</ETag><Size>%d</Size></Contents>",
                         (int)key, keys, keys[key - 1] == '/' ? 0 : 5);
        keys += key;
        keys += *keys == ' ';
    }
    snprintf(text + size, sizeof text - (size_t)size, "</ListBucketResult>");
    reply_text(r, 200, text);
}

static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct bucket *b = arg;
    char headers[600], tag[100], authorization[2000];
    snprintf(authorization, sizeof authorization, "%s", server_header(q, "authorization"));
    b->requests++;
    if (b->is_anonymous)
        server_expects_text(authorization, "");
    else if (strstr(authorization, b->region))
        check_signature(q, b->region);
    server_expects_text(server_header(q, "x-amz-request-payer"), b->wants_payer ? "requester" : "");
    if (!b->is_anonymous && !strstr(authorization, b->region)) {
        b->moved++;
        reply_xml(r, 301, "PermanentRedirect", "<Endpoint>x</Endpoint>");
        r->headers = reply_headers(q, "x-amz-bucket-region: %s\r\n", b->region);
        return;
    }
    if (b->expired > 0) {
        b->expired--;
        reply_xml(r, 400, "ExpiredToken", "");
        return;
    }
    if (strstr(q->path, "list-type=2")) {
        serve_list(b, q, r);
        return;
    }
    if (strcmp(q->path, b->path) != 0 || !*b->etag) {
        reply_xml(r, 404, "NoSuchKey", "");
        return;
    }
    snprintf(tag, sizeof tag, "\"%s\"", b->etag);
    if (*server_header(q, "if-match") && strcmp(server_header(q, "if-match"), tag) != 0) {
        reply_xml(r, 412, "PreconditionFailed", "");
        return;
    }
    snprintf(headers, sizeof headers, "ETag: %s\r\n%s", tag, b->headers ? b->headers : "");
    reply_bytes(q, r, b->data, b->size, headers);
}

static void open_site(struct site *s, struct bucket *b, const char *payer)
{
    if (!b->region)
        b->region = "eu-west-3";
    setenv("AWS_ACCESS_KEY_ID", "KEYID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRET/+", 1);
    setenv("AWS_SESSION_TOKEN", "TOKEN+/=", 1);
    setenv("AWS_REGION", "eu-west-3", 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    site_open(s, "AWS_ENDPOINT_URL_S3", serve, b, payer);
}

static void md5(const void *data, size_t size, char hex[33])
{
    unsigned char b[16];
    unsigned count = sizeof b;
    assert_int_equal(EVP_Digest(data, size, b, &count, EVP_md5(), NULL), 1);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", b[i]);
}

/* -------------------------------------------------------------------------------- tests -- */

static void test_s3__signs_what_it_sends(void **state)
{
    (void)state;
    struct bucket b = {.path =
                           "/bk/a%20b%25/%C3%A9%2B~_-.%2A%28%29%27%21%24%26%2C%3B%3D%3A%40/../x",
                       .size = 1000,
                       .etag = "e",
                       .wants_payer = true};
    struct site s;
    struct object o;
    struct err e = {0};
    char out[10];
    b.data = testing_bytes(b.size);
    open_site(&s, &b, "anybody");
    must(store_stat(s.net, "s3://bk/a b%/\xc3\xa9+~_-.*()'!$&,;=:@/../x", &o, &e));
    assert_int_equal(o.size, 1000);
    assert_string_equal(o.version, "\"e\"");
    must(store_read(s.net, &o, 100, out, 10, 0, NULL, &e));
    assert_memory_equal(out, b.data + 100, 10);
    assert_int_equal(b.requests, 2);
    object_release(&o);
    site_close(&s);
    free(b.data);
}

static void test_s3__asks_without_a_signature_when_nobody_is_known(void **state)
{
    (void)state;
    struct bucket b = {.path = "/bk/x",
                       .data = (unsigned char *)"abc",
                       .size = 3,
                       .etag = "e",
                       .is_anonymous = true};
    struct site s;
    struct object o;
    struct err e = {0};
    open_site(&s, &b, NULL);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    object_release(&o);
    site_close(&s);
}

static void test_s3__takes_an_etag_for_a_checksum_only_when_it_is_one(void **state)
{
    (void)state;
    struct bucket b = {.path = "/bk/x", .size = 500};
    struct site s;
    struct object o;
    struct err e = {0};
    char hex[40], crc[60];
    size_t size;
    b.data = testing_bytes(b.size);
    md5(b.data, b.size, hex);
    open_site(&s, &b, NULL);

    b.etag = hex;
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    assert_string_equal(o.digest, hex);
    assert_false(o.has_crc32c);
    object_release(&o);

    static const char *const encrypted[] = {
        "x-amz-server-side-encryption: aws:kms\r\n",
        "x-amz-server-side-encryption: aws:kms:dsse\r\n",
        "x-amz-server-side-encryption-customer-algorithm: AES256\r\n"};
    for (int i = 0; i < 3; i++) {
        b.headers = encrypted[i];
        must(store_stat(s.net, "s3://bk/x", &o, &e));
        assert_string_equal(o.digest, "");
        object_release(&o);
    }
    b.headers = NULL;
    strcpy(hex + 32, "-3");
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    assert_string_equal(o.digest, "");
    object_release(&o);

    snprintf(crc, sizeof crc, "x-amz-checksum-crc32c: ");
    checksum_crc32c_write(crc32c(0, b.data, b.size), crc + strlen(crc));
    strcat(crc, "\r\n");
    b.headers = crc;
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    assert_true(o.has_crc32c);
    assert_int_equal(o.crc32c, crc32c(0, b.data, b.size));
    object_release(&o);
    b.headers = "x-amz-checksum-crc32c: AAAAAA==\r\nx-amz-checksum-type: COMPOSITE\r\n";
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    assert_false(o.has_crc32c);
    object_release(&o);

    /* What is wrong is found. */
    b.headers = NULL;
    b.etag = "0123456789abcdef0123456789abcdef";
    object_init(&o, "s3://bk/x");
    b.requests = 0;
    assert_null(store_load(s.net, &o, 1000, &size, &e));
    assert_err(e, ERR_INTEGRITY, "s3://bk/x: digest is ");
    assert_int_equal(b.requests, 4);
    object_release(&o);
    site_close(&s);
    free(b.data);
}

static void test_s3__goes_to_the_region_of_the_bucket(void **state)
{
    (void)state;
    struct bucket b = {.path = "/bk/x", .size = 500, .etag = "e", .region = "ap-south-2"};
    struct site s;
    struct object o;
    struct err e = {0};
    char out[10];
    size_t size;
    b.data = testing_bytes(b.size);

    open_site(&s, &b, NULL);
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    must(store_read(s.net, &o, 0, out, 10, 0, NULL, &e));
    assert_int_equal(b.moved, 1);
    assert_int_equal(b.requests, 3);
    site_close(&s);

    /* Ranges and whole objects find it, too. */
    b.moved = 0;
    open_site(&s, &b, NULL);
    must(store_read(s.net, &o, 0, out, 10, 0, NULL, &e));
    assert_int_equal(b.moved, 1);
    site_close(&s);
    open_site(&s, &b, NULL);
    void *data = store_load(s.net, &o, 1000, &size, &e);
    assert_ok(e);
    assert_int_equal(b.moved, 2);
    free(data);
    site_close(&s);
    object_release(&o);
    free(b.data);
}

static void test_s3__lists(void **state)
{
    (void)state;
    struct bucket b = {.path = "",
                       .etag = "",
                       .keys = "d+%2Fz%25%2B d+%2F%C3%A9%26|d+%2Ffolder/ d+%2Fb|",
                       .region = "ap-south-2"};
    struct site s;
    struct object_list l;
    struct err e = {0};
    open_site(&s, &b, NULL);
    must(store_list(s.net, "s3://bk/d /", 100, &l, &e));
    assert_int_equal(l.count, 3);
    assert_int_equal(b.pages, 3);
    assert_int_equal(b.moved, 1);
    assert_string_equal(l.at[0].uri, "s3://bk/d /b");
    assert_string_equal(l.at[1].uri, "s3://bk/d /z%+");
    assert_string_equal(l.at[2].uri, "s3://bk/d /\xc3\xa9&");
    assert_int_equal(l.at[0].size, 5);
    assert_string_equal(l.at[0].version, "\"0123456789abcdef0123456789abcdef\"");
    assert_string_equal(l.at[0].digest, "");
    object_list_release(&l);
    assert_int_equal(store_list(s.net, "s3://bk/d /", 2, &l, &e), -1);
    assert_err(e, ERR_DATA, "s3://bk/d /: more than 2 objects");
    site_close(&s);
}

static void test_s3__completes_what_a_list_has_left_out(void **state)
{
    (void)state;
    struct bucket b = {.path = "/bk/x", .size = 500};
    struct site s;
    struct object o;
    struct err e = {0};
    char hex[33];
    b.data = testing_bytes(b.size);
    md5(b.data, b.size, hex);
    b.etag = hex;
    open_site(&s, &b, NULL);
    object_init(&o, "s3://bk/x");
    o.size = 500;
    snprintf(o.version, sizeof o.version, "\"%s\"", hex);
    must(store_complete(s.net, &o, &e));
    assert_string_equal(o.digest, hex);
    must(store_complete(s.net, &o, &e));
    assert_int_equal(b.requests, 1);

    o.digest[0] = 0;
    b.etag = "another";
    assert_int_equal(store_complete(s.net, &o, &e), -1);
    assert_err(e, ERR_INTEGRITY, "s3://bk/x: version \"");
    object_release(&o);
    site_close(&s);
    free(b.data);
}

static void test_s3__says_why_and_what_is_gone(void **state)
{
    (void)state;
    struct bucket b = {.path = "/bk/x", .size = 500, .etag = "e"};
    struct site s;
    struct object o;
    struct err e = {0};
    char out[10];
    b.data = testing_bytes(b.size);
    open_site(&s, &b, NULL);
    must(store_stat(s.net, "s3://bk/x", &o, &e));
    b.etag = "f";
    assert_int_equal(store_read(s.net, &o, 0, out, 10, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "s3://bk/x: version \"e\" is not there any more (412)");
    e = (struct err){0};
    b.etag = "";
    assert_int_equal(store_read(s.net, &o, 0, out, 10, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "(404)");
    e = (struct err){0};
    object_release(&o);
    assert_int_equal(store_stat(s.net, "s3://bk/x", &o, &e), -1);
    assert_err(e, ERR_DATA, "s3://bk/x: 404");

    /* A HEAD is refused without a reason; a GET tells it. */
    e = (struct err){0};
    b.etag = "e";
    b.expired = 100;
    assert_int_equal(store_stat(s.net, "s3://bk/x", &o, &e), -1);
    assert_err(e, ERR_FAILED, "s3://bk/x: 400: It says \"ExpiredToken\"");
    site_close(&s);
    free(b.data);
}

static void refuse(void *arg, const struct server_request *q, struct server_reply *r)
{
    (void)arg;
    (void)q;
    reply_xml(r, 403, "AccessDenied", "");
}

static void test_s3__names_credentials_and_permission(void **state)
{
    (void)state;
    struct site s;
    struct object o;
    struct object_list l;
    struct err e = {0};
    struct bucket b = {0};
    open_site(&s, &b, NULL);
    site_close(&s);
    site_open(&s, "AWS_ENDPOINT_URL_S3", refuse, NULL, NULL);
    assert_int_equal(store_stat(s.net, "s3://bk/x", &o, &e), -1);
    assert_err(e, ERR_LOGIN, "s3://bk/x: 403: It says \"AccessDenied\"");
    assert_non_null(strstr(e.hint, "access key KEYID; they need s3:GetObject on bk"));
    assert_null(strstr(e.hint, "SECRET"));
    e = (struct err){0};
    assert_int_equal(store_list(s.net, "s3://bk/", 5, &l, &e), -1);
    assert_err(e, ERR_LOGIN, "403");
    assert_non_null(strstr(e.hint, "s3:ListBucket"));
    assert_near(s.now, 0, 0);
    site_close(&s);
}

/* A proxy: it is told where to, and goes nowhere. */
static void hear_host(void *arg, const struct server_request *q, struct server_reply *r)
{
    if (strcmp(q->method, "CONNECT") == 0)
        snprintf(arg, 100, "%s", q->path);
    reply_text(r, 403, "");
}

static void test_s3__addresses_buckets_of_amazon(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *region, *host;
    } cases[] = {
        {"s3://bk/x", "eu-west-3", "bk.s3.eu-west-3.amazonaws.com:443"},
        {"s3://my.bk/x", "eu-west-3", "s3.eu-west-3.amazonaws.com:443"},
        {"s3://bk/x", "cn-north-1", "bk.s3.cn-north-1.amazonaws.com.cn:443"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct site s;
        struct object o;
        struct err e = {0};
        struct bucket b = {0};
        char host[100] = "";
        open_site(&s, &b, NULL);
        site_close(&s);
        unsetenv("AWS_ENDPOINT_URL_S3");
        setenv("AWS_REGION", cases[i].region, 1);
        site_open(&s, "https_proxy", hear_host, host, NULL);
        assert_int_equal(store_stat(s.net, cases[i].uri, &o, &e), -1);
        assert_string_equal(host, cases[i].host);
        site_close(&s);
        unsetenv("https_proxy");
    }
}

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    (void)q;
    reply_text(r, 200, arg);
}

static void test_s3__refuses_lists_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>",
         "the answer is no list"},
        {"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
         "an object without a key or a size"},
        {"<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
         "an object without a key or a size"},
        {"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
         "does not say where"},
        {"", "the answer is no list"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct site s;
        struct object_list l;
        struct err e = {0};
        site_open(&s, "AWS_ENDPOINT_URL_S3", answer, (void *)(uintptr_t)cases[i].body, NULL);
        assert_int_equal(store_list(s.net, "s3://bk/d", 5, &l, &e), -1);
        assert_err(e, ERR_FAILED, cases[i].text);
        assert_err(e, ERR_FAILED, "s3://bk/d");
        site_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s3__signs_what_it_sends),
        cmocka_unit_test(test_s3__asks_without_a_signature_when_nobody_is_known),
        cmocka_unit_test(test_s3__takes_an_etag_for_a_checksum_only_when_it_is_one),
        cmocka_unit_test(test_s3__goes_to_the_region_of_the_bucket),
        cmocka_unit_test(test_s3__lists),
        cmocka_unit_test(test_s3__completes_what_a_list_has_left_out),
        cmocka_unit_test(test_s3__says_why_and_what_is_gone),
        cmocka_unit_test(test_s3__names_credentials_and_permission),
        cmocka_unit_test(test_s3__addresses_buckets_of_amazon),
        cmocka_unit_test(test_s3__refuses_lists_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
