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
    const struct chat_format *chat;
    const struct mel *mel;                /* NULL: the model hears nothing, clips are errors */
    int pad_id;
    int max_tokens;                       /* a longer record is bad; 0: no limit */
    const char *prompt;                   /* for clips that bring none; may be NULL */
    bool is_thinking;
    bool allows_silence;                  /* silent clips are no error */
    /* Batches are padded up to multiples of these, so that few shapes occur; 0: the default. */
    int tokens_multiple;                  /* of T, 16 */
    int frames_multiple;                  /* of F, 64 */
    int targets_multiple;                 /* of R, 64 */
};

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
    int64_t record;                       /* its number in the manifest, -1: none */
    int32_t *tokens;                      /* [count] */
    uint8_t *supervised;                  /* [count] */
    int count;
    struct chat_span *spans;              /* where the soft tokens of the clips lie */
    int span_count;
    struct sample_clip *clips;
    int clip_count;
    char *reference;                      /* SAMPLE_GENERATE: the text to compare with, or NULL */
};

/* Make a sample.  What is wrong with the record is ERR_DATA and names the clip, but not the record;
 * anything else is not the record's fault.  On failure `s` is released.  Thread-safe. */
int sample_make(struct sample *s, const struct data_format *f, const struct record *r,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* Read record `i` of a manifest and make its sample; errors begin with "file:line: ". */
int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m, int64_t i,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* The prompt for transcribing 16 kHz samples (a piece of a longer file, say).  `prompt` NULL
 * means the format's own. */
int sample_of_audio(struct sample *s, const struct data_format *f, const float *x, int64_t count,
                    const char *prompt, struct err *e) MUST_CHECK;

/* Safe on a zeroed struct. */
void sample_release(struct sample *s);

#endif
