/* source.h - where bytes come from: a named object of known size, read in ranges.
 *
 * Everything that the data side reads (manifests, media) comes through here, wherever it lies:
 * a path, a file:// URI, or an object in a store (net/store.h: gs, s3, https, hf).  `net` may
 * be NULL where only local files can be meant; a remote name is an error then.
 */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/store.h"

struct source;

/* Open an object.  A missing one, a folder, and a scheme that is not known are ERR_DATA. */
struct source *source_open(struct net *net, const char *uri, struct err *e) MUST_CHECK;
/* The same for one whose facts are known already, of just this version; asks nobody. */
struct source *source_open_object(struct net *net, const struct object *o,
                                  struct err *e) MUST_CHECK;
void source_close(struct source *s);

/* Bytes in the object when it was opened, and what else is known of it. */
int64_t source_size(const struct source *s);
const struct object *source_object(const struct source *s);

/* Read exactly `size` bytes at `offset`; fewer is ERR_DATA, an object that is no longer what it was
 * ERR_INTEGRITY.  Any number of threads may read. */
int source_read(const struct source *s, int64_t offset, void *out, size_t size,
                struct err *e) MUST_CHECK;

/* A whole object of at most `bytes_max` bytes; the caller frees. */
void *source_load(struct net *net, const char *uri, int64_t bytes_max, size_t *size,
                  struct err *e) MUST_CHECK;

/* Facts of an object: its size at least. */
int source_stat(struct net *net, const char *uri, struct object *o, struct err *e) MUST_CHECK;

/* Is it a path or file:// URI?  If so its path (points into `uri`), else NULL. */
const char *source_local_path(const char *uri);

/* `name` as seen from the folder (or prefix) `dir`: absolute paths and URIs stay as they are.
 * The caller frees. */
char *source_resolve(const char *dir, const char *name);
/* The folder or prefix of an object, for source_resolve: "gs://bucket/a" for "gs://bucket/a/b.tar".
 * The caller frees. */
char *source_dir(const char *uri);

/* The objects that a pattern means, sorted by byte within each expansion; `*` `?` `[a-z]`
 * match inside one folder, `**` across folders, {a,b} and {0000..0919} stand for each of their
 * values.  A folder or a prefix that ends in '/' means what lies in it with a known extension
 * (jsonl, csv, tsv, tar and these with .gz or .zst).  A pattern that matches nothing, a name
 * of an expansion that is not there, or too much (SOURCE_MATCH_MAX) is ERR_DATA.  Remote
 * objects are listed once per prefix, not asked for one by one, and come with their versions. */
enum { SOURCE_MATCH_MAX = 1000000 };

int source_match(struct net *net, struct object_list *l, const char *pattern,
                 struct err *e) MUST_CHECK;

#endif
