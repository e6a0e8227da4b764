/* memory_plan.c - see memory_plan.h. */
#include "train/memory_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/mem.h"
#include "nn/safetensors.h"
#include "train/batch_cut.h"

void memory_plan_size(char *out, size_t size, int64_t bytes)
{
    const double KB = 1e3, MB = 1e6, GB = 1e9;
    double b = (double)bytes;
    if (b >= 0.9995 * GB)
        snprintf(out, size, "%.3g GB", b / GB);
    else if (b >= 0.9995 * MB)
        snprintf(out, size, "%.3g MB", b / MB);
    else
        snprintf(out, size, "%.3g kB", b / KB);
}

/* ----------------------------------------------------------------- arrays -- */

static int64_t device_bytes(const struct config *c)
{
    if (c->device_memory > 0)
        return c->device_memory;
    return mx_device() == MX_GPU ? (int64_t)mx_memory_device() : machine_memory();
}

/* Rows of a table are gathered by the host; it is no array of the device's. */
static bool is_on_disk(const struct nn_param *q)
{
    return q->linear && q->linear->table && !q->trainable;
}

int memory_plan_arrays(struct memory_plan *p, struct train_step *s, const struct config *c,
                       struct err *e)
{
    const struct nn_params *params = &s->model->params;
    int64_t moments = 0;
    *p = (struct memory_plan){
        .device = device_bytes(c),
        .is_crossing = s->model->facts.is_crossing,
    };
    for (int i = 0; i < params->count; i++) {
        const struct nn_param *q = &params->at[i];
        if (is_on_disk(q))
            continue;
        if (mx_eval(&q->slot, 1, e))
            return err_in(e, "%s", q->name);
        *(q->role == NN_ADAPTER ? &p->adapters : &p->weights) += (int64_t)mx_nbytes(q->slot);
    }
    int n = s->adamw.count;
    for (int i = 0; i < 2 * n; i++)
        moments += (int64_t)mx_nbytes(s->adamw.state[i]);
    if (c->accumulate > 1)
        train_step_reserve(s);
    if (mx_eval(s->adamw.state, 2 * n, e) || (s->sums && mx_eval(s->sums, n, e)))
        return err_in(e, "optimizer");
    /* Gradients and their sums are as large as a moment. */
    p->gradients = moments / 2;
    int64_t held = moments + (s->sums ? p->gradients : 0);
    int64_t counted = (int64_t)mx_memory_active(), here = p->weights + p->adapters + held;
    p->mapped = here > counted ? here - counted : 0;
    if (p->mapped > p->weights)
        p->mapped = p->weights;
    p->optimizer = held + p->gradients;
    p->cache = s->cache ? c->tower_cache : 0;
    p->total = p->weights + p->adapters + p->optimizer;
    return 0;
}

int64_t memory_plan_measured(const struct memory_plan *p, int64_t peak)
{
    return peak + p->mapped;
}

/* ----------------------------------------------------------------- advice -- */

static void advise_on_weights(const struct config *c, struct err *e)
{
    if (c->method == METHOD_LORA && c->quantize == QUANTIZE_NONE)
        err_hint(e, "quantize: 4bit keeps the frozen layers in about a quarter of bfloat16's "
                    "memory");
    else
        err_hint(e, "a smaller model, or a machine with more memory");
}

static void advise_on_optimizer(const struct config *c, struct err *e)
{
    if (c->method == METHOD_FULL)
        err_hint(e, "method: lora trains a small part of the numbers; full.towers trains fewer "
                    "towers");
    else
        err_hint(e, "a smaller lora.rank, or fewer lora.towers or lora.targets");
}

static void advise_on_activations(const struct memory_plan *p, const struct config *c,
                                  struct err *e)
{
    int64_t room = p->device - (p->total - p->activations);
    double part = (double)room / (double)p->activations;
    if (!c->checkpointing) {
        err_hint(e, "checkpointing: yes computes the layers twice and keeps little of them");
        return;
    }
    int parts = room > 0 ? c->accumulate * (int)ceil(1 / part) : c->batch + 1;
    if (parts <= c->batch && p->rows > 1)
        err_hint(e,
                 "accumulate: %d works off %d records at a time in place of %d, for the same "
                 "result",
                 parts, (c->batch + parts - 1) / parts, p->rows);
    else if (c->accumulate < c->batch)
        err_hint(e,
                 "accumulate: %d works off one record at a time, for the same result; then a "
                 "smaller max_tokens",
                 c->batch);
    else if (p->is_crossing)
        err_hint(e, "lora.towers (full.towers): language keeps nothing of the encoder; "
                    "audio_length: clip leaves out the silence behind clips");
    else
        err_hint(e,
                 "max_tokens: %d leaves out records longer than that; image_tokens makes "
                 "pictures smaller",
                 room > 0 ? (int)(p->len * part) / 8 * 8 : p->len / 2);
}

/* The largest part is to blame. */
static int refuse(const struct memory_plan *p, const struct config *c, struct err *e)
{
    const struct {
        const char *name;
        int64_t bytes;
    } parts[] = {{"weights", p->weights + p->adapters},
                 {"optimizer", p->optimizer},
                 {"activations", p->activations}};
    int most = 0;
    for (int i = 1; i < 3; i++)
        most = parts[i].bytes > parts[most].bytes ? i : most;
    char need[32], part[32], has[32];
    memory_plan_size(need, sizeof need, p->total);
    memory_plan_size(part, sizeof part, parts[most].bytes);
    memory_plan_size(has, sizeof has, p->device);
    const char *who = c->device_memory ? "run" : mx_device_name();
    if (p->total == p->weights)
        err_set(e, ERR_SPACE, "too little memory: the weights alone need %s, and the %s has %s",
                need, who, has);
    else
        err_set(e, ERR_SPACE,
                "too little memory: a step needs %s, most of it for the %s (%s), and the %s has %s",
                need, parts[most].name, part, who, has);
    if (most == 0)
        advise_on_weights(c, e);
    else if (most == 1)
        advise_on_optimizer(c, e);
    else
        advise_on_activations(p, c, e);
    return -1;
}

static bool fits(const struct memory_plan *p)
{
    return p->device <= 0 || p->total <= p->device;
}

/* -------------------------------------------------------------- rehearsal -- */

static void set_activations(struct memory_plan *p, double peak)
{
    int64_t arrays = p->weights + p->adapters + p->optimizer;
    p->activations = peak > (double)p->gradients ? (int64_t)peak - p->gradients : 0;
    p->total = arrays + p->activations;
}

/* A step that comes to nothing; `peak` receives how much more was allocated meanwhile. */
static int rehearse(struct train_step *s, const struct batch *b, int micros, double *peak,
                    struct err *e)
{
    struct batch spoiled = *b, both[2];
    spoiled.target_weights = xcalloc((size_t)b->targets + 1, sizeof *spoiled.target_weights);
    for (int i = 0; i < b->targets; i++)
        spoiled.target_weights[i] = b->target_weights[i] > 0 ? NAN : 0;
    both[0] = both[1] = spoiled;
    struct step_data d = {both, micros > 1 ? 2 : 1, b->supervised};
    struct step_result r;
    double ok = 1;
    mx_enter();
    mx_memory_peak_reset();
    size_t before = mx_memory_active();
    int rc = train_step_run(s, &d, 1, 0, &r, e) || mx_item(r.ok, &ok, e) ||
                     mx_eval(s->state, s->state_count, e)
                 ? -1
                 : 0;
    *peak = (double)mx_memory_peak() - (double)before;
    mx_leave(MX_NONE);
    mx_memory_peak_reset();
    free(spoiled.target_weights);
    if (!rc && ok != 0.0)
        rc = err_set(e, ERR_BUG, "the rehearsal of a step has changed the model");
    return rc;
}

/* The same for a part of the batch, never compiled: its shapes will not come again. */
static int rehearse_part(struct train_step *s, const struct batch *b, double part, int micros,
                         double *peak, struct err *e)
{
    struct batch cut;
    bool compiles = s->compiles;
    *peak = 0;
    if (!batch_cut(&cut, b, part))
        return 0;
    s->compiles = false;
    int rc = rehearse(s, &cut, micros, peak, e);
    s->compiles = compiles;
    batch_release(&cut);
    return rc;
}

/* Rows cost alike; of a longer row each token costs more.  `quarter` and `half` are peaks. */
static double foretell(const struct batch *b, double quarter, double half)
{
    double line = half + 2 * (half - quarter);
    double curve = 6 * half - 8 * quarter;
    return b->rows == 1 && curve > line ? curve : line;
}

/* Where a few times what a quarter takes might be too much, look closer before the whole. */
static int approach(struct memory_plan *p, struct train_step *s, const struct batch *b,
                    const struct config *c, struct err *e)
{
    double quarter, half;
    if (!fits(p))
        return refuse(p, c, e);
    if (p->device <= 0)
        return 0;
    if (rehearse_part(s, b, 0.25, c->accumulate, &quarter, e))
        return err_in(e, "rehearsing a step");
    set_activations(p, 16 * quarter);
    if (fits(p))
        return 0;
    if (rehearse_part(s, b, 0.5, c->accumulate, &half, e))
        return err_in(e, "rehearsing a step");
    set_activations(p, foretell(b, quarter, half));
    return fits(p) ? 0 : refuse(p, c, e);
}

int memory_plan_rehearse(struct memory_plan *p, struct train_step *s, const struct batch *b,
                         const struct config *c, struct err *e)
{
    double peak = 0;
    p->rows = b->rows;
    p->len = b->len;
    p->clips = b->clips;
    p->pictures = b->pictures;
    if (!b->supervised)
        return 0;
    if (approach(p, s, b, c, e))
        return -1;
    if (rehearse(s, b, c->accumulate, &peak, e))
        return err_in(e, "rehearsing a step");
    set_activations(p, peak);
    return fits(p) ? 0 : refuse(p, c, e);
}

/* ---------------------------------------------------------------- weights -- */

static bool is_left_out(const char *name, const char *const *without)
{
    if (strstr(name, "embed_tokens_per_layer"))
        return true;
    for (int i = 0; without[i]; i++)
        if (strstr(name, without[i]))
            return true;
    return false;
}

static double weight_bytes(const struct safetensors_tensor *t, const struct config *c)
{
    const double numbers = (double)t->bytes / (double)mx_dtype_size(t->dtype);
    if (t->dtype == MX_UINT32)
        return (double)t->bytes;
    if (c->quantize != QUANTIZE_NONE && t->n >= 2)
        return numbers * (c->quantize == QUANTIZE_4BIT ? 0.5 : 1);
    bool is_short = c->dtype == DTYPE_BF16 || (c->dtype == DTYPE_AUTO && mx_device() == MX_GPU);
    return numbers * (is_short && c->method == METHOD_LORA ? 2 : 4);
}

int memory_plan_check_weights(const struct config *c, const char *const *without, struct err *e)
{
    struct err ignored = {0};
    struct memory_plan p = {.device = device_bytes(c)};
    if (c->init == INIT_RANDOM || p.device <= 0)
        return 0;
    /* What is wrong with the file is said when the model is opened. */
    struct safetensors *s = safetensors_open(c->model, &ignored);
    double bytes = 0;
    for (int i = 0; s && i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        if (!is_left_out(t->name, without))
            bytes += weight_bytes(t, c);
    }
    safetensors_close(s);
    p.weights = p.total = (int64_t)bytes;
    return fits(&p) ? 0 : refuse(&p, c, e);
}

json_t *memory_plan_to_json(const struct memory_plan *p)
{
    json_t *o = json_object();
    json_put_int(o, "weights", p->weights);
    json_put_int(o, "adapters", p->adapters);
    json_put_int(o, "optimizer", p->optimizer);
    json_put_int(o, "activations", p->activations);
    json_put_int(o, "total", p->total);
    json_put_int(o, "cache", p->cache);
    json_put_int(o, "device", p->device);
    return o;
}
