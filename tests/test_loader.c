/* test_loader.c - the same batches whatever the threads, from any step on; holes; limits. */
#include "data_testing.h"

#include "base/clock.h"
#include "base/hash.h"
#include "data/loader.h"

enum { RECORDS = 37 };

static struct manifest good;              /* RECORDS records, a third of them with sound */

static struct manifest open_manifest(const char *name, const char *text)
{
    struct err e = {0};
    struct manifest m;
    char *path = kit_write(&kit, name, text, strlen(text));
    int failed = manifest_open(&m, &path, 1, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    free(path);
    return m;
}

static int set_up(void **state)
{
    (void)state;
    kit_open(&kit);
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < RECORDS; i++) {
        char name[40];
        snprintf(name, sizeof name, "tone%d.wav", i);
        if (i % 3 == 0) {
            kit_write_tone(&kit, name, 2000 + 500 * (i % 7), 0.3, 10 * i);
            buf_printf(&text, "{\"audio\": \"%s\", \"text\": \"tone %d\", \"id\": %d}\n", name, i,
                       i);
        } else {
            buf_printf(&text, "{\"prompt\": \"%d\", \"completion\": \"%.*s\", \"id\": %d}\n", i,
                       i % 11 + 1, "abcdefghijkl", i);
        }
    }
    good = open_manifest("good.jsonl", text.data);
    buf_release(&text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manifest_release(&good);
    kit_close(&kit);
    return 0;
}

static void hash_batch(struct hash *h, const struct batch *b)
{
    size_t cells = (size_t)b->rows * (size_t)b->len, targets = (size_t)b->targets;
    size_t frames = (size_t)b->clips * (size_t)b->frames;
    const int32_t shape[] = {b->rows, b->len, b->clips, b->frames, b->slots, b->targets};
    hash_add(h, shape, sizeof shape);
    hash_add(h, b->tokens, cells * sizeof *b->tokens);
    hash_add(h, b->target_rows, targets * sizeof *b->target_rows);
    hash_add(h, b->target_ids, targets * sizeof *b->target_ids);
    hash_add(h, b->target_weights, targets * sizeof *b->target_weights);
    if (b->clips) {
        hash_add(h, b->mel, frames * (size_t)b->bins * sizeof *b->mel);
        hash_add(h, b->frame_valid, frames);
        hash_add(h, b->soft, cells * sizeof *b->soft);
    }
    for (int i = 0; i < b->rows; i++)
        hash_add(h, b->ids[i], strlen(b->ids[i]) + 1);
}

/* One hash for each step first .. end - 1. */
static void run(const struct loader_options *o, char (*hashes)[HASH_HEX_SIZE])
{
    struct err e = {0};
    struct loader *l = loader_open(o, &e);
    assert_ok(e);
    struct loader_step s;
    int got, n = 0;
    while ((got = loader_next(l, &s, &e)) == 1) {
        struct hash *h = hash_new();
        unsigned char digest[HASH_SIZE];
        int64_t supervised = 0;
        assert_int_equal(s.step, o->first_step + n);
        for (int i = 0; i < s.count; i++) {
            hash_batch(h, &s.micros[i]);
            supervised += s.micros[i].supervised;
            assert_true(s.micros[i].rows > 0);
        }
        assert_int_equal(s.supervised, supervised);
        hash_end(h, digest);
        hash_hex(digest, hashes[n++]);
        hash_free(h);
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(got, 0);
    assert_int_equal(n, o->end_step - o->first_step);
    loader_close(l);
}

static void test_loader__does_not_depend_on_threads(void **state)
{
    (void)state;
    enum { STEPS = 23 };
    static const int threads[] = {1, 2, 7}, ahead[] = {1, 5, 3};
    static char expected[STEPS][HASH_HEX_SIZE], found[STEPS][HASH_HEX_SIZE];
    struct plan plan = {.count = good.count, .seed = 11, .batch = 5};
    struct loader_options o = {
        .manifest = &good, .plan = &plan, .format = &kit.format, .end_step = STEPS, .micros = 2};
    for (int i = 0; i < 3; i++) {
        o.threads = threads[i];
        o.ahead = ahead[i];
        run(&o, i ? found : expected);
        if (i)
            assert_memory_equal(found, expected, sizeof expected);
    }
    /* All steps differ, so that equal hashes mean something. */
    for (int i = 1; i < STEPS; i++)
        assert_string_not_equal(expected[i], expected[i - 1]);
}

static void test_loader__resumes_at_any_step(void **state)
{
    (void)state;
    enum { STEPS = 17 };
    static char expected[STEPS][HASH_HEX_SIZE], found[STEPS][HASH_HEX_SIZE];
    uint32_t *lengths = manifest_lengths(&good);
    struct plan plan = {.count = good.count, .seed = 3, .batch = 4, .lengths = lengths};
    struct loader_options o = {
        .manifest = &good, .plan = &plan, .format = &kit.format, .end_step = STEPS, .threads = 2};
    run(&o, expected);
    for (o.first_step = 1; o.first_step < STEPS; o.first_step += 5) {
        run(&o, found);
        assert_memory_equal(found, expected[o.first_step],
                            (size_t)(STEPS - o.first_step) * HASH_HEX_SIZE);
    }
    free(lengths);
}

static void test_loader__divides_a_step_among_micro_batches(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan plan = {.count = good.count, .seed = 1, .batch = 7};
    int64_t records[7];
    plan_step(&plan, 2, records);
    struct loader *l = loader_open(&(struct loader_options){.manifest = &good,
                                                            .plan = &plan,
                                                            .format = &kit.format,
                                                            .first_step = 2,
                                                            .end_step = 3,
                                                            .micros = 3},
                                   &e);
    struct loader_step s;
    assert_int_equal(loader_next(l, &s, &e), 1);
    assert_int_equal(s.count, 3);
    int at = 0;
    for (int i = 0; i < 3; i++)
        for (int row = 0; row < s.micros[i].rows; row++)
            assert_int_equal(s.micros[i].records[row], records[at++]);
    assert_int_equal(at, 7);
    assert_true(s.waited_s >= 0);
    loader_step_release(&s);
    assert_int_equal(loader_next(l, &s, &e), 0);
    assert_int_equal(loader_next(l, &s, &e), 0);
    loader_close(l);
}

static void test_loader__sequential_covers_all(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan plan = {.count = good.count, .batch = 5, .is_sequential = true};
    struct loader *l = loader_open(&(struct loader_options){.manifest = &good,
                                                            .plan = &plan,
                                                            .format = &kit.format,
                                                            .threads = 3,
                                                            .purpose = SAMPLE_GENERATE},
                                   &e);
    struct loader_step s;
    int64_t next = 0;
    while (loader_next(l, &s, &e) == 1) {
        for (int i = 0; i < s.count; i++)
            for (int row = 0; row < s.micros[i].rows; row++) {
                assert_int_equal(s.micros[i].records[row], next++);
                assert_non_null(s.micros[i].references[row]);
            }
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(next, RECORDS);
    loader_close(l);
}

/* A manifest of `count` records of which those with (i + 1) % period == 0 are bad. */
static struct manifest open_bad(int count, int period)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < count; i++) {
        if ((i + 1) % period)
            buf_printf(&text, "{\"prompt\": \"%d\", \"completion\": \"%d\"}\n", i, i);
        else if (i % 2)
            buf_printf(&text, "{\"audio\": \"gone%d.wav\", \"text\": \"x\"}\n", i);
        else
            buf_printf(&text, "{\"text\": \"unclosed\n");
    }
    struct manifest m = open_manifest("bad.jsonl", text.data);
    buf_release(&text);
    return m;
}

static void test_loader__bad_records_are_holes(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_bad(30, 7);
    struct plan plan = {.count = m.count, .seed = 1, .batch = 4};
    struct loader *l = loader_open(&(struct loader_options){.manifest = &m,
                                                            .plan = &plan,
                                                            .format = &kit.format,
                                                            .end_step = 30,
                                                            .threads = 2,
                                                            .bad_min = 10},
                                   &e);
    struct loader_step s;
    int named = 0, got;
    while ((got = loader_next(l, &s, &e)) == 1) {
        int64_t records[4];
        int at = 0;
        plan_step(&plan, s.step, records);
        for (int i = 0; i < 4; i++) {
            if ((records[i] + 1) % 7 == 0)
                continue;
            assert_true(at < s.micros[0].rows);
            assert_int_equal(s.micros[0].records[at++], records[i]);
        }
        assert_int_equal(at, s.micros[0].rows);
        for (int i = 0; i < s.bad_count; i++, named++)
            assert_non_null(strstr(s.bad[i], "bad.jsonl:"));
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(got, 0);
    /* Four epochs, but each of the four bad records is named and counted once. */
    assert_int_equal(named, 4);
    assert_int_equal(loader_bad_count(l), 4);
    int kept;
    assert_non_null(strstr(loader_bad_records(l, &kept)[0].text, "bad.jsonl:"));
    assert_int_equal(kept, 4);
    loader_close(l);
    manifest_release(&m);
}

/* Run until the loader gives up; returns at which step. */
static int64_t run_to_error(const struct loader_options *o, struct err *e)
{
    struct loader *l = loader_open(o, e);
    struct loader_step s;
    int64_t step = o->first_step;
    while (loader_next(l, &s, e) == 1) {
        step = s.step;
        loader_step_release(&s);
    }
    loader_close(l);
    return step;
}

static void test_loader__stops_at_too_many_bad_records(void **state)
{
    (void)state;
    struct manifest m = open_bad(200, 5);
    struct plan plan = {.count = m.count, .seed = 1, .batch = 4, .is_sequential = true};
    struct loader_options o = {.manifest = &m, .plan = &plan, .format = &kit.format, .bad_min = 10};
    int64_t stopped[3];
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        o.threads = 1 + 2 * i;
        o.ahead = 1 + i;
        stopped[i] = run_to_error(&o, &e);
        assert_err(e, ERR_DATA, "11 of 56 records are bad, 10 may be: ");
        assert_non_null(strstr(e.text, "bad.jsonl:5:"));
        assert_non_null(strstr(e.text, "bad.jsonl:25:"));
        assert_null(strstr(e.text, "bad.jsonl:30:"));
        assert_true(e.hint[0] != 0);
    }
    assert_int_equal(stopped[0], 12);
    assert_int_equal(stopped[1], 12);
    assert_int_equal(stopped[2], 12);
    struct err e = {0};
    o.bad_fraction = 0.2;
    assert_int_equal(run_to_error(&o, &e), 49);
    assert_ok(e);
    o.bad_fraction = 0.19;
    run_to_error(&o, &e);
    assert_err(e, ERR_DATA, "records are bad");
    manifest_release(&m);
}

static void test_loader__gives_up_when_nothing_is_good(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_manifest("none.jsonl", "{\"text\": 1}\n{\"text\": 2}\n{}\n");
    struct plan plan = {.count = m.count, .seed = 1, .batch = 2};
    struct loader_options o = {
        .manifest = &m, .plan = &plan, .format = &kit.format, .end_step = 1000, .bad_min = 10};
    run_to_error(&o, &e);
    assert_err(e, ERR_DATA, "none of the 3 records can be used: ");
    manifest_release(&m);
}

static void test_loader__passes_on_what_no_record_is_to_blame_for(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_manifest("swap.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    free(kit_write(&kit, "swap.jsonl", "{\"text\": \"one\"}\n", 16));
    struct plan plan = {.count = m.count, .seed = 1, .batch = 2};
    struct loader_options o = {
        .manifest = &m, .plan = &plan, .format = &kit.format, .end_step = 1000, .bad_min = 10};
    run_to_error(&o, &e);
    assert_err(e, ERR_INTEGRITY, "swap.jsonl: changed while in use");
    manifest_release(&m);
}

static void test_loader__closes_at_any_moment(void **state)
{
    (void)state;
    struct plan plan = {.count = good.count, .seed = 1, .batch = 3};
    for (int taken = 0; taken < 8; taken++) {
        struct err e = {0};
        struct loader *l = loader_open(&(struct loader_options){.manifest = &good,
                                                                .plan = &plan,
                                                                .format = &kit.format,
                                                                .end_step = 1000000,
                                                                .threads = 4,
                                                                .ahead = 3},
                                       &e);
        for (int i = 0; i < taken; i++) {
            struct loader_step s;
            assert_int_equal(loader_next(l, &s, &e), 1);
            loader_step_release(&s);
        }
        double begin = clock_seconds();
        loader_close(l);
        assert_true(clock_seconds() - begin < 5);
    }
    loader_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader__does_not_depend_on_threads),
        cmocka_unit_test(test_loader__resumes_at_any_step),
        cmocka_unit_test(test_loader__divides_a_step_among_micro_batches),
        cmocka_unit_test(test_loader__sequential_covers_all),
        cmocka_unit_test(test_loader__bad_records_are_holes),
        cmocka_unit_test(test_loader__stops_at_too_many_bad_records),
        cmocka_unit_test(test_loader__gives_up_when_nothing_is_good),
        cmocka_unit_test(test_loader__passes_on_what_no_record_is_to_blame_for),
        cmocka_unit_test(test_loader__closes_at_any_moment),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
