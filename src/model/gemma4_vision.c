/* gemma4_vision.c - the Gemma 4 vision tower, a transformer over patches of any number.
 *
 *     x = W 2(p/255 - ½) + X[at.x] + Y[at.y]                  p: levels of a patch
 *     for each layer:
 *         x = x + norm(attention(norm(x)))                    every patch sees every patch
 *         x = x + norm(W_down (gelu(W_gate n) ⊙ W_up n))      n = norm(x)
 *     y_k = √D · mean of x over the k-th square of patches
 *     y = (y - bias) ⊙ scale                                  where the config says standardize
 *
 * The first half of a head turns with a patch's x, the second with its y (each half as a head of
 * its own).  Linear layers but the first may stand between two clamps.  Padding is seen by nobody
 * and pooled into nothing, so pictures of different sizes may share a batch.  Letters are
 * dimensions:
 *
 *     I pictures    J patches a picture    E numbers a patch    S soft tokens a picture
 *     D width    F mlp    H heads    K key heads    C one head
 */
#include "model/gemma4_vision.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "nn/act.h"
#include "nn/attention.h"

/* What depends on where the patches lie: the same for all layers. */
struct places {
    mx_array cos, sin;                  /* [I,1,J,C] of the angles that a head turns by */
    mx_array mask;                      /* [I,1,1,J] keys that are seen */
};

/* ---------------------------------------------------------------- weights -- */

/* clang-format off */
static void bind_layer(struct gemma4_vision_layer *l, struct nn_binder *b,
                       const struct gemma4_vision *v)
{
    int D = v->D, F = v->F, q = v->H * v->C, kv = v->K * v->C;
    double qk = pow(v->C, -0.25);       /* scores are not divided by √C: start them at that size */
    bool clipped = v->clipped;

    nn_under(b, "encoder.layers.%d.", l->index);
    nn_bind_norm       (b, "input_layernorm",            &l->input_layernorm,            D);
    nn_bind_clip_linear(b, "self_attn.q_proj",           &l->q_proj,            D, q,  clipped);
    nn_bind_clip_linear(b, "self_attn.k_proj",           &l->k_proj,            D, kv, clipped);
    nn_bind_clip_linear(b, "self_attn.v_proj",           &l->v_proj,            D, kv, clipped);
    nn_bind_clip_linear(b, "self_attn.o_proj",           &l->o_proj,            q, D,  clipped);
    nn_init_next       (b, NN_INIT_CONSTANT, qk);
    nn_bind_norm       (b, "self_attn.q_norm",           &l->q_norm,                     v->C);
    nn_init_next       (b, NN_INIT_CONSTANT, qk);
    nn_bind_norm       (b, "self_attn.k_norm",           &l->k_norm,                     v->C);
    nn_bind_norm       (b, "post_attention_layernorm",   &l->post_attention_layernorm,   D);
    nn_bind_norm       (b, "pre_feedforward_layernorm",  &l->pre_feedforward_layernorm,  D);
    nn_bind_clip_linear(b, "mlp.gate_proj",              &l->gate_proj,         D, F,  clipped);
    nn_bind_clip_linear(b, "mlp.up_proj",                &l->up_proj,           D, F,  clipped);
    nn_bind_clip_linear(b, "mlp.down_proj",              &l->down_proj,         F, D,  clipped);
    nn_bind_norm       (b, "post_feedforward_layernorm", &l->post_feedforward_layernorm, D);
}

void gemma4_vision_bind(struct gemma4_vision *v, struct nn_binder *b)
{
    int D = v->D;

    b->tower = "vision";
    b->eps = v->eps;
    nn_root(b, "model.vision_tower.");
    nn_under(b, "%s", "patch_embedder.");
    nn_bind_linear(b, "input_proj",               &v->input_proj,  v->patch * v->patch * 3, D);
    nn_bind_tensor(b, "position_embedding_table", &v->position_embedding_table,
                   (int[]){2, v->positions, D}, 3, (struct nn_init){NN_INIT_NORMAL, 0.02});
    for (int i = 0; i < v->L; i++)
        bind_layer(&v->layers[i], b, v);
    nn_under(b, "%s", "");
    if (v->standardize) {
        nn_bind_buffer(b, "std_bias",             &v->std_bias,    (int[]){D}, 1, 0);
        nn_bind_buffer(b, "std_scale",            &v->std_scale,   (int[]){D}, 1, 1);
    }
}
/* clang-format on */

void gemma4_vision_release(struct gemma4_vision *v)
{
    free(v->layers);
    v->layers = NULL;
}

/* ---------------------------------------------------------------- patches -- */

static mx_array is_patch(mx_array patch_at)                                     /* [I,J,2] */
{
    return mx_greater_equal(mx_index(patch_at, 2, 0), mx_int(0));               /* [I,J] */
}

/* What the table says of x and y; nothing of padding. */
static mx_array positions(const struct gemma4_vision *v, mx_array patch_at)
{
    mx_array at = mx_maximum(patch_at, mx_int(0));
    mx_array x = mx_take(mx_index(v->position_embedding_table, 0, 0), mx_index(at, 2, 0), 0);
    mx_array y = mx_take(mx_index(v->position_embedding_table, 0, 1), mx_index(at, 2, 1), 0);
    mx_array sum = mx_add(x, y);                                                /* [I,J,D] */
    return mx_where(mx_expand_dims(is_patch(patch_at), -1), sum, mx_zeros_like(sum));
}

static mx_array embed_patches(const struct gemma4_vision *v, mx_array pixels, mx_array patch_at)
{
    mx_at("vision_tower.patch_embedder");
    mx_array p = mx_scale(mx_astype(pixels, MX_FLOAT32), 1.0 / 255);            /* [I,J,E] */
    p = mx_astype(mx_scale(mx_shift(p, -0.5), 2), v->input_proj.dtype);
    p = nn_linear(&v->input_proj, p);                                           /* [I,J,D] */
    return mx_add(p, mx_astype(positions(v, patch_at), mx_dtype(p)));
}

/* -------------------------------------------------------------- attention -- */

/* Angles that the two halves of a head turn by: [I,1,J,C], each pair's twice. */
static mx_array angles(const struct gemma4_vision *v, mx_array patch_at)
{
    int pairs = v->C / 4;
    mx_array wavelengths = mx_from(v->rope.wavelengths, MX_FLOAT32, (int[]){pairs}, 1);
    mx_array turns = mx_divide(mx_float(1), wavelengths);
    mx_array at = mx_expand_dims(mx_astype(patch_at, MX_FLOAT32), -1);          /* [I,J,2,1] */
    mx_array a = mx_multiply(at, turns);                                        /* [I,J,2,C/4] */
    a = mx_concatenate((mx_array[]){a, a}, 2, -1);                              /* [I,J,2,C/2] */
    return mx_expand_dims(mx_flatten(a, 2, 3), 1);
}

static struct places find_places(const struct gemma4_vision *v, mx_array patch_at)
{
    struct places p;

    mx_at("vision_tower.encoder");
    mx_array angle = angles(v, patch_at), real = is_patch(patch_at);
    p.cos = mx_cos(angle);
    p.sin = mx_sin(angle);
    /* A picture that is padding altogether sees itself: no softmax over nothing. */
    mx_array empty = mx_logical_not(mx_max(real, -1, true));                    /* [I,1] */
    p.mask = mx_logical_or(real, empty);
    p.mask = mx_expand_dims(mx_expand_dims(p.mask, 1), 1);
    return p;
}

/* Pairs of a half head are (i, i + C/4) of that half. */
static mx_array rotate(const struct places *p, mx_array x)                      /* [I,heads,J,C] */
{
    int C = mx_dim(x, 3), I = mx_dim(x, 0), H = mx_dim(x, 1), J = mx_dim(x, 2);
    mx_array halves = mx_reshape(x, I, H, J, 2, 2, C / 4);
    mx_array first = mx_slice(halves, 4, 0, 1), second = mx_slice(halves, 4, 1, 2);
    mx_array turned = mx_concatenate((mx_array[]){mx_negative(second), first}, 2, 4);

    turned = mx_reshape(turned, I, H, J, C);
    mx_array y = mx_add(mx_multiply(x, p->cos), mx_multiply(turned, p->sin));
    return mx_astype(y, mx_dtype(x));
}

static mx_array split_heads(mx_array x, int heads, int C)                       /* [I,J,heads·C] */
{
    x = mx_reshape(x, mx_dim(x, 0), mx_dim(x, 1), heads, C);
    return mx_transpose(x, 0, 2, 1, 3);                                         /* [I,heads,J,C] */
}

/* Queries, keys and values are all normalised, so the scores need no 1/√C. */
static mx_array attention(const struct gemma4_vision_layer *l, mx_array x, const struct places *p)
{
    const struct gemma4_vision *v = l->tower;
    mx_array q = split_heads(nn_clip_linear(&l->q_proj, x), v->H, v->C);        /* [I,H,J,C] */
    mx_array k = split_heads(nn_clip_linear(&l->k_proj, x), v->K, v->C);        /* [I,K,J,C] */
    mx_array u = split_heads(nn_clip_linear(&l->v_proj, x), v->K, v->C);

    q = rotate(p, nn_rms_norm(&l->q_norm, q));
    k = rotate(p, nn_rms_norm(&l->k_norm, k));
    u = mx_rms_norm(u, MX_NONE, v->eps);
    mx_array y = nn_attention(q, k, u, 1.0, p->mask);
    y = mx_transpose(y, 0, 2, 1, 3);
    y = mx_reshape(y, mx_dim(y, 0), mx_dim(y, 1), -1);                          /* [I,J,H·C] */
    return nn_clip_linear(&l->o_proj, y);                                       /* [I,J,D] */
}

/* ----------------------------------------------------------------- layers -- */

static mx_array mlp(const struct gemma4_vision_layer *l, mx_array x)            /* [I,J,D] */
{
    mx_array g = nn_gelu_approx(nn_clip_linear(&l->gate_proj, x));              /* [I,J,F] */
    return nn_clip_linear(&l->down_proj, mx_multiply(g, nn_clip_linear(&l->up_proj, x)));
}

static mx_array layer(const struct gemma4_vision_layer *l, mx_array x, const struct places *p)
{
    mx_array y;

    mx_at("vision_tower.encoder.layers.%d.self_attn", l->index);
    y = attention(l, nn_rms_norm(&l->input_layernorm, x), p);
    x = mx_add(x, nn_rms_norm(&l->post_attention_layernorm, y));

    mx_at("vision_tower.encoder.layers.%d.mlp", l->index);
    y = mlp(l, nn_rms_norm(&l->pre_feedforward_layernorm, x));
    return mx_add(x, nn_rms_norm(&l->post_feedforward_layernorm, y));
}

/* The layer as a function of x. */
struct block {
    const struct gemma4_vision_layer *layer;
    struct places places;
};

static void layer_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct block *b = arg;
    assert(n_in == 1 && n_out == 1);
    out[0] = layer(b->layer, in[0], &b->places);
}

static mx_array checkpointed_layer(const struct gemma4_vision_layer *l, mx_array x,
                                   const struct places *p, const struct nn_params *params)
{
    struct block b = {l, *p};
    char prefix[NN_NAME_MAX];
    mx_array y;

    snprintf(prefix, sizeof prefix, "model.vision_tower.encoder.layers.%d.", l->index);
    mx_checkpoint(layer_block, &b, sizeof b, (struct mx_arrays){&x, 1},
                  nn_trainable(params, prefix), &y, 1);
    return y;
}

/* ---------------------------------------------------------------- pooling -- */

/* For each soft token, which patches it is the mean of: [I,S,J], 1/pool² where they are.  Squares
 * are counted row by row, as wide as the picture. */
static mx_array pooling(const struct gemma4_vision *v, mx_array patch_at)
{
    int S = mx_dim(patch_at, 1) / (v->pool * v->pool);
    mx_array x = mx_index(patch_at, 2, 0), y = mx_index(patch_at, 2, 1);        /* [I,J] */
    mx_array pool = mx_int(v->pool);
    mx_array across = mx_floor_divide(mx_shift(mx_max(x, -1, true), 1), pool);  /* [I,1] */
    mx_array k =
        mx_add(mx_floor_divide(x, pool), mx_multiply(across, mx_floor_divide(y, pool))); /* [I,J] */

    k = mx_where(is_patch(patch_at), k, mx_int(-1));
    mx_array slot = mx_expand_dims(mx_arange(0, S, 1, MX_INT32), 1);            /* [S,1] */
    mx_array belongs = mx_equal(mx_expand_dims(k, 1), slot);                    /* [I,S,J] */
    return mx_scale(mx_astype(belongs, MX_FLOAT32), 1.0 / (v->pool * v->pool));
}

/* In float32, as √D times the mean may be more than a half-precision number holds. */
static mx_array pool(const struct gemma4_vision *v, mx_array x, mx_array patch_at)
{
    mx_array y = mx_astype(x, MX_FLOAT32);                                      /* [I,J,D] */

    mx_at("vision_tower.pooler");
    y = mx_scale(mx_matmul(pooling(v, patch_at), y), sqrt(v->D));               /* [I,S,D] */
    if (v->standardize) {
        y = mx_subtract(y, mx_astype(v->std_bias, MX_FLOAT32));
        y = mx_multiply(y, mx_astype(v->std_scale, MX_FLOAT32));
    }
    return mx_astype(y, mx_dtype(x));
}

mx_array gemma4_vision(const struct gemma4_vision *v, mx_array pixels, mx_array patch_at,
                       const struct nn_params *checkpoint)
{
    mx_array x = embed_patches(v, pixels, patch_at);                            /* [I,J,D] */
    struct places p = find_places(v, patch_at);

    for (int i = 0; i < v->L; i++) {
        const struct gemma4_vision_layer *l = &v->layers[i];
        x = checkpoint ? checkpointed_layer(l, x, &p, checkpoint) : layer(l, x, &p);
    }
    return pool(v, x, patch_at);                                                /* [I,S,D] */
}
