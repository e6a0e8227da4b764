/* request.c - see request.h. */
#include "net/request.h"

#include "base/mem.h"
#include "net/auth.h"
#include "net/reason.h"
#include "net/retry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An operation: a request and all its tries. */
struct operation {
    struct net *net;
    const struct request *q;
    struct retry retry;
    bool is_waiting;              /* it has failed, and counts as such */
    bool was_renewed;             /* its credentials */
    double unknown_since_s;       /* of `retry.used_s`: the host is unknown; -1: it is not */
    /* What failed last: */
    char failure[100];            /* "503", "connection reset" */
    char detail[REASON_MAX];      /* the server's reason or "" */
    int repeats;                  /* so many times in a row */
    /* What is sent: */
    char header[AUTH_HEADER_MAX]; /* the credentials, kept for auth to know which were refused */
    struct auth_aws aws;
    char token[sizeof((struct auth_aws *)0)->token + 32], sigv4[128], project[256];
    const char *headers[REQUEST_HEADERS_MAX + 3];
};

/* ------------------------------------------------------------ credentials -- */

static bool has_header(const char *const *headers, const char *name)
{
    size_t size = strlen(name);
    for (; headers && *headers; headers++)
        if (!strncmp(*headers, name, size) && (*headers)[size] == ':')
            return true;
    return false;
}

static void add_google_project(struct operation *o, int *count)
{
    const char *project = auth_google_quota_project(o->net);
    if (!*project || has_header(o->q->http.headers, "x-goog-user-project") ||
        strstr(o->q->http.url, "userProject="))
        return;
    snprintf(o->project, sizeof o->project, "x-goog-user-project: %s", project);
    o->headers[(*count)++] = o->project;
}

static int add_aws(struct operation *o, bool renew, struct http_request *http, int *count,
                   struct err *e)
{
    if (auth_aws(o->net, renew, &o->aws, e))
        return -1;
    if (!o->aws.keys[0]) {
        http->aws_sigv4 = NULL;
        return 0;
    }
    http->aws_keys = o->aws.keys;
    if (!http->aws_sigv4) {
        snprintf(o->sigv4, sizeof o->sigv4, "aws:amz:%s:s3", o->aws.region);
        http->aws_sigv4 = o->sigv4;
    }
    if (o->aws.token[0]) {
        snprintf(o->token, sizeof o->token, "x-amz-security-token: %s", o->aws.token);
        o->headers[(*count)++] = o->token;
    }
    return 0;
}

/* The request with its credentials on. */
static int dress(struct operation *o, bool renew, struct http_request *http, struct err *e)
{
    int count = 0, rc = 0;
    *http = o->q->http;
    http->group = net_group(o->net);
    for (const char *const *h = http->headers; h && *h; h++) {
        if (count == REQUEST_HEADERS_MAX)
            return err_set(e, ERR_BUG, "a request of more than %d headers", REQUEST_HEADERS_MAX);
        o->headers[count++] = *h;
    }
    switch (o->q->login) {
    case LOGIN_NONE: break;
    case LOGIN_GOOGLE: rc = auth_google(o->net, renew, o->header, e); break;
    case LOGIN_HUB: rc = auth_hub(o->net, o->header, e); break;
    case LOGIN_AWS: rc = add_aws(o, renew, http, &count, e); break;
    }
    if (rc)
        return -1;
    if (o->header[0])
        o->headers[count++] = o->header;
    if (o->header[0] && o->q->login == LOGIN_GOOGLE)
        add_google_project(o, &count);
    o->headers[count] = NULL;
    http->headers = o->headers;
    return 0;
}

/* ---------------------------------------------------------------- answers -- */

static bool is_listed(const struct request *q, int status)
{
    for (const int *s = q->statuses; s && *s; s++)
        if (*s == status)
            return true;
    return false;
}

/* Does the answer say that the credentials are old, and could newer ones be had? */
static bool wants_renewal(const struct operation *o, int status, const struct reason *why)
{
    if (o->was_renewed)
        return false;
    if (o->q->login == LOGIN_GOOGLE)
        return status == 401 && o->header[0];
    if (o->q->login == LOGIN_AWS)
        return o->aws.keys[0] && (status == 400 || status == 401 || status == 403) &&
               (!strcmp(why->code, "ExpiredToken") || !strcmp(why->code, "InvalidToken") ||
                !strcmp(why->code, "TokenRefreshRequired"));
    return false;
}

/* Statuses of refusals that services use for "slower" and "later", too. */
static bool is_passing(int status, const struct reason *why)
{
    static const char *const codes[] = {"rateLimitExceeded", "userRateLimitExceeded",
                                        "RequestTimeout", "SlowDown", "backendError"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if ((status == 403 || status == 400) && !strcmp(why->code, codes[i]))
            return true;
    return retry_status(status);
}

static int fail_status(const struct operation *o, const struct http_response *r,
                       const struct reason *why, struct err *e)
{
    const char *text = why->text, *colon = *text ? ": " : "";
    int status = r->status;
    enum err_kind kind = ERR_FAILED;
    if (status == 401 || status == 403)
        kind = ERR_LOGIN;
    else if (status == 404 || status == 410)
        kind = ERR_DATA;
    if (!*text && status == 404)
        text = "not found", colon = ": ";
    if (!*text && status >= 300 && status < 400)
        text = "a redirect that was not asked for", colon = ": ";
    err_set(e, kind, "%s: %d%s%s", o->q->what, status, colon, text);
    if (kind == ERR_LOGIN && o->q->login == LOGIN_HUB)
        err_hint(e, o->header[0] ? "does this token of the Hub give access to it? a gated one is "
                                   "opened on its page"
                                 : "set HF_TOKEN to a token of your Hugging Face account");
    if (!strcmp(why->code, "RequestTimeTooSkewed"))
        err_hint(e, "set this machine's clock");
    return -1;
}

/* What the server asks to wait, in seconds. */
static double wish(const struct http_response *r)
{
    char value[120], date[64];
    if (http_header(r, "retry-after", value, sizeof value)) {
        /* A date is compared with the server's own clock where it shows one. */
        int64_t now = http_header(r, "date", date, sizeof date) ? retry_date(date) : -1;
        return retry_after(value, now < 0 ? (int64_t)time(NULL) : now);
    }
    if (r->status == 429 && http_header(r, "ratelimit", value, sizeof value))
        return retry_rate_limit(value);
    return 0;
}

/* --------------------------------------------------------------- failures -- */

/* Note why this try failed: `text` without the names in front of it, "gs://b/o: " or "host: ". */
static void note(struct operation *o, const char *text, const char *detail)
{
    size_t size = strlen(o->q->what);
    const char *colon = strstr(text, ": "), *space = strchr(text, ' ');
    if (!strncmp(text, o->q->what, size) && !strncmp(text + size, ": ", 2))
        text += size + 2;
    else if (colon && colon < space)
        text = colon + 2;
    char cut[sizeof o->failure];
    snprintf(cut, sizeof cut, "%s", text);
    o->repeats = strcmp(cut, o->failure) ? 1 : o->repeats + 1;
    memcpy(o->failure, cut, sizeof cut);
    snprintf(o->detail, sizeof o->detail, "%s", detail);
}

/* "gs://b/o: 503 x 12 in 900 s: Backend Error" */
static int give_up(const struct operation *o, double after_s, struct err *e)
{
    const char *colon = *o->detail ? ": " : "";
    int tries = o->retry.failures;
    if (tries == 1)
        err_set(e, ERR_RETRY, "%s: %s%s%s", o->q->what, o->failure, colon, o->detail);
    else if (o->repeats == tries)
        err_set(e, ERR_RETRY, "%s: %s x %d in %.0f s%s%s", o->q->what, o->failure, tries,
                o->retry.used_s, colon, o->detail);
    else
        err_set(e, ERR_RETRY, "%s: %d tries in %.0f s, the last: %s%s%s", o->q->what, tries,
                o->retry.used_s, o->failure, colon, o->detail);
    if (after_s > 0)
        err_hint(e, "the server asks to wait %.0f s", after_s);
    return -1;
}

/* A try has failed in a way that another may mend: wait, or give up. */
static int wait_for_next(struct operation *o, double after_s, struct err *e)
{
    struct retry *t = &o->retry;
    double budget_s = t->policy.budget_s;
    if (o->unknown_since_s >= 0 && !net_was_answered(o->net)) {
        double until = o->unknown_since_s + REQUEST_UNKNOWN_HOST_S;
        t->policy.budget_s = until < budget_s ? until : budget_s;
    }
    double wait = retry_next(t, net_random(o->net), after_s);
    t->policy.budget_s = budget_s;
    if (wait < 0) {
        bool is_long = after_s > 0 && t->used_s < t->policy.budget_s;
        return give_up(o, is_long ? after_s : 0, e);
    }
    if (!o->is_waiting)
        net_count_waiting(o->net);
    o->is_waiting = true;
    net_count_retry(o->net, o->failure);
    if (net_sleep(o->net, wait, e))
        return err_in(e, "%s", o->q->what);
    retry_spend(t, wait);
    return 0;
}

/* ----------------------------------------------------------------- trying -- */

enum outcome { DONE, AGAIN, NOW, FAILED };      /* NOW: once more, without a wait */

static enum outcome judge_answer(struct operation *o, const struct http_response *r,
                                 double *after_s, struct err *e)
{
    const struct request *q = o->q;
    bool is_good = r->status >= 200 && r->status < 300, is_theirs = is_listed(q, r->status);
    struct reason why = {0};
    net_count_answer(o->net);
    if (!is_good)
        reason_of(r, &why);
    if (!is_good && wants_renewal(o, r->status, &why))
        return NOW;
    if (is_good || is_theirs) {
        struct err found = {0};
        if (!q->check || !q->check(q->arg, r, &found))
            return DONE;
        if (found.kind == ERR_RETRY) {
            note(o, found.text, "");
            return AGAIN;
        }
        *e = found;
        return FAILED;
    }
    if (is_passing(r->status, &why)) {
        char status[16];
        snprintf(status, sizeof status, "%d", r->status);
        note(o, status, why.text);
        *after_s = wish(r);
        return AGAIN;
    }
    fail_status(o, r, &why, e);
    return FAILED;
}

/* One try, its time not yet counted. */
static enum outcome try_once(struct operation *o, bool renew, struct http_response *r,
                             double *after_s, struct err *e)
{
    struct http_request http;
    struct err found = {0};
    *after_s = 0;
    int rc = dress(o, renew, &http, &found);
    if (!rc) {
        net_count_request(o->net);
        rc = http_run(net_http(o->net), &http, r, &found);
        o->unknown_since_s = !r->is_unknown_host      ? -1
                             : o->unknown_since_s < 0 ? o->retry.used_s
                                                      : o->unknown_since_s;
        if (r->was_hedged)
            net_count_hedge(o->net);
    }
    if (!rc)
        return judge_answer(o, r, after_s, e);
    if (found.kind == ERR_RETRY) {
        note(o, found.text, "");
        return AGAIN;
    }
    *e = found;
    err_in(e, "%s", o->q->what);
    return FAILED;
}

static int run(struct operation *o, struct http_response *r, struct err *e)
{
    bool renew = false;
    for (int tries = 1;; tries++) {
        double start = net_now(o->net), after_s;
        http_response_release(r);
        *r = (struct http_response){0};
        enum outcome outcome = try_once(o, renew, r, &after_s, e);
        r->tries = tries;
        renew = outcome == NOW;
        o->was_renewed = o->was_renewed || renew;
        retry_spend(&o->retry, net_now(o->net) - start);
        if (outcome == DONE) {
            net_count_bytes(o->net, (int64_t)r->size);
            return 0;
        }
        if (outcome == FAILED || (outcome == AGAIN && wait_for_next(o, after_s, e)))
            return -1;
    }
}

int request_run(struct net *n, const struct request *q, struct http_response *r, struct err *e)
{
    struct operation *o = xcalloc(1, sizeof *o);
    o->net = n;
    o->q = q;
    o->unknown_since_s = -1;
    o->retry.policy = (struct retry_policy){
        .first_s = 0.5,
        .cap_s = 30,
        .budget_s = q->budget_s > 0 ? q->budget_s : net_settings(n)->budget_s,
    };
    *r = (struct http_response){0};
    net_enter(n);
    int rc = run(o, r, e);
    net_leave(n, o->is_waiting);
    free(o);
    return rc;
}
