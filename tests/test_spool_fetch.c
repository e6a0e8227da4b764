/* test_spool_fetch.c - what the threads of a spool do: order, checks, faults, unpacking. */
#include "spool_testing.h"

#include <zstd.h>

/* What was read, without what was asked for twice because the machine was slow. */
static const char *reads_in_order(void)
{
    static char once[500];
    char part[100], last[100] = "";
    int used = 0;
    once[0] = 0;
    bucket_lock(bucket);
    for (const char *at = bucket->order; sscanf(at, "%99s%n", part, &used) == 1; at += used) {
        if (strcmp(part, last) != 0) {
            strcat(once, part);
            strcat(once, " ");
        }
        strcpy(last, part);
    }
    bucket_unlock(bucket);
    return once;
}

static void test_spool_fetch__fetches_in_the_order_of_wanting(void **state)
{
    (void)state;
    struct err e = {0};
    struct object a = put("a", bytes, 9 * MIB), b = put("b", bytes, 10), c = put("c", bytes, 11);
    struct spool *s = remember(
        spool_open(&(struct spool_options){.net = net, .dir = cache, .connections = 1}, &e));
    spool_want(s, &b);
    take(s, &b, bytes, 10);
    spool_want(s, &a);
    spool_want(s, &c);
    take(s, &c, bytes, 11);
    assert_string_equal(reads_in_order(), "b@0 a@0 a@8388608 c@0 ");
    close_spool(s);
    object_release(&a);
    object_release(&b);
    object_release(&c);
}

static void test_spool_fetch__refetches_what_is_wrong(void **state)
{
    (void)state;
    struct object big = put("big", bytes, BIG), cut = put("cut", bytes, 2 * MIB);
    bucket_find(bucket, "big")->flips = 2;
    bucket_find(bucket, "cut")->cuts = 1;
    struct spool *s = open_spool(0, false);
    spool_want(s, &big);
    spool_want(s, &cut);
    take(s, &big, bytes, BIG);
    take(s, &cut, bytes, 2 * MIB);
    assert_in_range(stats_of(s).refetched, 1, 2);
    close_spool(s);
    object_release(&big);
    object_release(&cut);
}

static void test_spool_fetch__refuses_what_stays_wrong(void **state)
{
    (void)state;
    struct object big = put("big", bytes, BIG), small = put("small", bytes, 100);
    bucket_find(bucket, "big")->flips = -1;
    bucket_find(bucket, "small")->flips = -1;
    struct spool *s = open_spool(0, false);
    spool_want(s, &big);
    spool_want(s, &small);
    take_fails(s, &big, ERR_INTEGRITY, "gs://bucket/big: CRC-32C is ");
    take_fails(s, &big, ERR_INTEGRITY, "gs://bucket/big: CRC-32C is ");
    take_fails(s, &small, ERR_INTEGRITY, "gs://bucket/small: CRC-32C is ");
    assert_int_equal(stats_of(s).refetched, 2);   /* three tries in all */
    assert_int_equal(stats_of(s).fetched_bytes, 3 * BIG);
    assert_int_equal(stats_of(s).disk_bytes, 0);
    assert_int_equal(count_names(cache, ".part"), 0);
    assert_int_equal(count_names(cache, ".data"), 0);
    close_spool(s);
    object_release(&big);
    object_release(&small);
}

/* A failure is that of one object, and is forgotten when that is given back. */
static void test_spool_fetch__fails_one_object(void **state)
{
    (void)state;
    net_close(net);
    net = net_open(&(struct net_options){.budget_s = 1, .connections = 4});
    struct object bad = put("bad", bytes, 3 * MIB), good = put("good", bytes, 3 * MIB);
    struct object gone = put("gone", bytes, 3);
    bucket_lock(bucket);
    bucket_find(bucket, "bad")->status = 500;
    bucket_find(bucket, "bad")->status_count = 1000;
    snprintf(bucket_find(bucket, "gone")->name, 10, "elsewhere");
    bucket_unlock(bucket);
    struct spool *s = open_spool(0, false);
    spool_want(s, &bad);
    spool_want(s, &gone);
    spool_want(s, &good);
    take(s, &good, bytes, 3 * MIB);
    take_fails(s, &gone, ERR_INTEGRITY, "gs://bucket/gone: was deleted");
    take_fails(s, &bad, ERR_RETRY, "gs://bucket/bad");
    bucket_lock(bucket);
    bucket_find(bucket, "bad")->status_count = 0;
    bucket_unlock(bucket);
    spool_give(s, &bad);
    spool_want(s, &bad);
    take(s, &bad, bytes, 3 * MIB);
    close_spool(s);
    object_release(&bad);
    object_release(&good);
    object_release(&gone);
}

static void test_spool_fetch__passes_overload(void **state)
{
    (void)state;
    struct object o[20];
    char name[20];
    struct spool *s = open_spool(0, false);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%d", i);
        o[i] = put(name, bytes + i, 1000);
        bucket_lock(bucket);
        bucket_find(bucket, name)->status = i % 2 ? 503 : 429;
        bucket_find(bucket, name)->status_count = i % 3 == 0;
        bucket_unlock(bucket);
        spool_want(s, &o[i]);
    }
    for (int i = 0; i < 20; i++) {
        take(s, &o[i], bytes + i, 1000);
        spool_give(s, &o[i]);
        object_release(&o[i]);
    }
    close_spool(s);
}

static void test_spool_fetch__unpacks(void **state)
{
    (void)state;
    enum { SIZE = MIB, ROOM = 2 * MIB };
    char *gz = new_buffer(ROOM), *zst = new_buffer(ROOM), *twice = new_buffer(ROOM);
    size_t gz_size = gzip(bytes, SIZE, gz, ROOM);
    size_t zst_size = ZSTD_compress(zst, ROOM, bytes, SIZE, 1);
    size_t twice_size = gzip(gz, gz_size, twice, ROOM);
    assert_false(ZSTD_isError(zst_size));
    struct object by_name = put("a.tar.gz", gz, gz_size),
                  with_zstd = put("a.tar.zst", zst, zst_size);
    bucket_put(bucket, "coded.jsonl", gz, gz_size)->is_gzip = true;
    bucket_put(bucket, "coded.jsonl.gz", gz, gz_size)->is_gzip = true;
    bucket_put(bucket, "twice.jsonl.gz", twice, twice_size)->is_gzip = true;
    struct object coded = bucket_object(net, "coded.jsonl");
    struct object named = bucket_object(net, "coded.jsonl.gz");
    struct object both = bucket_object(net, "twice.jsonl.gz");
    struct object all[] = {by_name, with_zstd, coded, named, both};
    struct spool *s = open_spool(0, true);
    for (int i = 0; i < 5; i++)
        spool_want(s, &all[i]);
    for (int i = 0; i < 5; i++)
        take(s, &all[i], bytes, SIZE);
    assert_int_equal(count_names(cache, ".part") + count_names(cache, ".unpacked"), 0);
    assert_int_equal(stats_of(s).disk_bytes, 5 * SIZE);
    close_spool(s);
    s = open_spool(0, true);
    spool_want(s, &by_name);
    take(s, &by_name, bytes, SIZE);
    assert_int_equal(stats_of(s).fetched, 0);
    close_spool(s);
    for (int i = 0; i < 5; i++)
        object_release(&all[i]);
}

static void test_spool_fetch__refuses_packed_data_that_is_none(void **state)
{
    (void)state;
    enum { ZEROS = 40 * MIB };
    char *zeros = new_buffer(ZEROS), *bomb = new_buffer(MIB), *gz = new_buffer(10 * MIB);
    size_t bomb_size = gzip(zeros, ZEROS, bomb, MIB), gz_size = gzip(bytes, 9 * MIB, gz, 10 * MIB);
    struct object a = put("a.gz", bytes, 1000), b = put("bomb.gz", bomb, bomb_size);
    struct object cut = put("cut.gz", gz, gz_size - 1), fits_not = put("large.gz", gz, gz_size);
    struct spool *s = open_spool(16 * MIB, false);
    spool_want(s, &a);
    spool_want(s, &b);
    spool_want(s, &cut);
    take_fails(s, &a, ERR_DATA, "gs://bucket/a.gz: cannot be unpacked");
    take_fails(s, &b, ERR_SPACE, "gs://bucket/bomb.gz: needs ");
    take_fails(s, &cut, ERR_SPACE, "gs://bucket/cut.gz: needs ");
    close_spool(s);
    s = open_spool(200 * MIB, false);
    spool_want(s, &b);
    spool_want(s, &cut);
    spool_want(s, &fits_not);
    take_fails(s, &b, ERR_DATA, "gs://bucket/bomb.gz: grows to more than 200 times its size");
    take_fails(s, &cut, ERR_DATA, "gs://bucket/cut.gz: ends too early");
    take(s, &fits_not, bytes, 9 * MIB);
    assert_int_equal(stats_of(s).disk_bytes, 9 * MIB);
    close_spool(s);
    object_release(&a);
    object_release(&b);
    object_release(&cut);
    object_release(&fits_not);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(spool_fetch, fetches_in_the_order_of_wanting),
        SPOOL_TEST(spool_fetch, refetches_what_is_wrong),
        SPOOL_TEST(spool_fetch, refuses_what_stays_wrong),
        SPOOL_TEST(spool_fetch, fails_one_object),
        SPOOL_TEST(spool_fetch, passes_overload),
        SPOOL_TEST(spool_fetch, unpacks),
        SPOOL_TEST(spool_fetch, refuses_packed_data_that_is_none),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
