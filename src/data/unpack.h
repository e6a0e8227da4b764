/* unpack.h - .gz and .zst files as what is in them: from one file to another, piece by piece.
 *
 * Several gzip members or zstd frames one behind the other are one file, as for gzip(1) and
 * zstd(1). Checksums of the formats are compared; a file that ends too early or has other
 * bytes behind it is an error.  Memory is bounded: windows above 128 MiB (zstd --ultra --long)
 * are refused.
 */
#ifndef DATA_UNPACK_H
#define DATA_UNPACK_H

#include <stdint.h>

#include "base/err.h"

enum unpack_kind { UNPACK_NONE, UNPACK_GZIP, UNPACK_ZSTD };

/* What the end of a name says: .gz, .zst. */
enum unpack_kind unpack_kind(const char *name);

/* What the first bytes of a file say. */
enum unpack_kind unpack_kind_of_file(const char *path);

/* A file must not be more than this many times as large as what it was packed into (and 16 MiB). */
enum { UNPACK_RATIO_MAX = 200 };

struct unpack_job {
    enum unpack_kind kind;
    const char *name;             /* of the packed object, for messages */
    const char *from, *to;        /* paths; `to` is made or overwritten */
    /* Called before the file grows to `bytes`: anything but 0 ends the work with -1, and if it
     * set no error, without one.  May be NULL. */
    int (*room)(void *arg, int64_t bytes, struct err *e);
    void *arg;
};

struct unpack_result {
    int64_t size;                 /* bytes written */
    uint32_t crc32c;              /* of them */
};

/* Errors in the packed data are ERR_DATA.  What was written stays on failure. */
int unpack_file(const struct unpack_job *job, struct unpack_result *r, struct err *e) MUST_CHECK;

#endif
