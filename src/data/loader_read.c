/* loader_read.c - bytes of shards: from the spool once it has them, by ranges from the store until
 * then.
 *
 * A range carries no checksum of its own.  Only shards whose index has one for every member are
 * read so; a range that does not fit its checksums is read again, and then is an error.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "data/loader_parts.h"

enum { RANGE_MAX = 64 << 20, RANGE_TRIES = 3 };

void loader_reader_init(struct loader_reader *r, struct loader *l, struct loader_window *w,
                        const struct record_ref *ref)
{
    *r = (struct loader_reader){.l = l, .window = w, .shard = -1, .record = (int)ref->index};
    for (int i = 0; i < w->plan.shard_count && ref->shard; i++)
        if (ref->shard == &w->plan.shards[i])
            r->shard = i;
}

void loader_reader_release(struct loader_reader *r)
{
    free(r->bytes);
    r->bytes = NULL;
}

bool loader_can_range(const struct loader *l, const struct manifest_file *f, const struct shard *s)
{
    if (!l->net || !s->name || manifest_is_packed(f) || source_local_path(f->object.uri))
        return false;
    for (int i = 0; i < s->member_count; i++)
        if (!s->members[i].has_crc)
            return false;
    return true;
}

/* The shard as a local file; `waits`: until it is one.  NULL when it is not here, or on failure. */
static struct source *find_local(struct loader_reader *r, bool waits, struct err *e)
{
    struct loader *l = r->l;
    struct window_shard *s = &r->window->shards[r->shard];
    pthread_mutex_lock(&l->mutex);
    struct source *local = s->local;
    bool is_wanted = s->is_wanted;
    pthread_mutex_unlock(&l->mutex);
    if (local || !is_wanted || (!waits && !spool_has(l->o.spool, s->object)))
        return local;
    char *path = NULL;
    if (spool_take(l->o.spool, s->object, &path, NULL, e))
        return NULL;
    local = source_open(NULL, path, e);
    free(path);
    pthread_mutex_lock(&l->mutex);
    if (s->local) {
        source_close(local);
        local = s->local;
    }
    s->local = local;
    pthread_mutex_unlock(&l->mutex);
    return local;
}

/* Do the members of the record, of which all bytes are here, have their checksums? */
static bool is_intact(const struct loader_reader *r, const struct shard *s)
{
    const struct shard_record *record = &s->records[r->record];
    for (int i = 0; i < record->count; i++) {
        const struct shard_member *m = &s->members[record->first + i];
        if (crc32c(0, r->bytes + (m->offset - r->begin), (size_t)m->size) != m->crc)
            return false;
    }
    return true;
}

/* Read all members of the record at once. */
static int read_record(struct loader_reader *r, struct err *e)
{
    const struct shard *s = &r->window->plan.shards[r->shard];
    const struct object *o = r->window->shards[r->shard].object;
    const struct shard_record *record = &s->records[r->record];
    if (record->count < 1)
        return err_set(e, ERR_BUG, "%s: a record without members", o->uri);
    const struct shard_member *first = &s->members[record->first], *last = first;
    for (int i = 0; i < record->count; i++) {
        const struct shard_member *m = &s->members[record->first + i];
        first = m->offset < first->offset ? m : first;
        last = m->offset + m->size > last->offset + last->size ? m : last;
    }
    r->begin = first->offset;
    r->end = last->offset + last->size;
    size_t size = (size_t)(r->end - r->begin);
    r->bytes = xmalloc(size + 1);
    for (int i = 0; i < RANGE_TRIES; i++) {
        if (size > 0 && store_read(r->l->net, o, r->begin, r->bytes, size, 2.0, NULL, e))
            return -1;
        if (is_intact(r, s))
            return 0;
    }
    loader_reader_release(r);
    return err_set(e, ERR_INTEGRITY, "%s: bytes %lld to %lld do not have the checksum in the index",
                   o->uri, (long long)r->begin, (long long)r->end);
}

static int64_t record_bytes(const struct loader_reader *r)
{
    const struct shard *s = &r->window->plan.shards[r->shard];
    const struct shard_record *record = &s->records[r->record];
    int64_t bytes = 0;
    for (int i = 0; i < record->count; i++)
        bytes += s->members[record->first + i].size;
    return bytes;
}

static int read_range(struct loader_reader *r, int64_t offset, void *out, size_t size,
                      struct err *e)
{
    if (!r->bytes && read_record(r, e))
        return -1;
    if (!r->bytes || offset < r->begin || (int64_t)size > r->end - offset)
        return err_set(e, ERR_BUG, "bytes that are not the record's");
    memcpy(out, r->bytes + (offset - r->begin), size);
    return 0;
}

static int read_shard(struct loader_reader *r, int64_t offset, void *out, size_t size,
                      struct err *e)
{
    struct window_shard *s = &r->window->shards[r->shard];
    bool by_range = s->can_range && record_bytes(r) <= RANGE_MAX;
    struct source *local = r->bytes ? NULL : find_local(r, !by_range, e);
    if (local)
        return source_read(local, offset, out, size, e);
    if (e->kind)
        return -1;
    if (by_range)
        return read_range(r, offset, out, size, e);
    return err_set(e, ERR_BUG, "%s: was not wanted from the spool", s->object->uri);
}

int loader_read(void *reader, int64_t offset, void *out, size_t size, struct err *e)
{
    struct loader_reader *r = reader;
    if (read_shard(r, offset, out, size, e) == 0)
        return 0;
    r->has_failed = true;
    return -1;
}
