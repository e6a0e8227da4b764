/* request.h - an exchange with a service: credentials put on, failures tried again, answers
 * checked.
 *
 * Tried again are what http.h calls ERR_RETRY, statuses that retry.h knows and what services mean
 * by the like (a 403 for going too fast), one answer that the credentials are old, after they were
 * renewed, and answers that the caller's check finds wrong (ERR_RETRY).  When the budget ends:
 * ERR_RETRY, "gs://b/o: 503 x 12 in 900 s".  A host that is unknown is tried for a minute only as
 * long as nothing was ever answered, since its name may be a mistake.
 */
#ifndef NET_REQUEST_H
#define NET_REQUEST_H

#include "net/http.h"
#include "net/net.h"

enum request_login { LOGIN_NONE, LOGIN_GOOGLE, LOGIN_AWS, LOGIN_HUB };

enum { REQUEST_UNKNOWN_HOST_S = 60, REQUEST_HEADERS_MAX = 24 };

struct request {
    struct http_request http;     /* without credentials; REQUEST_HEADERS_MAX headers at most.  For
                                     LOGIN_AWS `aws_sigv4` NULL is that of S3 in the region of the
                                     credentials */
    enum request_login login;
    const char *what;             /* for messages: "gs://bucket/name" */
    /* Is this answer (whatever its status below 400, or one of `statuses`) what was asked for?  0,
     * or -1 with ERR_RETRY (send again) or another error.  NULL: every 2xx is. */
    int (*check)(void *arg, const struct http_response *r, struct err *e);
    void *arg;
    const int *statuses;          /* 0-ended: beside 2xx these are the caller's to judge, also ones
                                     that would be tried again; may be NULL */
    double budget_s;              /* 0: the network's; RETRY_TRY_MIN_S: one try */
};

/* 0 with an answer, or -1: 401 and 403 are ERR_LOGIN, 404 ERR_DATA, other statuses ERR_FAILED, as
 * "gs://b/o: 403: the reason that the server gave".  The caller releases `r`, on failure too (then
 * it holds the last answer, if there was one). */
int request_run(struct net *n, const struct request *q, struct http_response *r,
                struct err *e) MUST_CHECK;

#endif
