/* mel_config.c - the settings of mel.h, out of a checkpoint's files. */
#include "media/mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "media/fft.h"

enum {
    CONFIG_BYTES_MAX = 4 << 20,
    RAW_SAMPLES = 640,             /* of a frame of the encoder-free model, unless it says */
    RAW_FRAMES_MAX = 750,          /* "audio_seq_length" of transformers' Gemma4UnifiedProcessor */
    WINDOW_SECONDS_MAX = 3600,
};

static const char TYPE_MEL[] = "Gemma4AudioFeatureExtractor";
static const char TYPE_RAW[] = "Gemma4UnifiedAudioFeatureExtractor";
static const char TYPE_WINDOW[] = "WhisperFeatureExtractor";

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

void mel_config_whisper(struct mel_config *c)
{
    memset(c, 0, sizeof *c);
    c->rate = 16000;
    c->bins = 80;
    c->frame = c->fft = 400;
    c->hop = 160;
    c->pad_multiple = 1;
    c->high_hz = 8000;
    c->scale = 1;
    c->floor = 1e-10;
    c->floor_rule = MEL_FLOOR_MAXIMUM;
    c->validity = MEL_VALID_FIRST;
    c->is_window = true;
    c->samples_max = 480000;
    c->subsample = 2;
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

/* Whisper's frames and window. */
static int check_window(const struct mel_config *c, struct err *e)
{
    if (!fft_is_size(c->fft) || c->frame != c->fft)
        return err_set(e, ERR_USAGE,
                       "n_fft: found %d, expected an even number up to %d made of 2, 3 and 5",
                       c->fft, FFT_MAX);
    if (c->hop < 1 || c->samples_max % c->hop || c->samples_max / c->hop > INT32_MAX)
        return err_set(e, ERR_USAGE,
                       "hop_length: found %d, which does not divide the %lld samples "
                       "of the window",
                       c->hop, (long long)c->samples_max);
    if (c->samples_max <= c->fft / 2)
        return err_set(e, ERR_USAGE, "chunk_length: found %lld samples, expected more than %d",
                       (long long)c->samples_max, c->fft / 2);
    return 0;
}

int mel_config_check(const struct mel_config *c, struct err *e)
{
    if (c->bins < 1 || c->bins > MEL_BINS_MAX)
        return err_set(e, ERR_USAGE, "feature_size: found %d, allowed are 1 to %d", c->bins,
                       MEL_BINS_MAX);
    if (c->is_raw)
        return 0;
    if (c->is_window)
        return check_window(c, e);
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

/* WhisperFeatureExtractor.  "n_samples", "nb_max_frames" and "mel_filters" follow from the rest,
 * and "return_attention_mask" changes no feature: as in transformers, they are not looked at. */
static int read_window(struct mel_config *c, const json_t *o, struct err *e)
{
    mel_config_whisper(c);
    int64_t seconds = json_get_int(o, "chunk_length", c->samples_max / c->rate, e);
    int64_t bins = json_get_int(o, "feature_size", c->bins, e);
    int64_t hop = json_get_int(o, "hop_length", c->hop, e);
    int64_t fft = json_get_int(o, "n_fft", c->fft, e);
    const char *side = json_get_str(o, "padding_side", "right", e);
    if (json_get_double(o, "padding_value", 0, e) != 0)
        return err_set(e, ERR_USAGE,
                       "padding_value: only 0 is supported (windows are filled up "
                       "with silence)");
    if (json_get_bool(o, "do_normalize", false, e))
        return err_set(e, ERR_USAGE, "do_normalize: true is not supported");
    if (e->kind)
        return -1;
    if (strcmp(side, "right") != 0)
        return err_set(e, ERR_USAGE, "padding_side: found \"%s\", expected \"right\"", side);
    if (seconds < 1 || seconds > WINDOW_SECONDS_MAX)
        return err_set(e, ERR_USAGE, "chunk_length: found %lld seconds, allowed are 1 to %d",
                       (long long)seconds, WINDOW_SECONDS_MAX);
    c->samples_max = seconds * c->rate;
    c->bins = (int)(bins < 0 || bins > INT32_MAX ? 0 : bins);
    c->hop = (int)(hop < 0 || hop > INT32_MAX ? 0 : hop);
    c->fft = c->frame = (int)(fft < 0 || fft > INT32_MAX ? 0 : fft);
    return mel_config_check(c, e);
}

/* Gemma4AudioFeatureExtractor. */
static int read_mel(struct mel_config *c, const json_t *o, struct err *e)
{
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
    if (e->kind)
        return -1;
    if (mel_config_check(c, e))
        return -1;
    c->has_mean = read_bins(o, "per_bin_mean", c->bins, c->mean, e);
    c->has_deviation = read_bins(o, "per_bin_stddev", c->bins, c->deviation, e);
    return e->kind ? -1 : mel_config_check(c, e);
}

/* `known` is the type that fits the model, NULL: there is none. */
static int read_extractor(struct mel_config *c, const char *known, const json_t *o,
                          const json_t *file, struct err *e)
{
    const char *type = json_get_str(o, "feature_extractor_type", known ? known : TYPE_MEL, e);
    if (!type)
        return -1;
    bool is_window = strcmp(type, TYPE_WINDOW) == 0, is_raw = strcmp(type, TYPE_RAW) == 0;
    if (!is_window && !is_raw && strcmp(type, TYPE_MEL) != 0)
        return err_set(e, ERR_USAGE, "feature_extractor_type: \"%s\" is not supported", type);
    if (known && is_window != (strcmp(known, TYPE_WINDOW) == 0))
        return err_set(e, ERR_USAGE, "feature_extractor_type: found \"%s\", the model needs \"%s\"",
                       type, known);
    int64_t rate = json_get_int(o, "sampling_rate", 16000, e);
    if (!e->kind && rate != 16000)
        return err_set(e, ERR_USAGE, "sampling_rate: found %lld, expected 16000", (long long)rate);
    if (json_get_double(o, "dither", 0, e) != 0)
        return err_set(e, ERR_USAGE, "dither: only 0 is supported (noise is not reproducible)");
    if (e->kind)
        return -1;
    return is_window ? read_window(c, o, e) : is_raw ? read_raw(c, o, file, e) : read_mel(c, o, e);
}

/* Whisper's config.json: every position of the encoder takes two frames. */
static int read_whisper_model(struct mel_config *c, const json_t *file, struct err *e)
{
    mel_config_whisper(c);
    int64_t bins = json_get_int(file, "num_mel_bins", c->bins, e);
    int64_t positions = json_get_int(file, "max_source_positions", 1500, e);
    int64_t max = (int64_t)WINDOW_SECONDS_MAX * c->rate / c->hop / c->subsample;
    if (e->kind)
        return -1;
    if (bins < 1 || bins > MEL_BINS_MAX)
        return err_set(e, ERR_USAGE, "num_mel_bins: found %lld, allowed are 1 to %d",
                       (long long)bins, MEL_BINS_MAX);
    if (positions < 1 || positions > max)
        return err_set(e, ERR_USAGE, "max_source_positions: found %lld, allowed are 1 to %lld",
                       (long long)positions, (long long)max);
    c->bins = (int)bins;
    c->samples_max = positions * c->subsample * c->hop;
    return 0;
}

/* What the model itself says: encoder-free ones listen to the samples.  Into `known` the type of
 * extractor that fits it. */
static int read_model_config(struct mel_config *c, const char *dir, const char **known,
                             struct err *e)
{
    char *path = path_join(dir, "config.json");
    json_t *file = file_exists(path) ? json_read_file(path, CONFIG_BYTES_MAX, e) : NULL;
    const char *type = file ? json_get_str(file, "model_type", "", e) : "";
    *known = NULL;
    if (type && strcmp(type, "whisper") == 0) {
        *known = TYPE_WINDOW;
        (void)read_whisper_model(c, file, e);
    } else if (type && strncmp(type, "gemma4_unified", 14) == 0) {
        *known = TYPE_RAW;
        const json_t *audio = json_get_object(file, "audio_config", e);
        int64_t samples =
            audio ? json_get_int(audio, "audio_embed_dim", RAW_SAMPLES, e) : RAW_SAMPLES;
        if (!e->kind && (samples < 1 || samples > MEL_BINS_MAX))
            err_set(e, ERR_USAGE, "audio_config.audio_embed_dim: found %lld, allowed are 1 to %d",
                    (long long)samples, MEL_BINS_MAX);
        else
            config_raw(c, (int)samples, RAW_FRAMES_MAX);
    } else if (type && strncmp(type, "gemma4", 6) == 0) {
        *known = TYPE_MEL;
    }
    if (e->kind)
        err_in(e, "%s", path);
    json_decref(file);
    free(path);
    return e->kind ? -1 : 0;
}

/* The extractor must fill the model's window to the frame. */
static int check_positions(const struct mel_config *c, const struct mel_config *model,
                           struct err *e)
{
    int64_t frames = c->samples_max / c->hop, expected = model->samples_max / model->hop;
    if (frames != expected)
        return err_set(e, ERR_USAGE,
                       "chunk_length, hop_length: found %lld frames, expected %lld (twice "
                       "max_source_positions of config.json)",
                       (long long)frames, (long long)expected);
    return 0;
}

int mel_config_read(struct mel_config *c, const char *dir, struct err *e)
{
    static const char *const names[] = {"processor_config.json", "preprocessor_config.json"};
    const char *known;
    mel_config_gemma4(c);
    if (read_model_config(c, dir, &known, e))
        return -1;
    for (int i = 0; i < 2; i++) {
        struct mel_config model = *c;
        char *path = path_join(dir, names[i]);
        json_t *file = NULL;
        const json_t *o = NULL;
        if (file_exists(path) && (file = json_read_file(path, CONFIG_BYTES_MAX, e))) {
            o = json_get_object(file, "feature_extractor", e);
            if (!o && json_object_get(file, "feature_extractor_type"))
                o = file;
        }
        if (o && !e->kind &&
            (read_extractor(c, known, o, file, e) ||
             (model.is_window && check_positions(c, &model, e))))
            err_in(e, "%s", path);
        json_decref(file);
        free(path);
        if (o || e->kind)
            break;
    }
    return e->kind ? -1 : 0;
}
