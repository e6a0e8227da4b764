/* collate.h - samples side by side in one padded batch. */
#ifndef DATA_COLLATE_H
#define DATA_COLLATE_H

#include "data/batch.h"
#include "data/sample.h"

/* Make a batch of `count` samples, in this order.  The samples stay the caller's; their
 * references and names are copied.  A count of 0 gives an empty batch. */
void collate(struct batch *b, const struct data_format *f, const struct sample *samples, int count);

#endif
