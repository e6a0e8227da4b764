/* The headers of ranges, and patience with servers that get them wrong. */
#include "store_testing.h"

#include <pthread.h>

#include "net/fetch.h"

static void test_fetch__reads_content_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int64_t first, last, total;
    } good[] = {
        {"bytes 0-4/10", 0, 4, 10},
        {"bytes 5-9/10", 5, 9, 10},
        {"bytes 7-7/*", 7, 7, -1},
        {"bytes */0", -1, -1, 0},
        {"bytes */12", -1, -1, 12},
        {"bytes 0-99999999999/100000000000", 0, 99999999999, 100000000000},
    };
    static const char *const bad[] = {
        "bytes 0-4",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes 0-4/x",
        "bytes 0-4/10x",
        "bytes -4/10",
        "octets 0-4/10",
        "bytes */*",
        "bytes */",
        "bytes ",
        "bytes 0-4/-1",
        "bytes 0 -4/10",
        "bytes 0-4/",
        "bytes0-4/10",
        "",
        "bytes 0-1/9999999999999999999999",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t first = 99, last = 99, total = 99;
        char *headers = xasprintf("content-range: %s\n", good[i].header);
        struct http_response r = {.headers = headers};
        assert_true(fetch_content_range(&r, &first, &last, &total));
        assert_int_equal(first, good[i].first);
        assert_int_equal(last, good[i].last);
        assert_int_equal(total, good[i].total);
        free(headers);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t first, last, total;
        char *headers = xasprintf("content-range: %s\n", bad[i]);
        struct http_response r = {.headers = headers};
        assert_false(fetch_content_range(&r, &first, &last, &total));
        free(headers);
    }
}

static void test_fetch__reads_numbers(void **state)
{
    (void)state;
    assert_int_equal(fetch_int("0"), 0);
    assert_int_equal(fetch_int("123456789012345678"), 123456789012345678);
    static const char *const bad[] = {"",   "-1", "+1", " 1", "1 ", "1x", "1234567890123456789",
                                      "0x1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fetch_int(bad[i]), -1);
}

static void test_fetch__learns_only_what_is_not_known(void **state)
{
    (void)state;
    struct object o = {.size = -1}, found = {.size = 5,
                                             .version = "v",
                                             .digest = "d",
                                             .has_crc32c = true,
                                             .crc32c = 7,
                                             .is_gzip = true};
    struct object other = {
        .size = 6, .version = "w", .digest = "x", .has_crc32c = true, .crc32c = 8};
    fetch_learn(&o, &found);
    fetch_learn(&o, &other);
    assert_int_equal(o.size, 5);
    assert_string_equal(o.version, "v");
    assert_string_equal(o.digest, "d");
    assert_int_equal(o.crc32c, 7);
    assert_true(o.is_gzip);
}

/* ------------------------------------------------------------------------------ threads -- */

enum { THREADS = 8, READS = 30, SIZE = 200000, PART = 5000 };

struct crowd {
    struct net *net;
    unsigned char *data;
    int served;                   /* by the server, which asks one at a time */
};

/* Every seventh answer is a failure of some kind. */
static void serve(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct crowd *c = arg;
    reply_bytes(q, r, c->data, SIZE, "X-Goog-Generation: 5\r\n");
    int turn = c->served++;
    if (turn % 7 != 3)
        return;
    switch (turn / 7 % 4) {
    case 0: reply_text(r, 503, "later"); break;
    case 1:
        r->fault = SERVER_RESET;
        r->cut = 100;
        break;
    case 2:
        r->hides_length = true;
        r->size /= 2;
        break;
    default: *r = (struct server_reply){.status = 200, .body = c->data, .size = SIZE}; break;
    }
}

static void *read_parts(void *arg)
{
    struct crowd *c = arg;
    struct err e = {0};
    struct object o = {.uri = "gs://bk/x", .size = SIZE, .version = "5"};
    unsigned char *out = xmalloc(PART);
    for (int i = 0; i < READS && !e.kind; i++) {
        int64_t at = (i * 7919) % (SIZE - PART);
        if (!store_read(c->net, &o, at, out, PART, 0, NULL, &e) &&
            memcmp(out, c->data + at, PART) != 0)
            err_set(&e, ERR_FAILED, "wrong bytes at %lld", (long long)at);
    }
    free(out);
    return e.kind ? xstrdup(e.text) : NULL;
}

static void test_fetch__serves_many_threads(void **state)
{
    (void)state;
    struct crowd c = {.data = testing_bytes(SIZE)};
    struct site s;
    pthread_t threads[THREADS];
    site_open(&s, "STORAGE_EMULATOR_HOST", serve, &c, NULL);
    net_set_clock(s.net, &(struct net_clock){0});    /* the real one: sleeping must not race */
    c.net = s.net;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_parts, &c), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        if (failure)
            fail_msg("%s", (char *)failure);
    }
    struct net_stats stats;
    net_stats(s.net, &stats);
    assert_true(stats.bytes >= (int64_t)THREADS * READS * PART);
    assert_true(stats.retries > 0);
    site_close(&s);
    free(c.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch__reads_content_ranges),
        cmocka_unit_test(test_fetch__reads_numbers),
        cmocka_unit_test(test_fetch__learns_only_what_is_not_known),
        cmocka_unit_test(test_fetch__serves_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
