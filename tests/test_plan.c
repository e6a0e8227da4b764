/* test_plan.c - every record as often as it should come, whatever count, batch, weights and shards;
 * one window alone as in a row. */
#include "data_testing.h"

#include "base/clock.h"
#include "base/rng.h"
#include "data/patch.h"
#include "data/plan.h"
#include "data/spool.h"

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

/* A table of `count` records of different lengths. */
static char *write_table(const char *name, int64_t count)
{
    struct err e = {0};
    struct buf text;
    static const char words[] = "a word and another word and one more word, and so on to the end "
                                "of what can be said about it in a line that is not too long for "
                                "this purpose, which it is not, as everybody can see who reads it";
    buf_init(&text, 64 << 20);
    for (int64_t i = 0; i < count; i++)
        buf_printf(&text, "{\"id\": %d, \"text\": \"%.*s\"}\n", (int)i,
                   (int)rng_below(1, 2, (uint64_t)i, sizeof words), words);
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text.data, text.size, &e), 0);
    buf_release(&text);
    return path;
}

static struct manifest open_table(const char *name, int64_t count)
{
    char *path = write_table(name, count);
    struct manifest m = open_files(&path, 1, NULL);
    free(path);
    return m;
}

/* `count` shards of different sizes; 10, 13, 16, ... samples. */
static struct manifest open_shards(const char *name, int count)
{
    char *paths[40];
    int first = 0;
    for (int i = 0; i < count; i++) {
        char file[60];
        snprintf(file, sizeof file, "%s-%02d.tar", name, i);
        paths[i] = write_shard(folder, file, first, 10 + 3 * i, 0);
        first += 10 + 3 * i;
    }
    struct manifest m = open_files(paths, count, NULL);
    for (int i = 0; i < count; i++)
        free(paths[i]);
    return m;
}

static struct plan *make_plan(const struct plan_options *o)
{
    struct err e = {0};
    struct plan *p = plan_new(o, &e);
    assert_ok(e);
    assert_non_null(p);
    return p;
}

static struct plan_window open_window(const struct plan *p, int64_t epoch, int64_t window)
{
    struct err e = {0};
    struct plan_window w;
    int failed = plan_window_open(&w, p, epoch, window, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return w;
}

/* A number for each record: of lines their index, of samples one that no other has. */
static int64_t number_of(const struct record_ref *r)
{
    return r->shard ? (int64_t)(r->file + 1) * 1000000 + r->index : r->index;
}

/* The numbers of an epoch in their order; the batches are whole but for the last ones. */
static int64_t read_epoch(const struct plan *p, int64_t epoch, int64_t *out, int64_t max)
{
    int64_t count = 0, windows = plan_windows(p, epoch);
    const struct manifest *m = plan_settings(p)->manifest;
    int batch = plan_settings(p)->batch;
    bool has_shards = false;
    for (int i = 0; i < m->source_count; i++)
        has_shards = has_shards || m->sources[i].is_shards;
    for (int64_t i = 0; i < windows; i++) {
        struct plan_window w = open_window(p, epoch, i);
        assert_true(w.count > 0 && w.firsts[0] == 0 && w.firsts[w.batches] == w.count);
        for (int64_t k = 0; k < w.batches; k++) {
            int64_t size = w.firsts[k + 1] - w.firsts[k];
            assert_true(size == batch || (k + 1 == w.batches && size > 0 && size < batch));
            /* Windows of lines are cut at whole batches. */
            assert_true(size == batch || has_shards || i + 1 == windows);
        }
        for (int64_t k = 0; k < w.count; k++) {
            assert_true(count < max);
            out[count++] = number_of(&w.records[k]);
        }
        plan_window_release(&w);
    }
    return count;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* ------------------------------------------------------------------ coverage -- */

static void check_lines(const struct manifest *m, int batch, bool is_sorted)
{
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = m, .seed = 5, .batch = batch, .is_sorted = is_sorted, .window_shards = 2});
    int64_t *seen = xcalloc((size_t)m->count + 1, sizeof *seen);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t count = read_epoch(p, epoch, seen, m->count);
        assert_int_equal(count, m->count);
        qsort(seen, (size_t)count, sizeof *seen, compare_numbers);
        for (int64_t i = 0; i < count; i++)
            assert_int_equal(seen[i], i);
        assert_int_equal(plan_steps(p, epoch), (count + batch - 1) / batch);
    }
    free(seen);
    plan_free(p);
}

static void test_plan__takes_each_line_once_an_epoch(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 2, 3, 7, 64, 257, 5003};
    static const int batches[] = {1, 3, 8, 50, 2000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct manifest m = open_table("lines.jsonl", counts[i]);
        for (size_t k = 0; k < sizeof batches / sizeof *batches; k++)
            for (int is_sorted = 0; is_sorted < 2; is_sorted++)
                check_lines(&m, batches[k], is_sorted);
        manifest_release(&m);
    }
}

static void check_shards(const struct manifest *m, int64_t total, int batch, bool is_sorted)
{
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = m, .seed = 5, .batch = batch, .is_sorted = is_sorted, .window_shards = 3});
    int64_t *seen = xcalloc((size_t)total + 1, sizeof *seen);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(read_epoch(p, epoch, seen, total), total);
        qsort(seen, (size_t)total, sizeof *seen, compare_numbers);
        for (int64_t i = 1; i < total; i++)
            assert_true(seen[i] > seen[i - 1]);
    }
    free(seen);
    plan_free(p);
}

static void test_plan__takes_each_sample_once_an_epoch(void **state)
{
    (void)state;
    for (int count = 1; count <= 9; count += 4) {
        struct manifest m = open_shards("once", count);
        int64_t total = 10 * count + 3 * count * (count - 1) / 2;
        for (int batch = 1; batch <= 64; batch *= 4)
            for (int is_sorted = 0; is_sorted < 2; is_sorted++)
                check_shards(&m, total, batch, is_sorted);
        struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 2});
        assert_int_equal(plan_steps(p, 0), -1);
        plan_free(p);
        manifest_release(&m);
    }
}

static void test_plan__mixes_tables_and_shards(void **state)
{
    (void)state;
    char *paths[] = {write_table("mixed.jsonl", 5000), write_shard(folder, "mixed.tar", 0, 30, 0),
                     write_table("more.jsonl", 7)};
    struct manifest m = open_files(paths, 3, NULL);
    check_shards(&m, 5037, 8, true);
    /* In order: the lines of the first table, the samples, the lines of the second one. */
    struct plan *p =
        make_plan(&(struct plan_options){.manifest = &m, .batch = 8, .is_sequential = true});
    int64_t *seen = xcalloc(5038, sizeof *seen);
    assert_int_equal(read_epoch(p, 0, seen, 5037), 5037);
    for (int64_t i = 0; i < 5037; i++)
        assert_int_equal(seen[i], i < 5000 ? i : i < 5030 ? 2000000 + i - 5000 : i - 30);
    assert_int_equal(plan_windows(p, 1), 0);
    free(seen);
    plan_free(p);
    manifest_release(&m);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

/* ------------------------------------------------------------------- weights -- */

static void test_plan__weights_are_exact_in_the_long_run(void **state)
{
    (void)state;
    enum { EPOCHS = 12 };
    static const double weights[] = {1, 2, 0.25, 1.5, 0.4};
    static const int64_t counts[] = {10, 10, 8, 6, 5};
    char *paths[5];
    int64_t first[6] = {0};
    for (int i = 0; i < 5; i++) {
        char name[40];
        snprintf(name, sizeof name, "w%d.jsonl", i);
        paths[i] = write_table(name, counts[i]);
        first[i + 1] = first[i] + counts[i];
    }
    struct manifest m = open_files(paths, 5, weights);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 3, .batch = 4});
    int seen[39] = {0}, before[39] = {0};
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int64_t out[100], count = read_epoch(p, epoch, out, 100);
        assert_int_equal(count, 10 + 20 + 2 + 9 + 2);
        for (int64_t i = 0; i < count; i++)
            seen[out[i]]++;
        /* Whole weights hold in every epoch. */
        for (int64_t i = 0; i < 20; i++)
            assert_int_equal(seen[i] - before[i], i < 10 ? 1 : 2);
        memcpy(before, seen, sizeof seen);
    }
    for (int k = 0; k < 5; k++)
        for (int64_t i = first[k]; i < first[k + 1]; i++) {
            double expected = weights[k] * EPOCHS;
            assert_true(seen[i] >= floor(expected) && seen[i] <= ceil(expected));
        }
    plan_free(p);
    manifest_release(&m);
    for (int i = 0; i < 5; i++)
        free(paths[i]);
}

static void test_plan__refuses_weights_that_cannot_be(void **state)
{
    (void)state;
    struct err e = {0};
    static const double weight = 0.3;
    char *paths[] = {write_shard(folder, "heavy.tar", 0, 3, 0)};
    struct manifest m = open_files(paths, 1, &weight);
    assert_null(plan_new(&(struct plan_options){.manifest = &m, .batch = 1}, &e));
    assert_err(e, ERR_DATA, "heavy.tar: a weight of 0.3 is less than one of its 1 shards");
    manifest_release(&m);
    free(paths[0]);
}

/* ------------------------------------------------------------------- windows -- */

static void test_plan__windows_grow(void **state)
{
    (void)state;
    struct manifest m = open_shards("grow", 20);
    struct plan *p =
        make_plan(&(struct plan_options){.manifest = &m, .batch = 4, .window_shards = 6});
    static const int expected[2][6] = {{1, 2, 4, 6, 6, 1}, {6, 6, 6, 2, 0, 0}};
    for (int epoch = 0; epoch < 2; epoch++) {
        assert_int_equal(plan_windows(p, epoch), epoch ? 4 : 6);
        for (int i = 0; i < plan_windows(p, epoch); i++) {
            int32_t files[6];
            int count = plan_window_files(p, epoch, i, files, 6);
            assert_int_equal(count, expected[epoch][i]);
            struct plan_window w = open_window(p, epoch, i);
            assert_int_equal(w.shard_count, count);
            assert_memory_equal(w.files, files, (size_t)count * sizeof *files);
            plan_window_release(&w);
        }
    }
    plan_free(p);
    /* A limit in bytes: each window has one shard, or fits. */
    int64_t limit = 3 * m.files[10].object.size;
    p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4, .window_bytes = limit});
    int64_t shards = 0;
    for (int64_t i = 0; i < plan_windows(p, 3); i++) {
        int32_t files[20];
        int count = plan_window_files(p, 3, i, files, 20);
        int64_t bytes = 0;
        for (int k = 0; k < count; k++)
            bytes += m.files[files[k]].object.size;
        assert_true(count == 1 || bytes <= limit);
        shards += count;
    }
    assert_int_equal(shards, 20);
    plan_free(p);
    manifest_release(&m);
}

/* A window is the same whether it is opened in its turn, alone, or by another plan. */
static void check_windows_alone(const struct plan_options *o)
{
    struct plan *p = make_plan(o);
    for (int64_t epoch = 2; epoch >= 0; epoch--) {
        for (int64_t i = plan_windows(p, epoch) - 1; i >= 0; i--) {
            struct plan *q = make_plan(o);
            struct plan_window a = open_window(p, epoch, i), b = open_window(q, epoch, i);
            assert_int_equal(a.count, b.count);
            for (int64_t k = 0; k < a.count; k++) {
                assert_int_equal(number_of(&a.records[k]), number_of(&b.records[k]));
                assert_int_equal(a.lengths[k], b.lengths[k]);
            }
            plan_window_release(&a);
            plan_window_release(&b);
            plan_free(q);
        }
    }
    plan_free(p);
}

static void test_plan__windows_stand_alone(void **state)
{
    (void)state;
    struct manifest m = open_shards("alone", 11), t = open_table("alone.jsonl", 3000);
    check_windows_alone(&(struct plan_options){
        .manifest = &m, .seed = 8, .batch = 4, .is_sorted = true, .window_shards = 4});
    check_windows_alone(&(struct plan_options){
        .manifest = &t, .seed = 8, .batch = 4, .is_sorted = true, .window_shards = 1});
    manifest_release(&m);
    manifest_release(&t);
}

/* An index changes when a window can be planned, never what is in it. */
static void test_plan__indexes_change_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    char *path = write_shard(folder, "indexed.tar", 0, 40, 0),
         *name = path_join(folder, "indexed.tar.idx");
    struct manifest m = open_files(&path, 1, NULL);
    struct plan_options o = {.manifest = &m, .seed = 4, .batch = 8, .is_sorted = true};
    struct plan *p = make_plan(&o);
    struct plan_window w = open_window(p, 1, 0);
    struct buf text;
    buf_init(&text, 1 << 20);
    shard_write_index(&w.shards[0], &m.files[0].object, NULL, 0, &text);
    assert_int_equal(file_write(name, text.data, text.size, &e), 0);

    struct manifest indexed = open_files(&path, 1, NULL);
    assert_true(indexed.is_complete);
    assert_int_equal(indexed.count, 40);
    assert_string_equal(indexed.hash, m.hash);
    o.manifest = &indexed;
    struct plan *q = make_plan(&o);
    assert_int_equal(plan_steps(q, 0), 5);
    struct plan_window v = open_window(q, 1, 0);
    assert_int_equal(v.count, w.count);
    for (int64_t i = 0; i < w.count; i++) {
        assert_int_equal(v.records[i].index, w.records[i].index);
        assert_int_equal(v.lengths[i], w.lengths[i]);
    }
    plan_window_release(&v);
    plan_free(q);
    manifest_release(&indexed);

    /* One of another version is not used. */
    free(write_shard(folder, "indexed.tar", 0, 41, 0));
    indexed = open_files(&path, 1, NULL);
    assert_false(indexed.is_complete);
    assert_null(indexed.files[0].index);
    o.manifest = &indexed;
    q = make_plan(&o);
    v = open_window(q, 0, 0);
    assert_int_equal(v.count, 41);
    plan_window_release(&v);
    plan_free(q);
    manifest_release(&indexed);
    plan_window_release(&w);
    plan_free(p);
    manifest_release(&m);
    buf_release(&text);
    free(name);
    free(path);
}

/* --------------------------------------------------------------------- order -- */

static void test_plan__order_depends_on_seed_and_epoch(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct manifest m = open_table("order.jsonl", COUNT);
    static int64_t first[COUNT], other[COUNT], later[COUNT];
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 4});
    struct plan *q = make_plan(&(struct plan_options){.manifest = &m, .seed = 2, .batch = 4});
    read_epoch(p, 0, first, COUNT);
    read_epoch(q, 0, other, COUNT);
    read_epoch(p, 1, later, COUNT);
    int same_seed = 0, same_epoch = 0, in_place = 0;
    for (int i = 0; i < COUNT; i++) {
        same_seed += first[i] == other[i];
        same_epoch += first[i] == later[i];
        in_place += first[i] == i;
    }
    assert_true(same_seed < 10);
    assert_true(same_epoch < 10);
    assert_true(in_place < 10);
    plan_free(p);
    plan_free(q);
    manifest_release(&m);
}

/* Neighbours come from all shards of the window: the shard of the next record, given that of this
 * one, is nearly as uncertain as it can be. */
static void test_plan__neighbours_come_from_all_shards(void **state)
{
    (void)state;
    enum { SHARDS = 8, EACH = 200 };
    char *paths[SHARDS];
    for (int i = 0; i < SHARDS; i++) {
        char name[40];
        snprintf(name, sizeof name, "near-%d.tar", i);
        paths[i] = write_shard(folder, name, i * EACH, EACH, 0);
    }
    struct manifest m = open_files(paths, SHARDS, NULL);
    for (int is_sorted = 0; is_sorted < 2; is_sorted++) {
        struct plan *p =
            make_plan(&(struct plan_options){.manifest = &m, .batch = 4, .is_sorted = is_sorted});
        static int64_t seen[SHARDS * EACH];
        read_epoch(p, 1, seen, SHARDS * EACH);
        double pairs[SHARDS][SHARDS] = {{0}}, entropy = 0;
        for (int i = 1; i < SHARDS * EACH; i++)
            pairs[seen[i - 1] / 1000000 - 1][seen[i] / 1000000 - 1]++;
        for (int i = 0; i < SHARDS; i++) {
            double sum = 0;
            for (int k = 0; k < SHARDS; k++)
                sum += pairs[i][k];
            for (int k = 0; k < SHARDS; k++)
                if (pairs[i][k] > 0)
                    entropy -= pairs[i][k] / (SHARDS * EACH) * log2(pairs[i][k] / sum);
        }
        assert_true(entropy > 0.95 * log2(SHARDS));
        plan_free(p);
    }
    manifest_release(&m);
    for (int i = 0; i < SHARDS; i++)
        free(paths[i]);
}

/* Sorting must not bring the same records together in every epoch. */
static void check_company(const struct manifest *m, int count, int batch)
{
    struct plan *p = make_plan(
        &(struct plan_options){.manifest = m, .seed = 9, .batch = batch, .is_sorted = true});
    int *company[2], again = 0, pairs = 0;
    for (int epoch = 0; epoch < 2; epoch++) {
        company[epoch] = xcalloc((size_t)count, sizeof(int));
        int step = 0;
        for (int64_t i = 0; i < plan_windows(p, epoch); i++) {
            struct plan_window w = open_window(p, epoch, i);
            for (int64_t k = 0; k < w.count; k++)
                company[epoch][w.records[k].index] = step + (int)(k / batch);
            step += (int)w.batches;
            plan_window_release(&w);
        }
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++)
            if (company[0][i] == company[0][k]) {
                pairs++;
                again += company[1][i] == company[1][k];
            }
    /* By chance a pair of a batch would meet again with a probability of about batch / count;
     * sorting makes it more, a fixed order would make it 1. */
    assert_true(again < pairs / 3);
    free(company[0]);
    free(company[1]);
    plan_free(p);
}

static void test_plan__batches_change_their_company(void **state)
{
    (void)state;
    struct manifest m = open_table("company.jsonl", 160);
    check_company(&m, 160, 8);
    manifest_release(&m);
    char *path = write_shard(folder, "company.tar", 0, 160, 0);
    m = open_files(&path, 1, NULL);
    check_company(&m, 160, 8);
    manifest_release(&m);
    free(path);
}

static void test_plan__sorted_batches_are_shuffled(void **state)
{
    (void)state;
    struct manifest m = open_table("sorted.jsonl", 2048);
    struct plan *p =
        make_plan(&(struct plan_options){.manifest = &m, .seed = 9, .batch = 8, .is_sorted = true});
    struct plan_window w = open_window(p, 1, 0);
    int falls = 0, spread = 0;
    for (int64_t i = 0; i < w.batches; i++) {
        uint32_t low = UINT32_MAX, high = 0;
        for (int64_t k = w.firsts[i]; k < w.firsts[i + 1]; k++) {
            low = w.lengths[k] < low ? w.lengths[k] : low;
            high = w.lengths[k] > high ? w.lengths[k] : high;
        }
        falls += i > 0 && w.lengths[w.firsts[i]] < w.lengths[w.firsts[i - 1]];
        spread += high - low > 4;
    }
    assert_true(w.batches == 64);
    assert_true(falls > 16 && falls < 48);
    assert_true(spread < 8);
    plan_window_release(&w);
    plan_free(p);
    manifest_release(&m);
}

/* Runs must be resumable by later versions: the order is part of the format. */
static void test_plan__order_is_pinned(void **state)
{
    (void)state;
    static const int64_t lines[] = {3, 9, 6, 4, 7, 8, 2, 0, 1, 5};
    static const int64_t samples[] = {2000000, 1000001, 2000002, 1000002, 2000001, 2000011,
                                      1000005, 2000008, 1000000, 1000008, 1000006, 2000006,
                                      2000010, 1000007, 1000004, 2000004, 2000007, 2000012,
                                      1000009, 2000009, 2000005, 1000003, 2000003};
    int64_t seen[24];
    struct manifest m = open_table("pinned.jsonl", 10);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 42, .batch = 4});
    assert_int_equal(read_epoch(p, 1, seen, 10), 10);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(seen[i], lines[i]);
    plan_free(p);
    manifest_release(&m);
    m = open_shards("pinned", 2);
    p = make_plan(
        &(struct plan_options){.manifest = &m, .seed = 42, .batch = 4, .is_sorted = true});
    assert_int_equal(read_epoch(p, 1, seen, 24), 23);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        assert_int_equal(seen[i], samples[i]);
    plan_free(p);
    manifest_release(&m);
}

/* ---------------------------------------------------------------- sequential -- */

static void test_plan__sequential_ends(void **state)
{
    (void)state;
    struct manifest m = open_table("ends.jsonl", 10000);
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = &m, .batch = 7, .is_sequential = true, .is_sorted = true, .window_shards = 2});
    int64_t *seen = xcalloc(10000, sizeof *seen);
    assert_int_equal(plan_steps(p, 0), 1429);
    assert_int_equal(read_epoch(p, 0, seen, 10000), 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(seen[i], i);
    struct err e = {0};
    struct plan_window w;
    assert_int_equal(plan_window_open(&w, p, 0, plan_windows(p, 0), &e), -1);
    assert_err(e, ERR_BUG, "window 6 of epoch 0, which has 6");
    plan_free(p);
    p = make_plan(
        &(struct plan_options){.manifest = &m, .batch = 7, .is_sequential = true, .limit = 2500});
    assert_int_equal(read_epoch(p, 0, seen, 10000), 2500);
    assert_int_equal(plan_steps(p, 0), 358);
    free(seen);
    plan_free(p);
    manifest_release(&m);
}

/* ------------------------------------------------------------------- padding -- */

/* Lengths of clips as they occur: log-normal with a mean of 5 s, of 12 s, and of 7 s with a heavy
 * tail. */
static double clip_seconds(int kind, uint64_t i)
{
    static const double means[] = {5, 12, 7}, deviations[] = {0.6, 0.4, 1.0};
    double d = deviations[kind], z = rng_normal(7, (uint64_t)kind, i);
    double s = exp(log(means[kind]) - d * d / 2 + d * z);
    return s < 0.5 ? 0.5 : s > 30 ? 30 : s;
}

static struct manifest open_clips(int kind, int count)
{
    struct err e = {0};
    struct buf text;
    buf_init(&text, 64 << 20);
    for (int i = 0; i < count; i++)
        buf_printf(&text, "{\"audio\": \"gs://b/%d.flac\", \"text\": \"%d\", \"duration\": %.3f}\n",
                   i, i, clip_seconds(kind, (uint64_t)i));
    char *path = path_join(folder, "clips.jsonl");
    assert_int_equal(file_write(path, text.data, text.size, &e), 0);
    struct manifest m = open_files(&path, 1, NULL);
    buf_release(&text);
    free(path);
    return m;
}

/* What part of the frames is padding, over an epoch, when they are padded up to the default
 * multiple. */
static double measure_padding(const struct plan *p, int kind, int64_t epoch, int *shapes)
{
    static bool has_shape[4000];
    double real = 0, all = 0;
    memset(has_shape, 0, sizeof has_shape);
    for (int64_t i = 0; i < plan_windows(p, epoch); i++) {
        struct plan_window w = open_window(p, epoch, i);
        for (int64_t k = 0; k < w.batches; k++) {
            int longest = 0;
            for (int64_t j = w.firsts[k]; j < w.firsts[k + 1]; j++) {
                int frames = (int)(100 * clip_seconds(kind, (uint64_t)w.records[j].index));
                real += frames;
                longest = frames > longest ? frames : longest;
            }
            int padded = (longest + SAMPLE_FRAMES - 1) / SAMPLE_FRAMES * SAMPLE_FRAMES;
            all += (double)padded * (double)(w.firsts[k + 1] - w.firsts[k]);
            has_shape[padded] = true;
        }
        plan_window_release(&w);
    }
    *shapes = 0;
    for (int i = 0; i < 4000; i++)
        *shapes += has_shape[i];
    return 1 - real / all;
}

static void test_plan__padding_stays_below_5_percent(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct manifest m = open_clips(kind, 20000);
        struct plan *p = make_plan(
            &(struct plan_options){.manifest = &m, .seed = 1, .batch = 16, .is_sorted = true});
        struct plan *q = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 16});
        int shapes;
        double padding = measure_padding(p, kind, 1, &shapes);
        print_message("    mean clip %d: padding %.1f %%, %d shapes\n", kind, 100 * padding,
                      shapes);
        assert_true(padding < 0.05);
        assert_true(shapes <= 94);
        assert_true(measure_padding(q, kind, 1, &shapes) > 0.4);
        plan_free(p);
        plan_free(q);
        manifest_release(&m);
    }
}

/* Texts of clips as they occur: 3.5 tokens a second, more or less, of 14 bytes. */
static int text_tokens(int kind, uint64_t i)
{
    double rate = 3.5 * exp(0.35 * rng_normal(9, (uint64_t)kind, i));
    return 1 + (int)(rate * clip_seconds(kind, i));
}

static struct manifest open_spoken(int kind, int count)
{
    struct err e = {0};
    struct buf text;
    buf_init(&text, 64 << 20);
    for (int i = 0; i < count; i++)
        buf_printf(&text,
                   "{\"audio\": \"gs://b/%d.flac\", \"text\": \"%0*d\", \"duration\": %.3f}\n", i,
                   4 * text_tokens(kind, (uint64_t)i), i, clip_seconds(kind, (uint64_t)i));
    char *path = path_join(folder, "spoken.jsonl");
    assert_int_equal(file_write(path, text.data, text.size, &e), 0);
    struct manifest m = open_files(&path, 1, NULL);
    buf_release(&text);
    free(path);
    return m;
}

/* What part of the tokens is padding, with rows padded up to the default multiple. */
static double measure_text_padding(const struct plan *p, int kind, int64_t epoch)
{
    double real = 0, all = 0;
    for (int64_t i = 0; i < plan_windows(p, epoch); i++) {
        struct plan_window w = open_window(p, epoch, i);
        for (int64_t k = 0; k < w.batches; k++) {
            int longest = 0;
            for (int64_t j = w.firsts[k]; j < w.firsts[k + 1]; j++) {
                int tokens = text_tokens(kind, (uint64_t)w.records[j].index);
                assert_int_equal(w.texts[j], tokens);
                assert_true(w.lengths[j] >= w.texts[j]);
                real += tokens;
                longest = tokens > longest ? tokens : longest;
            }
            int padded = (longest + SAMPLE_TOKENS - 1) / SAMPLE_TOKENS * SAMPLE_TOKENS;
            all += (double)padded * (double)(w.firsts[k + 1] - w.firsts[k]);
        }
        plan_window_release(&w);
    }
    return 1 - real / all;
}

/* Where sound is always a whole window, rows are as long as their texts. */
static void test_plan__sorts_by_the_text_alone(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct manifest m = open_spoken(kind, 8000);
        struct plan_options o = {.manifest = &m, .seed = 1, .batch = 16};
        struct plan *none = make_plan(&o);
        o.is_sorted = true;
        struct plan *whole = make_plan(&o);
        o.sorts_text = true;
        struct plan *text = make_plan(&o);
        double padding[] = {measure_text_padding(none, kind, 1),
                            measure_text_padding(whole, kind, 1),
                            measure_text_padding(text, kind, 1)};
        print_message("    mean clip %d: padding of the texts %.1f %% unsorted, %.1f %% sorted by "
                      "sound and text, %.1f %% by text\n",
                      kind, 100 * padding[0], 100 * padding[1], 100 * padding[2]);
        assert_true(padding[2] < 0.5 * padding[1]);
        assert_true(padding[1] < padding[0]);
        plan_free(none);
        plan_free(whole);
        plan_free(text);
        manifest_release(&m);
    }
}

/* ------------------------------------------------------------------ deletions -- */

static void test_plan__leaves_deleted_records_out(void **state)
{
    (void)state;
    struct err e = {0};
    char *patches = path_join(folder, "patches"), *delete = path_join(patches, "delete");
    char *list = path_join(delete, "some.csv");
    assert_int_equal(dir_make(delete, &e), 0);
    assert_int_equal(file_write(list, "id\n3\n17\n1004\n", 13, &e), 0);
    struct patch *patch = patch_open(NULL, patches, &e);
    assert_ok(e);
    char *paths[] = {write_table("delete.jsonl", 20),
                     write_shard(folder, "delete.tar", 1000, 10, 0)};
    struct manifest_options o = {.patterns = paths, .pattern_count = 2, .patch = patch};
    struct manifest m, plain = open_files(paths, 2, NULL);
    assert_int_equal(manifest_open(&m, &o, &e), 0);
    assert_string_not_equal(m.hash, plain.hash);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4});
    int64_t seen[30];
    assert_int_equal(read_epoch(p, 2, seen, 30), 27);
    for (int i = 0; i < 27; i++)
        assert_true(seen[i] != 3 && seen[i] != 17 && seen[i] != 2000004);
    assert_int_equal(plan_steps(p, 0), -1);
    plan_free(p);
    manifest_release(&m);
    manifest_release(&plain);
    patch_free(patch);
    for (int i = 0; i < 2; i++)
        free(paths[i]);
    free(list);
    free(delete);
    free(patches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan__takes_each_line_once_an_epoch),
        cmocka_unit_test(test_plan__takes_each_sample_once_an_epoch),
        cmocka_unit_test(test_plan__mixes_tables_and_shards),
        cmocka_unit_test(test_plan__weights_are_exact_in_the_long_run),
        cmocka_unit_test(test_plan__refuses_weights_that_cannot_be),
        cmocka_unit_test(test_plan__windows_grow),
        cmocka_unit_test(test_plan__windows_stand_alone),
        cmocka_unit_test(test_plan__indexes_change_nothing),
        cmocka_unit_test(test_plan__order_depends_on_seed_and_epoch),
        cmocka_unit_test(test_plan__neighbours_come_from_all_shards),
        cmocka_unit_test(test_plan__batches_change_their_company),
        cmocka_unit_test(test_plan__sorted_batches_are_shuffled),
        cmocka_unit_test(test_plan__order_is_pinned),
        cmocka_unit_test(test_plan__sequential_ends),
        cmocka_unit_test(test_plan__padding_stays_below_5_percent),
        cmocka_unit_test(test_plan__sorts_by_the_text_alone),
        cmocka_unit_test(test_plan__leaves_deleted_records_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
