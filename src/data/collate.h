/* collate.h - samples side by side in one padded batch. */
#ifndef DATA_COLLATE_H
#define DATA_COLLATE_H

#include "data/batch.h"
#include "data/sample.h"

/* Make a batch of `count` samples, in this order.  The samples stay the caller's; their
 * references and names are copied.  A count of 0 gives an empty batch.
 *
 * With the format's `pack_tokens`, samples for training share rows (batch.h): the longest first,
 * each into the first row that has room for it.  Samples for generation have a row each, always. */
void collate(struct batch *b, const struct data_format *f, const struct sample *samples, int count);

#endif
