/* dir.h - folders, and the names of files in them. */
#ifndef BASE_DIR_H
#define BASE_DIR_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Flush a folder's list of names to the disk. */
MUST_CHECK int dir_sync(const char *path, struct err *e);

/* Make a folder and those above it; one that is there is fine. */
MUST_CHECK int dir_make(const char *path, struct err *e);

/* The names in a folder, sorted by byte, without "." and "..". */
struct dir_list {
    char **names;
    size_t count;
};
MUST_CHECK int dir_list_read(struct dir_list *l, const char *path, struct err *e);
void dir_list_release(struct dir_list *l);

/* Remove a folder and all in it; symbolic links are removed, never followed.  One that is not
 * there is fine. */
MUST_CHECK int dir_remove(const char *path, struct err *e);

/* Bytes that this user may still write on the disk that holds `path`. */
MUST_CHECK int dir_free_bytes(const char *path, uint64_t *bytes, struct err *e);

/* "dir/name" ("name" alone when `dir` is empty or `name` is absolute).  The caller frees. */
char *path_join(const char *dir, const char *name);

/* The part before the last slash ("." when there is none).  The caller frees. */
char *path_dir(const char *path);

/* The part behind the last slash; points into `path`. */
const char *path_base(const char *path);

/* What follows the last dot of the last part, "" when there is none; points into `path`. */
const char *path_extension(const char *path);

#endif
