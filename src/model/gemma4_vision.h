/* gemma4_vision.h - the Gemma 4 vision tower: patches to soft tokens, pool x pool patches to one.
 *
 *     I pictures    J patches a picture    E numbers a patch    S soft tokens a picture (J / pool²)
 *     D width    F mlp    H heads    K key heads    C one head
 */
#ifndef MODEL_GEMMA4_VISION_H
#define MODEL_GEMMA4_VISION_H

#include <stdbool.h>

#include "mx/mx.h"
#include "nn/bind.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

struct gemma4_vision;

struct gemma4_vision_layer {
    struct nn_norm input_layernorm, post_attention_layernorm;
    struct nn_norm pre_feedforward_layernorm, post_feedforward_layernorm;
    struct nn_clip_linear q_proj, k_proj, v_proj, o_proj;
    struct nn_norm q_norm, k_norm;
    struct nn_clip_linear gate_proj, up_proj, down_proj;

    const struct gemma4_vision *tower;  /* the tower it belongs to */
    int index;
};

struct gemma4_vision {
    int D, F, H, K, C, L;
    int patch, pool;                    /* pixels a side of a patch, patches a side of a token */
    int positions;                      /* patches a side that have a position */
    double eps;                         /* of all norms, the projector's included */
    bool clipped;                       /* linear layers have bounds */
    bool standardize;                   /* soft tokens are shifted and scaled at the end */
    struct nn_rope rope;                /* of half a head */

    struct nn_linear input_proj;
    mx_array position_embedding_table;  /* [2,positions,D]: of x, of y */
    mx_array std_bias, std_scale;       /* [D], or none */
    struct gemma4_vision_layer *layers; /* [L] */
};

/* Free what the struct holds; weights belong to nn_params.  Safe on a zeroed struct. */
void gemma4_vision_release(struct gemma4_vision *v);

/* List every tensor under "model.vision_tower."; the sizes are set (gemma4_config.h). */
void gemma4_vision_bind(struct gemma4_vision *v, struct nn_binder *b);

/* pixels [I,J,E] levels 0 .. 255, patch_at [I,J,2] int32 x and y, -1 for padding -> [I,S,D].  Soft
 * token k of a picture is the k-th square of pool x pool patches, row by row; those behind a
 * picture's last one hold nonsense.  With `checkpoint`, layers are recomputed in the backward
 * pass. */
mx_array gemma4_vision(const struct gemma4_vision *v, mx_array pixels, mx_array patch_at,
                       const struct nn_params *checkpoint);

#endif
