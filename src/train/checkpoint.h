/* checkpoint.h - what a run needs to go on exactly where it was.
 *
 *     <run>/ckpt/000200/weights.safetensors       what is trained, float32
 *                       optimizer.safetensors     moments, "m.<name>" and "v.<name>"
 *                       state.json                step, and what the trainer adds
 *                       manifest.json             name, size and SHA-256 of the others, last
 *
 * A checkpoint is written under a name that is none (.tmp-000200), flushed, and renamed: a folder
 * with a number is whole, or was damaged later, which its manifest shows.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "nn/optim.h"
#include "nn/params.h"

/* Bytes that a checkpoint of these parameters takes, a little more than less. */
uint64_t checkpoint_bytes(const struct nn_params *p);

/* ERR_SPACE with both numbers when the disk that holds `dir` has less than `need` bytes free. */
int checkpoint_check_space(const char *dir, uint64_t need, struct err *e) MUST_CHECK;

/* Save step `step`; `state` goes into state.json and stays the caller's.  On failure all earlier
 * checkpoints are as they were. */
int checkpoint_save(const char *run_dir, int64_t step, const struct nn_params *p,
                    const struct nn_adamw *o, const json_t *state, struct err *e) MUST_CHECK;

/* Find the newest whole checkpoint: 1 with its folder (the caller frees) and state.json (the
 * caller json_decrefs), 0 when there is none, -1 on error.  Damaged newer ones are named in a
 * warning and put aside as "damaged-<step>"; what a crash left half-written is removed. */
int checkpoint_find(const char *run_dir, char **path, json_t **state, struct err *e) MUST_CHECK;

/* Give the trainable parameters and the optimizer the values of a checkpoint found.  One that
 * belongs to other parameters is an error. */
int checkpoint_load(const char *path, const struct nn_params *p, const struct nn_adamw *o,
                    struct err *e) MUST_CHECK;

/* Remove all but the newest `keep`, and but that of step `held` (-1: none is). */
int checkpoint_prune(const char *run_dir, int keep, int64_t held, struct err *e) MUST_CHECK;

/* Where the files of a checkpoint from elsewhere are put together (the caller frees) ... */
char *checkpoint_temporary(const char *run_dir, int64_t step);
/* ... which becomes one of the run's if it is whole; if not, it is ERR_INTEGRITY or ERR_DATA. */
int checkpoint_adopt(const char *run_dir, int64_t step, const char *temp, struct err *e) MUST_CHECK;

#endif
