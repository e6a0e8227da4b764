/* tar.h - the members of a tar archive, one after the other: ustar, pax and GNU headers, and those
 * of old tars (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block").
 *
 *     struct tar t;
 *     if (tar_open(&t, path, e)) ...
 *     while ((got = tar_next(&t, &entry, e)) == 1)
 *         ...
 *     tar_close(&t);
 *
 * Only headers are read.  Names are kept byte for byte: nothing is converted, whatever the locale.
 * An archive is whole only when it ends with two blocks of zeros, and nothing but zeros follows: a
 * file that was cut anywhere is an error that tells the byte.
 */
#ifndef DATA_TAR_H
#define DATA_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    TAR_NAME_MAX = 4096,
    TAR_EXTENDED_MAX = 1 << 20,           /* bytes of a pax header */
    TAR_BUFFER = 4 << 10,                /* read at a time */
};

enum tar_type { TAR_FILE, TAR_FOLDER, TAR_LINK, TAR_DEVICE, TAR_SPARSE, TAR_OTHER };

struct tar_entry {
    const char *name;                     /* valid until the next call; never empty */
    enum tar_type type;
    int64_t header;                       /* where its first header begins */
    int64_t offset, size;                 /* of its bytes; size 0 unless it is a file */
};

struct tar {
    int fd;
    int64_t size;                         /* of the file */
    int64_t at;                           /* where the next header begins */
    struct buf name;                      /* of the current member */
    char *buffer;
    int64_t buffer_at;
    size_t buffer_size;
};

int tar_open(struct tar *t, const char *path, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void tar_close(struct tar *t);

/* The next member: 1, 0 after the last one, -1 on error (ERR_DATA, which begins with "byte N: ",
 * the place in the file). */
int tar_next(struct tar *t, struct tar_entry *entry, struct err *e) MUST_CHECK;

/* Read bytes of the file, exactly `size` of them. */
int tar_read(struct tar *t, int64_t offset, void *out, size_t size, struct err *e) MUST_CHECK;

#endif
