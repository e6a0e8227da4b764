/* walk.h - every record of a manifest, once: what looks at data without training on them. */
#ifndef DATA_WALK_H
#define DATA_WALK_H

#include <stdint.h>

#include "base/err.h"
#include "data/manifest.h"

struct walk_record {
    const struct manifest *manifest;
    const struct record_ref *ref;
    int64_t number;               /* from 0, in the order of the data; deleted ones count */
    const char *where, *id;       /* its name; its id (of a sample: or key), NULL: none */
    struct record *record;        /* NULL: it cannot be read ... */
    const struct err *why;        /* ... for this reason */
    shard_read_fn read;           /* bytes of its shard, for sample_fetch; NULL: it is in none */
    void *read_arg;
};

struct walk_options {
    const struct manifest *manifest;
    const char *prompt;           /* for media that bring none; may be NULL */
    int64_t first;                /* begin with this number */
    int64_t limit;                /* stop after so many records; 0: all */
    int threads;                  /* that visit, 0: one a core */
    /* Look at a record; called by several threads, in no order.  0: go on, 1: that is enough; an
     * error (-1) ends the walk, too. */
    int (*visit)(void *arg, const struct walk_record *r, struct err *e);
    /* A shard could not be opened (ERR_DATA, ERR_INTEGRITY); its records are passed over, and not
     * numbered. `number` is that of the record that comes next. */
    void (*on_lost)(void *arg, int64_t number, const char *shard, const struct err *why);
    /* Now and then, by the thread that called; may be NULL. */
    void (*on_progress)(void *arg, int64_t done);
    void *arg;
};

/* Records that the manifest's patch deletes are not visited.  Shards are read whole, whatever their
 * indexes say; the next one is fetched while one is worked on. */
int walk(const struct walk_options *o, struct err *e) MUST_CHECK;

#endif
