/* plan.h - which records make which step, as a pure function.
 *
 * A step takes `batch` records from an endless stream: one epoch after another, each a keyed
 * permutation of all records.  Position p lies in epoch p / count.  Nothing is remembered, so any
 * step can be asked for at once, and resuming costs nothing.
 *
 * Given lengths, the stream of each epoch is cut into windows of PLAN_WINDOW batches, or of a
 * quarter of an epoch where that is less, so that the same records do not meet again and again.
 * Inside a window records are sorted by length, cut into batches, and the batches shuffled.
 * Every record still comes exactly once an epoch.
 *
 * A sequential plan (evaluation, scoring) goes through the records once in their order; its last
 * step may be short.
 */
#ifndef DATA_PLAN_H
#define DATA_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum { PLAN_WINDOW = 64 };

struct plan {
    int64_t count;                        /* records, at least 1 */
    uint64_t seed;
    int batch;                            /* records a step, at least 1 */
    bool is_sequential;
    const uint32_t *lengths;              /* [count] or NULL: not sorted */
};

/* Steps of a sequential plan; of any other, those that begin in its first epoch. */
int64_t plan_steps(const struct plan *p);

/* Write the records of a step to out [batch]; returns how many (fewer than `batch` only at the
 * end of a sequential plan).  Thread-safe. */
int plan_step(const struct plan *p, int64_t step, int64_t *out);

/* The element at `i` of the permutation of 0 .. count-1 that (seed, epoch) selects. */
int64_t plan_permute(uint64_t seed, uint64_t epoch, int64_t count, int64_t i);

#endif
