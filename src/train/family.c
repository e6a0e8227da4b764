/* family.c - see family.h. */
#include "train/family.h"

#include "train/session.h"

/* A setting, whether it was given, and what to do in its place. */
struct setting {
    const char *name;
    bool is_given;
    const char *hint;
};

static int refuse(const struct setting *s, int count, const char *why, struct err *e)
{
    for (int i = 0; i < count; i++) {
        if (!s[i].is_given)
            continue;
        err_set(e, ERR_USAGE, "%s: %s", s[i].name, why);
        return err_hint(e, "%s", s[i].hint);
    }
    return 0;
}

static int check_crossing(const struct config *c, struct err *e)
{
    static const char sees[] = "the model hears only; leave this out";
    const struct setting s[] = {
        {"pack_tokens", c->pack_tokens > 0, "join_audio puts several clips into one window"},
        {"image_tokens", c->image_tokens > 0, sees},
        {"video_tokens", c->video_tokens > 0, sees},
        {"video_frames", c->video_frames > 0, sees},
        {"image_mask", c->image_mask == IMAGE_MASK_GENERATE, sees},
        {"thinking", c->thinking, "the model writes transcripts only; leave this out"},
    };
    return refuse(s, sizeof s / sizeof *s, "means nothing for an encoder-decoder (whisper)", e);
}

static int check_decoder(const struct config *c, struct err *e)
{
    static const char masks[] = "lora.dropout works against learning by heart, too";
    const struct setting s[] = {
        {"join_audio", c->join_audio != JOIN_AUDIO_NO,
         "pack_tokens puts several records into a row"},
        {"audio_length", c->audio_length == AUDIO_LENGTH_CLIP, "no clip is filled up to a window"},
        {"language", c->language && *c->language, "say it in the prompt"},
        {"task", c->task == WHISPER_TRANSLATE, "say it in the prompt"},
        {"timestamps", c->timestamps, "write the times into the text"},
        {"mask_time_prob", c->mask_time_prob > 0, masks},
        {"mask_feature_prob", c->mask_feature_prob > 0, masks},
        {"dropout", c->dropout > 0, masks},
    };
    return refuse(s, sizeof s / sizeof *s, "is for encoder-decoders (whisper) only", e);
}

int family_check(const struct config *c, const struct manifest *train, struct err *e)
{
    struct err ignored = {0};
    struct model_facts facts;
    if (model_facts_read(c->model, &facts, &ignored))
        return 0;
    if (!facts.is_crossing)
        return check_decoder(c, e);
    if (check_crossing(c, e))
        return -1;
    return session_check_sound(c->model, train, 0, e) ? err_in(e, "train") : 0;
}
