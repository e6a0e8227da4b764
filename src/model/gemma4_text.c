/* gemma4_text.c - the Gemma 4 text decoder, of all sizes.
 *
 *     x = √D · embed(tokens)                                  soft tokens are put in as they are
 *     p = (norm(W x / √D) + √P · table(tokens)) / √2          [L,P] for each token
 *     for each layer i:
 *         x = x + norm(attention(norm(x)))
 *         x = x + norm(mlp(norm(x)))                          or, with experts,
 *         x = x + norm(norm(mlp(norm(x))) + norm(experts(norm(x), router(x))))
 *         x = x + norm(W_proj (gelu(W_gate x) ⊙ p_i))         p_i: the layer's own input
 *         x = s_i · x
 *     h = norm(x)                                             logits = cap · tanh(embed h / cap)
 *
 * Weights carry the names they have in the checkpoint.  Letters are dimensions:
 *
 *     B batch    T time     D model   F mlp              V vocabulary
 *     H heads    K key heads   C one head   L layers    P a layer's own input
 *     S places of keys (T in training)   Q places whose hidden states are needed
 *     N = B·T tokens   X experts   E experts a token
 */
#include "model/gemma4_text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "nn/act.h"
#include "nn/attention.h"

/* What the layers of one kind share: full attention, or attention over a sliding window.
 * `k` and `v` are those of the last such layer that had any. */
struct reach {
    const struct nn_rope *rope;
    mx_array mask;                      /* of the queries, or none: causal */
    int band;                           /* the window, where it is walked in chunks; 0: it is not */
    mx_array k, v;                      /* [B,K,S,C] */
};

/* The rows of x that a layer is given, and those that it goes on with once its keys are made. */
struct rows {
    mx_array key_at, query_at;          /* positions [B,T], [B,Q]; none: 0 .. T-1 */
    mx_array kept;                      /* [B,Q] of T; none: all stay */
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
static void bind_experts(struct gemma4_layer *l, struct nn_binder *b, const struct gemma4_text *m)
{
    int D = m->D, X = m->experts;
    struct nn_init one = {NN_INIT_CONSTANT, 1};

    nn_bind_linear (b, "router.proj",             &l->router_proj,      D, X);
    nn_bind_tensor (b, "router.scale",            &l->router_scale,     &D, 1, one);
    nn_bind_tensor (b, "router.per_expert_scale", &l->per_expert_scale, &X, 1, one);
    nn_bind_experts(b, "experts",                 &l->experts,          X, D, m->expert_dim);
    nn_bind_norm(b, "pre_feedforward_layernorm_2",  &l->pre_feedforward_layernorm_2,  D);
    nn_bind_norm(b, "post_feedforward_layernorm_1", &l->post_feedforward_layernorm_1, D);
    nn_bind_norm(b, "post_feedforward_layernorm_2", &l->post_feedforward_layernorm_2, D);
}

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
        if (!l->k_is_v)
            nn_bind_linear(b, "self_attn.v_proj",   &l->v_proj,                     D, K * C);
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
    if (m->experts)
        bind_experts(l, b, m);
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

/* `at`: positions [B,T]; none: 0 .. T-1. */
static mx_array rotate(const struct reach *r, mx_array x, mx_array at)          /* [B,T,heads,C] */
{
    x = mx_transpose(x, 0, 2, 1, 3);
    return mx_is_none(at) ? nn_rope(r->rope, x) : nn_rope_each(r->rope, x, at); /* [B,heads,T,C] */
}

/* Where keys are values, too, both come from the raw projection: values have no weights in their
 * norm, and do not turn. */
static void keys_and_values(const struct gemma4_layer *l, struct reach *r, mx_array x, mx_array at)
{
    int K = l->kv_heads, C = l->head_dim;
    mx_array k = split_heads(nn_linear(&l->k_proj, x), K, C);
    mx_array v = l->k_is_v ? k : split_heads(nn_linear(&l->v_proj, x), K, C);

    r->k = rotate(r, nn_rms_norm(&l->k_norm, k), at);                           /* [B,K,T,C] */
    r->v = mx_transpose(mx_rms_norm(v, MX_NONE, l->k_norm.eps), 0, 2, 1, 3);
}

/* Queries, keys and values are all normalised, so the scores need no 1/√C. */
static mx_array attention(const struct gemma4_layer *l, const struct reach *r, mx_array x,
                          mx_array at)                                          /* [B,T,D] */
{
    mx_array q = split_heads(nn_linear(&l->q_proj, x), l->text->H, l->head_dim);
    q = rotate(r, nn_rms_norm(&l->q_norm, q), at);                              /* [B,H,T,C] */

    mx_array y = r->band ? nn_band_attention(q, r->k, r->v, 1.0, r->mask, r->band)
                         : nn_attention(q, r->k, r->v, 1.0, r->mask);
    return nn_linear(&l->o_proj, merge_heads(y));                               /* [B,T,D] */
}

/* ----------------------------------------------------------- feed-forward -- */

static mx_array mlp(const struct gemma4_layer *l, mx_array x)                   /* [B,T,D] */
{
    mx_array g = nn_gelu_approx(nn_linear(&l->gate_proj, x));                   /* [B,T,F] */
    return nn_linear(&l->down_proj, mx_multiply(g, nn_linear(&l->up_proj, x)));
}

/* Who takes each token of x [N,D]: the E most probable experts [N,E], and weights [N,E] float32:
 * their probabilities, made to sum to 1, times a number of each expert's own. */
static mx_array route(const struct gemma4_layer *l, mx_array x, mx_array *weight)
{
    const struct gemma4_text *m = l->text;
    int X = m->experts, E = m->experts_per_token;

    mx_array n = mx_rms_norm(x, MX_NONE, m->eps);
    n = mx_scale(mx_multiply(n, mx_astype(l->router_scale, mx_dtype(x))), 1 / sqrt(m->D));
    mx_array p = mx_softmax(mx_astype(nn_linear(&l->router_proj, n), MX_FLOAT32), -1);

    mx_array order = mx_argpartition(mx_stop_gradient(p), -E, -1);              /* [N,X] */
    mx_array chosen = mx_astype(mx_slice(order, -1, X - E, X), MX_INT32);
    p = mx_take_along_axis(p, chosen, -1);
    p = mx_divide(p, mx_sum(p, -1, true));
    *weight = mx_multiply(p, mx_take(mx_astype(l->per_expert_scale, MX_FLOAT32), chosen, 0));
    return chosen;
}

/* The router reads the residual as it is, the experts its norm. */
static mx_array experts(const struct gemma4_layer *l, mx_array x)               /* [B,T,D] */
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1), D = l->text->D;
    mx_array weight;

    x = mx_reshape(x, B * T, D);
    mx_array chosen = route(l, x, &weight);
    x = nn_rms_norm(&l->pre_feedforward_layernorm_2, x);
    return mx_reshape(nn_experts(&l->experts, x, chosen, weight), B, T, D);
}

static mx_array feed_forward(const struct gemma4_layer *l, mx_array x)          /* [B,T,D] */
{
    mx_at("%slayers.%d.mlp", l->text->root, l->index);
    mx_array y = mlp(l, nn_rms_norm(&l->pre_feedforward_layernorm, x));
    if (l->text->experts) {
        mx_at("%slayers.%d.experts", l->text->root, l->index);
        mx_array z = nn_rms_norm(&l->post_feedforward_layernorm_2, experts(l, x));
        y = mx_add(nn_rms_norm(&l->post_feedforward_layernorm_1, y), z);
    }
    return nn_rms_norm(&l->post_feedforward_layernorm, y);
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
    mx_array y = attention(l, r, n, at);
    x = mx_add(x, nn_rms_norm(&l->post_attention_layernorm, y));
    x = mx_add(x, feed_forward(l, x));
    if (l->text->P) {
        mx_at("%slayers.%d.per_layer_input", l->text->root, l->index);
        y = per_layer_input(l, x, p);
        x = mx_add(x, nn_rms_norm(&l->post_per_layer_input_norm, y));
    }
    return mx_multiply(x, mx_astype(l->layer_scalar, mx_dtype(x)));
}

/* x [B,T,D] and the keys and values of its T places -> [B,T,D], or [B,Q,D] where rows are dropped;
 * p [B,Q,P] is of those that stay. */
static mx_array layer(const struct gemma4_layer *l, struct reach *r, const struct rows *rows,
                      mx_array x, mx_array p)
{
    mx_at("%slayers.%d.self_attn", l->text->root, l->index);
    mx_array n = nn_rms_norm(&l->input_layernorm, x);
    if (l->has_kv)
        keys_and_values(l, r, n, rows->key_at);
    if (!mx_is_none(rows->kept)) {
        x = nn_rows_at(x, rows->kept);
        n = nn_rows_at(n, rows->kept);
    }
    return rest_of_layer(l, r, x, n, p, rows->query_at);
}

/* The layer as a function of arrays: in = x, p if any, k and v if it has none of its own. */
struct block {
    const struct gemma4_layer *layer;
    struct reach reach;
    struct rows rows;
};

static void layer_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    struct block *b = arg;
    mx_array p = b->layer->text->P ? in[1] : MX_NONE;

    if (!b->layer->has_kv) {
        b->reach.k = in[n_in - 2];
        b->reach.v = in[n_in - 1];
    }
    out[0] = layer(b->layer, &b->reach, &b->rows, in[0], p);
    if (n_out == 3) {
        out[1] = b->reach.k;
        out[2] = b->reach.v;
    }
}

/* Does a later layer read this one's keys and values? */
static bool is_read_again(const struct gemma4_layer *l)
{
    const struct gemma4_text *m = l->text;
    int next = l->index + 1;

    while (next < m->L && m->layers[next].is_full != l->is_full)
        next++;
    return l->has_kv && next < m->L && !m->layers[next].has_kv;
}

/* Keys and values that nobody reads again are no results: they would be held until the backward
 * pass. */
static mx_array checkpointed_layer(const struct gemma4_layer *l, struct reach *r,
                                   const struct rows *rows, mx_array x, mx_array p,
                                   const struct nn_params *params)
{
    struct block b = {.layer = l, .reach = *r, .rows = *rows};
    mx_array in[4] = {x}, out[3] = {MX_NONE};
    char prefix[NN_NAME_MAX];
    int n = 1, n_out = is_read_again(l) ? 3 : 1;

    if (l->text->P)
        in[n++] = p;
    if (!l->has_kv) {
        in[n++] = r->k;
        in[n++] = r->v;
    }
    snprintf(prefix, sizeof prefix, "%slayers.%d.", l->text->root, l->index);
    mx_checkpoint(layer_block, &b, sizeof b, (struct mx_arrays){in, n},
                  nn_trainable(params, prefix), out, n_out);
    if (n_out == 3) {
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
static mx_array per_layer_inputs(const struct gemma4_text *m, mx_array x, mx_array ids,
                                 mx_array looked_up)
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1), L = m->L, P = m->P;

    if (P == 0)
        return MX_NONE;
    mx_at("%sembed_tokens_per_layer", m->root);
    mx_array p = mx_is_none(looked_up) ? look_up(m, &m->embed_tokens_per_layer, ids)
                                       : mx_astype(looked_up, mx_dtype(x));
    p = mx_scale(p, sqrt(P));
    mx_array q = mx_scale(nn_linear(&m->per_layer_model_projection, x), 1 / sqrt(m->D));
    q = nn_rms_norm(&m->per_layer_projection_norm, mx_reshape(q, B, T, L, P));
    return mx_scale(mx_add(q, mx_reshape(p, B, T, L, P)), sqrt(0.5));           /* [B,T,L,P] */
}

/* What a batch carries from layer to layer. */
struct passage {
    int B;                              /* rows */
    struct reach full, window;
    struct rows rows;
    mx_array p;                         /* [B,T,L-first,P]: own inputs from layer `first` on */
    int first;
};

static struct reach *reach_of(const struct gemma4_layer *l, struct passage *a)
{
    return l->is_full ? &a->full : &a->window;
}

static mx_array own_input(const struct gemma4_text *m, const struct passage *a, int i)
{
    return m->P ? mx_index(a->p, 2, i - a->first) : MX_NONE;                    /* [B,T,P] */
}

static struct nn_sight sight(const struct gemma4_text *m, const struct gemma4_rows *r, int T)
{
    mx_at("%smask", m->root);
    struct nn_sight s = {.place = mx_arange(0, T, 1, MX_INT32), .segment = r->segment};
    if (m->seeing != GEMMA4_CAUSAL && !mx_is_none(r->is_image))
        s.block = nn_runs(r->is_image);
    return s;
}

/* The masks of both kinds, each made once for all layers. */
static void set_masks(const struct gemma4_text *m, struct passage *a, const struct nn_sight *query,
                      const struct nn_sight *key)
{
    int S = mx_dim(key->place, -1), window = m->window < S ? m->window : 0;
    bool is_far = m->seeing == GEMMA4_IMAGE_EVERYWHERE, is_all = query == key;
    struct nn_sight q = *query;

    a->window.band = is_all && mx_is_none(q.block) && nn_band_pays(S, window) ? window : 0;
    a->window.mask =
        a->window.band ? nn_band_mask(&q, a->B, window) : nn_mask(&q, key, window, is_far);
    if (!is_far)
        q.block = MX_NONE;
    a->full.mask = nn_mask(&q, key, 0, is_far);
}

/* From the last layer on that makes keys and values, nobody reads the other rows. */
static void drop_rows(const struct gemma4_text *m, struct passage *a, const struct gemma4_rows *r,
                      const struct nn_sight *all)
{
    int layer = m->first_shared - 1;

    mx_at("%skept", m->root);
    struct nn_sight kept = nn_sight_at(all, r->kept);
    set_masks(m, a, &kept, all);
    a->rows.kept = r->kept;
    a->rows.query_at = mx_is_none(r->position) ? r->kept : nn_rows_at(r->position, r->kept);
    if (m->P) {
        a->p = nn_rows_at(mx_slice(a->p, 2, layer, m->L), r->kept);
        a->first = layer;
    }
}

/* Keys and values of a prompt, with places for those to come. */
static void store(struct gemma4_cache *c, int i, const struct reach *r)
{
    int more = c->capacity - mx_dim(r->k, 2);
    mx_set(c->k[i], mx_pad(r->k, 2, 0, more, 0.0));
    mx_set(c->v[i], mx_pad(r->v, 2, 0, more, 0.0));
}

/* All layers; with a cache it is filled. */
static mx_array decoder(const struct gemma4_text *m, mx_array x, const struct gemma4_rows *r,
                        struct gemma4_cache *c)                                 /* [B,T,D] */
{
    struct nn_sight all = sight(m, r, mx_dim(x, 1));
    struct passage a = {.full = {.rope = &m->full_rope}, .window = {.rope = &m->window_rope}};

    a.B = mx_dim(x, 0);
    a.rows = (struct rows){.key_at = r->position, .query_at = r->position};
    set_masks(m, &a, &all, &all);
    a.p = per_layer_inputs(m, x, r->ids, r->per_layer);
    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        struct reach *reach = reach_of(l, &a);

        if (i == m->first_shared - 1 && !mx_is_none(r->kept))
            drop_rows(m, &a, r, &all);
        mx_at("%slayers.%d.self_attn", m->root, i);
        mx_array p = own_input(m, &a, i);
        if (r->checkpoint)
            x = checkpointed_layer(l, reach, &a.rows, x, p, r->checkpoint);
        else
            x = layer(l, reach, &a.rows, x, p);
        if (i == m->first_shared - 1)
            a.rows.kept = MX_NONE;
        if (c && l->has_kv)
            store(c, i, reach);
    }
    mx_at("%snorm", m->root);
    return nn_rms_norm(&m->norm, x);                                            /* [B,Q,D] */
}

mx_array gemma4_text_hidden(const struct gemma4_text *m, mx_array x, const struct gemma4_rows *r)
{
    return decoder(m, x, r, NULL);
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

mx_array gemma4_text_prefill(const struct gemma4_text *m, struct gemma4_cache *c, mx_array x,
                             const struct gemma4_rows *r, mx_array lengths)
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1);
    struct gemma4_rows prompt = {.ids = r->ids,
                                 .is_image = r->is_image,
                                 .kept = mx_expand_dims(mx_shift(lengths, -1), 1),
                                 .per_layer = r->per_layer};

    if (B != c->rows || T > c->capacity)
        return mx_fail("prompts of %d rows and %d places, but the cache has %d rows and %d places",
                       B, T, c->rows, c->capacity);
    c->prompt = T;
    c->grown = 0;
    mx_set(c->lengths, lengths);
    return mx_squeeze(decoder(m, x, &prompt, c), 1);                            /* [B,D] */
}

/* The masks of each row's next token, at position `at` [B,1], over S places: true ones only.  Those
 * of the prompt are positions; those behind it lie `grown` before the token, and less. */
static void decode_masks(const struct gemma4_text *m, const struct gemma4_cache *c,
                         struct passage *a, mx_array at, int S)
{
    mx_array place = mx_arange(0, S, 1, MX_INT32);                              /* [S] */
    mx_array length = mx_expand_dims(c->lengths, 1);                            /* [B,1] */
    mx_array behind = mx_add(length, mx_shift(place, -c->prompt));
    mx_array prompt = mx_where(mx_less(place, length), place, mx_int(INT32_MAX));
    mx_array position = mx_where(mx_less(place, mx_int(c->prompt)), prompt, behind);
    struct nn_sight query = {.place = at}, key = {.place = position};           /* [B,S] */

    a->full.mask = nn_mask(&query, &key, 0, false);
    a->window.mask = nn_mask(&query, &key, m->window, false);
}

/* Put the newest keys and values behind the others; `r` then sees all S of them. */
static void remember(const struct gemma4_cache *c, int i, struct reach *r, int S)
{
    mx_set(c->k[i], mx_slice_update(c->k[i], r->k, 2, S - 1));
    mx_set(c->v[i], mx_slice_update(c->v[i], r->v, 2, S - 1));
    r->k = mx_slice(c->k[i], 2, 0, S);
    r->v = mx_slice(c->v[i], 2, 0, S);
}

mx_array gemma4_text_decode(const struct gemma4_text *m, struct gemma4_cache *c, mx_array ids,
                            mx_array per_layer)
{
    int S = c->prompt + c->grown + 1;
    mx_array at = mx_expand_dims(mx_shift(c->lengths, c->grown), 1);            /* [B,1] */
    struct passage a = {.full = {.rope = &m->full_rope}, .window = {.rope = &m->window_rope}};

    if (S > c->capacity)
        return mx_fail("no place for token %d of a row: the cache has %d", S, c->capacity);
    decode_masks(m, c, &a, at, S);
    ids = mx_reshape(ids, c->rows, 1);
    mx_array x = gemma4_text_embed(m, ids);                                     /* [B,1,D] */
    a.p = per_layer_inputs(m, x, ids, per_layer);
    for (int i = 0; i < m->L; i++) {
        const struct gemma4_layer *l = &m->layers[i];
        struct reach *r = reach_of(l, &a);

        mx_at("%slayers.%d.self_attn", m->root, i);
        mx_array n = nn_rms_norm(&l->input_layernorm, x);
        if (l->has_kv) {
            keys_and_values(l, r, n, at);
            remember(c, i, r, S);
        }
        x = rest_of_layer(l, r, x, n, own_input(m, &a, i), at);
    }
    c->grown++;
    mx_at("%snorm", m->root);
    return nn_rms_norm(&m->norm, mx_squeeze(x, 1));                             /* [B,D] */
}
