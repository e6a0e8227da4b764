/* plan_parts.h - what plan.c, which cuts epochs into windows, and plan_window.c, which opens one,
 * share.
 *
 * Each source is a stream of draws that never ends: draw d is item d mod n of a permutation of its
 * n items (lines or shards) that belongs to pass d / n.  An epoch takes the draws from
 * position(epoch) to position(epoch + 1), where position(e) = floor(weight * n * e): so every item
 * comes equally often in the long run, and exactly once an epoch at weight 1.
 *
 * The lines that an epoch draws from all tables are put into one order by a second permutation.
 * Without shards, windows are pieces of that order.  With shards, it is cut into slices, which are
 * shuffled among the shards: these are the units, and windows are runs of units.
 */
#ifndef DATA_PLAN_PARTS_H
#define DATA_PLAN_PARTS_H

#include <pthread.h>

#include "base/rng.h"
#include "data/plan.h"

struct plan_stream {
    bool is_shards;
    int64_t first, count;                 /* its items: files or lines of the manifest */
    int64_t whole, millionths;            /* the weight */
};

/* How many draws of each kind an epoch has. */
struct plan_epoch {
    int64_t epoch;
    int64_t lines, shards;
    int64_t slice, slices;                /* lines in a slice; 0 slices when there are no shards */
    int64_t units;                        /* 0 when there are no shards */
};

/* Which units make which window of an epoch. */
struct plan_cut {
    int64_t epoch;                        /* -1: none yet */
    int64_t windows;
    int64_t *firsts;                      /* [windows + 1] */
};

struct plan {
    struct plan_options o;                /* defaults filled in */
    struct plan_stream *streams;          /* [stream_count] one for each source */
    int stream_count;
    bool has_shards;
    uint64_t pass_seed, line_seed, unit_seed, record_seed, batch_seed;
    pthread_mutex_t mutex;                /* guards the cuts, kept since they take a while */
    struct plan_cut cuts[2];
    int oldest_cut;
};

/* What a window is made of, before anything is read. */
struct plan_span {
    struct plan_epoch epoch;
    int64_t first, count;                 /* units, or lines when there are no shards */
};

/* Find a window; false when the epoch has not so many. */
bool plan_span(const struct plan *p, int64_t epoch, int64_t window, struct plan_span *s);

/* A unit: a shard, or lines first .. first + count - 1 of the epoch's order. */
struct plan_unit {
    int32_t file;                         /* -1: lines */
    int64_t first, count;
};

/* Looks units and lines up; keeps the permutations in use. */
struct plan_lookup {
    const struct plan *p;
    struct plan_epoch epoch;
    struct rng_shuffle lines, units, pass;
    int pass_stream;                      /* which stream and pass `pass` is for; -1: none */
    int64_t pass_number;
};

void plan_lookup_init(struct plan_lookup *c, const struct plan *p, const struct plan_epoch *epoch);
struct plan_unit plan_unit_at(struct plan_lookup *c, int64_t unit);
/* The line of the manifest at a place in the epoch's order of lines. */
int64_t plan_line_at(struct plan_lookup *c, int64_t place);

#endif
