/* loader_parts.h - what the files of the loader share.
 *
 *     loader.c          opening, closing, the ring of steps, handing out
 *     loader_window.c   the thread that opens windows ahead, and their end
 *     loader_work.c     the threads that make samples, within the memory
 *     loader_read.c     bytes of shards
 *     loader_bad.c      counting what is bad
 *
 * A ring of `ahead` slots holds the steps next_out .. next_in - 1.  A slot is filled with the
 * records of a step as soon as there is room and their window is open.  Threads take single
 * samples, in the order of the plan; who makes the last one of a step collates it.  The caller
 * takes steps out in order.
 *
 *     next_out <= next_in <= next_out + ahead       next_in: the first step without a slot
 *     slot (s mod ahead) is the threads' from being filled until it is ready, then the caller's
 *     a sample, once begun, belongs to its thread until `done` counts it
 */
#ifndef DATA_LOADER_PARTS_H
#define DATA_LOADER_PARTS_H

#include <pthread.h>

#include "data/loader.h"

/* A shard of a window: where its bytes come from. */
struct window_shard {
    const struct object *object;
    bool is_wanted;                       /* a spool_give is due (guarded by the mutex) */
    bool can_range;                       /* it may be read by ranges until it is here */
    struct source *local;                 /* once it is here (set once, guarded by the mutex) */
};

struct loader_window {
    struct plan_window plan;
    struct window_shard *shards;          /* [shard_count] as in `plan` */
    int shard_count;
    bool by_range;                        /* nothing of it is wanted from the spool yet */
    struct plan_cursor after;             /* the place behind its last batch */
    int64_t number;                       /* of its first record in the order of loading */
    int64_t next_batch;                   /* first one without a slot */
    int users;                            /* slots that take from it */
    struct loader_window *next;
};

struct loader_bad_key {
    int64_t file, index;
};

enum slot_state { SLOT_EMPTY, SLOT_FILLED, SLOT_READY };

struct slot {
    enum slot_state state;
    struct loader_step step;              /* without `bad`, the counts and `waited_s` */
    struct plan_cursor place;             /* of the step itself */
    struct loader_window *window;
    int64_t first;                        /* its records in the window: this one ... */
    int count;                            /* ... and those behind it */
    uint32_t longest;                     /* length of the longest of them, as planned */
    int begun, done;
    struct sample *samples;               /* [count] */
    char **bad;                           /* [count] what is wrong with each, or NULL */
    struct loader_bad_key *keys;          /* [count] */
    int64_t *held;                        /* [count] bytes that are counted for each */
    int64_t bytes;                        /* ... and for the finished batches */
    int error_at;                         /* of which sample `error` is */
    struct err error;                     /* what no record is to blame for */
};

struct loader {
    struct loader_options o;              /* defaults filled in */
    struct data_format format;            /* with the network's branch */
    struct net *net;                      /* that branch, so that closing ends just our requests */
    const struct manifest *m;
    pthread_t threads[LOADER_THREADS_MAX];
    pthread_t planner;
    int thread_count;
    bool has_planner;

    pthread_mutex_t mutex;                /* guards what follows, up to the next gap */
    pthread_cond_t can_work;              /* a sample to begin, or memory for it */
    pthread_cond_t can_compute;
    pthread_cond_t can_take;              /* a slot is ready, or there will be no more */
    pthread_cond_t can_plan;              /* fewer windows are open, or the first step is ready */
    bool is_stopped;
    int64_t next_out, next_in;
    int64_t next_begin;                   /* first step of which a sample is not begun, at least */
    struct slot *slots;                   /* [o.ahead] */
    struct plan_cursor place;             /* of next_in */
    struct loader_window *current;        /* slots are filled from this; NULL: not open yet */
    struct loader_window *dead;           /* windows to be closed */
    struct loader_window *opening;        /* the planner's, while it waits for its shards */
    int windows;                          /* open ones, with those that are being closed */
    bool is_planned_out;                  /* no window follows */
    struct err plan_error;                /* ... and why */
    int64_t memory, memory_peak, handed;  /* bytes counted, at most so far, and with the caller */
    int active, computing;                /* samples being made; threads that compute */
    bool has_made_one;                    /* a step has become ready */

    /* The planner's own. */
    int64_t planned;                      /* records of the windows so far */

    /* The caller's own. */
    struct loader_bad_key *seen;          /* [seen_capacity] hash set of distinct bad ones */
    int64_t seen_capacity;
    struct loader_bad bad[LOADER_BAD_KEPT];
    int bad_kept;
    int64_t bad_count;                    /* distinct records */
    int64_t taken;                        /* records handed out or found bad, repeats included */
    int64_t epoch_bad, epoch_taken;       /* of this epoch */
};

/* ---------------------------------------------------------- loader_window.c -- */

void *loader_plan(void *loader);
/* Put steps into free slots; call with the mutex locked. */
void loader_fill(struct loader *l);
/* A slot does not need its window any more; call with the mutex locked. */
void loader_leave_window(struct loader *l, struct slot *slot);
/* Close windows that nobody needs; call without the mutex. */
void loader_reap(struct loader *l);
/* End waiting for shards; call without the mutex, after is_stopped was set. */
void loader_stop_opening(struct loader *l);
void loader_window_free(struct loader *l, struct loader_window *w);

/* ------------------------------------------------------------ loader_work.c -- */

void *loader_work(void *loader);
void loader_slot_release(struct slot *s);

/* ------------------------------------------------------------ loader_read.c -- */

/* Reads bytes of the shard of one record; a shard_read_fn takes it. */
struct loader_reader {
    struct loader *l;
    struct loader_window *window;
    int shard;                            /* into window->shards; -1: none */
    int record;
    bool has_failed;                      /* the shard could not be read: no fault of the record */
    char *bytes;                          /* the record's members, when they were read as a range */
    int64_t begin, end;
};
void loader_reader_init(struct loader_reader *r, struct loader *l, struct loader_window *w,
                        const struct record_ref *ref);
void loader_reader_release(struct loader_reader *r);
int loader_read(void *reader, int64_t offset, void *out, size_t size, struct err *e);
/* May the shard be read by ranges, with every byte checked? */
bool loader_can_range(const struct loader *l, const struct manifest_file *f, const struct shard *s);

/* ------------------------------------------------------------- loader_bad.c -- */

/* Count the records of a step, and give the step its list of those that are new. */
void loader_count(struct loader *l, struct slot *slot, struct loader_step *s);
/* Fail when more records are bad than may be. */
int loader_check_bad(struct loader *l, const struct plan_cursor *place,
                     const struct plan_cursor *next, struct err *e) MUST_CHECK;

#endif
