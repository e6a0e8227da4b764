/* speech_window.c - see speech_window.h. */
#include "train/speech_window.h"

#include <math.h>
#include <stdlib.h>

#include <zlib.h>

#include "base/mem.h"

/* The step of the token at `i`; what is no time counts as the window's begin. */
static int step_of(const struct ids *ids, int i, int32_t first_time)
{
    return i >= 0 && ids->at[i] > first_time ? ids->at[i] - first_time : 0;
}

/* Cut behind each time that another follows. */
static int cut_at_pairs(const struct ids *ids, int32_t first_time, struct speech_piece *out)
{
    int n = 0, from = 0;
    for (int i = 1; i < ids->count; i++) {
        if (ids->at[i - 1] < first_time || ids->at[i] < first_time)
            continue;
        out[n++] = (struct speech_piece){.from = from,
                                         .to = i,
                                         .start = step_of(ids, from, first_time),
                                         .end = step_of(ids, i - 1, first_time)};
        from = i;
    }
    return n;
}

/* The whole window is one piece, up to its last time if it has one. */
static struct speech_piece whole(const struct ids *ids, int32_t first_time, int frames)
{
    struct speech_piece p = {.to = ids->count, .end = frames / SPEECH_TIME_FRAMES};
    for (int i = ids->count - 1; i >= 0; i--) {
        if (ids->at[i] < first_time)
            continue;
        if (ids->at[i] > first_time)
            p.end = step_of(ids, i, first_time);
        break;
    }
    return p;
}

int speech_cut(const struct ids *ids, int32_t first_time, int frames, struct speech_piece *out,
               int *advance)
{
    int n = cut_at_pairs(ids, first_time, out), last = ids->count - 1;
    *advance = frames;
    if (n == 0) {
        out[0] = whole(ids, first_time, frames);
        return 1;
    }
    bool ends_single = ids->at[last] >= first_time && ids->at[last - 1] < first_time;
    if (ends_single) {
        int from = out[n - 1].to;
        out[n] = (struct speech_piece){.from = from,
                                       .to = ids->count,
                                       .start = step_of(ids, from, first_time),
                                       .end = step_of(ids, last, first_time)};
        return n + 1;
    }
    /* The second time of the last pair stays with its piece: it tells that speech goes on. */
    out[n - 1].to++;
    if (out[n - 1].end > 0)
        *advance = out[n - 1].end * SPEECH_TIME_FRAMES;
    return n;
}

double speech_compression(const struct ids *ids, int32_t end, int vocab)
{
    size_t width = (size_t)(log2(vocab) / 8) + 1, n = 0;
    size_t count = (size_t)ids->count + (end >= 0);
    unsigned char *bytes = xcalloc(count * width + 1, 1);
    for (size_t i = 0; i < count; i++) {
        uint32_t id = (uint32_t)(i < (size_t)ids->count ? ids->at[i] : end);
        for (size_t k = 0; k < width; k++)
            bytes[n++] = (unsigned char)(id >> 8 * k);
    }
    uLongf size = compressBound((uLong)n);
    unsigned char *packed = xmalloc(size);
    int rc = compress(packed, &size, bytes, (uLong)n);
    free(packed);
    free(bytes);
    return rc == Z_OK && size ? (double)n / (double)size : 0;
}
