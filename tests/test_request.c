/* test_request.c - tries, budgets and refusals of a service, most of them on a virtual clock. */
#include "base/clock.h"
#include "base/mem.h"
#include "http_server.h"
#include "net/request.h"
#include "testing.h"

#include <pthread.h>

enum { SLEEPS_MAX = 4000 };

/* A clock that sleeping moves on, and what was slept. */
struct clock {
    pthread_mutex_t mutex;
    double now;
    double sleeps[SLEEPS_MAX];
    int count;
};

/* The server answers `status` to the first `bad` requests of a path that is not one of its own. */
struct script {
    struct http_server *server;
    struct net *net;
    struct clock clock;
    int bad, status, seen, tokens;
    const char *headers, *body;
    char authorization[100], security_token[100], project[100];
};

static struct script script;

static double clock_now_virtual(void *arg)
{
    struct clock *c = arg;
    pthread_mutex_lock(&c->mutex);
    double now = c->now;
    pthread_mutex_unlock(&c->mutex);
    return now;
}

static void clock_sleep_virtual(void *arg, double seconds)
{
    struct clock *c = arg;
    pthread_mutex_lock(&c->mutex);
    c->now += seconds;
    if (c->count < SLEEPS_MAX)
        c->sleeps[c->count++] = seconds;
    pthread_mutex_unlock(&c->mutex);
}

static void set_text(struct server_reply *r, const char *text)
{
    r->body = text;
    r->size = strlen(text);
}

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct script *s = arg;
    static char token[100];
    if (strstr(q->path, "/computeMetadata/")) {
        snprintf(token, sizeof token,
                 "{\"access_token\": \"t%d\", \"expires_in\": 3600, \"token_type\": \"Bearer\"}",
                 ++s->tokens);
        r->headers = "Metadata-Flavor: Google\r\n";
        set_text(r, token);
        if (!strstr(q->path, "token"))
            set_text(r, "me@x.iam.gserviceaccount.com");
        return;
    }
    s->seen++;
    snprintf(s->authorization, sizeof s->authorization, "%s", server_header(q, "authorization"));
    snprintf(s->project, sizeof s->project, "%s", server_header(q, "x-goog-user-project"));
    snprintf(s->security_token, sizeof s->security_token, "%s",
             server_header(q, "x-amz-security-token"));
    if (!strcmp(q->path, "/wants-t2") && strcmp(s->authorization, "Bearer t2") != 0) {
        r->status = 401;
        return;
    }
    if (!strcmp(q->path, "/slow"))
        r->delay_s = 3;
    set_text(r, "hello");
    if (s->seen > s->bad)
        return;
    r->status = s->status;
    r->headers = s->headers;
    set_text(r, s->body ? s->body : "");
    if (!strcmp(q->path, "/reset"))
        *r = (struct server_reply){
            .status = 200, .body = "hello", .size = 5, .fault = SERVER_RESET, .cut = 2};
}

static void set_environment(void)
{
    static const char *const names[] = {"GOOGLE_APPLICATION_CREDENTIALS",
                                        "CLOUDSDK_CONFIG",
                                        "STORAGE_EMULATOR_HOST",
                                        "GOOGLE_CLOUD_QUOTA_PROJECT",
                                        "GOOGLE_CLOUD_PROJECT",
                                        "NO_GCE_CHECK",
                                        "AWS_PROFILE",
                                        "AWS_NO_SIGN_REQUEST",
                                        "AWS_DEFAULT_REGION",
                                        "HF_TOKEN_PATH",
                                        "http_proxy",
                                        "all_proxy",
                                        "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("HOME", "/nowhere", 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    setenv("AWS_SESSION_TOKEN", "session", 1);
    setenv("AWS_REGION", "eu-west-3", 1);
    setenv("HF_TOKEN", "hf_x", 1);
}

static int set_up(void **state)
{
    (void)state;
    set_environment();
    memset(&script, 0, sizeof script);
    script.server = http_server_start(answer, &script);
    setenv("GCE_METADATA_HOST", http_server_url(script.server) + strlen("http://"), 1);
    const struct net_options o = {.seed = 3};
    const struct net_clock clock = {clock_now_virtual, clock_sleep_virtual, &script.clock};
    script.net = net_open(&o);
    pthread_mutex_init(&script.clock.mutex, NULL);
    script.clock.now = 1000;
    net_set_clock(script.net, &clock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    net_close(script.net);
    http_server_stop(script.server);
    pthread_mutex_destroy(&script.clock.mutex);
    return 0;
}

/* From now on the first `bad` requests are answered so. */
static void play(int bad, int status, const char *headers, const char *body)
{
    script.seen = 0;
    script.bad = bad;
    script.status = status;
    script.headers = headers;
    script.body = body;
    script.clock.count = 0;
}

static int run(struct request q, const char *path, struct http_response *r, struct err *e)
{
    char url[200];
    snprintf(url, sizeof url, "%s%s", http_server_url(script.server), path);
    *e = (struct err){0};
    q.http.url = url;
    q.what = "gs://b/o";
    return request_run(script.net, &q, r, e);
}

static void check_fails(struct request q, const char *path, enum err_kind kind, const char *part)
{
    struct err e;
    struct http_response r;
    assert_int_equal(run(q, path, &r, &e), -1);
    assert_err(e, kind, part);
    assert_null(strstr(e.text, "hunter2"));
    http_response_release(&r);
}

/* ------------------------------------------------------------------- tries -- */

static void test_request__tries_until_it_works(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    struct net_stats s;
    static const int statuses[] = {408, 429, 500, 503, 504};
    for (int i = 0; i < 5; i++) {
        play(3, statuses[i], NULL, "busy");
        assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
        assert_ok(e);
        assert_int_equal(r.tries, 4);
        assert_string_equal(r.body, "hello");
        assert_int_equal(script.clock.count, 3);
        for (int k = 0; k < 3; k++)
            assert_true(script.clock.sleeps[k] <= 0.5 * (1 << k));
        http_response_release(&r);
    }
    play(2, 0, NULL, NULL);
    assert_int_equal(run((struct request){0}, "/reset", &r, &e), 0);
    assert_int_equal(r.tries, 3);
    http_response_release(&r);
    net_stats(script.net, &s);
    assert_int_equal(s.requests, 5 * 4 + 3);
    assert_int_equal(s.retries, 5 * 3 + 2);
    assert_int_equal(s.bytes, 6 * 5);
    assert_int_equal(s.waiting, 0);
    assert_string_equal(s.last_failure, "");
}

static void test_request__the_budget_ends(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    char text[100];
    double slept = 0;
    play(SLEEPS_MAX, 503, NULL, "{\"error\": {\"message\": \"Backend Error.\"}}");
    assert_int_equal(run((struct request){0}, "/x", &r, &e), -1);
    snprintf(text, sizeof text, "gs://b/o: 503 x %d in 900 s: Backend Error", script.seen);
    assert_err(e, ERR_RETRY, text);
    assert_int_equal(r.tries, script.seen);
    assert_int_equal(script.clock.count, script.seen - 1);
    for (int k = 0; k < script.clock.count; k++) {
        double most = k < 6 ? 0.5 * (1 << k) : 30;
        assert_true(script.clock.sleeps[k] >= 0 && script.clock.sleeps[k] <= most);
        slept += script.clock.sleeps[k];
    }
    assert_near(slept, 900, 5);
    assert_true(script.seen > 40 && script.seen < 110);
    http_response_release(&r);
    /* The operation's own budget, and one of a single try. */
    play(SLEEPS_MAX, 503, NULL, "");
    check_fails((struct request){.budget_s = 20}, "/x", ERR_RETRY, " in 20 s");
    play(SLEEPS_MAX, 503, NULL, "");
    check_fails((struct request){.budget_s = 0.001}, "/x", ERR_RETRY, "gs://b/o: 503");
    assert_int_equal(script.seen, 1);
}

static void test_request__mixed_failures_are_told(void **state)
{
    (void)state;
    play(2, 503, "Retry-After: 1\r\n", "");
    check_fails((struct request){.budget_s = 1000, .http = {.body_max = 3}}, "/x", ERR_DATA,
                "gs://b/o: 127.0.0.1:");
    play(1, 429, NULL, "slower");
    struct err e;
    struct http_response r;
    char into[3];
    struct request q = {.budget_s = 30, .http = {.into = into, .into_size = 3}};
    assert_int_equal(run(q, "/x", &r, &e), -1);
    assert_err(e, ERR_RETRY, " tries in 30 s, the last: a body of 5 bytes, expected at most 3");
    http_response_release(&r);
}

static void test_request__servers_are_waited_for(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    play(1, 429, "Retry-After: 70\r\n", "");
    assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
    assert_true(script.clock.sleeps[0] >= 70 && script.clock.sleeps[0] < 70.5);
    http_response_release(&r);
    /* Against the server's own clock, which is thirty years late. */
    play(1, 503,
         "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
         "");
    assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
    assert_true(script.clock.sleeps[0] >= 60 && script.clock.sleeps[0] < 60.5);
    http_response_release(&r);
    play(1, 429, "RateLimit: \"resolvers\";r=0;t=55\r\n", "");
    assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
    assert_true(script.clock.sleeps[0] >= 55 && script.clock.sleeps[0] < 55.5);
    http_response_release(&r);
    /* Longer than the budget: no use to wait for it. */
    play(9, 503, "Retry-After: 5000\r\n", "");
    assert_int_equal(run((struct request){0}, "/x", &r, &e), -1);
    assert_err(e, ERR_RETRY, "gs://b/o: 503");
    assert_string_equal(e.hint, "the server asks to wait 5000 s");
    assert_int_equal(script.clock.count, 0);
    http_response_release(&r);
}

static void test_request__unknown_hosts(void **state)
{
    (void)state;
    /* A label above 63 bytes is no name, which the machine's resolver knows without a network. */
    static const char url[] =
        "http://abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
        "lmnopqrstuvwxyz.invalid/";
    struct err e = {0};
    struct http_response r;
    struct request q = {.http = {.url = url}, .what = "https://x/o", .budget_s = 300};
    assert_int_equal(request_run(script.net, &q, &r, &e), -1);
    assert_err(e, ERR_RETRY, "https://x/o: unknown host x ");
    assert_err(e, ERR_RETRY, " in 60 s");
    http_response_release(&r);
    /* When something was answered before, it is the network that is gone: the whole budget. */
    play(0, 0, NULL, NULL);
    assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
    http_response_release(&r);
    assert_int_equal(request_run(script.net, &q, &r, &e), -1);
    assert_err(e, ERR_RETRY, " in 300 s");
    http_response_release(&r);
}

/* ---------------------------------------------------------------- refusals -- */

static void test_request__refusals_are_final(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err_kind kind;
        const char *body, *text;
    } cases[] = {
        {404, ERR_DATA, "No such object: b/o", "gs://b/o: 404: No such object: b/o"},
        {404, ERR_DATA, "", "gs://b/o: 404: not found"},
        {410, ERR_DATA, "", "gs://b/o: 410"},
        {403, ERR_LOGIN,
         "{\"error\": {\"message\": \"me does not have storage.objects.get access\"}}",
         "gs://b/o: 403: me does not have storage.objects.get access"},
        {403, ERR_LOGIN, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
         "gs://b/o: 403: Access Denied"},
        {401, ERR_LOGIN, "", "gs://b/o: 401"},
        {400, ERR_FAILED, "{\"error\": {\"message\": \"bad\\nrequest\"}}", "gs://b/o: 400: bad"},
        {302, ERR_FAILED, "", "gs://b/o: 302: a redirect that was not asked for"},
        {501, ERR_FAILED, "", "gs://b/o: 501"},
        {412, ERR_FAILED, "", "gs://b/o: 412"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        play(99, cases[i].status, NULL, cases[i].body);
        check_fails((struct request){0}, "/x", cases[i].kind, cases[i].text);
        assert_int_equal(script.seen, 1);
        assert_int_equal(script.clock.count, 0);
    }
}

static void test_request__some_refusals_pass(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        {403,
         "{\"error\": {\"message\": \"x\", \"errors\": [{\"reason\": \"rateLimitExceeded\"}]}}"},
        {400, "<Error><Code>RequestTimeout</Code><Message>slow</Message></Error>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        play(2, cases[i].status, NULL, cases[i].body);
        assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
        assert_int_equal(r.tries, 3);
        http_response_release(&r);
    }
}

static void test_request__the_caller_judges_some(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    static const int statuses[] = {404, 503, 308, 0};
    const struct request q = {.statuses = statuses};
    for (int i = 0; i < 3; i++) {
        play(1, statuses[i], NULL, "body");
        assert_int_equal(run(q, "/x", &r, &e), 0);
        assert_int_equal(r.status, statuses[i]);
        assert_int_equal(r.tries, 1);
        assert_string_equal(r.body, "body");
        http_response_release(&r);
    }
}

struct wants {
    int bad;                      /* answers to find wrong */
    enum err_kind kind;
    int asked;
    const char *text;
};

static int check_answer(void *arg, const struct http_response *r, struct err *e)
{
    struct wants *w = arg;
    assert_int_equal(r->status, 200);
    if (w->asked++ < w->bad)
        return err_set(e, w->kind, "%s", w->text ? w->text : "gs://b/o: wrong crc32c");
    return 0;
}

static void test_request__wrong_answers_are_asked_for_again(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    struct wants w = {.bad = 2, .kind = ERR_RETRY};
    struct request q = {.check = check_answer, .arg = &w};
    play(0, 0, NULL, NULL);
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_ok(e);
    assert_int_equal(r.tries, 3);
    http_response_release(&r);
    w = (struct wants){.bad = 9, .kind = ERR_INTEGRITY};
    check_fails(q, "/x", ERR_INTEGRITY, "gs://b/o: wrong crc32c");
    assert_int_equal(w.asked, 1);
    w = (struct wants){.bad = 9999, .kind = ERR_RETRY};
    q.budget_s = 40;
    check_fails(q, "/x", ERR_RETRY, "gs://b/o: wrong crc32c x ");
    /* A name may hold spaces. */
    char url[200];
    snprintf(url, sizeof url, "%s/x", http_server_url(script.server));
    struct request named = {.http = {.url = url}, .what = "gs://b/a: b", .budget_s = 0.001};
    e = (struct err){0};
    w = (struct wants){.bad = 9999, .kind = ERR_RETRY, .text = "gs://b/a: b: wrong size"};
    named.check = check_answer;
    named.arg = &w;
    assert_int_equal(request_run(script.net, &named, &r, &e), -1);
    assert_string_equal(e.text, "gs://b/a: b: wrong size");
    http_response_release(&r);
}

/* -------------------------------------------------------------- credentials -- */

static void test_request__an_old_token_is_renewed_once(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    const struct request q = {.login = LOGIN_GOOGLE};
    play(0, 0, NULL, NULL);
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_ok(e);
    assert_string_equal(script.authorization, "Bearer t1");
    http_response_release(&r);
    assert_int_equal(run(q, "/wants-t2", &r, &e), 0);
    assert_ok(e);
    assert_int_equal(r.tries, 2);
    assert_string_equal(script.authorization, "Bearer t2");
    assert_int_equal(script.clock.count, 0);
    http_response_release(&r);
    play(99, 401, NULL, "{\"error\": {\"message\": \"Invalid Credentials\"}}");
    check_fails(q, "/x", ERR_LOGIN, "gs://b/o: 401: Invalid Credentials");
    assert_int_equal(script.seen, 2);
    assert_int_equal(script.tokens, 3);
    /* Renewed within a budget of one try, too. */
    play(1, 401, NULL, "");
    assert_int_equal(run((struct request){.login = LOGIN_GOOGLE, .budget_s = 0.001}, "/x", &r, &e),
                     0);
    http_response_release(&r);
}

static void test_request__the_projects_quota(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    const char *const headers[] = {"x-goog-user-project: mine", NULL};
    struct request q = {.login = LOGIN_GOOGLE};
    setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer", 1);
    play(0, 0, NULL, NULL);
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_ok(e);
    assert_string_equal(script.project, "payer");
    http_response_release(&r);
    assert_int_equal(run(q, "/x?userProject=mine", &r, &e), 0);
    assert_string_equal(script.project, "");
    http_response_release(&r);
    q.http.headers = headers;
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_string_equal(script.project, "mine");
    http_response_release(&r);
}

static void test_request__credentials_stay_where_they_belong(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer", 1);
    play(0, 0, NULL, NULL);
    assert_int_equal(run((struct request){0}, "/x", &r, &e), 0);
    assert_string_equal(script.authorization, "");
    assert_string_equal(script.project, "");
    http_response_release(&r);
    assert_int_equal(run((struct request){.login = LOGIN_HUB}, "/x", &r, &e), 0);
    assert_string_equal(script.authorization, "Bearer hf_x");
    assert_string_equal(script.project, "");
    http_response_release(&r);
    play(9, 401, NULL, "");
    check_fails((struct request){.login = LOGIN_HUB}, "/x", ERR_LOGIN, "gs://b/o: 401");
    assert_int_equal(script.seen, 1);
}

static void test_request__signs_for_aws(void **state)
{
    (void)state;
    struct err e;
    struct http_response r;
    struct request q = {.login = LOGIN_AWS};
    play(0, 0, NULL, NULL);
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_non_null(strstr(script.authorization, "Credential=AKID/"));
    assert_non_null(strstr(script.authorization, "/eu-west-3/s3/"));
    assert_string_equal(script.security_token, "session");
    http_response_release(&r);
    q.http.aws_sigv4 = "aws:amz:sa-east-1:s3";
    assert_int_equal(run(q, "/x", &r, &e), 0);
    assert_non_null(strstr(script.authorization, "/sa-east-1/s3/"));
    http_response_release(&r);
    play(9, 400, NULL, "<Error><Code>ExpiredToken</Code><Message>too old</Message></Error>");
    check_fails(q, "/x", ERR_FAILED, "gs://b/o: 400: too old");
    assert_int_equal(script.seen, 2);
}

/* ----------------------------------------------------------------- threads -- */

struct caller {
    pthread_t thread;
    struct net *net;
    char url[200];
    double budget_s;
    int rc;
    struct err e;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    struct http_response r;
    const struct request q = {.http = {.url = c->url}, .what = "gs://b/o", .budget_s = c->budget_s};
    c->rc = request_run(c->net, &q, &r, &c->e);
    http_response_release(&r);
    return NULL;
}

static void start(struct caller *c, struct net *n, const char *path)
{
    *c = (struct caller){.net = n};
    snprintf(c->url, sizeof c->url, "%s%s", http_server_url(script.server), path);
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void test_request__stop_ends_waits(void **state)
{
    (void)state;
    struct caller waits, slow;
    struct net_stats s;
    const struct net_options o = {.budget_s = 1e7};
    struct net *n = net_open(&o);      /* on the real clock */
    play(9999, 503, "Retry-After: 500000\r\n", "");
    start(&waits, n, "/x");
    do {
        clock_sleep(0.005);
        net_stats(n, &s);
    } while (!s.waiting);
    assert_string_equal(s.last_failure, "503");
    start(&slow, n, "/slow");
    net_stop(n);
    pthread_join(waits.thread, NULL);
    pthread_join(slow.thread, NULL);
    assert_err(waits.e, ERR_STOPPED, "stopped");
    assert_err(slow.e, ERR_STOPPED, "stopped");
    net_close(n);
}

static void test_request__many_threads(void **state)
{
    (void)state;
    static struct caller callers[64];
    struct net_stats s;
    play(30, 503, NULL, "");
    for (int i = 0; i < 64; i++)
        start(&callers[i], script.net, "/x");
    for (int i = 0; i < 64; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_ok(callers[i].e);
    }
    net_stats(script.net, &s);
    assert_int_equal(s.retries, 30);
    assert_int_equal(s.requests, 94);
    assert_int_equal(s.bytes, 64 * 5);
    assert_int_equal(s.waiting, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_request__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tries_until_it_works),
        TEST(the_budget_ends),
        TEST(mixed_failures_are_told),
        TEST(servers_are_waited_for),
        TEST(unknown_hosts),
        TEST(refusals_are_final),
        TEST(some_refusals_pass),
        TEST(the_caller_judges_some),
        TEST(wrong_answers_are_asked_for_again),
        TEST(an_old_token_is_renewed_once),
        TEST(the_projects_quota),
        TEST(credentials_stay_where_they_belong),
        TEST(signs_for_aws),
        TEST(stop_ends_waits),
        TEST(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
