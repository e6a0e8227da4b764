/* http_server.h - a small HTTP/1.1 server on loopback for tests: each request goes to a function
 * that says what to answer, and how the answer goes wrong.
 *
 * Linked into every test (tests/http_server.c).  One thread a connection; keep-alive is kept.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;

struct server_request {
    const char *method, *path;    /* path: as sent, with the query */
    const char *headers;          /* "name: value\n", names in lower case */
    const char *body;
    size_t body_size;
    int connection;               /* from 0, in the order of their opening */
    int number;                   /* of the request, from 0, over all connections */
};

enum server_fault {
    SERVER_OK,
    SERVER_RESET,                 /* RST after `cut` bytes of the body */
    SERVER_CLOSE,                 /* orderly end after `cut` bytes of the body */
    SERVER_STALL,                 /* nothing more after `cut` bytes of the body, until the client
                                     goes or the server is stopped */
};

struct server_reply {
    int status;                   /* 200 */
    const char *headers;          /* further lines, each ended by \r\n, copied; NULL: none */
    const void *body;             /* must live until the next request of this connection; or ... */
    void *owned;                  /* ... this one, which the server frees */
    size_t size;
    bool hides_length;            /* no Content-Length: the body ends with the connection */
    bool is_chunked;              /* Transfer-Encoding: chunked, in chunks of 1000 bytes */
    bool is_raw;                  /* `body` is all that is sent: no status line, no headers */
    int64_t claims_length;        /* above 0: the Content-Length to send, whatever `size` is */
    double delay_s;               /* before the answer */
    double bytes_per_s;           /* 0: as fast as it goes */
    enum server_fault fault;
    size_t cut;
};

typedef void (*server_handler)(void *arg, const struct server_request *q, struct server_reply *r);

/* On a free port of 127.0.0.1.  The handler is called by one thread at a time. */
struct http_server *http_server_start(server_handler handler, void *arg);
int http_server_port(const struct http_server *s);
/* "http://127.0.0.1:PORT"; valid until stopped. */
const char *http_server_url(const struct http_server *s);
int http_server_requests(const struct http_server *s);      /* so far */
int http_server_open_connections(const struct http_server *s);
void http_server_stop(struct http_server *s);

/* The value of a header of a request, "" when it is not there; valid until the next call. */
const char *server_header(const struct server_request *q, const char *name);
/* "bytes=5-9" of a Range header: false when there is none. */
bool server_range(const struct server_request *q, int64_t *first, int64_t *last);

#endif
