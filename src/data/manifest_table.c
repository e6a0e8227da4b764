/* manifest_table.c - where each record of a table begins, found in one pass over its bytes, which
 * are hashed in the same pass. */
#include "data/manifest_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { CHUNK = 1 << 20 };                 /* bytes read at a time */

/* Where the reader stands in a file. */
struct scan {
    struct manifest *m;
    int64_t file, *capacity;
    int64_t at;                           /* offset of the next byte */
    int64_t begin;                        /* offset of the row's first byte */
    int64_t line, next_line;              /* the line that the row begins in, and the next one */
    bool is_csv;
    struct csv_scan csv;
    bool is_blank;                        /* white space so far */
    char last;                            /* the byte before `at`, or before the line end there */
};

static int read_header(struct scan *s, int64_t size, struct err *e)
{
    struct manifest_file *f = &s->m->files[s->file];
    if (size > CSV_ROW_BYTES_MAX)
        return err_set(e, ERR_DATA, "the header is longer than %d bytes", CSV_ROW_BYTES_MAX);
    char *text = xmalloc((size_t)size + 1);
    int failed = source_read(f->source, s->begin, text, (size_t)size, e);
    char separator = f->kind == MANIFEST_TSV ? '\t' : ',';
    if (!failed && csv_read(&f->header, text, (size_t)size, separator, true, e) < 0)
        failed = err_in(e, "the header");
    free(text);
    return failed;
}

static int add_line(struct scan *s, int64_t size, struct err *e)
{
    struct manifest *m = s->m;
    if (m->line_count == MANIFEST_RECORDS_MAX)
        return err_set(e, ERR_DATA, "more than %d records", MANIFEST_RECORDS_MAX);
    if (m->line_count == *s->capacity) {
        *s->capacity = *s->capacity ? *s->capacity + *s->capacity / 2 : 1024;
        m->lines = xreallocarray(m->lines, (size_t)*s->capacity, sizeof *m->lines);
    }
    m->lines[m->line_count++] = (struct manifest_line){
        .offset = s->begin,
        .size = size > MANIFEST_LINE_MAX ? UINT32_MAX : (uint32_t)size,
        .file = (uint32_t)s->file,
        .line = s->line,
    };
    return 0;
}

/* A row ends in front of `end`, where its line end is, if it has one. */
static int end_row(struct scan *s, int64_t end, struct err *e)
{
    int64_t size = end - s->begin;
    size -= size > 0 && s->last == '\r';
    bool is_header = s->is_csv && !s->m->files[s->file].header.fields;
    if (!s->is_blank && (is_header ? read_header(s, size, e) : add_line(s, size, e)))
        return -1;
    s->line = s->next_line;
    s->begin = s->at;
    s->is_blank = true;
    return 0;
}

static bool is_blank(const char *p, size_t size, bool is_csv)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != '\r' && (is_csv || (p[i] != ' ' && p[i] != '\t')))
            return false;
    return true;
}

static int64_t count_lines(const char *p, size_t size)
{
    int64_t n = 0;
    for (const char *end = p + size; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        n++;
    return n;
}

/* Bytes of the row at `p` with its line end, 0: it does not end here. */
static size_t row_end(struct scan *s, const char *p, size_t size)
{
    if (s->is_csv)
        return csv_row_end(p, size, &s->csv);
    const char *end = memchr(p, '\n', size);
    return end ? (size_t)(end - p) + 1 : 0;
}

static int scan_bytes(struct scan *s, const char *p, size_t size, struct err *e)
{
    while (size > 0) {
        size_t n = row_end(s, p, size), taken = n ? n : size, text = n ? n - 1 : size;
        s->is_blank = s->is_blank && is_blank(p, text, s->is_csv);
        s->last = text > 0 ? p[text - 1] : s->last;
        s->next_line += s->is_csv ? count_lines(p, taken) : n > 0;
        s->at += (int64_t)taken;
        if (n && end_row(s, s->at - 1, e))
            return -1;
        p += taken;
        size -= taken;
    }
    return 0;
}

/* Files that are no text lines, told by how they begin. */
static int check_begin(const unsigned char *p, size_t size, struct err *e)
{
    if (size >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
        return err_set(e, ERR_DATA, "is UTF-16, expected UTF-8");
    if (size >= 4 && ((p[0] == 0x1f && p[1] == 0x8b) || !memcmp(p, "\x28\xb5\x2f\xfd", 4))) {
        err_set(e, ERR_DATA, "is compressed, expected lines of text");
        return err_hint(e, "compressed files are read when their names end in .gz or .zst");
    }
    if (size >= 4 && (!memcmp(p, "PAR1", 4) || !memcmp(p, "PK\3\4", 4)))
        return err_set(e, ERR_DATA, "is not text, expected lines of text");
    return 0;
}

int manifest_scan_table(struct manifest *m, int64_t file, int64_t *capacity, struct hash *hash,
                        struct err *e)
{
    const struct manifest_file *f = &m->files[file];
    int64_t size = source_size(f->source), before = m->line_count;
    struct scan s = {.m = m,
                     .file = file,
                     .capacity = capacity,
                     .line = 1,
                     .next_line = 1,
                     .is_csv = f->kind != MANIFEST_JSONL,
                     .is_blank = true,
                     .csv = {.separator = f->kind == MANIFEST_TSV ? '\t' : ','}};
    char *chunk = xmalloc(CHUNK);
    int failed = 0;
    for (int64_t offset = 0; offset < size && !failed; offset += CHUNK) {
        size_t n = size - offset < CHUNK ? (size_t)(size - offset) : CHUNK, skip = 0;
        failed = source_read(f->source, offset, chunk, n, e);
        if (!failed && offset == 0)
            failed = check_begin((const unsigned char *)chunk, n, e);
        if (failed)
            break;
        hash_add(hash, chunk, n);
        if (offset == 0 && n >= 3 && memcmp(chunk, "\xef\xbb\xbf", 3) == 0)
            s.at = s.begin = (int64_t)(skip = 3);
        failed = scan_bytes(&s, chunk + skip, n - skip, e);
    }
    free(chunk);
    /* The last row may lack its line end. */
    if (!failed && s.at > s.begin)
        failed = end_row(&s, s.at, e);
    if (!failed && m->line_count == before)
        failed = err_set(e, ERR_DATA, "holds no record");
    return failed;
}
