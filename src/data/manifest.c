/* manifest.c - see manifest.h. */
#include "data/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/record.h"

enum {
    CHUNK = 1 << 20,                      /* bytes read at a time while indexing */
    CLIP_BYTES_PER_TOKEN = 1280,          /* 40 ms of 16-bit sound at 16 kHz */
    TOKENS_PER_SECOND = 25,
    TEXT_BYTES_PER_TOKEN = 4,
};

/* --------------------------------------------------------------- indexing -- */

/* Where the reader stands in a file. */
struct scan {
    struct manifest *m;
    uint32_t file;
    int64_t capacity;
    int64_t at;                           /* offset of the next byte */
    int64_t begin;                        /* offset of the line's first byte */
    int64_t line;                         /* its number */
    bool is_blank;                        /* white space so far */
    char last;                            /* the byte before `at` */
};

static int end_line(struct scan *s, struct err *e)
{
    struct manifest *m = s->m;
    int64_t size = s->at - s->begin - (s->last == '\r' && s->at > s->begin);
    if (!s->is_blank) {
        if (m->count == MANIFEST_RECORDS_MAX)
            return err_set(e, ERR_DATA, "more than %d records", MANIFEST_RECORDS_MAX);
        if (m->count == s->capacity) {
            s->capacity = s->capacity ? 2 * s->capacity : 1024;
            m->lines = xreallocarray(m->lines, (size_t)s->capacity, sizeof *m->lines);
        }
        m->lines[m->count++] = (struct manifest_line){
            .offset = s->begin,
            .size = size > MANIFEST_LINE_MAX ? UINT32_MAX : (uint32_t)size,
            .file = s->file,
            .line = s->line,
        };
    }
    s->line++;
    s->begin = s->at + 1;
    s->is_blank = true;
    return 0;
}

static int scan_bytes(struct scan *s, const char *bytes, size_t size, struct err *e)
{
    for (size_t i = 0; i < size; i++, s->at++) {
        char c = bytes[i];
        if (c == '\n' && end_line(s, e))
            return -1;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
            s->is_blank = false;
        s->last = c;
    }
    return 0;
}

/* Files that are no text lines, told by how they begin. */
static int check_begin(const unsigned char *p, size_t size, struct err *e)
{
    if (size >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
        return err_set(e, ERR_DATA, "is UTF-16, expected UTF-8");
    if (size >= 4 && ((p[0] == 0x1f && p[1] == 0x8b) || !memcmp(p, "\x28\xb5\x2f\xfd", 4)))
        return err_set(e, ERR_DATA, "is compressed, expected lines of JSON");
    if (size >= 4 && (!memcmp(p, "PAR1", 4) || !memcmp(p, "PK\3\4", 4)))
        return err_set(e, ERR_DATA, "is not text, expected lines of JSON");
    return 0;
}

static int index_file(struct scan *s, struct hash *hash, char *chunk, struct err *e)
{
    const struct source *source = s->m->files[s->file].source;
    int64_t size = source_size(source);
    s->at = s->begin = 0;
    s->line = 1;
    s->is_blank = true;
    s->last = 0;
    for (int64_t offset = 0; offset < size; offset += CHUNK) {
        size_t n = size - offset < CHUNK ? (size_t)(size - offset) : CHUNK;
        if (source_read(source, offset, chunk, n, e))
            return -1;
        hash_add(hash, chunk, n);
        size_t skip = 0;
        if (offset == 0 && check_begin((const unsigned char *)chunk, n, e))
            return -1;
        if (offset == 0 && n >= 3 && memcmp(chunk, "\xef\xbb\xbf", 3) == 0)
            s->at = s->begin = (int64_t)(skip = 3);
        if (scan_bytes(s, chunk + skip, n - skip, e))
            return -1;
    }
    /* The last line may lack its end. */
    return s->at > s->begin ? end_line(s, e) : 0;
}

/* ---------------------------------------------------------------- opening -- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_repeated(const struct source_list *names, struct err *e)
{
    char **sorted = xmalloc((size_t)names->count * sizeof *sorted + 1);
    for (int64_t i = 0; i < names->count; i++)
        sorted[i] = names->names[i];
    int failed = 0;
    qsort(sorted, (size_t)names->count, sizeof *sorted, compare_names);
    for (int64_t i = 1; i < names->count && !failed; i++)
        if (strcmp(sorted[i], sorted[i - 1]) == 0)
            failed = err_set(e, ERR_DATA, "%s: given twice", sorted[i]);
    free(sorted);
    return failed;
}

static int add_files(struct manifest *m, const struct source_list *names, struct err *e)
{
    struct hash *hash = hash_new();
    char *chunk = xmalloc(CHUNK);
    struct scan s = {.m = m};
    int failed = 0;
    m->files = xcalloc((size_t)names->count, sizeof *m->files);
    for (int64_t i = 0; i < names->count && !failed; i++) {
        struct manifest_file *f = &m->files[i];
        f->source = source_open(names->names[i], e);
        if (!f->source) {
            failed = -1;
            break;
        }
        m->file_count++;
        f->name = xstrdup(names->names[i]);
        f->dir = path_dir(f->name);
        char head[64];
        int n = snprintf(head, sizeof head, " %" PRId64 "\n", source_size(f->source));
        hash_add(hash, path_base(f->name), strlen(path_base(f->name)));
        hash_add(hash, head, (size_t)n);
        s.file = (uint32_t)i;
        int64_t before = m->count;
        if (index_file(&s, hash, chunk, e))
            failed = err_in(e, "%s", f->name);
        else if (m->count == before)
            failed = err_set(e, ERR_DATA, "%s: holds no record", f->name);
    }
    unsigned char digest[HASH_SIZE];
    hash_end(hash, digest);
    hash_hex(digest, m->hash);
    hash_free(hash);
    free(chunk);
    return failed;
}

int manifest_open(struct manifest *m, char *const *patterns, int pattern_count, struct err *e)
{
    memset(m, 0, sizeof *m);
    struct source_list names = {0};
    int failed = 0;
    for (int i = 0; i < pattern_count && !failed; i++)
        failed = source_match(&names, patterns[i], e);
    if (!failed && names.count == 0)
        failed = err_set(e, ERR_DATA, "no data files are given");
    failed = failed || check_repeated(&names, e) || add_files(m, &names, e);
    source_list_release(&names);
    if (failed)
        manifest_release(m);
    return failed ? -1 : 0;
}

void manifest_release(struct manifest *m)
{
    for (int64_t i = 0; i < m->file_count; i++) {
        source_close(m->files[i].source);
        free(m->files[i].name);
        free(m->files[i].dir);
    }
    free(m->files);
    free(m->lines);
    memset(m, 0, sizeof *m);
}

/* ---------------------------------------------------------------- records -- */

char *manifest_read(const struct manifest *m, int64_t i, size_t *size, struct err *e)
{
    const struct manifest_line *l = &m->lines[i];
    if (l->size == UINT32_MAX) {
        err_set(e, ERR_DATA, "longer than the %d bytes that a line may have", MANIFEST_LINE_MAX);
        return NULL;
    }
    char *text = xmalloc((size_t)l->size + 1);
    if (source_read(m->files[l->file].source, l->offset, text, l->size, e)) {
        free(text);
        return NULL;
    }
    text[l->size] = 0;
    *size = l->size;
    return text;
}

char *manifest_where(const struct manifest *m, int64_t i)
{
    const struct manifest_line *l = &m->lines[i];
    return xasprintf("%s:%lld", m->files[l->file].name, (long long)l->line);
}

const char *manifest_dir(const struct manifest *m, int64_t i)
{
    return m->files[m->lines[i].file].dir;
}

static int64_t record_length(const struct manifest *m, int64_t i)
{
    struct err ignored = {0};
    size_t size;
    char *line = manifest_read(m, i, &size, &ignored);
    if (!line)
        return 0;
    struct record r;
    int64_t length = (int64_t)size / TEXT_BYTES_PER_TOKEN;
    if (record_parse(&r, line, size, "", manifest_dir(m, i), NULL, &ignored) == 0) {
        for (int k = 0; k < r.media_count && r.seconds <= 0; k++) {
            uint64_t bytes = r.media[k].size;
            if (r.media[k].uri && file_size(r.media[k].uri, &bytes, &ignored))
                bytes = 0;
            length += (int64_t)(bytes / CLIP_BYTES_PER_TOKEN);
        }
        if (r.seconds > 0 && r.seconds < 1e6)
            length += (int64_t)(r.seconds * TOKENS_PER_SECOND);
        record_release(&r);
    }
    free(line);
    return length;
}

uint32_t *manifest_lengths(const struct manifest *m)
{
    uint32_t *lengths = xcalloc((size_t)m->count + 1, sizeof *lengths);
    for (int64_t i = 0; i < m->count; i++) {
        int64_t length = record_length(m, i);
        lengths[i] = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
    }
    return lengths;
}

/* Every way to bring a clip has "audio" in a key, which may hide behind an escape (\u0061) at most:
 * without either there is nothing to parse. */
static bool has_sound(const struct manifest *m, int64_t i)
{
    struct err ignored = {0};
    size_t size;
    char *line = manifest_read(m, i, &size, &ignored);
    bool found = false;
    struct record r;
    if (line && (strstr(line, "audio") || strstr(line, "\\u00")) &&
        record_parse(&r, line, size, "", manifest_dir(m, i), NULL, &ignored) == 0) {
        found = r.media_count > 0;
        record_release(&r);
    }
    free(line);
    return found;
}

bool manifest_has_sound(const struct manifest *m, int64_t count)
{
    bool found = false;
    int64_t end = count > 0 && count < m->count ? count : m->count;
    for (int64_t i = 0; i < end && !found; i++)
        found = has_sound(m, i);
    return found;
}
