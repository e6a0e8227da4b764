/* attention.c - attention and its masks. */
#include "nn/attention.h"

#include <math.h>

#include "nn/dropout.h"

mx_array nn_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask)
{
    return mx_scaled_dot_product_attention(q, k, v, scale, mx_is_none(mask), mask);
}

mx_array nn_attention_all(mx_array q, mx_array k, mx_array v, double scale)
{
    return mx_scaled_dot_product_attention(q, k, v, scale, false, MX_NONE);
}

mx_array nn_attention_dropout(mx_array q, mx_array k, mx_array v, double scale, bool is_causal,
                              mx_array mask, mx_array key, uint32_t site, double rate)
{
    mx_array s = mx_matmul(mx_scale(q, scale), mx_swapaxes(k, 2, 3));           /* [B,H,T,S] */
    int T = mx_dim(s, 2), S = mx_dim(s, 3);

    if (is_causal && mx_is_none(mask)) {
        mx_array last = mx_expand_dims(mx_arange(S - T, S, 1, MX_INT32), 1);    /* that t sees */
        mask = mx_less_equal(mx_arange(0, S, 1, MX_INT32), last);
    }
    if (!mx_is_none(mask))
        s = mx_where(mask, s, mx_astype(mx_float(-INFINITY), mx_dtype(s)));
    mx_array p = nn_dropout(mx_softmax(s, -1), key, site, rate);
    return mx_matmul(p, v);                                                     /* [B,H,T,C] */
}

/* -------------------------------------------------------------- some rows -- */

mx_array nn_rows_at(mx_array x, mx_array kept)
{
    int B = mx_dim(x, 0), T = mx_dim(x, 1);
    mx_array first = mx_expand_dims(mx_arange(0, B * T, T, MX_INT32), 1);       /* [B,1] */
    return mx_take(mx_flatten(x, 0, 1), mx_add(kept, first), 0);                /* [B,Q,...] */
}

/* ------------------------------------------------------------------ masks -- */

static mx_array gather(mx_array x, mx_array kept)
{
    return mx_is_none(x) ? x : mx_take_along_axis(x, kept, 1);
}

struct nn_sight nn_sight_at(const struct nn_sight *all, mx_array kept)
{
    return (struct nn_sight){
        .place = mx_ndim(all->place) == 1 ? kept : gather(all->place, kept),
        .segment = gather(all->segment, kept),
        .block = gather(all->block, kept),
    };
}

static mx_array of_queries(mx_array x)                                          /* [..,T,1] */
{
    return mx_expand_dims(x, -1);
}

static mx_array of_keys(mx_array x)                                             /* [..,1,S] */
{
    return mx_expand_dims(x, -2);
}

static mx_array same_block(const struct nn_sight *query, const struct nn_sight *key)
{
    mx_array block = of_queries(query->block);
    mx_array same = mx_equal(block, of_keys(key->block));
    return mx_logical_and(same, mx_greater_equal(block, mx_int(0)));            /* [B,T,S] */
}

mx_array nn_mask(const struct nn_sight *query, const struct nn_sight *key, int window, bool is_far)
{
    bool has_blocks = !mx_is_none(query->block), has_segments = !mx_is_none(query->segment);

    if (query->place.id == key->place.id && window == 0 && !has_blocks && !has_segments)
        return MX_NONE;
    mx_array t = of_queries(query->place), s = of_keys(key->place);
    mx_array seen = mx_less_equal(s, t);                                        /* [..,T,S] */
    if (has_blocks && !is_far)
        seen = mx_logical_or(seen, same_block(query, key));
    if (window > 0)
        seen = mx_logical_and(seen, mx_greater(s, mx_shift(t, -window)));
    if (has_blocks && is_far)
        seen = mx_logical_or(seen, same_block(query, key));
    if (has_segments)
        seen = mx_logical_and(seen, mx_equal(of_queries(query->segment), of_keys(key->segment)));
    return mx_ndim(seen) == 3 ? mx_expand_dims(seen, 1) : seen;
}

/* ------------------------------------------------------------------- bands -- */

/* The places of padding before a row: further back than any window. */
enum { NOWHERE = -(1 << 28) };

static int chunks(int T, int window)
{
    return (T + window - 1) / window;
}

bool nn_band_pays(int T, int window)
{
    double W = window;
    return window > 0 && 2 * W * W * chunks(T, window) < (double)T * T;
}

/* [..,T,..] -> [..,n,W,..]: what each chunk asks with. */
static mx_array query_chunks(mx_array x, int axis, int window)
{
    int T = mx_dim(x, axis), n = chunks(T, window);
    return mx_windows(mx_pad(x, axis, 0, n * window - T, 0), axis, window, window);
}

/* [..,T,..] -> [..,n,2W,..]: what each chunk may see. */
static mx_array key_chunks(mx_array x, int axis, int window, double before)
{
    int T = mx_dim(x, axis), n = chunks(T, window);
    x = mx_pad(mx_pad(x, axis, window, 0, before), axis, 0, n * window - T, 0);
    return mx_windows(x, axis, 2 * window, window);
}

/* Padding behind stands where it stands, so that it sees itself and nobody sees it. */
mx_array nn_band_mask(const struct nn_sight *all, int B, int window)
{
    int T = mx_dim(all->place, -1), n = chunks(T, window), W = window;
    mx_array place = mx_arange(0, n * W, 1, MX_INT32);
    struct nn_sight query = {.place = query_chunks(place, 0, W)};               /* [n,W] */
    struct nn_sight key = {.place = key_chunks(place, 0, W, NOWHERE)};          /* [n,2W] */

    if (!mx_is_none(all->segment)) {
        mx_array of_query = query_chunks(all->segment, 1, W);                   /* [B,n,W] */
        mx_array of_key = key_chunks(all->segment, 1, W, 0);
        query.segment = mx_reshape(of_query, B * n, W);
        key.segment = mx_reshape(of_key, B * n, 2 * W);
    }
    query.place = mx_reshape(mx_broadcast_to(query.place, B, n, W), B * n, W);
    key.place = mx_reshape(mx_broadcast_to(key.place, B, n, 2 * W), B * n, 2 * W);
    return nn_mask(&query, &key, W, false);                                     /* [B·n,1,W,2W] */
}

/* [B,heads,n,W,C] -> [B·n,heads,W,C]. */
static mx_array as_rows(mx_array x)
{
    return mx_flatten(mx_transpose(x, 0, 2, 1, 3, 4), 0, 1);
}

mx_array nn_band_attention(mx_array q, mx_array k, mx_array v, double scale, mx_array mask,
                           int window)
{
    int B = mx_dim(q, 0), H = mx_dim(q, 1), T = mx_dim(q, 2), n = chunks(T, window);

    q = as_rows(query_chunks(q, 2, window));
    k = as_rows(key_chunks(k, 2, window, 0));
    v = as_rows(key_chunks(v, 2, window, 0));
    mx_array y = nn_attention(q, k, v, scale, mask);                            /* [B·n,H,W,C] */
    y = mx_transpose(mx_reshape(y, B, n, H, window, -1), 0, 2, 1, 3, 4);
    return mx_slice(mx_flatten(y, 2, 3), 2, 0, T);                              /* [B,H,T,C] */
}

/* ------------------------------------------------------------------- runs -- */

mx_array nn_runs(mx_array member)
{
    mx_array is = mx_astype(member, MX_INT32);
    mx_array before = mx_slice(mx_pad(is, 1, 1, 0, 0), 1, 0, mx_dim(is, 1));
    mx_array starts = mx_multiply(is, mx_subtract(mx_int(1), before));
    mx_array run = mx_shift(mx_cumsum(starts, 1), -1);
    return mx_where(mx_equal(is, mx_int(1)), run, mx_int(-1));
}
