/* test_reason.c - the one line that a service's refusal is worth. */
#include "base/mem.h"
#include "net/reason.h"
#include "testing.h"

static void check(const char *headers, const char *body, const char *text, const char *code)
{
    struct reason found;
    char *h = xstrdup(headers), *b = xstrdup(body);
    const struct http_response r = {.status = 400, .body = b, .size = strlen(b), .headers = h};
    reason_of(&r, &found);
    assert_string_equal(found.text, text);
    assert_string_equal(found.code, code);
    free(h);
    free(b);
}

static void test_reason__of_json(void **state)
{
    (void)state;
    /* Google's JSON API, its token endpoint, the Hub. */
    check("",
          "{\"error\": {\"code\": 403, \"message\": \"a@b.c does not have storage.objects.get "
          "access.\", \"errors\": [{\"message\": \"x\", \"reason\": \"forbidden\"}]}}",
          "a@b.c does not have storage.objects.get access", "forbidden");
    check("",
          "{\"error\": \"invalid_grant\", \"error_description\": \"Token has been expired or "
          "revoked.\"}",
          "Token has been expired or revoked", "invalid_grant");
    check("", "  {\"error\": \"Repository not found\"}", "Repository not found",
          "Repository not found");
    check("", "{\"message\": \"slow\"}", "slow", "");
    check("x-error-message: Access to model x is restricted.\n", "{\"error\": \"y\"}",
          "Access to model x is restricted", "");
    check("", "{\"error\": {\"message\": 7, \"errors\": {}}}", "", "");
    check("", "{\"error\"", "", "");
    check("", "{\"error\": [[[", "", "");
}

static void test_reason__of_xml(void **state)
{
    (void)state;
    check("",
          "<?xml version='1.0'?>\n<Error><Code>SlowDown</Code><Message>Please &lt;reduce&gt; "
          "your &amp;lt; rate.</Message></Error>",
          "Please <reduce> your &lt; rate", "SlowDown");
    check("", "<Error><Message>never ends", "", "");
    check("", "<html><body>Bad gateway</body></html>", "", "");
}

static void test_reason__of_text(void **state)
{
    (void)state;
    check("", "No such object: bucket/o\r\nmore", "No such object: bucket/o", "");
    check("", "\n\n  spaced out  ", "spaced out", "");
    check("", "", "", "");
}

static void test_reason__is_clean(void **state)
{
    (void)state;
    check("", "a\x1b[2Jb\x7f\tc", "a?[2Jb??c", "");
    check("", "caf\xc3\xa9 \xff\xfe \xc2\x9b x", "caf\xc3\xa9 ?? ? x", "");
    check("", "{\"error\": {\"message\": \"a\\u001b\\u009bb\"}}", "a??b", "");
    char out[10];
    reason_clean("0123456789", 10, out, sizeof out);
    assert_string_equal(out, "012345...");
    reason_clean("012345678", 9, out, sizeof out);
    assert_string_equal(out, "012345678");
    reason_clean("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 10, out, sizeof out);
    assert_string_equal(out, "\xc3\xa4\xc3\xa4\xc3\xa4...");
    char *longest = xmalloc(1001);
    memset(longest, 'x', 1000);
    longest[1000] = 0;
    struct reason found;
    const struct http_response r = {.status = 400, .body = longest, .size = 1000};
    reason_of(&r, &found);
    assert_int_equal(strlen(found.text), REASON_MAX - 1);
    assert_string_equal(found.text + REASON_MAX - 5, "x...");
    free(longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reason__of_json),
        cmocka_unit_test(test_reason__of_xml),
        cmocka_unit_test(test_reason__of_text),
        cmocka_unit_test(test_reason__is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
