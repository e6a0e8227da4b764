/* whisper_config.c - the sizes and rates that Whisper's config.json gives.
 *
 * Every value that would change the mathematics is either obeyed or refused by name.  What is
 * neither: `scale_embedding`, which transformers reads and then never uses; settings of generation
 * (generation_config.json counts) and of SpecAugment (the run's own count).
 */
#include "model/whisper_config.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_value.h"

static double read_rate(const json_t *c, const char *key, struct err *e)
{
    double rate = json_get_double(c, key, 0, e);
    if (rate >= 0 && rate < 1)
        return rate;
    err_set(e, ERR_FAILED, "%s: %g is not in 0..1", key, rate);
    return 0;
}

static void read_stack(struct whisper_stack *s, const struct whisper *m, const json_t *c,
                       struct err *e)
{
    const char *side = s->is_decoder ? "decoder" : "encoder";
    char layers[40], heads[40], ffn[40], drop[40];

    snprintf(layers, sizeof layers, "%s_layers", side);
    snprintf(heads, sizeof heads, "%s_attention_heads", side);
    snprintf(ffn, sizeof ffn, "%s_ffn_dim", side);
    snprintf(drop, sizeof drop, "%s_layerdrop", side);
    s->model = m;
    s->L = config_need_size(c, layers, e);
    s->H = config_need_size(c, heads, e);
    s->F = config_need_size(c, ffn, e);
    s->layerdrop = read_rate(c, drop, e);
    if (s->L > WHISPER_LAYERS_MAX)
        err_set(e, ERR_FAILED, "%s: %d, at most %d", layers, s->L, WHISPER_LAYERS_MAX);
    if (m->D % s->H)
        err_set(e, ERR_FAILED, "%s: %d does not divide d_model, which is %d", heads, s->H, m->D);
}

static void make_layers(struct whisper_stack *s)
{
    s->layers = xcalloc((size_t)s->L, sizeof *s->layers);
    for (int i = 0; i < s->L; i++) {
        s->layers[i].stack = s;
        s->layers[i].index = i;
    }
}

/* Encoders alone and classifiers have the same model_type. */
static void check_architecture(const json_t *c, struct err *e)
{
    const json_t *all = json_get_array(c, "architectures", e);
    const char *name = json_string_value(json_array_get(all, 0));

    if (name && strcmp(name, "WhisperForConditionalGeneration") != 0)
        err_set(e, ERR_FAILED, "architectures: '%s' is not known here (only '%s' is)", name,
                "WhisperForConditionalGeneration");
}

static void refuse_unknown(const json_t *c, struct err *e)
{
    check_architecture(c, e);
    config_want_str(c, "activation_function", "gelu", e);
    config_want_false(c, "use_weighted_layer_sum", "weighted sum of layers", e);
    if (!json_get_bool(c, "is_encoder_decoder", true, e))
        err_set(e, ERR_FAILED, "is_encoder_decoder: false, but this build has no decoder alone");
    if (!json_get_bool(c, "tie_word_embeddings", true, e))
        err_set(e, ERR_FAILED, "tie_word_embeddings: false, but this build has no separate head");
}

int whisper_configure(struct whisper *m, const json_t *c, struct err *e)
{
    refuse_unknown(c, e);
    m->D = config_need_size(c, "d_model", e);
    m->V = config_need_size(c, "vocab_size", e);
    m->M = config_size(c, "num_mel_bins", 80, 1, CONFIG_SIZE_MAX, e);
    m->source_positions = config_size(c, "max_source_positions", 1500, 1, CONFIG_SIZE_MAX, e);
    m->target_positions = config_size(c, "max_target_positions", 448, 1, CONFIG_SIZE_MAX, e);
    m->pad_id = config_size(c, "pad_token_id", 50256, 0, CONFIG_SIZE_MAX, e);
    m->bos_id = config_size(c, "bos_token_id", 50256, 0, CONFIG_SIZE_MAX, e);
    m->dropout = read_rate(c, "dropout", e);
    m->attention_dropout = read_rate(c, "attention_dropout", e);
    m->activation_dropout = read_rate(c, "activation_dropout", e);
    m->init_std = json_get_double(c, "init_std", 0.02, e);
    m->decoder.is_decoder = true;
    read_stack(&m->encoder, m, c, e);
    read_stack(&m->decoder, m, c, e);
    if (m->pad_id >= m->V)
        err_set(e, ERR_FAILED, "pad_token_id: %d is not in a vocabulary of %d", m->pad_id, m->V);
    if (m->D % 2)
        err_set(e, ERR_FAILED, "d_model: %d is odd", m->D);
    if (e->kind)
        return -1;
    make_layers(&m->encoder);
    make_layers(&m->decoder);
    return 0;
}
