/* result.h - what came of a run, as result.json and reports say it. */
#ifndef TRAIN_RESULT_H
#define TRAIN_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "train/evaluate.h"
#include "train/memory_plan.h"
#include "train/tower_cache.h"

struct train_result {
    bool was_finished;                 /* nothing was left to do */
    int64_t steps;                     /* of the whole run */
    double seconds;                    /* of training, over all starts */
    double loss;                       /* of the last step; NaN: not known */
    char *output;                      /* folder of the adapter or model; the caller frees */
    char sha256[HASH_HEX_SIZE];        /* of adapter_model.safetensors; "" for a whole model */
    bool has_evaluation;
    double eval_loss, wer, cer, exact; /* the last three are NaN without transcripts */
    bool has_memory;                   /* of this process; it took steps: */
    struct memory_plan memory;
    int64_t memory_peak;               /* what its steps needed at most, to compare with the plan */
    double windows_per_s;              /* of sound, while steps ran; 0: not an encoder-decoder */
    bool has_cache;
    struct tower_cache_stats cache;
};

/* Nothing is known yet. */
struct train_result result_empty(void);

/* Look at the peak of memory so far. */
void result_note_peak(struct train_result *r);

/* Take over what an evaluation found. */
void result_evaluation(struct train_result *r, const struct evaluation *v);

/* All but `was_finished` and `output`. */
json_t *result_to_json(const struct train_result *r);
/* What result.json says of an earlier run; memory and cache are left out.  Errors as all getters of
 * json.h. */
struct train_result result_of_json(const json_t *o, struct err *e);

#endif
