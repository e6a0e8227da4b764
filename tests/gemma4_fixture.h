/* gemma4_fixture.h - a tiny Gemma 4 (or Whisper), and what transformers computes with it. */
#ifndef GEMMA4_FIXTURE_H
#define GEMMA4_FIXTURE_H

#include "testing.h"

#include "base/mem.h"
#include "model/model.h"
#include "nn/lora.h"
#include "nn/optim.h"
#include "nn/safetensors.h"

#define TEXT_MODEL "tests/data/gemma4_text"
#define AUDIO_MODEL "tests/data/gemma4_audio"
#define ODD_MODEL "tests/data/gemma4_odd"
/* Models that see, of every size's kind (tests/fixtures/gemma4_multimodal.py). */
#define E_MODEL "tests/data/gemma4_e"
#define MOE_MODEL "tests/data/gemma4_26b"
#define DENSE_MODEL "tests/data/gemma4_31b"
#define UNIFIED_MODEL "tests/data/gemma4_12b"
/* Encoder-decoder models (tests/fixtures/whisper.py). */
#define WHISPER_V2 "tests/data/whisper/v2"
#define WHISPER_V3 "tests/data/whisper/v3"
#define WHISPER_EN "tests/data/whisper/en"

struct fixture {
    struct model *model;
    struct safetensors *reference;
    struct model_input in;
    mx_array lengths;                   /* [B] */
    int B, T, R;
};

static inline const struct safetensors_tensor *fixture_find(const struct fixture *f,
                                                            const char *name)
{
    const struct safetensors_tensor *t = safetensors_find(f->reference, name);
    if (!t)
        print_error("no tensor %s in the reference\n", name);
    assert_non_null(t);
    return t;
}

static inline mx_array fixture_array(const struct fixture *f, const char *name, enum mx_dtype d)
{
    return mx_astype(safetensors_array(f->reference, fixture_find(f, name)), d);
}

/* Values of a float32 tensor of the reference; the caller frees. */
static inline float *fixture_floats(const struct fixture *f, const char *name, size_t *count)
{
    const struct safetensors_tensor *t = fixture_find(f, name);
    assert_int_equal(t->dtype, MX_FLOAT32);
    *count = (size_t)t->bytes / sizeof(float);
    return xmemdup(t->data, (size_t)t->bytes);
}

static inline float *read_floats(mx_array x, size_t *count)
{
    struct err e = {0};
    *count = mx_size(x);
    float *v = xmalloc((*count + 1) * sizeof *v);
    if (mx_read(x, MX_FLOAT32, v, *count * sizeof *v, &e))
        print_error("%s\n", e.text);
    assert_int_equal(e.kind, 0);
    return v;
}

/* Largest difference over the largest magnitude of what is wanted. */
static inline double relative_error(const float *got, const float *want, size_t n)
{
    double most = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)want[i]));
        error = fmax(error, fabs((double)got[i] - (double)want[i]));
        if (!isfinite(got[i]))
            return INFINITY;
    }
    return most > 0 ? error / most : error;
}

/* `got` equals the reference's tensor `name` within `tolerance` of its largest value. */
static inline void assert_same(const struct fixture *f, mx_array got, const char *name,
                               double tolerance)
{
    size_t n, m;
    float *have = read_floats(got, &n), *want = fixture_floats(f, name, &m);
    assert_int_equal(n, m);
    double error = relative_error(have, want, n);
    if (getenv("ATTUNE_TEST_VERBOSE"))
        print_message("%-70s %.1e\n", name, error);
    if (!(error <= tolerance))
        print_error("%s: relative error %.3g, at most %.3g is allowed\n", name, error, tolerance);
    assert_true(error <= tolerance);
    free(have);
    free(want);
}

static inline void fixture_open_with(struct fixture *f, const char *dir, struct model_options o)
{
    struct err e = {0};
    char path[256];

    *f = (struct fixture){0};
    o.dtype = MX_FLOAT32;
    snprintf(path, sizeof path, "%s/reference.safetensors", dir);
    mx_enter();
    f->reference = safetensors_open(path, &e);
    assert_ok(e);
    if (!safetensors_find(f->reference, "pixels"))
        o.without_vision = true;
    f->model = model_open(dir, &o, &e);
    assert_ok(e);
    f->in.tokens = fixture_array(f, "tokens", MX_INT32);
    f->lengths = fixture_array(f, "lengths", MX_INT32);
    f->in.target_rows = fixture_array(f, "target_rows", MX_INT32);
    f->in.target_ids = fixture_array(f, "target_ids", MX_INT32);
    f->in.target_weights = fixture_array(f, "target_weights", MX_FLOAT32);
    if (safetensors_find(f->reference, "soft"))
        f->in.soft = fixture_array(f, "soft", MX_INT32);
    if (safetensors_find(f->reference, "pixels")) {
        f->in.pixels = fixture_array(f, "pixels", MX_UINT8);
        f->in.patch_at = fixture_array(f, "patch_at", MX_INT32);
    }
    if (safetensors_find(f->reference, "mel")) {
        f->in.mel = fixture_array(f, "mel", MX_FLOAT32);
        if (safetensors_find(f->reference, "frame_valid"))
            f->in.frame_valid = fixture_array(f, "frame_valid", MX_BOOL);
    }
    f->B = mx_dim(f->in.tokens, 0);
    f->T = mx_dim(f->in.tokens, 1);
    f->R = mx_dim(f->in.target_rows, 0);
}

static inline void fixture_open(struct fixture *f, const char *dir)
{
    fixture_open_with(f, dir, (struct model_options){0});
}

static inline void fixture_close(struct fixture *f)
{
    model_close(f->model);
    mx_leave(MX_NONE);
    safetensors_close(f->reference);
    mx_watch(NULL, NULL);
    assert_int_equal(mx_live(), 0);
}

/* Ask for the target rows only: `kept` and what `target_rows` then are. */
static inline void fixture_keep(struct fixture *f)
{
    const int32_t *rows = fixture_find(f, "target_rows")->data;
    int32_t *kept = xcalloc((size_t)(f->B * f->R), sizeof *kept);
    int32_t *moved = xcalloc((size_t)f->R, sizeof *moved);
    int Q = 0;

    for (int pass = 0; pass < 2; pass++) {      /* the first finds Q */
        for (int b = 0; b < f->B; b++) {
            int n = 0;
            for (int r = 0; r < f->R; r++) {
                if (rows[r] / f->T != b)
                    continue;
                if (pass == 1) {
                    moved[r] = b * Q + n;
                    kept[b * Q + n] = rows[r] % f->T;
                }
                n++;
            }
            Q = n > Q ? n : Q;
            for (; pass == 1 && n > 0 && n < Q; n++)
                kept[b * Q + n] = kept[b * Q + n - 1];
        }
    }
    f->in.kept = mx_from(kept, MX_INT32, (int[]){f->B, Q}, 2);
    f->in.target_rows = mx_from(moved, MX_INT32, (int[]){f->R}, 1);
    free(kept);
    free(moved);
}

/* Mean loss over the targets that count, as a traced function of a fixture. */
static inline void fixture_loss(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct fixture *f = arg;
    assert_int_equal(n_in, 0);
    assert_int_equal(n_out, 1);
    (void)in;
    mx_array sum = model_loss_sum(f->model, &f->in);
    out[0] = mx_divide(sum, mx_sum_all(f->in.target_weights));
}

/* Loss and the gradient of everything trainable, which is in name order. */
static inline mx_array fixture_gradients(struct fixture *f, mx_array *grads)
{
    mx_array loss;
    mx_value_and_grad(fixture_loss, f, (struct mx_arrays){NULL, 0},
                      nn_trainable(&f->model->params, ""), &loss, 1, grads);
    return loss;
}

/* The reference's name of a trainable tensor under `kind` ("grad", "lora_grad", ...). */
static inline void fixture_name(char *out, size_t size, const char *kind, const char *param)
{
    size_t n = strlen(param), tail = strlen(".weight");
    bool lora = strstr(param, ".lora_") != NULL;
    if (lora && n > tail && strcmp(param + n - tail, ".weight") == 0)
        n -= tail;
    snprintf(out, size, "%s.%.*s", kind, (int)n, param);
}

/* Put the reference's adapter on every linear layer. */
static inline void fixture_adapt(struct fixture *f)
{
    struct err e = {0};
    char *towers[4] = {"language"}, *targets[] = {"*"};
    int n = 1;

    if (f->model->facts.has_audio_tower)
        towers[n++] = "audio";
    if (f->model->facts.image_id >= 0)
        towers[n++] = "vision";
    if (!f->model->facts.is_crossing &&
        (f->model->facts.image_id >= 0 || f->model->facts.audio_id >= 0))
        towers[n++] = "projector";
    struct nn_lora_config c = {.rank = 2,
                               .alpha = 4,
                               .towers = towers,
                               .tower_count = n,
                               .targets = targets,
                               .target_count = 1};
    assert_int_equal(nn_lora_attach(&f->model->params, &c, &e), 0);
    assert_ok(e);
    for (int i = 0; i < f->model->params.trainable_count; i++) {
        char name[600];
        struct nn_param *p = f->model->params.trainable[i];
        fixture_name(name, sizeof name, "lora", p->name);
        mx_set(p->slot, mx_contiguous(fixture_array(f, name, MX_FLOAT32)));
    }
}

/* Ten AdamW steps from where the model stands; the losses against `name`. */
static inline void fixture_ten_steps(struct fixture *f, const char *name, double lr,
                                     double tolerance)
{
    struct err e = {0};
    struct nn_adamw_config c = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1};
    struct mx_arrays params = nn_trainable(&f->model->params, "");
    mx_array *grads = xcalloc((size_t)params.n, sizeof *grads);
    struct nn_adamw adam;
    size_t n;
    float *want = fixture_floats(f, name, &n);

    nn_adamw_init(&adam, params, NULL, &c);
    for (int step = 1; step <= (int)n; step++) {
        double loss;
        mx_enter();
        mx_array l = fixture_gradients(f, grads);
        if (step < (int)n)
            nn_adamw_step(&adam, grads, MX_NONE, l, mx_float(lr), mx_int(step));
        l = mx_leave(l);
        assert_int_equal(mx_item(l, &loss, &e), 0);
        assert_ok(e);
        if (getenv("ATTUNE_TEST_VERBOSE"))
            print_message("%s %d: %.7f, reference %.7f\n", name, step, loss,
                          (double)want[step - 1]);
        assert_near(loss, want[step - 1], tolerance * fabs((double)want[step - 1]));
    }
    nn_adamw_release(&adam);
    free(want);
    free(grads);
}

#endif
