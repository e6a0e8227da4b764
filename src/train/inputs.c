/* inputs.c - see inputs.h. */
#include "train/inputs.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/plan.h"
#include "data/spool.h"
#include "net/net.h"

#define MEMORY_DEFAULT ((int64_t)1 << 30)
#define DISK_DEFAULT ((int64_t)4 << 30)

char *inputs_cache_dir(const struct config *c)
{
    return c->cache_dir && *c->cache_dir ? xstrdup(c->cache_dir) : spool_default_dir();
}

/* Of `memory` each connection's piece of an object takes its part first, the loader gets the
 * rest. */
static int split_memory(struct inputs *in, struct err *e)
{
    const int64_t MIB = 1 << 20;
    const struct config *c = in->c;
    int64_t all = c->memory ? c->memory : MEMORY_DEFAULT;
    int connections = c->connections ? c->connections : NET_CONNECTIONS;
    int64_t pieces = (int64_t)connections * SPOOL_CHUNK;
    in->loader_memory = all - pieces;
    if (in->loader_memory >= INPUTS_LOADER_MIN)
        return 0;
    err_set(e, ERR_USAGE, "memory is %lldMiB, expected at least %lldMiB for %d connections",
            (long long)(all / MIB), (long long)((pieces + INPUTS_LOADER_MIN) / MIB), connections);
    return err_hint(e, "give memory more, or lower connections: each takes %dMiB",
                    (int)(SPOOL_CHUNK / MIB));
}

static int open_parts(struct inputs *in, struct err *e)
{
    const struct config *c = in->c;
    if (split_memory(in, e))
        return -1;
    in->net = net_open(&(struct net_options){
        .connections = c->connections,
        .budget_s = c->retry_for,
        .user_project = c->user_project,
        .seed = c->seed,
    });
    char *dir = inputs_cache_dir(c);
    in->spool = spool_open(
        &(struct spool_options){
            .net = in->net,
            .dir = dir,
            .bytes_max = c->disk,
            .keeps = c->cache,
            .connections = c->connections,
        },
        e);
    free(dir);
    if (!in->spool)
        return -1;
    if (!c->patches || !*c->patches)
        return 0;
    in->patch = patch_open(in->net, c->patches, e);
    return in->patch ? 0 : err_in(e, "patches");
}

int inputs_open(struct inputs *in, const struct config *c, struct err *e)
{
    *in = (struct inputs){.c = c};
    if (!open_parts(in, e))
        return 0;
    inputs_close(in);
    return -1;
}

void inputs_close(struct inputs *in)
{
    patch_free(in->patch);
    spool_close(in->spool);
    net_close(in->net);
    *in = (struct inputs){0};
}

int inputs_manifest(struct inputs *in, const struct string_list *patterns,
                    const struct string_list *weights, struct manifest *m, struct err *e)
{
    bool is_weighted = weights && weights->count > 0;
    if (is_weighted && weights->count != patterns->count)
        return err_set(e, ERR_USAGE, "weights has %d numbers, expected %d", weights->count,
                       patterns->count);
    double *numbers = xcalloc((size_t)patterns->count + 1, sizeof *numbers);
    for (int i = 0; is_weighted && i < patterns->count; i++)
        numbers[i] = strtod(weights->at[i], NULL);
    struct manifest_options o = {
        .patterns = patterns->at,
        .pattern_count = patterns->count,
        .weights = is_weighted ? numbers : NULL,
        .columns = in->c->columns.at,
        .column_count = in->c->columns.count,
        .patch = in->patch,
        .net = in->net,
        .spool = in->spool,
    };
    int rc = manifest_open(m, &o, e);
    free(numbers);
    return rc;
}

/* ------------------------------------------------------------------- disk -- */

/* Packed shards lie in the spool unpacked.  Sound hardly packs; how much text did, nobody knows
 * before. */
enum { UNPACKED_GUESS = 2 };

/* What of a manifest lies in the spool: its fetched tables, and one shard at most at a time. */
struct demand {
    int64_t tables, largest;
};

static void add_demand(struct demand *d, const struct manifest *m)
{
    for (int64_t i = 0; i < m->file_count; i++) {
        const struct manifest_file *f = &m->files[i];
        int64_t size = f->object.size;
        uint64_t on_disk = 0;
        struct err ignored = {0};
        bool is_packed = manifest_is_packed(f);
        if (!store_knows(f->object.uri) && !is_packed)
            continue;
        if (is_packed)
            size *= UNPACKED_GUESS;
        if (f->path && !file_size(f->path, &on_disk, &ignored))
            d->tables += (int64_t)on_disk;
        else if (size > d->largest)
            d->largest = size;
    }
}

int inputs_window_bytes(const struct inputs *in, const struct manifest *train,
                        const struct manifest *eval, int64_t *bytes, struct err *e)
{
    const int64_t MIB = 1 << 20;
    struct demand t = {0}, v = {0};
    add_demand(&t, train);
    if (eval)
        add_demand(&v, eval);
    int64_t disk = in->c->disk ? in->c->disk : DISK_DEFAULT;
    int64_t other = t.tables + v.tables + 2 * v.largest;
    int64_t window = (disk - other) / 2;
    *bytes = window < PLAN_BYTES && t.largest ? window : PLAN_BYTES;
    if (other + 2 * t.largest <= disk)
        return 0;
    err_set(e, ERR_USAGE, "disk is %lldMiB, expected at least %lldMiB for these data",
            (long long)(disk / MIB), (long long)((other + 2 * t.largest + MIB - 1) / MIB));
    return err_hint(e,
                    "two of the largest shard (%lld MiB) must fit beside what is read at the same "
                    "time",
                    (long long)((t.largest > v.largest ? t.largest : v.largest) / MIB));
}
