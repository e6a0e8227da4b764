/* gemma4_audio.h - the Gemma 4 audio tower: log-mel frames to soft tokens, four frames to one.
 *
 *     N clips    F frames    M mel bins    T tokens a clip    D width    H heads    C one head
 */
#ifndef MODEL_GEMMA4_AUDIO_H
#define MODEL_GEMMA4_AUDIO_H

#include <stdbool.h>

#include "mx/mx.h"
#include "nn/bind.h"
#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/norm.h"

struct gemma4_audio;

struct gemma4_audio_feed_forward {
    struct nn_norm pre_layer_norm, post_layer_norm;
    struct nn_clip_linear ffw_layer_1, ffw_layer_2;
};

struct gemma4_audio_layer {
    struct gemma4_audio_feed_forward feed_forward1, feed_forward2;

    struct nn_norm norm_pre_attn, norm_post_attn, norm_out;
    struct nn_clip_linear q_proj, k_proj, v_proj, post;
    struct nn_linear relative_k_proj;
    mx_array per_dim_scale;             /* [C] */

    struct nn_norm lconv_pre_layer_norm, conv_norm;
    struct nn_clip_linear linear_start, linear_end;
    struct nn_conv depthwise_conv1d;

    const struct gemma4_audio *tower;   /* the tower it belongs to */
    int index;
};

struct gemma4_audio {
    int D, H, L, M;
    int channels[2];                    /* of the two subsampling convolutions */
    int out;                            /* width of the tower's output */
    int conv_size;                      /* taps of the light convolution */
    int chunk, past, future;            /* attention: queries a block, keys around a block */
    double logit_cap, invalid_logit;    /* of attention scores; what masked scores are set to */
    double eps;                         /* of the norms that heed the config */
    double limit;                       /* residual streams are clamped to [-limit, limit] */
    double residual_weight;             /* of feed-forward blocks */
    bool clipped;                       /* linear layers have bounds */

    struct nn_conv conv[2];
    struct nn_norm conv_norm[2];
    struct nn_linear input_proj_linear, output_proj;
    struct gemma4_audio_layer *layers;  /* [L] */
};

/* Free what the struct holds; weights belong to nn_params.  Safe on a zeroed struct. */
void gemma4_audio_release(struct gemma4_audio *a);

/* List every tensor under "model.audio_tower."; the sizes are set (gemma4_config.h). */
void gemma4_audio_bind(struct gemma4_audio *a, struct nn_binder *b);

/* mel [N,F,M], frame_valid [N,F] bool -> [N,T,out].  Tokens behind a clip's end hold nonsense.
 * With `checkpoint`, layers are recomputed in the backward pass. */
mx_array gemma4_audio(const struct gemma4_audio *a, mx_array mel, mx_array frame_valid,
                      const struct nn_params *checkpoint);

#endif
