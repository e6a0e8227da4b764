/* batch.h - a padded batch as plain C buffers: what crosses from the data side to the training
 * side.
 *
 *     B rows   T tokens a row   N clips   F frames a clip   M mel bins   R targets
 *     I pictures (images, and frames of videos)   J patches a picture   E numbers a patch
 *
 * A row holds one record, or several behind each other when records are packed: its segments.
 * Clips, pictures and records [S] keep the order of loading, packed or not.
 *
 * Encoder-decoder models (Whisper): row b is the transcript of clip b, N is B, and clips take no
 * place among the tokens.  A record that was cut into windows has a row, and an entry of its own
 * among the records, for each of them; several records that share a window share its row.
 */
#ifndef DATA_BATCH_H
#define DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

struct batch {
    int rows, len;             /* B, T */
    int32_t *tokens;           /* [B,T]; the pad id after a row's end */
    int32_t *lengths;          /* [B] tokens of each row that are real */

    int clips, frames, bins;   /* N, F, M; no audio when N is 0 */
    int slots;                 /* soft tokens the audio tower makes of F frames */
    float *mel;                /* [N,F,M] */
    uint8_t *frame_valid;      /* [N,F] 1 where a frame is real */
    uint64_t *clip_keys;       /* [N] the same for the same sound in every epoch; 0: unknown */

    int pictures, patches, patch_numbers;   /* I, J, E; none when I is 0 */
    int picture_slots;         /* soft tokens that J patches make */
    uint8_t *pixels;           /* [I,J,E] levels 0 .. 255; 0 for padding */
    int32_t *patch_at;         /* [I,J,2] x and y of each patch; -1 for padding */
    uint64_t *picture_keys;    /* [I] as clip_keys */

    int32_t *soft;             /* [B,T] -1 for text, else which soft token takes the place: clip *
                                  slots + k, or N * slots + picture * picture_slots + k; NULL when
                                  there are no media */

    int segments;              /* the most records in a row; 1 when nothing is packed */
    int32_t *segment;          /* [B,T] from 0 on, the padding behind in one of its own; NULL when
                                  `segments` is 1 */
    int32_t *position;         /* [B,T] counted from the segment's start; NULL likewise */

    int32_t *language_at;      /* [B] where in the row the decoding side is to put the language's
                                  token; -1: nowhere.  NULL: in no row */

    /* Targets are in the order of rows and tokens.  The first token of a record is none. */
    int targets;               /* R, padded to a bucket */
    int32_t *target_rows;      /* [R] b * T + t - 1: the position whose logits predict token t */
    int32_t *target_ids;       /* [R] the token to predict */
    float *target_weights;     /* [R] 1, and 0 for padding */

    int64_t supervised;        /* targets that count: the sum of the weights */
    int64_t total;             /* real tokens, soft ones included */
    double audio_s;            /* seconds of sound in the batch */
    int records_count;         /* S: B, or more when records are packed */
    char **ids;                /* [S] the records' names: their "id", else "file:line" */
    uint8_t *has_ids;          /* [S] 1 where that is the record's own "id" */
    int64_t *records;          /* [S] their numbers in the order of loading, -1 for none */
    int32_t *record_rows;      /* [S] where each record lies: these `record_lengths` tokens ... */
    int32_t *record_starts;    /* [S] ... of this row from here on */
    int32_t *record_lengths;   /* [S] */
    char **languages;          /* [S] as the records say, or NULL */
    double *seconds;           /* [S] of sound in each */
    char **references;         /* [S] for generation: the text to compare with, or NULL; of a window
                                  that was cut from a record, its own */
    int32_t *record_of_target; /* [R] the record of each target, for per-record losses */
};

/* Free what the batch holds; the struct itself is the caller's.  Safe on a zeroed struct. */
void batch_release(struct batch *b);

#endif
