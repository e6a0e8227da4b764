/* make_shapes.c - writes records of drawn shapes, each with a sound if asked, for tests: the same
 * arguments, the same bytes.
 *
 *     make_shapes DIR [KEY=VALUE...]
 *
 *     name=train       DIR/NAME.jsonl, and the media in DIR/NAME/
 *     records=64
 *     seed=1
 *     sound=no         yes: a WAV beside each picture, and the text names both
 *     ppm=no           yes: pictures as PPM instead of PNG, which nothing but other tools reads
 *
 * A picture has one shape of 4 in one of 6 colours, anywhere, on a dim noisy ground;
 * its sides differ.  A sound is one of 4: a low or high tone, two beeps, or noise.  The text is
 * "red circle" or "red circle, high tone".
 */
#include "base/buf.h"
#include "base/dir.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "media/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = 16000, WAV_HEAD = 44, SAMPLES = RATE / 2, SIDE_LEAST = 96, SIDE_MORE = 48 };
enum { CHOICE = 1, PLACE, GROUND, SOUND };  /* streams of random numbers */
enum { SHAPES = 4, COLORS = 6, SOUNDS = 4 };
#define TURN 6.283185307179586

struct settings {
    const char *dir, *name;
    int records;
    uint64_t seed;
    bool has_sound, is_ppm;
};

static const char *const shape_names[SHAPES] = {"circle", "ring", "bar", "grid"};
static const char *const color_names[COLORS] = {"red", "green", "blue", "yellow", "white", "pink"};
static const int colors[COLORS][3] = {{230, 30, 30},  {30, 200, 40},   {40, 70, 240},
                                      {240, 220, 30}, {245, 245, 245}, {240, 60, 200}};
static const char *const sound_names[SOUNDS] = {"low tone", "high tone", "two beeps", "noise"};

static int choose(const struct settings *s, int record, int what, int n)
{
    return (int)rng_below(s->seed, CHOICE, (uint64_t)record * 8 + (uint64_t)what, (uint64_t)n);
}

static double place(const struct settings *s, int record, int what)
{
    return rng_uniform(s->seed, PLACE, (uint64_t)record * 8 + (uint64_t)what);
}

/* ---------------------------------------------------------------- drawing -- */

/* Is the point, in units of the shape's radius from its middle, inside? */
static bool is_inside(int shape, double x, double y)
{
    switch (shape) {
    case 0: return x * x + y * y < 1;
    case 1: return x * x + y * y < 1 && x * x + y * y > 0.5;
    case 2: return fabs(y) < 0.3 && fabs(x) < 1;
    default:
        return fabs(x) < 1 && fabs(y) < 1 && (fmod(x + 1, 0.5) < 0.15 || fmod(y + 1, 0.5) < 0.15);
    }
}

static void draw(const struct settings *s, int record, struct image *im)
{
    im->width = SIDE_LEAST + choose(s, record, 2, SIDE_MORE);
    im->height = SIDE_LEAST + choose(s, record, 3, SIDE_MORE);
    im->pixels = xcalloc((size_t)im->width * (size_t)im->height, 3);
    int shape = choose(s, record, 0, SHAPES), color = choose(s, record, 1, COLORS);
    double radius = SIDE_LEAST * (0.28 + 0.14 * place(s, record, 0));
    double at_x = radius + (im->width - 2 * radius) * place(s, record, 1);
    double at_y = radius + (im->height - 2 * radius) * place(s, record, 2);
    for (int y = 0; y < im->height; y++) {
        for (int x = 0; x < im->width; x++) {
            size_t i = (size_t)y * (size_t)im->width + (size_t)x;
            uint64_t noise = rng_u64(s->seed, GROUND, ((uint64_t)record << 24) + i);
            bool is_shape = is_inside(shape, (x - at_x) / radius, (y - at_y) / radius);
            for (int c = 0; c < 3; c++) {
                int grain = (int)(noise >> (8 * c) & 31);
                int level = is_shape ? colors[color][c] - 16 + grain : 40 + grain;
                im->pixels[3 * i + (size_t)c] = (uint8_t)(level < 0     ? 0
                                                          : level > 255 ? 255
                                                                        : level);
            }
        }
    }
}

static int write_picture(const struct settings *s, int record, const char *path, struct err *e)
{
    struct image im = {0};
    draw(s, record, &im);
    int rc;
    if (s->is_ppm) {
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_printf(&b, "P6\n%d %d\n255\n", im.width, im.height);
        buf_add(&b, im.pixels, 3 * (size_t)im.width * (size_t)im.height);
        rc = buf_check(&b, path, e) || file_write(path, b.data, b.size, e);
        buf_release(&b);
    } else {
        rc = image_write_png(&im, path, e);
    }
    free(im.pixels);
    return rc ? -1 : 0;
}

/* ------------------------------------------------------------------ sound -- */

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static double sound_at(const struct settings *s, int record, int kind, int i)
{
    double t = (double)i / RATE, pitch = 1 + 0.2 * place(s, record, 3);
    switch (kind) {
    case 0: return sin(TURN * 200 * pitch * t);
    case 1: return sin(TURN * 1500 * pitch * t);
    case 2: return i % (SAMPLES / 2) < SAMPLES / 4 ? sin(TURN * 700 * pitch * t) : 0;
    default: return 2 * rng_uniform(s->seed, SOUND, ((uint64_t)record << 20) + (uint64_t)i) - 1;
    }
}

static int write_sound(const struct settings *s, int record, int kind, const char *path,
                       struct err *e)
{
    unsigned char *wav = xcalloc(WAV_HEAD + 2 * SAMPLES, 1);
    memcpy(wav, "RIFF....WAVEfmt ....\1\0\1\0........\2\0\20\0data....", WAV_HEAD);
    put32(wav + 4, 2 * SAMPLES + WAV_HEAD - 8);
    put32(wav + 16, 16);
    put32(wav + 24, RATE);
    put32(wav + 28, RATE * 2);
    put32(wav + 40, 2 * SAMPLES);
    for (int i = 0; i < SAMPLES; i++) {
        int x = (int)(8000 * sound_at(s, record, kind, i));
        wav[WAV_HEAD + 2 * i] = (unsigned char)(x & 255);
        wav[WAV_HEAD + 2 * i + 1] = (unsigned char)(x >> 8 & 255);
    }
    int rc = file_write(path, wav, WAV_HEAD + 2 * SAMPLES, e);
    free(wav);
    return rc;
}

/* ---------------------------------------------------------------- records -- */

static int write_record(const struct settings *s, int record, struct buf *table, struct err *e)
{
    int kind = choose(s, record, 4, SOUNDS);
    char *image = xasprintf("%s/%05d.%s", s->name, record, s->is_ppm ? "ppm" : "png");
    char *sound = xasprintf("%s/%05d.wav", s->name, record);
    char *path = path_join(s->dir, image), *sound_path = path_join(s->dir, sound);
    char *text = xasprintf("%s %s%s%s", color_names[choose(s, record, 1, COLORS)],
                           shape_names[choose(s, record, 0, SHAPES)], s->has_sound ? ", " : "",
                           s->has_sound ? sound_names[kind] : "");
    json_t *o = json_object();
    json_put_str(o, "image", image);
    if (s->has_sound)
        json_put_str(o, "audio", sound);
    json_put_str(o, "text", text);
    json_write_compact(o, table);
    buf_add_char(table, '\n');
    json_decref(o);
    int rc = write_picture(s, record, path, e);
    if (!rc && s->has_sound)
        rc = write_sound(s, record, kind, sound_path, e);
    free(image);
    free(sound);
    free(path);
    free(sound_path);
    free(text);
    return rc;
}

static int write_all(const struct settings *s, struct err *e)
{
    struct buf table;
    char *folder = path_join(s->dir, s->name), *path = xasprintf("%s/%s.jsonl", s->dir, s->name);
    buf_init(&table, 64 << 20);
    int rc = dir_make(folder, e);
    for (int i = 0; i < s->records && !rc; i++)
        rc = write_record(s, i, &table, e);
    rc = rc || buf_check(&table, path, e) || file_write(path, table.data, table.size, e);
    buf_release(&table);
    free(folder);
    free(path);
    return rc ? -1 : 0;
}

static int set(struct settings *s, const char *key, const char *value)
{
    if (!strcmp(key, "name"))
        s->name = value;
    else if (!strcmp(key, "records"))
        s->records = atoi(value);
    else if (!strcmp(key, "seed"))
        s->seed = strtoull(value, NULL, 10);
    else if (!strcmp(key, "sound"))
        s->has_sound = !strcmp(value, "yes");
    else if (!strcmp(key, "ppm"))
        s->is_ppm = !strcmp(value, "yes");
    else
        return -1;
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct settings s = {.name = "train", .records = 64, .seed = 1};
    if (argc < 2) {
        fprintf(stderr, "usage: make_shapes DIR [KEY=VALUE...]\n");
        return 2;
    }
    s.dir = argv[1];
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = 0;
        if (!value || set(&s, argv[i], value)) {
            fprintf(stderr, "make_shapes: %s: unknown setting\n", argv[i]);
            return 2;
        }
    }
    if (write_all(&s, &e)) {
        fprintf(stderr, "make_shapes: %s\n", e.text);
        return 1;
    }
    return 0;
}
