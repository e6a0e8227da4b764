/* resample.h - another sample rate, by libsoxr at its "high quality" (librosa's default).
 *
 * Samples may be pushed in pieces of any size: the result does not depend on the cuts.
 */
#ifndef MEDIA_RESAMPLE_H
#define MEDIA_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A growing array of samples with a limit. */
struct samples {
    float *at;
    int64_t count, capacity;
    int64_t count_max;                  /* more than this is an error; set before use */
};

void samples_release(struct samples *s);
/* Append `n` samples.  Fails with ERR_DATA when there would be more than count_max. */
int samples_add(struct samples *s, const float *x, int64_t n, struct err *e) MUST_CHECK;

struct resampler;

/* Make a resampler of one channel; when the rates are equal it copies. */
struct resampler *resampler_open(double rate_in, double rate_out, struct err *e) MUST_CHECK;
void resampler_close(struct resampler *r);

/* Feed `n` samples and append what comes out to `out`.  `n` 0 ends the signal: what is still
 * inside comes out, and nothing may be fed after. */
int resampler_push(struct resampler *r, const float *x, int64_t n, struct samples *out,
                   struct err *e) MUST_CHECK;

#endif
