/* sample_speech.c - records for encoder-decoder models: a clip, or windows of one, and the tokens
 * of its transcript (text/whisper.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "data/sample_parts.h"

enum { TEXT_BYTES_MAX = 1 << 30 };

/* What is going on while a record is made. */
struct speaking {
    struct sample *s;
    const struct data_format *f;
    const struct whisper_format *w;
    struct whisper_speech speech;         /* of the record, with what it did not say */
    bool has_timestamps, detects;
    char *prompt;                         /* owned; NULL: none */
    char *text;                           /* owned; NULL: none */
    struct ids ids;                       /* of all windows */
    struct ids text_at;                   /* [clip_count] where each one's text begins */
};

/* A stretch of the recording that becomes a clip. */
struct stretch {
    const float *x;
    int64_t count;
    double from;                          /* seconds from the recording's begin */
    const char *prompt, *text;            /* NULL: none; to be generated */
    int first, segments;                  /* of the record's; none: all its text is `text` */
};

/* ------------------------------------------------------------------- turns -- */

/* The text parts of a message, joined; the caller frees. */
static char *message_text(const struct chat_message *m)
{
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    for (int i = 0; i < m->part_count; i++)
        if (m->parts[i].kind == CHAT_TEXT)
            buf_add_str(&b, m->parts[i].text);
    char *text = xstrdup(b.data);
    buf_release(&b);
    return text;
}

static bool has_media(const struct chat_message *m)
{
    int i = 0;
    while (i < m->part_count && m->parts[i].kind == CHAT_TEXT)
        i++;
    return i < m->part_count;
}

/* A user's turn with the clip, and the assistant's with the text. */
static int read_turns(struct speaking *k, const struct record *r, struct err *e)
{
    static const char FORM[] = "a record has one clip and its text, or one user's turn with the "
                               "clip and the assistant's with the text";
    if (r->kind == RECORD_TEXT) {
        err_set(e, ERR_DATA, "plain text: the model transcribes sound");
        return err_hint(e, FORM);
    }
    int clips = record_count(r, RECORD_AUDIO), turns = r->message_count;
    if (clips != 1) {
        err_set(e, ERR_DATA, "%d clips, the model transcribes one", clips);
        return err_hint(e, FORM);
    }
    const struct chat_message *m = r->messages;
    if (turns > 2 || m[0].role != CHAT_USER || !has_media(&m[0]) ||
        (turns == 2 && m[1].role != CHAT_ASSISTANT)) {
        err_set(e, ERR_DATA, "%d message%s that are no transcript", turns, turns == 1 ? "" : "s");
        return err_hint(e, FORM);
    }
    if (turns == 2 && m[1].reasoning && *m[1].reasoning)
        return err_set(e, ERR_DATA, "reasoning, of which the model writes none");
    k->prompt = message_text(&m[0]);
    k->text = turns == 2 ? message_text(&m[1]) : NULL;
    if (k->text || k->s->purpose == SAMPLE_GENERATE)
        return 0;
    err_set(e, ERR_DATA, "no text: nothing to learn of the clip");
    return err_hint(e, "give the record \"text\", or \"segments\"");
}

/* ---------------------------------------------------------- what is not said -- */

/* Does the record show its times?  Joined with others, each text may stand between its own. */
static bool wants_timestamps(const struct speaking *k)
{
    const struct sample_crossing *c = &k->f->crossing;
    bool is_joined = k->s->purpose == SAMPLE_TRAIN && c->joining == SAMPLE_JOIN_TIMESTAMPS;
    if (k->speech.timestamps >= 0)
        return k->speech.timestamps > 0;
    return is_joined || (c->has_timestamps && k->speech.segment_count > 0);
}

static int resolve(struct speaking *k, struct err *e)
{
    const struct sample_crossing *c = &k->f->crossing;
    struct whisper_speech *s = &k->speech;
    if (!s->language || !*s->language)
        s->language = c->language;
    if (s->task == WHISPER_TASK_UNKNOWN)
        s->task = c->task == WHISPER_TRANSLATE ? WHISPER_TRANSLATE : WHISPER_TRANSCRIBE;
    k->has_timestamps = wants_timestamps(k);
    if (s->language || k->detects || !k->w->is_multilingual)
        return 0;
    err_set(e, ERR_DATA, "no language: the record does not say which it is in");
    return err_hint(e,
                    "`language: en`, or `language: detect`, says it for all records that do not");
}

/* ------------------------------------------------------------------- clips -- */

int sample_window_frames(const struct data_format *f, int64_t samples)
{
    const struct mel_config *m = mel_settings(f->mel);
    int64_t window = m->samples_max / m->hop;
    int64_t frames = (samples + m->frame / 2 + m->hop - 1) / m->hop + 1;
    return (int)(frames < window ? frames : window);
}

/* Features of a window that begins with the clip. */
static void make_mel(const struct data_format *f, struct sample_clip *c, const float *x,
                     int64_t count)
{
    const struct mel_config *m = mel_settings(f->mel);
    c->frames = sample_window_frames(f, count);
    size_t numbers = (size_t)c->frames * (size_t)m->bins;
    c->mel = xcalloc(numbers, sizeof *c->mel);
    mel_compute(f->mel, x, count, c->frames, c->mel);
    if (f->has_keys)
        c->key = sample_key((int32_t[]){c->frames, m->bins, 0}, c->mel, numbers * sizeof *c->mel);
}

static int add_clip(struct speaking *k, const struct stretch *p, struct err *e)
{
    const struct mel_config *m = mel_settings(k->f->mel);
    const struct sample_crossing *c = &k->f->crossing;
    struct sample *s = k->s;
    double audio_s = (double)p->count / m->rate;
    if (p->count < 1)
        return err_set(e, ERR_DATA, "a clip without sound");
    int frames = mel_frames(k->f->mel, p->count);
    struct sample_clip clip = {.sample_count = p->count,
                               .frames = frames,
                               .soft_tokens = mel_soft_tokens(k->f->mel, frames),
                               .audio_s = audio_s,
                               .language_at = -1};
    float *silence = NULL;
    const float *x = p->x;
    if (k->f->ablation == SAMPLE_WITHOUT_AUDIO)
        x = silence = xcalloc((size_t)p->count, sizeof *silence);
    clip.can_join = s->purpose == SAMPLE_TRAIN && c->joining != SAMPLE_APART && !p->prompt &&
                    (c->joining == SAMPLE_JOIN_TIMESTAMPS) == k->has_timestamps;
    if (clip.can_join)
        clip.samples = xmemdup(x, (size_t)p->count * sizeof *x);
    else
        make_mel(k->f, &clip, x, p->count);
    free(silence);
    s->clips = xrealloc(s->clips, ((size_t)s->clip_count + 1) * sizeof *s->clips);
    s->clips[s->clip_count++] = clip;
    s->audio_s += audio_s;
    return 0;
}

/* ------------------------------------------------------------------ tokens -- */

/* Tokens that a window may have. */
static int tokens_max(const struct speaking *k)
{
    int positions = k->w->positions, most = k->f->max_tokens;
    return most > 0 && most < positions ? most : positions;
}

static int check_length(const struct speaking *k, int count, struct err *e)
{
    int positions = k->w->positions, most = k->f->max_tokens;
    if (count > positions) {
        err_set(e, ERR_DATA, "too long: %d tokens, the decoder has %d", count, positions);
        return err_hint(e,
                        k->speech.segment_count > 0
                            ? "shorten the text or its prompt: a segment is not cut"
                            : "shorten the text, or give the record \"segments\" by which it can "
                              "be cut");
    }
    if (most > 0 && count > most) {
        err_set(e, ERR_DATA, "too long: %d tokens, max_tokens is %d", count, most);
        return err_hint(e, "max_tokens: %d would fit", count);
    }
    return 0;
}

/* The text as it stands behind another one. */
static int make_behind(struct speaking *k, struct sample_clip *c, const char *text, struct err *e)
{
    struct ids ids = IDS_INIT;
    char *spaced = xasprintf(" %s", text);
    int failed = *text ? whisper_text(k->w, &k->speech, spaced, false, 0, &ids, e) : 0;
    free(spaced);
    c->behind = ids.at ? ids.at : xcalloc(1, sizeof *c->behind);
    c->behind_count = ids.count;
    return failed;
}

/* Texts that are joined have one space between them. */
static char *trimmed(const char *text)
{
    static const char SPACES[] = " \t\n\v\f\r";
    text += strspn(text, SPACES);
    size_t size = strlen(text);
    while (size > 0 && strchr(SPACES, text[size - 1]))
        size--;
    return xstrndup(text, size);
}

/* The tokens of the text; with timestamps, of the stretch's segments. */
static int push_text(struct speaking *k, const struct stretch *p, struct sample_clip *c,
                     struct err *e)
{
    struct whisper_speech part = k->speech;
    const char *said = p->text ? p->text : "";
    part.segments = k->speech.segments + p->first;
    part.segment_count = p->segments;
    part.seconds = p->segments ? 0 : (double)p->count / mel_settings(k->f->mel)->rate;
    if (!c->can_join || k->has_timestamps)
        return whisper_text(k->w, &part, said, k->has_timestamps, -p->from, &k->ids, e);
    char *text = trimmed(said);
    int failed =
        whisper_text(k->w, &part, text, false, 0, &k->ids, e) || make_behind(k, c, text, e);
    free(text);
    return failed ? -1 : 0;
}

/* Add a stretch: its clip, and its tokens behind those of the others. */
static int add_stretch(struct speaking *k, const struct stretch *p, struct err *e)
{
    struct sample *s = k->s;
    int start = k->ids.count, language_at;
    if (add_clip(k, p, e))
        return -1;
    struct sample_clip *c = &s->clips[s->clip_count - 1];
    if (whisper_prefix(k->w, &k->speech, p->prompt, k->has_timestamps, k->detects, &k->ids,
                       &language_at, e))
        return -1;
    c->language_at = language_at < 0 ? -1 : language_at - start;
    c->can_join = c->can_join && language_at < 0;
    int text_at = k->ids.count;
    if (s->purpose == SAMPLE_TRAIN && (push_text(k, p, c, e) || ids_push(&k->ids, k->w->end, e)))
        return -1;
    s->starts = xrealloc(s->starts, ((size_t)s->clip_count + 1) * sizeof *s->starts);
    s->starts[s->clip_count - 1] = start;
    s->starts[s->clip_count] = k->ids.count;
    return check_length(k, k->ids.count - start, e) ? -1 : ids_push(&k->text_at, text_at, e);
}

/* Take the last stretch back. */
static void drop_stretch(struct speaking *k, int ids)
{
    struct sample *s = k->s;
    struct sample_clip *c = &s->clips[--s->clip_count];
    s->audio_s -= c->audio_s;
    free(c->mel);
    free(c->samples);
    free(c->behind);
    free(c->reference);
    k->ids.count = ids;
}

/* ----------------------------------------------------------------- windows -- */

/* The stretch of segments first .. first + count - 1. */
static struct stretch stretch_of(const struct speaking *k, const float *x, int64_t all, int first,
                                 int count)
{
    const struct mel_config *m = mel_settings(k->f->mel);
    const struct whisper_segment *g = &k->speech.segments[first];
    int64_t begin = (int64_t)(g->start * m->rate), end = (int64_t)(g[count - 1].end * m->rate + 1);
    begin = begin < all ? begin : all;
    end = end < all ? end : all;
    end = end - begin > m->samples_max ? begin + m->samples_max : end;
    return (struct stretch){
        .x = x + begin, .count = end - begin, .from = g->start, .first = first, .segments = count};
}

/* How many segments from `first` on fit into a window. */
static int count_fitting(const struct speaking *k, int first, struct err *e)
{
    const struct mel_config *m = mel_settings(k->f->mel);
    const struct whisper_segment *g = &k->speech.segments[first];
    double window = (double)m->samples_max / m->rate;
    int count = 0;
    while (first + count < k->speech.segment_count &&
           g[count].end - g->start <= window + WHISPER_TIME_STEP / 2)
        count++;
    if (count > 0)
        return count;
    err_set(e, ERR_DATA, "segments[%d]: %.1f s long, the model takes at most %.1f s", first,
            g->end - g->start, window);
    return err_hint(e, "divide the segment");
}

/* Add the window that begins with a segment; returns how many are in it.  One whose text is too
 * long for the decoder gets fewer. */
static int add_window(struct speaking *k, const float *x, int64_t all, int first,
                      const char *prompt, char **text, struct err *e)
{
    int count = count_fitting(k, first, e), before = k->ids.count;
    for (; count > 0; count--) {
        struct stretch p = stretch_of(k, x, all, first, count);
        free(*text);
        *text = record_join_segments(&k->speech.segments[first], count);
        p.text = *text;
        p.prompt = prompt;
        int clips = k->s->clip_count;
        if (add_stretch(k, &p, e) == 0)
            break;
        bool is_long = k->ids.count - before > tokens_max(k);
        if (count == 1 || !is_long || k->s->clip_count == clips)
            return err_in(e, "segments[%d]", first);
        drop_stretch(k, before);
        *e = (struct err){0};
    }
    return count;
}

/* Cut a recording where segments end. */
static int add_windows(struct speaking *k, const float *x, int64_t count, struct err *e)
{
    bool has_prompt = k->prompt && *k->prompt, generates = k->s->purpose == SAMPLE_GENERATE;
    char *text = NULL, *prompt = has_prompt ? xstrdup(k->prompt) : NULL;
    int failed = 0;
    for (int first = 0; first < k->speech.segment_count && !failed;) {
        int taken = add_window(k, x, count, first, prompt, &text, e);
        failed = taken < 0;
        first += taken;
        if (generates && !failed)
            k->s->clips[k->s->clip_count - 1].reference = xstrdup(text);
        if (has_prompt) {
            free(prompt);
            prompt = text && !generates ? xstrdup(text) : NULL;
        }
    }
    free(text);
    free(prompt);
    k->s->split_count += !failed;
    return failed ? -1 : 0;
}

/* ----------------------------------------------------------------- records -- */

static void begin(struct speaking *k, struct sample *s, const struct data_format *f)
{
    *k = (struct speaking){.s = s, .f = f, .w = &f->chat->whisper};
}

/* Hand the tokens to the sample. */
static int finish(struct speaking *k, int failed)
{
    struct sample *s = k->s;
    if (!failed) {
        s->tokens = k->ids.at;
        s->count = k->ids.count;
        k->ids = (struct ids){0};
        s->supervised = xcalloc((size_t)s->count + 1, sizeof *s->supervised);
        for (int c = 0; c < s->clip_count; c++)
            for (int i = k->text_at.at[c]; i < s->starts[c + 1]; i++)
                s->supervised[i] = 1;
    }
    ids_release(&k->ids);
    ids_release(&k->text_at);
    free(k->prompt);
    free(k->text);
    return failed ? -1 : 0;
}

static int decode(struct speaking *k, const struct record *r, struct audio *a, struct err *e)
{
    const struct mel_config *m = mel_settings(k->f->mel);
    bool is_cut = k->speech.segment_count > 0;
    struct audio_options o = {.rate = m->rate};
    o.seconds_max = is_cut ? SAMPLE_SEGMENTED_SECONDS_MAX : (double)m->samples_max / m->rate;
    if (is_cut)
        o.long_hint = "cut the recording";
    else if (k->s->purpose == SAMPLE_GENERATE)
        o.long_hint = "`attune transcribe` goes through long recordings; here they are cut where "
                      "the record has \"segments\"";
    else
        o.long_hint = "give the record \"segments\", by which it is cut, or cut it: nothing else "
                      "says which words belong where";
    int clip = 0;
    while (r->media[clip].kind != RECORD_AUDIO)
        clip++;
    if (sample_decode(k->f, r, clip, &o, a, e))
        return -1;
    return sample_check_silence(k->f, a, e) ? err_in(e, "%s", r->media[clip].name) : 0;
}

static int make_record(struct speaking *k, const struct record *r, struct err *e)
{
    const struct mel_config *m = mel_settings(k->f->mel);
    struct audio a = {0};
    if (sample_check_senses(k->f, r, e) || read_turns(k, r, e))
        return -1;
    k->speech = r->speech;
    if (resolve(k, e) || decode(k, r, &a, e)) {
        audio_release(&a);
        return -1;
    }
    k->speech.seconds = (double)a.count / m->rate;
    bool is_training = k->s->purpose == SAMPLE_TRAIN;
    int failed = whisper_check_segments(&k->speech, e);
    if (!failed && a.count > m->samples_max) {
        failed = add_windows(k, a.samples, a.count, e);
    } else if (!failed) {
        struct stretch p = {.x = a.samples, .count = a.count, .text = k->text};
        p.prompt = k->prompt && *k->prompt ? k->prompt : NULL;
        p.segments = k->speech.segment_count;
        failed = add_stretch(k, &p, e);
        bool is_long = k->ids.count > tokens_max(k);
        if (failed && is_training && is_long && k->speech.segment_count > 1) {
            drop_stretch(k, 0);
            *e = (struct err){0};
            failed = add_windows(k, a.samples, a.count, e);
        }
    }
    audio_release(&a);
    return failed;
}

int sample_speech_make(struct sample *s, const struct data_format *f, const struct record *r,
                       struct err *e)
{
    struct speaking k;
    begin(&k, s, f);
    s->language = r->speech.language ? xstrdup(r->speech.language) : NULL;
    return finish(&k, make_record(&k, r, e));
}

int sample_speech_of_audio(struct sample *s, const struct data_format *f, const float *x,
                           int64_t count, const char *prompt, struct err *e)
{
    const struct mel_config *m = mel_settings(f->mel);
    struct speaking k;
    begin(&k, s, f);
    k.detects = true;
    k.speech = (struct whisper_speech){.task = WHISPER_TASK_UNKNOWN,
                                       .timestamps = f->crossing.has_timestamps};
    struct audio a = {.samples = (float *)(uintptr_t)x, .count = count};
    struct stretch p = {.x = x, .count = count};
    p.prompt = prompt ? prompt : f->prompt;
    p.prompt = p.prompt && *p.prompt ? p.prompt : NULL;
    int failed = 0;
    if (count > m->samples_max)
        failed = err_set(e, ERR_DATA, "%.1f s long, the model takes at most %.1f s",
                         (double)count / m->rate, (double)m->samples_max / m->rate);
    if (!failed)
        failed = resolve(&k, e) || sample_check_silence(f, &a, e) || add_stretch(&k, &p, e);
    return finish(&k, failed);
}
