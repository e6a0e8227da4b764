/* manifest_index.c - the indexes of shards: objects called like a shard with ".idx" behind it. */
#include "data/manifest_parts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    INDEX_BYTES_MAX = 256 << 20,          /* of one index */
    LISTED_PER_SHARD = 8,                 /* objects that a listing may hold for each shard ... */
    LISTED_MIN = 2000,                    /* ... and always */
    READERS = 8,                          /* indexes that are read at once */
};

/* ---------------------------------------------------------------- finding -- */

static void find_local(struct manifest_file *f)
{
    char *name = xasprintf("%s.idx", source_local_path(f->object.uri));
    struct err ignored = {0};
    uint64_t size = 0;
    if (file_exists(name) && file_size(name, &size, &ignored) == 0) {
        f->index_object = xcalloc(1, sizeof *f->index_object);
        f->index_object->uri = xstrdup(name);
        f->index_object->size = (int64_t)size;
    }
    free(name);
}

static int compare_objects(const void *a, const void *b)
{
    return strcmp(((const struct object *)a)->uri, ((const struct object *)b)->uri);
}

/* The indexes of the remote shards first .. end - 1, which lie in one store, by one listing of what
 * their names begin with.  Where nothing can be listed there are none. */
static int find_remote(struct manifest *m, int64_t first, int64_t end, struct err *e)
{
    const char *name = m->files[first].object.uri;
    size_t common = strlen(name);
    for (int64_t i = first + 1; i < end; i++)
        for (size_t k = 0; k < common; k++)
            if (m->files[i].object.uri[k] != name[k])
                common = k;
    char *prefix = xstrndup(name, common);
    struct object_list l = {0};
    struct err why = {0};
    int failed =
        store_list(m->options.net, prefix, LISTED_PER_SHARD * (end - first) + LISTED_MIN, &l, &why);
    free(prefix);
    for (int64_t i = first; i < end && !failed; i++) {
        struct object key = {.uri = xasprintf("%s.idx", m->files[i].object.uri)};
        const struct object *found =
            l.count ? bsearch(&key, l.at, (size_t)l.count, sizeof *l.at, compare_objects) : NULL;
        if (found) {
            m->files[i].index_object = xcalloc(1, sizeof *found);
            object_copy(m->files[i].index_object, found);
        }
        free(key.uri);
    }
    object_list_release(&l);
    if (!failed)
        return 0;
    if (why.kind != ERR_DATA && why.kind != ERR_LOGIN && why.kind != ERR_USAGE) {
        *e = why;
        return -1;
    }
    log_debug("indexes of shards are not looked for: %s", why.text);
    return 0;
}

static bool same_store(const char *a, const char *b)
{
    size_t n = strcspn(a, ":");
    return strncmp(a, b, n + 1) == 0;
}

static int find_all(struct manifest *m, struct err *e)
{
    for (int64_t i = 0, end; i < m->file_count; i = end) {
        const struct manifest_file *f = &m->files[i];
        end = i + 1;
        if (f->kind != MANIFEST_TAR)
            continue;
        if (source_local_path(f->object.uri)) {
            find_local(&m->files[i]);
            continue;
        }
        while (end < m->file_count && m->files[end].source_index == f->source_index &&
               same_store(f->object.uri, m->files[end].object.uri))
            end++;
        bool is_web = strncmp(f->object.uri, "http", 4) == 0;
        if (!is_web && find_remote(m, i, end, e))
            return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- reading -- */

/* What several threads read; the mutex guards `next` and `error`. */
struct reading {
    const struct manifest *m;
    struct net *net;
    const int32_t *files;
    int count;
    struct shard *out;
    pthread_mutex_t mutex;
    int next;
    struct err error;
};

/* Is it the index that is wrong, or is there something that would hit the shard, too? */
static bool is_indexes_fault(const struct err *why)
{
    return why->kind == ERR_DATA || why->kind == ERR_INTEGRITY;
}

static int read_index(const struct reading *r, const struct manifest_file *f, struct shard *out,
                      struct err *e)
{
    const struct manifest *m = r->m;
    struct object o;
    struct err why = {0};
    size_t size = 0;
    object_copy(&o, f->index_object);
    void *text = source_local_path(o.uri) ? source_load(NULL, o.uri, INDEX_BYTES_MAX, &size, &why)
                                          : store_load(r->net, &o, INDEX_BYTES_MAX, &size, &why);
    int failed = !text || shard_read_index(out, &f->object, m->options.columns,
                                           m->options.column_count, text, size, &why);
    if (failed)
        memset(out, 0, sizeof *out);
    if (failed && is_indexes_fault(&why)) {
        log_warn("%s; the index is not used", why.text);
        failed = 0;
    } else if (failed) {
        *e = why;
    }
    free(text);
    object_release(&o);
    return failed ? -1 : 0;
}

static void *read_some(void *arg)
{
    struct reading *r = arg;
    pthread_mutex_lock(&r->mutex);
    while (r->next < r->count && !r->error.kind) {
        int i = r->next++;
        const struct manifest_file *f = &r->m->files[r->files[i]];
        if (!f->index_object)
            continue;
        pthread_mutex_unlock(&r->mutex);
        struct err e = {0};
        int failed = read_index(r, f, &r->out[i], &e);
        pthread_mutex_lock(&r->mutex);
        if (failed && !r->error.kind)
            r->error = e;
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

int manifest_read_indexes(const struct manifest *m, struct net *net, const int32_t *files,
                          int count, struct shard *out, struct err *e)
{
    struct reading r = {.m = m, .net = net, .files = files, .count = count, .out = out};
    pthread_t threads[READERS];
    int started = 0, wanted = 0;
    memset(out, 0, (size_t)count * sizeof *out);
    for (int i = 0; i < count; i++)
        wanted += m->files[files[i]].index_object != NULL;
    pthread_mutex_init(&r.mutex, NULL);
    while (started < READERS && started + 1 < wanted &&
           pthread_create(&threads[started], NULL, read_some, &r) == 0)
        started++;
    read_some(&r);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&r.mutex);
    if (!r.error.kind)
        return 0;
    for (int i = 0; i < count; i++)
        shard_release(&out[i]);
    *e = r.error;
    return -1;
}

/* Read them all now, when that costs little. */
static int read_all(struct manifest *m, struct err *e)
{
    int32_t files[MANIFEST_INDEXES] = {0};
    struct shard shards[MANIFEST_INDEXES];
    int64_t bytes = 0, count = 0;
    for (int64_t i = 0; i < m->file_count; i++) {
        const struct manifest_file *f = &m->files[i];
        if (!f->index_object)
            continue;
        if (count == MANIFEST_INDEXES || (bytes += f->index_object->size) > MANIFEST_INDEX_BYTES)
            return 0;
        files[count++] = (int32_t)i;
    }
    if (manifest_read_indexes(m, m->options.net, files, (int)count, shards, e))
        return -1;
    for (int64_t i = 0; i < count; i++) {
        struct manifest_file *f = &m->files[files[i]];
        if (shards[i].name) {
            f->index = xmemdup(&shards[i], sizeof shards[i]);
        } else {
            object_release(f->index_object);
            free(f->index_object);
            f->index_object = NULL;
        }
    }
    return 0;
}

int manifest_find_indexes(struct manifest *m, struct err *e)
{
    return find_all(m, e) || read_all(m, e) ? -1 : 0;
}
