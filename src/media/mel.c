/* mel.c - see mel.h. */
#include "media/mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "media/fft.h"

enum {
    CONFIG_BYTES_MAX = 4 << 20,
    RAW_SAMPLES = 640,             /* of a frame of the encoder-free model, unless it says */
    RAW_FRAMES_MAX = 750,          /* "audio_seq_length" of transformers' Gemma4UnifiedProcessor */
};

static const char TYPE_MEL[] = "Gemma4AudioFeatureExtractor";
static const char TYPE_RAW[] = "Gemma4UnifiedAudioFeatureExtractor";

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

/* --------------------------------------------------------------- settings -- */

void mel_config_gemma4(struct mel_config *c)
{
    memset(c, 0, sizeof *c);
    c->rate = 16000;
    c->bins = 128;
    c->frame = 320;
    c->hop = 160;
    c->fft = 512;
    c->pad_left = 160;
    c->pad_multiple = 128;
    c->high_hz = 8000;
    c->preemphasis_htk = true;
    c->scale = 1;
    c->floor = 1e-3;
    c->floor_rule = MEL_FLOOR_ADDED;
    c->validity = MEL_VALID_LAST;
    c->samples_max = 480000;
    c->subsample = 4;
}

/* The samples themselves, `bins` of them a frame. */
static void config_raw(struct mel_config *c, int bins, int64_t frames_max)
{
    int rate = c->rate;
    memset(c, 0, sizeof *c);
    c->rate = rate;
    c->bins = c->frame = c->hop = bins;
    c->pad_multiple = 1;
    c->scale = 1;
    c->validity = MEL_VALID_FIRST;
    c->is_raw = true;
    c->samples_max = frames_max * bins;
    c->subsample = 1;
}

/* Milliseconds to samples, rounded to even as Python's round(). */
static int samples_of(double rate, double ms)
{
    double samples = nearbyint(rate * ms / 1000);
    return samples >= 1 && samples <= FFT_MAX ? (int)samples : 0;
}

static int power_of_two_from(int n)
{
    int p = 1;
    while (p < n)
        p *= 2;
    return p;
}

/* A list of M numbers, or null.  Returns whether it is there.  transformers writes it with the
 * two dimensions of size 1 that it adds for itself. */
static bool read_bins(const json_t *o, const char *key, int bins, double *out, struct err *e)
{
    json_t *list = json_get_array(o, key, e);
    if (!list)
        return false;
    while (json_array_size(list) == 1 && json_is_array(json_array_get(list, 0)))
        list = json_array_get(list, 0);
    if (json_array_size(list) != (size_t)bins) {
        err_set(e, ERR_USAGE, "%s: found %zu numbers, expected %d", key, json_array_size(list),
                bins);
        return false;
    }
    for (int i = 0; i < bins; i++) {
        json_t *v = json_array_get(list, (size_t)i);
        out[i] = json_number_value(v);
        if (!json_is_number(v) || !isfinite(out[i]))
            err_set(e, ERR_USAGE, "%s[%d]: found %s, expected a number", key, i, json_kind_name(v));
    }
    return true;
}

static int check_config(const struct mel_config *c, struct err *e)
{
    if (c->bins < 1 || c->bins > MEL_BINS_MAX)
        return err_set(e, ERR_USAGE, "feature_size: found %d, allowed are 1 to %d", c->bins,
                       MEL_BINS_MAX);
    if (c->is_raw)
        return 0;
    if (c->frame < 2 || c->hop < 1 || c->fft < 4 || c->fft > FFT_MAX)
        return err_set(
            e, ERR_USAGE,
            "frame_length_ms, hop_length_ms: found %d and %d samples, allowed are 2 to %d",
            c->frame, c->hop, FFT_MAX);
    if (!(c->low_hz >= 0 && c->low_hz < c->high_hz))
        return err_set(e, ERR_USAGE, "min_frequency, max_frequency: found %g to %g", c->low_hz,
                       c->high_hz);
    if (!(c->floor > 0))
        return err_set(e, ERR_USAGE, "mel_floor: found %g, expected more than 0", c->floor);
    for (int i = 0; c->has_deviation && i < c->bins; i++)
        if (c->deviation[i] <= 0)
            return err_set(e, ERR_USAGE, "per_bin_stddev[%d]: found %g, expected more than 0", i,
                           c->deviation[i]);
    return 0;
}

/* Gemma4UnifiedAudioFeatureExtractor; `file` is what its settings `o` stand in. */
static int read_raw(struct mel_config *c, const json_t *o, const json_t *file, struct err *e)
{
    int known = c->is_raw ? c->bins : RAW_SAMPLES;
    int64_t samples = json_get_int(o, "audio_samples_per_token", known, e);
    int64_t frames_max = json_get_int(file, "audio_seq_length", RAW_FRAMES_MAX, e);
    if (e->kind)
        return -1;
    if (samples < 1 || samples > MEL_BINS_MAX)
        return err_set(e, ERR_USAGE, "audio_samples_per_token: found %lld, allowed are 1 to %d",
                       (long long)samples, MEL_BINS_MAX);
    if (frames_max < 1 || frames_max > INT32_MAX)
        return err_set(e, ERR_USAGE, "audio_seq_length: found %lld, expected 1 or more",
                       (long long)frames_max);
    config_raw(c, (int)samples, frames_max);
    return 0;
}

static int read_extractor(struct mel_config *c, const json_t *o, const json_t *file, struct err *e)
{
    const char *type =
        json_get_str(o, "feature_extractor_type", c->is_raw ? TYPE_RAW : TYPE_MEL, e);
    bool is_raw = type && strcmp(type, TYPE_RAW) == 0;
    if (type && !is_raw && strcmp(type, TYPE_MEL) != 0)
        return err_set(e, ERR_USAGE, "feature_extractor_type: \"%s\" is not supported", type);

    c->rate = (int)json_get_int(o, "sampling_rate", c->rate, e);
    if (!e->kind && c->rate != 16000)
        return err_set(e, ERR_USAGE, "sampling_rate: found %d, expected 16000", c->rate);
    if (is_raw)
        return read_raw(c, o, file, e);
    mel_config_gemma4(c);
    c->bins = (int)json_get_int(o, "feature_size", c->bins, e);
    c->frame = samples_of(c->rate, json_get_double(o, "frame_length_ms", 20, e));
    c->hop = samples_of(c->rate, json_get_double(o, "hop_length_ms", 10, e));
    c->pad_left = c->frame / 2;
    c->fft = power_of_two_from(c->frame);
    if (json_get_bool(o, "fft_overdrive", false, e))
        c->fft *= 2;
    c->low_hz = json_get_double(o, "min_frequency", c->low_hz, e);
    c->high_hz = json_get_double(o, "max_frequency", c->high_hz, e);
    c->preemphasis = json_get_double(o, "preemphasis", c->preemphasis, e);
    c->preemphasis_htk = json_get_bool(o, "preemphasis_htk_flavor", c->preemphasis_htk, e);
    c->scale = json_get_double(o, "input_scale_factor", c->scale, e);
    c->floor = json_get_double(o, "mel_floor", c->floor, e);
    if (json_get_double(o, "dither", 0, e) != 0)
        return err_set(e, ERR_USAGE, "dither: only 0 is supported (noise is not reproducible)");
    if (e->kind)
        return -1;
    if (check_config(c, e))
        return -1;
    c->has_mean = read_bins(o, "per_bin_mean", c->bins, c->mean, e);
    c->has_deviation = read_bins(o, "per_bin_stddev", c->bins, c->deviation, e);
    return e->kind ? -1 : check_config(c, e);
}

/* What the model itself says: encoder-free ones listen to the samples. */
static int read_model_config(struct mel_config *c, const char *dir, struct err *e)
{
    char *path = path_join(dir, "config.json");
    json_t *file = file_exists(path) ? json_read_file(path, CONFIG_BYTES_MAX, e) : NULL;
    const char *type = file ? json_get_str(file, "model_type", "", e) : "";
    if (type && strncmp(type, "gemma4_unified", 14) == 0) {
        const json_t *audio = json_get_object(file, "audio_config", e);
        int64_t samples =
            audio ? json_get_int(audio, "audio_embed_dim", RAW_SAMPLES, e) : RAW_SAMPLES;
        if (!e->kind && (samples < 1 || samples > MEL_BINS_MAX))
            err_set(e, ERR_USAGE, "audio_config.audio_embed_dim: found %lld, allowed are 1 to %d",
                    (long long)samples, MEL_BINS_MAX);
        else
            config_raw(c, (int)samples, RAW_FRAMES_MAX);
    }
    if (e->kind)
        err_in(e, "%s", path);
    json_decref(file);
    free(path);
    return e->kind ? -1 : 0;
}

int mel_config_read(struct mel_config *c, const char *dir, struct err *e)
{
    static const char *const names[] = {"processor_config.json", "preprocessor_config.json"};
    mel_config_gemma4(c);
    if (read_model_config(c, dir, e))
        return -1;
    for (int i = 0; i < 2; i++) {
        char *path = path_join(dir, names[i]);
        json_t *file = NULL;
        const json_t *o = NULL;
        if (file_exists(path) && (file = json_read_file(path, CONFIG_BYTES_MAX, e))) {
            o = json_get_object(file, "feature_extractor", e);
            if (!o && json_object_get(file, "feature_extractor_type"))
                o = file;
        }
        if (o && !e->kind && read_extractor(c, o, file, e))
            err_in(e, "%s", path);
        json_decref(file);
        free(path);
        if (o || e->kind)
            break;
    }
    return e->kind ? -1 : 0;
}

/* ----------------------------------------------------------------- tables -- */

/* The mel scale of HTK. */
static double mel_of(double hz)
{
    return 2595 * log10(1 + hz / 700);
}
static double hz_of(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

/* Triangle i rises from corner i to i + 1 and falls to i + 2, corners evenly spaced in mel.  The
 * narrowest lie between two bins of the spectrum and stay empty, as in the reference. */
static void make_triangles(struct mel *m)
{
    const struct mel_config *c = &m->config;
    int spectrum = c->fft / 2 + 1;
    double low = mel_of(c->low_hz), step = (mel_of(c->high_hz) - low) / (c->bins + 1);
    m->triangles = xcalloc((size_t)c->bins, sizeof *m->triangles);
    m->weights = xcalloc((size_t)c->bins * (size_t)spectrum, sizeof *m->weights);
    for (int i = 0; i < c->bins; i++) {
        struct triangle *t = &m->triangles[i];
        double left = hz_of(low + step * i), top = hz_of(low + step * (i + 1));
        double right = hz_of(low + step * (i + 2));
        t->weights = m->weights + (size_t)i * (size_t)spectrum;
        for (int k = 0; k < spectrum; k++) {
            double hz = (double)k * (c->rate / 2) / (spectrum - 1);
            double weight = fmin((hz - left) / (top - left), (right - hz) / (right - top));
            if (weight <= 0)
                continue;
            if (t->count == 0)
                t->first = k;
            t->count = k - t->first + 1;
            t->weights[k - t->first] = weight;
        }
    }
}

struct mel *mel_new(const struct mel_config *c, struct err *e)
{
    if (check_config(c, e))
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
    int64_t multiple = c->pad_multiple > 1 ? c->pad_multiple : 1;
    int64_t padded = (samples + multiple - 1) / multiple * multiple + c->pad_left;
    return padded < c->frame + 1 ? 0 : (int)((padded - c->frame - 1) / c->hop + 1);
}

int mel_frames_valid(const struct mel *m, int64_t samples)
{
    const struct mel_config *c = &m->config;
    if (c->is_raw)
        return mel_frames(m, samples);
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
