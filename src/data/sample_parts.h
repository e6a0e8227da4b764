/* sample_parts.h - what the files of samples share.
 *
 *     sample.c           fetching media; tokens; samples
 *     sample_media.c     clips, pictures and videos to features and patches: blocks of soft tokens
 *     sample_speech.c    transcripts of clips for encoder-decoder models
 */
#ifndef DATA_SAMPLE_PARTS_H
#define DATA_SAMPLE_PARTS_H

#include "data/sample.h"
#include "media/audio.h"

/* What the media of a record take in its text: item i has the blocks firsts[i] .. firsts[i + 1]. */
struct sample_media {
    struct sample_block *blocks;          /* [count] into the sample's clips and pictures */
    int *soft_tokens;                     /* [count] */
    double *times;                        /* [count] seconds, of frames */
    int count, capacity;
    int *firsts;                          /* [items + 1] */
    struct chat_media *chat;              /* [items] the same for chat_render */
    int items;
    int64_t total;                        /* soft tokens */
};

/* Can the model take the record's media? */
int sample_check_senses(const struct data_format *f, const struct record *r,
                        struct err *e) MUST_CHECK;

/* Bytes that the file of item `i` may have. */
int64_t sample_bytes_max(const struct data_format *f, const struct record *r, int i);

/* Make the clips and pictures of the first `items` items; `s` takes them over.  Once they take more
 * tokens than the record may have, they are only counted.  Release `m` in any case. */
int sample_media_make(struct sample_media *m, struct sample *s, const struct data_format *f,
                      const struct record *r, int items, struct err *e) MUST_CHECK;
/* The same for a record whose only item are these samples. */
int sample_media_of_audio(struct sample_media *m, struct sample *s, const struct data_format *f,
                          const float *x, int64_t count, struct err *e) MUST_CHECK;
void sample_media_release(struct sample_media *m);

/* Decode item `i`, a clip, when it is no longer than that. */
int sample_decode(const struct data_format *f, const struct record *r, int i,
                  const struct audio_options *o, struct audio *a, struct err *e) MUST_CHECK;

/* Fail on a silent clip, where silence is an error. */
int sample_check_silence(const struct data_format *f, const struct audio *a,
                         struct err *e) MUST_CHECK;

/* 64 bits of a hash of features and their shape; 0 means unknown, so it is never that. */
uint64_t sample_key(const int32_t shape[3], const void *data, size_t size);

/* Frames of a window up to where the sound does not reach any more, and one that it does not reach:
 * all behind are like that. */
int sample_window_frames(const struct data_format *f, int64_t samples);

/* Fill the tokens and clips of a sample for an encoder-decoder model. */
int sample_speech_make(struct sample *s, const struct data_format *f, const struct record *r,
                       struct err *e) MUST_CHECK;
int sample_speech_of_audio(struct sample *s, const struct data_format *f, const float *x,
                           int64_t count, const char *prompt, struct err *e) MUST_CHECK;

#endif
