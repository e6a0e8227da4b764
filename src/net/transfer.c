/* transfer.c - see transfer.h. */
#include "net/transfer.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    BODY_MAX_DEFAULT = 1 << 20,
    ERROR_BODY_MAX = 64 << 10,    /* of an answer that is no success: enough for its reason */
    REDIRECTS_MAX = 5,
    RECEIVE_BYTES = 128 << 10,    /* libcurl's buffer, one a transfer */
    STALL_BYTES = 1024,           /* fewer in the time of a stall are one: a trickle never ends */
    IDLE_MAX_S = 60               /* an older connection may have been dropped on the way */
};

#define USER_AGENT "attune/0.1"

/* Headers that may go to another host than the one they were meant for. */
static const char *const harmless[] = {"accept",   "accept-encoding", "range",
                                       "if-match", "if-none-match",   "if-range"};

/* ---------------------------------------------------------------- answers -- */

static bool is_success(const struct transfer *t)
{
    return t->status >= 200 && t->status < 300;
}

/* Bytes have come or gone. */
static void move_on(struct transfer *t, int64_t bytes, double now)
{
    t->moved += bytes;
    if (t->moved < STALL_BYTES)
        return;
    t->moved = 0;
    t->moved_s = now;
}

/* The head is whole: what is known of the body now? */
static void end_head(struct transfer *t)
{
    long status = 0;
    curl_off_t size = -1;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    t->status = (int)status;
    t->announced = size;
    t->has_head = true;
}

/* A new answer begins, perhaps after a "100 Continue". */
static void begin_head(struct transfer *t)
{
    buf_clear(&t->head);
    buf_clear(&t->body);
    t->has_head = false;
    t->received = 0;
    t->status = 0;
}

/* Add "Name: value" as "name: value\n". */
static void add_header(struct transfer *t, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    size_t name = colon ? (size_t)(colon - line) : 0, at = name + 1;
    if (!name)
        return;
    for (size_t i = 0; i < name; i++)
        buf_add_char(&t->head, (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]));
    while (at < size && (line[at] == ' ' || line[at] == '\t'))
        at++;
    buf_add_str(&t->head, ": ");
    for (; at < size; at++)
        buf_add_char(&t->head, line[at] && line[at] != '\n' ? line[at] : '?');
    buf_add_char(&t->head, '\n');
}

static size_t on_header(char *line, size_t one, size_t whole, void *arg)
{
    struct transfer *t = arg;
    size_t size = whole;
    (void)one;
    move_on(t, STALL_BYTES, clock_seconds());
    while (size && strchr("\r\n \t", line[size - 1]))
        size--;
    if (whole >= 5 && !memcmp(line, "HTTP/", 5)) {
        begin_head(t);
    } else if (t->has_head) {
        return whole;             /* the trailer of a chunked body */
    } else if (!size) {
        end_head(t);
    } else if (*line == ' ' || *line == '\t') {
        return whole;             /* a folded line: obsolete, and nothing we read is ever folded */
    } else {
        add_header(t, line, size);
        if (t->head.overflowed) {
            t->refusal = REFUSED_HEADERS;
            return 0;
        }
    }
    return whole;
}

static size_t good_room(const struct transfer *t)
{
    const struct http_request *q = t->q;
    if (q->into)
        return q->into_size;
    return q->body_max ? q->body_max : BODY_MAX_DEFAULT;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    struct transfer *t = arg;
    size_t room = good_room(t) - t->received;
    (void)one;
    move_on(t, (int64_t)size, clock_seconds());
    if (!is_success(t)) {
        size_t left = ERROR_BODY_MAX - t->body.size;
        buf_add(&t->body, data, size < left ? size : left);
        t->refusal = size > left ? REFUSED_REST : REFUSED_NOTHING;
        return size > left ? 0 : size;
    }
    if (t->q->body_status > 0 && t->status != t->q->body_status) {
        t->refusal = REFUSED_REST;
        return 0;
    }
    if (size > room || (t->announced > 0 && (uint64_t)t->announced > good_room(t))) {
        t->refusal = REFUSED_SIZE;
        return 0;
    }
    if (t->stores)
        memcpy((char *)t->q->into + t->received, data, size);
    else
        buf_add(&t->body, data, size);
    t->received += size;
    return size;
}

/* --------------------------------------------------------------- requests -- */

static bool has_header(const struct http_request *q, const char *name)
{
    size_t size = strlen(name);
    for (const char *const *h = q->headers; h && *h; h++)
        if (!strncasecmp(*h, name, size) && (*h)[size] == ':')
            return true;
    return false;
}

static bool may_go_anywhere(const char *header)
{
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        size_t size = strlen(harmless[i]);
        if (!strncasecmp(header, harmless[i], size) && header[size] == ':')
            return true;
    }
    return false;
}

static void add_line(struct transfer *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->lines, line);
    if (!more)
        mem_die("out of memory for the headers of a request");
    t->lines = more;
}

static bool sends_body(const struct http_request *q)
{
    return q->body || (q->method && (!strcmp(q->method, "POST") || !strcmp(q->method, "PUT")));
}

static void set_headers(struct transfer *t)
{
    for (const char *const *h = t->q->headers; h && *h; h++)
        if (!t->is_foreign || may_go_anywhere(*h))
            add_line(t, *h);
    add_line(t, "Expect:");       /* no waiting for "100 Continue" */
    if (sends_body(t->q) && !has_header(t->q, "content-type"))
        add_line(t, "Content-Type: application/octet-stream");
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->lines);
}

static void set_method(struct transfer *t)
{
    const struct http_request *q = t->q;
    const char *method = q->method ? q->method : "GET";
    bool sends = sends_body(q);
    if (sends) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_size);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, q->body ? q->body : "");
    }
    if (!strcmp(method, "HEAD"))
        curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(method, sends ? "POST" : "GET") != 0)
        curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_signature(struct transfer *t)
{
    const char *colon = t->q->aws_keys ? strchr(t->q->aws_keys, ':') : NULL;
    if (!t->q->aws_sigv4 || !colon || t->is_foreign)
        return;
    char *id = xstrndup(t->q->aws_keys, (size_t)(colon - t->q->aws_keys));
    curl_easy_setopt(t->easy, CURLOPT_AWS_SIGV4, t->q->aws_sigv4);
    curl_easy_setopt(t->easy, CURLOPT_USERNAME, id);
    curl_easy_setopt(t->easy, CURLOPT_PASSWORD, colon + 1);
    free(id);
}

static bool is_loopback(const char *host)
{
    return !strcasecmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
}

/* A machine's own addresses and metadata are not behind any proxy. */
static bool is_near(const char *host)
{
    const char *named = getenv("GCE_METADATA_HOST");
    size_t size = strlen(host);
    return is_loopback(host) || !strncmp(host, "169.254.", 8) ||
           !strcasecmp(host, "metadata.google.internal") || !strcmp(host, "[fd00:ec2::254]") ||
           (named && !strncasecmp(named, host, size) && (!named[size] || named[size] == ':'));
}

static void set_limits(struct transfer *t, const struct http_options *o, const char *host)
{
    CURL *c = t->easy;
    double connect_s = o->connect_s > 0 ? o->connect_s : 10;
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);    /* cancelling must not wait for name servers */
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);    /* names of objects may hold ".." */
    curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(1e3 * connect_s));
    curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)IDLE_MAX_S);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(c, CURLOPT_USERAGENT, USER_AGENT);
    if (is_near(host))
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    /* curl's own tool looks at these, the library does not. */
    const char *bundle = getenv("CURL_CA_BUNDLE");
    if (!bundle || !*bundle)
        bundle = getenv("SSL_CERT_FILE");
    if (bundle && *bundle)
        curl_easy_setopt(c, CURLOPT_CAINFO, bundle);
}

/* ------------------------------------------------------------------- URLs -- */

/* The text of a URL without its query, which may be a signature. */
static int bad_url(const char *url, const char *why, struct err *e)
{
    return err_set(e, ERR_FAILED, "%.*s: %s", (int)strcspn(url, "?#"), url, why);
}

struct origin {
    char *scheme, *host, *port;   /* the port as written, NULL: none */
    bool names_user;
};

static void origin_release(struct origin *o)
{
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
}

static int origin_of(const char *url, struct origin *o, struct err *e)
{
    char *user = NULL;
    CURLU *u = curl_url();
    *o = (struct origin){0};
    if (!u)
        mem_die("out of memory for a URL");
    CURLUcode bad = curl_url_set(u, CURLUPART_URL, url, 0);
    if (!bad)
        bad = curl_url_get(u, CURLUPART_SCHEME, &o->scheme, 0);
    if (!bad)
        bad = curl_url_get(u, CURLUPART_HOST, &o->host, 0);
    if (!bad)
        curl_url_get(u, CURLUPART_PORT, &o->port, 0);
    o->names_user = !bad && !curl_url_get(u, CURLUPART_USER, &user, 0);
    curl_free(user);
    curl_url_cleanup(u);
    if (bad || (strcasecmp(o->scheme, "http") != 0 && strcasecmp(o->scheme, "https") != 0)) {
        origin_release(o);
        *o = (struct origin){0};
        bad_url(url, "not a URL of http or https", e);
        return -1;
    }
    return 0;
}

static bool origin_equal(const struct origin *a, const struct origin *b)
{
    return !strcasecmp(a->scheme, b->scheme) && !strcasecmp(a->host, b->host) &&
           !strcmp(a->port ? a->port : "", b->port ? b->port : "");
}

/* ---------------------------------------------------------------- failures -- */

static const char *system_reason(long number)
{
    switch (number) {
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET:
    case EPIPE: return "connection reset";
    case ETIMEDOUT: return "connection timed out";
    case ENETUNREACH:
    case ENETDOWN: return "no network";
    case EHOSTUNREACH: return "no route to the host";
    default: return NULL;
    }
}

static int fail_refused(const struct transfer *t, struct err *e)
{
    if (t->refusal == REFUSED_HEADERS)
        return err_set(e, ERR_RETRY, "%s: more than %d bytes of headers", t->host,
                       HTTP_HEADERS_MAX);
    /* What is asked for in ranges has a known size: more is a mistake on the way. */
    enum err_kind kind = t->q->into ? ERR_RETRY : ERR_DATA;
    if (t->announced > 0)
        return err_set(e, kind, "%s: a body of %lld bytes, expected at most %zu", t->host,
                       (long long)t->announced, good_room(t));
    return err_set(e, kind, "%s: a body of more than %zu bytes", t->host, good_room(t));
}

static int fail_certificate(const struct transfer *t, struct err *e)
{
    err_set(e, ERR_FAILED, "%s: its certificate is not trusted (%s)", t->host, t->curl_error);
    return err_hint(e, "if a proxy re-signs traffic, install its certificate and set "
                       "SSL_CERT_FILE; is the clock right?");
}

static int fail(const struct transfer *t, CURLcode code, const struct http_options *o,
                struct err *e)
{
    long number = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    const char *reason = system_reason(number);
    const char *text = *t->curl_error ? t->curl_error : curl_easy_strerror(code);
    if (t->refusal)
        return fail_refused(t, e);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST: return err_set(e, ERR_RETRY, "%s: unknown host", t->host);
    case CURLE_COULDNT_RESOLVE_PROXY: return err_set(e, ERR_RETRY, "unknown proxy: %s", text);
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
    case CURLE_SSL_CACERT_BADFILE: return err_set(e, ERR_FAILED, "%s: %s", t->host, text);
    case CURLE_PEER_FAILED_VERIFICATION: return fail_certificate(t, e);
    case CURLE_GOT_NOTHING:
        return err_set(e, ERR_RETRY, "%s: connection closed without an answer", t->host);
    case CURLE_PARTIAL_FILE:
        if (t->announced > 0)
            return err_set(e, ERR_RETRY, "%s: the body ended after %zu of %lld bytes", t->host,
                           t->received, (long long)t->announced);
        return err_set(e, ERR_RETRY, "%s: the body ended early, after %zu bytes", t->host,
                       t->received);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return err_set(e, ERR_RETRY, "%s: the answer is not HTTP", t->host);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, ERR_RETRY, "%s: no connection within %g s", t->host,
                       o->connect_s > 0 ? o->connect_s : 10);
    default: return err_set(e, ERR_RETRY, "%s: %s", t->host, reason ? reason : text);
    }
}

/* ------------------------------------------------------------------ doing -- */

/* libcurl lets go of it; what was received stays. */
static void detach(struct transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(t->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->lines);
    t->easy = NULL;
    t->lines = NULL;
}

static int send_to(struct transfer *t, const struct http_options *o, struct err *e)
{
    struct origin at;
    if (origin_of(t->url, &at, e))
        return -1;
    snprintf(t->host, sizeof t->host, "%s%s%s", at.host, at.port ? ":" : "",
             at.port ? at.port : "");
    begin_head(t);
    t->refusal = REFUSED_NOTHING;
    t->announced = -1;
    t->moved = t->uploaded = 0;
    *t->curl_error = 0;
    t->moved_s = clock_seconds();
    t->easy = curl_easy_init();
    if (!t->easy)
        mem_die("out of memory for a request");
    set_limits(t, o, at.host);
    origin_release(&at);
    if (at.names_user)
        return bad_url("the URL", "user names in URLs are not supported", e);
    curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
    set_method(t);
    set_headers(t);
    set_signature(t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    CURLMcode code = curl_multi_add_handle(t->multi, t->easy);
    if (code)
        return err_set(e, ERR_FAILED, "%s: %s", t->host, curl_multi_strerror(code));
    return 0;
}

void transfer_start(struct transfer *t, const struct http_request *q, bool stores, CURLM *multi,
                    const struct http_options *o, struct err *e)
{
    *t = (struct transfer){.q = q, .stores = stores, .multi = multi, .state = TRANSFER_RUNNING};
    size_t room = good_room(t);
    buf_init(&t->head, HTTP_HEADERS_MAX);
    buf_init(&t->body, room > ERROR_BODY_MAX ? room : ERROR_BODY_MAX);
    t->url = xstrdup(q->url);
    if (send_to(t, o, e)) {
        detach(t);
        t->state = TRANSFER_FAILED;
    }
}

/* Is this answer a redirect that is to be followed? */
static bool is_redirect(const struct transfer *t)
{
    bool is_plain = !t->q->method || !strcmp(t->q->method, "GET") || !strcmp(t->q->method, "HEAD");
    bool moves = (t->status >= 301 && t->status <= 303) || t->status == 307 || t->status == 308;
    return t->q->follows && is_plain && moves && !t->q->body;
}

/* The URL that the answer points to, NULL when it names none; the caller frees. */
static char *next_url(const struct transfer *t)
{
    char location[4096], *whole = NULL, *copy = NULL;
    const struct http_response r = {.headers = t->head.data};
    CURLU *u = curl_url();
    if (!u)
        mem_die("out of memory for a URL");
    bool has_one = http_header(&r, "location", location, sizeof location) && *location;
    if (has_one && !curl_url_set(u, CURLUPART_URL, t->url, 0) &&
        !curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) &&
        !curl_url_get(u, CURLUPART_URL, &whole, 0))
        copy = xstrdup(whole);
    curl_free(whole);
    curl_url_cleanup(u);
    return copy;
}

/* Is it safe to go there, and with the credentials?  -1 when it is not. */
static int check_redirect(struct transfer *t, const char *next, struct err *e)
{
    struct origin from, to;
    if (origin_of(t->url, &from, e))
        return -1;
    if (origin_of(next, &to, e)) {
        origin_release(&from);
        return err_in(e, "%s: a redirect", t->host);
    }
    bool is_safe = !strcasecmp(to.scheme, "https") ||
                   (is_loopback(to.host) && !strcasecmp(from.scheme, "http"));
    if (!is_safe)
        err_set(e, ERR_FAILED, "%s: a redirect to %s://%s, which is not encrypted", t->host,
                to.scheme, to.host);
    if (!origin_equal(&from, &to))
        t->is_foreign = true;
    origin_release(&from);
    origin_release(&to);
    return is_safe ? 0 : -1;
}

/* Go where the answer points to.  0 when it is on its way, 1 when it points nowhere. */
static int follow(struct transfer *t, const struct http_options *o, struct err *e)
{
    char *next = next_url(t);
    if (!next)
        return 1;
    int rc = t->redirects++ < REDIRECTS_MAX
                 ? check_redirect(t, next, e)
                 : err_set(e, ERR_FAILED, "%s: more than %d redirects", t->host, REDIRECTS_MAX);
    detach(t);
    free(t->url);
    t->url = next;
    return rc ? -1 : send_to(t, o, e);
}

void transfer_end(struct transfer *t, CURLcode code, const struct http_options *o,
                  bool *is_unknown_host, struct err *e)
{
    int rc = 0;
    *is_unknown_host = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY;
    if (t->has_head && t->status >= 300) {
        /* The status counts even if its body was cut. */
        if (is_redirect(t)) {
            rc = follow(t, o, e);
            if (!rc)
                return;
        }
        t->state = rc < 0 ? TRANSFER_FAILED : TRANSFER_ANSWERED;
    } else if (t->has_head && (!code || t->refusal == REFUSED_REST)) {
        t->state = TRANSFER_ANSWERED;
    } else {
        fail(t, code ? code : CURLE_WEIRD_SERVER_REPLY, o, e);
        t->state = TRANSFER_FAILED;
    }
    detach(t);
}

void transfer_give_up(struct transfer *t, const char *what, struct err *e)
{
    bool is_known = t->has_head && t->status >= 300 && !is_redirect(t);
    t->state = is_known ? TRANSFER_ANSWERED : TRANSFER_FAILED;
    if (!is_known)
        err_set(e, ERR_RETRY, "%s: %s", t->host, what);
    detach(t);
}

double transfer_progress(struct transfer *t, double now)
{
    curl_off_t sent = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent > t->uploaded)
        move_on(t, sent - t->uploaded, now);
    t->uploaded = sent;
    return t->moved_s;
}

void transfer_release(struct transfer *t)
{
    detach(t);
    buf_release(&t->head);
    buf_release(&t->body);
    free(t->url);
    t->url = NULL;
}
