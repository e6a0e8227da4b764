/* spool_fetch.c - the threads of a spool: they take ranges of what is wanted in the order of
 * wanting, and whoever brings the last range of an object checks it, unpacks it and gives it
 * its name. */
#include "data/spool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/source.h"

/* A range that takes three times as long as nearly all do is asked for a second time. */
#define HEDGE_MIN_S 1.5
#define HEDGE_FACTOR 3.0
#define FIRST_BYTES_PER_S 4e6     /* what is thought of the network before eight ranges are here */
enum {
    TIMES_MIN = 8,
    GOOD_IN_ROW = 16,             /* ranges after which one more may be under way */
    ALLOWED_MIN = 2,
    LOAD_MAX = 64 << 20,          /* bytes of an object whose size nobody knows before */
    GROW_STEP = 16 << 20,         /* space is reserved in such steps while unpacking */
};

enum task_kind { TASK_NONE, TASK_START, TASK_RANGE, TASK_CHECK };

struct task {
    enum task_kind kind;
    struct spool_entry *entry;
    int64_t chunk;
};

/* What became of an object that a thread owned. */
struct outcome {
    enum { CAME_GOOD, CAME_WRONG, NO_ROOM, CAME_TO_NOTHING } kind;
    int64_t size;
    uint32_t crc;
    struct err err;
};

struct worker {
    struct spool *spool;
    char *buffer;
    size_t buffer_size;
};

/* ------------------------------------------------------------------ ranges -- */

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double hedge_after_s(const struct spool *s, size_t size)
{
    double times[SPOOL_TIMES];
    size_t n = s->time_count < SPOOL_TIMES ? (size_t)s->time_count : SPOOL_TIMES;
    if (n < TIMES_MIN)
        return HEDGE_MIN_S + (double)size / FIRST_BYTES_PER_S;
    memcpy(times, s->times, n * sizeof *times);
    qsort(times, n, sizeof *times, by_time);
    double p99 = times[(99 * n + 99) / 100 - 1];
    return HEDGE_FACTOR * p99 > HEDGE_MIN_S ? HEDGE_FACTOR * p99 : HEDGE_MIN_S;
}

static struct net_stats network_now(const struct spool *s)
{
    struct net_stats now;
    net_stats(s->net, &now);
    return now;
}

/* Fewer ranges at once when the service asks for that, slowly more when all goes well. */
static void adapt(struct spool *s, bool is_good)
{
    struct net_stats now = network_now(s);
    if (now.throttled > s->throttled_seen) {
        s->throttled_seen = now.throttled;
        s->allowed = s->allowed / 2 > ALLOWED_MIN ? s->allowed / 2 : ALLOWED_MIN;
        s->allowed = s->allowed < s->connections ? s->allowed : s->connections;
        s->good_in_row = 0;
    } else if (is_good && s->allowed < s->connections && ++s->good_in_row >= GOOD_IN_ROW) {
        s->allowed++;
        s->good_in_row = 0;
    }
}

static int write_range(int fd, const char *data, size_t size, int64_t offset, const char *uri,
                       struct err *e)
{
    while (size) {
        ssize_t n = pwrite(fd, data, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_SPACE : ERR_FAILED,
                           "%s: could not write its local copy: %s", uri, strerror(errno));
        data += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

/* No more ranges of it are begun. */
static void close_ranges(struct spool *s, struct spool_entry *n)
{
    if (n->next_chunk < n->chunks)
        s->open_fetches--;
    n->next_chunk = n->chunks;
}

/* Forget what was fetched of it. */
static void clear_part(struct spool *s, struct spool_entry *n)
{
    char *path = spool_files_part(&s->files, n->key);
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    unlink(path);
    free(path);
    free(n->crcs);
    n->crcs = NULL;
}

/* Back to where it was before it was begun. */
static void start_over(struct spool *s, struct spool_entry *n)
{
    clear_part(s, n);
    spool_settle_space(s, n, 0);
    n->state = SPOOL_WAITING;
    if (!n->holds)
        spool_forget(s, n);
    pthread_cond_broadcast(&s->work);
}

void spool_cancel(struct spool *s, struct spool_entry *n)
{
    close_ranges(s, n);
    if (n->in_flight == 0)
        start_over(s, n);
}

/* ----------------------------------------------------------------- finishing -- */

/* What the callback of an unpacking needs. */
struct growth {
    struct spool *spool;
    struct spool_entry *entry;
    int64_t packed, seen;         /* bytes of the packed copy; of the file so far */
    bool starts_over;             /* without a failure */
};

/* Called before the unpacked file grows. */
static int make_room(void *arg, int64_t bytes, struct err *e)
{
    struct growth *g = arg;
    struct spool *s = g->spool;
    struct spool_entry *n = g->entry;
    int result = 1;
    pthread_mutex_lock(&s->mutex);
    spool_wrote(s, n, bytes - g->seen);
    g->seen = bytes;
    int64_t lacks = bytes - (n->reserved - g->packed);
    if (s->net && net_is_stopped(s->net)) {
        result = err_set(e, ERR_STOPPED, "%s: stopped", n->shown);
    } else if (s->closing || !n->holds) {
        g->starts_over = true;
        result = 0;
    } else if (lacks > 0) {
        int64_t step = n->reserved + GROW_STEP <= s->bytes_max ? GROW_STEP : lacks;
        result = spool_reserve(s, n, step > lacks ? step : lacks, e);
        if (result == 0) {
            /* Others need space, too: give all back, and come again when there is more. */
            g->starts_over = true;
            n->needs = n->reserved < s->bytes_max / 2 ? 2 * n->reserved : s->bytes_max;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return result == 1 ? 0 : -1;
}

static void learn_ratio(struct spool *s, int64_t packed, int64_t unpacked)
{
    pthread_mutex_lock(&s->mutex);
    double ratio = 1.25 * (double)unpacked / (double)(packed > 0 ? packed : 1);
    if (!s->has_ratio || ratio > s->ratio)
        s->ratio = ratio;
    s->has_ratio = true;
    pthread_mutex_unlock(&s->mutex);
}

/* Unpack `from`, a local file or our part; a part goes away. */
static int unpack(struct spool *s, struct spool_entry *n, enum unpack_kind kind, const char *from,
                  const char *to, int64_t packed, struct outcome *o)
{
    struct growth g = {.spool = s, .entry = n, .packed = n->local ? 0 : packed};
    struct unpack_job job = {
        .kind = kind, .name = n->shown, .from = from, .to = to, .room = make_room, .arg = &g};
    struct unpack_result r;
    int failed = unpack_file(&job, &r, &o->err);
    if (!n->local)
        unlink(from);
    if (failed) {
        unlink(to);
        o->kind = g.starts_over ? NO_ROOM : CAME_TO_NOTHING;
        return -1;
    }
    learn_ratio(s, packed, r.size);
    o->size = r.size;
    o->crc = r.crc32c;
    return 0;
}

/* From the checked part (or local file) to the file that everybody reads. */
static void complete(struct spool *s, struct spool_entry *n, bool is_decoded, struct outcome *o)
{
    enum unpack_kind by_name = unpack_kind(n->object.uri);
    char *part = n->local ? xstrdup(n->local) : spool_files_part(&s->files, n->key);
    char *unpacked = spool_files_unpacked(&s->files, n->key);
    const char *from = part;
    int failed = 0;
    if (n->object.is_gzip && !is_decoded) {
        failed = unpack(s, n, UNPACK_GZIP, part, unpacked, o->size, o);
        from = unpacked;
        is_decoded = true;
    }
    /* What was sent with a coding is often named .gz for just that. */
    if (!failed && by_name != UNPACK_NONE &&
        (!is_decoded || unpack_kind_of_file(from) == by_name)) {
        if (from == unpacked)
            failed = rename(unpacked, part)
                         ? err_set(&o->err, ERR_FAILED, "%s: %s", unpacked, strerror(errno))
                         : 0;
        from = unpacked;
        failed = failed || unpack(s, n, by_name, part, unpacked, o->size, o);
    }
    if (!failed) {
        char *data = spool_files_data(&s->files, n->key, o->crc);
        if (rename(from, data))
            failed = err_set(&o->err, ERR_FAILED, "%s: %s", data, strerror(errno));
        free(data);
    }
    if (failed && o->kind == CAME_GOOD)
        o->kind = CAME_TO_NOTHING;
    free(part);
    free(unpacked);
}

/* All ranges are here: are they the object? */
static void check_ranges(struct spool *s, struct spool_entry *n, struct outcome *o)
{
    char *part = spool_files_part(&s->files, n->key);
    o->size = n->object.size;
    for (int64_t i = 0; i < n->chunks; i++) {
        int64_t left = o->size - i * SPOOL_CHUNK;
        o->crc =
            crc32c_combine(o->crc, n->crcs[i], (uint64_t)(left < SPOOL_CHUNK ? left : SPOOL_CHUNK));
    }
    if (close(n->fd))
        err_set(&o->err, ERR_SPACE, "%s: could not write its local copy: %s", n->shown,
                strerror(errno));
    n->fd = -1;
    if (o->err.kind || store_verify(&n->object, part, o->crc, &o->err))
        o->kind = o->err.kind == ERR_INTEGRITY ? CAME_WRONG : CAME_TO_NOTHING;
    free(part);
}

/* The state that follows; the entry may be gone afterwards.  With the mutex held. */
static void settle(struct spool *s, struct spool_entry *n, const struct outcome *o)
{
    free(n->crcs);
    n->crcs = NULL;
    if (o->kind == CAME_GOOD) {
        n->tries = 0;
        spool_set_here(s, n, o->size, o->crc);
        return;
    }
    bool is_again = o->kind == NO_ROOM || (o->kind == CAME_WRONG && ++n->tries < SPOOL_TRIES);
    clear_part(s, n);
    if (!n->holds || is_again) {
        s->stats.refetched += o->kind == CAME_WRONG;
        start_over(s, n);
    } else {
        spool_set_failed(s, n, &o->err);
    }
}

/* The last range is here; called and left with the mutex held. */
static void finish(struct spool *s, struct spool_entry *n)
{
    struct outcome o = {0};
    n->state = SPOOL_FINISHING;
    pthread_mutex_unlock(&s->mutex);
    check_ranges(s, n, &o);
    if (o.kind == CAME_GOOD)
        complete(s, n, false, &o);
    pthread_mutex_lock(&s->mutex);
    s->stats.fetched += o.kind == CAME_GOOD;
    settle(s, n, &o);
}

/* No range of it is under way any more, and none will be. */
static void end_ranges(struct spool *s, struct spool_entry *n)
{
    if (n->err.kind && n->holds) {
        struct err e = n->err;
        clear_part(s, n);
        spool_set_failed(s, n, &e);
    } else if (n->err.kind || !n->holds || n->good_chunks < n->chunks || s->closing) {
        n->err = (struct err){0};
        start_over(s, n);
    } else {
        finish(s, n);
    }
}

static void fetch_range(struct worker *w, const struct task *t)
{
    struct spool *s = w->spool;
    struct spool_entry *n = t->entry;
    int64_t offset = t->chunk * SPOOL_CHUNK, left = n->object.size - offset;
    size_t size = (size_t)(left < SPOOL_CHUNK ? left : SPOOL_CHUNK);
    double hedge_s = hedge_after_s(s, size);
    pthread_mutex_unlock(&s->mutex);
    if (size > w->buffer_size) {
        free(w->buffer);
        w->buffer = xmalloc(size);
        w->buffer_size = size;
    }
    struct err e = {0};
    uint32_t crc = 0;
    int64_t retries = network_now(s).retries;
    double begun = clock_seconds();
    int failed = store_read(s->net, &n->object, offset, w->buffer, size, hedge_s, &crc, &e);
    double took = clock_seconds() - begun;
    if (!failed)
        failed = write_range(n->fd, w->buffer, size, offset, n->shown, &e);
    pthread_mutex_lock(&s->mutex);
    s->active--;
    n->in_flight--;
    if (failed) {
        if (!n->err.kind)
            n->err = e;
        close_ranges(s, n);
    } else {
        n->crcs[t->chunk] = crc;
        n->good_chunks++;
        s->stats.fetched_bytes += (int64_t)size;
        /* How long a range takes when nothing goes wrong. */
        if (size == SPOOL_CHUNK && network_now(s).retries == retries)
            s->times[s->time_count++ % SPOOL_TIMES] = took;
        spool_wrote(s, n, (int64_t)size);
    }
    adapt(s, !failed);
    if (n->in_flight == 0 && n->next_chunk == n->chunks)
        end_ranges(s, n);
    pthread_cond_broadcast(&s->work);
}

/* ------------------------------------------------------------------ starting -- */

static int open_part(struct spool *s, struct spool_entry *n, struct err *e)
{
    char *path = spool_files_part(&s->files, n->key);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0 || ftruncate(fd, (off_t)n->object.size)) {
        err_set(e, errno == ENOSPC ? ERR_SPACE : ERR_FAILED, "%s: could not make it: %s", path,
                strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(path);
    n->fd = fd;
    return fd < 0 ? -1 : 0;
}

/* An object of unknown size comes in one piece. */
static void load(struct spool *s, struct spool_entry *n, struct outcome *o)
{
    size_t size = 0;
    struct object found;
    object_copy(&found, &n->object);
    int64_t max = LOAD_MAX < s->bytes_max ? LOAD_MAX : s->bytes_max;
    char *bytes = store_load(s->net, &found, max, &size, &o->err);
    char *part = spool_files_part(&s->files, n->key);
    int fd = bytes ? open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    if (bytes && fd < 0)
        err_set(&o->err, ERR_FAILED, "%s: could not make it: %s", part, strerror(errno));
    if (fd >= 0) {
        int failed = write_range(fd, bytes, size, 0, n->shown, &o->err);
        if (close(fd) && !failed)
            err_set(&o->err, ERR_SPACE, "%s: could not write it: %s", part, strerror(errno));
    }
    o->size = (int64_t)size;
    o->crc = bytes ? crc32c(0, bytes, size) : 0;
    if (o->err.kind)
        o->kind = CAME_TO_NOTHING;
    else
        complete(s, n, found.is_gzip, o);
    free(part);
    free(bytes);
    object_release(&found);
    pthread_mutex_lock(&s->mutex);
    s->stats.fetched_bytes += (int64_t)size;
    s->stats.fetched += o->kind == CAME_GOOD;
    pthread_mutex_unlock(&s->mutex);
}

static void unpack_local(struct spool *s, struct spool_entry *n, struct outcome *o)
{
    uint64_t size = 0;
    if (file_size(n->local, &size, &o->err))
        o->err.kind = ERR_DATA;
    else if (n->object.size >= 0 && (int64_t)size != n->object.size)
        err_set(&o->err, ERR_INTEGRITY,
                "%s: changed while in use, had %" PRId64 " bytes, now %" PRIu64, n->local,
                n->object.size, size);
    o->size = (int64_t)size;
    if (o->err.kind)
        o->kind = CAME_TO_NOTHING;
    else
        complete(s, n, false, o);
}

/* Space is reserved: make ready for the ranges, or do it all when there are none. */
static void start(struct spool *s, struct spool_entry *n)
{
    struct outcome o = {0};
    bool is_whole = n->local || n->object.size < 0;
    struct object facts = {0};
    pthread_mutex_unlock(&s->mutex);
    if (n->local) {
        unpack_local(s, n, &o);
    } else if (n->object.size < 0) {
        load(s, n, &o);
    } else {
        object_copy(&facts, &n->object);
        if (store_complete(s->net, &facts, &o.err) || open_part(s, n, &o.err))
            o.kind = CAME_TO_NOTHING;
    }
    pthread_mutex_lock(&s->mutex);
    s->active--;
    if (is_whole || o.kind != CAME_GOOD) {
        object_release(&facts);
        settle(s, n, &o);
        return;
    }
    object_release(&n->object);
    n->object = facts;
    n->chunks = (facts.size + SPOOL_CHUNK - 1) / SPOOL_CHUNK;
    n->next_chunk = n->good_chunks = 0;
    n->crcs = xcalloc((size_t)n->chunks + 1, sizeof *n->crcs);
    n->state = SPOOL_FETCHING;
    if (n->chunks)
        s->open_fetches++;
    if (!n->holds)
        spool_cancel(s, n);
    else if (!n->chunks)
        end_ranges(s, n);
    pthread_cond_broadcast(&s->work);
}

static bool is_closing(void *arg)
{
    struct spool *s = arg;
    pthread_mutex_lock(&s->mutex);
    bool result = s->closing;
    pthread_mutex_unlock(&s->mutex);
    return result;
}

/* Is what an earlier process left what it should be? */
static void check_left(struct spool *s, struct spool_entry *n)
{
    char *path = spool_files_data(&s->files, n->key, n->crc);
    const struct object *o = &n->object;
    struct err e = {0};
    uint32_t crc = 0, expected = n->crc;
    int64_t size = 0;
    n->state = SPOOL_FINISHING;
    pthread_mutex_unlock(&s->mutex);
    bool is_good = spool_files_sum(path, &crc, &size, is_closing, s, &e) == 0 && crc == expected;
    if (n->packing == UNPACK_NONE)
        is_good =
            is_good && (o->size < 0 || size == o->size) && (!o->has_crc32c || crc == o->crc32c);
    free(path);
    pthread_mutex_lock(&s->mutex);
    if (is_good) {
        s->stats.reused++;
        spool_set_here(s, n, size, crc);
        return;
    }
    if (!s->closing) {
        log_debug("%s: its file in the cache is damaged, fetching it again", n->shown);
        spool_drop_file(s, n);
    }
    n->state = SPOOL_WAITING;
    if (!n->holds)
        spool_forget(s, n);
}

/* ------------------------------------------------------------------- threads -- */

/* Take over what an earlier process left. */
static void add_left(struct spool *s, const struct spool_left *left, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct spool_entry *n = spool_find(s, left[i].key);
        if (n && n->state != SPOOL_WAITING)
            continue;
        bool is_new = !n;
        if (is_new)
            n = spool_new_entry(s, left[i].key);
        n->state = SPOOL_LEFT;
        n->crc = left[i].crc;
        n->size = left[i].size;
        spool_settle_space(s, n, n->size);
        if (is_new)
            spool_idle(s, n);
    }
    while (s->stats.disk_bytes > s->bytes_max && s->idle_first) {
        struct spool_entry *n = s->idle_first;
        spool_drop_file(s, n);
        spool_forget(s, n);
    }
    s->stats.disk_peak = s->stats.disk_bytes;
}

/* The folder is opened by the first thread, so that wanting never waits for a disk. */
static void set_up(struct spool *s)
{
    struct spool_left *left = NULL;
    size_t count = 0;
    struct spool_files files;
    struct err e = {0};
    s->setup = SETUP_RUNNING;
    pthread_mutex_unlock(&s->mutex);
    int failed = spool_files_open(&files, s->dir, s->keeps, &left, &count, &e);
    pthread_mutex_lock(&s->mutex);
    s->files = files;
    s->setup = failed ? SETUP_FAILED : SETUP_DONE;
    s->setup_err = e;
    if (!failed)
        add_left(s, left, count);
    free(left);
    pthread_cond_broadcast(&s->work);
}

/* Nothing can be done for what waits. */
static void fail_waiting(struct spool *s)
{
    struct err e = s->setup_err;
    if (!e.kind)
        err_set(&e, ERR_STOPPED, "stopped");
    for (struct spool_entry *n = s->queue_first, *behind; n; n = behind) {
        behind = n->behind;
        if (n->state == SPOOL_WAITING)
            spool_set_failed(s, n, &e);
    }
}

/* An entry whose turn it is to begin: does it get its space?  Sets `is_short` when it has to
 * wait. */
static bool begin(struct spool *s, struct spool_entry *n, struct task *t, bool *is_short)
{
    struct err e = {0};
    if (!n->local && !s->net)
        err_set(&e, ERR_DATA, "%s: cannot be read without a network", n->shown);
    int got = e.kind ? -1 : spool_reserve(s, n, spool_need(s, n), &e);
    if (got < 0)
        spool_set_failed(s, n, &e);
    *is_short = got == 0;
    if (got != 1)
        return false;
    n->state = SPOOL_FINISHING;
    n->err = (struct err){0};
    *t = (struct task){TASK_START, n, 0};
    return true;
}

/* The first thing in the queue that a thread can do. */
static bool next_task(struct spool *s, struct task *t)
{
    bool is_short = false, may_fetch = s->active < s->allowed;
    for (struct spool_entry *n = s->queue_first, *behind; n; n = behind) {
        behind = n->behind;
        if (n->state == SPOOL_LEFT) {
            *t = (struct task){TASK_CHECK, n, 0};
            return true;
        }
        if (n->state == SPOOL_FETCHING && may_fetch && n->next_chunk < n->chunks) {
            *t = (struct task){TASK_RANGE, n, n->next_chunk++};
            s->open_fetches -= n->next_chunk == n->chunks;
            n->in_flight++;
            return true;
        }
        if (n->state == SPOOL_WAITING && may_fetch && !is_short && s->open_fetches == 0 &&
            begin(s, n, t, &is_short))
            return true;
        if (!may_fetch || (is_short && s->open_fetches == 0))
            return false;
    }
    return false;
}

static void wait_for_work(struct spool *s)
{
    /* While something waits, look now and then: space on the disk may come, the network be
     * stopped. */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    if (s->queue_first && s->setup != SETUP_RUNNING)
        pthread_cond_timedwait(&s->work, &s->mutex, &until);
    else
        pthread_cond_wait(&s->work, &s->mutex);
}

void *spool_work(void *arg)
{
    struct worker w = {.spool = arg};
    struct spool *s = arg;
    pthread_mutex_lock(&s->mutex);
    if (s->setup == SETUP_NOT)
        set_up(s);
    while (!s->closing) {
        struct task t = {0};
        if (s->setup == SETUP_FAILED || (s->net && net_is_stopped(s->net)))
            fail_waiting(s);
        if (s->setup != SETUP_DONE || !next_task(s, &t)) {
            wait_for_work(s);
            continue;
        }
        s->active += t.kind != TASK_CHECK;
        if (t.kind == TASK_RANGE)
            fetch_range(&w, &t);
        else if (t.kind == TASK_START)
            start(s, t.entry);
        else
            check_left(s, t.entry);
    }
    pthread_mutex_unlock(&s->mutex);
    free(w.buffer);
    return NULL;
}
