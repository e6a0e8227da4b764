/* import_names.h - what the columns of other people's tables are called.
 *
 * A row is a JSON object.  What each of its columns is for is told by its name: names that are
 * usual in tables of speech (exports of annotation tools, NVIDIA's manifests, the Hub's metadata
 * files), or those that the user gives ("text=text_perfect").
 */
#ifndef DATA_IMPORT_NAMES_H
#define DATA_IMPORT_NAMES_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"

enum import_role {
    ROLE_ID,
    ROLE_AUDIO,
    ROLE_IMAGE,
    ROLE_PROMPT,
    ROLE_TEXT,
    ROLE_LANGUAGE,
    ROLE_DURATION,
    ROLE_CORPUS,                  /* which collection a clip is from */
    ROLE_TASK,                    /* "asr", or something else than transcription */
    ROLE_TARGET,                  /* language of the text, where it may be a translation */
    ROLE_OFFSET,                  /* where in its file a clip begins, in seconds */
    ROLE_COUNT,
};

/* The name of each role's column; NULL: there is none. */
struct import_names {
    const char *of[ROLE_COUNT];
};

/* Find the columns among `names`; of several that fit, the first of our list counts.  `columns` are
 * the user's, "ours=theirs".  The strings belong to `names`. */
void import_names_find(struct import_names *n, char *const *names, int count, char *const *columns,
                       int column_count);
/* The same among the keys of an object. */
void import_names_of(struct import_names *n, const json_t *o, char *const *columns,
                     int column_count);

/* Are the user's columns such that can be had ("text=...") and, with `names`, among them?
 * ERR_USAGE, naming the nearest. */
int import_names_check(char *const *columns, int column_count, char *const *names, int count,
                       struct err *e) MUST_CHECK;

/* Our word for a role: "text". */
const char *import_role_name(enum import_role r);

/* A value as text: strings, numbers and truth values; of an object {"path": ...} that; NULL for
 * none. The caller frees. */
char *import_text(const json_t *o, const char *key);

/* A value as a number of seconds, also one written as text: -1 for none, -2 for garbage. */
double import_seconds(const json_t *o, const char *key);

#endif
