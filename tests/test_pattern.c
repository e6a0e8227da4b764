/* test_pattern.c - braces and wildcards in names. */
#include "testing.h"

#include "data/pattern.h"

static void check_expand(const char *pattern, const char *expected)
{
    struct err e = {0};
    struct pattern_list l = {0};
    char found[1000] = "";
    assert_int_equal(pattern_expand(&l, pattern, 100, &e), 0);
    for (size_t i = 0; i < l.count; i++) {
        strcat(found, i ? " " : "");
        strcat(found, l.at[i]);
    }
    assert_string_equal(found, expected);
    pattern_list_release(&l);
}

/* As bash expands them, but for ranges that run down. */
static void test_pattern__expands_braces(void **state)
{
    (void)state;
    check_expand("x", "x");
    check_expand("x-{8..10}.tar", "x-8.tar x-9.tar x-10.tar");
    check_expand("x{08..10}", "x08 x09 x10");
    check_expand("x{0098..0100}", "x0098 x0099 x0100");
    check_expand("{b,c}.*", "b.* c.*");
    check_expand("{x,y}{1..2}", "x1 x2 y1 y2");
    check_expand("a{b,c{d,e}f}g", "abg acdfg acefg");
    check_expand("a{,b}", "a ab");
    check_expand("x{}", "x{}");
    check_expand("x{}{1,2}", "x{}1 x{}2");
    check_expand("x{1..", "x{1..");
    check_expand("x{2..1}", "x2..1");
}

static void test_pattern__expands_to_a_limit(void **state)
{
    (void)state;
    struct err e = {0};
    struct pattern_list l = {0};
    assert_int_equal(pattern_expand(&l, "x{1..100}", 100, &e), 0);
    assert_int_equal(l.count, 100);
    pattern_list_release(&l);
    assert_int_equal(pattern_expand(&l, "x{1..999999999999}", 100, &e), -1);
    assert_err(e, ERR_DATA, "means more than 100 files");
    e = (struct err){0};
    assert_int_equal(pattern_expand(&l, "{1..50}{1..3}", 100, &e), -1);
    assert_err(e, ERR_DATA, "means more than 100 files");
    pattern_list_release(&l);
    e = (struct err){0};
    char deep[400] = "";
    for (int i = 0; i < 70; i++)
        strcat(deep, "{a}");
    assert_int_equal(pattern_expand(&l, deep, 100, &e), -1);
    assert_err(e, ERR_DATA, "more than 64 braces");
    pattern_list_release(&l);
}

static void test_pattern__finds_the_first_wildcard(void **state)
{
    (void)state;
    assert_int_equal(pattern_literal("a/b"), 3);
    assert_int_equal(pattern_literal("a/b*"), 3);
    assert_int_equal(pattern_literal("?"), 0);
    assert_int_equal(pattern_literal("ab[cd]"), 2);
    assert_int_equal(pattern_literal("ab[cd"), 5);
}

static void test_pattern__matches(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool fits;
    } cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "ab", false},
        {"*", "abc", true},
        {"*", "a/b", false},
        {"a*c", "abbc", true},
        {"a*c*d", "acbcd", true},
        {"a*c", "a/c", false},
        {"*a*b*c", "xxaxxbxbxc", true},
        {"*a*b*c", "xxaxxbxbx", false},
        {"a?c", "abc", true},
        {"a?c", "a/c", false},
        {"a?", "a", false},
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[^a-c]x", "ax", false},
        {"[]a]x", "]x", true},
        {"[a-]x", "-x", true},
        {"[ab", "[ab", true},
        {"*.tar", "a/b.tar", false},
        {"**/*.tar", "b.tar", true},
        {"**/*.tar", "a/b.tar", true},
        {"**/*.tar", "a/b/c.tar", true},
        {"**/*.tar", "a/b/c.tax", false},
        {"a/**/z", "a/z", true},
        {"a/**/z", "a/b/c/z", true},
        {"a/**/z", "a/bz", false},
        {"a/**", "a/b/c", true},
        {"**.tar", "a/b/c.tar", true},
        {"**a*b", "x/ay/azb", true},
        {"**/x*y/**/z", "a/xb/xcy/d/z", true},
        {"*", ".hidden", false},
        {".*", ".hidden", true},
        {"a/*", "a/.b", false},
        {"?a", ".a", false},
        {"[.]a", ".a", false},
        {"**/a", ".git/a", false},
        {"a*", "a.b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (pattern_match(cases[i].pattern, cases[i].name) != cases[i].fits)
            fail_msg("%s, %s: expected %d", cases[i].pattern, cases[i].name, cases[i].fits);
}

/* A pattern of many stars must not take exponential time: this one would never end. */
static void test_pattern__is_quick(void **state)
{
    (void)state;
    char pattern[700] = "", name[2000] = "";
    for (int i = 0; i < 200; i++)
        strcat(pattern, i % 7 ? "*a" : "**a");
    strcat(pattern, "b");
    memset(name, 'a', sizeof name - 1);
    assert_false(pattern_match(pattern, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern__expands_braces),
        cmocka_unit_test(test_pattern__expands_to_a_limit),
        cmocka_unit_test(test_pattern__finds_the_first_wildcard),
        cmocka_unit_test(test_pattern__matches),
        cmocka_unit_test(test_pattern__is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
