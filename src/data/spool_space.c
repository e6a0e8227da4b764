/* spool_space.c - disk space of a spool: reserved before it is used, in the order of wanting.
 *
 * Nobody who has space waits for more while holding it, except where unpacking grows a file,
 * and that gives up all and starts over when there is no more; so no two can wait for each
 * other.
 */
#include "data/spool_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/log.h"

/* What stays free on the disk for others; how long space may be short before we say so. */
#define FREE_MIN ((int64_t)64 << 20)
#define SHORT_S 30.0
/* Bytes fetched of an object whose size nobody knows. */
#define UNKNOWN_SIZE ((int64_t)64 << 20)

int64_t spool_need(const struct spool *s, const struct spool_entry *n)
{
    int64_t unknown = UNKNOWN_SIZE < s->bytes_max ? UNKNOWN_SIZE : s->bytes_max;
    int64_t size = n->object.size >= 0 ? n->object.size : unknown;
    int64_t need = size;
    if (n->packing != UNPACK_NONE) {
        double unpacked = s->ratio * (double)size;
        double limit = (double)s->bytes_max;
        need = unpacked < limit ? (int64_t)unpacked : s->bytes_max;
        need += n->local ? 0 : size;
        need = need < s->bytes_max ? need : size < s->bytes_max ? s->bytes_max : size;
    }
    return n->needs > need ? n->needs : need;
}

void spool_wrote(struct spool *s, struct spool_entry *n, int64_t bytes)
{
    bytes = bytes < n->unwritten ? bytes : n->unwritten;
    n->unwritten -= bytes;
    s->unwritten -= bytes;
}

static void take_space(struct spool *s, struct spool_entry *n, int64_t bytes)
{
    n->reserved += bytes;
    n->unwritten += bytes;
    s->unwritten += bytes;
    s->stats.disk_bytes += bytes;
    if (s->stats.disk_bytes > s->stats.disk_peak)
        s->stats.disk_peak = s->stats.disk_bytes;
    n->short_since = 0;
}

void spool_settle_space(struct spool *s, struct spool_entry *n, int64_t bytes)
{
    spool_wrote(s, n, n->unwritten);
    s->stats.disk_bytes += bytes - n->reserved;
    n->reserved = bytes;
    if (s->stats.disk_bytes > s->stats.disk_peak)
        s->stats.disk_peak = s->stats.disk_bytes;
}

void spool_drop_file(struct spool *s, struct spool_entry *n)
{
    char *path = spool_files_data(&s->files, n->key, n->crc);
    unlink(path);
    free(path);
    spool_settle_space(s, n, 0);
}

/* Bytes that the disk itself lacks for `bytes` more. */
static int64_t disk_lacks(const struct spool *s, int64_t bytes)
{
    uint64_t free_bytes = 0;
    struct err unused = {0};
    if (dir_free_bytes(s->files.dir, &free_bytes, &unused) || free_bytes > INT64_MAX)
        return 0;
    int64_t lacks = bytes + s->unwritten + FREE_MIN - (int64_t)free_bytes;
    return lacks > 0 ? lacks : 0;
}

/* Remove the idle file whose use is longest ago. */
static void evict(struct spool *s)
{
    struct spool_entry *n = s->idle_first;
    spool_drop_file(s, n);
    s->stats.evicted++;
    spool_forget(s, n);
}

/* A file that came too early: it is wanted after `n`, and nobody has taken it yet.  That
 * happens when `n` needs more than was thought, and when an earlier process left the later
 * one. */
static struct spool_entry *find_early(const struct spool *s, const struct spool_entry *n)
{
    struct spool_entry *found = NULL;
    for (int i = 0; i < SPOOL_BUCKETS; i++)
        for (struct spool_entry *m = s->buckets[i]; m; m = m->in_bucket)
            if ((m->state == SPOOL_HERE || m->state == SPOOL_LEFT) && m->holds && !m->taken &&
                m->turn > n->turn && (!found || m->turn > found->turn))
                found = m;
    return found;
}

static void put_back(struct spool *s, struct spool_entry *n)
{
    spool_drop_file(s, n);
    n->state = SPOOL_WAITING;
    if (!n->is_queued)
        spool_enqueue(s, n);
    s->stats.evicted++;
}

static void warn_short(struct spool *s, struct spool_entry *n, int64_t bytes)
{
    double now = clock_seconds();
    if (n->short_since == 0)
        n->short_since = now;
    if (s->has_warned || !n->takers || now - n->short_since < SHORT_S)
        return;
    s->has_warned = true;
    log_warn("%s: waits for disk space: needs %" PRId64 " bytes, %" PRId64 " of the %" PRId64
             " that `disk` allows are in use",
             n->shown, bytes, s->stats.disk_bytes, s->bytes_max);
}

int spool_reserve(struct spool *s, struct spool_entry *n, int64_t bytes, struct err *e)
{
    if (n->reserved + bytes > s->bytes_max) {
        err_set(e, ERR_SPACE, "%s: needs %" PRId64 " bytes of disk, `disk` allows %" PRId64,
                n->shown, n->reserved + bytes, s->bytes_max);
        return err_hint(e, "give more to `disk`");
    }
    for (;;) {
        int64_t lacks = disk_lacks(s, bytes);
        if (s->stats.disk_bytes + bytes <= s->bytes_max && lacks == 0) {
            take_space(s, n, bytes);
            return 1;
        }
        struct spool_entry *early = s->idle_first ? NULL : find_early(s, n);
        if (!s->idle_first && !early && s->stats.disk_bytes == n->reserved) {
            err_set(e, ERR_SPACE, "%s: %" PRId64 " bytes are missing on the disk that holds %s",
                    n->shown, lacks, s->files.dir);
            return err_hint(e, "free some space, or put the cache on another disk");
        }
        if (s->idle_first) {
            evict(s);
        } else if (early) {
            put_back(s, early);
        } else {
            warn_short(s, n, bytes);
            return 0;
        }
    }
}
