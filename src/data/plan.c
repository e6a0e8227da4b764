/* plan.c - see plan.h. */
#include "data/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

int64_t plan_permute(uint64_t seed, uint64_t epoch, int64_t count, int64_t i)
{
    struct rng_shuffle s;
    rng_shuffle_init(&s, rng_seed(seed, "order"), epoch, (uint64_t)count);
    return (int64_t)rng_shuffle_at(&s, (uint64_t)i);
}

int64_t plan_steps(const struct plan *p)
{
    return p->count / p->batch + (p->count % p->batch != 0);
}

/* ------------------------------------------------------- sorted by length -- */

/* Records 0 .. count of a window, in the order of the stream.  `head` of them complete a batch that
 * the window before began; then come `groups` whole batches; the rest begins the next one. */
struct window {
    int64_t epoch, first;                 /* position in the epoch of its first record */
    int64_t count, head, groups;
    int64_t *sorted;                      /* [count] records, shortest first */
};

struct keyed {
    uint32_t length;
    int64_t order, record;                /* equally long records stay in the order of the stream */
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void window_open(struct window *w, const struct plan *p, int64_t position)
{
    int64_t batches = p->count / p->batch / 4;
    batches = batches < 1 ? 1 : batches > PLAN_WINDOW ? PLAN_WINDOW : batches;
    int64_t size = batches * p->batch, at = position % p->count;
    w->epoch = position / p->count;
    w->first = at / size * size;
    w->count = p->count - w->first < size ? p->count - w->first : size;

    int64_t begin = w->epoch * p->count + w->first;
    int64_t head = (p->batch - begin % p->batch) % p->batch;
    w->head = head < w->count ? head : w->count;
    w->groups = (w->count - w->head) / p->batch;

    struct rng_shuffle s;
    rng_shuffle_init(&s, rng_seed(p->seed, "order"), (uint64_t)w->epoch, (uint64_t)p->count);
    struct keyed *keyed = xcalloc((size_t)w->count, sizeof *keyed);
    for (int64_t i = 0; i < w->count; i++) {
        int64_t record = (int64_t)rng_shuffle_at(&s, (uint64_t)(w->first + i));
        keyed[i] = (struct keyed){p->lengths[record], i, record};
    }
    qsort(keyed, (size_t)w->count, sizeof *keyed, compare_keyed);
    w->sorted = xcalloc((size_t)w->count, sizeof *w->sorted);
    for (int64_t i = 0; i < w->count; i++)
        w->sorted[i] = keyed[i].record;
    free(keyed);
}

/* The record at a position of the stream that lies in the window. */
static int64_t window_record(const struct window *w, const struct plan *p, int64_t position)
{
    int64_t at = position % p->count - w->first;
    int64_t group = at < w->head ? 0 : (at - w->head) / p->batch;
    if (at >= w->head && group < w->groups) {
        struct rng_shuffle s;
        uint64_t stream = (uint64_t)(w->epoch * p->count + w->first);
        rng_shuffle_init(&s, rng_seed(p->seed, "batches"), stream, (uint64_t)w->groups);
        int64_t other = (int64_t)rng_shuffle_at(&s, (uint64_t)group);
        at += (other - group) * p->batch;
    }
    return w->sorted[at];
}

static bool window_holds(const struct window *w, const struct plan *p, int64_t position)
{
    int64_t at = position % p->count - w->first;
    return w->sorted && position / p->count == w->epoch && at >= 0 && at < w->count;
}

/* ------------------------------------------------------------------ steps -- */

int plan_step(const struct plan *p, int64_t step, int64_t *out)
{
    assert(p->count >= 1 && p->batch >= 1 && step >= 0);
    int64_t begin = step * p->batch;
    if (p->is_sequential) {
        int n = 0;
        for (; n < p->batch && begin + n < p->count; n++)
            out[n] = begin + n;
        return n;
    }
    struct window w = {0};
    for (int j = 0; j < p->batch; j++) {
        int64_t position = begin + j;
        if (!p->lengths) {
            out[j] = plan_permute(p->seed, (uint64_t)(position / p->count), p->count,
                                  position % p->count);
            continue;
        }
        if (!window_holds(&w, p, position)) {
            free(w.sorted);
            window_open(&w, p, position);
        }
        out[j] = window_record(&w, p, position);
    }
    free(w.sorted);
    return p->batch;
}
