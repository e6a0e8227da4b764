/* senses.c - see senses.h. */
#include "train/senses.h"

#include "base/rng.h"

/* What transformers' Whisper hides at least where time is masked at all (mask_time_min_masks). */
enum { TIME_SPANS_MIN = 2, SPAN_LENGTH = 10 };

static struct spec_augment augment_of(const struct config *c)
{
    return (struct spec_augment){
        .time_prob = c->mask_time_prob,
        .feature_prob = c->mask_feature_prob,
        .time_length = c->mask_time_length ? c->mask_time_length : SPAN_LENGTH,
        .feature_length = c->mask_feature_length ? c->mask_feature_length : SPAN_LENGTH,
        .time_spans = c->mask_time_prob > 0 ? TIME_SPANS_MIN : 0,
    };
}

static enum sample_joining joining_of(enum config_join_audio j)
{
    switch (j) {
    case JOIN_AUDIO_PLAIN: return SAMPLE_JOIN_PLAIN;
    case JOIN_AUDIO_TIMESTAMPS: return SAMPLE_JOIN_TIMESTAMPS;
    case JOIN_AUDIO_NO: break;
    }
    return SAMPLE_APART;
}

static struct sample_crossing crossing_of(const struct config *c)
{
    return (struct sample_crossing){
        .language = c->language && *c->language ? c->language : NULL,
        .task = c->task,
        .has_timestamps = c->timestamps,
        .has_whole_window = c->audio_length == AUDIO_LENGTH_WINDOW,
        .joining = joining_of(c->join_audio),
        .augment = augment_of(c),
        .augment_seed = rng_seed(c->seed, "spec_augment"),
    };
}

struct senses_options senses_options_of(const struct config *c)
{
    return (struct senses_options){
        .image_tokens = c->image_tokens,
        .video_tokens = c->video_tokens,
        .video_frames = c->video_frames,
        .splits_long_audio = c->long_audio == LONG_AUDIO_SPLIT,
        .crossing = crossing_of(c),
    };
}

/* A window must be what the encoder has positions for, two frames each. */
static int check_window(const struct mel_config *c, const char *dir,
                        const struct model_facts *facts, struct err *e)
{
    if (!facts->audio_positions)
        return 0;
    int64_t frames = c->samples_max / c->hop, expected = 2 * (int64_t)facts->audio_positions;
    if (frames == expected)
        return 0;
    return err_set(e, ERR_USAGE,
                   "%s: the features of a window have %lld frames, the model expects %lld", dir,
                   (long long)frames, (long long)expected);
}

static int open_mel(struct senses *s, const char *dir, const struct model_facts *facts,
                    struct err *e)
{
    struct mel_config c;
    if (mel_config_read(&c, dir, e))
        return -1;
    if (c.bins != facts->mel_bins)
        return err_set(e, ERR_USAGE, "%s: the features have %d mel bins, the model expects %d", dir,
                       c.bins, facts->mel_bins);
    if (check_window(&c, dir, facts, e))
        return -1;
    s->mel = mel_new(&c, e);
    return s->mel ? 0 : -1;
}

static int check_picture(const struct picture_config *c, const char *dir,
                         const struct model_facts *facts, struct err *e)
{
    if (facts->patch && c->patch != facts->patch)
        return err_set(e, ERR_USAGE, "%s: pictures have patches of %d pixels, the model expects %d",
                       dir, c->patch, facts->patch);
    if (facts->pool && c->pool != facts->pool)
        return err_set(e, ERR_USAGE,
                       "%s: a soft token of a picture has %d patches a side, the model expects %d",
                       dir, c->pool, facts->pool);
    return 0;
}

static int check_budget(const char *key, int tokens, struct err *e)
{
    bool is_known = tokens == 0;
    for (int i = 0; i < PICTURE_BUDGETS; i++)
        is_known |= tokens == picture_budgets[i];
    return is_known ? 0
                    : err_set(e, ERR_USAGE, "%s: found %d, expected 70, 140, 280, 560 or 1120", key,
                              tokens);
}

static int open_picture(struct senses *s, const char *dir, const struct model_facts *facts,
                        const struct senses_options *o, struct err *e)
{
    struct picture_config *c = &s->picture;
    if (picture_config_read(c, dir, facts->is_merged, e) || check_picture(c, dir, facts, e) ||
        check_budget("image_tokens", o->image_tokens, e) ||
        check_budget("video_tokens", o->video_tokens, e))
        return -1;
    if (o->image_tokens)
        c->tokens_max = o->image_tokens;
    if (o->video_tokens)
        c->frame_tokens_max = o->video_tokens;
    if (o->video_frames)
        c->frames_max = o->video_frames;
    s->sees = true;
    s->picture_side = facts->picture_side;
    return 0;
}

int senses_open(struct senses *s, const char *dir, const struct model_facts *facts,
                const struct senses_options *o, struct err *e)
{
    *s = (struct senses){.splits_long_audio = o->splits_long_audio};
    if (facts->is_crossing) {
        s->crossing = o->crossing;
        s->crossing.is_used = true;
        s->tokens_max = facts->positions_max;
    }
    if ((facts->audio_id >= 0 && open_mel(s, dir, facts, e)) ||
        (facts->image_id >= 0 && open_picture(s, dir, facts, o, e))) {
        senses_release(s);
        return -1;
    }
    return 0;
}

void senses_release(struct senses *s)
{
    mel_free(s->mel);
    *s = (struct senses){0};
}

void senses_format(const struct senses *s, struct data_format *f)
{
    f->mel = s->mel;
    f->picture = s->sees ? &s->picture : NULL;
    f->picture_side = s->picture_side;
    f->splits_long_audio = s->splits_long_audio;
    f->crossing = s->crossing;
    f->crossing.joining = SAMPLE_APART;
    f->crossing.augment = (struct spec_augment){0};
    if (s->tokens_max && (!f->max_tokens || f->max_tokens > s->tokens_max))
        f->max_tokens = s->tokens_max;
}
