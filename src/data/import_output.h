/* import_output.h - where imported records go: one JSONL file, or one for each split, each of them
 * whole or not there at all. */
#ifndef DATA_IMPORT_OUTPUT_H
#define DATA_IMPORT_OUTPUT_H

#include <stdio.h>

#include "base/err.h"
#include "base/file.h"
#include "data/import.h"

struct import_output {
    FILE *stream;                 /* instead of files; borrowed */
    char *stem, *ending;          /* "data/x" and ".jsonl" */
    char *paths[SPLIT_COUNT];     /* of the files that were begun; NULL: none */
    struct file_writer writers[SPLIT_COUNT];
};

/* Into `path` ("x.jsonl", and x.train.jsonl, x.eval.jsonl, x.test.jsonl for splits), or into
 * `stream` when `path` is "-".  A file is begun with its first record. */
void import_output_open(struct import_output *o, const char *path, FILE *stream);

/* An import_emit; `arg` is the struct. */
int import_output_emit(void *arg, enum import_split split, const char *line, size_t size,
                       struct err *e) MUST_CHECK;

/* Give all files their names. */
int import_output_commit(struct import_output *o, struct err *e) MUST_CHECK;
/* Throws away what was not committed; safe on a zeroed struct. */
void import_output_release(struct import_output *o);

#endif
