/* spec_augment.c - see spec_augment.h. */
#include "media/spec_augment.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

/* Of random numbers: how many spans, and where they begin, for each axis. */
enum stream { TIME_COUNT, TIME_STARTS, FEATURE_COUNT, FEATURE_STARTS };

bool spec_augment_is_on(const struct spec_augment *a)
{
    return a->time_prob > 0 || a->feature_prob > 0;
}

static int count_spans(double probability, int n, int length, int least, double u)
{
    if (probability <= 0 || length < 1 || n < length)
        return 0;
    double count = fmax(floor(probability * n / length + u), least);
    return (int)fmin(count, n / length);
}

static void hide_frames(float *mel, int bins, int first, int count)
{
    memset(mel + (size_t)first * (size_t)bins, 0, (size_t)count * (size_t)bins * sizeof *mel);
}

static void hide_bins(float *mel, int frames, int bins, int first, int count)
{
    for (int i = 0; i < frames; i++)
        memset(mel + (size_t)i * (size_t)bins + first, 0, (size_t)count * sizeof *mel);
}

void spec_augment(const struct spec_augment *a, uint64_t key, float *mel, int frames, int bins)
{
    struct rng_shuffle starts;
    int spans = count_spans(a->time_prob, frames, a->time_length, a->time_spans,
                            rng_uniform(key, TIME_COUNT, 0));
    if (spans > 0)
        rng_shuffle_init(&starts, key, TIME_STARTS,
                         (uint64_t)frames - (uint64_t)a->time_length + 1);
    for (int i = 0; i < spans; i++)
        hide_frames(mel, bins, (int)rng_shuffle_at(&starts, (uint64_t)i), a->time_length);

    spans = count_spans(a->feature_prob, bins, a->feature_length, a->feature_spans,
                        rng_uniform(key, FEATURE_COUNT, 0));
    if (spans > 0)
        rng_shuffle_init(&starts, key, FEATURE_STARTS,
                         (uint64_t)bins - (uint64_t)a->feature_length + 1);
    for (int i = 0; i < spans; i++)
        hide_bins(mel, frames, bins, (int)rng_shuffle_at(&starts, (uint64_t)i), a->feature_length);
}
