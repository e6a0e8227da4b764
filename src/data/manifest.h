/* manifest.h - the records of a run: where each line of its JSONL files begins.
 *
 * Opening reads the files once: it counts the records, and hashes what it reads, so that a run
 * can tell later whether its data are the same.  Records are numbered from 0 in the order of the
 * files and their lines; blank lines are no records.
 */
#ifndef DATA_MANIFEST_H
#define DATA_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "data/source.h"

enum {
    MANIFEST_LINE_MAX = 16 << 20,         /* bytes of one record */
    MANIFEST_RECORDS_MAX = 200 * 1000 * 1000,
};

struct manifest_file {
    struct source *source;
    char *name;                           /* as found by the pattern */
    char *dir;                            /* paths in its records start here */
};

struct manifest_line {
    int64_t offset;                       /* of its first byte in the file */
    uint32_t size;                        /* bytes without the line end; UINT32_MAX: too long */
    uint32_t file;                        /* index into files */
    int64_t line;                         /* counted from 1 */
};

struct manifest {
    struct manifest_file *files;
    int64_t file_count;
    struct manifest_line *lines;
    int64_t count;                        /* records */
    char hash[HASH_HEX_SIZE];             /* SHA-256 over names' last parts, sizes and contents */
};

/* Index the files that the patterns mean (see source_match), in this order.  A file named twice
 * and files without a record are ERR_DATA.  On failure `m` is released. */
int manifest_open(struct manifest *m, char *const *patterns, int pattern_count,
                  struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void manifest_release(struct manifest *m);

/* The bytes of record `i` and a zero behind them; the caller frees.  Errors do not name the record.
 * Thread-safe. */
char *manifest_read(const struct manifest *m, int64_t i, size_t *size, struct err *e) MUST_CHECK;

/* "file:line" of record `i`; the caller frees. */
char *manifest_where(const struct manifest *m, int64_t i);
const char *manifest_dir(const struct manifest *m, int64_t i);

/* A cheap measure of each record's length, for batches of like lengths: bytes of its text, plus
 * the size or the stated duration of its clips.  [count], the caller frees. */
uint32_t *manifest_lengths(const struct manifest *m);

/* Has any of the first `count` records (0: of all) a clip?  Stops at the first; records that cannot
 * be read have none. */
bool manifest_has_sound(const struct manifest *m, int64_t count);

#endif
