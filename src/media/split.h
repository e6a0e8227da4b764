/* split.h - cut a long recording at its quietest places. */
#ifndef MEDIA_SPLIT_H
#define MEDIA_SPLIT_H

#include <stdint.h>

/* Pieces of at most `longest` samples, each cut in the middle of the quietest tenth of a second of
 * the last five before the limit (of the last half of the piece, where that is shorter); of equally
 * quiet ones the last.  Piece i is [cuts[i], cuts[i + 1]); cuts[0] is 0, the last one `count`.
 * Writes at most `max` + 1 numbers to `cuts` and returns the number of pieces, -1 when there would
 * be more than `max`, or `longest` is less than 1. */
int audio_split(const float *x, int64_t count, int rate, int64_t longest, int64_t *cuts, int max);

#endif
