/* resample.c - see resample.h. */
#include "media/resample.h"

#include <soxr.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

enum { PIECE = 8192 };                  /* samples taken out of soxr at a time */

struct resampler {
    soxr_t soxr;                        /* NULL: the rates are equal */
};

void samples_release(struct samples *s)
{
    free(s->at);
    s->at = NULL;
    s->count = s->capacity = 0;
}

int samples_add(struct samples *s, const float *x, int64_t n, struct err *e)
{
    if (n > s->count_max - s->count)
        return err_set(e, ERR_DATA, "more than %lld samples", (long long)s->count_max);
    if (s->count + n > s->capacity) {
        int64_t wanted = s->count + n > 2 * s->capacity ? s->count + n : 2 * s->capacity;
        s->capacity = wanted > s->count_max ? s->count_max : wanted;
        s->at = xreallocarray(s->at, (size_t)s->capacity, sizeof *s->at);
    }
    for (int64_t i = 0; i < n; i++)
        s->at[s->count + i] = x[i];
    s->count += n;
    return 0;
}

struct resampler *resampler_open(double rate_in, double rate_out, struct err *e)
{
    soxr_t soxr = NULL;
    if (rate_in > rate_out || rate_in < rate_out) {
        soxr_error_t failed = NULL;
        soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
        soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
        soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
        soxr = soxr_create(rate_in, rate_out, 1, &failed, &io, &quality, &runtime);
        if (!soxr || failed) {
            soxr_delete(soxr);
            err_set(e, ERR_FAILED, "resampling from %g to %g Hz: %s", rate_in, rate_out,
                    failed ? failed : "soxr failed");
            return NULL;
        }
    }
    struct resampler *r = xcalloc(1, sizeof *r);
    r->soxr = soxr;
    return r;
}

void resampler_close(struct resampler *r)
{
    if (!r)
        return;
    if (r->soxr)
        soxr_delete(r->soxr);
    free(r);
}

int resampler_push(struct resampler *r, const float *x, int64_t n, struct samples *out,
                   struct err *e)
{
    if (!r->soxr)
        return samples_add(out, x, n, e);
    float piece[PIECE];
    bool is_end = n == 0;
    for (;;) {
        size_t used = 0, made = 0;
        soxr_error_t failed =
            soxr_process(r->soxr, is_end ? NULL : x, (size_t)n, &used, piece, PIECE, &made);
        if (failed)
            return err_set(e, ERR_FAILED, "resampling: %s", failed);
        if (samples_add(out, piece, (int64_t)made, e))
            return -1;
        if (!is_end) {
            x += used;
            n -= (int64_t)used;
        }
        /* A piece that was not filled means that soxr has nothing more to give for now. */
        if (made < PIECE && n == 0)
            return 0;
    }
}
