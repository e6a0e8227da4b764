/* spool.h - objects as local files, for as long as somebody reads them, within a limit of disk
 * space.
 *
 * What is wanted is fetched by threads of the spool in the order in which it was wanted: each
 * object in ranges of SPOOL_CHUNK bytes over several connections, written to NAME.part, and
 * renamed when its length and its checksum (of the ranges, combined) are those of the object.
 * A file's name holds the object's version, so an old one is never taken for a new one; one
 * that an earlier process left is checked once before it is used.  Objects whose names end in
 * .gz or .zst, or that are stored with Content-Encoding: gzip, lie there unpacked.  Local
 * files that need no unpacking are used where they are.
 *
 * Files that nobody holds stay until their space is needed (the least recently used goes
 * first), and until the end of the process; with `keeps`, for later ones too.  Only files that
 * a spool made are ever removed.  Two processes may share the folder: each has a subfolder
 * unless `keeps`, which one at a time can hold.
 */
#ifndef DATA_SPOOL_H
#define DATA_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/store.h"

enum { SPOOL_CHUNK = 8 << 20 };

struct spool;

struct spool_options {
    struct net *net;              /* NULL: local files only */
    const char *dir;              /* made when the first file is written */
    int64_t bytes_max;            /* of disk; 0: 4 GiB */
    bool keeps;
    int connections;              /* threads that fetch, 0: the network's number */
};

/* Costs nothing until something is wanted. */
struct spool *spool_open(const struct spool_options *o, struct err *e) MUST_CHECK;
/* Ends what is being fetched; takes that wait return ERR_STOPPED.  NULL is fine. */
void spool_close(struct spool *s);

/* Begin to fetch an object, behind those wanted before; each want is ended by one spool_give.
 * Never waits.  An object larger than bytes_max fails when it is taken (ERR_SPACE, naming the
 * setting). */
void spool_want(struct spool *s, const struct object *o);

/* Wait until a wanted object is here.  `path` is valid until spool_give; the caller frees the
 * string. `size` (may be NULL) is that of the file, unpacked.  Given back meanwhile by another
 * thread: ERR_STOPPED.  Bytes that stay wrong: ERR_INTEGRITY; packed data that cannot be
 * unpacked: ERR_DATA; a network that was away for longer than its budget: ERR_RETRY. */
int spool_take(struct spool *s, const struct object *o, char **path, int64_t *size,
               struct err *e) MUST_CHECK;

/* Is it here, checked and whole?  Never waits. */
bool spool_has(struct spool *s, const struct object *o);

/* This object is not needed any more: cancels a fetch that nobody else wants. */
void spool_give(struct spool *s, const struct object *o);

struct spool_stats {
    int64_t disk_bytes, disk_peak;        /* reserved or in use now, and at most */
    int64_t fetched_bytes, fetched;       /* over the network; objects */
    int64_t reused;                       /* objects that were here already */
    int64_t refetched;                    /* objects that came wrong and were fetched again */
    int64_t evicted;
    int pending;                          /* wanted and not here yet */
};
void spool_stats(const struct spool *s, struct spool_stats *out);

/* Where the cache lies when nobody says: $XDG_CACHE_HOME/attune, ~/.cache/attune, on a Mac
 * ~/Library/Caches/attune.  The caller frees. */
char *spool_default_dir(void);

#endif
