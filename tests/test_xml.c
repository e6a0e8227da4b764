/* Text out of S3's answers. */
#include "testing.h"

#include "net/xml.h"

static void check(const char *xml, const char *name, const char *want)
{
    /* Without a zero behind it. */
    size_t size = strlen(xml);
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, xml, size);
    char *text = xml_text((struct xml_slice){copy, size}, name);
    if (want)
        assert_string_equal(text ? text : "none", want);
    else
        assert_null(text);
    free(text);
    free(copy);
}

static void test_xml__finds_text(void **state)
{
    (void)state;
    check("<a><Key>x</Key><KeyMarker>y</KeyMarker></a>", "Key", "x");
    check("<KeyMarker>y</KeyMarker><Key>x</Key>", "Key", "x");
    check("<Key xmlns=\"u\">x</Key>", "Key", "x");
    check("<Key/>", "Key", "");
    check("<Key></Key>", "Key", "");
    check("<Key>x", "Key", NULL);
    check("<Key", "Key", NULL);
    check("<", "Key", NULL);
    check("", "Key", NULL);
    check("<Keys>x</Keys>", "Key", NULL);
    check("<K><Key>x</Key>", "Key", "x");
}

static void test_xml__replaces_entities(void **state)
{
    (void)state;
    check("<a>&lt;&gt;&amp;&quot;&apos;</a>", "a", "<>&\"'");
    check("<a>&#233;&#xe9;&#x1F600;</a>", "a", "\xc3\xa9\xc3\xa9\xf0\x9f\x98\x80");
    check("<a>&amp;lt;</a>", "a", "&lt;");
    check("<a>&unknown; & &#; &#x; &#xd800; &#99999999999; &</a>", "a",
          "&unknown; & &#; &#x; &#xd800; &#99999999999; &");
}

static void test_xml__goes_from_one_to_the_next(void **state)
{
    (void)state;
    const char *xml = "<i>1</i> <i/> <i a='b'>2</i><i>3";
    struct xml_slice rest = {xml, strlen(xml)}, inside;
    assert_true(xml_next(&rest, "i", &inside));
    assert_int_equal(inside.size, 1);
    assert_true(xml_next(&rest, "i", &inside));
    assert_int_equal(inside.size, 0);
    assert_true(xml_next(&rest, "i", &inside));
    assert_memory_equal(inside.at, "2", 1);
    assert_false(xml_next(&rest, "i", &inside));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml__finds_text),
        cmocka_unit_test(test_xml__replaces_entities),
        cmocka_unit_test(test_xml__goes_from_one_to_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
