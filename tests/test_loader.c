/* test_loader.c - the same batches whatever the threads, machines and memory, from any step on;
 * holes and their limits; what is no record's fault. */
#include "data_testing.h"

#include "base/clock.h"
#include "base/hash.h"
#include "data/loader.h"

enum { RECORDS = 37, SHARDS = 5, STEPS_MAX = 64 };

static struct manifest good;              /* RECORDS records, a third of them with sound */
static struct manifest sharded;           /* SHARDS shards of 5, 6, ... samples, and a table */

static struct manifest open_text(const char *name, const char *text)
{
    char *path = kit_write(&kit, name, text, strlen(text));
    struct manifest m = open_files(&path, 1, NULL);
    free(path);
    return m;
}

static void open_good(void)
{
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
    good = open_text("good.jsonl", text.data);
    buf_release(&text);
}

static int set_up(void **state)
{
    (void)state;
    kit_open(&kit);
    open_good();
    for (int i = 0, first = 0; i < SHARDS; first += 5 + i, i++) {
        char name[40];
        snprintf(name, sizeof name, "part-%d.tar", i);
        free(write_shard(kit.folder, name, first, 5 + i, 4000));
    }
    char *paths[] = {path_join(kit.folder, "part-{0..4}.tar"), path_join(kit.folder, "good.jsonl")};
    sharded = open_files(paths, 2, NULL);
    free(paths[0]);
    free(paths[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manifest_release(&good);
    manifest_release(&sharded);
    kit_close(&kit);
    return 0;
}

static struct plan *make_plan(const struct plan_options *o)
{
    struct err e = {0};
    struct plan *p = plan_new(o, &e);
    assert_ok(e);
    return p;
}

/* -------------------------------------------------------------------- streams -- */

static void hash_batch(struct hash *h, const struct batch *b)
{
    size_t cells = (size_t)b->rows * (size_t)b->len, targets = (size_t)b->targets;
    size_t frames = (size_t)b->clips * (size_t)b->frames;
    size_t patches = (size_t)b->pictures * (size_t)b->patches;
    size_t records = (size_t)b->records_count;
    const int32_t shape[] = {b->rows,     b->len,           b->clips,         b->frames,
                             b->slots,    b->targets,       b->records_count, b->segments,
                             b->pictures, b->picture_slots, b->patches,       b->patch_numbers};
    hash_add(h, shape, sizeof shape);
    hash_add(h, b->record_rows, records * sizeof *b->record_rows);
    hash_add(h, b->record_starts, records * sizeof *b->record_starts);
    hash_add(h, b->record_of_target, targets * sizeof *b->record_of_target);
    hash_add(h, b->tokens, cells * sizeof *b->tokens);
    hash_add(h, b->target_rows, targets * sizeof *b->target_rows);
    hash_add(h, b->target_ids, targets * sizeof *b->target_ids);
    hash_add(h, b->target_weights, targets * sizeof *b->target_weights);
    if (b->clips) {
        hash_add(h, b->mel, frames * (size_t)b->bins * sizeof *b->mel);
        hash_add(h, b->frame_valid, frames);
        hash_add(h, b->clip_keys, (size_t)b->clips * sizeof *b->clip_keys);
    }
    if (b->pictures) {
        hash_add(h, b->pixels, patches * (size_t)b->patch_numbers);
        hash_add(h, b->patch_at, 2 * patches * sizeof *b->patch_at);
        hash_add(h, b->picture_keys, (size_t)b->pictures * sizeof *b->picture_keys);
    }
    if (b->soft)
        hash_add(h, b->soft, cells * sizeof *b->soft);
    if (b->segment) {
        hash_add(h, b->segment, cells * sizeof *b->segment);
        hash_add(h, b->position, cells * sizeof *b->position);
    }
    for (int i = 0; i < b->records_count; i++)
        hash_add(h, b->ids[i], strlen(b->ids[i]) + 1);
}

/* What came out of a run: for each step its hash, the place behind it, and what was counted. */
struct stream {
    int count;
    char hash[STEPS_MAX][HASH_HEX_SIZE];
    struct plan_cursor next[STEPS_MAX];
    int64_t bad[STEPS_MAX], taken[STEPS_MAX];
};

static void note_step(struct stream *s, const struct loader_step *step)
{
    struct hash *h = hash_new();
    unsigned char digest[HASH_SIZE];
    int64_t supervised = 0;
    assert_true(s->count < STEPS_MAX);
    for (int i = 0; i < step->count; i++) {
        hash_batch(h, &step->micros[i]);
        supervised += step->micros[i].supervised;
        assert_true(step->micros[i].rows > 0);
    }
    assert_int_equal(step->supervised, supervised);
    assert_true(step->padding >= 0 && step->padding < 1 && step->waited_s >= 0);
    hash_end(h, digest);
    hash_hex(digest, s->hash[s->count]);
    hash_free(h);
    s->next[s->count] = step->next;
    s->bad[s->count] = step->bad_before;
    s->taken[s->count++] = step->taken_before;
}

/* Run from `o` on, for `max` steps at most. */
static void run_some(const struct loader_options *o, struct stream *s, int max)
{
    struct err e = {0};
    struct loader *l = loader_open(o, &e);
    assert_ok(e);
    struct loader_step step;
    int got = 1;
    s->count = 0;
    while (s->count < max && (got = loader_next(l, &step, &e)) == 1) {
        assert_int_equal(step.step, o->first_step + s->count);
        note_step(s, &step);
        loader_step_release(&step);
    }
    assert_ok(e);
    if (got == 0)
        assert_int_equal(loader_next(l, &step, &e), 0);
    loader_close(l);
}

static void run(const struct loader_options *o, struct stream *s)
{
    run_some(o, s, STEPS_MAX);
    if (o->end_step > 0)
        assert_int_equal(s->count, o->end_step - o->first_step);
}

static void check_same(const struct stream *found, const struct stream *expected, int from)
{
    for (int i = 0; i < found->count; i++) {
        assert_string_equal(found->hash[i], expected->hash[from + i]);
        assert_memory_equal(&found->next[i], &expected->next[from + i], sizeof found->next[i]);
        assert_int_equal(found->bad[i], expected->bad[from + i]);
        assert_int_equal(found->taken[i], expected->taken[from + i]);
    }
}

static void check_threads(const struct plan *plan, const struct data_format *f, int steps)
{
    static const int threads[] = {1, 4, 16}, ahead[] = {1, 5, 3};
    static struct stream expected, found;
    struct loader_options o = {.plan = plan, .format = f, .end_step = steps, .micros = 2};
    for (int i = 0; i < 4; i++) {
        o.threads = threads[i % 3];
        o.ahead = ahead[i % 3];
        /* In the end with so little memory that only one sample at a time gets in. */
        o.memory_max = i == 3 ? 1 << 20 : 0;
        run(&o, i ? &found : &expected);
        if (i)
            check_same(&found, &expected, 0);
    }
    /* All steps differ, so that equal hashes mean something. */
    for (int i = 0; i < steps; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(expected.hash[i], expected.hash[k]);
}

static void test_loader__does_not_depend_on_threads(void **state)
{
    (void)state;
    struct plan *p = make_plan(&(struct plan_options){.manifest = &good, .seed = 11, .batch = 5});
    check_threads(p, &kit.format, 23);
    plan_free(p);
    p = make_plan(&(struct plan_options){
        .manifest = &sharded, .seed = 11, .batch = 6, .is_sorted = true, .window_shards = 2});
    check_threads(p, &kit.format, 31);
    plan_free(p);
}

/* A manifest with media of every kind. */
static struct manifest open_media(void)
{
    enum { COUNT = 21 };
    struct buf text;
    buf_init(&text, 1 << 20);
    kit_copy(&kit, "film.mp4", "tests/data/video/h264.mp4");
    kit_write_tone(&kit, "long.wav", 70000, 0.3, 0);
    for (int i = 0; i < COUNT; i++) {
        char name[40];
        snprintf(name, sizeof name, "picture%d.png", i);
        if (i % 7 == 1)
            buf_printf(&text, "{\"video\": \"film.mp4\", \"sound\": true, \"text\": \"%d\"", i);
        else if (i % 7 == 3)
            buf_printf(&text, "{\"prompt\": \"%d\", \"completion\": \"words %d\"", i, i);
        else if (i % 7 == 5)
            buf_printf(&text, "{\"audio\": \"long.wav\", \"text\": \"%d\"", i);
        else
            buf_printf(&text, "{\"image\": [\"%s\", \"%s\"], \"text\": \"%d\"", name, name, i);
        if (i % 7 % 2 == 0)
            kit_write_picture(&kit, name, 20 + 13 * (i % 5), 30 + 7 * (i % 6),
                              0x101010u * (unsigned)i);
        buf_printf(&text, ", \"id\": %d}\n", i);
    }
    struct manifest m = open_text("media.jsonl", text.data);
    buf_release(&text);
    return m;
}

static struct mel *short_mel(void)
{
    struct err e = {0};
    struct mel_config c;
    mel_config_gemma4(&c);
    c.samples_max = 32000;
    struct mel *mel = mel_new(&c, &e);
    assert_ok(e);
    return mel;
}

static void test_loader__media_and_packed_rows(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_media();
    struct mel *mel = short_mel();
    struct data_format f = kit.format;
    f.mel = mel;
    f.splits_long_audio = true;
    struct plan *p =
        make_plan(&(struct plan_options){.manifest = &m, .seed = 2, .batch = 7, .is_sorted = true});
    check_threads(p, &f, 9);
    f.pack_tokens = 150;
    check_threads(p, &f, 9);

    /* An epoch has what is in the records: two pictures each, or four frames; nine clips, of which
     * three are cut; every record once, and fewer rows than records. */
    struct loader *l = loader_open(
        &(struct loader_options){.plan = p, .format = &f, .end_step = 3, .threads = 3}, &e);
    struct loader_step s;
    int64_t pictures = 0, splits = 0, records = 0, rows = 0, seen = 0;
    while (loader_next(l, &s, &e) == 1) {
        assert_int_equal(s.count, 1);
        const struct batch *b = &s.micros[0];
        int64_t tokens = (int64_t)b->rows * b->len;
        pictures += s.pictures;
        splits += s.splits;
        records += b->records_count;
        rows += b->rows;
        assert_near(s.padding, 1 - (double)b->total / (double)tokens, 1e-9);
        for (int i = 0; i < b->records_count; i++)
            seen |= (int64_t)1 << atoi(b->ids[i]);
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(pictures, 12 * 2 + 3 * 4);
    assert_int_equal(splits, 3 + 3);
    assert_int_equal(records, 21);
    assert_int_equal(seen, ((int64_t)1 << 21) - 1);
    assert_true(rows < 21);
    loader_close(l);
    plan_free(p);

    /* Prompts have rows of their own. */
    p = make_plan(&(struct plan_options){.manifest = &m, .batch = 21, .is_sequential = true});
    l = loader_open(&(struct loader_options){.plan = p, .format = &f, .purpose = SAMPLE_GENERATE},
                    &e);
    assert_int_equal(loader_next(l, &s, &e), 1);
    assert_int_equal(s.micros[0].rows, 21);
    assert_null(s.micros[0].segment);
    loader_step_release(&s);
    loader_close(l);
    plan_free(p);
    mel_free(mel);
    manifest_release(&m);
}

/* Go on from every step: windows' and epochs' edges are among them.  Twice: stop after one more
 * step, and go on again. */
static void check_resume(const struct plan *plan, int steps)
{
    static struct stream expected, one, rest;
    struct loader_options o = {
        .plan = plan, .format = &kit.format, .end_step = steps, .threads = 2, .bad_min = 100};
    run(&o, &expected);
    int edges = 0;
    for (int k = 1; k < steps; k++) {
        o.first_step = k;
        o.from = expected.next[k - 1];
        o.bad_before = expected.bad[k - 1];
        o.taken_before = expected.taken[k - 1];
        edges += o.from.batch == 0;
        run_some(&o, &one, 1);
        check_same(&one, &expected, k);
        o.first_step = k + 1;
        o.from = one.next[0];
        o.bad_before = one.bad[0];
        o.taken_before = one.taken[0];
        run(&o, &rest);
        check_same(&rest, &expected, k + 1);
    }
    assert_true(edges >= 3);
    assert_true(expected.next[steps - 1].epoch >= 1);
}

static void test_loader__resumes_at_any_step(void **state)
{
    (void)state;
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = &good, .seed = 3, .batch = 4, .is_sorted = true, .window_shards = 1});
    check_resume(p, 17);
    plan_free(p);
    p = make_plan(&(struct plan_options){
        .manifest = &sharded, .seed = 3, .batch = 8, .is_sorted = true, .window_shards = 2});
    check_resume(p, 18);
    plan_free(p);
}

/* The rows of a step and their clips as they are without padding. */
static void hash_rows(const struct loader_step *s, struct hash *text, struct hash *sound)
{
    for (int i = 0; i < s->count; i++) {
        const struct batch *b = &s->micros[i];
        for (int row = 0; row < b->rows; row++) {
            hash_add(text, b->ids[row], strlen(b->ids[row]) + 1);
            hash_add(text, b->tokens + row * b->len, (size_t)b->lengths[row] * sizeof *b->tokens);
        }
        for (int64_t k = 0; k < (int64_t)b->clips * b->frames; k++)
            if (b->frame_valid[k])
                hash_add(sound, b->mel + k * b->bins, (size_t)b->bins * sizeof *b->mel);
    }
}

/* Several machines make the same global batches as one. */
static void test_loader__does_not_depend_on_ranks(void **state)
{
    (void)state;
    enum { STEPS = 20 };
    char expected[STEPS][HASH_HEX_SIZE], found[HASH_HEX_SIZE];
    struct plan *p = make_plan(&(struct plan_options){
        .manifest = &sharded, .seed = 5, .batch = 7, .is_sorted = true, .window_shards = 2});
    for (int ranks = 1; ranks <= 4; ranks *= 2) {
        struct err e = {0};
        struct loader *l[4];
        for (int r = 0; r < ranks; r++)
            l[r] = loader_open(
                &(struct loader_options){
                    .plan = p, .format = &kit.format, .end_step = STEPS, .rank = r, .ranks = ranks},
                &e);
        for (int k = 0; k < STEPS; k++) {
            struct hash *h = hash_new(), *sound = hash_new();
            unsigned char digest[HASH_SIZE];
            for (int r = 0; r < ranks; r++) {
                struct loader_step s;
                assert_int_equal(loader_next(l[r], &s, &e), 1);
                hash_rows(&s, h, sound);
                loader_step_release(&s);
            }
            hash_end(sound, digest);
            hash_add(h, digest, sizeof digest);
            hash_end(h, digest);
            hash_hex(digest, found);
            hash_free(h);
            hash_free(sound);
            if (ranks == 1)
                memcpy(expected[k], found, sizeof found);
            assert_string_equal(found, expected[k]);
        }
        for (int r = 0; r < ranks; r++)
            loader_close(l[r]);
    }
    plan_free(p);
}

/* ---------------------------------------------------------------------- steps -- */

static void test_loader__divides_a_step_among_micro_batches(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan *p = make_plan(&(struct plan_options){.manifest = &good, .seed = 1, .batch = 7});
    struct plan_window w;
    assert_int_equal(plan_window_open(&w, p, 0, 0, &e), 0);
    struct loader *l = loader_open(
        &(struct loader_options){.plan = p, .format = &kit.format, .end_step = 1, .micros = 3}, &e);
    struct loader_step s;
    assert_int_equal(loader_next(l, &s, &e), 1);
    assert_int_equal(s.count, 3);
    int at = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(s.micros[i].rows == 2 || s.micros[i].rows == 3);
        for (int row = 0; row < s.micros[i].rows; row++, at++) {
            assert_int_equal(s.micros[i].records[row], at);
            assert_int_equal(atoi(s.micros[i].ids[row]), w.records[at].index);
            assert_int_equal(s.micros[i].has_ids[row], 1);
        }
    }
    assert_int_equal(at, 7);
    assert_int_equal(loader_taken(l), 7);
    loader_step_release(&s);
    assert_int_equal(loader_next(l, &s, &e), 0);
    assert_int_equal(loader_next(l, &s, &e), 0);
    loader_close(l);
    plan_window_release(&w);
    plan_free(p);
}

/* The ids that a sequential plan gives, each of which is followed by the next one. */
static int read_in_order(const struct plan *p, int threads)
{
    struct err e = {0};
    struct loader *l = loader_open(
        &(struct loader_options){
            .plan = p, .format = &kit.format, .threads = threads, .purpose = SAMPLE_GENERATE},
        &e);
    struct loader_step s;
    int next = 0;
    while (loader_next(l, &s, &e) == 1) {
        for (int i = 0; i < s.count; i++)
            for (int row = 0; row < s.micros[i].rows; row++) {
                assert_int_equal(s.micros[i].records[row], next);
                assert_non_null(s.micros[i].references[row]);
                assert_int_equal(atoi(s.micros[i].ids[row]), next < 35 ? next : next - 35);
                next++;
            }
        loader_step_release(&s);
    }
    assert_ok(e);
    loader_close(l);
    return next;
}

static void test_loader__sequential_covers_all(void **state)
{
    (void)state;
    /* Samples 0 .. 34 of the shards, then the lines 0 .. 36 of the table. */
    static const int64_t limits[] = {0, 1, 12, 40, 1000};
    for (int i = 0; i < 5; i++) {
        struct plan *p = make_plan(&(struct plan_options){
            .manifest = &sharded, .batch = 5, .is_sequential = true, .limit = limits[i]});
        int expected = i == 0 || i == 4 ? 35 + RECORDS : (int)limits[i];
        assert_int_equal(read_in_order(p, 3), expected);
        plan_free(p);
    }
}

/* ------------------------------------------------------------------------ holes -- */

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
    struct manifest m = open_text("bad.jsonl", text.data);
    buf_release(&text);
    return m;
}

static void test_loader__bad_records_are_holes(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_bad(30, 7);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 4});
    struct loader *l = loader_open(
        &(struct loader_options){
            .plan = p, .format = &kit.format, .end_step = 32, .threads = 2, .bad_min = 10},
        &e);
    struct loader_step s;
    struct plan_cursor at = {0};
    int named = 0, got;
    while ((got = loader_next(l, &s, &e)) == 1) {
        struct plan_window w;
        assert_int_equal(plan_window_open(&w, p, at.epoch, at.window, &e), 0);
        int row = 0;
        for (int64_t i = w.firsts[at.batch]; i < w.firsts[at.batch + 1]; i++) {
            char name[40];
            if ((w.records[i].index + 1) % 7 == 0)
                continue;
            snprintf(name, sizeof name, "bad.jsonl:%d", (int)w.records[i].index + 1);
            assert_non_null(strstr(s.micros[0].ids[row], name));
            assert_int_equal(s.micros[0].has_ids[row++], 0);
        }
        assert_int_equal(row, s.micros[0].rows);
        for (int i = 0; i < s.bad_count; i++, named++)
            assert_non_null(strstr(s.bad[i], "bad.jsonl:"));
        plan_window_release(&w);
        at = s.next;
        loader_step_release(&s);
    }
    assert_ok(e);
    assert_int_equal(got, 0);
    assert_int_equal(at.epoch, 4);
    /* Four epochs, but each of the four bad records is named and counted once. */
    assert_int_equal(named, 4);
    assert_int_equal(loader_bad_count(l), 4);
    assert_int_equal(loader_taken(l), 120);
    int kept;
    assert_non_null(strstr(loader_bad_records(l, &kept)[0].text, "bad.jsonl:"));
    assert_int_equal(kept, 4);
    loader_close(l);

    /* What to do about one is said, too. */
    struct data_format small = kit.format;
    small.max_tokens = 5;
    l = loader_open(
        &(struct loader_options){
            .plan = p, .format = &small, .end_step = 1, .threads = 2, .bad_min = 10},
        &e);
    assert_int_equal(loader_next(l, &s, &e), 1);
    assert_int_equal(s.count, 0);
    named = 0;
    for (int i = 0; i < s.bad_count; i++)
        named +=
            strstr(s.bad[i], "max_tokens is 5 (raise max_tokens, or split the record)") != NULL;
    assert_true(named >= 2);
    loader_step_release(&s);
    loader_close(l);
    plan_free(p);
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
    struct plan *p = make_plan(
        &(struct plan_options){.manifest = &m, .seed = 1, .batch = 4, .is_sequential = true});
    struct loader_options o = {.plan = p, .format = &kit.format, .bad_min = 10};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        o.threads = 1 + 2 * i;
        o.ahead = 1 + i;
        assert_int_equal(run_to_error(&o, &e), 12);
        assert_err(e, ERR_DATA, "11 of 56 records are bad, 10 may be: ");
        assert_non_null(strstr(e.text, "bad.jsonl:5:"));
        assert_non_null(strstr(e.text, "bad.jsonl:25:"));
        assert_null(strstr(e.text, "bad.jsonl:30:"));
        assert_true(e.hint[0] != 0);
    }
    struct err e = {0};
    o.bad_fraction = 0.2;
    assert_int_equal(run_to_error(&o, &e), 49);
    assert_ok(e);
    o.bad_fraction = 0.19;
    run_to_error(&o, &e);
    assert_err(e, ERR_DATA, "records are bad");
    plan_free(p);
    manifest_release(&m);
}

/* A run that is interrupted gives up where one that is not does: six of fifty are bad, in every
 * epoch. */
static void test_loader__counts_on_where_it_was_resumed(void **state)
{
    (void)state;
    static struct stream s;
    struct manifest m = open_bad(50, 8);
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 5});
    struct loader_options o = {.plan = p, .format = &kit.format, .bad_min = 6, .end_step = 30};
    run(&o, &s);
    for (int k = 1; k < 30; k++) {
        struct loader_options later = o;
        struct err e = {0};
        later.first_step = k;
        later.from = s.next[k - 1];
        later.bad_before = s.bad[k - 1];
        later.taken_before = s.taken[k - 1];
        run_to_error(&later, &e);
        assert_ok(e);
        later.bad_min = 5;
        run_to_error(&later, &e);
        /* What follows the last place has no sixth one any more. */
        if (k < 20 || s.bad[k - 1] < 6)
            assert_err(e, ERR_DATA, "6 of ");
    }
    assert_int_equal(s.bad[9], 0);
    assert_int_equal(s.taken[9], 0);
    plan_free(p);
    manifest_release(&m);
}

static void test_loader__gives_up_when_nothing_is_good(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_text("none.jsonl", "{\"text\": 1}\n{\"text\": 2}\n{}\n");
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 2});
    struct loader_options o = {.plan = p, .format = &kit.format, .end_step = 1000, .bad_min = 10};
    run_to_error(&o, &e);
    assert_err(e, ERR_DATA, "none of the 3 records can be used: ");
    plan_free(p);
    /* In order, each one is named, and that is all. */
    e = (struct err){0};
    o.plan = p =
        make_plan(&(struct plan_options){.manifest = &m, .batch = 1, .is_sequential = true});
    o.end_step = 0;
    assert_int_equal(run_to_error(&o, &e), 2);
    assert_ok(e);
    plan_free(p);
    manifest_release(&m);
}

/* ----------------------------------------------------------------------- errors -- */

static void test_loader__passes_on_what_no_record_is_to_blame_for(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = open_text("swap.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    free(kit_write(&kit, "swap.jsonl", "{\"text\": \"one\"}\n", 16));
    struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .seed = 1, .batch = 2});
    struct loader_options o = {.plan = p, .format = &kit.format, .end_step = 1000, .bad_min = 10};
    run_to_error(&o, &e);
    assert_err(e, ERR_INTEGRITY, "swap.jsonl: changed while in use");
    plan_free(p);
    manifest_release(&m);
}

/* A shard that is cut, at a header, in one, or in a member, ends the run: never are there fewer
 * samples. */
static void test_loader__a_cut_shard_is_an_error(void **state)
{
    (void)state;
    struct buf tar;
    buf_init(&tar, 64 << 20);
    add_samples(&tar, 0, 20, 0);
    size_t whole = tar.size;
    tar_end(&tar);
    static const size_t cuts[] = {512 * 10, 512 * 10 + 100, 512 * 9 + 3};
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        char *paths[] = {write_shard(kit.folder, "fine.tar", 100, 20, 0),
                         kit_write(&kit, "cut.tar", tar.data, i < 3 ? cuts[i] : whole)};
        struct manifest m = open_files(paths, 2, NULL);
        struct plan *p = make_plan(&(struct plan_options){.manifest = &m, .batch = 4});
        struct loader_options o = {
            .plan = p, .format = &kit.format, .end_step = 100, .bad_min = 100};
        assert_true(run_to_error(&o, &e) < 5);
        assert_err(e, ERR_DATA, "cut.tar");
        plan_free(p);
        manifest_release(&m);
        free(paths[0]);
        free(paths[1]);
    }
    buf_release(&tar);
}

static void test_loader__refuses_a_place_that_is_not_there(void **state)
{
    (void)state;
    struct plan *p = make_plan(&(struct plan_options){.manifest = &good, .batch = 4});
    struct loader_options o = {.plan = p, .format = &kit.format, .end_step = 100};
    static const struct plan_cursor places[] = {{0, 99, 0}, {0, 0, 99}, {1, 0, 99}};
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        o.from = places[i];
        assert_int_equal(run_to_error(&o, &e), 0);
        assert_err(e, ERR_INTEGRITY, "the run stands before 99");
    }
    plan_free(p);
}

/* ---------------------------------------------------------------------- closing -- */

static void test_loader__closes_at_any_moment(void **state)
{
    (void)state;
    struct plan *p = make_plan(
        &(struct plan_options){.manifest = &sharded, .seed = 1, .batch = 3, .window_shards = 2});
    for (int taken = 0; taken < 12; taken++) {
        struct err e = {0};
        struct loader *l = loader_open(
            &(struct loader_options){
                .plan = p, .format = &kit.format, .end_step = 1000000, .threads = 4, .ahead = 3},
            &e);
        char waiting[200];
        for (int i = 0; i < taken; i++) {
            struct loader_step s;
            assert_int_equal(loader_next(l, &s, &e), 1);
            loader_step_release(&s);
        }
        loader_waiting_for(l, waiting, sizeof waiting);
        double begin = clock_seconds();
        loader_close(l);
        assert_true(clock_seconds() - begin < 5);
    }
    loader_close(NULL);
    plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loader__does_not_depend_on_threads),
        cmocka_unit_test(test_loader__media_and_packed_rows),
        cmocka_unit_test(test_loader__resumes_at_any_step),
        cmocka_unit_test(test_loader__does_not_depend_on_ranks),
        cmocka_unit_test(test_loader__divides_a_step_among_micro_batches),
        cmocka_unit_test(test_loader__sequential_covers_all),
        cmocka_unit_test(test_loader__bad_records_are_holes),
        cmocka_unit_test(test_loader__stops_at_too_many_bad_records),
        cmocka_unit_test(test_loader__counts_on_where_it_was_resumed),
        cmocka_unit_test(test_loader__gives_up_when_nothing_is_good),
        cmocka_unit_test(test_loader__passes_on_what_no_record_is_to_blame_for),
        cmocka_unit_test(test_loader__a_cut_shard_is_an_error),
        cmocka_unit_test(test_loader__refuses_a_place_that_is_not_there),
        cmocka_unit_test(test_loader__closes_at_any_moment),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
