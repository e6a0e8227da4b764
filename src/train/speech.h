/* speech.h - what is said in recordings of any length, by Whisper.
 *
 * A recording is gone through in windows of 30 s: each is decoded from where the last whole segment
 * ended (Radford et al. 2022, 3.8; transformers' generate(), whose tokens and segments these are;
 * speech_window.h).  A window that compresses too well (it repeats itself) or is too improbable is
 * decoded again at the next temperature; one that is improbable and probably silence is left out.
 * Several recordings advance together, a window of each in a batch; what is written of one does not
 * depend on the others.
 *
 * Features.  A recording that fits a window is filled up with silence, as in training.  Of a longer
 * one they are computed at once, so that all windows have the same greatest value, and a window
 * that reaches beyond the end is filled up with zeros: transformers' way for long recordings, and
 * that of the paper's own program.
 *
 * A window's text begins with the text before it (`condition`; the last tokens, half of the
 * decoder's positions less one), unless the window before was decoded at 0.5 or hotter: what went
 * wrong there would go on.  The prompt is the begin of that text; without text before, or where it
 * is not looked at, the prompt stands there alone, in front of every window.
 *
 * Random numbers are those of generate.h with the key (try << 28) + (the window's first frame, of
 * 0.01 s), tries counted from 0.  All tokens may be drawn (transformers leaves out all but the 50
 * likeliest unless told otherwise).
 *
 * Where transformers differs: a recording that fits a window ends with its sound, not with the
 * window; in a batch, whether a window is left out is decided for that window.
 */
#ifndef TRAIN_SPEECH_H
#define TRAIN_SPEECH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/batch.h"
#include "train/session.h"

enum {
    SPEECH_TEMPERATURES_MAX = 16,
    SPEECH_FRAMES_MAX = 1 << 28,       /* of a recording: 745 hours */
};

struct speech_options {
    const char *language;              /* code or name; NULL, "" or "detect": of each recording's
                                          first window */
    enum whisper_task task;
    bool has_timestamps;               /* false: one window only, without times; longer recordings
                                          are decoded with times whatever this says */
    const char *prompt;                /* NULL or "": none */
    double temperatures[SPEECH_TEMPERATURES_MAX];
    int temperature_count;             /* 0: greedy, no second try */
    double compression_ratio;          /* of tokens (speech_compression); 0: no limit ... */
    double logprob;                    /* ... -INFINITY: no limit ... */
    double no_speech;                  /* ... 0: no window is left out */
    bool condition;                    /* on the text before */
    int max_new_tokens;                /* of a window; 0: what the decoder has positions for */
    int batch;                         /* windows that are decoded together; 0: one of each
                                          recording */
    uint64_t seed;                     /* of temperatures above 0 */
    bool (*is_stopped)(void *arg);     /* asked between windows: ERR_STOPPED; NULL: never */
    void (*on_progress)(void *arg, double done_s, double all_s);       /* NULL: nobody */
    void *arg;
};

struct speech_segment {
    double start, end;                 /* seconds from the recording's begin, not behind its end;
                                          the window's end where the model gave none */
    char *text;                        /* as the tokens say it, usually with a leading space; may be
                                          empty */
    struct ids ids;                    /* timestamps included */
    int window;                        /* which window it is of, counted from 0; those left out
                                          count */
    double temperature;                /* of its window ... */
    double logprob;                    /* ... mean log-probability ... */
    double compression_ratio;          /* ... */
    double no_speech;                  /* ... probability that nothing is said */
};

struct speech {
    char language[8];                  /* code; "" for models of English only */
    double language_p;                 /* of a detected one, among the languages; 1: given */
    char *text;                        /* of all segments, trimmed */
    struct speech_segment *segments;
    int count;
    int windows, left_out;             /* that were decoded; of them silent */
    double seconds;                    /* of the recording */
};

/* A recording, 16 kHz mono. */
struct speech_audio {
    const float *samples;
    int64_t count;
};

/* What a configuration says of them; strings are borrowed. */
struct speech_options speech_options_of(const struct config *c);

/* Decode `count` recordings together into out[0 .. count); on failure nothing is left in them.
 * What holds no speech has no segments and the text "".  Errors: a language that the model does not
 * know (ERR_DATA), a language but English or a translation from a model of English only, a model
 * that is not Whisper (ERR_USAGE). */
int speech_decode(struct speech *out, const struct session *s, const struct speech_audio *audio,
                  int count, const struct speech_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void speech_release(struct speech *s);

/* Put the likeliest language into each row of `b` that asks for one (batch.language_at); the
 * probability of each row's language goes to `p` [rows], when not NULL: 1 where none was asked. */
int speech_detect(const struct session *s, struct batch *b, double *p, struct err *e) MUST_CHECK;

#endif
