/* test_breakdown.c - transcripts in groups: who is in which, what they add up to. */
#include "train/breakdown.h"

#include "testing.h"

static struct evaluated transcript(const char *language, double seconds, int wrong)
{
    return (struct evaluated){
        .language = (char *)(uintptr_t)language,
        .seconds = seconds,
        .wer = {.substitutions = wrong, .reference = 10},
        .cer = {.deletions = 2 * wrong, .reference = 50},
        .is_exact = wrong == 0,
    };
}

static void expect(const struct breakdown_group *g, const char *name, int64_t transcripts,
                   int64_t words, double wer)
{
    assert_string_equal(g->name, name);
    assert_int_equal(g->transcripts, transcripts);
    assert_int_equal(g->wer.reference, words);
    assert_near(error_rate(&g->wer), wer, 1e-12);
}

static void test_breakdown__by_language(void **state)
{
    (void)state;
    struct evaluated t[] = {transcript("fr", 1, 1), transcript("de", 2, 2), transcript(NULL, 3, 4),
                            transcript("fr", 4, 3), transcript("zulu", 0, 0)};
    struct evaluation v = {.transcripts = t, .transcript_count = 5};
    struct breakdown b;

    breakdown_by_language(&v, &b);
    assert_int_equal(b.count, 4);
    expect(&b.at[0], "de", 1, 10, 0.2);
    expect(&b.at[1], "fr", 2, 20, 0.2);
    expect(&b.at[2], "zulu", 1, 10, 0);
    expect(&b.at[3], "unknown", 1, 10, 0.4);
    assert_near(b.at[1].seconds, 5, 1e-12);
    assert_near(error_rate(&b.at[1].cer), 8.0 / 100, 1e-12);
    assert_int_equal(b.at[2].exact, 1);
    breakdown_release(&b);

    v.transcript_count = 0;
    breakdown_by_language(&v, &b);
    assert_int_equal(b.count, 0);
    breakdown_release(&b);
}

/* A bound belongs to the shorter group. */
static void test_breakdown__by_duration(void **state)
{
    (void)state;
    struct evaluated t[] = {transcript(NULL, 30, 1),   transcript(NULL, 2, 2),
                            transcript(NULL, 2.01, 3), transcript(NULL, 0, 4),
                            transcript(NULL, 30.1, 5), transcript(NULL, 0.1, 6),
                            transcript(NULL, 5, 7),    transcript(NULL, 3600, 8)};
    struct evaluation v = {.transcripts = t, .transcript_count = 8};
    struct breakdown b;

    breakdown_by_duration(&v, &b);
    assert_int_equal(b.count, 4);
    expect(&b.at[0], "0-2 s", 2, 20, 0.4);
    expect(&b.at[1], "2-5 s", 2, 20, 0.5);
    expect(&b.at[2], "20-30 s", 1, 10, 0.1);
    expect(&b.at[3], ">30 s", 2, 20, 0.65);
    breakdown_release(&b);

    struct evaluated all[] = {transcript(NULL, 1, 0),  transcript(NULL, 4, 0),
                              transcript(NULL, 10, 0), transcript(NULL, 20, 0),
                              transcript(NULL, 25, 0), transcript(NULL, 31, 0)};
    static const char *const names[] = {"0-2 s", "2-5 s", "5-10 s", "10-20 s", "20-30 s", ">30 s"};
    v = (struct evaluation){.transcripts = all, .transcript_count = 6};
    breakdown_by_duration(&v, &b);
    assert_int_equal(b.count, 6);
    for (int i = 0; i < 6; i++)
        expect(&b.at[i], names[i], 1, 10, 0);
    breakdown_release(&b);
}

/* However many names the records use, the groups are so many. */
static void test_breakdown__names_are_bounded(void **state)
{
    (void)state;
    enum { NAMES = 3 * BREAKDOWN_GROUPS_MAX };
    static char names[NAMES][60];
    static struct evaluated t[NAMES];
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof names[i], "language %05d of a long name, or of none at all", i);
        t[i] = transcript(names[i] + 9, 1, 1);
    }
    struct evaluation v = {.transcripts = t, .transcript_count = NAMES};
    struct breakdown b;

    breakdown_by_language(&v, &b);
    assert_int_equal(b.count, BREAKDOWN_GROUPS_MAX);
    expect(&b.at[b.count - 1], "other", NAMES - BREAKDOWN_GROUPS_MAX + 1,
           10 * (NAMES - BREAKDOWN_GROUPS_MAX + 1), 0.1);
    assert_int_equal(strlen(b.at[0].name), BREAKDOWN_NAME_SIZE - 1);
    breakdown_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_breakdown__by_language),
        cmocka_unit_test(test_breakdown__by_duration),
        cmocka_unit_test(test_breakdown__names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
