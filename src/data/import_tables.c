/* import_tables.c - see import.h: rows out of files. */
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/mem.h"
#include "data/import.h"

/* ------------------------------------------------------------------- tables -- */

static bool is_table_with_header(const struct manifest_file *f)
{
    return f->kind == MANIFEST_CSV || f->kind == MANIFEST_TSV;
}

/* What must be among the columns of a table with a header. */
static int check_header(const struct import_names *names, const struct manifest_file *f,
                        char *const *columns, int column_count, struct err *e)
{
    if (import_names_check(columns, column_count, f->header.fields, f->header.count, e))
        return err_in(e, "%s", f->object.uri);
    if (names->of[ROLE_TEXT])
        return 0;
    struct buf list;
    buf_init(&list, 400);
    for (int i = 0; i < f->header.count; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", f->header.fields[i]);
    err_set(e, ERR_USAGE, "%s: no column is known for the text among: %s", f->object.uri,
            list.overflowed ? "(too many to show)" : list.data);
    buf_release(&list);
    return err_hint(e, "name it: --columns text=NAME");
}

/* A corpus whose name is a folder of the manifest's path: ".../en/voxpopuli/train.jsonl". */
static char *corpus_of(const char *uri, const struct import_place *place)
{
    for (int i = 0; i < place->root_count; i++) {
        size_t size = strcspn(place->roots[i], "=/");
        if (place->roots[i][size] != '=')
            continue;
        char *part = xasprintf("/%.*s/", (int)size, place->roots[i]);
        bool is_in = strstr(uri, part) != NULL;
        free(part);
        if (is_in)
            return xstrndup(place->roots[i], size);
    }
    return NULL;
}

struct table {
    struct import *import;
    const struct manifest *m;
    const struct import_options *options;
    const char *base;
    /* The file that rows come from now: */
    int64_t file;
    struct import_names names;
    char *corpus;
    enum import_split split;
};

static int begin_file(struct table *t, int64_t index, struct err *e)
{
    const struct manifest_file *f = &t->m->files[index];
    const struct import_options *o = t->options;
    t->file = index;
    free(t->corpus);
    t->corpus = corpus_of(f->object.uri, o->place);
    t->split = t->base ? import_split_of(f->object.uri, t->base) : SPLIT_NONE;
    if (!is_table_with_header(f))
        return 0;
    import_names_find(&t->names, f->header.fields, f->header.count, o->columns, o->column_count);
    return check_header(&t->names, f, o->columns, o->column_count, e);
}

static int read_row(struct table *t, int64_t i, struct err *e)
{
    const struct manifest_file *f = &t->m->files[t->file];
    struct record_ref ref = {.index = i, .file = (int32_t)t->file};
    struct err why = {0};
    char *where = manifest_where(t->m, &ref);
    json_t *o = manifest_json(t->m, &ref, NULL, NULL, &why);
    int result;
    if (o) {
        struct import_row row = {.json = o,
                                 .where = where,
                                 .dir = f->dir,
                                 .corpus = t->corpus,
                                 .names = is_table_with_header(f) ? &t->names : NULL,
                                 .split = t->split};
        result = import_row(t->import, &row, e);
    } else if (why.kind == ERR_DATA) {
        result = import_bad(t->import, where, &why, e);
    } else {
        *e = e->kind ? *e : why;
        result = err_in(e, "%s", where);
    }
    json_decref(o);
    free(where);
    return result;
}

int import_tables(struct import *m, const struct manifest *tables, const char *base, struct err *e)
{
    struct table t = {
        .import = m, .m = tables, .options = import_settings(m), .base = base, .file = -1};
    int result = 0;
    for (int64_t i = 0; i < tables->file_count; i++)
        if (tables->files[i].kind == MANIFEST_TAR)
            return err_set(e, ERR_USAGE, "%s: shards need no import: train from them as they are",
                           tables->files[i].object.uri);
    import_expect(m, tables->line_count);
    for (int64_t i = 0; i < tables->line_count && !result; i++) {
        if (tables->lines[i].file != t.file)
            result = begin_file(&t, tables->lines[i].file, e);
        if (!result)
            result = read_row(&t, i, e);
    }
    free(t.corpus);
    return result;
}

/* ------------------------------------------------------------ the Hub's layout -- */

enum import_split import_split_of(const char *path, const char *base)
{
    static const struct {
        const char *name;
        enum import_split split;
    } known[] = {{"train", SPLIT_TRAIN}, {"training", SPLIT_TRAIN}, {"validation", SPLIT_EVAL},
                 {"valid", SPLIT_EVAL},  {"val", SPLIT_EVAL},       {"dev", SPLIT_EVAL},
                 {"eval", SPLIT_EVAL},   {"test", SPLIT_TEST},      {"testing", SPLIT_TEST}};
    size_t front = strlen(base);
    const char *s = !strncmp(path, base, front) ? path + front : path;
    for (size_t size; *s; s += size + (s[size] != 0)) {
        size = strcspn(s, "/");
        if (!s[size])
            break;                         /* the file itself */
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (strlen(known[i].name) == size && !strncmp(s, known[i].name, size))
                return known[i].split;
    }
    return SPLIT_NONE;
}

/* What fits "uri/pattern", added to `l`; 1 when nothing does. */
static int match_below(struct net *net, const char *uri, const char *pattern, struct object_list *l,
                       struct err *e)
{
    struct err failure = {0};
    char *whole = path_join(uri, pattern);
    int result = source_match(net, l, whole, &failure);
    free(whole);
    if (!result || failure.kind == ERR_DATA)
        return result ? 1 : 0;
    *e = e->kind ? *e : failure;
    return -1;
}

int import_hub_tables(struct net *net, const char *uri, struct object_list *l, struct err *e)
{
    struct object_list parquet = {0};
    int csv = match_below(net, uri, "**/metadata.csv", l, e);
    int jsonl = csv < 0 ? -1 : match_below(net, uri, "**/metadata.jsonl", l, e);
    if (csv < 0 || jsonl < 0)
        return -1;
    if (!csv || !jsonl)
        return 0;
    int other = match_below(net, uri, "**/*.parquet", &parquet, e);
    object_list_release(&parquet);
    if (other < 0)
        return -1;
    if (other == 0) {
        err_set(e, ERR_DATA, "%s: holds Parquet files only, which are not read", uri);
        return err_hint(e, "with Python's datasets: load it with Audio(decode=False), write each "
                           "row's audio[\"bytes\"] to a file, and file_name and text of each into "
                           "metadata.csv beside them");
    }
    err_set(e, ERR_DATA, "%s: there is no metadata.csv or metadata.jsonl in it", uri);
    return err_hint(e, "a table with the columns file_name and text says which clip says what");
}
