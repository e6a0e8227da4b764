/* largest.h - the largest batch of a plan, made before the run begins. */
#ifndef TRAIN_LARGEST_H
#define TRAIN_LARGEST_H

#include <stdbool.h>

#include "base/err.h"
#include "data/batch.h"
#include "data/loader.h"
#include "data/plan.h"
#include "train/watch.h"

/* So many windows are looked at. */
enum { LARGEST_WINDOWS = 16 };

/* All borrowed during the call. */
struct largest_options {
    const struct plan *plan;
    const struct data_format *format;
    struct watch *watch;               /* tells about waiting; NULL: nobody does */
    struct plan_cursor from;           /* where the run goes on ... */
    int64_t steps;                     /* ... and for how many steps */
    int micros;                        /* of a step */
    int64_t memory_max;                /* of loader_options */
};

/* Are the lengths of a plan's records known before anything is fetched for it?  Not of shards. */
bool largest_is_known(const struct plan *p);

/* Make the largest micro-batch among the next windows of such a plan, by the lengths that it
 * knows.  1, 0 when there is none, -1 on error.  The caller releases it. */
int largest_batch(struct batch *b, const struct largest_options *o, struct err *e) MUST_CHECK;

/* That of a step that has any. */
struct batch *largest_micro(const struct loader_step *s);

#endif
