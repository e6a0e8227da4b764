/* manifest_record.c - the records of a manifest, read one by one. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/manifest.h"

/* The bytes of a line, with a zero behind them; the caller frees. */
static char *read_line(const struct manifest *m, int64_t i, size_t *size, struct err *e)
{
    const struct manifest_line *l = &m->lines[i];
    if (l->size == UINT32_MAX) {
        err_set(e, ERR_DATA, "longer than the %d bytes that a record may have", MANIFEST_LINE_MAX);
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

static json_t *json_of_row(const struct manifest_file *f, const char *text, size_t size,
                           struct err *e)
{
    struct csv_row row = {0};
    json_t *o = NULL;
    if (csv_read(&row, text, size, f->kind == MANIFEST_TSV ? '\t' : ',', true, e) >= 0)
        o = csv_object(&row, &f->header, e);
    csv_row_release(&row);
    return o;
}

static json_t *json_of_line(const char *text, size_t size, struct err *e)
{
    json_error_t at;
    json_t *o = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (!o)
        err_set(e, ERR_DATA, "column %d: %s", at.column > 0 ? at.column : 1, at.text);
    else if (!json_is_object(o))
        err_set(e, ERR_DATA, "expected an object, found %s", json_kind_name(o));
    if (e->kind) {
        json_decref(o);
        return NULL;
    }
    return o;
}

json_t *manifest_json(const struct manifest *m, const struct record_ref *ref, shard_read_fn read,
                      void *arg, struct err *e)
{
    if (ref->shard)
        return shard_json(ref->shard, (int)ref->index, read, arg, e);
    const struct manifest_file *f = &m->files[m->lines[ref->index].file];
    size_t size;
    char *text = read_line(m, ref->index, &size, e);
    if (!text)
        return NULL;
    json_t *o =
        f->kind == MANIFEST_JSONL ? json_of_line(text, size, e) : json_of_row(f, text, size, e);
    free(text);
    return o;
}

char *manifest_where(const struct manifest *m, const struct record_ref *ref)
{
    if (ref->shard)
        return shard_where(ref->shard, (int)ref->index);
    const struct manifest_line *l = &m->lines[ref->index];
    return xasprintf("%s:%lld", m->files[l->file].object.uri, (long long)l->line);
}

/* Lines of JSON go to the parser as they are: it knows in which column they are wrong. */
static int parse_line(const struct manifest *m, int64_t i, const struct record_place *place,
                      struct record *r, struct err *e)
{
    size_t size;
    char *text = read_line(m, i, &size, e);
    if (!text)
        return err_in(e, "%s", place->where);
    int failed = record_parse(r, text, size, place, e);
    free(text);
    return failed;
}

int manifest_record(const struct manifest *m, const struct record_ref *ref, shard_read_fn read,
                    void *arg, const char *prompt, struct record *r, struct err *e)
{
    memset(r, 0, sizeof *r);
    char *where = manifest_where(m, ref);
    const struct manifest_file *f = &m->files[ref->file];
    struct record_place place = {
        .where = where,
        .dir = f->dir,
        .prompt = prompt,
        .shard = ref->shard,
        .index = ref->shard ? (int)ref->index : 0,
        .columns = m->options.columns,
        .column_count = m->options.column_count,
        .patch = m->options.patch,
    };
    int failed;
    if (!ref->shard && f->kind == MANIFEST_JSONL) {
        failed = parse_line(m, ref->index, &place, r, e);
    } else {
        json_t *o = manifest_json(m, ref, read, arg, e);
        failed = o ? record_of_json(r, o, &place, e) : err_in(e, "%s", where);
    }
    free(where);
    return failed;
}
