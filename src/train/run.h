/* run.h - the folder of a run, and what makes two runs the same.
 *
 *     runs/<name>/config.yaml        the resolved configuration
 *                 attune.lock        what it ran on: versions, device, threads, hashes
 *                 data.jsonl         the files that it learns from, with their versions (drift.h)
 *                 metrics.jsonl      see metrics.h
 *                 log.txt            messages
 *                 ckpt/              see checkpoint.h
 *                 adapter/ or model/ the result
 *                 result.json        written last: the run is finished
 *                 lock               held by the process that runs it
 *
 * Facts are what the numbers depend on: settings that enter the mathematics, and hashes of model,
 * adapter and data.  A run goes on only with the same facts.  Conditions (device, threads,
 * versions, rounding) may change; then the rest of the run is approximately what it would have
 * been, and says so.
 */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "data/manifest.h"
#include "train/config.h"

struct run {
    char *dir;                         /* runs/<name>, on this machine's disk */
    char *shown;                       /* what messages call it: `dir`, or its URI in a bucket */
    const struct manifest *train;      /* borrowed */
    char *metrics;                     /* paths in it */
    char *output;                      /* adapter or model folder */
    int lock;                          /* descriptor, -1: not held */
    json_t *facts;                     /* {"learning_rate": 0.0002, ...} */
    json_t *conditions;                /* {"device": "cpu", ...} */
};

/* Make the folder, lock it (ERR_RETRY when another process has it) and gather the facts.  `local`
 * is where the runs of a bucket lie on this machine, NULL when `c->runs` is a folder. */
int run_open(struct run *r, const struct config *c, const char *local, const struct manifest *train,
             struct err *e) MUST_CHECK;
/* Unlock and free; safe on a zeroed struct with lock -1, and after a failed run_open. */
void run_close(struct run *r);

/* What this process computes on; `version` is attune's.  Call after the device was chosen. */
void run_conditions(struct run *r, const struct config *c, const char *version);

/* ERR_USAGE naming every key that differs from the facts of an earlier start, and the files of the
 * data that do. */
int run_check_facts(const struct run *r, const json_t *before, struct err *e) MUST_CHECK;
/* Conditions that differ, as "device (cuda, was cpu), ..."; the caller frees.  NULL: none. */
char *run_changed_conditions(const struct run *r, const json_t *before);

/* Write config.yaml, attune.lock and data.jsonl.  `approximate` as from run_changed_conditions, or
 * NULL. */
int run_describe(const struct run *r, const struct config *c, const char *yaml,
                 const char *approximate, struct err *e) MUST_CHECK;

/* result.json: 1 and the object (the caller json_decrefs) when the run is finished, 0 when not. */
int run_result(const struct run *r, json_t **result, struct err *e) MUST_CHECK;
int run_finish(const struct run *r, const json_t *result, struct err *e) MUST_CHECK;

#endif
