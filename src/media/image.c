/* image.c - see image.h: what kind of file it is, limits, and turning. */
#include "media/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/image_parts.h"

enum { RGB = 3, BRANDS_MAX = 64 };

/* ------------------------------------------------------------------ kinds -- */

/* A file is of a kind when these bytes are at this place.  Without a function to read it, it is
 * refused by its name. */
struct kind {
    const char *name;
    size_t at, size;
    const char *bytes;
    int (*read)(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                struct err *e);
};

static const struct kind kinds[] = {
    {"jpeg", 0, 3, "\xff\xd8\xff", image_read_jpeg},
    {"png", 0, 8, "\x89PNG\r\n\x1a\n", image_read_png},
    {"webp", 8, 4, "WEBP", image_read_webp},
    {"GIF", 0, 4, "GIF8", NULL},
    {"BMP", 0, 2, "BM", NULL},
    {"TIFF", 0, 4, "II*\0", NULL},
    {"TIFF", 0, 4, "MM\0*", NULL},
    {"TIFF", 0, 4, "II+\0", NULL},
    {"TIFF", 0, 4, "MM\0+", NULL},
    {"AVIF", 4, 8, "ftypavif", NULL},
    {"AVIF", 4, 8, "ftypavis", NULL},
    {"HEIC", 4, 8, "ftypheic", NULL},
    {"HEIC", 4, 8, "ftypheix", NULL},
    {"HEIC", 4, 8, "ftyphevc", NULL},
    {"HEIC", 4, 8, "ftyphevx", NULL},
    {"HEIF", 4, 8, "ftypmif1", NULL},
    {"HEIF", 4, 8, "ftypmsf1", NULL},
    {"JPEG XL", 0, 2, "\xff\x0a", NULL},
    {"JPEG XL", 0, 8, "\0\0\0\x0cJXL ", NULL},
    {"JPEG 2000", 0, 8, "\0\0\0\x0cjP  ", NULL},
    {"JPEG 2000", 0, 4, "\xff\x4f\xff\x51", NULL},
    {"Photoshop", 0, 4, "8BPS", NULL},
    {"icon", 0, 4, "\0\0\1\0", NULL},
    {"PDF", 0, 4, "%PDF", NULL},
    {"SVG", 0, 4, "<svg", NULL},
    {"XML", 0, 5, "<?xml", NULL},
    {"HTML", 0, 5, "<!DOC", NULL},
    {"HTML", 0, 5, "<!doc", NULL},
    {"HTML", 0, 5, "<html", NULL},
    {"a Git LFS pointer", 0, 24, "version https://git-lfs.", NULL},
};

static bool is_of(const struct kind *k, const uint8_t *bytes, size_t size)
{
    if (size < k->at + k->size || memcmp(bytes + k->at, k->bytes, k->size) != 0)
        return false;
    return k->read != image_read_webp || memcmp(bytes, "RIFF", 4) == 0;
}

static const struct kind *kind_of(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is_of(&kinds[i], bytes, size))
            return &kinds[i];
    return NULL;
}

int image_is_known(const void *bytes, size_t size)
{
    const struct kind *k = kind_of(bytes, size);
    return k && k->read;
}

/* ----------------------------------------------------------------- limits -- */

int image_check(const struct image_facts *f, int64_t width, int64_t height, struct err *e)
{
    if (width < 1 || height < 1)
        return err_set(e, ERR_DATA, "found %lld x %lld pixels, expected at least 1 x 1",
                       (long long)width, (long long)height);
    if (width <= IMAGE_SIDE_MAX && height <= IMAGE_SIDE_MAX && width * height <= f->pixels_max)
        return 0;
    err_set(e, ERR_DATA, "found %lld x %lld pixels, allowed are %lld in all and %d a side",
            (long long)width, (long long)height, (long long)f->pixels_max, IMAGE_SIDE_MAX);
    return err_hint(e, "make the picture smaller: models see at most about a thousand pixels a "
                       "side of it");
}

int image_allocate(struct image *im, const struct image_facts *f, int64_t width, int64_t height,
                   struct err *e)
{
    if (image_check(f, width, height, e))
        return -1;
    im->width = (int)width;
    im->height = (int)height;
    im->pixels = xmalloc((size_t)width * (size_t)height * RGB);
    return 0;
}

/* --------------------------------------------------------------- decoding -- */

static int refuse(const struct kind *k, size_t size, struct err *e)
{
    if (size == 0)
        return err_set(e, ERR_DATA, "the picture is empty (0 bytes)");
    if (k)
        err_set(e, ERR_DATA, "found %s, expected a JPEG, PNG or WebP picture", k->name);
    else
        err_set(e, ERR_DATA, "found no picture: neither JPEG nor PNG nor WebP");
    if (k && strstr(k->name, "LFS"))
        return err_hint(e, "get the files themselves: git lfs pull");
    return err_hint(e, "convert the picture to JPEG, PNG or WebP");
}

int image_decode_within(struct image *im, int64_t pixels_max, const void *bytes, size_t size,
                        struct err *e)
{
    memset(im, 0, sizeof *im);
    if (size > IMAGE_FILE_BYTES_MAX)
        return err_set(e, ERR_DATA, "found %zu bytes, a picture may have %lld", size,
                       (long long)IMAGE_FILE_BYTES_MAX);
    const struct kind *k = kind_of(bytes, size);
    if (!k || !k->read)
        return refuse(k, size, e);
    struct image_facts facts = {.pixels_max = pixels_max};
    if (k->read(im, &facts, bytes, size, e)) {
        image_release(im);
        return -1;
    }
    snprintf(im->format, sizeof im->format, "%s", k->name);
    image_turn(im, facts.orientation);
    return 0;
}

int image_decode(struct image *im, const void *bytes, size_t size, struct err *e)
{
    return image_decode_within(im, IMAGE_PIXELS_MAX, bytes, size, e);
}

void image_release(struct image *im)
{
    free(im->pixels);
    memset(im, 0, sizeof *im);
}
