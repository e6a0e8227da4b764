/* drift.c - see drift.h. */
#include "train/drift.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { LINE_BYTES_MAX = 1 << 16, DIFFERENCES_SHOWN = 3 };
#define LIST_BYTES_MAX ((size_t)1 << 30)

/* ---------------------------------------------------------------- writing -- */

static void add_line(const struct object *o, struct buf *line)
{
    char crc[16] = "";
    json_t *v = json_object();
    json_put_str(v, "uri", o->uri);
    json_put_int(v, "size", o->size);
    if (*o->version)
        json_put_str(v, "version", o->version);
    snprintf(crc, sizeof crc, "%08x", (unsigned)o->crc32c);
    if (o->has_crc32c)
        json_put_str(v, "crc32c", crc);
    json_write_compact(v, line);
    buf_add_char(line, '\n');
    json_decref(v);
}

int drift_write(const char *path, const struct manifest *m, struct err *e)
{
    struct file_writer w;
    struct buf line;
    if (file_writer_open(&w, path, e))
        return -1;
    buf_init(&line, LINE_BYTES_MAX);
    int rc = 0;
    for (int64_t i = 0; i < m->file_count && !rc; i++) {
        buf_clear(&line);
        add_line(&m->files[i].object, &line);
        if (buf_check(&line, path, e) || file_writer_write(&w, line.data, line.size, e))
            rc = -1;
    }
    if (!rc)
        rc = file_writer_commit(&w, NULL, e);
    file_writer_abort(&w);
    buf_release(&line);
    return rc;
}

/* -------------------------------------------------------------- comparing -- */

/* A file of the list or of the manifest. */
struct entry {
    const char *uri;                   /* borrowed from `line` or the manifest */
    int64_t size;
    const char *version, *crc;         /* "" when not known */
    json_t *line;                      /* NULL: of the manifest */
    char crc_text[16];
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->uri, ((const struct entry *)b)->uri);
}

/* The lines of the list, sorted by name; lines that cannot be read are left out. */
static struct entry *read_list(const char *text, size_t size, size_t *count)
{
    struct entry *at = NULL;
    size_t room = 0;
    *count = 0;
    for (const char *line = text, *end; (end = memchr(line, '\n', size - (size_t)(line - text)));
         line = end + 1) {
        struct err e = {0};
        json_t *v = json_read_text("data.jsonl", line, (size_t)(end - line), &e);
        if (!v)
            continue;
        if (*count == room)
            at = mem_grow(at, &room, sizeof *at);
        struct entry *x = &at[*count];
        *x = (struct entry){.line = v};
        x->uri = json_need_str(v, "uri", &e);
        x->size = json_get_int(v, "size", -1, &e);
        x->version = json_get_str(v, "version", "", &e);
        x->crc = json_get_str(v, "crc32c", "", &e);
        if (e.kind)
            json_decref(v);
        else
            ++*count;
    }
    if (*count)
        qsort(at, *count, sizeof *at, compare_entries);
    return at;
}

static struct entry *list_manifest(const struct manifest *m)
{
    struct entry *at = xcalloc((size_t)m->file_count + 1, sizeof *at);
    for (int64_t i = 0; i < m->file_count; i++) {
        const struct object *o = &m->files[i].object;
        at[i] = (struct entry){.uri = o->uri, .size = o->size, .version = o->version};
        if (o->has_crc32c)
            snprintf(at[i].crc_text, sizeof at[i].crc_text, "%08x", (unsigned)o->crc32c);
    }
    if (m->file_count)
        qsort(at, (size_t)m->file_count, sizeof *at, compare_entries);
    for (int64_t i = 0; i < m->file_count; i++)
        at[i].crc = at[i].crc_text;
    return at;
}

/* How the two entries of one name differ; 0 when they do not. */
static int difference(const struct entry *now, const struct entry *was, char *out, size_t size)
{
    if (now->size != was->size)
        return snprintf(out, size, "is another version (%lld bytes, was %lld)",
                        (long long)now->size, (long long)was->size);
    if (strcmp(now->version, was->version) != 0)
        return snprintf(out, size, "is another version (%s, was %s)", now->version, was->version);
    if (strcmp(now->crc, was->crc) != 0)
        return snprintf(out, size, "has other bytes (CRC-32C %s, was %s)", now->crc, was->crc);
    return 0;
}

/* Walk both sorted lists side by side. */
static void describe(const struct entry *now, size_t n, const struct entry *was, size_t k,
                     struct buf *out)
{
    int64_t found = 0;
    for (size_t i = 0, j = 0; i < n || j < k;) {
        int order = i == n ? 1 : j == k ? -1 : strcmp(now[i].uri, was[j].uri);
        const char *uri = order > 0 ? was[j].uri : now[i].uri;
        char what[400];
        if (order < 0)
            snprintf(what, sizeof what, "is new");
        else if (order > 0)
            snprintf(what, sizeof what, "is gone");
        bool differs = order || difference(&now[i], &was[j], what, sizeof what);
        i += order <= 0;
        j += order >= 0;
        if (differs && ++found <= DIFFERENCES_SHOWN)
            buf_printf(out, "%s%s %s", found > 1 ? ", " : "", uri, what);
    }
    if (found > DIFFERENCES_SHOWN)
        buf_printf(out, ", and %lld more", (long long)found - DIFFERENCES_SHOWN);
}

void drift_describe(const char *path, const struct manifest *m, struct buf *out)
{
    struct err ignored = {0};
    size_t size, count;
    char *text = file_read(path, LIST_BYTES_MAX, &size, &ignored);
    if (!text)
        return;
    struct entry *was = read_list(text, size, &count);
    struct entry *now = list_manifest(m);
    describe(now, (size_t)m->file_count, was, count, out);
    for (size_t i = 0; i < count; i++)
        json_decref(was[i].line);
    free(was);
    free(now);
    free(text);
}
