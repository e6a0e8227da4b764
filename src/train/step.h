/* step.h - one optimizer step: forward, loss, backward, clipping, guard and AdamW.
 *
 * The loss is the sum over all supervised tokens of the step divided by their number in the whole
 * step, however many micro-batches it is worked off in.  With one micro-batch all of it is one
 * evaluated graph; with more, gradients are summed in slots and each micro-batch is evaluated
 * before the next, so that only one is in memory.
 *
 * With `compile` the graph is traced once for each set of shapes and replayed.
 */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/batch.h"
#include "model/model.h"
#include "nn/optim.h"
#include "train/config.h"

/* More than there can be: each input of a batch that may be missing comes with certain others. */
enum { STEP_VARIANTS_MAX = 64 };

struct train_step;
struct tower_cache;

/* What differs between compiled functions besides shapes. */
struct step_variant {
    struct train_step *step;
    uint32_t inputs;                   /* which arrays of a batch are there, see step.c */
    bool accumulates;
    struct mx_compiled *compiled;
};

struct train_step {
    struct model *model;               /* borrowed */
    struct nn_adamw adamw;
    uint64_t seed;                     /* of dropout */
    bool has_dropout, compiles;
    int kept_multiple;                 /* of session_rows */
    struct tower_cache *cache;         /* borrowed; NULL: towers run in the step */
    mx_array *sums;                    /* slots [adamw.count]: gradients of the micro-batches so
                                          far; NULL until a step has several */
    mx_array loss_sum;                 /* slot: their loss */
    mx_array *state;                   /* every slot that a step changes */
    int state_count;
    struct step_variant variants[STEP_VARIANTS_MAX];
    int variant_count;
    struct mx_compiled *finish;        /* the update after several micro-batches */
};

/* The batches of one step. */
struct step_data {
    const struct batch *micros;
    int count;                         /* at least 1 */
    int64_t supervised;                /* over all micros */
};

/* 0-d arrays in the caller's scope, on their way: mx_item waits for them. */
struct step_result {
    mx_array loss;                     /* mean over the step's supervised tokens */
    mx_array grad_norm;                /* before clipping */
    mx_array ok;                       /* false: loss or gradients not finite, nothing changed */
};

/* `m` has its trainable parameters chosen already (nn_lora_attach, nn_params_train).  `factors` are
 * nn_adamw_init's. */
void train_step_init(struct train_step *s, struct model *m, const struct config *c,
                     const double *factors);
void train_step_release(struct train_step *s);

/* Make the sums that steps of several micro-batches need; they would do it themselves. */
void train_step_reserve(struct train_step *s);

/* Run step `t`, counted from 1.  Parameters and optimizer state have their new values on return,
 * though perhaps not yet computed. */
int train_step_run(struct train_step *s, const struct step_data *d, int64_t t, double rate,
                   struct step_result *r, struct err *e) MUST_CHECK;

#endif
