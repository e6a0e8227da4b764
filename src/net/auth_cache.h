/* auth_cache.h - credentials that expire: kept, and renewed by one thread while the others wait.
 *
 * A value is a struct of fixed size that begins with a string (char[]), "" for anonymous.  It is
 * renewed 225 s before it expires, which is when Google's own libraries do it; while that goes on,
 * and when it fails, the old one serves as long as it lasts.
 */
#ifndef NET_AUTH_CACHE_H
#define NET_AUTH_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net.h"

enum { AUTH_RENEW_S = 225, AUTH_SPARE_S = 20 };

/* Fill `value` (all zero) and say when it expires (seconds since 1970; INT64_MAX: never).  Called
 * by one thread at a time. */
typedef int (*auth_fetch)(struct net *n, void *arg, void *value, int64_t *expires, struct err *e);

struct auth_cache {
    auth_fetch fetch;
    void *arg;
    size_t size;                  /* of a value */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex: */
    void *value;
    bool is_known, is_renewing;
    int64_t renew_at, expires;
    uint64_t renewals;            /* ended so far ... */
    struct err failure;           /* ... and how the last one ended */
};

void auth_cache_init(struct auth_cache *c, size_t size, auth_fetch fetch, void *arg);
void auth_cache_release(struct auth_cache *c);

/* Copy the value to `out`.  `is_refused`: a server did not take the one that `out` holds. */
int auth_cache_get(struct auth_cache *c, struct net *n, bool is_refused, void *out,
                   struct err *e) MUST_CHECK;

#endif
