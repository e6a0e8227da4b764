/* spool.c - see spool.h: what its users call, and the list of what is wanted. */
#include "data/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/source.h"
#include "data/spool_parts.h"

#define BYTES_MAX_DEFAULT ((int64_t)4 << 30)
/* A guess at how much larger files are when unpacked, until some have been seen. */
#define RATIO_GUESS 4.0

/* ----------------------------------------------------------------- entries -- */

/* May a later process take a file for this object's?  Only when something tells its versions
 * apart. */
static bool is_pinned(const struct object *o)
{
    return !source_local_path(o->uri) && (o->version[0] || o->has_crc32c || o->digest[0]);
}

/* 32 digits of what makes an object's bytes the ones they are. */
static void key_of(const struct spool *s, const struct object *o, char key[SPOOL_KEY_SIZE])
{
    char facts[64], hex[HASH_HEX_SIZE];
    unsigned char digest[HASH_SIZE];
    int n = snprintf(facts, sizeof facts, "%" PRId64 " %d %08x %d", o->size, o->has_crc32c,
                     o->has_crc32c ? (unsigned)o->crc32c : 0, o->is_gzip);
    struct hash *h = hash_new();
    hash_add(h, o->uri, strlen(o->uri) + 1);
    hash_add(h, o->version, strlen(o->version) + 1);
    hash_add(h, o->digest, strlen(o->digest) + 1);
    hash_add(h, facts, (size_t)n);
    if (!is_pinned(o))
        hash_add(h, s->nonce, strlen(s->nonce));
    hash_end(h, digest);
    hash_free(h);
    hash_hex(digest, hex);
    memcpy(key, hex, SPOOL_KEY_SIZE - 1);
    key[SPOOL_KEY_SIZE - 1] = 0;
}

static struct spool_entry **bucket_of(struct spool *s, const char *key)
{
    char head[4] = {key[0], key[1], key[2], 0};
    return &s->buckets[strtoul(head, NULL, 16) % SPOOL_BUCKETS];
}

struct spool_entry *spool_find(struct spool *s, const char *key)
{
    struct spool_entry *n = *bucket_of(s, key);
    while (n && strcmp(n->key, key) != 0)
        n = n->in_bucket;
    return n;
}

struct spool_entry *spool_new_entry(struct spool *s, const char *key)
{
    struct spool_entry *n = xcalloc(1, sizeof *n), **bucket = bucket_of(s, key);
    memcpy(n->key, key, SPOOL_KEY_SIZE);
    n->fd = -1;
    n->in_bucket = *bucket;
    *bucket = n;
    return n;
}

static void free_entry(struct spool_entry *n)
{
    if (n->fd >= 0)
        close(n->fd);
    object_release(&n->object);
    free(n->shown);
    free(n->crcs);
    free(n);
}

/* -------------------------------------------------------------------- lists -- */

static void unlink_entry(struct spool_entry **first, struct spool_entry **last,
                         struct spool_entry *n)
{
    *(n->before ? &n->before->behind : first) = n->behind;
    *(n->behind ? &n->behind->before : last) = n->before;
    n->before = n->behind = NULL;
}

void spool_enqueue(struct spool *s, struct spool_entry *n)
{
    struct spool_entry *before = s->queue_last;
    while (before && before->turn > n->turn)
        before = before->before;
    n->before = before;
    n->behind = before ? before->behind : s->queue_first;
    *(before ? &before->behind : &s->queue_first) = n;
    *(n->behind ? &n->behind->before : &s->queue_last) = n;
    n->is_queued = true;
    s->stats.pending++;
}

void spool_dequeue(struct spool *s, struct spool_entry *n)
{
    if (!n->is_queued)
        return;
    unlink_entry(&s->queue_first, &s->queue_last, n);
    n->is_queued = false;
    s->stats.pending--;
}

void spool_idle(struct spool *s, struct spool_entry *n)
{
    n->before = s->idle_last;
    *(s->idle_last ? &s->idle_last->behind : &s->idle_first) = n;
    s->idle_last = n;
    n->is_idle = true;
    pthread_cond_broadcast(&s->work);     /* its space may be had */
}

static void leave_idle(struct spool *s, struct spool_entry *n)
{
    if (n->is_idle)
        unlink_entry(&s->idle_first, &s->idle_last, n);
    n->is_idle = false;
}

void spool_forget(struct spool *s, struct spool_entry *n)
{
    leave_idle(s, n);
    spool_dequeue(s, n);
    n->state = SPOOL_WAITING;
    if (n->takers)
        return;
    struct spool_entry **at = bucket_of(s, n->key);
    while (*at != n)
        at = &(*at)->in_bucket;
    *at = n->in_bucket;
    free_entry(n);
}

void spool_set_here(struct spool *s, struct spool_entry *n, int64_t size, uint32_t crc)
{
    spool_dequeue(s, n);
    n->state = SPOOL_HERE;
    n->size = size;
    n->crc = crc;
    n->needs = 0;
    spool_settle_space(s, n, size);
    if (!n->holds)
        spool_idle(s, n);
    pthread_cond_broadcast(&s->changed);
    pthread_cond_broadcast(&s->work);
}

void spool_set_failed(struct spool *s, struct spool_entry *n, const struct err *e)
{
    spool_dequeue(s, n);
    spool_settle_space(s, n, 0);
    n->state = SPOOL_FAILED;
    n->err = *e;
    if (!n->holds)
        spool_forget(s, n);
    pthread_cond_broadcast(&s->changed);
    pthread_cond_broadcast(&s->work);
}

/* ---------------------------------------------------------- open and close -- */

struct spool *spool_open(const struct spool_options *o, struct err *e)
{
    if (o->bytes_max < 0) {
        err_set(e, ERR_USAGE, "`disk` is %" PRId64 " bytes, expected more than 0", o->bytes_max);
        return NULL;
    }
    struct spool *s = xcalloc(1, sizeof *s);
    s->net = o->net ? net_branch(o->net) : NULL;
    s->dir = o->dir && *o->dir ? xstrdup(o->dir) : spool_default_dir();
    s->bytes_max = o->bytes_max ? o->bytes_max : BYTES_MAX_DEFAULT;
    s->keeps = o->keeps;
    s->connections = o->connections > 0 ? o->connections
                     : o->net           ? net_settings(o->net)->connections
                                        : 2;
    if (s->connections > NET_CONNECTIONS_MAX)
        s->connections = NET_CONNECTIONS_MAX;
    s->allowed = s->connections;
    s->ratio = RATIO_GUESS;
    s->files.lock = -1;
    snprintf(s->nonce, sizeof s->nonce, "%ld %.9f", (long)getpid(), clock_seconds());
    s->buckets = xcalloc(SPOOL_BUCKETS, sizeof *s->buckets);
    s->threads = xcalloc((size_t)s->connections, sizeof *s->threads);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->changed, NULL);
    return s;
}

/* Its file stays only when it is whole and worth it. */
static void close_entry(struct spool *s, struct spool_entry *n)
{
    bool is_file = n->state == SPOOL_HERE || n->state == SPOOL_LEFT;
    if (is_file && n->object.uri && !is_pinned(&n->object))
        spool_drop_file(s, n);
    if (n->state == SPOOL_FETCHING) {
        char *path = spool_files_part(&s->files, n->key);
        unlink(path);
        free(path);
    }
    free_entry(n);
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->changed);
    while (s->inside)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    if (s->net)
        net_stop(s->net);
    for (int i = 0; i < s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    for (int i = 0; i < SPOOL_BUCKETS; i++) {
        for (struct spool_entry *n = s->buckets[i], *next; n; n = next) {
            next = n->in_bucket;
            close_entry(s, n);
        }
    }
    spool_files_close(&s->files);
    net_close(s->net);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mutex);
    free(s->buckets);
    free(s->threads);
    free(s->dir);
    free(s);
}

/* The threads come with the first object that needs them. */
static void start_threads(struct spool *s)
{
    while (s->thread_count < s->connections &&
           pthread_create(&s->threads[s->thread_count], NULL, spool_work, s) == 0)
        s->thread_count++;
}

/* ---------------------------------------------------------- want and give -- */

/* A local file that is used where it lies? */
static const char *in_place(const struct object *o)
{
    return unpack_kind(o->uri) == UNPACK_NONE && !o->is_gzip ? source_local_path(o->uri) : NULL;
}

static void want_again(struct spool *s, struct spool_entry *n)
{
    leave_idle(s, n);
    n->holds++;
    if (n->state == SPOOL_HERE && n->holds == 1) {
        s->stats.reused++;
        n->turn = ++s->turns;
    } else if (n->state == SPOOL_LEFT && !n->is_queued) {
        n->turn = ++s->turns;
        spool_enqueue(s, n);
    } else if (n->state == SPOOL_WAITING && !n->is_queued) {
        spool_enqueue(s, n);
    }
}

void spool_want(struct spool *s, const struct object *o)
{
    char key[SPOOL_KEY_SIZE];
    if (in_place(o))
        return;
    key_of(s, o, key);
    pthread_mutex_lock(&s->mutex);
    struct spool_entry *n = spool_find(s, key);
    bool is_new = !n;
    if (is_new)
        n = spool_new_entry(s, key);
    if (!n->object.uri) {
        object_copy(&n->object, o);
        n->shown = store_shown(o->uri);
        n->local = source_local_path(n->object.uri);
        n->packing = o->is_gzip ? UNPACK_GZIP : unpack_kind(o->uri);
    }
    if (is_new) {
        n->state = SPOOL_WAITING;
        n->holds = 1;
        n->turn = ++s->turns;
        spool_enqueue(s, n);
    } else {
        want_again(s, n);
    }
    start_threads(s);
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->mutex);
}

/* Keep the order of use for later processes. */
static void mark_used(const struct spool *s, const struct spool_entry *n)
{
    if (!s->files.keeps)
        return;
    char *path = spool_files_data(&s->files, n->key, n->crc);
    if (utimensat(AT_FDCWD, path, NULL, 0))
        errno = 0;
    free(path);
}

/* Nobody wants it any more. */
static void unwanted(struct spool *s, struct spool_entry *n)
{
    n->taken = 0;
    switch (n->state) {
    case SPOOL_HERE:
        mark_used(s, n);
        spool_idle(s, n);
        break;
    case SPOOL_LEFT:
        spool_dequeue(s, n);
        spool_idle(s, n);
        break;
    case SPOOL_WAITING:
    case SPOOL_FAILED: spool_forget(s, n); break;
    case SPOOL_FETCHING: spool_cancel(s, n); break;
    case SPOOL_FINISHING: /* the thread that owns it sees it */ break;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_cond_broadcast(&s->work);
}

void spool_give(struct spool *s, const struct object *o)
{
    char key[SPOOL_KEY_SIZE];
    if (in_place(o))
        return;
    key_of(s, o, key);
    pthread_mutex_lock(&s->mutex);
    struct spool_entry *n = spool_find(s, key);
    if (n && n->holds > 0 && --n->holds == 0)
        unwanted(s, n);
    pthread_mutex_unlock(&s->mutex);
}

/* -------------------------------------------------------------------- take -- */

/* Has a file that is there still the size that it should have? */
static int check_file(const char *path, int64_t size, const char *uri, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return err_set(e, ERR_DATA, "%s: %s", uri, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_DATA, "%s: %s", uri,
                       S_ISDIR(st.st_mode) ? "is a folder, expected a file"
                                           : "is not a regular file");
    if (size >= 0 && (int64_t)st.st_size != size)
        return err_set(e, ERR_INTEGRITY,
                       "%s: changed while in use, had %" PRId64 " bytes, now %" PRId64, uri, size,
                       (int64_t)st.st_size);
    return 0;
}

static int take_local(const struct object *o, const char *local, char **path, int64_t *size,
                      struct err *e)
{
    if (check_file(local, o->size, local, e))
        return -1;
    uint64_t found = 0;
    if (o->size < 0 && file_size(local, &found, e))
        return -1;
    *path = xstrdup(local);
    if (size)
        *size = o->size < 0 ? (int64_t)found : o->size;
    return 0;
}

/* Wait until it is here; -1 when it failed or was given back meanwhile, and is perhaps gone. */
static int wait_for(struct spool *s, struct spool_entry *n, struct err *e)
{
    n->takers++;
    s->inside++;
    while (n->state != SPOOL_HERE && n->state != SPOOL_FAILED && n->holds && !s->closing)
        pthread_cond_wait(&s->changed, &s->mutex);
    n->takers--;
    if (--s->inside == 0 && s->closing)
        pthread_cond_broadcast(&s->changed);
    bool is_wanted = n->holds && !s->closing;
    if (is_wanted && n->state == SPOOL_HERE)
        return 0;
    if (is_wanted) {
        err_set(e, n->err.kind, "%s", n->err.text);
        err_hint(e, "%s", n->err.hint);
    } else {
        err_set(e, ERR_STOPPED, "%s: not wanted any more", n->shown);
    }
    if (!n->holds && !n->takers && n->state == SPOOL_WAITING)
        spool_forget(s, n);
    return -1;
}

static int take_entry(struct spool *s, struct spool_entry *n, char **path, int64_t *size,
                      struct err *e)
{
    while (wait_for(s, n, e) == 0) {
        struct err gone = {0};
        *path = spool_files_data(&s->files, n->key, n->crc);
        if (check_file(*path, n->size, *path, &gone) == 0) {
            n->taken++;
            if (size)
                *size = n->size;
            return 0;
        }
        /* Somebody else removed or cut the file: get it again, unless it is being read. */
        free(*path);
        *path = NULL;
        if (n->taken)
            return err_set(e, ERR_INTEGRITY, "%s", gone.text);
        spool_drop_file(s, n);
        n->state = SPOOL_WAITING;
        spool_enqueue(s, n);
        pthread_cond_broadcast(&s->work);
    }
    return -1;
}

int spool_take(struct spool *s, const struct object *o, char **path, int64_t *size, struct err *e)
{
    char key[SPOOL_KEY_SIZE];
    const char *local = in_place(o);
    *path = NULL;
    if (local)
        return take_local(o, local, path, size, e);
    key_of(s, o, key);
    pthread_mutex_lock(&s->mutex);
    struct spool_entry *n = spool_find(s, key);
    int failed = n && n->holds
                     ? take_entry(s, n, path, size, e)
                     : err_set(e, ERR_BUG, "%s: taken from the spool without being wanted", o->uri);
    pthread_mutex_unlock(&s->mutex);
    return failed;
}

bool spool_has(struct spool *s, const struct object *o)
{
    const char *local = in_place(o);
    char key[SPOOL_KEY_SIZE];
    if (local)
        return file_exists(local);
    key_of(s, o, key);
    pthread_mutex_lock(&s->mutex);
    const struct spool_entry *n = spool_find(s, key);
    bool is_here = n && n->state == SPOOL_HERE;
    pthread_mutex_unlock(&s->mutex);
    return is_here;
}

void spool_stats(const struct spool *s, struct spool_stats *out)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&s->mutex;
    pthread_mutex_lock(mutex);
    *out = s->stats;
    pthread_mutex_unlock(mutex);
}

/* ------------------------------------------------------------------ places -- */

char *spool_default_dir(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
#ifdef __APPLE__
    static const char usual[] = "Library/Caches";
#else
    static const char usual[] = ".cache";
#endif
    if (cache && cache[0] == '/')
        return path_join(cache, "attune");
    if (home && home[0] == '/')
        return xasprintf("%s/%s/attune", home, usual);
    const char *temp = getenv("TMPDIR");
    return xasprintf("%s/attune-%ld", temp && *temp ? temp : "/tmp", (long)getuid());
}
