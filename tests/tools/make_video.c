/* make_video.c - writes an MP4 (MPEG-4 video, AAC sound) of pictures and a sound, for tests.
 *
 *     make_video OUT.mp4 FPS SOUND.wav|- FRAME.ppm...
 *
 * FPS is a number, 12.5 say.  Frames are binary PPM of one size.  Every twelfth frame is a key
 * frame.  The same arguments give the same bytes.
 */
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "media/audio.h"

#include <ctype.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PPM_BYTES_MAX = 64 << 20,
    SIDE_MAX = 4096,
    GROUP = 12,                         /* frames from one key frame to the next */
    QUALITY = 3,                        /* of 1 (best) to 31 */
    SOUND_BITS = 48000,                 /* a second */
};

/* One stream on its way into the file. */
struct track {
    AVStream *stream;
    AVCodecContext *codec;
    AVFrame *frame;
};

struct maker {
    AVFormatContext *format;
    AVPacket *packet;
    struct track video, sound;
    struct SwsContext *sws;
};

struct ppm {
    char *bytes;
    const uint8_t *pixels;              /* [height,width,3] */
    int width, height;
};

static int failed(struct err *e, const char *what, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    return err_set(e, ERR_FAILED, "%s: %s", what, av_make_error_string(text, sizeof text, code));
}

/* ----------------------------------------------------------------- pictures -- */

static int next_number(const char **p, const char *end)
{
    while (*p < end && (isspace((unsigned char)**p) || **p == '#'))
        if (*(*p)++ == '#')
            while (*p < end && **p != '\n')
                ++*p;
    int n = 0;
    while (*p < end && isdigit((unsigned char)**p) && n <= SIDE_MAX)
        n = 10 * n + *(*p)++ - '0';
    return n;
}

static int read_ppm(struct ppm *p, const char *path, struct err *e)
{
    size_t size;
    p->bytes = file_read(path, PPM_BYTES_MAX, &size, e);
    if (!p->bytes)
        return -1;
    const char *at = p->bytes + 2, *end = p->bytes + size;
    if (size < 8 || memcmp(p->bytes, "P6", 2) != 0)
        return err_set(e, ERR_DATA, "%s: not a binary PPM", path);
    p->width = next_number(&at, end);
    p->height = next_number(&at, end);
    int levels = next_number(&at, end);
    p->pixels = (const uint8_t *)at + 1;
    if (p->width < 1 || p->height < 1 || p->width > SIDE_MAX || p->height > SIDE_MAX ||
        levels != 255 || end - at - 1 < (ptrdiff_t)p->width * p->height * 3)
        return err_set(e, ERR_DATA, "%s: %dx%d pixels of %d levels in %zu bytes", path, p->width,
                       p->height, levels, size);
    return 0;
}

/* ------------------------------------------------------------------- tracks -- */

static AVCodecContext *new_codec(struct maker *m, enum AVCodecID id)
{
    const AVCodec *codec = avcodec_find_encoder(id);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return NULL;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (m->format->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    c->thread_count = 1;
    return c;
}

static int add_track(struct maker *m, struct track *t, struct err *e)
{
    int code = avcodec_open2(t->codec, NULL, NULL);
    if (code < 0)
        return failed(e, "the encoder", code);
    t->stream = avformat_new_stream(m->format, NULL);
    t->frame = av_frame_alloc();
    if (!t->stream || !t->frame)
        return err_set(e, ERR_SPACE, "no memory");
    t->stream->time_base = t->codec->time_base;
    code = avcodec_parameters_from_context(t->stream->codecpar, t->codec);
    return code < 0 ? failed(e, "the stream", code) : 0;
}

static int add_video(struct maker *m, const struct ppm *first, double fps, struct err *e)
{
    AVCodecContext *c = m->video.codec = new_codec(m, AV_CODEC_ID_MPEG4);
    if (!c)
        return err_set(e, ERR_FAILED, "no encoder of MPEG-4 video");
    c->width = first->width;
    c->height = first->height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->framerate = av_d2q(fps, 60000);
    c->time_base = av_inv_q(c->framerate);
    c->gop_size = GROUP;
    c->flags |= AV_CODEC_FLAG_QSCALE;
    c->global_quality = FF_QP2LAMBDA * QUALITY;
    if (add_track(m, &m->video, e))
        return -1;
    m->video.stream->avg_frame_rate = c->framerate;
    AVFrame *f = m->video.frame;
    f->format = c->pix_fmt;
    f->width = c->width;
    f->height = c->height;
    f->quality = c->global_quality;
    int code = av_frame_get_buffer(f, 0);
    if (code < 0)
        return failed(e, "a frame", code);
    m->sws = sws_getContext(c->width, c->height, AV_PIX_FMT_RGB24, c->width, c->height, c->pix_fmt,
                            SWS_BILINEAR, NULL, NULL, NULL);
    return m->sws ? 0 : err_set(e, ERR_FAILED, "no conversion to YUV");
}

static int add_sound(struct maker *m, struct err *e)
{
    AVCodecContext *c = m->sound.codec = new_codec(m, AV_CODEC_ID_AAC);
    if (!c)
        return err_set(e, ERR_FAILED, "no encoder of AAC sound");
    c->sample_rate = AUDIO_RATE;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->bit_rate = SOUND_BITS;
    c->time_base = (AVRational){1, AUDIO_RATE};
    av_channel_layout_default(&c->ch_layout, 1);
    return add_track(m, &m->sound, e);
}

/* Encode a frame (NULL: the end) and write what comes out. */
static int encode(struct maker *m, struct track *t, const AVFrame *frame, struct err *e)
{
    int code = avcodec_send_frame(t->codec, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(t->codec, m->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code < 0)
            break;
        m->packet->stream_index = t->stream->index;
        if (!m->packet->duration)
            m->packet->duration = 1;
        av_packet_rescale_ts(m->packet, t->codec->time_base, t->stream->time_base);
        code = av_interleaved_write_frame(m->format, m->packet);
    }
    return failed(e, "encoding", code);
}

static int write_picture(struct maker *m, const struct ppm *p, int number, struct err *e)
{
    AVFrame *f = m->video.frame;
    if (p->width != f->width || p->height != f->height)
        return err_set(e, ERR_DATA, "frame %d has %dx%d pixels, the first has %dx%d", number,
                       p->width, p->height, f->width, f->height);
    int code = av_frame_make_writable(f);
    if (code < 0)
        return failed(e, "a frame", code);
    const uint8_t *rows[1] = {p->pixels};
    int stride[1] = {3 * p->width};
    sws_scale(m->sws, rows, stride, 0, p->height, f->data, f->linesize);
    f->pts = number;
    return encode(m, &m->video, f, e);
}

static int write_sound(struct maker *m, struct audio *a, struct err *e)
{
    AVCodecContext *c = m->sound.codec;
    AVFrame *f = m->sound.frame;
    for (int64_t at = 0; at < a->count; at += c->frame_size) {
        int64_t left = a->count - at;
        av_frame_unref(f);
        f->format = c->sample_fmt;
        f->sample_rate = c->sample_rate;
        f->nb_samples = left < c->frame_size ? (int)left : c->frame_size;
        av_channel_layout_default(&f->ch_layout, 1);
        f->pts = at;
        int code = av_frame_get_buffer(f, 0);
        if (code < 0)
            return failed(e, "a frame of sound", code);
        memcpy(f->data[0], a->samples + at, (size_t)f->nb_samples * sizeof(float));
        if (encode(m, &m->sound, f, e))
            return -1;
    }
    return encode(m, &m->sound, NULL, e);
}

/* --------------------------------------------------------------------- file -- */

static int open_file(struct maker *m, const char *path, struct err *e)
{
    int code = avformat_alloc_output_context2(&m->format, NULL, "mp4", path);
    if (code < 0)
        return failed(e, path, code);
    m->format->flags |= AVFMT_FLAG_BITEXACT;
    m->packet = av_packet_alloc();
    code = avio_open(&m->format->pb, path, AVIO_FLAG_WRITE);
    return code < 0 ? failed(e, path, code) : 0;
}

static void close_file(struct maker *m)
{
    struct track *tracks[] = {&m->video, &m->sound};
    for (int i = 0; i < 2; i++) {
        avcodec_free_context(&tracks[i]->codec);
        av_frame_free(&tracks[i]->frame);
    }
    av_packet_free(&m->packet);
    sws_freeContext(m->sws);
    if (m->format)
        avio_closep(&m->format->pb);
    avformat_free_context(m->format);
}

static int write_pictures(struct maker *m, char **paths, int count, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < count && !rc; i++) {
        struct ppm p = {0};
        rc = read_ppm(&p, paths[i], e) || write_picture(m, &p, i, e) ? -1 : 0;
        free(p.bytes);
    }
    return rc ? rc : encode(m, &m->video, NULL, e);
}

static int make(struct maker *m, const char *out, double fps, struct audio *sound, char **paths,
                int count, struct err *e)
{
    struct ppm first = {0};
    int rc = read_ppm(&first, paths[0], e) || open_file(m, out, e) ||
                     add_video(m, &first, fps, e) || (sound->count && add_sound(m, e))
                 ? -1
                 : 0;
    free(first.bytes);
    if (rc)
        return rc;
    int code = avformat_write_header(m->format, NULL);
    if (code < 0)
        return failed(e, "the header", code);
    if (write_pictures(m, paths, count, e) || (sound->count && write_sound(m, sound, e)))
        return -1;
    code = av_write_trailer(m->format);
    return code < 0 ? failed(e, "the end of the file", code) : 0;
}

int main(int argc, char **argv)
{
    double fps = argc > 4 ? strtod(argv[2], NULL) : 0;
    if (!(fps > 0 && fps <= 1000)) {
        fprintf(stderr, "usage: make_video OUT.mp4 FPS SOUND.wav|- FRAME.ppm...\n");
        return 2;
    }
    struct err e = {0};
    struct maker m = {0};
    struct audio sound = {0};
    int rc = 0;
    if (strcmp(argv[3], "-") != 0)
        rc = audio_read(&sound, argv[3], NULL, &e);
    if (!rc)
        rc = make(&m, argv[1], fps, &sound, argv + 4, argc - 4, &e);
    close_file(&m);
    audio_release(&sound);
    if (rc)
        fprintf(stderr, "make_video: %s\n", e.text);
    return rc ? 1 : 0;
}
