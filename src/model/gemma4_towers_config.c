/* gemma4_towers_config.c - the parts of Gemma 4's config.json that concern sound and pictures.
 *
 * Every value that would change the mathematics is either obeyed or refused by name.
 */
#include "model/gemma4_towers_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_value.h"

enum { LAYERS_MAX = 512, HEADS_MAX = 4096 };

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

static void read_audio_sizes(struct gemma4_audio *a, const json_t *c, struct err *e)
{
    config_want_str(c, "hidden_act", "silu", e);
    a->D = config_size(c, "hidden_size", 1024, 2, CONFIG_SIZE_MAX, e);
    a->L = config_size(c, "num_hidden_layers", 12, 1, LAYERS_MAX, e);
    a->H = config_size(c, "num_attention_heads", 8, 1, HEADS_MAX, e);
    a->out = config_size(c, "output_proj_dims", 1536, 1, CONFIG_SIZE_MAX, e);
    a->conv_size = config_size(c, "conv_kernel_size", 5, 1, 1024, e);
    a->chunk = config_size(c, "attention_chunk_size", 12, 1, 65536, e);
    a->past = config_size(c, "attention_context_left", 13, 1, 65536, e) - 1;
    a->future = config_size(c, "attention_context_right", 0, 0, 65536, e);
    a->logit_cap = json_get_double(c, "attention_logit_cap", 50.0, e);
    a->invalid_logit = json_get_double(c, "attention_invalid_logits_value", -1e9, e);
    a->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    a->limit = json_get_double(c, "gradient_clipping", 1e10, e);
    a->residual_weight = json_get_double(c, "residual_weight", 0.5, e);
    a->clipped = json_get_bool(c, "use_clipped_linears", true, e);
}

int gemma4_audio_configure(struct gemma4_audio *a, const json_t *c, struct err *e)
{
    read_audio_sizes(a, c, e);
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

/* ----------------------------------------------------------------- vision -- */

/* The one kind of rope there is turns half a head by x, half by y; "default" means it, too. */
static double read_rope_base(const json_t *c, struct err *e)
{
    const json_t *rope = json_get_object(c, "rope_parameters", e);
    const char *key, *type;
    json_t *value;

    if (!rope)
        return 100.0;
    type = json_get_str(rope, "rope_type", "axial", e);
    if (strcmp(type, "axial") != 0 && strcmp(type, "default") != 0)
        err_set(e, ERR_FAILED, "rope_parameters: rope_type '%s' is not known here", type);
    json_object_foreach((json_t *)rope, key, value)
    {
        if (strcmp(key, "rope_type") != 0 && strcmp(key, "rope_theta") != 0)
            err_set(e, ERR_FAILED, "rope_parameters: '%s' is not known here", key);
    }
    double base = json_get_double(rope, "rope_theta", 100.0, e);
    if (!(base > 0))
        err_set(e, ERR_FAILED, "rope_parameters: rope_theta %g is not positive", base);
    return base > 0 ? base : 1;
}

static void read_vision_sizes(struct gemma4_vision *v, const json_t *c, struct err *e)
{
    config_want_str(c, "hidden_activation", "gelu_pytorch_tanh", e);
    config_want_false(c, "attention_bias", "biases in the attention of its vision tower", e);
    if (json_get_double(c, "attention_dropout", 0, e) != 0)
        err_set(e, ERR_FAILED, "attention_dropout: %g, but this build has no dropout in attention",
                json_number_value(json_object_get(c, "attention_dropout")));
    v->D = config_size(c, "hidden_size", 768, 1, CONFIG_SIZE_MAX, e);
    v->F = config_size(c, "intermediate_size", 3072, 1, CONFIG_SIZE_MAX, e);
    v->L = config_size(c, "num_hidden_layers", 16, 1, LAYERS_MAX, e);
    v->H = config_size(c, "num_attention_heads", 12, 1, HEADS_MAX, e);
    v->K = config_size(c, "num_key_value_heads", 12, 1, HEADS_MAX, e);
    v->C = config_size(c, "head_dim", 64, 4, 4 * NN_ROPE_PAIRS_MAX, e);
    v->patch = config_size(c, "patch_size", 16, 1, 1024, e);
    v->pool = config_size(c, "pooling_kernel_size", 3, 1, 64, e);
    v->positions = config_size(c, "position_embedding_size", 10240, 1, CONFIG_SIZE_MAX, e);
    v->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    v->clipped = json_get_bool(c, "use_clipped_linears", false, e);
    v->standardize = json_get_bool(c, "standardize", false, e);
    double base = read_rope_base(c, e);
    if (v->C % 4)
        err_set(e, ERR_FAILED, "head_dim: %d is no multiple of 4", v->C);
    else
        v->rope = nn_rope_make(v->C / 2, 1.0, base);
    if (v->H % v->K)
        err_set(e, ERR_FAILED, "num_attention_heads: %d is no multiple of the %d key heads", v->H,
                v->K);
}

int gemma4_vision_configure(struct gemma4_vision *v, const json_t *c, struct err *e)
{
    read_vision_sizes(v, c, e);
    if (e->kind)
        return -1;

    v->layers = xcalloc((size_t)v->L, sizeof *v->layers);
    for (int i = 0; i < v->L; i++) {
        v->layers[i].tower = v;
        v->layers[i].index = i;
    }
    return 0;
}

/* ----------------------------------------------------------- encoder-free -- */

int gemma4_unified_configure(struct gemma4_unified *u, const json_t *c, struct err *e)
{
    u->patch = config_size(c, "patch_size", 16, 1, 1024, e);
    u->pool = config_size(c, "pooling_kernel_size", 3, 1, 64, e);
    u->D = config_size(c, "mm_embed_dim", 3840, 1, CONFIG_SIZE_MAX, e);
    u->positions = config_size(c, "mm_posemb_size", 1120, 1, CONFIG_SIZE_MAX, e);
    u->eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    u->E = u->patch * u->pool * u->patch * u->pool * 3;
    int out = config_size(c, "output_proj_dims", 3840, 1, CONFIG_SIZE_MAX, e);
    if (!e->kind && out != u->D)
        err_set(e, ERR_FAILED, "output_proj_dims: %d, but mm_embed_dim is %d", out, u->D);
    return e->kind ? -1 : 0;
}

int gemma4_unified_configure_audio(int *samples, double *eps, const json_t *c, struct err *e)
{
    *samples = config_size(c, "audio_embed_dim", 640, 1, 1 << 20, e);
    *eps = json_get_double(c, "rms_norm_eps", 1e-6, e);
    return e->kind ? -1 : 0;
}
