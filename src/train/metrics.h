/* metrics.h - metrics.jsonl: one line for each step and each evaluation of a run.
 *
 *     {"step":1,"loss":..,"lr":..,"grad_norm":..,"supervised_tokens":..,"tokens":..,"audio_s":..,
 *      "seconds":..,"data_wait":..,"padding":..,"memory":..}
 *     with pictures also "pictures", with a cache of towers' outputs "cache_hits", "cache_misses",
 *     of encoder-decoders "windows" (of sound: rows)
 *     {"step":200,"eval_loss":..,"wer":..,"cer":..,...}
 *
 * Steps of a run that reads over the network also have what it did meanwhile: "fetched_bytes",
 * "mb_s" (10^6 bytes a second), "retries", "hedges".
 *
 * Each step appears once: when a run is resumed, lines of steps after its checkpoint are cut.
 */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "train/evaluate.h"
#include "train/tower_cache.h"

struct step_metrics {
    int64_t step, steps;               /* this one, and how many there will be */
    double loss;                       /* mean over supervised tokens; NaN: nothing was trained */
    double lr, grad_norm;
    int64_t supervised, total;         /* tokens */
    int64_t bad;                       /* distinct bad records so far */
    double audio_s;
    int64_t pictures;                  /* images, and frames of videos */
    int64_t windows;                   /* of sound, of encoder-decoders; else 0 */
    struct tower_cache_stats cache;    /* so far; all 0: not used */
    double seconds;                    /* wall clock since the step before */
    double data_wait;                  /* of these, waiting for data */
    double padding;                    /* part of the mel frames (or tokens) that is padding */
    bool uses_net;                     /* something was asked of the network, now or before: */
    int64_t fetched, retries, hedges;  /* bytes, tries, doubled requests since the step before */
    uint64_t memory;                   /* peak bytes of arrays so far */
    bool ok;                           /* false: not finite, the step changed nothing */
};

/* Keep only the lines of steps up to `step` in the file; a torn last line goes, too.  A file that
 * is not there is fine. */
int metrics_cut(const char *path, int64_t step, struct err *e) MUST_CHECK;
int metrics_add_step(const char *path, const struct step_metrics *m, struct err *e) MUST_CHECK;
int metrics_add_evaluation(const char *path, int64_t step, const struct evaluation *v,
                           struct err *e) MUST_CHECK;

#endif
