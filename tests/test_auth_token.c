/* test_auth_token.c - the small parts: times, forms, URLs that may be given secrets. */
#include "auth_testing.h"

#include "base/buf.h"
#include "net/auth_token.h"

static void test_auth_token__reads_times(void **state)
{
    (void)state;
    /* Seconds as `date -u +%s -d` gives them. */
    assert_int_equal(auth_time("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(auth_time("2000-02-29T12:34:56Z"), 951827696);
    assert_int_equal(auth_time("2026-11-23T02:10:00.999999Z"), 1795399800);
    assert_int_equal(auth_time("2100-03-01T00:00:00+00:00"), 4107542400);
    static const char *const bad[] = {"",
                                      "2026-11-23",
                                      "2026-11-23T02:10:00",
                                      "2026-13-01T00:00:00Z",
                                      "2026-11-23T02:10:00+02:00",
                                      "tomorrow",
                                      "2026-11-23T24:00:00Z",
                                      "-026-11-23T02:10:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(auth_time(bad[i]), -1);
}

static void test_auth_token__knows_where_secrets_may_go(void **state)
{
    (void)state;
    static const char *const good[] = {"https://sts.googleapis.com/v1/token",
                                       "http://localhost:8080/x", "http://127.0.0.1/x",
                                       "http://[::1]:9/", "http://10.0.0.1/"};
    static const char *const bad[] = {"http://example.com/",
                                      "http://127.0.0.1.example.com/",
                                      "ftp://localhost/",
                                      "http://localhost@evil.com/",
                                      "https://user@example.com/",
                                      "file:///etc/passwd",
                                      "http://10.0.0.1.evil.com/",
                                      "not a URL",
                                      ""};
    static const char *const hosts[] = {"10.0.0.1", NULL};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct err e = {0};
        assert_int_equal(auth_check_url(good[i], "token_uri", hosts, &e), 0);
        assert_ok(e);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        print_message("%s\n", bad[i]);
        assert_int_equal(auth_check_url(bad[i], "token_uri", hosts, &e), -1);
        assert_err(e, ERR_LOGIN, "\"token_uri\" is ");
    }
}

static void test_auth_token__codes_forms(void **state)
{
    (void)state;
    struct buf form;
    buf_init(&form, 1000);
    auth_form_add(&form, "a", "1//x y&z=%");
    auth_form_add(&form, "empty", "");
    auth_form_add(&form, "none", NULL);
    auth_form_add(&form, "b", "\xc3\xa9~");
    assert_string_equal(form.data, "a=1%2F%2Fx%20y%26z%3D%25&b=%C3%A9~");
    buf_release(&form);
}

static void test_auth_token__lets_no_line_end_into_a_header(void **state)
{
    (void)state;
    assert_true(auth_is_clean("ya29.a0-_~+/="));
    assert_false(auth_is_clean(""));
    assert_false(auth_is_clean("a b"));
    assert_false(auth_is_clean("a\r\nb"));
    assert_false(auth_is_clean("\xc3\xa9"));
    char *large = xcalloc(AUTH_TOKEN_MAX + 2, 1);
    memset(large, 'x', AUTH_TOKEN_MAX + 1);
    assert_false(auth_is_clean(large));
    large[AUTH_TOKEN_MAX] = 0;
    assert_true(auth_is_clean(large));
    free(large);
}

static void test_auth_token__heeds_retry_after(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    char *url = xasprintf("%s/x", http_server_url(f.server));
    struct auth_ask q = {.http = {.url = url}, .what = "it", .tries = 2};
    struct http_response r;
    f.rules[0] = (struct fake_rule){
        .path = "/x", .status = 429, .headers = "Retry-After: 3600\r\n", .body = "no"};
    assert_int_equal(auth_ask(f.net, &q, &r, &f.e), -1);    /* an hour is too long */
    assert_err(f.e, ERR_RETRY, "it answered 429");
    assert_int_equal(f.rules[0].count, 1);
    f.e = (struct err){0};
    f.rules[0].headers = "Retry-After: 0\r\n";
    assert_int_equal(auth_ask(f.net, &q, &r, &f.e), -1);
    assert_int_equal(f.rules[0].count, 3);
    f.e = (struct err){0};
    f.rules[0].status = 302;
    f.rules[0].headers = "Location: https://example.com/\r\n";
    assert_int_equal(auth_ask(f.net, &q, &r, &f.e), -1);    /* secrets are not carried on */
    assert_err(f.e, ERR_LOGIN, "it answered 302");
    free(url);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_token__reads_times),
        cmocka_unit_test(test_auth_token__knows_where_secrets_may_go),
        cmocka_unit_test(test_auth_token__codes_forms),
        cmocka_unit_test(test_auth_token__lets_no_line_end_into_a_header),
        cmocka_unit_test(test_auth_token__heeds_retry_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
