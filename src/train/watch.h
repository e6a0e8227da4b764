/* watch.h - a thread that looks after somebody who waits for data.
 *
 * While loader_next blocks, nobody else can say why nothing happens, or hear that the user wants
 * to stop.  The watch does both: after WATCH_SAYS_S of waiting it says what is waited for and what
 * went wrong ("waiting for data 12 s: 503 x 4; shards 3 of 32"), on the status line of a terminal,
 * else as messages that become rarer and rarer; and when it is to stop, it stops the network,
 * which ends every wait with ERR_STOPPED.
 *
 *     watch_begin(w, loader);
 *     got = loader_next(loader, &step, e);
 *     watch_end(w);
 */
#ifndef TRAIN_WATCH_H
#define TRAIN_WATCH_H

#include <stdbool.h>

#include "data/loader.h"
#include "net/net.h"

#define WATCH_SAYS_S 10.0

struct watch;

/* `is_stopped` (may be NULL) is asked some times a second, by the watch's thread.  NULL where no
 * thread can be had: then nobody watches. */
struct watch *watch_new(struct net *net, bool (*is_stopped)(void *arg), void *arg);
/* NULL is fine, here and below. */
void watch_free(struct watch *w);

void watch_begin(struct watch *w, const struct loader *l);
void watch_end(struct watch *w);

/* What would be said after `seconds` of waiting, cut to the size. */
void watch_text(double seconds, const struct net_stats *s, const char *what, char *out,
                size_t size);

#endif
