/* speech_rules.h - tokens that Whisper never writes, as rules for generate(). */
#ifndef TRAIN_SPEECH_RULES_H
#define TRAIN_SPEECH_RULES_H

#include <stdint.h>

#include "base/err.h"
#include "text/tokenizer.h"
#include "text/whisper.h"

enum { SPEECH_RULES_MAX = 1 << 20 };  /* tokens in a list */

/* The tokens that a checkpoint never writes (generation_config.json: suppress_tokens, and at the
 * begin begin_suppress_tokens), as rules for generate().  Zeroed: none. */
struct speech_rules {
    int32_t *never, *never_first;      /* owned */
    int never_count, never_first_count;
    int first_times;                   /* how many timestamps may be the first token: up to
                                          max_initial_timestamp_index, and one; 0: all */
};

/* Read the checkpoint's generation_config.json; without one, the same keys of config.json, where
 * older files have them.  Ids that config.json's vocab_size does not hold are ERR_DATA.  A folder
 * without either file has no rules. */
int speech_rules_open(struct speech_rules *r, const char *dir, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void speech_rules_release(struct speech_rules *r);
/* generate_options.rules with the struct as `rules_arg`. */
void speech_rules_apply(void *rules, int row, const struct ids *ids, float *logits, int V);

/* The same, and timestamps as transformers' WhisperTimeStampLogitsProcessor has them: the first
 * token is one; they come in pairs, but for the last; none is before the one before; and one is
 * written where all of them together are likelier than any other token. */
struct speech_times {
    const struct speech_rules *rules;
    const struct whisper_format *format;
};
/* generate_options.rules with a struct speech_times as `rules_arg`. */
void speech_rules_apply_times(void *times, int row, const struct ids *ids, float *logits, int V);

#endif
