/* exif.c - see image_parts.h.
 *
 * EXIF is a TIFF header ("II" or "MM", 42, the offset of a directory) and directories of entries
 * of 12 bytes: tag, type, count, value.  Orientation is tag 0x0112 of the first directory.
 * Nothing here can fail a picture: what cannot be read says nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/image_parts.h"

enum {
    TAG_ORIENTATION = 0x0112,
    ENTRY_BYTES = 12,
    HEADER_BYTES = 8,
    RGB = 3,
    TILE = 32,                     /* pixels a side; what is turned at once fits into a cache */
};

struct tiff {
    const uint8_t *data;
    size_t size;
    bool is_big_endian;
};

static uint32_t number(const struct tiff *t, size_t at, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | t->data[at + (size_t)(t->is_big_endian ? i : bytes - 1 - i)];
    return v;
}

/* The value of one entry, or 0.  It should be one short integer; Pillow takes the first of any
 * integers, and so does this, if they are not so many that they lie elsewhere. */
static int entry_orientation(const struct tiff *t, size_t at)
{
    /* Bytes of an integer of each type of TIFF; other types are 0. */
    static const int sizes[] = {[3] = 2, [4] = 4, [6] = 1, [8] = 2, [9] = 4, [13] = 4};
    uint32_t type = number(t, at + 2, 2), count = number(t, at + 4, 4);
    if (number(t, at, 2) != TAG_ORIENTATION || count == 0)
        return 0;
    int size = type < sizeof sizes / sizeof *sizes ? sizes[type] : 0;
    uint32_t v = size && count <= 4 / (uint32_t)size ? number(t, at + 8, size) : 0;
    return v >= 1 && v <= 8 ? (int)v : 1;
}

int exif_orientation(const uint8_t *exif, size_t size)
{
    while (size >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        size -= 6;
    }
    struct tiff t = {.data = exif, .size = size};
    if (size < HEADER_BYTES)
        return 0;
    t.is_big_endian = exif[0] == 'M';
    if (exif[0] != exif[1] || (exif[0] != 'M' && exif[0] != 'I') || number(&t, 2, 2) != 42)
        return 0;

    size_t at = number(&t, 4, 4);
    if (at > size || size - at < 2)
        return 0;
    uint32_t count = number(&t, at, 2);
    at += 2;
    for (uint32_t i = 0; i < count && size - at >= ENTRY_BYTES; i++, at += ENTRY_BYTES) {
        int orientation = entry_orientation(&t, at);
        if (orientation)
            return orientation;
    }
    return 0;
}

/* As an attribute (tiff:Orientation="6") or an element (<tiff:Orientation>6<). */
int exif_orientation_xmp(const uint8_t *xmp, size_t size)
{
    static const char name[] = "tiff:Orientation";
    size_t n = sizeof name - 1;
    for (size_t i = 0; i + n < size; i++) {
        if (xmp[i] != 't' || memcmp(xmp + i, name, n) != 0)
            continue;
        size_t at = i + n;
        if (xmp[at] == '>')
            at++;
        else if (xmp[at] == '=' && at + 1 < size && xmp[at + 1] == '"')
            at += 2;
        else
            continue;
        if (at < size && xmp[at] >= '0' && xmp[at] <= '9')
            return xmp[at] >= '1' && xmp[at] <= '8' ? xmp[at] - '0' : 1;
    }
    return 0;
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c | 0x20) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* An empty line, a name, a length, then lines of digits. */
int exif_orientation_hex(const char *text, size_t size)
{
    const char *p = text, *end = text + size;
    for (int line = 0; line < 3; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return 0;
        p++;
    }
    uint8_t *bytes = xmalloc(size);
    size_t n = 0;
    for (int high = -1; p < end; p++) {
        int d = digit(*p);
        if (d < 0)
            continue;
        if (high >= 0)
            bytes[n++] = (uint8_t)(high << 4 | d);
        high = high >= 0 ? -1 : d;
    }
    int orientation = exif_orientation(bytes, n);
    free(bytes);
    return orientation;
}

/* ---------------------------------------------------------------- turning -- */

/* Pixel (x, y) of the new picture is the old one's at start + x * across + y * down. */
struct turn {
    const uint8_t *start;
    ptrdiff_t across, down;        /* bytes */
};

static void copy_tile(struct image *to, const struct turn *t, int x0, int y0)
{
    int x1 = x0 + TILE < to->width ? x0 + TILE : to->width;
    int y1 = y0 + TILE < to->height ? y0 + TILE : to->height;
    for (int y = y0; y < y1; y++) {
        const uint8_t *in = t->start + x0 * t->across + y * t->down;
        uint8_t *out = to->pixels + ((size_t)y * (size_t)to->width + (size_t)x0) * RGB;
        for (int x = x0; x < x1; x++, in += t->across, out += RGB) {
            out[0] = in[0];
            out[1] = in[1];
            out[2] = in[2];
        }
    }
}

void image_turn(struct image *im, int orientation)
{
    /* Bit 0: columns from the right.  Bit 1: rows from below.  Bit 2: rows become columns. */
    static const int moves[] = {0, 0, 1, 3, 2, 4, 6, 7, 5};
    if (orientation < 2 || orientation > 8)
        return;
    int move = moves[orientation];
    ptrdiff_t pixel = RGB, row = (ptrdiff_t)im->width * RGB;
    struct turn t = {im->pixels, pixel, row};
    if (move & 1) {
        t.start += row - pixel;
        t.across = -pixel;
    }
    if (move & 2) {
        t.start += row * (im->height - 1);
        t.down = -row;
    }
    struct image to = *im;
    if (move & 4) {
        ptrdiff_t across = t.across;
        t.across = t.down;
        t.down = across;
        to.width = im->height;
        to.height = im->width;
    }
    to.pixels = xmalloc((size_t)to.width * (size_t)to.height * RGB);
    for (int y = 0; y < to.height; y += TILE)
        for (int x = 0; x < to.width; x += TILE)
            copy_tile(&to, &t, x, y);
    free(im->pixels);
    *im = to;
}
