/* frame_rgb.c - see frame_rgb.h. */
#include "media/frame_rgb.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Brightness, contrast and saturation that change nothing (16.16). */
enum { NO_BRIGHTNESS = 0, SAME = 1 << 16 };

struct frame_rgb {
    struct turn turn;
    struct SwsContext *sws;
    AVFrame *rgb;                       /* the picture before it is turned, rows aligned */
};

struct turn turn_of(const int32_t *matrix)
{
    struct turn t = {0};
    if (!matrix)
        return t;
    /* (x, y) goes to (a x + c y, b x + d y). */
    int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    t.swaps_sides = llabs(b) + llabs(c) > llabs(a) + llabs(d);
    t.mirrors_x = (t.swaps_sides ? c : a) < 0;
    t.mirrors_y = (t.swaps_sides ? b : d) < 0;
    return t;
}

void turn_picture(struct image *to, const uint8_t *rgb, int stride, int width, int height,
                  struct turn turn)
{
    memset(to, 0, sizeof *to);
    to->width = turn.swaps_sides ? height : width;
    to->height = turn.swaps_sides ? width : height;
    to->pixels = xmalloc((size_t)to->width * (size_t)to->height * 3);
    snprintf(to->format, sizeof to->format, "video");
    uint8_t *out = to->pixels;
    for (int y = 0; y < to->height; y++) {
        int v = turn.mirrors_y ? to->height - 1 - y : y;
        if (!turn.swaps_sides && !turn.mirrors_x) {
            memcpy(out, rgb + (ptrdiff_t)v * stride, (size_t)width * 3);
            out += (size_t)width * 3;
            continue;
        }
        for (int x = 0; x < to->width; x++, out += 3) {
            int u = turn.mirrors_x ? to->width - 1 - x : x;
            ptrdiff_t row = turn.swaps_sides ? u : v, column = turn.swaps_sides ? v : u;
            memcpy(out, rgb + row * stride + 3 * column, 3);
        }
    }
}

struct frame_rgb *frame_rgb_new(struct turn turn)
{
    struct frame_rgb *r = xcalloc(1, sizeof *r);
    r->turn = turn;
    return r;
}

void frame_rgb_free(struct frame_rgb *r)
{
    if (!r)
        return;
    sws_freeContext(r->sws);
    av_frame_free(&r->rgb);
    free(r);
}

/* libswscale writes whole vectors: into rows that are longer than the picture is wide. */
static int make_room(struct frame_rgb *r, int width, int height, struct err *e)
{
    if (r->rgb && r->rgb->width == width && r->rgb->height == height)
        return 0;
    av_frame_free(&r->rgb);
    r->rgb = av_frame_alloc();
    if (r->rgb) {
        r->rgb->format = AV_PIX_FMT_RGB24;
        r->rgb->width = width;
        r->rgb->height = height;
    }
    if (!r->rgb || av_frame_get_buffer(r->rgb, 0))
        return err_set(e, ERR_SPACE, "no memory for a frame of %dx%d pixels", width, height);
    return 0;
}

/* All 256 levels count, rather than 16 to 235. */
static bool is_full_range(const AVFrame *f)
{
    switch (f->format) {
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P: return true;
    default: return f->color_range == AVCOL_RANGE_JPEG;
    }
}

int frame_rgb_convert(struct frame_rgb *r, const AVFrame *frame, struct image *to, struct err *e)
{
    const char *name = av_get_pix_fmt_name(frame->format);
    int width = frame->width, height = frame->height;
    memset(to, 0, sizeof *to);
    if (make_room(r, width, height, e))
        return -1;
    r->sws = sws_getCachedContext(r->sws, width, height, frame->format, width, height,
                                  AV_PIX_FMT_RGB24, SWS_BILINEAR, NULL, NULL, NULL);
    if (!r->sws)
        return err_set(e, ERR_DATA, "frames of %dx%d pixels as %s cannot be converted", width,
                       height, name ? name : "an unknown layout");
    /* Fails for layouts that are RGB already, where there is nothing to choose. */
    (void)sws_setColorspaceDetails(r->sws, sws_getCoefficients((int)frame->colorspace),
                                   is_full_range(frame), sws_getCoefficients(SWS_CS_DEFAULT), 1,
                                   NO_BRIGHTNESS, SAME, SAME);
    int rows = sws_scale(r->sws, (const uint8_t *const *)frame->data, frame->linesize, 0, height,
                         r->rgb->data, r->rgb->linesize);
    if (rows != height)
        return err_set(e, ERR_DATA, "frames of %dx%d pixels as %s cannot be converted", width,
                       height, name ? name : "an unknown layout");
    turn_picture(to, r->rgb->data[0], r->rgb->linesize[0], width, height, r->turn);
    return 0;
}
