/* sample.c - see sample.h. */
#include "data/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/source.h"
#include "media/audio.h"

/* ------------------------------------------------------------------ clips -- */

/* Features of a clip's samples. */
static int make_clip(struct sample_clip *c, const struct data_format *f, const struct audio *a,
                     struct err *e)
{
    const struct mel_config *m = mel_settings(f->mel);
    double audio_s = (double)a->count / m->rate;
    if (a->count > m->samples_max)
        return err_set(e, ERR_DATA, "%.1f s long, the model takes at most %.1f s", audio_s,
                       (double)m->samples_max / m->rate);
    int frames = mel_frames_valid(f->mel, a->count);
    if (frames < 1)
        return err_set(e, ERR_DATA, "%.4f s are too short for a single frame", audio_s);
    if (!f->allows_silence && audio_peak(a) < SAMPLE_SILENCE_PEAK)
        return err_set(e, ERR_DATA, "the clip is silent (%.1f s, all below -60 dB)", audio_s);
    c->mel = xcalloc((size_t)frames * (size_t)m->bins, sizeof *c->mel);
    c->frames = frames;
    c->soft_tokens = mel_soft_tokens(f->mel, frames);
    c->audio_s = audio_s;
    mel_compute(f->mel, a->samples, a->count, frames, c->mel);
    return 0;
}

static int decode_clip(struct sample_clip *c, const struct data_format *f,
                       const struct record_media *media, struct err *e)
{
    const struct mel_config *m = mel_settings(f->mel);
    struct audio_options options = {.seconds_max = (double)m->samples_max / m->rate,
                                    .rate = m->rate};
    size_t size = media->size;
    void *loaded = NULL;
    if (media->uri) {
        loaded = source_load(media->uri, AUDIO_FILE_BYTES_MAX, &size, e);
        if (!loaded)
            return -1;
    }
    struct audio a;
    int failed = audio_decode(&a, loaded ? loaded : media->bytes, size, &options, e);
    if (!failed)
        failed = make_clip(c, f, &a, e);
    audio_release(&a);
    free(loaded);
    return failed ? err_in(e, "%s", media->name) : 0;
}

static int decode_clips(struct sample *s, const struct data_format *f, const struct record *r,
                        struct err *e)
{
    if (r->media_count > 0 && !f->mel) {
        err_set(e, ERR_DATA, "%s: the model has no audio tower", r->media[0].name);
        return err_hint(e, "use a checkpoint that hears, or records without sound");
    }
    s->clips = xcalloc((size_t)r->media_count + 1, sizeof *s->clips);
    for (int i = 0; i < r->media_count; i++, s->clip_count++)
        if (decode_clip(&s->clips[i], f, &r->media[i], e))
            return -1;
    return 0;
}

/* ----------------------------------------------------------------- tokens -- */

/* Take over what was rendered. */
static void take_rendered(struct sample *s, struct chat_rendered *rendered)
{
    s->tokens = rendered->ids.at;
    s->count = rendered->ids.count;
    s->supervised = rendered->supervised;
    s->spans = rendered->spans;
    s->span_count = rendered->span_count;
    memset(rendered, 0, sizeof *rendered);
}

static int render(struct sample *s, const struct data_format *f, const struct record *r,
                  enum sample_purpose purpose, struct err *e)
{
    struct chat_rendered rendered = {0};
    int failed;
    if (r->kind == RECORD_TEXT) {
        failed = chat_render_text(f->chat, r->text, &rendered, e);
    } else {
        int *soft_tokens = xcalloc((size_t)s->clip_count + 1, sizeof *soft_tokens);
        for (int i = 0; i < s->clip_count; i++)
            soft_tokens[i] = s->clips[i].soft_tokens;
        bool is_prompt = purpose == SAMPLE_GENERATE;
        if (is_prompt)
            s->reference = record_reference(r);
        struct chat_request request = {
            .messages = r->messages,
            .message_count = r->message_count - (s->reference ? 1 : 0),
            .soft_tokens = soft_tokens,
            .media_count = s->clip_count,
            .has_generation_prompt = is_prompt,
            .is_thinking = f->is_thinking,
        };
        failed = chat_render(f->chat, &request, &rendered, e);
        free(soft_tokens);
    }
    if (failed)
        return -1;
    take_rendered(s, &rendered);
    return 0;
}

static int check_sample(const struct sample *s, const struct data_format *f,
                        enum sample_purpose purpose, struct err *e)
{
    if (f->max_tokens > 0 && s->count > f->max_tokens) {
        err_set(e, ERR_DATA, "too long: %d tokens, max_tokens is %d", s->count, f->max_tokens);
        return err_hint(e, "raise max_tokens, or split the record");
    }
    if (purpose == SAMPLE_GENERATE)
        return 0;
    /* The first token is never predicted. */
    for (int i = 1; i < s->count; i++)
        if (s->supervised[i])
            return 0;
    return err_set(e, ERR_DATA, "no supervised token: nothing that the assistant says");
}

/* ---------------------------------------------------------------- samples -- */

int sample_make(struct sample *s, const struct data_format *f, const struct record *r,
                enum sample_purpose purpose, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->record = -1;
    s->has_id = r->id != NULL;
    s->id = xstrdup(r->id ? r->id : r->where);
    if (decode_clips(s, f, r, e) || render(s, f, r, purpose, e) || check_sample(s, f, purpose, e)) {
        sample_release(s);
        return -1;
    }
    return 0;
}

int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m, int64_t i,
                enum sample_purpose purpose, struct err *e)
{
    memset(s, 0, sizeof *s);
    char *where = manifest_where(m, i);
    struct record r = {0};
    size_t size = 0;
    char *line = manifest_read(m, i, &size, e);
    int failed = -1;
    if (!line) {
        err_in(e, "%s", where);
    } else if (record_parse(&r, line, size, where, manifest_dir(m, i), f->prompt, e) == 0) {
        failed = sample_make(s, f, &r, purpose, e);
        if (failed)
            err_in(e, "%s", where);
        else
            s->record = i;
    }
    record_release(&r);
    free(line);
    free(where);
    return failed;
}

int sample_of_audio(struct sample *s, const struct data_format *f, const float *x, int64_t count,
                    const char *prompt, struct err *e)
{
    memset(s, 0, sizeof *s);
    if (!f->mel)
        return err_set(e, ERR_DATA, "the model has no audio tower");
    struct record r;
    record_of_clip(&r, "the clip", prompt ? prompt : f->prompt);
    struct audio a = {.samples = (float *)(uintptr_t)x, .count = count};
    s->record = -1;
    s->id = xstrdup(r.where);
    s->clips = xcalloc(1, sizeof *s->clips);
    s->clip_count = 1;
    int failed = make_clip(&s->clips[0], f, &a, e) || render(s, f, &r, SAMPLE_GENERATE, e) ||
                 check_sample(s, f, SAMPLE_GENERATE, e);
    record_release(&r);
    if (failed)
        sample_release(s);
    return failed ? -1 : 0;
}

void sample_release(struct sample *s)
{
    for (int i = 0; i < s->clip_count; i++)
        free(s->clips[i].mel);
    free(s->clips);
    free(s->id);
    free(s->tokens);
    free(s->supervised);
    free(s->spans);
    free(s->reference);
    memset(s, 0, sizeof *s);
}
