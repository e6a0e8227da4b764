/* tower_cache.h - what frozen towers make of clips and pictures, kept from epoch to epoch.
 *
 * A tower without a trained parameter makes the same of the same clip in every epoch.  Its output,
 * before the projection into the decoder, is kept in host memory up to a budget.  When that is
 * full, what is there stays and the rest is computed each time: an epoch goes through everything
 * once, and a cache that made room would always have thrown out what comes next.
 *
 * Results do not depend on what is in the cache.  With it in use every clip and every picture
 * passes its tower alone, padded by a rule that depends on itself only, so that its output is the
 * same bytes whether it was computed now or long ago; a resumed run begins with an empty cache.  Of
 * an encoder-decoder, whose decoder sees what is behind a clip, too, a window of another length is
 * another clip.
 */
#ifndef TRAIN_TOWER_CACHE_H
#define TRAIN_TOWER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/batch.h"
#include "model/model.h"

struct tower_cache;

struct tower_cache_stats {
    int64_t hits, misses;              /* clips and pictures that were there, or were computed */
    int64_t bytes;                     /* of what is kept */
};

/* A cache for the towers of `m` that are frozen, as they are now; NULL when there is none, or no
 * budget.  `m` is borrowed. */
struct tower_cache *tower_cache_new(const struct model *m, int64_t bytes_max);
void tower_cache_free(struct tower_cache *c);           /* NULL is fine */

/* Put `heard` and `seen` in the place of `mel` and `pixels`, in the current scope, for the towers
 * that are frozen.  What is not in the cache is evaluated here. */
int tower_cache_input(struct tower_cache *c, struct model_input *in, const struct batch *b,
                      struct err *e) MUST_CHECK;

struct tower_cache_stats tower_cache_stats(const struct tower_cache *c);

#endif
