/* test_auth_profile.c - the files of AWS's tools. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "net/auth_profile.h"

static json_t *read_section(const char *text, const char *section, struct err *e)
{
    char *folder = testing_folder(), *path = path_join(folder, "config");
    json_t *settings = NULL;
    assert_int_equal(file_write(path, text, strlen(text), e), 0);
    int result = profile_read(path, section, &settings, e);
    assert_int_equal(result, e->kind ? -1 : 0);
    struct err ignored = {0};
    assert_int_equal(dir_remove(folder, &ignored), 0);
    free(path);
    free(folder);
    return settings;
}

static void test_auth_profile__finds_a_section(void **state)
{
    (void)state;
    struct err e = {0};
    static const char text[] = "# a comment\n; another\n\n[default]\nregion=one\n"
                               "[profile  two ] # spaces\r\n region_of = nested\n"
                               "region = x=y ; comment\r\nname = a#b\ns3 =\n  indented = 1\n"
                               "[three]\nregion = three";
    json_t *o = read_section(text, "profile two", &e);
    assert_ok(e);
    assert_int_equal(json_object_size(o), 3);
    assert_string_equal(json_get_str(o, "region", "", &e), "x=y");
    assert_string_equal(json_get_str(o, "name", "", &e), "a#b");
    assert_string_equal(json_get_str(o, "s3", "?", &e), "");
    json_decref(o);
    o = read_section(text, "three", &e);
    assert_string_equal(json_get_str(o, "region", "", &e), "three");
    json_decref(o);
    assert_null(read_section(text, "four", &e));
    assert_ok(e);
}

static void test_auth_profile__is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"[default\nregion=1\n", "[default] x\n", "= 1\n", "word\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(read_section(bad[i], "default", &e));
        assert_err(e, ERR_LOGIN, "config:1: expected");
    }
    struct err e = {0};
    assert_null(read_section("[default]\nregi\xf8n = 1\n", "default", &e));
    assert_err(e, ERR_LOGIN, "config: is no text");
    e = (struct err){0};
    json_t *o = json_object();
    json_t *kept = o;
    assert_int_equal(profile_read("/nowhere/at/all", "default", &o, &e), 0);
    assert_null(o);
    json_decref(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_profile__finds_a_section),
        cmocka_unit_test(test_auth_profile__is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
