/* gemma4_config.c - Gemma 4's config.json.
 *
 * Every value that would change the mathematics is either obeyed or refused by name.
 */
#include "model/gemma4_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { SIZE_MAX_ANY = 1 << 24 };

/* A size: an integer from `least` to `most`. */
static int get_size(const json_t *c, const char *key, int fallback, int least, int most,
                    struct err *e)
{
    int64_t v = json_get_int(c, key, fallback, e);
    if (v >= least && v <= most)
        return (int)v;
    err_set(e, ERR_FAILED, "%s: %lld is not in %d..%d", key, (long long)v, least, most);
    return least;
}

static int need_size(const json_t *c, const char *key, struct err *e)
{
    int64_t v = json_need_int(c, key, e);
    if (v >= 1 && v <= SIZE_MAX_ANY)
        return (int)v;
    err_set(e, ERR_FAILED, "%s: %lld is not in 1..%d", key, (long long)v, SIZE_MAX_ANY);
    return 1;
}

/* A string that must have one value, which is also its default. */
static void want_str(const json_t *c, const char *key, const char *value, struct err *e)
{
    const char *found = json_get_str(c, key, value, e);
    if (strcmp(found, value) != 0)
        err_set(e, ERR_FAILED, "%s: '%s' is not known here (only '%s' is)", key, found, value);
}

static void want_false(const json_t *c, const char *key, const char *what, struct err *e)
{
    if (json_get_bool(c, key, false, e)) {
        err_set(e, ERR_FAILED, "%s: true, but this build has no %s", key, what);
        err_hint(e, "E2B and E4B, and models like them, are what this build computes");
    }
}

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

/* Heads of full layers: newer configs say them layer by layer, older ones by global_ keys. */
static void read_layer_heads(struct gemma4_text *m, const json_t *c, struct err *e)
{
    const json_t *by_layer = json_get_object(c, "per_layer_config", e);
    int C = get_size(c, "head_dim", 256, 2, 2 * NN_ROPE_PAIRS_MAX, e);
    int K = get_size(c, "num_key_value_heads", 4, 1, 4096, e);
    int wide = get_size(c, "global_head_dim", 512, 2, 2 * NN_ROPE_PAIRS_MAX, e);

    for (int i = 0; i < m->L; i++) {
        struct gemma4_layer *l = &m->layers[i];
        l->kv_heads = K;
        l->head_dim = !by_layer && l->is_full ? wide : C;
    }
    const char *key;
    json_t *one, *value;
    json_object_foreach((json_t *)by_layer, key, one)
    {
        char *end;
        long i = strtol(key, &end, 10);
        const char *name;
        if (*key < '0' || *key > '9' || *end || i >= m->L || !json_is_object(one)) {
            err_set(e, ERR_FAILED, "per_layer_config: '%s' is not a layer of %d", key, m->L);
            return;
        }
        m->layers[i].head_dim = get_size(one, "head_dim", C, 2, 2 * NN_ROPE_PAIRS_MAX, e);
        m->layers[i].kv_heads = get_size(one, "num_key_value_heads", K, 1, 4096, e);
        json_object_foreach(one, name, value)
        {
            if (strcmp(name, "head_dim") != 0 && strcmp(name, "num_key_value_heads") != 0)
                err_set(e, ERR_FAILED, "per_layer_config: '%s' (layer %ld) is not known here", name,
                        i);
        }
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
    const char *seen = json_get_str(c, "use_bidirectional_attention", "vision", e);

    want_str(c, "hidden_activation", "gelu_pytorch_tanh", e);
    want_false(c, "enable_moe_block", "mixture of experts", e);
    want_false(c, "attention_k_eq_v", "shared projection of keys and values", e);
    want_false(c, "attention_bias", "biases in attention", e);
    if (strcmp(seen, "vision") != 0)        /* "vision" concerns images only */
        err_set(e, ERR_FAILED, "use_bidirectional_attention: '%s' is not known here", seen);
    if (!json_get_bool(c, "tie_word_embeddings", true, e))
        err_set(e, ERR_FAILED, "tie_word_embeddings: false, but this build has no separate head");
}

int gemma4_text_configure(struct gemma4_text *m, const json_t *c, struct err *e)
{
    refuse_unknown_text(c, e);
    m->D = need_size(c, "hidden_size", e);
    m->V = need_size(c, "vocab_size", e);
    m->L = need_size(c, "num_hidden_layers", e);
    m->H = need_size(c, "num_attention_heads", e);
    int F = need_size(c, "intermediate_size", e);
    m->P = get_size(c, "hidden_size_per_layer_input", 256, 0, SIZE_MAX_ANY, e);
    m->per_layer_vocab = get_size(c, "vocab_size_per_layer_input", 262144, 1, SIZE_MAX_ANY, e);
    m->window = get_size(c, "sliding_window", 512, 1, SIZE_MAX_ANY, e);
    m->pad_id = get_size(c, "pad_token_id", 0, 0, SIZE_MAX_ANY, e);
    m->bos_id = get_size(c, "bos_token_id", 2, 0, SIZE_MAX_ANY, e);
    m->positions_max = get_size(c, "max_position_embeddings", 131072, 1, INT32_MAX, e);
    m->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    m->softcap = json_get_double(c, "final_logit_softcapping", 0, e);
    bool wide = json_get_bool(c, "use_double_wide_mlp", false, e);
    if (m->L > GEMMA4_LAYERS_MAX)
        err_set(e, ERR_FAILED, "num_hidden_layers: %d, at most %d", m->L, GEMMA4_LAYERS_MAX);
    if (m->pad_id >= m->V || (m->P && m->pad_id >= m->per_layer_vocab))
        err_set(e, ERR_FAILED, "pad_token_id: %d is not in a vocabulary of %d", m->pad_id, m->V);
    if (e->kind)
        return -1;

    int shared = get_size(c, "num_kv_shared_layers", 0, 0, m->L - 1, e);
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

/* ------------------------------------------------------------------ audio -- */

static void read_channels(struct gemma4_audio *a, const json_t *c, struct err *e)
{
    const json_t *ch = json_get_array(c, "subsampling_conv_channels", e);

    a->channels[0] = 128;
    a->channels[1] = 32;
    if (ch && json_array_size(ch) != 2)
        err_set(e, ERR_FAILED, "subsampling_conv_channels: found %zu, expected 2",
                json_array_size(ch));
    for (size_t i = 0; ch && i < 2; i++) {
        json_int_t v = json_integer_value(json_array_get(ch, i));
        if (v < 4 || v > 65536)
            err_set(e, ERR_FAILED, "subsampling_conv_channels: %lld is not in 4..65536",
                    (long long)v);
        a->channels[i] = (int)v;
    }
    a->M = a->channels[0];              /* the projection behind is sized as if it were so */
}

int gemma4_audio_configure(struct gemma4_audio *a, const json_t *c, struct err *e)
{
    want_str(c, "hidden_act", "silu", e);
    a->D = get_size(c, "hidden_size", 1024, 2, SIZE_MAX_ANY, e);
    a->L = get_size(c, "num_hidden_layers", 12, 1, GEMMA4_LAYERS_MAX, e);
    a->H = get_size(c, "num_attention_heads", 8, 1, 4096, e);
    a->out = get_size(c, "output_proj_dims", 1536, 1, SIZE_MAX_ANY, e);
    a->conv_size = get_size(c, "conv_kernel_size", 5, 1, 1024, e);
    a->chunk = get_size(c, "attention_chunk_size", 12, 1, 65536, e);
    a->past = get_size(c, "attention_context_left", 13, 1, 65536, e) - 1;
    a->future = get_size(c, "attention_context_right", 0, 0, 65536, e);
    a->logit_cap = json_get_double(c, "attention_logit_cap", 50.0, e);
    a->invalid_logit = json_get_double(c, "attention_invalid_logits_value", -1e9, e);
    a->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    a->limit = json_get_double(c, "gradient_clipping", 1e10, e);
    a->residual_weight = json_get_double(c, "residual_weight", 0.5, e);
    a->clipped = json_get_bool(c, "use_clipped_linears", true, e);
    read_channels(a, c, e);
    if (!e->kind && (a->D % 2 || a->D % a->H))
        err_set(e, ERR_FAILED, "hidden_size: %d must be even and a multiple of %d heads", a->D,
                a->H);
    if (!e->kind && a->past + a->future > 8 * a->chunk)
        err_set(e, ERR_FAILED,
                "attention_context_left: %d is more than eight times attention_chunk_size %d",
                a->past + 1, a->chunk);
    if (e->kind)
        return -1;

    a->layers = xcalloc((size_t)a->L, sizeof *a->layers);
    for (int i = 0; i < a->L; i++) {
        a->layers[i].tower = a;
        a->layers[i].index = i;
    }
    return 0;
}
