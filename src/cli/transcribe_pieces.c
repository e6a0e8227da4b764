/* transcribe_pieces.c - recordings as pieces that the model takes whole.
 *
 * A recording that is longer than the model listens is cut where it is quietest; a silent piece
 * gives nothing.  Pieces of all recordings of a group are decoded together, eval_batch at once, and
 * each result is put back in its place in time.
 *
 * Whisper finds out the language of a recording by its first piece that is not silent; the others
 * are taken to be in the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/output.h"
#include "cli/transcribe_parts.h"
#include "data/collate.h"
#include "media/split.h"
#include "train/generate.h"

enum { TURN_TOKENS = 64 };                 /* room for what stands around a clip */

struct piece {
    struct recording *recording;           /* borrowed */
    int64_t from, count;                   /* samples of it */
    bool is_first;                         /* of its recording */
    bool is_done;
    struct sample sample;                  /* not of Whisper */
    struct speech result;
};

/* The pieces of a group, in order of recording and time. */
struct pieces {
    const struct transcriber *t;
    struct piece *at;
    int count, done;
    size_t room;
};

bool transcribe_is_silent(const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (x[i] >= SAMPLE_SILENCE_PEAK || x[i] <= -SAMPLE_SILENCE_PEAK)
            return false;
    return true;
}

/* ------------------------------------------------------------------ cutting -- */

/* Samples that the features are made for and whose soft tokens the model has positions for. */
static int64_t longest_piece(const struct transcriber *t)
{
    const struct session *s = t->session;
    const struct mel_config *c = mel_settings(s->senses.mel);
    int64_t longest = c->samples_max ? c->samples_max : INT64_MAX;
    if (!t->is_whisper && s->format.max_tokens) {
        int64_t words = (int64_t)strlen(s->format.prompt) + TURN_TOKENS;
        int64_t fits = (s->format.max_tokens - words) * c->subsample * c->hop;
        longest = fits < longest ? fits : longest;
    }
    return longest > AUDIO_RATE ? longest : AUDIO_RATE;
}

static int add_piece(struct pieces *p, struct recording *recording, int64_t from, int64_t count,
                     struct err *e)
{
    struct piece piece = {.recording = recording, .from = from, .count = count};
    const float *x = recording->audio.samples + from;
    if (!p->t->is_whisper &&
        sample_of_audio(&piece.sample, &p->t->session->format, x, count, NULL, e))
        return -1;
    piece.is_first = !p->count || p->at[p->count - 1].recording != recording;
    if ((size_t)p->count == p->room)
        p->at = mem_grow(p->at, &p->room, sizeof *p->at);
    p->at[p->count++] = piece;
    return 0;
}

/* Only Whisper writes an empty text for silence: elsewhere a silent recording is an error, whose
 * text sample_of_audio knows. */
static int cut(struct pieces *p, struct recording *recording, struct err *e)
{
    const struct audio *a = &recording->audio;
    int64_t longest = longest_piece(p->t);
    /* No piece is shorter than half the longest, but for the last. */
    int max = (int)(a->count / (longest / 2)) + 2, rc = 0;
    int64_t *cuts = xcalloc((size_t)max + 1, sizeof *cuts);
    int count = audio_split(a->samples, a->count, AUDIO_RATE, longest, cuts, max);
    bool is_all = !p->t->is_whisper && transcribe_is_silent(a->samples, a->count);
    for (int i = 0; i < count && !rc; i++) {
        int64_t n = cuts[i + 1] - cuts[i];
        if (is_all || !transcribe_is_silent(a->samples + cuts[i], n))
            rc = add_piece(p, recording, cuts[i], n, e);
    }
    free(cuts);
    return rc;
}

/* ----------------------------------------------------------------- decoding -- */

static int speak(const struct transcriber *t, struct piece **at, int count, struct err *e)
{
    const struct config *c = &t->options->config;
    struct generate_options o = {
        .max_new_tokens = c->max_new_tokens,
        .stop_ids = t->session->stop_ids,
        .stop_count = t->session->stop_count,
    };
    struct sample *samples = xcalloc((size_t)count, sizeof *samples);
    struct ids *out = xcalloc((size_t)count, sizeof *out);
    struct batch b;
    for (int i = 0; i < count; i++)
        samples[i] = at[i]->sample;
    collate(&b, &t->session->format, samples, count);
    int rc = generate(t->session->model, &b, &o, out, e);
    for (int i = 0; i < count; i++) {
        char *text = rc ? NULL : session_text(t->session, &out[i], e);
        if (text) {
            struct speech *r = &at[i]->result;
            r->segments = xcalloc(1, sizeof *r->segments);
            r->count = 1;
            r->segments[0].end = (double)at[i]->count / AUDIO_RATE;
            r->segments[0].text = text;
        } else {
            rc = -1;
        }
        ids_release(&out[i]);
    }
    batch_release(&b);
    free(out);
    free(samples);
    return rc;
}

static const char *language_of(const struct pieces *p, const struct piece *piece)
{
    const char *given = p->t->speech.language ? p->t->speech.language : "";
    if (piece->is_first || (*given && strcmp(given, "detect") != 0))
        return given;
    return piece->recording->result.language;
}

static int listen(struct pieces *p, struct piece **at, int count, struct err *e)
{
    struct speech_options o = p->t->speech;
    struct speech_audio *audio = xcalloc((size_t)count, sizeof *audio);
    struct speech *out = xcalloc((size_t)count, sizeof *out);
    const char *language = language_of(p, at[0]);
    o.language = *language ? language : NULL;
    o.on_progress = NULL;                  /* which is by pieces here */
    for (int i = 0; i < count; i++) {
        const float *samples = at[i]->recording->audio.samples;
        audio[i] = (struct speech_audio){samples + at[i]->from, at[i]->count};
    }
    int rc = speech_decode(out, p->t->session, audio, count, &o, e);
    for (int i = 0; i < count && !rc; i++) {
        struct speech *whole = &at[i]->recording->result;
        at[i]->result = out[i];
        if (at[i]->is_first) {
            memcpy(whole->language, out[i].language, sizeof whole->language);
            whole->language_p = out[i].language_p;
        }
    }
    free(audio);
    free(out);
    return rc;
}

/* The next pieces that can be decoded together: of Whisper first those that begin a recording, then
 * those of one language. */
static int choose(const struct pieces *p, struct piece **at, int most)
{
    int n = 0;
    for (int pass = 0; pass < 2 && !n; pass++)
        for (int i = 0; i < p->count && n < most; i++) {
            struct piece *piece = &p->at[i];
            bool is_next = !p->t->is_whisper || piece->is_first == (pass == 0);
            if (piece->is_done || !is_next)
                continue;
            if (n && strcmp(language_of(p, at[0]), language_of(p, piece)) != 0)
                continue;
            at[n++] = piece;
        }
    return n;
}

static int decode(struct pieces *p, struct err *e)
{
    int most = p->t->options->config.eval_batch, n, rc = 0;
    struct piece **at = xcalloc((size_t)most, sizeof *at);
    while (!rc && (n = choose(p, at, most)) > 0) {
        output_progress("transcribing piece", p->done, p->count);
        rc = p->t->is_whisper ? listen(p, at, n, e) : speak(p->t, at, n, e);
        if (rc)
            err_in(e, "%s", at[0]->recording->name);
        for (int i = 0; i < n; i++)
            at[i]->is_done = true;
        p->done += n;
    }
    free(at);
    return rc;
}

/* ---------------------------------------------------------------- gathering -- */

/* Append the segments of a piece, moved to where it lies in time. */
static void gather(struct piece *piece)
{
    struct speech *whole = &piece->recording->result;
    double from = (double)piece->from / AUDIO_RATE;
    struct speech *r = &piece->result;
    size_t count = (size_t)whole->count + (size_t)r->count;
    whole->segments = xreallocarray(whole->segments, count, sizeof *whole->segments);
    for (int i = 0; i < r->count; i++) {
        struct speech_segment *g = &whole->segments[whole->count++];
        *g = r->segments[i];
        g->start += from;
        g->end += from;
    }
    /* Their texts and ids have a new owner. */
    r->count = 0;
}

static void pieces_release(struct pieces *p)
{
    for (int i = 0; i < p->count; i++) {
        sample_release(&p->at[i].sample);
        speech_release(&p->at[i].result);
    }
    free(p->at);
}

int transcribe_pieces(const struct transcriber *t, struct recording *at, int count, struct err *e)
{
    struct pieces p = {.t = t};
    for (int i = 0; i < count; i++) {
        int before = p.count;
        if (at[i].is_bad || !cut(&p, &at[i], &at[i].error))
            continue;
        at[i].is_bad = true;
        for (; p.count > before; p.count--)
            sample_release(&p.at[p.count - 1].sample);
    }
    int rc = decode(&p, e);
    for (int i = 0; i < p.count && !rc; i++)
        gather(&p.at[i]);
    pieces_release(&p);
    return rc;
}
