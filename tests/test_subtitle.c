/* Subtitles, byte by byte: what OpenAI's whisper command writes for the same cues, but for texts
 * that its files cannot hold. */
#include "testing.h"

#include "base/buf.h"
#include "text/subtitle.h"

static const struct subtitle CUES[] = {
    {0, 2.5, " Hello there.\n"},
    {2.5, 2.5, "  \t\r\n "},
    {59.9996, 3599.9999, "Rounded up."},
    {3600.5, 360000.02,
     "Gr\xc3\xbc\xc3\x9f"
     "e aus K\xc3\xb6ln"},
};
enum { CUE_COUNT = sizeof CUES / sizeof *CUES };

static void expect_text(enum subtitle_format f, const struct subtitle *at, int count,
                        const char *want)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(subtitle_write(f, at, count, &b, &e), 0);
    assert_ok(e);
    assert_string_equal(b.data, want);
    assert_int_equal(b.size, strlen(want));
    buf_release(&b);
}

static void expect_one(enum subtitle_format f, const char *text, const char *want)
{
    static const char *const FRONT[] = {
        [SUBTITLE_PLAIN] = "",
        [SUBTITLE_SRT] = "1\n00:00:01,000 --> 00:00:02,000\n",
        [SUBTITLE_VTT] = "WEBVTT\n\n00:01.000 --> 00:02.000\n",
        [SUBTITLE_TSV] = "start\tend\ttext\n1000\t2000\t",
    };
    bool is_cue = f == SUBTITLE_SRT || f == SUBTITLE_VTT;
    char all[512];
    snprintf(all, sizeof all, "%s%s%s", FRONT[f], want, is_cue ? "\n\n" : "\n");
    expect_text(f, &(struct subtitle){1, 2, text}, 1, all);
}

static void test_subtitle__srt(void **state)
{
    (void)state;
    expect_text(SUBTITLE_SRT, CUES, CUE_COUNT,
                "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n"
                "2\n00:01:00,000 --> 01:00:00,000\nRounded up.\n\n"
                "3\n01:00:00,500 --> 100:00:00,020\nGr\xc3\xbc\xc3\x9f"
                "e aus K\xc3\xb6ln\n\n");
    expect_text(SUBTITLE_SRT, NULL, 0, "");
}

static void test_subtitle__vtt(void **state)
{
    (void)state;
    expect_text(SUBTITLE_VTT, CUES, CUE_COUNT,
                "WEBVTT\n\n"
                "00:00.000 --> 00:02.500\nHello there.\n\n"
                "01:00.000 --> 01:00:00.000\nRounded up.\n\n"
                "01:00:00.500 --> 100:00:00.020\nGr\xc3\xbc\xc3\x9f"
                "e aus K\xc3\xb6ln\n\n");
    expect_text(SUBTITLE_VTT, NULL, 0, "WEBVTT\n\n");
}

static void test_subtitle__tsv(void **state)
{
    (void)state;
    expect_text(SUBTITLE_TSV, CUES, CUE_COUNT,
                "start\tend\ttext\n0\t2500\tHello there.\n60000\t3600000\tRounded up.\n"
                "3600500\t360000020\tGr\xc3\xbc\xc3\x9f"
                "e aus K\xc3\xb6ln\n");
}

static void test_subtitle__plain(void **state)
{
    (void)state;
    expect_text(SUBTITLE_PLAIN, CUES, CUE_COUNT,
                "Hello there.\nRounded up.\nGr\xc3\xbc\xc3\x9f"
                "e aus K\xc3\xb6ln\n");
    expect_text(SUBTITLE_PLAIN, NULL, 0, "");
}

/* No text can end its line, its field or its cue. */
static void test_subtitle__text_stays_in_its_line(void **state)
{
    (void)state;
    for (enum subtitle_format f = SUBTITLE_PLAIN; f <= SUBTITLE_TSV; f++) {
        expect_one(f, "one\r\n\r\ntwo\tthree", "one two three");
        expect_one(f,
                   "a\x01\x7f"
                   "b\xc2\x85"
                   "c\xe2\x80\xa8"
                   "d",
                   "a b c d");
        expect_one(f, "\xc2\xa0\xe3\x80\x80 wide \xc2\xa0", "wide");
        expect_one(f, "two  spaces", "two  spaces");
        expect_one(f, "bad \xff byte", "bad \xef\xbf\xbd byte");
    }
}

static void test_subtitle__marks_of_the_format(void **state)
{
    (void)state;
    expect_one(SUBTITLE_SRT, "a --> b", "a -> b");
    expect_one(SUBTITLE_SRT, "a ------> b -- > c ->", "a -> b -- > c ->");
    expect_one(SUBTITLE_SRT, "-->", "->");
    expect_one(SUBTITLE_VTT, "a --> b", "a -> b");
    expect_one(SUBTITLE_VTT, "R&D <b> 3 > 2", "R&amp;D &lt;b> 3 > 2");
    expect_one(SUBTITLE_SRT, "R&D <b>", "R&D <b>");
    expect_one(SUBTITLE_TSV, "a --> b & <c>", "a --> b & <c>");
    expect_one(SUBTITLE_PLAIN, "a --> b & <c>", "a --> b & <c>");
}

static void test_subtitle__odd_times(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;
    expect_text(SUBTITLE_TSV, &(struct subtitle){-0.5, -1, "x"}, 1, "start\tend\ttext\n0\t0\tx\n");
    expect_text(SUBTITLE_SRT, &(struct subtitle){2, 1, "x"}, 1,
                "1\n00:00:02,000 --> 00:00:02,000\nx\n\n");
    buf_init(&b, 1 << 10);
    assert_int_equal(subtitle_write(SUBTITLE_SRT, &(struct subtitle){0, NAN, "x"}, 1, &b, &e), -1);
    assert_err(e, ERR_DATA, "subtitle 1: times 0 and nan");
    e = (struct err){0};
    assert_int_equal(subtitle_write(SUBTITLE_VTT, &(struct subtitle){0, 1e300, "x"}, 1, &b, &e),
                     -1);
    assert_err(e, ERR_DATA, "expected seconds up to 3600000");
    e = (struct err){0};
    assert_int_equal(subtitle_write(SUBTITLE_JSON, CUES, CUE_COUNT, &b, &e), -1);
    assert_err(e, ERR_BUG, "JSON");
    buf_release(&b);
}

static void test_subtitle__a_full_buffer(void **state)
{
    (void)state;
    for (size_t max = 0; max < 150; max++) {
        struct err e = {0};
        struct buf b;
        buf_init(&b, max);
        int rc = subtitle_write(SUBTITLE_SRT, CUES, CUE_COUNT, &b, &e);
        assert_int_equal(rc != 0, e.kind != 0);
        assert_int_equal(rc != 0, b.overflowed);
        buf_release(&b);
    }
}

static void test_subtitle__extensions(void **state)
{
    (void)state;
    assert_string_equal(subtitle_extension(SUBTITLE_PLAIN), "txt");
    assert_string_equal(subtitle_extension(SUBTITLE_SRT), "srt");
    assert_string_equal(subtitle_extension(SUBTITLE_VTT), "vtt");
    assert_string_equal(subtitle_extension(SUBTITLE_TSV), "tsv");
    assert_string_equal(subtitle_extension(SUBTITLE_JSON), "json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subtitle__srt),
        cmocka_unit_test(test_subtitle__vtt),
        cmocka_unit_test(test_subtitle__tsv),
        cmocka_unit_test(test_subtitle__plain),
        cmocka_unit_test(test_subtitle__text_stays_in_its_line),
        cmocka_unit_test(test_subtitle__marks_of_the_format),
        cmocka_unit_test(test_subtitle__odd_times),
        cmocka_unit_test(test_subtitle__a_full_buffer),
        cmocka_unit_test(test_subtitle__extensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
