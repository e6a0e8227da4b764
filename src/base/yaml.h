/* yaml.h - a YAML file as a tree in which every key and value knows its line and column.
 *
 * The subset that configurations need: maps with plain keys, lists, scalars; block or flow style;
 * comments.  Anchors, aliases, tags, several documents and duplicate keys are errors.  Scalars
 * are text: what `1e-4`, `no` or `on` mean is for the reader of the key to say.
 *
 * Errors are ERR_USAGE, "file:line:column: what".
 */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define YAML_SIZE_MAX ((size_t)1 << 20)    /* bytes of a file */
#define YAML_DEPTH_MAX 32                  /* maps and lists within each other */
#define YAML_NODES_MAX 100000              /* keys and values together */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    const char *file;          /* the name for errors; the root owns it */
    int line, column;          /* from 1 */
    char *text;                /* scalar: its text, zero bytes not allowed */
    bool is_quoted;            /* scalar: written in quotes or as a block, so never null */
    size_t count;              /* list, map: how many values */
    struct yaml **keys;        /* map: scalars, in the order of the file */
    struct yaml **values;      /* list, map */
};

/* Parse a file, or a text that is called `name` in errors.  An empty one is an empty map.
 * The caller frees the root. */
MUST_CHECK struct yaml *yaml_read_file(const char *path, struct err *e);
MUST_CHECK struct yaml *yaml_read_text(const char *name, const char *text, size_t size,
                                       struct err *e);
void yaml_root_free(struct yaml *root);

/* The value of a map's key, or NULL. */
const struct yaml *yaml_get(const struct yaml *map, const char *key);

/* Is it an unquoted ~, null, or nothing at all? */
bool yaml_is_null(const struct yaml *v);

/* "a map", "a list", "a scalar" for messages. */
const char *yaml_kind_name(const struct yaml *v);

/* State an error at the place of `v`.  Always returns -1. */
int yaml_err(const struct yaml *v, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
