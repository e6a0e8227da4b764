/* Gemma 4 against transformers: activations, logits, loss, gradients, ten steps, generation. */
#include "gemma4_fixture.h"

/* Models that see; the first and the last hear, too. */
static const char *const SEEING[] = {E_MODEL, MOE_MODEL, DENSE_MODEL, UNIFIED_MODEL};
enum { SEEING_COUNT = 4 };

/* ------------------------------------------------------------ activations -- */

enum { PLACES_MAX = 200, PLACE_NAME = 200 };

/* The last array of every place; a place that comes again counts anew. */
struct places {
    char name[PLACES_MAX][PLACE_NAME];
    mx_array last[PLACES_MAX];
    int count;
};

/* Both layouts of names to the reference's: "act.language_model.layers.0.mlp". */
static void place_name(char *out, const char *place)
{
    if (strncmp(place, "model.language_model.", 21) == 0)
        snprintf(out, PLACE_NAME, "act.%s", place + 6);
    else if (strncmp(place, "model.", 6) == 0)
        snprintf(out, PLACE_NAME, "act.language_model.%s", place + 6);
    else
        snprintf(out, PLACE_NAME, "act.%s", place);
}

static void note_place(void *arg, const char *place, mx_array last)
{
    struct places *p = arg;
    char name[PLACE_NAME];
    int i = 0;

    place_name(name, place);
    while (i < p->count && strcmp(p->name[i], name) != 0)
        i++;
    assert_true(i < PLACES_MAX);
    memcpy(p->name[i], name, sizeof name);
    p->last[i] = last;
    if (i == p->count)
        p->count++;
}

/* Padding is nonsense on both sides, but other nonsense: 1 where a place's rows are real. */
static mx_array real_rows(const struct fixture *f, const char *name)
{
    mx_array keep = mx_less(mx_arange(0, f->T, 1, MX_INT32), mx_expand_dims(f->lengths, 1));
    if (strncmp(name, "act.vision_tower.", 17) == 0)
        keep = mx_greater_equal(mx_index(f->in.patch_at, 2, 0), mx_int(0));
    else if (strncmp(name, "act.audio_tower.", 16) == 0 || strcmp(name, "act.embed_audio") == 0)
        keep = mx_slice_step(f->in.frame_valid, 1, 0, mx_dim(f->in.frame_valid, 1), 4);
    return mx_astype(mx_expand_dims(keep, -1), MX_FLOAT32);
}

static void compare_place(const struct fixture *f, const char *name, mx_array last)
{
    mx_array keep = real_rows(f, name);
    size_t n, m;
    float *got = read_floats(mx_multiply(last, keep), &n);
    float *want = read_floats(mx_multiply(fixture_array(f, name, MX_FLOAT32), keep), &m);

    assert_int_equal(n, m);
    double error = relative_error(got, want, n);
    if (getenv("ATTUNE_TEST_VERBOSE"))
        print_message("%-70s %.1e\n", name, error);
    if (!(error < 1e-5))
        print_error("%s: relative error %g\n", name, error);
    assert_true(error < 1e-5);
    free(got);
    free(want);
}

static void check_activations(const char *dir)
{
    struct err e = {0};
    struct fixture f;
    struct places *p = xcalloc(1, sizeof *p);
    int compared = 0, expected = 0;

    fixture_open(&f, dir);
    mx_watch(note_place, p);
    mx_array h = model_hidden(f.model, &f.in);
    mx_at("end");
    mx_watch(NULL, NULL);
    assert_int_equal(mx_eval(&h, 1, &e), 0);
    for (int i = 0; i < p->count; i++) {
        if (!safetensors_find(f.reference, p->name[i]))
            continue;
        compare_place(&f, p->name[i], p->last[i]);
        compared++;
    }
    for (int i = 0; i < safetensors_count(f.reference); i++)
        expected += strncmp(safetensors_at(f.reference, i)->name, "act.", 4) == 0;
    assert_int_equal(compared, expected);
    free(p);
    fixture_close(&f);
}

static void test_gemma4__text_activations_equal(void **state)
{
    (void)state;
    check_activations(TEXT_MODEL);
}

static void test_gemma4__audio_activations_equal(void **state)
{
    (void)state;
    check_activations(AUDIO_MODEL);
}

static void test_gemma4__odd_activations_equal(void **state)
{
    (void)state;
    check_activations(ODD_MODEL);
}

static void test_gemma4__vision_activations_equal(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++)
        check_activations(SEEING[i]);
}

/* In bfloat16 nothing on the way turns float32 by accident, nor far from what it should be. */
static void test_gemma4__bfloat16_stays_bfloat16(void **state)
{
    struct err e = {0};
    struct model_options o = {.dtype = MX_BFLOAT16};
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++) {
        struct fixture f;
        size_t n, k;
        fixture_open(&f, SEEING[i]);
        struct model *m = model_open(SEEING[i], &o, &e);
        assert_ok(e);
        assert_int_equal(mx_dtype(model_see(m, &f.in)), MX_BFLOAT16);
        if (!mx_is_none(f.in.mel))
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
}

/* ------------------------------------------------------- logits and losses -- */

static void check_logits_with(const char *dir, enum model_mask mask, const char *suffix)
{
    struct err e = {0};
    struct fixture f;
    char name[2][64];

    fixture_open_with(&f, dir, (struct model_options){.mask = mask});
    snprintf(name[0], sizeof name[0], "logits%s", suffix);
    snprintf(name[1], sizeof name[1], "logprobs%s", suffix);
    mx_array logits = model_logits(f.model, model_hidden(f.model, &f.in));
    mx_array keep = mx_less(mx_arange(0, f.T, 1, MX_INT32), mx_expand_dims(f.lengths, 1));
    keep = mx_expand_dims(keep, -1);
    if (safetensors_find(f.reference, name[0])) {
        mx_array want = fixture_array(&f, name[0], MX_FLOAT32);
        assert_same(&f, mx_where(keep, logits, want), name[0], 1e-5);
    }
    assert_same(&f, model_logprobs(f.model, &f.in), name[1], 1e-5);
    mx_array loss;
    fixture_loss(&f, NULL, 0, &loss, 1);
    if (!*suffix)
        assert_same(&f, loss, "loss", 1e-5);
    assert_int_equal(mx_check(&e), 0);
    fixture_close(&f);
}

static void check_logits(const char *dir)
{
    check_logits_with(dir, MODEL_MASK_FORWARD, "");
}

static void test_gemma4__text_logits_equal(void **state)
{
    (void)state;
    check_logits(TEXT_MODEL);
}

static void test_gemma4__audio_logits_equal(void **state)
{
    (void)state;
    check_logits(AUDIO_MODEL);
}

static void test_gemma4__odd_logits_equal(void **state)
{
    (void)state;
    check_logits(ODD_MODEL);
}

static void test_gemma4__vision_logits_equal(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++)
        check_logits(SEEING[i]);
}

/* Models with a vision tower have one mask only. */
static void test_gemma4__mask_of_generate_equals(void **state)
{
    (void)state;
    check_logits_with(UNIFIED_MODEL, MODEL_MASK_GENERATE, "_generate");
    check_logits_with(DENSE_MODEL, MODEL_MASK_GENERATE, "");
}

/* -------------------------------------------------------------- gradients -- */

/* The reference calls what encoder-free models see with as modules are called, not as files. */
static void reference_name(const struct fixture *f, char *out, size_t size, const char *kind,
                           const char *param)
{
    static const char *const files[] = {"model.vision_embedder.", "model.embed_vision.embedding_"};
    static const char *const modules[] = {"model.embed_vision.",
                                          "model.embed_vision.multimodal_embedder.embedding_"};

    fixture_name(out, size, kind, param);
    for (int i = 0; f->model->facts.is_merged && i < 2; i++)
        if (strncmp(param, files[i], strlen(files[i])) == 0)
            snprintf(out, size, "%s.%s%s", kind, modules[i], param + strlen(files[i]));
}

static void check_gradients(struct fixture *f, const char *kind, double tolerance)
{
    const struct nn_params *p = &f->model->params;
    mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
    int compared = 0, expected = 0;

    fixture_gradients(f, grads);
    for (int i = 0; i < p->trainable_count; i++) {
        char name[600];
        reference_name(f, name, sizeof name, kind, p->trainable[i]->name);
        assert_same(f, grads[i], name, tolerance);
        compared++;
    }
    for (int i = 0; i < safetensors_count(f->reference); i++) {
        const char *name = safetensors_at(f->reference, i)->name;
        expected += strncmp(name, kind, strlen(kind)) == 0 && name[strlen(kind)] == '.';
    }
    assert_int_equal(compared, expected);
    free(grads);
}

static void freeze_language(struct fixture *f)
{
    struct nn_params *p = &f->model->params;
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->at[i].tower, "language") == 0)
            p->at[i].trainable = false;
    nn_params_sort(p);
}

static void check_all_gradients(const char *dir, bool checkpointing)
{
    struct err e = {0};
    struct fixture f;
    fixture_open(&f, dir);
    f.model->checkpointing = checkpointing;
    assert_int_equal(nn_params_train(&f.model->params, NULL, 0, &e), 0);
    if (f.model->facts.image_id >= 0)
        freeze_language(&f);            /* test_gemma4_text.c has its gradients */
    check_gradients(&f, "grad", 1e-4);
    if (!checkpointing && safetensors_find(f.reference, "full_losses"))
        fixture_ten_steps(&f, "full_losses", 1e-4, 1e-4);
    fixture_close(&f);
}

static void test_gemma4__text_full_gradients_equal(void **state)
{
    (void)state;
    check_all_gradients(TEXT_MODEL, false);
}

static void test_gemma4__audio_full_gradients_equal(void **state)
{
    (void)state;
    check_all_gradients(AUDIO_MODEL, false);
}

static void test_gemma4__checkpointed_gradients_equal(void **state)
{
    (void)state;
    check_all_gradients(TEXT_MODEL, true);
    check_all_gradients(AUDIO_MODEL, true);
    for (int i = 0; i < SEEING_COUNT; i++)
        check_all_gradients(SEEING[i], true);
}

static void test_gemma4__vision_full_gradients_equal(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++)
        check_all_gradients(SEEING[i], false);
}

static void check_adapter(const char *dir, double lr)
{
    struct fixture f;
    fixture_open(&f, dir);
    fixture_adapt(&f);
    mx_array loss;
    fixture_loss(&f, NULL, 0, &loss, 1);
    assert_same(&f, loss, "lora_loss", 1e-5);
    check_gradients(&f, "lora_grad", 1e-4);
    f.model->checkpointing = true;
    check_gradients(&f, "lora_grad", 1e-4);
    f.model->checkpointing = false;
    fixture_keep(&f);
    check_gradients(&f, "lora_grad", 1e-4);
    f.model->checkpointing = true;
    check_gradients(&f, "lora_grad", 1e-4);
    f.model->checkpointing = false;

    fixture_ten_steps(&f, "lora_losses", lr, 1e-4);
    for (int i = 0; i < f.model->params.trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, "lora_final", f.model->params.trainable[i]->name);
        if (i == 0 && !safetensors_find(f.reference, name))
            break;                      /* models that see: losses only */
        assert_same(&f, f.model->params.trainable[i]->slot, name, 1e-4);
    }
    fixture_close(&f);
}

static void test_gemma4__text_adapter_gradients_and_ten_steps_equal(void **state)
{
    (void)state;
    check_adapter(TEXT_MODEL, 1e-3);
}

static void test_gemma4__audio_adapter_gradients_and_ten_steps_equal(void **state)
{
    (void)state;
    check_adapter(AUDIO_MODEL, 1e-3);
}

static void test_gemma4__vision_adapter_gradients_and_ten_steps_equal(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++)
        check_adapter(SEEING[i], 2e-4);
}

/* ---------------------------------------------------- padding and skipping -- */

/* Row `b` by itself, without padding of tokens; its clips come with the batch's frames. */
static mx_array logprobs_of_row(const struct fixture *f, int b, int length, mx_array rows)
{
    struct model_input one = f->in;
    one.tokens = mx_slice(mx_slice(f->in.tokens, 0, b, b + 1), 1, 0, length);
    if (!mx_is_none(f->in.soft))
        one.soft = mx_slice(mx_slice(f->in.soft, 0, b, b + 1), 1, 0, length);
    mx_array h = model_hidden(f->model, &one);
    h = mx_take(mx_squeeze(h, 0), rows, 0);
    return model_logits(f->model, h);
}

static void check_rows(const char *dir)
{
    struct err e = {0};
    struct fixture f;
    fixture_open(&f, dir);
    const int32_t *lengths = fixture_find(&f, "lengths")->data;
    mx_array all = model_logits(f.model, model_hidden(f.model, &f.in));
    for (int b = 0; b < f.B; b++) {
        size_t n, m;
        mx_array rows = mx_arange(0, lengths[b], 1, MX_INT32);
        float *one = read_floats(logprobs_of_row(&f, b, lengths[b], rows), &n);
        mx_array of_batch = mx_slice(mx_index(all, 0, b), 0, 0, lengths[b]);
        float *padded = read_floats(of_batch, &m);
        assert_int_equal(n, m);
        assert_true(relative_error(padded, one, n) < 1e-5);
        free(one);
        free(padded);
    }
    assert_int_equal(mx_check(&e), 0);
    fixture_close(&f);
}

static void test_gemma4__padded_batch_equals_single_rows(void **state)
{
    (void)state;
    check_rows(TEXT_MODEL);
    check_rows(AUDIO_MODEL);
    check_rows(ODD_MODEL);
    for (int i = 0; i < SEEING_COUNT; i++)
        check_rows(SEEING[i]);
}

/* More frames behind every clip, and a clip that nobody asked for, change nothing. */
static void test_gemma4__padded_clips_change_nothing(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, AUDIO_MODEL);
    int N = mx_dim(f.in.mel, 0), F = mx_dim(f.in.mel, 1), slots = ((F + 1) / 2 + 1) / 2;
    int more = 57, wide = ((F + more + 1) / 2 + 1) / 2;
    f.in.mel = mx_pad(mx_pad(f.in.mel, 1, 0, more, 3.0), 0, 0, 1, -1.0);
    mx_array valid = mx_astype(f.in.frame_valid, MX_INT32);
    f.in.frame_valid = mx_astype(mx_pad(mx_pad(valid, 1, 0, more, 0.0), 0, 0, 1, 0.0), MX_BOOL);
    const int32_t *soft = fixture_find(&f, "soft")->data;
    int32_t *moved = xcalloc((size_t)(f.B * f.T), sizeof *moved);
    for (int i = 0; i < f.B * f.T; i++)
        moved[i] = soft[i] < 0 ? -1 : soft[i] / slots * wide + soft[i] % slots;
    f.in.soft = mx_from(moved, MX_INT32, (int[]){f.B, f.T}, 2);
    assert_int_equal(mx_dim(f.in.mel, 0), N + 1);
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    free(moved);
    fixture_close(&f);
}

static void test_gemma4__rows_without_loss_are_dropped(void **state)
{
    static const char *const dirs[] = {AUDIO_MODEL, E_MODEL, MOE_MODEL, DENSE_MODEL, UNIFIED_MODEL};
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct fixture f;
        fixture_open(&f, dirs[i]);
        fixture_keep(&f);
        mx_array h = model_hidden(f.model, &f.in);
        assert_int_equal(mx_dim(h, 1), mx_dim(f.in.kept, 1));
        assert_true(mx_dim(h, 1) < f.T);
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
        fixture_close(&f);
    }
}

/* ---------------------------------------------------------------- packing -- */

/* Row `b` of the batch goes to row b / 2 of the packed one, behind the row before it. */
struct packed {
    int rows, len;
    int start[8];                       /* of each row of the batch in its new row */
    int32_t *tokens, *soft, *segment, *position;
};

static void pack_rows(struct packed *p, const struct fixture *f)
{
    const int32_t *lengths = fixture_find(f, "lengths")->data;
    const int32_t *tokens = fixture_find(f, "tokens")->data, *soft = fixture_find(f, "soft")->data;

    *p = (struct packed){.rows = (f->B + 1) / 2};
    for (int b = 0; b < f->B; b++) {
        p->start[b] = b % 2 ? lengths[b - 1] : 0;
        p->len = lengths[b] + p->start[b] > p->len ? lengths[b] + p->start[b] : p->len;
    }
    p->len += 3;                        /* some padding behind every row */
    size_t n = (size_t)(p->rows * p->len);
    p->tokens = xcalloc(n, sizeof(int32_t));
    p->soft = xcalloc(n, sizeof(int32_t));
    p->segment = xcalloc(n, sizeof(int32_t));
    p->position = xcalloc(n, sizeof(int32_t));
    for (size_t i = 0; i < n; i++) {
        p->soft[i] = -1;
        p->segment[i] = 2;
        p->position[i] = (int32_t)(i % (size_t)p->len);
    }
    for (int b = 0; b < f->B; b++) {
        for (int t = 0; t < lengths[b]; t++) {
            int to = b / 2 * p->len + p->start[b] + t;
            p->tokens[to] = tokens[b * f->T + t];
            p->soft[to] = soft[b * f->T + t];
            p->segment[to] = b % 2;
            p->position[to] = t;
        }
    }
}

static void use_packed(struct fixture *f)
{
    const int32_t *rows = fixture_find(f, "target_rows")->data;
    int32_t *moved = xcalloc((size_t)f->R, sizeof *moved);
    struct packed p;

    pack_rows(&p, f);
    int shape[] = {p.rows, p.len};
    f->in.tokens = mx_from(p.tokens, MX_INT32, shape, 2);
    f->in.soft = mx_from(p.soft, MX_INT32, shape, 2);
    f->in.segment = mx_from(p.segment, MX_INT32, shape, 2);
    f->in.position = mx_from(p.position, MX_INT32, shape, 2);
    for (int r = 0; r < f->R; r++) {
        int b = rows[r] / f->T;
        moved[r] = b / 2 * p.len + p.start[b] + rows[r] % f->T;
    }
    f->in.target_rows = mx_from(moved, MX_INT32, (int[]){f->R}, 1);
    free(moved);
    free(p.tokens);
    free(p.soft);
    free(p.segment);
    free(p.position);
}

static void test_gemma4__packed_rows_with_media_equal_unpacked(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++) {
        struct fixture f;
        fixture_open(&f, SEEING[i]);
        use_packed(&f);
        assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
        fixture_adapt(&f);
        check_gradients(&f, "lora_grad", 1e-4);
        fixture_close(&f);
    }
    struct fixture f;
    fixture_open_with(&f, UNIFIED_MODEL, (struct model_options){.mask = MODEL_MASK_GENERATE});
    use_packed(&f);
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs_generate", 1e-5);
    fixture_close(&f);
}

/* ------------------------------------------------------ what comes from outside -- */

static void test_gemma4__rows_gathered_by_the_host_are_the_table_s(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, E_MODEL);
    const int32_t *tokens = fixture_find(&f, "tokens")->data;
    mx_array rows = model_rows(f.model, tokens, f.B * f.T);
    assert_false(mx_is_none(rows));
    f.in.per_layer = mx_reshape(rows, f.B, f.T, -1);
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    fixture_adapt(&f);
    check_gradients(&f, "lora_grad", 1e-4);
    fixture_close(&f);

    fixture_open(&f, DENSE_MODEL);      /* has no table */
    assert_true(mx_is_none(model_rows(f.model, tokens, 3)));
    fixture_close(&f);
}

static void test_gemma4__a_trained_table_has_no_rows_on_the_host(void **state)
{
    struct err e = {0};
    struct fixture f;
    int32_t tokens[] = {1, 2, 150};
    (void)state;
    fixture_open(&f, E_MODEL);
    assert_int_equal(nn_params_train(&f.model->params, NULL, 0, &e), 0);
    assert_true(mx_is_none(model_rows(f.model, tokens, 3)));
    fixture_close(&f);
}

/* Towers that are frozen may be run before the step: the others' gradients stay the same. */
static void test_gemma4__towers_run_before_are_the_same(void **state)
{
    struct err e = {0};
    struct fixture f;
    char *towers[] = {"projector"};
    (void)state;
    fixture_open(&f, E_MODEL);
    f.in.heard = model_hear(f.model, &f.in);
    f.in.seen = model_see(f.model, &f.in);
    f.in.mel = f.in.frame_valid = f.in.pixels = f.in.patch_at = MX_NONE;
    assert_same(&f, model_logprobs(f.model, &f.in), "logprobs", 1e-5);
    assert_int_equal(nn_params_train(&f.model->params, towers, 1, &e), 0);
    const struct nn_params *p = &f.model->params;
    mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
    fixture_gradients(&f, grads);
    for (int i = 0; i < p->trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, "grad", p->trainable[i]->name);
        assert_same(&f, grads[i], name, 1e-4);
    }
    free(grads);
    fixture_close(&f);
}

/* ------------------------------------------------------------- generation -- */

/* Models that see are not let to make placeholders of nothing. */
static mx_array without_placeholders(const struct fixture *f, mx_array logits)
{
    const struct model_facts *k = &f->model->facts;
    mx_array ids = mx_arange(0, mx_dim(logits, 1), 1, MX_INT32);

    if (k->image_id < 0)
        return logits;
    mx_array first = mx_greater_equal(ids, mx_int(k->image_id));        /* audio, video follow */
    mx_array is = mx_logical_and(first, mx_less_equal(ids, mx_int(k->video_id)));
    return mx_where(is, mx_float(-1e9), logits);
}

static void check_generation_with(const char *dir, enum model_mask mask, const char *name)
{
    struct err e = {0};
    struct fixture f;
    fixture_open_with(&f, dir, (struct model_options){.mask = mask});
    const struct safetensors_tensor *t = fixture_find(&f, name);
    const int32_t *want = t->data;
    int steps = t->shape[1], live = 0;
    struct model_cache *c = model_cache_new(f.model, f.B, f.T + steps);
    mx_array next = mx_slot(MX_NONE);

    for (int i = 0; i < steps; i++) {
        int32_t got[16];
        mx_enter();
        mx_array h =
            i ? model_decode(f.model, c, next) : model_prefill(f.model, c, &f.in, f.lengths);
        mx_array ids = mx_argmax(without_placeholders(&f, model_logits(f.model, h)), -1, false);
        mx_set(next, mx_astype(mx_leave(ids), MX_INT32));
        mx_read(next, MX_INT32, got, (size_t)f.B * sizeof *got, &e) ? fail() : (void)0;
        assert_ok(e);
        for (int b = 0; b < f.B; b++)
            assert_int_equal(got[b], want[b * steps + i]);
        if (i == 1)
            live = mx_live();
        if (i > 1)
            assert_int_equal(mx_live(), live + 2 * (i - 1));    /* ids and the cast of each step */
    }
    mx_slot_free(next);
    model_cache_free(f.model, c);
    fixture_close(&f);
}

static void check_generation(const char *dir)
{
    check_generation_with(dir, MODEL_MASK_FORWARD, "generated");
}

static void test_gemma4__text_generation_equals(void **state)
{
    (void)state;
    check_generation(TEXT_MODEL);
}

static void test_gemma4__audio_generation_equals(void **state)
{
    (void)state;
    check_generation(AUDIO_MODEL);
}

static void test_gemma4__odd_generation_equals(void **state)
{
    (void)state;
    check_generation(ODD_MODEL);
}

static void test_gemma4__vision_generation_equals(void **state)
{
    (void)state;
    for (int i = 0; i < SEEING_COUNT; i++)
        check_generation(SEEING[i]);
    check_generation_with(UNIFIED_MODEL, MODEL_MASK_GENERATE, "generated_generate");
}

static void test_gemma4__full_cache_is_an_error(void **state)
{
    struct err e = {0};
    struct fixture f;
    (void)state;
    fixture_open(&f, TEXT_MODEL);
    struct model_cache *c = model_cache_new(f.model, f.B, f.T);
    mx_array h = model_prefill(f.model, c, &f.in, f.lengths);
    assert_int_equal(mx_eval(&h, 1, &e), 0);
    h = model_decode(f.model, c, mx_zeros(MX_INT32, f.B));
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, "the cache has");
    model_cache_free(f.model, c);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma4__text_activations_equal),
        cmocka_unit_test(test_gemma4__audio_activations_equal),
        cmocka_unit_test(test_gemma4__odd_activations_equal),
        cmocka_unit_test(test_gemma4__vision_activations_equal),
        cmocka_unit_test(test_gemma4__bfloat16_stays_bfloat16),
        cmocka_unit_test(test_gemma4__text_logits_equal),
        cmocka_unit_test(test_gemma4__audio_logits_equal),
        cmocka_unit_test(test_gemma4__odd_logits_equal),
        cmocka_unit_test(test_gemma4__vision_logits_equal),
        cmocka_unit_test(test_gemma4__mask_of_generate_equals),
        cmocka_unit_test(test_gemma4__text_full_gradients_equal),
        cmocka_unit_test(test_gemma4__audio_full_gradients_equal),
        cmocka_unit_test(test_gemma4__vision_full_gradients_equal),
        cmocka_unit_test(test_gemma4__checkpointed_gradients_equal),
        cmocka_unit_test(test_gemma4__text_adapter_gradients_and_ten_steps_equal),
        cmocka_unit_test(test_gemma4__audio_adapter_gradients_and_ten_steps_equal),
        cmocka_unit_test(test_gemma4__vision_adapter_gradients_and_ten_steps_equal),
        cmocka_unit_test(test_gemma4__padded_batch_equals_single_rows),
        cmocka_unit_test(test_gemma4__padded_clips_change_nothing),
        cmocka_unit_test(test_gemma4__rows_without_loss_are_dropped),
        cmocka_unit_test(test_gemma4__packed_rows_with_media_equal_unpacked),
        cmocka_unit_test(test_gemma4__rows_gathered_by_the_host_are_the_table_s),
        cmocka_unit_test(test_gemma4__a_trained_table_has_no_rows_on_the_host),
        cmocka_unit_test(test_gemma4__towers_run_before_are_the_same),
        cmocka_unit_test(test_gemma4__text_generation_equals),
        cmocka_unit_test(test_gemma4__audio_generation_equals),
        cmocka_unit_test(test_gemma4__odd_generation_equals),
        cmocka_unit_test(test_gemma4__vision_generation_equals),
        cmocka_unit_test(test_gemma4__full_cache_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
