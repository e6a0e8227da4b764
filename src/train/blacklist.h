/* blacklist.h - records whose transcript is far from their text, as a table that patches take.
 *
 *     id,text,predicted,wer,cer,reason
 *     r17,good morning,,1.0000,1.0000,word error rate 1.00 is 0.75 or more
 *
 * Put into patches/delete/ as it is, the table leaves the records out; with `text` mended and put
 * into patches/override_text/, it corrects them.  A record without an id of its own is listed by
 * its place ("train.jsonl:17"), which patches do not know.
 */
#ifndef TRAIN_BLACKLIST_H
#define TRAIN_BLACKLIST_H

#include <stdint.h>

#include "base/buf.h"
#include "data/patch.h"
#include "train/evaluate.h"

struct blacklist_counts {
    int64_t listed;                    /* rows of the table */
    int64_t without_id;                /* of these, named by their place only */
    int64_t protected;                 /* left out, since do_not_blacklist names them */
};

/* The table of all transcripts whose word error rate is `wer` or more, the worst first.  `p` may
 * be NULL. */
void blacklist_table(const struct evaluation *v, const struct patch *p, double wer, struct buf *out,
                     struct blacklist_counts *counts);

#endif
