/* generate.h - let the model write: one token after another for each row of a batch.
 *
 * Random numbers (temperature above 0): token t (from 0) of the row with key k is drawn by
 *
 *     u = splitmix64(seed + (k << 32 | t) * 0x9e3779b97f4a7c15)        in [0, 1), 53 bits of it
 *
 * where splitmix64 adds that constant and mixes (Steele, Lea, Flood 2014): it is the first token
 * whose cumulated probability exceeds u, in the order of ids; in the order of probability, from
 * the greatest on, when top_p leaves some out.
 */
#ifndef TRAIN_GENERATE_H
#define TRAIN_GENERATE_H

#include <stdint.h>

#include "base/err.h"
#include "data/batch.h"
#include "model/model.h"
#include "text/tokenizer.h"

struct generate_options {
    int max_new_tokens;                /* of each row; at least 1 */
    const int32_t *stop_ids;           /* tokens that end a row; they are not part of it */
    int stop_count;
    double temperature;                /* 0: the likeliest token */
    double top_p;                      /* 0 or 1: all tokens may be drawn, else the likeliest that
                                          together have this probability */
    uint64_t seed;
    const uint32_t *keys;              /* [rows] which random numbers each row draws, see above;
                                          NULL: 0, 1, ... */
    mx_array heard;                    /* of the rows' clips, by model_hear: b->mel is not read;
                                          MX_NONE: it is */
    /* Change the logits [V] of a row before its next token is chosen; `ids` are its new tokens
     * so far.  NULL: they stay as they are. */
    void (*rules)(void *arg, int row, const struct ids *ids, float *logits, int V);
    void *rules_arg;
    /* [rows] get the sum of the log-probabilities of the new tokens, a stop that ended the row
     * included, under the logits after the rules and without temperature; NULL: not wanted. */
    double *logprobs;
    /* Called with each new token of row 0 as it comes; NULL: not. */
    void (*on_token)(void *arg, int32_t id);
    void *arg;
};

/* Continue the prompts of `b`: out[r] gets the new tokens of row r, without the stop that ended it.
 * A row of an encoder-decoder model ends also where the decoder has no more positions (facts'
 * positions_max, the prompt's counted); a prompt that fills them all is ERR_DATA.  Greedy rows
 * without rules and logprobs are decided on the device; else the logits come to the host, step by
 * step.  The caller releases out[0 .. b->rows), on failure too. */
int generate(const struct model *m, const struct batch *b, const struct generate_options *o,
             struct ids *out, struct err *e) MUST_CHECK;

#endif
