/* image_webp.c - see image_parts.h.  WebP by libwebp.
 *
 * A file is "RIFF", a length, "WEBP", and chunks: a name of four letters, a length, as many bytes,
 * filled up to an even number.  A simple picture is one chunk "VP8 " or "VP8L"; an extended one
 * has "VP8X" in front, and may have EXIF, XMP and, in a moving picture, frames ("ANMF") that cover
 * a part of the canvas each.
 */
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

#include "media/image_parts.h"

enum {
    RGB = 3,
    RIFF_BYTES = 12,
    CHUNK_BYTES = 8,
    VP8X_BYTES = 10,
    VP8X_MOVES = 2,                /* a bit of its flags */
    FRAME_BYTES = 16,              /* of a frame in front of its chunks */
};

struct span {
    const uint8_t *data;
    size_t size;
};

/* The first chunk of each kind; those that are not there are empty. */
struct riff {
    struct span whole, vp8x, frame, exif, xmp;
};

static uint32_t little_endian(const uint8_t *p, int bytes)
{
    uint32_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int truncated(struct err *e)
{
    return err_set(e, ERR_DATA, "truncated: the WebP data end too early");
}

/* ----------------------------------------------------------------- chunks -- */

static void keep(struct span *s, const char *name, const uint8_t *chunk, size_t size)
{
    if (!s->data && memcmp(chunk, name, 4) == 0)
        *s = (struct span){chunk + CHUNK_BYTES, size};
}

static int riff_read(struct riff *r, const uint8_t *bytes, size_t size, struct err *e)
{
    memset(r, 0, sizeof *r);
    if (size < RIFF_BYTES + CHUNK_BYTES)
        return truncated(e);
    size_t whole = (size_t)little_endian(bytes + 4, 4) + CHUNK_BYTES;
    if (whole > size)
        return truncated(e);
    if (whole < RIFF_BYTES + CHUNK_BYTES)
        return err_set(e, ERR_DATA, "damaged WebP: its length is %zu bytes", whole);
    r->whole = (struct span){bytes, whole};

    for (size_t at = RIFF_BYTES; whole - at >= CHUNK_BYTES;) {
        size_t n = little_endian(bytes + at + 4, 4), left = whole - at - CHUNK_BYTES;
        if (n > left)
            return err_set(e, ERR_DATA, "damaged WebP: a chunk of %zu bytes, where %zu are left", n,
                           left);
        keep(&r->vp8x, "VP8X", bytes + at, n);
        keep(&r->frame, "ANMF", bytes + at, n);
        keep(&r->exif, "EXIF", bytes + at, n);
        keep(&r->xmp, "XMP ", bytes + at, n);
        at += CHUNK_BYTES + n;
        at += n & 1 && at < whole;
    }
    if (r->vp8x.data && r->vp8x.size < VP8X_BYTES)
        return err_set(e, ERR_DATA, "damaged WebP: a header of %zu bytes, expected %d",
                       r->vp8x.size, VP8X_BYTES);
    return 0;
}

/* --------------------------------------------------------------- decoding -- */

static int failed(VP8StatusCode status, struct err *e)
{
    if (status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED)
        return truncated(e);
    if (status == VP8_STATUS_OUT_OF_MEMORY)
        return err_set(e, ERR_SPACE, "no memory left to decode WebP");
    return err_set(e, ERR_DATA, "damaged WebP");
}

/* Sizes of the picture in `s`, which is a file or begins with a chunk of pixels. */
static int sizes_of(struct span s, int *width, int *height, struct err *e)
{
    WebPBitstreamFeatures f;
    VP8StatusCode status = WebPGetFeatures(s.data, s.size, &f);
    if (status != VP8_STATUS_OK)
        return failed(status, e);
    *width = f.width;
    *height = f.height;
    return 0;
}

/* Decode `s`, whose sizes were found before, into the picture with its upper left corner at x, y.
 */
static int decode_at(struct image *im, struct span s, int x, int y, int height, struct err *e)
{
    WebPDecoderConfig c;
    if (!WebPInitDecoderConfig(&c))
        return err_set(e, ERR_FAILED, "libwebp is older than the one attune was built with");
    size_t row_size = (size_t)im->width * RGB, corner = (size_t)y * row_size + (size_t)x * RGB;
    c.output.colorspace = MODE_RGB;
    c.output.is_external_memory = 1;
    c.output.u.RGBA.rgba = im->pixels + corner;
    c.output.u.RGBA.stride = (int)row_size;
    c.output.u.RGBA.size = (size_t)height * row_size - (size_t)x * RGB;
    VP8StatusCode status = WebPDecode(s.data, s.size, &c);
    WebPFreeDecBuffer(&c.output);
    return status == VP8_STATUS_OK ? 0 : failed(status, e);
}

static int read_still(struct image *im, const struct image_facts *f, struct span s, struct err *e)
{
    int width = 0, height = 0;
    if (sizes_of(s, &width, &height, e) || image_allocate(im, f, width, height, e))
        return -1;
    return decode_at(im, s, 0, 0, height, e);
}

/* The first frame, on black where it does not cover the canvas. */
static int read_moving(struct image *im, const struct image_facts *f, const struct riff *r,
                       struct err *e)
{
    int64_t width = 1 + (int64_t)little_endian(r->vp8x.data + 4, 3);
    int64_t height = 1 + (int64_t)little_endian(r->vp8x.data + 7, 3);
    const uint8_t *frame = r->frame.data;
    if (r->frame.size < FRAME_BYTES)
        return err_set(e, ERR_DATA, "damaged WebP: a moving picture without a frame");
    int64_t x = 2 * (int64_t)little_endian(frame, 3), y = 2 * (int64_t)little_endian(frame + 3, 3);
    struct span pixels = {frame + FRAME_BYTES, r->frame.size - FRAME_BYTES};
    int w = 0, h = 0;
    if (sizes_of(pixels, &w, &h, e))
        return -1;
    if (w != 1 + (int64_t)little_endian(frame + 6, 3) ||
        h != 1 + (int64_t)little_endian(frame + 9, 3) || x + w > width || y + h > height)
        return err_set(e, ERR_DATA,
                       "damaged WebP: a frame of %d x %d pixels at %lld, %lld of %lld x %lld", w, h,
                       (long long)x, (long long)y, (long long)width, (long long)height);
    if (image_allocate(im, f, width, height, e))
        return -1;
    if (w < width || h < height)
        memset(im->pixels, 0, (size_t)width * (size_t)height * RGB);
    return decode_at(im, pixels, (int)x, (int)y, h, e);
}

int image_read_webp(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                    struct err *e)
{
    struct riff r;
    if (riff_read(&r, bytes, size, e))
        return -1;
    f->orientation = exif_orientation(r.exif.data, r.exif.size);
    if (!f->orientation)
        f->orientation = exif_orientation_xmp(r.xmp.data, r.xmp.size);
    if (r.vp8x.data && r.vp8x.data[0] & VP8X_MOVES)
        return read_moving(im, f, &r, e);
    return read_still(im, f, r.whole, e);
}
