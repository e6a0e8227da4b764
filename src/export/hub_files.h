/* hub_files.h - the files of a Hub folder beside its weights and config.json. */
#ifndef EXPORT_HUB_FILES_H
#define EXPORT_HUB_FILES_H

#include <stdbool.h>

#include "base/err.h"

/* Copy from the folder `source` to `dir` what it has of them: tokenizer, chat template, settings of
 * features and of generation, licence. */
int hub_files_copy(const char *source, const char *dir, struct err *e) MUST_CHECK;

/* Write the tables of a byte-level BPE that `dir` lacks beside its tokenizer.json: vocab.json,
 * merges.txt and added_tokens.json, the older layout, which is what whisper.cpp's converter reads.
 * Another tokenizer, or none, is fine: nothing is written. */
int hub_files_tables(const char *dir, struct err *e) MUST_CHECK;

/* Is it the name of a file that these two write? */
bool hub_files_has(const char *name);

#endif
