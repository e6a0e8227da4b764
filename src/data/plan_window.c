/* plan_window.c - a window of a plan opened: its shards' contents, its records, and their
 * batches. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/patch.h"
#include "data/plan.h"
#include "data/plan_parts.h"

/* A record of the window, and what it is sorted by. */
struct item {
    struct record_ref ref;
    uint32_t length, bucket;
    uint32_t text;                        /* the part of `length` that is text */
    int64_t order;                        /* equally long ones stay in the order of the shuffle */
};

struct opening {
    struct plan_window *w;
    const struct plan *p;
    const struct manifest *m;
    struct plan_span span;
    struct plan_lookup lookup;
    struct item *items;
    size_t count, capacity;
};

/* ------------------------------------------------------------------- shards -- */

/* Read the headers of a shard. */
static int index_shard(const struct manifest *m, const struct manifest_file *f, struct shard *s,
                       struct err *e)
{
    char *const *columns = m->options.columns;
    int column_count = m->options.column_count;
    const char *plain = manifest_is_packed(f) ? NULL : source_local_path(f->object.uri);
    if (plain)
        return shard_index(s, plain, f->object.uri, columns, column_count, e);
    if (!m->options.spool)
        return err_set(e, ERR_BUG, "%s: has to be spooled, and there is no spool", f->object.uri);
    char *path = NULL;
    if (spool_take(m->options.spool, &f->object, &path, NULL, e))
        return -1;
    int failed = shard_index(s, path, f->object.uri, columns, column_count, e);
    free(path);
    return failed;
}

/* What indexes say of the shards of the window. */
static int read_indexes(const struct plan *p, struct plan_window *w, struct net *net, struct err *e)
{
    const struct manifest *m = p->o.manifest;
    int count = w->shard_count, unread_count = 0, at = 0;
    int32_t *unread = xcalloc((size_t)count + 1, sizeof *unread);
    struct shard *read = xcalloc((size_t)count + 1, sizeof *read);
    for (int i = 0; i < count; i++) {
        const struct manifest_file *f = &m->files[w->files[i]];
        w->is_borrowed[i] = f->index != NULL;
        if (f->index)
            w->shards[i] = *f->index;
        else
            unread[unread_count++] = w->files[i];
    }
    int failed = manifest_read_indexes(m, net, unread, unread_count, read, e);
    for (int i = 0; i < count && !failed; i++)
        if (!w->is_borrowed[i])
            w->shards[i] = read[at++];
    free(unread);
    free(read);
    return failed;
}

/* ------------------------------------------------------------------ records -- */

static void add_item(struct opening *o, const struct record_ref *ref, uint32_t length,
                     uint32_t text)
{
    if (o->count == o->capacity)
        o->items = mem_grow(o->items, &o->capacity, sizeof *o->items);
    o->items[o->count++] = (struct item){.ref = *ref, .length = length, .text = text};
}

static bool is_deleted(const struct opening *o, const char *id)
{
    const struct patch *patch = o->m->options.patch;
    return patch && id && *id && patch_find(patch, id).is_deleted;
}

/* Indexes say the length of all.  Of a clip whose duration is not known its bytes were counted: the
 * record's largest member. */
static uint32_t text_of(const struct shard *s, const struct shard_record *r)
{
    int64_t largest = 0;
    for (int i = 0; i < r->count; i++) {
        int64_t size = s->members[r->first + i].size;
        largest = size > largest ? size : largest;
    }
    return record_text_length(r->length, (double)r->seconds, largest);
}

static void add_shard(struct opening *o, int32_t file)
{
    int i = 0;
    while (o->w->files[i] != file)
        i++;
    const struct shard *s = &o->w->shards[i];
    for (int k = 0; k < s->record_count; k++) {
        const struct shard_record *r = &s->records[k];
        struct record_ref ref = {.shard = s, .index = k, .file = file};
        if (!is_deleted(o, r->id ? r->id : r->key))
            add_item(o, &ref, r->length, text_of(s, r));
    }
}

/* A line that cannot be read stays in: it becomes a hole when its turn comes. */
static void add_line(struct opening *o, int64_t line)
{
    struct err ignored = {0};
    struct record_ref ref = {.index = line, .file = (int32_t)o->m->lines[line].file};
    struct record_facts facts = {.length = 0};
    struct record_place place = {.where = "",
                                 .dir = o->m->files[ref.file].dir,
                                 .columns = o->m->options.columns,
                                 .column_count = o->m->options.column_count};
    json_t *json = manifest_json(o->m, &ref, NULL, NULL, &ignored);
    if (json)
        record_facts(&facts, json, &place);
    json_decref(json);
    if (!is_deleted(o, facts.id))
        add_item(o, &ref, facts.length, facts.text_length);
}

static void add_lines(struct opening *o, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        add_line(o, plan_line_at(&o->lookup, first + i));
}

static void add_records(struct opening *o)
{
    if (!o->p->has_shards) {
        add_lines(o, o->span.first, o->span.count);
        return;
    }
    for (int64_t i = 0; i < o->span.count; i++) {
        struct plan_unit u = plan_unit_at(&o->lookup, o->span.first + i);
        if (u.file < 0)
            add_lines(o, u.first, u.count);
        else
            add_shard(o, u.file);
    }
}

/* ------------------------------------------------------------------ batches -- */

/* Lengths within about 3 % count as equal: what meets whom is then decided by the shuffle. */
static uint32_t bucket_of(uint32_t length)
{
    uint32_t step = 1;
    while (length / step >= 64)
        step *= 2;
    return (length + step - 1) / step * step;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Both random orders of a window have it as their stream. */
static uint64_t stream_of(const struct plan_window *w)
{
    return (uint64_t)w->epoch << 32 | (uint64_t)w->window;
}

static void shuffle_items(struct opening *o)
{
    struct rng_shuffle shuffle;
    struct item *to = xcalloc(o->count + 1, sizeof *to);
    rng_shuffle_init(&shuffle, o->p->record_seed, stream_of(o->w), o->count);
    for (size_t i = 0; i < o->count; i++) {
        to[i] = o->items[rng_shuffle_at(&shuffle, i)];
        to[i].order = (int64_t)i;
        to[i].bucket = bucket_of(o->p->o.sorts_text ? to[i].text : to[i].length);
    }
    free(o->items);
    o->items = to;
}

/* Move `count` items at `from` to the end. */
static void move_to_end(struct opening *o, size_t from, size_t count)
{
    struct item *moved = xmemdup(o->items + from, count * sizeof *moved + 1);
    size_t behind = o->count - from - count;
    memmove(o->items + from, o->items + from + count, behind * sizeof *moved);
    memcpy(o->items + from + behind, moved, count * sizeof *moved);
    free(moved);
}

/* Sort by length.  A window that is more than a quarter of the epoch is sorted in parts, so that
 * the same records do not always meet.  The batch that will be short is a random one of the last
 * part; it goes to the end. */
static void sort_items(struct opening *o)
{
    size_t batch = (size_t)o->p->o.batch, whole = o->count / batch, rest = o->count % batch;
    int64_t units = o->span.epoch.units;
    size_t parts = units > 0 ? (size_t)((4 * o->span.count + units - 1) / units) : 1;
    parts = parts > whole ? whole : parts;
    parts = parts < 1 ? 1 : parts;
    size_t begin = 0;
    for (size_t i = 0; i < parts; i++) {
        size_t end = i + 1 == parts ? o->count : whole * (i + 1) / parts * batch;
        qsort(o->items + begin, end - begin, sizeof *o->items, compare_items);
        if (i + 1 == parts && rest > 0) {
            uint64_t places = (end - begin) / batch + 1;
            size_t place = (size_t)rng_below(o->p->batch_seed, stream_of(o->w), 0, places);
            move_to_end(o, begin + place * batch, rest);
        }
        begin = end;
    }
}

/* Write the records down, batch by batch; whole batches in random order. */
static void write_batches(struct opening *o, bool is_shuffled)
{
    struct plan_window *w = o->w;
    struct rng_shuffle shuffle;
    int64_t batch = o->p->o.batch, whole = (int64_t)o->count / batch;
    w->count = (int64_t)o->count;
    w->batches = whole + (w->count % batch != 0);
    w->records = xcalloc(o->count + 1, sizeof *w->records);
    w->lengths = xcalloc(o->count + 1, sizeof *w->lengths);
    w->texts = xcalloc(o->count + 1, sizeof *w->texts);
    w->firsts = xcalloc((size_t)w->batches + 1, sizeof *w->firsts);
    if (whole > 0)
        rng_shuffle_init(&shuffle, rng_seed(o->p->batch_seed, "order"), stream_of(w),
                         (uint64_t)whole);
    for (int64_t i = 0; i < w->count; i++) {
        int64_t from = i, k = i / batch;
        if (is_shuffled && k < whole)
            from = (int64_t)rng_shuffle_at(&shuffle, (uint64_t)k) * batch + i % batch;
        w->records[i] = o->items[from].ref;
        w->lengths[i] = o->items[from].length;
        w->texts[i] = o->items[from].text;
    }
    for (int64_t i = 0; i <= w->batches; i++)
        w->firsts[i] = i * batch < w->count ? i * batch : w->count;
}

/* ------------------------------------------------------------------ windows -- */

int plan_window_begin(struct plan_window *w, const struct plan *p, int64_t epoch, int64_t window,
                      struct net *net, struct err *e)
{
    struct plan_span span;
    *w = (struct plan_window){.epoch = epoch, .window = window};
    if (!plan_span(p, epoch, window, &span))
        return err_set(e, ERR_BUG, "window %lld of epoch %lld, which has %lld", (long long)window,
                       (long long)epoch, (long long)plan_windows(p, epoch));
    if (!p->has_shards)
        return 0;
    w->shard_count = plan_window_files(p, epoch, window, NULL, 0);
    w->files = xcalloc((size_t)w->shard_count + 1, sizeof *w->files);
    w->shards = xcalloc((size_t)w->shard_count + 1, sizeof *w->shards);
    w->is_borrowed = xcalloc((size_t)w->shard_count + 1, sizeof *w->is_borrowed);
    plan_window_files(p, epoch, window, w->files, w->shard_count);
    if (read_indexes(p, w, net ? net : p->o.manifest->options.net, e) == 0)
        return 0;
    plan_window_release(w);
    return -1;
}

int plan_window_finish(struct plan_window *w, const struct plan *p, struct err *e)
{
    struct opening o = {.w = w, .p = p, .m = p->o.manifest};
    for (int i = 0; i < w->shard_count; i++) {
        if (!w->shards[i].name && index_shard(o.m, &o.m->files[w->files[i]], &w->shards[i], e)) {
            plan_window_release(w);
            return -1;
        }
    }
    if (!plan_span(p, w->epoch, w->window, &o.span))
        return err_set(e, ERR_BUG, "a window that was not begun");
    plan_lookup_init(&o.lookup, p, &o.span.epoch);
    add_records(&o);
    if (!p->o.is_sequential && o.count > 0)
        shuffle_items(&o);
    bool is_sorted = p->o.is_sorted && !p->o.is_sequential;
    if (is_sorted)
        sort_items(&o);
    write_batches(&o, is_sorted);
    free(o.items);
    return 0;
}

int plan_window_open(struct plan_window *w, const struct plan *p, int64_t epoch, int64_t window,
                     struct err *e)
{
    return plan_window_begin(w, p, epoch, window, NULL, e) || plan_window_finish(w, p, e) ? -1 : 0;
}

void plan_window_release(struct plan_window *w)
{
    for (int i = 0; i < w->shard_count; i++)
        if (!w->is_borrowed[i])
            shard_release(&w->shards[i]);
    free(w->shards);
    free(w->files);
    free(w->is_borrowed);
    free(w->records);
    free(w->lengths);
    free(w->texts);
    free(w->firsts);
    memset(w, 0, sizeof *w);
}
