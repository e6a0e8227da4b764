/* test_place.c - a place in the data, to JSON and back. */
#include "train/place.h"

#include "testing.h"

static struct place read_text(const char *text, struct err *e)
{
    json_t *o = json_read_text("state.json", text, strlen(text), e);
    assert_non_null(o);
    struct place p = place_of_json(o, e);
    json_decref(o);
    return p;
}

static void test_place__comes_back(void **state)
{
    (void)state;
    struct err e = {0};
    struct place p = {{5, (int64_t)1 << 40, 3}, 2, 900};
    json_t *o = place_to_json(&p);
    struct buf b;
    buf_init(&b, 1000);
    json_write_compact(o, &b);
    assert_string_equal(
        b.data, "{\"epoch\":5,\"window\":1099511627776,\"batch\":3,\"bad\":2,\"taken\":900}");
    struct place q = read_text(b.data, &e);
    assert_ok(e);
    assert_int_equal(q.cursor.epoch, 5);
    assert_int_equal(q.cursor.window, (int64_t)1 << 40);
    assert_int_equal(q.cursor.batch, 3);
    assert_int_equal(q.bad, 2);
    assert_int_equal(q.taken, 900);
    buf_release(&b);
    json_decref(o);
}

static void test_place__refuses_nonsense(void **state)
{
    (void)state;
    struct err e = {0};
    read_text("{\"epoch\":0,\"window\":0,\"batch\":0,\"bad\":0}", &e);
    assert_int_not_equal(e.kind, ERR_NONE);
    assert_non_null(strstr(e.text, "taken"));
    e = (struct err){0};
    read_text("{\"epoch\":0,\"window\":-1,\"batch\":0,\"bad\":0,\"taken\":0}", &e);
    assert_err(e, ERR_INTEGRITY, "out of range");
    e = (struct err){0};
    read_text("{\"epoch\":0,\"window\":0,\"batch\":0,\"bad\":2,\"taken\":1}", &e);
    assert_err(e, ERR_INTEGRITY, "out of range");
    e = (struct err){0};
    place_of_json(NULL, &e);
    assert_ok(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place__comes_back),
        cmocka_unit_test(test_place__refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
