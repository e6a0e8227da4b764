/* manifest_sound.c - is there sound in the data?  Asked before training begins, so that it reads no
 * more than it must: of tables the lines up to the first clip, of shards the first sample.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/manifest.h"
#include "data/tar.h"

enum {
    PIECE = 1 << 20,                      /* bytes of lines read at a time */
    PEEK_MIN = 256 << 10,                 /* of a shard, to find its first sample ... */
    PEEK_MAX = 16 << 20,                  /* ... and at most */
    PEEK_STEP = 8,                        /* so many times as many with each try */
    TAR_END = 1024,                       /* bytes of zeros that end an archive */
};

/* ------------------------------------------------------------------- tables -- */

static bool contains(const char *p, size_t size, const char *part)
{
    size_t n = strlen(part);
    for (const char *end = p + size; size >= n && (p = memchr(p, part[0], size - n + 1)); p++) {
        if (memcmp(p, part, n) == 0)
            return true;
        size = (size_t)(end - p) - 1;
    }
    return false;
}

/* Every way to bring a clip has "audio" in a key, which may hide behind an escape (\u0061) at most:
 * lines without either need not be parsed, unless columns are renamed. */
static bool may_have_sound(const struct manifest *m, const char *line, size_t size)
{
    return m->options.column_count > 0 || contains(line, size, "audio") ||
           contains(line, size, "\\u00");
}

static bool has_sound(const struct manifest *m, int64_t i, const char *line, size_t size)
{
    const struct manifest_file *f = &m->files[m->lines[i].file];
    if (!may_have_sound(m, line, size))
        return false;
    struct err ignored = {0};
    struct record r = {0};
    struct record_place place = {.where = "",
                                 .dir = f->dir,
                                 .columns = m->options.columns,
                                 .column_count = m->options.column_count};
    bool found = record_parse(&r, line, size, &place, &ignored) == 0 && r.media_count > 0;
    record_release(&r);
    return found;
}

/* Rows of one table have the same columns: the header says whether they can. */
static bool header_may_have_sound(const struct manifest *m, const struct manifest_file *f)
{
    bool may = false;
    for (int i = 0; i < f->header.count; i++)
        may = may || strstr(f->header.fields[i], "audio") ||
              strcmp(f->header.fields[i], "messages") == 0;
    for (int i = 0; i < m->options.column_count; i++)
        may = may || strstr(m->options.columns[i], "audio") ||
              strstr(m->options.columns[i], "messages");
    return may;
}

static bool row_has_sound(const struct manifest *m, int64_t i)
{
    struct err ignored = {0};
    struct record r = {0};
    struct record_ref ref = {.index = i, .file = (int32_t)m->lines[i].file};
    bool found = manifest_record(m, &ref, NULL, NULL, NULL, &r, &ignored) == 0 && r.media_count > 0;
    record_release(&r);
    return found;
}

/* Lines that follow each other, read in large pieces. */
struct reader {
    char *bytes;
    int64_t file, begin, end;             /* what of which file is in `bytes` */
};

/* Line `i`, NULL when it cannot be read; valid until the next call. */
static const char *next_line(struct reader *r, const struct manifest *m, int64_t i)
{
    const struct manifest_line *l = &m->lines[i];
    const struct source *source = m->files[l->file].source;
    struct err ignored = {0};
    if (l->size == UINT32_MAX)
        return NULL;
    if (r->file != l->file || l->offset < r->begin || l->offset + l->size > r->end) {
        int64_t size = l->size > PIECE ? l->size : PIECE, rest = source_size(source) - l->offset;
        size = size < rest ? size : rest;
        r->bytes = xrealloc(r->bytes, (size_t)size + 1);
        r->file = l->file;
        r->begin = r->end = l->offset;
        if (source_read(source, l->offset, r->bytes, (size_t)size, &ignored))
            return NULL;
        r->end = l->offset + size;
    }
    return r->bytes + (l->offset - r->begin);
}

static bool lines_have_sound(const struct manifest *m, int64_t count)
{
    struct reader reader = {.file = -1};
    bool found = false, may = true;
    int64_t file = -1, end = count > 0 && count < m->line_count ? count : m->line_count;
    for (int64_t i = 0; i < end && !found; i++) {
        const struct manifest_file *f = &m->files[m->lines[i].file];
        if (m->lines[i].file != file)
            may = f->kind == MANIFEST_JSONL || header_may_have_sound(m, f);
        file = m->lines[i].file;
        if (!may)
            continue;
        const char *line = f->kind == MANIFEST_JSONL ? next_line(&reader, m, i) : NULL;
        found = line ? has_sound(m, i, line, m->lines[i].size)
                     : f->kind != MANIFEST_JSONL && row_has_sound(m, i);
    }
    free(reader.bytes);
    return found;
}

/* ------------------------------------------------------------------- shards -- */

static int read_source(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    return source_read(arg, offset, out, size, e);
}

/* Does the first sample of an opened shard have a clip? */
static bool sample_has_sound(const struct manifest *m, const struct shard *s, int32_t file,
                             struct source *source)
{
    struct err e = {0};
    struct record r = {0};
    struct record_ref ref = {.shard = s, .index = 0, .file = file};
    if (s->record_count == 0)
        return true;
    bool found = manifest_record(m, &ref, read_source, source, NULL, &r, &e) || r.media_count > 0;
    record_release(&r);
    return found;
}

/* The same for a shard that is a file here. */
static bool file_has_sound(const struct manifest *m, int32_t file, const char *path)
{
    struct err e = {0};
    struct shard s;
    if (shard_index(&s, path, m->files[file].object.uri, m->options.columns,
                    m->options.column_count, &e))
        return true;
    struct source *source = source_open(NULL, path, &e);
    bool found = !source || sample_has_sound(m, &s, file, source);
    source_close(source);
    shard_release(&s);
    return found;
}

/* Bytes of a name up to the first dot of its last part. */
static size_t key_size(const char *name)
{
    const char *base = path_base(name);
    return (size_t)(base - name) + strcspn(base, ".");
}

/* Where the second sample begins in the beginning of an archive, 0: not in here. */
static int64_t first_sample_end(const char *path)
{
    struct err ignored = {0};
    struct tar t;
    struct tar_entry entry;
    char *key = NULL;
    int64_t end = 0;
    if (tar_open(&t, path, &ignored))
        return 0;
    while (end == 0 && tar_next(&t, &entry, &ignored) == 1) {
        size_t size = key_size(entry.name);
        if (entry.type != TAR_FILE)
            continue;
        if (!key)
            key = xstrndup(entry.name, size);
        else if (strlen(key) != size || memcmp(key, entry.name, size) != 0)
            end = entry.header;
    }
    free(key);
    tar_close(&t);
    return end;
}

/* Make an archive of the first sample alone out of the first bytes of one, of which there are
 * `size` with room for its end mark behind them. */
static bool cut_first_sample(const char *path, char *bytes, size_t size)
{
    struct err ignored = {0};
    if (file_write(path, bytes, size, &ignored))
        return false;
    int64_t end = first_sample_end(path);
    if (end == 0)
        return false;
    memset(bytes + end, 0, TAR_END);
    return file_write(path, bytes, (size_t)end + TAR_END, &ignored) == 0;
}

/* Look at the first sample of a remote shard without fetching all of it: 1 sound, 0 none, -1 it
 * does not work like this. */
static int peek(const struct manifest *m, int32_t file)
{
    const struct object *o = &m->files[file].object;
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/attune-peek-XXXXXX", base && *base ? base : "/tmp");
    struct err e = {0};
    int fd = mkstemp(path), found = -1;
    struct source *source = fd < 0 ? NULL : source_open_object(m->options.net, o, &e);
    for (int64_t size = PEEK_MIN; source && size <= PEEK_MAX && found < 0 && !e.kind;
         size *= PEEK_STEP) {
        size_t n = (size_t)(size < o->size ? size : o->size);
        char *bytes = xmalloc(n + TAR_END);
        if (source_read(source, 0, bytes, n, &e) == 0 && cut_first_sample(path, bytes, n))
            found = file_has_sound(m, file, path);
        free(bytes);
    }
    source_close(source);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return found;
}

static int ask_index(const struct manifest *m, int32_t file)
{
    const struct manifest_file *f = &m->files[file];
    struct err e = {0};
    struct shard read = {0};
    const struct shard *s = f->index;
    if (!s && f->index_object &&
        manifest_read_indexes(m, m->options.net, &file, 1, &read, &e) == 0 && read.name)
        s = &read;
    struct source *source = s ? source_open_object(m->options.net, &f->object, &e) : NULL;
    int found = source ? sample_has_sound(m, s, file, source) : -1;
    source_close(source);
    shard_release(&read);
    return found;
}

static bool spooled_has_sound(const struct manifest *m, int32_t file)
{
    const struct object *o = &m->files[file].object;
    struct spool *spool = m->options.spool;
    struct err e = {0};
    char *path = NULL;
    if (!spool)
        return true;
    spool_want(spool, o);
    bool found = spool_take(spool, o, &path, NULL, &e) || file_has_sound(m, file, path);
    spool_give(spool, o);
    free(path);
    return found;
}

static bool shard_has_sound(const struct manifest *m, int32_t file)
{
    const struct manifest_file *f = &m->files[file];
    const char *plain = source_local_path(f->object.uri);
    if (manifest_is_packed(f))
        return spooled_has_sound(m, file);
    if (plain)
        return file_has_sound(m, file, plain);
    int found = ask_index(m, file);
    if (found < 0 && f->object.size > 0)
        found = peek(m, file);
    return found < 0 ? spooled_has_sound(m, file) : found;
}

bool manifest_has_sound(const struct manifest *m, int64_t count)
{
    if (lines_have_sound(m, count))
        return true;
    for (int64_t i = 0; i < m->file_count; i++)
        if (m->files[i].kind == MANIFEST_TAR)
            return shard_has_sound(m, (int32_t)i);
    return false;
}
