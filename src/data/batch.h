/* batch.h - a padded batch as plain C buffers: what crosses from the data side to the training
 * side.
 *
 *     B rows   T tokens a row   N clips   F frames a clip   M mel bins   R targets
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
    int32_t *soft;             /* [B,T] -1 for text, else clip * slots + k: which soft token
                                  takes the place; NULL when N is 0 */

    int targets;               /* R, padded to a bucket */
    int32_t *target_rows;      /* [R] b * T + t - 1: the position whose logits predict token t */
    int32_t *target_ids;       /* [R] the token to predict */
    float *target_weights;     /* [R] 1, and 0 for padding */

    int64_t supervised;        /* targets that count: the sum of the weights */
    int64_t total;             /* real tokens, soft ones included */
    double audio_s;            /* seconds of sound in the batch */
    char **ids;                /* [B] the records' names: their "id", else "file:line" */
    uint8_t *has_ids;          /* [B] 1 where that is the record's own "id" */
    int64_t *records;          /* [B] their numbers in the order of loading, -1 for none */
    char **references;         /* [B] for generation: the text to compare with, or NULL */
    int32_t *row_of_target;    /* [R] the row of each target, for per-record losses */
};

/* Free what the batch holds; the struct itself is the caller's.  Safe on a zeroed struct. */
void batch_release(struct batch *b);

#endif
