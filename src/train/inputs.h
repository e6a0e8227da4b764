/* inputs.h - what a command reads its data with: network, spool and corrections, as its
 * configuration says. */
#ifndef TRAIN_INPUTS_H
#define TRAIN_INPUTS_H

#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "data/patch.h"
#include "train/config.h"

/* What the key `memory` must leave for samples and batches, beside the pieces in flight. */
#define INPUTS_LOADER_MIN ((int64_t)64 << 20)

struct inputs {
    const struct config *c;       /* borrowed */
    struct net *net;
    struct spool *spool;
    struct patch *patch;          /* NULL: none given */
    int64_t loader_memory;        /* bytes of `memory` that are left for a loader */
};

/* Costs little: no connection is made and no file written yet, unless there are patches to read.
 * Zero and NULL in `c` stand for the defaults.  ERR_USAGE when `memory` is too little for
 * `connections`. */
int inputs_open(struct inputs *in, const struct config *c, struct err *e) MUST_CHECK;
void inputs_close(struct inputs *in);     /* safe on a zeroed struct */

/* Open the manifest of these patterns, with the configuration's columns and patches.  `weights`
 * (may be NULL) are the configuration's, as text. */
int inputs_manifest(struct inputs *in, const struct string_list *patterns,
                    const struct string_list *weights, struct manifest *m,
                    struct err *e) MUST_CHECK;

/* Bytes of shards that a window of `train` may have (plan_options.window_bytes), so that the disk
 * budget holds two of its windows, two shards of `eval` (may be NULL) and the tables that were
 * fetched. ERR_USAGE, naming the smallest `disk` that works, when not even one shard fits. */
int inputs_window_bytes(const struct inputs *in, const struct manifest *train,
                        const struct manifest *eval, int64_t *bytes, struct err *e) MUST_CHECK;

/* Where fetched files (and runs that lie in a bucket) are kept on this machine.  The caller
 * frees. */
char *inputs_cache_dir(const struct config *c);

#endif
