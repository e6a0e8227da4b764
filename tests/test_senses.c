/* What a checkpoint hears and sees, and the budgets that a configuration puts in place. */
#include "testing.h"

#include "train/senses.h"

#define TOWERS "tests/data/score_media/towers"
#define UNIFIED "tests/data/score_media/unified"
#define WHISPER "tests/data/whisper/v2"

static struct model_facts facts_of(const char *dir)
{
    struct err e = {0};
    struct model_facts f;
    int rc = model_facts_read(dir, &f, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    return f;
}

static void test_senses__budgets_replace_the_checkpoints(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_facts facts = facts_of(TOWERS);
    struct senses own, s;
    struct data_format f = {0};
    assert_int_equal(senses_open(&own, TOWERS, &facts, &(struct senses_options){0}, &e), 0);
    assert_true(own.sees && own.mel);
    struct senses_options o = {
        .image_tokens = 1120, .video_tokens = 140, .video_frames = 5, .splits_long_audio = true};
    assert_int_equal(senses_open(&s, TOWERS, &facts, &o, &e), 0);
    assert_int_equal(s.picture.tokens_max, 1120);
    assert_int_equal(s.picture.frame_tokens_max, 140);
    assert_int_equal(s.picture.frames_max, 5);
    assert_int_not_equal(own.picture.tokens_max, 1120);
    assert_int_not_equal(own.picture.frames_max, 5);
    senses_format(&s, &f);
    assert_ptr_equal(f.picture, &s.picture);
    assert_ptr_equal(f.mel, s.mel);
    assert_true(f.splits_long_audio);
    assert_int_equal(f.picture_side, facts.picture_side);
    senses_release(&s);
    senses_release(&own);
}

static void test_senses__a_model_without_a_sense(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_facts facts = facts_of(TOWERS);
    struct senses s;
    struct data_format f = {0};
    facts.image_id = facts.audio_id = -1;
    assert_int_equal(senses_open(&s, TOWERS, &facts, &(struct senses_options){0}, &e), 0);
    senses_format(&s, &f);
    assert_null(f.picture);
    assert_null(f.mel);
    senses_release(&s);
}

static void test_senses__encoder_free_models(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_facts facts = facts_of(UNIFIED);
    struct senses s;
    assert_int_equal(senses_open(&s, UNIFIED, &facts, &(struct senses_options){0}, &e), 0);
    assert_true(s.picture.is_merged);
    assert_true(mel_settings(s.mel)->is_raw);
    assert_int_equal(mel_settings(s.mel)->bins, facts.mel_bins);
    senses_release(&s);
}

static void expect_misfit(const struct model_facts *facts, const struct senses_options *o,
                          const char *text)
{
    struct err e = {0};
    struct senses s;
    assert_int_equal(senses_open(&s, TOWERS, facts, o, &e), -1);
    assert_err(e, ERR_USAGE, text);
    senses_release(&s);                  /* released already; harmless */
}

static void test_senses__misfits_are_named(void **state)
{
    (void)state;
    const struct model_facts facts = facts_of(TOWERS);
    struct model_facts other = facts;
    struct senses_options o = {0};
    other.mel_bins++;
    expect_misfit(&other, &o, "mel bins, the model expects");
    other = facts;
    other.patch++;
    expect_misfit(&other, &o, "pictures have patches of");
    other = facts;
    other.pool++;
    expect_misfit(&other, &o, "patches a side, the model expects");
    o.image_tokens = 100;
    expect_misfit(&facts, &o, "image_tokens: found 100, expected 70, 140, 280, 560 or 1120");
    o.image_tokens = 0;
    o.video_tokens = 7;
    expect_misfit(&facts, &o, "video_tokens: found 7");
}

/* How clips become rows is said by the configuration; what is for training alone does not reach
 * the data side by itself. */
static void test_senses__encoder_decoders(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_facts facts = facts_of(WHISPER);
    struct senses s;
    const struct config c = {
        .language = (char *)"de",
        .task = WHISPER_TRANSLATE,
        .timestamps = true,
        .join_audio = JOIN_AUDIO_TIMESTAMPS,
        .audio_length = AUDIO_LENGTH_CLIP,
        .mask_time_prob = 0.05,
        .mask_feature_prob = 0.1,
        .mask_feature_length = 4,
        .seed = 3,
    };
    struct senses_options o = senses_options_of(&c);
    assert_int_equal(senses_open(&s, WHISPER, &facts, &o, &e), 0);
    assert_true(s.crossing.is_used && s.mel && !s.sees);
    assert_int_equal(s.crossing.joining, SAMPLE_JOIN_TIMESTAMPS);
    assert_int_equal(s.crossing.augment.time_spans, 2);
    assert_int_equal(s.crossing.augment.time_length, 10);
    assert_int_equal(s.crossing.augment.feature_spans, 0);
    assert_int_equal(s.crossing.augment.feature_length, 4);
    assert_true(s.crossing.augment_seed != 0 && s.crossing.augment_seed != 3);
    struct data_format f = {.max_tokens = 2048};
    senses_format(&s, &f);
    assert_int_equal(f.max_tokens, 96);
    assert_true(f.crossing.is_used && f.crossing.has_timestamps && !f.crossing.has_whole_window);
    assert_string_equal(f.crossing.language, "de");
    assert_int_equal(f.crossing.task, WHISPER_TRANSLATE);
    assert_int_equal(f.crossing.joining, SAMPLE_APART);
    assert_false(spec_augment_is_on(&f.crossing.augment));
    f = (struct data_format){.max_tokens = 50};
    senses_format(&s, &f);
    assert_int_equal(f.max_tokens, 50);
    senses_release(&s);
    /* Two frames a position. */
    facts.audio_positions = 1500;
    assert_int_equal(senses_open(&s, WHISPER, &facts, &o, &e), -1);
    assert_err(e, ERR_USAGE, "the features of a window have 200 frames, the model expects 3000");
    e = (struct err){0};
    facts = facts_of(WHISPER);
    facts.mel_bins = 128;
    assert_int_equal(senses_open(&s, WHISPER, &facts, &o, &e), -1);
    assert_err(e, ERR_USAGE, "the features have 80 mel bins, the model expects 128");
}

static void test_senses__other_models_have_no_crossing(void **state)
{
    (void)state;
    struct err e = {0};
    struct model_facts facts = facts_of(TOWERS);
    struct senses s;
    const struct config c = {.join_audio = JOIN_AUDIO_PLAIN, .mask_time_prob = 0.1};
    struct senses_options o = senses_options_of(&c);
    struct data_format f = {.max_tokens = 2048};
    assert_int_equal(senses_open(&s, TOWERS, &facts, &o, &e), 0);
    senses_format(&s, &f);
    assert_false(s.crossing.is_used || f.crossing.is_used);
    assert_int_equal(s.crossing.joining, SAMPLE_APART);
    assert_int_equal(f.max_tokens, 2048);
    senses_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_senses__budgets_replace_the_checkpoints),
        cmocka_unit_test(test_senses__a_model_without_a_sense),
        cmocka_unit_test(test_senses__encoder_free_models),
        cmocka_unit_test(test_senses__misfits_are_named),
        cmocka_unit_test(test_senses__encoder_decoders),
        cmocka_unit_test(test_senses__other_models_have_no_crossing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
