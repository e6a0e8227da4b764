/* speech_testing.h - what tests of transcripts share: the tiny Whisper of tests/data/whisper, whose
 * window is 2 s, and clips for it. */
#ifndef SPEECH_TESTING_H
#define SPEECH_TESTING_H

#include "data_testing.h"

enum { WINDOW_SAMPLES = 32000, WINDOW_FRAMES = 200 };

struct speech_kit {
    struct tokenizer *tokenizer;
    struct chat_format chat;
    struct mel *mel;
    struct data_format format;            /* records that do not say are in English */
};

/* `name`: "v2", "v3", "en". */
static inline void speech_kit_open(struct speech_kit *k, const char *name)
{
    struct err e = {0};
    struct mel_config mel;
    char *dir = path_join("tests/data/whisper", name);
    memset(k, 0, sizeof *k);
    k->tokenizer = tokenizer_open(dir, &e);
    assert_ok(e);
    int failed = chat_format_open(&k->chat, dir, k->tokenizer, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(mel_config_read(&mel, dir, &e), 0);
    k->mel = mel_new(&mel, &e);
    assert_ok(e);
    assert_int_equal(mel_settings(k->mel)->samples_max, WINDOW_SAMPLES);
    k->format = (struct data_format){
        .chat = &k->chat,
        .mel = k->mel,
        .pad_id = k->chat.whisper.end,
        .has_keys = true,
        .crossing = {.is_used = true, .language = "en", .has_whole_window = true}};
    free(dir);
}

static inline void speech_kit_close(struct speech_kit *k)
{
    mel_free(k->mel);
    tokenizer_free(k->tokenizer);
}

/* A record whose files lie in the folder as a sample. */
static inline int speech_make(struct sample *s, const struct data_format *f, const char *dir,
                              const char *line, enum sample_purpose purpose, struct err *e)
{
    struct record r;
    struct record_place place = {.where = "a.jsonl:3", .dir = dir, .prompt = f->prompt};
    if (record_parse(&r, line, strlen(line), &place, e)) {
        memset(s, 0, sizeof *s);
        return -1;
    }
    int failed = sample_make(s, f, &r, purpose, e);
    record_release(&r);
    return failed;
}

static inline struct sample speech_good(const struct data_format *f, const char *line)
{
    struct err e = {0};
    struct sample s;
    int failed = speech_make(&s, f, kit.folder, line, SAMPLE_TRAIN, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return s;
}

/* The tokens first .. first + count - 1 say this, times as <|1.24|>. */
static inline void check_spelt(const struct speech_kit *k, const int32_t *ids, int count,
                               const char *expected)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < count; i++) {
        double time = whisper_time_of(&k->chat.whisper, ids[i]);
        if (time >= 0)
            buf_printf(&b, "<|%.2f|>", time);
        else
            assert_int_equal(tokenizer_decode(k->tokenizer, ids + i, 1, false, &b, &e), 0);
    }
    assert_string_equal(b.data, expected);
    buf_release(&b);
}

#endif
