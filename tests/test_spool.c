/* test_spool.c - objects as local files: wanted, taken, given back, stopped. */
#include "spool_testing.h"

#include <fcntl.h>

#include "base/clock.h"

static void test_spool__fetches(void **state)
{
    (void)state;
    struct object big = put("a b/big.tar", bytes, BIG), small = put("small", bytes + 5, 10);
    struct object empty = put("empty", bytes, 0);
    struct spool *s = open_spool(0, false);
    assert_false(file_exists(cache));
    assert_false(spool_has(s, &big));
    spool_want(s, &big);
    spool_want(s, &small);
    spool_want(s, &empty);
    take(s, &big, bytes, BIG);
    assert_true(spool_has(s, &big));
    take(s, &small, bytes + 5, 10);
    take(s, &empty, "", 0);
    struct spool_stats stats = stats_of(s);
    assert_int_equal(stats.fetched, 3);
    assert_int_equal(stats.fetched_bytes, BIG + 10);
    assert_int_equal(stats.disk_bytes, BIG + 10);
    assert_int_equal(stats.disk_peak, BIG + 10);
    assert_int_equal(stats.pending, 0);
    assert_true(bucket_reads(bucket) >= 4);       /* three ranges, one, and none */
    assert_int_equal(count_names(cache, ".part"), 0);
    assert_int_equal(count_names(cache, ".data"), 3);
    spool_give(s, &big);
    spool_give(s, &small);
    spool_give(s, &empty);
    /* Still there. */
    spool_want(s, &big);
    take(s, &big, bytes, BIG);
    assert_int_equal(stats_of(s).reused, 1);
    assert_int_equal(stats_of(s).fetched, 3);
    close_spool(s);
    assert_int_equal(count_names(cache, ""), 0);  /* nothing stays */
    object_release(&big);
    object_release(&small);
    object_release(&empty);
}

static void test_spool__keeps_versions_apart(void **state)
{
    (void)state;
    struct object old = put("x", bytes, 100), new;
    struct spool *s = open_spool(0, false);
    spool_want(s, &old);
    take(s, &old, bytes, 100);
    new = put("x", bytes + 1, 100);
    spool_want(s, &new);
    take(s, &new, bytes + 1, 100);
    take(s, &old, bytes, 100);
    close_spool(s);
    /* And an old one that is nowhere is not replaced by a new one. */
    s = open_spool(0, false);
    spool_want(s, &old);
    take_fails(s, &old, ERR_INTEGRITY, "gs://bucket/x");
    close_spool(s);
    object_release(&old);
    object_release(&new);
}

static void test_spool__takes_local_files(void **state)
{
    (void)state;
    struct err e = {0};
    char *gz = new_buffer(2 * MIB), *plain = path_join(folder, "plain.tar");
    char *packed = path_join(folder, "packed.tar.gz");
    size_t gz_size = gzip(bytes, MIB, gz, 2 * MIB);
    assert_int_equal(file_write(plain, bytes, MIB, &e), 0);
    assert_int_equal(file_write(packed, gz, gz_size, &e), 0);
    struct object a = {.uri = plain, .size = MIB}, b = {.uri = packed, .size = (int64_t)gz_size};
    struct spool *s =
        remember(spool_open(&(struct spool_options){.dir = cache, .keeps = true}, &e));
    spool_want(s, &a);
    char *path = take_path(s, &a, bytes, MIB);
    assert_string_equal(path, plain);
    free(path);
    assert_true(spool_has(s, &a));
    assert_false(file_exists(cache));             /* nothing was needed */
    spool_want(s, &b);
    take(s, &b, bytes, MIB);
    struct object remote = {.uri = xstrdup("gs://bucket/x"), .size = 5};
    spool_want(s, &remote);
    take_fails(s, &remote, ERR_DATA, "gs://bucket/x: cannot be read without a network");
    object_release(&remote);
    a.size--;
    take_fails(s, &a, ERR_INTEGRITY, "had 1048575 bytes, now 1048576");
    b.size--;
    spool_want(s, &b);
    take_fails(s, &b, ERR_INTEGRITY, "changed while in use");
    close_spool(s);
    assert_int_equal(count_names(cache, ".data"), 0);     /* of no use later: it has no version */
    free(plain);
    free(packed);
}

struct taking {
    struct spool *spool;
    struct object *object;
    struct err err;
};

static void *take_in_thread(void *arg)
{
    struct taking *t = arg;
    char *path = NULL;
    if (spool_take(t->spool, t->object, &path, NULL, &t->err) == 0)
        free(path);
    return NULL;
}

static void test_spool__ends_takes_of_what_is_given_back(void **state)
{
    (void)state;
    struct object a = put("a", bytes, BIG), b = put("b", bytes, 100);
    bucket->delay_s = 0.3;
    struct spool *s = open_spool(0, false);
    struct taking t = {.spool = s, .object = &a};
    pthread_t thread;
    spool_want(s, &a);
    spool_want(s, &b);
    pthread_create(&thread, NULL, take_in_thread, &t);
    clock_sleep(0.1);
    spool_give(s, &a);
    pthread_join(thread, NULL);
    assert_err(t.err, ERR_STOPPED, "gs://bucket/a: not wanted any more");
    take(s, &b, bytes, 100);
    spool_want(s, &a);                            /* wanted again before it has gone */
    take(s, &a, bytes, BIG);
    assert_int_equal(stats_of(s).disk_bytes, BIG + 100);
    close_spool(s);
    object_release(&a);
    object_release(&b);
}

static void test_spool__stops_at_once(void **state)
{
    (void)state;
    struct object a = put("a", bytes, BIG), b = put("b", bytes, BIG);
    bucket->bytes_per_s = 1000;
    double begun = clock_seconds();
    struct spool *s = open_spool(0, true);
    spool_want(s, &a);
    struct taking t = {.spool = s, .object = &a};
    pthread_t thread;
    pthread_create(&thread, NULL, take_in_thread, &t);
    clock_sleep(0.2);
    close_spool(s);                               /* would take hours */
    pthread_join(thread, NULL);
    assert_err(t.err, ERR_STOPPED, "gs://bucket/a");
    assert_int_equal(count_names(cache, ""), 0);
    s = open_spool(BIG + 5, false);
    spool_want(s, &a);
    spool_want(s, &b);
    clock_sleep(0.2);
    net_stop(net);
    take_fails(s, &a, ERR_STOPPED, "");
    take_fails(s, &b, ERR_STOPPED, "");
    close_spool(s);
    assert_true(clock_seconds() - begun < 60);
    object_release(&a);
    object_release(&b);
}

/* Many objects, several threads that want, take and give in their own order, little space. */
struct crowd {
    struct spool *spool;
    struct object *objects;
    int seed;
    int wrong;
};

enum { CROWD_OBJECTS = 30, CROWD_SIZE = 100000 };

static void *crowd_work(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < 60; i++) {
        int k = (i * 7 + c->seed * 11) % CROWD_OBJECTS;
        struct err e = {0};
        char *path = NULL, data[100];
        int64_t size;
        spool_want(c->spool, &c->objects[k]);
        if (i % 5 == 0) {
            spool_give(c->spool, &c->objects[k]);
            continue;
        }
        if (spool_take(c->spool, &c->objects[k], &path, &size, &e)) {
            c->wrong++;
        } else {
            int fd = open(path, O_RDONLY);
            c->wrong += size != CROWD_SIZE || read(fd, data, 100) != 100 ||
                        memcmp(data, bytes + k, 100) != 0;
            close(fd);
        }
        free(path);
        spool_give(c->spool, &c->objects[k]);
    }
    return NULL;
}

static void test_spool__serves_many(void **state)
{
    (void)state;
    struct object objects[CROWD_OBJECTS];
    struct crowd crowds[5];
    pthread_t threads[5];
    char name[20];
    for (int i = 0; i < CROWD_OBJECTS; i++) {
        snprintf(name, sizeof name, "%d", i);
        objects[i] = put(name, bytes + i, CROWD_SIZE);
    }
    struct spool *s = open_spool(8 * CROWD_SIZE, true);
    for (int i = 0; i < 5; i++) {
        crowds[i] = (struct crowd){.spool = s, .objects = objects, .seed = i};
        pthread_create(&threads[i], NULL, crowd_work, &crowds[i]);
    }
    for (int i = 0; i < 5; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowds[i].wrong, 0);
    }
    assert_true(stats_of(s).disk_peak <= 8 * CROWD_SIZE);
    assert_int_equal(stats_of(s).pending, 0);
    close_spool(s);
    for (int i = 0; i < CROWD_OBJECTS; i++)
        object_release(&objects[i]);
}

static void test_spool__knows_where_caches_lie(void **state)
{
    (void)state;
    setenv("XDG_CACHE_HOME", "/x/cache", 1);
    char *dir = spool_default_dir();
    assert_string_equal(dir, "/x/cache/attune");
    free(dir);
    setenv("XDG_CACHE_HOME", "relative", 1);      /* does not count, says its specification */
    setenv("HOME", "/home/me", 1);
    dir = spool_default_dir();
#ifdef __APPLE__
    assert_string_equal(dir, "/home/me/Library/Caches/attune");
#else
    assert_string_equal(dir, "/home/me/.cache/attune");
#endif
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(spool, fetches),
        SPOOL_TEST(spool, keeps_versions_apart),
        SPOOL_TEST(spool, takes_local_files),
        SPOOL_TEST(spool, ends_takes_of_what_is_given_back),
        SPOOL_TEST(spool, stops_at_once),
        SPOOL_TEST(spool, serves_many),
        SPOOL_TEST(spool, knows_where_caches_lie),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
