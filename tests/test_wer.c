/* test_wer.c - error counts as jiwer gives them for 2,500 pairs (tests/fixtures/wer.py). */
#include "testing.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/wer.h"

static void check(const struct error_count *c, const json_t *expected, const json_t *pair)
{
    const int64_t found[] = {c->hits, c->substitutions, c->deletions, c->insertions};

    for (size_t k = 0; k < 4; k++)
        if (found[k] != json_integer_value(json_array_get(expected, k)))
            fail_msg("'%s' and '%s': count %zu is %d, expected %d",
                     json_string_value(json_array_get(pair, 0)),
                     json_string_value(json_array_get(pair, 1)), k, (int)found[k],
                     (int)json_integer_value(json_array_get(expected, k)));
}

/* The alignment spells both texts, and has as many errors as were counted. */
static void check_alignment(const char *reference, const char *hypothesis,
                            const struct error_count *c)
{
    struct alignment a;
    struct err e = {0};
    int next_reference = 0, next_hypothesis = 0;
    int64_t kinds[4] = {0};

    assert_int_equal(wer_align(&a, reference, hypothesis, &e), 0);
    for (int i = 0; i < a.count; i++) {
        const struct edit *s = &a.edits[i];
        kinds[s->kind]++;
        assert_int_equal(s->reference, s->kind == EDIT_INSERT ? -1 : next_reference++);
        assert_int_equal(s->hypothesis, s->kind == EDIT_DELETE ? -1 : next_hypothesis++);
    }
    assert_int_equal(kinds[EDIT_EQUAL], c->hits);
    assert_int_equal(kinds[EDIT_SUBSTITUTE], c->substitutions);
    assert_int_equal(kinds[EDIT_DELETE], c->deletions);
    assert_int_equal(kinds[EDIT_INSERT], c->insertions);
    alignment_release(&a);
}

static void test_wer__equals_jiwer(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *all = json_read_file("tests/data/text/wer.json", 1 << 22, &e);
    assert_ok(e);
    json_t *pairs = json_object_get(all, "pairs");
    struct error_count wer = {0}, cer = {0};

    assert_true(json_array_size(pairs) >= 2000);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *r = json_string_value(json_array_get(pair, 0));
        const char *h = json_string_value(json_array_get(pair, 1));
        struct error_count w = {0}, c = {0};
        assert_int_equal(wer_count(&w, r, h, &e), 0);
        assert_int_equal(cer_count(&c, r, h, &e), 0);
        check(&w, json_array_get(pair, 2), pair);
        check(&c, json_array_get(pair, 3), pair);
        check_alignment(r, h, &w);
        assert_int_equal(wer_count(&wer, r, h, &e), 0);
        assert_int_equal(cer_count(&cer, r, h, &e), 0);
    }
    assert_near(error_rate(&wer), json_real_value(json_object_get(all, "wer")), 1e-12);
    assert_near(error_rate(&cer), json_real_value(json_object_get(all, "cer")), 1e-12);
    json_decref(all);
}

static void test_wer__edges(void **state)
{
    (void)state;
    struct error_count c = {0};
    struct err e = {0};

    assert_near(error_rate(&c), 0, 0);
    assert_int_equal(wer_count(&c, "", "  ", &e), 0);
    assert_near(error_rate(&c), 0, 0);
    assert_int_equal(wer_count(&c, " ", "two words", &e), 0);
    assert_true(isinf(error_rate(&c)));
    assert_int_equal(c.insertions, 2);
    assert_int_equal(wer_count(&c, "a\tb\n c ", "", &e), 0);
    assert_int_equal(c.deletions, 3);
    assert_near(error_rate(&c), 5.0 / 3, 1e-12);

    c = (struct error_count){0};
    assert_int_equal(cer_count(&c, "\xc3\xa9t\xc3\xa9", "ete", &e), 0);
    assert_int_equal(c.substitutions, 2);
    assert_int_equal(c.reference, 3);
}

static void test_wer__diff(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;

    buf_init(&b, 1000);
    assert_int_equal(wer_diff("turn on the light please", "turn of the lamp light", false, &b, &e),
                     0);
    assert_string_equal(b.data, "turn [-on-]{+of+} the {+lamp+} light [-please-]");
    buf_clear(&b);
    assert_int_equal(wer_diff("a b", "a c", true, &b, &e), 0);
    assert_string_equal(b.data, "a \x1b[31mb\x1b[0m \x1b[32mc\x1b[0m");
    buf_clear(&b);
    assert_int_equal(wer_diff("", "", false, &b, &e), 0);
    assert_string_equal(b.data, "");
    buf_release(&b);

    buf_init(&b, 10);
    assert_int_equal(wer_diff("a much longer text", "another text", false, &b, &e), -1);
    assert_true(e.kind != ERR_NONE);
    buf_release(&b);
}

static void test_wer__limits(void **state)
{
    (void)state;
    struct err e = {0};
    struct error_count c = {0};
    struct alignment a;
    size_t size = 2 * (WER_TOKENS_MAX + 1);
    char *many = xmalloc(size + 1), *other = xmalloc(size + 1);

    for (size_t i = 0; i < size; i += 2) {
        memcpy(many + i, "a ", 2);
        memcpy(other + i, "b ", 2);
    }
    many[size] = other[size] = 0;
    assert_int_equal(wer_count(&c, many, "a", &e), -1);
    assert_err(e, ERR_DATA, "reference: a transcript has more than 20000 words");
    e = (struct err){0};
    assert_int_equal(cer_count(&c, "a", many, &e), -1);
    assert_err(e, ERR_DATA, "hypothesis: a transcript has more than 20000 characters");
    assert_int_equal(c.reference, 0);

    e = (struct err){0};
    many[2 * WER_TOKENS_MAX] = other[2 * WER_TOKENS_MAX] = 0;
    assert_int_equal(wer_align(&a, many, other, &e), -1);
    assert_err(e, ERR_DATA, "too long to align");
    free(many);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wer__equals_jiwer),
        cmocka_unit_test(test_wer__edges),
        cmocka_unit_test(test_wer__diff),
        cmocka_unit_test(test_wer__limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
