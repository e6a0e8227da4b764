/* breakdown.h - an evaluation's transcripts in groups: by language, by length of the recording. */
#ifndef TRAIN_BREAKDOWN_H
#define TRAIN_BREAKDOWN_H

#include <stdint.h>

#include "text/wer.h"
#include "train/evaluate.h"

enum { BREAKDOWN_GROUPS_MAX = 128, BREAKDOWN_NAME_SIZE = 32 };

struct breakdown_group {
    char name[BREAKDOWN_NAME_SIZE];       /* "de", "5-10 s" */
    int64_t transcripts, exact;
    double seconds;                       /* of sound */
    struct error_count wer, cer;
};

/* Groups that have transcripts, in order: languages by name, "unknown" for what does not say it
 * last; lengths from the shortest. */
struct breakdown {
    struct breakdown_group *at;           /* [count]; owned */
    int count;
};

/* By the language of each transcript.  Beyond BREAKDOWN_GROUPS_MAX further ones are "other". */
void breakdown_by_language(const struct evaluation *v, struct breakdown *out);

/* By seconds of sound: up to 2, 5, 10, 20 and 30, and more ("5-10 s" is above 5, up to 10).  What
 * has no sound is left out. */
void breakdown_by_duration(const struct evaluation *v, struct breakdown *out);

/* Safe on a zeroed struct. */
void breakdown_release(struct breakdown *b);

#endif
