/* generate.h - let the model write: one token after another for each row of a batch. */
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
    /* Called with each new token of row 0 as it comes; NULL: not. */
    void (*on_token)(void *arg, int32_t id);
    void *arg;
};

/* Continue the prompts of `b`: out[r] gets the new tokens of row r, without the one that ended it.
 * The caller releases out[0 .. b->rows), on failure too. */
int generate(const struct model *m, const struct batch *b, const struct generate_options *o,
             struct ids *out, struct err *e) MUST_CHECK;

#endif
