/* lora_load.c - put the adapter of a PEFT folder on a model, or say why it does not fit. */
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/lora.h"

enum { CONFIG_MAX = 4 << 20, PATTERNS_MAX = 10000 };

static const char PREFIX[] = "base_model.model.";
static const char A[] = ".lora_A.weight", B[] = ".lora_B.weight", M[] = ".lora_magnitude_vector";

/* What an adapter's config says of one module. */
struct choice {
    int rank;
    double alpha;
};

/* An adapter on its way onto a model. */
struct adapter {
    struct nn_lora_config config;
    json_t *json;
    struct choice *choices;             /* one for each module of the model */
    struct safetensors *file;
};

/* --------------------------------------------------------- adapter_config.json -- */

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* Keys that, when set, ask for mathematics that nn_linear does not do. */
static int refuse_kinds(const json_t *o, struct err *e)
{
    static const char *const KEYS[] = {
        "fan_in_fan_out",          "modules_to_save",   "layer_replication", "lora_bias",
        "trainable_token_indices", "target_parameters", "use_qalora",        "use_bdlora",
        "alora_invocation_tokens", "arrow_config",
    };

    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!is_empty(json_object_get(o, KEYS[i])))
            return err_set(e, ERR_USAGE, "%s is set, which is not supported", KEYS[i]);
    const char *type = json_need_str(o, "peft_type", e);
    if (type && strcmp(type, "LORA") != 0)
        return err_set(e, ERR_USAGE, "peft_type is %.40s, expected LORA", type);
    const char *bias = json_get_str(o, "bias", "none", e);
    if (bias && strcmp(bias, "none") != 0)
        return err_set(e, ERR_USAGE, "bias is %.40s, expected none", bias);
    const json_t *init = json_object_get(o, "init_lora_weights");
    const char *kind = json_string_value(init);
    if (kind && (strncmp(kind, "pissa", 5) == 0 || strcmp(kind, "olora") == 0 ||
                 strcmp(kind, "corda") == 0 || strcmp(kind, "loftq") == 0))
        return err_set(e, ERR_USAGE, "init_lora_weights is %.40s, which changes the base weights",
                       kind);
    return e->kind ? -1 : 0;
}

static bool is_rank(int64_t rank)
{
    return rank > 0 && rank <= NN_LORA_RANK_MAX;
}

static int check_numbers(const struct nn_lora_config *c, int64_t rank, struct err *e)
{
    if (!is_rank(rank))
        return err_set(e, ERR_USAGE, "r is %lld, expected 1 to %d", (long long)rank,
                       NN_LORA_RANK_MAX);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_set(e, ERR_USAGE, "lora_dropout is %g, expected 0 to below 1", c->dropout);
    if (!(isfinite(c->alpha) && c->alpha > 0))
        return err_set(e, ERR_USAGE, "lora_alpha is %g, expected a number above 0", c->alpha);
    return 0;
}

/* PEFT's patterns mean a module's name, or what follows one of its dots, as a whole. */
static int compile_pattern(regex_t *out, const char *pattern, const char *key, struct err *e)
{
    char *whole = xasprintf("^(.*\\.)?(%s)$", pattern);
    int rc = regcomp(out, whole, REG_EXTENDED | REG_NOSUB);
    free(whole);
    return rc ? err_set(e, ERR_USAGE, "%s: %.100s is not a regular expression that is understood",
                        key, pattern)
              : 0;
}

/* Give the value of one pattern to the modules that it means and that have none yet. */
static int apply_pattern(struct adapter *a, const struct nn_params *p, const char *key,
                         const char *pattern, double value, struct err *e)
{
    bool of_rank = strcmp(key, "rank_pattern") == 0;
    regex_t regex;

    if (of_rank ? value != floor(value) || !is_rank((int64_t)value)
                : !isfinite(value) || value <= 0)
        return err_set(e, ERR_USAGE, "%s: %.100s is %g, expected %s", key, pattern, value,
                       of_rank ? "a rank" : "a number above 0");
    if (compile_pattern(&regex, pattern, key, e))
        return -1;
    for (int i = 0; i < p->module_count; i++) {
        struct choice *c = &a->choices[i];
        if ((of_rank ? c->rank > 0 : c->alpha > 0) ||
            regexec(&regex, p->modules[i].name, 0, NULL, 0) != 0)
            continue;
        if (of_rank)
            c->rank = (int)value;
        else
            c->alpha = value;
    }
    regfree(&regex);
    return 0;
}

static int apply_patterns(struct adapter *a, const struct nn_params *p, const char *key,
                          struct err *e)
{
    json_t *patterns = json_object_get(a->json, key), *v;
    const char *pattern;

    if (is_empty(patterns))
        return 0;
    if (!json_is_object(patterns) || json_object_size(patterns) > PATTERNS_MAX)
        return err_set(e, ERR_USAGE, "%s is no object of at most %d patterns", key, PATTERNS_MAX);
    json_object_foreach(patterns, pattern, v)
    {
        double value = json_is_number(v) ? json_number_value(v) : NAN;
        if (apply_pattern(a, p, key, pattern, value, e))
            return -1;
    }
    return 0;
}

static int read_config(struct adapter *a, const struct nn_params *p, struct err *e)
{
    struct nn_lora_config *c = &a->config;
    const json_t *o = a->json;

    if (refuse_kinds(o, e))
        return -1;
    int64_t rank = json_need_int(o, "r", e);
    c->alpha = json_get_double(o, "lora_alpha", (double)rank, e);
    c->dropout = json_get_double(o, "lora_dropout", 0, e);
    c->rslora = json_get_bool(o, "use_rslora", false, e);
    c->dora = json_get_bool(o, "use_dora", false, e);
    if (e->kind || check_numbers(c, rank, e))
        return -1;
    c->rank = (int)rank;
    if (apply_patterns(a, p, "rank_pattern", e) || apply_patterns(a, p, "alpha_pattern", e))
        return -1;
    for (int i = 0; i < p->module_count; i++) {
        struct choice *m = &a->choices[i];
        m->rank = m->rank > 0 ? m->rank : c->rank;
        m->alpha = m->alpha > 0 ? m->alpha : c->alpha;
    }
    return 0;
}

/* -------------------------------------------------------------------- tensors -- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && strcmp(s + n - k, end) == 0;
}

static struct nn_module *find_module(const struct nn_params *p, const char *name, size_t size)
{
    for (int i = 0; i < p->module_count; i++)
        if (strlen(p->modules[i].name) == size && memcmp(p->modules[i].name, name, size) == 0)
            return &p->modules[i];
    return NULL;
}

/* Where the suffix of an adapter's tensor starts, or NULL. */
static const char *suffix_of(const char *name)
{
    static const char *const SUFFIXES[] = {A, B, M};
    for (int i = 0; i < 3; i++)
        if (ends_with(name, SUFFIXES[i]))
            return name + strlen(name) - strlen(SUFFIXES[i]);
    return NULL;
}

/* The module that an adapter's tensor belongs to. */
static struct nn_module *owner(const struct nn_params *p, const char *name, struct err *e)
{
    const char *suffix = suffix_of(name);
    size_t skip = sizeof PREFIX - 1;

    if (strncmp(name, PREFIX, skip) != 0 || !suffix) {
        err_set(e, ERR_USAGE, "tensor %s is not named as PEFT names LoRA's", name);
        return NULL;
    }
    struct nn_module *m = find_module(p, name + skip, (size_t)(suffix - name) - skip);
    if (!m) {
        err_set(e, ERR_USAGE, "tensor %s: the model has no linear layer of that name", name);
        err_hint(e, "the adapter was made for another model, or for a tower that is not loaded");
    }
    return m;
}

/* The tensor of the same module with another suffix must be there, too. */
static int check_beside(const struct safetensors *s, const char *name, const char *suffix,
                        struct err *e)
{
    char *other = xasprintf("%.*s%s", (int)(suffix_of(name) - name), name, suffix);
    int rc = safetensors_find(s, other)
                 ? 0
                 : err_set(e, ERR_USAGE, "tensor %s has no %s beside it", name, other);
    free(other);
    return rc;
}

/* Tensors that are no set, or belong to no layer; before anything is attached. */
static int check_names(const struct nn_params *p, const struct adapter *a, struct err *e)
{
    const struct safetensors *s = a->file;

    for (int i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_at(s, i)->name;
        if (!owner(p, name, e) || check_beside(s, name, A, e) || check_beside(s, name, B, e))
            return -1;
        if (a->config.dora && check_beside(s, name, M, e))
            return -1;
        if (!a->config.dora && ends_with(name, M))
            return err_set(e, ERR_USAGE, "tensor %s is DoRA's, and use_dora is not set", name);
    }
    if (safetensors_count(s) == 0)
        return err_set(e, ERR_USAGE, "the adapter holds no tensors");
    return 0;
}

/* Shape (rows, columns), or (rows) when columns is 0; floating point. */
static int check_tensor(const struct safetensors_tensor *t, int rows, int columns, struct err *e)
{
    int n = columns > 0 ? 2 : 1;
    if (t->n != n || t->shape[0] != rows || (n == 2 && t->shape[1] != columns)) {
        if (n == 2)
            err_set(e, ERR_USAGE,
                    "tensor %s has shape (%d,%d), the model and the rank need (%d,%d)", t->name,
                    t->n > 0 ? t->shape[0] : 1, t->n > 1 ? t->shape[1] : 1, rows, columns);
        else
            err_set(e, ERR_USAGE, "tensor %s has %d numbers in %d axes, the model needs %d in one",
                    t->name, t->n > 0 ? t->shape[0] : 1, t->n, rows);
        return err_hint(e, "the adapter was made for another model");
    }
    if (t->dtype != MX_FLOAT32 && t->dtype != MX_BFLOAT16 && t->dtype != MX_FLOAT16)
        return err_set(e, ERR_USAGE, "tensor %s is %s, expected a floating point dtype", t->name,
                       mx_dtype_name(t->dtype));
    return 0;
}

/* What a module has in the file. */
struct triple {
    const struct safetensors_tensor *a, *b, *magnitude;
};

/* Find a module's tensors; 1 when there are none, -1 when they do not fit. */
static int find_triple(const struct adapter *from, const struct nn_module *m, int rank,
                       struct triple *t, struct err *e)
{
    const struct safetensors_tensor **at[] = {&t->a, &t->b, &t->magnitude};
    const char *const suffixes[] = {A, B, M};

    for (int i = 0; i < 3; i++) {
        char *name = xasprintf("%s%s%s", PREFIX, m->name, suffixes[i]);
        *at[i] = safetensors_find(from->file, name);
        free(name);
    }
    if (!t->a || !t->b)
        return 1;
    if (check_tensor(t->a, rank, m->linear->in, e) || check_tensor(t->b, m->linear->out, rank, e))
        return -1;
    return t->magnitude && check_tensor(t->magnitude, m->linear->out, 0, e) ? -1 : 0;
}

static mx_array value(struct safetensors *s, const struct safetensors_tensor *t)
{
    return t ? mx_contiguous(mx_astype(safetensors_array(s, t), MX_FLOAT32)) : MX_NONE;
}

/* Check all pairs, then attach all: a misfit leaves the model without an adapter. */
static int attach_all(struct nn_params *p, const struct adapter *a, struct err *e)
{
    struct triple t;

    for (int i = 0; i < p->module_count; i++)
        if (find_triple(a, &p->modules[i], a->choices[i].rank, &t, e) < 0)
            return -1;
    nn_params_freeze(p);
    p->dropout = (struct nn_dropout){.rate = a->config.dropout};
    for (int i = 0; i < p->module_count; i++) {
        if (find_triple(a, &p->modules[i], a->choices[i].rank, &t, e))
            continue;
        mx_enter();
        int rc =
            nn_lora_put(p, &p->modules[i], &a->config, a->choices[i].alpha, value(a->file, t.a),
                        value(a->file, t.b), value(a->file, t.magnitude), e);
        mx_leave(MX_NONE);
        if (rc)
            return -1;
    }
    nn_params_sort(p);
    return 0;
}

static int load(struct adapter *a, struct nn_params *p, const char *config, const char *weights,
                struct err *e)
{
    a->json = json_read_file(config, CONFIG_MAX, e);
    if (!a->json || read_config(a, p, e))
        return err_in(e, "%s", config);
    a->file = safetensors_open(weights, e);
    if (!a->file)
        return -1;
    return check_names(p, a, e) || attach_all(p, a, e) ? err_in(e, "%s", weights) : 0;
}

int nn_lora_load(struct nn_params *p, const char *dir, struct nn_lora_config *found, struct err *e)
{
    struct adapter a = {0};

    if (nn_lora_attached(p))
        return err_set(e, ERR_BUG, "there is an adapter on the model already");
    char *config = path_join(dir, "adapter_config.json");
    char *weights = path_join(dir, "adapter_model.safetensors");
    a.choices = xcalloc((size_t)p->module_count + 1, sizeof *a.choices);
    int rc = load(&a, p, config, weights, e);
    free(config);
    free(weights);
    free(a.choices);
    json_decref(a.json);
    safetensors_close(a.file);
    if (rc == 0 && found)
        *found = a.config;
    return rc;
}
