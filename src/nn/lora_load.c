/* lora_load.c - put the adapter of a PEFT folder on a model, or say why it does not fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/lora.h"

enum { CONFIG_MAX = 4 << 20 };

static const char PREFIX[] = "base_model.model.";
static const char A[] = ".lora_A.weight", B[] = ".lora_B.weight";

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
        "use_dora",          "fan_in_fan_out",    "modules_to_save", "rank_pattern",
        "alpha_pattern",     "layer_replication", "lora_bias",       "trainable_token_indices",
        "target_parameters", "use_qalora",        "use_bdlora",      "alora_invocation_tokens",
        "arrow_config",
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

static int read_config(const char *path, struct nn_lora_config *c, struct err *e)
{
    json_t *o = json_read_file(path, CONFIG_MAX, e);
    if (!o)
        return -1;
    if (refuse_kinds(o, e) == 0) {
        int64_t rank = json_need_int(o, "r", e);
        c->alpha = json_get_double(o, "lora_alpha", (double)rank, e);
        c->dropout = json_get_double(o, "lora_dropout", 0, e);
        c->rslora = json_get_bool(o, "use_rslora", false, e);
        c->rank = rank > 0 && rank <= NN_LORA_RANK_MAX ? (int)rank : 0;
        if (!e->kind && c->rank == 0)
            err_set(e, ERR_USAGE, "r is %lld, expected 1 to %d", (long long)rank, NN_LORA_RANK_MAX);
        if (!e->kind && !(c->dropout >= 0 && c->dropout < 1))
            err_set(e, ERR_USAGE, "lora_dropout is %g, expected 0 to below 1", c->dropout);
        if (!e->kind && !(isfinite(c->alpha) && c->alpha > 0))
            err_set(e, ERR_USAGE, "lora_alpha is %g, expected a number above 0", c->alpha);
    }
    json_decref(o);
    return e->kind ? err_in(e, "%s", path) : 0;
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

/* The module that an adapter's tensor belongs to. */
static struct nn_module *owner(const struct nn_params *p, const char *name, struct err *e)
{
    size_t skip = sizeof PREFIX - 1, size = strlen(name);

    if (strncmp(name, PREFIX, skip) != 0 || (!ends_with(name, A) && !ends_with(name, B))) {
        err_set(e, ERR_USAGE, "tensor %s is not named as PEFT names LoRA's", name);
        return NULL;
    }
    struct nn_module *m = find_module(p, name + skip, size - skip - (sizeof A - 1));
    if (!m) {
        err_set(e, ERR_USAGE, "tensor %s: the model has no linear layer of that name", name);
        err_hint(e, "the adapter was made for another model, or for a tower that is not loaded");
    }
    return m;
}

/* Tensors that are no pair, or belong to no layer; before anything is attached. */
static int check_names(const struct nn_params *p, const struct safetensors *s, struct err *e)
{
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        if (!owner(p, t->name, e))
            return -1;
        char *other = xstrdup(t->name);
        char *letter = other + strlen(other) - strlen("A.weight");
        *letter = *letter == 'A' ? 'B' : 'A';
        const struct safetensors_tensor *found = safetensors_find(s, other);
        if (!found)
            err_set(e, ERR_USAGE, "tensor %s has no %s beside it", t->name, other);
        free(other);
        if (!found)
            return -1;
    }
    if (safetensors_count(s) == 0)
        return err_set(e, ERR_USAGE, "the adapter holds no tensors");
    return 0;
}

static int check_shape(const struct safetensors_tensor *t, int rows, int columns, struct err *e)
{
    if (t->n == 2 && t->shape[0] == rows && t->shape[1] == columns)
        return 0;
    err_set(e, ERR_USAGE, "tensor %s has shape (%d,%d), the model and the rank need (%d,%d)",
            t->name, t->n > 0 ? t->shape[0] : 1, t->n > 1 ? t->shape[1] : 1, rows, columns);
    return err_hint(e, "the adapter was made for another model");
}

static mx_array value(struct safetensors *s, const struct safetensors_tensor *t)
{
    return mx_contiguous(mx_astype(safetensors_array(s, t), MX_FLOAT32));
}

/* Find the pair of a module; 1 when there is none, -1 when it does not fit. */
static int find_pair(const struct safetensors *s, const struct nn_module *m, int rank,
                     const struct safetensors_tensor *pair[2], struct err *e)
{
    char *a = xasprintf("%s%s%s", PREFIX, m->name, A), *b = xasprintf("%s%s%s", PREFIX, m->name, B);
    pair[0] = safetensors_find(s, a);
    pair[1] = safetensors_find(s, b);
    free(a);
    free(b);
    if (!pair[0] || !pair[1])
        return 1;
    if (check_shape(pair[0], rank, m->linear->in, e) ||
        check_shape(pair[1], m->linear->out, rank, e))
        return -1;
    for (int i = 0; i < 2; i++)
        if (pair[i]->dtype != MX_FLOAT32 && pair[i]->dtype != MX_BFLOAT16 &&
            pair[i]->dtype != MX_FLOAT16)
            return err_set(e, ERR_USAGE, "tensor %s is %s, expected a floating point dtype",
                           pair[i]->name, mx_dtype_name(pair[i]->dtype));
    return 0;
}

/* Check all pairs, then attach all: a misfit leaves the model without an adapter. */
static int attach_all(struct nn_params *p, struct safetensors *s, const struct nn_lora_config *c,
                      struct err *e)
{
    const struct safetensors_tensor *pair[2];

    for (int i = 0; i < p->module_count; i++)
        if (find_pair(s, &p->modules[i], c->rank, pair, e) < 0)
            return -1;
    nn_params_freeze(p);
    p->dropout = (struct nn_dropout){.rate = c->dropout};
    for (int i = 0; i < p->module_count; i++) {
        if (find_pair(s, &p->modules[i], c->rank, pair, e))
            continue;
        mx_enter();
        int rc = nn_lora_put(p, &p->modules[i], c, value(s, pair[0]), value(s, pair[1]), e);
        mx_leave(MX_NONE);
        if (rc)
            return -1;
    }
    nn_params_sort(p);
    return 0;
}

static int load(struct nn_params *p, const char *config, const char *weights,
                struct nn_lora_config *c, struct err *e)
{
    if (read_config(config, c, e))
        return -1;
    struct safetensors *s = safetensors_open(weights, e);
    if (!s)
        return -1;
    int rc = check_names(p, s, e) || attach_all(p, s, c, e);
    safetensors_close(s);
    return rc ? err_in(e, "%s", weights) : 0;
}

int nn_lora_load(struct nn_params *p, const char *dir, struct nn_lora_config *found, struct err *e)
{
    struct nn_lora_config c = {0};

    if (nn_lora_attached(p))
        return err_set(e, ERR_BUG, "there is an adapter on the model already");
    char *config = path_join(dir, "adapter_config.json");
    char *weights = path_join(dir, "adapter_model.safetensors");
    int rc = load(p, config, weights, &c, e);
    free(config);
    free(weights);
    if (rc == 0 && found)
        *found = c;
    return rc;
}
