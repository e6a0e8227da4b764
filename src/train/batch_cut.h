/* batch_cut.h - a part of a batch, to try things out on. */
#ifndef TRAIN_BATCH_CUT_H
#define TRAIN_BATCH_CUT_H

#include <stdbool.h>

#include "data/batch.h"

/* The first rows of `b`, about this part of them; of a single row its first tokens.  Media that no
 * token is left of go, too; a row of an encoder-decoder keeps its clip, whole.  Enough for the
 * model, not for reports: there are no ids, records, references.  False, and nothing to release,
 * when no target would be left. */
bool batch_cut(struct batch *out, const struct batch *b, double part);

#endif
