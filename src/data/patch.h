/* patch.h - corrections to records, kept beside the data: texts replaced, records left out.
 *
 *     patches/override_text/NAME.csv        id, text (override_text_perfect and _verbatim, too)
 *     patches/delete/NAME.csv               id
 *     patches/do_not_blacklist/NAME.csv     id: never deleted, never listed by eval --blacklist
 *
 * Columns are found by their header ("id"; "new_text", "text", or else the one other column, or the
 * second one); what `eval --blacklist` writes can be put into delete/ as it is.  NAME.tsv is fine,
 * too.  Files are read in the order of their names, later rows win; an id is also found when it is
 * written as a number with ".0".  A record whose text is overridden is not deleted.  A record
 * without an id cannot be patched.
 */
#ifndef DATA_PATCH_H
#define DATA_PATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"

enum { PATCH_ROWS_MAX = 50 * 1000 * 1000 };

struct patch;
struct net;

/* Read a folder, local or in a store.  One without any of the three folders is ERR_USAGE; so are
 * other files in these folders (hidden ones are passed over) and folders whose names look like
 * theirs. */
struct patch *patch_open(struct net *net, const char *dir, struct err *e) MUST_CHECK;
void patch_free(struct patch *p);         /* NULL is fine */

struct patch_entry {
    const char *text;                     /* NULL: as it is; lives as long as the patch */
    bool is_deleted, is_protected;
};
/* What is said of a record; all empty when nothing is, and for id NULL.  Thread-safe. */
struct patch_entry patch_find(const struct patch *p, const char *id);

/* Ids that are named in all, and a hash over everything that was read. */
int64_t patch_count(const struct patch *p);
const char *patch_hash(const struct patch *p);

#endif
