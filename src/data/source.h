/* source.h - where bytes come from: a named object of known size, read in ranges.
 *
 * Everything that the data side reads (manifests, media) comes through here, so that another kind
 * of storage is another set of these functions and nothing else.  Known are local files, as a path
 * or as file:// URI.
 */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct source;

/* Open an object.  A missing one, a folder, and a scheme that is not known are ERR_DATA. */
struct source *source_open(const char *uri, struct err *e) MUST_CHECK;
void source_close(struct source *s);

/* Bytes in the object when it was opened. */
int64_t source_size(const struct source *s);

/* Read exactly `size` bytes at `offset`; fewer is ERR_DATA, an object that is no longer as large as
 * it was ERR_INTEGRITY.  Any number of threads may read. */
int source_read(const struct source *s, int64_t offset, void *out, size_t size,
                struct err *e) MUST_CHECK;

/* A whole object of at most `bytes_max` bytes; the caller frees. */
void *source_load(const char *uri, int64_t bytes_max, size_t *size, struct err *e) MUST_CHECK;

/* `name` as seen from the folder (or prefix) `dir`: absolute paths and URIs stay as they are.
 * The caller frees. */
char *source_resolve(const char *dir, const char *name);

/* The sorted names of the objects that a pattern means; `*` `?` `[a-z]` match inside one folder,
 * {a,b} and {0000..0919} stand for each of their values.  A pattern that matches nothing, or too
 * much (SOURCE_MATCH_MAX), is ERR_DATA. */
enum { SOURCE_MATCH_MAX = 1000000 };

struct source_list {
    char **names;
    int64_t count, capacity;
};
int source_match(struct source_list *l, const char *pattern, struct err *e) MUST_CHECK;
void source_list_release(struct source_list *l);

#endif
