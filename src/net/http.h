/* http.h - HTTP/1.1 requests by libcurl, many at once, all driven by one thread.
 *
 * Parallel ranges go over connections of their own, since one stream is what servers throttle;
 * that is why HTTP/2 is not used.  Bodies come as they are on the wire: no content coding is undone
 * here, and bytes are stored only when the status is known and is one of success.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct http;

struct http_options {
    int connections;              /* at once in all; further requests wait their turn.  Second
                                     copies come on top, a quarter as many and one */
    double stall_s;               /* less than a KiB in so long ends a transfer */
    double connect_s;             /* 0 is 10 */
};

enum { HTTP_HEADERS_MAX = 64 << 10 };

/* Requests that can be ended together, apart from all others: all zero at first. */
struct http_group {
    bool is_stopped;              /* under the engine's mutex */
};

struct http_request {
    const char *method;           /* NULL: GET */
    const char *url;
    const char *const *headers;   /* "Name: value", NULL-ended; may be NULL */
    const void *body;             /* sent; may be NULL */
    size_t body_size;
    void *into;                   /* where a body of 2xx goes ... */
    size_t into_size;             /* ... and its room: more is an error */
    size_t body_max;              /* NULL `into`: most bytes collected, 0 is 1 MiB */
    int body_status;              /* above 0: the body of another 2xx than this is dropped unread */
    double total_s;               /* the whole exchange but its time in the queue, 0: no limit but
                                     stall_s */
    double hedge_s;               /* above 0: after so long a second copy is sent; first wins */
    bool follows;                 /* redirects of GET and HEAD, five at most, to https (and from
                                     http to loopback); to another origin go harmless headers
                                     alone (Accept, Range, If-Match), no credentials */
    const char *aws_sigv4;        /* "aws:amz:REGION:s3": sign by Signature Version 4 ... */
    const char *aws_keys;         /* ... with "KEY_ID:SECRET" */
    struct http_group *group;     /* may be NULL */
};

struct http_response {
    int status;
    char *body;                   /* NULL when it went into `into`; a zero follows the bytes */
    size_t size;                  /* of the body received */
    char *headers;                /* of the last answer: lower-case names, "name: value\n" */
    double seconds;
    bool was_hedged;
    bool is_unknown_host;         /* the failure: no address for the host's name */
    int tries;                    /* set by request.h: how often it was sent, 1: once */
};

struct http *http_open(const struct http_options *o);
/* Cancels what is running.  NULL is fine. */
void http_close(struct http *h);

/* One exchange; waits for its end.  Any status is success; the body of a status other than 2xx is
 * collected in `body` (64 KiB of it, also with `into`), and may be cut.  Failures of the
 * connection, an unknown host (the network may be gone), a body shorter than announced or larger
 * than `into` are ERR_RETRY with a text such as "storage.googleapis.com: connection reset"; a
 * collected body larger than `body_max` is ERR_DATA; what cannot be mended by trying again (a bad
 * URL, a certificate that is not trusted) is ERR_FAILED.  After http_stop, also of its group:
 * ERR_STOPPED.  The caller releases the response, on failure too. */
int http_run(struct http *h, const struct http_request *q, struct http_response *r,
             struct err *e) MUST_CHECK;
void http_response_release(struct http_response *r);

/* End all requests, now and later. */
void http_stop(struct http *h);
/* The same for those of one group, which must live on until they have ended. */
void http_stop_group(struct http *h, struct http_group *g);

/* The value of a header (lower-case name), copied to `out` and cut to its size; false when it is
 * not there.  Several of one name are joined by ", " (RFC 9110, 5.3). */
bool http_header(const struct http_response *r, const char *name, char *out, size_t size);

/* `s` percent-encoded (RFC 3986: all but letters, digits and -._~), or all but these and '/' too.
 * The caller frees. */
char *http_encode(const char *s, bool keeps_slash);

#endif
