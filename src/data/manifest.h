/* manifest.h - what a run's data consist of: files, their versions, and the records that are known.
 *
 * A source is one pattern with a weight.  Its files are tables (JSONL, CSV, TSV; with .gz or .zst
 * too) or shards (tar, also with .gz or .zst), not both.  Tables are read once when the manifest is
 * opened, to find where each record begins; remote ones are spooled for that.  Shards are only
 * listed: what is in them is known when their window is opened (plan.h), or from their indexes
 * (shard.h).
 *
 * Everything is pinned: the hash covers names, sizes, versions and checksums of shards, the content
 * of tables, the order of the sources and their weights, columns and patches, so that a run can
 * tell later whether its data are the same.  Folders are not part of it: data may move.
 */
#ifndef DATA_MANIFEST_H
#define DATA_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "data/csv.h"
#include "data/record.h"
#include "data/shard.h"
#include "data/source.h"
#include "data/spool.h"

enum {
    MANIFEST_LINE_MAX = 16 << 20,         /* bytes of one record */
    MANIFEST_RECORDS_MAX = 200 * 1000 * 1000,
    MANIFEST_FILES_MAX = 1000000,
    MANIFEST_WEIGHT_MAX = 1000,
    /* Indexes of so many shards, of so many bytes in all, are read when the manifest is opened;
     * more of them as they are needed. */
    MANIFEST_INDEXES = 256,
    MANIFEST_INDEX_BYTES = 32 << 20,
};

enum manifest_kind { MANIFEST_JSONL, MANIFEST_CSV, MANIFEST_TSV, MANIFEST_TAR };

struct manifest_options {
    char *const *patterns;
    int pattern_count;
    const double *weights;                /* [pattern_count] how often an epoch goes through each;
                                             NULL: once */
    char *const *columns;                 /* see record_place */
    int column_count;
    const struct patch *patch;            /* borrowed, or NULL */
    struct net *net;                      /* borrowed; NULL: local files only */
    struct spool *spool;                  /* borrowed; NULL: local files only */
};

struct manifest_source {
    char *pattern;
    double weight;
    bool is_shards;
    int64_t first_file, file_count;
    int64_t first_line, line_count;       /* tables: its records */
    int64_t bytes;
};

struct manifest_file {
    struct object object;                 /* its uri is the file's name for messages */
    enum manifest_kind kind;
    int source_index;                     /* into sources */
    char *dir;                            /* paths in its records start here */
    char *path;                           /* tables: the local file; NULL for shards ... */
    struct source *source;                /* ... and the same to read from */
    bool is_spooled;                      /* the spool holds it until manifest_release */
    struct csv_row header;                /* CSV, TSV */
    struct object *index_object;          /* shards: a .idx that was found beside it, or NULL ... */
    struct shard *index;                  /* ... and what it says, when it was read at opening */
};

struct manifest_line {
    int64_t offset;                       /* of its first byte in the file */
    uint32_t size;                        /* bytes without the line end; UINT32_MAX: too long */
    uint32_t file;                        /* index into files */
    int64_t line;                         /* counted from 1 */
};

struct manifest {
    struct manifest_options options;      /* patterns and weights are not valid any more */
    struct manifest_source *sources;
    int source_count;
    struct manifest_file *files;
    int64_t file_count;
    struct manifest_line *lines;          /* of all tables */
    int64_t line_count;
    int64_t count;                        /* records known: lines, and samples of indexed shards */
    bool is_complete;                     /* `count` is all: the index of every shard was read */
    int64_t bytes;                        /* of all files */
    char hash[HASH_HEX_SIZE];
};

/* Find and pin the files.  A file named twice, one of a kind that is not known, a table without a
 * record, and weights that are not above 0 are ERR_DATA.  On failure `m` is released. */
int manifest_open(struct manifest *m, const struct manifest_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void manifest_release(struct manifest *m);

/* A record: a line of a table, or a sample of a shard that has been opened. */
struct record_ref {
    const struct shard *shard;            /* NULL: a line */
    int64_t index;                        /* into lines, or into the shard's records */
    int32_t file;
};

/* The record as JSON, before columns and patches; errors do not name it.  The caller decrefs.
 * `read`, `arg` as for shard_json (not used for lines). */
json_t *manifest_json(const struct manifest *m, const struct record_ref *ref, shard_read_fn read,
                      void *arg, struct err *e) MUST_CHECK;

/* The record; errors begin with its name. */
int manifest_record(const struct manifest *m, const struct record_ref *ref, shard_read_fn read,
                    void *arg, const char *prompt, struct record *r, struct err *e) MUST_CHECK;

/* "file:line" or "shard:key"; the caller frees. */
char *manifest_where(const struct manifest *m, const struct record_ref *ref);

/* What the indexes of `count` shards say, into `out`; of those that have none, or one that belongs
 * to another version (a warning says so), the shard stays empty, its `name` NULL.  Several are read
 * at once, over `net`.  On failure all are released. */
int manifest_read_indexes(const struct manifest *m, struct net *net, const int32_t *files,
                          int count, struct shard *out, struct err *e) MUST_CHECK;

/* Is this a shard that has to be unpacked before anything in it can be read? */
bool manifest_is_packed(const struct manifest_file *f);

/* Which kinds of media do any of the first `count` records (0: all) have?  Bits 1 << RECORD_AUDIO
 * and so on.  Of shards, the first sample of the first one speaks for all; what cannot be told is
 * taken to be there.  Only kinds in `wanted` are looked for, and only until they are found. */
unsigned manifest_media(const struct manifest *m, unsigned wanted, int64_t count);

bool manifest_has_sound(const struct manifest *m, int64_t count);
bool manifest_has_images(const struct manifest *m, int64_t count);
bool manifest_has_video(const struct manifest *m, int64_t count);

#endif
