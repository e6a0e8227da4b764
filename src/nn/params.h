/* params.h - every parameter of a model: its name, its slot, and whether it is trained. */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include <stdbool.h>

#include "base/err.h"
#include "mx/mx.h"
#include "nn/linear.h"

enum { NN_NAME_MAX = 512 };

/* What a parameter is to training. */
enum nn_role {
    NN_WEIGHT,                          /* trained in full fine-tuning */
    NN_BUFFER,                          /* part of the checkpoint, never trained */
    NN_ADAPTER,                         /* LoRA's A and B, DoRA's magnitude; no part of the
                                           checkpoint */
    NN_PART,                            /* made from a weight: scales and biases of a quantised one,
                                           DoRA's sums of squares; never trained, never saved */
};

struct nn_param {
    char *name;                         /* "model.layers.0.self_attn.q_proj.weight" */
    const char *tower;                  /* "language", "audio", "vision", "projector" */
    mx_array slot;
    int shape[MX_DIMS_MAX], n;
    enum mx_dtype stored;               /* dtype in the checkpoint; random: that of the slot */
    enum nn_role role;
    bool trainable;
    struct nn_linear *linear;           /* the layer whose weight it is, or NULL */
    const struct nn_quant *quant;       /* of a quantised weight, whose `shape` and `stored` are the
                                           dense one's; else NULL */
    struct nn_table *table;             /* of a table that stays with the host, owned; else NULL */
};

/* A linear layer that an adapter can be put on. */
struct nn_module {
    char *name;                         /* "model.layers.0.self_attn.q_proj" */
    const char *tower;
    struct nn_linear *linear;
};

/* Every parameter of a model.  A zeroed struct is empty and ready. */
struct nn_params {
    struct nn_param *at;                /* in binding order; adapters follow */
    int count;
    size_t capacity;
    struct nn_module *modules;
    int module_count;
    size_t module_capacity;
    struct nn_param **trainable;        /* by name, so that a prefix is a slice */
    mx_array *trainable_slots;          /* the slots of `trainable` */
    int trainable_count;
    struct nn_dropout dropout;          /* shared by all adapters */
};

void nn_params_release(struct nn_params *p);            /* frees the slots; zeroes the struct */
/* By full name; NULL when there is none. */
struct nn_param *nn_params_find(const struct nn_params *p, const char *name);
/* Slots of the trainable parameters whose name starts with `prefix` ("" for all), in name order:
 * what mx_checkpoint and mx_value_and_grad want.  Valid until what is trainable changes. */
struct mx_arrays nn_trainable(const struct nn_params *p, const char *prefix);
/* The same slice as parameters; the number of them goes to `count`. */
struct nn_param *const *nn_trainable_params(const struct nn_params *p, const char *prefix,
                                            int *count);

/* Full fine-tuning: make every weight of the towers trainable (none given: all towers) and cast
 * it to float32.  An unknown tower is an error that names those there are. */
int nn_params_train(struct nn_params *p, char *const *towers, int tower_count,
                    struct err *e) MUST_CHECK;
/* Freeze everything. */
void nn_params_freeze(struct nn_params *p);
/* Recompute the sorted list of what is trainable, after changing `trainable` flags by hand. */
void nn_params_sort(struct nn_params *p);
/* Register a slot, which the params own from here on.  Pointers to parameters become invalid. */
struct nn_param *nn_params_add(struct nn_params *p, const char *name, const char *tower,
                               mx_array slot, enum nn_role role);
/* 0 when the model has this tower, else an error that names those it has. */
int nn_params_check_tower(const struct nn_params *p, const char *tower, struct err *e) MUST_CHECK;

#endif
