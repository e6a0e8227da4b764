/* plan.h - which records make which step, decided before any of them is read.
 *
 * An epoch is a list of units: the shards, and slices of the tables' shuffled lines.  A source of
 * weight w is gone through w times; a part of a time takes other records every epoch, so that over
 * the epochs each comes equally often.  The units are shuffled (a keyed permutation of seed and
 * epoch) and cut into windows of a few shards.  Inside a window the records are shuffled, sorted by
 * length, cut into batches, and the batches shuffled.  Nothing is carried from window to window: a
 * window is a pure function of (manifest, seed, epoch, window), and a place in the data is three
 * small numbers.
 *
 * The first windows are small and grow (1, 2, 4, ... shards), so that a run begins soon.  The last
 * batch of a window of shards may be short; windows of tables are cut at whole batches, so that
 * there only the last batch of an epoch may be.  A batch is of the whole run: with several machines
 * each takes its part of every batch.
 *
 * A sequential plan (evaluation, scoring) goes through the records once in their order, shard by
 * shard.
 */
#ifndef DATA_PLAN_H
#define DATA_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"

enum { PLAN_SHARDS = 32, PLAN_SLICE = 1024 /* at most so many lines in a slice */ };
#define PLAN_BYTES ((int64_t)2 << 30)

struct plan_options {
    const struct manifest *manifest;      /* borrowed */
    uint64_t seed;
    int batch;                            /* records a step, at least 1 */
    bool is_sequential;
    bool is_sorted;                       /* batches of like lengths ... */
    bool sorts_text;                      /* ... of the text alone: where sound is always as long as
                                             a window */
    int window_shards;                    /* 0: PLAN_SHARDS */
    int64_t window_bytes;                 /* of its shards, 0: PLAN_BYTES; one shard at least */
    int64_t limit;                        /* sequential: stop after so many records; 0: all.  Of
                                             shards, windows do not know it: the loader stops */
};

/* A place in the data: the batch that comes next. */
struct plan_cursor {
    int64_t epoch, window, batch;
};

struct plan;

/* Weights that a few shards cannot keep (half of one shard) are ERR_DATA. */
struct plan *plan_new(const struct plan_options *o, struct err *e) MUST_CHECK;
void plan_free(struct plan *p);
const struct plan_options *plan_settings(const struct plan *p);

/* Windows of an epoch; a sequential plan has one epoch, 0. */
int64_t plan_windows(const struct plan *p, int64_t epoch);
/* Steps of an epoch, -1 when it cannot be told: not all shards have an index, or patches may delete
 * records. */
int64_t plan_steps(const struct plan *p, int64_t epoch);

/* The shards of a window, as indexes into the manifest's files: how many; the first `max` of them
 * go to `files`.  They are what must be spooled while it is used. */
int plan_window_files(const struct plan *p, int64_t epoch, int64_t window, int32_t *files, int max);

struct plan_window {
    int64_t epoch, window;
    struct shard *shards;                 /* [shard_count] opened; some are borrowed */
    int32_t *files;                       /* [shard_count] which file each is */
    bool *is_borrowed;
    int shard_count;
    struct record_ref *records;           /* in the order of the batches */
    uint32_t *lengths;                    /* of each record, sound included ... */
    uint32_t *texts;                      /* ... and the part of it that is text */
    int64_t count;
    int64_t *firsts;                      /* [batches + 1] first record of each batch */
    int64_t batches;
};

/* Plan a window.  Shards without an index must be wanted from the manifest's spool: this waits for
 * them and reads their headers (plain local ones are read where they are, without a spool too).
 * Records that the patch deletes are left out.  Thread-safe. */
int plan_window_open(struct plan_window *w, const struct plan *p, int64_t epoch, int64_t window,
                     struct err *e) MUST_CHECK;

/* The same in two parts.  After the first, `shards` holds what indexes say; of the others the name
 * is NULL.  Only the second needs the spool, only the first the network (`net` NULL: the
 * manifest's).  On failure `w` is released. */
int plan_window_begin(struct plan_window *w, const struct plan *p, int64_t epoch, int64_t window,
                      struct net *net, struct err *e) MUST_CHECK;
int plan_window_finish(struct plan_window *w, const struct plan *p, struct err *e) MUST_CHECK;
void plan_window_release(struct plan_window *w);

#endif
