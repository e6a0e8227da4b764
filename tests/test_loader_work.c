/* test_loader_work.c - what samples and batches take stays within the memory; what is hidden of
 * features, and which clips share a window, depends on the plan alone. */
#include "speech_testing.h"

#include "base/clock.h"
#include "base/hash.h"
#include "data/loader.h"

static struct manifest open_text(const char *name, const char *text)
{
    char *path = kit_write(&kit, name, text, strlen(text));
    struct manifest m = open_files(&path, 1, NULL);
    free(path);
    return m;
}

static struct plan *make_plan(const struct plan_options *o)
{
    struct err e = {0};
    struct plan *p = plan_new(o, &e);
    assert_ok(e);
    return p;
}

/* Many small samples and a few huge ones, a slow consumer: what is counted stays within the
 * limit. */
static void test_loader_work__stays_within_its_memory(void **state)
{
    (void)state;
    enum { COUNT = 60, LIMIT = 48 << 20 };
    struct err e = {0};
    struct buf tar;
    buf_init(&tar, 64 << 20);
    for (int i = 0; i < COUNT; i++) {
        char name[40];
        size_t size;
        unsigned char *wav = tone(i % 20 == 7 ? 480000 : 3000, 0.3, i, &size);
        snprintf(name, sizeof name, "%03d.wav", i);
        tar_add_bytes(&tar, name, '0', wav, size);
        snprintf(name, sizeof name, "%03d.txt", i);
        tar_add(&tar, name, "words");
        free(wav);
    }
    tar_end(&tar);
    char *path = kit_write(&kit, "memory.tar", tar.data, tar.size);
    struct manifest m = open_files(&path, 1, NULL);
    struct data_format f = kit.format;
    f.max_tokens = 0;
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4});
    struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                            .format = &f,
                                                            .end_step = 30,
                                                            .threads = 8,
                                                            .ahead = 15,
                                                            .memory_max = LIMIT},
                                   &e);
    struct loader_step s;
    int64_t records = 0;
    while (loader_next(l, &s, &e) == 1) {
        clock_sleep(0.01);
        for (int i = 0; i < s.count; i++)
            records += s.micros[i].rows;
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(records, 2 * COUNT);
    assert_true(loader_memory_peak(l) <= LIMIT);
    assert_true(loader_memory_peak(l) > LIMIT / 4);
    loader_close(l);

    /* With less than a single one of them needs, they come one by one; those that take more than
     * half by their size alone are bad. */
    l = loader_open(&(struct loader_options){.plan = p,
                                             .format = &f,
                                             .end_step = 15,
                                             .threads = 8,
                                             .memory_max = 1800000,
                                             .bad_min = 10},
                    &e);
    while (loader_next(l, &s, &e) == 1)
        loader_step_release(&s);
    assert_ok(e);
    assert_int_equal(loader_bad_count(l), 3);
    int kept;
    assert_non_null(strstr(loader_bad_records(l, &kept)[0].text,
                           "960049 bytes, at most half of the memory (1800000) is for one record"));
    loader_close(l);
    plan_free(p);
    manifest_release(&m);
    buf_release(&tar);
    free(path);
}

/* The same for pictures: large ones in small files, which nobody can tell from their length. */
static void test_loader_work__stays_within_its_memory_with_pictures(void **state)
{
    (void)state;
    enum { COUNT = 24, LIMIT = 100 << 20 };
    struct err e = {0};
    struct picture_config large = kit.picture;
    struct data_format f = kit.format;
    struct buf text;
    buf_init(&text, 1 << 20);
    large.tokens_max = 560;
    f.picture = &large;
    f.max_tokens = 0;
    kit_write_picture(&kit, "large.png", 400, 300, 0x456789);
    for (int i = 0; i < COUNT; i++)
        buf_printf(&text, "{\"image\": [\"large.png\"%s], \"text\": \"%d\"}\n",
                   i % 5 ? "" : ", \"large.png\"", i);
    struct manifest m = open_text("large.jsonl", text.data);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 2});
    struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                            .format = &f,
                                                            .end_step = 12,
                                                            .threads = 8,
                                                            .ahead = 12,
                                                            .memory_max = LIMIT},
                                   &e);
    struct loader_step s;
    int64_t pictures = 0, bytes = 0;
    while (loader_next(l, &s, &e) == 1) {
        const struct batch *b = &s.micros[0];
        clock_sleep(0.02);
        pictures += s.pictures;
        bytes += (int64_t)b->pictures * b->patches * b->patch_numbers;
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(pictures, COUNT + 5);
    assert_true(bytes > LIMIT);
    assert_true(loader_memory_peak(l) <= LIMIT);
    assert_true(loader_memory_peak(l) > LIMIT / 4);
    loader_close(l);
    plan_free(p);
    manifest_release(&m);
    buf_release(&text);
}

/* ------------------------------------------------------------------- speech -- */

enum { CLIPS = 23, BATCH = 8, STEPS = 8 };

struct stream {
    int count, rows[STEPS];
    char hash[STEPS][HASH_HEX_SIZE];      /* of what the encoder gets, and of the tokens */
    struct plan_cursor next[STEPS];
    double padding[STEPS];
};

static struct manifest open_speech(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < CLIPS; i++) {
        char name[40];
        snprintf(name, sizeof name, "said%d.wav", i);
        kit_write_tone(&kit, name, 4000 + 900 * (i * 7 % CLIPS), 0.3, 10 * i);
        buf_printf(&text, "{\"audio\": \"%s\", \"text\": \"%.*s\", \"id\": %d}\n", name,
                   1 + i * 5 % 13, "one two three", i);
    }
    struct manifest m = open_text("said.jsonl", text.data);
    buf_release(&text);
    return m;
}

static void note_step(struct stream *to, const struct loader_step *s)
{
    struct hash *h = hash_new();
    unsigned char digest[HASH_SIZE];
    assert_true(to->count < STEPS);
    for (int i = 0; i < s->count; i++) {
        const struct batch *b = &s->micros[i];
        hash_add(h, b->mel,
                 (size_t)b->clips * (size_t)b->frames * (size_t)b->bins * sizeof *b->mel);
        hash_add(h, b->tokens, (size_t)b->rows * (size_t)b->len * sizeof *b->tokens);
        hash_add(h, b->clip_keys, (size_t)b->clips * sizeof *b->clip_keys);
        to->rows[to->count] += b->rows;
    }
    hash_end(h, digest);
    hash_hex(digest, to->hash[to->count]);
    hash_free(h);
    to->next[to->count] = s->next;
    to->padding[to->count++] = s->padding;
}

/* Steps `from` .. STEPS - 1 of a run; the first of them lies at `at`. */
static struct stream read_stream(const struct plan *p, const struct data_format *f, int threads,
                                 int ahead, int from, struct plan_cursor at)
{
    struct err e = {0};
    struct stream to = {0};
    struct loader_step s;
    struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                            .format = f,
                                                            .from = at,
                                                            .first_step = from,
                                                            .end_step = STEPS,
                                                            .micros = 2,
                                                            .threads = threads,
                                                            .ahead = ahead},
                                   &e);
    assert_ok(e);
    while (loader_next(l, &s, &e) == 1) {
        note_step(&to, &s);
        loader_step_release(&s);
    }
    assert_ok(e);
    loader_close(l);
    return to;
}

static void check_same(const struct stream *a, const struct stream *b, int from)
{
    assert_int_equal(b->count, STEPS - from);
    for (int i = from; i < STEPS; i++)
        assert_string_equal(a->hash[i], b->hash[i - from]);
}

/* Windows of joined clips, augmented: the same bytes whatever the threads, the batches ahead and
 * the place where a run goes on; other ones in every epoch. */
static void test_loader_work__augments_by_record_and_epoch(void **state)
{
    (void)state;
    struct speech_kit k;
    struct plan_cursor begin = {0};
    speech_kit_open(&k, "v2");
    struct manifest m = open_speech();
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = &m, .seed = 1, .batch = BATCH, .is_sorted = true, .sorts_text = true});
    struct data_format f = k.format;
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    f.crossing.augment = (struct spec_augment){.time_prob = 0.2, .time_length = 10};
    f.crossing.augment_seed = 5;
    struct stream whole = read_stream(p, &f, 1, 1, 0, begin);
    assert_int_equal(whole.count, STEPS);
    struct stream other = read_stream(p, &f, 8, 6, 0, begin);
    check_same(&whole, &other, 0);
    for (int from = 1; from < STEPS; from += 3) {
        other = read_stream(p, &f, 3, 2, from, whole.next[from - 1]);
        check_same(&whole, &other, from);
    }
    int rows = 0;
    for (int i = 0; i < STEPS; i++)
        rows += whole.rows[i];
    assert_true(rows < 2 * CLIPS);
    f.crossing.augment_seed = 6;
    other = read_stream(p, &f, 8, 6, 0, begin);
    assert_string_not_equal(whole.hash[0], other.hash[0]);
    plan_free(p);
    manifest_release(&m);
    speech_kit_close(&k);
}

/* The window of one clip in each epoch: the same sound with other spans hidden. */
static void test_loader_work__hides_other_spans_in_every_epoch(void **state)
{
    (void)state;
    struct speech_kit k;
    speech_kit_open(&k, "v2");
    kit_write_tone(&kit, "only.wav", 20000, 0.3, 0);
    struct manifest m = open_text("only.jsonl", "{\"audio\": \"only.wav\", \"text\": \"a\"}\n");
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 1});
    struct data_format f = k.format;
    struct stream same = read_stream(p, &f, 2, 2, 0, (struct plan_cursor){0});
    f.crossing.augment = (struct spec_augment){.time_prob = 0.2, .time_length = 10};
    struct stream hidden = read_stream(p, &f, 2, 2, 0, (struct plan_cursor){0});
    for (int i = 1; i < STEPS; i++) {
        assert_string_equal(same.hash[0], same.hash[i]);
        for (int n = 0; n < i; n++)
            assert_string_not_equal(hidden.hash[n], hidden.hash[i]);
    }
    plan_free(p);
    manifest_release(&m);
    speech_kit_close(&k);
}

/* What is measured is not augmented, and no clip shares its window. */
static void test_loader_work__leaves_measured_data_as_they_are(void **state)
{
    (void)state;
    struct speech_kit k;
    speech_kit_open(&k, "v2");
    struct manifest m = open_speech();
    struct plan *p =
        make_plan(&(struct plan_options){.manifest = &m, .batch = BATCH, .is_sequential = true});
    struct data_format f = k.format;
    struct stream plain = read_stream(p, &f, 4, 4, 0, (struct plan_cursor){0});
    f.crossing.joining = SAMPLE_JOIN_PLAIN;
    f.crossing.augment = (struct spec_augment){.time_prob = 0.2, .time_length = 10};
    struct stream measured = read_stream(p, &f, 4, 4, 0, (struct plan_cursor){0});
    assert_int_equal(plain.count, 3);
    assert_int_equal(measured.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(plain.hash[i], measured.hash[i]);
        assert_int_equal(plain.rows[i], i < 2 ? BATCH : CLIPS - 2 * BATCH);
    }
    plan_free(p);
    manifest_release(&m);
    speech_kit_close(&k);
}

/* The part that is padding: of tokens where windows are whole, else of the sound. */
static void test_loader_work__padding_of_speech(void **state)
{
    (void)state;
    struct speech_kit k;
    speech_kit_open(&k, "v2");
    kit_write_tone(&kit, "only.wav", 24000, 0.3, 0);
    struct manifest m = open_text("only.jsonl", "{\"audio\": \"only.wav\", \"text\": \"a\"}\n");
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 1});
    struct data_format f = k.format;
    struct stream s = read_stream(p, &f, 1, 1, 0, (struct plan_cursor){0});
    /* Six tokens of eight; 150 frames of 160. */
    assert_near(s.padding[0], 1 - 6.0 / 8, 1e-9);
    f.crossing.has_whole_window = false;
    s = read_stream(p, &f, 1, 1, 0, (struct plan_cursor){0});
    assert_near(s.padding[0], 1 - 150.0 / 160, 1e-9);
    plan_free(p);
    manifest_release(&m);
    speech_kit_close(&k);
}

/* Clips that wait for company, and the windows that they get: within the memory. */
static void test_loader_work__stays_within_its_memory_with_windows(void **state)
{
    (void)state;
    enum { LIMIT = 3 << 20 };
    struct err e = {0};
    struct speech_kit k;
    struct loader_step s;
    speech_kit_open(&k, "v2");
    struct manifest m = open_speech();
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4});
    for (int joining = SAMPLE_APART; joining <= SAMPLE_JOIN_TIMESTAMPS; joining++) {
        struct data_format f = k.format;
        int64_t records = 0, bytes = 0;
        f.crossing.joining = (enum sample_joining)joining;
        struct loader *l = loader_open(&(struct loader_options){.plan = p,
                                                                .format = &f,
                                                                .end_step = 30,
                                                                .threads = 8,
                                                                .ahead = 40,
                                                                .memory_max = LIMIT},
                                       &e);
        while (loader_next(l, &s, &e) == 1) {
            clock_sleep(0.002);
            for (int i = 0; i < s.count; i++) {
                const struct batch *b = &s.micros[i];
                records += b->records_count;
                bytes += (int64_t)b->clips * b->frames * b->bins * (int)sizeof *b->mel;
            }
            loader_step_release(&s);
        }
        assert_ok(e);
        assert_int_equal(records, 5 * CLIPS);
        assert_true(bytes > LIMIT);
        assert_true(loader_memory_peak(l) <= LIMIT);
        assert_true(loader_memory_peak(l) > LIMIT / 4);
        loader_close(l);
    }
    plan_free(p);
    manifest_release(&m);
    speech_kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader_work__augments_by_record_and_epoch),
        cmocka_unit_test(test_loader_work__hides_other_spans_in_every_epoch),
        cmocka_unit_test(test_loader_work__leaves_measured_data_as_they_are),
        cmocka_unit_test(test_loader_work__padding_of_speech),
        cmocka_unit_test(test_loader_work__stays_within_its_memory_with_windows),
        cmocka_unit_test(test_loader_work__stays_within_its_memory),
        cmocka_unit_test(test_loader_work__stays_within_its_memory_with_pictures),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
