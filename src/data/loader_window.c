/* loader_window.c - windows: opened one ahead by a thread of its own, handed out step by step,
 * closed when the last of their samples is made.
 *
 * A window waits until its shards are in the spool.  Only the first of a process need not, where
 * indexes allow it: its samples are read by ranges at once, and the spool begins when the first
 * step is ready, so that a run begins after two round trips.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/loader_parts.h"

enum { WINDOWS = 2 };                     /* open at once: one in use, one ahead */

#define AGAIN_S 1.0                       /* before shards are asked for again */
#define NAP_S 0.05

/* ----------------------------------------------------------------- closing -- */

void loader_window_free(struct loader *l, struct loader_window *w)
{
    for (int i = 0; i < w->shard_count; i++) {
        if (w->shards[i].is_wanted)
            spool_give(l->o.spool, w->shards[i].object);
        source_close(w->shards[i].local);
    }
    free(w->shards);
    plan_window_release(&w->plan);
    free(w);
}

/* Call with the mutex locked. */
static void drop_user(struct loader *l, struct loader_window *w)
{
    if (--w->users > 0 || w->next_batch < w->plan.batches)
        return;
    w->next = l->dead;
    l->dead = w;
}

void loader_leave_window(struct loader *l, struct slot *slot)
{
    struct loader_window *w = slot->window;
    slot->window = NULL;
    if (w)
        drop_user(l, w);
}

void loader_reap(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    struct loader_window *dead = l->dead;
    l->dead = NULL;
    pthread_mutex_unlock(&l->mutex);
    int count = 0;
    for (struct loader_window *next; dead; dead = next, count++) {
        next = dead->next;
        loader_window_free(l, dead);
    }
    if (count == 0)
        return;
    pthread_mutex_lock(&l->mutex);
    l->windows -= count;
    pthread_cond_broadcast(&l->can_plan);
    pthread_mutex_unlock(&l->mutex);
}

/* Give back what a window wants, which ends waiting for it; call with the mutex locked. */
static void give_all(struct loader *l, struct loader_window *w)
{
    for (int i = 0; w && i < w->shard_count; i++) {
        if (w->shards[i].is_wanted)
            spool_give(l->o.spool, w->shards[i].object);
        w->shards[i].is_wanted = false;
    }
}

void loader_stop_opening(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    give_all(l, l->opening);
    for (struct loader_window *w = l->current; w; w = w->next)
        give_all(l, w);
    for (int i = 0; i < l->o.ahead; i++)
        give_all(l, l->slots[i].window);
    pthread_mutex_unlock(&l->mutex);
}

/* ----------------------------------------------------------------- filling -- */

/* Put the next batch of the current window into a slot. */
static void fill_slot(struct loader *l, struct slot *slot, struct loader_window *w)
{
    int64_t first = w->plan.firsts[w->next_batch], end = w->plan.firsts[w->next_batch + 1];
    int64_t n = end - first, begin = n * l->o.rank / l->o.ranks;
    int count = (int)(n * (l->o.rank + 1) / l->o.ranks - begin);
    *slot = (struct slot){
        .state = count > 0 ? SLOT_FILLED : SLOT_READY,
        .place = {w->plan.epoch, w->plan.window, w->next_batch},
        .first = first + begin,
        .count = count,
        .error_at = count,
        .samples = xcalloc((size_t)count + 1, sizeof *slot->samples),
        .bad = xcalloc((size_t)count + 1, sizeof *slot->bad),
        .keys = xcalloc((size_t)count + 1, sizeof *slot->keys),
        .held = xcalloc((size_t)count + 1, sizeof *slot->held),
    };
    for (int64_t i = slot->first; i < slot->first + count; i++)
        slot->longest = w->plan.lengths[i] > slot->longest ? w->plan.lengths[i] : slot->longest;
    bool is_last = ++w->next_batch == w->plan.batches;
    slot->step.step = l->next_in;
    slot->step.next =
        is_last ? w->after : (struct plan_cursor){w->plan.epoch, w->plan.window, w->next_batch};
    w->users++;
    slot->window = w;
    if (count == 0) {
        l->has_made_one = true;
        loader_leave_window(l, slot);
    }
}

void loader_fill(struct loader *l)
{
    while (l->current && l->next_in < l->o.end_step && l->next_in < l->next_out + l->o.ahead) {
        struct loader_window *w = l->current;
        if (w->next_batch + 1 == w->plan.batches)
            l->current = w->next;
        fill_slot(l, &l->slots[l->next_in % l->o.ahead], w);
        l->next_in++;
    }
    pthread_cond_broadcast(&l->can_work);
    pthread_cond_broadcast(&l->can_take);
}

/* ----------------------------------------------------------------- opening -- */

static bool is_stopped(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    bool stopped = l->is_stopped;
    pthread_mutex_unlock(&l->mutex);
    return stopped;
}

/* Ask the spool for the shards of a window, unless the loader is being closed. */
static void want_all(struct loader *l, struct loader_window *w)
{
    pthread_mutex_lock(&l->mutex);
    for (int i = 0; i < w->shard_count && l->o.spool && !l->is_stopped; i++) {
        struct window_shard *s = &w->shards[i];
        if (s->local || s->is_wanted)
            continue;
        s->is_wanted = true;
        spool_want(l->o.spool, s->object);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* The shards of a window; those that are plain files here are opened. */
static int find_shards(struct loader *l, struct loader_window *w, const struct plan_cursor *at,
                       struct err *e)
{
    int count = plan_window_files(l->o.plan, at->epoch, at->window, NULL, 0);
    int32_t *files = xcalloc((size_t)count + 1, sizeof *files);
    int failed = 0;
    plan_window_files(l->o.plan, at->epoch, at->window, files, count);
    w->shards = xcalloc((size_t)count + 1, sizeof *w->shards);
    w->shard_count = count;
    for (int i = 0; i < count && !failed; i++) {
        const struct manifest_file *f = &l->m->files[files[i]];
        w->shards[i].object = &f->object;
        if (!source_local_path(f->object.uri) || manifest_is_packed(f))
            continue;
        w->shards[i].local = source_open_object(NULL, &f->object, e);
        failed = w->shards[i].local ? 0 : -1;
    }
    free(files);
    return failed;
}

/* Can all samples of the window be read before its shards are here? */
static bool mark_ranges(struct loader *l, struct loader_window *w)
{
    bool can_all = w->shard_count > 0;
    for (int i = 0; i < w->shard_count; i++) {
        struct window_shard *s = &w->shards[i];
        const struct manifest_file *f = &l->m->files[w->plan.files[i]];
        s->can_range = !s->local && loader_can_range(l, f, &w->plan.shards[i]);
        can_all = can_all && (s->can_range || s->local);
    }
    return can_all;
}

static int wait_for_shards(struct loader *l, struct loader_window *w, struct err *e)
{
    for (int i = 0; i < w->shard_count; i++) {
        struct window_shard *s = &w->shards[i];
        char *path = NULL;
        if (s->local)
            continue;
        if (spool_take(l->o.spool, s->object, &path, NULL, e))
            return -1;
        struct source *local = source_open(NULL, path, e);
        free(path);
        if (!local)
            return -1;
        pthread_mutex_lock(&l->mutex);
        s->local = local;
        pthread_mutex_unlock(&l->mutex);
    }
    return 0;
}

static int open_in_parts(struct loader *l, struct loader_window *w, const struct plan_cursor *at,
                         bool is_first, struct err *e)
{
    if (!is_first)
        want_all(l, w);
    if (plan_window_begin(&w->plan, l->o.plan, at->epoch, at->window, l->net, e))
        return -1;
    w->by_range = (is_first || !l->o.spool) && mark_ranges(l, w);
    if (!w->by_range)
        want_all(l, w);
    if (plan_window_finish(&w->plan, l->o.plan, e))
        return -1;
    return w->by_range ? 0 : wait_for_shards(l, w, e);
}

/* Open the window at a place. */
static struct loader_window *open_window(struct loader *l, const struct plan_cursor *at,
                                         bool is_first, struct err *e)
{
    struct loader_window *w = xcalloc(1, sizeof *w);
    int failed = find_shards(l, w, at, e);
    pthread_mutex_lock(&l->mutex);
    l->opening = w;
    pthread_mutex_unlock(&l->mutex);
    if (!failed)
        failed = open_in_parts(l, w, at, is_first, e);
    pthread_mutex_lock(&l->mutex);
    l->opening = NULL;
    pthread_mutex_unlock(&l->mutex);
    if (failed) {
        loader_window_free(l, w);
        return NULL;
    }
    return w;
}

/* The same, asked for again and again while there is something to do without it: the network may
 * come back before it is needed. */
static struct loader_window *open_patiently(struct loader *l, const struct plan_cursor *at,
                                            bool is_first, struct err *e)
{
    for (;;) {
        struct loader_window *w = open_window(l, at, is_first, e);
        if (w)
            return w;
        pthread_mutex_lock(&l->mutex);
        bool is_idle = l->windows == 0, stopped = l->is_stopped;
        pthread_mutex_unlock(&l->mutex);
        if (stopped || is_idle)
            return NULL;
        log_warn("data that will be needed soon: %s", e->text);
        if (e->kind != ERR_RETRY)
            return NULL;
        *e = (struct err){0};
        for (double waited = 0; waited < AGAIN_S && !is_stopped(l); waited += NAP_S)
            clock_sleep(NAP_S);
    }
}

/* Cut a window at the limit of a sequential plan over shards. */
static void apply_limit(struct loader *l, struct plan_window *w)
{
    const struct plan_options *o = plan_settings(l->o.plan);
    int64_t rest = o->limit - l->planned;
    if (!o->is_sequential || o->limit <= 0 || w->count <= rest)
        return;
    w->count = rest;
    w->batches = (rest + o->batch - 1) / o->batch;
    w->firsts[w->batches] = rest;
}

/* Hand a window to the threads; takes it over. */
static void publish(struct loader *l, struct loader_window *w)
{
    pthread_mutex_lock(&l->mutex);
    struct loader_window **tail = &l->current;
    while (*tail)
        tail = &(*tail)->next;
    *tail = w;
    l->windows++;
    w->users++;
    loader_fill(l);
    while (w->by_range && !l->has_made_one && !l->is_stopped)
        pthread_cond_wait(&l->can_plan, &l->mutex);
    bool is_used_up = w->next_batch == w->plan.batches;
    pthread_mutex_unlock(&l->mutex);
    if (!is_used_up)
        want_all(l, w);
    pthread_mutex_lock(&l->mutex);
    drop_user(l, w);
    pthread_mutex_unlock(&l->mutex);
    loader_reap(l);
}

/* ---------------------------------------------------------------- planning -- */

struct planning {
    struct plan_cursor at;
    int64_t steps;                        /* first step for which no window was opened */
    int64_t batches;                      /* of this epoch so far */
    bool is_first;
};

/* Wait until another window may be opened; false: none shall be. */
static bool wait_for_room(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    while (!l->is_stopped && l->windows >= WINDOWS)
        pthread_cond_wait(&l->can_plan, &l->mutex);
    bool goes_on = !l->is_stopped;
    pthread_mutex_unlock(&l->mutex);
    return goes_on;
}

/* Go to the next epoch; 0, or 1 when there is none, or -1. */
static int next_epoch(struct loader *l, struct planning *g, struct err *e)
{
    if (plan_settings(l->o.plan)->is_sequential)
        return 1;
    if (g->batches == 0)
        return err_set(e, ERR_DATA, "an epoch without a single record: all are deleted");
    g->at = (struct plan_cursor){.epoch = g->at.epoch + 1};
    g->batches = 0;
    return 0;
}

static int check_place(const struct plan_cursor *at, const char *what, int64_t has, int64_t is,
                       struct err *e)
{
    if (is <= has)
        return 0;
    err_set(e, ERR_INTEGRITY, "the data have %lld %s in epoch %lld, the run stands before %lld",
            (long long)has, what, (long long)at->epoch, (long long)is);
    return err_hint(e, "was the run begun with other data?");
}

/* Open the next window: 0, 1 when there is none, -1. */
static int plan_one(struct loader *l, struct planning *g, struct err *e)
{
    const struct plan *p = l->o.plan;
    int64_t windows = plan_windows(p, g->at.epoch);
    if (g->at.window >= windows)
        return check_place(&g->at, "windows", windows, g->at.window, e) ? -1 : next_epoch(l, g, e);
    struct loader_window *w = open_patiently(l, &g->at, g->is_first, e);
    if (!w)
        return -1;
    apply_limit(l, &w->plan);
    if (check_place(&g->at, "batches", w->plan.batches, g->at.batch, e)) {
        loader_window_free(l, w);
        return -1;
    }
    bool is_last = g->at.window + 1 == windows;
    w->after = (struct plan_cursor){g->at.epoch + is_last, is_last ? 0 : g->at.window + 1, 0};
    w->number = l->planned;
    w->next_batch = g->at.batch;
    l->planned += w->plan.count;
    g->batches += w->plan.batches;
    g->steps += w->plan.batches - g->at.batch;
    g->at = (struct plan_cursor){g->at.epoch, g->at.window + 1, 0};
    if (w->next_batch == w->plan.batches) {
        loader_window_free(l, w);
        return 0;
    }
    publish(l, w);
    g->is_first = false;
    const struct plan_options *o = plan_settings(p);
    return o->is_sequential && o->limit > 0 && l->planned >= o->limit;
}

void *loader_plan(void *loader)
{
    struct loader *l = loader;
    struct err e = {0};
    struct planning g = {.at = l->o.from, .steps = l->o.first_step, .is_first = true};
    g.batches = g.at.window > 0 || g.at.batch > 0;
    int rc = 0;
    while (rc == 0 && g.steps < l->o.end_step && wait_for_room(l))
        rc = plan_one(l, &g, &e);
    pthread_mutex_lock(&l->mutex);
    l->is_planned_out = true;
    if (rc < 0)
        l->plan_error = e;
    pthread_cond_broadcast(&l->can_take);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---------------------------------------------------------------- progress -- */

void loader_waiting_for(const struct loader *loader, char *out, size_t size)
{
    struct loader *l = (struct loader *)(uintptr_t)loader;
    int here = 0, count = 0;
    const char *missing = NULL;
    pthread_mutex_lock(&l->mutex);
    const struct loader_window *w = l->current || l->next_in > l->next_out ? NULL : l->opening;
    for (int i = 0; w && i < w->shard_count; i++, count++) {
        const struct window_shard *s = &w->shards[i];
        bool is_here = s->local || !s->is_wanted || spool_has(l->o.spool, s->object);
        here += is_here;
        if (!is_here && !missing)
            missing = s->object->uri;
    }
    out[0] = 0;
    if (missing)
        snprintf(out, size, "shard %d of %d (%s)", here + 1, count, missing);
    pthread_mutex_unlock(&l->mutex);
}
