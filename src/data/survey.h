/* survey.h - what is in a data set: counts, durations, languages, duplicates, and what is wrong. */
#ifndef DATA_SURVEY_H
#define DATA_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "data/sample.h"

struct survey_options {
    const struct manifest *manifest;
    const struct data_format *format;     /* `net` at least; with `chat`, samples are made as for
                                             training, and tokens counted */
    bool decodes;                         /* media too; else only what records and headers say */
    int threads;                          /* 0: one a core */
    int64_t limit;                        /* records, 0: all */
    void (*on_progress)(void *arg, int64_t done);     /* may be NULL */
    void *arg;
};

struct survey_language {
    char *name;                           /* "" for records that name none */
    int64_t records;
    double seconds;
};

/* A record, or a whole shard, that cannot be used. */
struct survey_bad {
    int64_t number;                       /* its place in the order of the data */
    bool is_shard;
    char *where, *id, *why;               /* id: NULL when it has none */
};

/* Two records with one id, or with the same clip, image or video. */
struct survey_pair {
    char *first, *second;                 /* names */
};

/* [count] of one kind of value, one for each good record that has it. */
struct survey_values {
    float *at;
    int64_t count;
    size_t capacity;
};

struct survey {
    int64_t records, clips;               /* good and bad records; clips of the good ones, ... */
    int64_t images, videos;               /* ... and their images and videos */
    double seconds;                       /* of sound, as far as it is known; of recordings that are
                                             cut into windows, what these have */
    int64_t unknown;                      /* clips whose duration is not known */
    int64_t characters, tokens, supervised;
    struct survey_values durations;       /* seconds of sound a record */
    struct survey_values texts;           /* characters of what the assistant says */
    struct survey_values lengths;         /* tokens, with a model */
    struct survey_language *languages;    /* most records first */
    int language_count;
    int64_t tasks[2];                     /* records that say transcribe, translate */
    int64_t segmented, segments;          /* records that have segments, and how many */
    int64_t windows;                      /* with an encoder-decoder model: rows that they make */
    int64_t bad_records, lost_shards;     /* what lost shards hold is not counted anywhere */
    struct survey_bad *bad;               /* both, in the order of the data ... */
    int64_t bad_count;                    /* ... SURVEY_BAD_MAX at most */
    struct survey_pair *same_ids, *same_clips;
    int64_t same_id_count, same_clip_count;   /* the first SURVEY_PAIRS_MAX are kept */
    int64_t misstated;                    /* durations that are more than 5 % and 0.5 s off */
    struct survey_private *own;
};

enum { SURVEY_LANGUAGES_MAX = 512, SURVEY_PAIRS_MAX = 1000, SURVEY_BAD_MAX = 1000000 };

/* Look at every record.  Bad ones are counted; an error is only what no record is to blame for. */
int survey(struct survey *s, const struct survey_options *o, struct err *e) MUST_CHECK;
void survey_release(struct survey *s);

#endif
