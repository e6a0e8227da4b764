/* manifest.c - see manifest.h. */
#include "data/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/manifest_parts.h"
#include "data/patch.h"

/* ------------------------------------------------------------------ kinds -- */

/* Bytes of a name without what a web address has behind it. */
static size_t name_size(const char *uri)
{
    return strncmp(uri, "http", 4) == 0 && strstr(uri, "://") ? strcspn(uri, "?#") : strlen(uri);
}

static bool ends_in(const char *name, size_t size, const char *end)
{
    size_t n = strlen(end);
    return size > n && memcmp(name + size - n, end, n) == 0;
}

/* Bytes of a name without the ending of a packed file. */
static size_t unpacked_size(const char *uri)
{
    size_t size = name_size(uri);
    return ends_in(uri, size, ".gz") ? size - 3 : ends_in(uri, size, ".zst") ? size - 4 : size;
}

static bool is_packed(const struct object *o)
{
    return o->is_gzip || unpacked_size(o->uri) < name_size(o->uri);
}

bool manifest_is_packed(const struct manifest_file *f)
{
    return is_packed(&f->object);
}

static int find_kind(const char *uri, enum manifest_kind *kind, struct err *e)
{
    static const struct {
        const char *end;
        enum manifest_kind kind;
    } kinds[] = {{".jsonl", MANIFEST_JSONL}, {".json", MANIFEST_JSONL}, {".ndjson", MANIFEST_JSONL},
                 {".csv", MANIFEST_CSV},     {".tsv", MANIFEST_TSV},    {".tar", MANIFEST_TAR}};
    size_t size = unpacked_size(uri);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (ends_in(uri, size, kinds[i].end)) {
            *kind = kinds[i].kind;
            return 0;
        }
    }
    err_set(e, ERR_DATA, "%s: a file of an unknown kind", uri);
    return err_hint(e,
                    "data files are .jsonl, .csv, .tsv or .tar, also with .gz or .zst behind it");
}

/* ---------------------------------------------------------------- finding -- */

/* Add what a pattern means. */
static int add_source(struct manifest *m, const char *pattern, struct object_list *l, struct err *e)
{
    struct manifest_source *s = &m->sources[m->source_count];
    s->pattern = xstrdup(pattern);
    s->first_file = m->file_count;
    s->file_count = l->count;
    if (m->file_count + l->count > MANIFEST_FILES_MAX)
        return err_set(e, ERR_DATA, "more than %d data files", MANIFEST_FILES_MAX);
    m->files = xreallocarray(m->files, (size_t)(m->file_count + l->count), sizeof *m->files);
    for (int64_t i = 0; i < l->count; i++) {
        struct manifest_file *f = &m->files[m->file_count++];
        *f = (struct manifest_file){.object = l->at[i], .source_index = m->source_count};
        l->at[i] = (struct object){0};
        if (find_kind(f->object.uri, &f->kind, e))
            return -1;
        bool is_shard = f->kind == MANIFEST_TAR;
        if (i == 0)
            s->is_shards = is_shard;
        if (is_shard != s->is_shards) {
            err_set(e, ERR_DATA, "%s: means both tables and shards: %s and %s", pattern,
                    m->files[s->first_file].object.uri, f->object.uri);
            return err_hint(e, "give a pattern for each of the two kinds");
        }
        f->dir = source_dir(f->object.uri);
        s->bytes += f->object.size > 0 ? f->object.size : 0;
    }
    m->bytes += s->bytes;
    m->source_count++;
    return 0;
}

static int check_weight(double weight, const char *pattern, struct err *e)
{
    if (weight >= 1e-6 && weight <= MANIFEST_WEIGHT_MAX)
        return 0;
    return err_set(e, ERR_DATA, "%s: a weight of %g, allowed are 0.000001 to %d", pattern, weight,
                   MANIFEST_WEIGHT_MAX);
}

static int find_files(struct manifest *m, const struct manifest_options *o, struct err *e)
{
    int failed = 0;
    m->sources = xcalloc((size_t)o->pattern_count + 1, sizeof *m->sources);
    for (int i = 0; i < o->pattern_count && !failed; i++) {
        struct object_list l = {0};
        double weight = o->weights ? o->weights[i] : 1;
        m->sources[i].weight = weight;
        failed = check_weight(weight, o->patterns[i], e) ||
                 source_match(o->net, &l, o->patterns[i], e) ||
                 add_source(m, o->patterns[i], &l, e);
        object_list_release(&l);
    }
    if (!failed && m->file_count == 0)
        failed = err_set(e, ERR_DATA, "no data files are given");
    return failed;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_repeated(const struct manifest *m, struct err *e)
{
    char **sorted = xmalloc((size_t)m->file_count * sizeof *sorted + 1);
    for (int64_t i = 0; i < m->file_count; i++)
        sorted[i] = m->files[i].object.uri;
    int failed = 0;
    qsort(sorted, (size_t)m->file_count, sizeof *sorted, compare_names);
    for (int64_t i = 1; i < m->file_count && !failed; i++)
        if (strcmp(sorted[i], sorted[i - 1]) == 0)
            failed = err_set(e, ERR_DATA, "%s: given twice", sorted[i]);
    if (failed)
        err_hint(e, "weights say how often an epoch goes through a source");
    free(sorted);
    return failed;
}

/* ----------------------------------------------------------------- tables -- */

/* Ask the spool for all tables that cannot be read where they are, so that they come side by
 * side. */
static int want_tables(struct manifest *m, struct err *e)
{
    for (int64_t i = 0; i < m->file_count; i++) {
        struct manifest_file *f = &m->files[i];
        const char *path = source_local_path(f->object.uri);
        if (f->kind == MANIFEST_TAR || (path && !is_packed(&f->object)))
            continue;
        if (!m->options.spool)
            return err_set(e, ERR_BUG, "%s: has to be spooled, and there is no spool",
                           f->object.uri);
        spool_want(m->options.spool, &f->object);
        f->is_spooled = true;
    }
    return 0;
}

static int open_table(struct manifest *m, struct manifest_file *f, struct err *e)
{
    if (!f->is_spooled) {
        f->path = xstrdup(source_local_path(f->object.uri));
        f->source = source_open_object(NULL, &f->object, e);
    } else if (spool_take(m->options.spool, &f->object, &f->path, NULL, e) == 0) {
        f->source = source_open(NULL, f->path, e);
    }
    return f->source ? 0 : -1;
}

static void add_fact(struct hash *hash, const char *text)
{
    hash_add(hash, text, strlen(text) + 1);
}

/* What pins a file beside its content. */
static void add_facts(struct hash *hash, const struct manifest_file *f)
{
    const struct object *o = &f->object;
    size_t end = name_size(o->uri), begin = end;
    while (begin > 0 && o->uri[begin - 1] != '/')
        begin--;
    char *name = xstrndup(o->uri + begin, end - begin);
    add_fact(hash, name);
    free(name);
    char size[64];
    snprintf(size, sizeof size, "%d %" PRId64, (int)f->kind,
             f->source ? source_size(f->source) : o->size);
    add_fact(hash, size);
    if (f->source)
        return;
    add_fact(hash, o->version);
    add_fact(hash, o->digest);
    if (o->has_crc32c)
        hash_add(hash, &o->crc32c, sizeof o->crc32c);
}

static int add_file(struct manifest *m, int64_t i, int64_t *capacity, struct hash *hash,
                    struct err *e)
{
    struct manifest_file *f = &m->files[i];
    if (f->kind == MANIFEST_TAR) {
        add_facts(hash, f);
        return 0;
    }
    if (open_table(m, f, e))
        return -1;
    add_facts(hash, f);
    return manifest_scan_table(m, i, capacity, hash, e) ? err_in(e, "%s", f->object.uri) : 0;
}

static void add_setup(struct hash *hash, const struct manifest_options *o)
{
    for (int i = 0; i < o->column_count; i++)
        add_fact(hash, o->columns[i]);
    if (o->patch)
        add_fact(hash, patch_hash(o->patch));
}

/* Read tables, and hash everything in its order. */
static int add_files(struct manifest *m, struct err *e)
{
    struct hash *hash = hash_new();
    int64_t capacity = 0;
    int failed = want_tables(m, e);
    for (int k = 0; k < m->source_count && !failed; k++) {
        struct manifest_source *s = &m->sources[k];
        char weight[40];
        snprintf(weight, sizeof weight, "source %.9g", s->weight);
        add_fact(hash, weight);
        s->first_line = m->line_count;
        for (int64_t i = 0; i < s->file_count && !failed; i++)
            failed = add_file(m, s->first_file + i, &capacity, hash, e);
        s->line_count = m->line_count - s->first_line;
    }
    add_setup(hash, &m->options);
    unsigned char digest[HASH_SIZE];
    hash_end(hash, digest);
    hash_hex(digest, m->hash);
    hash_free(hash);
    /* Give back what the growing array had too much. */
    if (!failed && m->line_count > 0)
        m->lines = xreallocarray(m->lines, (size_t)m->line_count, sizeof *m->lines);
    return failed;
}

static void count_records(struct manifest *m)
{
    m->count = m->line_count;
    m->is_complete = true;
    for (int64_t i = 0; i < m->file_count; i++) {
        const struct manifest_file *f = &m->files[i];
        if (f->index)
            m->count += f->index->record_count;
        else if (f->kind == MANIFEST_TAR)
            m->is_complete = false;
    }
}

int manifest_open(struct manifest *m, const struct manifest_options *o, struct err *e)
{
    memset(m, 0, sizeof *m);
    m->options = *o;
    if (find_files(m, o, e) || check_repeated(m, e) || add_files(m, e) ||
        manifest_find_indexes(m, e)) {
        manifest_release(m);
        return -1;
    }
    count_records(m);
    return 0;
}

/* -------------------------------------------------------------- releasing -- */

static void release_file(const struct manifest *m, struct manifest_file *f)
{
    source_close(f->source);
    if (f->is_spooled)
        spool_give(m->options.spool, &f->object);
    csv_row_release(&f->header);
    if (f->index_object)
        object_release(f->index_object);
    if (f->index)
        shard_release(f->index);
    free(f->index_object);
    free(f->index);
    free(f->dir);
    free(f->path);
    object_release(&f->object);
}

void manifest_release(struct manifest *m)
{
    for (int64_t i = 0; i < m->file_count; i++)
        release_file(m, &m->files[i]);
    for (int i = 0; i < m->options.pattern_count && m->sources; i++)
        free(m->sources[i].pattern);
    free(m->sources);
    free(m->files);
    free(m->lines);
    memset(m, 0, sizeof *m);
}
