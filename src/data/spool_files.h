/* spool_files.h - the folder of a spool: whose it is, what its files are called, what others
 * left there.
 *
 *     attune-KEY-CRC.data     a whole object, unpacked; CRC is the CRC-32C of the file
 *     attune-KEY.part         one that is being fetched
 *     attune-KEY.unpacked     one that is being unpacked
 *     attune-spool.lock       held by the process that keeps its files in this folder
 *     attune-spool-N.lock     held by a process whose files lie in attune-spool-N/
 *
 * KEY are 32 hexadecimal digits, of an object's name and version.  No other name is ever
 * touched.  A lock ends with its process, so what lies under a lock that can be had is what a
 * dead one left.
 */
#ifndef DATA_SPOOL_FILES_H
#define DATA_SPOOL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SPOOL_KEY_SIZE = 33, SPOOL_FILES_MAX = 1000000 };

struct spool_files {
    char *dir;                    /* where the files are */
    char *lock_path;
    int lock;                     /* -1: not open */
    bool keeps;                   /* the files are for later processes, too */
};

struct spool_left {
    char key[SPOOL_KEY_SIZE];
    uint32_t crc;
    int64_t size, used;           /* bytes; when it was used last, in seconds since 1970 */
};

/* Make `dir`, or a folder in it, this spool's: with `keeps` the folder itself, unless another
 * process holds it.  Removes what dead processes left, but for whole objects in a folder that
 * is kept: those are `left`, oldest use first, the array the caller's to free. */
int spool_files_open(struct spool_files *f, const char *dir, bool keeps, struct spool_left **left,
                     size_t *count, struct err *e) MUST_CHECK;
/* Removes the folder's files unless they are kept.  Safe on a zeroed struct with lock -1. */
void spool_files_close(struct spool_files *f);

/* Paths of an object's files; the caller frees. */
char *spool_files_part(const struct spool_files *f, const char *key);
char *spool_files_unpacked(const struct spool_files *f, const char *key);
char *spool_files_data(const struct spool_files *f, const char *key, uint32_t crc);

/* The CRC-32C and the size of a whole file; `stop` (may be NULL) set to anything but 0 by another
 * thread ends it with ERR_STOPPED. */
int spool_files_sum(const char *path, uint32_t *crc, int64_t *size, bool (*stop)(void *arg),
                    void *arg, struct err *e) MUST_CHECK;

#endif
