/* memory_plan.h - what a run will need of the device's memory, said before its first step.
 *
 *     struct memory_plan p;
 *     if (memory_plan_arrays(&p, &step, config, e) ||
 *         memory_plan_rehearse(&p, &step, &largest_batch, config, e)) ...      it does not fit
 *     ... train ...                                                    p.total: the peak
 *
 * Weights, adapters, moments and gradients are counted.  The rest, activations and what operators
 * need for a moment, hangs on the device's kernels, on what they fuse and when a buffer is given
 * back: no formula of ours would be right on all of them.  So a step is rehearsed: the very graph
 * of a training step, on the largest batch, with targets that make the loss not a number.  The
 * guard of the optimizer then leaves weights and moments as they are, to the last bit, and what was
 * allocated at most is what a step needs.
 *
 * Where a whole step might not fit, a quarter and a half of the batch are rehearsed first, and the
 * whole only if what they foretell is there.
 */
#ifndef TRAIN_MEMORY_PLAN_H
#define TRAIN_MEMORY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "data/batch.h"
#include "train/config.h"
#include "train/step.h"

/* Bytes, but for the last line. */
struct memory_plan {
    int64_t weights;                   /* of the model, trained or not, and its buffers */
    int64_t adapters;
    int64_t optimizer;                 /* two moments and the gradient of all that is trained, and
                                          the sums of gradients where steps have several parts */
    int64_t gradients;                 /* of these, the gradient */
    int64_t activations;               /* the rest of a step's peak */
    int64_t total;                     /* the peak */
    int64_t cache;                     /* at most, in host memory: outputs of frozen towers */
    int64_t device;                    /* what there is; 0: nobody knows */
    int64_t mapped;                    /* of the weights, those that are read where the file is
                                          mapped: MLX does not count them */
    int rows, len, clips, pictures;    /* of the batch that it is for */
    bool is_crossing;                  /* each row has a window of sound (model.h) */
};

/* Everything but the activations.  Evaluates parameters and moments: until then they take
 * nothing. */
int memory_plan_arrays(struct memory_plan *p, struct train_step *s, const struct config *c,
                       struct err *e) MUST_CHECK;

/* The activations of a step whose micro-batches are like `b`.  ERR_SPACE when the device has less
 * than that needs; the message names the largest part and the setting that would fit. */
int memory_plan_rehearse(struct memory_plan *p, struct train_step *s, const struct batch *b,
                         const struct config *c, struct err *e) MUST_CHECK;

/* What of the device's memory a run has really needed, to compare with `total`; `peak` is
 * mx_memory_peak's. */
int64_t memory_plan_measured(const struct memory_plan *p, int64_t peak);

/* ERR_SPACE when the weights of a checkpoint alone are more than the device has, found before they
 * are read.  `without` are parts of tensors' names that are left out (NULL-ended). */
int memory_plan_check_weights(const struct config *c, const char *const *without,
                              struct err *e) MUST_CHECK;

json_t *memory_plan_to_json(const struct memory_plan *p);

/* "1.23 GB", "45.6 MB". */
void memory_plan_size(char *out, size_t size, int64_t bytes);

#endif
