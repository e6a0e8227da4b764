/* http.c - see http.h.
 *
 * Callers hang their exchange into a queue, wake the engine's thread and wait for the end.  The
 * thread owns everything of libcurl: it starts transfers as connections become free, watches their
 * clocks, sends second copies, and picks the answer.
 */
#include "net/http.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/retry.h"
#include "net/transfer.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 2, POLL_MAX_MS = 1000 };

/* One http_run.  It lives on the caller's stack; until `has_ended` the engine's thread owns it. */
struct exchange {
    const struct http_request *q;
    struct transfer copies[COPIES];
    int started;                  /* copies, so far */
    double started_s;
    struct err failure;           /* of the copy that failed first */
    bool is_unknown_host;
    const struct transfer *answer;
    double seconds;
    struct exchange *next;        /* in the queue, then among the active ones */
    pthread_cond_t end;
    bool has_ended;               /* under the engine's mutex */
};

struct http {
    struct http_options o;
    CURLM *multi;
    pthread_t thread;
    struct exchange *active;      /* the thread's own, as is the next line */
    int active_count, second_count;

    pthread_mutex_t mutex;        /* of what follows, and of has_ended */
    pthread_cond_t left;          /* a caller has left */
    struct exchange *queue, **queue_end;
    int callers;
    bool is_stopped;
    bool group_has_stopped;       /* some group was, since the thread last looked */
};

/* ------------------------------------------------------------ the thread -- */

static int running(const struct exchange *x)
{
    int n = 0;
    for (int i = 0; i < x->started; i++)
        n += x->copies[i].state == TRANSFER_RUNNING;
    return n;
}

static void forget(struct http *h, struct exchange *x)
{
    for (struct exchange **at = &h->active; *at; at = &(*at)->next) {
        if (*at != x)
            continue;
        *at = x->next;
        h->active_count--;
        h->second_count -= x->started - 1;
        return;
    }
}

/* Cancel what still runs, and hand the exchange back.  It is gone after this. */
static void end_exchange(struct http *h, struct exchange *x, const struct transfer *answer)
{
    for (int i = 0; i < x->started; i++)
        if (&x->copies[i] != answer)
            transfer_release(&x->copies[i]);
    forget(h, x);
    x->answer = answer;
    x->seconds = x->started ? clock_seconds() - x->started_s : 0;
    pthread_mutex_lock(&h->mutex);
    x->has_ended = true;
    pthread_cond_signal(&x->end);
    pthread_mutex_unlock(&h->mutex);
}

/* One of its copies has answered or failed.  A status that another try may mend waits for the other
 * copy; everything else ends the exchange. */
static void judge(struct http *h, struct exchange *x, const struct transfer *t)
{
    const struct transfer *answer = NULL;
    if (t->state == TRANSFER_RUNNING)
        return;
    if (t->state == TRANSFER_ANSWERED && !retry_status(t->status)) {
        end_exchange(h, x, t);
        return;
    }
    if (running(x))
        return;
    for (int i = 0; i < x->started; i++)
        if (x->copies[i].state == TRANSFER_ANSWERED)
            answer = &x->copies[i];
    end_exchange(h, x, answer);
}

static void send_copy(struct http *h, struct exchange *x)
{
    struct err e = {0};
    struct transfer *t = &x->copies[x->started++];
    bool stores = x->q->into && x->started == 1;
    transfer_start(t, x->q, stores, h->multi, &h->o, &e);
    if (t->state == TRANSFER_FAILED && !x->failure.kind)
        x->failure = e;
    judge(h, x, t);
}

static void end_stopped(struct http *h, struct exchange *x)
{
    x->failure = (struct err){0};
    err_set(&x->failure, ERR_STOPPED, "stopped");
    end_exchange(h, x, NULL);
}

static bool is_of_stopped_group(const struct exchange *x)
{
    return x->q->group && x->q->group->is_stopped;
}

/* The first exchange whose group was stopped: an active one, or one taken out of the queue. */
static struct exchange *next_stopped(struct http *h)
{
    struct exchange *x = h->active, **at = &h->queue;
    pthread_mutex_lock(&h->mutex);
    while (x && !is_of_stopped_group(x))
        x = x->next;
    while (!x && *at && !is_of_stopped_group(*at))
        at = &(*at)->next;
    if (!x && (x = *at)) {
        *at = x->next;
        if (!*at)
            h->queue_end = at;
    }
    pthread_mutex_unlock(&h->mutex);
    return x;
}

static void end_stopped_groups(struct http *h)
{
    pthread_mutex_lock(&h->mutex);
    bool any = h->group_has_stopped;
    h->group_has_stopped = false;
    pthread_mutex_unlock(&h->mutex);
    for (struct exchange *x; any && (x = next_stopped(h));)
        end_stopped(h, x);
}

/* Take from the queue what there are connections for; false when the engine is to stop. */
static bool take_new(struct http *h)
{
    for (;;) {
        struct exchange *x = NULL;
        pthread_mutex_lock(&h->mutex);
        bool goes_on = !h->is_stopped;
        if (goes_on && h->active_count < h->o.connections)
            x = h->queue;
        if (x && !(h->queue = x->next))
            h->queue_end = &h->queue;
        pthread_mutex_unlock(&h->mutex);
        if (!x)
            return goes_on;
        x->next = h->active;
        h->active = x;
        h->active_count++;
        x->started_s = clock_seconds();
        send_copy(h, x);
    }
}

/* Give up a copy that is silent, or an exchange that lasts too long.  The seconds until the next
 * such moment; 0 when the exchange is gone. */
static double watch_clocks(struct http *h, struct exchange *x, double now)
{
    const double total_s = x->q->total_s;
    double next = POLL_MAX_MS / 1e3;
    for (int i = 0; i < x->started; i++) {
        struct transfer *t = &x->copies[i];
        char what[60] = "";
        if (t->state != TRANSFER_RUNNING)
            continue;
        double silent = now - transfer_progress(t, now), left = h->o.stall_s - silent;
        if (left <= 0)
            snprintf(what, sizeof what, "no progress for %g s", h->o.stall_s);
        if (total_s > 0 && now - x->started_s >= total_s)
            snprintf(what, sizeof what, "no answer within %g s", total_s);
        if (*what) {
            struct err e = {0};
            transfer_give_up(t, what, &e);
            if (!x->failure.kind)
                x->failure = e;
            if (!running(x)) {
                judge(h, x, t);
                return 0;
            }
            continue;
        }
        if (total_s > 0 && x->started_s + total_s - now < left)
            left = x->started_s + total_s - now;
        next = left < next ? left : next;
    }
    return next;
}

/* Send a second copy of a request that is slow.  Seconds until that may be due. */
static double watch_hedge(struct http *h, struct exchange *x, double now)
{
    double left = x->started_s + x->q->hedge_s - now;
    if (x->q->hedge_s <= 0 || x->started == COPIES)
        return POLL_MAX_MS / 1e3;
    if (left > 0)
        return left;
    /* When everything is slow, sending all of it twice would make it slower. */
    if (h->second_count >= 1 + h->o.connections / 4)
        return POLL_MAX_MS / 1e3;
    h->second_count++;
    send_copy(h, x);
    return 0;
}

/* Look at all clocks; milliseconds until the next look. */
static int watch(struct http *h)
{
    double wait = POLL_MAX_MS / 1e3, now = clock_seconds();
    for (struct exchange *x = h->active, *next; x; x = next) {
        next = x->next;
        double left = watch_clocks(h, x, now);
        if (left > 0) {
            double hedge = watch_hedge(h, x, now);
            left = hedge < left ? hedge : left;
        }
        wait = left < wait ? left : wait;
    }
    return wait > 0 ? (int)(1e3 * wait) + 1 : 0;
}

static struct exchange *owner(struct http *h, const struct transfer *t)
{
    for (struct exchange *x = h->active; x; x = x->next)
        for (int i = 0; i < x->started; i++)
            if (&x->copies[i] == t)
                return x;
    return NULL;
}

/* Deal with transfers that libcurl has ended; true when there were any. */
static bool collect(struct http *h)
{
    bool any = false;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        char *private = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *t = (struct transfer *)private;
        struct exchange *x = t ? owner(h, t) : NULL;
        if (!x)
            continue;
        struct err e = {0};
        bool is_unknown_host;
        transfer_end(t, code, &h->o, &is_unknown_host, &e);
        if (t->state == TRANSFER_FAILED && !x->failure.kind) {
            x->failure = e;
            x->is_unknown_host = is_unknown_host;
        }
        judge(h, x, t);
        any = true;
    }
    return any;
}

static void stop_all(struct http *h)
{
    for (struct exchange *x = h->active, *next; x; x = next) {
        next = x->next;
        end_stopped(h, x);
    }
    for (;;) {
        pthread_mutex_lock(&h->mutex);
        struct exchange *x = h->queue;
        if (x)
            h->queue = x->next;
        pthread_mutex_unlock(&h->mutex);
        if (!x)
            return;
        end_stopped(h, x);
    }
}

static void *engine(void *arg)
{
    struct http *h = arg;
    while (take_new(h)) {
        end_stopped_groups(h);
        int ms = watch(h), count;
        curl_multi_perform(h->multi, &count);
        if (!collect(h) && ms)
            curl_multi_poll(h->multi, NULL, 0, ms, NULL);
    }
    stop_all(h);
    curl_multi_cleanup(h->multi);
    return NULL;
}

/* Start the thread deaf to signals: a broken TLS connection may raise SIGPIPE in it, and the
 * program's own are for its main thread. */
static void start_engine(struct http *h)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&h->thread, NULL, engine, h))
        mem_die("could not start the network's thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ----------------------------------------------------------- the callers -- */

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        mem_die("libcurl could not be started");
}

struct http *http_open(const struct http_options *o)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http *h = xcalloc(1, sizeof *h);
    pthread_once(&once, init_curl);
    h->o = *o;
    if (h->o.connections < 1)
        h->o.connections = 1;
    h->queue_end = &h->queue;
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->left, NULL);
    h->multi = curl_multi_init();
    if (!h->multi)
        mem_die("out of memory for libcurl");
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)(2 * h->o.connections + 2));
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    start_engine(h);
    return h;
}

void http_stop(struct http *h)
{
    pthread_mutex_lock(&h->mutex);
    if (!h->is_stopped)
        curl_multi_wakeup(h->multi);       /* which is gone soon after the thread has seen it */
    h->is_stopped = true;
    pthread_mutex_unlock(&h->mutex);
}

void http_stop_group(struct http *h, struct http_group *g)
{
    pthread_mutex_lock(&h->mutex);
    g->is_stopped = true;
    h->group_has_stopped = true;
    if (!h->is_stopped)
        curl_multi_wakeup(h->multi);
    pthread_mutex_unlock(&h->mutex);
}

void http_close(struct http *h)
{
    if (!h)
        return;
    http_stop(h);
    pthread_join(h->thread, NULL);
    pthread_mutex_lock(&h->mutex);
    while (h->callers)
        pthread_cond_wait(&h->left, &h->mutex);
    pthread_mutex_unlock(&h->mutex);
    pthread_cond_destroy(&h->left);
    pthread_mutex_destroy(&h->mutex);
    free(h);
}

/* Put it into the queue and wait for its end; false when the engine is stopped. */
static bool submit(struct http *h, struct exchange *x)
{
    pthread_mutex_lock(&h->mutex);
    bool goes_on = !h->is_stopped && !is_of_stopped_group(x);
    if (goes_on) {
        h->callers++;
        *h->queue_end = x;
        h->queue_end = &x->next;
        curl_multi_wakeup(h->multi);
        while (!x->has_ended)
            pthread_cond_wait(&x->end, &h->mutex);
        h->callers--;
        pthread_cond_signal(&h->left);
    }
    pthread_mutex_unlock(&h->mutex);
    return goes_on;
}

/* Move the answer over; `t` is released. */
static void take_answer(struct transfer *t, const struct http_request *q, struct http_response *r)
{
    r->status = t->status;
    r->headers = buf_take(&t->head, NULL);
    if (q->into && t->status >= 200 && t->status < 300) {
        r->size = t->received;
        if (!t->stores)
            memcpy(q->into, t->body.data, t->body.size);
    } else {
        r->body = buf_take(&t->body, &r->size);
    }
    transfer_release(t);
}

int http_run(struct http *h, const struct http_request *q, struct http_response *r, struct err *e)
{
    struct exchange *x = xcalloc(1, sizeof *x);
    int rc = -1;
    *r = (struct http_response){0};
    x->q = q;
    pthread_cond_init(&x->end, NULL);
    if (!submit(h, x)) {
        err_set(e, ERR_STOPPED, "stopped");
    } else {
        r->seconds = x->seconds;
        r->was_hedged = x->started == COPIES;
        r->is_unknown_host = !x->answer && x->is_unknown_host;
        if (x->answer) {
            take_answer(&x->copies[x->answer - x->copies], q, r);
            rc = 0;
        } else {
            err_set(e, x->failure.kind, "%s", x->failure.text);
            if (*x->failure.hint)
                err_hint(e, "%s", x->failure.hint);
        }
    }
    pthread_cond_destroy(&x->end);
    free(x);
    return rc;
}

void http_response_release(struct http_response *r)
{
    free(r->body);
    free(r->headers);
    r->body = r->headers = NULL;
    r->size = 0;
}

/* ------------------------------------------------------------------- text -- */

bool http_header(const struct http_response *r, const char *name, char *out, size_t size)
{
    size_t name_size = strlen(name), at = 0;
    bool found = false;
    out[0] = 0;
    for (const char *line = r->headers ? r->headers : ""; *line;) {
        const char *end = strchr(line, '\n');
        if (!end)
            break;
        if (!strncmp(line, name, name_size) && line[name_size] == ':') {
            int n = (int)(end - line) - (int)name_size - 2;
            const char *value = line + name_size + 2;
            int put =
                snprintf(out + at, size - at, "%s%.*s", found ? ", " : "", n < 0 ? 0 : n, value);
            at = at + (size_t)put < size ? at + (size_t)put : size - 1;
            found = true;
        }
        line = end + 1;
    }
    return found;
}

char *http_encode(const char *s, bool keeps_slash)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";
    char *out = xmalloc(3 * strlen(s) + 1), *to = out;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (strchr(plain, c) || (keeps_slash && c == '/')) {
            *to++ = (char)c;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = 0;
    return out;
}
