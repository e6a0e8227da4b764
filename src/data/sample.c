/* sample.c - see sample.h. */
#include "data/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/source.h"
#include "media/audio.h"

enum {
    FINEST_RATE = 192000,                 /* of recordings, Hz ... */
    FINEST_CHANNELS = 8,
    FINEST_BYTES = 4,                     /* ... a sample and channel */
    OTHER_BYTES = 16 << 20,               /* pictures and the like in a sound file */
};

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

static int check_hearing(const struct data_format *f, const struct record *r, struct err *e)
{
    if (r->media_count == 0 || f->mel)
        return 0;
    err_set(e, ERR_DATA, "%s: the model has no audio tower", r->media[0].name);
    return err_hint(e, "use a checkpoint that hears, or records without sound");
}

/* The largest file that a clip can be in: the longest clip, as fine as sound is recorded, and
 * whatever else may lie in the file. */
static int64_t bytes_max(const struct data_format *f)
{
    int64_t most = AUDIO_FILE_BYTES_MAX;
    if (f->mel) {
        const struct mel_config *m = mel_settings(f->mel);
        int64_t sound = m->samples_max / m->rate * FINEST_RATE * FINEST_CHANNELS * FINEST_BYTES;
        most = sound + OTHER_BYTES;
    }
    most = most < AUDIO_FILE_BYTES_MAX ? most : AUDIO_FILE_BYTES_MAX;
    return f->media_bytes_max > 0 && f->media_bytes_max < most ? f->media_bytes_max : most;
}

static int fetch_member(struct record_media *media, int64_t most, shard_read_fn read, void *arg,
                        struct err *e)
{
    int64_t size = media->member->size;
    if (!read)
        return err_set(e, ERR_BUG, "%s: nothing reads its shard", media->name);
    if (size > most)
        return err_set(e, ERR_DATA, "%s: %lld bytes, at most %lld are allowed", media->name,
                       (long long)size, (long long)most);
    void *bytes = xmalloc((size_t)size + 1);
    if (read(arg, media->member->offset, bytes, (size_t)size, e)) {
        free(bytes);
        return err_in(e, "%s", media->name);
    }
    media->bytes = bytes;
    media->size = (size_t)size;
    return 0;
}

int sample_fetch(const struct data_format *f, struct record *r, shard_read_fn read, void *arg,
                 struct err *e)
{
    for (int i = 0; i < r->media_count; i++) {
        struct record_media *media = &r->media[i];
        if (media->bytes)
            continue;
        if (media->member && fetch_member(media, bytes_max(f), read, arg, e))
            return -1;
        if (media->uri)
            media->bytes = source_load(f->net, media->uri, bytes_max(f), &media->size, e);
        if (!media->bytes)
            return -1;
    }
    return 0;
}

static int decode_clip(struct sample_clip *c, const struct data_format *f,
                       const struct record_media *media, struct err *e)
{
    const struct mel_config *m = mel_settings(f->mel);
    struct audio_options options = {.seconds_max = (double)m->samples_max / m->rate,
                                    .rate = m->rate};
    size_t size = media->size;
    const void *bytes = media->bytes;
    void *loaded = NULL;
    if (!bytes && !media->uri)
        return err_set(e, ERR_BUG, "%s: was not read from its shard", media->name);
    if (!bytes)
        bytes = loaded = source_load(f->net, media->uri, bytes_max(f), &size, e);
    if (!bytes)
        return -1;
    struct audio a;
    int failed = audio_decode(&a, bytes, size, &options, e);
    if (!failed)
        failed = make_clip(c, f, &a, e);
    audio_release(&a);
    free(loaded);
    return failed ? err_in(e, "%s", media->name) : 0;
}

static int decode_clips(struct sample *s, const struct data_format *f, const struct record *r,
                        struct err *e)
{
    if (check_hearing(f, r, e))
        return -1;
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

int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m,
                const struct record_ref *ref, shard_read_fn read, void *arg,
                enum sample_purpose purpose, struct err *e)
{
    memset(s, 0, sizeof *s);
    struct record r;
    if (manifest_record(m, ref, read, arg, f->prompt, &r, e))
        return -1;
    int failed = (f->mel && sample_fetch(f, &r, read, arg, e)) || sample_make(s, f, &r, purpose, e);
    if (failed)
        err_in(e, "%s", r.where);
    record_release(&r);
    return failed ? -1 : 0;
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
