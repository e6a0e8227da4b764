/* lora.h - put adapters on linear layers by name, and load existing ones.
 *
 * A target is a pattern on module names ("model.layers.0.self_attn.q_proj"): with `*`, `?` or `[`
 * a glob on the whole name, otherwise, as in PEFT, the name itself or its last parts ("q_proj").
 * A module that the checkpoint wraps as `X.linear` also answers to `X`.  Routers of experts have an
 * adapter only when a target says so; experts themselves have none.
 */
#ifndef NN_LORA_H
#define NN_LORA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "nn/bind.h"

enum { NN_LORA_RANK_MAX = 4096 };

/* Another rank for the layers of one tower. */
struct nn_lora_tower {
    const char *tower;
    int rank;
    double alpha;
};
enum { NN_LORA_TOWERS_MAX = 8 };

struct nn_lora_config {
    int rank;
    double alpha;
    double dropout;
    bool rslora;                        /* scale alpha / sqrt(rank) in place of alpha / rank */
    bool dora;                          /* with a magnitude (linear.h) */
    struct nn_lora_tower others[NN_LORA_TOWERS_MAX];    /* towers with a rank of their own */
    int other_count;
    char *const *towers;                /* none given: "language" */
    int tower_count;
    char *const *targets;               /* none given: every linear layer in the towers' blocks,
                                           and all of a tower that has none (the projector) */
    int target_count;
    uint64_t seed;
};

/* Freeze everything and put fresh adapters on the matching layers.  A is uniform in ±1/sqrt(in)
 * (PEFT's kaiming_uniform with a = sqrt(5)), B is zero; A depends on the seed and the module's
 * name only.  A tower or pattern that matches nothing is an error that names the nearest. */
int nn_lora_attach(struct nn_params *p, const struct nn_lora_config *c, struct err *e) MUST_CHECK;

/* Freeze everything and put the adapter of a PEFT folder (adapter_config.json and
 * adapter_model.safetensors) on its layers.  What it says of rank, alpha, dropout and rslora goes
 * to `found` (its lists are left empty); `found` may be NULL.  rank_pattern, alpha_pattern, DoRA
 * and rslora are obeyed; kinds of adapters that we do not compute are errors, and so is one that
 * does not fit the model: the first misfit is named. */
int nn_lora_load(struct nn_params *p, const char *dir, struct nn_lora_config *found,
                 struct err *e) MUST_CHECK;

/* Put the pair a [r,in], b [out,r] on a module, as both of the above do, with the rank of `a` and
 * `alpha`; of `c` rslora and dora count.  With DoRA the magnitude is [out], or MX_NONE for the
 * lengths of the rows of W + s B A.  nn_params_sort follows. */
int nn_lora_put(struct nn_params *p, struct nn_module *m, const struct nn_lora_config *c,
                double alpha, mx_array a, mx_array b, mx_array magnitude, struct err *e) MUST_CHECK;

/* Is there an adapter on any layer? */
bool nn_lora_attached(const struct nn_params *p);

/* Dropout for the next forward pass: `key` is a key of (seed, step, micro-step); MX_NONE turns it
 * off, as for evaluation. */
void nn_dropout_key(struct nn_params *p, mx_array key);

/* What is trained, one row for each kind of module, for printing. */
struct nn_trained {
    char name[NN_NAME_MAX];             /* layer numbers replaced by `*` */
    const char *tower;
    int count;                          /* modules or tensors of that name */
    int rank;                           /* of the adapters; 0: whole tensors */
    int64_t parameters;                 /* numbers in them that are trained */
};
/* Rows in binding order; the caller frees the array.  Returns the number of rows. */
int nn_trained_table(const struct nn_params *p, struct nn_trained **rows);

#endif
