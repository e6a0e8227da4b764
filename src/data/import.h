/* import.h - data files out of other people's tables, row by row.
 *
 * A row (a JSON object: of a CSV file, of NVIDIA's or NeMo's manifest, of a metadata file of the
 * Hub, of BigQuery's answer) becomes a record of ours:
 *
 *     {"id":"17","audio":"clips/17.flac","text":"good morning","language":"en","duration":2.5,
 *      "corpus":"voxpopuli"}
 *
 * or {"image", "prompt", "text"}, {"prompt", "completion"}, {"text"}, as its columns say
 * (import_names.h).  A row without an id gets one made of its content, so that it has the same one
 * next time.  Nothing is dropped in silence: every row is written, or counted under the reason for
 * which it was left out, or bad, named and counted.
 */
#ifndef DATA_IMPORT_H
#define DATA_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "data/import_names.h"
#include "data/import_place.h"
#include "data/manifest.h"

enum import_split { SPLIT_NONE, SPLIT_TRAIN, SPLIT_EVAL, SPLIT_TEST, SPLIT_COUNT };

/* strict: rows of a known language, and of those in `languages`; mixed: all; override: all are of
 * one. */
enum import_languages { LANGUAGES_MIXED, LANGUAGES_STRICT, LANGUAGES_OVERRIDE };

enum import_reason {
    LEFT_DELETED,                 /* by a patch */
    LEFT_LANGUAGE,                /* another language */
    LEFT_NO_LANGUAGE,
    LEFT_EMPTY,                   /* no text in it */
    LEFT_LONG,
    LEFT_TASK,                    /* translations and the like */
    LEFT_OFFSET,                  /* a piece out of a longer file */
    LEFT_TWICE,                   /* its id was there before */
    LEFT_COUNT,
};

/* "deleted by a patch", ... */
const char *import_reason_text(enum import_reason r);

/* Takes a line of JSON (with its line feed) for one of the outputs. */
typedef int (*import_emit)(void *arg, enum import_split split, const char *line, size_t size,
                           struct err *e);

struct import_options {
    char *const *columns;         /* "ours=theirs" */
    int column_count;
    enum import_languages mode;
    char *const *languages;       /* LANGUAGES_STRICT: to keep, none: any */
    int language_count;
    const char *language;         /* LANGUAGES_OVERRIDE */
    const struct patch *patch;    /* or NULL */
    double seconds_max;           /* longest clip, 0: any */
    double eval_part;             /* of the records for SPLIT_EVAL, by their ids; 0: SPLIT_NONE */
    uint64_t seed;                /* of that choice */
    int64_t limit;                /* records to write, 0: all */
    double bad_fraction;          /* rows that may be bad ... */
    int bad_min;                  /* ... and how many at least */
    struct import_place *place;          /* where clips lie */
    import_emit emit;
    void *arg;
};

struct import_counts {
    int64_t read, bad, written[SPLIT_COUNT], left[LEFT_COUNT];
    double seconds[SPLIT_COUNT];  /* of the written ones, as far as it is known */
};

struct import;

/* Everything in `o` is borrowed.  ERR_USAGE when options do not fit together. */
struct import *import_new(const struct import_options *o, struct err *e) MUST_CHECK;
void import_free(struct import *m);       /* NULL is fine */

/* So many rows will come (for the limit of bad ones), besides those announced before. */
void import_expect(struct import *m, int64_t rows);

struct import_row {
    json_t *json;                 /* borrowed */
    const char *where;            /* "file:17" */
    const char *dir;              /* relative names start here */
    const char *corpus;           /* when the row does not say it; may be NULL */
    const struct import_names *names;   /* NULL: as its keys say */
    enum import_split split;      /* SPLIT_NONE: as the options say */
};

/* One row.  0: go on, 1: there are enough, -1: failed.  A bad row is no failure until there are too
 * many of them (ERR_DATA). */
int import_row(struct import *m, const struct import_row *row, struct err *e) MUST_CHECK;

/* The same for a row that could not be read for the reason in `why`. */
int import_bad(struct import *m, const char *where, const struct err *why,
               struct err *e) MUST_CHECK;

/* All rows of all tables.  `base` (may be NULL): folders below it that are called train, validation
 * or test are splits.  ERR_USAGE when a table has no column of use, or is a shard. */
int import_tables(struct import *m, const struct manifest *tables, const char *base,
                  struct err *e) MUST_CHECK;

/* When no more rows come: ERR_DATA when too many were bad. */
int import_end(struct import *m, struct err *e) MUST_CHECK;

/* What it was made with. */
const struct import_options *import_settings(const struct import *m);

const struct import_counts *import_counts(const struct import *m);

/* The tables of a data set in the Hub's layout: metadata.csv and metadata.jsonl in the folder `uri`
 * and below.  One without is ERR_DATA, saying what to do. */
int import_hub_tables(struct net *net, const char *uri, struct object_list *l,
                      struct err *e) MUST_CHECK;

/* The split that a path below `base` belongs to. */
enum import_split import_split_of(const char *path, const char *base);

/* The subtag that says which language it is, in lower case: "en" for "en-US", "EN_us"; "" for what
 * is none ("", "??", "und", "unknown").  `out` of at least 16 bytes. */
void import_language(const char *tag, char *out);

#endif
