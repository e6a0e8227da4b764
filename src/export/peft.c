/* peft.c - save an adapter as PEFT's folder.
 *
 * Each of the two files is replaced as a whole.  The tensors go first: a crash between the two
 * leaves new tensors beside the old config, and within one run the two configs are the same.
 */
#include "export/peft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CONFIG_MAX = 16 << 20 };

static const struct nn_lora *any_adapter(const struct nn_params *p)
{
    for (int i = 0; i < p->module_count; i++)
        if (p->modules[i].linear->lora.rank > 0)
            return &p->modules[i].linear->lora;
    return NULL;
}

static json_t *target_modules(const struct nn_params *p)
{
    json_t *names = json_array();
    for (int i = 0; i < p->module_count; i++)
        if (p->modules[i].linear->lora.rank > 0)
            json_array_append_new(names, json_string(p->modules[i].name));
    return names;
}

static double alpha_of(const struct nn_lora *l)
{
    return l->scale * l->rank;
}

/* A regular expression that means this module alone. */
static char *pattern_of(const char *name)
{
    struct buf b;
    buf_init(&b, 2 * NN_NAME_MAX + 2);
    buf_add_char(&b, '^');
    for (const char *c = name; *c; c++) {
        if (*c == '.')
            buf_add_char(&b, '\\');
        buf_add_char(&b, *c);
    }
    return buf_take(&b, NULL);
}

/* Ranks and alphas of the modules that have others than `l`. */
static void put_patterns(json_t *config, const struct nn_params *p, const struct nn_lora *l)
{
    json_t *ranks = json_object(), *alphas = json_object();

    for (int i = 0; i < p->module_count; i++) {
        const struct nn_lora *m = &p->modules[i].linear->lora;
        if (m->rank == 0 || (m->rank == l->rank && m->scale == l->scale))
            continue;
        char *pattern = pattern_of(p->modules[i].name);
        if (m->rank != l->rank)
            json_put_int(ranks, pattern, m->rank);
        if (alpha_of(m) != alpha_of(l))
            json_put_double(alphas, pattern, alpha_of(m));
        free(pattern);
    }
    json_put(config, "rank_pattern", ranks);
    json_put(config, "alpha_pattern", alphas);
}

/* The keys that PEFT's LoraConfig needs, and those that say that nothing else is going on.  The
 * scale is stored as alpha of the plain kind, alpha / r, whichever kind it came from. */
static json_t *make_config(const struct nn_params *p, const struct peft_options *o)
{
    const struct nn_lora *l = any_adapter(p);
    json_t *c = json_object();

    json_put_str(c, "peft_type", "LORA");
    json_put_str(c, "task_type", NULL);
    json_put_str(c, "base_model_name_or_path", o->base_model);
    json_put_str(c, "revision", NULL);
    json_put_bool(c, "inference_mode", true);
    json_put_int(c, "r", l->rank);
    json_put_double(c, "lora_alpha", alpha_of(l));
    json_put_double(c, "lora_dropout", p->dropout.rate);
    json_put(c, "target_modules", target_modules(p));
    put_patterns(c, p, l);
    json_put_str(c, "bias", "none");
    json_put_bool(c, "fan_in_fan_out", false);
    json_put_bool(c, "use_rslora", false);
    json_put_bool(c, "use_dora", !mx_is_none(l->magnitude));
    json_put_bool(c, "init_lora_weights", true);
    json_put_str(c, "modules_to_save", NULL);
    return c;
}

static int save_config(const struct nn_params *p, const char *path, const struct peft_options *o,
                       struct err *e)
{
    json_t *config = make_config(p, o);
    struct buf text;

    buf_init(&text, CONFIG_MAX);
    json_write_pretty(config, &text);
    int rc = buf_check(&text, path, e) || file_write(path, text.data, text.size, e);
    buf_release(&text);
    json_decref(config);
    return rc ? -1 : 0;
}

static int save_tensors(const struct nn_params *p, const char *path, enum mx_dtype dtype,
                        char *sha256, struct err *e)
{
    struct safetensors_item *items = xcalloc((size_t)p->count + 1, sizeof *items);
    char **names = xcalloc((size_t)p->count + 1, sizeof *names);
    int n = 0;

    for (int i = 0; i < p->count; i++) {
        if (p->at[i].role != NN_ADAPTER)
            continue;
        names[n] = xasprintf("base_model.model.%s", p->at[i].name);
        items[n] = (struct safetensors_item){names[n], p->at[i].slot, dtype};
        n++;
    }
    int rc = safetensors_write(path, items, n, NULL, 0, sha256, e);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(items);
    return rc;
}

int peft_save(const struct nn_params *p, const char *dir, const struct peft_options *o,
              char *sha256, struct err *e)
{
    if (!any_adapter(p))
        return err_set(e, ERR_BUG, "%s: there is no adapter to save", dir);
    if (dir_make(dir, e))
        return -1;
    char *config = path_join(dir, "adapter_config.json");
    char *tensors = path_join(dir, "adapter_model.safetensors");
    int rc = save_tensors(p, tensors, o->dtype, sha256, e) || save_config(p, config, o, e);
    free(config);
    free(tensors);
    return rc ? -1 : 0;
}
