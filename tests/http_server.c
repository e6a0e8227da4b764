/* http_server.c - see http_server.h. */
#include "http_server.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 64 << 10, BODY_MAX = 256 << 20, CHUNK = 1000, SLICE = 64 << 10 };

struct connection {
    struct http_server *server;
    struct connection *next;
    pthread_t thread;
    int number;
    int fd;                       /* -1 when closed; under the server's mutex */
    struct buf in;                /* received, not yet used */
    void *owned;                  /* body of the last reply */
};

struct http_server {
    int fd, port;
    char url[40];
    server_handler handler;
    void *arg;
    pthread_t thread;
    pthread_mutex_t handling;     /* held while the handler runs */
    pthread_mutex_t mutex;        /* of what follows */
    struct connection *connections;
    int connection_count, open_count, request_count;
    bool is_stopping;
};

/* --------------------------------------------------------------- requests -- */

const char *server_header(const struct server_request *q, const char *name)
{
    static _Thread_local char value[16 << 10];
    size_t size = strlen(name);
    for (const char *line = q->headers; *line; line = strchr(line, '\n') + 1) {
        if (strncasecmp(line, name, size) || line[size] != ':')
            continue;
        const char *from = line + size + 2, *end = strchr(from, '\n');
        snprintf(value, sizeof value, "%.*s", (int)(end - from), from);
        return value;
    }
    return "";
}

bool server_range(const struct server_request *q, int64_t *first, int64_t *last)
{
    long long a, b;
    if (sscanf(server_header(q, "range"), "bytes=%lld-%lld", &a, &b) != 2)
        return false;
    *first = a;
    *last = b;
    return true;
}

/* Receive until `in` holds `size` bytes; false at the end of the connection. */
static bool receive(struct connection *c, size_t size)
{
    while (c->in.size < size) {
        char piece[SLICE];
        ssize_t n = recv(c->fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        buf_add(&c->in, piece, (size_t)n);
    }
    return true;
}

/* Receive up to the empty line; the size of the head with it, 0 at the end of the connection. */
static size_t receive_head(struct connection *c)
{
    for (;;) {
        const char *end = strstr(c->in.data, "\r\n\r\n");
        if (end)
            return (size_t)(end - c->in.data) + 4;
        if (c->in.size > HEAD_MAX || !receive(c, c->in.size + 1))
            return 0;
    }
}

/* "Name: value\r\n" lines as "name: value\n". */
static char *copy_headers(const char *at, const char *end)
{
    char *out = xmalloc((size_t)(end - at) + 1), *to = out;
    bool in_name = true;
    for (; at < end; at++) {
        if (*at == '\r')
            continue;
        if (in_name && *at == ':') {
            in_name = false;
            *to++ = ':';
            *to++ = ' ';
            while (at + 1 < end && at[1] == ' ')
                at++;
            continue;
        }
        *to++ = (char)(in_name && *at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
        in_name = in_name || *at == '\n';
    }
    *to = 0;
    return out;
}

/* ---------------------------------------------------------------- replies -- */

/* Wait; false when the client goes (or the server stops, which shuts the socket down). */
static bool linger(struct connection *c, double seconds)
{
    double until = clock_seconds() + seconds;
    for (double left = seconds; left > 0; left = until - clock_seconds()) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        char byte;
        int ms = left > 1 ? 1000 : (int)(1e3 * left) + 1;
        if (poll(&p, 1, ms) > 0 && recv(c->fd, &byte, 1, MSG_PEEK) <= 0)
            return false;
        if (p.revents)             /* pipelined bytes: nothing to wait on */
            clock_sleep(left < 0.01 ? left : 0.01);
    }
    return true;
}

static bool send_all(struct connection *c, const void *data, size_t size)
{
    for (const char *at = data; size;) {
        ssize_t n = send(c->fd, at, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool send_body(struct connection *c, const struct server_reply *r, size_t size)
{
    const char *data = r->owned ? r->owned : r->body;
    size_t piece = r->is_chunked ? CHUNK : SLICE;
    if (r->bytes_per_s > 0 && r->bytes_per_s * 0.02 < (double)piece)
        piece = (size_t)(r->bytes_per_s * 0.02) + 1;
    for (size_t at = 0; at < size; at += piece) {
        char mark[24];
        size_t n = size - at < piece ? size - at : piece;
        int m = snprintf(mark, sizeof mark, "%zx\r\n", n);
        if (r->is_chunked && !send_all(c, mark, (size_t)m))
            return false;
        if (!send_all(c, data + at, n) || (r->is_chunked && !send_all(c, "\r\n", 2)))
            return false;
        if (r->bytes_per_s > 0 && !linger(c, (double)n / r->bytes_per_s))
            return false;
    }
    return true;
}

static bool send_head(struct connection *c, const struct server_reply *r)
{
    struct buf head;
    bool ok;
    bool has_length = !r->hides_length && !r->is_chunked && r->status >= 200 && r->status != 204;
    buf_init(&head, HEAD_MAX * 4);
    buf_printf(&head, "HTTP/1.1 %d Scripted\r\n", r->status);
    if (has_length)
        buf_printf(&head, "Content-Length: %lld\r\n",
                   r->claims_length > 0 ? (long long)r->claims_length : (long long)r->size);
    if (r->is_chunked)
        buf_add_str(&head, "Transfer-Encoding: chunked\r\n");
    if (r->hides_length)
        buf_add_str(&head, "Connection: close\r\n");
    buf_printf(&head, "%s\r\n", r->headers);
    ok = send_all(c, head.data, head.size);
    buf_release(&head);
    return ok;
}

/* Send the reply; false when the connection ends with it. */
static bool reply(struct connection *c, const struct server_reply *r, bool is_head)
{
    if (r->delay_s > 0 && !linger(c, r->delay_s))
        return false;
    if (!r->is_raw && !send_head(c, r))
        return false;
    size_t size = is_head ? 0 : r->size;
    if (r->fault && r->cut < size)
        size = r->cut;
    if (!send_body(c, r, size))
        return false;
    struct linger hard = {.l_onoff = 1};
    switch (r->fault) {
    case SERVER_OK: break;
    case SERVER_RESET: setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); return false;
    case SERVER_CLOSE: return false;
    case SERVER_STALL: linger(c, 1e6); return false;
    }
    if (r->is_chunked && !is_head && !send_all(c, "0\r\n\r\n", 5))
        return false;
    return !r->hides_length && !r->is_raw && (r->claims_length <= 0 || is_head);
}

/* ------------------------------------------------------------ connections -- */

/* Cut "METHOD PATH HTTP/1.1" into its words; false when it is something else. */
static bool cut_request_line(char *line, struct server_request *q)
{
    char *path = strchr(line, ' '), *version = path ? strchr(path + 1, ' ') : NULL;
    if (!version)
        return false;
    *path = *version = 0;
    q->method = line;
    q->path = path + 1;
    return true;
}

/* Answer one request; false when the connection is over. */
static bool serve_one(struct connection *c)
{
    struct http_server *s = c->server;
    size_t head_size = receive_head(c);
    if (!head_size)
        return false;
    char *line = xstrndup(c->in.data, head_size);
    char *headers_at = strstr(line, "\r\n") + 2;
    char *headers = copy_headers(headers_at, line + head_size - 2);
    headers_at[-2] = 0;
    struct server_request q = {.headers = headers, .connection = c->number};
    bool goes_on = cut_request_line(line, &q);
    size_t body_size = (size_t)strtoull(server_header(&q, "content-length"), NULL, 10);
    if (goes_on && !strcasecmp(server_header(&q, "expect"), "100-continue"))
        goes_on = send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (goes_on && body_size <= BODY_MAX && receive(c, head_size + body_size)) {
        struct server_reply r = {.status = 200};
        q.body = c->in.data + head_size;
        q.body_size = body_size;
        pthread_mutex_lock(&s->handling);
        pthread_mutex_lock(&s->mutex);
        q.number = s->request_count++;
        pthread_mutex_unlock(&s->mutex);
        free(c->owned);
        c->owned = NULL;
        s->handler(s->arg, &q, &r);
        c->owned = r.owned;
        char *lines = xstrdup(r.headers ? r.headers : "");
        r.headers = lines;
        pthread_mutex_unlock(&s->handling);
        goes_on = reply(c, &r, !strcmp(q.method, "HEAD"));
        free(lines);
        size_t used = head_size + body_size, left = c->in.size - used;
        memmove(c->in.data, c->in.data + used, left);
        buf_truncate(&c->in, left);
    } else {
        goes_on = false;
    }
    free(headers);
    free(line);
    return goes_on;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct http_server *s = c->server;
    while (serve_one(c))
        continue;
    pthread_mutex_lock(&s->mutex);
    close(c->fd);
    c->fd = -1;
    s->open_count--;
    pthread_mutex_unlock(&s->mutex);
    buf_release(&c->in);
    free(c->owned);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct http_server *s = arg;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL), yes = 1;
        pthread_mutex_lock(&s->mutex);
        if (s->is_stopping || (fd < 0 && errno != EINTR && errno != ECONNABORTED)) {
            pthread_mutex_unlock(&s->mutex);
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        if (fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            struct connection *c = xcalloc(1, sizeof *c);
            *c = (struct connection){.server = s, .fd = fd, .next = s->connections};
            c->number = s->connection_count++;
            buf_init(&c->in, BODY_MAX + HEAD_MAX + SLICE);
            s->connections = c;
            s->open_count++;
            if (pthread_create(&c->thread, NULL, serve, c))
                mem_die("could not start a thread of the test server");
        }
        pthread_mutex_unlock(&s->mutex);
    }
}

/* ----------------------------------------------------------------- server -- */

struct http_server *http_server_start(server_handler handler, void *arg)
{
    struct http_server *s = xcalloc(1, sizeof *s);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    signal(SIGPIPE, SIG_IGN);
    s->handler = handler;
    s->arg = arg;
    pthread_mutex_init(&s->handling, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&at, sizeof at) || listen(s->fd, 256) ||
        getsockname(s->fd, (struct sockaddr *)&at, &size))
        mem_die("could not start the test server");
    s->port = ntohs(at.sin_port);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", s->port);
    if (pthread_create(&s->thread, NULL, accept_all, s))
        mem_die("could not start the thread of the test server");
    return s;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

const char *http_server_url(const struct http_server *s)
{
    return s->url;
}

static int read_count(const struct http_server *s, const int *count)
{
    pthread_mutex_t *mutex = &((struct http_server *)s)->mutex;
    pthread_mutex_lock(mutex);
    int n = *count;
    pthread_mutex_unlock(mutex);
    return n;
}

int http_server_requests(const struct http_server *s)
{
    return read_count(s, &s->request_count);
}

int http_server_open_connections(const struct http_server *s)
{
    return read_count(s, &s->open_count);
}

/* Wake accept(): shutting a listening socket down does it on Linux, a connection everywhere. */
static void wake_accept(struct http_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at))
        shutdown(s->fd, SHUT_RDWR);
    if (fd >= 0)
        close(fd);
}

void http_server_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->mutex);
    s->is_stopping = true;
    for (struct connection *c = s->connections; c; c = c->next)
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->mutex);
    wake_accept(s);
    pthread_join(s->thread, NULL);
    for (struct connection *c = s->connections, *next; c; c = next) {
        next = c->next;
        pthread_join(c->thread, NULL);
        free(c);
    }
    close(s->fd);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->handling);
    free(s);
}
