/* resize.h - bicubic resizing with antialiasing of 8-bit pictures, as torchvision does it
 * (interpolate with antialias on uint8: cubic with a = -0.5, support widened when shrinking,
 * rounded to 8 bits after each of the two passes).
 */
#ifndef MEDIA_RESIZE_H
#define MEDIA_RESIZE_H

#include "media/image.h"

/* `from` resized to width x height (both at least 1).  Thread-safe; never fails. */
void image_resize(struct image *to, const struct image *from, int width, int height);

#endif
