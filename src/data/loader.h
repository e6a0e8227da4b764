/* loader.h - batches in the order of a plan, made ahead of time by threads.
 *
 *     struct loader *l = loader_open(&(struct loader_options){
 *         .plan = p, .format = &f, .spool = spool, .from = cursor, .first_step = resumed,
 *         .end_step = steps, .micros = 2, .ahead = 4, .bad_fraction = 0.001, .bad_min = 10}, e);
 *     struct loader_step s;
 *     while ((got = loader_next(l, &s, e)) == 1) {
 *         for (int i = 0; i < s.count; i++)
 *             train_on(&s.micros[i], s.supervised);
 *         cursor = s.next;
 *         loader_step_release(&s);
 *     }
 *     loader_close(l);
 *
 * Clips for encoder-decoder models share windows, and are augmented, in the plans of training only:
 * a sequential plan leaves the format's `joining` and `augment` out.
 *
 * What comes out depends on plan and format only, never on threads, connections or timing.  A
 * record that cannot be used becomes a hole: its batch is made of the others, nothing moves up.
 * Holes are counted as their step is handed out, epoch by epoch; too many are an error that lists
 * the first five.
 *
 * One thread opens windows, one ahead of the window in use: has their shards spooled, and plans
 * them.  The others make samples, in the order of the plan, a step's samples side by side; at most
 * as many as there are cores compute at once, further ones wait for media that are fetched one by
 * one.  What samples and finished batches take is counted before they are begun, as nearly as can
 * be told by then, and stays within `memory_max`: the sample that everybody waits for always gets
 * in.  A record whose files alone would need more than half of it is bad.
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
    const struct plan *plan;              /* all borrowed until loader_close */
    const struct data_format *format;
    struct spool *spool;                  /* NULL: there are no shards */
    enum sample_purpose purpose;
    struct plan_cursor from;              /* where to begin ... */
    int64_t first_step;                   /* ... which is this step */
    int64_t end_step;                     /* one past the last; 0 for a sequential plan: all */
    int rank, ranks;                      /* which part of each batch is made here; ranks 0 is 1 */
    int micros;                           /* batches that a step's records are divided among, in
                                             order and as evenly as can be; 0 is 1 */
    int threads;                          /* 0: one a core, and more when media are fetched */
    int ahead;                            /* steps prepared ahead, 0 is 2 */
    int64_t memory_max;                   /* bytes of samples and batches, 0: 512 MiB */
    double bad_fraction;                  /* of the records seen that may be bad ... */
    int bad_min;                          /* ... but this many always may */
    int64_t bad_before, taken_before;     /* of the epoch of `from`, before it: what a step said */
};

struct loader_step {
    int64_t step;
    struct plan_cursor next;              /* where the data go on after this step ... */
    int64_t bad_before, taken_before;     /* ... and what was counted until there: all three belong
                                             into a checkpoint */
    struct batch *micros;                 /* [count], none of them empty */
    int count;                            /* 0: no good record; the step passes without update */
    int64_t supervised, total;            /* sums over the micro-batches */
    double audio_s;
    int64_t pictures;                     /* images, and frames of videos */
    int64_t splits;                       /* clips that were cut, since they were too long */
    double padding;                       /* part of the mel frames that is padding; of the tokens
                                             when there is no sound, or records are packed, or
                                             sound is always a whole window */
    char **bad;                           /* [bad_count] records met for the first time as bad: */
    int bad_count;                        /* "file:line: what is wrong (what to do)" */
    double waited_s;                      /* how long loader_next had to wait */
};

/* A bad record, as kept for reports. */
struct loader_bad {
    char *text;                           /* "file:line: what is wrong (what to do)" */
};

struct loader;

struct loader *loader_open(const struct loader_options *o, struct err *e) MUST_CHECK;

/* The next step: 1, 0 after the last one, -1 on error (too many bad records, no good record in a
 * whole epoch, no memory or storage; ERR_RETRY: the network was away for longer than its budget).
 * After an error only loader_close may follow. */
int loader_next(struct loader *l, struct loader_step *s, struct err *e) MUST_CHECK;
void loader_step_release(struct loader_step *s);

/* What waits now, for a progress line: "" or "shards 3 of 32 (gs://...)".  Thread-safe. */
void loader_waiting_for(const struct loader *l, char *out, size_t size);

/* Bytes that were counted at most at one time (see memory_max).  Thread-safe. */
int64_t loader_memory_peak(const struct loader *l);

/* Records handed out or found bad so far, repeats included. */
int64_t loader_taken(const struct loader *l);

/* Distinct bad records so far, and the first LOADER_BAD_KEPT of them. */
int64_t loader_bad_count(const struct loader *l);
const struct loader_bad *loader_bad_records(const struct loader *l, int *kept);

/* Stop the threads and free everything; NULL is fine. */
void loader_close(struct loader *l);

#endif
