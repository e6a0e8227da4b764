/* fault_proxy.c - an HTTP/1.1 proxy on loopback that stands before a storage emulator and does to
 * the traffic what networks and real servers do: scripted, seeded, counted.
 *
 *     fault_proxy --origin 127.0.0.1:PORT [--listen PORT] [--script FILE] [--seed N] [--log FILE]
 *
 * Prints the port that it listens on (any free one by default) and serves until it is killed.  What
 * a script can do stands in fault_script.h.  Requests to /__proxy/ are its own:
 *
 *     GET  /__proxy/stats        counters as JSON
 *     POST /__proxy/script       replaces the script, and with it the rules' counters
 *     POST /__proxy/token        an OAuth token ("token-1", ...), the only good one from now on
 *     GET  /computeMetadata/...  the same, as a metadata server of Google Cloud answers
 *
 * With a delay (rtt_ms) the first request on a connection waits twice as long, for its handshake.
 * The log has a line a request: seconds, connection, method, status, bytes of the body sent, range,
 * rules, target.
 */
#include "fault_http.h"
#include "fault_script.h"

#include "base/buf.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 256 << 10, JSON_MAX = 256 << 20, STACK = 512 << 10 };

struct client {
    int64_t number;                        /* of the connection */
    int64_t requests;
    struct stream in, up;                  /* from the client; from the server */
    struct head head, answer;
    char piece[PIECE];
};

static struct {
    struct sockaddr_in origin;
    uint64_t seed;
    FILE *log;
    pthread_mutex_t lock;                  /* of everything below */
    struct script *script;
    int64_t requests[KINDS], no_user_project, no_authorization, bytes_down, bytes_up;
    int64_t open, open_max, connections, token;
    double started;
} proxy = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ------------------------------------------------------- the proxy's own -- */

static int reply(int fd, int status, const char *headers, const char *body, size_t size)
{
    char *head = xasprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%s"
                           "Content-Length: %zu\r\n\r\n",
                           status, status < 400 ? "OK" : "Injected", headers, size);
    int failed = send_text(fd, head) || send_all(fd, body, size);
    free(head);
    return failed ? -1 : 0;
}

static char *stats_text(void)
{
    json_t *o = json_object(), *requests = json_object(), *faults = json_object();
    pthread_mutex_lock(&proxy.lock);
    int64_t all = 0;
    for (int i = 0; i < KINDS; i++) {
        json_put_int(requests, kind_names[i], proxy.requests[i]);
        all += proxy.requests[i];
    }
    json_put_int(requests, "all", all);
    json_put(o, "requests", requests);
    for (int i = 0; i < proxy.script->rule_count; i++)
        json_put_int(faults, proxy.script->rules[i].name, proxy.script->rules[i].touched);
    json_put(o, "faults", faults);
    json_put_int(o, "bytes_down", proxy.bytes_down);
    json_put_int(o, "bytes_up", proxy.bytes_up);
    json_put_int(o, "connections_open", proxy.open);
    json_put_int(o, "connections_max", proxy.open_max);
    json_put_int(o, "connections", proxy.connections);
    json_put_int(o, "no_user_project", proxy.no_user_project);
    json_put_int(o, "no_authorization", proxy.no_authorization);
    json_put_int(o, "tokens", proxy.token);
    json_put_double(o, "seconds", clock_seconds() - proxy.started);
    pthread_mutex_unlock(&proxy.lock);
    struct buf b;
    buf_init(&b, SCRIPT_MAX);
    json_write_compact(o, &b);
    buf_add_char(&b, '\n');
    json_decref(o);
    return buf_take(&b, NULL);
}

/* A new token; the ones before are not good any more. */
static char *token_text(void)
{
    pthread_mutex_lock(&proxy.lock);
    int64_t token = ++proxy.token;
    pthread_mutex_unlock(&proxy.lock);
    return xasprintf("{\"access_token\":\"token-%lld\",\"expires_in\":3599,"
                     "\"token_type\":\"Bearer\"}\n",
                     (long long)token);
}

static int use_script(const char *text, size_t size, struct err *e)
{
    struct script *s = script_read(text, size, proxy.seed, e);
    if (!s)
        return -1;
    pthread_mutex_lock(&proxy.lock);
    struct script *old = proxy.script;
    proxy.script = s;
    pthread_mutex_unlock(&proxy.lock);
    script_free(old);
    return 0;
}

/* A request to the proxy itself. */
static int serve_own(struct client *c, struct body *body)
{
    struct buf sent;
    struct err e = {0};
    char *text = NULL;
    int status = 200;
    ssize_t n;
    buf_init(&sent, SCRIPT_MAX);
    while ((n = body_read(body, c->piece, sizeof c->piece)) > 0)
        buf_add(&sent, c->piece, (size_t)n);
    if (!strcmp(c->head.target, "/__proxy/stats"))
        text = stats_text();
    else if (!strncmp(c->head.target, "/__proxy/script", 15))
        text = n || use_script(sent.data, sent.size, &e) ? NULL : xstrdup("{}\n");
    else if (strstr(c->head.target, "/token"))
        text = token_text();
    if (!text) {
        status = e.kind ? 400 : 404;
        text = xasprintf("%s\n", e.kind ? e.text : c->head.target);
    }
    int failed =
        n < 0 || reply(c->in.fd, status, "Metadata-Flavor: Google\r\n", text, strlen(text));
    free(text);
    buf_release(&sent);
    return failed ? -1 : 0;
}

/* ---------------------------------------------------------------- verdict -- */

static enum request_kind kind_of(const char *method, const char *target)
{
    static const char buckets[] = "/storage/v1/b/";
    if (!strncmp(target, "/upload/", 8) || !strcmp(method, "PUT"))
        return UPLOAD;
    if (!strcmp(method, "DELETE"))
        return DELETION;
    if (strcmp(method, "GET") != 0)
        return OTHER;
    if (strstr(target, "alt=media") || !strncmp(target, "/download/", 10))
        return MEDIA;
    if (strncmp(target, buckets, sizeof buckets - 1) != 0)
        return strncmp(target, "/storage/", 9) ? MEDIA : META;     /* the XML API: /bucket/name */
    const char *objects = strchr(target + sizeof buckets - 1, '/');
    return objects && !strncmp(objects, "/o", 2) && strchr("?", objects[2]) ? LIST : META;
}

static void decide(struct client *c, struct verdict *v, enum request_kind *kind)
{
    char value[256], good[64];
    struct request_facts q = {.method = c->head.method,
                              .target = c->head.target,
                              .kind = kind_of(c->head.method, c->head.target),
                              .connection = c->number};
    q.is_ranged = *head_get(&c->head, "Range", value, sizeof value);
    q.has_user_project = strstr(q.target, "userProject=") ||
                         *head_get(&c->head, "X-Goog-User-Project", value, sizeof value);
    head_get(&c->head, "Authorization", value, sizeof value);
    *kind = q.kind;
    pthread_mutex_lock(&proxy.lock);
    snprintf(good, sizeof good, "Bearer token-%lld", (long long)proxy.token);
    q.has_token = !strcmp(value, good);
    q.bytes_so_far = proxy.bytes_down;
    proxy.requests[q.kind]++;
    proxy.no_user_project += !q.has_user_project;
    proxy.no_authorization += !*value;
    script_decide(proxy.script, &q, v);
    if (v->drop_token)
        proxy.token++;
    pthread_mutex_unlock(&proxy.lock);
}

static bool has_outage(void)
{
    pthread_mutex_lock(&proxy.lock);
    bool is = proxy.script->outage;
    pthread_mutex_unlock(&proxy.lock);
    return is;
}

/* The target as the server shall see it: pages of limited size, and tokens without our mark. */
static void rewrite_target(const char *target, const struct verdict *v, struct buf *out)
{
    static const char mark[] = "pageToken=again-";
    char *copy = xstrdup(target), *save = NULL;
    char *query = strchr(copy, '?');
    bool has_max = false;
    if (query)
        *query++ = 0;
    buf_add_str(out, copy);
    char separator = '?';
    for (char *p = query ? strtok_r(query, "&", &save) : NULL; p; p = strtok_r(NULL, "&", &save)) {
        char limited[64];
        if (!strncmp(p, "maxResults=", 11) && v->page_max) {
            has_max = true;
            if (strtoll(p + 11, NULL, 10) > v->page_max) {
                snprintf(limited, sizeof limited, "maxResults=%lld", (long long)v->page_max);
                p = limited;
            }
        }
        if (!strncmp(p, mark, sizeof mark - 1)) {
            if (!p[sizeof mark - 1])
                continue;
            buf_printf(out, "%cpageToken=%s", separator, p + sizeof mark - 1);
        } else {
            buf_printf(out, "%c%s", separator, p);
        }
        separator = '&';
    }
    if (v->page_max && !has_max)
        buf_printf(out, "%cmaxResults=%lld", separator, (long long)v->page_max);
    free(copy);
}

/* An empty page, whose token is that of the request (decoded, as JSON) behind a mark. */
static int send_empty_page(struct client *c)
{
    struct buf token, body;
    const char *p = strstr(c->head.target, "pageToken=");
    buf_init(&token, HEAD_MAX);
    buf_init(&body, HEAD_MAX);
    buf_add_str(&token, "again-");
    for (p = p ? p + 10 : ""; *p && *p != '&'; p++) {
        unsigned byte;
        if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1) {
            buf_add_char(&token, (char)byte);
            p += 2;
        } else {
            buf_add_char(&token, *p);
        }
    }
    buf_add_str(&body, "{\"kind\":\"storage#objects\",\"nextPageToken\":");
    json_write_str(token.data, token.size, &body);
    buf_add_char(&body, '}');
    int failed = reply(c->in.fd, 200, "", body.data, body.size);
    buf_release(&token);
    buf_release(&body);
    return failed;
}

/* ------------------------------------------------------------- forwarding -- */

static int up_connect(struct client *c)
{
    if (c->up.fd >= 0)
        close(c->up.fd);
    int one = 1;
    c->up = (struct stream){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (c->up.fd >= 0 &&
        !connect(c->up.fd, (struct sockaddr *)&proxy.origin, sizeof proxy.origin)) {
        setsockopt(c->up.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        return 0;
    }
    if (c->up.fd >= 0)
        close(c->up.fd);
    c->up.fd = -1;
    return -1;
}

/* Send the request on and read the head of the answer; -1 when the server does not answer. */
static int ask_server(struct client *c, struct body *body, const struct verdict *v)
{
    struct buf q;
    char line[256];
    bool is_chunked = body->how == BODY_CHUNKED, is_plain = body->how == BODY_NONE;
    if (v->whole)
        head_remove(&c->head, "Range");
    if (*head_get(&c->head, "Expect", line, sizeof line)) {
        head_remove(&c->head, "Expect");
        if (send_text(c->in.fd, "HTTP/1.1 100 Continue\r\n\r\n"))
            return -1;
    }
    buf_init(&q, 2 * HEAD_MAX);
    buf_printf(&q, "%s ", c->head.method);
    if (kind_of(c->head.method, c->head.target) == LIST)
        rewrite_target(c->head.target, v, &q);
    else
        buf_add_str(&q, c->head.target);
    buf_printf(&q, " HTTP/1.1%s\r\n", strstr(c->head.text, "\r\n"));
    int failed = -1;
    /* The server may have closed a connection that idled: then once more. */
    for (int try = c->up.fd < 0; failed && try < 2; try++) {
        if (c->up.fd < 0 && up_connect(c))
            break;
        failed = send_all(c->up.fd, q.data, q.size);
        ssize_t n = 0;
        while (!failed && (n = body_read(body, c->piece, sizeof c->piece)) > 0) {
            snprintf(line, sizeof line, "%zx\r\n", (size_t)n);
            failed = (is_chunked && send_text(c->up.fd, line)) ||
                     send_all(c->up.fd, c->piece, (size_t)n) ||
                     (is_chunked && send_text(c->up.fd, "\r\n"));
            pthread_mutex_lock(&proxy.lock);
            proxy.bytes_up += n;
            pthread_mutex_unlock(&proxy.lock);
        }
        failed = failed || n < 0 || (is_chunked && send_text(c->up.fd, "0\r\n\r\n"));
        do
            failed = failed || head_read(&c->answer, &c->up) ||
                     sscanf(c->answer.text, "HTTP/%*s %d", &c->answer.status) != 1;
        while (!failed && c->answer.status < 200);
        if (failed) {
            close(c->up.fd);
            c->up.fd = -1;
            if (!is_plain)
                break;
        }
    }
    buf_release(&q);
    return failed ? -1 : 0;
}

/* Nothing happens any more until the client leaves. */
static void stall(int fd)
{
    char byte;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 200) > 0 && recv(fd, &byte, 1, MSG_PEEK) <= 0)
            return;
        if (p.revents & POLLIN)
            clock_sleep(0.2);
    }
}

/* Where in a body the first fault strikes, INT64_MAX when there is none. */
static int64_t next_fault(const struct verdict *v)
{
    int64_t first = INT64_MAX;
    const int64_t places[] = {v->stall_at, v->reset_at, v->close_at};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (places[i] >= 0 && places[i] < first)
            first = places[i];
    return first;
}

/* What was to happen at this place; always ends the connection. */
static int do_fault(struct client *c, const struct verdict *v, int64_t at)
{
    if (v->stall_at == at)
        stall(c->in.fd);
    if (v->reset_at == at)
        hard_close(c->in.fd);
    return -1;
}

static int send_piece(struct client *c, char *data, size_t size, bool is_chunked)
{
    char line[32];
    snprintf(line, sizeof line, "%zx\r\n", size);
    if (is_chunked && send_text(c->in.fd, line))
        return -1;
    if (send_all(c->in.fd, data, size) || (is_chunked && send_text(c->in.fd, "\r\n")))
        return -1;
    pthread_mutex_lock(&proxy.lock);
    proxy.bytes_down += (int64_t)size;
    pthread_mutex_unlock(&proxy.lock);
    return 0;
}

/* Hand the body on, at the wanted speed, up to its end or its fault.  `sent` counts. */
static int pass_body(struct client *c, struct body *b, struct verdict *v, int64_t *sent)
{
    bool is_chunked = b->how == BODY_CHUNKED;
    int64_t fault = next_fault(v);
    if (v->flips_anywhere && b->how == BODY_LENGTH && b->left > 0)
        v->flip_at %= b->left;
    size_t most = v->bytes_per_s > 0 && v->bytes_per_s < 5e6 ? 16 << 10 : sizeof c->piece;
    double start = clock_seconds();
    for (*sent = 0;;) {
        size_t max = fault - *sent < (int64_t)most ? (size_t)(fault - *sent) : most;
        if (!max)
            return do_fault(c, v, fault);
        ssize_t n = body_read(b, c->piece, max);
        if (n < 0 || has_outage()) {
            hard_close(c->in.fd);
            return -1;
        }
        if (!n)
            break;
        if (v->flip_at >= *sent && v->flip_at < *sent + n)
            c->piece[v->flip_at - *sent] ^= 4;
        if (send_piece(c, c->piece, (size_t)n, is_chunked))
            return -1;
        *sent += n;
        double early_s = start - clock_seconds();
        early_s += v->bytes_per_s > 0 ? (double)*sent / v->bytes_per_s : 0;
        if (early_s > 0)
            clock_sleep(early_s);
    }
    return is_chunked ? send_text(c->in.fd, "0\r\n\r\n") : 0;
}

/* Take `"md5Hash":"...",` out of JSON, wherever it is. */
static void remove_md5(struct buf *b)
{
    char *p = b->data;
    while ((p = strstr(p, "\"md5Hash\":\""))) {
        char *end = strchr(p + 11, '"');
        if (!end)
            break;
        end += end[1] == ',' ? 2 : 1;
        memmove(p, end, strlen(end) + 1);
    }
    buf_truncate(b, strlen(b->data));
}

/* A JSON answer, collected and sent without checksums of MD5. */
static int pass_without_md5(struct client *c, struct body *b, int64_t *sent)
{
    struct buf whole;
    char length[32];
    ssize_t n;
    buf_init(&whole, JSON_MAX);
    while ((n = body_read(b, c->piece, sizeof c->piece)) > 0)
        buf_add(&whole, c->piece, (size_t)n);
    remove_md5(&whole);
    *sent = (int64_t)whole.size;
    snprintf(length, sizeof length, "%zu", whole.size);
    head_remove(&c->answer, "Transfer-Encoding");
    head_set(&c->answer, "Content-Length", length);
    int failed = n < 0 || send_text(c->in.fd, c->answer.text) || send_text(c->in.fd, "\r\n") ||
                 send_all(c->in.fd, whole.data, whole.size);
    buf_release(&whole);
    return failed ? -1 : 0;
}

static void shift_range(struct head *h, int64_t shift)
{
    char value[128];
    long long first, last, size;
    head_get(h, "Content-Range", value, sizeof value);
    if (sscanf(value, "bytes %lld-%lld/%lld", &first, &last, &size) != 3)
        return;
    snprintf(value, sizeof value, "bytes %lld-%lld/%lld", first + shift, last + shift, size);
    head_set(h, "Content-Range", value);
}

static int pass_answer(struct client *c, enum request_kind kind, struct verdict *v, int64_t *sent)
{
    struct head *h = &c->answer;
    struct body b;
    char hash[256];
    bool has_body = strcmp(c->head.method, "HEAD") != 0 && h->status != 204 && h->status != 304;
    body_of(&b, h, &c->up, has_body);
    if (!has_body)
        b.how = BODY_NONE;
    if (v->shift)
        shift_range(h, v->shift);
    char *md5 =
        v->strip_md5 ? strstr(head_get(h, "X-Goog-Hash", hash, sizeof hash), ",md5=") : NULL;
    if (md5) {
        *md5 = 0;
        head_set(h, "X-Goog-Hash", hash);
    }
    if (v->strip_md5 && has_body && kind != MEDIA)
        return pass_without_md5(c, &b, sent);
    bool to_end = b.how == BODY_TO_END;
    if (send_text(c->in.fd, h->text) || send_text(c->in.fd, "\r\n") || pass_body(c, &b, v, sent))
        return -1;
    return to_end || h->closes ? -1 : 0;
}

/* ------------------------------------------------------------ connections -- */

static int drain(struct client *c, struct body *body)
{
    ssize_t n;
    while ((n = body_read(body, c->piece, sizeof c->piece)) > 0)
        continue;
    return n < 0 ? -1 : 0;
}

static int refuse_request(struct client *c, const struct verdict *v)
{
    char headers[64] = "";
    if (v->retry_after >= 0)
        snprintf(headers, sizeof headers, "Retry-After: %d\r\n", v->retry_after);
    return reply(c->in.fd, v->status, headers, v->body, v->body_size);
}

static void log_request(const struct client *c, int status, int64_t sent, const char *rules,
                        const char *range)
{
    if (!proxy.log)
        return;
    pthread_mutex_lock(&proxy.lock);
    fprintf(proxy.log, "%.3f %lld %s %d %lld %s %s %s\n", clock_seconds() - proxy.started,
            (long long)c->number, c->head.method, status, (long long)sent, *range ? range : "-",
            *rules ? rules : "-", c->head.target);
    fflush(proxy.log);
    pthread_mutex_unlock(&proxy.lock);
}

/* One exchange; -1 when the connection ends with it. */
static int serve_request(struct client *c)
{
    struct verdict v;
    struct body body;
    enum request_kind kind;
    char range[128];
    if (head_read(&c->head, &c->in) ||
        sscanf(c->head.text, "%15s %16383s", c->head.method, c->head.target) != 2)
        return -1;
    body_of(&body, &c->head, &c->in, false);
    if (!strncmp(c->head.target, "/__proxy/", 9) ||
        !strncmp(c->head.target, "/computeMetadata/", 17))
        return serve_own(c, &body);
    head_get(&c->head, "Range", range, sizeof range);
    decide(c, &v, &kind);
    double wait_s = v.delay_s + v.rtt_s * (c->requests++ ? 1 : 2);
    if (wait_s > 0)
        clock_sleep(wait_s);
    int failed = -1, status = 0;
    int64_t sent = 0;
    if (v.outage || v.reset_at == -1) {
        hard_close(c->in.fd);
    } else if (v.status) {
        status = v.status;
        failed = drain(c, &body) || refuse_request(c, &v);
    } else if (v.empty_page && kind == LIST) {
        status = 200;
        failed = send_empty_page(c);
    } else if (ask_server(c, &body, &v)) {
        status = 502;
        reply(c->in.fd, status, "Connection: close\r\n", "", 0);
    } else {
        status = c->answer.status;
        failed = pass_answer(c, kind, &v, &sent);
        if (failed) {
            close(c->up.fd);
            c->up.fd = -1;
        }
    }
    log_request(c, status, sent, v.names, range);
    free(v.body);
    return failed || c->head.closes ? -1 : 0;
}

static void *serve(void *arg)
{
    struct client *c = arg;
    int one = 1;
    setsockopt(c->in.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_mutex_lock(&proxy.lock);
    c->number = proxy.connections++;
    if (++proxy.open > proxy.open_max)
        proxy.open_max = proxy.open;
    pthread_mutex_unlock(&proxy.lock);
    while (!serve_request(c))
        continue;
    if (c->up.fd >= 0)
        close(c->up.fd);
    close(c->in.fd);
    pthread_mutex_lock(&proxy.lock);
    proxy.open--;
    pthread_mutex_unlock(&proxy.lock);
    free(c);
    return NULL;
}

/* ------------------------------------------------------------------- main -- */

static int die(const char *what, const char *why)
{
    fprintf(stderr, "fault_proxy: %s: %s\n", what, why);
    return 1;
}

static int read_arguments(int argc, char **argv, int *port)
{
    const char *script = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--listen"))
            *port = atoi(value);
        else if (!strcmp(name, "--origin"))
            proxy.origin.sin_port =
                htons((uint16_t)atoi(strrchr(value, ':') ? strrchr(value, ':') + 1 : value));
        else if (!strcmp(name, "--script"))
            script = value;
        else if (!strcmp(name, "--seed"))
            proxy.seed = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--log"))
            proxy.log = fopen(value, "w");
        else
            return die(name, "unknown option");
    }
    if (argc % 2 == 0 || !proxy.origin.sin_port)
        return die("usage", "fault_proxy --origin 127.0.0.1:PORT [--listen PORT] [--script FILE] "
                            "[--seed N] [--log FILE]");
    struct err e = {0};
    size_t size = 2;
    char *text = script ? file_read(script, SCRIPT_MAX, &size, &e) : xstrdup("{}");
    int failed = !text || use_script(text, size, &e);
    free(text);
    return failed ? die(script ? script : "script", e.text) : 0;
}

int main(int argc, char **argv)
{
    int port = 0, one = 1;
    signal(SIGPIPE, SIG_IGN);
    proxy.started = clock_seconds();
    proxy.origin.sin_family = AF_INET;
    proxy.origin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (read_arguments(argc, argv, &port))
        return 2;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 512) ||
        getsockname(fd, (struct sockaddr *)&a, &size))
        return die("listen", strerror(errno));
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        struct client *c = xcalloc(1, sizeof *c);
        c->up.fd = -1;
        c->in.fd = accept(fd, NULL, NULL);
        if (c->in.fd < 0 || pthread_create(&thread, &small, serve, c)) {
            if (c->in.fd >= 0)
                close(c->in.fd);
            free(c);
            clock_sleep(0.01);
        }
    }
}
