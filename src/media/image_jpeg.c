/* image_jpeg.c - see image_parts.h.  JPEG by libjpeg-turbo.
 *
 * libjpeg reports by calling back, and wants its callbacks not to return after an error: one
 * longjmp, from refuse() to go().
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "base/mem.h"
#include "media/image_parts.h"

enum {
    RGB = 3,
    CMYK = 4,
    APP1 = JPEG_APP0 + 1,
    /* A progressive picture is gone through once a scan.  Common encoders make ten. */
    JPEG_SCANS_MAX = 200,
    EXIF_BYTES_MAX = 1 << 20,      /* of all EXIF segments: the first has the orientation */
};

struct jpeg {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf refused;
    struct image *im;
    struct image_facts *facts;
    uint8_t *row;                  /* CMYK [width,4] */
    uint8_t *exif;
    struct err *e;
};

/* ----------------------------------------------------------------- errors -- */

static const char save_again[] = "save it again as an ordinary JPEG or as PNG";

_Noreturn static void refuse(struct jpeg *j)
{
    longjmp(j->refused, 1);
}

_Noreturn static void refuse_damaged(struct jpeg *j)
{
    char text[JMSG_LENGTH_MAX];
    switch (j->errors.msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JERR_INPUT_EOF:
    case JERR_INPUT_EMPTY: err_set(j->e, ERR_DATA, "truncated: the JPEG data end too early"); break;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        j->errors.format_message((j_common_ptr)&j->d, text);
        err_set(j->e, ERR_DATA, "unusual JPEG (libjpeg: %s)", text);
        err_hint(j->e, "%s", save_again);
        break;
    default:
        j->errors.format_message((j_common_ptr)&j->d, text);
        err_set(j->e, ERR_DATA, "damaged JPEG (libjpeg: %s)", text);
    }
    refuse(j);
}

static void on_error(j_common_ptr d)
{
    refuse_damaged(d->client_data);
}

/* Most warnings mean that pixels were made up.  These do not. */
static void on_message(j_common_ptr d, int level)
{
    struct jpeg *j = d->client_data;
    if (level >= 0)
        return;
    switch (j->errors.msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_TOO_MUCH_DATA: return;
    default: refuse_damaged(j);
    }
}

static void on_progress(j_common_ptr d)
{
    struct jpeg *j = d->client_data;
    if (j->d.input_scan_number <= JPEG_SCANS_MAX)
        return;
    err_set(j->e, ERR_DATA, "JPEG with more than %d scans", JPEG_SCANS_MAX);
    refuse(j);
}

/* --------------------------------------------------------------- decoding -- */

static void check_kind(struct jpeg *j)
{
    if (j->d.arith_code)
        err_set(j->e, ERR_DATA, "JPEG with arithmetic coding, which is not supported");
    else if (j->d.data_precision != 8)
        err_set(j->e, ERR_DATA, "JPEG with %d bits a colour, expected 8", j->d.data_precision);
    else if (j->d.num_components != 1 && j->d.num_components != 3 && j->d.num_components != 4)
        err_set(j->e, ERR_DATA, "JPEG with %d colours, expected 1, 3 or 4", j->d.num_components);
    else
        return;
    err_hint(j->e, "%s", save_again);
    refuse(j);
}

/* Every APP1 segment that starts with `name`, put together; the first part keeps the name. */
static size_t join_segments(struct jpeg *j, const char *name, size_t name_size)
{
    size_t size = 0;
    for (jpeg_saved_marker_ptr m = j->d.marker_list; m; m = m->next) {
        size_t skip = size ? name_size : 0, n = m->data_length;
        if (m->marker != APP1 || n < name_size || memcmp(m->data, name, name_size) != 0)
            continue;
        if (size + n - skip > EXIF_BYTES_MAX)
            break;
        j->exif = xrealloc(j->exif, size + n - skip);
        memcpy(j->exif + size, m->data + skip, n - skip);
        size += n - skip;
    }
    return size;
}

static int orientation_of(struct jpeg *j)
{
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/";
    size_t size = join_segments(j, "Exif\0", 6);
    int orientation = exif_orientation(j->exif, size);
    for (jpeg_saved_marker_ptr m = j->d.marker_list; m && !orientation; m = m->next)
        if (m->marker == APP1 && m->data_length > sizeof xmp &&
            memcmp(m->data, xmp, sizeof xmp) == 0)
            orientation = exif_orientation_xmp(m->data, m->data_length);
    return orientation;
}

/* Adobe writes CMYK inverted, and everybody does as Adobe. */
static void cmyk_to_rgb(uint8_t *out, const uint8_t *in, int width)
{
    for (int x = 0; x < width; x++, in += CMYK, out += RGB) {
        int white = in[3];
        for (int c = 0; c < RGB; c++) {
            int t = (255 - in[c]) * white + 128;
            int level = white - (((t >> 8) + t) >> 8);
            out[c] = (uint8_t)(level < 0 ? 0 : level);
        }
    }
}

static void read_rows(struct jpeg *j)
{
    struct image *im = j->im;
    size_t row_size = (size_t)im->width * RGB;
    bool is_cmyk = j->d.out_color_space == JCS_CMYK;
    if (is_cmyk)
        j->row = xmalloc((size_t)im->width * CMYK);
    while (j->d.output_scanline < j->d.output_height) {
        uint8_t *out = im->pixels + j->d.output_scanline * row_size;
        JSAMPROW row = is_cmyk ? j->row : out;
        if (jpeg_read_scanlines(&j->d, &row, 1) != 1)
            refuse_damaged(j);
        if (is_cmyk)
            cmyk_to_rgb(out, j->row, im->width);
    }
}

static void decode(struct jpeg *j, const uint8_t *bytes, size_t size)
{
    jpeg_create_decompress(&j->d);
    jpeg_mem_src(&j->d, bytes, (unsigned long)size);
    jpeg_save_markers(&j->d, APP1, 0xffff);
    j->progress.progress_monitor = on_progress;
    j->d.progress = &j->progress;

    jpeg_read_header(&j->d, TRUE);
    check_kind(j);
    if (image_allocate(j->im, j->facts, j->d.image_width, j->d.image_height, j->e))
        refuse(j);
    j->facts->orientation = orientation_of(j);

    j->d.out_color_space = j->d.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&j->d);
    read_rows(j);
    jpeg_finish_decompress(&j->d);
}

static int go(struct jpeg *j, const uint8_t *bytes, size_t size)
{
    if (setjmp(j->refused))
        return -1;
    decode(j, bytes, size);
    return 0;
}

int image_read_jpeg(struct image *im, struct image_facts *f, const uint8_t *bytes, size_t size,
                    struct err *e)
{
    struct jpeg *j = xcalloc(1, sizeof *j);
    j->im = im;
    j->facts = f;
    j->e = e;
    j->d.err = jpeg_std_error(&j->errors);
    j->d.client_data = j;
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    int failed = go(j, bytes, size);
    jpeg_destroy_decompress(&j->d);
    free(j->row);
    free(j->exif);
    free(j);
    return failed;
}
