/* bind.h - weights by name: a model lists its tensors once, the binder finds or makes them.
 *
 *     nn_under(b, "layers.%d.", i);
 *     nn_bind_norm  (b, "input_layernorm",  &l->input_layernorm, D);
 *     nn_bind_linear(b, "self_attn.q_proj", &l->q_proj,          D, H * C);
 *
 * Each line makes a slot that is registered in struct nn_params under the checkpoint's full name.
 * With a source the values are the checkpoint's, cast to `dtype`; without, they are random, and
 * depend on nothing but the seed and the name.  Problems are collected: nn_bind_end reports all of
 * them at once (missing, misshapen, of a dtype that cannot be weights, left over).
 *
 * Weights of linear layers and embeddings may be quantised (nn/quant.h): as an MLX checkpoint has
 * them, which is seen by name.scales and name.biases, or as they are read (`quantize_bits`).  The
 * names of MLX's checkpoints (language_model.model.X for model.language_model.X, vision_tower.X for
 * model.vision_tower.X, ...) are understood, too.
 *
 * Structs that are bound must stay where they are until nn_params_release.
 */
#ifndef NN_BIND_H
#define NN_BIND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mx/mx.h"
#include "nn/conv.h"
#include "nn/experts.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/params.h"
#include "nn/safetensors.h"

enum { NN_IGNORE_MAX = 64 };

/* How a tensor without a source starts. */
enum nn_init_kind { NN_INIT_DEFAULT, NN_INIT_NORMAL, NN_INIT_CONSTANT };
struct nn_init {
    enum nn_init_kind kind;
    double value;                       /* standard deviation, or the constant */
};

struct nn_problems;

struct nn_binder {
    struct nn_params *params;
    struct safetensors *source;         /* NULL: random weights */
    uint64_t seed;
    enum mx_dtype dtype;                /* of weights */
    double init_std;                    /* of linear layers and embeddings; 0: 1/sqrt(fan in) */
    double eps;                         /* given to the norms bound from here on */
    const char *tower;                  /* given to the parameters bound from here on */
    /* Quantise, tensor by tensor as they are read, the experts and linear layers of all blocks
     * (names with ".layers."), but for routers and rows that are no multiple of the group.
     * 0: none. */
    int quantize_bits, quantize_group;
    /* private */
    char root[NN_NAME_MAX], under[NN_NAME_MAX];
    const char *ignored[NN_IGNORE_MAX];
    int ignored_count;
    struct nn_init next;
    bool is_channels_last;              /* convolutions are stored as MLX has them */
    unsigned char *used;                /* one flag for each tensor of the source */
    struct nn_problems *problems;
    struct err failure;                 /* other than a problem with a tensor: of MLX, say */
};

/* `source` stays the caller's, who may close it once binding has ended. */
void nn_binder_init(struct nn_binder *b, struct nn_params *params, struct safetensors *source,
                    enum mx_dtype dtype);
/* End: report all problems as one error; tensors of the source that nobody asked for count,
 * unless nn_ignore named them.  Releases the binder's memory in any case. */
int nn_bind_end(struct nn_binder *b, struct err *e) MUST_CHECK;

/* A random key that depends on the seed and the name only. */
mx_array nn_name_key(uint64_t seed, const char *name);

/* Prefix of all names to come ("model.language_model."), and the part after it, printf-like. */
void nn_root(struct nn_binder *b, const char *root);
void nn_under(struct nn_binder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Tensors whose full name matches the glob may be left over.  The string is not copied. */
void nn_ignore(struct nn_binder *b, const char *glob);
/* Does the source have `name` under the current prefix?  True without a source. */
bool nn_has(const struct nn_binder *b, const char *name);
/* How the next bound layer's weight starts when there is no source, in place of its class's rule:
 * linear, conv and embedding normal(0, init_std or 1/sqrt(fan in)), norms and scalars 1, biases
 * 0. */
void nn_init_next(struct nn_binder *b, enum nn_init_kind kind, double value);

/* name.weight [out,in]. */
void nn_bind_linear(struct nn_binder *b, const char *name, struct nn_linear *l, int in, int out);
/* name.weight [out,in] and name.bias [out]. */
void nn_bind_linear_bias(struct nn_binder *b, const char *name, struct nn_linear *l, int in,
                         int out);
/* name.linear.weight [out,in], and, when `clipped`, the scalars name.input_min, input_max,
 * output_min, output_max. */
void nn_bind_clip_linear(struct nn_binder *b, const char *name, struct nn_clip_linear *l, int in,
                         int out, bool clipped);
/* name.weight [count,dim]: rows looked up by nn_embedding.  Usable as a tied head, too. */
void nn_bind_embedding(struct nn_binder *b, const char *name, struct nn_linear *l, int dim,
                       int count);
/* As nn_bind_embedding for a table that is too big for the device: while frozen it stays in the
 * file, mapped and in its stored dtype (bfloat16 when random); nn_embedding_host (nn/table.h)
 * gathers rows.  nn_embedding gives the whole table to the device when it is first evaluated. */
void nn_bind_table(struct nn_binder *b, const char *name, struct nn_linear *l, int dim, int count);
/* name.gate_up_proj [count,2·inner,in] and name.down_proj [count,in,inner]. */
void nn_bind_experts(struct nn_binder *b, const char *name, struct nn_experts *x, int count, int in,
                     int inner);
/* name.weight [dim]; eps is the binder's. */
void nn_bind_norm(struct nn_binder *b, const char *name, struct nn_norm *n, int dim);
/* name.weight and name.bias [dim], for nn_layer_norm. */
void nn_bind_layer_norm(struct nn_binder *b, const char *name, struct nn_norm *n, int dim);
/* name.weight as PyTorch stores it: [out, in / groups, size], [out, in / groups, height, width]. */
void nn_bind_conv1d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int size);
/* The same with name.bias [out]. */
void nn_bind_conv1d_bias(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                         int out, int size);
void nn_bind_conv2d(struct nn_binder *b, const char *name, struct nn_conv *c, int in_per_group,
                    int out, int height, int width);
/* `name` itself, one number stored as [] or [1]; a buffer, starting at 1.  Shape [1]. */
void nn_bind_scalar(struct nn_binder *b, const char *name, mx_array *x);
/* `name` itself with any shape: a buffer; starts at `value`. */
void nn_bind_buffer(struct nn_binder *b, const char *name, mx_array *x, const int *shape, int n,
                    double value);
/* Adapters know the linear layer that was bound last by this full name in place of its own. */
void nn_module_name(struct nn_binder *b, const char *name);
/* `name` itself with any shape: a weight; starts by `init`. */
void nn_bind_tensor(struct nn_binder *b, const char *name, mx_array *x, const int *shape, int n,
                    struct nn_init init);

#endif
