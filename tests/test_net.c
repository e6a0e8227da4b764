/* test_net.c - settings, counters, sleeping and stopping, branches. */
#include "base/clock.h"
#include "http_server.h"
#include "net/http.h"
#include "net/net.h"
#include "testing.h"

#include <pthread.h>

static struct net *open_net(void)
{
    const struct net_options o = {.seed = 7};
    return net_open(&o);
}

static void test_net__settings_have_defaults(void **state)
{
    (void)state;
    char project[] = "payer";
    struct net *n = open_net();
    const struct net_options *o = net_settings(n);
    assert_int_equal(o->connections, 8);
    assert_near(o->budget_s, 900, 0);
    assert_near(o->stall_s, 30, 0);
    assert_string_equal(o->user_project, "");
    net_close(n);
    const struct net_options mine = {
        .connections = 1000, .budget_s = 5, .stall_s = 2.5, .user_project = project};
    n = net_open(&mine);
    project[0] = 'x';
    o = net_settings(n);
    assert_int_equal(o->connections, NET_CONNECTIONS_MAX);
    assert_near(o->budget_s, 5, 0);
    assert_near(o->stall_s, 2.5, 0);
    assert_string_equal(o->user_project, "payer");
    net_close(n);
    net_close(NULL);
}

static void test_net__counts(void **state)
{
    (void)state;
    struct net *n = open_net(), *branch = net_branch(n);
    struct net_stats s;
    net_stats(n, &s);
    assert_int_equal(s.requests + s.bytes + s.retries + s.hedges + s.waiting, 0);
    assert_string_equal(s.last_failure, "");
    net_count_request(n);
    net_count_request(branch);
    net_count_hedge(n);
    net_count_bytes(n, (int64_t)5 << 32);
    net_enter(n);
    net_enter(branch);
    net_count_waiting(n);
    net_count_retry(n, "503");
    net_stats(n, &s);
    assert_string_equal(s.last_failure, "503");
    net_count_waiting(branch);
    net_count_retry(branch, "503");
    net_count_retry(n, "503");
    net_stats(branch, &s);
    assert_int_equal(s.requests, 3);
    assert_int_equal(s.hedges, 1);
    assert_int_equal(s.retries, 3);
    assert_true(s.bytes == (int64_t)5 << 32);
    assert_int_equal(s.waiting, 2);
    assert_true(s.waiting_since > 0);
    assert_string_equal(s.last_failure, "503 x 3");
    net_count_retry(n, "connection reset");
    net_stats(n, &s);
    assert_string_equal(s.last_failure, "connection reset");
    net_leave(branch, true);
    net_stats(n, &s);
    assert_int_equal(s.waiting, 1);
    net_leave(n, true);
    net_stats(n, &s);
    assert_int_equal(s.waiting, 0);
    assert_near(s.waiting_since, 0, 0);
    assert_string_equal(s.last_failure, "");
    net_close(branch);
    net_close(n);
}

static void test_net__random_numbers_follow_the_seed(void **state)
{
    (void)state;
    struct net *a = open_net(), *b = open_net();
    double last = -1;
    for (int i = 0; i < 100; i++) {
        double x = net_random(a);
        assert_true(x >= 0 && x < 1 && x != last);
        assert_near(net_random(b), x, 0);
        last = x;
    }
    net_close(a);
    net_close(b);
}

/* --------------------------------------------------------------- stopping -- */

struct sleeper {
    pthread_t thread;
    struct net *net;
    int rc;
    struct err e;
};

static void *sleep_long(void *arg)
{
    struct sleeper *s = arg;
    net_enter(s->net);
    s->rc = net_sleep(s->net, 1e6, &s->e);
    net_leave(s->net, false);
    return NULL;
}

static void start_sleeper(struct sleeper *s, struct net *n)
{
    *s = (struct sleeper){.net = n};
    assert_int_equal(pthread_create(&s->thread, NULL, sleep_long, s), 0);
}

static void join_sleeper(struct sleeper *s)
{
    pthread_join(s->thread, NULL);
    assert_int_equal(s->rc, -1);
    assert_err(s->e, ERR_STOPPED, "stopped");
}

static void test_net__stop_wakes_sleepers(void **state)
{
    (void)state;
    struct err e = {0};
    struct sleeper sleepers[8];
    struct net_stats s;
    struct net *n = open_net();
    assert_int_equal(net_sleep(n, 0.03, &e), 0);
    net_stats(n, &s);
    assert_true(s.waiting_s >= 0.03);
    for (int i = 0; i < 8; i++)
        start_sleeper(&sleepers[i], n);
    assert_false(net_is_stopped(n));
    net_stop(n);
    assert_true(net_is_stopped(n));
    for (int i = 0; i < 8; i++)
        join_sleeper(&sleepers[i]);
    assert_int_equal(net_sleep(n, 1e6, &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    net_close(n);
}

static void test_net__a_branch_is_stopped_alone(void **state)
{
    (void)state;
    struct err e = {0};
    struct sleeper own, root;
    struct net *n = open_net(), *branch = net_branch(n), *twig = net_branch(branch);
    start_sleeper(&own, branch);
    start_sleeper(&root, n);
    net_stop(branch);
    join_sleeper(&own);
    assert_true(net_is_stopped(branch));
    assert_false(net_is_stopped(n));
    assert_false(net_is_stopped(twig));
    assert_int_equal(net_sleep(n, 0.001, &e), 0);
    net_close(branch);
    net_stop(n);
    join_sleeper(&root);
    assert_true(net_is_stopped(twig));
    net_close(twig);
    net_close(n);
}

/* --------------------------------------------------------------- requests -- */

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    (void)arg;
    r->body = "hello";
    r->size = 5;
    if (!strcmp(q->path, "/stall"))
        r->fault = SERVER_STALL;
}

static int ask(struct net *n, const char *url, const char *path, struct err *e)
{
    char whole[200];
    struct http_response r;
    snprintf(whole, sizeof whole, "%s%s", url, path);
    const struct http_request q = {.url = whole, .group = net_group(n)};
    int rc = http_run(net_http(n), &q, &r, e);
    http_response_release(&r);
    return rc;
}

static void test_net__requests_of_a_stopped_branch_end(void **state)
{
    (void)state;
    struct err e = {0};
    struct http_server *server = http_server_start(answer, NULL);
    const char *url = http_server_url(server);
    struct net *n = open_net(), *branch = net_branch(n), *early = net_branch(n);
    net_stop(early);                   /* before there is an engine */
    assert_int_equal(ask(early, url, "/x", &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    e = (struct err){0};
    assert_int_equal(ask(branch, url, "/x", &e), 0);
    net_stop(branch);
    assert_int_equal(ask(branch, url, "/x", &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    e = (struct err){0};
    assert_int_equal(ask(n, url, "/x", &e), 0);
    net_close(branch);
    net_close(early);
    net_stop(n);
    assert_int_equal(ask(n, url, "/x", &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    net_close(n);
    /* Stopped before its engine was made. */
    n = open_net();
    net_stop(n);
    e = (struct err){0};
    assert_int_equal(ask(n, url, "/x", &e), -1);
    assert_err(e, ERR_STOPPED, "stopped");
    net_close(n);
    http_server_stop(server);
}

static void *close_net(void *arg)
{
    net_close(arg);
    return NULL;
}

static void test_net__close_waits_for_operations(void **state)
{
    (void)state;
    pthread_t closer;
    struct net *n = open_net();
    net_enter(n);
    assert_int_equal(pthread_create(&closer, NULL, close_net, n), 0);
    while (!net_is_stopped(n))
        clock_sleep(0.001);
    net_count_request(n);              /* it is still there: a sanitizer would tell */
    net_leave(n, false);
    pthread_join(closer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_net__settings_have_defaults),
        cmocka_unit_test(test_net__counts),
        cmocka_unit_test(test_net__random_numbers_follow_the_seed),
        cmocka_unit_test(test_net__stop_wakes_sleepers),
        cmocka_unit_test(test_net__a_branch_is_stopped_alone),
        cmocka_unit_test(test_net__requests_of_a_stopped_branch_end),
        cmocka_unit_test(test_net__close_waits_for_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
