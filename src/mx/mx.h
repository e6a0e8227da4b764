/* mx.h - Apple's MLX for C: arrays as value handles, freed by scope, errors that stick.
 *
 * Names and argument order are those of MLX's Python (`mx.matmul` is mx_matmul, `mx.fast.rope` is
 * mx_rope); C adds mx_scale (x * 2.0), mx_shift (x + 2.0) and mx_index (x[:, :, i]).
 *
 *     mx_enter();
 *     mx_array y = mx_matmul(x, w);
 *     y = mx_leave(y);                        // everything else made since mx_enter is released
 *     if (mx_eval(&y, 1, e)) return -1;       // the first failure since the last mx_eval, if any
 *
 * Scopes.  Every operator puts its result into the innermost scope.  A scope wraps the body of each
 * loop that evaluates (a step, a batch, a token); model code contains no scope call.  An array used
 * after its scope was left is reported as an error, with its place.
 *
 * Errors.  No operator fails visibly.  The first failure is kept together with the current place
 * (mx_at), later operators return MX_NONE at once, and mx_eval (or mx_check) reports and clears it.
 *
 * Slots.  An array made by mx_slot lives until mx_slot_free; mx_set gives it a new value and every
 * struct that holds the handle sees it.  Parameters and optimizer state are slots.
 *
 * MLX is used from one thread only (asserted).
 */
#ifndef MX_MX_H
#define MX_MX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mx_array {
    uint64_t id;
} mx_array; /* slot and generation; {0} is "none" */
#define MX_NONE ((mx_array){0})

enum mx_dtype {
    MX_BOOL,
    MX_UINT8,
    MX_UINT16,
    MX_UINT32,
    MX_UINT64,
    MX_INT8,
    MX_INT16,
    MX_INT32,
    MX_INT64,
    MX_FLOAT16,
    MX_BFLOAT16,
    MX_FLOAT32,
    MX_FLOAT64,
};
enum { MX_DIMS_MAX = 8 };

/* ---------------------------------------------------------------- device -- */

enum mx_device { MX_CPU, MX_GPU };                      /* GPU: Metal or CUDA, as built */
bool mx_has_gpu(void);
bool mx_has_metal(void);                                /* that GPU is driven by Metal */
int mx_use_device(enum mx_device d, struct err *e) MUST_CHECK;  /* call before the first array */
enum mx_device mx_device(void);
const char *mx_device_name(void);                       /* "cpu", "metal" or "cuda" */
const char *mx_version(void);
size_t mx_memory_device(void);                          /* bytes that the GPU in use can take; 0 on
                                                         * the CPU, or when it does not say */
int mx_thread_count(void);                              /* threads the BLAS uses on the CPU */

/* ---------------------------------------------------------------- scopes -- */

void mx_enter(void);
mx_array mx_leave(mx_array keep);                       /* `keep` moves one scope out */
void mx_leave_n(const mx_array *keep, int n);
int mx_live(void);                                      /* arrays alive, slots included */

/* The place that errors name and activations are recorded under, printf-like. */
void mx_at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Called with the last array made in a place when the place changes or the trace ends; NULL: off.
 * For fixtures and for finding the first non-finite block. */
typedef void (*mx_watch_fn)(void *arg, const char *place, mx_array last);
void mx_watch(mx_watch_fn fn, void *arg);

/* State a failure of model code's own at the current place; returns MX_NONE. */
mx_array mx_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Report and clear the sticky failure without evaluating: 0 when there is none, else -1. */
int mx_check(struct err *e) MUST_CHECK;

/* ----------------------------------------------------------------- slots -- */

mx_array mx_slot(mx_array value);                       /* value may be MX_NONE: set it later */
/* Not inside a differentiated or checkpointed function; in a compiled one only for its state. */
void mx_set(mx_array slot, mx_array value);
void mx_slot_free(mx_array slot);

/* ---------------------------------------------------------------- arrays -- */

/* Copy `data` (row-major, `n` dims) into a new array. */
mx_array mx_from(const void *data, enum mx_dtype dtype, const int *shape, int n);
/* Wrap memory without a copy where the device can; `done(arg)` is called when MLX is through. */
mx_array mx_wrap(void *data, enum mx_dtype dtype, const int *shape, int n, void (*done)(void *arg),
                 void *arg);
/* As mx_wrap, but the device sees nothing of it until it is evaluated: shape and dtype are known,
 * and no memory is taken.  It is copied then. */
mx_array mx_wrap_later(void *data, enum mx_dtype dtype, const int *shape, int n,
                       void (*done)(void *arg), void *arg);
mx_array mx_float(double v);                            /* 0-d float32 */
mx_array mx_int(int v);                                 /* 0-d int32 */

bool mx_is_none(mx_array x);
int mx_ndim(mx_array x);
int mx_dim(mx_array x, int axis);                       /* negative axes count from the end; 1
                                                         * after a failure */
size_t mx_size(mx_array x);
size_t mx_nbytes(mx_array x);
enum mx_dtype mx_dtype(mx_array x);
size_t mx_dtype_size(enum mx_dtype d);
const char *mx_dtype_name(enum mx_dtype d);             /* "float32", as MLX prints it */

/* Executable shape comment: a wrong shape sticks as an error that shows both. -1 matches any. */
#define mx_expect(x, ...) mx_expect_((x), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
#define MX_COUNT(...) ((int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)))
mx_array mx_expect_(mx_array x, const int *shape, int n);

/* ------------------------------------------------------------ evaluation -- */

/* Compute the arrays.  -1 with the first sticky failure or MLX's own text. */
int mx_eval(const mx_array *x, int n, struct err *e) MUST_CHECK;
int mx_async_eval(const mx_array *x, int n, struct err *e) MUST_CHECK;
/* Evaluate and copy out as `dtype`, row-major; `bytes` must equal the size. */
int mx_read(mx_array x, enum mx_dtype dtype, void *out, size_t bytes, struct err *e) MUST_CHECK;
/* Evaluate a one-element array. */
int mx_item(mx_array x, double *out, struct err *e) MUST_CHECK;

/* ------------------------------------------------------------ transforms -- */

/* A traced function: reads in[0..n_in), writes out[0..n_out).  Slots may be read freely; those
 * that are differentiated, checkpointed or compiled as state are listed with the transform. */
typedef void (*mx_fn)(void *arg, const mx_array *in, int n_in, mx_array *out, int n_out);

struct mx_arrays {
    const mx_array *at;
    int n;
};

/* Run `fn` and differentiate out[0] (a scalar) by the slots `wrt`: grads[i] belongs to wrt.at[i].
 * All `n_out` outputs are returned (the others as auxiliary values).  Runs in its own scope.
 * After a failure every output and gradient is MX_NONE. */
void mx_value_and_grad(mx_fn fn, void *arg, struct mx_arrays in, struct mx_arrays wrt,
                       mx_array *out, int n_out, mx_array *grads);

/* Run `fn` without keeping what is inside it for the backward pass, which computes it again.
 * `params` lists the slots that `fn` reads and that may be differentiated; frozen slots and arrays
 * without gradient may be read without being listed.  Reading an array through which a gradient
 * would flow, but which is neither in `in` nor in `params`, is reported as an error.
 *
 * `fn` runs again when the caller has long returned: it is given a fresh copy of the `arg_bytes`
 * bytes at `arg` each time (so it cannot return anything through them), or `arg` itself when
 * `arg_bytes` is 0, which must then outlive the enclosing mx_value_and_grad. */
void mx_checkpoint(mx_fn fn, const void *arg, size_t arg_bytes, struct mx_arrays in,
                   struct mx_arrays params, mx_array *out, int n_out);

/* Run `fn` with a backward pass of its own: `vjp` gets in = {inputs, outputs, cotangents} and
 * writes one cotangent for each input, MX_NONE for "zero".  `arg` is copied as in mx_checkpoint. */
void mx_custom_vjp(mx_fn fn, mx_fn vjp, const void *arg, size_t arg_bytes, struct mx_arrays in,
                   mx_array *out, int n_out);

/* A compiled function: traced once for each new set of input shapes, then replayed; on GPUs its
 * element-wise operators are fused into kernels, too.  The slots
 * `state` are inputs, and what `fn` gave them by mx_set are outputs: after a call they hold it.
 * All other slots and arrays that `fn` reads are constants from the first call on; they are shared,
 * not copied, and should have been evaluated.  `arg` must outlive the compiled function. */
struct mx_compiled;
struct mx_compiled *mx_compile(mx_fn fn, void *arg, struct mx_arrays state);
void mx_call(struct mx_compiled *c, struct mx_arrays in, mx_array *out, int n_out);
void mx_compiled_free(struct mx_compiled *c);

/* ---------------------------------------------------------------- memory -- */

size_t mx_memory_active(void);
size_t mx_memory_peak(void);
size_t mx_memory_cache(void);
void mx_memory_peak_reset(void);
void mx_memory_limit(size_t bytes);
void mx_cache_limit(size_t bytes);
void mx_cache_clear(void);

/* ------------------------------------------------------------- operators -- */

mx_array mx_zeros_(enum mx_dtype d, const int *shape, int n);
mx_array mx_full_(double v, enum mx_dtype d, const int *shape, int n);
#define mx_zeros(dtype, ...) mx_zeros_((dtype), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
#define mx_full(v, dtype, ...) mx_full_((v), (dtype), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
mx_array mx_zeros_like(mx_array x);
mx_array mx_arange(double start, double stop, double step, enum mx_dtype d);

mx_array mx_astype(mx_array x, enum mx_dtype d);
mx_array mx_stop_gradient(mx_array x);
mx_array mx_depends(mx_array x, mx_array on);           /* x, computed only after `on` */
mx_array mx_contiguous(mx_array x);

mx_array mx_add(mx_array a, mx_array b);
mx_array mx_subtract(mx_array a, mx_array b);
mx_array mx_multiply(mx_array a, mx_array b);
mx_array mx_divide(mx_array a, mx_array b);
mx_array mx_maximum(mx_array a, mx_array b);
mx_array mx_minimum(mx_array a, mx_array b);
mx_array mx_power(mx_array a, mx_array b);
mx_array mx_scale(mx_array x, double s);                /* x * s, in x's dtype */
mx_array mx_shift(mx_array x, double s);                /* x + s, in x's dtype */
mx_array mx_negative(mx_array x);
mx_array mx_abs(mx_array x);
mx_array mx_exp(mx_array x);
mx_array mx_log(mx_array x);
mx_array mx_log1p(mx_array x);
mx_array mx_sqrt(mx_array x);
mx_array mx_rsqrt(mx_array x);
mx_array mx_square(mx_array x);
mx_array mx_sin(mx_array x);
mx_array mx_cos(mx_array x);
mx_array mx_tanh(mx_array x);
mx_array mx_sigmoid(mx_array x);
mx_array mx_silu(mx_array x);                           /* nn.silu */
mx_array mx_gelu_approx(mx_array x);                    /* nn.gelu_approx */
mx_array mx_gelu(mx_array x);                           /* nn.gelu; float32 inside */
mx_array mx_erf(mx_array x);
mx_array mx_floor(mx_array x);
mx_array mx_clip(mx_array x, mx_array lo, mx_array hi); /* either bound may be MX_NONE */
mx_array mx_isfinite(mx_array x);
mx_array mx_equal(mx_array a, mx_array b);
mx_array mx_not_equal(mx_array a, mx_array b);
mx_array mx_less(mx_array a, mx_array b);
mx_array mx_less_equal(mx_array a, mx_array b);
mx_array mx_greater(mx_array a, mx_array b);
mx_array mx_greater_equal(mx_array a, mx_array b);
mx_array mx_logical_and(mx_array a, mx_array b);
mx_array mx_logical_or(mx_array a, mx_array b);
mx_array mx_logical_not(mx_array x);
mx_array mx_bitwise_and(mx_array a, mx_array b);
mx_array mx_bitwise_or(mx_array a, mx_array b);
mx_array mx_left_shift(mx_array a, mx_array b);
mx_array mx_right_shift(mx_array a, mx_array b);
mx_array mx_floor_divide(mx_array a, mx_array b);
mx_array mx_remainder(mx_array a, mx_array b);
mx_array mx_where(mx_array condition, mx_array a, mx_array b);

mx_array mx_sum(mx_array x, int axis, bool keepdims);
mx_array mx_mean(mx_array x, int axis, bool keepdims);
mx_array mx_max(mx_array x, int axis, bool keepdims);
mx_array mx_min(mx_array x, int axis, bool keepdims);
mx_array mx_sum_all(mx_array x);                        /* over all axes, to 0-d */
mx_array mx_all(mx_array x);                            /* over all axes, to a 0-d bool */
mx_array mx_any(mx_array x);                            /* likewise */
mx_array mx_argmax(mx_array x, int axis, bool keepdims);
mx_array mx_logsumexp(mx_array x, int axis, bool keepdims);
mx_array mx_softmax(mx_array x, int axis);              /* computed in float32 inside */
mx_array mx_cumsum(mx_array x, int axis);
mx_array mx_cummax(mx_array x, int axis);

mx_array mx_sort(mx_array x, int axis);
mx_array mx_argsort(mx_array x, int axis);              /* uint32 */
/* Indices such that entry `kth` (negative: from the end) is where sorting would put it, smaller
 * ones before it, greater ones behind: the k largest are the last k of kth -k.  uint32. */
mx_array mx_argpartition(mx_array x, int kth, int axis);
mx_array mx_topk(mx_array x, int k, int axis);          /* the k largest values, unordered */

mx_array mx_reshape_(mx_array x, const int *shape, int n);
mx_array mx_transpose_(mx_array x, const int *axes, int n);
mx_array mx_broadcast_to_(mx_array x, const int *shape, int n);
#define mx_reshape(x, ...) mx_reshape_((x), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
#define mx_transpose(x, ...) mx_transpose_((x), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
#define mx_broadcast_to(x, ...) mx_broadcast_to_((x), (int[]){__VA_ARGS__}, MX_COUNT(__VA_ARGS__))
mx_array mx_swapaxes(mx_array x, int a, int b);
mx_array mx_flatten(mx_array x, int first, int last);
mx_array mx_expand_dims(mx_array x, int axis);
mx_array mx_squeeze(mx_array x, int axis);
mx_array mx_index(mx_array x, int axis, int i);         /* drops the axis */
mx_array mx_slice(mx_array x, int axis, int start, int stop);
mx_array mx_slice_step(mx_array x, int axis, int start, int stop, int step);
mx_array mx_slice_update(mx_array x, mx_array update, int axis, int start);
mx_array mx_pad(mx_array x, int axis, int before, int after, double value);
mx_array mx_concatenate(const mx_array *x, int n, int axis);
mx_array mx_stack(const mx_array *x, int n, int axis);
mx_array mx_repeat(mx_array x, int count, int axis);
mx_array mx_take(mx_array x, mx_array indices, int axis);
mx_array mx_take_along_axis(mx_array x, mx_array indices, int axis);
mx_array mx_put_along_axis(mx_array x, mx_array indices, mx_array values, int axis);
/* Windows of `size` every `step` along `axis`: the axis becomes two, [count, size]. */
mx_array mx_windows(mx_array x, int axis, int size, int step);

mx_array mx_matmul(mx_array a, mx_array b);
mx_array mx_addmm(mx_array c, mx_array a, mx_array b, double alpha, double beta);
/* Products of the matrices a[lhs_indices] and b[rhs_indices], the last two axes; either indices may
 * be MX_NONE.  `sorted_indices` promises that rhs_indices ascend: faster on GPUs. */
mx_array mx_gather_mm(mx_array a, mx_array b, mx_array lhs_indices, mx_array rhs_indices,
                      bool sorted_indices);
/* a [M,K] x b [K,N], once for each of the segments [S,2] uint32 (from, to) of K: [S,M,N]. */
mx_array mx_segmented_mm(mx_array a, mx_array b, mx_array segments);

/* Weights in few bits, mode affine (nn/quant.h): w [...,N] -> w_q [...,N·bits/32] uint32, scales
 * and biases [...,N/group_size] in w's dtype. */
void mx_quantize(mx_array w, int group_size, int bits, mx_array *w_q, mx_array *scales,
                 mx_array *biases);
mx_array mx_dequantize(mx_array w, mx_array scales, mx_array biases, int group_size, int bits,
                       enum mx_dtype d);
/* x · w, or x · wᵀ with `transpose`. */
mx_array mx_quantized_matmul(mx_array x, mx_array w, mx_array scales, mx_array biases,
                             bool transpose, int group_size, int bits);
mx_array mx_gather_qmm(mx_array x, mx_array w, mx_array scales, mx_array biases,
                       mx_array lhs_indices, mx_array rhs_indices, bool transpose, int group_size,
                       int bits, bool sorted_indices);

mx_array mx_conv1d(mx_array x, mx_array w, int stride, int padding, int dilation, int groups);
mx_array mx_conv2d(mx_array x, mx_array w, int stride, int padding, int groups);  /* NHWC, OHWI */

mx_array mx_rms_norm(mx_array x, mx_array weight, double eps);          /* weight may be MX_NONE */
mx_array mx_layer_norm(mx_array x, mx_array weight, mx_array bias, double eps);
/* Rotary embedding of the last axis of [..., T, C]; `offset` is the first position: a 0-d int32, or
 * [B] with one for each item.  Give `base`, or `freqs` (the wavelengths, [dims/2]) and base 0. */
mx_array mx_rope(mx_array x, int dims, double base, mx_array offset, mx_array freqs);
/* q [B,H,T,C], k and v [B,K,S,C].  `causal` and `mask` (bool or additive) exclude each other. */
mx_array mx_scaled_dot_product_attention(mx_array q, mx_array k, mx_array v, double scale,
                                         bool causal, mx_array mask);

mx_array mx_random_key(uint64_t seed);
mx_array mx_random_fold(mx_array key, uint32_t with);   /* a key derived from both */
mx_array mx_random_uniform_(mx_array key, double lo, double hi, const int *shape, int n);
mx_array mx_random_normal_(mx_array key, double std, const int *shape, int n);
mx_array mx_random_categorical(mx_array key, mx_array logits);          /* over the last axis */
mx_array mx_random_bernoulli_(mx_array key, double p, const int *shape, int n);

#ifdef __cplusplus
}
#endif

#endif
