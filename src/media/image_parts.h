/* image_parts.h - what the files behind image.h share: one function a kind of file. */
#ifndef MEDIA_IMAGE_PARTS_H
#define MEDIA_IMAGE_PARTS_H

#include <stdbool.h>

#include "media/image.h"

/* What a decoder is told, and what it finds beside the pixels. */
struct image_facts {
    int64_t pixels_max;
    int orientation;               /* how the camera was held, 1 .. 8 as EXIF counts; 0 when
                                      nothing says it */
};

/* Refuse a picture of no or too many pixels. */
int image_check(const struct image_facts *f, int64_t width, int64_t height,
                struct err *e) MUST_CHECK;

/* The same, then make room for its pixels, not cleared. */
int image_allocate(struct image *im, const struct image_facts *f, int64_t width, int64_t height,
                   struct err *e) MUST_CHECK;

/* Fill `im` but its format.  On failure its pixels may be allocated: image_decode frees them. */
int image_read_jpeg(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                    struct err *e) MUST_CHECK;
int image_read_png(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                   struct err *e) MUST_CHECK;
int image_read_webp(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                    struct err *e) MUST_CHECK;

/* The orientation that EXIF data say (a TIFF header and its first directory, with or without
 * "Exif\0\0" in front), or XMP data; 0 when they do not, or are damaged. */
int exif_orientation(const uint8_t *exif, size_t size);
int exif_orientation_xmp(const uint8_t *xmp, size_t size);

/* The same of a text of hexadecimal digits, as ImageMagick puts EXIF into PNG files. */
int exif_orientation_hex(const char *text, size_t size);

/* Turn and mirror a picture so that it stands as its orientation says. */
void image_turn(struct image *im, int orientation);

#endif
