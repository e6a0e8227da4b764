/* collate_parts.h - what the files of collating share.
 *
 *     collate.c            rows of records with media among the tokens, one each or packed
 *     collate_windows.c    rows of encoder-decoder models: transcripts, one a window of sound
 */
#ifndef DATA_COLLATE_PARTS_H
#define DATA_COLLATE_PARTS_H

#include "data/collate.h"

/* The next multiple; of `fallback` when there is none. */
int collate_round_up(int n, int multiple, int fallback);

/* [count] times the value, never NULL; the caller frees. */
int32_t *collate_filled(size_t count, int32_t value);

/* Everything that is there once a record: S, and room for their names, places, ... */
void collate_records(struct batch *b, int count);

/* Name record number `record`: `seconds` of sound are its own. */
void collate_name(struct batch *b, const struct sample *s, int record, double seconds);

/* Tokens, and targets of which none is filled in yet; B, T and R are known. */
void collate_tokens(struct batch *b, int pad_id);

void collate_windows(struct batch *b, const struct data_format *f, const struct sample *samples,
                     int count);

#endif
