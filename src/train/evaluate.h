/* evaluate.h - how good a model is on a data set: loss, and how its generated replies compare with
 * the references: error rates (transcripts), and the part that is exactly right (captions,
 * answers).
 *
 *     struct evaluation v;
 *     if (evaluate(&v, &session, &manifest, &(struct evaluate_options){.batch = 8,
 *                  .generates = true, .max_new_tokens = 256, .normalizer = NORMALIZE_BASIC}, e))
 *     printf("loss %.3f  WER %.1f %%", v.loss, 100 * error_rate(&v.wer));
 *     evaluation_release(&v);
 *
 * The loss is the mean over all supervised tokens of the data set.  Transcripts are greedy.  They
 * are made for records that end with an assistant's turn, and compared with its text; both pass
 * the same normaliser before.
 *
 * Encoder-decoder models: the language of records that leave it open is detected in both passes.
 * A recording that was cut into windows is one record and one transcript: errors are counted window
 * by window, the texts are joined by spaces.
 */
#ifndef TRAIN_EVALUATE_H
#define TRAIN_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "text/normalize.h"
#include "text/wer.h"
#include "train/session.h"
#include "train/watch.h"

struct evaluate_options {
    int batch;                         /* records at once */
    int64_t max_records;               /* the first so many; 0: all */
    bool generates;                    /* transcripts too */
    int max_new_tokens;
    enum normalizer normalizer;
    const char *checkpoint;            /* the folder whose normalizer.json has the spellings for
                                          whisper_english; NULL: there are none */
    enum sample_ablation ablation;     /* media that are taken away */
    double bad_fraction;               /* as in loader.h */
    int bad_min;
    int64_t memory_max;
    struct watch *watch;               /* tells about waiting; NULL: nobody does */
    /* Asked between batches: true ends the evaluation with ERR_STOPPED.  NULL: never. */
    bool (*is_stopped)(void *arg);
    /* Told how far it is; `all` is 0 while nobody knows how many records there are.  NULL:
     * nobody. */
    void (*on_progress)(void *arg, const char *what, int64_t done, int64_t all);
    void *arg;
};

/* What a configuration says of them. */
struct evaluate_options evaluate_options_of(const struct config *c);

/* One transcript beside what it should be. */
struct evaluated {
    char *id;                          /* the record's "id", or "file:line" */
    bool has_id;                       /* it is the record's own */
    char *reference, *hypothesis;      /* as they are */
    char *reference_norm, *hypothesis_norm;   /* as they were compared */
    struct error_count wer, cer;
    bool is_exact;                     /* the normalised texts are the same */
    char *language;                    /* a code, or what the record calls it; what was detected,
                                          when nothing says it; NULL: not known */
    double seconds;                    /* of sound; 0: none */
};

struct evaluation {
    double loss;                       /* nats per supervised token; NaN when there was none */
    double perplexity;
    int64_t records, supervised, total;
    double audio_s;
    double seconds;                    /* how long it took */
    int64_t bad;                       /* records that could not be used */
    char **bad_texts;                  /* [bad_count] the first of them, "file:line: what" */
    int bad_count;
    enum normalizer normalizer;
    bool has_spellings;                /* there was a normalizer.json for it */
    struct error_count wer, cer;       /* over all transcripts */
    struct evaluated *transcripts;     /* [transcript_count] in the order of the records */
    int64_t transcript_count;
    int64_t exact;                     /* transcripts that equal their reference */
    int64_t cut;                       /* transcripts that reached max_new_tokens, or the
                                          decoder's end */
};

/* Measure the session's model on the records of `m`.  Too many bad records are ERR_DATA.  On
 * failure `v` is released. */
int evaluate(struct evaluation *v, const struct session *s, const struct manifest *m,
             const struct evaluate_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void evaluation_release(struct evaluation *v);

/* The part of the transcripts that equals the references; NaN when there is none. */
double evaluation_exact(const struct evaluation *v);

/* Indices of the transcripts with most word errors (the worst first); writes up to `max`, returns
 * how many. */
int evaluation_worst(const struct evaluation *v, int64_t *out, int max);

#endif
