/* Whole runs of an encoder-decoder: everything random together and resumed, frozen encoders, parts
 * of steps, memory, and settings that do not go together. */
#include "trainer_testing.h"

#include <math.h>

#define WHISPER "tests/data/whisper/"

enum { CLIPS = 12, RATE = 16000 };

static char *speech_path, *whisper_path;
static char *both_towers[] = {(char *)"language", (char *)"audio"};

static void put_u32(unsigned char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(v >> 8 * i);
}

/* A WAV of a tone of its own pitch and length. */
static void make_clip(const char *path, int i)
{
    static const unsigned char head[44] = "RIFF....WAVEfmt \20\0\0\0\1\0\1\0....\0\0\0\0\2\0\20\0"
                                          "data";
    uint32_t count = (uint32_t)(RATE * (0.35 + 0.04 * i)), bytes = 2 * count;
    unsigned char *wav = xcalloc(sizeof head + bytes, 1);
    memcpy(wav, head, sizeof head);
    put_u32(wav + 4, 36 + bytes);
    put_u32(wav + 24, RATE);
    put_u32(wav + 28, 2 * RATE);
    put_u32(wav + 40, bytes);
    for (uint32_t k = 0; k < count; k++) {
        double t = (double)k / RATE, hz = 200 * pow(1.25, i);
        int v = (int)(8000 * sin(6.283185307 * hz * t * (1 + 0.1 * t)));
        wav[sizeof head + 2 * k] = (unsigned char)(v & 255);
        wav[sizeof head + 2 * k + 1] = (unsigned char)(v >> 8 & 255);
    }
    spit(path, (const char *)wav, sizeof head + bytes);
    free(wav);
}

static void make_speech(void)
{
    static const char *const words[] = {"boat", "lamp", "green", "river"};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < CLIPS; i++) {
        char *path = xasprintf("%s/clip-%d.wav", folder, i);
        make_clip(path, i);
        buf_printf(
            &b,
            "{\"id\":\"c%d\",\"audio\":\"%s\",\"text\":\" the %s and %d\",\"language\":\"%s\"}\n",
            i, path, words[i % 4], i, i % 3 ? "en" : "de");
        free(path);
    }
    spit(speech_path, b.data, b.size);
    buf_release(&b);
}

static int set_up_whisper(void **state)
{
    set_up(state);
    speech_path = in_folder("speech.jsonl");
    whisper_path = xstrdup(WHISPER "v2");
    make_speech();
    return 0;
}

static int tear_down_whisper(void **state)
{
    free(speech_path);
    free(whisper_path);
    return tear_down(state);
}

/* 12 records, 4 a step: three steps an epoch. */
static struct run make_whisper_run(const char *name)
{
    struct run r = make_run(name);
    r.c.model = whisper_path;
    r.c.init = INIT_CHECKPOINT;
    r.c.train = (struct string_list){&speech_path, 1};
    r.c.lora.dropout = 0;
    r.c.lora.targets = (struct string_list){NULL, 0};
    r.c.steps = 9;
    r.c.save_every = 2;
    r.c.language = (char *)"";
    r.c.dropout = -1;
    return r;
}

static char *output_of(const struct run *r)
{
    return r->c.method == METHOD_FULL
               ? xasprintf("%s/%s/model/model.safetensors", r->c.runs, r->c.name)
               : adapter_of(r);
}

static void expect_same(const struct run *a, const struct run *b)
{
    char *pa = output_of(a), *pb = output_of(b);
    size_t na, nb;
    char *x = slurp(pa, &na), *y = slurp(pb, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x), free(y), free(pa), free(pb);
}

/* A number of each step's line in the metrics. */
static void numbers_of(const struct run *r, const char *key, double *out, int count)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/metrics.jsonl", runs_path, r->c.name);
    size_t size;
    char *text = slurp(path, &size), *line = text;
    for (int i = 0; i < count; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *o = json_read_text("metrics", line, (size_t)(end - line), &e);
        out[i] = json_need_double(o, key, &e);
        assert_ok(e);
        json_decref(o);
        line = end + 1;
    }
    free(text);
    free(path);
}

static json_t *result_of(const struct run *r)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/result.json", runs_path, r->c.name);
    json_t *o = json_read_file(path, 1 << 20, &e);
    assert_ok(e);
    free(path);
    return o;
}

/* ------------------------------------------------------------- exactness -- */

/* All that is random, together with windows that several clips share. */
static void add_everything(struct run *r)
{
    r->c.dropout = 0.1;
    r->c.label_smoothing = 0.1;
    r->c.mask_time_prob = 0.1;
    r->c.mask_feature_prob = 0.1;
    r->c.mask_time_length = r->c.mask_feature_length = 5;
    r->c.tower_cache = 1 << 24;
}

static void expect_exact_resume(struct run *whole, struct run *cut)
{
    expect_success(whole);
    cut->signal = SIGTERM;
    cut->signal_at = 4;
    assert_int_equal(run(cut), 143);
    cut->signal = 0;
    expect_success(cut);
    expect_same(whole, cut);
    assert_metrics_complete(cut);
}

static void test_trainer_whisper__resume_is_exact_with_everything_random(void **state)
{
    (void)state;
    struct run a = make_whisper_run("lora-whole"), b = make_whisper_run("lora-cut");
    struct run other = make_whisper_run("lora-other");
    struct run *const all[] = {&a, &b, &other};
    for (int i = 0; i < 3; i++) {
        add_everything(all[i]);
        all[i]->c.lora.dropout = 0.1;
        all[i]->c.lora.towers = (struct string_list){both_towers, 2};
        all[i]->c.join_audio = JOIN_AUDIO_PLAIN;
    }
    expect_exact_resume(&a, &b);
    /* The spans hidden hang on the seed alone, and do something. */
    double x[9], y[9], most = 0, windows[9];
    other.c.mask_time_prob = other.c.mask_feature_prob = 0;
    expect_success(&other);
    numbers_of(&a, "loss", x, 9);
    numbers_of(&other, "loss", y, 9);
    for (int i = 0; i < 9; i++)
        most = fmax(most, fabs(x[i] - y[i]));
    assert_true(most > 1e-4);
    /* Four clips share fewer windows of two seconds. */
    numbers_of(&a, "windows", windows, 9);
    for (int i = 0; i < 9; i++)
        assert_true(windows[i] >= 1 && windows[i] <= 3);
    /* What is random keeps encoder outputs from being kept. */
    json_t *o = result_of(&a);
    assert_null(json_object_get(o, "tower_cache"));
    assert_true(json_number_value(json_object_get(o, "windows_per_s")) > 0);
    json_decref(o);
}

static void test_trainer_whisper__full_training_resumes_exactly(void **state)
{
    (void)state;
    struct run a = make_whisper_run("full-whole"), b = make_whisper_run("full-cut");
    struct run *const all[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        add_everything(all[i]);
        all[i]->c.method = METHOD_FULL;
        all[i]->c.learning_rate = 1e-3;
        all[i]->c.join_audio = JOIN_AUDIO_TIMESTAMPS;
        all[i]->c.audio_length = AUDIO_LENGTH_CLIP;
        all[i]->c.checkpointing = true;
        all[i]->c.accumulate = 2;
    }
    expect_exact_resume(&a, &b);
}

/* A step in parts is the same step. */
static void test_trainer_whisper__parts_of_a_step_change_nothing(void **state)
{
    (void)state;
    struct run one = make_whisper_run("one-part"), four = make_whisper_run("four-parts");
    double x[9], y[9];
    four.c.accumulate = 4;
    one.c.lora.towers = four.c.lora.towers = (struct string_list){both_towers, 2};
    one.c.label_smoothing = four.c.label_smoothing = 0.1;
    one.c.checkpointing = true;
    expect_success(&one);
    expect_success(&four);
    numbers_of(&one, "loss", x, 9);
    numbers_of(&four, "loss", y, 9);
    for (int i = 0; i < 9; i++)
        assert_near(x[i], y[i], 1e-4 * x[i]);
}

/* ------------------------------------------------------- frozen encoders -- */

static void test_trainer_whisper__frozen_encoders_are_kept(void **state)
{
    (void)state;
    struct err e = {0};
    struct run large = make_whisper_run("large"), small = make_whisper_run("small");
    struct run none = make_whisper_run("none"), cut = make_whisper_run("cut");
    large.c.tower_cache = cut.c.tower_cache = 1 << 24;
    small.c.tower_cache = 3 * 100 * 24 * 4 + 400;        /* three windows' */
    expect_exact_resume(&large, &cut);
    expect_success(&small);
    expect_success(&none);
    expect_same(&large, &small);
    double x[9], y[9];
    numbers_of(&large, "loss", x, 9);
    numbers_of(&none, "loss", y, 9);
    for (int i = 0; i < 9; i++)
        assert_near(x[i], y[i], 1e-4 * y[i]);
    json_t *o = result_of(&large);
    const json_t *cache = json_need_object(o, "tower_cache", &e);
    int64_t hits = json_need_int(cache, "hits", &e), misses = json_need_int(cache, "misses", &e);
    assert_ok(e);
    /* The rehearsal saw one step's. */
    assert_int_equal(hits + misses, 3 * CLIPS);
    assert_true(misses <= CLIPS && misses >= CLIPS - 4);
    assert_true(json_need_int(cache, "bytes", &e) > CLIPS * 100 * 24 * 4);
    json_decref(o);
    o = result_of(&small);
    assert_true(json_need_int(json_need_object(o, "tower_cache", &e), "hits", &e) < hits);
    json_decref(o);
}

/* Windows as long as the batch's longest clip, which differs from epoch to epoch. */
static void test_trainer_whisper__short_windows_are_kept_by_their_length(void **state)
{
    (void)state;
    struct run large = make_whisper_run("short-large"), small = make_whisper_run("short-small");
    struct run none = make_whisper_run("short-none");
    struct run *const all[] = {&large, &small, &none};
    double x[9], y[9];
    for (int i = 0; i < 3; i++) {
        all[i]->c.audio_length = AUDIO_LENGTH_CLIP;
        all[i]->c.length_sorted = false;
    }
    large.c.tower_cache = 1 << 24;
    small.c.tower_cache = 1;
    for (int i = 0; i < 3; i++)
        expect_success(all[i]);
    expect_same(&large, &small);
    numbers_of(&large, "loss", x, 9);
    numbers_of(&none, "loss", y, 9);
    for (int i = 0; i < 9; i++)
        assert_near(x[i], y[i], 1e-4 * y[i]);
}

/* ---------------------------------------------------------- ways to train -- */

static void expect_falling(const struct run *r)
{
    double x[60], first = 0, last = 0;
    int n = r->c.steps;
    expect_success(r);
    numbers_of(r, "loss", x, n);
    for (int i = 0; i < 6; i++) {
        first += x[i] / 6;
        last += x[n - 1 - i] / 6;
    }
    if (!(last < 0.9 * first))
        fail_msg("%s: loss %g at the start, %g at the end", r->c.name, first, last);
}

static void test_trainer_whisper__every_way_of_training_learns(void **state)
{
    (void)state;
    static char *audio[] = {(char *)"audio"};
    struct run plain = make_whisper_run("way-lora"), dora = make_whisper_run("way-dora");
    struct run quantised = make_whisper_run("way-qlora"), encoder = make_whisper_run("way-audio");
    struct run full = make_whisper_run("way-full"), frozen = make_whisper_run("way-frozen");
    struct run *const all[] = {&plain, &dora, &quantised, &encoder, &full, &frozen};
    for (int i = 0; i < 6; i++) {
        all[i]->c.steps = 24;
        all[i]->c.save_every = 24;
        all[i]->c.schedule = SCHEDULE_CONSTANT;
        all[i]->c.lora.towers = (struct string_list){both_towers, 2};
    }
    dora.c.lora.dora = dora.c.lora.rslora = true;
    quantised.c.quantize = QUANTIZE_4BIT;
    quantised.c.quantize_group = 32;
    encoder.c.lora.towers = (struct string_list){audio, 1};
    encoder.c.learning_rate = 3e-2;
    full.c.method = METHOD_FULL;
    frozen.c.method = METHOD_FULL;
    frozen.c.full.towers = (struct string_list){language, 1};
    full.c.learning_rate = frozen.c.learning_rate = 3e-3;
    for (int i = 0; i < 6; i++)
        expect_falling(all[i]);
}

/* The adapters of one tower, counted. */
static int count_adapters(const struct run *r, const char *part)
{
    struct err e = {0};
    char *path = adapter_of(r);
    struct safetensors *s = safetensors_open(path, &e);
    assert_ok(e);
    int n = 0;
    for (int i = 0; i < safetensors_count(s); i++)
        n += strstr(safetensors_at(s, i)->name, part) &&
             strstr(safetensors_at(s, i)->name, "lora_A");
    safetensors_close(s);
    free(path);
    return n;
}

static void test_trainer_whisper__towers_are_encoder_and_decoder(void **state)
{
    (void)state;
    struct run decoder = make_whisper_run("tower-language"), both = make_whisper_run("tower-both");
    both.c.lora.towers = (struct string_list){both_towers, 2};
    decoder.c.steps = both.c.steps = 1;
    expect_success(&decoder);
    expect_success(&both);
    /* Two layers each: q, k, v, out, fc1, fc2, and the decoder's four more. */
    assert_int_equal(count_adapters(&decoder, "encoder.layers"), 0);
    assert_int_equal(count_adapters(&decoder, "decoder.layers"), 2 * 10);
    assert_int_equal(count_adapters(&both, "encoder.layers"), 2 * 6);
    assert_int_equal(count_adapters(&both, "decoder.layers"), 2 * 10);
}

/* ----------------------------------------------------------------- memory -- */

static void expect_planned(struct run *r)
{
    struct err e = {0};
    expect_success(r);
    json_t *o = result_of(r);
    const json_t *m = json_need_object(o, "memory", &e);
    double total = (double)json_need_int(m, "total", &e),
           peak = (double)json_need_int(m, "peak", &e);
    assert_ok(e);
    assert_near(total, peak, 0.15 * peak);
    json_decref(o);
}

static void test_trainer_whisper__memory_is_as_planned(void **state)
{
    (void)state;
    struct run both = make_whisper_run("memory-both"), cached = make_whisper_run("memory-cached");
    struct run full = make_whisper_run("memory-full"), less = make_whisper_run("memory-less");
    both.c.lora.towers = (struct string_list){both_towers, 2};
    cached.c.tower_cache = 1 << 24;
    full.c.method = METHOD_FULL;
    full.c.checkpointing = true;
    full.c.accumulate = 2;
    expect_planned(&both);
    expect_planned(&cached);
    expect_planned(&full);
    less.c.device_memory = 1 << 20;
    assert_int_equal(run(&less), ERR_SPACE);
    char *text = last_error();
    assert_non_null(strstr(text, "too little memory: "));
    free(text);
}

/* --------------------------------------------------------------- settings -- */

static void expect_usage(const struct run *r, const char *part)
{
    assert_int_equal(run(r), ERR_USAGE);
    char *text = last_error();
    if (!strstr(text, part))
        fail_msg("found: %s", text);
    free(text);
}

static void test_trainer_whisper__settings_of_other_families(void **state)
{
    (void)state;
    struct run r = make_whisper_run("wrong-1");
    r.c.pack_tokens = 100;
    expect_usage(&r, "pack_tokens: means nothing for an encoder-decoder (whisper)|join_audio puts");
    r = make_whisper_run("wrong-2");
    r.c.image_tokens = 70;
    expect_usage(&r, "image_tokens: means nothing");
    r = make_run("wrong-3");
    r.c.join_audio = JOIN_AUDIO_PLAIN;
    expect_usage(&r, "join_audio: is for encoder-decoders (whisper) only|pack_tokens puts");
    r = make_run("wrong-4");
    r.c.mask_feature_prob = 0.1;
    expect_usage(&r, "mask_feature_prob: is for encoder-decoders");
    r = make_run("wrong-5");
    r.c.language = (char *)"de";
    expect_usage(&r, "language: is for encoder-decoders (whisper) only|say it in the prompt");
}

static void test_trainer_whisper__data_and_languages_that_do_not_fit(void **state)
{
    (void)state;
    struct run r = make_whisper_run("silent");
    r.c.train = (struct string_list){&train_path, 1};
    expect_usage(&r, "train: no record has a clip");
    r = make_whisper_run("tongue");
    r.c.language = (char *)"germn";
    expect_usage(&r, "language: ");
    r = make_whisper_run("english");
    r.c.model = (char *)WHISPER "en";
    r.c.language = (char *)"de";
    expect_usage(&r, "language: found 'de', the model knows English only");
    r.c.language = (char *)"";
    r.c.task = WHISPER_TRANSLATE;
    expect_usage(&r, "task: the model knows English only and cannot translate");
}

/* What changes the result is a fact of the run. */
static void test_trainer_whisper__changed_settings_are_named(void **state)
{
    (void)state;
    struct run r = make_whisper_run("facts");
    r.c.steps = 4;
    r.c.schedule = SCHEDULE_CONSTANT;
    expect_success(&r);
    r.c.steps = 6;
    r.c.label_smoothing = 0.1;
    r.c.mask_time_prob = 0.05;
    r.c.join_audio = JOIN_AUDIO_PLAIN;
    r.c.dropout = 0.1;
    assert_int_equal(run(&r), ERR_USAGE);
    char *text = last_error();
    assert_non_null(strstr(text, "label_smoothing (found 0.1, was 0.0)"));
    assert_non_null(strstr(text, "mask_time_prob (found 0.05, was 0.0)"));
    assert_non_null(strstr(text, "join_audio (found \"plain\", was \"no\")"));
    assert_non_null(strstr(text, "dropout (found 0.1, was -1.0)"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainer_whisper__resume_is_exact_with_everything_random),
        cmocka_unit_test(test_trainer_whisper__full_training_resumes_exactly),
        cmocka_unit_test(test_trainer_whisper__parts_of_a_step_change_nothing),
        cmocka_unit_test(test_trainer_whisper__frozen_encoders_are_kept),
        cmocka_unit_test(test_trainer_whisper__short_windows_are_kept_by_their_length),
        cmocka_unit_test(test_trainer_whisper__every_way_of_training_learns),
        cmocka_unit_test(test_trainer_whisper__towers_are_encoder_and_decoder),
        cmocka_unit_test(test_trainer_whisper__memory_is_as_planned),
        cmocka_unit_test(test_trainer_whisper__settings_of_other_families),
        cmocka_unit_test(test_trainer_whisper__data_and_languages_that_do_not_fit),
        cmocka_unit_test(test_trainer_whisper__changed_settings_are_named),
    };
    return cmocka_run_group_tests(tests, set_up_whisper, tear_down_whisper);
}
