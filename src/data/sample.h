/* sample.h - a record as tokens and features, ready to be put into a batch. */
#ifndef DATA_SAMPLE_H
#define DATA_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "data/record.h"
#include "media/mel.h"
#include "media/picture.h"
#include "media/spec_augment.h"
#include "text/chat.h"

/* Below this peak (-60 dB of full scale) a clip is called silent, and a record with it bad. */
#define SAMPLE_SILENCE_PEAK 0.001f

/* Media replaced by what says nothing, to see what a model makes of them: silence of the same
 * length, grey of the same size. */
enum sample_ablation { SAMPLE_WHOLE, SAMPLE_WITHOUT_AUDIO, SAMPLE_WITHOUT_IMAGE };

/* Several clips in one window of an encoder-decoder model. */
enum sample_joining { SAMPLE_APART, SAMPLE_JOIN_PLAIN, SAMPLE_JOIN_TIMESTAMPS };

/* What encoder-decoder models need (text/whisper.h).  Zeroed: none. */
struct sample_crossing {
    bool is_used;                         /* the decoder looks across at its row's clip, which takes
                                             no tokens; a record has exactly one clip */
    const char *language;                 /* of records that do not say: a name or code, "detect",
                                             or NULL: such records are bad */
    enum whisper_task task;               /* of records that do not say */
    bool has_timestamps;                  /* records with segments are trained on them, unless they
                                             say "timestamps": false */
    bool has_whole_window;                /* clips are filled up to the whole window, as the model
                                             was trained; else the batch's longest, in positions
                                             that are cut off behind */
    enum sample_joining joining;          /* training: clips of a batch share windows (first fit,
                                             the longest first): one after the other, texts joined
                                             by a space or each between its timestamps.  Only those
                                             of one language and task, without a prompt, and either
                                             all with timestamps or all without */
    struct spec_augment augment;          /* training: of the finished features; all zero: none */
    uint64_t augment_seed;
};

/* What is needed to make samples for a model.  Plain values; everything is borrowed. */
struct data_format {
    const struct chat_format *chat;       /* NULL: there is no model; media can be fetched only */
    struct net *net;                      /* for media elsewhere; NULL: local files only */
    const struct mel *mel;                /* NULL: the model hears nothing, clips are errors */
    const struct picture_config *picture; /* NULL: the model sees nothing, pictures are errors */
    int picture_side;                     /* patches a side that it has places for; 0: any number */
    bool splits_long_audio;               /* cut clips longer than the model takes (media/split.h);
                                             else they are bad */
    bool has_keys;                        /* clips and pictures get keys (some ms for each) */
    enum sample_ablation ablation;        /* SAMPLE_WHOLE but for `eval --ablate` */
    int pad_id;
    int max_tokens;                       /* a longer record is bad; 0: no limit */
    const char *prompt;                   /* for clips that bring none; may be NULL */
    bool is_thinking;
    bool allows_silence;                  /* silent clips are no error */
    struct sample_crossing crossing;
    int64_t media_bytes_max;              /* a larger media file is bad, found before it is read;
                                             0: what the longest clip could need, and the limits
                                             of image.h and video.h */
    int pack_tokens;                      /* training: records are put behind each other in rows
                                             of at most so many tokens (first fit, the longest
                                             first; a longer record has a row of its own); 0: one
                                             record a row */
    /* Batches are padded up to multiples of these, so that few shapes occur; 0: SAMPLE_TOKENS,
     * ... */
    int tokens_multiple;                  /* of T */
    int frames_multiple;                  /* of F */
    int targets_multiple;                 /* of R */
    int patches_multiple;                 /* of J, in soft tokens; not beyond what an image or a
                                             frame may have */
};

/* Soft tokens of one record's media: the longest context that a Gemma has. */
enum { SAMPLE_SOFT_TOKENS_MAX = 256 << 10 };

/* 32 frames are 0.32 s: with sorting, 2 to 4.5 % of the frames are padding for clips of 5 to 12 s
 * on average (test_plan.c measures it), and up to 30 s there are at most 94 values of F. */
enum { SAMPLE_TOKENS = 8, SAMPLE_FRAMES = 32, SAMPLE_TARGETS = 64, SAMPLE_PATCHES = 16 };

enum sample_purpose {
    SAMPLE_TRAIN,                         /* supervised tokens; also for scoring */
    SAMPLE_GENERATE,                      /* the last assistant turn is left out, its beginning
                                             is there, and its text is the reference */
};

struct sample_clip {
    float *mel;                           /* [frames,M], all of them real; NULL while ... */
    float *samples;                       /* ... these [sample_count] wait for company in a window
                                             (sample_joining) */
    int64_t sample_count;                 /* of the sound, in encoder-decoder models */
    int frames;
    int soft_tokens;
    double audio_s;
    uint64_t key;                         /* of the sound: a hash of the features; 0: unknown */
    /* Encoder-decoder models: the frames end where the sound does not reach, with one that says
     * what silence looks like beside it; the rest of the window is like it. */
    int language_at;                      /* of whisper_prefix, in its own tokens; -1: none */
    int32_t *behind;                      /* [behind_count] its text where another one stands in
                                             front of it in the window; NULL: as it is */
    int behind_count;
    bool can_join;                        /* it may share its window */
    char *reference;                      /* SAMPLE_GENERATE: what is said in this window of a
                                             recording that was cut; else NULL */
};

/* An image, or a frame of a video. */
struct sample_picture {
    struct picture picture;
    uint64_t key;                         /* a hash of the patches and their shape; 0 likewise */
};

/* What a block of soft tokens (a span) is made of. */
struct sample_block {
    bool is_picture;
    int index;                            /* into clips or pictures */
};

struct sample {
    enum sample_purpose purpose;
    char *id;                             /* the record's "id", else "file:line" */
    bool has_id;                          /* it was the record's own */
    int64_t record;                       /* its number in the order of loading, -1: none */
    int32_t *tokens;                      /* [count] */
    uint8_t *supervised;                  /* [count] */
    int count;
    struct chat_span *spans;              /* where the soft tokens of the blocks lie */
    int span_count;
    struct sample_block *blocks;          /* [span_count] what fills each span */
    struct sample_clip *clips;            /* clips, and pieces of long ones */
    int clip_count;
    struct sample_picture *pictures;
    int picture_count;
    int split_count;                      /* clips that were cut */
    char *reference;                      /* SAMPLE_GENERATE: the text to compare with, or NULL */
    char *language;                       /* as the record says it, or NULL; for reports */
    double audio_s;                       /* of all its clips */
    /* Encoder-decoder models: clip k has the tokens from starts[k] to starts[k + 1]. */
    int *starts;                          /* [clip_count + 1]; else NULL */
    uint64_t augment_key;                 /* what is hidden of its features is a function of it: of
                                             the record and the epoch */
};

/* Read the media of a record into memory (of any length, when `f` has no model): where they lie, or
 * by `read` out of its shard (see manifest_json; NULL when it is in none).  Items that are the same
 * file as an earlier one are not read again, and keep no bytes of their own.  What is too large, is
 * not there, or cannot be heard or seen by the model, is ERR_DATA that names the item. */
int sample_fetch(const struct data_format *f, struct record *r, shard_read_fn read, void *arg,
                 struct err *e) MUST_CHECK;

/* With segments, a recording for an encoder-decoder model may be so long: it is cut. */
enum { SAMPLE_SEGMENTED_SECONDS_MAX = 3600 };

/* Make a sample; media that were not fetched yet are, but those of shards must be.  What is wrong
 * with the record is ERR_DATA and names the clip, picture or video, but not the record; anything
 * else is not the record's fault.  A record whose media take more tokens than there may be names
 * the setting that would fit in its hint.  On failure `s` is released.  Thread-safe.
 *
 * For encoder-decoder models a record has one clip, and for training a text.  One that is longer
 * than the window, or whose text has more tokens than the decoder has positions, is cut where
 * segments of the record end: each window holds as many as fit, begins with the first one's start
 * and is a clip of its own.  In front of the first stands the record's prompt; in front of the
 * others, if there is one, the text of the window before (nothing for generation).
 *
 * An ablated sample (see sample_ablation) has the same tokens as a whole one: a long clip is cut
 * where its sound would have it. */
int sample_make(struct sample *s, const struct data_format *f, const struct record *r,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* Read a record of a manifest and make its sample; errors begin with its name.  `read` gets bytes
 * of its shard (see manifest_json). */
int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m,
                const struct record_ref *ref, shard_read_fn read, void *arg,
                enum sample_purpose purpose, struct err *e) MUST_CHECK;

/* The prompt for transcribing 16 kHz samples (a piece of a longer file, say).  `prompt` NULL
 * means the format's own.  Encoder-decoder models: of the format's language and task, to be
 * detected where it has none, with timestamps where it has them. */
int sample_of_audio(struct sample *s, const struct data_format *f, const float *x, int64_t count,
                    const char *prompt, struct err *e) MUST_CHECK;

/* Safe on a zeroed struct. */
void sample_release(struct sample *s);

#endif
