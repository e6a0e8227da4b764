/* sample.h - a record as tokens and features, ready to be put into a batch. */
#ifndef DATA_SAMPLE_H
#define DATA_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "data/record.h"
#include "media/mel.h"
#include "text/chat.h"

/* Below this peak (-60 dB of full scale) a clip is called silent, and a record with it bad. */
#define SAMPLE_SILENCE_PEAK 0.001f

/* What is needed to make samples for a model.  Plain values; everything is borrowed. */
struct data_format {
    const struct chat_format *chat;       /* NULL: there is no model; media can be fetched only */
    struct net *net;                      /* for media elsewhere; NULL: local files only */
    const struct mel *mel;                /* NULL: the model hears nothing, clips are errors */
    int pad_id;
    int max_tokens;                       /* a longer record is bad; 0: no limit */
    const char *prompt;                   /* for clips that bring none; may be NULL */
    bool is_thinking;
    bool allows_silence;                  /* silent clips are no error */
    int64_t media_bytes_max;              /* a larger media file is bad, found before it is read;
                                             0: what the longest clip could need */
    /* Batches are padded up to multiples of these, so that few shapes occur; 0: SAMPLE_TOKENS,
     * ... */
    int tokens_multiple;                  /* of T */
    int frames_multiple;                  /* of F */
    int targets_multiple;                 /* of R */
};

/* 32 frames are 0.32 s: with sorting, 2 to 4.5 % of the frames are padding for clips of 5 to 12 s
 * on average (test_plan.c measures it), and up to 30 s there are at most 94 values of F. */
enum { SAMPLE_TOKENS = 8, SAMPLE_FRAMES = 32, SAMPLE_TARGETS = 64 };

enum sample_purpose {
    SAMPLE_TRAIN,                         /* supervised tokens; also for scoring */
    SAMPLE_GENERATE,                      /* the last assistant turn is left out, its beginning
                                             is there, and its text is the reference */
};

struct sample_clip {
    float *mel;                           /* [frames,M], all of them real */
    int frames;
    int soft_tokens;
    double audio_s;
};

struct sample {
    char *id;                             /* the record's "id", else "file:line" */
    bool has_id;                          /* it was the record's own */
    int64_t record;                       /* its number in the order of loading, -1: none */
    int32_t *tokens;                      /* [count] */
    uint8_t *supervised;                  /* [count] */
    int count;
    struct chat_span *spans;              /* where the soft tokens of the clips lie */
    int span_count;
    struct sample_clip *clips;
    int clip_count;
    char *reference;                      /* SAMPLE_GENERATE: the text to compare with, or NULL */
};

/* Read the media of a record into memory (of any length, when `f` has no model): where they lie, or
 * by `read` out of its shard (see manifest_json; NULL when it is in none).  What is too large, or
 * is not there, is ERR_DATA that names the clip. */
int sample_fetch(const struct data_format *f, struct record *r, shard_read_fn read, void *arg,
                 struct err *e) MUST_CHECK;

/* Make a sample; media that were not fetched yet are, but those of shards must be.  What is wrong
 * with the record is ERR_DATA and names the clip, but not the record; anything else is not the
 * record's fault.  On failure `s` is released.  Thread-safe. */
int sample_make(struct sample *s, const struct data_format *f, const struct record *r,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* Read a record of a manifest and make its sample; errors begin with its name.  `read` gets bytes
 * of its shard (see manifest_json). */
int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m,
                const struct record_ref *ref, shard_read_fn read, void *arg,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* The prompt for transcribing 16 kHz samples (a piece of a longer file, say).  `prompt` NULL
 * means the format's own. */
int sample_of_audio(struct sample *s, const struct data_format *f, const float *x, int64_t count,
                    const char *prompt, struct err *e) MUST_CHECK;

/* Safe on a zeroed struct. */
void sample_release(struct sample *s);

#endif
