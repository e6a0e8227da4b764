/* image_png.c - see image_parts.h and image.h.  PNG by libpng.
 *
 * libpng must not be returned to after an error: one longjmp, from leave() to go().
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/image_parts.h"

enum { RGB = 3, PNG_HEADER_BYTES = 33 };

struct png {
    png_structp png;
    png_infop info;
    jmp_buf refused;
    const uint8_t *bytes;          /* what is left to read */
    size_t size;
    struct image *im;
    struct image_facts *facts;
    struct file_writer *out;
    struct err *e;
};

/* -------------------------------------------------------------- callbacks -- */

/* The error is set. */
_Noreturn static void leave(struct png *p)
{
    longjmp(p->refused, 1);
}

static void on_error(png_structp png, png_const_charp text)
{
    struct png *p = png_get_error_ptr(png);
    err_set(p->e, p->out ? ERR_BUG : ERR_DATA, "%s PNG: %s", p->out ? "cannot write" : "damaged",
            text);
    leave(p);
}

/* Warnings are about chunks that do not matter here. */
static void ignore(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep out, size_t size)
{
    struct png *p = png_get_io_ptr(png);
    if (size > p->size) {
        err_set(p->e, ERR_DATA, "truncated: the PNG data end too early");
        leave(p);
    }
    memcpy(out, p->bytes, size);
    p->bytes += size;
    p->size -= size;
}

static void on_write(png_structp png, png_bytep data, size_t size)
{
    struct png *p = png_get_io_ptr(png);
    if (file_writer_write(p->out, data, size, p->e))
        leave(p);
}

static void on_flush(png_structp png)
{
    (void)png;
}

/* Run `work`, which libpng may leave by an error. */
static int go(struct png *p, void (*work)(struct png *))
{
    if (setjmp(p->refused))
        return -1;
    work(p);
    return 0;
}

/* ---------------------------------------------------------------- reading -- */

static int text_orientation(struct png *p)
{
    png_textp text;
    int count = 0, orientation = 0;
    png_get_text(p->png, p->info, &text, &count);
    for (int i = 0; i < count && !orientation; i++)
        if (strcmp(text[i].key, "Raw profile type exif") == 0)
            orientation = exif_orientation_hex(text[i].text, text[i].text_length);
    for (int i = 0; i < count && !orientation; i++)
        if (strcmp(text[i].key, "XML:com.adobe.xmp") == 0)
            orientation = exif_orientation_xmp((const uint8_t *)text[i].text,
                                               text[i].itxt_length ? text[i].itxt_length
                                                                   : text[i].text_length);
    return orientation;
}

static int orientation_of(struct png *p)
{
    int orientation = 0;
#ifdef PNG_eXIf_SUPPORTED
    png_bytep exif;
    png_uint_32 size;
    if (png_get_eXIf_1(p->png, p->info, &size, &exif))
        orientation = exif_orientation(exif, size);
#endif
    return orientation ? orientation : text_orientation(p);
}

/* Pillow takes levels of 16-bit grey for levels of 8 bits: what is above 255 is white.  (Of 16-bit
 * colours, and of grey with alpha, it takes the upper half.) */
static void clip_grey(struct image *im)
{
    for (int y = 0; y < im->height; y++) {
        uint8_t *row = im->pixels + (size_t)y * (size_t)im->width * RGB;
        for (size_t x = (size_t)im->width; x-- > 0;) {
            uint8_t level = row[2 * x] ? 255 : row[2 * x + 1];
            memset(row + RGB * x, level, RGB);
        }
    }
}

/* Everything but 16-bit grey becomes 8-bit RGB while it is read. */
static void ask_for_rgb(png_structp png, int depth, int color)
{
    if (color == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16)
        png_set_strip_16(png);
    png_set_strip_alpha(png);
    if (!(color & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
}

static void read_png(struct png *p)
{
    png_set_read_fn(p->png, p, on_read);
    png_read_info(p->png, p->info);
    struct image *im = p->im;
    int depth = png_get_bit_depth(p->png, p->info);
    int color = png_get_color_type(p->png, p->info);
    bool is_clipped = color == PNG_COLOR_TYPE_GRAY && depth == 16;
    if (image_allocate(im, p->facts, png_get_image_width(p->png, p->info),
                       png_get_image_height(p->png, p->info), p->e))
        leave(p);

    if (!is_clipped)
        ask_for_rgb(p->png, depth, color);
    int passes = png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
    size_t row_size = (size_t)im->width * RGB;
    if (png_get_rowbytes(p->png, p->info) > row_size)
        png_error(p->png, "unexpected size of rows");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < im->height; y++)
            png_read_row(p->png, im->pixels + (size_t)y * row_size, NULL);
    png_read_end(p->png, p->info);
    if (is_clipped)
        clip_grey(im);
    p->facts->orientation = orientation_of(p);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The sizes come first in the file; libpng has limits of its own, which do not say what they are.
 */
static int check_header(const struct image_facts *f, const uint8_t *bytes, size_t size,
                        struct err *e)
{
    if (size < PNG_HEADER_BYTES)
        return err_set(e, ERR_DATA, "truncated: the PNG data end too early");
    if (memcmp(bytes + 12, "IHDR", 4) != 0)
        return err_set(e, ERR_DATA, "damaged PNG: it does not start with a header");
    return image_check(f, big_endian(bytes + 16), big_endian(bytes + 20), e);
}

int image_read_png(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                   struct err *e)
{
    if (check_header(f, bytes, size, e))
        return -1;
    struct png *p = xcalloc(1, sizeof *p);
    p->bytes = bytes;
    p->size = size;
    p->im = im;
    p->facts = f;
    p->e = e;
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, on_error, ignore);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info)
        mem_die("no memory left for libpng");
    int failed = go(p, read_png);
    png_destroy_read_struct(&p->png, &p->info, NULL);
    free(p);
    return failed;
}

/* ---------------------------------------------------------------- writing -- */

static void write_png(struct png *p)
{
    struct image *im = p->im;
    png_set_write_fn(p->png, p, on_write, on_flush);
    png_set_IHDR(p->png, p->info, (png_uint_32)im->width, (png_uint_32)im->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(p->png, p->info);
    for (int y = 0; y < im->height; y++)
        png_write_row(p->png, im->pixels + (size_t)y * (size_t)im->width * RGB);
    png_write_end(p->png, p->info);
}

int image_write_png(const struct image *im, const char *path, struct err *e)
{
    struct file_writer out;
    if (file_writer_open(&out, path, e)) {
        file_writer_abort(&out);
        return -1;
    }
    struct image copy = *im;
    struct png *p = xcalloc(1, sizeof *p);
    p->im = &copy;
    p->out = &out;
    p->e = e;
    p->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, p, on_error, ignore);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info)
        mem_die("no memory left for libpng");
    int failed = go(p, write_png);
    png_destroy_write_struct(&p->png, &p->info);
    free(p);
    if (!failed)
        failed = file_writer_commit(&out, NULL, e);
    file_writer_abort(&out);
    return failed;
}
