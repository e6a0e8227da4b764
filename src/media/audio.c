/* audio.c - see audio.h.
 *
 *     bytes -> demuxer -> decoder -> mean of the channels -> resampler -> samples
 *
 * A frame at a time, so that memory is that of the result.
 *
 * A file that is shorter than its own header says is an error, not a shorter clip: the text that
 * belongs to it would no longer be what is said.
 */
#include "media/audio.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/container.h"
#include "media/demux.h"
#include "media/resample.h"

enum {
    BAD_PACKETS_MAX = 2,                /* at the beginning of a lossy stream: a cut-off frame */
};
/* A small file that unfolds into this much, and this many times its size, is an attack. */
#define RATIO_BYTES_FREE ((int64_t)64 << 20)
#define RATIO_MAX 5000
/* Lossy files: what encoders and containers disagree about at the ends. */
#define LOSSY_SLACK_S 0.25
#define LOSSLESS_SLACK_S 1e-3

static const struct demux_rules RULES = {
    .formats = "wav,w64,aiff,caf,flac,mp3,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac",
    .codecs = "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
              "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,"
              "flac,alac,mp3float,mp3,vorbis,opus,libopus,aac",
    .what = "sound",
    .known = "WAV, FLAC, MP3, Ogg, Opus, M4A, MP4, WebM, AIFF and CAF",
};

struct decoder {
    struct demux demux;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    int stream;
    double declared_s;                  /* length that the header states, 0: none */
    bool is_lossless;
    int bad_packets;
    int64_t decoded;                    /* samples of one channel, at the source's rate */
    double seconds_max;
    const char *long_hint;
    int rate;                           /* of the output */
    struct resampler *resampler;        /* made when the first frame tells the rate */
    struct samples samples;
    float *mono;                        /* [mono_capacity] one frame's mean */
    int mono_capacity;
    struct audio *audio;
};

/* ---------------------------------------------------------------- opening -- */

/* The length that the header states, taken before FFmpeg makes its own estimates. */
static double stated_length(const AVFormatContext *f)
{
    double longest = 0;
    for (unsigned i = 0; i < f->nb_streams; i++) {
        const AVStream *s = f->streams[i];
        if (s->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && s->duration > 0)
            longest = fmax(longest, (double)s->duration * av_q2d(s->time_base));
    }
    if (longest <= 0 && f->nb_streams == 1 && f->duration > 0)
        longest = (double)f->duration / AV_TIME_BASE;
    return longest;
}

static bool codec_is_lossless(enum AVCodecID id)
{
    const AVCodecDescriptor *c = avcodec_descriptor_get(id);
    return c && (c->props & AV_CODEC_PROP_LOSSLESS) && !(c->props & AV_CODEC_PROP_LOSSY);
}

static int open_codec(struct decoder *d, struct err *e)
{
    d->codec = demux_codec(&d->demux, d->stream, e);
    if (!d->codec)
        return -1;
    const char *name = avcodec_get_name(d->codec->codec_id);
    d->is_lossless = codec_is_lossless(d->codec->codec_id);
    if (d->is_lossless)
        d->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    if (avcodec_open2(d->codec, NULL, NULL))
        return err_set(e, ERR_DATA, "damaged header of the %s stream", name);
    snprintf(d->audio->codec, sizeof d->audio->codec, "%s", name);
    return 0;
}

static int open_decoder(struct decoder *d, const void *bytes, size_t size, struct err *e)
{
    if (demux_open(&d->demux, &RULES, bytes, size, e))
        return -1;
    AVFormatContext *f = d->demux.format;
    d->declared_s = stated_length(f);
    if (demux_find_streams(&d->demux, e))
        return -1;
    d->stream = av_find_best_stream(f, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (d->stream < 0)
        return demux_no_stream(&d->demux, AVMEDIA_TYPE_AUDIO, e);
    for (unsigned i = 0; i < f->nb_streams; i++)
        if ((int)i != d->stream)
            f->streams[i]->discard = AVDISCARD_ALL;
    if (d->declared_s > d->seconds_max) {
        err_set(e, ERR_DATA, "%.1f s long, at most %.1f s are allowed", d->declared_s,
                d->seconds_max);
        return d->long_hint ? err_hint(e, "%s", d->long_hint) : -1;
    }
    return open_codec(d, e);
}

static void close_decoder(struct decoder *d)
{
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avcodec_free_context(&d->codec);
    demux_close(&d->demux);
    resampler_close(d->resampler);
    samples_release(&d->samples);
    free(d->mono);
}

/* ---------------------------------------------------------------- samples -- */

/* Add n samples of one channel, `stride` values apart, to `sum`. */
static bool add_channel(float *sum, int n, const void *plane, int stride, enum AVSampleFormat f)
{
    const uint8_t *u8 = plane;
    const int16_t *s16 = plane;
    const int32_t *s32 = plane;
    const int64_t *s64 = plane;
    const float *flt = plane;
    const double *dbl = plane;
    switch (f) {
    case AV_SAMPLE_FMT_U8:
        for (int i = 0; i < n; i++)
            sum[i] += (float)(u8[i * stride] - 128) * 0x1p-7f;
        return true;
    case AV_SAMPLE_FMT_S16:
        for (int i = 0; i < n; i++)
            sum[i] += (float)s16[i * stride] * 0x1p-15f;
        return true;
    case AV_SAMPLE_FMT_S32:
        for (int i = 0; i < n; i++)
            sum[i] += (float)s32[i * stride] * 0x1p-31f;
        return true;
    case AV_SAMPLE_FMT_S64:
        for (int i = 0; i < n; i++)
            sum[i] += (float)s64[i * stride] * 0x1p-63f;
        return true;
    case AV_SAMPLE_FMT_FLT:
        for (int i = 0; i < n; i++)
            sum[i] += flt[i * stride];
        return true;
    case AV_SAMPLE_FMT_DBL:
        for (int i = 0; i < n; i++)
            sum[i] += (float)dbl[i * stride];
        return true;
    default: return false;
    }
}

/* The mean of the frame's channels in d->mono. */
static int mix_down(struct decoder *d, struct err *e)
{
    const AVFrame *f = d->frame;
    int n = f->nb_samples, channels = f->ch_layout.nb_channels;
    if (channels < 1 || channels > AUDIO_CHANNELS_MAX)
        return err_set(e, ERR_DATA, "%d channels, at most %d are allowed", channels,
                       AUDIO_CHANNELS_MAX);
    if (n > d->mono_capacity) {
        d->mono_capacity = n;
        d->mono = xreallocarray(d->mono, (size_t)n, sizeof *d->mono);
    }
    memset(d->mono, 0, (size_t)n * sizeof *d->mono);

    enum AVSampleFormat packed = av_get_packed_sample_fmt(f->format);
    bool is_planar = av_sample_fmt_is_planar(f->format);
    int size = av_get_bytes_per_sample(packed);
    for (int c = 0; c < channels; c++) {
        const uint8_t *plane = is_planar ? f->extended_data[c] : f->data[0] + c * size;
        if (!add_channel(d->mono, n, plane, is_planar ? 1 : channels, packed))
            return err_set(e, ERR_DATA, "samples of an unknown format %d", f->format);
    }
    for (int i = 0; channels > 1 && i < n; i++)
        d->mono[i] /= (float)channels;
    return 0;
}

static int check_rate(struct decoder *d, struct err *e)
{
    struct audio *a = d->audio;
    int rate = d->frame->sample_rate;
    if (d->resampler) {
        if (rate != a->source_rate)
            return err_set(e, ERR_DATA, "the sample rate changes from %d to %d Hz after %.2f s",
                           a->source_rate, rate, (double)d->decoded / a->source_rate);
        return 0;
    }
    if (rate < AUDIO_SOURCE_RATE_MIN || rate > AUDIO_SOURCE_RATE_MAX)
        return err_set(e, ERR_DATA, "a sample rate of %d Hz, allowed are %d to %d", rate,
                       AUDIO_SOURCE_RATE_MIN, AUDIO_SOURCE_RATE_MAX);
    a->source_rate = rate;
    a->source_channels = d->frame->ch_layout.nb_channels;
    d->resampler = resampler_open(rate, d->rate, e);
    return d->resampler ? 0 : -1;
}

static int check_limits(const struct decoder *d, struct err *e)
{
    int64_t bytes = d->decoded * (int64_t)sizeof(float);
    if ((double)d->decoded > d->seconds_max * d->audio->source_rate) {
        err_set(e, ERR_DATA, "longer than the %.1f s that are allowed", d->seconds_max);
        return d->long_hint ? err_hint(e, "%s", d->long_hint) : -1;
    }
    if (bytes > RATIO_BYTES_FREE && bytes / RATIO_MAX > d->demux.size)
        return err_set(e, ERR_DATA, "%lld bytes unfold to more than %d times as much",
                       (long long)d->demux.size, RATIO_MAX);
    return 0;
}

static int take_frame(struct decoder *d, struct err *e)
{
    int n = d->frame->nb_samples;
    if (n <= 0)
        return 0;
    if (check_rate(d, e) || mix_down(d, e))
        return -1;
    for (int i = 0; i < n; i++)
        if (!isfinite(d->mono[i]))
            return err_set(e, ERR_DATA, "the sample at %.4f s is not a finite number",
                           (double)(d->decoded + i) / d->audio->source_rate);
    d->decoded += n;
    if (check_limits(d, e))
        return -1;
    return resampler_push(d->resampler, d->mono, n, &d->samples, e);
}

/* --------------------------------------------------------------- decoding -- */

static int damaged(const struct decoder *d, struct err *e)
{
    double at_s = d->decoded ? (double)d->decoded / d->audio->source_rate : 0;
    if (d->declared_s > 0)
        return err_set(e, ERR_DATA, "damaged %s data after %.2f s of %.2f s", d->audio->codec, at_s,
                       d->declared_s);
    return err_set(e, ERR_DATA, "damaged %s data after %.2f s", d->audio->codec, at_s);
}

/* Decode the packet (NULL: the end of the stream).  Returns 1 when it was damaged. */
static int decode_packet(struct decoder *d, const AVPacket *packet, struct err *e)
{
    int sent = avcodec_send_packet(d->codec, packet);
    if (sent < 0 && sent != AVERROR_EOF)
        return 1;
    for (;;) {
        int got = avcodec_receive_frame(d->codec, d->frame);
        if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
            return 0;
        if (got < 0)
            return 1;
        int failed = take_frame(d, e);
        av_frame_unref(d->frame);
        if (failed)
            return -1;
    }
}

/* Has everything been decoded that the header states?  What follows then may be a tag. */
static bool is_whole(const struct decoder *d)
{
    return d->declared_s > 0 && d->decoded > 0 &&
           (double)d->decoded / d->audio->source_rate >= d->declared_s - LOSSLESS_SLACK_S;
}

/* Streams cut out of longer ones begin with a frame that refers to bytes which are gone, and end
 * in the middle of one: damage in lossy streams counts when sound follows and came before. */
static int decode_all(struct decoder *d, struct err *e)
{
    bool is_damaged = false;
    int got;
    while ((got = av_read_frame(d->demux.format, d->packet)) >= 0) {
        int result = 0;
        if (d->packet->stream_index == d->stream && is_damaged)
            result = damaged(d, e);
        else if (d->packet->stream_index == d->stream)
            result = decode_packet(d, d->packet, e);
        av_packet_unref(d->packet);
        if (result < 0)
            return -1;
        if (result && is_whole(d))
            break;
        if (result && (d->is_lossless || (!d->decoded && ++d->bad_packets > BAD_PACKETS_MAX)))
            return damaged(d, e);
        is_damaged = is_damaged || (result && d->decoded);
    }
    if (got < 0 && got != AVERROR_EOF)
        return damaged(d, e);
    int result = decode_packet(d, NULL, e);
    if (result < 0)
        return -1;
    return result && d->is_lossless ? damaged(d, e) : 0;
}

static int check_complete(const struct decoder *d, struct err *e)
{
    if (d->decoded == 0)
        return err_set(e, ERR_DATA, "empty: a %s file without a single sample",
                       d->demux.format->iformat->name);
    double decoded_s = (double)d->decoded / d->audio->source_rate;
    double slack_s = d->is_lossless ? LOSSLESS_SLACK_S : LOSSY_SLACK_S;
    if (decoded_s < d->declared_s - slack_s)
        return err_set(e, ERR_DATA, "truncated: %.2f s of the %.2f s that its header states",
                       decoded_s, d->declared_s);
    if (container_is_cut(d->demux.bytes, (size_t)d->demux.size))
        return err_set(e, ERR_DATA,
                       "truncated: the file ends after %.2f s, in the middle of a part", decoded_s);
    return 0;
}

int audio_decode(struct audio *a, const void *bytes, size_t size, const struct audio_options *o,
                 struct err *e)
{
    memset(a, 0, sizeof *a);
    if (size == 0)
        return err_set(e, ERR_DATA, "an empty file");
    if (size > (size_t)AUDIO_FILE_BYTES_MAX)
        return err_set(e, ERR_DATA, "%zu bytes, at most %lld are allowed", size,
                       (long long)AUDIO_FILE_BYTES_MAX);
    struct decoder d = {
        .seconds_max = o && o->seconds_max > 0 && o->seconds_max < AUDIO_SECONDS_MAX
                           ? o->seconds_max
                           : AUDIO_SECONDS_MAX,
        .long_hint = o ? o->long_hint : NULL,
        .rate = o && o->rate > 0 ? o->rate : AUDIO_RATE,
        .audio = a,
        .packet = av_packet_alloc(),
        .frame = av_frame_alloc(),
    };
    /* One second of slack: the length is checked at the source's rate, where it is exact. */
    d.samples.count_max = (int64_t)((d.seconds_max + 1) * d.rate);

    int failed = -1;
    if (!d.packet || !d.frame)
        err_set(e, ERR_SPACE, "no memory for decoding");
    else
        failed = open_decoder(&d, bytes, size, e) || decode_all(&d, e) || check_complete(&d, e) ||
                 resampler_push(d.resampler, NULL, 0, &d.samples, e);
    if (!failed) {
        a->samples = d.samples.at;
        a->count = d.samples.count;
        memset(&d.samples, 0, sizeof d.samples);
    }
    close_decoder(&d);
    return failed ? -1 : 0;
}

int audio_read(struct audio *a, const char *path, const struct audio_options *o, struct err *e)
{
    memset(a, 0, sizeof *a);
    size_t size = 0;
    char *bytes = file_read(path, (size_t)AUDIO_FILE_BYTES_MAX, &size, e);
    if (!bytes) {
        e->kind = ERR_DATA;
        return -1;
    }
    int failed = audio_decode(a, bytes, size, o, e);
    free(bytes);
    return failed ? err_in(e, "%s", path) : 0;
}

void audio_release(struct audio *a)
{
    free(a->samples);
    a->samples = NULL;
    a->count = 0;
}

float audio_peak(const struct audio *a)
{
    float peak = 0;
    for (int64_t i = 0; i < a->count; i++)
        peak = fmaxf(peak, fabsf(a->samples[i]));
    return peak;
}
