/* model.c - open a checkpoint of the Hub's layout, and what all families have in common. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/safetensors.h"

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* ---------------------------------------------------------------- opening -- */

static int read_config(struct model *m, struct err *e)
{
    char *path = path_join(m->dir, "config.json");

    if (!file_is_dir(m->dir)) {
        err_set(e, ERR_FAILED, "%s: no such folder", m->dir);
        err_hint(e, "a model is a folder with config.json and model.safetensors, as on the Hub");
    } else {
        m->config = json_read_file(path, CONFIG_BYTES_MAX, e);
    }
    if (m->config && !json_is_object(m->config))
        err_set(e, ERR_FAILED, "%s: found %s, expected an object", path, json_kind_name(m->config));
    free(path);
    return e->kind ? -1 : 0;
}

static int open_family(struct model *m, const struct model_options *o, struct err *e)
{
    const char *type = json_need_str(m->config, "model_type", e);

    if (e->kind)
        return -1;
    m->family = model_family_find(type);
    if (!m->family) {
        err_set(e, ERR_FAILED, "model_type: '%s' is not known here", type);
        return err_hint(e, "this build knows %s", model_family_names());
    }
    m->self = m->family->open(m->config, o, &m->facts, e);
    return m->self ? 0 : -1;
}

void model_read_ends(const json_t *config, struct model_facts *f, struct err *e)
{
    const json_t *v = json_object_get(config, "eos_token_id");
    size_t n = json_is_array(v) ? json_array_size(v) : 1;

    if (!v || json_is_null(v))
        return;
    if (n > MODEL_EOS_MAX) {
        err_set(e, ERR_FAILED, "eos_token_id: found %zu ids, at most %d are known", n,
                MODEL_EOS_MAX);
        return;
    }
    f->eos_count = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= f->vocab)
            err_set(e, ERR_FAILED, "eos_token_id: entry %zu is not an id below %d", i, f->vocab);
        else
            f->eos_ids[f->eos_count++] = (int)json_integer_value(id);
    }
}

/* generation_config.json, where there is one, says best what ends a turn. */
static int read_generation_config(struct model *m, struct err *e)
{
    char *path = path_join(m->dir, "generation_config.json");
    json_t *c = NULL;

    if (file_exists(path))
        c = json_read_file(path, CONFIG_BYTES_MAX, e);
    if (c) {
        model_read_ends(c, &m->facts, e);
        if (e->kind)
            err_in(e, "%s", path);
    }
    json_decref(c);
    free(path);
    return e->kind ? -1 : 0;
}

static int bind_weights(struct model *m, const struct model_options *o, struct err *e)
{
    struct safetensors *source = NULL;
    struct nn_binder b;

    if (!o->init_random) {
        source = safetensors_open(m->dir, e);
        if (!source)
            return -1;
    }
    nn_binder_init(&b, &m->params, source, o->dtype);
    b.seed = o->seed;
    b.quantize_bits = o->quantize_bits;
    b.quantize_group = o->quantize_group;
    m->family->bind(m->self, &b);
    int failed = nn_bind_end(&b, e);
    safetensors_close(source);
    return failed ? err_in(e, "%s", m->dir) : 0;
}

/* Everything but the weights; NULL on failure. */
static struct model *open_without_weights(const char *dir, const struct model_options *o,
                                          struct err *e)
{
    struct model *m = xcalloc(1, sizeof *m);

    m->dir = xstrdup(dir);
    m->dtype = o->dtype;
    if (!read_config(m, e) && open_family(m, o, e))
        err_in(e, "%s/config.json", dir);
    if (!e->kind && !read_generation_config(m, e))
        return m;
    model_close(m);
    return NULL;
}

struct model *model_open(const char *dir, const struct model_options *o, struct err *e)
{
    struct model *m = open_without_weights(dir, o, e);

    if (m && bind_weights(m, o, e)) {
        model_close(m);
        return NULL;
    }
    return m;
}

int model_facts_read(const char *dir, struct model_facts *f, struct err *e)
{
    struct model_options o = {.dtype = MX_FLOAT32, .dropout = -1};
    struct model *m = open_without_weights(dir, &o, e);

    if (!m)
        return -1;
    *f = m->facts;
    model_close(m);
    return 0;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    nn_params_release(&m->params);
    if (m->self)
        m->family->close(m->self);
    json_decref(m->config);
    free(m->dir);
    free(m);
}

/* ----------------------------------------------------------------- towers -- */

/* Functions whose results carry no gradient have a scope of their own, so that the arrays inside
 * can go as soon as they are computed: the caller may evaluate in the scope it called from. */

mx_array model_hear(const struct model *m, const struct model_input *in)
{
    if (!m->family->hear)
        return mx_fail("%s hears nothing", m->family->model_type);
    mx_enter();
    return mx_leave(mx_stop_gradient(m->family->hear(m->self, in)));
}

mx_array model_see(const struct model *m, const struct model_input *in)
{
    if (!m->family->see)
        return mx_fail("%s sees nothing", m->family->model_type);
    mx_enter();
    return mx_leave(mx_stop_gradient(m->family->see(m->self, in)));
}

mx_array model_rows(const struct model *m, const int32_t *tokens, int64_t count)
{
    return m->family->rows ? m->family->rows(m->self, tokens, count) : MX_NONE;
}

/* ---------------------------------------------------------------- forward -- */

mx_array model_hidden(const struct model *m, const struct model_input *in)
{
    struct model_input with = *in;

    if (m->checkpointing)
        with.checkpoint = &m->params;
    if (m->facts.dropout > 0)
        with.dropout_key = m->params.dropout.key;
    return m->family->hidden(m->self, &with);
}

static bool is_trained(const struct nn_params *p, mx_array slot)
{
    for (int i = 0; i < p->trainable_count; i++)
        if (p->trainable_slots[i].id == slot.id)
            return true;
    return false;
}

static struct nn_head head_of(const struct model *m)
{
    struct nn_head head;

    mx_at("lm_head");
    m->family->head(m->self, &head);
    head.trained = is_trained(&m->params, head.weight);
    return head;
}

mx_array model_logits(const struct model *m, mx_array hidden)
{
    struct nn_head head = head_of(m);
    return nn_logits(&head, hidden);
}

/* Hidden states of the target rows [R,D]. */
static mx_array target_rows(const struct model *m, const struct model_input *in)
{
    mx_array h = model_hidden(m, in);
    return mx_take(mx_flatten(h, 0, 1), in->target_rows, 0);
}

mx_array model_loss_sum(const struct model *m, const struct model_input *in)
{
    mx_array h = target_rows(m, in);
    struct nn_head head = head_of(m);
    head.smoothing = m->label_smoothing;
    return nn_loss_sum(&head, h, in->target_ids, in->target_weights);
}

mx_array model_logprobs(const struct model *m, const struct model_input *in)
{
    mx_enter();
    mx_array h = target_rows(m, in);
    struct nn_head head = head_of(m);
    return mx_leave(nn_logprobs(&head, h, in->target_ids));
}

/* ------------------------------------------------------------- generation -- */

struct model_cache *model_cache_new(const struct model *m, int rows, int capacity)
{
    return m->family->cache_new(m->self, rows, capacity);
}

mx_array model_prefill(const struct model *m, struct model_cache *c, const struct model_input *in,
                       mx_array lengths)
{
    mx_enter();
    return mx_leave(m->family->prefill(m->self, c, in, lengths));
}

mx_array model_decode(const struct model *m, struct model_cache *c, mx_array tokens)
{
    mx_enter();
    return mx_leave(m->family->decode(m->self, c, tokens));
}

void model_cache_free(const struct model *m, struct model_cache *c)
{
    m->family->cache_free(c);
}
