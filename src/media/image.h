/* image.h - pictures to pixels: JPEG, PNG and WebP, as Pillow opens and converts them to RGB.
 *
 * Whatever the file holds becomes 8-bit RGB: alpha is dropped (not blended), grey is repeated, a
 * palette is looked up, 16-bit levels lose their lower half, CMYK is converted.  (Only 16-bit grey
 * without alpha is clipped: Pillow takes 256 and more for white.)  The orientation that EXIF or
 * XMP say is obeyed.  Sizes are checked before pixels are asked for.
 */
#ifndef MEDIA_IMAGE_H
#define MEDIA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { IMAGE_SIDE_MAX = 65500 };            /* pixels */
#define IMAGE_PIXELS_MAX ((int64_t)178956970)   /* of a picture: Pillow's limit */
#define IMAGE_FILE_BYTES_MAX ((int64_t)256 << 20)

struct image {
    uint8_t *pixels;                        /* [height,width,3] */
    int width, height;
    char format[8];                         /* of the file: "jpeg", "png", "webp" */
};

/* Decode the bytes of a file; they are only read, and only during the call.  Fails with ERR_DATA,
 * saying what was found: empty, no picture, a kind of picture that is not read here, truncated,
 * damaged, too large (with the sizes).  Of a moving picture, the first frame.  On failure `im`
 * holds nothing.  Thread-safe. */
int image_decode(struct image *im, const void *bytes, size_t size, struct err *e) MUST_CHECK;

/* The same with a lower limit than IMAGE_PIXELS_MAX. */
int image_decode_within(struct image *im, int64_t pixels_max, const void *bytes, size_t size,
                        struct err *e) MUST_CHECK;

/* Are these the first bytes of a file that image_decode reads? */
int image_is_known(const void *bytes, size_t size);

/* Write a picture as PNG: to a temporary name, then renamed. */
int image_write_png(const struct image *im, const char *path, struct err *e) MUST_CHECK;

/* Safe on a zeroed struct. */
void image_release(struct image *im);

#endif
