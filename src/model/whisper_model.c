/* whisper_model.c - Whisper: an encoder of sound and a decoder of text that looks across at it.
 *
 *     encoder    x = gelu(conv2(gelu(conv1(mel)))) + sinusoids;   layers;   heard = norm(x)
 *     decoder    x = embed(tokens) + positions;   layers;   norm(x)
 *     layer      x = x + self_attn(norm(x))                    of the decoder: causal
 *                x = x + encoder_attn(norm(x), heard)          the decoder alone
 *                x = x + fc2(gelu(fc1(norm(x))))
 *
 * Row b of the tokens looks at clip b, and at all of it: silence that fills up a window is heard
 * like sound.  A window may be cut short behind the sound; then so are the positions.
 *
 * Dropout works behind the embeddings and on what each sub-layer adds (`dropout`), on attention's
 * probabilities (`attention_dropout`) and behind gelu (`activation_dropout`).
 *
 *     B rows, a clip each    F frames    M mel bins    T tokens    D model    V vocabulary
 *     S positions of the encoder, ceil(F / 2)    H heads    C one head    Q rows that are kept
 */
#include "model/whisper_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "model/whisper_config.h"
#include "nn/act.h"
#include "nn/attention.h"
#include "nn/dropout.h"

static const double NORM_EPS = 1e-5;    /* PyTorch's; no config says another */

/* ----------------------------------------------------------------- config -- */

static void close_whisper(void *self)
{
    struct whisper *m = self;
    if (!m)
        return;
    free(m->encoder.layers);
    free(m->decoder.layers);
    free(m);
}

static double greatest_rate(const struct whisper *m)
{
    double layers = fmax(m->encoder.layerdrop, m->decoder.layerdrop);
    return fmax(fmax(m->dropout, m->attention_dropout), fmax(m->activation_dropout, layers));
}

static void *open_whisper(const json_t *config, const struct model_options *o,
                          struct model_facts *f, struct err *e)
{
    struct whisper *m = xcalloc(1, sizeof *m);

    if (whisper_configure(m, config, e)) {
        close_whisper(m);
        return NULL;
    }
    if (o->dropout >= 0)
        m->dropout = o->dropout;
    *f = (struct model_facts){
        .vocab = m->V,
        .pad_id = m->pad_id,
        .bos_id = m->bos_id,
        .eos_ids = {50256},
        .eos_count = 1,
        .image_id = -1,
        .video_id = -1,
        .mel_bins = m->M,
        .has_audio_tower = true,
        .positions_max = m->target_positions,
        .is_crossing = true,
        .audio_positions = m->source_positions,
        .dropout = greatest_rate(m),
    };
    model_read_ends(config, f, e);
    return m;
}

/* ---------------------------------------------------------------- weights -- */

/* clang-format off */
static void bind_attention(struct whisper_attention *a, struct nn_binder *b,
                           const struct whisper_layer *l, const char *name)
{
    int D = l->stack->model->D;

    nn_under(b, "layers.%d.%s.", l->index, name);
    nn_bind_linear_bias(b, "q_proj",               &a->q_proj,               D, D);
    nn_bind_linear     (b, "k_proj",               &a->k_proj,               D, D);
    nn_bind_linear_bias(b, "v_proj",               &a->v_proj,               D, D);
    nn_bind_linear_bias(b, "out_proj",             &a->out_proj,             D, D);
}

static void bind_layer(struct whisper_layer *l, struct nn_binder *b)
{
    int D = l->stack->model->D, F = l->stack->F;

    bind_attention(&l->self_attn, b, l, "self_attn");
    if (l->stack->is_decoder)
        bind_attention(&l->encoder_attn, b, l, "encoder_attn");
    nn_under(b, "layers.%d.", l->index);
    nn_bind_layer_norm (b, "self_attn_layer_norm", &l->self_attn_layer_norm, D);
    if (l->stack->is_decoder)
        nn_bind_layer_norm(b, "encoder_attn_layer_norm", &l->encoder_attn_layer_norm, D);
    nn_bind_linear_bias(b, "fc1",                  &l->fc1,                  D, F);
    nn_bind_linear_bias(b, "fc2",                  &l->fc2,                  F, D);
    nn_bind_layer_norm (b, "final_layer_norm",     &l->final_layer_norm,     D);
}
/* clang-format on */

static void bind_stack(struct whisper_stack *s, struct nn_binder *b)
{
    for (int i = 0; i < s->L; i++)
        bind_layer(&s->layers[i], b);
    nn_under(b, "%s", "");
    nn_bind_layer_norm(b, "layer_norm", &s->layer_norm, s->model->D);
}

/* sin, then cos, of position · 10000^(-i / (D/2 - 1)): what the encoder's positions start as. */
static mx_array sinusoids(int S, int D, enum mx_dtype dtype)
{
    int half = D / 2;
    double step = log(10000) / (half > 1 ? half - 1 : 1);
    float *x = xcalloc((size_t)S * (size_t)D, sizeof *x);

    for (int s = 0; s < S; s++) {
        for (int i = 0; i < half; i++) {
            double angle = s * exp(-step * i);
            x[s * D + i] = (float)sin(angle);
            x[s * D + half + i] = (float)cos(angle);
        }
    }
    mx_array y = mx_from(x, MX_FLOAT32, (int[]){S, D}, 2);
    free(x);
    return mx_astype(y, dtype);                                                 /* [S,D] */
}

static void bind_whisper(void *self, struct nn_binder *b)
{
    struct whisper *m = self;
    int D = m->D, source[] = {m->source_positions, D}, target[] = {m->target_positions, D};
    struct nn_init small = {NN_INIT_NORMAL, m->init_std};

    nn_ignore(b, "proj_out.weight");                    /* tied: a copy of embed_tokens */
    b->eps = NORM_EPS;
    b->tower = "audio";
    nn_root(b, "model.encoder.");
    nn_bind_conv1d_bias(b, "conv1", &m->conv1, m->M, D, 3);
    nn_bind_conv1d_bias(b, "conv2", &m->conv2, D, D, 3);
    nn_bind_buffer(b, "embed_positions.weight", &m->source_embed, source, 2, 0);
    if (!b->source)
        mx_set(m->source_embed, sinusoids(m->source_positions, D, b->dtype));
    bind_stack(&m->encoder, b);

    b->tower = "language";
    nn_root(b, "model.decoder.");
    nn_bind_embedding(b, "embed_tokens", &m->embed_tokens, D, m->V);
    nn_bind_tensor(b, "embed_positions.weight", &m->target_embed, target, 2, small);
    bind_stack(&m->decoder, b);
}

/* ---------------------------------------------------------------- dropout -- */

/* Where a layer drops: the sites of a stack are `PLACES` for each layer, and one more. */
enum place {
    SELF_ATTN,
    SELF_PROBABILITIES,
    ENCODER_ATTN,
    ENCODER_PROBABILITIES,
    GELU,
    MLP,
    LAYER,
    PLACES
};
enum { EMBEDDING_SITE = WHISPER_LAYERS_MAX * PLACES };

static uint32_t site(const struct whisper_layer *l, enum place place)
{
    return (uint32_t)(l->index * PLACES + (int)place);
}

/* The key of a stack's own: encoder and decoder have the same sites. */
static mx_array stack_key(const struct whisper_stack *s, mx_array key)
{
    return mx_is_none(key) ? MX_NONE : mx_random_fold(key, s->is_decoder);
}

/* -------------------------------------------------------------- attention -- */

/* What a layer is told beside its rows; absent ones are MX_NONE. */
struct passage {
    mx_array key;                       /* of dropout */
    mx_array kept;                      /* [B,Q]: go on with these rows once keys are made */
    mx_array mask;                      /* whom they see of their own; none: what is causal */
};

struct keys {
    mx_array k, v;                      /* [B,H,S,C] */
};

static mx_array split_heads(mx_array x, int H)                                  /* [B,T,D] */
{
    x = mx_reshape(x, mx_dim(x, 0), mx_dim(x, 1), H, mx_dim(x, 2) / H);
    return mx_transpose(x, 0, 2, 1, 3);                                         /* [B,H,T,C] */
}

static mx_array merge_heads(mx_array y)                                         /* [B,H,T,C] */
{
    return mx_flatten(mx_transpose(y, 0, 2, 1, 3), 2, 3);                       /* [B,T,D] */
}

static struct keys keys_of(const struct whisper_attention *a, const struct whisper_layer *l,
                           mx_array x)                                          /* [B,S,D] */
{
    int H = l->stack->H;
    return (struct keys){.k = split_heads(nn_linear(&a->k_proj, x), H),
                         .v = split_heads(nn_linear(&a->v_proj, x), H)};
}

/* How far a query sees among the keys. */
enum sight { ALL, CAUSAL };

static mx_array attend(const struct whisper_attention *a, const struct whisper_layer *l, mx_array x,
                       struct keys of, enum sight sight, const struct passage *p,
                       enum place probabilities)                                /* [B,T,D] */
{
    const struct whisper *m = l->stack->model;
    int H = l->stack->H;
    double scale = 1 / sqrt(m->D / H), rate = m->attention_dropout;
    mx_array q = split_heads(nn_linear(&a->q_proj, x), H);                      /* [B,H,T,C] */
    mx_array y;

    if (rate > 0 && !mx_is_none(p->key))
        y = nn_attention_dropout(q, of.k, of.v, scale, sight == CAUSAL,
                                 sight == CAUSAL ? p->mask : MX_NONE, p->key,
                                 site(l, probabilities), rate);
    else if (sight == CAUSAL)
        y = nn_attention(q, of.k, of.v, scale, p->mask);
    else
        y = nn_attention_all(q, of.k, of.v, scale);
    return nn_linear(&a->out_proj, merge_heads(y));                             /* [B,T,D] */
}

/* -------------------------------------------------------------- the layer -- */

static const char *side(const struct whisper_layer *l)
{
    return l->stack->is_decoder ? "decoder" : "encoder";
}

/* x and what a sub-layer adds. */
static mx_array plus(const struct whisper_layer *l, const struct passage *p, mx_array x, mx_array y,
                     enum place place)
{
    return mx_add(x, nn_dropout(y, p->key, site(l, place), l->stack->model->dropout));
}

/* `n` is the norm of x. */
static mx_array self_attention(const struct whisper_layer *l, const struct passage *p, mx_array x,
                               mx_array n, struct keys own)
{
    enum sight sight = l->stack->is_decoder ? CAUSAL : ALL;
    mx_array y = attend(&l->self_attn, l, n, own, sight, p, SELF_PROBABILITIES);
    return plus(l, p, x, y, SELF_ATTN);
}

static mx_array cross_attention(const struct whisper_layer *l, const struct passage *p, mx_array x,
                                struct keys across)
{
    mx_array n = nn_layer_norm(&l->encoder_attn_layer_norm, x);
    mx_array y = attend(&l->encoder_attn, l, n, across, ALL, p, ENCODER_PROBABILITIES);
    return plus(l, p, x, y, ENCODER_ATTN);
}

static mx_array mlp(const struct whisper_layer *l, const struct passage *p, mx_array x)
{
    double rate = l->stack->model->activation_dropout;

    mx_at("%s.layers.%d.mlp", side(l), l->index);
    mx_array y = nn_gelu(nn_linear(&l->fc1, nn_layer_norm(&l->final_layer_norm, x)));
    y = nn_linear(&l->fc2, nn_dropout(y, p->key, site(l, GELU), rate));
    return plus(l, p, x, y, MLP);
}

/* Layer drop (Fan et al. 2020): now and then a layer hands on what it was given. */
static mx_array or_nothing(const struct whisper_layer *l, const struct passage *p, mx_array before,
                           mx_array x)
{
    double rate = l->stack->layerdrop;

    if (rate == 0 || mx_is_none(p->key))
        return x;
    mx_array key = mx_random_fold(p->key, site(l, LAYER));
    return mx_where(mx_random_bernoulli_(key, 1 - rate, (int[]){1}, 1), x, before);
}

/* x [B,T,D] and what is heard [B,S,D] -> [B,T,D], or [B,Q,D] where rows are dropped.  The keys that
 * were made go to `own` and `across`. */
static mx_array layer(const struct whisper_layer *l, const struct passage *p, mx_array x,
                      mx_array heard, struct keys *own, struct keys *across)
{
    mx_at("%s.layers.%d.self_attn", side(l), l->index);
    mx_array n = nn_layer_norm(&l->self_attn_layer_norm, x);
    *own = keys_of(&l->self_attn, l, n);
    if (!mx_is_none(p->kept)) {
        x = nn_rows_at(x, p->kept);
        n = nn_rows_at(n, p->kept);
    }
    mx_array before = x;
    x = self_attention(l, p, x, n, *own);
    if (l->stack->is_decoder) {
        mx_at("decoder.layers.%d.encoder_attn", l->index);
        *across = keys_of(&l->encoder_attn, l, heard);
        x = cross_attention(l, p, x, *across);
    }
    return or_nothing(l, p, before, mlp(l, p, x));
}

/* The layer as a function of x and, in the decoder, of what is heard. */
struct block {
    const struct whisper_layer *layer;
    struct passage passage;
};

static void layer_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct block *b = arg;
    struct keys own, across;
    assert(n_in == (b->layer->stack->is_decoder ? 2 : 1) && n_out == 1);
    out[0] = layer(b->layer, &b->passage, in[0], n_in == 2 ? in[1] : MX_NONE, &own, &across);
}

static mx_array checkpointed_layer(const struct whisper_layer *l, const struct passage *p,
                                   mx_array x, mx_array heard, const struct nn_params *params)
{
    struct block b = {l, *p};
    mx_array in[] = {x, heard}, out;
    char prefix[NN_NAME_MAX];

    snprintf(prefix, sizeof prefix, "model.%s.layers.%d.", side(l), l->index);
    mx_checkpoint(layer_block, &b, sizeof b, (struct mx_arrays){in, l->stack->is_decoder ? 2 : 1},
                  nn_trainable(params, prefix), &out, 1);
    return out;
}

/* ------------------------------------------------------------ the encoder -- */

static mx_array embed_sound(const struct whisper *m, mx_array mel, mx_array key)
{
    int S = (mx_dim(mel, 1) + 1) / 2;

    mx_at("encoder.conv1");
    if (S > m->source_positions)
        return mx_fail("clips of %d frames, but the encoder has %d positions for two frames each",
                       mx_dim(mel, 1), m->source_positions);
    mx_array x = mx_astype(mx_expect(mel, -1, -1, m->M), m->embed_tokens.dtype);
    x = nn_gelu(nn_conv1d(&m->conv1, x, 1, 1, 1));                              /* [B,F,D] */
    mx_at("encoder.conv2");
    x = nn_gelu(nn_conv1d(&m->conv2, x, 2, 1, 1));                              /* [B,S,D] */
    mx_at("encoder.embed_positions");
    x = mx_add(x, mx_astype(mx_slice(m->source_embed, 0, 0, S), mx_dtype(x)));
    return nn_dropout(x, key, EMBEDDING_SITE, m->dropout);
}

static mx_array encode(const struct whisper *m, const struct model_input *in)   /* [B,S,D] */
{
    const struct whisper_stack *s = &m->encoder;
    struct passage p = {.key = stack_key(s, in->dropout_key)};
    struct keys own, across;

    mx_array x = embed_sound(m, in->mel, p.key);
    for (int i = 0; i < s->L; i++)
        x = in->checkpoint ? checkpointed_layer(&s->layers[i], &p, x, MX_NONE, in->checkpoint)
                           : layer(&s->layers[i], &p, x, MX_NONE, &own, &across);
    mx_at("encoder.layer_norm");
    return nn_layer_norm(&s->layer_norm, x);
}

static mx_array hear(const void *self, const struct model_input *in)
{
    return encode(self, in);
}

/* ------------------------------------------------------------ the decoder -- */

/* As in PyTorch, looking up the padding teaches its row nothing. */
static mx_array look_up(const struct whisper *m, mx_array tokens)
{
    mx_array x = nn_embedding(&m->embed_tokens, tokens);
    mx_array is_pad = mx_expand_dims(mx_equal(tokens, mx_int(m->pad_id)), -1);
    return mx_where(is_pad, mx_stop_gradient(x), x);
}

/* Tokens [B,T] with their positions, [T,D] or [B,T,D]. */
static mx_array embed_text(const struct whisper *m, mx_array tokens, mx_array positions)
{
    mx_at("decoder.embed_tokens");
    mx_array x = look_up(m, tokens);
    return mx_add(x, mx_astype(positions, mx_dtype(x)));                        /* [B,T,D] */
}

/* What is heard, a clip for each row. */
static mx_array listen(const struct whisper *m, const struct model_input *in)
{
    int B = mx_dim(in->tokens, 0);

    if (mx_is_none(in->mel) && mx_is_none(in->heard))
        return mx_fail("the batch has no sound, and a transcript cannot be without");
    mx_array heard = mx_is_none(in->heard) ? encode(m, in) : in->heard;
    mx_at("decoder.encoder_attn");
    if (mx_dim(heard, 0) != B)
        return mx_fail("%d clips for %d rows of tokens, expected one for each", mx_dim(heard, 0),
                       B);
    return mx_astype(heard, m->embed_tokens.dtype);                             /* [B,S,D] */
}

/* Nobody reads the other rows of the last layer. */
static void drop_rows(struct passage *p, mx_array kept, int T)
{
    mx_at("decoder.kept");
    struct nn_sight all = {.place = mx_arange(0, T, 1, MX_INT32)};
    struct nn_sight query = nn_sight_at(&all, kept);

    p->kept = kept;
    p->mask = nn_mask(&query, &all, 0, false);
}

/* Where keys and values of a prompt go, layer by layer. */
struct model_cache {
    int rows, capacity, prompt, grown;  /* tokens: the prompts' width, and those behind */
    int layers;
    mx_array lengths;                   /* slot, [B]: of the prompts */
    struct keys *own, *across;          /* [layers] slots */
};

static void store(struct model_cache *c, int i, struct keys own, struct keys across)
{
    int more = c->capacity - c->prompt;
    mx_set(c->own[i].k, mx_pad(own.k, 2, 0, more, 0));
    mx_set(c->own[i].v, mx_pad(own.v, 2, 0, more, 0));
    mx_set(c->across[i].k, mx_contiguous(across.k));
    mx_set(c->across[i].v, mx_contiguous(across.v));
}

/* All layers; with a cache it is filled. */
static mx_array decoder(const struct whisper *m, const struct model_input *in, mx_array kept,
                        struct model_cache *c)                                  /* [B,Q,D] */
{
    const struct whisper_stack *s = &m->decoder;
    struct passage p = {.key = stack_key(s, in->dropout_key)};
    int T = mx_dim(in->tokens, 1);

    mx_array heard = listen(m, in);
    if (T > m->target_positions)
        return mx_fail("rows of %d tokens, but the decoder has %d positions", T,
                       m->target_positions);
    if (!mx_is_none(in->segment) || !mx_is_none(in->position))
        return mx_fail("rows of several records, but a row has one clip");
    mx_array x = embed_text(m, in->tokens, mx_slice(m->target_embed, 0, 0, T));
    x = nn_dropout(x, p.key, EMBEDDING_SITE, m->dropout);
    for (int i = 0; i < s->L; i++) {
        struct keys own, across;
        if (i == s->L - 1 && !mx_is_none(kept))
            drop_rows(&p, kept, T);
        if (in->checkpoint)
            x = checkpointed_layer(&s->layers[i], &p, x, heard, in->checkpoint);
        else
            x = layer(&s->layers[i], &p, x, heard, &own, &across);
        if (c)
            store(c, i, own, across);
    }
    mx_at("decoder.layer_norm");
    return nn_layer_norm(&s->layer_norm, x);
}

static mx_array hidden(const void *self, const struct model_input *in)
{
    return decoder(self, in, in->kept, NULL);
}

static void head(const void *self, struct nn_head *h)
{
    const struct whisper *m = self;
    *h = (struct nn_head){.weight = m->embed_tokens.weight, .quant = m->embed_tokens.quant};
}

/* ------------------------------------------------------------- generation -- */

static void free_keys(struct keys *of, int layers)
{
    for (int i = 0; i < layers; i++) {
        mx_slot_free(of[i].k);
        mx_slot_free(of[i].v);
    }
    free(of);
}

static struct keys *new_keys(int layers)
{
    struct keys *of = xcalloc((size_t)layers, sizeof *of);
    for (int i = 0; i < layers; i++)
        of[i] = (struct keys){mx_slot(MX_NONE), mx_slot(MX_NONE)};
    return of;
}

static struct model_cache *cache_new(const void *self, int rows, int capacity)
{
    const struct whisper *m = self;
    struct model_cache *c = xcalloc(1, sizeof *c);
    c->rows = rows;
    c->capacity = capacity;
    c->layers = m->decoder.L;
    c->lengths = mx_slot(MX_NONE);
    c->own = new_keys(c->layers);
    c->across = new_keys(c->layers);
    return c;
}

static void cache_free(struct model_cache *c)
{
    if (!c)
        return;
    free_keys(c->own, c->layers);
    free_keys(c->across, c->layers);
    mx_slot_free(c->lengths);
    free(c);
}

static mx_array prefill(const void *self, struct model_cache *c, const struct model_input *in,
                        mx_array lengths)
{
    int B = mx_dim(in->tokens, 0), T = mx_dim(in->tokens, 1);
    struct model_input prompt = *in;

    if (B != c->rows || T > c->capacity)
        return mx_fail("prompts of %d rows and %d places, but the cache has %d rows and %d places",
                       B, T, c->rows, c->capacity);
    c->prompt = T;
    c->grown = 0;
    mx_set(c->lengths, lengths);
    prompt.checkpoint = NULL;
    mx_array last = mx_expand_dims(mx_shift(lengths, -1), 1);                   /* [B,1] */
    return mx_squeeze(decoder(self, &prompt, last, c), 1);                      /* [B,D] */
}

/* Of S places a row's next token sees its prompt, and all that came behind the prompts. */
static mx_array decode_mask(const struct model_cache *c, int S)
{
    mx_array place = mx_arange(0, S, 1, MX_INT32);                              /* [S] */
    mx_array is_prompt = mx_less(place, mx_expand_dims(c->lengths, 1));         /* [B,S] */
    mx_array seen = mx_logical_or(is_prompt, mx_greater_equal(place, mx_int(c->prompt)));
    return mx_reshape(seen, c->rows, 1, 1, S);
}

/* Put the newest keys and values behind the others: all S of them. */
static struct keys remember(const struct keys *slots, struct keys newest, int S)
{
    mx_set(slots->k, mx_slice_update(slots->k, newest.k, 2, S - 1));
    mx_set(slots->v, mx_slice_update(slots->v, newest.v, 2, S - 1));
    return (struct keys){mx_slice(slots->k, 2, 0, S), mx_slice(slots->v, 2, 0, S)};
}

/* A row beyond the last position, which has ended, stays there. */
static mx_array next_positions(const struct whisper *m, const struct model_cache *c)
{
    mx_array at = mx_minimum(mx_shift(c->lengths, c->grown), mx_int(m->target_positions - 1));
    return mx_expand_dims(mx_take(m->target_embed, at, 0), 1);                  /* [B,1,D] */
}

static mx_array decode(const void *self, struct model_cache *c, mx_array tokens)
{
    const struct whisper *m = self;
    int S = c->prompt + c->grown + 1;

    if (S > c->capacity)
        return mx_fail("no place for token %d of a row: the cache has %d", S, c->capacity);
    struct passage p = {.mask = decode_mask(c, S)};
    mx_array x = embed_text(m, mx_reshape(tokens, c->rows, 1), next_positions(m, c));
    for (int i = 0; i < c->layers; i++) {
        const struct whisper_layer *l = &m->decoder.layers[i];

        mx_at("decoder.layers.%d.self_attn", i);
        mx_array n = nn_layer_norm(&l->self_attn_layer_norm, x);
        struct keys own = remember(&c->own[i], keys_of(&l->self_attn, l, n), S);
        x = self_attention(l, &p, x, n, own);
        mx_at("decoder.layers.%d.encoder_attn", i);
        x = cross_attention(l, &p, x, c->across[i]);
        x = mlp(l, &p, x);
    }
    c->grown++;
    mx_at("decoder.layer_norm");
    return nn_layer_norm(&m->decoder.layer_norm, mx_squeeze(x, 1));             /* [B,D] */
}

const struct model_family whisper_family = {
    .model_type = "whisper",
    .open = open_whisper,
    .close = close_whisper,
    .bind = bind_whisper,
    .hidden = hidden,
    .hear = hear,
    .head = head,
    .cache_new = cache_new,
    .prefill = prefill,
    .decode = decode,
    .cache_free = cache_free,
};
