/* shard_index.c - what is in a shard, as a file beside it (shard.h).
 *
 *     {"shard":"x.tar","format":1,"size":20480,"crc32c":"0a1b2c3d","unpacked":20480,"columns":[],
 *      "samples":2,"members":4}                                             (one line)
 *     {"key":"a/17","length":62,"seconds":2.5,"members":[["flac",512,7000],["json",8192,40]]}
 *     {"key":"a/18","id":"x","length":0,"seconds":0,"members":[["flac",9216,6100],...]}
 *
 * A member may have a fourth value, its CRC-32C as eight hexadecimal digits.
 *
 * An index is made by whoever holds the shard, and read by others: nothing in it is taken on trust.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/mem.h"
#include "data/shard_build.h"
#include "data/tar.h"

enum { FORMAT = 1, SECONDS_MAX = 1000000 };

/* ---------------------------------------------------------------- writing -- */

static void write_key(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, ",\"%s\":", key);
    json_write_str(value, strlen(value), out);
}

static void write_head(const struct shard *s, const struct object *o, char *const *columns,
                       int column_count, struct buf *out)
{
    const char *name = path_base(o->uri);
    buf_add_str(out, "{\"shard\":");
    json_write_str(name, strlen(name), out);
    buf_printf(out, ",\"format\":%d,\"size\":%" PRId64, FORMAT, o->size);
    if (o->has_crc32c)
        buf_printf(out, ",\"crc32c\":\"%08" PRIx32 "\"", o->crc32c);
    if (o->digest[0])
        write_key(out, "digest", o->digest);
    buf_printf(out, ",\"unpacked\":%" PRId64 ",\"columns\":[", s->size);
    for (int i = 0; i < column_count; i++) {
        buf_add_str(out, i ? "," : "");
        json_write_str(columns[i], strlen(columns[i]), out);
    }
    buf_printf(out, "],\"samples\":%d,\"members\":%d}\n", s->record_count, s->member_count);
}

void shard_write_index(const struct shard *s, const struct object *o, char *const *columns,
                       int column_count, struct buf *out)
{
    write_head(s, o, columns, column_count, out);
    for (int i = 0; i < s->record_count; i++) {
        const struct shard_record *r = &s->records[i];
        buf_add_str(out, "{\"key\":");
        json_write_str(r->key, strlen(r->key), out);
        if (r->id)
            write_key(out, "id", r->id);
        buf_printf(out, ",\"length\":%" PRIu32 ",\"seconds\":%.9g,\"members\":[", r->length,
                   (double)r->seconds);
        for (int k = 0; k < r->count; k++) {
            const struct shard_member *m = &s->members[r->first + k];
            const char *suffix = shard_suffix(r, m);
            buf_add_str(out, k ? ",[" : "[");
            json_write_str(suffix, strlen(suffix), out);
            buf_printf(out, ",%" PRId64 ",%" PRId64, m->offset, m->size);
            if (m->has_crc)
                buf_printf(out, ",\"%08" PRIx32 "\"", m->crc);
            buf_add_char(out, ']');
        }
        buf_add_str(out, "]}\n");
    }
}

/* ---------------------------------------------------------------- reading -- */

/* Where the reader stands. */
struct reader {
    struct shard_build build;
    const struct object *object;
    const char *text, *end;               /* what is left */
    int64_t line;                         /* counted from 1 */
    int64_t samples, members;             /* that the head promises */
    int64_t at;                           /* where the last member ended */
    struct buf name;
};

/* The next line as an object; NULL at the end, and on error. */
static json_t *read_line(struct reader *r, struct err *e)
{
    if (r->text == r->end)
        return NULL;
    const char *line = r->text;
    const char *feed = memchr(line, '\n', (size_t)(r->end - line));
    size_t size = (size_t)((feed ? feed : r->end) - line);
    r->text = feed ? feed + 1 : r->end;
    r->line++;
    json_error_t at;
    json_t *o = json_loadb(line, size, JSON_REJECT_DUPLICATES, &at);
    if (!o)
        err_set(e, ERR_DATA, "column %d: %s", at.column > 0 ? at.column : 1, at.text);
    return o;
}

static int stale(const char *what, struct err *e)
{
    err_set(e, ERR_INTEGRITY, "the index belongs to another version of the shard: %s", what);
    return err_hint(e, "make it anew: attune data index");
}

static int check_version(const struct object *o, const json_t *head, struct err *e)
{
    int64_t size = json_need_int(head, "size", e), format = json_need_int(head, "format", e);
    const char *crc = json_get_str(head, "crc32c", NULL, e);
    const char *digest = json_get_str(head, "digest", NULL, e);
    char text[100];
    if (e->kind)
        return -1;
    if (format != FORMAT)
        return err_set(e, ERR_DATA, "an index of format %" PRId64 ", expected %d", format, FORMAT);
    if (o->size >= 0 && size != o->size) {
        snprintf(text, sizeof text, "of %" PRId64 " bytes, found %" PRId64, size, o->size);
        return stale(text, e);
    }
    snprintf(text, sizeof text, "%08" PRIx32, o->crc32c);
    if (crc && o->has_crc32c && strcmp(crc, text) != 0)
        return stale("its crc32c differs", e);
    if (digest && strlen(digest) == strlen(o->digest) && strcmp(digest, o->digest) != 0)
        return stale("its digest differs", e);
    return 0;
}

static int check_columns(const json_t *head, char *const *columns, int column_count, struct err *e)
{
    const json_t *list = json_need_array(head, "columns", e);
    if (!list)
        return -1;
    bool is_same = json_array_size(list) == (size_t)column_count;
    for (int i = 0; i < column_count && is_same; i++) {
        const char *column = json_string_value(json_array_get(list, (size_t)i));
        is_same = column && strcmp(column, columns[i]) == 0;
    }
    if (is_same)
        return 0;
    err_set(e, ERR_INTEGRITY, "the index was made with other columns");
    return err_hint(e, "make it anew with the same columns: attune data index");
}

static int read_head(struct reader *r, char *const *columns, int column_count, struct err *e)
{
    struct shard *s = r->build.shard;
    json_t *head = read_line(r, e);
    if (!head)
        return err_set(e, ERR_DATA, "an empty index");
    const char *extension = path_extension(r->object->uri);
    if (check_version(r->object, head, e) || check_columns(head, columns, column_count, e)) {
        json_decref(head);
        return -1;
    }
    s->size = json_need_int(head, "unpacked", e);
    r->samples = json_need_int(head, "samples", e);
    r->members = json_need_int(head, "members", e);
    json_decref(head);
    if (e->kind)
        return -1;
    if (s->size < 0 || (strcmp(extension, "tar") == 0 && !r->object->is_gzip &&
                        r->object->size >= 0 && s->size != r->object->size))
        return err_set(e, ERR_DATA, "\"unpacked\": found %" PRId64 " bytes, the shard has %" PRId64,
                       s->size, r->object->size);
    return 0;
}

/* "a/17": what can stand before the first dot of a name's last part. */
static int check_key(const char *key, struct err *e)
{
    const char *base = shard_base(key);
    if (!*base || strchr(base, '.'))
        return err_set(e, ERR_DATA, "\"key\": \"%s\" is not the beginning of a member's name", key);
    return shard_check_name(key, e) ? err_in(e, "\"key\"") : 0;
}

static int read_crc(struct shard_member *m, const json_t *v, struct err *e)
{
    const char *digits = json_string_value(v);
    if (!v)
        return 0;
    if (!digits || strlen(digits) != 8 || strspn(digits, "0123456789abcdef") != 8)
        return err_set(e, ERR_DATA, "a checksum that is not eight hexadecimal digits");
    m->has_crc = true;
    m->crc = (uint32_t)strtoul(digits, NULL, 16);
    return 0;
}

static int read_member(struct reader *r, const char *key, const json_t *v, struct err *e)
{
    const json_t *offset = json_array_get(v, 1), *size = json_array_get(v, 2);
    const char *suffix = json_string_value(json_array_get(v, 0));
    if (!suffix || !json_is_integer(offset) || !json_is_integer(size))
        return err_set(e, ERR_DATA, "expected [\"suffix\", offset, size]");
    int64_t at = json_integer_value(offset), bytes = json_integer_value(size);
    int64_t end = r->build.shard->size;
    if (at < r->at || at > end || bytes < 0 || bytes > end - at)
        return err_set(e, ERR_DATA,
                       "%" PRId64 " bytes at %" PRId64 ": expected from %" PRId64 " to %" PRId64,
                       bytes, at, r->at, end);
    if (strchr(suffix, '/') || shard_check_name(suffix, e))
        return err_set(e, ERR_DATA, "\"%s\" is not the end of a member's name", suffix);
    buf_clear(&r->name);
    buf_printf(&r->name, "%s.%s", key, suffix);
    if (buf_check(&r->name, "a member's name", e))
        return -1;
    r->at = at + bytes;
    if (shard_add_member(&r->build, r->name.data, at, bytes, e))
        return -1;
    return read_crc(&r->build.shard->members[r->build.shard->member_count - 1],
                    json_array_get(v, 3), e);
}

static int read_record(struct reader *r, const json_t *o, struct err *e)
{
    struct shard *s = r->build.shard;
    const char *key = json_need_str(o, "key", e), *id = json_get_str(o, "id", NULL, e);
    int64_t length = json_need_int(o, "length", e);
    double seconds = json_need_double(o, "seconds", e);
    const json_t *members = json_need_array(o, "members", e);
    if (e->kind || check_key(key, e))
        return -1;
    if (length < 0 || length > UINT32_MAX || !(seconds >= 0 && seconds <= SECONDS_MAX))
        return err_set(e, ERR_DATA, "\"length\" or \"seconds\" out of range");
    if (json_array_size(members) == 0)
        return err_set(e, ERR_DATA, "a sample without members");
    if (shard_add_record(&r->build, key, strlen(key), e))
        return -1;
    struct shard_record *record = &s->records[s->record_count - 1];
    record->id = id ? shard_keep(s, id, strlen(id)) : NULL;
    record->length = (uint32_t)length;
    record->seconds = (float)seconds;
    for (size_t i = 0; i < json_array_size(members); i++)
        if (read_member(r, key, json_array_get(members, i), e))
            return err_in(e, "members[%zu]", i);
    return 0;
}

static int read_records(struct reader *r, struct err *e)
{
    const struct shard *s = r->build.shard;
    for (json_t *o; (o = read_line(r, e));) {
        int failed = read_record(r, o, e);
        json_decref(o);
        if (failed)
            return -1;
    }
    if (e->kind)
        return -1;
    if (s->record_count != r->samples || s->member_count != r->members)
        return err_set(e, ERR_DATA,
                       "the index ends here: found %d samples and %d members, expected %" PRId64
                       " and %" PRId64,
                       s->record_count, s->member_count, r->samples, r->members);
    return shard_finish(&r->build, e);
}

int shard_read_index(struct shard *s, const struct object *o, char *const *columns,
                     int column_count, const char *text, size_t size, struct err *e)
{
    struct reader r = {.build = {.shard = s}, .object = o, .text = text, .end = text + size};
    memset(s, 0, sizeof *s);
    s->name = xstrdup(o->uri);
    buf_init(&r.name, TAR_NAME_MAX);
    if (read_head(&r, columns, column_count, e) || read_records(&r, e)) {
        err_in(e, "%s.idx:%" PRId64, o->uri, r.line > 0 ? r.line : 1);
        shard_release(s);
    }
    buf_release(&r.name);
    return e->kind ? -1 : 0;
}
