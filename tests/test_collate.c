/* test_collate.c - each number of a batch where it belongs. */
#include "data_testing.h"

#include "data/collate.h"

static struct sample make(const char *line, enum sample_purpose purpose)
{
    struct err e = {0};
    struct record r;
    struct sample s;
    struct record_place place = {.where = "a.jsonl:3", .dir = kit.folder};
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), 0);
    int failed = sample_make(&s, &kit.format, &r, purpose, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    record_release(&r);
    return s;
}

static void check_row(const struct batch *b, const struct data_format *f, const struct sample *s,
                      int row)
{
    assert_int_equal(b->lengths[row], s->count);
    assert_string_equal(b->ids[row], s->id);
    assert_int_equal(b->has_ids[row], s->has_id);
    for (int t = 0; t < b->len; t++)
        assert_int_equal(b->tokens[row * b->len + t], t < s->count ? s->tokens[t] : f->pad_id);
}

static void test_collate__mixes_text_and_clips(void **state)
{
    (void)state;
    kit_write_tone(&kit, "a.wav", 5000, 0.3, 0);
    kit_write_tone(&kit, "b.wav", 12345, 0.3, 100);
    kit_write_tone(&kit, "c.wav", 3000, 0.3, 300);
    struct sample s[3] = {
        make("{\"prompt\": \"one\", \"completion\": \"two\"}", SAMPLE_TRAIN),
        make("{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"a.wav\"},"
             " {\"text\": \" and \"}, {\"audio\": \"b.wav\"}]},"
             " {\"role\": \"assistant\", \"content\": \"differ\"}]}",
             SAMPLE_TRAIN),
        make("{\"audio\": \"c.wav\", \"text\": \"three\", \"id\": 9}", SAMPLE_TRAIN),
    };
    struct data_format f = kit.format;
    f.tokens_multiple = 8;
    f.frames_multiple = 50;
    f.targets_multiple = 32;
    f.pad_id = 3;
    struct batch b;
    collate(&b, &f, s, 3);

    assert_int_equal(b.rows, 3);
    assert_int_equal(b.len % 8, 0);
    assert_true(b.len >= s[1].count && b.len < s[1].count + 8);
    for (int row = 0; row < 3; row++)
        check_row(&b, &f, &s[row], row);
    assert_int_equal(b.total, s[0].count + s[1].count + s[2].count);

    /* Clips: 31, 77 and 18 real frames, padded to 100, of which the tower makes 25 tokens. */
    static const int frames[] = {31, 77, 18}, soft[] = {8, 20, 5}, row_of[] = {1, 1, 2};
    assert_int_equal(b.clips, 3);
    assert_int_equal(b.frames, 100);
    assert_int_equal(b.bins, 128);
    assert_int_equal(b.slots, 25);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < b.frames; i++)
            assert_int_equal(b.frame_valid[c * b.frames + i], i < frames[c]);
        const struct sample *of = &s[row_of[c]];
        const struct chat_span *span = &of->spans[c == 1];
        assert_int_equal(span->count, soft[c]);
        for (int k = 0; k < soft[c]; k++)
            assert_int_equal(b.soft[row_of[c] * b.len + span->start + k], c * 25 + k);
        const float *mel = of->clips[c == 1].mel;
        assert_memory_equal(b.mel + (size_t)c * 100 * 128, mel,
                            (size_t)frames[c] * 128 * sizeof *mel);
        assert_true(b.mel[((size_t)c * 100 + 99) * 128 + 7] == 0);
    }
    int soft_count = 0;
    for (int i = 0; i < b.rows * b.len; i++)
        soft_count += b.soft[i] >= 0;
    assert_int_equal(soft_count, 8 + 20 + 5);

    /* Targets: each supervised token, predicted from the position before it. */
    int r = 0;
    for (int row = 0; row < 3; row++)
        for (int t = 1; t < s[row].count; t++)
            if (s[row].supervised[t]) {
                assert_int_equal(b.target_rows[r], row * b.len + t - 1);
                assert_int_equal(b.target_ids[r], s[row].tokens[t]);
                assert_near(b.target_weights[r], 1, 0);
                assert_int_equal(b.row_of_target[r++], row);
            }
    assert_int_equal(b.supervised, r);
    assert_int_equal(b.targets, 32);
    for (; r < b.targets; r++)
        assert_near(b.target_weights[r], 0, 0);
    batch_release(&b);
    batch_release(&b);
    for (int i = 0; i < 3; i++)
        sample_release(&s[i]);
}

static void test_collate__without_clips(void **state)
{
    (void)state;
    struct sample s = make("{\"prompt\": \"one\", \"completion\": \"two\"}", SAMPLE_GENERATE);
    struct batch b;
    collate(&b, &kit.format, &s, 1);
    assert_int_equal(b.clips, 0);
    assert_null(b.mel);
    assert_null(b.soft);
    assert_string_equal(b.references[0], "two");
    assert_int_equal(b.supervised, 0);
    assert_int_equal(b.targets, 0);
    assert_int_equal(b.len % SAMPLE_TOKENS, 0);
    batch_release(&b);
    sample_release(&s);
}

static void test_collate__of_nothing(void **state)
{
    (void)state;
    struct batch b;
    collate(&b, &kit.format, NULL, 0);
    assert_int_equal(b.rows, 0);
    assert_int_equal(b.len, 0);
    batch_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collate__mixes_text_and_clips),
        cmocka_unit_test(test_collate__without_clips),
        cmocka_unit_test(test_collate__of_nothing),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
