/* mel.c - see mel.h. */
#include "media/mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/fft.h"

/* A triangle: weights of the spectrum's bins first .. first + count - 1. */
struct triangle {
    int first, count;
    double *weights;
};

struct mel {
    struct mel_config config;
    struct fft *fft;
    float *window;                 /* [frame] */
    struct triangle *triangles;    /* [M] */
    double *weights;               /* of all triangles */
};

/* ----------------------------------------------------------------- tables -- */

/* The mel scale of HTK: logarithmic. */
static double htk_mel_of(double hz)
{
    return 2595 * log10(1 + hz / 700);
}
static double htk_hz_of(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

/* Slaney's: three mel every 200 Hz up to 1 kHz, from there 27 for each factor of 6.4. */
static double slaney_mel_of(double hz)
{
    return hz < 1000 ? 3 * hz / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}
static double slaney_hz_of(double mel)
{
    return mel < 15 ? 200 * mel / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

/* Triangle i rises from corner i to i + 1 and falls to i + 2, corners evenly spaced in mel; of a
 * window, their areas are 1.  The narrowest lie between two bins of the spectrum and stay empty,
 * as in the reference. */
static void make_triangles(struct mel *m)
{
    const struct mel_config *c = &m->config;
    int spectrum = c->fft / 2 + 1;
    double (*mel_of)(double) = c->is_window ? slaney_mel_of : htk_mel_of;
    double (*hz_of)(double) = c->is_window ? slaney_hz_of : htk_hz_of;
    double low = mel_of(c->low_hz), step = (mel_of(c->high_hz) - low) / (c->bins + 1);
    m->triangles = xcalloc((size_t)c->bins, sizeof *m->triangles);
    m->weights = xcalloc((size_t)c->bins * (size_t)spectrum, sizeof *m->weights);
    for (int i = 0; i < c->bins; i++) {
        struct triangle *t = &m->triangles[i];
        double left = hz_of(low + step * i), top = hz_of(low + step * (i + 1));
        double right = hz_of(low + step * (i + 2));
        double height = c->is_window ? 2 / (right - left) : 1;
        t->weights = m->weights + (size_t)i * (size_t)spectrum;
        for (int k = 0; k < spectrum; k++) {
            double hz = (double)k * (c->rate / 2) / (spectrum - 1);
            double weight = fmin((hz - left) / (top - left), (right - hz) / (right - top));
            if (weight <= 0)
                continue;
            if (t->count == 0)
                t->first = k;
            t->count = k - t->first + 1;
            t->weights[k - t->first] = weight * height;
        }
    }
}

struct mel *mel_new(const struct mel_config *c, struct err *e)
{
    if (mel_config_check(c, e))
        return NULL;
    struct mel *m = xcalloc(1, sizeof *m);
    m->config = *c;
    if (c->is_raw)
        return m;
    m->fft = fft_new(c->fft);
    m->window = xcalloc((size_t)c->frame, sizeof *m->window);
    for (int i = 0; i < c->frame; i++)
        m->window[i] = (float)(0.5 - 0.5 * cos(2 * M_PI * i / c->frame));
    make_triangles(m);
    return m;
}

void mel_free(struct mel *m)
{
    if (!m)
        return;
    fft_free(m->fft);
    free(m->window);
    free(m->triangles);
    free(m->weights);
    free(m);
}

const struct mel_config *mel_settings(const struct mel *m)
{
    return &m->config;
}

/* ----------------------------------------------------------------- frames -- */

int mel_frames(const struct mel *m, int64_t samples)
{
    const struct mel_config *c = &m->config;
    if (c->is_raw)
        return samples <= 0 ? 0 : (int)((samples + c->bins - 1) / c->bins);
    if (c->is_window) {
        int64_t heard = samples < c->samples_max ? samples : c->samples_max;
        return heard <= 0 ? 0 : (int)((heard + c->hop - 1) / c->hop);
    }
    int64_t multiple = c->pad_multiple > 1 ? c->pad_multiple : 1;
    int64_t padded = (samples + multiple - 1) / multiple * multiple + c->pad_left;
    return padded < c->frame + 1 ? 0 : (int)((padded - c->frame - 1) / c->hop + 1);
}

int mel_frames_valid(const struct mel *m, int64_t samples)
{
    const struct mel_config *c = &m->config;
    if (c->is_raw)
        return mel_frames(m, samples);
    if (c->is_window)
        return samples <= 0 ? 0 : (int)(c->samples_max / c->hop);
    /* Frame i reaches from sample i * hop - pad_left over frame + 1 samples. */
    int64_t last = samples - 1 + c->pad_left - (c->validity == MEL_VALID_LAST ? c->frame : 0);
    int valid = last < 0 || samples <= 0 ? 0 : (int)(last / c->hop + 1);
    int frames = mel_frames(m, samples);
    return valid < frames ? valid : frames;
}

int mel_soft_tokens(const struct mel *m, int frames)
{
    for (int stride = m->config.subsample; stride > 1; stride /= 2)
        frames = (frames + 1) / 2;
    return frames;
}

/* The samples of frame i, with the zeros in front and behind, and one more: [frame + 1]. */
static void take_frame(const struct mel *m, const float *x, int64_t samples, int i, double *out)
{
    const struct mel_config *c = &m->config;
    int64_t first = (int64_t)i * c->hop - c->pad_left;
    for (int k = 0; k <= c->frame; k++) {
        int64_t at = first + k;
        out[k] = at >= 0 && at < samples ? (double)x[at] * c->scale : 0;
    }
}

static void preemphasize(const struct mel_config *c, double *x)
{
    double p = c->preemphasis;
    if (p <= 0)
        return;
    if (c->preemphasis_htk) {
        for (int k = c->frame - 1; k > 0; k--)
            x[k] -= p * x[k - 1];
        x[0] *= 1 - p;
    } else {
        for (int k = 0; k < c->frame; k++)
            x[k] = x[k + 1] - p * x[k];
    }
}

static void mel_of_spectrum(const struct mel *m, const double *spectrum, float *out)
{
    const struct mel_config *c = &m->config;
    for (int i = 0; i < c->bins; i++) {
        const struct triangle *t = &m->triangles[i];
        double sum = 0;
        for (int k = 0; k < t->count; k++)
            sum += t->weights[k] * spectrum[t->first + k];
        double y = log(c->floor_rule == MEL_FLOOR_ADDED ? sum + c->floor : fmax(sum, c->floor));
        if (c->has_mean)
            y -= c->mean[i];
        if (c->has_deviation)
            y /= c->deviation[i];
        out[i] = (float)y;
    }
}

/* ---------------------------------------------------------------- windows -- */

/* Position `at` of a signal of n samples that is mirrored at its first and last. */
static int64_t mirrored(int64_t at, int64_t n)
{
    if (n < 2)
        return 0;
    int64_t period = 2 * (n - 1);
    at = (at % period + period) % period;
    return at < n ? at : period - at;
}

/* Frame i of `samples` samples that zeros fill up to n, windowed.  Returns whether it holds
 * anything but zeros. */
static bool take_window_frame(const struct mel *m, const float *x, int64_t samples, int64_t n,
                              int i, double *out)
{
    const struct mel_config *c = &m->config;
    int64_t first = (int64_t)i * c->hop - c->frame / 2;
    if (first >= samples && first + c->frame <= n)
        return false;
    bool holds = false;
    if (first >= 0 && first + c->frame <= samples) {
        for (int k = 0; k < c->frame; k++) {
            out[k] = (double)x[first + k] * (double)m->window[k];
            holds |= out[k] != 0;
        }
        return holds;
    }
    for (int k = 0; k < c->frame; k++) {
        int64_t at = mirrored(first + k, n);
        out[k] = at < samples ? (double)x[at] * (double)m->window[k] : 0;
        holds |= out[k] != 0;
    }
    return holds;
}

/* The logarithms of a frame; returns the greatest. */
static float log_of_spectrum(const struct mel *m, const double *spectrum, float *out)
{
    const struct mel_config *c = &m->config;
    float greatest = -INFINITY;
    for (int i = 0; i < c->bins; i++) {
        const struct triangle *t = &m->triangles[i];
        double sum = 0;
        for (int k = 0; k < t->count; k++)
            sum += t->weights[k] * spectrum[t->first + k];
        out[i] = log10f((float)fmax(sum, c->floor));
        greatest = fmaxf(greatest, out[i]);
    }
    return greatest;
}

/* Whisper's features. */
static void compute_window(const struct mel *m, const float *x, int64_t samples, int frames,
                           float *out)
{
    const struct mel_config *c = &m->config;
    size_t fft = (size_t)c->fft, bins = (size_t)c->bins, count = (size_t)frames * bins;
    int64_t filled = (int64_t)frames * c->hop, n = samples > filled ? samples : filled;
    double *signal = xcalloc(4 * fft + 1, sizeof *signal);
    double *spectrum = signal + fft, *work = spectrum + fft / 2 + 1;
    float silence = log10f((float)c->floor), greatest = -INFINITY;
    for (int i = 0; i < frames; i++) {
        float *row = out + (size_t)i * bins;
        if (take_window_frame(m, x, samples, n, i, signal)) {
            fft_powers(m->fft, signal, spectrum, work);
            greatest = fmaxf(greatest, log_of_spectrum(m, spectrum, row));
        } else {
            for (size_t k = 0; k < bins; k++)
                row[k] = silence;
            greatest = fmaxf(greatest, silence);
        }
    }
    float least = greatest - 8;
    for (size_t k = 0; k < count; k++)
        out[k] = ((out[k] > least ? out[k] : least) + 4) / 4;
    free(signal);
}

/* ---------------------------------------------------------------- features -- */

static void copy_frames(const struct mel *m, const float *x, int64_t samples, int frames,
                        float *out)
{
    int64_t count = (int64_t)frames * m->config.bins;
    for (int64_t i = 0; i < count; i++)
        out[i] = i < samples ? x[i] * (float)m->config.scale : 0;
}

void mel_compute(const struct mel *m, const float *x, int64_t samples, int frames, float *out)
{
    const struct mel_config *c = &m->config;
    if (c->is_raw) {
        copy_frames(m, x, samples, frames, out);
        return;
    }
    if (c->is_window) {
        compute_window(m, x, samples, frames, out);
        return;
    }
    size_t n = (size_t)c->fft;
    int valid = mel_frames_valid(m, samples);
    /* The frame, then zeros up to the FFT's size; one more, as a frame reaches over frame + 1. */
    double *signal = xcalloc(4 * n + 2, sizeof *signal);
    double *spectrum = signal + n + 1, *work = spectrum + n / 2 + 1;
    for (int i = 0; i < frames; i++) {
        float *row = out + (size_t)i * (size_t)c->bins;
        if (i >= valid) {
            memset(row, 0, (size_t)c->bins * sizeof *row);
            continue;
        }
        take_frame(m, x, samples, i, signal);
        preemphasize(c, signal);
        for (int k = 0; k < c->frame; k++)
            signal[k] *= (double)m->window[k];
        signal[c->frame] = 0;
        fft_magnitudes(m->fft, signal, spectrum, work);
        mel_of_spectrum(m, spectrum, row);
    }
    free(signal);
}
