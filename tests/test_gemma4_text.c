/* The text decoder of every size against transformers: experts, keys that are values, images that
 * see themselves, packed rows, dropped rows, rows of the table from outside, generation. */
#include "gemma4_fixture.h"

#include "model/gemma4_config.h"
#include "model/gemma4_text.h"

#define MOE "tests/data/gemma4_moe"
#define DENSE "tests/data/gemma4_dense"
#define UNIFIED "tests/data/gemma4_unified_text"
#define SHARED "tests/data/gemma4_shared"
static const char *const MODELS[] = {MOE, DENSE, UNIFIED, SHARED};
enum { MODEL_COUNT = 4 };

/* -------------------------------------------------- a decoder as a model -- */

struct decoder {
    struct fixture f;
    struct gemma4_text text;
    mx_array is_image;                  /* [B,T] */
};

static mx_array decoder_hidden(const void *self, const struct model_input *in)
{
    const struct decoder *d = self;
    struct gemma4_rows r = {.ids = in->tokens,
                            .is_image = d->is_image,
                            .segment = in->segment,
                            .position = in->position,
                            .kept = in->kept,
                            .per_layer = in->per_layer,
                            .checkpoint = in->checkpoint};
    return gemma4_text_hidden(&d->text, gemma4_text_embed(&d->text, in->tokens), &r);
}

static void decoder_head(const void *self, struct nn_head *head)
{
    const struct decoder *d = self;
    *head = (struct nn_head){.weight = d->text.embed_tokens.weight, .softcap = d->text.softcap};
}

static void decoder_release(void *self)
{
    struct decoder *d = self;
    gemma4_text_release(&d->text);
}

static const struct model_family DECODER = {.model_type = "decoder",
                                            .close = decoder_release,
                                            .hidden = decoder_hidden,
                                            .head = decoder_head};

static void bind_decoder(struct decoder *d, const char *dir)
{
    struct err e = {0};
    struct nn_binder b;
    struct safetensors *source = safetensors_open(dir, &e);

    assert_ok(e);
    nn_binder_init(&b, &d->f.model->params, source, d->f.model->dtype);
    gemma4_text_bind(&d->text, &b, "model.");
    assert_int_equal(nn_bind_end(&b, &e), 0);
    assert_ok(e);
    safetensors_close(source);
}

/* The unified model has the mask of its forward(). */
static void decoder_open_as(struct decoder *d, const char *dir, enum mx_dtype dtype)
{
    struct err e = {0};
    char path[256];
    bool is_unified = strcmp(dir, UNIFIED) == 0;
    struct fixture *f = &d->f;

    *d = (struct decoder){0};
    mx_enter();
    f->model = xcalloc(1, sizeof *f->model);
    f->model->family = &DECODER;
    f->model->self = d;
    f->model->dtype = dtype;
    f->model->facts.audio_id = f->model->facts.image_id = -1;
    snprintf(path, sizeof path, "%s/config.json", dir);
    f->model->config = json_read_file(path, 1 << 20, &e);
    assert_ok(e);
    assert_int_equal(gemma4_text_configure(&d->text, f->model->config, is_unified, &e), 0);
    assert_ok(e);
    if (is_unified)
        d->text.seeing = GEMMA4_IMAGE_EVERYWHERE;
    bind_decoder(d, dir);

    snprintf(path, sizeof path, "%s/reference.safetensors", dir);
    f->reference = safetensors_open(path, &e);
    assert_ok(e);
    f->in.tokens = fixture_array(f, "tokens", MX_INT32);
    f->in.target_rows = fixture_array(f, "target_rows", MX_INT32);
    f->in.target_ids = fixture_array(f, "target_ids", MX_INT32);
    f->in.target_weights = fixture_array(f, "target_weights", MX_FLOAT32);
    f->lengths = fixture_array(f, "lengths", MX_INT32);
    d->is_image = fixture_array(f, "is_image", MX_BOOL);
    f->B = mx_dim(f->in.tokens, 0);
    f->T = mx_dim(f->in.tokens, 1);
    f->R = mx_dim(f->in.target_rows, 0);
}

static void decoder_open(struct decoder *d, const char *dir)
{
    decoder_open_as(d, dir, MX_FLOAT32);
}

static const int32_t *ints_of(const struct fixture *f, const char *name)
{
    const struct safetensors_tensor *t = fixture_find(f, name);
    assert_int_equal(t->dtype, MX_INT32);
    return t->data;
}

static mx_array int_array(const int32_t *v, int rows, int n)
{
    return mx_from(v, MX_INT32, (int[]){rows, n}, 2);
}

/* Only the rows of the targets, some of them twice, as padding is. */
static void keep_targets(struct decoder *d)
{
    struct fixture *f = &d->f;
    const int32_t *rows = ints_of(f, "target_rows");
    int Q = f->R / f->B + 2;
    int32_t *kept = xcalloc((size_t)(f->B * Q), sizeof *kept);
    int32_t *where = xcalloc((size_t)f->R, sizeof *where), count[8] = {0};

    assert_int_equal(f->R % f->B, 0);
    for (int i = 0; i < f->R; i++) {
        int b = rows[i] / f->T;
        where[i] = b * Q + count[b];
        kept[b * Q + count[b]++] = rows[i] % f->T;
    }
    for (int b = 0; b < f->B; b++)
        while (count[b] < Q)
            kept[b * Q + count[b]++] = 0;
    f->in.kept = int_array(kept, f->B, Q);
    f->in.target_rows = mx_from(where, MX_INT32, (int[]){f->R}, 1);
    free(kept);
    free(where);
}

/* All records behind each other in one row, and padding in a segment of its own. */
static void pack(struct decoder *d)
{
    struct fixture *f = &d->f;
    const int32_t *tokens = ints_of(f, "tokens"), *lengths = ints_of(f, "lengths");
    const int32_t *image = ints_of(f, "is_image"), *rows = ints_of(f, "target_rows");
    enum { PADDING = 3, COLUMNS = 4, N_MAX = 256 };
    int32_t v[COLUMNS][N_MAX] = {{0}}, target[N_MAX], start[8];
    int n = 0;

    for (int b = 0; b < f->B; b++) {
        start[b] = n;
        for (int t = 0; t < lengths[b]; t++, n++) {
            v[0][n] = tokens[b * f->T + t];
            v[1][n] = image[b * f->T + t];
            v[2][n] = b;
            v[3][n] = t;
        }
    }
    for (int t = 0; t < PADDING; t++, n++) {
        v[2][n] = f->B;
        v[3][n] = t;
    }
    assert_true(n <= N_MAX);
    for (int i = 0; i < f->R; i++)
        target[i] = start[rows[i] / f->T] + rows[i] % f->T;
    f->in.tokens = int_array(v[0], 1, n);
    d->is_image = mx_astype(int_array(v[1], 1, n), MX_BOOL);
    f->in.segment = int_array(v[2], 1, n);
    f->in.position = int_array(v[3], 1, n);
    f->in.target_rows = mx_from(target, MX_INT32, (int[]){f->R}, 1);
}

/* As `pack`, dropping all rows but the targets'. */
static void pack_and_keep(struct decoder *d)
{
    pack(d);
    d->f.in.kept = mx_reshape(d->f.in.target_rows, 1, d->f.R);
    d->f.in.target_rows = mx_arange(0, d->f.R, 1, MX_INT32);
}

/* ------------------------------------------------------------ activations -- */

struct places {
    struct decoder *d;
    char name[256];                     /* where `last` was made; "": nowhere yet */
    mx_array last;
    int compared;
};

/* Compare what a place left when the next one begins, unless it comes again. */
static void compare_place(struct places *p)
{
    struct fixture *f = &p->d->f;
    char name[300];
    size_t n, m;

    snprintf(name, sizeof name, "act.language_model.%s", p->name);
    if (!*p->name || !safetensors_find(f->reference, name))
        return;
    mx_array keep = mx_less(mx_arange(0, f->T, 1, MX_INT32), mx_expand_dims(f->lengths, 1));
    keep = mx_astype(mx_expand_dims(keep, -1), MX_FLOAT32);
    float *got = read_floats(mx_multiply(p->last, keep), &n);
    float *want = read_floats(mx_multiply(fixture_array(f, name, MX_FLOAT32), keep), &m);
    assert_int_equal(n, m);
    double error = relative_error(got, want, n);
    if (!(error < 1e-5))
        print_error("%s: relative error %g\n", name, error);
    assert_true(error < 1e-5);
    p->compared++;
    free(got);
    free(want);
}

static void note_place(void *arg, const char *place, mx_array last)
{
    struct places *p = arg;
    const char *name = strncmp(place, "model.", 6) == 0 ? place + 6 : place;

    if (strcmp(name, p->name) != 0)
        compare_place(p);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->last = last;
}

static void test_gemma4_text__activations_equal(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct decoder d;
        struct places p = {.d = &d};
        int expected = 0;
        decoder_open(&d, MODELS[i]);
        mx_watch(note_place, &p);
        model_hidden(d.f.model, &d.f.in);
        mx_at("end");
        mx_watch(NULL, NULL);
        compare_place(&p);
        for (int k = 0; k < safetensors_count(d.f.reference); k++)
            expected += strncmp(safetensors_at(d.f.reference, k)->name, "act.", 4) == 0;
        assert_int_equal(p.compared, expected);
        fixture_close(&d.f);
    }
}

/* ------------------------------------------------------- logits and losses -- */

static void check_logits(struct decoder *d, const char *name)
{
    struct fixture *f = &d->f;
    mx_array logits = model_logits(f->model, model_hidden(f->model, &f->in));
    mx_array keep = mx_less(mx_arange(0, f->T, 1, MX_INT32), mx_expand_dims(f->lengths, 1));
    mx_array want = fixture_array(f, name, MX_FLOAT32);
    assert_same(f, mx_where(mx_expand_dims(keep, -1), logits, want), name, 1e-5);
}

static void test_gemma4_text__logits_and_loss_equal(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct decoder d;
        mx_array loss;
        decoder_open(&d, MODELS[i]);
        check_logits(&d, "logits");
        assert_same(&d.f, model_logprobs(d.f.model, &d.f.in), "logprobs", 1e-5);
        fixture_loss(&d.f, NULL, 0, &loss, 1);
        assert_same(&d.f, loss, "loss", 1e-5);
        fixture_close(&d.f);
    }
}

static void test_gemma4_text__unified_has_two_masks(void **state)
{
    struct decoder d;
    (void)state;
    decoder_open(&d, UNIFIED);
    d.text.seeing = GEMMA4_IMAGE_IN_WINDOW;
    check_logits(&d, "logits_generate");
    fixture_close(&d.f);
}

static void expect_bfloat16(void *arg, const char *place, mx_array last)
{
    (void)arg;
    if (strstr(place, "layers.") && mx_dtype(last) != MX_BFLOAT16)
        fail_msg("%s is %s", place, mx_dtype_name(mx_dtype(last)));
}

/* The last row of h is the reference's but for its rounding. */
static void assert_last_row_like(const struct decoder *d, mx_array h)
{
    size_t n, m, used = (size_t)(d->text.D * ints_of(&d->f, "lengths")[2]);
    float *got = read_floats(mx_index(h, 0, 2), &n);
    mx_array act = fixture_array(&d->f, "act.language_model.norm", MX_FLOAT32);
    float *want = read_floats(mx_index(act, 0, 2), &m);
    assert_int_equal(n, m);
    assert_true(relative_error(got, want, used) < 0.1);
    free(got);
    free(want);
}

/* Nothing grows to float32 on the way, which would cost memory and time in silence. */
static void test_gemma4_text__bfloat16_stays(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct decoder d;
        decoder_open_as(&d, MODELS[i], MX_BFLOAT16);
        mx_watch(expect_bfloat16, NULL);
        mx_array h = model_hidden(d.f.model, &d.f.in);
        pack_and_keep(&d);
        mx_array packed = model_hidden(d.f.model, &d.f.in);
        mx_watch(NULL, NULL);
        assert_int_equal(mx_dtype(h), MX_BFLOAT16);
        assert_int_equal(mx_dtype(packed), MX_BFLOAT16);
        if (!d.text.experts)            /* MLX's CPU computes those in float32 only */
            assert_last_row_like(&d, h);
        fixture_close(&d.f);
    }
}

/* -------------------------------------------------------------- gradients -- */

static void check_gradients(struct fixture *f, const char *kind, double tolerance)
{
    const struct nn_params *p = &f->model->params;
    mx_array *grads = xcalloc((size_t)p->trainable_count, sizeof *grads);
    int expected = 0;

    fixture_gradients(f, grads);
    for (int i = 0; i < p->trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, kind, p->trainable[i]->name);
        assert_same(f, grads[i], name, tolerance);
    }
    for (int i = 0; i < safetensors_count(f->reference); i++) {
        const char *name = safetensors_at(f->reference, i)->name;
        expected += strncmp(name, kind, strlen(kind)) == 0 && name[strlen(kind)] == '.';
    }
    assert_int_equal(p->trainable_count, expected);
    free(grads);
}

/* Loss and all gradients of the batch in this form, with and without checkpointing. */
static void check_form(void (*form)(struct decoder *), bool lora)
{
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct err e = {0};
        struct decoder d;
        mx_array loss;
        decoder_open(&d, MODELS[i]);
        if (form)
            form(&d);
        if (lora)
            fixture_adapt(&d.f);
        else
            assert_int_equal(nn_params_train(&d.f.model->params, NULL, 0, &e), 0);
        fixture_loss(&d.f, NULL, 0, &loss, 1);
        assert_same(&d.f, loss, lora ? "lora_loss" : "loss", 1e-5);
        for (int k = 0; k < 2; k++) {
            d.f.model->checkpointing = k;
            check_gradients(&d.f, lora ? "lora_grad" : "grad", 1e-4);
        }
        fixture_close(&d.f);
    }
}

static void test_gemma4_text__gradients_equal(void **state)
{
    (void)state;
    check_form(NULL, false);
    check_form(NULL, true);
}

static void test_gemma4_text__gradients_of_kept_rows_equal(void **state)
{
    (void)state;
    check_form(keep_targets, false);
    check_form(keep_targets, true);
}

static void test_gemma4_text__gradients_of_packed_rows_equal(void **state)
{
    (void)state;
    check_form(pack, false);
    check_form(pack, true);
    check_form(pack_and_keep, false);
}

static void test_gemma4_text__accumulated_gradients_equal(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        struct err e = {0};
        struct decoder d;
        decoder_open(&d, MODELS[i]);
        struct fixture *f = &d.f;
        assert_int_equal(nn_params_train(&f->model->params, NULL, 0, &e), 0);
        const int32_t *rows = ints_of(f, "target_rows");
        int n = f->model->params.trainable_count;
        struct model_input in = f->in;
        mx_array is_image = d.is_image, all = f->in.target_weights;
        mx_array *sum = xcalloc((size_t)n, sizeof *sum), *one = xcalloc((size_t)n, sizeof *one);
        for (int b = 0; b < f->B; b++) {
            float mine[64] = {0};
            int32_t where[64];
            for (int r = 0; r < f->R; r++) {
                mine[r] = rows[r] / f->T == b;
                where[r] = rows[r] % f->T;
            }
            f->in.tokens = mx_slice(in.tokens, 0, b, b + 1);
            d.is_image = mx_slice(is_image, 0, b, b + 1);
            f->in.target_rows = mx_from(where, MX_INT32, (int[]){f->R}, 1);
            mx_array part = mx_multiply(all, mx_from(mine, MX_FLOAT32, (int[]){f->R}, 1));
            f->in.target_weights = part;
            fixture_gradients(f, one);
            mx_array share = mx_divide(mx_sum_all(part), mx_sum_all(all));
            for (int k = 0; k < n; k++) {
                one[k] = mx_multiply(one[k], share);
                sum[k] = b ? mx_add(sum[k], one[k]) : one[k];
            }
        }
        for (int k = 0; k < n; k++) {
            char name[600];
            fixture_name(name, sizeof name, "grad", f->model->params.trainable[k]->name);
            assert_same(f, sum[k], name, 1e-4);
        }
        free(sum);
        free(one);
        fixture_close(f);
    }
}

static void check_ten_steps(const char *dir)
{
    struct err e = {0};
    struct decoder d;
    decoder_open(&d, dir);
    assert_int_equal(nn_params_train(&d.f.model->params, NULL, 0, &e), 0);
    fixture_ten_steps(&d.f, "full_losses", 1e-4, 1e-4);
    fixture_close(&d.f);

    decoder_open(&d, dir);
    fixture_adapt(&d.f);
    fixture_ten_steps(&d.f, "lora_losses", 1e-3, 1e-4);
    for (int i = 0; i < d.f.model->params.trainable_count; i++) {
        char name[600];
        fixture_name(name, sizeof name, "lora_final", d.f.model->params.trainable[i]->name);
        assert_same(&d.f, d.f.model->params.trainable[i]->slot, name, 1e-4);
    }
    fixture_close(&d.f);
}

static void test_gemma4_text__ten_steps_equal(void **state)
{
    (void)state;
    check_ten_steps(MOE);
    check_ten_steps(UNIFIED);
}

/* ---------------------------------------------------------- rows from outside -- */

/* The table's rows of the batch, and `noise` at every place without a target, for the layers behind
 * the last that makes keys and values. */
static mx_array table_rows(struct decoder *d, double noise)
{
    struct fixture *f = &d->f;
    const int32_t *rows = ints_of(f, "target_rows");
    int LP = d->text.L * d->text.P, from = d->text.first_shared * d->text.P;
    mx_array x = nn_embedding(&d->text.embed_tokens_per_layer, f->in.tokens);
    size_t n;
    float *v = read_floats(x, &n);

    assert_int_equal(n, f->B * f->T * LP);
    for (int i = 0; i < f->B * f->T; i++) {
        bool is_target = false;
        for (int r = 0; r < f->R; r++)
            is_target |= rows[r] == i;
        for (int k = from; k < LP && !is_target; k++)
            v[i * LP + k] += (float)(noise * sin(i * 7.1 + k));
    }
    x = mx_from(v, MX_FLOAT32, (int[]){f->B, f->T, LP}, 3);
    free(v);
    return x;
}

static void test_gemma4_text__rows_of_the_table_may_be_given(void **state)
{
    struct decoder d;
    (void)state;
    decoder_open(&d, SHARED);
    d.f.in.per_layer = table_rows(&d, 0);
    check_logits(&d, "logits");
    fixture_adapt(&d.f);
    check_gradients(&d.f, "lora_grad", 1e-4);
    fixture_close(&d.f);
}

/* What is dropped is not read: noise there changes no bit of loss and gradients. */
static void test_gemma4_text__noise_in_dropped_rows_changes_nothing(void **state)
{
    struct decoder d;
    (void)state;
    decoder_open(&d, SHARED);
    fixture_adapt(&d.f);
    mx_array clean = table_rows(&d, 0), noisy = table_rows(&d, 1000);
    keep_targets(&d);
    int n = d.f.model->params.trainable_count;
    mx_array *a = xcalloc((size_t)n, sizeof *a), *b = xcalloc((size_t)n, sizeof *b);
    d.f.in.per_layer = clean;
    fixture_gradients(&d.f, a);
    d.f.in.per_layer = noisy;
    fixture_gradients(&d.f, b);
    for (int i = 0; i < n; i++) {
        size_t count;
        float *x = read_floats(a[i], &count), *y = read_floats(b[i], &count);
        assert_memory_equal(x, y, count * sizeof *x);
        free(x);
        free(y);
    }
    check_gradients(&d.f, "lora_grad", 1e-4);
    free(a);
    free(b);
    fixture_close(&d.f);
}

/* ------------------------------------------------------------- generation -- */

static void check_more(struct decoder *d, const char *name, bool has_rows)
{
    struct err e = {0};
    struct fixture *f = &d->f;
    mx_array more = fixture_array(f, "more", MX_INT32);
    int n = mx_dim(more, 1);
    struct gemma4_rows r = {.ids = f->in.tokens, .is_image = d->is_image};
    struct gemma4_cache *c = gemma4_cache_new(&d->text, f->B, f->T + n);
    mx_array logits[16];

    if (has_rows)
        r.per_layer = nn_embedding(&d->text.embed_tokens_per_layer, r.ids);
    for (int i = 0; i <= n; i++) {
        mx_array h, rows = MX_NONE, next = i ? mx_index(more, 1, i - 1) : MX_NONE;
        if (i && has_rows)
            rows = nn_embedding(&d->text.embed_tokens_per_layer, next);
        h = i ? gemma4_text_decode(&d->text, c, next, rows)
              : gemma4_text_prefill(&d->text, c, gemma4_text_embed(&d->text, r.ids), &r,
                                    f->lengths);
        logits[i] = model_logits(f->model, h);
    }
    assert_same(f, mx_stack(logits, n + 1, 1), name, 1e-5);
    mx_array h = gemma4_text_decode(&d->text, c, mx_index(more, 1, 0), MX_NONE);
    assert_int_equal(mx_eval(&h, 1, &e), -1);
    assert_err(e, ERR_FAILED, "the cache has");
    gemma4_cache_free(c);
}

static void test_gemma4_text__generation_equals(void **state)
{
    struct decoder d;
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        decoder_open(&d, MODELS[i]);
        check_more(&d, "more_logits", false);
        fixture_close(&d.f);
    }
    decoder_open(&d, UNIFIED);
    d.text.seeing = GEMMA4_IMAGE_IN_WINDOW;
    check_more(&d, "more_logits_generate", false);
    fixture_close(&d.f);
    decoder_open(&d, SHARED);
    check_more(&d, "more_logits", true);
    fixture_close(&d.f);
}

/* ----------------------------------------------------------------- config -- */

/* A fixture's config with some keys replaced. */
static int configure(struct gemma4_text *m, const char *dir, const char *changes, bool is_unified,
                     struct err *e)
{
    char path[256];
    json_error_t je;

    snprintf(path, sizeof path, "%s/config.json", dir);
    json_t *c = json_read_file(path, 1 << 20, e), *new = json_loads(changes, 0, &je);
    assert_non_null(c);
    assert_non_null(new);
    json_object_update(c, new);
    *m = (struct gemma4_text){0};
    int rc = gemma4_text_configure(m, c, is_unified, e);
    json_decref(c);
    json_decref(new);
    return rc;
}

static void refuse(const char *dir, const char *changes, const char *message)
{
    struct err e = {0};
    struct gemma4_text m;
    assert_int_equal(configure(&m, dir, changes, false, &e), -1);
    assert_err(e, e.kind, message);
    gemma4_text_release(&m);
}

static void test_gemma4_text__unknown_values_are_errors(void **state)
{
    (void)state;
    refuse(MOE, "{\"use_bidirectional_attention\": \"all\"}", "use_bidirectional_attention: 'all'");
    refuse(MOE, "{\"top_k_experts\": 7}", "top_k_experts: 7 of only 6");
    refuse(MOE, "{\"num_experts\": null}", "num_experts");
    refuse(MOE, "{\"moe_intermediate_size\": 0}", "moe_intermediate_size: 0");
    refuse(MOE, "{\"attention_bias\": true}", "attention_bias: true");
    refuse(MOE, "{\"attention_dropout\": 0.1}", "attention_dropout: 0.1");
    refuse(MOE, "{\"hidden_activation\": \"silu\"}", "hidden_activation: 'silu'");
    refuse(MOE, "{\"tie_word_embeddings\": false}", "tie_word_embeddings: false");
    refuse(DENSE, "{\"num_global_key_value_heads\": 3}", "a multiple of its 3 key heads");
    refuse(DENSE, "{\"per_layer_config\": {\"1\": {\"sliding_window\": 3}}}", "'sliding_window'");
}

static void expect_heads(const char *dir, const char *changes, int layer, int heads, int head_dim,
                         bool k_is_v)
{
    struct err e = {0};
    struct gemma4_text m;
    assert_int_equal(configure(&m, dir, changes, false, &e), 0);
    assert_ok(e);
    assert_int_equal(m.layers[layer].kv_heads, heads);
    assert_int_equal(m.layers[layer].head_dim, head_dim);
    assert_int_equal(m.layers[layer].k_is_v, k_is_v);
    gemma4_text_release(&m);
}

static void test_gemma4_text__global_heads(void **state)
{
    (void)state;
    expect_heads(DENSE, "{}", 1, 1, 16, true);
    expect_heads(DENSE, "{}", 2, 2, 8, false);
    expect_heads(DENSE, "{\"num_global_key_value_heads\": null}", 1, 2, 16, true);
    /* Only where keys are values. */
    expect_heads(DENSE, "{\"attention_k_eq_v\": false}", 1, 2, 16, false);
    /* Layers that are told one by one: the global keys are not read. */
    expect_heads(MOE, "{\"global_head_dim\": 4, \"num_global_key_value_heads\": 1}", 2, 2, 16,
                 true);
}

static void test_gemma4_text__who_sees_images(void **state)
{
    struct err e = {0};
    struct gemma4_text m;
    (void)state;
    const char *missing = "{\"use_bidirectional_attention\": null}";
    assert_int_equal(configure(&m, MOE, "{}", false, &e), 0);
    assert_int_equal(m.seeing, GEMMA4_IMAGE_IN_WINDOW);
    gemma4_text_release(&m);
    assert_int_equal(configure(&m, MOE, missing, false, &e), 0);
    assert_int_equal(m.seeing, GEMMA4_CAUSAL);
    gemma4_text_release(&m);
    assert_int_equal(configure(&m, UNIFIED, missing, true, &e), 0);
    assert_int_equal(m.seeing, GEMMA4_CAUSAL);
    assert_int_equal(m.P, 0);
    gemma4_text_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma4_text__activations_equal),
        cmocka_unit_test(test_gemma4_text__logits_and_loss_equal),
        cmocka_unit_test(test_gemma4_text__unified_has_two_masks),
        cmocka_unit_test(test_gemma4_text__bfloat16_stays),
        cmocka_unit_test(test_gemma4_text__gradients_equal),
        cmocka_unit_test(test_gemma4_text__gradients_of_kept_rows_equal),
        cmocka_unit_test(test_gemma4_text__gradients_of_packed_rows_equal),
        cmocka_unit_test(test_gemma4_text__accumulated_gradients_equal),
        cmocka_unit_test(test_gemma4_text__ten_steps_equal),
        cmocka_unit_test(test_gemma4_text__rows_of_the_table_may_be_given),
        cmocka_unit_test(test_gemma4_text__noise_in_dropped_rows_changes_nothing),
        cmocka_unit_test(test_gemma4_text__generation_equals),
        cmocka_unit_test(test_gemma4_text__unknown_values_are_errors),
        cmocka_unit_test(test_gemma4_text__global_heads),
        cmocka_unit_test(test_gemma4_text__who_sees_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
