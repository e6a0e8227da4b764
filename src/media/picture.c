/* picture.c - see picture.h. */
#include "media/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "media/resize.h"

enum {
    RGB = 3,
    CONFIG_BYTES_MAX = 4 << 20,
    PATCH_MAX = 256,               /* pixels */
    POOL_MAX = 16,
    FRAMES_MAX = 1024,
    BICUBIC = 3,                   /* of Pillow's filters */
};

const int picture_budgets[PICTURE_BUDGETS] = {70, 140, 280, 560, 1120};

/* --------------------------------------------------------------- settings -- */

void picture_config_gemma4(struct picture_config *c, bool is_merged)
{
    *c = (struct picture_config){.patch = 16,
                                 .pool = 3,
                                 .is_merged = is_merged,
                                 .tokens_max = 280,
                                 .frame_tokens_max = 70,
                                 .frames_max = 32};
}

bool picture_is_budget(int tokens)
{
    for (int i = 0; i < PICTURE_BUDGETS; i++)
        if (picture_budgets[i] == tokens)
            return true;
    return false;
}

static int read_count(const json_t *o, const char *key, int fallback, int max, struct err *e)
{
    int64_t n = json_get_int(o, key, fallback, e);
    if (!e->kind && (n < 1 || n > max))
        err_set(e, ERR_USAGE, "%s: found %lld, allowed are 1 to %d", key, (long long)n, max);
    return e->kind ? fallback : (int)n;
}

static int read_budget(const json_t *o, int fallback, struct err *e)
{
    int64_t n = json_get_int(o, "max_soft_tokens", fallback, e);
    if (!e->kind && (n < 0 || n > INT32_MAX || !picture_is_budget((int)n)))
        err_set(e, ERR_USAGE, "max_soft_tokens: found %lld, expected 70, 140, 280, 560 or 1120",
                (long long)n);
    return e->kind ? fallback : (int)n;
}

/* One number, or a list of them, all equal to `value`. */
static void need_all(const json_t *o, const char *key, double value, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; v && !json_is_null(v) && i < n; i++) {
        const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_number(item))
            err_set(e, ERR_USAGE, "%s: found %s, expected a number", key, json_kind_name(item));
        else if (json_number_value(item) != value)
            err_set(e, ERR_USAGE, "%s: found %g, only %g is supported", key,
                    json_number_value(item), value);
    }
}

static void need_true(const json_t *o, const char *key, struct err *e)
{
    if (!json_get_bool(o, key, true, e))
        err_set(e, ERR_USAGE, "%s: only true is supported", key);
}

/* The steps between a picture and its numbers, which images and videos have in common. */
static void check_steps(const json_t *o, struct err *e)
{
    need_true(o, "do_resize", e);
    need_true(o, "do_rescale", e);
    double factor = json_get_double(o, "rescale_factor", 1.0 / 255, e);
    if (!(fabs(factor * 255 - 1) < 1e-6))
        err_set(e, ERR_USAGE, "rescale_factor: found %g, only 1/255 is supported", factor);
    int64_t filter = json_get_int(o, "resample", BICUBIC, e);
    if (filter != BICUBIC)
        err_set(e, ERR_USAGE, "resample: found %lld, only %d (bicubic) is supported",
                (long long)filter, BICUBIC);
    if (json_get_bool(o, "do_normalize", false, e)) {
        need_all(o, "image_mean", 0, e);
        need_all(o, "image_std", 1, e);
    }
}

static void check_type(const json_t *o, const char *key, const char *kind, struct err *e)
{
    const char *type = json_get_str(o, key, NULL, e);
    if (type && (strncmp(type, "Gemma4", 6) != 0 || !strstr(type, kind)))
        err_set(e, ERR_USAGE, "%s: \"%s\" is not supported", key, type);
}

static void read_images(struct picture_config *c, const json_t *o, struct err *e)
{
    check_type(o, "image_processor_type", "ImageProcessor", e);
    check_steps(o, e);
    c->patch = read_count(o, "patch_size", c->patch, PATCH_MAX, e);
    c->pool = read_count(o, "pooling_kernel_size", c->pool, POOL_MAX, e);
    c->tokens_max = read_budget(o, c->tokens_max, e);
}

static void read_videos(struct picture_config *c, const json_t *o, struct err *e)
{
    check_type(o, "video_processor_type", "VideoProcessor", e);
    check_steps(o, e);
    need_true(o, "do_sample_frames", e);
    if (!json_is_null(json_object_get(o, "fps")) && json_object_get(o, "fps"))
        err_set(e, ERR_USAGE, "fps: frames are chosen by num_frames; only null is supported");
    int patch = read_count(o, "patch_size", c->patch, PATCH_MAX, e);
    int pool = read_count(o, "pooling_kernel_size", c->pool, POOL_MAX, e);
    if (patch != c->patch || pool != c->pool)
        err_set(e, ERR_USAGE,
                "patch_size, pooling_kernel_size: found %d and %d for videos, %d and %d for images",
                patch, pool, c->patch, c->pool);
    c->frame_tokens_max = read_budget(o, c->frame_tokens_max, e);
    c->frames_max = read_count(o, "num_frames", c->frames_max, FRAMES_MAX, e);
}

/* ---------------------------------------------------------- setting files -- */

/* Where settings may lie: under a key of the file that holds all, or in a file of their own,
 * which is theirs when it has `mark`. */
struct place {
    const char *key, *file, *mark;
    void (*read)(struct picture_config *c, const json_t *o, struct err *e);
};

static const struct place places[] = {
    {"image_processor", "preprocessor_config.json", "image_processor_type", read_images},
    {"video_processor", "video_preprocessor_config.json", "video_processor_type", read_videos},
};

/* Whether the file has these settings; then they are read. */
static bool read_file(struct picture_config *c, const struct place *p, const char *dir,
                      const char *name, const char *key, struct err *e)
{
    char *path = path_join(dir, name);
    json_t *file = file_exists(path) ? json_read_file(path, CONFIG_BYTES_MAX, e) : NULL;
    const json_t *o = NULL;
    if (file && key)
        o = json_get_object(file, key, e);
    else if (file && json_object_get(file, p->mark))
        o = file;
    if (o)
        p->read(c, o, e);
    if (e->kind && key)
        err_in(e, "%s", key);
    if (e->kind)
        err_in(e, "%s", path);
    json_decref(file);
    free(path);
    return o != NULL;
}

int picture_config_read(struct picture_config *c, const char *dir, bool is_merged, struct err *e)
{
    picture_config_gemma4(c, is_merged);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const struct place *p = &places[i];
        if (!read_file(c, p, dir, "processor_config.json", p->key, e) && !e->kind)
            read_file(c, p, dir, p->file, NULL, e);
        if (e->kind)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------ sizes -- */

/* Pixels a side of what becomes one soft token. */
static int token_side(const struct picture_config *c)
{
    return c->patch * c->pool;
}

static int patch_side(const struct picture_config *c)
{
    return c->is_merged ? token_side(c) : c->patch;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* transformers, get_aspect_ratio_preserving_size, in the same order of operations. */
int picture_size(const struct picture_config *c, int tokens_max, int width, int height,
                 int *to_width, int *to_height, struct err *e)
{
    if (width < 1 || height < 1)
        return err_set(e, ERR_DATA, "found %d x %d pixels, expected at least 1 x 1", width, height);
    int side = token_side(c);
    double target = (double)tokens_max * side * side;
    double factor = sqrt(target / ((double)width * height));
    int across = (int)floor(factor * width / side);
    int down = (int)floor(factor * height / side);

    /* One side would vanish: it becomes one token, and the other is cut to the budget. */
    if (down == 0 && across > 0) {
        down = 1;
        across = min_int(width / height, tokens_max);
    } else if (across == 0 && down > 0) {
        across = 1;
        down = min_int(height / width, tokens_max);
    }
    if (across == 0 || down == 0 || (int64_t)across * down > tokens_max)
        return err_set(e, ERR_DATA,
                       "%d x %d pixels do not fit into %d soft tokens of %d x %d pixels", width,
                       height, tokens_max, side, side);
    *to_width = across * side;
    *to_height = down * side;
    return 0;
}

int picture_patch_numbers(const struct picture_config *c)
{
    return patch_side(c) * patch_side(c) * RGB;
}

int picture_patches(const struct picture_config *c, int soft_tokens)
{
    return c->is_merged ? soft_tokens : soft_tokens * c->pool * c->pool;
}

/* ---------------------------------------------------------------- patches -- */

/* A patch is `side` pieces of rows of a picture.  Copies them all, from or to the picture. */
static void copy_patches(uint8_t *patches, uint8_t *pixels, int across, int down, int side,
                         bool to_patches)
{
    size_t piece = (size_t)side * RGB, row_size = (size_t)across * piece;
    for (int v = 0; v < down; v++)
        for (int u = 0; u < across; u++)
            for (int y = 0; y < side; y++, patches += piece) {
                uint8_t *row = pixels + (size_t)(v * side + y) * row_size + (size_t)u * piece;
                memcpy(to_patches ? patches : row, to_patches ? row : patches, piece);
            }
}

int picture_make(struct picture *p, const struct picture_config *c, int tokens_max,
                 const struct image *im, struct err *e)
{
    memset(p, 0, sizeof *p);
    int width = 0, height = 0;
    if (picture_size(c, tokens_max, im->width, im->height, &width, &height, e))
        return -1;
    struct image resized;
    image_resize(&resized, im, width, height);

    int side = patch_side(c);
    p->across = width / side;
    p->down = height / side;
    p->soft_tokens = width / token_side(c) * (height / token_side(c));
    p->patches = xmalloc((size_t)width * (size_t)height * RGB);
    copy_patches(p->patches, resized.pixels, p->across, p->down, side, true);
    image_release(&resized);
    return 0;
}

void picture_release(struct picture *p)
{
    free(p->patches);
    memset(p, 0, sizeof *p);
}

void picture_to_image(struct image *im, const struct picture *p, const struct picture_config *c)
{
    int side = patch_side(c);
    memset(im, 0, sizeof *im);
    im->width = p->across * side;
    im->height = p->down * side;
    im->pixels = xmalloc((size_t)im->width * (size_t)im->height * RGB);
    copy_patches(p->patches, im->pixels, p->across, p->down, side, false);
}
