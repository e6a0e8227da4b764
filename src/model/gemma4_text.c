/* gemma4_text.c - the Gemma 4 text decoder, as in E2B and E4B.
 *
 *     x = √D · embed(tokens)                                  soft tokens are put in as they are
 *     p = (norm(W x / √D) + √P · table(tokens)) / √2          [L,P] for each token
 *     for each layer i:
 *         x = x + norm(attention(norm(x)))
 *         x = x + norm(mlp(norm(x)))
 *         x = x + norm(W_proj (gelu(W_gate x) ⊙ p_i))         p_i: the layer's own input
 *         x = s_i · x
 *     h = norm(x)                                             logits = cap · tanh(embed h / cap)
 *
 * Weights carry the names they have in the checkpoint.  Letters are dimensions:
 *
 *     B batch    T time     D model   F mlp              V vocabulary
 *     H heads    K key heads   C one head   L layers    P a layer's own input
 *     S places of keys (T in training)
 */
#include "model/gemma4_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "nn/act.h"
#include "nn/attention.h"

/* What the layers of one kind share: full attention, or attention over a sliding window.
 * `k` and `v` are those of the last such layer that had any. */
struct reach {
    const struct nn_rope *rope;
    mx_array mask;                      /* or none: causal */
    mx_array k, v;                      /* [B,K,S,C] */
};

struct gemma4_cache {
    int rows, capacity, layers;
    int prompt;                         /* T of the prompts */
    int grown;                          /* tokens decoded so far */
    mx_array lengths;                   /* slot [B] int32 */
    mx_array *k, *v;                    /* [L] slots [B,K,capacity,C]; none for shared layers */
};

/* ---------------------------------------------------------------- weights -- */

/* clang-format off */
static void bind_layer(struct gemma4_layer *l, struct nn_binder *b, const struct gemma4_text *m)
{
    int D = m->D, H = m->H, P = m->P, K = l->kv_heads, C = l->head_dim, F = l->mlp_dim;
    double qk = pow(C, -0.25);          /* scores are not divided by √C: start them at that size */

    nn_bind_norm  (b, "input_layernorm",            &l->input_layernorm,            D);
    nn_bind_linear(b, "self_attn.q_proj",           &l->q_proj,                     D, H * C);
    nn_init_next  (b, NN_INIT_CONSTANT, qk);
    nn_bind_norm  (b, "self_attn.q_norm",           &l->q_norm,                     C);
    if (l->has_kv) {
        nn_bind_linear(b, "self_attn.k_proj",       &l->k_proj,                     D, K * C);
        nn_bind_linear(b, "self_attn.v_proj",       &l->v_proj,                     D, K * C);
        nn_init_next  (b, NN_INIT_CONSTANT, qk);
        nn_bind_norm  (b, "self_attn.k_norm",       &l->k_norm,                     C);
    }
    nn_bind_linear(b, "self_attn.o_proj",           &l->o_proj,                     H * C, D);
    nn_bind_norm  (b, "post_attention_layernorm",   &l->post_attention_layernorm,   D);
    nn_bind_norm  (b, "pre_feedforward_layernorm",  &l->pre_feedforward_layernorm,  D);
    nn_bind_linear(b, "mlp.gate_proj",              &l->gate_proj,                  D, F);
    nn_bind_linear(b, "mlp.up_proj",                &l->up_proj,                    D, F);
    nn_bind_linear(b, "mlp.down_proj",              &l->down_proj,                  F, D);
    nn_bind_norm  (b, "post_feedforward_layernorm", &l->post_feedforward_layernorm, D);
    if (P) {
        nn_bind_linear(b, "per_layer_input_gate",      &l->per_layer_input_gate,      D, P);
        nn_bind_linear(b, "per_layer_projection",      &l->per_layer_projection,      P, D);
        nn_bind_norm  (b, "post_per_layer_input_norm", &l->post_per_layer_input_norm, D);
    }
    nn_bind_scalar(b, "layer_scalar",               &l->layer_scalar);
}

void gemma4_text_bind(struct gemma4_text *m, struct nn_binder *b, const char *root)
{
    int D = m->D, V = m->V, L = m->L, P = m->P;

    m->root = root;
    b->tower = "language";
    b->eps = m->eps;
    nn_root(b, root);
    nn_under(b, "%s", "");
    nn_bind_embedding(b, "embed_tokens",                &m->embed_tokens,               D, V);
    if (P) {
        nn_bind_table (b, "embed_tokens_per_layer",     &m->embed_tokens_per_layer,     L * P,
                       m->per_layer_vocab);
        nn_bind_linear(b, "per_layer_model_projection", &m->per_layer_model_projection, D, L * P);
        nn_bind_norm  (b, "per_layer_projection_norm",  &m->per_layer_projection_norm,  P);
    }
    for (int i = 0; i < L; i++) {
        nn_under(b, "layers.%d.", i);
        bind_layer(&m->layers[i], b, m);
    }
    nn_under(b, "%s", "");
    nn_bind_norm(b, "norm", &m->norm, D);
}
/* clang-format on */

void gemma4_text_release(struct gemma4_text *m)
{
    free(m->layers);
    m->layers = NULL;
}

/* -------------------------------------------------------------- attention -- */

static mx_array split_heads(mx_array x, int heads, int C)                       /* [B,T,heads·C] */
{
    return mx_reshape(x, mx_dim(x, 0), mx_dim(x, 1), heads, C);                 /* [B,T,heads,C] */
}

static mx_array merge_heads(mx_array y)                                         /* [B,H,T,C] */
{
    y = mx_transpose(y, 0, 2, 1, 3);
    return mx_reshape(y, mx_dim(y, 0), mx_dim(y, 1), -1);                       /* [B,T,H·C] */
}

/* `at`: the first position, one number or one for each row; none: 0. */
static mx_array rotate(const struct reach *r, mx_array x, mx_array at)          /* [B,T,heads,C] */
{
    x = mx_transpose(x, 0, 2, 1, 3);
    return mx_is_none(at) ? nn_rope(r->rope, x) : nn_rope_at(r->rope, x, at);   /* [B,heads,T,C] */
}

static void keys_and_values(const struct gemma4_layer *l, struct reach *r, mx_array x, mx_array at)
{
    mx_array k = split_heads(nn_linear(&l->k_proj, x), l->kv_heads, l->head_dim);
    mx_array v = split_heads(nn_linear(&l->v_proj, x), l->kv_heads, l->head_dim);

    r->k = rotate(r, nn_rms_norm(&l->k_norm, k), at);                           /* [B,K,T,C] */
    r->v = mx_transpose(mx_rms_norm(v, MX_NONE, l->k_norm.eps), 0, 2, 1, 3);
}

/* Queries, keys and values are all normalised, so the scores need no 1/√C. */
static mx_array attention(const struct gemma4_layer *l, const struct reach *r, mx_array x,
                          mx_array at)                                          /* [B,T,D] */
{
    mx_array q = split_heads(nn_linear(&l->q_proj, x), l->text->H, l->head_dim);
    q = rotate(r, nn_rms_norm(&l->q_norm, q), at);                              /* [B,H,T,C] */

    mx_array y = nn_attention(q, r->k, r->v, 1.0, r->mask);
    return nn_linear(&l->o_proj, merge_heads(y));                               /* [B,T,D] */
}

/* ----------------------------------------------------------- feed-forward -- */

static mx_array mlp(const struct gemma4_layer *l, mx_array x)                   /* [B,T,D] */
{
    mx_array g = nn_gelu_approx(nn_linear(&l->gate_proj, x));                   /* [B,T,F] */
    return nn_linear(&l->down_proj, mx_multiply(g, nn_linear(&l->up_proj, x)));
}

static mx_array per_layer_input(const struct gemma4_layer *l, mx_array x, mx_array p)
{
    mx_array g = nn_gelu_approx(nn_linear(&l->per_layer_input_gate, x));        /* [B,T,P] */
    return nn_linear(&l->per_layer_projection, mx_multiply(g, p));              /* [B,T,D] */
}

/* -------------------------------------------------------------- the layer -- */

/* Everything behind the keys and values: `x` is the residual, `n` its norm. */
static mx_array rest_of_layer(const struct gemma4_layer *l, const struct reach *r, mx_array x,
                              mx_array n, mx_array p, mx_array at)
{
    const char *root = l->text->root;
    mx_array y = attention(l, r, n, at);
    x = mx_add(x, nn_rms_norm(&l->post_attention_layernorm, y));

    mx_at("%slayers.%d.mlp", root, l->index);
    y = mlp(l, nn_rms_norm(&l->pre_feedforward_layernorm, x));
    x = mx_add(x, nn_rms_norm(&l->post_feedforward_layernorm, y));

    if (l->text->P) {
        mx_at("%slayers.%d.per_layer_input", root, l->index);
        y = per_layer_input(l, x, p);
        x = mx_add(x, nn_rms_norm(&l->post_per_layer_input_norm, y));
    }
    return mx_multiply(x, mx_astype(l->layer_scalar, mx_dtype(x)));
}

/* A layer.  Queries are at the last T of the S positions of keys: all of them where the layer makes
 * keys, unless it is told to drop the rows before `first_row` once they are made. */
static mx_array layer(const struct gemma4_layer *l, struct reach *r, mx_array x, mx_array p,
                      int first_row)
{
    mx_at("%slayers.%d.self_attn", l->text->root, l->index);
    mx_array n = nn_rms_norm(&l->input_layernorm, x);
    if (l->has_kv)
        keys_and_values(l, r, n, MX_NONE);
    if (first_row) {
        x = mx_slice(x, 1, first_row, mx_dim(x, 1));
        n = mx_slice(n, 1, first_row, mx_dim(n, 1));
    }
    int dropped = mx_dim(r->k, 2) - mx_dim(x, 1);
    return rest_of_layer(l, r, x, n, p, dropped ? mx_int(dropped) : MX_NONE);
}

/* The layer as a function of arrays: in = x, p if any, k and v if it has none of its own. */
struct block {
    const struct gemma4_layer *layer;
    struct reach reach;
    int first_row;
};

static void layer_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct block *b = arg;
    mx_array p = b->layer->text->P ? in[1] : MX_NONE;

    if (!b->layer->has_kv) {
        b->reach.k = in[n_in - 2];
        b->reach.v = in[n_in - 1];
    }
    out[0] = layer(b->layer, &b->reach, in[0], p, b->first_row);
    if (n_out == 3) {
        out[1] = b->reach.k;
        out[2] = b->reach.v;
    }
}

static mx_array checkpointed_layer(const struct gemma4_layer *l, struct reach *r, mx_array x,
                                   mx_array p, int first_row, const struct nn_params *params)
{
    struct block b = {
        .layer = l, .reach = {.rope = r->rope, .mask = r->mask}, .first_row = first_row};
    mx_array in[4] = {x}, out[3] = {MX_NONE};
    char prefix[NN_NAME_MAX];
    int n = 1;

    if (l->text->P)
        in[n++] = p;
    if (!l->has_kv) {
        in[n++] = r->k;
        in[n++] = r->v;
    }
    snprintf(prefix, sizeof prefix, "%slayers.%d.", l->text->root, l->index);
    mx_checkpoint(layer_block, &b, sizeof b, (struct mx_arrays){in, n},
                  nn_trainable(params, prefix), out, l->has_kv ? 3 : 1);
    if (l->has_kv) {
        r->k = out[1];
        r->v = out[2];
    }
    return out[0];
}

/* ------------------------------------------------------------ the decoder -- */

/* Rows of a table.  As in PyTorch, looking up the padding teaches its row nothing. */
static mx_array look_up(const struct gemma4_text *m, const struct nn_linear *table, mx_array ids)
{
    mx_array x = nn_embedding(table, ids);
    mx_array is_pad = mx_expand_dims(mx_equal(ids, mx_int(m->pad_id)), -1);
    return mx_where(is_pad, mx_stop_gradient(x), x);
}

mx_array gemma4_text_embed(const struct gemma4_text *m, mx_array ids)           /* [B,T] */
{
    mx_at("%sembed_tokens", m->root);
    return mx_scale(look_up(m, &m->embed_tokens, ids), sqrt(m->D));             /* [B,T,D] */
}

/* Every layer's own input: what its table says of the token, plus what the embedding says. */
static mx_array per_layer_inputs(const struct gemma4_text *m, mx_array ids, mx_array x)
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1), L = m->L, P = m->P;

    if (P == 0)
        return MX_NONE;
    mx_at("%sembed_tokens_per_layer", m->root);
    mx_array p = mx_scale(look_up(m, &m->embed_tokens_per_layer, ids), sqrt(P));
    mx_array q = mx_scale(nn_linear(&m->per_layer_model_projection, x), 1 / sqrt(m->D));
    q = nn_rms_norm(&m->per_layer_projection_norm, mx_reshape(q, B, T, L, P));
    return mx_scale(mx_add(q, mx_reshape(p, B, T, L, P)), sqrt(0.5));           /* [B,T,L,P] */
}

static mx_array own_input(const struct gemma4_text *m, mx_array p, int i)       /* [B,T,L,P] */
{
    return m->P ? mx_index(p, 2, i) : MX_NONE;                                  /* [B,T,P] */
}

static struct reach *reach_of(const struct gemma4_layer *l, struct reach *full,
                              struct reach *window)
{
    return l->is_full ? full : window;
}

mx_array gemma4_text_hidden(const struct gemma4_text *m, mx_array ids, mx_array x, int first_row,
                            const struct nn_params *checkpoint)                 /* [B,T,D] */
{
    int T = mx_dim(x, 1);
    struct reach full = {.rope = &m->full_rope};
    struct reach window = {.rope = &m->window_rope, .mask = nn_window_mask(T, m->window)};
    mx_array p = per_layer_inputs(m, ids, x);

    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        struct reach *r = reach_of(l, &full, &window);

        mx_at("%slayers.%d.self_attn", m->root, i);
        int drop = i == m->first_shared - 1 ? first_row : 0;
        if (drop) {                     /* the last layer in which earlier rows are read */
            p = m->P ? mx_slice(p, 1, drop, T) : p;
            window.mask = mx_is_none(window.mask) ? MX_NONE : mx_slice(window.mask, 0, drop, T);
        }
        if (checkpoint)
            x = checkpointed_layer(l, r, x, own_input(m, p, i), drop, checkpoint);
        else
            x = layer(l, r, x, own_input(m, p, i), drop);
    }
    mx_at("%snorm", m->root);
    x = nn_rms_norm(&m->norm, x);
    return mx_dim(x, 1) < T ? mx_pad(x, 1, first_row, 0, 0.0) : x;              /* [B,T,D] */
}

/* ------------------------------------------------------------- generation -- */

struct gemma4_cache *gemma4_cache_new(const struct gemma4_text *m, int rows, int capacity)
{
    struct gemma4_cache *c = xcalloc(1, sizeof *c);
    c->rows = rows;
    c->capacity = capacity;
    c->layers = m->first_shared;
    c->lengths = mx_slot(MX_NONE);
    c->k = xcalloc((size_t)m->L, sizeof *c->k);
    c->v = xcalloc((size_t)m->L, sizeof *c->v);
    for (int i = 0; i < c->layers; i++) {
        c->k[i] = mx_slot(MX_NONE);
        c->v[i] = mx_slot(MX_NONE);
    }
    return c;
}

void gemma4_cache_free(struct gemma4_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->layers; i++) {
        mx_slot_free(c->k[i]);
        mx_slot_free(c->v[i]);
    }
    mx_slot_free(c->lengths);
    free(c->k);
    free(c->v);
    free(c);
}

mx_array gemma4_text_prefill(const struct gemma4_text *m, struct gemma4_cache *c, mx_array ids,
                             mx_array x, mx_array lengths)
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1);
    struct reach full = {.rope = &m->full_rope};
    struct reach window = {.rope = &m->window_rope, .mask = nn_window_mask(T, m->window)};
    mx_array p = per_layer_inputs(m, ids, x);

    if (B != c->rows || T > c->capacity)
        return mx_fail("prompts of %d rows and %d places, but the cache has %d rows and %d places",
                       B, T, c->rows, c->capacity);
    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        struct reach *r = reach_of(l, &full, &window);

        mx_at("%slayers.%d.self_attn", m->root, i);
        x = layer(l, r, x, own_input(m, p, i), 0);
        if (l->has_kv) {
            mx_set(c->k[i], mx_pad(r->k, 2, 0, c->capacity - T, 0.0));
            mx_set(c->v[i], mx_pad(r->v, 2, 0, c->capacity - T, 0.0));
        }
    }
    c->prompt = T;
    c->grown = 0;
    mx_set(c->lengths, lengths);

    mx_at("%snorm", m->root);
    mx_array last = mx_reshape(mx_shift(lengths, -1), B, 1, 1);
    last = mx_broadcast_to(last, B, 1, m->D);
    x = mx_take_along_axis(x, last, 1);                                         /* [B,1,D] */
    return nn_rms_norm(&m->norm, mx_squeeze(x, 1));                             /* [B,D] */
}

/* Which of S places each row's next token may see: true ones only, and inside the window.  Places
 * of the prompt are positions; those behind it lie `grown` before the token, and less. */
static mx_array decode_mask(const struct gemma4_cache *c, mx_array at, int S, int window)
{
    mx_array place = mx_arange(0, S, 1, MX_INT32);                              /* [S] */
    mx_array length = mx_expand_dims(c->lengths, 1);                            /* [B,1] */
    mx_array in_prompt = mx_less(place, mx_int(c->prompt));
    mx_array behind = mx_add(length, mx_shift(place, -c->prompt));
    mx_array position = mx_where(in_prompt, place, behind);                     /* [B,S] */
    mx_array from = mx_expand_dims(mx_shift(at, -window), 1);

    mx_array seen = mx_less(place, length);
    seen = mx_logical_or(seen, mx_logical_not(in_prompt));
    if (window)
        seen = mx_logical_and(seen, mx_greater(position, from));
    return mx_reshape(seen, c->rows, 1, 1, S);
}

/* Put the newest keys and values behind the others; `r` then sees all S of them. */
static void remember(const struct gemma4_cache *c, int i, struct reach *r, int S)
{
    mx_set(c->k[i], mx_slice_update(c->k[i], r->k, 2, S - 1));
    mx_set(c->v[i], mx_slice_update(c->v[i], r->v, 2, S - 1));
    r->k = mx_slice(c->k[i], 2, 0, S);
    r->v = mx_slice(c->v[i], 2, 0, S);
}

mx_array gemma4_text_decode(const struct gemma4_text *m, struct gemma4_cache *c, mx_array ids)
{
    int S = c->prompt + c->grown + 1;
    mx_array at = mx_shift(c->lengths, c->grown);                               /* [B] */
    struct reach full = {.rope = &m->full_rope, .mask = decode_mask(c, at, S, 0)};
    struct reach window = {.rope = &m->window_rope, .mask = decode_mask(c, at, S, m->window)};

    if (S > c->capacity)
        return mx_fail("no place for token %d of a row: the cache has %d", S, c->capacity);
    ids = mx_reshape(ids, c->rows, 1);
    mx_array x = gemma4_text_embed(m, ids);                                     /* [B,1,D] */
    mx_array p = per_layer_inputs(m, ids, x);
    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        struct reach *r = reach_of(l, &full, &window);

        mx_at("%slayers.%d.self_attn", m->root, i);
        mx_array n = nn_rms_norm(&l->input_layernorm, x);
        if (l->has_kv) {
            keys_and_values(l, r, n, at);
            remember(c, i, r, S);
        }
        x = rest_of_layer(l, r, x, n, own_input(m, p, i), at);
    }
    c->grown++;
    mx_at("%snorm", m->root);
    return nn_rms_norm(&m->norm, mx_squeeze(x, 1));                             /* [B,D] */
}
