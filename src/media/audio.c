/* audio.c - see audio.h.
 *
 *     bytes -> demuxer -> decoder -> mean of the channels -> resampler -> samples
 *
 * A frame at a time, so that memory is that of the result.  FFmpeg is used as a parser of hostile
 * bytes: it reads through our own input only, is refused every other file, and is given the names
 * of the formats and codecs that it may try.
 *
 * A file that is shorter than its own header says is an error, not a shorter clip: the text that
 * belongs to it would no longer be what is said.
 */
#include "media/audio.h"

#include <ctype.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/container.h"
#include "media/resample.h"

enum {
    IO_BUFFER = 32 << 10,               /* bytes that FFmpeg asks for at a time */
    BAD_PACKETS_MAX = 2,                /* at the beginning of a lossy stream: a cut-off frame */
};
#define FFMPEG_ALLOC_MAX ((size_t)1 << 30)
/* A small file that unfolds into this much, and this many times its size, is an attack. */
#define RATIO_BYTES_FREE ((int64_t)64 << 20)
#define RATIO_MAX 5000
/* Lossy files: what encoders and containers disagree about at the ends. */
#define LOSSY_SLACK_S 0.25
#define LOSSLESS_SLACK_S 1e-3

static const char FORMATS[] =
    "wav,w64,aiff,caf,flac,mp3,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac";

static const char CODECS[] =
    "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,"
    "pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,flac,alac,"
    "mp3float,mp3,vorbis,opus,libopus,aac";

/* Where FFmpeg reads. */
struct input {
    const uint8_t *bytes;
    int64_t size, at;
};

struct decoder {
    struct input input;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    int stream;
    double declared_s;                  /* length that the header states, 0: none */
    bool is_lossless;
    int bad_packets;
    int64_t decoded;                    /* samples of one channel, at the source's rate */
    double seconds_max;
    int rate;                           /* of the output */
    struct resampler *resampler;        /* made when the first frame tells the rate */
    struct samples samples;
    float *mono;                        /* [mono_capacity] one frame's mean */
    int mono_capacity;
    struct audio *audio;
};

/* ------------------------------------------------------------------ input -- */

static int input_read(void *opaque, uint8_t *out, int size)
{
    struct input *in = opaque;
    int64_t left = in->size - in->at;
    if (left <= 0)
        return AVERROR_EOF;
    int n = left < size ? (int)left : size;
    memcpy(out, in->bytes + in->at, (size_t)n);
    in->at += n;
    return n;
}

static int64_t input_seek(void *opaque, int64_t offset, int whence)
{
    struct input *in = opaque;
    int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return in->size;
    case SEEK_SET: break;
    case SEEK_CUR: base = in->at; break;
    case SEEK_END: base = in->size; break;
    default: return AVERROR(EINVAL);
    }
    if (offset > in->size - base || offset < -base)
        return AVERROR(EINVAL);
    return in->at = base + offset;
}

/* No file may name another file. */
static int refuse_open(AVFormatContext *s, AVIOContext **pb, const char *url, int flags,
                       AVDictionary **options)
{
    (void)s, (void)pb, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

static void log_nothing(void *context, int level, const char *fmt, va_list ap)
{
    (void)context, (void)level, (void)fmt, (void)ap;
}

static void prepare_ffmpeg(void)
{
    av_log_set_callback(log_nothing);
    av_max_alloc(FFMPEG_ALLOC_MAX);
}

/* ---------------------------------------------------------------- opening -- */

/* State what a file that nobody recognises begins with. */
static int not_audio(const struct input *in, struct err *e)
{
    char begin[25];
    size_t n = 0;
    for (; n < sizeof begin - 1 && (int64_t)n < in->size; n++)
        begin[n] = isprint(in->bytes[n]) ? (char)in->bytes[n] : '.';
    begin[n] = 0;
    err_set(e, ERR_DATA, "not a sound file: %lld bytes that begin with \"%s\"", (long long)in->size,
            begin);
    return err_hint(e, "known are WAV, FLAC, MP3, Ogg, Opus, M4A, MP4, WebM, AIFF and CAF");
}

/* Names of the streams that are there, for a file without sound. */
static int no_audio_stream(const AVFormatContext *f, struct err *e)
{
    char found[200] = "";
    size_t used = 0;
    for (unsigned i = 0; i < f->nb_streams && used < sizeof found - 40; i++) {
        const AVCodecParameters *p = f->streams[i]->codecpar;
        const char *type = av_get_media_type_string(p->codec_type);
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%s %s", i ? ", " : "",
                                 type ? type : "data", avcodec_get_name(p->codec_id));
    }
    return err_set(e, ERR_DATA, "no audio stream, found %s", found[0] ? found : "no stream");
}

/* The demuxer of a file whose first bytes leave no doubt; otherwise NULL, and FFmpeg lets all
 * that it has look at the file, which takes longer than decoding a short clip. */
static const AVInputFormat *obvious_format(const struct input *in)
{
    static const struct {
        int at;
        const char bytes[5], more[5];   /* `more` stands at 8 */
        const char *name;
    } known[] = {
        {0, "RIFF", "WAVE", "wav"}, {0, "FORM", "AIFF", "aiff"}, {0, "fLaC", "", "flac"},
        {0, "OggS", "", "ogg"},     {4, "ftyp", "", "mov"},
    };
    for (size_t i = 0; in->size >= 12 && i < sizeof known / sizeof *known; i++)
        if (!memcmp(in->bytes + known[i].at, known[i].bytes, 4) &&
            (!known[i].more[0] || !memcmp(in->bytes + 8, known[i].more, 4)))
            return av_find_input_format(known[i].name);
    return NULL;
}

static int open_container(struct decoder *d, struct err *e)
{
    uint8_t *buffer = av_malloc(IO_BUFFER);
    d->io = buffer
                ? avio_alloc_context(buffer, IO_BUFFER, 0, &d->input, input_read, NULL, input_seek)
                : NULL;
    if (!d->io)
        av_free(buffer);
    d->format = avformat_alloc_context();
    if (!d->io || !d->format)
        return err_set(e, ERR_SPACE, "no memory for decoding");
    d->format->pb = d->io;
    d->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    d->format->io_open = refuse_open;
    d->format->error_recognition = AV_EF_CRCCHECK;

    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", FORMATS, 0);
    av_dict_set(&options, "codec_whitelist", CODECS, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    /* The first packet must do for finding out whether PCM is a coded stream in disguise. */
    av_dict_set(&options, "max_probe_packets", "1", 0);
    int failed = avformat_open_input(&d->format, NULL, obvious_format(&d->input), &options);
    av_dict_free(&options);
    if (failed == AVERROR(ENOMEM))
        return err_set(e, ERR_DATA, "asks for more than %zu bytes of memory", FFMPEG_ALLOC_MAX);
    if (failed)
        return not_audio(&d->input, e);
    return 0;
}

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

static bool is_known_codec(const char *name)
{
    size_t n = strlen(name);
    for (const char *p = CODECS; (p = strstr(p, name)); p += n)
        if ((p == CODECS || p[-1] == ',') && (p[n] == ',' || p[n] == 0))
            return true;
    return false;
}

static bool codec_is_lossless(enum AVCodecID id)
{
    const AVCodecDescriptor *c = avcodec_descriptor_get(id);
    return c && (c->props & AV_CODEC_PROP_LOSSLESS) && !(c->props & AV_CODEC_PROP_LOSSY);
}

static int open_codec(struct decoder *d, struct err *e)
{
    const AVCodecParameters *p = d->format->streams[d->stream]->codecpar;
    const AVCodec *codec = avcodec_find_decoder(p->codec_id);
    if (!codec || !is_known_codec(codec->name))
        return err_set(e, ERR_DATA, "sound is coded as %s, which is not supported",
                       avcodec_get_name(p->codec_id));
    d->codec = avcodec_alloc_context3(codec);
    if (!d->codec || avcodec_parameters_to_context(d->codec, p) < 0)
        return err_set(e, ERR_DATA, "damaged header of the %s stream", codec->name);
    d->is_lossless = codec_is_lossless(p->codec_id);
    d->codec->thread_count = 1;
    if (d->is_lossless)
        d->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    d->codec->pkt_timebase = d->format->streams[d->stream]->time_base;
    if (avcodec_open2(d->codec, codec, NULL))
        return err_set(e, ERR_DATA, "damaged header of the %s stream", codec->name);
    snprintf(d->audio->codec, sizeof d->audio->codec, "%s", avcodec_get_name(p->codec_id));
    return 0;
}

static int open_decoder(struct decoder *d, struct err *e)
{
    if (open_container(d, e))
        return -1;
    d->declared_s = stated_length(d->format);
    if (avformat_find_stream_info(d->format, NULL) < 0)
        return err_set(e, ERR_DATA, "damaged %s file", d->format->iformat->name);
    d->stream = av_find_best_stream(d->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (d->stream < 0)
        return no_audio_stream(d->format, e);
    for (unsigned i = 0; i < d->format->nb_streams; i++)
        if ((int)i != d->stream)
            d->format->streams[i]->discard = AVDISCARD_ALL;
    if (d->declared_s > d->seconds_max)
        return err_set(e, ERR_DATA, "%.1f s long, at most %.1f s are allowed", d->declared_s,
                       d->seconds_max);
    return open_codec(d, e);
}

static void close_decoder(struct decoder *d)
{
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avcodec_free_context(&d->codec);
    avformat_close_input(&d->format);
    if (d->io)
        av_freep(&d->io->buffer);
    avio_context_free(&d->io);
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
    if ((double)d->decoded > d->seconds_max * d->audio->source_rate)
        return err_set(e, ERR_DATA, "longer than the %.1f s that are allowed", d->seconds_max);
    if (bytes > RATIO_BYTES_FREE && bytes / RATIO_MAX > d->input.size)
        return err_set(e, ERR_DATA, "%lld bytes unfold to more than %d times as much",
                       (long long)d->input.size, RATIO_MAX);
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
    while ((got = av_read_frame(d->format, d->packet)) >= 0) {
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
                       d->format->iformat->name);
    double decoded_s = (double)d->decoded / d->audio->source_rate;
    double slack_s = d->is_lossless ? LOSSLESS_SLACK_S : LOSSY_SLACK_S;
    if (decoded_s < d->declared_s - slack_s)
        return err_set(e, ERR_DATA, "truncated: %.2f s of the %.2f s that its header states",
                       decoded_s, d->declared_s);
    if (container_is_cut(d->input.bytes, (size_t)d->input.size))
        return err_set(e, ERR_DATA,
                       "truncated: the file ends after %.2f s, in the middle of a part", decoded_s);
    return 0;
}

int audio_decode(struct audio *a, const void *bytes, size_t size, const struct audio_options *o,
                 struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_ffmpeg);

    memset(a, 0, sizeof *a);
    if (size == 0)
        return err_set(e, ERR_DATA, "an empty file");
    if (size > (size_t)AUDIO_FILE_BYTES_MAX)
        return err_set(e, ERR_DATA, "%zu bytes, at most %lld are allowed", size,
                       (long long)AUDIO_FILE_BYTES_MAX);
    struct decoder d = {
        .input = {.bytes = bytes, .size = (int64_t)size},
        .seconds_max = o && o->seconds_max > 0 && o->seconds_max < AUDIO_SECONDS_MAX
                           ? o->seconds_max
                           : AUDIO_SECONDS_MAX,
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
        failed = open_decoder(&d, e) || decode_all(&d, e) || check_complete(&d, e) ||
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
