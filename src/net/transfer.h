/* transfer.h - one HTTP exchange over one connection, by libcurl; redirects are followed here.
 *
 * For http.c alone, which runs many of them, and each on its one thread.
 */
#ifndef NET_TRANSFER_H
#define NET_TRANSFER_H

#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum transfer_state {
    TRANSFER_IDLE,                /* not started */
    TRANSFER_RUNNING,
    TRANSFER_ANSWERED,            /* a whole answer, or as much of it as matters */
    TRANSFER_FAILED
};

/* Why we ended a transfer from within. */
enum transfer_refusal {
    REFUSED_NOTHING,
    REFUSED_SIZE,                 /* the body is larger than its room */
    REFUSED_HEADERS,              /* more headers than HTTP_HEADERS_MAX */
    REFUSED_REST                  /* the rest of a body that matters no more */
};

struct transfer {
    const struct http_request *q;
    CURLM *multi;
    CURL *easy;                   /* NULL unless running */
    struct curl_slist *lines;     /* request headers */
    char *url;                    /* where it goes now */
    char host[280];               /* of `url`, with its port when that is named */
    bool stores;                  /* good bodies go straight to q->into */
    bool is_foreign;              /* redirected to another origin: credentials stayed behind */
    int redirects;
    enum transfer_state state;
    enum transfer_refusal refusal;
    int status;                   /* of the last answer, once its head is whole */
    bool has_head;                /* the head of an answer is whole */
    struct buf head, body;
    size_t received;              /* bytes of a good body */
    int64_t announced;            /* Content-Length, -1: none */
    double moved_s;               /* on the clock: when it last got on by STALL_BYTES ... */
    int64_t moved, uploaded;      /* ... and the bytes since; those sent in all */
    char curl_error[CURL_ERROR_SIZE];
};

/* Send `q`, which must live until transfer_release.  `stores`: into q->into; otherwise bodies are
 * collected.  Sets `state`, on failure to TRANSFER_FAILED with `e`. */
void transfer_start(struct transfer *t, const struct http_request *q, bool stores, CURLM *multi,
                    const struct http_options *o, struct err *e);

/* libcurl is done with it.  Sets `state`; TRANSFER_RUNNING when a redirect is followed.
 * `is_unknown_host`: the failure is that its name is not known. */
void transfer_end(struct transfer *t, CURLcode code, const struct http_options *o,
                  bool *is_unknown_host, struct err *e);

/* It has been silent, or has lasted, for too long: end it.  `what`: "no progress for 30 s". */
void transfer_give_up(struct transfer *t, const char *what, struct err *e);

/* Note what was sent since; the moment of the last progress. */
double transfer_progress(struct transfer *t, double now);

/* Cancel if it runs, and free.  All zero is fine. */
void transfer_release(struct transfer *t);

#endif
