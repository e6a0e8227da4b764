/* import_testing.h - for the tests of import: a folder of files, and an importer that keeps what it
 * writes as text. */
#ifndef IMPORT_TESTING_H
#define IMPORT_TESTING_H

#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/import.h"

struct importer {
    char *folder;
    struct import_options options;
    struct import_place place;
    struct import *import;
    struct buf out[SPLIT_COUNT];
    struct err e;
};

static int importer_emit(void *arg, enum import_split split, const char *line, size_t size,
                         struct err *e)
{
    struct importer *m = arg;
    (void)e;
    buf_add(&m->out[split], line, size);
    return 0;
}

/* Clips are not looked for, unless the test changes `options` and begins anew. */
static inline void importer_begin(struct importer *m)
{
    import_free(m->import);
    import_place_release(&m->place);
    for (int s = 0; s < SPLIT_COUNT; s++)
        buf_clear(&m->out[s]);
    m->e = (struct err){0};
    assert_int_equal(import_place_init(&m->place, NULL, 0, CHECK_NONE, NULL, m->folder, &m->e), 0);
    m->options.place = &m->place;
    m->options.emit = importer_emit;
    m->options.arg = m;
    m->import = import_new(&m->options, &m->e);
    assert_ok(m->e);
}

static inline void importer_start(struct importer *m)
{
    *m = (struct importer){.options = {.bad_min = 1000}};
    char *made = testing_folder();
    m->folder = realpath(made, NULL);
    free(made);
    for (int s = 0; s < SPLIT_COUNT; s++)
        buf_init(&m->out[s], 1 << 24);
    importer_begin(m);
}

static inline void importer_stop(struct importer *m)
{
    struct err e = {0};
    import_free(m->import);
    import_place_release(&m->place);
    for (int s = 0; s < SPLIT_COUNT; s++)
        buf_release(&m->out[s]);
    assert_int_equal(dir_remove(m->folder, &e), 0);
    free(m->folder);
}

/* Make a file; the caller frees the path. */
static inline char *importer_file(struct importer *m, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(m->folder, name), *dir = path_dir(path);
    assert_int_equal(dir_make(dir, &e), 0);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(dir);
    return path;
}

/* A row of JSON; `names` NULL: by its keys. */
static inline int importer_row(struct importer *m, const char *text,
                               const struct import_names *names)
{
    json_t *o = json_read_text("row", text, strlen(text), &m->e);
    assert_ok(m->e);
    struct import_row row = {.json = o, .where = "row", .dir = m->folder, .names = names};
    int result = import_row(m->import, &row, &m->e);
    json_decref(o);
    return result;
}

static inline void importer_rows(struct importer *m, const char *const *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(importer_row(m, rows[i], NULL), 0);
        assert_ok(m->e);
    }
}

#define IMPORT_ROWS(m, ...)                                                                        \
    importer_rows((m), (const char *const[]){__VA_ARGS__},                                         \
                  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#define assert_out(m, split, text) assert_string_equal((m)->out[split].data, (text))

#endif
