/* loader.c - see loader.h; loader_parts.h has the design. */
#include "data/loader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "data/loader_parts.h"

enum { AHEAD = 2 };
#define MEMORY_MAX ((int64_t)512 << 20)
#define STACK_BYTES ((size_t)4 << 20)

/* ---------------------------------------------------------------- opening -- */

static int between(int n, int low, int high)
{
    return n < low ? low : n > high ? high : n;
}

/* Start a thread; 0, or an error number. */
static int start(pthread_t *thread, void *(*run)(void *), struct loader *l)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int failed = pthread_create(thread, &attributes, run, l);
    pthread_attr_destroy(&attributes);
    return failed;
}

/* Threads that make samples; where something may have to be fetched piece by piece, more than can
 * compute at once. */
static int count_threads(const struct loader *l)
{
    bool may_fetch = l->net && l->o.threads > 1;
    int fetching = may_fetch ? net_settings(l->net)->connections : 0;
    return between(l->o.threads + fetching, 1, LOADER_THREADS_MAX);
}

static int start_threads(struct loader *l, struct err *e)
{
    int wanted = count_threads(l);
    int failed = start(&l->planner, loader_plan, l);
    l->has_planner = !failed;
    for (; !failed && l->thread_count < wanted; l->thread_count++) {
        failed = start(&l->threads[l->thread_count], loader_work, l);
        if (failed)
            break;
    }
    /* One is enough to go on with. */
    if (failed && l->thread_count == 0)
        return err_set(e, ERR_SPACE, "cannot start a thread: %s", strerror(failed));
    return 0;
}

static void fill_in(struct loader *l, const struct loader_options *o)
{
    const struct plan_options *plan = plan_settings(o->plan);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    l->o = *o;
    l->m = plan->manifest;
    l->o.ranks = between(o->ranks, 1, 1 << 20);
    l->o.micros = between(o->micros, 1, plan->batch);
    l->o.ahead = between(o->ahead > 0 ? o->ahead : AHEAD, 1, LOADER_AHEAD_MAX);
    l->o.threads = between(o->threads > 0 ? o->threads : (int)cores, 1, LOADER_THREADS_MAX);
    l->o.memory_max = o->memory_max > 0 ? o->memory_max : MEMORY_MAX;
    if (plan->is_sequential && o->end_step <= 0)
        l->o.end_step = INT64_MAX;
    l->format = *o->format;
    /* What is measured is the data as they are. */
    if (plan->is_sequential) {
        l->format.crossing.joining = SAMPLE_APART;
        l->format.crossing.augment = (struct spec_augment){0};
    }
    int64_t half = l->o.memory_max / 2;
    if (l->format.media_bytes_max <= 0 || l->format.media_bytes_max > half)
        l->format.media_bytes_max = half;
    /* Closing ends our own requests, and no others. */
    struct net *net = o->format->net ? o->format->net : l->m->options.net;
    l->net = l->format.net = net ? net_branch(net) : NULL;
    if (o->from.window > 0 || o->from.batch > 0) {
        l->epoch_bad = o->bad_before;
        l->epoch_taken = o->taken_before;
    }
    l->next_out = l->next_in = l->next_begin = o->first_step;
}

struct loader *loader_open(const struct loader_options *o, struct err *e)
{
    if (o->rank < 0 || o->rank >= (o->ranks > 0 ? o->ranks : 1) || o->first_step < 0) {
        err_set(e, ERR_BUG, "part %d of %d from step %lld on", o->rank, o->ranks,
                (long long)o->first_step);
        return NULL;
    }
    struct loader *l = xcalloc(1, sizeof *l);
    fill_in(l, o);
    l->slots = xcalloc((size_t)l->o.ahead, sizeof *l->slots);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->can_work, NULL);
    pthread_cond_init(&l->can_compute, NULL);
    pthread_cond_init(&l->can_take, NULL);
    pthread_cond_init(&l->can_plan, NULL);
    if (start_threads(l, e)) {
        loader_close(l);
        return NULL;
    }
    return l;
}

/* ---------------------------------------------------------------- closing -- */

static void stop(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    l->is_stopped = true;
    pthread_cond_broadcast(&l->can_work);
    pthread_cond_broadcast(&l->can_compute);
    pthread_cond_broadcast(&l->can_plan);
    pthread_mutex_unlock(&l->mutex);
    if (l->net)
        net_stop(l->net);
    loader_stop_opening(l);
    if (l->has_planner)
        pthread_join(l->planner, NULL);
    for (int i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
}

void loader_close(struct loader *l)
{
    if (!l)
        return;
    stop(l);
    for (int i = 0; i < l->o.ahead; i++) {
        loader_leave_window(l, &l->slots[i]);
        loader_slot_release(&l->slots[i]);
    }
    loader_reap(l);
    for (struct loader_window *w = l->current, *next; w; w = next) {
        next = w->next;
        loader_window_free(l, w);
    }
    for (int i = 0; i < l->bad_kept; i++)
        free(l->bad[i].text);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->can_work);
    pthread_cond_destroy(&l->can_compute);
    pthread_cond_destroy(&l->can_take);
    pthread_cond_destroy(&l->can_plan);
    net_close(l->net);
    free(l->seen);
    free(l->slots);
    free(l);
}

void loader_step_release(struct loader_step *s)
{
    for (int i = 0; i < s->count; i++)
        batch_release(&s->micros[i]);
    free(s->micros);
    for (int i = 0; i < s->bad_count; i++)
        free(s->bad[i]);
    free(s->bad);
    memset(s, 0, sizeof *s);
}

/* ----------------------------------------------------------------- taking -- */

/* Wait for the next slot, which is the caller's until release_slot; NULL when there is none. */
static struct slot *wait_for_slot(struct loader *l, struct err *e)
{
    pthread_mutex_lock(&l->mutex);
    /* What was handed out last is the caller's own by now. */
    l->memory -= l->handed;
    l->handed = 0;
    pthread_cond_broadcast(&l->can_work);
    struct slot *slot = &l->slots[l->next_out % l->o.ahead];
    while (slot->state != SLOT_READY && !(l->is_planned_out && l->next_out == l->next_in))
        pthread_cond_wait(&l->can_take, &l->mutex);
    if (slot->state != SLOT_READY) {
        *e = l->plan_error;
        slot = NULL;
    } else if (slot->error.kind) {
        *e = slot->error;
        slot = NULL;
    }
    pthread_mutex_unlock(&l->mutex);
    return slot;
}

static void release_slot(struct loader *l, struct slot *slot)
{
    int64_t bytes = slot->bytes;
    loader_slot_release(slot);
    pthread_mutex_lock(&l->mutex);
    l->handed = bytes;
    l->next_out++;
    loader_fill(l);
    pthread_mutex_unlock(&l->mutex);
    loader_reap(l);
}

int loader_next(struct loader *l, struct loader_step *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    if (l->next_out >= l->o.end_step)
        return 0;
    double begin = clock_seconds();
    struct slot *slot = wait_for_slot(l, e);
    if (!slot)
        return e->kind ? -1 : 0;
    *s = slot->step;
    memset(&slot->step, 0, sizeof slot->step);
    s->waited_s = clock_seconds() - begin;
    loader_count(l, slot, s);
    int failed = loader_check_bad(l, &slot->place, &s->next, e);
    s->bad_before = l->epoch_bad;
    s->taken_before = l->epoch_taken;
    release_slot(l, slot);
    if (failed) {
        loader_step_release(s);
        return -1;
    }
    return 1;
}
