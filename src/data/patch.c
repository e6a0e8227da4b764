/* patch.c - see patch.h.
 *
 * All rows of all files go into one list, which is sorted by id (and, among equals, by the order of
 * reading) and merged: a record is found by bisection.
 */
#include "data/patch.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "data/csv.h"
#include "data/source.h"

enum { FILES_MAX = 100000, FILE_BYTES_MAX = 1 << 30, FOLDERS = 5 };

static const char *const folders[FOLDERS] = {"delete", "do_not_blacklist", "override_text",
                                             "override_text_perfect", "override_text_verbatim"};

struct row {
    char *id;                             /* owned */
    struct patch_entry entry;             /* its text is owned */
    int64_t order;
};

struct patch {
    struct row *rows;                     /* [count] sorted by id */
    size_t count, capacity;
    char hash[HASH_HEX_SIZE];
};

/* A file to be read: "delete/a.csv" below the folder. */
struct file {
    char *name;
    int folder;                           /* index into folders */
};

struct file_list {
    struct file *at;
    size_t count, capacity;
    bool has_folder;                      /* one of the folders is there, maybe empty */
};

/* --------------------------------------------------------------- the files -- */

static int check_folder(const char *name, size_t size, struct err *e)
{
    char *folder = xstrndup(name, size);
    int failed = 0;
    for (int i = 0; i < FOLDERS && !failed; i++) {
        if (suggest_distance(folder, folders[i]) > 2)
            continue;
        failed = err_set(e, ERR_USAGE, "the folder \"%s\" looks like \"%s\"", folder, folders[i]);
        err_hint(e, "rename it");
    }
    free(folder);
    return failed;
}

/* Take up a file "folder/rest" that belongs here. */
static int add_file(struct file_list *l, const char *name, struct err *e)
{
    const char *slash = strchr(name, '/');
    if (!slash)
        return 0;
    int folder = 0;
    size_t size = (size_t)(slash - name);
    while (folder < FOLDERS && (strncmp(name, folders[folder], size) != 0 || folders[folder][size]))
        folder++;
    if (folder == FOLDERS)
        return check_folder(name, size, e);
    l->has_folder = true;
    const char *rest = slash + 1, *extension = path_extension(rest);
    if (rest[0] == '.' || rest[0] == 0)
        return 0;
    if (strchr(rest, '/') || (strcmp(extension, "csv") != 0 && strcmp(extension, "tsv") != 0)) {
        err_set(e, ERR_USAGE, "%s: not a .csv or .tsv file", name);
        return err_hint(e, "only tables can lie in a folder of patches");
    }
    if (l->count == FILES_MAX)
        return err_set(e, ERR_USAGE, "more than %d files", FILES_MAX);
    if (l->count == l->capacity)
        l->at = mem_grow(l->at, &l->capacity, sizeof *l->at);
    l->at[l->count++] = (struct file){.name = xstrdup(name), .folder = folder};
    return 0;
}

static int list_local(struct file_list *l, const char *dir, struct err *e)
{
    struct dir_list top, inner = {0};
    if (dir_list_read(&top, dir, e))
        return -1;
    int failed = 0;
    for (size_t i = 0; i < top.count && !failed; i++) {
        char *path = path_join(dir, top.names[i]), *folder = xasprintf("%s/", top.names[i]);
        if (!file_is_dir(path)) {
            free(path);
            free(folder);
            continue;
        }
        failed = add_file(l, folder, e) || dir_list_read(&inner, path, e);
        for (size_t k = 0; k < inner.count && !failed; k++) {
            char *name = xasprintf("%s%s", folder, inner.names[k]);
            failed = add_file(l, name, e);
            free(name);
        }
        dir_list_release(&inner);
        free(path);
        free(folder);
    }
    dir_list_release(&top);
    return failed ? -1 : 0;
}

static int list_remote(struct file_list *l, struct net *net, const char *dir, struct err *e)
{
    if (!net)
        return err_set(e, ERR_USAGE, "only local folders can be read here");
    struct object_list objects = {0};
    char *prefix = xasprintf("%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/");
    int failed = store_list(net, prefix, FILES_MAX, &objects, e);
    for (int64_t i = 0; i < objects.count && !failed; i++)
        failed = add_file(l, objects.at[i].uri + strlen(prefix), e);
    object_list_release(&objects);
    free(prefix);
    return failed;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void file_list_release(struct file_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i].name);
    free(l->at);
}

/* ---------------------------------------------------------------- the rows -- */

/* The part of an id that counts: "17" of " 17.0 ". */
static size_t trim_id(const char **id)
{
    while (isspace((unsigned char)**id))
        (*id)++;
    size_t size = strlen(*id);
    while (size > 0 && isspace((unsigned char)(*id)[size - 1]))
        size--;
    size_t digits = strspn(*id + (**id == '-'), "0123456789");
    size_t whole = digits + (**id == '-');
    bool is_number = digits > 0 && size == whole + 2 && memcmp(*id + whole, ".0", 2) == 0;
    return is_number ? whole : size;
}

/* Which columns hold id and text (-1: there is none). */
static int find_columns(const struct csv_row *header, int *id, int *text, struct err *e)
{
    *id = *text = -1;
    int new_text = -1;
    for (int i = 0; i < header->count; i++) {
        int *column = strcmp(header->fields[i], "id") == 0         ? id
                      : strcmp(header->fields[i], "text") == 0     ? text
                      : strcmp(header->fields[i], "new_text") == 0 ? &new_text
                                                                   : NULL;
        if (column && *column >= 0)
            return err_set(e, ERR_DATA, "the column \"%s\" is there twice", header->fields[i]);
        if (column)
            *column = i;
    }
    if (new_text >= 0)
        *text = new_text;
    if (*text < 0 && header->count > 1)
        *text = *id == 1 ? 0 : 1;
    if (*id >= 0)
        return 0;
    err_set(e, ERR_DATA, "no column \"id\", the first one is \"%.80s\"",
            header->count ? header->fields[0] : "");
    return err_hint(e, "the first line of a table of patches names its columns");
}

/* Where the reader stands in a table. */
struct table {
    struct patch *patch;
    int folder;
    struct csv_row header;
    int id, text;                         /* columns */
    int64_t line;                         /* the row's first line, from 1 */
};

static int add_row(struct table *t, const struct csv_row *row, struct err *e)
{
    struct patch *p = t->patch;
    if (row->count != t->header.count)
        return err_set(e, ERR_DATA, "found %d fields, expected %d as in the header", row->count,
                       t->header.count);
    const char *id = row->fields[t->id];
    size_t size = trim_id(&id);
    if (size == 0)
        return err_set(e, ERR_DATA, "a row without an id");
    if (p->count == PATCH_ROWS_MAX)
        return err_set(e, ERR_DATA, "more than %d rows of patches", PATCH_ROWS_MAX);
    if (p->count == p->capacity)
        p->rows = mem_grow(p->rows, &p->capacity, sizeof *p->rows);
    struct row *r = &p->rows[p->count];
    *r = (struct row){.id = xstrndup(id, size), .order = (int64_t)p->count};
    p->count++;
    r->entry.is_deleted = t->folder == 0;
    r->entry.is_protected = t->folder == 1;
    if (t->folder >= 2)
        r->entry.text = xstrdup(row->fields[t->text]);
    return 0;
}

static int64_t count_lines(const char *text, int64_t size)
{
    int64_t lines = 0;
    for (int64_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}

static int read_header(struct table *t, const struct csv_row *row, struct err *e)
{
    if (find_columns(row, &t->id, &t->text, e))
        return -1;
    if (t->folder >= 2 && t->text < 0)
        return err_set(e, ERR_DATA, "no column for the text, the only one is \"id\"");
    return 0;
}

static int read_table(struct table *t, const char *text, size_t size, char separator, struct err *e)
{
    int failed = 0;
    size_t mark = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    t->line = 1;
    for (size_t at = mark; at < size && !failed;) {
        struct csv_row row;
        int64_t n = csv_read(&row, text + at, size - at, separator, true, e);
        if (n < 0)
            return -1;
        bool is_header = row.count > 0 && t->header.count == 0;
        if (is_header)
            failed = read_header(t, &row, e);
        else if (row.count > 0)
            failed = add_row(t, &row, e);
        if (is_header)
            t->header = row;
        else
            csv_row_release(&row);
        if (!failed)
            t->line += count_lines(text + at, n);
        at += (size_t)n;
    }
    if (!failed && t->header.count == 0)
        failed = err_set(e, ERR_DATA, "an empty table");
    return failed;
}

static int read_file(struct patch *p, struct net *net, const char *dir, const struct file *f,
                     struct hash *hash, struct err *e)
{
    char *uri = source_resolve(dir, f->name), head[64];
    size_t size;
    char *text = source_load(net, uri, FILE_BYTES_MAX, &size, e);
    struct table t = {.patch = p, .folder = f->folder};
    int failed = -1;
    if (text) {
        int n = snprintf(head, sizeof head, " %zu\n", size);
        hash_add(hash, f->name, strlen(f->name));
        hash_add(hash, head, (size_t)n);
        hash_add(hash, text, size);
        bool is_tsv = strcmp(path_extension(f->name), "tsv") == 0;
        failed = read_table(&t, text, size, is_tsv ? '\t' : ',', e);
        if (failed)
            err_in(e, "%s:%" PRId64, uri, t.line);
    }
    csv_row_release(&t.header);
    free(text);
    free(uri);
    return failed;
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void release_row(struct row *r)
{
    free(r->id);
    free((char *)(uintptr_t)r->entry.text);
}

/* One row an id: the last text, and every flag that any of its rows has. */
static void merge_rows(struct patch *p)
{
    size_t count = 0;
    if (p->count > 0)
        qsort(p->rows, p->count, sizeof *p->rows, compare_rows);
    for (size_t i = 0; i < p->count; i++) {
        struct row *r = &p->rows[i], *last = count ? &p->rows[count - 1] : NULL;
        if (!last || strcmp(last->id, r->id) != 0) {
            p->rows[count++] = *r;
            continue;
        }
        last->entry.is_deleted |= r->entry.is_deleted;
        last->entry.is_protected |= r->entry.is_protected;
        if (r->entry.text) {
            const char *text = last->entry.text;
            last->entry.text = r->entry.text;
            r->entry.text = text;
        }
        release_row(r);
    }
    p->count = count;
    for (size_t i = 0; i < count; i++)
        if (p->rows[i].entry.text || p->rows[i].entry.is_protected)
            p->rows[i].entry.is_deleted = false;
}

static int read_files(struct patch *p, struct net *net, const char *dir, struct file_list *l,
                      struct err *e)
{
    struct hash *hash = hash_new();
    unsigned char digest[HASH_SIZE];
    int failed = 0;
    if (l->count > 0)
        qsort(l->at, l->count, sizeof *l->at, compare_files);
    for (size_t i = 0; i < l->count && !failed; i++)
        failed = read_file(p, net, dir, &l->at[i], hash, e);
    hash_end(hash, digest);
    hash_hex(digest, p->hash);
    hash_free(hash);
    merge_rows(p);
    return failed;
}

struct patch *patch_open(struct net *net, const char *dir, struct err *e)
{
    struct patch *p = xcalloc(1, sizeof *p);
    struct file_list l = {0};
    const char *path = source_local_path(dir);
    int failed = path ? list_local(&l, path, e) : list_remote(&l, net, dir, e);
    if (!failed && !l.has_folder) {
        failed = err_set(e, ERR_USAGE,
                         "none of the folders override_text, delete, "
                         "do_not_blacklist is there");
    }
    if (failed)
        err_in(e, "%s", dir);
    failed = failed || read_files(p, net, dir, &l, e);
    file_list_release(&l);
    if (!failed)
        return p;
    patch_free(p);
    return NULL;
}

void patch_free(struct patch *p)
{
    for (size_t i = 0; p && i < p->count; i++)
        release_row(&p->rows[i]);
    if (p)
        free(p->rows);
    free(p);
}

/* ---------------------------------------------------------------- looking -- */

/* A key that need not end with a zero. */
struct key {
    const char *id;
    size_t size;
};

static int compare_key(const void *key, const void *row)
{
    const struct key *k = key;
    const char *id = ((const struct row *)row)->id;
    int order = strncmp(k->id, id, k->size);
    return order ? order : -(id[k->size] != 0);
}

struct patch_entry patch_find(const struct patch *p, const char *id)
{
    struct patch_entry nothing = {0};
    if (!id || p->count == 0)
        return nothing;
    struct key key = {.id = id};
    key.size = trim_id(&key.id);
    const struct row *r = bsearch(&key, p->rows, p->count, sizeof *p->rows, compare_key);
    return r ? r->entry : nothing;
}

int64_t patch_count(const struct patch *p)
{
    return (int64_t)p->count;
}

const char *patch_hash(const struct patch *p)
{
    return p->hash;
}
