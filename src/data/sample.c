/* sample.c - see sample.h. */
#include "data/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/sample_parts.h"
#include "data/source.h"

/* ------------------------------------------------------------------ media -- */

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
    /* What cannot be heard or seen is not fetched. */
    if (f->chat && sample_check_senses(f, r, e))
        return -1;
    for (int i = 0; i < r->media_count; i++) {
        struct record_media *media = &r->media[i];
        if (media->bytes || record_file(r, i) != media)
            continue;
        int64_t most = sample_bytes_max(f, r, i);
        if (media->member && fetch_member(media, most, read, arg, e))
            return -1;
        if (media->uri)
            media->bytes = source_load(f->net, media->uri, most, &media->size, e);
        if (!media->bytes)
            return -1;
    }
    return 0;
}

/* ----------------------------------------------------------------- tokens -- */

/* Messages that are rendered: what is to be generated is none of them. */
static int count_messages(const struct sample *s, const struct record *r)
{
    return r->message_count - (s->reference ? 1 : 0);
}

/* Media of these messages, which come first in the record's list. */
static int count_media(const struct sample *s, const struct record *r)
{
    int count = r->media_count;
    if (s->reference) {
        const struct chat_message *last = &r->messages[r->message_count - 1];
        for (int i = 0; i < last->part_count; i++)
            count -= last->parts[i].kind != CHAT_TEXT;
    }
    return count;
}

/* Take over what was rendered. */
static void take_rendered(struct sample *s, struct chat_rendered *rendered,
                          const struct sample_media *m)
{
    s->tokens = rendered->ids.at;
    s->count = rendered->ids.count;
    s->supervised = rendered->supervised;
    s->spans = rendered->spans;
    s->span_count = rendered->span_count;
    memset(rendered, 0, sizeof *rendered);
    s->blocks = xcalloc((size_t)s->span_count + 1, sizeof *s->blocks);
    for (int i = 0; i < s->span_count; i++)
        s->blocks[i] = m->blocks[m->firsts[s->spans[i].media] + s->spans[i].block];
}

static int render(struct sample *s, const struct sample_media *m, const struct data_format *f,
                  const struct record *r, struct err *e)
{
    struct chat_rendered rendered = {0};
    int failed;
    if (r->kind == RECORD_TEXT) {
        failed = chat_render_text(f->chat, r->text, &rendered, e);
    } else {
        struct chat_request request = {
            .messages = r->messages,
            .message_count = count_messages(s, r),
            .media = m->chat,
            .media_count = m->items,
            .has_generation_prompt = s->purpose == SAMPLE_GENERATE,
            .is_thinking = f->is_thinking,
        };
        failed = chat_render(f->chat, &request, &rendered, e);
    }
    if (failed)
        return -1;
    take_rendered(s, &rendered, m);
    return 0;
}

/* ------------------------------------------------------------------ length -- */

/* The tokens of a sample, by what they stand for. */
struct lengths {
    int kinds[3];                         /* by record_media_kind: soft ones */
    int images_saved;                     /* when images take `image_tokens` at most */
    int videos_saved;                     /* ... and videos have `video_frames` at most */
    int frames;                           /* of the longest video */
};

static enum record_media_kind kind_of(const struct record *r, const struct sample *s, int span)
{
    return r->media[s->spans[span].media].kind;
}

/* Frames and tokens of the video whose first frame is span `first`, times and begin and end tokens
 * included; returns the span behind it. */
static int measure_video(const struct sample *s, int first, int *frames, int *tokens)
{
    int end = first;
    while (end < s->span_count && s->spans[end].media == s->spans[first].media)
        end++;
    *frames = end - first;
    *tokens = s->spans[end - 1].start + s->spans[end - 1].count - s->spans[first].start;
    return end;
}

static struct lengths measure(const struct sample *s, const struct record *r, int image_tokens,
                              int video_frames)
{
    struct lengths n = {{0}, 0, 0, 0};
    for (int i = 0; i < s->span_count; i++) {
        enum record_media_kind kind = kind_of(r, s, i);
        int count = s->spans[i].count;
        n.kinds[kind] += count;
        n.images_saved += kind == RECORD_IMAGE && count > image_tokens ? count - image_tokens : 0;
    }
    for (int i = 0, end; i < s->span_count; i = end) {
        int frames, tokens;
        end = i + 1;
        if (kind_of(r, s, i) != RECORD_VIDEO)
            continue;
        end = measure_video(s, i, &frames, &tokens);
        n.frames = frames > n.frames ? frames : n.frames;
        if (frames > video_frames)
            n.videos_saved += tokens / frames * (frames - video_frames);
    }
    return n;
}

/* Say which setting would make the record fit, the finest that does. */
static int hint_fit(const struct sample *s, const struct record *r, int max_tokens, struct err *e)
{
    int over = s->count - max_tokens;
    struct lengths n = measure(s, r, 0, 0);
    for (int i = PICTURE_BUDGETS - 1; i >= 0 && n.kinds[RECORD_IMAGE] > 0; i--)
        if (measure(s, r, picture_budgets[i], 0).images_saved >= over)
            return err_hint(e, "image_tokens: %d would fit, or max_tokens: %d", picture_budgets[i],
                            s->count);
    for (int frames = n.frames - 1; frames >= 1; frames--)
        if (measure(s, r, 0, frames).videos_saved >= over)
            return err_hint(e, "video_frames: %d would fit, or max_tokens: %d", frames, s->count);
    if (s->span_count > 0)
        return err_hint(e, "max_tokens: %d would fit, or fewer and shorter media in the record",
                        s->count);
    return err_hint(e, "raise max_tokens, or split the record");
}

static int check_length(const struct sample *s, const struct data_format *f, const struct record *r,
                        struct err *e)
{
    if (f->max_tokens <= 0 || s->count <= f->max_tokens)
        return 0;
    static const char *const of[] = {"sound", "images", "video"};
    char media[120] = "";
    struct lengths n = measure(s, r, 0, 0);
    for (int i = 0, used = 0; i < 3; i++)
        if (n.kinds[i] > 0)
            used += snprintf(media + used, sizeof media - (size_t)used, "%s%d of %s",
                             used ? ", " : " (", n.kinds[i], of[i]);
    err_set(e, ERR_DATA, "too long: %d tokens%s%s, max_tokens is %d", s->count, media,
            media[0] ? ")" : "", f->max_tokens);
    return hint_fit(s, r, f->max_tokens, e);
}

static int check_sample(const struct sample *s, const struct data_format *f, const struct record *r,
                        struct err *e)
{
    if (check_length(s, f, r, e))
        return -1;
    if (s->purpose == SAMPLE_GENERATE)
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
    struct sample_media media;
    s->purpose = purpose;
    s->record = -1;
    s->has_id = r->id != NULL;
    s->id = xstrdup(r->id ? r->id : r->where);
    if (purpose == SAMPLE_GENERATE && r->kind == RECORD_CHAT)
        s->reference = record_reference(r);
    if (f->crossing.is_used) {
        int failed = sample_speech_make(s, f, r, e);
        if (failed)
            sample_release(s);
        return failed;
    }
    s->language = r->speech.language ? xstrdup(r->speech.language) : NULL;
    int failed = sample_media_make(&media, s, f, r, count_media(s, r), e) ||
                 render(s, &media, f, r, e) || check_sample(s, f, r, e);
    sample_media_release(&media);
    for (int i = 0; i < s->clip_count; i++)
        s->audio_s += s->clips[i].audio_s;
    if (failed)
        sample_release(s);
    return failed ? -1 : 0;
}

int sample_load(struct sample *s, const struct data_format *f, const struct manifest *m,
                const struct record_ref *ref, shard_read_fn read, void *arg,
                enum sample_purpose purpose, struct err *e)
{
    memset(s, 0, sizeof *s);
    struct record r;
    if (manifest_record(m, ref, read, arg, f->prompt, &r, e))
        return -1;
    int failed = sample_fetch(f, &r, read, arg, e) || sample_make(s, f, &r, purpose, e);
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
        return err_set(e, ERR_DATA, "the model hears nothing");
    struct sample_media media;
    struct record r;
    record_of_clip(&r, "the clip", prompt ? prompt : f->prompt);
    s->purpose = SAMPLE_GENERATE;
    s->record = -1;
    s->id = xstrdup(r.where);
    int failed;
    if (f->crossing.is_used) {
        failed = sample_speech_of_audio(s, f, x, count, prompt, e);
    } else {
        failed = sample_media_of_audio(&media, s, f, x, count, e) || render(s, &media, f, &r, e) ||
                 check_sample(s, f, &r, e);
        sample_media_release(&media);
    }
    record_release(&r);
    if (failed)
        sample_release(s);
    return failed ? -1 : 0;
}

void sample_release(struct sample *s)
{
    for (int i = 0; i < s->clip_count; i++) {
        free(s->clips[i].mel);
        free(s->clips[i].samples);
        free(s->clips[i].behind);
        free(s->clips[i].reference);
    }
    for (int i = 0; i < s->picture_count; i++)
        picture_release(&s->pictures[i].picture);
    free(s->clips);
    free(s->pictures);
    free(s->blocks);
    free(s->id);
    free(s->tokens);
    free(s->supervised);
    free(s->spans);
    free(s->reference);
    free(s->language);
    free(s->starts);
    memset(s, 0, sizeof *s);
}
