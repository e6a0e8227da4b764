/* manifest_parts.h - what the files of the manifest share: manifest.c finds and pins the files,
 * manifest_table.c finds the records of tables, manifest_index.c the indexes of shards. */
#ifndef DATA_MANIFEST_PARTS_H
#define DATA_MANIFEST_PARTS_H

#include "data/manifest.h"

/* Find the records of a table, whose source is open, and add them to `m->lines`, of which there is
 * room for `*capacity`.  Its bytes go into `hash`.  Errors do not name the file. */
int manifest_scan_table(struct manifest *m, int64_t file, int64_t *capacity, struct hash *hash,
                        struct err *e) MUST_CHECK;

/* Find the indexes that lie beside shards, and read them when they are few and small. */
int manifest_find_indexes(struct manifest *m, struct err *e) MUST_CHECK;

#endif
