/* mirror.h - a run that lives in a bucket (`runs: gs://bucket/prefix`).
 *
 * The run itself works in a folder of this machine, as any other.  A thread copies what changes to
 * the bucket, under the same names: a checkpoint's manifest.json last, result.json last of all, so
 * that what can be seen there is whole.  When a run begins, a newer checkpoint of the bucket
 * (another machine made it, or this one lost its disk) is fetched and checked first.
 *
 * One machine at a time: owner.json says who writes, and is replaced only by whoever knows its
 * version (a precondition of the store).  A second machine is refused while the first has been
 * seen within MIRROR_STALE_S; a machine that was given up and replaced finds out before it writes
 * again.
 *
 *     m = mirror_open(&o, e);               claim, fetch
 *     while (...) {
 *         checkpoint_save(...);
 *         mirror_push(m);                   never waits
 *         if (mirror_check(m, e)) ...       another machine took over
 *     }
 *     rc = mirror_finish(m, e);             wait until all is there
 *     mirror_close(m);
 */
#ifndef TRAIN_MIRROR_H
#define TRAIN_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net.h"

/* How often owner.json is renewed, and after how long without it its machine is given up. */
#define MIRROR_BEAT_S 300.0
#define MIRROR_STALE_S 1800.0

struct mirror;

struct mirror_options {
    const struct net_options *net;        /* copied; the mirror has a network of its own */
    const char *uri;                      /* of the run: "gs://bucket/prefix/name" */
    const char *dir;                      /* its folder here, which is locked */
};

/* Is the value of `runs` a place in a store? */
bool mirror_is_remote(const char *runs);

/* The folder for the runs of such a place: <cache_dir>/runs/bucket/prefix.  Names that would leave
 * it, and stores that cannot be written, are ERR_USAGE.  The caller frees. */
char *mirror_local(const char *cache_dir, const char *runs, struct err *e) MUST_CHECK;

/* Claim the run, fetch what the bucket knows better, start the thread.  ERR_RETRY while another
 * machine writes this run. */
struct mirror *mirror_open(const struct mirror_options *o, struct err *e) MUST_CHECK;

/* Something has changed: copy it in the background.  What fails is a warning, and tried again with
 * the next push. */
void mirror_push(struct mirror *m);

/* ERR_INTEGRITY when another machine has taken the run over. */
int mirror_check(struct mirror *m, struct err *e) MUST_CHECK;

/* The step whose checkpoint is being copied, which must not be removed now; -1: none. */
int64_t mirror_held(struct mirror *m);

/* Copy all that is missing, wait for it, and give up the claim.  Failures of the network are
 * ERR_RETRY. */
int mirror_finish(struct mirror *m, struct err *e) MUST_CHECK;

/* Ends what is being copied.  NULL is fine. */
void mirror_close(struct mirror *m);

#endif
