/* loader.h - batches in the order of a plan, made ahead of time by threads.
 *
 *     struct loader *l = loader_open(&(struct loader_options){
 *         .manifest = &m, .plan = &p, .format = &f, .first_step = resumed, .end_step = steps,
 *         .micros = 2, .threads = 2, .ahead = 4, .bad_fraction = 0.001, .bad_min = 10}, e);
 *     struct loader_step s;
 *     while ((got = loader_next(l, &s, e)) == 1) {
 *         for (int i = 0; i < s.count; i++)
 *             train_on(&s.micros[i], s.supervised);
 *         loader_step_release(&s);
 *     }
 *     loader_close(l);
 *
 * What comes out depends on manifest, plan and format only, never on threads or timing.  A record
 * that cannot be used becomes a hole: its batch is made of the others, nothing moves up.  Holes
 * are counted as their step is handed out; too many are an error that lists the first five.
 */
#ifndef DATA_LOADER_H
#define DATA_LOADER_H

#include "base/err.h"
#include "data/batch.h"
#include "data/manifest.h"
#include "data/plan.h"
#include "data/sample.h"

enum { LOADER_THREADS_MAX = 64, LOADER_AHEAD_MAX = 256, LOADER_BAD_KEPT = 100 };

struct loader_options {
    const struct manifest *manifest;      /* all borrowed until loader_close */
    const struct plan *plan;
    const struct data_format *format;
    enum sample_purpose purpose;
    int64_t first_step;
    int64_t end_step;                     /* one past the last; 0 for a sequential plan: all */
    int micros;                           /* batches that a step's records are divided among, in
                                             order and as evenly as can be; 0 is 1 */
    int threads;                          /* 0: one a core, but no more than `ahead` */
    int ahead;                            /* steps prepared ahead, 0 is 2 */
    double bad_fraction;                  /* of the records seen that may be bad ... */
    int bad_min;                          /* ... but this many always may */
};

struct loader_step {
    int64_t step;
    struct batch *micros;                 /* [count], none of them empty */
    int count;                            /* 0: no good record; the step passes without update */
    int64_t supervised, total;            /* sums over the micro-batches */
    double audio_s;
    char **bad;                           /* [bad_count] records met for the first time as bad: */
    int bad_count;                        /* "file:line: what is wrong" */
    double waited_s;                      /* how long loader_next had to wait */
};

/* A bad record, as kept for reports. */
struct loader_bad {
    int64_t record;
    char *text;                           /* "file:line: what is wrong" */
};

struct loader;

struct loader *loader_open(const struct loader_options *o, struct err *e) MUST_CHECK;

/* The next step: 1, 0 after the last one, -1 on error (too many bad records, no good record in a
 * whole epoch, no memory or storage).  After an error only loader_close may follow. */
int loader_next(struct loader *l, struct loader_step *s, struct err *e) MUST_CHECK;
void loader_step_release(struct loader_step *s);

/* Distinct bad records so far, and the first LOADER_BAD_KEPT of them. */
int64_t loader_bad_count(const struct loader *l);
const struct loader_bad *loader_bad_records(const struct loader *l, int *kept);

/* Stop the threads and free everything; NULL is fine. */
void loader_close(struct loader *l);

#endif
