/* forecast.h - what training on a manifest takes, told before it begins: records, sound, requests,
 * bytes, and how much of its batches is padding.
 *
 * What tables, indexes and the headers of shards on this machine say is exact; of what is left,
 * one shard at most is fetched, and the rest is taken to be like it.  Sums are those of an epoch:
 * a source of weight 2 counts twice.
 */
#ifndef DATA_FORECAST_H
#define DATA_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"
#include "data/plan.h"

enum {
    FORECAST_LINES = 100000,              /* of a source of tables, that are looked at */
    FORECAST_SHARDS = 256,                /* the same for shards that can be looked into */
    FORECAST_WINDOWS = 200,               /* whose batches are measured ... */
    FORECAST_RECORDS = 200000,            /* ... and how many records in them */
    FORECAST_STATS = 16,                  /* media files elsewhere whose size is asked for */
};

struct forecast_options {
    const struct plan *plan;              /* of training */
    int micros;                           /* parts of a batch, each padded by itself; 0 is 1 */
};

/* What comes over the network. */
struct forecast_fetch {
    char store[8];                        /* "gs", "s3", "https", "hf"; "": nothing */
    double bytes, gets;
};

struct forecast_source {
    double records;                       /* of the source, once */
    bool is_exact;
    double share;                         /* part of the records of an epoch */
    double seconds;                       /* of sound, once ... */
    double known;                         /* ... of this part of the records with sound */
    struct forecast_fetch shards, clips;  /* in one pass through the source; media files that lie
                                             alone in a store, their bytes 0 when not known */
    struct forecast_fetch tables;         /* and indexes: once a run */
    double lists;                         /* requests for lists of names, once a run */
};

/* Padding, as parts of what is computed; below 0: not known. */
struct forecast_padding {
    double frames, tokens;                /* tokens are estimated (record_facts) */
    int64_t windows, records;             /* measured */
    bool is_whole;                        /* these are all of an epoch */
    bool is_guess;                        /* from the one shard that was fetched */
};

struct forecast {
    struct forecast_source *sources;      /* [source_count of the manifest] */
    double records;                       /* of an epoch */
    double seconds;                       /* of sound */
    bool knows_seconds;                   /* of nearly all records */
    bool is_exact;                        /* `records` and `steps` */
    int64_t windows;
    double steps;
    int64_t table_bytes;                  /* of tables that lie in the spool during the run ... */
    int64_t spool_bytes;                  /* ... and all shards together, as they would lie there */
    int64_t largest;                      /* of them */
    struct forecast_padding padding;
    char *fetched;                        /* the shard that was fetched to look into, or NULL ... */
    double fetched_bytes, fetch_s;        /* ... over the network, 0: it was here */
};

int forecast(struct forecast *f, const struct forecast_options *o, struct err *e) MUST_CHECK;
void forecast_release(struct forecast *f);    /* safe on a zeroed struct */

/* Padding of one batch after the other, as collate.h makes them. */
struct forecast_batches {
    double frames, frame_cells;           /* real ones, and with padding */
    double tokens, token_cells;
};
void forecast_add_batch(struct forecast_batches *b, const float *seconds, const uint32_t *lengths,
                        int64_t count);

#endif
