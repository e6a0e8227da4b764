/* auth_cache.c - see auth_cache.h. */
#include "net/auth_cache.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void auth_cache_init(struct auth_cache *c, size_t size, auth_fetch fetch, void *arg)
{
    *c = (struct auth_cache){.size = size, .fetch = fetch, .arg = arg, .value = xcalloc(1, size)};
    if (pthread_mutex_init(&c->mutex, NULL) || pthread_cond_init(&c->changed, NULL))
        mem_die("a lock could not be made");
}

void auth_cache_release(struct auth_cache *c)
{
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    free(c->value);
}

/* Of what a renewal brought; the mutex is held. */
static void keep(struct auth_cache *c, const void *value, int64_t expires)
{
    int64_t now = (int64_t)time(NULL);
    memcpy(c->value, value, c->size);
    c->is_known = true;
    c->expires = expires;
    /* One that lives for less than twice that time is renewed at half of its life. */
    int64_t left = expires - now;
    c->renew_at = left > 2 * AUTH_RENEW_S ? expires - AUTH_RENEW_S : now + left / 2;
}

/* Fetch a new value; the mutex is held, but not while waiting for the server. */
static void renew(struct auth_cache *c, struct net *n)
{
    void *value = xcalloc(1, c->size);
    int64_t expires = 0;
    struct err failure = {0};
    c->is_renewing = true;
    pthread_mutex_unlock(&c->mutex);
    int result = c->fetch(n, c->arg, value, &expires, &failure);
    pthread_mutex_lock(&c->mutex);
    c->is_renewing = false;
    c->renewals++;
    c->failure = failure;
    if (!result)
        keep(c, value, expires);
    else if (c->is_known)
        log_debug("credentials could not be renewed: %s", failure.text);
    pthread_cond_broadcast(&c->changed);
    free(value);
}

/* Is what is known of no use, or soon? */
static bool is_due(const struct auth_cache *c, int64_t at, bool is_stale)
{
    return !c->is_known || is_stale || (int64_t)time(NULL) >= at;
}

/* Wait until the renewal that goes on has ended, or `n` was stopped; the mutex is held. */
static void await(struct auth_cache *c, struct net *n)
{
    uint64_t renewals = c->renewals;
    while (c->renewals == renewals && !net_is_stopped(n)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 200 * 1000 * 1000;
        if (until.tv_nsec >= 1000 * 1000 * 1000) {
            until.tv_nsec -= 1000 * 1000 * 1000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&c->changed, &c->mutex, &until);
    }
}

/* Renew, or let somebody else: 0 when there is a value of use.  The mutex is held. */
static int bring_up_to_date(struct auth_cache *c, struct net *n, bool is_stale, struct err *e)
{
    for (;;) {
        bool is_mine = !c->is_renewing;
        if (!is_due(c, is_mine ? c->renew_at : c->expires - AUTH_SPARE_S, is_stale))
            return 0;
        if (is_mine)
            renew(c, n);
        else
            await(c, n);
        if (net_is_stopped(n))
            return err_set(e, ERR_STOPPED, "stopped");
        /* Who renewed may have been stopped alone. */
        if (is_mine || c->failure.kind != ERR_STOPPED)
            break;
    }
    if (!c->failure.kind || !is_due(c, c->expires - AUTH_SPARE_S, is_stale))
        return 0;
    *e = e->kind ? *e : c->failure;
    return -1;
}

int auth_cache_get(struct auth_cache *c, struct net *n, bool is_refused, void *out, struct err *e)
{
    pthread_mutex_lock(&c->mutex);
    const char *refused = out;
    bool is_stale = is_refused && (!*refused || !strcmp(refused, c->value));
    int result = bring_up_to_date(c, n, is_stale, e);
    if (!result)
        memcpy(out, c->value, c->size);
    pthread_mutex_unlock(&c->mutex);
    return result;
}
