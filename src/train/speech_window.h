/* speech_window.h - what the tokens of one window say: segments, and where the next window starts.
 *
 * With f frames of 0.01 s in the window, and times in steps of 0.02 s (Radford et al. 2022, 3.8;
 * transformers' _retrieve_segment):
 *
 *     <|0.00|> a <|1.20|><|1.20|> b <|3.00|>       two segments; nothing is said behind 3.00: the
 *                                                  next window starts behind this one
 *     <|0.00|> a <|1.20|><|1.20|> b                b is not finished: one segment, and the next
 *                                                  window starts at 1.20
 *     <|0.00|> a <|1.20|>                          one segment, the next window behind this one
 *     <|0.00|> a                                   one segment up to the window's end, likewise
 */
#ifndef TRAIN_SPEECH_WINDOW_H
#define TRAIN_SPEECH_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "text/tokenizer.h"

/* The frames that a step of the timestamps is long. */
enum { SPEECH_TIME_FRAMES = 2 };

/* ids[from .. to) and when they were said, in steps of 0.02 s from the window's begin. */
struct speech_piece {
    int from, to;
    int start, end;
};

/* The pieces of a window of `frames` frames into `out`, which has room for ids->count + 1; returns
 * how many.  Ids from `first_time` on are times.  *advance gets the frames to the next window, at
 * least 1. */
int speech_cut(const struct ids *ids, int32_t first_time, int frames, struct speech_piece *out,
               int *advance);

/* How many times larger the ids (and `end` behind them, when not negative) are than what zlib makes
 * of them: as transformers takes it, of the ids as little-endian numbers of as many bytes as the
 * vocabulary needs.  What repeats itself compresses well; the paper's limit is 2.4. */
double speech_compression(const struct ids *ids, int32_t end, int vocab);

#endif
