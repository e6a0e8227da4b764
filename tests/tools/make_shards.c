/* make_shards.c - writes data sets of made-up sound for tests: the same arguments, the same bytes.
 *
 *     make_shards DIR [KEY=VALUE...]
 *
 *     layout=tar       tar, jsonl, csv or tsv
 *     shards=4         files
 *     records=8        records a file
 *     seconds=0.5      mean length of a clip; lengths are log-normal (sigma 0.5), 30 s at most
 *     huge=0           above 0: the last record is a clip of so many seconds
 *     seed=1           of everything
 *     key=clip         the records' names: key-000017; may hold slashes in a tar
 *     name=part        the files' names: part-000003.tar
 *     media=           in front of the clips' names in tables (gs://bucket/...)
 *     pad=0            bytes of filling in a further member of each sample of a tar
 *     ids=yes          no: records without "id"
 *
 * A tar holds KEY.json and KEY.wav for each record; tables have their clips in DIR/clips.  Sound is
 * 16-bit PCM, 16 kHz: three tones each.
 */
#include "base/buf.h"
#include "base/dir.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = 16000, WAV_HEAD = 44, BLOCK = 512, FILE_MAX = 1 << 30 };
enum { LENGTH = 1, TONE, WORDS };          /* streams of random numbers */

struct settings {
    const char *dir, *layout, *key, *name, *media;
    int shards, records, pad;
    double seconds, huge;
    uint64_t seed;
    bool has_ids;
};

static const char *const words[] = {"good", "morning", "hello", "there", "call",  "anna", "turn",
                                    "on",   "the",     "light", "set",   "alarm", "for",  "nine"};

static double clip_seconds(const struct settings *s, int record)
{
    if (s->huge > 0 && record == s->shards * s->records - 1)
        return s->huge;
    double sigma = 0.5, z = rng_normal(s->seed, LENGTH, (uint64_t)record);
    double t = s->seconds * exp(sigma * z - sigma * sigma / 2);
    return fmin(fmax(t, 0.1), 30);
}

static void put32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (8 * i));
}

static void add_wav(const struct settings *s, int record, struct buf *out)
{
    int count = (int)(clip_seconds(s, record) * RATE);
    uint32_t bytes = (uint32_t)count * 2;
    char *p = buf_extend(out, WAV_HEAD + (size_t)bytes);
    if (!p)
        return;
    memcpy(p, "RIFF....WAVEfmt ....\1\0\1\0........\2\0\20\0data....", WAV_HEAD);
    put32(p + 4, bytes + WAV_HEAD - 8);
    put32(p + 16, 16);
    put32(p + 24, RATE);
    put32(p + 28, RATE * 2);
    put32(p + 40, bytes);
    double tone[3];
    for (int k = 0; k < 3; k++)
        tone[k] = 100 + 2000 * rng_uniform(s->seed, TONE, (uint64_t)record * 3 + (uint64_t)k);
    for (int i = 0; i < count; i++) {
        double x = 0;
        for (int k = 0; k < 3; k++)
            x += 4000 * sin(6.283185307179586 * tone[k] * i / RATE);
        int v = (int)lrint(x);
        p[WAV_HEAD + 2 * i] = (char)v;
        p[WAV_HEAD + 2 * i + 1] = (char)(v >> 8);
    }
}

static void add_words(const struct settings *s, int record, struct buf *out)
{
    int n = 1 + (int)rng_below(s->seed, WORDS, (uint64_t)record * 16, 6);
    for (int i = 0; i < n; i++) {
        uint64_t at = (uint64_t)record * 16 + 1 + (uint64_t)i;
        uint64_t k = rng_below(s->seed, WORDS, at, sizeof words / sizeof words[0]);
        buf_printf(out, "%s%s", i ? " " : "", words[k]);
    }
}

/* A record as one line of JSON; `audio` NULL: its clip is the member beside it. */
static void add_json(const struct settings *s, int record, const char *audio, struct buf *out)
{
    struct buf text;
    buf_init(&text, 1024);
    add_words(s, record, &text);
    buf_add_char(out, '{');
    if (s->has_ids)
        buf_printf(out, "\"id\": \"%s-%06d\", ", s->key, record);
    if (audio)
        buf_printf(out, "\"audio\": \"%s\", ", audio);
    buf_printf(out, "\"text\": \"%s\", \"duration\": %.4f}", text.data, clip_seconds(s, record));
    buf_release(&text);
}

/* ------------------------------------------------------------------- tars -- */

static void add_member(struct buf *out, const char *name, const void *data, size_t size)
{
    static const char magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
    char head[BLOCK] = {0};
    snprintf(head, 100, "%s", name);
    memcpy(head + 100, "0000644", 8);
    memcpy(head + 108, "0000000", 8);
    memcpy(head + 116, "0000000", 8);
    snprintf(head + 124, 12, "%011llo", (unsigned long long)size);
    snprintf(head + 136, 12, "%011o", 0);
    memset(head + 148, ' ', 8);
    head[156] = '0';
    memcpy(head + 257, magic, sizeof magic);
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    buf_add(out, head, BLOCK);
    buf_add(out, data, size);
    char *end = buf_extend(out, (BLOCK - size % BLOCK) % BLOCK);
    if (end)
        memset(end, 0, (BLOCK - size % BLOCK) % BLOCK);
}

static void add_sample(const struct settings *s, int record, struct buf *out)
{
    char name[100];
    struct buf part;
    buf_init(&part, FILE_MAX);
    add_json(s, record, NULL, &part);
    snprintf(name, sizeof name, "%s-%06d.json", s->key, record);
    add_member(out, name, part.data, part.size);
    buf_clear(&part);
    add_wav(s, record, &part);
    snprintf(name, sizeof name, "%s-%06d.wav", s->key, record);
    add_member(out, name, part.data, part.size);
    if (s->pad) {
        buf_clear(&part);
        char *p = buf_extend(&part, (size_t)s->pad);
        for (int i = 0; p && i < s->pad; i++)
            p[i] = (char)rng_u64(s->seed, WORDS + 1, (uint64_t)record << 32 | (uint64_t)i / 64);
        snprintf(name, sizeof name, "%s-%06d.bin", s->key, record);
        add_member(out, name, part.data, part.size);
    }
    buf_release(&part);
}

static int write_tar(const struct settings *s, int shard, const char *path, struct err *e)
{
    struct buf out;
    static const char end[2 * BLOCK];
    buf_init(&out, FILE_MAX);
    for (int i = 0; i < s->records; i++)
        add_sample(s, shard * s->records + i, &out);
    buf_add(&out, end, sizeof end);
    int failed = buf_check(&out, path, e) || file_write(path, out.data, out.size, e);
    buf_release(&out);
    return failed ? -1 : 0;
}

/* ----------------------------------------------------------------- tables -- */

static int write_clip(const struct settings *s, int record, char *name, size_t size, struct err *e)
{
    struct buf wav;
    buf_init(&wav, FILE_MAX);
    add_wav(s, record, &wav);
    snprintf(name, size, "clips/%s-%06d.wav", s->key, record);
    char *path = xasprintf("%s/%s", s->dir, name);
    int failed = buf_check(&wav, path, e) || file_write(path, wav.data, wav.size, e);
    free(path);
    buf_release(&wav);
    return failed ? -1 : 0;
}

static int write_table(const struct settings *s, int shard, const char *path, struct err *e)
{
    struct buf out;
    char separator = !strcmp(s->layout, "csv") ? ',' : '\t', name[200];
    bool is_json = !strcmp(s->layout, "jsonl");
    int failed = 0;
    buf_init(&out, FILE_MAX);
    if (!is_json)
        buf_printf(&out, "id%caudio%ctext%cduration\n", separator, separator, separator);
    for (int i = 0; i < s->records && !failed; i++) {
        int record = shard * s->records + i;
        failed = write_clip(s, record, name, sizeof name, e);
        char *audio = xasprintf("%s%s", s->media, name);
        if (is_json) {
            add_json(s, record, audio, &out);
        } else {
            buf_printf(&out, "%s-%06d%c%s%c", s->key, record, separator, audio, separator);
            add_words(s, record, &out);
            buf_printf(&out, "%c%.4f", separator, clip_seconds(s, record));
        }
        buf_add_char(&out, '\n');
        free(audio);
    }
    failed = failed || buf_check(&out, path, e) || file_write(path, out.data, out.size, e);
    buf_release(&out);
    return failed ? -1 : 0;
}

/* ------------------------------------------------------------------- main -- */

static int set(struct settings *s, const char *key, const char *value)
{
    const struct {
        const char *key, **text;
        int *number;
        double *real;
    } known[] = {{"layout", &s->layout, NULL, NULL},   {"key", &s->key, NULL, NULL},
                 {"name", &s->name, NULL, NULL},       {"media", &s->media, NULL, NULL},
                 {"shards", NULL, &s->shards, NULL},   {"records", NULL, &s->records, NULL},
                 {"pad", NULL, &s->pad, NULL},         {"seconds", NULL, NULL, &s->seconds},
                 {"huge", NULL, NULL, &s->huge}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(key, known[i].key) != 0)
            continue;
        if (known[i].text)
            *known[i].text = value;
        else if (known[i].number)
            *known[i].number = atoi(value);
        else
            *known[i].real = atof(value);
        return 0;
    }
    if (!strcmp(key, "seed"))
        s->seed = strtoull(value, NULL, 10);
    else if (!strcmp(key, "ids"))
        s->has_ids = strcmp(value, "no") != 0;
    else
        return -1;
    return 0;
}

static int write_all(const struct settings *s, struct err *e)
{
    bool is_tar = !strcmp(s->layout, "tar");
    char *clips = xasprintf("%s/clips", s->dir);
    int failed = dir_make(is_tar ? s->dir : clips, e);
    free(clips);
    for (int i = 0; i < s->shards && !failed; i++) {
        char *path = xasprintf("%s/%s-%06d.%s", s->dir, s->name, i, s->layout);
        failed = is_tar ? write_tar(s, i, path, e) : write_table(s, i, path, e);
        free(path);
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct settings s = {.layout = "tar",
                         .key = "clip",
                         .name = "part",
                         .media = "",
                         .shards = 4,
                         .records = 8,
                         .seconds = 0.5,
                         .seed = 1,
                         .has_ids = true};
    if (argc < 2) {
        fprintf(stderr, "usage: make_shards DIR [KEY=VALUE...]\n");
        return 2;
    }
    s.dir = argv[1];
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = 0;
        if (!value || set(&s, argv[i], value)) {
            fprintf(stderr, "make_shards: %s: unknown setting\n", argv[i]);
            return 2;
        }
    }
    if (write_all(&s, &e)) {
        fprintf(stderr, "make_shards: %s\n", e.text);
        return 1;
    }
    return 0;
}
