/* queue.h - a bounded queue of pointers between threads.
 *
 * A producer pushes and, at its end, closes; consumers pop until nothing is left.  Whoever wants
 * all to stop at once cancels: everybody who waits returns, and what is in the queue stays there
 * for queue_release to hand back.  The queue never owns what it carries.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct queue {
    pthread_mutex_t mutex;             /* guards all below */
    pthread_cond_t not_full, not_empty;
    void **items;                      /* a ring */
    size_t capacity, first, count;
    bool is_closed, is_cancelled;
};

void queue_init(struct queue *q, size_t capacity);

/* No thread may still use the queue.  Items left in it are given to `free_item` (NULL: dropped). */
void queue_release(struct queue *q, void (*free_item)(void *item));

/* Add an item, waiting while the queue is full.  False, and the item still the caller's, when the
 * queue was closed or cancelled. */
bool queue_push(struct queue *q, void *item);

/* Take the oldest item, waiting while there is none.  False when the queue is closed and empty,
 * or cancelled. */
bool queue_pop(struct queue *q, void **item);

void queue_close(struct queue *q);     /* no more items will come */
void queue_cancel(struct queue *q);    /* nobody waits any more */
size_t queue_count(struct queue *q);   /* items in it now */

#endif
