/* spool_parts.h - what the files of the spool share: its objects and their states.
 *
 *     spool.c          what its users call, and the list of what is wanted
 *     spool_space.c    who gets disk space, and who has to go
 *     spool_fetch.c    the threads: ranges, checks, unpacking
 *     spool_files.c    the folder
 *
 * All functions here are called with the mutex held.
 */
#ifndef DATA_SPOOL_PARTS_H
#define DATA_SPOOL_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/spool.h"
#include "data/spool_files.h"
#include "data/unpack.h"

enum spool_state {
    SPOOL_WAITING,        /* wanted, nothing begun */
    SPOOL_LEFT,           /* an earlier process left a file, which nobody has checked */
    SPOOL_FETCHING,       /* has its space; ranges are being fetched */
    SPOOL_FINISHING,      /* one thread checks or unpacks it, and owns its files */
    SPOOL_HERE,
    SPOOL_FAILED,         /* until all have given it back */
};

enum { SPOOL_TRIES = 3, SPOOL_TIMES = 128, SPOOL_BUCKETS = 4096 };

struct spool_entry {
    char key[SPOOL_KEY_SIZE];
    struct spool_entry *in_bucket;        /* next with a like key */
    struct spool_entry *before, *behind;  /* in the queue, or among the idle */
    bool is_queued, is_idle;
    struct object object;                 /* uri NULL: left by an earlier process, not wanted yet */
    char *shown;                          /* its name for messages */
    const char *local;                    /* its path when it is a local file to unpack */
    enum unpack_kind packing;
    enum spool_state state;
    int64_t turn;                         /* the order of wanting */
    int holds, takers, taken;             /* wants not given back; waiting takes; takes */
    struct err err;                       /* why it failed */

    int64_t reserved, unwritten;          /* bytes of disk; not yet written of these */
    int64_t needs;                        /* to reserve, where a guess was too low; else 0 */
    double short_since;                   /* since when it waits for space; 0: it does not */

    int fd;                               /* of the .part, while fetching */
    int64_t chunks, next_chunk, good_chunks;
    int in_flight;                        /* ranges under way */
    uint32_t *crcs;                       /* [chunks] */
    int tries;

    uint32_t crc;                         /* of the file here (or left) */
    int64_t size;
};

struct spool {
    struct net *net;
    char *dir;
    int64_t bytes_max;
    bool keeps;
    int connections;

    pthread_mutex_t mutex;                /* guards all below, and all entries */
    pthread_cond_t work, changed;         /* something to do; something has changed */
    pthread_t *threads;
    int thread_count;
    bool closing;
    enum { SETUP_NOT, SETUP_RUNNING, SETUP_DONE, SETUP_FAILED } setup;
    struct err setup_err;
    struct spool_files files;
    struct spool_entry **buckets;
    struct spool_entry *queue_first, *queue_last;     /* by turn; neither here nor failed */
    struct spool_entry *idle_first, *idle_last;   /* here or left, not held; oldest first */
    int64_t turns;
    int open_fetches;                     /* fetching, with ranges that nobody fetches yet */
    int64_t unwritten;                    /* of all reservations */
    double ratio;                         /* of unpacking, as seen so far; a guess at first */
    bool has_ratio, has_warned;
    int inside;                           /* takes that wait */
    char nonce[40];                       /* in the keys of what no later process may reuse */

    int active, allowed;                  /* ranges under way; how many may be */
    int good_in_row;                      /* ranges since `allowed` changed last */
    int64_t throttled_seen;
    double times[SPOOL_TIMES];            /* seconds of the last full ranges */
    int64_t time_count;
    struct spool_stats stats;
};

/* spool.c */
void spool_enqueue(struct spool *s, struct spool_entry *n);   /* by its turn */
void spool_dequeue(struct spool *s, struct spool_entry *n);
void spool_set_here(struct spool *s, struct spool_entry *n, int64_t size, uint32_t crc);
void spool_set_failed(struct spool *s, struct spool_entry *n, const struct err *e);
/* Forget an entry that nobody needs: no file, not held, nothing under way; takes of it that
 * have not noticed yet do it in its place. */
void spool_forget(struct spool *s, struct spool_entry *n);
struct spool_entry *spool_find(struct spool *s, const char *key);
struct spool_entry *spool_new_entry(struct spool *s, const char *key);
void spool_idle(struct spool *s, struct spool_entry *n);      /* the one used last of the idle */

/* spool_space.c */
int64_t spool_need(const struct spool *s, const struct spool_entry *n);
/* Reserve `bytes` more: 1, 0 when others have to give theirs back first, -1 when it never will
 * do. */
int spool_reserve(struct spool *s, struct spool_entry *n, int64_t bytes, struct err *e);
void spool_wrote(struct spool *s, struct spool_entry *n, int64_t bytes);
/* What is reserved is now just `bytes`, all written. */
void spool_settle_space(struct spool *s, struct spool_entry *n, int64_t bytes);
/* Remove the file of an entry that is here or left. */
void spool_drop_file(struct spool *s, struct spool_entry *n);

/* spool_fetch.c */
/* No more of it is fetched; what came of it goes when the ranges under way have ended. */
void spool_cancel(struct spool *s, struct spool_entry *n);
void *spool_work(void *arg);

#endif
