/* test_http.c - the HTTP engine against the scripted server: what is stored and what is refused,
 * stalls, second copies, redirects, stopping, many callers. */
#include "base/clock.h"
#include "base/mem.h"
#include "http_server.h"
#include "net/http.h"
#include "testing.h"

#include <dirent.h>
#include <pthread.h>

enum { BLOB = 300000 };

static unsigned char blob[BLOB];

/* What the server does: one script per path, and counters that tests look at after requests. */
struct script {
    struct http_server *server, *other;
    char redirect[200], seen_authorization[100], seen_range[100], seen_sigv4[400];
    char seen_path[100], seen_method[20], seen_type[100], seen_agent[100], seen_body[100],
        seen_accept[100];
    int slow_hits;
};
static struct script script;

static void reply_range(const struct server_request *q, struct server_reply *r)
{
    static char header[100];
    int64_t first, last;
    r->body = blob;
    r->size = BLOB;
    if (!server_range(q, &first, &last))
        return;
    snprintf(header, sizeof header,
             "Content-Range: bytes %d-%d/%d\r\nX-Goog-Hash: crc32c=AAA=\r\n"
             "X-Goog-Hash: md5=BBB\r\n",
             (int)first, (int)last, BLOB);
    r->status = 206;
    r->headers = header;
    r->body = blob + first;
    r->size = (size_t)(last - first + 1);
}

static void note(char *out, size_t size, const struct server_request *q, const char *name)
{
    snprintf(out, size, "%s", server_header(q, name));
}

static void note_request(struct script *s, const struct server_request *q)
{
    note(s->seen_authorization, sizeof s->seen_authorization, q, "authorization");
    note(s->seen_sigv4, sizeof s->seen_sigv4, q, "authorization");
    note(s->seen_range, sizeof s->seen_range, q, "range");
    note(s->seen_type, sizeof s->seen_type, q, "content-type");
    note(s->seen_agent, sizeof s->seen_agent, q, "user-agent");
    note(s->seen_accept, sizeof s->seen_accept, q, "accept-encoding");
    snprintf(s->seen_path, sizeof s->seen_path, "%s", q->path);
    snprintf(s->seen_method, sizeof s->seen_method, "%s", q->method);
    snprintf(s->seen_body, sizeof s->seen_body, "%.*s",
             (int)(q->body_size < 90 ? q->body_size : 90), q->body);
}

static void set_text(struct server_reply *r, const char *text)
{
    r->body = text;
    r->size = strlen(text);
}

static bool answer_faults(const char *path, struct server_reply *r)
{
    r->body = blob;
    r->size = BLOB;
    r->cut = 100000;
    if (!strcmp(path, "/reset")) {
        r->fault = SERVER_RESET;
    } else if (!strcmp(path, "/close")) {
        r->fault = SERVER_CLOSE;
    } else if (!strcmp(path, "/stall")) {
        r->fault = SERVER_STALL;
    } else if (!strcmp(path, "/chunked")) {
        r->is_chunked = true;
    } else if (!strcmp(path, "/chunked-close")) {
        r->is_chunked = true;
        r->fault = SERVER_CLOSE;
    } else if (!strcmp(path, "/no-length")) {
        r->hides_length = true;
    } else if (!strcmp(path, "/claims")) {
        r->claims_length = 2 * BLOB;
        r->fault = SERVER_CLOSE;
        r->cut = BLOB;
    } else if (!strcmp(path, "/garbage")) {
        r->is_raw = true;
        set_text(r, "SSH-2.0-OpenSSH_9.2\r\n");
    } else if (!strcmp(path, "/nothing")) {
        r->is_raw = true;
        r->size = 0;
    } else if (!strcmp(path, "/trickle")) {
        r->bytes_per_s = 100;
    } else if (!strcmp(path, "/stall-at-once")) {
        r->fault = SERVER_STALL;
        r->cut = 0;
    } else {
        *r = (struct server_reply){.status = 200};
        return false;
    }
    return true;
}

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct script *s = arg;
    static char location[300], many[80 << 10];
    note_request(s, q);
    if (answer_faults(q->path, r))
        return;
    if (!strncmp(q->path, "/blob", 5)) {
        reply_range(q, r);
    } else if (!strncmp(q->path, "/status/", 8)) {
        r->status = atoi(q->path + 8);
        set_text(r, "{\"error\": {\"message\": \"no\"}}");
    } else if (!strcmp(q->path, "/big-error")) {
        r->status = 503;
        r->body = blob;
        r->size = BLOB;
    } else if (!strcmp(q->path, "/cut-error")) {
        r->status = 404;
        set_text(r, "gone for good");
        r->fault = SERVER_RESET;
        r->cut = 4;
    } else if (!strcmp(q->path, "/redirect")) {
        snprintf(location, sizeof location, "Location: %s\r\n", s->redirect);
        r->status = 302;
        r->headers = location;
        set_text(r, "this way");
    } else if (!strcmp(q->path, "/loop")) {
        r->status = 301;
        r->body = blob;
        r->size = BLOB;
        r->headers = "Location: /loop\r\n";
    } else if (!strcmp(q->path, "/headers")) {
        snprintf(many, sizeof many, "X-Many: %070000d\r\n", 7);
        r->headers = many;
    } else if (!strcmp(q->path, "/slow-first")) {
        if (s->slow_hits++ == 0)
            r->fault = SERVER_STALL;
        reply_range(q, r);
        r->cut = 5000;
    } else if (!strcmp(q->path, "/slow-then-503")) {
        if (s->slow_hits++ == 0) {
            r->delay_s = 0.7;
            reply_range(q, r);
        } else {
            r->status = 503;
        }
    } else {
        set_text(r, "hello");
    }
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < BLOB; i++)
        blob[i] = (unsigned char)(i * 7 + i / 251);
    memset(&script, 0, sizeof script);
    script.server = http_server_start(answer, &script);
    script.other = http_server_start(answer, &script);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_server_stop(script.server);
    http_server_stop(script.other);
    return 0;
}

static struct http *open_engine(int connections, double stall_s)
{
    const struct http_options o = {.connections = connections, .stall_s = stall_s};
    return http_open(&o);
}

/* GET `path` with the rest of the request as given; the caller releases. */
static int get(struct http *h, const char *path, struct http_request q, struct http_response *r,
               struct err *e)
{
    char *url = xasprintf("%s%s", http_server_url(script.server), path);
    q.url = url;
    int rc = http_run(h, &q, r, e);
    free(url);
    return rc;
}

/* ---------------------------------------------------------------- answers -- */

static void test_http__ranges_and_headers(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(4, 30);
    struct http_response r;
    unsigned char into[1000];
    char value[100];
    const char *const headers[] = {"Range: bytes=1000-1999", "Accept-Encoding: gzip", NULL};
    const struct http_request q = {.headers = headers, .into = into, .into_size = sizeof into};
    assert_int_equal(get(h, "/blob", q, &r, &e), 0);
    assert_ok(e);
    assert_int_equal(r.status, 206);
    assert_int_equal(r.size, 1000);
    assert_null(r.body);
    assert_memory_equal(into, blob + 1000, 1000);
    assert_true(http_header(&r, "content-range", value, sizeof value));
    assert_string_equal(value, "bytes 1000-1999/300000");
    assert_true(http_header(&r, "x-goog-hash", value, sizeof value));
    assert_string_equal(value, "crc32c=AAA=, md5=BBB");
    assert_true(http_header(&r, "x-goog-hash", value, 10));
    assert_string_equal(value, "crc32c=AA");
    assert_false(http_header(&r, "content", value, sizeof value));
    assert_string_equal(script.seen_accept, "gzip");
    assert_int_equal(strncmp(script.seen_agent, "attune/", 7), 0);
    http_response_release(&r);
    http_close(h);
}

static void test_http__bodies_are_collected(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    static const char *const paths[] = {"/blob", "/chunked", "/no-length"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(h, paths[i], (struct http_request){0}, &r, &e), 0);
        assert_ok(e);
        assert_int_equal(r.size, BLOB);
        assert_memory_equal(r.body, blob, BLOB);
        assert_int_equal(r.body[BLOB], 0);
        http_response_release(&r);
    }
    assert_int_equal(get(h, "/blob", (struct http_request){.method = "HEAD"}, &r, &e), 0);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, 0);
    assert_string_equal(script.seen_method, "HEAD");
    http_response_release(&r);
    http_close(h);
}

static void test_http__methods_and_bodies_sent(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    const char *const headers[] = {"Content-Type: application/json", NULL};
    for (int i = 0; i < 4; i++) {
        struct http_request q = {.method = methods[i], .body = "{\"a\": 1}", .body_size = 8};
        q.headers = i % 2 ? headers : NULL;
        assert_int_equal(get(h, "/x", q, &r, &e), 0);
        assert_string_equal(script.seen_method, methods[i]);
        assert_string_equal(script.seen_body, "{\"a\": 1}");
        assert_string_equal(script.seen_type,
                            i % 2 ? "application/json" : "application/octet-stream");
        http_response_release(&r);
        q = (struct http_request){.method = methods[i]};
        assert_int_equal(get(h, "/x", q, &r, &e), 0);
        assert_string_equal(script.seen_method, methods[i]);
        assert_string_equal(script.seen_body, "");
        http_response_release(&r);
    }
    size_t size = 3 << 20;
    char *large = xcalloc(1, size);
    struct http_request q = {.method = "PUT", .body = large, .body_size = size};
    assert_int_equal(get(h, "/x", q, &r, &e), 0);
    assert_int_equal(r.status, 200);
    http_response_release(&r);
    free(large);
    http_close(h);
}

static void test_http__error_bodies_never_land_in_the_buffer(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    char into[4000], before[4000];
    memset(into, 'u', sizeof into);
    memcpy(before, into, sizeof into);
    const struct http_request q = {.into = into, .into_size = sizeof into};
    assert_int_equal(get(h, "/status/503", q, &r, &e), 0);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body, "{\"error\": {\"message\": \"no\"}}");
    http_response_release(&r);
    assert_int_equal(get(h, "/big-error", q, &r, &e), 0);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.size, 64 << 10);
    assert_memory_equal(r.body, blob, 64 << 10);
    http_response_release(&r);
    assert_int_equal(get(h, "/cut-error", q, &r, &e), 0);
    assert_int_equal(r.status, 404);
    http_response_release(&r);
    assert_memory_equal(into, before, sizeof into);
    http_close(h);
}

static void test_http__another_status_than_wanted_is_not_read(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    char into[4000], before[4000];
    memset(into, 'u', sizeof into);
    memcpy(before, into, sizeof into);
    /* A server that ignores the range sends the whole with 200. */
    struct http_request q = {.into = into, .into_size = sizeof into, .body_status = 206};
    assert_int_equal(get(h, "/blob", q, &r, &e), 0);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, 0);
    assert_memory_equal(into, before, sizeof into);
    http_response_release(&r);
    http_close(h);
}

/* --------------------------------------------------------------- failures -- */

static void check_fails(struct http *h, const char *path, struct http_request q, enum err_kind kind,
                        const char *part)
{
    struct err e = {0};
    struct http_response r;
    assert_int_equal(get(h, path, q, &r, &e), -1);
    assert_err(e, kind, part);
    http_response_release(&r);
}

static void test_http__bodies_that_break_off(void **state)
{
    (void)state;
    struct http *h = open_engine(2, 1000), *hasty = open_engine(2, 0.3);
    char *into = xmalloc(BLOB);
    const struct http_request q = {.into = into, .into_size = BLOB};
    check_fails(h, "/reset", q, ERR_RETRY, "127.0.0.1:");
    check_fails(h, "/close", q, ERR_RETRY, ": the body ended after 100000 of 300000 bytes");
    check_fails(h, "/claims", q, ERR_RETRY, ": a body of 600000 bytes, expected at most 300000");
    check_fails(h, "/claims", (struct http_request){0}, ERR_RETRY,
                ": the body ended after 300000 of 600000 bytes");
    check_fails(h, "/chunked-close", q, ERR_RETRY, ": the body ended early, after ");
    check_fails(hasty, "/stall", q, ERR_RETRY, ": no progress for 0.3 s");
    check_fails(hasty, "/trickle", q, ERR_RETRY, ": no progress for 0.3 s");
    check_fails(h, "/garbage", q, ERR_RETRY, ": the answer is not HTTP");
    check_fails(h, "/nothing", q, ERR_RETRY, ": connection closed without an answer");
    check_fails(h, "/headers", q, ERR_RETRY, ": more than 65536 bytes of headers");
    free(into);
    http_close(hasty);
    http_close(h);
}

static void test_http__bodies_that_are_too_large(void **state)
{
    (void)state;
    struct http *h = open_engine(2, 30);
    char into[1001] = "";
    const struct http_request q = {.into = into, .into_size = 1000};
    check_fails(h, "/blob", q, ERR_RETRY, "a body of 300000 bytes, expected at most 1000");
    check_fails(h, "/no-length", q, ERR_RETRY, "a body of more than 1000 bytes");
    check_fails(h, "/chunked", q, ERR_RETRY, "a body of more than 1000 bytes");
    check_fails(h, "/blob", (struct http_request){.body_max = 1000}, ERR_DATA,
                "a body of 300000 bytes, expected at most 1000");
    assert_int_equal(into[1000], 0);
    http_close(h);
}

static void test_http__what_cannot_be_asked(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    static const struct {
        const char *url;
        enum err_kind kind;
        const char *part;
    } bad[] = {
        {"ftp://127.0.0.1/x", ERR_FAILED, "not a URL of http or https"},
        {"file:///etc/passwd", ERR_FAILED, "not a URL of http or https"},
        {"http://", ERR_FAILED, "not a URL"},
        {"http://127.0.0.1:1/a b?key=secret", ERR_FAILED, "http://127.0.0.1:1/a b: not a URL"},
        {"http://me:hunter2@127.0.0.1/", ERR_FAILED, "user names in URLs are not supported"},
        {"http://127.0.0.1:1/", ERR_RETRY, "127.0.0.1:1: connection refused"},
        {"http://host.invalid/", ERR_RETRY, "host.invalid: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct err){0};
        const struct http_request q = {.url = bad[i].url};
        assert_int_equal(http_run(h, &q, &r, &e), -1);
        assert_err(e, bad[i].kind, bad[i].part);
        assert_null(strstr(e.text, "secret"));
        assert_null(strstr(e.text, "hunter2"));
        http_response_release(&r);
    }
    http_close(h);
}

static void test_http__a_limit_on_the_whole(void **state)
{
    (void)state;
    struct http *h = open_engine(2, 30);
    check_fails(h, "/stall", (struct http_request){.total_s = 0.2}, ERR_RETRY,
                "no answer within 0.2 s");
    http_close(h);
}

/* -------------------------------------------------------------- redirects -- */

static void test_http__redirects_strip_credentials(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    const char *const headers[] = {"Authorization: Bearer secret", "Range: bytes=5-9",
                                   "X-Amz-Security-Token: secret", NULL};
    struct http_request q = {.headers = headers, .follows = true};
    /* Another port is another origin. */
    snprintf(script.redirect, sizeof script.redirect, "%s/blob", http_server_url(script.other));
    assert_int_equal(get(h, "/redirect", q, &r, &e), 0);
    assert_ok(e);
    assert_int_equal(r.status, 206);
    assert_memory_equal(r.body, blob + 5, 5);
    assert_string_equal(script.seen_authorization, "");
    assert_string_equal(script.seen_range, "bytes=5-9");
    http_response_release(&r);
    /* The same origin keeps them. */
    snprintf(script.redirect, sizeof script.redirect, "/blob");
    assert_int_equal(get(h, "/redirect", q, &r, &e), 0);
    assert_int_equal(r.status, 206);
    assert_string_equal(script.seen_authorization, "Bearer secret");
    http_response_release(&r);
    http_close(h);
}

static void test_http__redirects_have_limits(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    struct http_request q = {.follows = true};
    check_fails(h, "/loop", q, ERR_FAILED, "more than 5 redirects");
    snprintf(script.redirect, sizeof script.redirect, "http://example.com/x");
    check_fails(h, "/redirect", q, ERR_FAILED, "a redirect to http://example.com, which is not");
    snprintf(script.redirect, sizeof script.redirect, "file:///etc/passwd");
    check_fails(h, "/redirect", q, ERR_FAILED, "a redirect: file:///etc/passwd: not a URL");
    /* Not asked for: the answer is the redirect.  The same for what is no GET. */
    snprintf(script.redirect, sizeof script.redirect, "/blob");
    assert_int_equal(get(h, "/redirect", (struct http_request){0}, &r, &e), 0);
    assert_int_equal(r.status, 302);
    assert_string_equal(r.body, "this way");
    http_response_release(&r);
    q = (struct http_request){.follows = true, .method = "POST", .body = "x", .body_size = 1};
    assert_int_equal(get(h, "/redirect", q, &r, &e), 0);
    assert_int_equal(r.status, 302);
    http_response_release(&r);
    http_close(h);
}

static void test_http__proxies_are_not_for_near_hosts(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy", "all_proxy", "no_proxy", "NO_PROXY",
                                        "GCE_METADATA_HOST"};
    struct err e = {0};
    struct http_response r;
    char *before[5];
    for (int i = 0; i < 5; i++) {
        before[i] = getenv(names[i]) ? xstrdup(getenv(names[i])) : NULL;
        unsetenv(names[i]);
    }
    setenv("http_proxy", http_server_url(script.other), 1);
    setenv("GCE_METADATA_HOST", "127.0.0.1:1", 1);
    struct http *h = open_engine(2, 30);
    assert_int_equal(get(h, "/near", (struct http_request){0}, &r, &e), 0);
    assert_string_equal(script.seen_path, "/near");
    http_response_release(&r);
    const struct http_request far = {.url = "http://far.invalid/x"};
    assert_int_equal(http_run(h, &far, &r, &e), 0);
    assert_ok(e);
    assert_string_equal(script.seen_path, "http://far.invalid/x");
    http_response_release(&r);
    setenv("GCE_METADATA_HOST", "far.invalid:80", 1);
    assert_int_equal(http_run(h, &far, &r, &e), -1);
    assert_err(e, ERR_RETRY, "far.invalid: ");
    http_response_release(&r);
    http_close(h);
    for (int i = 0; i < 5; i++) {
        unsetenv(names[i]);
        if (before[i])
            setenv(names[i], before[i], 1);
        free(before[i]);
    }
}

static void test_http__signs_for_aws(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 30);
    struct http_response r;
    const struct http_request q = {.aws_sigv4 = "aws:amz:eu-west-3:s3",
                                   .aws_keys = "AKIDEXAMPLE:wJalr:XUtn"};
    assert_int_equal(get(h, "/blob", q, &r, &e), 0);
    assert_ok(e);
    assert_non_null(strstr(script.seen_sigv4, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    assert_non_null(strstr(script.seen_sigv4, "/eu-west-3/s3/aws4_request"));
    http_response_release(&r);
    http_close(h);
}

/* ---------------------------------------------------------- second copies -- */

static void test_http__a_second_copy_wins_over_a_stall(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(1, 60);
    struct http_response r;
    for (int collects = 0; collects < 2; collects++) {
        unsigned char *into = xcalloc(1, BLOB);
        struct http_request q = {.into = into, .into_size = BLOB, .hedge_s = 0.1};
        if (collects)
            q.into = NULL;
        script.slow_hits = 0;
        assert_int_equal(get(h, "/slow-first", q, &r, &e), 0);
        assert_ok(e);
        assert_true(r.was_hedged);
        assert_int_equal(r.size, BLOB);
        assert_memory_equal(collects ? (unsigned char *)r.body : into, blob, BLOB);
        http_response_release(&r);
        free(into);
    }
    /* A fast one is sent once. */
    assert_int_equal(get(h, "/x", (struct http_request){.hedge_s = 30}, &r, &e), 0);
    assert_false(r.was_hedged);
    http_response_release(&r);
    http_close(h);
}

static void test_http__a_failing_copy_does_not_end_the_other(void **state)
{
    (void)state;
    struct err e = {0};
    struct http *h = open_engine(2, 60);
    struct http_response r;
    script.slow_hits = 0;
    assert_int_equal(get(h, "/slow-then-503", (struct http_request){.hedge_s = 0.05}, &r, &e), 0);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, BLOB);
    http_response_release(&r);
    http_close(h);
}

/* ---------------------------------------------------------------- threads -- */

struct caller {
    pthread_t thread;
    struct http *http;
    struct http_group *group;
    const char *path;
    int index, rc;
    struct err e;
    bool is_right;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    unsigned char into[2000];
    char range[60];
    struct http_response r;
    snprintf(range, sizeof range, "Range: bytes=%d-%d", 700 * c->index, 700 * c->index + 1999);
    const char *const headers[] = {range, NULL};
    struct http_request q = {
        .into = into, .into_size = sizeof into, .headers = headers, .group = c->group};
    c->rc = get(c->http, c->path, q, &r, &c->e);
    c->is_right = !c->rc && r.size == 2000 && !memcmp(into, blob + 700 * c->index, 2000);
    http_response_release(&r);
    return NULL;
}

static void start_callers(struct caller *c, int count, struct http *h, const char *path,
                          struct http_group *group)
{
    for (int i = 0; i < count; i++) {
        c[i] = (struct caller){.http = h, .index = i, .path = path, .group = group};
        assert_int_equal(pthread_create(&c[i].thread, NULL, call, &c[i]), 0);
    }
}

static void join_callers(struct caller *c, int count)
{
    for (int i = 0; i < count; i++)
        pthread_join(c[i].thread, NULL);
}

static void wait_for_requests(int count)
{
    while (http_server_requests(script.server) < count)
        clock_sleep(0.01);
}

/* Until the server has seen that the connections of earlier tests are closed. */
static void wait_for_quiet(void)
{
    while (http_server_open_connections(script.server) + http_server_open_connections(script.other))
        clock_sleep(0.01);
}

static void test_http__many_callers_at_once(void **state)
{
    (void)state;
    static struct caller callers[200];
    struct http *h = open_engine(8, 60);
    wait_for_quiet();
    start_callers(callers, 200, h, "/blob", NULL);
    join_callers(callers, 200);
    for (int i = 0; i < 200; i++) {
        assert_ok(callers[i].e);
        assert_true(callers[i].is_right);
    }
    assert_true(http_server_open_connections(script.server) <= 8);
    http_close(h);
}

static void test_http__stop_ends_all(void **state)
{
    (void)state;
    struct err e = {0};
    struct http_response r;
    struct caller callers[12];
    struct http *h = open_engine(4, 1000);
    int before = http_server_requests(script.server);
    start_callers(callers, 12, h, "/stall-at-once", NULL);
    wait_for_requests(before + 4);         /* four stall, eight stand in the queue */
    http_stop(h);
    join_callers(callers, 12);
    for (int i = 0; i < 12; i++)
        assert_err(callers[i].e, ERR_STOPPED, "stopped");
    assert_int_equal(get(h, "/x", (struct http_request){0}, &r, &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    http_response_release(&r);
    http_close(h);
    http_close(NULL);
}

static void test_http__a_group_is_stopped_alone(void **state)
{
    (void)state;
    struct caller stuck[6], other[2];
    struct http_group group = {0};
    struct http *h = open_engine(4, 1000);
    int before = http_server_requests(script.server);
    start_callers(stuck, 6, h, "/stall-at-once", &group);
    wait_for_requests(before + 4);
    start_callers(other, 2, h, "/blob", NULL);
    http_stop_group(h, &group);
    join_callers(stuck, 6);
    join_callers(other, 2);
    for (int i = 0; i < 6; i++)
        assert_err(stuck[i].e, ERR_STOPPED, "stopped");
    assert_true(other[0].is_right && other[1].is_right);
    http_close(h);
}

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/dev/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void test_http__no_files_stay_open(void **state)
{
    (void)state;
    struct err e = {0};
    struct http_response r;
    wait_for_quiet();
    int before = open_files(), accepted = 0, most = 0;
    struct http *h = open_engine(4, 30);
    for (int i = 0; i < 500; i++) {
        static const char *const paths[] = {"/x", "/reset", "/x", "/status/404", "/close"};
        const char *path = paths[i % 5];
        accepted += get(h, path, (struct http_request){0}, &r, &e) == 0;
        http_response_release(&r);
        e = (struct err){0};
        most = open_files() > most ? open_files() : most;
    }
    assert_int_equal(accepted, 300);
    /* Ours and, in this process, the server's: a few, whatever the number of requests. */
    assert_true(most - before <= 30);
    http_close(h);
    for (int i = 0; i < 500 && open_files() > before; i++)
        clock_sleep(0.01);             /* until the server has seen it */
    assert_int_equal(open_files(), before);
}

static void test_http__names_are_encoded(void **state)
{
    (void)state;
    char *a = http_encode("a b/c%d~\xc3\xa4.wav", false);
    char *b = http_encode("a b/c%d~\xc3\xa4.wav", true);
    assert_string_equal(a, "a%20b%2Fc%25d~%C3%A4.wav");
    assert_string_equal(b, "a%20b/c%25d~%C3%A4.wav");
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http__ranges_and_headers),
        cmocka_unit_test(test_http__bodies_are_collected),
        cmocka_unit_test(test_http__methods_and_bodies_sent),
        cmocka_unit_test(test_http__error_bodies_never_land_in_the_buffer),
        cmocka_unit_test(test_http__another_status_than_wanted_is_not_read),
        cmocka_unit_test(test_http__bodies_that_break_off),
        cmocka_unit_test(test_http__bodies_that_are_too_large),
        cmocka_unit_test(test_http__what_cannot_be_asked),
        cmocka_unit_test(test_http__a_limit_on_the_whole),
        cmocka_unit_test(test_http__redirects_strip_credentials),
        cmocka_unit_test(test_http__redirects_have_limits),
        cmocka_unit_test(test_http__proxies_are_not_for_near_hosts),
        cmocka_unit_test(test_http__signs_for_aws),
        cmocka_unit_test(test_http__a_second_copy_wins_over_a_stall),
        cmocka_unit_test(test_http__a_failing_copy_does_not_end_the_other),
        cmocka_unit_test(test_http__many_callers_at_once),
        cmocka_unit_test(test_http__stop_ends_all),
        cmocka_unit_test(test_http__a_group_is_stopped_alone),
        cmocka_unit_test(test_http__no_files_stay_open),
        cmocka_unit_test(test_http__names_are_encoded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
