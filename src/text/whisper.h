/* whisper.h - a transcript as the tokens that Whisper's decoder was trained on.
 *
 *     <|startofprev|> PROMPT <|startoftranscript|> <|de|> <|transcribe|> <|notimestamps|>
 *         TEXT <|endoftext|>
 *
 * PROMPT (with its token) is there when a prompt is given: a space and its trimmed text, of which
 * the last tokens are kept, half of the decoder's positions less one at most.  Models for English
 * only have neither language nor task.  TEXT is as it is given, no space is added or removed.  With
 * timestamps there is no <|notimestamps|>, and each segment stands between the times of its begin
 * and its end, in steps of 0.02 s:
 *
 *     <|0.00|> Guten Morgen. <|1.24|><|1.60|> Wie geht's? <|2.90|> <|endoftext|>
 *
 * Supervised are TEXT, its times, and <|endoftext|>, nothing before.
 *
 * Languages are the tokens behind <|startoftranscript|>, known by their place (text/language.h), as
 * in transformers; they are called by their code ("de") or English name ("german").
 */
#ifndef TEXT_WHISPER_H
#define TEXT_WHISPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "text/tokenizer.h"

enum whisper_task { WHISPER_TRANSCRIBE, WHISPER_TRANSLATE, WHISPER_TASK_UNKNOWN };

enum { WHISPER_SEGMENTS_MAX = 100000 };
#define WHISPER_TIME_STEP 0.02            /* seconds between two timestamps */

/* The control tokens of one checkpoint. */
struct whisper_format {
    const struct tokenizer *tokenizer;   /* borrowed */
    bool is_multilingual;
    int32_t start, end, prev, no_speech; /* <|startoftranscript|>, <|endoftext|>, <|startofprev|>,
                                          * <|nospeech|> (<|nocaptions|> of older files) */
    int32_t transcribe, translate, no_timestamps;
    int32_t first_language;              /* languages: first_language + 0 .. language_count - 1 */
    int language_count;
    int32_t first_time;                  /* <|0.00|>; the ids behind it are the later ones, whether
                                          * the tokenizer spells them or not */
    int time_count;                      /* 1501: up to the window's end */
    int positions;                       /* of the decoder: 448 */
};

/* A stretch of a clip and what is said in it. */
struct whisper_segment {
    double start, end;                   /* seconds from the clip's begin */
    const char *text;
};

/* What is known of a clip.  Everything is borrowed but in struct record. */
struct whisper_speech {
    const char *language;                /* code or name; "detect"; NULL: not said */
    enum whisper_task task;              /* WHISPER_TASK_UNKNOWN: not said */
    int timestamps;                      /* 1 wanted, 0 not, -1 not said */
    struct whisper_segment *segments;    /* in order of time */
    int segment_count;
    double seconds;                      /* of the clip; 0: not known */
};

/* Find the control tokens.  `vocab` is the model's (the timestamps fill its end), `positions` its
 * decoder's.  Fails (ERR_USAGE) on a tokenizer that lacks one. */
int whisper_format_init(struct whisper_format *f, const struct tokenizer *t, int vocab,
                        int positions, struct err *e) MUST_CHECK;

/* The same for a checkpoint folder: vocab_size, max_target_positions, max_source_positions (a
 * timestamp each, and one) from config.json; generation_config.json's is_multilingual.  Where that
 * is missing, a checkpoint is multilingual that has lang_to_id there, else whose forced_decoder_ids
 * begin with a language or a task, else that has languages and not the vocabulary size of the
 * published models for English. */
int whisper_format_open(struct whisper_format *f, const char *dir, const struct tokenizer *t,
                        struct err *e) MUST_CHECK;

/* The token of a language given by code or name, in any case, also "pt-BR" (language_find);
 * ERR_DATA, with the nearest in the hint. */
int32_t whisper_language_id(const struct whisper_format *f, const char *language,
                            struct err *e) MUST_CHECK;
/* The code of a language's token ("de"); NULL when it is none. */
const char *whisper_language_code(const struct whisper_format *f, int32_t id);

/* The token of a time, rounded to the nearest step; a time below 0 (by a millisecond and more) or
 * that rounds to one beyond the window is ERR_DATA. */
int32_t whisper_time_id(const struct whisper_format *f, double seconds, struct err *e) MUST_CHECK;
/* The seconds of a timestamp's token; -1 when it is none. */
double whisper_time_of(const struct whisper_format *f, int32_t id);

/* Segments in order, not empty, inside the clip (a step behind its end is fine), not reaching back
 * by more than a millisecond; else ERR_DATA that names the first culprit ("segments[2]: starts at
 * 3.20 s, before 4.10 s, the end of the one before"). */
int whisper_check_segments(const struct whisper_speech *s, struct err *e) MUST_CHECK;

/* Append what stands before the text: `prompt` NULL or "" for none.  *language_at is the place of
 * a language that is to be detected ("detect", or none said when `detects`), -1: none; the first
 * language holds that place.  Nobody saying a language is ERR_DATA otherwise.  A model for English
 * only refuses another language, and to translate. */
int whisper_prefix(const struct whisper_format *f, const struct whisper_speech *s,
                   const char *prompt, bool has_timestamps, bool detects, struct ids *out,
                   int *language_at, struct err *e) MUST_CHECK;

/* Append TEXT: with `has_timestamps` the segments between their times shifted by `from` seconds (of
 * segments there are none: `text` from 0 to speech->seconds), else `text`.  Control tokens and
 * times spelt in the text are errors, as in chat.h. */
int whisper_text(const struct whisper_format *f, const struct whisper_speech *s, const char *text,
                 bool has_timestamps, double from, struct ids *out, struct err *e) MUST_CHECK;

#endif
