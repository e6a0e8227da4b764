/* queue.c - see queue.h. */
#include "base/queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void queue_init(struct queue *q, size_t capacity)
{
    assert(capacity > 0);
    *q = (struct queue){.capacity = capacity};
    q->items = xcalloc(capacity, sizeof *q->items);
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_full, NULL);
    pthread_cond_init(&q->not_empty, NULL);
}

void queue_release(struct queue *q, void (*free_item)(void *item))
{
    for (; q->count; q->count--) {
        if (free_item)
            free_item(q->items[q->first]);
        q->first = (q->first + 1) % q->capacity;
    }
    free(q->items);
    q->items = NULL;
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->mutex);
}

bool queue_push(struct queue *q, void *item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == q->capacity && !q->is_closed && !q->is_cancelled)
        pthread_cond_wait(&q->not_full, &q->mutex);
    bool is_open = !q->is_closed && !q->is_cancelled;
    if (is_open) {
        q->items[(q->first + q->count++) % q->capacity] = item;
        pthread_cond_signal(&q->not_empty);
    }
    pthread_mutex_unlock(&q->mutex);
    return is_open;
}

bool queue_pop(struct queue *q, void **item)
{
    pthread_mutex_lock(&q->mutex);
    while (!q->count && !q->is_closed && !q->is_cancelled)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    bool has_item = q->count && !q->is_cancelled;
    if (has_item) {
        *item = q->items[q->first];
        q->first = (q->first + 1) % q->capacity;
        q->count--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->mutex);
    return has_item;
}

static void raise_flag(struct queue *q, bool *flag)
{
    pthread_mutex_lock(&q->mutex);
    *flag = true;
    pthread_cond_broadcast(&q->not_full);
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

void queue_close(struct queue *q)
{
    raise_flag(q, &q->is_closed);
}

void queue_cancel(struct queue *q)
{
    raise_flag(q, &q->is_cancelled);
}

size_t queue_count(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    size_t count = q->count;
    pthread_mutex_unlock(&q->mutex);
    return count;
}
