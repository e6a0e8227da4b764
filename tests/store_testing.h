/* store_testing.h - a store on loopback for the tests of src/net: objects served from memory, in
 * ranges, and a network whose waits take no time. */
#ifndef STORE_TESTING_H
#define STORE_TESTING_H

#include "testing.h"

#include "http_server.h"
#include "base/mem.h"
#include "net/net.h"
#include "net/store.h"

/* A call that sets `e` succeeds. */
#define must(call)                                                                                 \
    do {                                                                                           \
        int must_failed = (call);                                                                  \
        assert_ok(e);                                                                              \
        assert_int_equal(must_failed, 0);                                                          \
    } while (0)

/* What a handler expects of a request.  It runs in a thread of the server, where cmocka cannot end
 * a test: the program ends. */
#define server_expects(condition)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define server_expects_int(found, expected)                                                        \
    do {                                                                                           \
        long long server_found = (long long)(found), server_want = (long long)(expected);          \
        if (server_found != server_want)                                                           \
            print_error("found %lld, expected %lld\n", server_found, server_want);                 \
        server_expects(server_found == server_want);                                               \
    } while (0)
#define server_expects_text(found, expected)                                                       \
    do {                                                                                           \
        const char *server_found = (found), *server_want = (expected);                             \
        if (strcmp(server_found, server_want) != 0)                                                \
            print_error("found \"%s\", expected \"%s\"\n", server_found, server_want);            \
        server_expects(strcmp(server_found, server_want) == 0);                                    \
    } while (0)

struct site {
    struct http_server *server;
    struct net *net;
    double now;                   /* of the network's clock; sleeping moves it */
};

static inline double site_now(void *arg)
{
    return ((struct site *)arg)->now;
}

static inline void site_sleep(void *arg, double seconds)
{
    ((struct site *)arg)->now += seconds;
}

/* Serve, and let `variable` name the server.  Credentials of this machine are not looked at. */
static inline void site_open(struct site *s, const char *variable, server_handler handler,
                             void *arg, const char *payer)
{
    struct net_options o = {.budget_s = 100, .stall_s = 5, .user_project = payer, .seed = 1};
    *s = (struct site){.server = http_server_start(handler, arg)};
    setenv("HOME", "/nonexistent", 1);
    setenv(variable, http_server_url(s->server), 1);
    s->net = net_open(&o);
    struct net_clock clock = {site_now, site_sleep, s};
    net_set_clock(s->net, &clock);
}

static inline void site_close(struct site *s)
{
    net_close(s->net);
    http_server_stop(s->server);
}

/* Headers of a reply must outlive the handler; a connection has one reply at a time. */
static inline char *reply_headers(const struct server_request *q, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline char *reply_headers(const struct server_request *q, const char *fmt, ...)
{
    static char room[64][4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(room[q->connection % 64], sizeof room[0], fmt, ap);
    va_end(ap);
    return room[q->connection % 64];
}

/* The bytes that the request's Range asks for (all without one), with these headers on top. */
static inline void reply_bytes(const struct server_request *q, struct server_reply *r,
                               const void *data, size_t size, const char *headers)
{
    int64_t first = 0, last = 0, total = (int64_t)size;
    char more[3000];
    snprintf(more, sizeof more, "%s", headers);
    if (!server_range(q, &first, &last)) {
        *r = (struct server_reply){.status = 200, .body = data, .size = size};
        r->headers = reply_headers(q, "%s", more);
    } else if (first >= total) {
        *r = (struct server_reply){.status = 416};
        r->headers = reply_headers(q, "Content-Range: bytes */%lld\r\n%s", (long long)total, more);
    } else {
        last = last < total ? last : total - 1;
        *r = (struct server_reply){.status = 206};
        r->body = (const char *)data + first;
        r->size = (size_t)(last - first + 1);
        r->headers = reply_headers(q, "Content-Range: bytes %lld-%lld/%lld\r\n%s", (long long)first,
                                   (long long)last, (long long)total, more);
    }
}

/* A text that the server frees. */
static inline void reply_text(struct server_reply *r, int status, const char *text)
{
    *r = (struct server_reply){.status = status, .owned = xstrdup(text), .size = strlen(text)};
}

/* Bytes that are all different enough. */
static inline unsigned char *testing_bytes(size_t size)
{
    unsigned char *data = xmalloc(size + 1);
    uint32_t x = 12345;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (unsigned char)(x >> 24);
    }
    return data;
}

#endif
