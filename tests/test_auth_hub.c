/* test_auth_hub.c - the token of the Hugging Face Hub. */
#include "auth_testing.h"

static void assert_header(struct fake *f, const char *expected)
{
    char out[AUTH_HEADER_MAX] = "left over";
    int result = auth_hub(f->net, out, &f->e);
    assert_ok(f->e);
    assert_int_equal(result, 0);
    assert_string_equal(out, expected);
}

static void test_auth_hub__looks_in_order(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    assert_header(&f, "");
    free(fake_file(&f, ".cache/huggingface/token", "hf_user\n"));
    assert_header(&f, "Authorization: Bearer hf_user");
    setenv("XDG_CACHE_HOME", f.folder, 1);
    assert_header(&f, "");
    free(fake_file(&f, "huggingface/token", "hf_cache"));
    assert_header(&f, "Authorization: Bearer hf_cache");
    free(fake_file(&f, "home/token", "hf_home\n"));
    char *home = path_join(f.folder, "home");
    setenv("HF_HOME", home, 1);
    assert_header(&f, "Authorization: Bearer hf_home");
    fake_named_file(&f, "HF_TOKEN_PATH", "elsewhere", " hf_path \n");
    assert_header(&f, "Authorization: Bearer hf_path");
    setenv("HF_TOKEN", "hf_word", 1);
    assert_header(&f, "Authorization: Bearer hf_word");
    free(home);
    fake_stop(&f);
}

static void test_auth_hub__takes_no_garbage(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    char out[AUTH_HEADER_MAX];
    fake_named_file(&f, "HF_TOKEN_PATH", "token", "hf_secret\nhf_other\n");
    assert_int_equal(auth_hub(f.net, out, &f.e), -1);
    assert_err(f.e, ERR_LOGIN, "token: holds no token of the Hub");
    assert_null(strstr(f.e.text, "hf_"));
    f.e = (struct err){0};
    setenv("HF_TOKEN", "hf\r\nX-Evil: 1", 1);
    assert_int_equal(auth_hub(f.net, out, &f.e), -1);
    assert_err(f.e, ERR_LOGIN, "HF_TOKEN: holds no token");
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_hub__looks_in_order),
        cmocka_unit_test(test_auth_hub__takes_no_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
