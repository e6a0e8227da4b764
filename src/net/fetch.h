/* fetch.h - a range of one version of an object, and proof that the answer is just that.
 *
 * What all stores share: a Range header and the Content-Range that must match it (RFC 9110, section
 * 14), a size and a version that must be those which are known, answers that servers or proxies get
 * wrong.  Wrong answers are asked for again, FETCH_WRONG_MAX times in a row at most: a server that
 * always ignores ranges must not cost the patience that a dead network gets.
 */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include "base/json.h"
#include "net/request.h"
#include "net/store.h"

enum { FETCH_WRONG_MAX = 4 };

struct fetch {
    const char *url;
    const char *const *headers;   /* NULL-ended; Range comes on top; may be NULL */
    enum request_login login;
    bool follows;
    const char *aws_sigv4;
    double hedge_s;
    const char *what;             /* the object in messages */
    const struct object *object;  /* what is known: version "" and size -1 are not */

    /* What the headers of an answer say of the object, into a zeroed `found` of size -1. */
    void (*facts)(const struct http_response *r, struct object *found);

    /* Answers of a status that is neither 2xx nor explained below, if it is one of `statuses`
     * (0-ended, FETCH_STATUSES_MAX at most): state the error.  May be NULL. */
    int (*refused)(void *arg, const struct http_response *r, struct err *e);
    void *arg;
    const int *statuses;

    int status;                   /* out: of the last answer that was looked at; 0: none */
};

enum { FETCH_STATUSES_MAX = 6 };

/* Exactly `size` (above 0) bytes at `offset`.  A known version that is not there any more (404,
 * 410, 412, other facts) is ERR_INTEGRITY. */
int fetch_range(struct net *n, struct fetch *f, int64_t offset, void *out, size_t size,
                struct err *e) MUST_CHECK;

/* The first `room` bytes of an object, or all when it has fewer.  `o` (which may be f->object)
 * takes the facts that are found and not known yet; its size is that of the whole afterwards.  A
 * zero follows the bytes.  The caller frees. */
void *fetch_first(struct net *n, struct fetch *f, size_t room, struct object *o, size_t *size,
                  struct err *e) MUST_CHECK;

/* The facts of an object by a request for its first byte, for servers that answer no HEAD.  The
 * same rules; its size is known afterwards or -1. */
int fetch_facts(struct net *n, struct fetch *f, struct object *o, struct err *e) MUST_CHECK;

/* A request whose answer is JSON.  `status` (may be NULL) receives the answer's; `*v` is NULL for
 * one of q->statuses, else the value, which the caller gives to json_decref.  q->check is not
 * used. */
int fetch_json(struct net *n, struct request *q, json_t **v, int *status, struct err *e) MUST_CHECK;

/* The same, also with the answer itself (for its headers), which the caller releases. */
int fetch_json_answer(struct net *n, struct request *q, json_t **v, struct http_response *r,
                      struct err *e) MUST_CHECK;

/* "bytes 0-4/10" (or ".../" "*": total -1, or "bytes *" "/10": first and last -1). */
bool fetch_content_range(const struct http_response *r, int64_t *first, int64_t *last,
                         int64_t *total);

/* A header as a number from 0 on; -1 when it is none or not there. */
int64_t fetch_header_int(const struct http_response *r, const char *name);
/* A text of digits as a number; -1 when it is none. */
int64_t fetch_int(const char *text);

/* Is nobody on the way able to read or change what goes to this address: https, or http on
 * loopback? */
bool fetch_is_protected(const char *url);

/* Take over the facts of `found` that `o` does not have. */
void fetch_learn(struct object *o, const struct object *found);

#endif
