/* walk.c - see walk.h. */
#include "data/walk.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "data/patch.h"

enum { THREADS_MAX = 64, SHARES = 64, SHARE_MAX = 64 };

#define PROGRESS_S 0.1

/* What is gone through at a time: the lines of a source of tables, or a shard. */
struct piece {
    int64_t source, file;                 /* file -1: all lines of the source */
};

struct walker {
    const struct walk_options *o;
    struct shard shard;                   /* of the piece, if it is one ... */
    struct source *bytes;                 /* ... and where its bytes are read */
    int32_t file;
    int64_t base;                         /* first line of the piece; 0 for a shard */
    int64_t before;                       /* records in front of the piece */
    double shown_at;                      /* when progress was last told */

    pthread_mutex_t mutex;                /* guards what follows */
    int64_t next, end;                    /* records of the piece, ... */
    int64_t share;                        /* ... of which a thread takes so many at a time */
    bool is_enough;                       /* somebody said so */
    struct err error;                     /* the first */
};

struct worker {
    struct walker *w;
    bool is_caller;
};

static int read_shard(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    const struct walker *w = arg;
    return source_read(w->bytes, offset, out, size, e);
}

/* -------------------------------------------------------------- one record -- */

/* The next records of the piece, from `*first` on: how many, 0 at the end. */
static int64_t take(struct walker *w, int64_t *first)
{
    pthread_mutex_lock(&w->mutex);
    bool is_over = w->is_enough || w->error.kind || w->next >= w->end;
    int64_t left = is_over ? 0 : w->end - w->next, n = left < w->share ? left : w->share;
    *first = w->next;
    w->next += n;
    pthread_mutex_unlock(&w->mutex);
    return n;
}

/* The id by which a plan would know it, also when the record is bad; the caller frees. */
static char *id_of(const struct manifest *m, const struct record_ref *ref, const struct record *r)
{
    struct err ignored = {0};
    struct record_facts facts = {.length = 0};
    if (ref->shard) {
        const struct shard_record *s = &ref->shard->records[ref->index];
        return xstrdup(s->id ? s->id : s->key);
    }
    if (r)
        return r->id ? xstrdup(r->id) : NULL;
    struct record_place place = {.where = "",
                                 .dir = m->files[ref->file].dir,
                                 .columns = m->options.columns,
                                 .column_count = m->options.column_count};
    json_t *json = manifest_json(m, ref, NULL, NULL, &ignored);
    if (json)
        record_facts(&facts, json, &place);
    json_decref(json);
    return facts.id[0] ? xstrdup(facts.id) : NULL;
}

/* Visit record `i` of the piece. */
static int visit(struct walker *w, int64_t i, struct err *e)
{
    const struct manifest *m = w->o->manifest;
    struct record_ref ref = {.index = w->base + i, .file = w->file};
    struct record r;
    struct err why = {0};
    struct walk_record k = {.manifest = m, .ref = &ref, .number = w->before + i};
    if (w->bytes) {
        ref.shard = &w->shard;
        k.read = read_shard;
        k.read_arg = w;
    } else {
        ref.file = (int32_t)m->lines[ref.index].file;
    }
    int failed = manifest_record(m, &ref, k.read, k.read_arg, w->o->prompt, &r, &why);
    /* Only bad data are the record's own fault. */
    if (failed && why.kind != ERR_DATA) {
        *e = why;
        return -1;
    }
    char *id = id_of(m, &ref, failed ? NULL : &r);
    char *where = failed ? manifest_where(m, &ref) : NULL;
    k.id = id;
    k.where = failed ? where : r.where;
    k.record = failed ? NULL : &r;
    k.why = failed ? &why : NULL;
    bool is_deleted = m->options.patch && id && patch_find(m->options.patch, id).is_deleted;
    int rc = is_deleted ? 0 : w->o->visit(w->o->arg, &k, e);
    record_release(&r);
    free(where);
    free(id);
    return rc;
}

static void show_progress(struct walker *w, int64_t done)
{
    double now = clock_seconds();
    if (!w->o->on_progress || now - w->shown_at < PROGRESS_S)
        return;
    w->shown_at = now;
    w->o->on_progress(w->o->arg, done);
}

/* Whether to go on. */
static bool work_at(struct walker *w, int64_t i)
{
    struct err e = {0};
    int rc = visit(w, i, &e);
    if (rc == 0)
        return true;
    pthread_mutex_lock(&w->mutex);
    if (rc > 0)
        w->is_enough = true;
    else if (!w->error.kind)
        w->error = e;
    pthread_mutex_unlock(&w->mutex);
    return false;
}

static void *work(void *arg)
{
    struct worker *k = arg;
    bool goes_on = true;
    for (int64_t first, n; goes_on && (n = take(k->w, &first)) > 0;) {
        if (k->is_caller)
            show_progress(k->w, k->w->before + first);
        for (int64_t i = first; i < first + n && goes_on; i++)
            goes_on = work_at(k->w, i);
    }
    return NULL;
}

/* --------------------------------------------------------------- one piece -- */

/* Visit `count` records of the open piece, as far as they are asked for. */
static int visit_all(struct walker *w, int64_t count, struct err *e)
{
    const struct walk_options *o = w->o;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = o->threads > 0 ? o->threads : (int)cores, started = 0;
    pthread_t threads[THREADS_MAX];
    struct worker helper = {.w = w}, caller = {.w = w, .is_caller = true};
    int64_t end = o->limit > 0 ? o->first + o->limit - w->before : count;
    w->next = o->first > w->before ? o->first - w->before : 0;
    w->end = end < count ? end : count;
    int64_t left = w->end - w->next;
    w->share = left / ((int64_t)wanted * SHARES);
    w->share = w->share < 1 ? 1 : w->share > SHARE_MAX ? SHARE_MAX : w->share;
    /* This thread is one of them. */
    while (started + 1 < wanted && started < THREADS_MAX && started + 1 < left &&
           pthread_create(&threads[started], NULL, work, &helper) == 0)
        started++;
    work(&caller);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    w->before += count;
    *e = w->error;
    return e->kind ? -1 : 0;
}

/* Open a shard that is wanted already. */
static int open_shard(struct walker *w, int64_t file, struct err *e)
{
    const struct manifest *m = w->o->manifest;
    const struct object *o = &m->files[file].object;
    char *path = NULL;
    if (m->options.spool && spool_take(m->options.spool, o, &path, NULL, e))
        return -1;
    if (!path)
        path = xstrdup(source_local_path(o->uri) ? source_local_path(o->uri) : o->uri);
    int failed =
        shard_index(&w->shard, path, o->uri, m->options.columns, m->options.column_count, e);
    if (!failed) {
        w->bytes = source_open(NULL, path, e);
        w->file = (int32_t)file;
        w->base = 0;
        failed = !w->bytes;
        if (failed)
            shard_release(&w->shard);
    }
    free(path);
    return failed ? -1 : 0;
}

static int walk_shard(struct walker *w, int64_t file, struct err *e)
{
    struct err mine = {0};
    if (open_shard(w, file, &mine)) {
        if (mine.kind != ERR_DATA && mine.kind != ERR_INTEGRITY) {
            *e = mine;
            return -1;
        }
        w->o->on_lost(w->o->arg, w->before, w->o->manifest->files[file].object.uri, &mine);
        return 0;
    }
    int rc = visit_all(w, w->shard.record_count, e);
    source_close(w->bytes);
    w->bytes = NULL;
    shard_release(&w->shard);
    return rc;
}

/* ------------------------------------------------------------------ pieces -- */

static bool next_piece(const struct manifest *m, struct piece *p)
{
    if (p->source >= 0 && p->file >= 0) {
        const struct manifest_source *s = &m->sources[p->source];
        if (++p->file < s->first_file + s->file_count)
            return true;
    }
    if (++p->source >= m->source_count)
        return false;
    p->file = m->sources[p->source].is_shards ? m->sources[p->source].first_file : -1;
    return true;
}

/* The shard of a piece, if it is one. */
static const struct object *shard_of(const struct manifest *m, const struct piece *p)
{
    bool is_there = p->source < m->source_count && p->file >= 0;
    return is_there ? &m->files[p->file].object : NULL;
}

static void want(const struct manifest *m, const struct object *shard)
{
    if (shard && m->options.spool)
        spool_want(m->options.spool, shard);
}

static void give(const struct manifest *m, const struct object *shard)
{
    if (shard && m->options.spool)
        spool_give(m->options.spool, shard);
}

static int walk_piece(struct walker *w, const struct piece *p, struct err *e)
{
    const struct manifest_source *s = &w->o->manifest->sources[p->source];
    if (p->file >= 0)
        return walk_shard(w, p->file, e);
    w->base = s->first_line;
    return visit_all(w, s->line_count, e);
}

/* A shard of which the index tells that all its records come before the first. */
static bool skip(struct walker *w, const struct piece *p)
{
    const struct shard *index = p->file >= 0 ? w->o->manifest->files[p->file].index : NULL;
    if (!index || w->o->limit <= 0 || w->before + index->record_count > w->o->first)
        return false;
    w->before += index->record_count;
    return true;
}

static int walk_pieces(struct walker *w, struct err *e)
{
    const struct walk_options *o = w->o;
    const struct manifest *m = o->manifest;
    struct piece p = {.source = -1, .file = -1}, next;
    /* A few records are mostly in the first shard: no other is fetched then. */
    bool runs_ahead = o->limit <= 0, is_there = next_piece(m, &p), is_wanted = false;
    int rc = 0;
    while (is_there && !rc && !w->is_enough && (runs_ahead || w->before < o->first + o->limit)) {
        next = p;
        is_there = next_piece(m, &next);
        if (!skip(w, &p)) {
            if (!is_wanted)
                want(m, shard_of(m, &p));
            if (is_there && runs_ahead)
                want(m, shard_of(m, &next));
            rc = walk_piece(w, &p, e);
            give(m, shard_of(m, &p));
            is_wanted = runs_ahead;
        }
        p = next;
    }
    if (is_there && is_wanted)
        give(m, shard_of(m, &p));
    return rc;
}

int walk(const struct walk_options *o, struct err *e)
{
    struct walker w = {.o = o};
    pthread_mutex_init(&w.mutex, NULL);
    int rc = walk_pieces(&w, e);
    pthread_mutex_destroy(&w.mutex);
    return rc;
}
