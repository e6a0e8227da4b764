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
#include "nn/spelling.h"
#include "nn/table.h"

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
    if (!source)
        return;
    const char *format = safetensors_metadata(source, "format");
    b->is_channels_last = format && strcmp(format, "mlx") == 0;
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
    bool has = spelling_find(b->source, full) != NULL;
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
    char *ours = spelling_ours(name);
    bool ignored = false;
    for (int i = 0; i < b->ignored_count && !ignored; i++)
        ignored = fnmatch(b->ignored[i], name, 0) == 0 || fnmatch(b->ignored[i], ours, 0) == 0;
    free(ours);
    return ignored;
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
    bool conv;                          /* its second axis may be stored last */
    struct nn_linear *linear;
    struct nn_quant *quant;             /* it may be quantised, and this tells how it is */
    bool is_layer;                      /* of those that are quantised as they are read */
    const char *others[2];              /* names in MLX's spelling of what lies along axis 1 */
};

/* What the source has of one tensor: one part, or two along axis 1; each may be quantised. */
struct found {
    const struct safetensors_tensor *weight[2], *scales[2], *biases[2];
    int count;
};

/* Arrays for the slots of one tensor: one, or the three of a quantised weight. */
struct made {
    mx_array at[3];
    int count, bits, group;
    enum mx_dtype dense;                /* dtype of the dense weight */
    struct nn_table *table;
};

static uint64_t name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;   /* FNV-1a, 64 bits */
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return h;
}

mx_array nn_name_key(uint64_t seed, const char *name)
{
    uint64_t h = name_hash(name);
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

static bool is_float(enum mx_dtype d)
{
    return d == MX_FLOAT16 || d == MX_BFLOAT16 || d == MX_FLOAT32 || d == MX_FLOAT64;
}

/* Of convolutions: [out, in, ...] stored as [out, ..., in]. */
static bool is_turned(const struct nn_binder *b, const struct safetensors_tensor *t,
                      const struct want *w)
{
    return b->is_channels_last && w->conv && t->n == w->n && t->shape[0] == w->shape[0] &&
           t->shape[t->n - 1] == w->shape[1] &&
           memcmp(t->shape + 1, w->shape + 2, (size_t)(w->n - 2) * sizeof *w->shape) == 0;
}

static bool same_shape(const struct nn_binder *b, const struct safetensors_tensor *t,
                       const struct want *w)
{
    if (w->scalar)
        return t->n == 0 || (t->n == 1 && t->shape[0] == 1);
    return is_turned(b, t, w) ||
           (t->n == w->n && memcmp(t->shape, w->shape, (size_t)w->n * sizeof *w->shape) == 0);
}

/* ------------------------------------------------------------ in the source -- */

static const struct safetensors_tensor *use(struct nn_binder *b, const char *name)
{
    const struct safetensors_tensor *t = spelling_find(b->source, name);
    if (t)
        b->used[t - safetensors_at(b->source, 0)] = 1;
    return t;
}

/* The tensor X.weight or X with its X.scales and X.biases, if any. */
static bool find_part(struct nn_binder *b, const char *name, struct found *f)
{
    size_t n = strlen(name), k = strlen(".weight");
    const struct safetensors_tensor *t = use(b, name);

    if (!t)
        return false;
    f->weight[f->count] = t;
    if (t->dtype == MX_UINT32) {
        if (n > k && strcmp(name + n - k, ".weight") == 0)
            n -= k;
        char *scales = xasprintf("%.*s.scales", (int)n, name);
        char *biases = xasprintf("%.*s.biases", (int)n, name);
        f->scales[f->count] = use(b, scales);
        f->biases[f->count] = use(b, biases);
        free(scales);
        free(biases);
    }
    f->count++;
    return true;
}

static void find_parts(struct nn_binder *b, const char *name, const struct want *w, struct found *f)
{
    if (find_part(b, name, f))
        return;
    for (int i = 0; i < 2 && w->others[i]; i++) {
        char *other = full_name(b, w->others[i], "");
        bool there = find_part(b, other, f);
        free(other);
        if (!there) {
            f->count = 0;
            return;
        }
    }
}

static bool fits_quantised(const struct safetensors_tensor *t, const int *shape, int n, int last)
{
    return t && t->n == n && memcmp(t->shape, shape, (size_t)(n - 1) * sizeof *shape) == 0 &&
           t->shape[n - 1] == last;
}

/* How a part is quantised follows from the shapes; false when it is not as MLX does it. */
static bool read_quant(const struct found *f, int i, const int *shape, int n, struct made *m)
{
    static const int BITS[] = {2, 3, 4, 5, 6, 8};
    const struct safetensors_tensor *t = f->weight[i], *s = f->scales[i];
    int in = shape[n - 1], words = t->n == n ? t->shape[n - 1] : 0;
    int groups = s && s->n == n ? s->shape[n - 1] : 0;
    bool known = false;

    if (groups < 1 || in % groups != 0 || words > in || (int64_t)words * 32 % in != 0)
        return false;
    m->bits = (int)((int64_t)words * 32 / in);
    m->group = in / groups;
    m->dense = s->dtype;
    for (size_t k = 0; k < sizeof BITS / sizeof *BITS; k++)
        known = known || m->bits == BITS[k];
    return known && (m->group == 32 || m->group == 64 || m->group == 128) && is_float(s->dtype) &&
           f->biases[i] && f->biases[i]->dtype == s->dtype && fits_quantised(t, shape, n, words) &&
           fits_quantised(s, shape, n, groups) && fits_quantised(f->biases[i], shape, n, groups);
}

/* Check one part; the problem is noted. */
static bool check_part(struct nn_binder *b, const struct found *f, int i, const struct want *w,
                       struct made *m)
{
    const struct safetensors_tensor *t = f->weight[i];
    struct want part = *w;

    if (f->count == 2)
        part.shape[1] /= 2;
    if (t->dtype == MX_UINT32 && w->quant) {
        struct made first = *m;
        m->count = 3;
        if (read_quant(f, i, part.shape, part.n, m) &&
            (i == 0 || (first.bits == m->bits && first.group == m->group)))
            return true;
        problem(b, MISTYPED, xasprintf("%s is quantised in a way that is not known", t->name));
        return false;
    }
    m->count = 1;
    if (!same_shape(b, t, &part)) {
        misshapen(b, t, part.shape, part.n);
        return false;
    }
    if (!is_float(t->dtype) || t->dtype != f->weight[0]->dtype) {
        problem(b, MISTYPED, xasprintf("%s is %s", t->name, mx_dtype_name(t->dtype)));
        return false;
    }
    m->dense = t->dtype;
    return true;
}

/* Find what fits; the problem is noted when nothing does. */
static bool find_source(struct nn_binder *b, const char *name, const struct want *w,
                        struct found *f, struct made *m)
{
    find_parts(b, name, w, f);
    if (f->count == 0) {
        problem(b, MISSING, xstrdup(name));
        return false;
    }
    for (int i = 0; i < f->count; i++)
        if (!check_part(b, f, i, w, m))
            return false;
    return true;
}

/* ---------------------------------------------------------------- values -- */

/* One array of parts that lie along axis 1. */
static mx_array joined(struct nn_binder *b, const struct safetensors_tensor *const part[2],
                       int count)
{
    mx_array x[2];
    for (int i = 0; i < count; i++)
        x[i] = safetensors_array(b->source, part[i]);
    return count == 1 ? x[0] : mx_concatenate(x, count, 1);
}

static mx_array dense_value(struct nn_binder *b, const struct found *f, const struct want *w)
{
    mx_array x = joined(b, f->weight, f->count);
    if (is_turned(b, f->weight[0], w))
        x = w->n == 3 ? mx_transpose(x, 0, 2, 1) : mx_transpose(x, 0, 3, 1, 2);
    return mx_reshape_(x, w->shape, w->n);
}

/* Is this dense weight to be quantised now? */
static bool is_to_quantise(const struct nn_binder *b, const char *name, const struct want *w)
{
    return b->quantize_bits > 0 && w->is_layer && strstr(name, ".layers.") &&
           !strstr(name, ".router.") && w->shape[w->n - 1] % b->quantize_group == 0;
}

/* Quantised from the dtype that it is stored in, as MLX's tools do, unless activations are in less:
 * so that the same numbers come out on every device. */
static void quantise(struct nn_binder *b, mx_array x, struct made *m)
{
    if (b->dtype != MX_FLOAT32 || mx_dtype(x) == MX_FLOAT64)
        x = mx_astype(x, b->dtype);
    m->bits = b->quantize_bits;
    m->group = b->quantize_group;
    m->count = 3;
    mx_quantize(x, m->group, m->bits, &m->at[0], &m->at[1], &m->at[2]);
}

/* A table that stays with the host. */
static void open_table(struct nn_binder *b, const char *name, const struct found *f,
                       const struct want *w, struct made *m)
{
    struct nn_quant q = {.bits = m->bits, .group = m->group};
    if (b->source) {
        m->table = nn_table_open(b->source, f->weight[0], f->scales[0], f->biases[0], &q);
    } else {
        m->table =
            nn_table_random(b->seed ^ name_hash(name), w->init.value, w->shape[0], w->shape[1]);
        m->dense = MX_BFLOAT16;
    }
    for (int i = 0; i < m->count; i++)
        m->at[i] = nn_table_array(m->table, i);
}

static void make_values(struct nn_binder *b, const char *name, const struct found *f,
                        const struct want *w, struct made *m)
{
    bool is_table =
        w->keep && (b->source ? m->dense != MX_FLOAT64 : w->init.kind == NN_INIT_NORMAL);

    if (is_table) {
        open_table(b, name, f, w, m);
        return;
    }
    if (m->count == 3) {
        m->at[0] = joined(b, f->weight, f->count);
        m->at[1] = joined(b, f->scales, f->count);
        m->at[2] = joined(b, f->biases, f->count);
        return;
    }
    mx_array x = b->source ? dense_value(b, f, w) : random_value(b, name, w);
    if (!b->source)
        m->dense = mx_dtype(x);
    if (is_to_quantise(b, name, w))
        quantise(b, x, m);
    else
        m->at[0] = mx_astype(x, b->dtype);
}

/* ----------------------------------------------------------------- slots -- */

static mx_array add_part(struct nn_binder *b, const char *name, const char *suffix, mx_array x)
{
    char *full = xasprintf("%s%s", name, suffix);
    mx_array slot = mx_slot(x);
    nn_params_add(b->params, full, b->tower, slot, NN_PART);
    free(full);
    return slot;
}

static mx_array add_slots(struct nn_binder *b, const char *name, const struct found *f,
                          const struct want *w, const struct made *m)
{
    mx_array slot = mx_slot(m->at[0]);
    struct nn_param *p = nn_params_add(b->params, name, b->tower, slot, w->role);
    bool as_stored = f->count == 1 && m->count == 1 && f->weight[0]->n <= 1;

    p->stored = m->dense;
    p->n = as_stored ? f->weight[0]->n : w->n;
    memcpy(p->shape, as_stored ? f->weight[0]->shape : w->shape, sizeof p->shape);
    p->linear = w->linear;
    p->table = m->table;
    if (w->linear)
        w->linear->table = m->table;
    if (m->count == 3) {
        p->quant = w->quant;
        *w->quant = (struct nn_quant){.bits = m->bits, .group = m->group};
        w->quant->scales = add_part(b, name, ".scales", m->at[1]);
        w->quant->biases = add_part(b, name, ".biases", m->at[2]);
    }
    return slot;
}

/* Bind one tensor: its slot, or MX_NONE when there is a problem. */
static mx_array bind(struct nn_binder *b, const char *name, const struct want *w)
{
    struct found f = {0};
    struct made m = {.count = 1};
    mx_array slot = MX_NONE;
    char *full = full_name(b, name, w->suffix);

    assert(strlen(full) < NN_NAME_MAX && !nn_params_find(b->params, full));
    if ((!b->source || find_source(b, full, w, &f, &m)) && !b->failure.kind) {
        mx_enter();
        make_values(b, full, &f, w, &m);
        if (m.table ? mx_check(&b->failure) : mx_eval(m.at, m.count, &b->failure)) {
            err_in(&b->failure, "%s", full);
            nn_table_close(m.table);
        } else {
            slot = add_slots(b, full, &f, w, &m);
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

enum place { LAYER, EMBEDDING, TABLE };

static void bind_weight(struct nn_binder *b, const char *name, struct nn_linear *l, int in, int out,
                        enum place place)
{
    struct want w = {.suffix = ".weight", .shape = {out, in}, .n = 2, .linear = l};
    w.init = take_init(b, in);
    w.keep = place == TABLE;
    w.is_layer = place == LAYER;
    w.quant = &l->quant;
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

void nn_module_name(struct nn_binder *b, const char *name)
{
    struct nn_params *p = b->params;
    assert(p->module_count > 0);
    free(p->modules[p->module_count - 1].name);
    p->modules[p->module_count - 1].name = xstrdup(name);
}

void nn_bind_linear(struct nn_binder *b, const char *name, struct nn_linear *l, int in, int out)
{
    bind_weight(b, name, l, in, out, LAYER);
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
    bind_weight(b, name, l, dim, count, EMBEDDING);
}

void nn_bind_table(struct nn_binder *b, const char *name, struct nn_linear *l, int dim, int count)
{
    bind_weight(b, name, l, dim, count, TABLE);
}

void nn_bind_experts(struct nn_binder *b, const char *name, struct nn_experts *x, int count, int in,
                     int inner)
{
    char *gate = xasprintf("%s.switch_glu.gate_proj.weight", name);
    char *up = xasprintf("%s.switch_glu.up_proj.weight", name);
    char *down = xasprintf("%s.switch_glu.down_proj.weight", name);
    struct nn_init init = b->next;
    struct want w = {.suffix = ".gate_up_proj", .shape = {count, 2 * inner, in}, .n = 3};

    *x = (struct nn_experts){.count = count, .in = in, .inner = inner};
    w.is_layer = true;
    w.quant = &x->gate_up_quant;
    w.others[0] = gate;
    w.others[1] = up;
    w.init = take_init(b, in);
    x->gate_up = bind(b, name, &w);

    b->next = init;
    w = (struct want){.suffix = ".down_proj", .shape = {count, in, inner}, .n = 3};
    w.is_layer = true;
    w.quant = &x->down_quant;
    w.others[0] = down;
    w.init = take_init(b, inner);
    x->down = bind(b, name, &w);
    free(gate);
    free(up);
    free(down);
}

void nn_bind_norm(struct nn_binder *b, const char *name, struct nn_norm *n, int dim)
{
    *n = (struct nn_norm){.eps = b->eps};
    n->weight = bind_vector(b, name, ".weight", dim, 1);
}

void nn_bind_layer_norm(struct nn_binder *b, const char *name, struct nn_norm *n, int dim)
{
    nn_bind_norm(b, name, n, dim);
    n->bias = bind_vector(b, name, ".bias", dim, 0);
}

void nn_bind_conv1d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int size)
{
    struct want w = {.suffix = ".weight", .shape = {out, in_per_group, size}, .n = 3, .conv = true};
    w.init = take_init(b, in_per_group * size);
    *c = (struct nn_conv){.groups = 1};
    c->weight = bind(b, name, &w);
}

void nn_bind_conv1d_bias(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                         int out, int size)
{
    nn_bind_conv1d(b, name, c, in_per_group, out, size);
    c->bias = bind_vector(b, name, ".bias", out, 0);
}

void nn_bind_conv2d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int height, int width)
{
    struct want w = {.suffix = ".weight", .shape = {out, in_per_group, height, width}, .n = 4};
    w.conv = true;
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

void nn_bind_buffer(struct nn_binder *b, const char *name, mx_array *x, const int *shape, int n,
                    double value)
{
    struct want w = {.suffix = "", .n = n, .role = NN_BUFFER};
    memcpy(w.shape, shape, (size_t)n * sizeof *shape);
    w.init = (struct nn_init){NN_INIT_CONSTANT, value};
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
