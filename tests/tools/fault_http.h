/* fault_http.h - messages of HTTP/1.1 over sockets: heads, and bodies of known length, chunked, or
 * up to the end of the connection.  Part of fault_proxy.c alone.
 */
#ifndef FAULT_HTTP_H
#define FAULT_HTTP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { HEAD_MAX = 64 << 10 };

/* Bytes that come over a socket, those first that were read too far. */
struct stream {
    int fd;
    size_t at, end;
    char data[HEAD_MAX];
};

/* What is left of a message's body. */
struct body {
    struct stream *from;
    enum { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_TO_END } how;
    int64_t left;                          /* of the body, or of the chunk */
    bool is_begun;                         /* a chunk was read */
};

struct head {
    char text[HEAD_MAX];                   /* lines end in \r\n; the empty last one is not in it */
    char method[16], target[16384];        /* request */
    int status;                            /* answer */
    bool closes;
};

/* ---------------------------------------------------------------- sockets -- */

static int send_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size) {
        ssize_t n = send(fd, p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int send_text(int fd, const char *s)
{
    return send_all(fd, s, strlen(s));
}

/* Up to `max` bytes; 0 at the end, -1 on failure. */
static ssize_t stream_read(struct stream *s, void *out, size_t max)
{
    if (s->at < s->end) {
        size_t n = s->end - s->at < max ? s->end - s->at : max;
        memcpy(out, s->data + s->at, n);
        s->at += n;
        return (ssize_t)n;
    }
    for (;;) {
        ssize_t n = recv(s->fd, out, max, 0);
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

/* More bytes behind those that are there: 0, or -1 when none come or there is no room. */
static int stream_fill(struct stream *s)
{
    memmove(s->data, s->data + s->at, s->end - s->at);
    s->end -= s->at;
    s->at = 0;
    if (s->end == sizeof s->data)
        return -1;
    ssize_t n = recv(s->fd, s->data + s->end, sizeof s->data - s->end, 0);
    if (n <= 0)
        return -1;
    s->end += (size_t)n;
    return 0;
}

/* A line without its \r\n. */
static int stream_line(struct stream *s, char *out, size_t size)
{
    for (;;) {
        char *end = memchr(s->data + s->at, '\n', s->end - s->at);
        if (end) {
            size_t n = (size_t)(end - s->data) - s->at;
            if (n >= size)
                return -1;
            memcpy(out, s->data + s->at, n);
            out[n && out[n - 1] == '\r' ? n - 1 : n] = 0;
            s->at += n + 1;
            return 0;
        }
        if (stream_fill(s))
            return -1;
    }
}

static void hard_close(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* ------------------------------------------------------------------ heads -- */

/* The value of a header, "" when it is not there.  `out` is cut to `size`. */
static const char *head_get(const struct head *h, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    *out = 0;
    for (const char *p = strstr(h->text, "\r\n"); p && p[2]; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) || p[2 + n] != ':')
            continue;
        p += 3 + n;
        p += strspn(p, " ");
        size_t length = strcspn(p, "\r");
        snprintf(out, size, "%.*s", (int)length, p);
        break;
    }
    return out;
}

static void head_remove(struct head *h, const char *name)
{
    size_t n = strlen(name);
    for (char *p = strstr(h->text, "\r\n"); p && p[2];) {
        char *next = strstr(p + 2, "\r\n");
        if (next && !strncasecmp(p + 2, name, n) && p[2 + n] == ':')
            memmove(p, next, strlen(next) + 1);
        else
            p = next;
    }
}

static void head_set(struct head *h, const char *name, const char *value)
{
    head_remove(h, name);
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof h->text - n, "%s: %s\r\n", name, value);
}

/* Read lines up to the empty one. */
static int head_read(struct head *h, struct stream *s)
{
    size_t n = 0;
    for (;;) {
        if (n + 3 >= sizeof h->text || stream_line(s, h->text + n, sizeof h->text - n - 2))
            return -1;
        if (!h->text[n] && n)
            break;
        n += strlen(h->text + n);
        if (n)
            n += (size_t)snprintf(h->text + n, 3, "\r\n");
    }
    h->text[n] = 0;
    char connection[64];
    h->closes = !strcasecmp(head_get(h, "Connection", connection, sizeof connection), "close");
    return 0;
}

static void body_of(struct body *b, const struct head *h, struct stream *from, bool ends_at_close)
{
    char value[64];
    *b = (struct body){.from = from, .how = ends_at_close ? BODY_TO_END : BODY_NONE};
    if (!strcasecmp(head_get(h, "Transfer-Encoding", value, sizeof value), "chunked")) {
        b->how = BODY_CHUNKED;
    } else if (*head_get(h, "Content-Length", value, sizeof value)) {
        b->how = BODY_LENGTH;
        b->left = strtoll(value, NULL, 10);
    }
}

static int next_chunk(struct body *b)
{
    char line[256];
    if (b->is_begun && stream_line(b->from, line, sizeof line))
        return -1;
    if (stream_line(b->from, line, sizeof line))
        return -1;
    b->is_begun = true;
    b->left = strtoll(line, NULL, 16);
    if (b->left > 0)
        return 0;
    do                                     /* trailers */
        if (stream_line(b->from, line, sizeof line))
            return -1;
    while (*line);
    b->how = BODY_NONE;
    return 0;
}

/* Bytes of the body: 0 at its end, -1 when it is cut. */
static ssize_t body_read(struct body *b, char *out, size_t max)
{
    if (b->how == BODY_CHUNKED && !b->left && next_chunk(b))
        return -1;
    if (b->how == BODY_NONE || (b->how == BODY_LENGTH && !b->left))
        return 0;
    if (b->how != BODY_TO_END && (int64_t)max > b->left)
        max = (size_t)b->left;
    ssize_t n = stream_read(b->from, out, max);
    if (b->how == BODY_TO_END)
        return n;
    b->left -= n > 0 ? n : 0;
    return n > 0 ? n : -1;
}

#endif
