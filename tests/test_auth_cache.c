/* test_auth_cache.c - one renewal for many threads, and what serves while it goes on. */
#include "testing.h"

#include "base/clock.h"
#include "net/auth_cache.h"

#include <pthread.h>
#include <time.h>

static struct net *net;

enum { SIZE = 64, THREADS = 100 };

/* Values "value 1", "value 2", ...; after `fails_from` of them every fetch fails. */
struct well {
    int fetched, fails_from;
    int64_t lifetime_s;
    double delay_s;
};

static int fetch(struct net *n, void *arg, void *value, int64_t *expires, struct err *e)
{
    struct well *w = arg;
    (void)n;
    if (w->delay_s > 0)
        clock_sleep(w->delay_s);
    if (++w->fetched >= w->fails_from)
        return err_set(e, ERR_LOGIN, "failure %d", w->fetched);
    snprintf(value, SIZE, "value %d", w->fetched);
    *expires = w->lifetime_s == INT64_MAX ? INT64_MAX : (int64_t)time(NULL) + w->lifetime_s;
    return 0;
}

struct caller {
    struct auth_cache *cache;
    struct net *branch;
    pthread_t thread;
    bool is_refused;
    int result;
    char out[SIZE];
    struct err e;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    c->result = auth_cache_get(c->cache, net, c->is_refused, c->out, &c->e);
    return NULL;
}

static void call_all(struct caller *callers, struct auth_cache *cache, bool is_refused,
                     const char *held)
{
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.cache = cache, .is_refused = is_refused};
        snprintf(callers[i].out, SIZE, "%s", held);
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

static void test_auth_cache__makes_one_request_for_all_threads(void **state)
{
    (void)state;
    struct well w = {.fails_from = 100, .lifetime_s = 3600, .delay_s = 0.2};
    struct auth_cache c;
    static struct caller callers[THREADS];
    auth_cache_init(&c, SIZE, fetch, &w);
    call_all(callers, &c, false, "");
    assert_int_equal(w.fetched, 1);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(callers[i].result, 0);
        assert_string_equal(callers[i].out, "value 1");
    }
    call_all(callers, &c, true, "value 1");        /* all were told 401 for the same one */
    assert_int_equal(w.fetched, 2);
    for (int i = 0; i < THREADS; i++)
        assert_string_equal(callers[i].out, "value 2");
    auth_cache_release(&c);
}

static void test_auth_cache__shares_the_failure(void **state)
{
    (void)state;
    struct well w = {.fails_from = 0, .delay_s = 0.5};
    struct auth_cache c;
    static struct caller callers[THREADS];
    auth_cache_init(&c, SIZE, fetch, &w);
    call_all(callers, &c, false, "");
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(callers[i].result, -1);
        assert_err(callers[i].e, ERR_LOGIN, "failure");
    }
    assert_true(w.fetched < THREADS);
    auth_cache_release(&c);
}

static void test_auth_cache__renews_before_the_end(void **state)
{
    (void)state;
    struct well w = {.fails_from = 3, .lifetime_s = 3600};
    struct auth_cache c;
    struct err e = {0};
    char out[SIZE] = "";
    auth_cache_init(&c, SIZE, fetch, &w);
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_near(c.expires - c.renew_at, 225, 0);
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_int_equal(w.fetched, 1);
    c.renew_at = 0;                                 /* as if that time had come */
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_string_equal(out, "value 2");
    c.renew_at = 0;                                 /* now renewing fails: the old one serves ... */
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_string_equal(out, "value 2");
    assert_int_equal(w.fetched, 3);
    c.renew_at = c.expires = (int64_t)time(NULL);   /* ... until its end */
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), -1);
    assert_err(e, ERR_LOGIN, "failure 4");
    auth_cache_release(&c);
}

static void test_auth_cache__renews_a_short_one_at_half_its_life(void **state)
{
    (void)state;
    struct well w = {.fails_from = 100, .lifetime_s = 300};
    struct auth_cache c;
    struct err e = {0};
    char out[SIZE] = "";
    auth_cache_init(&c, SIZE, fetch, &w);
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_near(c.expires - c.renew_at, 150, 0);
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    assert_int_equal(w.fetched, 1);
    auth_cache_release(&c);
}

static void test_auth_cache__takes_the_word_of_who_holds_another(void **state)
{
    (void)state;
    struct well w = {.fails_from = 100, .lifetime_s = INT64_MAX};
    struct auth_cache c;
    struct err e = {0};
    char out[SIZE] = "";
    auth_cache_init(&c, SIZE, fetch, &w);
    assert_int_equal(auth_cache_get(&c, net, false, out, &e), 0);
    snprintf(out, SIZE, "an older one");            /* refused, but replaced since */
    assert_int_equal(auth_cache_get(&c, net, true, out, &e), 0);
    assert_string_equal(out, "value 1");
    assert_int_equal(auth_cache_get(&c, net, true, out, &e), 0);
    assert_string_equal(out, "value 2");
    out[0] = 0;                                     /* refused, which is not known */
    assert_int_equal(auth_cache_get(&c, net, true, out, &e), 0);
    assert_string_equal(out, "value 3");
    auth_cache_release(&c);
}

/* A fetch that goes on until its network is stopped. */
static int hang(struct net *n, void *arg, void *value, int64_t *expires, struct err *e)
{
    struct well *w = arg;
    if (w->fetched++ == 0)
        return net_sleep(n, 1000, e);
    snprintf(value, SIZE, "value %d", w->fetched);
    *expires = INT64_MAX;
    return 0;
}

static void *call_on_branch(void *arg)
{
    struct caller *c = arg;
    c->result = auth_cache_get(c->cache, c->branch, false, c->out, &c->e);
    return NULL;
}

static void test_auth_cache__outlives_who_is_stopped(void **state)
{
    (void)state;
    struct well w = {0};
    struct auth_cache c;
    auth_cache_init(&c, SIZE, hang, &w);
    struct caller first = {.cache = &c}, second = {.cache = &c};
    struct net *branch = net_branch(net);
    first.branch = branch;
    assert_int_equal(pthread_create(&first.thread, NULL, call_on_branch, &first), 0);
    for (bool is_renewing = false; !is_renewing; clock_sleep(0.01)) {
        pthread_mutex_lock(&c.mutex);
        is_renewing = c.is_renewing;
        pthread_mutex_unlock(&c.mutex);
    }
    assert_int_equal(pthread_create(&second.thread, NULL, call, &second), 0);
    clock_sleep(0.05);
    net_stop(branch);
    assert_int_equal(pthread_join(first.thread, NULL), 0);
    assert_int_equal(pthread_join(second.thread, NULL), 0);
    assert_err(first.e, ERR_STOPPED, "");
    assert_ok(second.e);
    assert_string_equal(second.out, "value 2");
    net_close(branch);
    auth_cache_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_cache__makes_one_request_for_all_threads),
        cmocka_unit_test(test_auth_cache__shares_the_failure),
        cmocka_unit_test(test_auth_cache__renews_before_the_end),
        cmocka_unit_test(test_auth_cache__renews_a_short_one_at_half_its_life),
        cmocka_unit_test(test_auth_cache__takes_the_word_of_who_holds_another),
        cmocka_unit_test(test_auth_cache__outlives_who_is_stopped),
    };
    net = net_open(&(struct net_options){.seed = 1});
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    net_close(net);
    return failed;
}
