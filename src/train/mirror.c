/* mirror.c - see mirror.h. */
#include "train/mirror.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/store.h"
#include "train/mirror_fetch.h"
#include "train/mirror_files.h"

enum { OBJECTS_MAX = 100000, OWNER_BYTES_MAX = 1 << 16, ID_SIZE = 33 };

struct mirror {
    struct net *net;
    char *uri, *dir;
    char id[ID_SIZE];                     /* of this machine's folder */
    char since[24];
    char version[sizeof((struct object *)0)->version];   /* of owner.json as we wrote it */
    struct mirror_files known;            /* what the bucket has; of the thread, once it runs */
    double beat;                          /* when owner.json was written last; of the thread, too */
    bool is_released;                     /* the claim was given up; of the thread, too */
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    bool is_wanted, is_busy, is_ending;   /* copy again; copying; the thread shall end */
    bool is_finishing;                    /* give up the claim when all is there */
    bool is_lost;
    int64_t held;
    struct err why;                       /* of the last copying; kind ERR_NONE: all is there */
    struct err lost;
};

/* ------------------------------------------------------------------- names -- */

bool mirror_is_remote(const char *runs)
{
    return store_knows(runs);
}

char *mirror_local(const char *cache_dir, const char *runs, struct err *e)
{
    const char *rest = runs + strlen("gs://");
    if (strncmp(runs, "gs://", 5) != 0) {
        err_set(e, ERR_USAGE, "runs: %s cannot be written to", runs);
        err_hint(e, "a folder, or gs://bucket/prefix");
        return NULL;
    }
    char *name = xstrdup(rest);
    size_t n = strlen(name);
    if (n && name[n - 1] == '/')
        name[n - 1] = 0;
    char *path = NULL;
    if (mirror_name_is_fine(name))
        path = xasprintf("%s/runs/%s", cache_dir, name);
    else
        err_set(e, ERR_USAGE, "runs: %s is no gs://bucket/prefix", runs);
    free(name);
    return path;
}

static char *uri_of(const struct mirror *m, const char *name)
{
    return xasprintf("%s/%s", m->uri, name);
}

/* ------------------------------------------------------------------- claim -- */

/* The name of this machine's folder: random, made once and kept in it. */
static int read_id(struct mirror *m, struct err *e)
{
    char *path = path_join(m->dir, "machine");
    struct err none = {0};
    size_t size = 0;
    char *text = file_read(path, 2 * ID_SIZE, &size, &none);
    int rc = 0;
    if (text && size == ID_SIZE - 1) {
        memcpy(m->id, text, ID_SIZE);
    } else {
        unsigned char bytes[64] = {0};
        char hex[HASH_HEX_SIZE], seed[160];
        FILE *f = fopen("/dev/urandom", "rb");
        size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
        if (f)
            fclose(f);
        snprintf(seed, sizeof seed, "%.9f %ld %zu", clock_seconds(), (long)getpid(), n);
        memcpy(bytes + 32, seed, 32);
        hash_bytes(bytes, sizeof bytes, hex);
        memcpy(m->id, hex, ID_SIZE - 1);
        rc = file_write(path, m->id, ID_SIZE - 1, e);
    }
    free(text);
    free(path);
    return rc;
}

static void owner_text(const struct mirror *m, bool is_running, struct buf *out)
{
    char host[256] = "", now[24];
    gethostname(host, sizeof host - 1);
    clock_now(now);
    json_t *o = json_object();
    json_put_str(o, "machine", m->id);
    json_put_str(o, "host", host);
    json_put_str(o, "since", m->since);
    json_put_str(o, "seen", now);
    json_put_int(o, "seen_s", (int64_t)time(NULL));
    json_put_bool(o, "running", is_running);
    json_write_pretty(o, out);
    json_decref(o);
}

/* Write owner.json over the version that we know.  ERR_INTEGRITY: there is another one. */
static int write_owner(struct mirror *m, bool is_running, struct err *e)
{
    struct buf b;
    struct object o = {0};
    char *uri = uri_of(m, "owner.json");
    buf_init(&b, OWNER_BYTES_MAX);
    owner_text(m, is_running, &b);
    int rc = store_write(m->net, uri, b.data, b.size, m->version, &o, e);
    if (!rc)
        snprintf(m->version, sizeof m->version, "%s", o.version);
    m->beat = clock_seconds();
    object_release(&o);
    buf_release(&b);
    free(uri);
    return rc;
}

static int refuse(const struct mirror *m, const char *host, int64_t age_s, struct err *e)
{
    err_set(e, ERR_RETRY, "%s is being written by another machine, %s, seen %lld s ago", m->uri,
            *host ? host : "without a name", (long long)age_s);
    return err_hint(e,
                    "wait until it ends, or give this run another name; if that machine is "
                    "gone, remove %s/owner.json",
                    m->uri);
}

/* May we take over from the owner that this text names? */
static int judge_owner(const struct mirror *m, const char *text, size_t size, struct err *e)
{
    struct err bad = {0};
    json_t *o = json_read_text("owner.json", text, size, &bad);
    const char *machine = o ? json_get_str(o, "machine", "", &bad) : "";
    const char *host = o ? json_get_str(o, "host", "", &bad) : "";
    bool is_running = o && json_get_bool(o, "running", false, &bad);
    int64_t age = (int64_t)time(NULL) - (o ? json_get_int(o, "seen_s", 0, &bad) : 0);
    int rc = 0;
    /* Clocks differ: one that is ahead counts as seen now. */
    if (!bad.kind && is_running && strcmp(machine, m->id) != 0 && (double)age < MIRROR_STALE_S)
        rc = refuse(m, host, age > 0 ? age : 0, e);
    json_decref(o);
    return rc;
}

static int claim(struct mirror *m, struct err *e)
{
    struct object_list l = {0};
    char *uri = uri_of(m, "owner.json");
    int rc = store_list(m->net, uri, OBJECTS_MAX, &l, e);
    snprintf(m->version, sizeof m->version, "0");
    for (int64_t i = 0; !rc && i < l.count; i++) {
        if (strcmp(l.at[i].uri, uri) != 0)
            continue;
        size_t size;
        char *text = store_load(m->net, &l.at[i], OWNER_BYTES_MAX, &size, e);
        rc = text ? judge_owner(m, text, size, e) : -1;
        snprintf(m->version, sizeof m->version, "%s", l.at[i].version);
        free(text);
    }
    object_list_release(&l);
    free(uri);
    if (rc)
        return -1;
    if (!write_owner(m, true, e))
        return 0;
    if (e->kind != ERR_INTEGRITY)
        return -1;
    *e = (struct err){0};
    return refuse(m, "", 0, e);
}

/* Renew the claim.  When it is not ours any more nothing may be written. */
static int beat(struct mirror *m, struct err *e)
{
    m->is_released = false;
    if (!write_owner(m, true, e))
        return 0;
    if (e->kind != ERR_INTEGRITY)
        return -1;
    *e = (struct err){0};
    err_set(e, ERR_INTEGRITY, "%s: another machine has taken this run over", m->uri);
    err_hint(e,
             "this machine was not seen there for a while; let the other one go on, or end it and "
             "run the same command here again");
    pthread_mutex_lock(&m->lock);
    m->is_lost = true;
    m->lost = *e;
    pthread_mutex_unlock(&m->lock);
    return -1;
}

static int beat_when_due(struct mirror *m, struct err *e)
{
    return clock_seconds() - m->beat < MIRROR_BEAT_S ? 0 : beat(m, e);
}

/* ----------------------------------------------------------------- copying -- */

static void hold(struct mirror *m, int64_t step)
{
    pthread_mutex_lock(&m->lock);
    m->held = step;
    pthread_mutex_unlock(&m->lock);
}

static bool is_ending(struct mirror *m)
{
    pthread_mutex_lock(&m->lock);
    bool ends = m->is_ending;
    pthread_mutex_unlock(&m->lock);
    return ends;
}

/* Does the bucket have this file as it is here? */
static int is_known(struct mirror_file *k, const char *path, int64_t size, int64_t time_ns,
                    struct err *e)
{
    if (!k || !k->is_remote || k->size != size)
        return 0;
    if (k->time_ns == time_ns)
        return 1;
    uint32_t crc;
    if (k->time_ns >= 0 || !k->has_crc32c)
        return 0;
    if (mirror_file_crc(path, &crc, e))
        return -1;
    if (crc != k->crc32c)
        return 0;
    k->time_ns = time_ns;
    return 1;
}

static int remove_remote(struct mirror *m, struct mirror_file *k, struct err *e)
{
    char *uri = uri_of(m, k->name);
    int rc = store_remove(m->net, uri, e);
    free(uri);
    k->is_remote = k->is_remote && rc;
    return rc;
}

/* While files of a checkpoint are replaced its manifest must not vouch for them. */
static int unpublish(struct mirror *m, int64_t step, struct err *e)
{
    for (size_t i = 0; i < m->known.count; i++) {
        struct mirror_file *k = &m->known.at[i];
        if (k->is_manifest && k->is_remote && k->step == step)
            return remove_remote(m, k, e);
    }
    return 0;
}

static int copy_file(struct mirror *m, const struct mirror_file *f, const char *path, struct err *e)
{
    int64_t size, time_ns;
    if (!mirror_file_stat(path, &size, &time_ns))
        return 0;                         /* pruned meanwhile */
    struct mirror_file *k = mirror_files_find(&m->known, f->name);
    int known = is_known(k, path, size, time_ns, e);
    if (known)
        return known < 0 ? -1 : 0;
    if (f->step >= 0 && !f->is_manifest && unpublish(m, f->step, e))
        return -1;
    struct object o = {0};
    char *uri = uri_of(m, f->name);
    hold(m, f->step);
    int rc = store_write_file(m->net, uri, path, &o, e);
    free(uri);
    if (!rc) {
        k = k ? k : mirror_files_add(&m->known, f->name);
        k->is_remote = true;
        k->size = o.size >= 0 ? o.size : size;
        k->time_ns = time_ns;
    }
    object_release(&o);
    return rc;
}

/* Checkpoints that are not here any more: their manifests first. */
static int prune(struct mirror *m, struct mirror_files *here, struct err *e)
{
    int64_t newest = -1;
    for (size_t i = 0; i < here->count; i++)
        if (here->at[i].is_manifest && here->at[i].step > newest)
            newest = here->at[i].step;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < m->known.count; i++) {
            struct mirror_file *k = &m->known.at[i];
            bool is_old = k->is_remote && k->step >= 0 && k->step < newest &&
                          !mirror_files_find(here, k->name);
            if (is_old && (pass || k->is_manifest) && remove_remote(m, k, e))
                return -1;
        }
    return 0;
}

static int copy_all(struct mirror *m, struct err *e)
{
    struct mirror_files here;
    if (beat(m, e) || mirror_files_read(&here, m->dir, e))
        return -1;
    int rc = 0;
    for (size_t i = 0; !rc && i < here.count; i++) {
        char *path = path_join(m->dir, here.at[i].name);
        struct err why = {0};
        if (is_ending(m))
            rc = err_set(e, ERR_STOPPED, "interrupted");
        else if (beat_when_due(m, e))
            rc = -1;
        else if (copy_file(m, &here.at[i], path, &why) && file_exists(path)) {
            *e = why;
            rc = -1;
        }
        free(path);
    }
    hold(m, -1);
    if (!rc)
        rc = prune(m, &here, e);
    mirror_files_release(&here);
    return rc;
}

/* ------------------------------------------------------------------ thread -- */

/* Wait until there is something to do, or half the time to the next beat; with the lock held. */
static void wait_for_work(struct mirror *m)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(MIRROR_BEAT_S / 2);
    if (!m->is_wanted && !m->is_ending)
        pthread_cond_timedwait(&m->changed, &m->lock, &until);
}

/* Copy what was wanted, and tell whoever waits for it; with the lock held, but not meanwhile. */
static void work(struct mirror *m)
{
    struct err why = m->lost, unimportant = {0};
    bool finishes = m->is_finishing, is_lost = m->is_lost;
    m->is_wanted = false;
    m->is_busy = true;
    pthread_mutex_unlock(&m->lock);
    if (!is_lost && !copy_all(m, &why) && finishes)
        m->is_released = !write_owner(m, false, &unimportant);
    pthread_mutex_lock(&m->lock);
    m->why = why;
    m->is_busy = false;
    if (why.kind && why.kind != ERR_STOPPED && !m->is_finishing && !m->is_lost)
        log_warn("%s; it is tried again at the next checkpoint", why.text);
    pthread_cond_broadcast(&m->changed);
}

/* Nothing is wanted: stay known as the owner; with the lock held, but not meanwhile. */
static void idle(struct mirror *m)
{
    struct err why = {0};
    if (m->is_lost || m->is_released)
        return;
    pthread_mutex_unlock(&m->lock);
    if (beat_when_due(m, &why))
        log_debug("%s", why.text);
    pthread_mutex_lock(&m->lock);
}

static void *run(void *arg)
{
    struct mirror *m = arg;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        wait_for_work(m);
        if (m->is_ending)
            break;
        if (m->is_wanted)
            work(m);
        else
            idle(m);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ------------------------------------------------------------------- whole -- */

/* What the bucket has, and what it knows better. */
static int compare_sides(struct mirror *m, struct err *e)
{
    struct object_list l = {0};
    char *prefix = uri_of(m, "");
    int rc = store_list(m->net, prefix, OBJECTS_MAX, &l, e);
    free(prefix);
    for (int64_t i = 0; !rc && i < l.count; i++) {
        const struct object *o = &l.at[i];
        const char *name = o->uri + strlen(m->uri) + 1;
        if (!mirror_name_is_fine(name))
            continue;
        struct mirror_file *k = mirror_files_add(&m->known, name);
        k->is_remote = true;
        k->size = o->size;
        k->has_crc32c = o->has_crc32c;
        k->crc32c = o->crc32c;
    }
    if (!rc)
        rc = mirror_fetch(m->net, m->uri, m->dir, &l, e);
    object_list_release(&l);
    return rc;
}

struct mirror *mirror_open(const struct mirror_options *o, struct err *e)
{
    struct mirror *m = xcalloc(1, sizeof *m);
    m->net = net_open(o->net);
    m->uri = xstrdup(o->uri);
    m->dir = xstrdup(o->dir);
    m->held = -1;
    clock_now(m->since);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    if (read_id(m, e) || claim(m, e) || compare_sides(m, e)) {
        err_in(e, "runs");
        mirror_close(m);
        return NULL;
    }
    m->is_started = !pthread_create(&m->thread, NULL, run, m);
    if (m->is_started)
        return m;
    err_set(e, ERR_SPACE, "no thread for copying the run to %s", m->uri);
    mirror_close(m);
    return NULL;
}

void mirror_push(struct mirror *m)
{
    pthread_mutex_lock(&m->lock);
    m->is_wanted = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

int mirror_check(struct mirror *m, struct err *e)
{
    pthread_mutex_lock(&m->lock);
    bool is_lost = m->is_lost;
    if (is_lost)
        *e = m->lost;
    pthread_mutex_unlock(&m->lock);
    return is_lost ? -1 : 0;
}

int64_t mirror_held(struct mirror *m)
{
    pthread_mutex_lock(&m->lock);
    int64_t held = m->held;
    pthread_mutex_unlock(&m->lock);
    return held;
}

int mirror_finish(struct mirror *m, struct err *e)
{
    pthread_mutex_lock(&m->lock);
    m->is_wanted = true;
    m->is_finishing = true;
    pthread_cond_broadcast(&m->changed);
    while (m->is_wanted || m->is_busy)
        pthread_cond_wait(&m->changed, &m->lock);
    struct err why = m->why;
    m->is_finishing = false;
    pthread_mutex_unlock(&m->lock);
    if (!why.kind)
        return 0;
    *e = why;
    return -1;
}

void mirror_close(struct mirror *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->is_ending = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (m->is_started) {
        net_stop(m->net);
        pthread_join(m->thread, NULL);
    }
    net_close(m->net);
    mirror_files_release(&m->known);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    free(m->uri);
    free(m->dir);
    free(m);
}
