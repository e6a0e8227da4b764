/* plan.c - see plan.h: which units make which window.  plan_parts.h has the idea. */
#include "data/plan.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/patch.h"
#include "data/plan_parts.h"

enum {
    WEIGHT_PARTS = 1000000,               /* a weight counts in millionths */
    SLICES_MIN = 4,                       /* lines beside shards: so many slices at least */
    QUARTER = 4,                          /* a window of lines is at most this part of an epoch, so
                                             that not always the same records meet */
};

/* ------------------------------------------------------------------ epochs -- */

/* Draws of a stream before an epoch: floor(weight * items * epoch), without rounding. */
static int64_t position(const struct plan *p, const struct plan_stream *s, int64_t epoch)
{
    int64_t n = s->count * epoch;
    if (p->o.is_sequential)
        return n;
    return s->whole * n + s->millionths * (n / WEIGHT_PARTS) +
           s->millionths * (n % WEIGHT_PARTS) / WEIGHT_PARTS;
}

static int64_t draws(const struct plan *p, const struct plan_stream *s, int64_t epoch)
{
    return position(p, s, epoch + 1) - position(p, s, epoch);
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static struct plan_epoch describe(const struct plan *p, int64_t epoch)
{
    struct plan_epoch d = {.epoch = epoch};
    if (p->o.is_sequential && epoch > 0)
        return d;
    for (int i = 0; i < p->stream_count; i++) {
        const struct plan_stream *s = &p->streams[i];
        *(s->is_shards ? &d.shards : &d.lines) += draws(p, s, epoch);
    }
    bool is_cut = p->o.is_sequential && p->o.limit > 0 && !p->has_shards;
    if (is_cut && d.lines > p->o.limit)
        d.lines = p->o.limit;
    if (!p->has_shards)
        return d;
    int64_t slice = ceil_div(d.lines, SLICES_MIN);
    d.slice = slice < 1 ? 1 : slice > PLAN_SLICE ? PLAN_SLICE : slice;
    /* In order, slices end where their source does. */
    for (int i = 0; i < p->stream_count && p->o.is_sequential; i++)
        if (!p->streams[i].is_shards)
            d.slices += ceil_div(p->streams[i].count, d.slice);
    if (!p->o.is_sequential)
        d.slices = ceil_div(d.lines, d.slice);
    d.units = d.shards + d.slices;
    return d;
}

/* ----------------------------------------------------------------- looking up -- */

void plan_lookup_init(struct plan_lookup *c, const struct plan *p, const struct plan_epoch *epoch)
{
    *c = (struct plan_lookup){.p = p, .epoch = *epoch, .pass_stream = -1};
    if (epoch->lines > 0)
        rng_shuffle_init(&c->lines, p->line_seed, (uint64_t)epoch->epoch, (uint64_t)epoch->lines);
    if (epoch->units > 0)
        rng_shuffle_init(&c->units, p->unit_seed, (uint64_t)epoch->epoch, (uint64_t)epoch->units);
}

/* The item that a stream gives at its draw `j` of the epoch. */
static int64_t item_at(struct plan_lookup *c, int stream, int64_t j)
{
    const struct plan_stream *s = &c->p->streams[stream];
    if (c->p->o.is_sequential)
        return s->first + j;
    int64_t d = position(c->p, s, c->epoch.epoch) + j, pass = d / s->count;
    if (c->pass_stream != stream || c->pass_number != pass) {
        uint64_t name = (uint64_t)stream << 40 | (uint64_t)pass;
        rng_shuffle_init(&c->pass, c->p->pass_seed, name, (uint64_t)s->count);
        c->pass_stream = stream;
        c->pass_number = pass;
    }
    return s->first + (int64_t)rng_shuffle_at(&c->pass, (uint64_t)(d % s->count));
}

/* Draw `j` of the epoch's draws of one kind, over all sources. */
static int64_t draw_at(struct plan_lookup *c, bool is_shards, int64_t j)
{
    for (int i = 0; i < c->p->stream_count; i++) {
        const struct plan_stream *s = &c->p->streams[i];
        if (s->is_shards != is_shards)
            continue;
        int64_t n = draws(c->p, s, c->epoch.epoch);
        if (j < n)
            return item_at(c, i, j);
        j -= n;
    }
    assert(false);                        /* a draw behind the last one */
    return 0;
}

int64_t plan_line_at(struct plan_lookup *c, int64_t place)
{
    if (!c->p->o.is_sequential)
        place = (int64_t)rng_shuffle_at(&c->lines, (uint64_t)place);
    return draw_at(c, false, place);
}

static struct plan_unit slice_at(int64_t first, int64_t slice, int64_t end)
{
    return (struct plan_unit){-1, first, first + slice < end ? slice : end - first};
}

/* Units in the order of the sources. */
static struct plan_unit unit_in_order(const struct plan_lookup *c, int64_t unit)
{
    int64_t line = 0;
    for (int i = 0; i < c->p->stream_count; i++) {
        const struct plan_stream *s = &c->p->streams[i];
        int64_t n = s->is_shards ? s->count : ceil_div(s->count, c->epoch.slice);
        if (unit < n && s->is_shards)
            return (struct plan_unit){.file = (int32_t)(s->first + unit)};
        if (unit < n)
            return slice_at(line + unit * c->epoch.slice, c->epoch.slice, line + s->count);
        unit -= n;
        line += s->is_shards ? 0 : s->count;
    }
    assert(false);                        /* a unit behind the last one */
    return (struct plan_unit){0};
}

struct plan_unit plan_unit_at(struct plan_lookup *c, int64_t unit)
{
    if (c->p->o.is_sequential)
        return unit_in_order(c, unit);
    int64_t u = (int64_t)rng_shuffle_at(&c->units, (uint64_t)unit);
    if (u < c->epoch.shards)
        return (struct plan_unit){.file = (int32_t)draw_at(c, true, u)};
    return slice_at((u - c->epoch.shards) * c->epoch.slice, c->epoch.slice, c->epoch.lines);
}

/* ----------------------------------------------------------- windows of lines -- */

/* The window that follows `k` others when it is as large as windows of this epoch may be. */
static int64_t grown(int64_t epoch, int64_t k, int64_t first, int64_t most)
{
    if (epoch > 0 || k > 40 || first << k > most)
        return most;
    return first << k;
}

/* Lines in a slice and in a full window of an epoch without shards: whole batches. */
static void measure_lines(const struct plan *p, const struct plan_epoch *d, int64_t *slice,
                          int64_t *full)
{
    int64_t batch = p->o.batch, batches = PLAN_SLICE / batch;
    *slice = (batches < 1 ? 1 : batches) * batch;
    *full = *slice * p->o.window_shards;
    int64_t part = d->lines / batch / QUARTER;
    part = (part < 1 ? 1 : part) * batch;
    if (!p->o.is_sequential && part < *full)
        *full = part;
}

/* Lines first .. of a window; false when there are not so many windows. */
static bool span_of_lines(const struct plan *p, const struct plan_epoch *d, int64_t window,
                          int64_t *first, int64_t *count)
{
    int64_t slice, full, at = 0, k = 0, size;
    measure_lines(p, d, &slice, &full);
    for (; (size = grown(d->epoch, k, slice, full)) < full && k < window; k++)
        at += size;
    if (size == full && window > (d->lines - at) / full + k)
        return false;
    at += (window - k) * full;
    *first = at;
    *count = d->lines - at < size ? d->lines - at : size;
    return at < d->lines;
}

static int64_t windows_of_lines(const struct plan *p, const struct plan_epoch *d)
{
    int64_t slice, full, at = 0, k = 0, size;
    measure_lines(p, d, &slice, &full);
    for (; (size = grown(d->epoch, k, slice, full)) < full && at < d->lines; k++)
        at += size;
    return at < d->lines ? k + ceil_div(d->lines - at, full) : k;
}

/* ---------------------------------------------------------- windows of units -- */

static int64_t unit_bytes(const struct plan *p, const struct plan_unit *u)
{
    int64_t size = u->file < 0 ? 0 : p->o.manifest->files[u->file].object.size;
    return size > 0 ? size : 0;
}

static struct plan_cut cut_epoch(const struct plan *p, const struct plan_epoch *d)
{
    struct plan_lookup lookup;
    struct plan_cut cut = {.epoch = d->epoch};
    size_t capacity = 0;
    int64_t bytes = 0, in_window = 0;
    plan_lookup_init(&lookup, p, d);
    for (int64_t i = 0; i < d->units; i++) {
        struct plan_unit u = plan_unit_at(&lookup, i);
        int64_t size = unit_bytes(p, &u);
        int64_t most = grown(d->epoch, i ? cut.windows - 1 : 0, 1, p->o.window_shards);
        if (i == 0 || in_window >= most || bytes + size > p->o.window_bytes) {
            if ((size_t)cut.windows == capacity)
                cut.firsts = mem_grow(cut.firsts, &capacity, sizeof *cut.firsts);
            cut.firsts[cut.windows++] = i;
            bytes = in_window = 0;
        }
        bytes += size;
        in_window++;
    }
    cut.firsts = xreallocarray(cut.firsts, (size_t)cut.windows + 1, sizeof *cut.firsts);
    cut.firsts[cut.windows] = d->units;
    return cut;
}

/* How the units of an epoch are cut; call with the mutex locked. */
static const struct plan_cut *find_cut(struct plan *p, const struct plan_epoch *d)
{
    for (int i = 0; i < 2; i++)
        if (p->cuts[i].epoch == d->epoch)
            return &p->cuts[i];
    struct plan_cut *cut = &p->cuts[p->oldest_cut];
    p->oldest_cut = 1 - p->oldest_cut;
    struct plan_cut made = cut_epoch(p, d);
    free(cut->firsts);
    *cut = made;
    return cut;
}

bool plan_span(const struct plan *p, int64_t epoch, int64_t window, struct plan_span *s)
{
    *s = (struct plan_span){.epoch = describe(p, epoch)};
    if (!p->has_shards)
        return s->epoch.lines > 0 && span_of_lines(p, &s->epoch, window, &s->first, &s->count);
    if (s->epoch.units == 0)
        return false;
    struct plan *q = (struct plan *)(uintptr_t)p;
    pthread_mutex_lock(&q->mutex);
    const struct plan_cut *cut = find_cut(q, &s->epoch);
    bool is_there = window >= 0 && window < cut->windows;
    if (is_there) {
        s->first = cut->firsts[window];
        s->count = cut->firsts[window + 1] - s->first;
    }
    pthread_mutex_unlock(&q->mutex);
    return is_there;
}

int64_t plan_windows(const struct plan *p, int64_t epoch)
{
    struct plan_epoch d = describe(p, epoch);
    if (!p->has_shards)
        return windows_of_lines(p, &d);
    if (d.units == 0)
        return 0;
    struct plan *q = (struct plan *)(uintptr_t)p;
    pthread_mutex_lock(&q->mutex);
    int64_t windows = find_cut(q, &d)->windows;
    pthread_mutex_unlock(&q->mutex);
    return windows;
}

/* ------------------------------------------------------------------ counting -- */

static bool is_among(const int32_t *files, int count, int32_t file)
{
    for (int i = 0; i < count; i++)
        if (files[i] == file)
            return true;
    return false;
}

int plan_window_files(const struct plan *p, int64_t epoch, int64_t window, int32_t *files, int max)
{
    struct plan_span s;
    struct plan_lookup lookup;
    if (!p->has_shards || !plan_span(p, epoch, window, &s))
        return 0;
    int count = 0;
    int32_t *found = xcalloc((size_t)s.count + 1, sizeof *found);
    plan_lookup_init(&lookup, p, &s.epoch);
    for (int64_t i = 0; i < s.count; i++) {
        struct plan_unit u = plan_unit_at(&lookup, s.first + i);
        if (u.file >= 0 && !is_among(found, count, u.file))
            found[count++] = u.file;
    }
    for (int i = 0; i < count && i < max; i++)
        files[i] = found[i];
    free(found);
    return count;
}

/* Records of a window of which all indexes are known. */
static int64_t count_window(const struct plan *p, int64_t epoch, int64_t window)
{
    struct plan_span s;
    struct plan_lookup lookup;
    int64_t count = 0;
    if (!plan_span(p, epoch, window, &s))
        return 0;
    plan_lookup_init(&lookup, p, &s.epoch);
    for (int64_t i = 0; i < s.count; i++) {
        struct plan_unit u = plan_unit_at(&lookup, s.first + i);
        count += u.file < 0 ? u.count : p->o.manifest->files[u.file].index->record_count;
    }
    return count;
}

int64_t plan_steps(const struct plan *p, int64_t epoch)
{
    int64_t steps = 0, records = 0, limit = p->o.is_sequential ? p->o.limit : 0;
    if (!p->o.manifest->is_complete ||
        (p->o.manifest->options.patch && patch_count(p->o.manifest->options.patch) > 0))
        return -1;
    if (!p->has_shards)
        return ceil_div(describe(p, epoch).lines, p->o.batch);
    int64_t windows = plan_windows(p, epoch);
    for (int64_t i = 0; i < windows && (limit <= 0 || records < limit); i++) {
        int64_t count = count_window(p, epoch, i);
        if (limit > 0 && records + count > limit)
            count = limit - records;
        steps += ceil_div(count, p->o.batch);
        records += count;
    }
    return steps;
}

/* ------------------------------------------------------------------- opening -- */

static int add_stream(struct plan *p, const struct manifest_source *source, struct err *e)
{
    struct plan_stream *s = &p->streams[p->stream_count++];
    int64_t parts = llround(source->weight * WEIGHT_PARTS);
    *s = (struct plan_stream){
        .is_shards = source->is_shards,
        .first = source->is_shards ? source->first_file : source->first_line,
        .count = source->is_shards ? source->file_count : source->line_count,
        .whole = parts / WEIGHT_PARTS,
        .millionths = parts % WEIGHT_PARTS,
    };
    p->has_shards = p->has_shards || s->is_shards;
    if (draws(p, s, 0) >= 1)
        return 0;
    err_set(e, ERR_DATA, "%s: a weight of %g is less than one of its %lld %s an epoch",
            source->pattern, source->weight, (long long)s->count,
            s->is_shards ? "shards" : "records");
    return err_hint(e, "the least weight that it can have is %.7f", 1.0 / (double)s->count);
}

struct plan *plan_new(const struct plan_options *o, struct err *e)
{
    const struct manifest *m = o->manifest;
    if (o->batch < 1 || m->source_count < 1) {
        err_set(e, ERR_BUG, "a plan of %d sources with batches of %d", m->source_count, o->batch);
        return NULL;
    }
    struct plan *p = xcalloc(1, sizeof *p);
    p->o = *o;
    p->o.window_shards = o->window_shards > 0 ? o->window_shards : PLAN_SHARDS;
    p->o.window_bytes = o->window_bytes > 0 ? o->window_bytes : PLAN_BYTES;
    p->streams = xcalloc((size_t)m->source_count, sizeof *p->streams);
    p->pass_seed = rng_seed(o->seed, "pass");
    p->line_seed = rng_seed(o->seed, "lines");
    p->unit_seed = rng_seed(o->seed, "units");
    p->record_seed = rng_seed(o->seed, "records");
    p->batch_seed = rng_seed(o->seed, "batches");
    p->cuts[0].epoch = p->cuts[1].epoch = -1;
    pthread_mutex_init(&p->mutex, NULL);
    for (int i = 0; i < m->source_count; i++) {
        if (add_stream(p, &m->sources[i], e)) {
            plan_free(p);
            return NULL;
        }
    }
    return p;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->mutex);
    free(p->cuts[0].firsts);
    free(p->cuts[1].firsts);
    free(p->streams);
    free(p);
}

const struct plan_options *plan_settings(const struct plan *p)
{
    return &p->o;
}
