/* step.c - see step.h. */
#include "train/step.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "nn/lora.h"
#include "train/session.h"
#include "train/tower_cache.h"

/* Arrays that go into the functions below: these, then the key of dropout when there is any, then
 * those of `fields` that the batch has. */
enum { IN_SCALE, IN_RATE, IN_STEP, IN_FIXED };

/* The arrays of a batch. */
static const size_t fields[] = {
    offsetof(struct model_input, tokens),      offsetof(struct model_input, target_rows),
    offsetof(struct model_input, target_ids),  offsetof(struct model_input, target_weights),
    offsetof(struct model_input, soft),        offsetof(struct model_input, mel),
    offsetof(struct model_input, frame_valid), offsetof(struct model_input, pixels),
    offsetof(struct model_input, patch_at),    offsetof(struct model_input, heard),
    offsetof(struct model_input, seen),        offsetof(struct model_input, segment),
    offsetof(struct model_input, position),    offsetof(struct model_input, per_layer),
    offsetof(struct model_input, kept),
};
enum { FIELDS = sizeof fields / sizeof *fields, IN_MAX = IN_FIXED + 1 + FIELDS };
/* A compiled function is traced for each set of shapes: fewer of them. */
enum { KEPT_COMPILED = 64 };
enum { OUT_LOSS, OUT_NORM, OUT_OK, OUT_COUNT };

/* ------------------------------------------------------------- the graph -- */

/* What the differentiated function needs. */
struct forward {
    const struct model *model;
    struct model_input in;
};

static void forward(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct forward *f = arg;
    (void)in, (void)n_in, (void)n_out;
    out[0] = model_loss_sum(f->model, &f->in);
}

static mx_array *field(struct model_input *in, int i)
{
    return (mx_array *)(void *)((char *)in + fields[i]);
}

/* Loss and gradients, summed over the tokens, of the batch in `in`. */
static mx_array differentiate(const struct step_variant *v, const mx_array *in, mx_array *grads)
{
    struct train_step *s = v->step;
    struct forward f = {.model = s->model};
    const mx_array *next = in + IN_FIXED;
    if (s->has_dropout)
        nn_dropout_key(&s->model->params, *next++);
    for (int i = 0; i < FIELDS; i++)
        if (v->inputs & 1u << i)
            *field(&f.in, i) = *next++;
    mx_array loss;
    mx_value_and_grad(forward, &f, (struct mx_arrays){0}, nn_trainable(&s->model->params, ""),
                      &loss, 1, grads);
    if (s->has_dropout)
        nn_dropout_key(&s->model->params, MX_NONE);
    return loss;
}

/* The update by summed gradients; out[] as above. */
static void update(struct train_step *s, const mx_array *grads, mx_array loss_sum,
                   const mx_array *in, mx_array *out)
{
    out[OUT_LOSS] = mx_multiply(loss_sum, in[IN_SCALE]);
    struct nn_adamw_result r =
        nn_adamw_step(&s->adamw, grads, in[IN_SCALE], out[OUT_LOSS], in[IN_RATE], in[IN_STEP]);
    out[OUT_NORM] = r.grad_norm;
    out[OUT_OK] = r.ok;
}

/* A step of one micro-batch. */
static void whole(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct step_variant *v = arg;
    (void)n_in, (void)n_out;
    mx_array *grads = xcalloc((size_t)v->step->adamw.count, sizeof *grads);
    mx_array loss = differentiate(v, in, grads);
    mx_at("optimizer");
    update(v->step, grads, loss, in, out);
    free(grads);
}

/* One of several micro-batches; out[0] is the loss so far. */
static void accumulate(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct step_variant *v = arg;
    struct train_step *s = v->step;
    (void)n_in, (void)n_out;
    mx_array *grads = xcalloc((size_t)s->adamw.count, sizeof *grads);
    mx_array loss = differentiate(v, in, grads);
    for (int i = 0; i < s->adamw.count; i++)
        mx_set(s->sums[i], mx_add(s->sums[i], mx_astype(grads[i], MX_FLOAT32)));
    mx_set(s->loss_sum, mx_add(s->loss_sum, loss));
    out[0] = s->loss_sum;
    free(grads);
}

/* The end of a step of several: in[] is scale, rate and step. */
static void finish(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct train_step *s = arg;
    (void)n_in, (void)n_out;
    mx_at("optimizer");
    update(s, s->sums, s->loss_sum, in, out);
    for (int i = 0; i < s->adamw.count; i++)
        mx_set(s->sums[i], mx_zeros_like(s->sums[i]));
    mx_set(s->loss_sum, mx_float(0));
}

/* ------------------------------------------------------------------ state -- */

static void add_state(struct train_step *s, struct mx_arrays slots)
{
    for (int i = 0; i < slots.n; i++)
        s->state[s->state_count++] = slots.at[i];
}

void train_step_init(struct train_step *s, struct model *m, const struct config *c,
                     const double *factors)
{
    *s = (struct train_step){
        .model = m,
        .seed = rng_seed(c->seed, "dropout"),
        .has_dropout = m->params.dropout.rate > 0 || m->facts.dropout > 0,
        .compiles = c->compile,
        /* Nearly all rows of a transcript have loss. */
        .kept_multiple = !c->drop_rows || m->facts.is_crossing ? 0
                         : c->compile                          ? KEPT_COMPILED
                                                               : SESSION_KEPT,
    };
    m->checkpointing = c->checkpointing;
    m->label_smoothing = c->label_smoothing;
    struct nn_adamw_config a = {
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .weight_decay = c->weight_decay,
        .clip = c->clip,
    };
    struct mx_arrays params = nn_trainable(&m->params, "");
    /* The zeros that slots begin with would otherwise live as long as the caller's scope. */
    mx_enter();
    nn_adamw_init(&s->adamw, params, factors, &a);
    mx_leave(MX_NONE);
    /* Room for the sums of micro-batches and, while evaluating, the results. */
    s->state = xcalloc(4 * (size_t)params.n + 1 + OUT_COUNT, sizeof *s->state);
    add_state(s, params);
    add_state(s, nn_adamw_state(&s->adamw));
}

static void free_compiled(struct train_step *s)
{
    for (int i = 0; i < s->variant_count; i++)
        mx_compiled_free(s->variants[i].compiled);
    s->variant_count = 0;
    mx_compiled_free(s->finish);
    s->finish = NULL;
}

void train_step_release(struct train_step *s)
{
    free_compiled(s);
    for (int i = 0; s->sums && i < s->adamw.count; i++)
        mx_slot_free(s->sums[i]);
    if (s->sums)
        mx_slot_free(s->loss_sum);
    free(s->sums);
    free(s->state);
    nn_adamw_release(&s->adamw);
    *s = (struct train_step){0};
}

void train_step_reserve(struct train_step *s)
{
    if (s->sums)
        return;
    free_compiled(s);                  /* their state has grown */
    s->sums = xcalloc((size_t)s->adamw.count + 1, sizeof *s->sums);
    mx_enter();
    for (int i = 0; i < s->adamw.count; i++)
        s->sums[i] = mx_slot(mx_zeros_like(s->adamw.state[i]));
    s->loss_sum = mx_slot(mx_float(0));
    mx_leave(MX_NONE);
    add_state(s, (struct mx_arrays){s->sums, s->adamw.count});
    add_state(s, (struct mx_arrays){&s->loss_sum, 1});
}

/* --------------------------------------------------------------- running -- */

static struct mx_arrays all_state(const struct train_step *s)
{
    return (struct mx_arrays){s->state, s->state_count};
}

/* Find or make the compiled function for these traits. */
static struct step_variant *find_variant(struct train_step *s, struct step_variant want)
{
    for (int i = 0; i < s->variant_count; i++) {
        struct step_variant *v = &s->variants[i];
        if (v->inputs == want.inputs && v->accumulates == want.accumulates)
            return v;
    }
    assert(s->variant_count < STEP_VARIANTS_MAX);
    struct step_variant *v = &s->variants[s->variant_count++];
    *v = want;
    v->compiled = mx_compile(want.accumulates ? accumulate : whole, v, all_state(s));
    return v;
}

static int run_batch(struct train_step *s, const struct batch *b, bool accumulates,
                     const mx_array scalars[IN_FIXED], mx_array key, mx_array *out, struct err *e)
{
    struct model_input x;
    session_input(&x, s->model, b, &(struct session_rows){s->kept_multiple});
    if (s->cache && tower_cache_input(s->cache, &x, b, e))
        return -1;
    struct step_variant v = {.step = s, .accumulates = accumulates};
    mx_array in[IN_MAX];
    int n = IN_FIXED;
    memcpy(in, scalars, IN_FIXED * sizeof *in);
    if (s->has_dropout)
        in[n++] = key;
    for (int i = 0; i < FIELDS; i++) {
        mx_array a = *field(&x, i);
        if (mx_is_none(a))
            continue;
        v.inputs |= 1u << i;
        in[n++] = a;
    }
    int n_out = accumulates ? 1 : OUT_COUNT;
    if (s->compiles)
        mx_call(find_variant(s, v)->compiled, (struct mx_arrays){in, n}, out, n_out);
    else
        (accumulates ? accumulate : whole)(&v, in, n, out, n_out);
    return 0;
}

static void run_finish(struct train_step *s, const mx_array scalars[IN_FIXED], mx_array *out)
{
    if (!s->compiles) {
        finish(s, scalars, IN_FIXED, out, OUT_COUNT);
        return;
    }
    if (!s->finish)
        s->finish = mx_compile(finish, s, all_state(s));
    mx_call(s->finish, (struct mx_arrays){scalars, IN_FIXED}, out, OUT_COUNT);
}

/* Build, and for all but the last micro-batch evaluate; temporaries are gone before anything is
 * evaluated, so that MLX can reuse their memory. */
static int build(struct train_step *s, const struct step_data *d, int64_t t,
                 const mx_array scalars[IN_FIXED], mx_array *out, struct err *e)
{
    bool several = d->count > 1;
    mx_array step_key = MX_NONE;
    if (s->has_dropout)
        step_key = mx_random_fold(mx_random_key(s->seed), (uint32_t)t);
    for (int i = 0; i < d->count; i++) {
        mx_enter();
        mx_array key = MX_NONE;
        if (s->has_dropout)
            key = mx_random_fold(step_key, (uint32_t)i);
        mx_array made[OUT_COUNT] = {MX_NONE, MX_NONE, MX_NONE};
        if (run_batch(s, &d->micros[i], several, scalars, key, made, e)) {
            mx_leave(MX_NONE);
            return -1;
        }
        if (several) {
            mx_leave(MX_NONE);
            if (mx_eval(s->state, s->state_count, e))
                return -1;
        } else {
            mx_leave_n(made, OUT_COUNT);
            memcpy(out, made, sizeof made);
        }
    }
    if (several) {
        mx_enter();
        run_finish(s, scalars, out);
        mx_leave_n(out, OUT_COUNT);
    }
    return 0;
}

int train_step_run(struct train_step *s, const struct step_data *d, int64_t t, double rate,
                   struct step_result *r, struct err *e)
{
    if (d->count > 1)
        train_step_reserve(s);
    mx_enter();
    mx_array scalars[IN_FIXED] = {
        [IN_SCALE] = mx_float(1.0 / (double)(d->supervised > 0 ? d->supervised : 1)),
        [IN_RATE] = mx_float(rate),
        [IN_STEP] = mx_float((double)t),
    };
    mx_array out[OUT_COUNT] = {MX_NONE, MX_NONE, MX_NONE};
    int rc = build(s, d, t, scalars, out, e);
    mx_leave_n(out, OUT_COUNT);
    mx_at("%s", "");
    if (rc)
        return -1;
    memcpy(s->state + s->state_count, out, sizeof out);
    if (mx_async_eval(s->state, s->state_count + OUT_COUNT, e))
        return -1;
    *r = (struct step_result){out[OUT_LOSS], out[OUT_NORM], out[OUT_OK]};
    return 0;
}
