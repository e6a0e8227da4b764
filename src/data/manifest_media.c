/* manifest_media.c - are there sound, images, videos in the data?  Asked before training begins, so
 * that it reads no more than it must: of tables the lines until all that is asked for has been
 * seen, of shards the first sample.
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

/* A word to be found in lines, by its rarest letter. */
struct word {
    const char *text;
    size_t rarest;
};

static bool contains(const char *line, size_t size, struct word w)
{
    size_t n = strlen(w.text);
    if (n == 0 || size < n)
        return n == 0;
    /* Where the rarest letter of a whole word can stand. */
    const char *at = line + w.rarest, *end = line + (size - n) + w.rarest + 1;
    for (; (at = memchr(at, w.text[w.rarest], (size_t)(end - at))); at++)
        if (memcmp(at - w.rarest, w.text, n) == 0)
            return true;
    return false;
}

/* The bit of a kind. */
static unsigned bit(enum record_media_kind kind)
{
    return 1U << kind;
}

/* Does a line name the column that is mapped to a key with this word?  Names that JSON may write in
 * several ways are taken to be there. */
static bool names_column(const struct manifest *m, const char *line, size_t size, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ";
    for (int i = 0; i < m->options.column_count; i++) {
        const char *ours = m->options.columns[i], *theirs = strchr(ours, '=');
        if (!theirs || !contains(ours, (size_t)(theirs - ours), (struct word){word, 0}))
            continue;
        theirs++;
        if (theirs[strspn(theirs, plain)] || contains(line, size, (struct word){theirs, 0}))
            return true;
    }
    return false;
}

/* What a line can bring of what is wanted.  Every way to bring media has their kind in a key or a
 * type, and a video's sound is "sound"; their letters may hide behind escapes (\u0061), and keys
 * behind columns.  Lines without need not be parsed. */
static unsigned may_have(const struct manifest *m, unsigned wanted, const char *line, size_t size)
{
    static const struct {
        struct word word;
        enum record_media_kind kind;
    } signs[] = {{{"audio", 1}, RECORD_AUDIO},
                 {{"sound", 2}, RECORD_AUDIO},
                 {{"image", 3}, RECORD_IMAGE},
                 {{"video", 0}, RECORD_VIDEO}};
    unsigned may = 0;
    if (contains(line, size, (struct word){"\\u006", 0}) ||
        contains(line, size, (struct word){"\\u007", 0}))
        return wanted;
    for (int i = 0; i < 4; i++)
        if ((wanted & ~may & bit(signs[i].kind)) &&
            (contains(line, size, signs[i].word) ||
             names_column(m, line, size, signs[i].word.text)))
            may |= bit(signs[i].kind);
    return may;
}

static unsigned kinds_of(const struct record *r)
{
    unsigned kinds = 0;
    for (int i = 0; i < r->media_count; i++)
        kinds |= bit(r->media[i].kind);
    return kinds;
}

static unsigned kinds_of_line(const struct manifest *m, int64_t i, const char *line, size_t size)
{
    const struct manifest_file *f = &m->files[m->lines[i].file];
    struct err ignored = {0};
    struct record r = {0};
    struct record_place place = {.where = "",
                                 .dir = f->dir,
                                 .columns = m->options.columns,
                                 .column_count = m->options.column_count};
    bool is_bad = record_parse(&r, line, size, &place, &ignored) != 0;
    unsigned kinds = is_bad ? 0 : kinds_of(&r);
    record_release(&r);
    return kinds;
}

/* Rows of one table have the same columns: the header says whether they can have any media. */
static bool header_may_have(const struct manifest *m, const struct manifest_file *f)
{
    static const char *const words[] = {"audio", "image", "video", "messages"};
    bool may = false;
    for (int w = 0; w < 4; w++) {
        for (int i = 0; i < f->header.count; i++)
            may = may || strstr(f->header.fields[i], words[w]);
        for (int i = 0; i < m->options.column_count; i++)
            may = may || strstr(m->options.columns[i], words[w]);
    }
    return may;
}

static unsigned kinds_of_row(const struct manifest *m, int64_t i)
{
    struct err ignored = {0};
    struct record r = {0};
    struct record_ref ref = {.index = i, .file = (int32_t)m->lines[i].file};
    bool is_bad = manifest_record(m, &ref, NULL, NULL, NULL, &r, &ignored) != 0;
    unsigned kinds = is_bad ? 0 : kinds_of(&r);
    record_release(&r);
    return kinds;
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

static unsigned kinds_of_lines(const struct manifest *m, unsigned wanted, int64_t count)
{
    struct reader reader = {.file = -1};
    bool may = true;
    unsigned found = 0;
    int64_t file = -1, end = count > 0 && count < m->line_count ? count : m->line_count;
    for (int64_t i = 0; i < end && (wanted & ~found); i++) {
        const struct manifest_file *f = &m->files[m->lines[i].file];
        bool is_json = f->kind == MANIFEST_JSONL;
        if (m->lines[i].file != file)
            may = is_json || header_may_have(m, f);
        file = m->lines[i].file;
        if (!may)
            continue;
        const char *line = is_json ? next_line(&reader, m, i) : NULL;
        if (line && may_have(m, wanted & ~found, line, m->lines[i].size))
            found |= kinds_of_line(m, i, line, m->lines[i].size);
        else if (!is_json)
            found |= kinds_of_row(m, i);
    }
    free(reader.bytes);
    return found;
}

/* ------------------------------------------------------------------- shards -- */

static int read_source(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    return source_read(arg, offset, out, size, e);
}

enum { ALL = 1 << RECORD_AUDIO | 1 << RECORD_IMAGE | 1 << RECORD_VIDEO };

/* What the first sample of an opened shard has. */
static unsigned kinds_of_sample(const struct manifest *m, const struct shard *s, int32_t file,
                                struct source *source)
{
    struct err e = {0};
    struct record r = {0};
    struct record_ref ref = {.shard = s, .index = 0, .file = file};
    if (s->record_count == 0)
        return ALL;
    bool is_bad = manifest_record(m, &ref, read_source, source, NULL, &r, &e) != 0;
    unsigned kinds = is_bad ? ALL : kinds_of(&r);
    record_release(&r);
    return kinds;
}

/* The same for a shard that is a file here. */
static unsigned kinds_of_file(const struct manifest *m, int32_t file, const char *path)
{
    struct err e = {0};
    struct shard s;
    if (shard_index(&s, path, m->files[file].object.uri, m->options.columns,
                    m->options.column_count, &e))
        return ALL;
    struct source *source = source_open(NULL, path, &e);
    unsigned found = source ? kinds_of_sample(m, &s, file, source) : ALL;
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

/* Look at the first sample of a remote shard without fetching all of it: its kinds, -1 it does not
 * work like this. */
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
            found = (int)kinds_of_file(m, file, path);
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
    int found = source ? (int)kinds_of_sample(m, s, file, source) : -1;
    source_close(source);
    shard_release(&read);
    return found;
}

static unsigned kinds_of_spooled(const struct manifest *m, int32_t file)
{
    const struct object *o = &m->files[file].object;
    struct spool *spool = m->options.spool;
    struct err e = {0};
    char *path = NULL;
    if (!spool)
        return ALL;
    spool_want(spool, o);
    bool is_lost = spool_take(spool, o, &path, NULL, &e) != 0;
    unsigned found = is_lost ? ALL : kinds_of_file(m, file, path);
    spool_give(spool, o);
    free(path);
    return found;
}

static unsigned kinds_of_shard(const struct manifest *m, int32_t file)
{
    const struct manifest_file *f = &m->files[file];
    const char *plain = source_local_path(f->object.uri);
    if (manifest_is_packed(f))
        return kinds_of_spooled(m, file);
    if (plain)
        return kinds_of_file(m, file, plain);
    int found = ask_index(m, file);
    if (found < 0 && f->object.size > 0)
        found = peek(m, file);
    return found < 0 ? kinds_of_spooled(m, file) : (unsigned)found;
}

unsigned manifest_media(const struct manifest *m, unsigned wanted, int64_t count)
{
    unsigned found = kinds_of_lines(m, wanted, count);
    for (int64_t i = 0; i < m->file_count && (wanted & ~found); i++)
        if (m->files[i].kind == MANIFEST_TAR)
            return wanted & (found | kinds_of_shard(m, (int32_t)i));
    return wanted & found;
}

bool manifest_has_sound(const struct manifest *m, int64_t count)
{
    return manifest_media(m, bit(RECORD_AUDIO), count) != 0;
}

bool manifest_has_images(const struct manifest *m, int64_t count)
{
    return manifest_media(m, bit(RECORD_IMAGE), count) != 0;
}

bool manifest_has_video(const struct manifest *m, int64_t count)
{
    return manifest_media(m, bit(RECORD_VIDEO), count) != 0;
}
