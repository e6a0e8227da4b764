/* loader.c - see loader.h.
 *
 * A ring of `ahead` slots holds the steps next_out .. next_out + ahead - 1.  A thread takes the
 * lowest step that nobody has begun, makes it without any lock, and marks its slot ready; the
 * caller takes steps out in order.  One mutex guards all state that threads share:
 *
 *     next_out <= next_in <= next_out + ahead       next_in: the lowest step not begun
 *     slot (s mod ahead) belongs to the thread that makes s, from taking s until it is ready,
 *     and to the caller after that
 */
#include "data/loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "data/collate.h"

enum { BAD_SHOWN = 5, BAD_SHOWN_BYTES = 130 };
#define STACK_BYTES ((size_t)4 << 20)

struct slot {
    bool is_ready;
    struct loader_step step;              /* without `bad` and `waited_s` */
    struct loader_bad *bad;               /* [bad_count], in the order of the records */
    int bad_count;
    int records;                          /* of the plan */
    struct err error;                     /* what no record is to blame for */
};

struct loader {
    struct loader_options o;
    pthread_t threads[LOADER_THREADS_MAX];
    int thread_count;

    pthread_mutex_t mutex;                /* guards what follows, up to the next gap */
    pthread_cond_t can_make, can_take;
    int64_t next_out, next_in;
    struct slot *slots;                   /* [o.ahead] */
    bool is_stopped;

    /* The caller's own. */
    uint8_t *is_bad;                      /* a bit for each record of the manifest */
    struct loader_bad bad[LOADER_BAD_KEPT];
    int bad_kept;
    int64_t bad_count;                    /* distinct records */
    int64_t taken;                        /* records handed out or found bad, repeats included */
    int64_t fruitless;                    /* of these, how many since the last good one */
};

/* ----------------------------------------------------------------- making -- */

static bool is_stopped(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    bool stopped = l->is_stopped;
    pthread_mutex_unlock(&l->mutex);
    return stopped;
}

/* Collate the samples of each micro-batch; `part` says to which one a sample belongs. */
static void fill_micros(struct loader *l, struct loader_step *step, const struct sample *samples,
                        const int *part, int count)
{
    step->micros = xcalloc((size_t)l->o.micros, sizeof *step->micros);
    for (int i = 0; i < count;) {
        int n = 1;
        while (i + n < count && part[i + n] == part[i])
            n++;
        struct batch *b = &step->micros[step->count++];
        collate(b, l->o.format, samples + i, n);
        step->supervised += b->supervised;
        step->total += b->total;
        step->audio_s += b->audio_s;
        i += n;
    }
}

static void make_step(struct loader *l, struct slot *slot)
{
    int batch = l->o.plan->batch;
    int64_t *records = xcalloc((size_t)batch, sizeof *records);
    struct sample *samples = xcalloc((size_t)batch, sizeof *samples);
    int *part = xcalloc((size_t)batch, sizeof *part);
    int n = plan_step(l->o.plan, slot->step.step, records), good = 0;
    slot->records = n;
    slot->bad = xcalloc((size_t)batch, sizeof *slot->bad);
    for (int i = 0; i < n && !slot->error.kind && !is_stopped(l); i++) {
        struct err e = {0};
        if (sample_load(&samples[good], l->o.format, l->o.manifest, records[i], l->o.purpose, &e) ==
            0)
            part[good++] = (int)((int64_t)i * l->o.micros / n);
        else if (e.kind == ERR_DATA)
            slot->bad[slot->bad_count++] = (struct loader_bad){records[i], xstrdup(e.text)};
        else
            slot->error = e;
    }
    fill_micros(l, &slot->step, samples, part, good);
    for (int i = 0; i < good; i++)
        sample_release(&samples[i]);
    free(part);
    free(samples);
    free(records);
}

static void *work(void *arg)
{
    struct loader *l = arg;
    pthread_mutex_lock(&l->mutex);
    for (;;) {
        while (!l->is_stopped && l->next_in < l->o.end_step &&
               l->next_in >= l->next_out + l->o.ahead)
            pthread_cond_wait(&l->can_make, &l->mutex);
        if (l->is_stopped || l->next_in >= l->o.end_step)
            break;
        struct slot *slot = &l->slots[l->next_in % l->o.ahead];
        slot->step.step = l->next_in++;
        pthread_mutex_unlock(&l->mutex);
        make_step(l, slot);
        pthread_mutex_lock(&l->mutex);
        slot->is_ready = true;
        pthread_cond_broadcast(&l->can_take);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---------------------------------------------------------------- opening -- */

static int between(int n, int low, int high)
{
    return n < low ? low : n > high ? high : n;
}

static void start_threads(struct loader *l, struct err *e)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (; l->thread_count < l->o.threads; l->thread_count++) {
        int failed = pthread_create(&l->threads[l->thread_count], &attributes, work, l);
        /* One is enough to go on with. */
        if (failed && l->thread_count == 0)
            err_set(e, ERR_SPACE, "cannot start a thread: %s", strerror(failed));
        if (failed)
            break;
    }
    pthread_attr_destroy(&attributes);
}

/* A thread prepares one step at a time: more than are made ahead would have nothing to do. */
static int useful_threads(int ahead)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < ahead ? (int)cores : ahead;
}

struct loader *loader_open(const struct loader_options *o, struct err *e)
{
    if (o->plan->count < 1 || o->plan->count > o->manifest->count || o->plan->batch < 1) {
        err_set(e, ERR_BUG, "a plan of %lld records in steps of %d for a manifest of %lld",
                (long long)o->plan->count, o->plan->batch, (long long)o->manifest->count);
        return NULL;
    }
    struct loader *l = xcalloc(1, sizeof *l);
    l->o = *o;
    l->o.micros = between(o->micros, 1, o->plan->batch);
    l->o.ahead = between(o->ahead > 0 ? o->ahead : 2, 1, LOADER_AHEAD_MAX);
    int threads = o->threads > 0 ? o->threads : useful_threads(l->o.ahead);
    l->o.threads = between(threads, 1, LOADER_THREADS_MAX);
    if (o->plan->is_sequential && (o->end_step <= 0 || o->end_step > plan_steps(o->plan)))
        l->o.end_step = plan_steps(o->plan);
    l->next_in = l->next_out = o->first_step;
    l->slots = xcalloc((size_t)l->o.ahead, sizeof *l->slots);
    l->is_bad = xcalloc((size_t)o->plan->count / 8 + 1, 1);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->can_make, NULL);
    pthread_cond_init(&l->can_take, NULL);
    start_threads(l, e);
    if (e->kind) {
        loader_close(l);
        return NULL;
    }
    return l;
}

static void slot_release(struct slot *s)
{
    loader_step_release(&s->step);
    for (int i = 0; i < s->bad_count; i++)
        free(s->bad[i].text);
    free(s->bad);
    memset(s, 0, sizeof *s);
}

void loader_close(struct loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->mutex);
    l->is_stopped = true;
    pthread_cond_broadcast(&l->can_make);
    pthread_mutex_unlock(&l->mutex);
    for (int i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    for (int i = 0; i < l->o.ahead; i++)
        slot_release(&l->slots[i]);
    for (int i = 0; i < l->bad_kept; i++)
        free(l->bad[i].text);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->can_make);
    pthread_cond_destroy(&l->can_take);
    free(l->slots);
    free(l->is_bad);
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

/* ------------------------------------------------------------ bad records -- */

/* Note a bad record; returns whether it is a new one. */
static bool note_bad(struct loader *l, const struct loader_bad *bad)
{
    uint8_t *byte = &l->is_bad[bad->record / 8], bit = (uint8_t)(1u << (bad->record % 8));
    if (*byte & bit)
        return false;
    *byte |= bit;
    l->bad_count++;
    if (l->bad_kept < LOADER_BAD_KEPT)
        l->bad[l->bad_kept++] = (struct loader_bad){bad->record, xstrdup(bad->text)};
    return true;
}

/* The first few bad records, shortened, in one line. */
static void list_bad(const struct loader *l, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < l->bad_kept && i < BAD_SHOWN && used < size; i++) {
        const char *text = l->bad[i].text;
        bool is_long = strlen(text) > BAD_SHOWN_BYTES;
        used += (size_t)snprintf(out + used, size - used, "%s%.*s%s", i ? "; " : "",
                                 is_long ? BAD_SHOWN_BYTES : (int)strlen(text), text,
                                 is_long ? "..." : "");
    }
}

/* Fail when more records are bad than may be. */
static int check_bad(const struct loader *l, struct err *e)
{
    int64_t seen = l->taken < l->o.plan->count ? l->taken : l->o.plan->count;
    int64_t fraction = (int64_t)(l->o.bad_fraction * (double)seen);
    int64_t allowed = fraction > l->o.bad_min ? fraction : l->o.bad_min;
    bool is_fruitless = l->fruitless >= l->o.plan->count;
    if (l->bad_count <= allowed && !is_fruitless)
        return 0;
    char list[700];
    list_bad(l, list, sizeof list);
    if (is_fruitless)
        err_set(e, ERR_DATA, "none of the %lld records can be used: %s",
                (long long)l->o.plan->count, list);
    else
        err_set(e, ERR_DATA, "%lld of %lld records are bad, %lld may be: %s",
                (long long)l->bad_count, (long long)seen, (long long)allowed, list);
    return err_hint(e, "mend or remove them; bad_fraction and bad_min say how many are tolerated");
}

int64_t loader_bad_count(const struct loader *l)
{
    return l->bad_count;
}

const struct loader_bad *loader_bad_records(const struct loader *l, int *kept)
{
    *kept = l->bad_kept;
    return l->bad;
}

/* ----------------------------------------------------------------- taking -- */

/* Wait for the next slot; it is the caller's until release_slot. */
static struct slot *wait_for_slot(struct loader *l, double *waited_s)
{
    double begin = clock_seconds();
    pthread_mutex_lock(&l->mutex);
    struct slot *slot = &l->slots[l->next_out % l->o.ahead];
    while (!slot->is_ready)
        pthread_cond_wait(&l->can_take, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
    *waited_s = clock_seconds() - begin;
    return slot;
}

static void release_slot(struct loader *l, struct slot *slot)
{
    slot_release(slot);
    pthread_mutex_lock(&l->mutex);
    l->next_out++;
    pthread_cond_signal(&l->can_make);
    pthread_mutex_unlock(&l->mutex);
}

int loader_next(struct loader *l, struct loader_step *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    if (l->next_out >= l->o.end_step)
        return 0;
    double waited_s;
    struct slot *slot = wait_for_slot(l, &waited_s);
    if (slot->error.kind) {
        *e = slot->error;
        return -1;
    }
    *s = slot->step;
    memset(&slot->step, 0, sizeof slot->step);
    s->waited_s = waited_s;
    s->bad = xcalloc((size_t)slot->bad_count + 1, sizeof *s->bad);
    for (int i = 0; i < slot->bad_count; i++)
        if (note_bad(l, &slot->bad[i]))
            s->bad[s->bad_count++] = xstrdup(slot->bad[i].text);
    l->taken += slot->records;
    l->fruitless = s->count ? 0 : l->fruitless + slot->records;
    release_slot(l, slot);
    if (check_bad(l, e)) {
        loader_step_release(s);
        return -1;
    }
    return 1;
}
