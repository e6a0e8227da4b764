/* Whisper against transformers: activations, logits, loss, gradients, ten steps, generation. */
#include "gemma4_fixture.h"

#include "base/dir.h"
#include "base/file.h"

static const char *const KINDS[] = {WHISPER_V2, WHISPER_V3};
enum { KIND_COUNT = 2 };

/* ------------------------------------------------------------ activations -- */

enum { PLACES_MAX = 100, PLACE_NAME = 100 };

/* The last array of every place. */
struct places {
    char name[PLACES_MAX][PLACE_NAME];
    mx_array last[PLACES_MAX];
    int count;
};

static void note_place(void *arg, const char *place, mx_array last)
{
    struct places *p = arg;
    char name[PLACE_NAME];
    int i = 0;

    snprintf(name, sizeof name, "act.%s", place);
    while (i < p->count && strcmp(p->name[i], name) != 0)
        i++;
    assert_true(i < PLACES_MAX);
    memcpy(p->name[i], name, sizeof name);
    p->last[i] = last;
    if (i == p->count)
        p->count++;
}

static void test_whisper_model__activations_equal(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct err e = {0};
        struct fixture f;
        struct places *p = xcalloc(1, sizeof *p);
        int compared = 0, expected = 0;

        fixture_open(&f, KINDS[k]);
        mx_watch(note_place, p);
        mx_array h = model_hidden(f.model, &f.in);
        mx_at("end");
        mx_watch(NULL, NULL);
        assert_int_equal(mx_eval(&h, 1, &e), 0);
        for (int i = 0; i < p->count; i++) {
            if (!safetensors_find(f.reference, p->name[i]))
                continue;
            assert_same(&f, p->last[i], p->name[i], 1e-5);
            compared++;
        }
        for (int i = 0; i < safetensors_count(f.reference); i++)
            expected += strncmp(safetensors_at(f.reference, i)->name, "act.", 4) == 0;
        assert_int_equal(compared, expected);
        assert_same(&f, model_hear(f.model, &f.in), "act.encoder.layer_norm", 1e-5);
        free(p);
        fixture_close(&f);
    }
}

static void test_whisper_model__bfloat16_stays_bfloat16(void **state)
{
    struct err e = {0};
    struct model_options o = {.dtype = MX_BFLOAT16};
    struct fixture f;
    size_t n, k;
    (void)state;
    fixture_open(&f, WHISPER_V2);
    struct model *m = model_open(WHISPER_V2, &o, &e);
    assert_ok(e);
    assert_int_equal(mx_dtype(model_hear(m, &f.in)), MX_BFLOAT16);
    assert_int_equal(nn_params_train(&m->params, NULL, 0, &e), 0);     /* float32 masters */
    assert_int_equal(mx_dtype(model_hear(m, &f.in)), MX_BFLOAT16);
    assert_int_equal(mx_dtype(model_hidden(m, &f.in)), MX_BFLOAT16);
    float *got = read_floats(model_logprobs(m, &f.in), &n);
    float *want = fixture_floats(&f, "logprobs", &k);
    assert_int_equal(n, k);
    assert_true(relative_error(got, want, n) < 0.1);
    free(got);
    free(want);
    model_close(m);
    fixture_close(&f);
}

/* ------------------------------------------------------- logits and losses -- */

static void test_whisper_model__logits_and_loss_equal(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct fixture f;
        mx_array loss;
        fixture_open(&f, KINDS[k]);
        mx_array first =
            mx_slice(model_hidden(f.model, &f.in), 1, 0, fixture_find(&f, "logits")->shape[1]);
        assert_same(&f, model_logits(f.model, first), "logits", 1e-5);
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
        fixture_loss(&f, NULL, 0, &loss, 1);
        assert_same(&f, loss, "loss", 1e-6);
        f.model->label_smoothing = 0.1;
        fixture_loss(&f, NULL, 0, &loss, 1);
        assert_same(&f, loss, "smoothed", 1e-6);
        /* Scores are those of the labels themselves. */
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
        fixture_close(&f);
    }
}

static void test_whisper_model__kept_rows_are_the_same(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct fixture f;
        fixture_open(&f, KINDS[k]);
        fixture_keep(&f);
        assert_true(mx_dim(f.in.kept, 1) < f.T);
        assert_int_equal(mx_dim(model_hidden(f.model, &f.in), 1), mx_dim(f.in.kept, 1));
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
        fixture_close(&f);
    }
}

/* What was heard before is read in place of the sound. */
static void test_whisper_model__heard_before_is_the_same(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, WHISPER_V3);
    f.in.heard = model_hear(f.model, &f.in);
    f.in.mel = MX_NONE;
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    fixture_close(&f);
}

static void test_whisper_model__cut_window_has_cut_positions(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct fixture f;
        fixture_open(&f, KINDS[k]);
        int frames = *(const int32_t *)fixture_find(&f, "cut_frames")->data;
        f.in.mel = mx_slice(f.in.mel, 1, 0, frames);
        assert_same(&f, model_hear(f.model, &f.in), "cut_encoder", 1e-5);
        assert_same(&f, model_logprobs(f.model, &f.in), "cut_logprobs", 1e-5);
        f.in.mel = mx_slice(f.in.mel, 1, 0, 7);         /* the last position has one frame */
        assert_int_equal(mx_dim(model_hear(f.model, &f.in), 1), 4);
        fixture_close(&f);
    }
}

/* -------------------------------------------------------------- gradients -- */

static void check_gradients(struct fixture *f, const char *kind, bool has_all)
{
    const struct nn_params *p = &f->model->params;
    mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
    int compared = 0, expected = 0;

    fixture_gradients(f, grads);
    for (int i = 0; i < p->trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, kind, p->trainable[i]->name);
        if (!has_all && !safetensors_find(f->reference, name))
            continue;
        assert_same(f, grads[i], name, 2e-5);
        compared++;
    }
    for (int i = 0; i < safetensors_count(f->reference); i++) {
        const char *name = safetensors_at(f->reference, i)->name;
        expected += strncmp(name, kind, strlen(kind)) == 0 && name[strlen(kind)] == '.';
    }
    assert_int_equal(compared, expected);
    assert_true(compared > 0);
    free(grads);
}

/* With and without blocks that are computed again, with all rows and with those that count. */
static void check_all_ways(struct fixture *f, const char *kind)
{
    struct fixture kept;
    check_gradients(f, kind, true);
    f->model->checkpointing = true;
    check_gradients(f, kind, true);
    kept = *f;
    fixture_keep(&kept);
    check_gradients(&kept, kind, true);
    f->model->checkpointing = false;
    check_gradients(&kept, kind, true);
}

static void test_whisper_model__full_gradients_and_ten_steps_equal(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct err e = {0};
        struct fixture f;
        fixture_open(&f, KINDS[k]);
        assert_int_equal(nn_params_train(&f.model->params, NULL, 0, &e), 0);
        check_all_ways(&f, "grad");
        f.model->label_smoothing = 0.1;
        check_gradients(&f, "smoothed_grad", false);
        f.model->label_smoothing = 0;
        fixture_ten_steps(&f, "full_losses", 1e-3, 1e-5);
        fixture_close(&f);
    }
}

static void test_whisper_model__adapter_gradients_and_ten_steps_equal(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct fixture f;
        mx_array loss;
        fixture_open(&f, KINDS[k]);
        fixture_adapt(&f);
        fixture_loss(&f, NULL, 0, &loss, 1);
        assert_same(&f, loss, "lora_loss", 1e-6);
        check_all_ways(&f, "lora_grad");
        fixture_ten_steps(&f, "lora_losses", 1e-3, 1e-5);
        for (int i = 0; i < f.model->params.trainable_count; i++) {
            char name[600];
            fixture_name(name, sizeof name, "lora_final", f.model->params.trainable[i]->name);
            assert_same(&f, f.model->params.trainable[i]->slot, name, 1e-4);
        }
        fixture_close(&f);
    }
}

/* A frozen encoder: the decoder's gradients are those of before, also over cached sound. */
static void test_whisper_model__decoder_alone(void **state)
{
    struct err e = {0};
    struct fixture f;
    char *towers[] = {"language"};
    (void)state;
    fixture_open(&f, WHISPER_V2);
    assert_int_equal(nn_params_train(&f.model->params, towers, 1, &e), 0);
    const struct nn_params *p = &f.model->params;
    mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
    for (int cached = 0; cached < 2; cached++) {
        if (cached)
            f.in.heard = model_hear(f.model, &f.in);
        for (int again = 0; again < 2; again++) {
            f.model->checkpointing = again;
            fixture_gradients(&f, grads);
            for (int i = 0; i < p->trainable_count; i++) {
                char name[600];
                fixture_name(name, sizeof name, "grad", p->trainable[i]->name);
                assert_null(strstr(name, "encoder.layers"));
                assert_same(&f, grads[i], name, 2e-5);
            }
        }
    }
    free(grads);
    fixture_close(&f);
}

/* ---------------------------------------------------------------- dropout -- */

static double loss_with(struct fixture *f, mx_array key, bool checkpointing, float **grads,
                        size_t *count)
{
    struct err e = {0};
    double loss;
    struct nn_params *p = &f->model->params;
    mx_array *all = xcalloc((size_t)p->trainable_count, sizeof *all);

    nn_dropout_key(p, key);
    f->model->checkpointing = checkpointing;
    mx_array l = fixture_gradients(f, all);
    assert_int_equal(mx_item(l, &loss, &e), 0);
    assert_ok(e);
    if (grads) {
        struct nn_param *const *at = p->trainable;
        int i = 0;
        while (strcmp(at[i]->name, "model.encoder.layers.0.fc1.weight") != 0)
            i++;
        *grads = read_floats(all[i], count);
    }
    nn_dropout_key(p, MX_NONE);
    free(all);
    return loss;
}

/* The JSON object in `data`, which is freed, with `text` merged into it. */
static char *changed(char *data, size_t *size, const char *text)
{
    struct err e = {0};
    struct buf out;
    json_t *c = json_read_text("config", data, *size, &e);
    json_t *more = json_read_text("more", text, strlen(text), &e);

    assert_ok(e);
    json_object_update(c, more);
    buf_init(&out, 1 << 20);
    json_write_pretty(c, &out);
    json_decref(c);
    json_decref(more);
    free(data);
    return buf_take(&out, size);
}

/* v2's folder with another config. */
static char *folder_with(const char *text)
{
    static const char *const files[] = {"config.json", "model.safetensors",
                                        "reference.safetensors"};
    struct err e = {0};
    char *dir = testing_folder();

    for (int i = 0; i < 3; i++) {
        char *from = path_join(WHISPER_V2, files[i]), *to = path_join(dir, files[i]);
        size_t size;
        char *data = file_read(from, 1 << 24, &size, &e);
        assert_ok(e);
        if (i == 0)
            data = changed(data, &size, text);
        assert_int_equal(file_write(to, data, size, &e), 0);
        free(data);
        free(from);
        free(to);
    }
    return dir;
}

static void remove_folder(char *dir)
{
    struct err e = {0};
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

static void check_dropout(const char *rates)
{
    struct err e = {0};
    struct fixture f;
    char *dir = folder_with(rates);
    float *plain, *again;
    size_t n, m;

    fixture_open_with(&f, dir, (struct model_options){.dropout = -1});
    assert_true(f.model->facts.dropout > 0);
    assert_int_equal(nn_params_train(&f.model->params, NULL, 0, &e), 0);
    const float *loss = fixture_find(&f, "loss")->data;

    assert_near(loss_with(&f, MX_NONE, false, NULL, NULL), *loss, 1e-5 * *loss);
    double one = loss_with(&f, mx_random_key(1), false, &plain, &n);
    assert_true(fabs(one - *loss) > 1e-4);
    assert_near(loss_with(&f, mx_random_key(1), false, NULL, NULL), one, 0);
    int others = 0;             /* few layers are often dropped alike */
    for (uint64_t k = 2; k < 9; k++)
        others += fabs(loss_with(&f, mx_random_key(k), false, NULL, NULL) - one) > 1e-4;
    assert_true(others >= 2);
    assert_near(loss_with(&f, mx_random_key(1), true, &again, &m), one, 1e-6 * one);
    assert_int_equal(n, m);
    assert_true(relative_error(again, plain, n) < 1e-5);
    free(plain);
    free(again);
    fixture_close(&f);
    remove_folder(dir);
}

static void test_whisper_model__dropout_is_a_function_of_its_key(void **state)
{
    (void)state;
    check_dropout("{\"dropout\": 0.2}");
    check_dropout("{\"attention_dropout\": 0.3}");
    check_dropout("{\"activation_dropout\": 0.3}");
    check_dropout("{\"encoder_layerdrop\": 0.5, \"decoder_layerdrop\": 0.5}");
    check_dropout("{\"dropout\": 0.1, \"attention_dropout\": 0.2, \"activation_dropout\": 0.1}");
}

/* Weights in which each sub-layer adds a constant show what is dropped, and how often. */
static void test_whisper_model__dropout_s_rate(void **state)
{
    struct err e = {0};
    struct model_options o = {.dtype = MX_FLOAT32, .dropout = 0.25};
    enum { TRIES = 40 };
    (void)state;
    mx_enter();
    struct model *m = model_open(WHISPER_EN, &o, &e);
    assert_ok(e);
    assert_near(m->facts.dropout, 0.25, 0);
    for (int i = 0; i < m->params.count; i++)           /* x is 0, the MLP adds 1 */
        mx_set(m->params.at[i].slot, mx_zeros_like(m->params.at[i].slot));
    struct nn_param *b = nn_params_find(&m->params, "model.encoder.layers.0.fc2.bias");
    struct nn_param *scale = nn_params_find(&m->params, "model.encoder.layer_norm.weight");
    mx_set(b->slot, mx_full(1, MX_FLOAT32, 16));
    mx_set(scale->slot, mx_full(1, MX_FLOAT32, 16));

    struct model_input in = {.tokens = mx_zeros(MX_INT32, 1, 1),
                             .mel = mx_zeros(MX_FLOAT32, 1, 200, 80)};
    int dropped = 0, all = 0;
    for (int k = 0; k < TRIES; k++) {
        size_t n;
        in.dropout_key = mx_random_key((uint64_t)k);
        float *x = read_floats(m->family->hear(m->self, &in), &n);
        /* After the norm two values are left a row: below the mean lies what was dropped. */
        for (size_t i = 0; i < n; i++)
            dropped += x[i] < 0;
        all += (int)n;
        free(x);
    }
    double rate = (double)dropped / all, deviation = sqrt(0.25 * 0.75 / all);
    /* Rows with nothing dropped, or everything, are all 0 after the norm. */
    double lost = pow(0.25, 16);
    assert_near(rate, 0.25 - lost, 4 * deviation);
    model_close(m);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

static void keyed_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct fixture *f = arg;
    mx_array grads[400];
    assert_int_equal(n_in, 1);
    nn_dropout_key(&f->model->params, in[0]);
    out[0] = fixture_gradients(f, grads);
    nn_dropout_key(&f->model->params, MX_NONE);
    out[1] = grads[0];
    assert_int_equal(n_out, 2);
}

/* A compiled step drops by the key that it is given, not by the one it was made with. */
static void test_whisper_model__dropout_in_compiled_functions(void **state)
{
    struct err e = {0};
    struct fixture f;
    (void)state;
    fixture_open_with(&f, WHISPER_V2, (struct model_options){.dropout = 0.3});
    assert_int_equal(nn_params_train(&f.model->params, NULL, 0, &e), 0);
    f.model->checkpointing = true;
    struct mx_compiled *c = mx_compile(keyed_loss, &f, (struct mx_arrays){0});
    for (uint64_t k = 1; k < 4; k++) {
        mx_array key = mx_random_key(k), out[2];
        double loss, want = loss_with(&f, key, true, NULL, NULL);
        mx_call(c, (struct mx_arrays){&key, 1}, out, 2);
        assert_int_equal(mx_item(out[0], &loss, &e), 0);
        assert_ok(e);
        assert_near(loss, want, 1e-6 * want);
    }
    mx_compiled_free(c);
    fixture_close(&f);
}

/* ------------------------------------------------------------- generation -- */

static void check_continues(struct fixture *f, struct model_cache *c)
{
    struct err e = {0};
    const struct safetensors_tensor *t = fixture_find(f, "generated");
    const int32_t *want = t->data;
    int steps = t->shape[1], live = 0;
    mx_array next = mx_slot(MX_NONE);

    for (int i = 0; i < steps; i++) {
        int32_t got[16];
        mx_enter();
        mx_array h =
            i ? model_decode(f->model, c, next) : model_prefill(f->model, c, &f->in, f->lengths);
        mx_array ids = mx_argmax(model_logits(f->model, h), -1, false);
        mx_set(next, mx_astype(mx_leave(ids), MX_INT32));
        if (mx_read(next, MX_INT32, got, (size_t)f->B * sizeof *got, &e))
            fail_msg("%s", e.text);
        for (int b = 0; b < f->B; b++)
            assert_int_equal(got[b], want[b * steps + i]);
        if (i == 1)
            live = mx_live();
        if (i > 1)
            assert_int_equal(mx_live(), live + 2 * (i - 1));    /* ids and the cast of each step */
    }
    mx_slot_free(next);
}

static void test_whisper_model__generation_equals(void **state)
{
    (void)state;
    for (int k = 0; k < KIND_COUNT; k++) {
        struct fixture f;
        fixture_open(&f, KINDS[k]);
        struct model_cache *c = model_cache_new(f.model, f.B, f.T + 12);
        check_continues(&f, c);
        f.in.heard = model_hear(f.model, &f.in);        /* again, over sound that is known */
        f.in.mel = MX_NONE;
        check_continues(&f, c);
        model_cache_free(f.model, c);
        fixture_close(&f);
    }
}

/* The state of a prompt's first token, as detection of languages asks for it. */
static void test_whisper_model__prompts_of_one_token(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, WHISPER_V2);
    mx_array first = mx_slice(model_hidden(f.model, &f.in), 1, 0, 1);           /* [B,1,D] */
    f.in.tokens = mx_slice(f.in.tokens, 1, 0, 1);
    f.in.heard = model_hear(f.model, &f.in);
    struct model_cache *c = model_cache_new(f.model, f.B, 1);
    mx_array h = model_prefill(f.model, c, &f.in, mx_full(1, MX_INT32, f.B));
    size_t n, m;
    float *got = read_floats(h, &n), *want = read_floats(first, &m);
    assert_int_equal(n, m);
    assert_true(relative_error(got, want, n) < 1e-5);
    free(got);
    free(want);
    model_cache_free(f.model, c);
    fixture_close(&f);
}

/* Rows go on beyond the last position without harm: they have ended. */
static void test_whisper_model__no_position_is_no_harm(void **state)
{
    struct err e = {0};
    struct fixture f;
    double sum;
    (void)state;
    fixture_open(&f, WHISPER_V3);
    f.in.heard = model_hear(f.model, &f.in);
    struct model_cache *c = model_cache_new(f.model, f.B, 90);
    mx_array h = model_prefill(f.model, c, &f.in, f.lengths);
    for (int i = f.T; i < 90; i++)
        h = model_decode(f.model, c, mx_zeros(MX_INT32, f.B));
    assert_int_equal(mx_item(mx_sum_all(h), &sum, &e), 0);
    assert_true(isfinite(sum));
    h = model_decode(f.model, c, mx_zeros(MX_INT32, f.B));
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, "the cache has 90");
    model_cache_free(f.model, c);
    fixture_close(&f);
}

/* ------------------------------------------------------------ what is read -- */

static void expect_failure(struct fixture *f, const char *part)
{
    struct err e = {0};
    mx_array h = model_hidden(f->model, &f->in);
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, part);
}

static void test_whisper_model__batches_that_do_not_fit(void **state)
{
    struct fixture f;
    struct model_input in;
    (void)state;
    fixture_open(&f, WHISPER_V3);
    in = f.in;
    f.in.mel = MX_NONE;
    expect_failure(&f, "no sound");
    f.in.mel = mx_slice(in.mel, 0, 0, 1);
    expect_failure(&f, "1 clips for 2 rows");
    f.in.mel = mx_pad(in.mel, 1, 0, 1, 0);
    expect_failure(&f, "clips of 201 frames");
    f.in.mel = mx_slice(in.mel, 2, 0, 80);
    expect_failure(&f, "80");
    f.in = in;
    f.in.tokens = mx_pad(in.tokens, 1, 0, 60, 0);
    expect_failure(&f, "rows of 84 tokens, but the decoder has 80");
    f.in = in;
    f.in.segment = mx_zeros_like(in.tokens);
    expect_failure(&f, "rows of several records");
    fixture_close(&f);
}

/* Fresh weights: the encoder's positions are sinusoids, everything else is small. */
static void test_whisper_model__random_weights(void **state)
{
    struct err e = {0};
    struct model_options o = {.dtype = MX_FLOAT32, .init_random = true, .seed = 3};
    size_t n;
    (void)state;
    mx_enter();
    struct model *m = model_open(WHISPER_EN, &o, &e);
    assert_ok(e);
    struct nn_param *p = nn_params_find(&m->params, "model.encoder.embed_positions.weight");
    assert_int_equal(p->role, NN_BUFFER);
    float *x = read_floats(p->slot, &n);
    assert_int_equal(n, 100 * 16);
    /* 10000^(-i/7) for i of 0 .. 7: the first wave has period 2π, the last 20000π. */
    assert_near(x[0], 0, 1e-6);
    assert_near(x[8], 1, 1e-6);
    assert_near(x[16], 0.84147098, 1e-6);
    assert_near(x[16 + 7], 1e-4, 1e-9);
    assert_near(x[16 * 99 + 1], 0.98952806, 1e-5);      /* sin(99 · 10000^(-1/7)) */
    assert_near(x[16 * 57 + 13], 0.99686521, 1e-5);
    free(x);
    p = nn_params_find(&m->params, "model.decoder.embed_tokens.weight");
    x = read_floats(mx_mean(mx_square(mx_flatten(p->slot, 0, 1)), 0, false), &n);
    assert_near(sqrt((double)*x), 0.25, 0.01);
    free(x);
    p = nn_params_find(&m->params, "model.decoder.embed_positions.weight");
    x = read_floats(mx_mean(mx_square(mx_flatten(p->slot, 0, 1)), 0, false), &n);
    assert_near(sqrt((double)*x), 0.02, 0.002);
    free(x);
    struct model_input in = {.tokens = mx_zeros(MX_INT32, 1, 4),
                             .mel = mx_random_normal_(mx_random_key(1), 1, (int[]){1, 50, 80}, 3)};
    x = read_floats(model_hidden(m, &in), &n);
    for (size_t i = 0; i < n; i++)
        assert_true(isfinite(x[i]));
    free(x);
    model_close(m);
    mx_leave(MX_NONE);
    assert_int_equal(mx_live(), 0);
}

/* large-v3 lies on the Hub in float16, and some files hold the tied head, too. */
static void test_whisper_model__float16_and_a_copy_of_the_head(void **state)
{
    struct err e = {0};
    struct fixture f, half;
    char *dir = folder_with("{}"), *path = path_join(dir, "model.safetensors");
    (void)state;
    fixture_open(&f, WHISPER_V2);
    const struct nn_params *p = &f.model->params;
    struct safetensors_item *items = xcalloc((size_t)p->count + 1, sizeof *items);
    for (int i = 0; i < p->count; i++)
        items[i] = (struct safetensors_item){p->at[i].name, p->at[i].slot, MX_FLOAT16};
    items[p->count] = (struct safetensors_item){
        "proj_out.weight",
        nn_params_find(p, "model.decoder.embed_tokens.weight")->slot,
        MX_FLOAT16,
    };
    if (safetensors_write(path, items, p->count + 1, NULL, 0, NULL, &e))
        fail_msg("%s", e.text);
    free(items);
    fixture_close(&f);

    fixture_open(&half, dir);
    assert_int_equal(half.model->params.at[0].stored, MX_FLOAT16);
    assert_int_equal(mx_dtype(half.model->params.at[0].slot), MX_FLOAT32);
    assert_same(&half, model_logprobs(half.model, &half.in), "logprobs", 1e-2);
    fixture_close(&half);
    free(path);
    remove_folder(dir);
}

/* --------------------------------------------------------------- adapters -- */

static int attached(struct fixture *f, char *const *towers, int tower_count, char *const *targets,
                    int target_count)
{
    struct err e = {0};
    struct nn_lora_config c = {.rank = 2,
                               .alpha = 4,
                               .towers = towers,
                               .tower_count = tower_count,
                               .targets = targets,
                               .target_count = target_count};
    if (nn_lora_attach(&f->model->params, &c, &e))
        fail_msg("%s", e.text);
    return f->model->params.trainable_count / 2;
}

/* v2 has two layers of 6 linear ones in the encoder and two of 10 in the decoder. */
static void test_whisper_model__adapters_by_name(void **state)
{
    static const struct {
        int first, towers, targets;     /* first: 0 language, 1 audio */
        char *target[2];
        int modules;
    } cases[] = {
        {0, 1, 0, {NULL}, 20},
        {0, 2, 0, {NULL}, 32},
        {0, 2, 2, {"q_proj", "v_proj"}, 12},
        {0, 1, 1, {"fc1"}, 2},
        {0, 2, 1, {"out_proj"}, 6},
        {0, 1, 1, {"*.encoder_attn.*"}, 8},
        {1, 1, 1, {"model.encoder.layers.1.self_attn.k_proj"}, 1},
    };
    char *towers[] = {"language", "audio"}, *conv[] = {"conv1"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        fixture_open(&f, WHISPER_V2);
        assert_int_equal(attached(&f, towers + cases[i].first, cases[i].towers, cases[i].target,
                                  cases[i].targets),
                         cases[i].modules);
        fixture_close(&f);
    }
    struct err e = {0};
    struct fixture f;
    fixture_open(&f, WHISPER_V2);
    struct nn_lora_config c = {.rank = 2,
                               .alpha = 4,
                               .towers = towers,
                               .tower_count = 2,
                               .targets = conv,
                               .target_count = 1};
    assert_int_equal(nn_lora_attach(&f.model->params, &c, &e), -1);
    assert_non_null(strstr(e.text, "conv1"));
    fixture_close(&f);
}

/* Weights in few bits: the linear layers of all blocks, nothing else; adapters train on them. */
static void test_whisper_model__quantised_with_adapters(void **state)
{
    struct fixture f;
    size_t n, m;
    char *towers[] = {"language", "audio"};
    char *dir = folder_with("{\"d_model\": 64, \"encoder_ffn_dim\": 96, \"decoder_ffn_dim\": 64,"
                            " \"encoder_attention_heads\": 2, \"decoder_attention_heads\": 4}");
    struct model_options o = {.init_random = true, .seed = 5};
    (void)state;
    fixture_open_with(&f, dir, o);
    float *want = read_floats(model_logprobs(f.model, &f.in), &m);
    fixture_close(&f);
    o.quantize_bits = 8;
    o.quantize_group = 32;
    fixture_open_with(&f, dir, o);
    int quantised = 0;
    for (int i = 0; i < f.model->params.count; i++)
        quantised += f.model->params.at[i].quant != NULL;
    assert_int_equal(quantised, 32);
    assert_null(nn_params_find(&f.model->params, "model.decoder.embed_tokens.weight")->quant);

    float *got = read_floats(model_logprobs(f.model, &f.in), &n);
    assert_int_equal(n, m);
    assert_true(relative_error(got, want, n) < 2e-2);
    free(got);
    free(want);

    assert_int_equal(attached(&f, towers, 2, NULL, 0), 32);
    mx_array *grads = xcalloc((size_t)f.model->params.trainable_count, sizeof *grads);
    f.model->checkpointing = true;
    fixture_gradients(&f, grads);
    for (int i = 0; i < f.model->params.trainable_count; i++) {
        bool is_b = strstr(f.model->params.trainable[i]->name, ".lora_B") != NULL;
        float *g = read_floats(grads[i], &n);
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += fabs((double)g[k]);
        assert_true(isfinite(sum) && (sum > 0) == is_b);        /* B starts at 0 */
        free(g);
    }
    free(grads);
    fixture_close(&f);
    remove_folder(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whisper_model__activations_equal),
        cmocka_unit_test(test_whisper_model__bfloat16_stays_bfloat16),
        cmocka_unit_test(test_whisper_model__logits_and_loss_equal),
        cmocka_unit_test(test_whisper_model__kept_rows_are_the_same),
        cmocka_unit_test(test_whisper_model__heard_before_is_the_same),
        cmocka_unit_test(test_whisper_model__cut_window_has_cut_positions),
        cmocka_unit_test(test_whisper_model__full_gradients_and_ten_steps_equal),
        cmocka_unit_test(test_whisper_model__adapter_gradients_and_ten_steps_equal),
        cmocka_unit_test(test_whisper_model__decoder_alone),
        cmocka_unit_test(test_whisper_model__dropout_is_a_function_of_its_key),
        cmocka_unit_test(test_whisper_model__dropout_s_rate),
        cmocka_unit_test(test_whisper_model__dropout_in_compiled_functions),
        cmocka_unit_test(test_whisper_model__generation_equals),
        cmocka_unit_test(test_whisper_model__prompts_of_one_token),
        cmocka_unit_test(test_whisper_model__no_position_is_no_harm),
        cmocka_unit_test(test_whisper_model__batches_that_do_not_fit),
        cmocka_unit_test(test_whisper_model__random_weights),
        cmocka_unit_test(test_whisper_model__float16_and_a_copy_of_the_head),
        cmocka_unit_test(test_whisper_model__adapters_by_name),
        cmocka_unit_test(test_whisper_model__quantised_with_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
