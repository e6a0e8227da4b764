/* test_forecast.c - what a run would take: exact where something tells, about where one shard must
 * speak for the others; padding as batches have it; requests and bytes of a bucket. */
#include "data_testing.h"

#include "bucket.h"
#include "data/forecast.h"
#include "data/patch.h"

enum { RATE = 16000 };

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static struct forecast take(const struct manifest *m, int batch)
{
    struct err e = {0};
    struct forecast f;
    struct plan *plan = plan_new(
        &(struct plan_options){.manifest = m, .batch = batch, .seed = 5, .is_sorted = true}, &e);
    assert_ok(e);
    struct forecast_options o = {.plan = plan};
    int failed = forecast(&f, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    plan_free(plan);
    return f;
}

static void test_forecast__padding_of_a_batch(void **state)
{
    (void)state;
    /* 100, 250 and 33 frames in 256 each; 10, 20, 3 and 8 tokens in 24 each; one has no sound. */
    static const float seconds[] = {1, 2.5f, 0.33f, 0};
    static const uint32_t lengths[] = {10, 20, 3, 8};
    struct forecast_batches b = {0};
    forecast_add_batch(&b, seconds, lengths, 4);
    assert_near(b.frames, 100 + 250 + 33, 1.01);
    assert_near(b.frame_cells, 3 * 256, 0);
    assert_near(b.tokens, 41, 0);
    assert_near(b.token_cells, 4 * 24, 0);
    forecast_add_batch(&b, seconds, lengths, 1);
    assert_near(b.frame_cells, 3 * 256 + 128, 0);
    assert_near(b.token_cells, 4 * 24 + 16, 0);
}

/* Durations of what has no sound do not count. */
static void test_forecast__pictures_are_no_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 10; i++)
        buf_printf(&b,
                   "{\"image\": \"%d.png\", \"text\": \"x\"}\n"
                   "{\"video\": \"%d.mp4\", \"text\": \"x\", \"duration\": 5}\n"
                   "{\"video\": \"%d.mp4\", \"text\": \"x\", \"duration\": 3, \"sound\": true}\n",
                   i, i, i);
    char *path = path_join(folder, "p.jsonl");
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    struct manifest m = open_files(&path, 1, NULL);
    struct forecast f = take(&m, 6);
    assert_near(f.records, 30, 0);
    assert_true(f.knows_seconds);
    assert_near(f.seconds, 30, 1e-6);
    forecast_release(&f);
    manifest_release(&m);
    buf_release(&b);
    free(path);
}

static void test_forecast__tables(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "{\"audio\": \"%d.wav\", \"text\": \"x\", \"duration\": 2}\n", i);
    char *path = path_join(folder, "t.jsonl");
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    struct manifest m = open_files(&path, 1, NULL);
    struct forecast f = take(&m, 8);
    assert_true(f.is_exact);
    assert_near(f.records, 100, 0);
    assert_near(f.steps, 13, 0);
    assert_true(f.knows_seconds);
    assert_near(f.seconds, 200, 1e-6);
    /* All clips are equally long: 200 frames in 224. */
    assert_near(f.padding.frames, 1 - 200.0 / 224, 1e-9);
    assert_true(f.padding.is_whole);
    assert_string_equal(f.sources[0].shards.store, "");
    assert_int_equal(f.spool_bytes, 0);
    forecast_release(&f);
    manifest_release(&m);
    buf_release(&b);
    free(path);
}

static void test_forecast__weights(void **state)
{
    (void)state;
    char *paths[] = {write_shard(folder, "w0.tar", 0, 10, RATE / 4),
                     write_shard(folder, "w1.tar", 10, 5, RATE / 4)};
    static const double weights[] = {1, 2};
    struct manifest m = open_files(paths, 2, weights);
    struct forecast f = take(&m, 4);
    assert_true(f.is_exact);
    assert_near(f.records, 20, 0);
    assert_near(f.sources[0].records, 10, 0);
    assert_near(f.sources[1].records, 5, 0);
    assert_near(f.sources[1].share, 0.5, 1e-9);
    forecast_release(&f);
    manifest_release(&m);
    free(paths[0]);
    free(paths[1]);
}

/* Eight shards of 6 samples in a bucket. */
struct shards {
    struct bucket *bucket;
    char *bytes[8], *indexes[8];
    size_t sizes[8];
    double total;
};

static void put_shards(struct shards *s)
{
    struct err e = {0};
    memset(s, 0, sizeof *s);
    s->bucket = bucket_start();
    for (int i = 0; i < 8; i++) {
        char name[40];
        snprintf(name, sizeof name, "p%d.tar", i);
        char *path = write_shard(folder, name, 6 * i, 6, RATE / 2);
        s->bytes[i] = file_read(path, 64 << 20, &s->sizes[i], &e);
        assert_non_null(s->bytes[i]);
        bucket_put(s->bucket, name, s->bytes[i], s->sizes[i]);
        s->total += (double)s->sizes[i];
        free(path);
    }
}

static void put_indexes(struct shards *s, const struct manifest *m)
{
    struct err e = {0};
    for (int i = 0; i < 8; i++) {
        struct shard shard;
        struct buf b;
        char name[40];
        size_t size;
        snprintf(name, sizeof name, "p%d.tar", i);
        char *path = path_join(folder, name);
        buf_init(&b, 1 << 20);
        assert_int_equal(shard_index(&shard, path, m->files[i].object.uri, NULL, 0, &e), 0);
        assert_int_equal(shard_sum(&shard, path, &e), 0);
        shard_write_index(&shard, &m->files[i].object, NULL, 0, &b);
        s->indexes[i] = buf_take(&b, &size);
        snprintf(name, sizeof name, "p%d.tar.idx", i);
        bucket_put(s->bucket, name, s->indexes[i], size);
        shard_release(&shard);
        free(path);
    }
}

static void assert_forecast(const struct shards *s, const struct forecast *f, bool has_indexes)
{
    /* Clips differ in length, so that one shard only tells about how many there are. */
    assert_int_equal(f->is_exact, has_indexes);
    assert_int_equal(f->padding.is_guess, !has_indexes);
    assert_near(f->records, 48, has_indexes ? 0 : 16);
    assert_int_equal(f->fetched != NULL, !has_indexes);
    size_t fetched = f->fetched ? s->sizes[f->fetched[strlen("gs://bucket/p")] - '0'] : 0;
    assert_near(f->fetched_bytes, (double)fetched, 0);
    assert_string_equal(f->sources[0].shards.store, "gs");
    assert_near(f->sources[0].shards.bytes, s->total, 0);
    assert_near(f->sources[0].shards.gets, 8, 0);
    assert_near((double)f->spool_bytes, s->total, 0);
    assert_near(f->sources[0].lists, 2, 0);
    assert_near(f->sources[0].tables.gets, has_indexes ? 8 : 0, 0);
}

static void test_forecast__a_bucket(void **state)
{
    (void)state;
    struct err e = {0};
    struct shards s;
    put_shards(&s);
    char *spool_dir = path_join(folder, "spool"), *pattern = xstrdup("gs://bucket/p*.tar");
    for (int has_indexes = 0; has_indexes < 2; has_indexes++) {
        struct net *net = net_open(&(struct net_options){.connections = 2, .budget_s = 20});
        struct spool *spool = spool_open(
            &(struct spool_options){.net = net, .dir = spool_dir, .bytes_max = 64 << 20}, &e);
        assert_non_null(spool);
        struct manifest m;
        struct manifest_options o = {
            .patterns = &pattern, .pattern_count = 1, .net = net, .spool = spool};
        int failed = manifest_open(&m, &o, &e);
        assert_ok(e);
        assert_int_equal(failed, 0);
        int before = bucket_reads(s.bucket);
        struct forecast f = take(&m, 4);
        assert_int_equal(bucket_reads(s.bucket) - before, has_indexes ? 0 : 1);
        assert_forecast(&s, &f, has_indexes);
        forecast_release(&f);
        if (!has_indexes)
            put_indexes(&s, &m);
        manifest_release(&m);
        spool_close(spool);
        net_close(net);
    }
    bucket_stop(s.bucket);
    for (int i = 0; i < 8; i++) {
        free(s.bytes[i]);
        free(s.indexes[i]);
    }
    free(spool_dir);
    free(pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast__padding_of_a_batch),
        cmocka_unit_test(test_forecast__pictures_are_no_sound),
        cmocka_unit_test(test_forecast__tables),
        cmocka_unit_test(test_forecast__weights),
        cmocka_unit_test(test_forecast__a_bucket),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
