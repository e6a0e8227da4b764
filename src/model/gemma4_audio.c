/* gemma4_audio.c - the Gemma 4 audio tower, a conformer (Gulati et al. 2020) over mel frames.
 *
 *     x = W relu(norm(conv(relu(norm(conv(mel))))))           each convolution halves time and mel
 *     for each layer:
 *         x = x + ½ norm(W₂ silu(W₁ norm(x)))                 feed-forward, the first half
 *         x = x + norm(attention(norm(x)))
 *         x = x + W_end silu(norm(conv(glu(W_start norm(x)))))            the light convolution
 *         x = norm(x + ½ norm(W₂ silu(W₁ norm(x))))           feed-forward, the second half
 *     y = W x + b
 *
 * Attention is local: a query at time t sees the keys of t - past < s <= t, and scores have a term
 * for the distance (Dai et al. 2019, appendix B):
 *
 *     score(t,s) = cap · tanh((q_t · k_s + q_t · r_{t-s}) / cap)          r = W_r sinusoid
 *     q = x W_q softplus(per_dim_scale) / (ln 2 · √C)         k = x W_k ln(1 + e) / ln 2
 *
 * Queries go in blocks of `chunk`, each with a context of past + chunk + future keys.  Every linear
 * layer but W_r, the first and the last stands between two clamps.  Letters are dimensions:
 *
 *     N clips    F frames    M mel bins    T tokens a clip    D width    H heads    C one head
 *     Q queries a block      Z blocks a clip      S keys a context      R relative positions
 */
#include "model/gemma4_audio.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "nn/act.h"

static const double NORM_EPS = 1e-6;    /* of the norms that do not heed the config */

/* ---------------------------------------------------------------- weights -- */

/* clang-format off */
static void bind_feed_forward(struct gemma4_audio_feed_forward *f, struct nn_binder *b,
                              const struct gemma4_audio *a, int layer, const char *name)
{
    int D = a->D;

    nn_under(b, "layers.%d.%s.", layer, name);
    nn_bind_norm       (b, "pre_layer_norm",      &f->pre_layer_norm,      D);
    nn_bind_clip_linear(b, "ffw_layer_1",         &f->ffw_layer_1,         D, 4 * D, a->clipped);
    nn_bind_clip_linear(b, "ffw_layer_2",         &f->ffw_layer_2,         4 * D, D, a->clipped);
    nn_bind_norm       (b, "post_layer_norm",     &f->post_layer_norm,     D);
}

static void bind_attention(struct gemma4_audio_layer *l, struct nn_binder *b,
                           const struct gemma4_audio *a)
{
    int D = a->D, C = D / a->H;

    nn_under(b, "layers.%d.", l->index);
    nn_bind_norm       (b, "norm_pre_attn",       &l->norm_pre_attn,       D);
    nn_bind_norm       (b, "norm_post_attn",      &l->norm_post_attn,      D);
    nn_under(b, "layers.%d.self_attn.", l->index);
    nn_bind_clip_linear(b, "q_proj",              &l->q_proj,              D, D, a->clipped);
    nn_bind_clip_linear(b, "k_proj",              &l->k_proj,              D, D, a->clipped);
    nn_bind_clip_linear(b, "v_proj",              &l->v_proj,              D, D, a->clipped);
    nn_bind_clip_linear(b, "post",                &l->post,                D, D, a->clipped);
    nn_bind_linear     (b, "relative_k_proj",     &l->relative_k_proj,     D, D);
    nn_bind_tensor     (b, "per_dim_scale",       &l->per_dim_scale,       (int[]){C}, 1,
                        (struct nn_init){NN_INIT_CONSTANT, 0.0});
}

static void bind_light_conv(struct gemma4_audio_layer *l, struct nn_binder *b,
                            const struct gemma4_audio *a)
{
    int D = a->D;

    nn_under(b, "layers.%d.lconv1d.", l->index);
    b->eps = a->eps;
    nn_bind_norm       (b, "pre_layer_norm",      &l->lconv_pre_layer_norm, D);
    nn_bind_clip_linear(b, "linear_start",        &l->linear_start,        D, 2 * D, a->clipped);
    nn_bind_conv1d     (b, "depthwise_conv1d",    &l->depthwise_conv1d,    1, D, a->conv_size);
    nn_bind_norm       (b, "conv_norm",           &l->conv_norm,           D);
    nn_bind_clip_linear(b, "linear_end",          &l->linear_end,          D, D, a->clipped);
    b->eps = NORM_EPS;
    l->depthwise_conv1d.groups = D;
}

void gemma4_audio_bind(struct gemma4_audio *a, struct nn_binder *b)
{
    int D = a->D, *ch = a->channels;

    b->tower = "audio";
    nn_root(b, "model.audio_tower.");
    nn_under(b, "subsample_conv_projection.");
    b->eps = a->eps;
    nn_bind_conv2d     (b, "layer0.conv",         &a->conv[0],             1, ch[0], 3, 3);
    nn_bind_norm       (b, "layer0.norm",         &a->conv_norm[0],        ch[0]);
    nn_bind_conv2d     (b, "layer1.conv",         &a->conv[1],             ch[0], ch[1], 3, 3);
    nn_bind_norm       (b, "layer1.norm",         &a->conv_norm[1],        ch[1]);
    nn_bind_linear     (b, "input_proj_linear",   &a->input_proj_linear,   ch[0] / 4 * ch[1], D);
    b->eps = NORM_EPS;
    for (int i = 0; i < a->L; i++) {
        struct gemma4_audio_layer *l = &a->layers[i];
        bind_feed_forward(&l->feed_forward1, b, a, i, "feed_forward1");
        bind_attention(l, b, a);
        bind_light_conv(l, b, a);
        bind_feed_forward(&l->feed_forward2, b, a, i, "feed_forward2");
        nn_under(b, "layers.%d.", i);
        nn_bind_norm   (b, "norm_out",            &l->norm_out,            D);
    }
    nn_under(b, "%s", "");
    nn_bind_linear_bias(b, "output_proj",         &a->output_proj,         D, a->out);
}
/* clang-format on */

void gemma4_audio_release(struct gemma4_audio *a)
{
    free(a->layers);
    a->layers = NULL;
}

/* ------------------------------------------------------------ subsampling -- */

static mx_array every_second(mx_array valid)                                    /* [N,F] */
{
    return mx_slice_step(valid, 1, 0, mx_dim(valid, 1), 2);                     /* [N,(F+1)/2] */
}

/* Frames that are not real are silenced before each convolution, so padding changes nothing. */
static mx_array subsample(const struct gemma4_audio *a, mx_array mel, mx_array *valid)
{
    mx_array x = mx_astype(mx_expand_dims(mel, -1), a->output_proj.dtype);      /* [N,F,M,1] */

    mx_at("audio_tower.subsample_conv_projection");
    for (int i = 0; i < 2; i++) {
        mx_array keep = mx_expand_dims(mx_expand_dims(*valid, -1), -1);
        x = mx_multiply(x, mx_astype(keep, mx_dtype(x)));
        x = nn_conv2d(&a->conv[i], x, 2, 1);
        x = nn_relu(nn_layer_norm(&a->conv_norm[i], x));
        *valid = every_second(*valid);
    }
    x = mx_reshape(x, mx_dim(x, 0), mx_dim(x, 1), -1);                          /* [N,T,M/4·ch] */
    return nn_linear(&a->input_proj_linear, x);                                 /* [N,T,D] */
}

/* -------------------------------------------------------------- attention -- */

/* sin and cos of distances R-1 .. 0, wavelengths from 2π to 20000π. */
static mx_array relative_positions(const struct gemma4_audio *a)
{
    int half = a->D / 2, R = (a->past + a->chunk + a->future) / 2 + 1;
    double step = log(10000.0) / (half > 1 ? half - 1 : 1);
    float *p = xcalloc((size_t)R * (size_t)a->D, sizeof *p);

    for (int r = 0; r < R; r++) {
        for (int i = 0; i < half; i++) {
            float angle = (float)(R - 1 - r) * expf((float)i * (float)-step);
            p[r * a->D + i] = sinf(angle);
            p[r * a->D + half + i] = cosf(angle);
        }
    }
    mx_array x = mx_from(p, MX_FLOAT32, (int[]){R, a->D}, 2);
    free(p);
    return mx_astype(x, a->output_proj.dtype);                                  /* [R,D] */
}

static int block_count(const struct gemma4_audio *a, int T)
{
    return (T + a->chunk - 1) / a->chunk;
}

static mx_array blocks(const struct gemma4_audio *a, mx_array x)                /* [N,T,...] */
{
    int shape[MX_DIMS_MAX], n = mx_ndim(x), Z = block_count(a, mx_dim(x, 1));

    x = mx_pad(x, 1, 0, Z * a->chunk - mx_dim(x, 1), 0.0);
    shape[0] = mx_dim(x, 0);
    shape[1] = Z;
    shape[2] = a->chunk;
    for (int i = 2; i < n; i++)
        shape[i + 1] = mx_dim(x, i);
    return mx_reshape_(x, shape, n + 1);                                        /* [N,Z,Q,...] */
}

static mx_array shifted(mx_array x, int by)            /* the block `by` further on, or zeros */
{
    int Z = mx_dim(x, 1);

    if (by == 0)
        return x;
    if (by <= -Z || by >= Z)
        return mx_zeros_like(x);
    x = by < 0 ? mx_slice(x, 1, 0, Z + by) : mx_slice(x, 1, by, Z);
    return mx_pad(x, 1, by < 0 ? -by : 0, by > 0 ? by : 0, 0.0);
}

/* The keys around each block: whole blocks side by side, cut to past + chunk + future. */
static mx_array contexts(const struct gemma4_audio *a, mx_array x)              /* [N,Z,Q,...] */
{
    enum { PARTS_MAX = 16 };
    int before = (a->past + a->chunk - 1) / a->chunk, after = (a->future + a->chunk - 1) / a->chunk;
    int skip = before * a->chunk - a->past, S = a->past + a->chunk + a->future, n = 0;
    mx_array part[PARTS_MAX];

    if (before + 1 + after > PARTS_MAX)
        return mx_fail("attention context of %d around blocks of %d", S, a->chunk);
    for (int by = -before; by <= after; by++)
        part[n++] = shifted(x, by);
    return mx_slice(mx_concatenate(part, n, 2), 2, skip, skip + S);             /* [N,Z,S,...] */
}

/* [N,1,Z,Q,S]: keys that are real and near enough. */
static mx_array attention_mask(const struct gemma4_audio *a, mx_array valid)    /* [N,T] */
{
    mx_array real = contexts(a, blocks(a, valid));                              /* [N,Z,S] */
    mx_array q = mx_expand_dims(mx_arange(0, a->chunk, 1, MX_INT32), 1);
    mx_array s = mx_arange(0, a->past + a->chunk + a->future, 1, MX_INT32);
    mx_array back = mx_subtract(mx_shift(q, a->past), s);                       /* [Q,S] t - s */
    mx_array past =
        mx_logical_and(mx_greater_equal(back, mx_int(0)), mx_less(back, mx_int(a->past)));
    mx_array future =
        mx_logical_and(mx_less(back, mx_int(0)), mx_greater(back, mx_int(-a->future)));

    real = mx_reshape(real, mx_dim(real, 0), 1, mx_dim(real, 1), 1, mx_dim(real, 2));
    return mx_logical_and(real, mx_logical_or(past, future));
}

/* Scores by distance to scores by place: row i moves i places to the right (Transformer-XL). */
static mx_array relative_shift(mx_array x, int S)                               /* [N,H,Z,Q,R] */
{
    int N = mx_dim(x, 0), H = mx_dim(x, 1), Z = mx_dim(x, 2), Q = mx_dim(x, 3);

    x = mx_pad(x, 4, 0, S + 1 - mx_dim(x, 4), 0.0);
    x = mx_slice(mx_reshape(x, N, H, Z, Q * (S + 1)), 3, 0, Q * S);
    return mx_reshape(x, N, H, Z, Q, S);
}

static mx_array heads(const struct gemma4_audio *a, mx_array x)                 /* [N,T,D] */
{
    x = mx_reshape(x, mx_dim(x, 0), mx_dim(x, 1), a->H, a->D / a->H);
    return blocks(a, mx_astype(x, MX_FLOAT32));                                 /* [N,Z,Q,H,C] */
}

static mx_array attention(const struct gemma4_audio_layer *l, mx_array x, mx_array mask,
                          mx_array positions)                                   /* [N,T,D] */
{
    const struct gemma4_audio *a = l->tower;
    int N = mx_dim(x, 0), T = mx_dim(x, 1), H = a->H, C = a->D / H;
    int S = a->past + a->chunk + a->future, R = mx_dim(positions, 0);

    mx_array q = heads(a, nn_clip_linear(&l->q_proj, x));
    mx_array k = heads(a, nn_clip_linear(&l->k_proj, x));
    mx_array v = contexts(a, heads(a, nn_clip_linear(&l->v_proj, x)));
    mx_array r = mx_astype(nn_linear(&l->relative_k_proj, positions), MX_FLOAT32);

    q = mx_multiply(mx_scale(q, 1 / (log(2) * sqrt(C))), nn_softplus(l->per_dim_scale));
    k = contexts(a, mx_scale(k, log(1 + exp(1)) / log(2)));
    q = mx_transpose(q, 0, 3, 1, 2, 4);                                         /* [N,H,Z,Q,C] */
    k = mx_transpose(k, 0, 3, 1, 4, 2);                                         /* [N,H,Z,C,S] */
    v = mx_transpose(v, 0, 3, 1, 2, 4);                                         /* [N,H,Z,S,C] */
    r = mx_transpose(mx_reshape(r, R, H, C), 1, 2, 0);                          /* [H,C,R] */

    mx_array by_place = mx_matmul(q, k);                                        /* [N,H,Z,Q,S] */
    mx_array by_distance = mx_matmul(mx_reshape(q, N, H, -1, C), r);            /* [N,H,Z·Q,R] */
    by_distance = mx_reshape(by_distance, N, H, -1, a->chunk, R);
    mx_array s = mx_add(by_place, relative_shift(by_distance, S));
    s = mx_where(mask, nn_softcap(s, a->logit_cap), mx_float(a->invalid_logit));

    mx_array y = mx_matmul(mx_softmax(s, -1), v);                               /* [N,H,Z,Q,C] */
    y = mx_reshape(mx_transpose(y, 0, 2, 3, 1, 4), N, -1, a->D);
    y = mx_astype(mx_slice(y, 1, 0, T), mx_dtype(x));
    return nn_clip_linear(&l->post, y);                                         /* [N,T,D] */
}

/* ----------------------------------------- feed-forward, light convolution -- */

static mx_array feed_forward(const struct gemma4_audio *a,
                             const struct gemma4_audio_feed_forward *f, mx_array x)
{
    mx_array y = nn_rms_norm(&f->pre_layer_norm, nn_clamp(x, a->limit));        /* [N,T,D] */
    y = nn_silu(nn_clip_linear(&f->ffw_layer_1, y));                            /* [N,T,4D] */
    y = nn_clamp(nn_clip_linear(&f->ffw_layer_2, y), a->limit);
    y = nn_rms_norm(&f->post_layer_norm, y);
    return mx_add(x, mx_scale(y, a->residual_weight));
}

static mx_array light_conv(const struct gemma4_audio_layer *l, mx_array x)      /* [N,T,D] */
{
    const struct gemma4_audio *a = l->tower;
    mx_array y = nn_clip_linear(&l->linear_start, nn_rms_norm(&l->lconv_pre_layer_norm, x));
    y = nn_conv1d(&l->depthwise_conv1d, nn_glu(y), 1, a->conv_size - 1, 0);
    y = nn_silu(nn_rms_norm(&l->conv_norm, nn_clamp(y, a->limit)));
    return mx_add(x, nn_clip_linear(&l->linear_end, y));
}

/* -------------------------------------------------------------- the tower -- */

static mx_array layer(const struct gemma4_audio_layer *l, mx_array x, mx_array mask,
                      mx_array positions)
{
    const struct gemma4_audio *a = l->tower;
    mx_array y;

    mx_at("audio_tower.layers.%d.feed_forward1", l->index);
    x = feed_forward(a, &l->feed_forward1, x);

    mx_at("audio_tower.layers.%d.self_attn", l->index);
    y = attention(l, nn_rms_norm(&l->norm_pre_attn, nn_clamp(x, a->limit)), mask, positions);
    x = mx_add(x, nn_rms_norm(&l->norm_post_attn, nn_clamp(y, a->limit)));

    mx_at("audio_tower.layers.%d.lconv1d", l->index);
    x = light_conv(l, x);

    mx_at("audio_tower.layers.%d.feed_forward2", l->index);
    x = feed_forward(a, &l->feed_forward2, x);
    return nn_rms_norm(&l->norm_out, nn_clamp(x, a->limit));
}

/* The layer as a function of x. */
struct block {
    const struct gemma4_audio_layer *layer;
    mx_array mask, positions;
};

static void layer_block(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out)
{
    const struct block *b = arg;
    assert(n_in == 1 && n_out == 1);
    out[0] = layer(b->layer, in[0], b->mask, b->positions);
}

mx_array gemma4_audio(const struct gemma4_audio *a, mx_array mel, mx_array frame_valid,
                      const struct nn_params *checkpoint)
{
    mx_array valid = frame_valid;
    mx_array x = subsample(a, mel, &valid);                                     /* [N,T,D] */

    mx_at("audio_tower.rel_pos_enc");
    mx_array mask = attention_mask(a, valid);
    mx_array positions = relative_positions(a);

    for (int i = 0; i < a->L; i++) {
        const struct gemma4_audio_layer *l = &a->layers[i];
        if (checkpoint) {
            char prefix[NN_NAME_MAX];
            snprintf(prefix, sizeof prefix, "model.audio_tower.layers.%d.", i);
            struct block b = {l, mask, positions};
            mx_array before = x;
            mx_checkpoint(layer_block, &b, sizeof b, (struct mx_arrays){&before, 1},
                          nn_trainable(checkpoint, prefix), &x, 1);
        } else {
            x = layer(l, x, mask, positions);
        }
    }
    mx_at("audio_tower.output_proj");
    return nn_linear(&a->output_proj, x);                                       /* [N,T,out] */
}
