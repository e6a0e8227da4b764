/* forecast.c - see forecast.h. */
#include "data/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/patch.h"
#include "data/sample.h"
#include "net/net.h"

#define PATIENCE_S 10.0

enum { FRAMES_PER_SECOND = 100, LIST_PAGE = 1000, UNPACKED_GUESS = 2 };

struct maker {
    struct forecast *f;
    const struct forecast_options *o;
    const struct manifest *m;
    struct shard probe;                   /* the shard that was fetched ... */
    int32_t probe_file;                   /* ... -1: none */
    struct forecast_batches batches;
    double unknown, with_sound;           /* records of the measured windows ... */
    int64_t steps;                        /* ... and their batches */
};

/* Can be looked into without being fetched or unpacked? */
static bool is_at_hand(const struct manifest_file *f)
{
    return f->index_object || (source_local_path(f->object.uri) && !manifest_is_packed(f));
}

static bool is_remote(const struct manifest_file *f)
{
    return store_knows(f->object.uri);
}

static double size_of(const struct manifest_file *f)
{
    return f->object.size > 0 ? (double)f->object.size : 0;
}

/* "gs" of "gs://bucket/name". */
static void note_store(struct forecast_fetch *f, const char *uri)
{
    size_t n = strcspn(uri, ":");
    if (!f->store[0] && n < sizeof f->store)
        memcpy(f->store, uri, n);
}

static double chunks_of(const struct manifest_file *f)
{
    double n = ceil(size_of(f) / SPOOL_CHUNK);
    return n < 1 ? 1 : n;
}

/* ------------------------------------------------------------- the one shard -- */

/* Fetch the first shard that a run would need, when nothing tells what is in the shards. */
static int fetch_probe(struct maker *k, struct err *e)
{
    const struct manifest *m = k->m;
    struct spool *spool = m->options.spool;
    struct spool_stats before, after;
    char *path = NULL;
    int32_t file = -1;
    int64_t windows = plan_windows(k->o->plan, 0);
    for (int64_t i = 0; i < windows && file < 0; i++) {
        int32_t files[1];
        int n = plan_window_files(k->o->plan, 0, i, files, 1);
        /* Windows begin with one shard each: looking at the first of each is enough. */
        if (n > 0 && !is_at_hand(&m->files[files[0]]))
            file = files[0];
        if (i == FORECAST_WINDOWS)
            break;
    }
    if (file < 0 || !spool)
        return 0;
    const struct object *o = &m->files[file].object;
    double began = clock_seconds();
    spool_stats(spool, &before);
    spool_want(spool, o);
    int failed = spool_take(spool, o, &path, NULL, e);
    spool_stats(spool, &after);
    if (!failed) {
        k->f->fetched_bytes = (double)(after.fetched_bytes - before.fetched_bytes);
        k->f->fetch_s = clock_seconds() - began;
        k->f->fetched = xstrdup(o->uri);
        failed =
            shard_index(&k->probe, path, o->uri, m->options.columns, m->options.column_count, e);
        k->probe_file = failed ? -1 : file;
    }
    spool_give(spool, o);
    free(path);
    return failed;
}

/* ------------------------------------------------------------------- tables -- */

/* What the lines that were looked at hold. */
struct tally {
    double looked, deleted, with_sound, unknown, seconds, elsewhere;
    struct forecast_fetch store;          /* where they lie elsewhere */
    struct net *net;                      /* with little patience */
    bool is_silent;                       /* sizes cannot be told */
    int stats;
    double stat_bytes;
};

static bool is_deleted(const struct manifest *m, const char *id)
{
    return m->options.patch && id && *id && patch_find(m->options.patch, id).is_deleted;
}

/* How large is a media file that lies elsewhere?  Some are asked for; when one cannot be told, none
 * is. */
static void ask_size(const struct manifest *m, const char *uri, struct tally *t)
{
    struct object o;
    struct err ignored = {0};
    if (t->stats == FORECAST_STATS || t->is_silent || !m->options.net)
        return;
    if (!t->net) {
        struct net_options options = *net_settings(m->options.net);
        options.budget_s = PATIENCE_S;
        t->net = net_open(&options);
    }
    t->is_silent = source_stat(t->net, uri, &o, &ignored) || o.size < 0;
    if (t->is_silent)
        return;
    t->stats++;
    t->stat_bytes += (double)o.size;
    object_release(&o);
}

static void count_files(const struct manifest *m, const struct record *r, struct tally *t)
{
    for (int i = 0; i < r->media_count; i++) {
        const char *uri = r->media[i].uri;
        if (!uri || r->media[i].same_as >= 0 || source_local_path(uri))
            continue;
        t->elsewhere++;
        note_store(&t->store, uri);
        ask_size(m, uri, t);
    }
}

static void tally_line(const struct manifest *m, int64_t line, struct tally *t)
{
    struct err ignored = {0};
    struct record r;
    struct record_ref ref = {.index = line, .file = (int32_t)m->lines[line].file};
    t->looked++;
    /* A bad line takes its place in a batch, too. */
    if (manifest_record(m, &ref, NULL, NULL, NULL, &r, &ignored))
        return;
    if (is_deleted(m, r.id)) {
        t->deleted++;
    } else {
        bool has_sound = record_count(&r, RECORD_AUDIO) > 0;
        t->with_sound += has_sound;
        t->unknown += has_sound && r.seconds <= 0;
        t->seconds += has_sound ? r.seconds : 0;
        count_files(m, &r, t);
    }
    record_release(&r);
}

static void look_at_tables(struct maker *k, int i)
{
    const struct manifest_source *s = &k->m->sources[i];
    struct forecast_source *out = &k->f->sources[i];
    struct tally t = {0};
    int64_t step = (s->line_count + FORECAST_LINES - 1) / FORECAST_LINES;
    for (int64_t n = 0; n < s->line_count; n += step)
        tally_line(k->m, s->first_line + n, &t);
    net_close(t.net);
    double scale = (double)s->line_count / t.looked;
    out->records = (double)s->line_count - t.deleted * scale;
    out->is_exact = step == 1 || !k->m->options.patch;
    out->seconds = t.seconds * scale;
    out->known = t.with_sound > 0 ? 1 - t.unknown / t.with_sound : 1;
    out->clips.gets = t.elsewhere * scale;
    out->clips.bytes = t.stats && !t.is_silent ? t.stat_bytes / t.stats * out->clips.gets : 0;
    memcpy(out->clips.store, t.store.store, sizeof out->clips.store);
}

/* ------------------------------------------------------------------- shards -- */

static void tally_shard(const struct manifest *m, const struct shard *s, struct tally *t)
{
    for (int i = 0; i < s->record_count; i++) {
        const struct shard_record *r = &s->records[i];
        t->looked++;
        if (is_deleted(m, r->id ? r->id : r->key))
            t->deleted++;
        t->seconds += (double)r->seconds;
        t->unknown += r->seconds <= 0;
    }
}

/* Look into a shard that is at hand; one whose index is not of its version stays out. */
static int look_into(const struct manifest *m, int32_t file, struct shard *s, struct err *e)
{
    const struct manifest_file *f = &m->files[file];
    *s = (struct shard){0};
    if (f->index_object && manifest_read_indexes(m, m->options.net, &file, 1, s, e))
        return -1;
    if (s->name || !source_local_path(f->object.uri) || manifest_is_packed(f))
        return 0;
    return shard_index(s, source_local_path(f->object.uri), f->object.uri, m->options.columns,
                       m->options.column_count, e);
}

static int look_at_shards(struct maker *k, int i, struct err *e)
{
    const struct manifest_source *s = &k->m->sources[i];
    struct forecast_source *out = &k->f->sources[i];
    struct tally t = {0};
    double bytes = 0;
    int64_t step = (s->file_count + FORECAST_SHARDS - 1) / FORECAST_SHARDS;
    out->is_exact = step == 1;
    for (int64_t n = 0; n < s->file_count; n += step) {
        int32_t file = (int32_t)(s->first_file + n);
        const struct manifest_file *f = &k->m->files[file];
        struct shard read = {0};
        const struct shard *shard = f->index ? f->index : file == k->probe_file ? &k->probe : NULL;
        if (!shard && is_at_hand(f) && look_into(k->m, file, &read, e))
            return -1;
        if (!shard && read.name)
            shard = &read;
        out->is_exact = out->is_exact && shard != NULL;
        if (shard) {
            tally_shard(k->m, shard, &t);
            bytes += size_of(f);
        }
        shard_release(&read);
    }
    /* Nothing known of this source: its shards are like the one that was fetched. */
    if (t.looked <= 0 && k->probe_file >= 0) {
        tally_shard(k->m, &k->probe, &t);
        bytes = size_of(&k->m->files[k->probe_file]);
    }
    double scale = bytes > 0 ? (double)s->bytes / bytes : 0;
    out->records = (t.looked - t.deleted) * scale;
    out->seconds = t.seconds * scale;
    out->known = t.looked > 0 ? 1 - t.unknown / t.looked : 0;
    if (out->is_exact) {
        out->records = t.looked - t.deleted;
        out->seconds = t.seconds;
    }
    return 0;
}

/* -------------------------------------------------------------------- bytes -- */

static void add_fetch(struct forecast_fetch *f, const char *uri, double bytes, double gets)
{
    note_store(f, uri);
    f->bytes += bytes;
    f->gets += gets;
}

static void add_spooled(struct forecast *f, const struct manifest_file *file)
{
    int64_t size = file->object.size > 0 ? file->object.size : 0;
    if (!is_remote(file) && !manifest_is_packed(file))
        return;
    if (manifest_is_packed(file))
        size *= UNPACKED_GUESS;
    if (file->source) {
        f->table_bytes += source_size(file->source);
        return;
    }
    f->spool_bytes += size;
    f->largest = size > f->largest ? size : f->largest;
}

static void add_files(struct maker *k, int i)
{
    const struct manifest_source *s = &k->m->sources[i];
    struct forecast_source *out = &k->f->sources[i];
    bool is_listed = false;
    for (int64_t n = s->first_file; n < s->first_file + s->file_count; n++) {
        const struct manifest_file *file = &k->m->files[n];
        const char *uri = file->object.uri;
        add_spooled(k->f, file);
        if (!is_remote(file))
            continue;
        is_listed = true;
        /* S3 is asked for each checksum. */
        double gets = chunks_of(file) + (strncmp(uri, "s3:", 3) == 0);
        add_fetch(file->kind == MANIFEST_TAR ? &out->shards : &out->tables, uri, size_of(file),
                  gets);
        if (file->index_object)
            add_fetch(&out->tables, uri, (double)file->index_object->size, 1);
    }
    if (is_listed)
        out->lists = (s->is_shards ? 2 : 1) * ceil((double)s->file_count / LIST_PAGE);
}

static void add_up(struct maker *k)
{
    struct forecast *f = k->f;
    const struct plan *plan = k->o->plan;
    double known = 0, all = 0;
    f->is_exact = true;
    for (int i = 0; i < k->m->source_count; i++) {
        double weight = k->m->sources[i].weight;
        f->records += weight * f->sources[i].records;
        f->seconds += weight * f->sources[i].seconds;
        f->is_exact = f->is_exact && f->sources[i].is_exact;
        known += weight * f->sources[i].records * f->sources[i].known;
        all += weight * f->sources[i].records;
        add_files(k, i);
    }
    for (int i = 0; i < k->m->source_count && f->records > 0; i++)
        f->sources[i].share = k->m->sources[i].weight * f->sources[i].records / f->records;
    f->knows_seconds = f->seconds > 0 && known >= 0.99 * all;
    f->windows = plan_windows(plan, 0);
    int64_t steps = plan_steps(plan, 0);
    /* Each window of shards may end with a batch that is not full. */
    double batch = plan_settings(plan)->batch;
    bool has_shards = plan_window_files(plan, 0, 0, NULL, 0) > 0 || f->spool_bytes > 0;
    double rest = has_shards ? (double)f->windows * (batch - 1) / batch / 2 : 0;
    f->steps = steps >= 0 ? (double)steps : ceil(f->records / batch + rest);
    f->is_exact = f->is_exact && steps >= 0;
}

/* ------------------------------------------------------------------ padding -- */

static double up_to(double n, int multiple)
{
    return ceil(n / multiple) * multiple;
}

void forecast_add_batch(struct forecast_batches *b, const float *seconds, const uint32_t *lengths,
                        int64_t count)
{
    double longest = 0, most = 0, clips = 0;
    for (int64_t i = 0; i < count; i++) {
        double frames = ceil((double)seconds[i] * FRAMES_PER_SECOND);
        b->frames += frames;
        b->tokens += (double)lengths[i];
        clips += frames > 0;
        most = frames > most ? frames : most;
        longest = (double)lengths[i] > longest ? (double)lengths[i] : longest;
    }
    b->frame_cells += clips * up_to(most, SAMPLE_FRAMES);
    b->token_cells += (double)count * up_to(longest, SAMPLE_TOKENS);
}

/* Records first .. first + count - 1 as a step: its parts are padded one by one. */
static void add_step(struct maker *k, const float *seconds, const uint32_t *lengths, int64_t count)
{
    int64_t micros = k->o->micros > 1 ? k->o->micros : 1;
    for (int64_t i = 0; i < micros; i++) {
        int64_t first = i * count / micros, end = (i + 1) * count / micros;
        if (end > first)
            forecast_add_batch(&k->batches, seconds + first, lengths + first, end - first);
    }
}

static float seconds_of(struct maker *k, const struct record_ref *ref)
{
    const struct manifest *m = k->m;
    struct err ignored = {0};
    struct record_facts facts = {.length = 0};
    if (ref->shard) {
        float s = ref->shard->records[ref->index].seconds;
        k->with_sound++;
        k->unknown += s <= 0;
        return s;
    }
    struct record_place place = {.where = "",
                                 .dir = m->files[ref->file].dir,
                                 .columns = m->options.columns,
                                 .column_count = m->options.column_count};
    json_t *json = manifest_json(m, ref, NULL, NULL, &ignored);
    if (json)
        record_facts(&facts, json, &place);
    json_decref(json);
    k->with_sound += facts.clip_count > 0;
    k->unknown += facts.clip_count > 0 && facts.seconds <= 0;
    return facts.clip_count > 0 ? facts.seconds : 0;
}

static void measure_window(struct maker *k, const struct plan_window *w)
{
    float *seconds = xcalloc((size_t)w->count + 1, sizeof *seconds);
    const uint32_t *lengths = plan_settings(k->o->plan)->sorts_text ? w->texts : w->lengths;
    for (int64_t i = 0; i < w->count; i++)
        seconds[i] = seconds_of(k, &w->records[i]);
    for (int64_t b = 0; b < w->batches; b++) {
        int64_t first = w->firsts[b];
        add_step(k, seconds + first, lengths + first, w->firsts[b + 1] - first);
    }
    k->f->padding.windows++;
    k->f->padding.records += w->count;
    k->steps += w->batches;
    free(seconds);
}

static bool can_open(const struct maker *k, int64_t window)
{
    const struct plan *p = k->o->plan;
    int count = plan_window_files(p, 0, window, NULL, 0);
    int32_t *files = xcalloc((size_t)count + 1, sizeof *files);
    bool can = true;
    plan_window_files(p, 0, window, files, count);
    for (int i = 0; i < count && can; i++)
        can = is_at_hand(&k->m->files[files[i]]);
    free(files);
    return can;
}

static int measure_windows(struct maker *k, struct err *e)
{
    struct forecast_padding *p = &k->f->padding;
    for (int64_t i = 0; i < k->f->windows; i++) {
        struct plan_window w;
        if (i == FORECAST_WINDOWS || p->records >= FORECAST_RECORDS || !can_open(k, i))
            return 0;
        if (plan_window_open(&w, k->o->plan, 0, i, e))
            return -1;
        measure_window(k, &w);
        plan_window_release(&w);
    }
    p->is_whole = true;
    k->f->records = (double)p->records;
    k->f->steps = (double)k->steps;
    k->f->is_exact = true;
    return 0;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double at_quantile(const float *sorted, int64_t count, double part)
{
    double at = part * (double)(count - 1);
    int64_t low = (int64_t)at, high = low + 1 < count ? low + 1 : low;
    return (double)sorted[low] + (at - (double)low) * (double)(sorted[high] - sorted[low]);
}

/* A window of `count` records whose lengths lie as those of the one shard do. */
static void measure_like(struct maker *k, const float *sorted_s, const float *sorted_l,
                         int64_t known, int64_t count)
{
    const struct plan_options *o = plan_settings(k->o->plan);
    float *seconds = xcalloc((size_t)count, sizeof *seconds);
    uint32_t *lengths = xcalloc((size_t)count, sizeof *lengths);
    struct rng_shuffle shuffle;
    rng_shuffle_init(&shuffle, o->seed, 0, (uint64_t)count);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = o->is_sorted ? i : (int64_t)rng_shuffle_at(&shuffle, (uint64_t)i);
        double part = count > 1 ? (double)from / (double)(count - 1) : 0.5;
        seconds[i] = (float)at_quantile(sorted_s, known, part);
        lengths[i] = (uint32_t)at_quantile(sorted_l, known, part);
    }
    for (int64_t i = 0; i < count; i += o->batch)
        add_step(k, seconds + i, lengths + i, count - i < o->batch ? count - i : o->batch);
    free(seconds);
    free(lengths);
}

static void measure_probe(struct maker *k)
{
    int64_t known = k->probe.record_count;
    double per_window = k->f->records / (double)(k->f->windows > 0 ? k->f->windows : 1);
    if (known < 1)
        return;
    float *seconds = xcalloc((size_t)known, sizeof *seconds);
    float *lengths = xcalloc((size_t)known, sizeof *lengths);
    for (int64_t i = 0; i < known; i++) {
        struct record_ref ref = {.shard = &k->probe, .index = i, .file = k->probe_file};
        seconds[i] = seconds_of(k, &ref);
        lengths[i] = (float)k->probe.records[i].length;
    }
    qsort(seconds, (size_t)known, sizeof *seconds, compare_floats);
    qsort(lengths, (size_t)known, sizeof *lengths, compare_floats);
    double count = per_window < FORECAST_RECORDS ? per_window : FORECAST_RECORDS;
    measure_like(k, seconds, lengths, known, count < 1 ? 1 : (int64_t)count);
    k->f->padding.is_guess = true;
    k->f->padding.records = known;
    free(seconds);
    free(lengths);
}

static int measure_padding(struct maker *k, struct err *e)
{
    struct forecast_padding *p = &k->f->padding;
    const struct forecast_batches *b = &k->batches;
    if (measure_windows(k, e))
        return -1;
    if (p->windows == 0 && k->probe_file >= 0)
        measure_probe(k);
    /* Whole windows are not padded by other clips' length. */
    bool knows = k->with_sound > 0 && k->unknown <= 0.01 * k->with_sound &&
                 !plan_settings(k->o->plan)->sorts_text;
    p->frames = knows && b->frame_cells > 0 ? 1 - b->frames / b->frame_cells : -1;
    p->tokens = b->token_cells > 0 ? 1 - b->tokens / b->token_cells : -1;
    return 0;
}

/* ------------------------------------------------------------------ together -- */

static int make(struct maker *k, struct err *e)
{
    if (fetch_probe(k, e))
        return -1;
    for (int i = 0; i < k->m->source_count; i++) {
        if (!k->m->sources[i].is_shards)
            look_at_tables(k, i);
        else if (look_at_shards(k, i, e))
            return -1;
    }
    add_up(k);
    return measure_padding(k, e);
}

int forecast(struct forecast *f, const struct forecast_options *o, struct err *e)
{
    struct maker k = {.f = f, .o = o, .m = plan_settings(o->plan)->manifest, .probe_file = -1};
    *f = (struct forecast){.padding = {.frames = -1, .tokens = -1}};
    f->sources = xcalloc((size_t)k.m->source_count + 1, sizeof *f->sources);
    int rc = make(&k, e);
    shard_release(&k.probe);
    if (rc)
        forecast_release(f);
    return rc;
}

void forecast_release(struct forecast *f)
{
    free(f->sources);
    free(f->fetched);
    *f = (struct forecast){0};
}
