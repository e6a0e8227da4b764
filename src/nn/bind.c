/* bind.c - find or make a model's weights by name, and report what does not fit. */
#include "nn/bind.h"

#include <assert.h>
#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* What can be wrong with a tensor; the texts introduce lists of names. */
enum problem_kind { MISSING, MISSHAPEN, MISTYPED, LEFT_OVER, PROBLEM_KINDS };
static const char *const PROBLEMS[PROBLEM_KINDS] = {
    "missing",
    "of another shape",
    "of a dtype that is not for weights",
    "left over",
};

enum { SHOWN_MAX = 4 };                 /* names told for each kind of problem */

struct nn_problems {
    int count[PROBLEM_KINDS];
    char *shown[PROBLEM_KINDS][SHOWN_MAX];
};

/* ---------------------------------------------------------------- the binder -- */

void nn_binder_init(struct nn_binder *b, struct nn_params *params, struct safetensors *source,
                    enum mx_dtype dtype)
{
    *b = (struct nn_binder){
        .params = params, .source = source, .dtype = dtype, .eps = 1e-6, .tower = "language"};
    b->problems = xcalloc(1, sizeof *b->problems);
    if (source)
        b->used = xcalloc((size_t)safetensors_count(source) + 1, 1);
}

void nn_root(struct nn_binder *b, const char *root)
{
    assert(strlen(root) < sizeof b->root);
    memcpy(b->root, root, strlen(root) + 1);
    b->under[0] = 0;
}

void nn_under(struct nn_binder *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(b->under, sizeof b->under, fmt, ap);
    va_end(ap);
    assert(n >= 0 && (size_t)n < sizeof b->under);
}

void nn_ignore(struct nn_binder *b, const char *glob)
{
    assert(b->ignored_count < NN_IGNORE_MAX);
    b->ignored[b->ignored_count++] = glob;
}

void nn_init_next(struct nn_binder *b, enum nn_init_kind kind, double value)
{
    b->next = (struct nn_init){kind, value};
}

/* root + under + name + suffix; the caller frees. */
static char *full_name(const struct nn_binder *b, const char *name, const char *suffix)
{
    return xasprintf("%s%s%s%s", b->root, b->under, name, suffix);
}

bool nn_has(const struct nn_binder *b, const char *name)
{
    if (!b->source)
        return true;
    char *full = full_name(b, name, "");
    bool has = safetensors_find(b->source, full) != NULL;
    free(full);
    return has;
}

/* --------------------------------------------------------------- problems -- */

/* Note a problem; takes over `text`. */
static void problem(struct nn_binder *b, enum problem_kind kind, char *text)
{
    int i = b->problems->count[kind]++;
    if (i < SHOWN_MAX)
        b->problems->shown[kind][i] = text;
    else
        free(text);
}

static void print_shape(struct buf *out, const int *shape, int n)
{
    buf_add_char(out, '(');
    for (int i = 0; i < n; i++)
        buf_printf(out, i ? ",%d" : "%d", shape[i]);
    buf_add_char(out, ')');
}

static void misshapen(struct nn_binder *b, const struct safetensors_tensor *t, const int *shape,
                      int n)
{
    struct buf text;
    buf_init(&text, 2 * NN_NAME_MAX);
    buf_printf(&text, "%s has ", t->name);
    print_shape(&text, t->shape, t->n);
    buf_add_str(&text, ", expected ");
    print_shape(&text, shape, n);
    problem(b, MISSHAPEN, buf_take(&text, NULL));
}

static bool is_ignored(const struct nn_binder *b, const char *name)
{
    for (int i = 0; i < b->ignored_count; i++)
        if (fnmatch(b->ignored[i], name, 0) == 0)
            return true;
    return false;
}

static void find_left_over(struct nn_binder *b)
{
    for (int i = 0; b->source && i < safetensors_count(b->source); i++) {
        const char *name = safetensors_at(b->source, i)->name;
        if (!b->used[i] && !is_ignored(b, name))
            problem(b, LEFT_OVER, xstrdup(name));
    }
}

static int report_problems(const struct nn_problems *p, struct err *e)
{
    struct buf text;
    int total = 0;

    buf_init(&text, 64 * NN_NAME_MAX);
    for (int k = 0; k < PROBLEM_KINDS; k++) {
        if (p->count[k] == 0)
            continue;
        buf_printf(&text, "%s%d %s: ", total ? "; " : "", p->count[k], PROBLEMS[k]);
        for (int i = 0; i < p->count[k] && i < SHOWN_MAX; i++)
            buf_printf(&text, "%s%s", i ? ", " : "", p->shown[k][i]);
        if (p->count[k] > SHOWN_MAX)
            buf_printf(&text, " and %d more", p->count[k] - SHOWN_MAX);
        total += p->count[k];
    }
    if (total > 0) {
        err_set(e, ERR_INTEGRITY, "%d tensors do not fit the config: %s", total, text.data);
        err_hint(e, "config.json and the weights must belong to the same model");
    }
    buf_release(&text);
    return total > 0 ? -1 : 0;
}

static void binder_release(struct nn_binder *b)
{
    for (int k = 0; k < PROBLEM_KINDS; k++)
        for (int i = 0; i < SHOWN_MAX; i++)
            free(b->problems->shown[k][i]);
    free(b->problems);
    free(b->used);
    b->problems = NULL;
    b->used = NULL;
}

int nn_bind_end(struct nn_binder *b, struct err *e)
{
    find_left_over(b);
    int rc = report_problems(b->problems, e);
    if (rc == 0 && b->failure.kind) {
        *e = b->failure;
        rc = -1;
    }
    binder_release(b);
    return rc;
}

/* ---------------------------------------------------------------- one tensor -- */

/* What is asked of one tensor. */
struct want {
    const char *suffix;                 /* ".weight" */
    int shape[MX_DIMS_MAX], n;
    struct nn_init init;
    enum nn_role role;
    bool keep;                          /* leave it in the file, in its stored dtype */
    bool scalar;                        /* stored as [] or [1] */
    struct nn_linear *linear;
};

mx_array nn_name_key(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;   /* FNV-1a, 64 bits */
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    mx_array key = mx_random_fold(mx_random_key(seed), (uint32_t)(h >> 32));
    return mx_random_fold(key, (uint32_t)h);
}

static mx_array random_value(const struct nn_binder *b, const char *name, const struct want *w)
{
    mx_array x = w->init.kind == NN_INIT_NORMAL
                     ? mx_random_normal_(nn_name_key(b->seed, name), w->init.value, w->shape, w->n)
                     : mx_full_(w->init.value, MX_FLOAT32, w->shape, w->n);
    return mx_astype(x, b->dtype);
}

static bool same_shape(const struct safetensors_tensor *t, const struct want *w)
{
    if (w->scalar)
        return t->n == 0 || (t->n == 1 && t->shape[0] == 1);
    return t->n == w->n && memcmp(t->shape, w->shape, (size_t)w->n * sizeof *w->shape) == 0;
}

static bool is_float(enum mx_dtype d)
{
    return d == MX_FLOAT16 || d == MX_BFLOAT16 || d == MX_FLOAT32 || d == MX_FLOAT64;
}

/* The tensor of the source that fits, or NULL with the problem noted. */
static const struct safetensors_tensor *find_source(struct nn_binder *b, const char *name,
                                                    const struct want *w)
{
    const struct safetensors_tensor *t = safetensors_find(b->source, name);
    if (!t) {
        problem(b, MISSING, xstrdup(name));
        return NULL;
    }
    b->used[t - safetensors_at(b->source, 0)] = 1;
    if (!same_shape(t, w)) {
        misshapen(b, t, w->shape, w->n);
        return NULL;
    }
    if (!is_float(t->dtype)) {
        problem(b, MISTYPED, xasprintf("%s is %s", name, mx_dtype_name(t->dtype)));
        return NULL;
    }
    return t;
}

static mx_array source_value(struct nn_binder *b, const struct safetensors_tensor *t,
                             const struct want *w)
{
    mx_array x = safetensors_array(b->source, t);
    if (!w->keep || t->dtype == MX_FLOAT64)
        x = mx_astype(x, b->dtype);
    return mx_reshape_(x, w->shape, w->n);
}

static void describe(struct nn_param *p, const struct want *w, const struct safetensors_tensor *t,
                     enum mx_dtype made)
{
    p->stored = t ? t->dtype : made;
    p->n = t ? t->n : w->n;
    memcpy(p->shape, t ? t->shape : w->shape, sizeof p->shape);
    p->linear = w->linear;
}

/* Bind one tensor: its slot, or MX_NONE when there is a problem. */
static mx_array bind(struct nn_binder *b, const char *name, const struct want *w)
{
    const struct safetensors_tensor *t = NULL;
    mx_array slot = MX_NONE;
    char *full = full_name(b, name, w->suffix);

    assert(strlen(full) < NN_NAME_MAX && !nn_params_find(b->params, full));
    if (b->source)
        t = find_source(b, full, w);
    if ((t || !b->source) && !b->failure.kind) {
        mx_enter();
        mx_array x = t ? source_value(b, t, w) : random_value(b, full, w);
        if (mx_eval(&x, 1, &b->failure)) {
            err_in(&b->failure, "%s", full);
        } else {
            slot = mx_slot(x);
            describe(nn_params_add(b->params, full, b->tower, slot, w->role), w, t, mx_dtype(x));
        }
        mx_leave(MX_NONE);
    }
    free(full);
    return slot;
}

/* ---------------------------------------------------------------- layers -- */

/* The rule of nn_init_next, else normal with the binder's or the fan-in's deviation. */
static struct nn_init take_init(struct nn_binder *b, int fan_in)
{
    struct nn_init init = b->next;
    b->next = (struct nn_init){0};
    if (init.kind != NN_INIT_DEFAULT)
        return init;
    double std = b->init_std > 0 ? b->init_std : 1 / sqrt(fan_in);
    return (struct nn_init){NN_INIT_NORMAL, std};
}

static struct nn_init take_constant(struct nn_binder *b, double value)
{
    struct nn_init init = b->next;
    b->next = (struct nn_init){0};
    return init.kind != NN_INIT_DEFAULT ? init : (struct nn_init){NN_INIT_CONSTANT, value};
}

static void bind_weight(struct nn_binder *b, const char *name, struct nn_linear *l, int in, int out,
                        bool keep)
{
    struct want w = {.suffix = ".weight", .shape = {out, in}, .n = 2, .keep = keep, .linear = l};
    w.init = take_init(b, in);
    *l = (struct nn_linear){.in = in, .out = out, .dtype = b->dtype};
    l->weight = bind(b, name, &w);
}

static mx_array bind_vector(struct nn_binder *b, const char *name, const char *suffix, int dim,
                            double value)
{
    struct want w = {.suffix = suffix, .shape = {dim}, .n = 1};
    w.init = take_constant(b, value);
    return bind(b, name, &w);
}

static void add_module(struct nn_binder *b, const char *name, struct nn_linear *l)
{
    struct nn_params *p = b->params;
    if ((size_t)p->module_count == p->module_capacity)
        p->modules = mem_grow(p->modules, &p->module_capacity, sizeof *p->modules);
    p->modules[p->module_count++] =
        (struct nn_module){.name = full_name(b, name, ""), .tower = b->tower, .linear = l};
}

void nn_bind_linear(struct nn_binder *b, const char *name, struct nn_linear *l, int in, int out)
{
    bind_weight(b, name, l, in, out, false);
    add_module(b, name, l);
}

void nn_bind_linear_bias(struct nn_binder *b, const char *name, struct nn_linear *l, int in,
                         int out)
{
    nn_bind_linear(b, name, l, in, out);
    l->bias = bind_vector(b, name, ".bias", out, 0);
}

static mx_array bind_bound(struct nn_binder *b, const char *name, const char *suffix, double value)
{
    struct want w = {.suffix = suffix, .scalar = true, .role = NN_BUFFER};
    w.init = (struct nn_init){NN_INIT_CONSTANT, value};
    return bind(b, name, &w);
}

void nn_bind_clip_linear(struct nn_binder *b, const char *name, struct nn_clip_linear *l, int in,
                         int out, bool clipped)
{
    char *inner = xasprintf("%s.linear", name);
    *l = (struct nn_clip_linear){0};
    nn_bind_linear(b, inner, &l->linear, in, out);
    free(inner);
    if (!clipped)
        return;
    l->input_min = bind_bound(b, name, ".input_min", -(double)INFINITY);
    l->input_max = bind_bound(b, name, ".input_max", (double)INFINITY);
    l->output_min = bind_bound(b, name, ".output_min", -(double)INFINITY);
    l->output_max = bind_bound(b, name, ".output_max", (double)INFINITY);
}

void nn_bind_embedding(struct nn_binder *b, const char *name, struct nn_linear *l, int dim,
                       int count)
{
    bind_weight(b, name, l, dim, count, false);
}

void nn_bind_table(struct nn_binder *b, const char *name, struct nn_linear *l, int dim, int count)
{
    bind_weight(b, name, l, dim, count, true);
}

void nn_bind_norm(struct nn_binder *b, const char *name, struct nn_norm *n, int dim)
{
    *n = (struct nn_norm){.eps = b->eps};
    n->weight = bind_vector(b, name, ".weight", dim, 1);
}

void nn_bind_conv1d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int size)
{
    struct want w = {.suffix = ".weight", .shape = {out, in_per_group, size}, .n = 3};
    w.init = take_init(b, in_per_group * size);
    *c = (struct nn_conv){.groups = 1};
    c->weight = bind(b, name, &w);
}

void nn_bind_conv2d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int height, int width)
{
    struct want w = {.suffix = ".weight", .shape = {out, in_per_group, height, width}, .n = 4};
    w.init = take_init(b, in_per_group * height * width);
    *c = (struct nn_conv){.groups = 1};
    c->weight = bind(b, name, &w);
}

void nn_bind_scalar(struct nn_binder *b, const char *name, mx_array *x)
{
    struct want w = {.suffix = "", .shape = {1}, .n = 1, .scalar = true, .role = NN_BUFFER};
    w.init = take_constant(b, 1);
    *x = bind(b, name, &w);
}

void nn_bind_tensor(struct nn_binder *b, const char *name, mx_array *x, const int *shape, int n,
                    struct nn_init init)
{
    struct want w = {.suffix = "", .n = n};
    memcpy(w.shape, shape, (size_t)n * sizeof *shape);
    w.init = init.kind == NN_INIT_DEFAULT ? take_init(b, shape[n - 1]) : init;
    b->next = (struct nn_init){0};
    *x = bind(b, name, &w);
}
