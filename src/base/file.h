/* file.h - files: read whole or mapped, written so that a crash cannot tear them.
 *
 * Nothing half-done is ever visible: a file is written under a temporary name beside its place,
 * flushed to the disk, and renamed.  Whoever looks finds the old file or the new one, whole.
 * The temporary name is the file's with ".tmp" behind it; what a crash left there is overwritten
 * by the next try, and two processes that write the same file at once get an error, not a mix.
 *
 * Every error names the path and the system's reason.  A full disk is ERR_SPACE.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/dir.h"
#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---------------------------------------------------------------- reading -- */

/* The whole file and a zero behind it; `*size` (may be NULL) is without that zero.  A file above
 * `max` bytes is an error.  The caller frees. */
MUST_CHECK char *file_read(const char *path, size_t max, size_t *size, struct err *e);

/* A file seen as memory, for reading.  It must not shrink while it is open. */
struct file_map {
    const unsigned char *data;     /* NULL for an empty file */
    size_t size;
};
MUST_CHECK int file_map_open(struct file_map *m, const char *path, struct err *e);
void file_map_close(struct file_map *m);

/* ---------------------------------------------------------------- writing -- */

/* Make `path` hold exactly these bytes, or leave it as it was. */
MUST_CHECK int file_write(const char *path, const void *data, size_t size, struct err *e);

/* The same for content that comes in pieces.  Open, write many times, then commit or abort; a
 * writer that failed must still be aborted.  Abort after commit does nothing. */
struct file_writer {
    char *path, *temp;             /* where it will be, where it is being written */
    int fd;                        /* -1 when closed */
    char *pending;                 /* bytes not yet given to the system */
    size_t pending_size;
    uint64_t size;                 /* bytes written so far */
    struct hash *hash;             /* SHA-256 of them */
};
MUST_CHECK int file_writer_open(struct file_writer *w, const char *path, struct err *e);
MUST_CHECK int file_writer_write(struct file_writer *w, const void *data, size_t size,
                                 struct err *e);

/* Flush to the disk and give the file its name.  `hex` (may be NULL) receives its SHA-256. */
MUST_CHECK int file_writer_commit(struct file_writer *w, char hex[HASH_HEX_SIZE], struct err *e);
void file_writer_abort(struct file_writer *w);

/* Add these bytes at the end of `path` (made if missing) in one write; not flushed to the disk.
 * Meant for logs, of which a crash may cut the last line. */
MUST_CHECK int file_append(const char *path, const void *data, size_t size, struct err *e);

/* ------------------------------------------------------------------ names -- */

bool file_exists(const char *path);          /* anything by that name */
bool file_is_dir(const char *path);
bool file_is_same(const char *a, const char *b);   /* two names of one thing that is there */
MUST_CHECK int file_size(const char *path, uint64_t *size, struct err *e);

/* Remove a file; one that is not there is fine. */
MUST_CHECK int file_remove(const char *path, struct err *e);

/* Give a file or a folder another name on the same disk, and flush the folder it lies in. */
MUST_CHECK int file_rename(const char *from, const char *to, struct err *e);

/* A file that one process at a time may hold: opens (makes) `path` and locks it.  Returns a
 * descriptor, -1 on error; ERR_RETRY when another process holds it.  The lock ends with the
 * process or with file_unlock. */
MUST_CHECK int file_lock(const char *path, struct err *e);
void file_unlock(int lock);

/* A hook for tests: called before each system call that changes something, with its name ("open",
 * "write", "fsync", "close", "rename", "unlink", "mkdir"); a result other than 0 is the errno with
 * which that call fails.  NULL outside tests. */
extern int (*file_fault)(const char *call);

#endif
