/* net.c - see net.h.
 *
 * A branch has a group of requests and a flag of its own; everything else is that of its root.
 */
#include "net/net.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/auth.h"
#include "net/http.h"
#include "net/memo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct net {
    struct net *root;             /* itself, or what it is a branch of */
    struct http_group group;
    int operations;               /* under the root's mutex, as is the next line */
    bool is_stopped;

    /* The root's: settings that never change, ... */
    struct net_options o;
    char *user_project;
    struct net_clock clock;       /* zero: the machine's */
    struct auth *auth;
    struct memo *memo;
    /* ... and under its mutex: */
    pthread_mutex_t mutex;
    pthread_cond_t wake;          /* something was stopped, or an operation has ended */
    struct http *http;
    struct net_stats stats;
    char failure[100];            /* what failed last, ... */
    int failure_count;            /* ... so many times in a row */
    uint64_t random_count;
    bool was_answered;
};

struct net *net_open(const struct net_options *o)
{
    struct net *n = xcalloc(1, sizeof *n);
    n->root = n;
    n->o = *o;
    if (n->o.connections <= 0)
        n->o.connections = NET_CONNECTIONS;
    if (n->o.connections > NET_CONNECTIONS_MAX)
        n->o.connections = NET_CONNECTIONS_MAX;
    if (!(n->o.budget_s > 0))
        n->o.budget_s = NET_BUDGET_S;
    if (!(n->o.stall_s > 0))
        n->o.stall_s = NET_STALL_S;
    n->user_project = xstrdup(o->user_project ? o->user_project : "");
    n->o.user_project = n->user_project;
    n->auth = auth_new();
    n->memo = memo_new();
    pthread_mutex_init(&n->mutex, NULL);
    pthread_cond_init(&n->wake, NULL);
    return n;
}

struct net *net_branch(struct net *n)
{
    struct net *branch = xcalloc(1, sizeof *branch);
    branch->root = n->root;
    net_enter(n->root);           /* the root waits for its branches */
    return branch;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    struct net *root = n->root;
    net_stop(n);
    pthread_mutex_lock(&root->mutex);
    while (n->operations)
        pthread_cond_wait(&root->wake, &root->mutex);
    pthread_mutex_unlock(&root->mutex);
    if (n != root) {
        net_leave(root, false);
        free(n);
        return;
    }
    http_close(n->http);
    auth_free(n->auth);
    memo_free(n->memo);
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->mutex);
    free(n->user_project);
    free(n);
}

static bool has_stopped(const struct net *n)
{
    return n->is_stopped || n->root->is_stopped;
}

void net_stop(struct net *n)
{
    struct net *root = n->root;
    pthread_mutex_lock(&root->mutex);
    n->is_stopped = true;
    if (root->http && n == root)
        http_stop(root->http);
    else if (root->http)
        http_stop_group(root->http, &n->group);
    else
        n->group.is_stopped = true;
    pthread_cond_broadcast(&root->wake);
    pthread_mutex_unlock(&root->mutex);
}

bool net_is_stopped(const struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    bool is_stopped = has_stopped(n);
    pthread_mutex_unlock(&n->root->mutex);
    return is_stopped;
}

const struct net_options *net_settings(const struct net *n)
{
    return &n->root->o;
}

struct http *net_http(struct net *n)
{
    struct net *root = n->root;
    pthread_mutex_lock(&root->mutex);
    if (!root->http) {
        const struct http_options o = {.connections = root->o.connections,
                                       .stall_s = root->o.stall_s};
        root->http = http_open(&o);
        if (root->is_stopped)
            http_stop(root->http);
    }
    pthread_mutex_unlock(&root->mutex);
    return root->http;
}

struct http_group *net_group(struct net *n)
{
    return &n->group;
}

struct auth *net_auth(struct net *n)
{
    return n->root->auth;
}

struct memo *net_memo(struct net *n)
{
    return n->root->memo;
}

void net_enter(struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    n->operations++;
    pthread_mutex_unlock(&n->root->mutex);
}

void net_leave(struct net *n, bool is_waiting)
{
    struct net *root = n->root;
    pthread_mutex_lock(&root->mutex);
    n->operations--;
    if (is_waiting && --root->stats.waiting == 0) {
        root->stats.waiting_since = 0;
        root->stats.last_failure[0] = root->failure[0] = 0;
        root->failure_count = 0;
    }
    pthread_cond_broadcast(&root->wake);
    pthread_mutex_unlock(&root->mutex);
}

/* ------------------------------------------------------------------- time -- */

void net_set_clock(struct net *n, const struct net_clock *clock)
{
    n->root->clock = *clock;
}

double net_now(struct net *n)
{
    const struct net_clock *c = &n->root->clock;
    return c->now ? c->now(c->arg) : clock_seconds();
}

/* Wait for `wake`, a second at most: the condition's clock may be set back or forth meanwhile. */
static void wait_a_little(struct net *root, double seconds)
{
    struct timespec until;
    double whole = seconds < 1 ? seconds : 1;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(whole * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&root->wake, &root->mutex, &until);
}

int net_sleep(struct net *n, double seconds, struct err *e)
{
    struct net *root = n->root;
    double start = clock_seconds(), left = seconds;
    bool is_virtual = root->clock.sleep;
    if (is_virtual)
        root->clock.sleep(root->clock.arg, seconds);
    pthread_mutex_lock(&root->mutex);
    for (; !is_virtual && left > 0 && !has_stopped(n); left = start + seconds - clock_seconds())
        wait_a_little(root, left);
    root->stats.waiting_s += is_virtual ? seconds : clock_seconds() - start;
    bool is_stopped = has_stopped(n);
    pthread_mutex_unlock(&root->mutex);
    return is_stopped ? err_set(e, ERR_STOPPED, "stopped") : 0;
}

double net_random(struct net *n)
{
    struct net *root = n->root;
    pthread_mutex_lock(&root->mutex);
    uint64_t i = root->random_count++;
    pthread_mutex_unlock(&root->mutex);
    return rng_uniform(rng_seed(root->o.seed, "net"), 0, i);
}

/* --------------------------------------------------------------- counters -- */

void net_stats(const struct net *n, struct net_stats *out)
{
    pthread_mutex_lock(&n->root->mutex);
    *out = n->root->stats;
    pthread_mutex_unlock(&n->root->mutex);
}

void net_count_request(struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    n->root->stats.requests++;
    pthread_mutex_unlock(&n->root->mutex);
}

void net_count_bytes(struct net *n, int64_t bytes)
{
    pthread_mutex_lock(&n->root->mutex);
    n->root->stats.bytes += bytes;
    pthread_mutex_unlock(&n->root->mutex);
}

void net_count_hedge(struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    n->root->stats.requests++;
    n->root->stats.hedges++;
    pthread_mutex_unlock(&n->root->mutex);
}

void net_count_retry(struct net *n, const char *why)
{
    struct net *root = n->root;
    char cut[sizeof root->failure];
    snprintf(cut, sizeof cut, "%s", why);
    pthread_mutex_lock(&root->mutex);
    root->stats.retries++;
    root->stats.throttled += strncmp(why, "429", 3) == 0 || strncmp(why, "503", 3) == 0;
    root->failure_count = strcmp(cut, root->failure) ? 1 : root->failure_count + 1;
    memcpy(root->failure, cut, sizeof cut);
    if (root->failure_count > 1)
        snprintf(root->stats.last_failure, sizeof root->stats.last_failure, "%s x %d", cut,
                 root->failure_count);
    else
        snprintf(root->stats.last_failure, sizeof root->stats.last_failure, "%s", cut);
    pthread_mutex_unlock(&root->mutex);
}

void net_count_waiting(struct net *n)
{
    struct net *root = n->root;
    double now = net_now(n);
    pthread_mutex_lock(&root->mutex);
    if (root->stats.waiting++ == 0)
        root->stats.waiting_since = now;
    pthread_mutex_unlock(&root->mutex);
}

void net_count_answer(struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    n->root->was_answered = true;
    pthread_mutex_unlock(&n->root->mutex);
}

bool net_was_answered(struct net *n)
{
    pthread_mutex_lock(&n->root->mutex);
    bool was = n->root->was_answered;
    pthread_mutex_unlock(&n->root->mutex);
    return was;
}
