/* data_testing.h - what tests of the data side share: Gemma's chat format on a small tokenizer, mel
 * features, and folders with records, clips and shards. */
#ifndef DATA_TESTING_H
#define DATA_TESTING_H

#include "testing.h"

#include "tar_testing.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/manifest.h"
#include "data/sample.h"
#include "media/image.h"

struct kit {
    struct tokenizer *tokenizer;
    struct chat_format chat;
    struct mel *mel;
    struct picture_config picture;
    struct data_format format;
    char *folder;
};

static inline void kit_open(struct kit *k)
{
    struct err e = {0};
    struct mel_config mel;
    memset(k, 0, sizeof *k);
    mel_config_gemma4(&mel);
    k->mel = mel_new(&mel, &e);
    k->tokenizer = tokenizer_open("tests/data/text/gemma.json", &e);
    assert_ok(e);
    assert_int_equal(chat_format_init(&k->chat, "gemma4", NULL, k->tokenizer, &e), 0);
    k->picture = (struct picture_config){
        .patch = 16, .pool = 3, .tokens_max = 20, .frame_tokens_max = 6, .frames_max = 4};
    k->format = (struct data_format){.chat = &k->chat,
                                     .mel = k->mel,
                                     .picture = &k->picture,
                                     .pad_id = 0,
                                     .max_tokens = 500,
                                     .has_keys = true};
    k->folder = testing_folder();
}

static inline void kit_close(struct kit *k)
{
    struct err e = {0};
    mel_free(k->mel);
    tokenizer_free(k->tokenizer);
    assert_int_equal(dir_remove(k->folder, &e), 0);
    free(k->folder);
}

/* The kit of a whole test program, opened and closed around its group of tests. */
static struct kit kit;

static inline int kit_set_up(void **state)
{
    (void)state;
    kit_open(&kit);
    return 0;
}

static inline int kit_tear_down(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* Write a file into the kit's folder; the caller frees its path. */
static inline char *kit_write(const struct kit *k, const char *name, const void *bytes, size_t size)
{
    struct err e = {0};
    char *path = path_join(k->folder, name);
    assert_int_equal(file_write(path, bytes, size, &e), 0);
    return path;
}

/* A WAV file of 16 kHz: a tone of this loudness, different for every `pitch`.  The caller frees. */
static inline unsigned char *tone(int samples, double level, int pitch, size_t *size)
{
    *size = 44 + 2 * (size_t)samples;
    unsigned char *wav = xcalloc(1, *size);
    static const unsigned char head[44] = {'R', 'I', 'F',  'F',  0,   0,   0,   0,    'W', 'A', 'V',
                                           'E', 'f', 'm',  't',  ' ', 16,  0,   0,    0,   1,   0,
                                           1,   0,   0x80, 0x3e, 0,   0,   0,   0x7d, 0,   0,   2,
                                           0,   16,  0,    'd',  'a', 't', 'a', 0,    0,   0,   0};
    memcpy(wav, head, 44);
    for (int i = 0; i < 4; i++) {
        wav[4 + i] = (unsigned char)((*size - 8) >> (8 * i));
        wav[40 + i] = (unsigned char)((*size - 44) >> (8 * i));
    }
    for (int i = 0; i < samples; i++) {
        int v = (int)lrint(32767 * level * sin(2 * M_PI * (200 + pitch) * i / 16000));
        wav[44 + 2 * i] = (unsigned char)(v & 0xff);
        wav[45 + 2 * i] = (unsigned char)(v >> 8 & 0xff);
    }
    return wav;
}

static inline void kit_write_tone(const struct kit *k, const char *name, int samples, double level,
                                  int pitch)
{
    size_t size;
    unsigned char *wav = tone(samples, level, pitch, &size);
    free(kit_write(k, name, wav, size));
    free(wav);
}

/* A picture of one colour. */
static inline void kit_write_picture(const struct kit *k, const char *name, int width, int height,
                                     uint32_t rgb)
{
    struct err e = {0};
    struct image im = {.width = width, .height = height};
    im.pixels = xcalloc((size_t)width * (size_t)height, 3);
    for (int i = 0; i < width * height; i++)
        for (int c = 0; c < 3; c++)
            im.pixels[3 * i + c] = (uint8_t)(rgb >> (16 - 8 * c));
    char *path = path_join(k->folder, name);
    int failed = image_write_png(&im, path, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    free(path);
    image_release(&im);
}

/* A file of the tests' data under a name in the kit's folder. */
static inline void kit_copy(const struct kit *k, const char *name, const char *from)
{
    struct err e = {0};
    size_t size;
    char *bytes = file_read(from, 1 << 20, &size, &e);
    assert_ok(e);
    free(kit_write(k, name, bytes, size));
    free(bytes);
}

/* ------------------------------------------------------------------ shards -- */

/* Add samples first .. first + count - 1 to an archive: a clip and a text each, whose "id" is the
 * number.  Without `samples_max` there are no clips. */
static inline void add_samples(struct buf *tar, int first, int count, int samples_max)
{
    for (int i = first; i < first + count; i++) {
        char name[40], text[100];
        snprintf(name, sizeof name, "s/%06d.json", i);
        if (samples_max)
            snprintf(text, sizeof text, "{\"id\": %d, \"text\": \"tone %d\"}", i, i);
        else
            snprintf(text, sizeof text,
                     "{\"id\": %d, \"prompt\": \"%d\", \"completion\": \"%.*s\"}", i, i,
                     i * 7 % 23 + 1, "abcdefghijklmnopqrstuvw");
        tar_add(tar, name, text);
        if (!samples_max)
            continue;
        size_t size;
        unsigned char *wav = tone(samples_max / 4 + samples_max / 16 * (i * 5 % 13), 0.3, i, &size);
        snprintf(name, sizeof name, "s/%06d.wav", i);
        tar_add_bytes(tar, name, '0', wav, size);
        free(wav);
    }
}

/* Write a shard of samples into a folder; the caller frees its path. */
static inline char *write_shard(const char *folder, const char *name, int first, int count,
                                int samples_max)
{
    struct err e = {0};
    struct buf tar;
    buf_init(&tar, 64 << 20);
    add_samples(&tar, first, count, samples_max);
    tar_end(&tar);
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, tar.data, tar.size, &e), 0);
    buf_release(&tar);
    return path;
}

/* Open a manifest of files that are here. */
static inline struct manifest open_files(char *const *paths, int count, const double *weights)
{
    struct err e = {0};
    struct manifest m;
    struct manifest_options o = {.patterns = paths, .pattern_count = count, .weights = weights};
    int failed = manifest_open(&m, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return m;
}

#endif
