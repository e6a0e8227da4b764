/* net.h - the network as one value: connections, credentials, patience and counters.
 *
 * A program opens one and hands it to everything that may have to fetch something.  Opening costs
 * nothing; a thread and connections come with the first request.  All functions may be called from
 * any thread.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct net;
struct memo;

enum { NET_CONNECTIONS = 8, NET_CONNECTIONS_MAX = 64, NET_BUDGET_S = 900, NET_STALL_S = 30 };

struct net_options {
    int connections;            /* requests at once, 0 is NET_CONNECTIONS */
    double budget_s;            /* how long one operation is tried again, 0 is NET_BUDGET_S */
    double stall_s;             /* silence after which a transfer is dead, 0 is NET_STALL_S */
    const char *user_project;   /* who pays for requester-pays buckets; NULL or "": nobody */
    uint64_t seed;              /* of the jitter between tries */
};

/* Counters since net_open; also what the progress line shows. */
struct net_stats {
    int64_t requests, bytes;    /* sent; received in good answers */
    int64_t retries, hedges;    /* tried again after a failure; sent twice for being slow */
    int64_t throttled;          /* of these: answers 429 and 503 */
    double waiting_s;           /* slept between tries, over all threads */
    int waiting;                /* operations that have failed so far and are tried again now ... */
    double waiting_since;       /* ... since when there are any, on the clock; 0: none */
    char last_failure[120];     /* theirs: "503 x 4", "connection reset"; "" when all is well */
};

struct net *net_open(const struct net_options *o);
/* Stops, waits for requests in flight to end, frees.  NULL is fine. */
void net_close(struct net *n);

/* Another handle on the same connections, credentials, settings and counters: stopping it ends only
 * what runs through it, while stopping `n` ends that, too.  Closed before `n` is, by net_close. */
struct net *net_branch(struct net *n);

/* End every wait and transfer soon, now and later, with ERR_STOPPED. */
void net_stop(struct net *n);
bool net_is_stopped(const struct net *n);

void net_stats(const struct net *n, struct net_stats *out);

/* What it was opened with, defaults filled in; strings live as long as `n`. */
const struct net_options *net_settings(const struct net *n);

/* ------------------------------------------------- for the files of src/net -- */

struct http;
struct http_group;
struct auth;
struct http *net_http(struct net *n);       /* its engine, started on the first call */
struct http_group *net_group(struct net *n);    /* of its requests; ended by net_stop */
struct auth *net_auth(struct net *n);       /* its credentials, nothing looked up yet */
struct memo *net_memo(struct net *n);       /* what was told once and need not be asked again */

/* Seconds on a clock that never steps back. */
double net_now(struct net *n);
/* Sleep, or wake up when the network is stopped: 0, or -1 with ERR_STOPPED. */
int net_sleep(struct net *n, double seconds, struct err *e) MUST_CHECK;
/* The next random number of the jitter, in [0, 1). */
double net_random(struct net *n);

/* An operation begins and ends: net_close waits for those between.  `is_waiting`: it was counted by
 * net_count_waiting. */
void net_enter(struct net *n);
void net_leave(struct net *n, bool is_waiting);

/* Count; `why` (a status or a reason) names a failure that will be tried again. */
void net_count_request(struct net *n);
void net_count_bytes(struct net *n, int64_t bytes);
void net_count_hedge(struct net *n);
void net_count_retry(struct net *n, const char *why);

/* An operation has failed for the first time: it is among `waiting` until net_leave. */
void net_count_waiting(struct net *n);

/* Did any service answer since net_open?  Until then a name that is not known is a mistake. */
void net_count_answer(struct net *n);
bool net_was_answered(struct net *n);

/* A hook for tests: another clock.  `sleep` must return at once, having moved `now` on. */
struct net_clock {
    double (*now)(void *arg);
    void (*sleep)(void *arg, double seconds);
    void *arg;
};
void net_set_clock(struct net *n, const struct net_clock *clock);

#endif
