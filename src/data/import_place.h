/* import_place.h - where the clips of an imported row lie, and what our record calls them.
 *
 * A name counts from the folder of its table.  With roots ("DIR", or "CORPUS=DIR" for the clips of
 * one corpus) it counts from there, in whichever of three ways finds a file, since corpora are
 * unpacked differently by everybody: as it is, without a leading "CORPUS/", or by its last part
 * alone.
 */
#ifndef DATA_IMPORT_PLACE_H
#define DATA_IMPORT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net.h"

/* Which clips are looked for: none, one in IMPORT_SAMPLED, those on this machine, those in stores
 * too. */
enum import_check { CHECK_LOCAL, CHECK_ALL, CHECK_SAMPLED, CHECK_NONE };
enum { IMPORT_SAMPLED = 50 };

struct import_place {
    char *const *roots;           /* borrowed; "DIR" or "CORPUS=DIR" */
    int root_count;
    enum import_check check;
    struct net *net;              /* borrowed; NULL: stores are not asked */
    char *out_dir;                /* the folder of our file, without links; NULL: there is none */
    char *last_dir, *last_real;   /* a folder, and the same without links */
    int way;                      /* of the three: which found the last file */
    int64_t asked;                /* clips that could have been looked for */
    int64_t looked;               /* ... and that were */
};

/* `out_dir` NULL: names of local files become absolute.  A root that is no folder is ERR_USAGE. */
int import_place_init(struct import_place *p, char *const *roots, int root_count,
                      enum import_check check, struct net *net, const char *out_dir,
                      struct err *e) MUST_CHECK;
void import_place_release(struct import_place *p);

/* The name that our record shall have for the clip `name` of a table in `dir`; `corpus` may be
 * NULL. A clip that was looked for and is not there is ERR_DATA.  The caller frees. */
char *import_place_find(struct import_place *p, const char *name, const char *dir,
                        const char *corpus, struct err *e) MUST_CHECK;

#endif
