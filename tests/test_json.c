/* test_json.c - reading with places, getters, and the text that is written. */
#include "base/json.h"
#include "testing.h"

static json_t *parse(const char *text, struct err *e)
{
    return json_read_text("a.json", text, strlen(text), e);
}

static void test_json__reads_and_gets(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *o =
        parse("{\"i\": 7, \"r\": 2.5, \"whole\": 4.0, \"s\": \"x\", \"b\": true, \"n\": null"
              ",\"a\": [1], \"o\": {\"k\": 1}}",
              &e);
    assert_ok(e);
    assert_int_equal(json_get_int(o, "i", 0, &e), 7);
    assert_int_equal(json_get_int(o, "whole", 0, &e), 4);
    assert_int_equal(json_get_int(o, "none", -3, &e), -3);
    assert_int_equal(json_get_int(o, "n", -3, &e), -3);
    assert_near(json_get_double(o, "r", 0, &e), 2.5, 0);
    assert_near(json_get_double(o, "i", 0, &e), 7, 0);
    assert_string_equal(json_get_str(o, "s", "", &e), "x");
    assert_null(json_get_str(o, "none", NULL, &e));
    assert_true(json_get_bool(o, "b", false, &e));
    assert_int_equal(json_array_size(json_need_array(o, "a", &e)), 1);
    assert_int_equal(json_need_int(json_need_object(o, "o", &e), "k", &e), 1);
    assert_null(json_get_object(o, "none", &e));
    assert_ok(e);
    json_decref(o);
}

static void test_json__wrong_and_missing_keys_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *o = parse("{\"s\": \"x\", \"r\": 2.5, \"n\": null}", &e);
    assert_int_equal(json_get_int(o, "s", 5, &e), 5);
    assert_err(e, ERR_DATA, "\"s\": expected an integer, found a string");
    assert_int_equal(json_need_int(o, "none", &e), 0);
    assert_err(e, ERR_DATA, "\"s\": expected an integer, found a string");
    e = (struct err){0};
    json_get_int(o, "r", 0, &e);
    assert_err(e, ERR_DATA, "\"r\": expected an integer, found a number");
    e = (struct err){0};
    json_need_str(o, "n", &e);
    assert_err(e, ERR_DATA, "\"n\" is missing");
    e = (struct err){0};
    json_need_object(o, "s", &e);
    assert_err(e, ERR_DATA, "\"s\": expected an object, found a string");
    e = (struct err){0};
    json_need_int(json_object_get(o, "s"), "k", &e);
    assert_err(e, ERR_DATA, "expected an object with \"k\", found a string");
    e = (struct err){0};
    json_get_double(NULL, "k", 0, &e);
    assert_err(e, ERR_DATA, "found nothing");
    json_decref(o);
}

static void test_json__errors_have_places(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"{\"a\": 1,\n \"a\": 2}", "a.json:2:4: duplicate"},
        {"{\"a\": }", "a.json:1:7: "},
        {"[1, 2", "a.json:1:"},
        {"[1] x", "a.json:1:5: "},
        {"", "a.json:"},
        {"[\"\xff\"]", "a.json:1:"},
        {"[99999999999999999999]", "a.json:1:"},
        {"[NaN]", "a.json:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(parse(bad[i].text, &e));
        assert_err(e, ERR_DATA, bad[i].error);
    }
}

static void test_json__depth_has_a_limit(void **state)
{
    (void)state;
    struct err e = {0};
    char text[4000];
    memset(text, '[', sizeof text);
    assert_null(json_read_text("a.json", text, sizeof text, &e));
    assert_err(e, ERR_DATA, "a.json:1:");
}

static void test_json__writes_compact_and_pretty(void **state)
{
    (void)state;
    struct buf b;
    json_t *o = json_object(), *a = json_array();
    json_put_int(o, "z", -3);
    json_put_double(o, "third", 1.0 / 3);
    json_put_double(o, "two", 2);
    json_put_double(o, "small", 1e-30);
    json_put_double(o, "inf", INFINITY);
    json_put_bool(o, "yes", true);
    json_put_str(o, "s", "q\"\\\n\t\x01\xc3\xa9");
    json_put_str(o, "bad", "a\xff\x62\xc3");
    json_put_str(o, "null", NULL);
    json_put(o, "empty", json_array());
    json_array_append_new(a, json_integer(1));
    json_array_append_new(a, json_object());
    json_put(o, "a", a);
    buf_init(&b, 10000);
    json_write_compact(o, &b);
    assert_string_equal(b.data,
                        "{\"z\":-3,\"third\":0.333333333,\"two\":2.0,\"small\":1e-30,\"inf\":null,"
                        "\"yes\":true,\"s\":\"q\\\"\\\\\\n\\t\\u0001\xc3\xa9\","
                        "\"bad\":\"a\xef\xbf\xbd\x62\xef\xbf\xbd\",\"null\":null,\"empty\":[],"
                        "\"a\":[1,{}]}");
    json_decref(o);

    struct err e = {0};
    o = parse("{\"a\": [1, 2], \"b\": {\"c\": {}}}", &e);
    buf_clear(&b);
    json_write_pretty(o, &b);
    assert_string_equal(b.data, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {\n    \"c\": {}\n"
                                "  }\n}\n");
    json_decref(o);
    buf_release(&b);
}

/* What is written reads back as the same floats. */
static void test_json__floats_survive(void **state)
{
    (void)state;
    for (int i = 1; i < 1000; i++) {
        struct err e = {0};
        struct buf b;
        float x = (float)i / 7.0f * powf(10, (float)(i % 60 - 30));
        json_t *o = json_object();
        json_put_double(o, "x", x);
        buf_init(&b, 100);
        json_write_compact(o, &b);
        json_t *back = json_read_text("b", b.data, b.size, &e);
        assert_ok(e);
        assert_true((float)json_need_double(back, "x", &e) == x);
        json_decref(o);
        json_decref(back);
        buf_release(&b);
    }
}

static void test_json__file_errors(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(json_read_file("/nowhere/x.json", 100, &e));
    assert_err(e, ERR_FAILED, "/nowhere/x.json: could not read: No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__reads_and_gets),
        cmocka_unit_test(test_json__wrong_and_missing_keys_are_named),
        cmocka_unit_test(test_json__errors_have_places),
        cmocka_unit_test(test_json__depth_has_a_limit),
        cmocka_unit_test(test_json__writes_compact_and_pretty),
        cmocka_unit_test(test_json__floats_survive),
        cmocka_unit_test(test_json__file_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
