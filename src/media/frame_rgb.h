/* frame_rgb.h - a decoded frame of a video as an upright RGB picture.
 *
 * libswscale converts, bilinear, with the matrix and the range that the frame states (none: BT.601,
 * as the reference's decoders).  10 and 12 bits become 8, grey is repeated, alpha is dropped.
 * Pixels that are not square stay as they are.
 */
#ifndef MEDIA_FRAME_RGB_H
#define MEDIA_FRAME_RGB_H

#include <libavutil/frame.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "media/image.h"

/* How a stored picture must be laid out to stand upright: sides exchanged, then mirrored. */
struct turn {
    bool swaps_sides, mirrors_x, mirrors_y;
};

/* The turn of a display matrix (ISO 14496-12, 6.2.2; [9], 16.16 fixed point), or of NULL: none.
 * Other angles count as the nearest right one. */
struct turn turn_of(const int32_t *matrix);

/* `rgb` [height,rows of `stride` bytes] laid out as `turn` says.  The caller releases. */
void turn_picture(struct image *to, const uint8_t *rgb, int stride, int width, int height,
                  struct turn turn);

struct frame_rgb;                       /* what can be kept from frame to frame */

struct frame_rgb *frame_rgb_new(struct turn turn);
void frame_rgb_free(struct frame_rgb *r);

/* The caller releases the picture.  ERR_DATA: a layout of pixels that cannot be converted. */
int frame_rgb_convert(struct frame_rgb *r, const AVFrame *frame, struct image *to,
                      struct err *e) MUST_CHECK;

#endif
