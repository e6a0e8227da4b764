/* mel.h - log-mel features, what an audio tower sees of a clip; or the clip itself, cut into
 * frames, for models without a tower.
 *
 *     frame    hop apart, windowed (periodic Hann), |FFT|
 *     mel      triangles equally wide on the mel scale, summed over the magnitudes
 *     log      log(mel + floor), less mean, divided by deviation where the checkpoint has them
 *
 * Gemma 4: 16 kHz, 320-sample frames every 160, FFT 512, 128 bins, floor 0.001, 160 zeros in
 * front.  Gemma 3n differs in the numbers and in max(mel, floor); its settings fit the struct.
 *
 * Whisper (`is_window`): the clip is filled up with zeros to a window of 30 s, which is mirrored at
 * its first and last sample; frame f is the 400 samples around sample 160 f, FFT 400; |FFT|²,
 * triangles on Slaney's mel scale with areas of 1, 80 or 128 of them;
 * y = max(log10(max(x, 1e-10)), m - 8) with m the window's greatest, then (y + 4) / 4.
 *
 *     S samples   F frames   M mel bins
 */
#ifndef MEDIA_MEL_H
#define MEDIA_MEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { MEL_BINS_MAX = 1024 };

/* How the floor keeps the logarithm finite. */
enum mel_floor { MEL_FLOOR_ADDED, MEL_FLOOR_MAXIMUM };

/* Which sample of a frame's reach must be real for the frame to count. */
enum mel_validity { MEL_VALID_LAST, MEL_VALID_FIRST };

struct mel_config {
    int rate;                      /* Hz */
    int bins;                      /* M */
    int frame, hop, fft;           /* samples; fft_is_size(fft) */
    int pad_left;                  /* zeros in front of the clip (none before a window) */
    int pad_multiple;              /* a clip is filled with zeros to a multiple of this */
    double low_hz, high_hz;        /* where the first triangle begins and the last ends */
    double preemphasis;            /* 0: none */
    bool preemphasis_htk;          /* the first sample of each frame is scaled by 1 - preemphasis */
    double scale;                  /* the samples are multiplied by this */
    double floor;
    enum mel_floor floor_rule;
    enum mel_validity validity;
    bool is_raw;                   /* no spectrum: frame f is the `bins` samples from f * bins on,
                                      the last filled with zeros (encoder-free models; rate, scale
                                      and samples_max count, hop is `bins`, subsample is 1) */
    bool is_window;                /* Whisper's rule: whole windows of samples_max, of which hop is
                                      a divisor; frame is fft, subsample is 2; pad_*, preemphasis,
                                      scale, floor_rule, validity, mean and deviation have no
                                      effect */
    int64_t samples_max;           /* the longest clip the model is made for */
    int subsample;                 /* frames a soft token, 4: two strides of two */
    bool has_mean, has_deviation;
    double mean[MEL_BINS_MAX];     /* [M] */
    double deviation[MEL_BINS_MAX];
};

/* Gemma 4's settings; Whisper's of 80 bins. */
void mel_config_gemma4(struct mel_config *c);
void mel_config_whisper(struct mel_config *c);

/* The values fit each other; else ERR_USAGE. */
int mel_config_check(const struct mel_config *c, struct err *e) MUST_CHECK;

/* Read the settings of the checkpoint folder `dir`: "feature_extractor" in processor_config.json,
 * else preprocessor_config.json, else what fits "model_type" in config.json: Gemma 4's own, the
 * samples for the encoder-free models ("gemma4_unified"), or Whisper's with "num_mel_bins" and
 * "max_source_positions".  Settings that would change the features and cannot be honoured are
 * errors (ERR_USAGE) that name the key, and so is an extractor that does not fill the window of
 * the Whisper beside it. */
int mel_config_read(struct mel_config *c, const char *dir, struct err *e) MUST_CHECK;

struct mel;                        /* tables for one config; shared by threads, never written */

struct mel *mel_new(const struct mel_config *c, struct err *e) MUST_CHECK;
void mel_free(struct mel *m);
const struct mel_config *mel_settings(const struct mel *m);

/* F of a clip of S samples alone in a batch, its padding to pad_multiple included.  Of a window:
 * the frames that hold sound, ceil(S / hop) and no more than the window has; a window cut short
 * behind the sound has so many. */
int mel_frames(const struct mel *m, int64_t samples);
/* How many of these frames are real: the first so many.  Of a window: all of the whole window, for
 * the model hears the silence behind the clip too (0 of a clip without samples). */
int mel_frames_valid(const struct mel *m, int64_t samples);

/* Compute the first `frames` frames of a clip into out [F,M]; those that are not real are zero,
 * as are all beyond the clip's end.  Thread-safe.
 *
 * Of a window `frames` is its length: the clip is filled up with zeros to frames * hop samples and
 * mirrored there, and m is the greatest of these frames.  With the frames of mel_frames_valid they
 * are the model's own window; with fewer, the last two differ from the whole window's, and all do
 * where the clip is softer than silence cut off (below -70 dB or so).  A clip with more samples is
 * not cut but mirrored at its end: with floor(S / hop) frames, and samples_max exceeded, these are
 * the features of a whole recording from which windows are cut. */
void mel_compute(const struct mel *m, const float *x, int64_t samples, int frames, float *out);

/* Soft tokens of F frames: ceil(ceil(F / 2) / 2), F where is_raw.  Of the valid frames: how many a
 * clip takes in the text.  Of the padded frames: how many the tower makes.  Of a window: the
 * encoder's positions, ceil(F / 2). */
int mel_soft_tokens(const struct mel *m, int frames);

#endif
