/* Objects written to Google Cloud Storage: whole or not at all, whatever happens on the way. */
#include "store_testing.h"

#include <fcntl.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "net/checksum.h"

enum { MIB = 1 << 20, PIECE = 16 * MIB };

enum fault {
    FAULT_NONE,
    FAULT_503,                    /* a piece is refused, none of it kept */
    FAULT_HALF,                   /* half a piece is kept, then 503 */
    FAULT_LOST_ANSWER,            /* all is kept, but the answer never comes */
    FAULT_NO_RANGE,               /* a piece is not kept, and the 308 has no Range */
    FAULT_GONE,                   /* the session is gone (410) */
    FAULT_BAD_RANGE,              /* a 308 with a Range that makes no sense, once */
    FAULT_FLIP,                   /* another byte is stored than was sent */
    FAULT_REFUSED_CRC,            /* 400: the checksum is wrong */
};

/* A bucket that takes one object. */
struct bucket {
    unsigned char *data;          /* what is stored, in whole or not yet */
    size_t size, room;            /* bytes so far, bytes in all */
    long generation;              /* 0: no object */
    char crc_sent[CHECKSUM_CRC32C_SIZE];
    enum fault fault;
    int faults;
    int sessions, pieces, queries, removed, stats;
    char only_if[40];
    bool is_done;
};

static bool wants_fault(struct bucket *b, enum fault fault)
{
    if (b->fault != fault || !b->faults)
        return false;
    b->faults -= b->faults > 0;
    return true;
}

static void reply_object(struct bucket *b, struct server_reply *r)
{
    char text[300], crc[CHECKSUM_CRC32C_SIZE];
    checksum_crc32c_write(crc32c(0, b->data, b->size), crc);
    snprintf(text, sizeof text,
             "{\"name\":\"a b/c\",\"size\":\"%zu\",\"generation\":\"%ld\",\"crc32c\":\"%s\"}",
             b->size, b->generation, crc);
    reply_text(r, 200, text);
}

static void finish(struct bucket *b, struct server_reply *r)
{
    b->generation++;
    b->is_done = true;
    if (wants_fault(b, FAULT_FLIP))
        b->data[b->size / 2] ^= 1;
    reply_object(b, r);
}

/* The checksum in {"crc32c":"AAAAAA=="}. */
static void read_crc(struct bucket *b, const char *body)
{
    const char *at = strstr(body, "\"crc32c\":\"");
    server_expects(at);
    memcpy(b->crc_sent, at + 10, 8);
    b->crc_sent[8] = 0;
}

static void serve_small(struct bucket *b, const struct server_request *q, struct server_reply *r)
{
    const char *type = server_header(q, "content-type");
    char mark[200], *body = xmalloc(q->body_size + 1);
    memcpy(body, q->body, q->body_size);
    body[q->body_size] = 0;
    server_expects(strncmp(type, "multipart/related; boundary=", 28) == 0);
    snprintf(mark, sizeof mark, "--%s\r\n", type + 28);
    char *first = strstr(body, mark), *second = strstr(first + 1, mark);
    char *data = strstr(second, "\r\n\r\n") + 4;
    read_crc(b, first);
    size_t tail = strlen(mark) + 4;
    b->size = q->body_size - (size_t)(data - body) - tail;
    server_expects(b->size <= b->room);
    server_expects_int(memcmp(body + q->body_size - tail, "\r\n--", 4), 0);
    memcpy(b->data, data, b->size);
    free(body);
    if (wants_fault(b, FAULT_REFUSED_CRC)) {
        reply_text(r, 400, "{\"error\":{\"message\":\"Provided CRC32C does not match\"}}");
        return;
    }
    finish(b, r);
    if (wants_fault(b, FAULT_LOST_ANSWER))
        r->fault = SERVER_RESET;
}

static void reply_safe(struct bucket *b, const struct server_request *q, struct server_reply *r)
{
    *r = (struct server_reply){.status = 308, .body = "{}", .size = 2};
    if (wants_fault(b, FAULT_BAD_RANGE))
        r->headers = reply_headers(q, "Range: bytes=5-9\r\n");
    else if (b->size)
        r->headers = reply_headers(q, "Range: bytes=0-%zu\r\n", b->size - 1);
}

static void serve_piece(struct bucket *b, const struct server_request *q, struct server_reply *r)
{
    size_t first, last, total, keep = q->body_size;
    const char *range = server_header(q, "content-range");
    if (sscanf(range, "bytes */%zu", &total) == 1) {
        server_expects_int(q->body_size, 0);
        b->queries++;
        if (b->is_done)
            reply_object(b, r);
        else
            reply_safe(b, q, r);
        return;
    }
    b->pieces++;
    server_expects_int(sscanf(range, "bytes %zu-%zu/%zu", &first, &last, &total), 3);
    server_expects_int(total, b->room);
    server_expects_int(last - first + 1, q->body_size);
    server_expects_int(first, b->size);
    server_expects(last + 1 == total || q->body_size % (256 << 10) == 0);
    if (wants_fault(b, FAULT_GONE)) {
        reply_text(r, 410, "gone");
        return;
    }
    bool is_half = wants_fault(b, FAULT_HALF);
    if (is_half)
        keep = keep / 2 / (256 << 10) * (256 << 10);
    if (wants_fault(b, FAULT_503)) {
        reply_text(r, 503, "try later");
        return;
    }
    if (wants_fault(b, FAULT_NO_RANGE)) {
        *r = (struct server_reply){.status = 308, .body = ""};
        return;
    }
    memcpy(b->data + b->size, q->body, keep);
    b->size += keep;
    if (is_half)
        reply_text(r, 503, "try later");
    else if (b->size == b->room)
        finish(b, r);
    else
        reply_safe(b, q, r);
    if (wants_fault(b, FAULT_LOST_ANSWER))
        r->fault = SERVER_RESET;
}

static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct bucket *b = arg;
    const char *only_if = strstr(q->path, "ifGenerationMatch=");
    server_expects(strstr(q->path, "userProject=payer"));
    snprintf(b->only_if, sizeof b->only_if, "%.*s", only_if ? (int)strcspn(only_if + 18, "&") : 0,
             only_if ? only_if + 18 : "");
    if (strcmp(q->method, "PUT") == 0) {
        server_expects(strstr(q->path, "upload_id=7"));
        serve_piece(b, q, r);
        return;
    }
    if (strcmp(q->method, "DELETE") == 0) {
        server_expects(only_if && atol(only_if + 18) == b->generation);
        b->removed++;
        *r = (struct server_reply){.status = 204, .body = ""};
        return;
    }
    if (strcmp(q->method, "GET") == 0) {
        b->stats++;
        server_expects(strncmp(q->path, "/storage/v1/b/bk/o/a%20b%2Fc?", 29) == 0);
        if (b->generation)
            reply_object(b, r);
        else
            reply_text(r, 404, "none");
        return;
    }
    server_expects_text(q->method, "POST");
    server_expects(strncmp(q->path, "/upload/storage/v1/b/bk/o?", 26) == 0);
    server_expects(strstr(q->path, "name=a%20b%2Fc"));
    if (only_if && atol(only_if + 18) != b->generation) {
        reply_text(r, 412, "{\"error\":{\"message\":\"Precondition Failed\"}}");
        return;
    }
    if (strstr(q->path, "uploadType=multipart")) {
        serve_small(b, q, r);
        return;
    }
    server_expects(strstr(q->path, "uploadType=resumable"));
    server_expects_int(atol(server_header(q, "x-upload-content-length")), b->room);
    read_crc(b, q->body);
    b->sessions++;
    b->size = 0;
    b->is_done = false;
    *r = (struct server_reply){.status = 200, .body = ""};
    r->headers = reply_headers(
        q, "Location: https://elsewhere.example/upload/storage/v1/b/bk/o?upload_id=7\r\n");
}

struct test {
    struct bucket b;
    struct site s;
    unsigned char *data;
    size_t size;
};

static void begin(struct test *t, size_t size, enum fault fault, int faults)
{
    t->size = size;
    t->data = testing_bytes(size);
    t->b = (struct bucket){
        .data = xcalloc(1, size + 1), .room = size, .fault = fault, .faults = faults};
    site_open(&t->s, "STORAGE_EMULATOR_HOST", serve, &t->b, "payer");
}

static void end(struct test *t)
{
    site_close(&t->s);
    free(t->data);
    free(t->b.data);
}

/* What is stored is what was sent, and what `o` says. */
static void check(const struct test *t, struct object *o)
{
    assert_int_equal(t->b.size, t->size);
    assert_memory_equal(t->b.data, t->data, t->size);
    assert_int_equal(o->size, t->size);
    assert_int_equal(o->crc32c, crc32c(0, t->data, t->size));
    assert_int_equal(atol(o->version), t->b.generation);
    assert_string_equal(o->uri, "gs://bk/a b/c");
    object_release(o);
}

/* ------------------------------------------------------------------------------- small -- */

static void test_gcs_upload__writes_a_small_object(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100000, 8 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct test t;
        struct object o;
        struct err e = {0};
        char crc[CHECKSUM_CRC32C_SIZE];
        begin(&t, sizes[i], FAULT_NONE, 0);
        must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e));
        check(&t, &o);
        checksum_crc32c_write(crc32c(0, t.data, t.size), crc);
        assert_string_equal(t.b.crc_sent, crc);
        assert_int_equal(http_server_requests(t.s.server), 1);
        end(&t);
    }
}

static void test_gcs_upload__keeps_to_the_version_that_was_asked_for(void **state)
{
    (void)state;
    struct test t;
    struct object o;
    struct err e = {0};
    begin(&t, 100, FAULT_NONE, 0);
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "0", &o, &e));
    assert_string_equal(t.b.only_if, "0");
    check(&t, &o);
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "0", NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "gs://bk/a b/c: its generation is 1, expected none");
    e = (struct err){0};
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "1", NULL, &e));
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "1", NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "its generation is 2, expected 1");
    e = (struct err){0};
    t.b.generation = 0;
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "2", NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "is not there, expected generation 2");
    end(&t);
}

/* The object is made, its answer lost, and the second try refused: it is ours all the same. */
static void test_gcs_upload__knows_its_own_object(void **state)
{
    (void)state;
    struct test t;
    struct object o;
    struct err e = {0};
    begin(&t, 100, FAULT_LOST_ANSWER, 1);
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "0", &o, &e));
    assert_int_equal(t.b.stats, 1);
    assert_int_equal(t.b.generation, 1);
    check(&t, &o);
    end(&t);
}

static void test_gcs_upload__removes_what_is_not_what_was_sent(void **state)
{
    (void)state;
    struct test t;
    struct object o;
    struct err e = {0};
    begin(&t, 1000, FAULT_FLIP, 1);
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e));
    assert_int_equal(t.b.removed, 1);
    check(&t, &o);
    end(&t);

    begin(&t, 1000, FAULT_FLIP, -1);
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e), -1);
    assert_err(e, ERR_INTEGRITY, "gs://bk/a b/c: what was stored 4 times was not what was sent");
    assert_int_equal(t.b.removed, 4);
    end(&t);

    e = (struct err){0};
    begin(&t, 1000, FAULT_REFUSED_CRC, 1);
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e));
    assert_int_equal(t.b.removed, 0);
    check(&t, &o);
    end(&t);
}

/* ------------------------------------------------------------------------------- large -- */

static void test_gcs_upload__writes_a_large_object_in_pieces(void **state)
{
    (void)state;
    struct test t;
    struct object o;
    struct err e = {0};
    begin(&t, 2 * PIECE + 12345, FAULT_NONE, 0);
    must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "0", &o, &e));
    check(&t, &o);
    assert_int_equal(t.b.sessions, 1);
    assert_int_equal(t.b.pieces, 3);
    assert_int_equal(t.b.queries, 0);
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, "0", &o, &e), -1);
    assert_err(e, ERR_INTEGRITY, "its generation is 1, expected none");
    end(&t);
}

static void test_gcs_upload__goes_on_after_a_failure(void **state)
{
    (void)state;
    /* A 308 whose body is cut has told all; the second lost answer is that of the whole object. */
    static const struct {
        enum fault fault;
        int faults, sessions, queries;
    } cases[] = {
        {FAULT_503, 3, 1, 3},        {FAULT_HALF, 2, 1, 2},      {FAULT_LOST_ANSWER, 2, 1, 1},
        {FAULT_NO_RANGE, 1, 1, 0},   {FAULT_GONE, 2, 3, 0},      {FAULT_BAD_RANGE, 1, 1, 1},
        {FAULT_FLIP, 1, 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test t;
        struct object o;
        struct err e = {0};
        begin(&t, PIECE + 5 * MIB + 7, cases[i].fault, cases[i].faults);
        must(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e));
        check(&t, &o);
        assert_int_equal(t.b.sessions, cases[i].sessions);
        assert_int_equal(t.b.queries, cases[i].queries);
        assert_int_equal(t.b.removed, cases[i].fault == FAULT_FLIP);
        end(&t);
    }
}

static void test_gcs_upload__gives_up_after_the_budget(void **state)
{
    (void)state;
    struct test t;
    struct object o;
    struct err e = {0};
    begin(&t, 9 * MIB, FAULT_503, -1);
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e), -1);
    assert_err(e, ERR_RETRY, "gs://bk/a b/c: no byte could be stored for 100 s");
    assert_true(t.s.now > 100 && t.s.now < 140);
    end(&t);

    e = (struct err){0};
    begin(&t, 9 * MIB, FAULT_GONE, -1);
    assert_int_equal(store_write(t.s.net, "gs://bk/a b/c", t.data, t.size, NULL, &o, &e), -1);
    assert_true(e.kind != 0);
    assert_int_equal(t.b.sessions, 4);
    end(&t);
}

static void test_gcs_upload__writes_files(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1000, PIECE + 1000};
    char *dir = testing_folder(), *path = path_join(dir, "f");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct test t;
        struct object o;
        struct err e = {0};
        begin(&t, sizes[i], FAULT_NONE, 0);
        must(file_write(path, t.data, t.size, &e));
        must(store_write_file(t.s.net, "gs://bk/a b/c", path, &o, &e));
        check(&t, &o);
        end(&t);
    }
    struct err e = {0};
    struct net *n = net_open(&(struct net_options){0});
    assert_int_equal(store_write_file(n, "gs://bk/x", "/nonexistent/f", NULL, &e), -1);
    assert_true(e.kind != 0 && strstr(e.text, "/nonexistent/f"));
    net_close(n);
    e = (struct err){0};
    must(dir_remove(dir, &e));
    free(path);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcs_upload__writes_a_small_object),
        cmocka_unit_test(test_gcs_upload__keeps_to_the_version_that_was_asked_for),
        cmocka_unit_test(test_gcs_upload__knows_its_own_object),
        cmocka_unit_test(test_gcs_upload__removes_what_is_not_what_was_sent),
        cmocka_unit_test(test_gcs_upload__writes_a_large_object_in_pieces),
        cmocka_unit_test(test_gcs_upload__goes_on_after_a_failure),
        cmocka_unit_test(test_gcs_upload__gives_up_after_the_budget),
        cmocka_unit_test(test_gcs_upload__writes_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
