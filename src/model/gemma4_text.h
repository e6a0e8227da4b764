/* gemma4_text.h - the Gemma 4 text decoder, of all sizes: weights, forward, generation.
 *
 * Dimensions, as in gemma4_text.c:
 *
 *     B batch    T time     D model   F mlp              V vocabulary
 *     H heads    K key heads   C one head   L layers    P a layer's own input
 */
#ifndef MODEL_GEMMA4_TEXT_H
#define MODEL_GEMMA4_TEXT_H

#include <stdbool.h>

#include "mx/mx.h"
#include "nn/bind.h"
#include "nn/experts.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

enum { GEMMA4_LAYERS_MAX = 512 };

struct gemma4_text;

struct gemma4_layer {
    struct nn_norm input_layernorm, post_attention_layernorm;
    struct nn_norm pre_feedforward_layernorm, post_feedforward_layernorm;
    struct nn_norm post_per_layer_input_norm;
    struct nn_linear q_proj, k_proj, v_proj, o_proj;
    struct nn_norm q_norm, k_norm;
    struct nn_linear gate_proj, up_proj, down_proj;
    struct nn_linear per_layer_input_gate, per_layer_projection;
    /* Of layers with experts: a router, the experts, and a norm for each of the two ways. */
    struct nn_linear router_proj;
    mx_array router_scale;              /* [D] */
    mx_array per_expert_scale;          /* [X] */
    struct nn_experts experts;
    struct nn_norm pre_feedforward_layernorm_2;
    struct nn_norm post_feedforward_layernorm_1, post_feedforward_layernorm_2;
    mx_array layer_scalar;              /* [1] */

    const struct gemma4_text *text;     /* the decoder it belongs to */
    int index;                          /* 0 is the first layer */
    bool is_full;                       /* full attention; else over a sliding window */
    bool has_kv;                        /* makes keys and values; else reads an earlier layer's */
    bool k_is_v;                        /* there is no v_proj: values are the keys' projection */
    int kv_heads, head_dim, mlp_dim;    /* K, C, F of this layer */
};

/* Whom image tokens see besides what lies before them: nobody, the other tokens of their image on
 * sliding layers and inside the window (Gemma 4), the same on all layers at any distance (encoder-
 * free models, see enum model_mask). */
enum gemma4_seeing { GEMMA4_CAUSAL, GEMMA4_IMAGE_IN_WINDOW, GEMMA4_IMAGE_EVERYWHERE };

struct gemma4_text {
    int D, H, L, V, P;                  /* P: 0 without per-layer inputs */
    int per_layer_vocab;                /* rows of embed_tokens_per_layer */
    int first_shared;                   /* layers from here on have no keys and values; L: none */
    int window;                         /* positions that a sliding layer sees, its own included */
    int pad_id, bos_id, positions_max;
    double eps, softcap;                /* softcap 0: none */
    enum gemma4_seeing seeing;
    int experts, experts_per_token, expert_dim;         /* X, K, F of an expert; 0: none */

    struct nn_linear embed_tokens, embed_tokens_per_layer, per_layer_model_projection;
    struct nn_norm per_layer_projection_norm, norm;
    struct nn_rope window_rope, full_rope;
    struct gemma4_layer *layers;        /* [L] */
    const char *root;                   /* of the tensors' names: "model.language_model." */
};

/* Free what the struct holds; weights belong to nn_params.  Safe on a zeroed struct. */
void gemma4_text_release(struct gemma4_text *m);

/* List every tensor.  The sizes are set (gemma4_config.h); `root` is kept, not copied. */
void gemma4_text_bind(struct gemma4_text *m, struct nn_binder *b, const char *root);

/* √D · embed(ids): [B,T] -> [B,T,D]. */
mx_array gemma4_text_embed(const struct gemma4_text *m, mx_array ids);

/* What the decoder is told beside the embeddings; absent ones are MX_NONE (see struct
 * model_input). */
struct gemma4_rows {
    mx_array ids;                       /* [B,T]; the pad id where x is a soft token */
    mx_array is_image;                  /* [B,T] bool: soft tokens of images and frames */
    mx_array segment, position;         /* [B,T] int32 */
    mx_array kept;                      /* [B,Q] int32 */
    mx_array per_layer;                 /* [B,T,L·P]; none: looked up by `ids` */
    const struct nn_params *checkpoint; /* recompute layers in the backward pass; NULL: keep them */
};

/* The decoder over embeddings x [B,T,D], soft tokens included.  Returns norm(x_L) [B,T,D], with
 * `kept` [B,Q,D]. */
mx_array gemma4_text_hidden(const struct gemma4_text *m, mx_array x, const struct gemma4_rows *r);

/* Keys and values of a batch of rows while it grows.  The prompts, padded to T, lie in places
 * 0 .. T-1; the n-th new token of every row lies in place T + n, whatever its position. */
struct gemma4_cache;

/* `capacity` places a row.  Free with gemma4_cache_free. */
struct gemma4_cache *gemma4_cache_new(const struct gemma4_text *m, int rows, int capacity);
void gemma4_cache_free(struct gemma4_cache *c);

/* As gemma4_text_hidden (of `r` ids, is_image and per_layer count), filling an empty cache;
 * `lengths` [B] int32 are the rows' true lengths.  Returns the hidden state of each row's last
 * token [B,D]. */
mx_array gemma4_text_prefill(const struct gemma4_text *m, struct gemma4_cache *c, mx_array x,
                             const struct gemma4_rows *r, mx_array lengths);
/* One more token a row: ids [B] -> hidden [B,D].  `per_layer` [B,L·P] as in struct gemma4_rows, or
 * MX_NONE. */
mx_array gemma4_text_decode(const struct gemma4_text *m, struct gemma4_cache *c, mx_array ids,
                            mx_array per_layer);

#endif
