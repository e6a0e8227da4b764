/* whisper_model.h - Whisper: an encoder of sound and a decoder of text that looks across at it
 * (Radford et al. 2022), of all sizes.
 *
 * Dimensions, as in whisper_model.c:
 *
 *     B rows, a clip each    F frames    M mel bins    T tokens    D model    V vocabulary
 *     S positions of the encoder, ceil(F / 2)    H heads    C one head    Q rows that are kept
 */
#ifndef MODEL_WHISPER_MODEL_H
#define MODEL_WHISPER_MODEL_H

#include <stdbool.h>

#include "model/model.h"
#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/norm.h"

/* "whisper": WhisperForConditionalGeneration of transformers, Distil-Whisper included. */
extern const struct model_family whisper_family;

enum { WHISPER_LAYERS_MAX = 256 };

struct whisper;
struct whisper_stack;

struct whisper_attention {
    struct nn_linear q_proj, k_proj, v_proj, out_proj;
};

struct whisper_layer {
    struct nn_norm self_attn_layer_norm, encoder_attn_layer_norm, final_layer_norm;
    struct whisper_attention self_attn;
    struct whisper_attention encoder_attn;      /* of the decoder: across */
    struct nn_linear fc1, fc2;

    const struct whisper_stack *stack;  /* that it belongs to */
    int index;                          /* 0 is the first layer */
};

/* The encoder, or the decoder. */
struct whisper_stack {
    int L, H, F;                        /* layers, heads, width of fc1 */
    bool is_decoder;
    double layerdrop;                   /* training: probability that a layer is left out */
    struct whisper_layer *layers;       /* [L] */
    struct nn_norm layer_norm;
    const struct whisper *model;
};

struct whisper {
    int D, V, M;
    int source_positions, target_positions;     /* of the encoder and the decoder at most */
    int pad_id, bos_id;
    double dropout, attention_dropout, activation_dropout;    /* rates, while training */
    double init_std;

    struct nn_conv conv1, conv2;
    mx_array source_embed;              /* encoder.embed_positions: [source_positions,D], fixed */
    struct nn_linear embed_tokens;      /* also the head */
    mx_array target_embed;              /* decoder.embed_positions: [target_positions,D] */
    struct whisper_stack encoder, decoder;
};

#endif
