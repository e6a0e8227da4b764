/* format.c - see format.h. */
#include "train/format.h"

#include "train/speech.h"

/* Compiled steps are traced for each set of shapes: coarser padding, fewer of them. */
enum {
    COMPILED_TOKENS = 64,
    COMPILED_FRAMES = 256,
    COMPILED_TARGETS = 128,
    COMPILED_PATCHES = 64,
};

void format_for_training(struct data_format *out, struct session *s, const struct config *c)
{
    struct data_format *f = &s->format;
    if (c->compile) {
        f->tokens_multiple = COMPILED_TOKENS;
        f->frames_multiple = COMPILED_FRAMES;
        f->targets_multiple = COMPILED_TARGETS;
        f->patches_multiple = COMPILED_PATCHES;
    }
    *out = *f;
    out->pack_tokens = c->pack_tokens;
    out->crossing = s->senses.crossing;
}

bool format_is_sorted(const struct config *c)
{
    return c->length_sorted && c->join_audio == JOIN_AUDIO_NO;
}

bool format_sorts_text(const struct config *c)
{
    return c->audio_length == AUDIO_LENGTH_WINDOW && c->join_audio == JOIN_AUDIO_NO &&
           session_is_crossing(c->model);
}

bool format_is_random(const struct data_format *f, const struct model_facts *facts)
{
    return facts->dropout > 0 || spec_augment_is_on(&f->crossing.augment);
}

int format_detect(const struct session *s, const struct loader_step *step, struct err *e)
{
    for (int i = 0; i < step->count; i++)
        if (step->micros[i].language_at && speech_detect(s, &step->micros[i], NULL, e))
            return err_in(e, "the language of the clips");
    return 0;
}
