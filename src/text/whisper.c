/* whisper.c - see whisper.h. */
#include "text/whisper.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/language.h"
#include "text/unicode.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_MAX_BYTES = 64 << 20,
    POSITIONS_MAX = 1 << 20,   /* of a decoder or an encoder */
    ENGLISH_VOCAB = 51864,     /* of the published models for English only */
};

/* What times may be off by, in seconds: rounding in other programs. */
#define TIME_SLACK 1e-3

/* --------------------------------------------------------- control tokens -- */

static int need_token(const struct tokenizer *t, const char *piece, int32_t *id, struct err *e)
{
    *id = tokenizer_id(t, piece);
    if (*id >= 0)
        return 0;
    err_set(e, ERR_USAGE, "the tokenizer has no token %s", piece);
    return err_hint(e, "is this checkpoint's tokenizer the one it was trained with?");
}

/* Is the piece of this id <|de|>, <|haw|>, ...? */
static bool is_language_piece(const struct tokenizer *t, int32_t id)
{
    const char *piece = tokenizer_piece(t, id);
    size_t size = piece ? strlen(piece) : 0, letters = 0;

    if (size < 4 || memcmp(piece, "<|", 2) != 0 || strcmp(piece + size - 2, "|>") != 0)
        return false;
    for (size_t i = 2; i < size - 2; i++)
        letters += piece[i] >= 'a' && piece[i] <= 'z';
    return letters == size - 4 && (letters == 2 || letters == 3);
}

int whisper_format_init(struct whisper_format *f, const struct tokenizer *t, int vocab,
                        int positions, struct err *e)
{
    *f = (struct whisper_format){.tokenizer = t, .positions = positions};
    if (need_token(t, "<|startoftranscript|>", &f->start, e) ||
        need_token(t, "<|endoftext|>", &f->end, e) ||
        need_token(t, "<|startofprev|>", &f->prev, e) ||
        need_token(t, "<|transcribe|>", &f->transcribe, e) ||
        need_token(t, "<|translate|>", &f->translate, e) ||
        need_token(t, "<|notimestamps|>", &f->no_timestamps, e))
        return -1;
    f->no_speech = tokenizer_id(t, "<|nocaptions|>");
    if (f->no_speech < 0 && need_token(t, "<|nospeech|>", &f->no_speech, e))
        return -1;

    f->first_language = f->start + 1;
    while (f->language_count < LANGUAGES_COUNT &&
           is_language_piece(t, f->first_language + f->language_count))
        f->language_count++;
    f->is_multilingual = f->language_count > 0 && vocab != ENGLISH_VOCAB;
    f->first_time = f->no_timestamps + 1;
    f->time_count = vocab > f->first_time ? vocab - f->first_time : 0;
    return 0;
}

static json_t *read_json(const char *dir, const char *name, struct err *e)
{
    char *path = path_join(dir, name);
    json_t *o = file_exists(path) ? json_read_file(path, CONFIG_MAX_BYTES, e) : json_object();
    free(path);
    return o;
}

/* A size of config.json, within what a decoder may have. */
static int need_size(const json_t *config, const char *key, int max, struct err *e)
{
    int64_t v = json_need_int(config, key, e);
    if (!e->kind && (v < 1 || v > max))
        err_set(e, ERR_DATA, "%s is %lld, expected 1 to %d", key, (long long)v, max);
    return e->kind ? 0 : (int)v;
}

/* Older files do not say whether a model is multilingual, but which tokens its transcripts begin
 * with: [[1, 50259], [2, 50359], [3, 50363]], a language and a task among them or not. */
static bool forces_language(const struct whisper_format *f, const json_t *forced)
{
    for (size_t i = 0; i < json_array_size(forced); i++) {
        json_t *id = json_array_get(json_array_get(forced, i), 1);
        json_int_t v = json_integer_value(id);
        if (json_is_null(id) || v == f->transcribe || v == f->translate ||
            (v >= f->first_language && v < f->first_language + f->language_count))
            return true;
    }
    return false;
}

static void find_multilingual(struct whisper_format *f, const json_t *config,
                              const json_t *generation)
{
    json_t *said = json_object_get(generation, "is_multilingual");
    json_t *forced = json_object_get(generation, "forced_decoder_ids");

    if (!json_is_array(forced))
        forced = json_object_get(config, "forced_decoder_ids");
    if (json_is_boolean(said))
        f->is_multilingual = json_is_true(said);
    else if (json_is_object(json_object_get(generation, "lang_to_id")))
        f->is_multilingual = true;
    else if (json_array_size(forced) > 0)
        f->is_multilingual = forces_language(f, forced);
    f->is_multilingual = f->is_multilingual && f->language_count > 0;
}

int whisper_format_open(struct whisper_format *f, const char *dir, const struct tokenizer *t,
                        struct err *e)
{
    json_t *config = read_json(dir, "config.json", e);
    json_t *generation = config ? read_json(dir, "generation_config.json", e) : NULL;
    int rc = -1;

    if (generation) {
        int vocab = need_size(config, "vocab_size", TOKENIZER_VOCAB_MAX, e);
        int positions = need_size(config, "max_target_positions", POSITIONS_MAX, e);
        int window = need_size(config, "max_source_positions", POSITIONS_MAX, e);
        rc = e->kind ? err_in(e, "config.json") : whisper_format_init(f, t, vocab, positions, e);
        if (rc == 0) {
            f->time_count = f->time_count < window + 1 ? f->time_count : window + 1;
            find_multilingual(f, config, generation);
        }
    }
    json_decref(config);
    json_decref(generation);
    return rc ? err_in(e, "%s", dir) : 0;
}

/* -------------------------------------------------------------- languages -- */

int32_t whisper_language_id(const struct whisper_format *f, const char *language, struct err *e)
{
    int index = language_find(language, f->language_count, e);
    return index < 0 ? -1 : f->first_language + index;
}

const char *whisper_language_code(const struct whisper_format *f, int32_t id)
{
    int32_t index = id - f->first_language;
    return index >= 0 && index < f->language_count ? language_code(index) : NULL;
}

/* ------------------------------------------------------------------ times -- */

static double window_of(const struct whisper_format *f)
{
    return (f->time_count - 1) * WHISPER_TIME_STEP;
}

int32_t whisper_time_id(const struct whisper_format *f, double seconds, struct err *e)
{
    if (f->time_count < 1)
        return err_set(e, ERR_DATA, "the model has no timestamps");
    if (!(seconds >= -TIME_SLACK) || seconds > window_of(f) + WHISPER_TIME_STEP / 2)
        return err_set(e, ERR_DATA, "%.2f s is outside the window of %.2f s", seconds,
                       window_of(f));
    int32_t step = (int32_t)lround(seconds / WHISPER_TIME_STEP);
    return f->first_time + (step < f->time_count ? step : f->time_count - 1);
}

double whisper_time_of(const struct whisper_format *f, int32_t id)
{
    int32_t step = id - f->first_time;
    return step >= 0 && step < f->time_count ? step * WHISPER_TIME_STEP : -1;
}

int whisper_check_segments(const struct whisper_speech *s, struct err *e)
{
    double last = 0;

    for (int i = 0; i < s->segment_count; i++) {
        const struct whisper_segment *g = &s->segments[i];
        if (!(g->start >= 0))
            return err_set(e, ERR_DATA, "segments[%d]: starts at %.2f s, before the clip", i,
                           g->start);
        if (!(g->end > g->start))
            return err_set(e, ERR_DATA, "segments[%d]: ends at %.2f s, starts at %.2f s", i, g->end,
                           g->start);
        if (g->start < last - TIME_SLACK)
            return err_set(e, ERR_DATA,
                           "segments[%d]: starts at %.2f s, before %.2f s, the end of the one "
                           "before",
                           i, g->start, last);
        if (s->seconds > 0 && g->end > s->seconds + WHISPER_TIME_STEP)
            return err_set(e, ERR_DATA, "segments[%d]: ends at %.2f s, the clip at %.2f s", i,
                           g->end, s->seconds);
        last = g->end;
    }
    return 0;
}

/* ------------------------------------------------------------------- text -- */

/* The place of a timestamp written out (<|1.24|>) in the text, which the tokenizer may not know as
 * one; NULL: there is none. */
static const char *find_time(const char *text, size_t *size)
{
    while ((text = strstr(text, "<|"))) {
        size_t whole = strspn(text + 2, "0123456789");
        size_t part = text[2 + whole] == '.' ? strspn(text + 3 + whole, "0123456789") : 0;
        *size = whole + part + 5;
        if (whole > 0 && part > 0 && strncmp(text + 3 + whole + part, "|>", 2) == 0)
            return text;
        text += 2;
    }
    return NULL;
}

static bool is_control(const struct whisper_format *f, int32_t id)
{
    return id == f->end || (id >= f->start && id < f->first_time + f->time_count);
}

static int forged(const char *token, struct err *e)
{
    err_set(e, ERR_DATA, "the text contains the control token %s", token ? token : "of a time");
    return err_hint(e, "language, task, prompt and timestamps are keys of their own");
}

/* What a record says must not forge control tokens, which not all tokenizers call special. */
static int encode(const struct whisper_format *f, const char *text, size_t size, struct ids *out,
                  struct err *e)
{
    size_t length;
    const char *time = find_time(text, &length);
    int32_t special = tokenizer_find_special(f->tokenizer, text, size);

    int first = out->count;

    if (special >= 0)
        return forged(tokenizer_piece(f->tokenizer, special), e);
    if (time) {
        err_set(e, ERR_DATA, "the text contains the timestamp %.*s", length < 40 ? (int)length : 40,
                time);
        return err_hint(e, "give the times as \"segments\": [{\"start\": 0, \"end\": 1.24, "
                           "\"text\": ...}]");
    }
    if (tokenizer_encode(f->tokenizer, text, size, out, e))
        return -1;
    for (int i = first; i < out->count; i++)
        if (is_control(f, out->at[i]))
            return forged(tokenizer_piece(f->tokenizer, out->at[i]), e);
    return 0;
}

/* A space and the trimmed prompt, of which the last tokens are kept. */
static int push_prompt(const struct whisper_format *f, const char *prompt, struct ids *out,
                       struct err *e)
{
    size_t size = strlen(prompt);
    int max = f->positions / 2 - 1;

    utf8_trim(&prompt, &size);
    if (size == 0)
        return 0;
    char *text = xasprintf(" %.*s", (int)size, prompt);
    struct ids ids = IDS_INIT;
    int rc = encode(f, text, size + 1, &ids, e);
    if (rc == 0)
        rc = ids_push(out, f->prev, e);
    for (int i = ids.count > max ? ids.count - max : 0; i < ids.count && rc == 0; i++)
        rc = ids_push(out, ids.at[i], e);
    ids_release(&ids);
    free(text);
    return rc ? err_in(e, "prompt") : 0;
}

static int push_language(const struct whisper_format *f, const char *language, bool detects,
                         struct ids *out, int *language_at, struct err *e)
{
    bool is_detected = language ? strcmp(language, "detect") == 0 : detects;

    if (is_detected) {
        *language_at = out->count;
        return ids_push(out, f->first_language, e);
    }
    if (!language) {
        err_set(e, ERR_DATA, "the record says no language");
        return err_hint(e, "put \"language\": \"de\" into the record, or set language for all");
    }
    int32_t id = whisper_language_id(f, language, e);
    return id < 0 ? err_in(e, "language") : ids_push(out, id, e);
}

/* A model for English only transcribes English, whether the record says so or not. */
static int check_english(const struct whisper_speech *s, struct err *e)
{
    if (s->task == WHISPER_TRANSLATE)
        return err_set(e, ERR_DATA, "task: the model knows English only and cannot translate");
    if (!s->language || strcmp(s->language, "detect") == 0)
        return 0;
    int index = language_find(s->language, LANGUAGES_COUNT, e);
    if (index < 0)
        return err_in(e, "language");
    return index == 0 ? 0
                      : err_set(e, ERR_DATA,
                                "language: the record says '%.40s', the model knows "
                                "English only",
                                s->language);
}

int whisper_prefix(const struct whisper_format *f, const struct whisper_speech *s,
                   const char *prompt, bool has_timestamps, bool detects, struct ids *out,
                   int *language_at, struct err *e)
{
    *language_at = -1;
    if (prompt && push_prompt(f, prompt, out, e))
        return -1;
    if (ids_push(out, f->start, e))
        return -1;
    if (!f->is_multilingual) {
        if (check_english(s, e))
            return -1;
    } else if (push_language(f, s->language, detects, out, language_at, e) ||
               ids_push(out, s->task == WHISPER_TRANSLATE ? f->translate : f->transcribe, e)) {
        return -1;
    }
    return has_timestamps ? 0 : ids_push(out, f->no_timestamps, e);
}

/* One text between its times; `*last` is the time before, behind which no other goes back. */
static int push_segment(const struct whisper_format *f, const struct whisper_segment *g,
                        double from, int32_t *last, struct ids *out, struct err *e)
{
    int32_t start = whisper_time_id(f, g->start + from, e);
    int32_t end = start < 0 ? -1 : whisper_time_id(f, g->end + from, e);
    const char *text = g->text ? g->text : "";

    if (end < 0)
        return -1;
    start = start < *last ? *last : start;
    *last = end < start ? start : end;
    if (ids_push(out, start, e) || encode(f, text, strlen(text), out, e))
        return -1;
    return ids_push(out, *last, e);
}

int whisper_text(const struct whisper_format *f, const struct whisper_speech *s, const char *text,
                 bool has_timestamps, double from, struct ids *out, struct err *e)
{
    int32_t last = 0;

    if (!has_timestamps)
        return encode(f, text, strlen(text), out, e);
    if (s->segment_count == 0) {
        struct whisper_segment all = {0, s->seconds, text};
        if (!(s->seconds > 0))
            return err_set(e, ERR_DATA,
                           "timestamps are wanted, but neither segments nor the "
                           "clip's length are known");
        return push_segment(f, &all, from, &last, out, e);
    }
    if (whisper_check_segments(s, e))
        return -1;
    for (int i = 0; i < s->segment_count; i++)
        if (push_segment(f, &s->segments[i], from, &last, out, e))
            return err_in(e, "segments[%d]", i);
    return 0;
}
