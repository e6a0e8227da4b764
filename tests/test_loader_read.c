/* test_loader_read.c - shards in a bucket: the same batches as from the disk, soon, and whatever
 * goes wrong on the way. */
#include "data_testing.h"

#include <zlib.h>

#include "bucket.h"
#include "base/clock.h"
#include "base/hash.h"
#include "data/loader.h"
#include "data/spool.h"

enum { SHARDS = 4, EACH = 12, STEPS = 14 };

static struct buf tars[SHARDS], indexes[SHARDS];
static char expected[STEPS][HASH_HEX_SIZE];

/* ------------------------------------------------------------------------ runs -- */

static void hash_step(const struct loader_step *s, char hex[HASH_HEX_SIZE])
{
    struct hash *h = hash_new();
    unsigned char digest[HASH_SIZE];
    for (int i = 0; i < s->count; i++) {
        const struct batch *b = &s->micros[i];
        for (int row = 0; row < b->rows; row++)
            hash_add(h, b->ids[row], strlen(b->ids[row]) + 1);
        hash_add(h, b->tokens, (size_t)b->rows * (size_t)b->len * sizeof *b->tokens);
        hash_add(h, b->mel, (size_t)b->clips * (size_t)b->frames * (size_t)b->bins * 4);
    }
    hash_end(h, digest);
    hash_hex(digest, hex);
    hash_free(h);
}

/* A bucket, and all that reads from it. */
struct rig {
    struct bucket *bucket;
    struct net *net;
    struct spool *spool;
    struct manifest m;
    struct plan *plan;
    struct loader_options o;
};

static void rig_put(struct rig *r, bool with_indexes)
{
    *r = (struct rig){.bucket = bucket_start()};
    for (int i = 0; i < SHARDS; i++) {
        char name[60];
        snprintf(name, sizeof name, "set/part-%d.tar", i);
        bucket_put(r->bucket, name, tars[i].data, tars[i].size);
        snprintf(name, sizeof name, "set/part-%d.tar.idx", i);
        if (with_indexes)
            bucket_put(r->bucket, name, indexes[i].data, indexes[i].size);
    }
}

static struct plan_options plan_options(const struct manifest *m)
{
    return (struct plan_options){
        .manifest = m, .seed = 6, .batch = 5, .is_sorted = true, .window_shards = 2};
}

static void rig_open_pattern(struct rig *r, char *pattern, double budget_s)
{
    struct err e = {0};
    char *dir = path_join(kit.folder, "spool");
    r->net = net_open(&(struct net_options){.budget_s = budget_s, .stall_s = 20, .seed = 1});
    r->spool = spool_open(&(struct spool_options){.net = r->net, .dir = dir}, &e);
    struct manifest_options o = {
        .patterns = &pattern, .pattern_count = 1, .net = r->net, .spool = r->spool};
    int failed = manifest_open(&r->m, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    struct plan_options options = plan_options(&r->m);
    r->plan = plan_new(&options, &e);
    assert_ok(e);
    r->o = (struct loader_options){.plan = r->plan,
                                   .format = &kit.format,
                                   .spool = r->spool,
                                   .end_step = STEPS,
                                   .threads = 3,
                                   .ahead = 2};
    free(dir);
}

static void rig_open(struct rig *r, double budget_s)
{
    char pattern[] = "gs://bucket/set/part-*.tar";
    rig_open_pattern(r, pattern, budget_s);
}

static void rig_close_data(struct rig *r)
{
    plan_free(r->plan);
    manifest_release(&r->m);
    spool_close(r->spool);
    net_close(r->net);
}

static void rig_close(struct rig *r)
{
    rig_close_data(r);
    bucket_stop(r->bucket);
}

static void check_run(struct rig *r)
{
    struct err e = {0};
    struct loader *l = loader_open(&r->o, &e);
    struct loader_step s;
    for (int i = 0; i < STEPS; i++) {
        char found[HASH_HEX_SIZE];
        int got = loader_next(l, &s, &e);
        assert_ok(e);
        assert_int_equal(got, 1);
        hash_step(&s, found);
        assert_string_equal(found, expected[i]);
        assert_int_equal(s.bad_count, 0);
        loader_step_release(&s);
    }
    assert_int_equal(loader_next(l, &s, &e), 0);
    loader_close(l);
}

static void run_to_error(struct rig *r, struct err *e)
{
    struct loader *l = loader_open(&r->o, e);
    struct loader_step s;
    while (loader_next(l, &s, e) == 1)
        loader_step_release(&s);
    loader_close(l);
}

/* What comes from the same shards on the disk. */
static void make_expected(char *const *paths)
{
    struct err e = {0};
    struct manifest m = open_files(paths, 1, NULL);
    struct plan_options options = plan_options(&m);
    struct plan *p = plan_new(&options, &e);
    struct loader_options o = {.plan = p, .format = &kit.format, .end_step = STEPS};
    struct loader *l = loader_open(&o, &e);
    struct loader_step s;
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(loader_next(l, &s, &e), 1);
        hash_step(&s, expected[i]);
        loader_step_release(&s);
    }
    loader_close(l);
    plan_free(p);
    manifest_release(&m);
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    setenv("HOME", "/nonexistent", 1);
    kit_open(&kit);
    for (int i = 0; i < SHARDS; i++) {
        char name[40];
        struct shard s;
        buf_init(&tars[i], 64 << 20);
        buf_init(&indexes[i], 1 << 20);
        add_samples(&tars[i], i * EACH, EACH, 16000);
        tar_end(&tars[i]);
        snprintf(name, sizeof name, "part-%d.tar", i);
        char *path = kit_write(&kit, name, tars[i].data, tars[i].size);
        struct object o = {.uri = path,
                           .size = (int64_t)tars[i].size,
                           .has_crc32c = true,
                           .crc32c = crc32c(0, tars[i].data, tars[i].size)};
        assert_int_equal(shard_index(&s, path, path, NULL, 0, &e), 0);
        assert_int_equal(shard_sum(&s, path, &e), 0);
        shard_write_index(&s, &o, NULL, 0, &indexes[i]);
        shard_release(&s);
        free(path);
    }
    char *pattern = path_join(kit.folder, "part-*.tar");
    make_expected(&pattern);
    free(pattern);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < SHARDS; i++) {
        buf_release(&tars[i]);
        buf_release(&indexes[i]);
    }
    kit_close(&kit);
    return 0;
}

/* ----------------------------------------------------------------------- tests -- */

static void test_loader_read__same_as_from_the_disk(void **state)
{
    (void)state;
    for (int with_indexes = 0; with_indexes < 2; with_indexes++) {
        struct rig r;
        rig_put(&r, with_indexes);
        rig_open(&r, 60);
        assert_int_equal(r.m.is_complete, with_indexes);
        /* Over the run's two epochs, and from its middle. */
        check_run(&r);
        rig_close(&r);
    }
}

/* Packed shards, in the bucket and here, are unpacked by the spool. */
static void test_loader_read__packed_shards(void **state)
{
    (void)state;
    struct rig r = {.bucket = bucket_start()};
    static char packed[SHARDS][4 << 20];
    for (int i = 0; i < SHARDS; i++) {
        char name[60];
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (unsigned char *)tars[i].data;
        z.avail_in = (unsigned)tars[i].size;
        z.next_out = (unsigned char *)packed[i];
        z.avail_out = sizeof packed[i];
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        snprintf(name, sizeof name, "set/part-%d.tar.gz", i);
        bucket_put(r.bucket, name, packed[i], z.total_out);
        free(kit_write(&kit, name + 4, packed[i], z.total_out));
        deflateEnd(&z);
    }
    for (int is_local = 0; is_local < 2; is_local++) {
        struct bucket *bucket = r.bucket;
        char *pattern = is_local ? path_join(kit.folder, "part-*.tar.gz")
                                 : xstrdup("gs://bucket/set/part-*.tar.gz");
        r = (struct rig){.bucket = bucket};
        rig_open_pattern(&r, pattern, 60);
        check_run(&r);
        free(pattern);
        if (!is_local)
            rig_close_data(&r);
    }
    rig_close(&r);
}

/* With indexes the first step needs no whole shard: its samples are read before any shard is asked
 * for. */
static void test_loader_read__begins_with_ranges(void **state)
{
    (void)state;
    struct err e = {0};
    struct rig r;
    rig_put(&r, true);
    rig_open(&r, 60);
    bucket_lock(r.bucket);
    r.bucket->order[0] = 0;
    bucket_unlock(r.bucket);
    r.o.ahead = 1;
    struct loader *l = loader_open(&r.o, &e);
    struct loader_step s;
    assert_int_equal(loader_next(l, &s, &e), 1);
    bucket_lock(r.bucket);
    int ranges = 0;
    char *rest, *at = strtok_r(r.bucket->order, " ", &rest);
    for (; at && ranges < 5 && !strstr(at, "@0"); at = strtok_r(NULL, " ", &rest))
        ranges++;
    bucket_unlock(r.bucket);
    assert_int_equal(ranges, 5);
    loader_step_release(&s);
    loader_close(l);
    check_run(&r);
    rig_close(&r);
}

/* One wrong bit in each read's first tries: found by the checksums, in ranges of samples as in
 * shards. */
static void test_loader_read__wrong_bits_are_read_again(void **state)
{
    (void)state;
    for (int with_indexes = 0; with_indexes < 2; with_indexes++) {
        struct rig r;
        rig_put(&r, with_indexes);
        rig_open(&r, 60);
        bucket_lock(r.bucket);
        for (int i = 0; i < r.bucket->count; i++) {
            struct bucket_object *o = &r.bucket->objects[i];
            o->flips = strstr(o->name, ".idx") ? 0 : 1;
            o->cuts = 1;
        }
        bucket_unlock(r.bucket);
        check_run(&r);
        rig_close(&r);
    }
}

static void test_loader_read__bits_that_stay_wrong_are_an_error(void **state)
{
    (void)state;
    for (int with_indexes = 0; with_indexes < 2; with_indexes++) {
        struct err e = {0};
        struct rig r;
        rig_put(&r, with_indexes);
        rig_open(&r, 60);
        bucket_lock(r.bucket);
        for (int i = 0; i < r.bucket->count; i++)
            if (!strstr(r.bucket->objects[i].name, ".idx"))
                r.bucket->objects[i].flips = -1;
        bucket_unlock(r.bucket);
        run_to_error(&r, &e);
        assert_err(e, ERR_INTEGRITY, "gs://bucket/set/part-");
        rig_close(&r);
    }
}

/* A shard that is replaced between planning and reading is an error, not a mix. */
static void test_loader_read__replaced_shards_are_an_error(void **state)
{
    (void)state;
    for (int with_indexes = 0; with_indexes < 2; with_indexes++) {
        struct err e = {0};
        struct rig r;
        rig_put(&r, with_indexes);
        rig_open(&r, 60);
        for (int i = 0; i < SHARDS; i++) {
            char name[60];
            snprintf(name, sizeof name, "set/part-%d.tar", i);
            bucket_put(r.bucket, name, tars[0].data, tars[0].size);
        }
        run_to_error(&r, &e);
        assert_err(e, ERR_INTEGRITY, "gs://bucket/set/part-");
        rig_close(&r);
    }
}

/* Refusals for a while are waited for; those that last end the run as something to try again. */
static void test_loader_read__outages(void **state)
{
    (void)state;
    for (int lasts = 0; lasts < 2; lasts++) {
        struct err e = {0};
        struct rig r;
        rig_put(&r, true);
        rig_open(&r, lasts ? 2 : 60);
        bucket_lock(r.bucket);
        for (int i = 0; i < r.bucket->count; i++) {
            r.bucket->objects[i].status = 503;
            r.bucket->objects[i].status_count = lasts ? 1000000 : 2;
        }
        bucket_unlock(r.bucket);
        if (lasts) {
            run_to_error(&r, &e);
            assert_err(e, ERR_RETRY, "503");
        } else {
            check_run(&r);
        }
        rig_close(&r);
    }
}

/* Media that lie loose in the bucket: one that is missing is a bad record, like a missing file. */
static void test_loader_read__loose_media(void **state)
{
    (void)state;
    struct err e = {0};
    struct rig r = {.bucket = bucket_start()};
    size_t size;
    unsigned char *wav = tone(5000, 0.3, 9, &size);
    static const char text[] =
        "{\"audio\": \"clips/there.wav\", \"text\": \"one\"}\n"
        "{\"audio\": \"clips/gone.wav\", \"text\": \"two\"}\n"
        "{\"audio\": \"gs://bucket/loose/clips/there.wav\", \"text\": \"three\"}\n";
    bucket_put(r.bucket, "loose/list.jsonl", text, sizeof text - 1);
    bucket_put(r.bucket, "loose/clips/there.wav", wav, size);
    char pattern[] = "gs://bucket/loose/list.jsonl";
    rig_open_pattern(&r, pattern, 60);
    r.o.end_step = 1;
    r.o.bad_min = 1;
    struct loader *l = loader_open(&r.o, &e);
    struct loader_step s;
    assert_int_equal(loader_next(l, &s, &e), 1);
    assert_ok(e);
    assert_int_equal(s.micros[0].rows, 2);
    assert_int_equal(s.micros[0].clips, 2);
    assert_int_equal(s.bad_count, 1);
    assert_non_null(strstr(s.bad[0], "list.jsonl:2: "));
    assert_non_null(strstr(s.bad[0], "gone.wav"));
    loader_step_release(&s);
    loader_close(l);
    rig_close(&r);
    free(wav);
}

/* Closing does not wait for a network that hangs, in whichever state the loader is. */
static void test_loader_read__closes_while_the_network_hangs(void **state)
{
    (void)state;
    for (int with_indexes = 0; with_indexes < 2; with_indexes++) {
        struct err e = {0};
        struct rig r;
        char waiting[300];
        rig_put(&r, with_indexes);
        rig_open(&r, 900);
        bucket_lock(r.bucket);
        r.bucket->bytes_per_s = 1;
        int reads = r.bucket->reads;
        bucket_unlock(r.bucket);
        struct loader *l = loader_open(&r.o, &e);
        for (int i = 0; i < 1000 && bucket_reads(r.bucket) < reads + 1; i++)
            clock_sleep(0.01);
        loader_waiting_for(l, waiting, sizeof waiting);
        if (!with_indexes)
            assert_non_null(strstr(waiting, "shard 1 of 1 (gs://bucket/set/part-"));
        double begin = clock_seconds();
        loader_close(l);
        assert_true(clock_seconds() - begin < 15);
        /* The network itself goes on. */
        assert_false(net_is_stopped(r.net));
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader_read__same_as_from_the_disk),
        cmocka_unit_test(test_loader_read__packed_shards),
        cmocka_unit_test(test_loader_read__begins_with_ranges),
        cmocka_unit_test(test_loader_read__wrong_bits_are_read_again),
        cmocka_unit_test(test_loader_read__bits_that_stay_wrong_are_an_error),
        cmocka_unit_test(test_loader_read__replaced_shards_are_an_error),
        cmocka_unit_test(test_loader_read__outages),
        cmocka_unit_test(test_loader_read__loose_media),
        cmocka_unit_test(test_loader_read__closes_while_the_network_hangs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
