/* video.c - see video.h.
 *
 *     bytes -> demuxer -> packets: which frames there are, and when (video_index.h)
 *                      -> decoder -> the chosen frames -> upright RGB (frame_rgb.h)
 *
 * From one chosen frame to the next the decoder goes on, unless a key frame lies between them:
 * then it jumps there.  That is exact, since no frame shown after a key frame needs one before it.
 * Where a file's marks prove wrong (the first frame to come is not the key frame that was jumped
 * to, or something cannot be decoded), all is decoded from the beginning on instead, once.
 */
#include "media/video.h"

#include <libavutil/display.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/container.h"
#include "media/demux.h"
#include "media/frame_rgb.h"
#include "media/video_index.h"

static const struct demux_rules RULES = {
    .formats = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm",
    .codecs = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,mpeg4,mjpeg",
    .what = "video",
    .known = "MP4, MOV, WebM and Matroska",
    .pixels_max = VIDEO_PIXELS_MAX,
};

struct decoder {
    struct demux demux;
    struct video_index index;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    bool has_frame;
    struct frame_rgb *rgb;
    int stream;
    int width, height;                  /* of the frames; 0: none was seen */
    bool jumps;                         /* false: decodes everything */
    bool has_jumped;                    /* and no frame came since */
    int64_t jumped_to;                  /* frames shown before it may lack what they need */
    int64_t last_key;                   /* time of the last key frame fed */
};

/* What came of asking for a frame. */
enum outcome { OUTCOME_FRAME, OUTCOME_END, OUTCOME_LOST, OUTCOME_FAILED };

/* ---------------------------------------------------------------- opening -- */

static int find_stream(const struct demux *d, struct err *e)
{
    const AVFormatContext *f = d->format;
    int best = av_find_best_stream(d->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (best >= 0 && !demux_is_cover(f->streams[best]))
        return best;
    for (unsigned i = 0; i < f->nb_streams; i++)
        if (f->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !demux_is_cover(f->streams[i]))
            return (int)i;
    return demux_no_stream(d, AVMEDIA_TYPE_VIDEO, e);
}

static int check_size(int width, int height, struct err *e)
{
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        (int64_t)width * height > VIDEO_PIXELS_MAX)
        return err_set(e, ERR_DATA, "frames of %dx%d pixels, allowed are %lld pixels", width,
                       height, (long long)VIDEO_PIXELS_MAX);
    return 0;
}

static int open_stream(struct decoder *d, const void *bytes, size_t size, struct err *e)
{
    if (demux_open(&d->demux, &RULES, bytes, size, e))
        return -1;
    AVFormatContext *f = d->demux.format;
    for (unsigned i = 0; i < f->nb_streams; i++) {
        const AVCodecParameters *p = f->streams[i]->codecpar;
        if (p->codec_type != AVMEDIA_TYPE_VIDEO)
            f->streams[i]->discard = AVDISCARD_ALL;
        else if ((p->width || p->height) && check_size(p->width, p->height, e))
            return -1;
    }
    if (demux_find_streams(&d->demux, e))
        return -1;
    d->stream = find_stream(&d->demux, e);
    if (d->stream < 0)
        return -1;
    for (unsigned i = 0; i < f->nb_streams; i++)
        if ((int)i != d->stream)
            f->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

static int open_codec(struct decoder *d, struct err *e)
{
    d->codec = demux_codec(&d->demux, d->stream, e);
    if (!d->codec)
        return -1;
    if (avcodec_open2(d->codec, NULL, NULL))
        return err_set(e, ERR_DATA, "damaged header of the %s stream",
                       avcodec_get_name(d->codec->codec_id));
    return 0;
}

#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
static const int32_t *display_matrix(const AVStream *s)
{
    const AVCodecParameters *p = s->codecpar;
    const AVPacketSideData *side = av_packet_side_data_get(
        p->coded_side_data, p->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return side && side->size >= 9 * sizeof(int32_t) ? (const int32_t *)side->data : NULL;
}
#else
static const int32_t *display_matrix(const AVStream *s)
{
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= 9 * sizeof(int32_t) ? (const int32_t *)data : NULL;
}
#endif

static void state_facts(struct video *facts, const struct decoder *d)
{
    facts->source_frames = d->index.count;
    facts->fps = d->index.fps;
    facts->seconds = d->index.seconds;
    snprintf(facts->codec, sizeof facts->codec, "%s", avcodec_get_name(d->codec->codec_id));
}

static int open_decoder(struct decoder *d, const void *bytes, size_t size, struct video *facts,
                        struct err *e)
{
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    if (!d->packet || !d->frame)
        return err_set(e, ERR_SPACE, "no memory for decoding");
    if (open_stream(d, bytes, size, e))
        return -1;
    if (container_is_cut(bytes, size))
        return err_set(e, ERR_DATA, "truncated: the file ends in the middle of a part");
    if (open_codec(d, e) || video_index_read(&d->index, &d->demux, d->stream, e))
        return -1;
    d->rgb = frame_rgb_new(turn_of(display_matrix(d->demux.format->streams[d->stream])));
    d->jumps = true;
    d->jumped_to = d->last_key = INT64_MIN;
    state_facts(facts, d);
    return 0;
}

static void close_decoder(struct decoder *d)
{
    frame_rgb_free(d->rgb);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avcodec_free_context(&d->codec);
    demux_close(&d->demux);
    video_index_release(&d->index);
}

/* Begin anew, to decode everything. */
static int reopen(struct decoder *d, struct err *e)
{
    const uint8_t *bytes = d->demux.bytes;
    size_t size = (size_t)d->demux.size;
    avcodec_free_context(&d->codec);
    demux_close(&d->demux);
    av_frame_unref(d->frame);
    d->has_frame = d->has_jumped = d->jumps = false;
    d->jumped_to = INT64_MIN;
    return open_stream(d, bytes, size, e) || open_codec(d, e) ? -1 : 0;
}

/* --------------------------------------------------------------- decoding -- */

static double seconds_at(const struct decoder *d, int64_t time)
{
    return (double)(time - d->index.times[0]) *
           av_q2d(d->demux.format->streams[d->stream]->time_base);
}

/* Something is wrong: with the file, or with where it was jumped to. */
static enum outcome trouble(const struct decoder *d, const char *what, struct err *e)
{
    if (d->jumps)
        return OUTCOME_LOST;
    double at_s = d->has_frame ? seconds_at(d, d->frame->best_effort_timestamp) : 0;
    err_set(e, ERR_DATA, "damaged %s data after %.2f s of %.2f s: %s",
            avcodec_get_name(d->codec->codec_id), at_s, d->index.seconds, what);
    return OUTCOME_FAILED;
}

/* Give the decoder its next packet, or the end. */
static bool feed(struct decoder *d)
{
    int got;
    while ((got = av_read_frame(d->demux.format, d->packet)) >= 0) {
        if (d->packet->stream_index == d->stream)
            break;
        av_packet_unref(d->packet);
    }
    if (got < 0)
        return got == AVERROR_EOF && avcodec_send_packet(d->codec, NULL) >= 0;
    int64_t time = d->packet->pts != AV_NOPTS_VALUE ? d->packet->pts : d->packet->dts;
    if (d->packet->flags & AV_PKT_FLAG_KEY && time > d->last_key)
        d->last_key = time;
    int sent = avcodec_send_packet(d->codec, d->packet);
    av_packet_unref(d->packet);
    return sent >= 0;
}

/* Is the frame that has come whole, and of the size of the others? */
static enum outcome check_frame(struct decoder *d, struct err *e)
{
    const AVFrame *f = d->frame;
    if (f->best_effort_timestamp == AV_NOPTS_VALUE)
        return trouble(d, "a frame without a time", e);
    if (f->best_effort_timestamp < d->jumped_to)
        return OUTCOME_FRAME;
    if (d->has_jumped &&
        (f->best_effort_timestamp != d->jumped_to || f->pict_type != AV_PICTURE_TYPE_I))
        return OUTCOME_LOST;
    d->has_jumped = false;
    if (f->decode_error_flags || f->flags & AV_FRAME_FLAG_CORRUPT)
        return trouble(d, "a frame with errors", e);
    if (check_size(f->width, f->height, e))
        return OUTCOME_FAILED;
    if (d->width && (f->width != d->width || f->height != d->height)) {
        err_set(e, ERR_DATA, "the frames change from %dx%d to %dx%d pixels after %.2f s", d->width,
                d->height, f->width, f->height, seconds_at(d, f->best_effort_timestamp));
        return OUTCOME_FAILED;
    }
    d->width = f->width;
    d->height = f->height;
    return OUTCOME_FRAME;
}

static enum outcome next_frame(struct decoder *d, struct err *e)
{
    for (;;) {
        int got = avcodec_receive_frame(d->codec, d->frame);
        d->has_frame = got >= 0;
        if (got >= 0)
            return check_frame(d, e);
        if (got == AVERROR_EOF)
            return OUTCOME_END;
        if (got != AVERROR(EAGAIN) || !feed(d))
            return trouble(d, "a packet that cannot be decoded", e);
    }
}

/* Jump to the last key frame before `time`, unless the decoder is there or beyond. */
static bool jump(struct decoder *d, int64_t time)
{
    int64_t key = video_index_key(&d->index, time);
    if (key == AV_NOPTS_VALUE)
        return false;
    if (key <= d->last_key)
        return true;
    if (av_seek_frame(d->demux.format, d->stream, key, AVSEEK_FLAG_BACKWARD) < 0)
        return false;
    avcodec_flush_buffers(d->codec);
    av_frame_unref(d->frame);
    d->has_frame = false;
    d->has_jumped = true;
    d->jumped_to = d->last_key = key;
    return true;
}

/* Decode up to the frame shown at `time`; it is then in d->frame.  Where that packet holds no
 * picture to show, it is the one that follows, as with torchcodec. */
static enum outcome find_frame(struct decoder *d, int64_t time, struct err *e)
{
    if (d->jumps && !jump(d, time))
        return OUTCOME_LOST;
    while (!d->has_frame || d->frame->best_effort_timestamp < time) {
        enum outcome o = next_frame(d, e);
        if (o == OUTCOME_END)
            return trouble(d, "frames are missing at the end", e);
        if (o != OUTCOME_FRAME)
            return o;
    }
    return OUTCOME_FRAME;
}

static int hand_out(struct decoder *d, int64_t number, video_frame_fn fn, void *arg, struct err *e)
{
    enum outcome o = find_frame(d, d->index.times[number], e);
    if (o == OUTCOME_LOST) {
        if (reopen(d, e))
            return -1;
        o = find_frame(d, d->index.times[number], e);
    }
    struct image im;
    if (o != OUTCOME_FRAME || frame_rgb_convert(d->rgb, d->frame, &im, e))
        return -1;
    int failed = fn(arg, &im, (double)number / d->index.fps, e);
    image_release(&im);
    return failed;
}

/* ------------------------------------------------------------------ video -- */

int64_t video_frame_number(int64_t source_frames, int frames, int i)
{
    return i * source_frames / frames;
}

int video_decode(const void *bytes, size_t size, int frames_max, video_frame_fn fn, void *arg,
                 struct video *facts, struct err *e)
{
    struct video none;
    if (!facts)
        facts = &none;
    memset(facts, 0, sizeof *facts);
    if (frames_max < 1 || frames_max > VIDEO_FRAMES_MAX)
        return err_set(e, ERR_USAGE, "%d frames of a video are asked for, allowed are 1 to %d",
                       frames_max, VIDEO_FRAMES_MAX);
    if (size == 0)
        return err_set(e, ERR_DATA, "an empty file");
    if (size > (size_t)VIDEO_FILE_BYTES_MAX)
        return err_set(e, ERR_DATA, "%zu bytes, at most %lld are allowed", size,
                       (long long)VIDEO_FILE_BYTES_MAX);
    struct decoder d = {0};
    int failed = open_decoder(&d, bytes, size, facts, e);
    if (!failed) {
        int64_t n = d.index.count < frames_max ? d.index.count : frames_max;
        for (int i = 0; i < n && !failed; i++) {
            failed = hand_out(&d, video_frame_number(d.index.count, (int)n, i), fn, arg, e);
            facts->count += !failed;
        }
    }
    close_decoder(&d);
    return failed ? -1 : 0;
}

/* Keep a frame in the video, which has room for it. */
static int keep(void *arg, struct image *im, double time, struct err *e)
{
    (void)e;
    struct video *v = arg;
    v->frames[v->count] = *im;
    v->times[v->count++] = time;
    im->pixels = NULL;
    return 0;
}

int video_read(struct video *v, const void *bytes, size_t size, int frames_max, struct err *e)
{
    memset(v, 0, sizeof *v);
    int room = frames_max > 0 && frames_max <= VIDEO_FRAMES_MAX ? frames_max : 1;
    struct video kept = {0}, facts;
    kept.frames = xcalloc((size_t)room, sizeof *kept.frames);
    kept.times = xcalloc((size_t)room, sizeof *kept.times);
    if (video_decode(bytes, size, frames_max, keep, &kept, &facts, e)) {
        video_release(&kept);
        return -1;
    }
    *v = facts;
    v->frames = kept.frames;
    v->times = kept.times;
    v->count = kept.count;
    return 0;
}

void video_release(struct video *v)
{
    for (int i = 0; i < v->count && v->frames; i++)
        image_release(&v->frames[i]);
    free(v->frames);
    free(v->times);
    memset(v, 0, sizeof *v);
}
