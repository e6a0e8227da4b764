/* What is planned of memory beside what steps then need, over the ways of training, and what is
 * said when there is too little.  MEMORY_PLAN_TABLE=1 prints a table for a larger model. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/lora.h"
#include "train/batch_cut.h"
#include "train/memory_plan.h"
#include "train/session.h"

enum { FRAMES = 160, SLOTS = 40, PATCHES = 64, PICTURE_SLOTS = 16, VOCAB = 4096 };

static bool prints_table;

/* --------------------------------------------------------------- fixtures -- */

static void put(json_t *o, const char *key, int small, int large)
{
    json_put_int(o, key, prints_table ? large : small);
}

/* The folder of a random model of E2B's kind. */
static char *make_model(void)
{
    struct err e = {0};
    char *dir = testing_folder(), *path = path_join(dir, "config.json");
    json_t *c = json_read_file("tests/data/gemma4_e/config.json", 1 << 20, &e);
    assert_ok(e);
    json_t *text = json_object_get(c, "text_config"), *vision = json_object_get(c, "vision_config");
    json_t *audio = json_object_get(c, "audio_config");
    put(text, "hidden_size", 128, 512);
    put(text, "intermediate_size", 256, 1024);
    put(text, "head_dim", 32, 64);
    put(text, "hidden_size_per_layer_input", 32, 64);
    put(text, "vocab_size", VOCAB, VOCAB);
    put(text, "vocab_size_per_layer_input", VOCAB, VOCAB);
    put(text, "sliding_window", 64, 64);
    json_object_del(text, "per_layer_config");
    json_put_int(text, "global_head_dim", prints_table ? 128 : 64);
    put(text, "num_hidden_layers", 5, 8);
    json_t *types = json_array();
    for (int i = 0; i < (prints_table ? 8 : 5); i++)
        json_array_append_new(types, json_string(i % 4 == 3 || i == (prints_table ? 7 : 4)
                                                     ? "full_attention"
                                                     : "sliding_attention"));
    json_put(text, "layer_types", types);
    put(text, "num_kv_shared_layers", 1, 4);
    put(text, "max_position_embeddings", 4096, 4096);
    put(vision, "hidden_size", 64, 128);
    put(vision, "head_dim", 32, 64);
    put(vision, "intermediate_size", 128, 256);
    put(audio, "hidden_size", 64, 128);
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write_pretty(c, &b);
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    buf_release(&b);
    json_decref(c);
    free(path);
    return dir;
}

/* The folder of a random Whisper. */
static char *make_whisper(void)
{
    struct err e = {0};
    char *dir = testing_folder(), *path = path_join(dir, "config.json");
    json_t *c = json_read_file("tests/data/whisper/v2/config.json", 1 << 20, &e);
    assert_ok(e);
    put(c, "d_model", 128, 384);
    put(c, "encoder_layers", 3, 4);
    put(c, "decoder_layers", 3, 4);
    put(c, "encoder_attention_heads", 2, 6);
    put(c, "decoder_attention_heads", 2, 6);
    put(c, "encoder_ffn_dim", 512, 1536);
    put(c, "decoder_ffn_dim", 512, 1536);
    put(c, "max_source_positions", 200, 1500);
    put(c, "max_target_positions", 448, 448);
    put(c, "vocab_size", VOCAB, VOCAB);
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write_pretty(c, &b);
    assert_int_equal(file_write(path, b.data, b.size, &e), 0);
    buf_release(&b);
    json_decref(c);
    free(path);
    return dir;
}

/* A way of training. */
struct setting {
    const char *name;
    bool is_full, checkpoints, dora;
    int quantize;                      /* bits */
    int rows, len, accumulate;
    bool hears, sees;                  /* each row begins with a clip, a picture */
    bool trains_towers;
    bool crosses;                      /* the model is an encoder-decoder */
};

/* Each row has a window. */
static void add_windows(struct batch *b)
{
    b->clips = b->rows;
    b->frames = prints_table ? 3000 : 400;
    b->bins = 80;
    size_t frames = (size_t)b->rows * (size_t)b->frames;
    b->mel = xcalloc(frames * 80, sizeof *b->mel);
    b->frame_valid = xcalloc(frames, 1);
    memset(b->frame_valid, 1, frames);
}

static struct batch make_batch(const struct setting *s, int rows, int len)
{
    struct batch b = {.rows = rows, .len = len, .segments = 1};
    size_t cells = (size_t)rows * (size_t)len;
    b.tokens = xcalloc(cells, sizeof *b.tokens);
    b.lengths = xcalloc((size_t)rows, sizeof *b.lengths);
    b.target_rows = xcalloc(cells, sizeof *b.target_rows);
    b.target_ids = xcalloc(cells, sizeof *b.target_ids);
    b.target_weights = xcalloc(cells, sizeof *b.target_weights);
    for (size_t i = 0; i < cells; i++)
        b.tokens[i] = (int32_t)(200 + i * 7919 % (VOCAB - 200));
    for (int row = 0; row < rows; row++) {
        b.lengths[row] = len;
        for (int t = len / 2; t < len - 1; t++) {
            int k = b.targets++;
            b.target_rows[k] = row * len + t;
            b.target_ids[k] = b.tokens[row * len + t + 1];
            b.target_weights[k] = 1;
            b.supervised++;
        }
    }
    if (s->crosses)
        add_windows(&b);
    if (!s->hears && !s->sees)
        return b;
    b.soft = xcalloc(cells, sizeof *b.soft);
    for (size_t i = 0; i < cells; i++)
        b.soft[i] = -1;
    if (s->hears) {
        b.clips = rows;
        b.frames = FRAMES;
        b.bins = 16;
        b.slots = SLOTS;
        size_t frames = (size_t)rows * FRAMES;
        b.mel = xcalloc(frames * 16, sizeof *b.mel);
        b.frame_valid = xcalloc(frames, 1);
        memset(b.frame_valid, 1, frames);
    }
    if (s->sees) {
        b.pictures = rows;
        b.patches = PATCHES;
        b.patch_numbers = 48;
        b.picture_slots = PICTURE_SLOTS;
        b.pixels = xcalloc((size_t)rows * PATCHES * 48, 1);
        b.patch_at = xcalloc((size_t)rows * PATCHES * 2, sizeof *b.patch_at);
        for (int i = 0; i < rows * PATCHES; i++) {
            b.patch_at[2 * i] = i % PATCHES % 8;
            b.patch_at[2 * i + 1] = i % PATCHES / 8;
        }
    }
    for (int row = 0; row < rows; row++) {
        for (int k = 0; s->hears && k < SLOTS; k++)
            b.soft[row * len + 4 + k] = row * SLOTS + k;
        for (int k = 0; s->sees && k < PICTURE_SLOTS; k++)
            b.soft[row * len + 50 + k] = b.clips * SLOTS + row * PICTURE_SLOTS + k;
    }
    return b;
}

struct model_kit {
    struct model *model;
    struct train_step step;
    struct config c;
};

static void kit_open(struct model_kit *k, const char *dir, const struct setting *s)
{
    struct err e = {0};
    static char language[] = "language", audio[] = "audio", vision[] = "vision",
                projector[] = "projector";
    char *towers[] = {language, s->crosses ? audio : projector, audio, vision};
    struct model_options o = {
        .dtype = MX_FLOAT32,
        .init_random = true,
        .without_audio = !s->hears,
        .without_vision = !s->sees,
        .quantize_bits = s->quantize,
        .quantize_group = s->quantize ? 32 : 0,
    };
    k->c = (struct config){
        .method = s->is_full ? METHOD_FULL : METHOD_LORA,
        .quantize = s->quantize ? QUANTIZE_4BIT : QUANTIZE_NONE,
        .batch = s->rows * (s->accumulate ? s->accumulate : 1),
        .accumulate = s->accumulate ? s->accumulate : 1,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .clip = 1,
        .drop_rows = true,
        .checkpointing = s->checkpoints,
        .device = DEVICE_CPU,
    };
    assert_int_equal(session_use_device(DEVICE_CPU, &e), 0);
    mx_enter();
    k->model = model_open(dir, &o, &e);
    assert_ok(e);
    if (s->is_full)
        assert_int_equal(nn_params_train(&k->model->params, NULL, 0, &e), 0);
    else
        assert_int_equal(nn_lora_attach(&k->model->params,
                                        &(struct nn_lora_config){
                                            .rank = 8,
                                            .alpha = 16,
                                            .dora = s->dora,
                                            .towers = towers,
                                            .tower_count = !s->trains_towers ? 1
                                                           : s->crosses      ? 2
                                                           : s->hears && s->sees ? 4
                                                                                 : 3,
                                        },
                                        &e),
                         0);
    assert_ok(e);
    train_step_init(&k->step, k->model, &k->c, NULL);
}

static void kit_close(struct model_kit *k)
{
    train_step_release(&k->step);
    model_close(k->model);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

/* The largest memory of steps with this batch and smaller ones, as the trainer takes them. */
static int64_t run_steps(struct model_kit *k, const struct setting *s)
{
    struct err e = {0};
    int64_t peak = 0;
    mx_memory_peak_reset();
    for (int t = 1; t <= 4; t++) {
        struct step_result r;
        struct batch b = make_batch(s, s->rows, t % 2 ? s->len - 8 : s->len), micros[4];
        int n = k->c.accumulate;
        for (int i = 0; i < n; i++)
            micros[i] = b;
        struct step_data d = {micros, n, b.supervised * n};
        double loss;
        mx_enter();
        if (train_step_run(&k->step, &d, t, 1e-3, &r, &e) || mx_item(r.loss, &loss, &e))
            fail_msg("%s", e.text);
        mx_leave(MX_NONE);
        batch_release(&b);
        peak = (int64_t)mx_memory_peak();
    }
    return peak;
}

/* ------------------------------------------------------------------ tests -- */

static const struct setting settings[] = {
    {.name = "lora", .rows = 2, .len = 160},
    {.name = "lora, long", .rows = 1, .len = 640},
    {.name = "lora, many rows", .rows = 8, .len = 96},
    {.name = "lora, checkpointing", .rows = 2, .len = 320, .checkpoints = true},
    {.name = "lora, accumulate", .rows = 2, .len = 160, .accumulate = 3},
    {.name = "dora", .rows = 2, .len = 160, .dora = true},
    {.name = "qlora", .rows = 2, .len = 160, .quantize = 4},
    {.name = "qlora, checkpointing", .rows = 2, .len = 160, .quantize = 4, .checkpoints = true},
    {.name = "full", .rows = 2, .len = 160, .is_full = true},
    {.name = "full, accumulate", .rows = 2, .len = 160, .is_full = true, .accumulate = 2},
    {.name = "full, checkpointing", .rows = 2, .len = 160, .is_full = true, .checkpoints = true},
    {.name = "lora, audio", .rows = 3, .len = 128, .hears = true},
    {.name = "lora, images", .rows = 3, .len = 128, .sees = true},
    {.name = "lora, all towers",
     .rows = 3,
     .len = 128,
     .hears = true,
     .sees = true,
     .trains_towers = true},
    {.name = "whisper, lora", .rows = 3, .len = 96, .crosses = true, .trains_towers = true},
    {.name = "whisper, frozen encoder", .rows = 3, .len = 96, .crosses = true},
    {.name = "whisper, frozen, checkp.",
     .rows = 3,
     .len = 96,
     .crosses = true,
     .checkpoints = true},
    {.name = "whisper, qlora",
     .rows = 3,
     .len = 96,
     .crosses = true,
     .trains_towers = true,
     .quantize = 4},
    {.name = "whisper, full", .rows = 3, .len = 96, .crosses = true, .is_full = true},
    {.name = "whisper, full, checkp.",
     .rows = 3,
     .len = 96,
     .crosses = true,
     .is_full = true,
     .checkpoints = true},
    {.name = "whisper, full, accum.",
     .rows = 2,
     .len = 96,
     .crosses = true,
     .is_full = true,
     .accumulate = 2},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void test_memory_plan__is_near_the_peak(void **state)
{
    (void)state;
    char *gemma = make_model(), *whisper = make_whisper();
    if (prints_table)
        print_message("%-24s %9s %9s %9s %9s %9s %9s %7s\n", "", "weights", "adapters", "optimizer",
                      "activat.", "planned", "measured", "off");
    for (int i = 0; i < SETTINGS; i++) {
        struct err e = {0};
        const struct setting *s = &settings[i];
        struct model_kit k;
        struct memory_plan p;
        kit_open(&k, s->crosses ? whisper : gemma, s);
        struct batch b = make_batch(s, s->rows, s->len);
        assert_int_equal(memory_plan_arrays(&p, &k.step, &k.c, &e), 0);
        assert_int_equal(memory_plan_rehearse(&p, &k.step, &b, &k.c, &e), 0);
        assert_int_equal(p.total, p.weights + p.adapters + p.optimizer + p.activations);
        int64_t measured = memory_plan_measured(&p, run_steps(&k, s));
        double off = (double)p.total / (double)measured - 1;
        const double MB = 1e6;
        if (prints_table)
            print_message("%-24s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %+6.1f%%\n", s->name,
                          (double)p.weights / MB, (double)p.adapters / MB, (double)p.optimizer / MB,
                          (double)p.activations / MB, (double)p.total / MB, (double)measured / MB,
                          100 * off);
        else if (!(fabs(off) <= 0.15))
            fail_msg("%s: planned %lld, measured %lld", s->name, (long long)p.total,
                     (long long)measured);
        batch_release(&b);
        kit_close(&k);
    }
    struct err e = {0};
    assert_int_equal(dir_remove(gemma, &e), 0);
    assert_int_equal(dir_remove(whisper, &e), 0);
    free(gemma);
    free(whisper);
}

static float *all_state(const struct model_kit *k, size_t *count)
{
    struct err e = {0};
    struct mx_arrays lists[] = {nn_trainable(&k->model->params, ""),
                                nn_adamw_state(&k->step.adamw)};
    *count = 0;
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < lists[l].n; i++)
            *count += mx_size(lists[l].at[i]);
    float *out = xcalloc(*count, sizeof *out);
    size_t at = 0;
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < lists[l].n; i++) {
            size_t n = mx_size(lists[l].at[i]);
            assert_int_equal(mx_read(lists[l].at[i], MX_FLOAT32, out + at, n * sizeof *out, &e), 0);
            at += n;
        }
    return out;
}

/* A rehearsal leaves weights, moments and sums as they were, to the last bit. */
static void test_memory_plan__rehearsal_changes_nothing(void **state)
{
    (void)state;
    char *dir = make_model();
    for (int accumulate = 1; accumulate <= 2; accumulate++) {
        struct err e = {0};
        const struct setting s = {.rows = 2, .len = 64, .accumulate = accumulate};
        struct model_kit k;
        struct memory_plan p;
        size_t n, m;
        kit_open(&k, dir, &s);
        run_steps(&k, &s);
        struct batch b = make_batch(&s, 2, 64);
        float *before = all_state(&k, &n);
        assert_int_equal(memory_plan_arrays(&p, &k.step, &k.c, &e), 0);
        k.c.device_memory = p.device = (int64_t)1 << 40;
        assert_int_equal(memory_plan_rehearse(&p, &k.step, &b, &k.c, &e), 0);
        float *after = all_state(&k, &m);
        assert_int_equal(n, m);
        assert_memory_equal(before, after, n * sizeof *before);
        for (int i = 0; accumulate > 1 && i < k.step.adamw.count; i++) {
            double sum = 1;
            mx_enter();
            assert_int_equal(mx_item(mx_sum_all(mx_abs(k.step.sums[i])), &sum, &e), 0);
            mx_leave(MX_NONE);
            assert_true(sum == 0.0);
        }
        free(before);
        free(after);
        batch_release(&b);
        kit_close(&k);
    }
    struct err e = {0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

/* What is said when a step of this kind is given so much of what it needs. */
static void expect_refusal(const char *dir, const struct setting *s, double part, int batch,
                           const char *text, const char *hint)
{
    struct err e = {0};
    struct model_kit k;
    struct memory_plan p;
    kit_open(&k, dir, s);
    k.c.batch = batch;
    struct batch b = make_batch(s, s->rows, s->len);
    assert_int_equal(memory_plan_arrays(&p, &k.step, &k.c, &e), 0);
    assert_int_equal(memory_plan_rehearse(&p, &k.step, &b, &k.c, &e), 0);
    int64_t needs = p.total, arrays = p.total - p.activations;
    k.c.device_memory = part > 0 ? arrays + (int64_t)((double)(needs - arrays) * part)
                                 : (int64_t)((double)arrays * -part);
    assert_int_equal(memory_plan_arrays(&p, &k.step, &k.c, &e), 0);
    assert_int_equal(p.device, k.c.device_memory);
    assert_int_equal(memory_plan_rehearse(&p, &k.step, &b, &k.c, &e), -1);
    assert_err(e, ERR_SPACE, text);
    if (!strstr(e.hint, hint))
        fail_msg("found hint: %s", e.hint);
    batch_release(&b);
    kit_close(&k);
}

static void test_memory_plan__too_little_memory_is_refused(void **state)
{
    (void)state;
    char *dir = make_model();
    const struct setting rows = {.rows = 8, .len = 160};
    struct setting s = rows;
    expect_refusal(dir, &s, 0.5, 8, "most of it for the activations", "checkpointing: yes");
    s.checkpoints = true;
    expect_refusal(dir, &s, 0.5, 8, "most of it for the activations", "accumulate: ");
    s.rows = 1;
    s.len = 640;
    expect_refusal(dir, &s, 0.5, 1, "too little memory: a step needs ", "max_tokens: ");
    expect_refusal(dir, &rows, -0.5, 8, "most of it for the weights", "quantize: 4bit");
    s = (struct setting){.rows = 1, .len = 32, .is_full = true};
    expect_refusal(dir, &s, -0.5, 1, "most of it for the optimizer", "method: lora");
    char *whisper = make_whisper();
    s = (struct setting){.rows = 4, .len = 96, .crosses = true, .checkpoints = true};
    expect_refusal(whisper, &s, 0.6, 4, "too little memory: a step needs ", "accumulate: ");
    s.rows = 1;
    s.len = 440;
    s.trains_towers = true;
    expect_refusal(whisper, &s, 0.6, 1, "too little memory: a step needs ", "audio_length: clip");
    struct err e = {0};
    assert_int_equal(dir_remove(whisper, &e), 0);
    free(whisper);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

/* Before they are read. */
static void test_memory_plan__weights_that_do_not_fit(void **state)
{
    (void)state;
    struct err e = {0};
    char model[] = "tests/data/score/model";
    const char *const none[] = {NULL}, *const audio[] = {"audio", NULL};
    struct config c = {.model = model, .device_memory = 1000};
    assert_int_equal(session_use_device(DEVICE_CPU, &e), 0);
    assert_int_equal(memory_plan_check_weights(&c, none, &e), -1);
    assert_err(e, ERR_SPACE, "the weights alone need ");
    /* The least that is enough, and what it is without a tower. */
    int64_t low[2], high;
    for (int i = 0; i < 2; i++) {
        low[i] = 0;
        high = 1 << 28;
        while (high - low[i] > 1) {
            c.device_memory = (low[i] + high) / 2;
            struct err tried = {0};
            *(memory_plan_check_weights(&c, i ? audio : none, &tried) ? &low[i] : &high) =
                c.device_memory;
        }
    }
    assert_true(low[1] < low[0]);
    c.init = INIT_RANDOM;
    c.device_memory = 1000;
    e = (struct err){0};
    assert_int_equal(memory_plan_check_weights(&c, none, &e), 0);
}

static void test_memory_plan__a_part_of_a_batch(void **state)
{
    (void)state;
    const struct setting s = {.hears = true, .sees = true};
    struct batch b = make_batch(&s, 4, 128), cut;
    assert_true(batch_cut(&cut, &b, 0.5));
    assert_int_equal(cut.rows, 2);
    assert_int_equal(cut.clips, 2);
    assert_int_equal(cut.pictures, 2);
    assert_int_equal(cut.targets, 2 * 63);
    assert_int_equal(cut.soft[128 + 4 + 3], SLOTS + 3);
    assert_int_equal(cut.soft[128 + 50 + 3], 2 * SLOTS + PICTURE_SLOTS + 3);
    assert_memory_equal(cut.tokens, b.tokens, 2 * 128 * sizeof *b.tokens);
    batch_release(&cut);
    batch_release(&b);
    b = make_batch(&s, 1, 128);
    assert_true(batch_cut(&cut, &b, 0.25));
    assert_int_equal(cut.len, 32);
    assert_int_equal(cut.clips, 1);
    assert_int_equal(cut.pictures, 0);
    assert_int_equal(cut.supervised, 16);
    for (int i = 0; i < cut.targets; i++)
        assert_true(cut.target_rows[i] >= 16 && cut.target_rows[i] < 32);
    batch_release(&cut);
    batch_release(&b);
}

/* Rows of an encoder-decoder keep their windows, whole. */
static void test_memory_plan__a_part_of_a_batch_of_windows(void **state)
{
    (void)state;
    const struct setting s = {.crosses = true};
    struct batch b = make_batch(&s, 4, 128), cut;
    for (size_t i = 0; i < (size_t)b.clips * (size_t)b.frames * 80; i++)
        b.mel[i] = (float)i;
    assert_true(batch_cut(&cut, &b, 0.5));
    assert_int_equal(cut.rows, 2);
    assert_int_equal(cut.clips, 2);
    assert_int_equal(cut.frames, b.frames);
    assert_memory_equal(cut.mel, b.mel, 2 * (size_t)b.frames * 80 * sizeof *b.mel);
    assert_null(cut.soft);
    assert_int_equal(cut.targets, 2 * 63);
    batch_release(&cut);
    batch_release(&b);
    b = make_batch(&s, 1, 128);
    assert_true(batch_cut(&cut, &b, 0.25));
    assert_int_equal(cut.len, 32);
    assert_int_equal(cut.clips, 1);
    assert_int_equal(cut.supervised, 16);
    batch_release(&cut);
    batch_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_plan__is_near_the_peak),
        cmocka_unit_test(test_memory_plan__rehearsal_changes_nothing),
        cmocka_unit_test(test_memory_plan__too_little_memory_is_refused),
        cmocka_unit_test(test_memory_plan__weights_that_do_not_fit),
        cmocka_unit_test(test_memory_plan__a_part_of_a_batch),
        cmocka_unit_test(test_memory_plan__a_part_of_a_batch_of_windows),
    };
    prints_table = getenv("MEMORY_PLAN_TABLE") != NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
