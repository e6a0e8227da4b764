/* retry.h - when and how soon a failed request is tried again: full jitter, Retry-After, a budget.
 *
 * After failure k (from 0) the wait is uniform in [0, min(cap, first * 2^k)] (Brooker: "Exponential
 * backoff and jitter", AWS 2015), and comes on top of what the server asked for, so that clients
 * which were all told the same do not come back all at once.  An operation whose budget is used up
 * ends with the last failure.
 */
#ifndef NET_RETRY_H
#define NET_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_policy {
    double first_s, cap_s;        /* 0.5 and 30 */
    double budget_s;              /* from the first try on; retry_delay does not look at it */
};

/* One operation's patience. */
struct retry {
    struct retry_policy policy;
    double used_s;                /* of the budget */
    int failures;                 /* so far */
};

/* Is this status worth another try?  408, 429 and 5xx (but 501 and 505) are. */
bool retry_status(int status);

/* A try has lasted so long.  It counts as RETRY_TRY_MIN_S at least, and RETRY_TRY_MAX_S at most: a
 * laptop that slept over night has not used its patience up. */
#define RETRY_TRY_MIN_S 0.001
#define RETRY_TRY_MAX_S 120.0
void retry_spend(struct retry *t, double seconds);

/* Count a failure, and say how long to wait before the next try; `random` in [0, 1), `after_s`: the
 * server's wish, 0: none.  The last wait ends with the budget.  Negative: give up, since nothing is
 * left or the server wants a longer wait than what is left. */
double retry_next(struct retry *t, double random, double after_s);

/* Seconds to wait after failure `k` (from 0), without a look at the budget. */
double retry_delay(const struct retry_policy *p, int k, double random, double after_s);

/* An HTTP date (RFC 9110, 5.6.7: IMF-fixdate, RFC 850 or asctime) as seconds since 1970; -1 when it
 * is none. */
int64_t retry_date(const char *text);

/* The seconds that a Retry-After header asks for: a number, or an HTTP date seen from `now`
 * (seconds since 1970).  0 when it says nothing; at most RETRY_AFTER_MAX_S. */
#define RETRY_AFTER_MAX_S 1e6
double retry_after(const char *value, int64_t now);

/* The same of a RateLimit header ("api";r=0;t=55: none left, more in 55 s), as the Hugging Face Hub
 * sends it.  0 while something is left. */
double retry_rate_limit(const char *value);

#endif
