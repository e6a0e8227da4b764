/* gemma4_config.c - the text part of Gemma 4's config.json.
 *
 * Every value that would change the mathematics is either obeyed or refused by name.
 */
#include "model/gemma4_config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_value.h"

/* ----------------------------------------------------------------- layers -- */

static bool layer_is_full(const char *type, int i, struct err *e)
{
    if (strcmp(type, "full_attention") == 0)
        return true;
    if (strcmp(type, "sliding_attention") != 0)
        err_set(e, ERR_FAILED, "layer_types: '%s' (layer %d) is not known here", type, i);
    return false;
}

/* Five sliding layers and a full one where the config does not say; the last is always full. */
static void read_layer_types(struct gemma4_text *m, const json_t *c, struct err *e)
{
    const json_t *types = json_get_array(c, "layer_types", e);

    if (types && json_array_size(types) != (size_t)m->L)
        err_set(e, ERR_FAILED, "layer_types: found %zu, expected %d (num_hidden_layers)",
                json_array_size(types), m->L);
    for (int i = 0; i < m->L && !e->kind; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (types && !type)
            err_set(e, ERR_FAILED, "layer_types: entry %d is not a string", i);
        else
            m->layers[i].is_full = types ? layer_is_full(type, i, e) : (i + 1) % 6 == 0;
    }
    m->layers[m->L - 1].is_full = true;
}

/* One layer's entry in per_layer_config. */
static void read_own_heads(struct gemma4_layer *l, const json_t *c, struct err *e)
{
    const char *name;
    json_t *value;

    l->head_dim = config_size(c, "head_dim", l->head_dim, 2, 2 * NN_ROPE_PAIRS_MAX, e);
    l->kv_heads = config_size(c, "num_key_value_heads", l->kv_heads, 1, 4096, e);
    json_object_foreach((json_t *)c, name, value)
    {
        if (strcmp(name, "head_dim") != 0 && strcmp(name, "num_key_value_heads") != 0)
            err_set(e, ERR_FAILED, "per_layer_config: '%s' (layer %d) is not known here", name,
                    l->index);
    }
}

/* Heads of full layers: newer configs say them layer by layer, older ones by global_ keys, of which
 * the number of key heads counts in models whose keys are values only. */
static void read_layer_heads(struct gemma4_text *m, const json_t *c, struct err *e)
{
    const json_t *by_layer = json_get_object(c, "per_layer_config", e);
    int C = config_size(c, "head_dim", 256, 2, 2 * NN_ROPE_PAIRS_MAX, e);
    int K = config_size(c, "num_key_value_heads", 4, 1, 4096, e);
    int wide = config_size(c, "global_head_dim", 512, 2, 2 * NN_ROPE_PAIRS_MAX, e);
    int global_K = config_size(c, "num_global_key_value_heads", K, 1, 4096, e);
    bool k_is_v = json_get_bool(c, "attention_k_eq_v", false, e);
    const char *key;
    json_t *one;

    for (int i = 0; i < m->L; i++) {
        struct gemma4_layer *l = &m->layers[i];
        bool by_global = !by_layer && l->is_full;
        l->k_is_v = k_is_v && l->is_full;
        l->head_dim = by_global ? wide : C;
        l->kv_heads = by_global && k_is_v ? global_K : K;
    }
    json_object_foreach((json_t *)by_layer, key, one)
    {
        char *end;
        long i = strtol(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || i >= m->L || !json_is_object(one)) {
            err_set(e, ERR_FAILED, "per_layer_config: '%s' is not a layer of %d", key, m->L);
            return;
        }
        read_own_heads(&m->layers[i], one, e);
    }
}

/* Layers of one kind share rope, and perhaps keys, so they must be alike. */
static void check_layers(const struct gemma4_text *m, struct err *e)
{
    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i], *first = m->layers;
        while (first->is_full != l->is_full)
            first++;                    /* ends at l at the latest */
        if (first->head_dim != l->head_dim || first->kv_heads != l->kv_heads)
            err_set(e, ERR_FAILED,
                    "layers %d and %d: head_dim %d and %d, %d and %d key heads, but layers of one "
                    "kind must be alike",
                    first->index, i, first->head_dim, l->head_dim, first->kv_heads, l->kv_heads);
        if (!l->has_kv && !first->has_kv)
            err_set(e, ERR_FAILED,
                    "num_kv_shared_layers: layer %d has no earlier layer of its kind to share "
                    "keys and values with",
                    i);
        if (l->head_dim % 2 || m->H % l->kv_heads)
            err_set(e, ERR_FAILED,
                    "layer %d: head_dim %d must be even and num_attention_heads %d a multiple of "
                    "its %d key heads",
                    i, l->head_dim, m->H, l->kv_heads);
    }
}

/* ------------------------------------------------------------------- rope -- */

static struct nn_rope read_rope(const json_t *all, bool is_full, int head_dim, struct err *e)
{
    const char *kind = is_full ? "full_attention" : "sliding_attention";
    const json_t *c = all ? json_get_object(all, kind, e) : NULL;
    double fraction = is_full && !c ? 0.25 : 1.0, base = is_full ? 1e6 : 1e4;

    if (all && !c)
        err_set(e, ERR_FAILED, "rope_parameters: '%s' is missing", kind);
    if (c) {
        const char *type = json_get_str(c, "rope_type", "default", e);
        base = json_get_double(c, "rope_theta", 1e4, e);
        if (json_get_double(c, "factor", 1.0, e) != 1.0)
            err_set(e, ERR_FAILED, "rope_parameters: factor %g (%s) is not known here",
                    json_number_value(json_object_get(c, "factor")), kind);
        if (strcmp(type, "proportional") == 0)
            fraction = json_get_double(c, "partial_rotary_factor", 1.0, e);
        else if (strcmp(type, "default") != 0)
            err_set(e, ERR_FAILED, "rope_parameters: rope_type '%s' (%s) is not known here", type,
                    kind);
    }
    if (!(base > 0) || !(fraction >= 0) || fraction > 1) {
        err_set(e, ERR_FAILED, "rope_parameters: rope_theta %g, partial_rotary_factor %g (%s)",
                base, fraction, kind);
        base = fraction = 1;
    }
    return nn_rope_make(head_dim, fraction, base);
}

static void read_ropes(struct gemma4_text *m, const json_t *c, struct err *e)
{
    const json_t *all = json_get_object(c, "rope_parameters", e);
    bool seen[2] = {false, false};

    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        if (!seen[l->is_full])
            *(l->is_full ? &m->full_rope : &m->window_rope) =
                read_rope(all, l->is_full, l->head_dim, e);
        seen[l->is_full] = true;
    }
}

/* ------------------------------------------------------------------- text -- */

static void refuse_unknown_text(const json_t *c, struct err *e)
{
    config_want_str(c, "hidden_activation", "gelu_pytorch_tanh", e);
    config_want_false(c, "attention_bias", "biases in attention", e);
    if (json_get_double(c, "attention_dropout", 0, e) != 0)
        err_set(e, ERR_FAILED, "attention_dropout: %g, but this build has no dropout in attention",
                json_number_value(json_object_get(c, "attention_dropout")));
    if (!json_get_bool(c, "tie_word_embeddings", true, e))
        err_set(e, ERR_FAILED, "tie_word_embeddings: false, but this build has no separate head");
}

/* Missing in Gemma 4 it means null, in encoder-free models "vision". */
static enum gemma4_seeing read_seeing(const json_t *c, bool is_unified, struct err *e)
{
    const json_t *v = json_object_get(c, "use_bidirectional_attention");

    if (!v && is_unified)
        return GEMMA4_IMAGE_IN_WINDOW;
    const char *seen = json_get_str(c, "use_bidirectional_attention", "", e);
    if (!*seen)
        return GEMMA4_CAUSAL;
    if (strcmp(seen, "vision") != 0) {
        err_set(e, ERR_FAILED, "use_bidirectional_attention: '%s' is not known here", seen);
        err_hint(e, "null and 'vision' are: a model that sees what it is to predict is no decoder");
    }
    return GEMMA4_IMAGE_IN_WINDOW;
}

static void read_experts(struct gemma4_text *m, const json_t *c, struct err *e)
{
    if (!json_get_bool(c, "enable_moe_block", false, e))
        return;
    m->experts = config_need_size(c, "num_experts", e);
    m->experts_per_token = config_need_size(c, "top_k_experts", e);
    m->expert_dim = config_need_size(c, "moe_intermediate_size", e);
    if (m->experts_per_token > m->experts)
        err_set(e, ERR_FAILED, "top_k_experts: %d of only %d (num_experts)", m->experts_per_token,
                m->experts);
}

/* Sizes of the whole decoder.  The defaults are those of Gemma4TextConfig and, of encoder-free
 * models, of Gemma4UnifiedTextConfig, which knows neither per-layer inputs nor experts. */
static void read_sizes(struct gemma4_text *m, const json_t *c, bool is_unified, struct err *e)
{
    m->D = config_need_size(c, "hidden_size", e);
    m->V = config_need_size(c, "vocab_size", e);
    m->L = config_need_size(c, "num_hidden_layers", e);
    m->H = config_need_size(c, "num_attention_heads", e);
    m->P =
        config_size(c, "hidden_size_per_layer_input", is_unified ? 0 : 256, 0, CONFIG_SIZE_MAX, e);
    m->per_layer_vocab =
        config_size(c, "vocab_size_per_layer_input", 262144, 1, CONFIG_SIZE_MAX, e);
    m->window = config_size(c, "sliding_window", is_unified ? 1024 : 512, 1, CONFIG_SIZE_MAX, e);
    m->pad_id = config_size(c, "pad_token_id", 0, 0, CONFIG_SIZE_MAX, e);
    m->bos_id = config_size(c, "bos_token_id", 2, 0, CONFIG_SIZE_MAX, e);
    m->positions_max =
        config_size(c, "max_position_embeddings", is_unified ? 262144 : 131072, 1, INT32_MAX, e);
    m->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    m->softcap = json_get_double(c, "final_logit_softcapping", 0, e);
    m->seeing = read_seeing(c, is_unified, e);
    read_experts(m, c, e);
    if (is_unified && (m->P || m->experts))
        err_set(e, ERR_FAILED, "%s: encoder-free models have none",
                m->P ? "hidden_size_per_layer_input" : "enable_moe_block");
    if (m->L > GEMMA4_LAYERS_MAX)
        err_set(e, ERR_FAILED, "num_hidden_layers: %d, at most %d", m->L, GEMMA4_LAYERS_MAX);
    if (m->pad_id >= m->V || (m->P && m->pad_id >= m->per_layer_vocab))
        err_set(e, ERR_FAILED, "pad_token_id: %d is not in a vocabulary of %d", m->pad_id, m->V);
}

int gemma4_text_configure(struct gemma4_text *m, const json_t *c, bool is_unified, struct err *e)
{
    refuse_unknown_text(c, e);
    read_sizes(m, c, is_unified, e);
    int F = config_need_size(c, "intermediate_size", e);
    bool wide = json_get_bool(c, "use_double_wide_mlp", false, e);
    if (e->kind)
        return -1;

    int shared = config_size(c, "num_kv_shared_layers", 0, 0, m->L - 1, e);
    m->first_shared = m->L - shared;
    m->layers = xcalloc((size_t)m->L, sizeof *m->layers);
    for (int i = 0; i < m->L; i++) {
        struct gemma4_layer *l = &m->layers[i];
        l->text = m;
        l->index = i;
        l->has_kv = i < m->first_shared;
        l->mlp_dim = wide && !l->has_kv ? 2 * F : F;
    }
    read_layer_types(m, c, e);
    read_layer_heads(m, c, e);
    if (!e->kind)
        check_layers(m, e);
    if (!e->kind)
        read_ropes(m, c, e);
    return e->kind ? -1 : 0;
}
