/* audio.h - sound files to 16 kHz mono samples.
 *
 * WAV, FLAC, MP3, Ogg (Vorbis, Opus, FLAC), M4A/MP4 (AAC, ALAC), WebM/Matroska, AIFF and CAF are
 * decoded with the FFmpeg libraries.  A file may come from anywhere, so: only the listed formats
 * and codecs are tried, nothing but the given bytes is ever opened, and sizes have limits.
 *
 * Integers become floats by division by 2^(bits - 1), channels are averaged, and the result is
 * resampled by libsoxr at its "high quality".  No clip is normalised.
 *
 *     struct audio a;
 *     if (audio_read(&a, "clip.m4a", NULL, e))
 *         return -1;
 *     ... a.samples[0 .. a.count) ...
 *     audio_release(&a);
 */
#ifndef MEDIA_AUDIO_H
#define MEDIA_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    AUDIO_RATE = 16000,                 /* of what comes out, in Hz */
    AUDIO_SECONDS_MAX = 4 * 3600,       /* a longer clip is an error */
    AUDIO_CHANNELS_MAX = 64,
    AUDIO_SOURCE_RATE_MIN = 1000,
    AUDIO_SOURCE_RATE_MAX = 768000,
};
#define AUDIO_FILE_BYTES_MAX ((int64_t)2 << 30)

struct audio {
    float *samples;                     /* [count] mono, AUDIO_RATE, nominally in -1 .. 1 */
    int64_t count;
    int source_rate, source_channels;   /* as in the file */
    char codec[24];                     /* "flac", "pcm_s16le", ... */
};

/* All zero: the limits above and AUDIO_RATE. */
struct audio_options {
    double seconds_max;                 /* a longer clip is an error, found before its end */
    int rate;                           /* of the samples to make, Hz */
    const char *long_hint;              /* what to do about a clip that is longer; may be NULL */
};

/* Decode a file.  `o` may be NULL.  Fails with ERR_DATA, saying what was found, for a file that
 * is missing, empty, not audio, without an audio stream, truncated, damaged, too long, or that
 * holds samples which are not numbers.  On failure `a` holds nothing. */
int audio_read(struct audio *a, const char *path, const struct audio_options *o,
               struct err *e) MUST_CHECK;

/* The same for the bytes of a file in memory; they are only read, and only during the call. */
int audio_decode(struct audio *a, const void *bytes, size_t size, const struct audio_options *o,
                 struct err *e) MUST_CHECK;

/* Free the samples.  Safe on a zeroed struct. */
void audio_release(struct audio *a);

/* The largest magnitude in the clip, 0 for an empty one. */
float audio_peak(const struct audio *a);

#endif
