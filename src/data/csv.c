/* csv.c - see csv.h. */
#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

/* ------------------------------------------------------------------- rows -- */

/* Outside of quotes: goes on behind the quote that opens a field before the line feed `feed` (NULL:
 * there is none), else behind that line feed.  Returns where. */
static const char *skip_plain(const char *at, const char *end, const char *feed,
                              struct csv_scan *scan)
{
    const char *stop = feed ? feed : end;
    for (const char *from = at; from < stop;) {
        const char *quote = memchr(from, '"', (size_t)(stop - from));
        if (!quote)
            break;
        if (quote == at ? !scan->is_inside : quote[-1] == scan->separator) {
            scan->is_quoted = true;
            return quote + 1;
        }
        from = quote + 1;
    }
    if (feed) {
        scan->is_inside = false;
        return feed + 1;
    }
    if (end > at)
        scan->is_inside = end[-1] != scan->separator;
    return end;
}

size_t csv_row_end(const char *text, size_t size, struct csv_scan *scan)
{
    const char *at = text, *end = text + size, *feed = NULL;
    bool is_feed_known = false;
    while (at < end) {
        if (scan->is_after_quote) {
            scan->is_after_quote = false;
            scan->is_quoted = *at == '"';
            scan->is_inside = true;
            at += scan->is_quoted;
        } else if (scan->is_quoted) {
            const char *quote = memchr(at, '"', (size_t)(end - at));
            scan->is_after_quote = quote != NULL;
            at = quote ? quote + 1 : end;
        } else {
            if (!is_feed_known || (feed && feed < at))
                feed = memchr(at, '\n', (size_t)(end - at));
            is_feed_known = true;
            at = skip_plain(at, end, feed, scan);
            if (feed && at == feed + 1 && !scan->is_quoted)
                return (size_t)(at - text);
        }
    }
    return 0;
}

/* A row that is being read. */
struct parse {
    const char *at, *end;
    char separator;
    char *out;                            /* where the next byte of a field goes */
};

/* What may follow a field: a separator (1), or the end of the row (0).  -1: neither. */
static int read_end(struct parse *p)
{
    size_t rest = (size_t)(p->end - p->at);
    bool is_end = rest == 0 || (rest == 1 && *p->at == '\n') ||
                  (rest == 2 && p->at[0] == '\r' && p->at[1] == '\n');
    if (is_end)
        return 0;
    return *p->at++ == p->separator ? 1 : -1;
}

static int read_quoted(struct parse *p, struct err *e)
{
    p->at++;
    for (;;) {
        const char *quote = memchr(p->at, '"', (size_t)(p->end - p->at));
        if (!quote)
            return err_set(e, ERR_DATA, "a quote that is never closed");
        memcpy(p->out, p->at, (size_t)(quote - p->at));
        p->out += quote - p->at;
        p->at = quote + 1;
        if (p->at == p->end || *p->at != '"')
            break;
        *p->out++ = '"';
        p->at++;
    }
    int more = read_end(p);
    if (more < 0)
        err_set(e, ERR_DATA, "bytes behind the closing quote (a quote inside is written \"\")");
    return more;
}

static int read_plain(struct parse *p, struct err *e)
{
    for (; p->at < p->end; p->at++) {
        char c = *p->at;
        if (c == p->separator || c == '\n' || c == '\r')
            break;
        if (c == '"') {
            err_set(e, ERR_DATA, "a quote inside a field that does not begin with one");
            return err_hint(e, "write such a field as \"...\", with \"\" for each quote inside");
        }
        *p->out++ = c;
    }
    int more = read_end(p);
    return more < 0 ? err_set(e, ERR_DATA, "a carriage return without a line feed") : more;
}

/* The next field: 1 when another one follows. */
static int read_field(struct parse *p, struct csv_row *row, size_t *capacity, struct err *e)
{
    if (row->count == CSV_FIELDS_MAX)
        return err_set(e, ERR_DATA, "more than %d fields", CSV_FIELDS_MAX);
    if ((size_t)row->count == *capacity)
        row->fields = mem_grow(row->fields, capacity, sizeof *row->fields);
    char *field = row->fields[row->count++] = p->out;
    bool is_quoted = p->at < p->end && *p->at == '"';
    int more = is_quoted ? read_quoted(p, e) : read_plain(p, e);
    size_t size = (size_t)(p->out - field);
    *p->out++ = 0;
    if (more < 0)
        return -1;
    if (memchr(field, 0, size))
        return err_set(e, ERR_DATA, "a zero byte");
    if (!utf8_is_valid(field, size))
        return err_set(e, ERR_DATA, "bytes that are not UTF-8");
    return more;
}

/* The row of `size` bytes, with its line end if it has one. */
static int read_row(struct csv_row *row, const char *text, size_t size, char separator,
                    struct err *e)
{
    bool is_blank =
        (size == 1 && text[0] == '\n') || (size == 2 && text[0] == '\r' && text[1] == '\n');
    if (size == 0 || is_blank)
        return 0;
    /* Each field but the last leaves its separator, which makes room for its zero. */
    row->text = xmalloc(size + 1);
    struct parse p = {.at = text, .end = text + size, .separator = separator, .out = row->text};
    size_t capacity = 0;
    int more;
    do
        more = read_field(&p, row, &capacity, e);
    while (more == 1);
    return more < 0 ? err_in(e, "field %d", row->count) : 0;
}

int64_t csv_read(struct csv_row *row, const char *text, size_t size, char separator, bool is_last,
                 struct err *e)
{
    memset(row, 0, sizeof *row);
    size_t rest = size > CSV_ROW_BYTES_MAX ? CSV_ROW_BYTES_MAX : size;
    struct csv_scan scan = {.separator = separator};
    size_t row_size = csv_row_end(text, rest, &scan);
    if (row_size == 0 && rest < size)
        return err_set(e, ERR_DATA, "a row of more than %d bytes", CSV_ROW_BYTES_MAX);
    if (row_size == 0 && !is_last)
        return 0;
    if (row_size == 0)
        row_size = rest;
    if (read_row(row, text, row_size, separator, e)) {
        csv_row_release(row);
        return -1;
    }
    return (int64_t)row_size;
}

void csv_row_release(struct csv_row *row)
{
    free(row->fields);
    free(row->text);
    memset(row, 0, sizeof *row);
}

/* ---------------------------------------------------------------- objects -- */

/* A number as JSON writes it; NULL when the field is something else. */
static json_t *read_number(const char *field)
{
    json_t *v = json_loads(field, JSON_DECODE_ANY, NULL);
    if (v && !json_is_number(v)) {
        json_decref(v);
        v = NULL;
    }
    return v;
}

/* Keys whose values are lists (record.h).  A file may be called "[1] a.wav": others are texts. */
static bool is_list(const char *name)
{
    static const char *const lists[] = {"messages", "audios", "images", "videos", "segments"};
    size_t i = 0;
    while (i < sizeof lists / sizeof *lists && strcmp(name, lists[i]) != 0)
        i++;
    return i < sizeof lists / sizeof *lists;
}

static json_t *value_of(const char *name, const char *field, struct err *e)
{
    json_t *v = NULL;
    bool is_json = field[0] == '{' || field[0] == '[';
    if (strcmp(name, "duration") == 0 || strcmp(name, "audio_seconds") == 0) {
        v = read_number(field);
        if (!v)
            err_set(e, ERR_DATA, "\"%s\": \"%.40s\" is not a number", name, field);
        return v;
    }
    if (is_json && is_list(name)) {
        json_error_t at;
        v = json_loads(field, JSON_REJECT_DUPLICATES, &at);
        if (!v)
            err_set(e, ERR_DATA, "\"%s\": character %d: %s", name, at.position, at.text);
        return v;
    }
    v = json_string(field);
    if (!v)
        err_set(e, ERR_DATA, "\"%s\": bytes that are not UTF-8", name);
    return v;
}

json_t *csv_object(const struct csv_row *row, const struct csv_row *header, struct err *e)
{
    if (row->count != header->count) {
        err_set(e, ERR_DATA, "found %d fields, expected %d as in the header", row->count,
                header->count);
        return NULL;
    }
    json_t *o = json_object();
    for (int i = 0; i < row->count && !e->kind; i++) {
        const char *name = header->fields[i];
        json_t *v = row->fields[i][0] ? value_of(name, row->fields[i], e) : NULL;
        if (v && json_object_get(o, name)) {
            err_set(e, ERR_DATA, "the header has the column \"%s\" twice", name);
            json_decref(v);
        } else if (v) {
            json_put(o, name, v);
        }
    }
    if (e->kind) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---------------------------------------------------------------- writing -- */

void csv_write(const char *field, char separator, struct buf *out)
{
    const char special[] = {'"', '\n', '\r', separator, 0};
    if (!strpbrk(field, special)) {
        buf_add_str(out, field);
        return;
    }
    buf_add_char(out, '"');
    for (const char *p = field;;) {
        size_t n = strcspn(p, "\"");
        buf_add(out, p, n);
        if (!p[n])
            break;
        buf_add_str(out, "\"\"");
        p += n + 1;
    }
    buf_add_char(out, '"');
}
