/* safetensors.h - read and write safetensors files.
 *
 *     8 bytes      N, little-endian
 *     N bytes      JSON: {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [0,24]}, ...}
 *     the rest     the tensors' bytes, without holes and without overlaps
 *
 * The reader is strict: a file is mapped and every claim of its header is checked (limits below,
 * duplicate names, dtype, shape x dtype == size, offsets, holes, overlaps) before any tensor is
 * handed out.  Pickle and GGUF files are refused by name.  The writer never leaves a torn file.
 */
#ifndef NN_SAFETENSORS_H
#define NN_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mx/mx.h"

enum {
    SAFETENSORS_HEADER_MAX = 64 << 20,  /* bytes of JSON */
    SAFETENSORS_TENSORS_MAX = 100000,
    SAFETENSORS_NAME_MAX = 512,         /* bytes */
    SAFETENSORS_SHARDS_MAX = 1000,
};

/* One tensor of an open file; valid until the file is closed. */
struct safetensors_tensor {
    const char *name;
    enum mx_dtype dtype;
    int shape[MX_DIMS_MAX], n;
    const void *data;                   /* row-major, little-endian, maybe unaligned */
    uint64_t bytes;
    uint64_t offset;                    /* of the data in its file */
    const char *file;                   /* path of the file it lies in */
};

struct safetensors;

/* Open one file, or a folder with `model.safetensors` or `model.safetensors.index.json` and its
 * shards.  Data is mapped, not read.  NULL on failure; a file that is refused is ERR_INTEGRITY. */
struct safetensors *safetensors_open(const char *path, struct err *e) MUST_CHECK;

/* Check a whole file that lies in memory, for tests and fuzzing; `bytes` stays the caller's. */
struct safetensors *safetensors_parse(const void *bytes, size_t size, const char *name,
                                      struct err *e) MUST_CHECK;

/* Users are counted: each keep needs one close; the last one unmaps.  Any thread may do both. */
struct safetensors *safetensors_keep(struct safetensors *s);
void safetensors_close(struct safetensors *s);          /* NULL is fine */

int safetensors_count(const struct safetensors *s);
const struct safetensors_tensor *safetensors_at(const struct safetensors *s, int i);  /* by name */
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name);
/* A value of the file's metadata ("__metadata__"), of the first shard that has it, or NULL. */
const char *safetensors_metadata(const struct safetensors *s, const char *key);

/* The tensor as an array over the mapped file, copied where the device needs it or where the data
 * is not aligned.  It keeps the file open as long as it lives. */
mx_array safetensors_array(struct safetensors *s, const struct safetensors_tensor *t);

/* --------------------------------------------------------------- writing -- */

/* What to write: `array` is evaluated, cast to `dtype` and written, one after the other. */
struct safetensors_item {
    const char *name;
    mx_array array;
    enum mx_dtype dtype;
};

struct safetensors_pair {
    const char *key, *value;
};

/* Write a file: to a temporary name beside `path`, synced, renamed.  On failure `path` is as it
 * was.  Items lie in the file by descending dtype size, then by name, as Python's library lays
 * them; metadata has format = pt unless it is given.  `sha256`, when not NULL, gets 64 hex digits
 * and a NUL. */
int safetensors_write(const char *path, const struct safetensors_item *items, int count,
                      const struct safetensors_pair *metadata, int pairs, char *sha256,
                      struct err *e) MUST_CHECK;

/* As safetensors_write, with arrays that are made one at a time: items without an array are asked
 * for, `i` counting them as given, once for the shape and once for the values. */
typedef mx_array (*safetensors_make_fn)(void *arg, int i);
int safetensors_write_made(const char *path, const struct safetensors_item *items, int count,
                           safetensors_make_fn make, void *arg,
                           const struct safetensors_pair *metadata, int pairs, char *sha256,
                           struct err *e) MUST_CHECK;

#endif
