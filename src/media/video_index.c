/* video_index.c - see video_index.h. */
#include "media/video_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/video.h"

/* Where nothing says otherwise (as transformers). */
#define FPS_DEFAULT 24

struct reader {
    struct video_index *index;
    size_t room, key_room;
    int64_t end;                        /* of the last frame that is shown */
};

static int add_packet(struct reader *r, const AVPacket *p, struct err *e)
{
    struct video_index *x = r->index;
    int64_t time = p->pts != AV_NOPTS_VALUE ? p->pts : p->dts;
    if (time == AV_NOPTS_VALUE || time < INT64_MIN / 2 || time > INT64_MAX / 2)
        return err_set(e, ERR_DATA, "damaged: frame %lld has no time", (long long)x->count);
    if (x->count == VIDEO_SOURCE_FRAMES_MAX)
        return err_set(e, ERR_DATA, "more than the %d frames that are allowed",
                       VIDEO_SOURCE_FRAMES_MAX);
    if ((size_t)x->count == r->room)
        x->times = mem_grow(x->times, &r->room, sizeof *x->times);
    x->times[x->count++] = time;
    int64_t duration = p->duration > 0 && p->duration < INT64_MAX / 4 ? p->duration : 0;
    if (x->count == 1 || time + duration > r->end)
        r->end = time + duration;
    if (!(p->flags & AV_PKT_FLAG_KEY))
        return 0;
    if ((size_t)x->key_count == r->key_room)
        x->keys = mem_grow(x->keys, &r->key_room, sizeof *x->keys);
    x->keys[x->key_count++] = time;
    return 0;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Two packets of one time are one frame: its two fields, or VP8's hidden frame and the one shown
 * then.  (torchcodec counts the latter twice, and states too high a rate.) */
static void sort(struct video_index *x)
{
    qsort(x->times, (size_t)x->count, sizeof *x->times, compare_times);
    if (x->key_count)
        qsort(x->keys, (size_t)x->key_count, sizeof *x->keys, compare_times);
    int64_t kept = 1;
    for (int64_t i = 1; i < x->count; i++)
        if (x->times[i] != x->times[kept - 1])
            x->times[kept++] = x->times[i];
    x->count = kept;
}

/* The mean rate, as torchcodec states it after reading a whole file. */
static void measure(struct video_index *x, int64_t end, const AVStream *s)
{
    x->seconds = (double)(end - x->times[0]) * av_q2d(s->time_base);
    x->fps = x->seconds > 0 ? (double)x->count / x->seconds : av_q2d(s->avg_frame_rate);
    if (!(x->fps > 0 && x->fps < 1e9))
        x->fps = FPS_DEFAULT;
    if (!(x->seconds > 0))
        x->seconds = (double)x->count / x->fps;
}

int video_index_read(struct video_index *x, struct demux *d, int stream, struct err *e)
{
    memset(x, 0, sizeof *x);
    const AVStream *s = d->format->streams[stream];
    struct reader r = {.index = x};
    AVPacket *p = av_packet_alloc();
    if (!p)
        return err_set(e, ERR_SPACE, "no memory for decoding");
    int got, failed = 0;
    while (!failed && (got = av_read_frame(d->format, p)) >= 0) {
        /* Frames in front of the place where an edit list begins are not shown. */
        if (p->stream_index == stream && !(p->flags & AV_PKT_FLAG_DISCARD))
            failed = add_packet(&r, p, e);
        av_packet_unref(p);
    }
    av_packet_free(&p);
    if (!failed && got != AVERROR_EOF)
        failed =
            err_set(e, ERR_DATA, "truncated or damaged after %lld frames", (long long)x->count);
    if (!failed && !x->count)
        failed = err_set(e, ERR_DATA, "empty: a video stream (%s) without a single frame",
                         avcodec_get_name(s->codecpar->codec_id));
    if (failed)
        return -1;
    sort(x);
    measure(x, r.end, s);
    return 0;
}

void video_index_release(struct video_index *x)
{
    free(x->times);
    free(x->keys);
    memset(x, 0, sizeof *x);
}

int64_t video_index_key(const struct video_index *x, int64_t time)
{
    int64_t low = 0, high = x->key_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (x->keys[middle] <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? x->keys[low - 1] : AV_NOPTS_VALUE;
}
