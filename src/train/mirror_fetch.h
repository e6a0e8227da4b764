/* mirror_fetch.h - what a bucket knows better of a run than this machine's folder.  Part of
 * mirror.c. */
#ifndef TRAIN_MIRROR_FETCH_H
#define TRAIN_MIRROR_FETCH_H

#include "base/err.h"
#include "net/store.h"

/* `l` is what lies under `uri`.  Fetch the newest whole checkpoint when it is newer than those in
 * `dir`, and the run's other files when they are not there, or belong to that checkpoint. */
int mirror_fetch(struct net *net, const char *uri, const char *dir, const struct object_list *l,
                 struct err *e) MUST_CHECK;

#endif
