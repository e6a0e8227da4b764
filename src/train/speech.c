/* speech.c - see speech.h.
 *
 *     N rows   W frames of a window   M mel bins   V vocabulary
 */
#include "train/speech.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "text/language.h"
#include "train/generate.h"
#include "train/speech_window.h"

/* A window that was decoded at this temperature or a higher one is no text to go on from. */
#define TEMPERATURE_HIGH 0.5

enum {
    TEXT_BYTES_MAX = 64 << 20,         /* of a recording */
    TRY_SHIFT = 28,                    /* of the random numbers' keys; frames lie below */
};

/* A recording on its way. */
struct tape {
    const struct speech_audio *audio;
    struct speech *out;
    float *mel;                        /* [made,M]; NULL before its turn and after it */
    int made, frames;                  /* frames of features, and those that hold sound */
    int seek;                          /* where the next window starts */
    bool has_times;
    int32_t language;                  /* token; -1: not known yet */
    struct ids past;                   /* text before the window, prompt and times included */
    bool looks_back;                   /* the last window was not hot */
};

/* A window of a recording, row by row of a batch. */
struct window {
    struct tape *tape;
    int frames;                        /* of sound */
    struct ids prefix;                 /* the decoder's input ... */
    int start_at;                      /* ... where <|startoftranscript|> is in it */
    struct ids ids;                    /* what was written */
    double temperature, logprob, compression_ratio, no_speech;
    bool is_doubtful, is_left_out;
};

struct job {
    const struct session *s;
    const struct speech_options *o;
    const struct whisper_format *f;
    struct tape *tapes;
    int count;
    int W, M;
    struct ids prompt;                 /* its text */
    struct speech_times times;
    double seconds;                    /* of all recordings */
};

/* ---------------------------------------------------------------- options -- */

struct speech_options speech_options_of(const struct config *c)
{
    const struct decoding_config *d = &c->decoding;
    struct speech_options o = {
        .language = c->language,
        .task = c->task == WHISPER_TASK_UNKNOWN ? WHISPER_TRANSCRIBE : c->task,
        .has_timestamps = c->timestamps,
        .prompt = c->prompt,
        .compression_ratio = d->compression_ratio,
        .logprob = d->logprob,
        .no_speech = d->no_speech,
        .condition = d->condition,
        .max_new_tokens = c->max_new_tokens,
        .seed = c->seed,
    };
    for (int i = 0; i < d->temperatures.count && i < SPEECH_TEMPERATURES_MAX; i++)
        o.temperatures[o.temperature_count++] = strtod(d->temperatures.at[i], NULL);
    return o;
}

static bool asks_language(const char *language)
{
    return !language || !*language || strcmp(language, "detect") == 0;
}

/* The token of the language that all recordings have, or -1: it is to be detected, or there are no
 * languages. */
static int find_language(const struct job *j, int32_t *id, struct err *e)
{
    const char *language = j->o->language;
    struct err ignored = {0};
    *id = -1;
    if (!j->f->is_multilingual) {
        /* English is the first of all languages. */
        bool is_english = asks_language(language) || language_find(language, 1, &ignored) == 0;
        if (is_english && j->o->task != WHISPER_TRANSLATE)
            return 0;
        err_set(e, ERR_USAGE, "%s: the model writes English only, found %s %s", j->s->model->dir,
                is_english ? "task" : "language", is_english ? "translate" : language);
        return err_hint(e, "take a multilingual checkpoint");
    }
    if (asks_language(language))
        return 0;
    *id = whisper_language_id(j->f, language, e);
    return *id < 0 ? -1 : 0;
}

/* The text of the prompt as tokens. */
static int make_prompt(struct job *j, struct err *e)
{
    struct whisper_speech none = {.task = WHISPER_TRANSCRIBE};
    struct ids ids = IDS_INIT;
    int language_at, rc = 0;
    if (!j->o->prompt || !*j->o->prompt)
        return 0;
    if (whisper_prefix(j->f, &none, j->o->prompt, true, true, &ids, &language_at, e))
        rc = err_in(e, "the prompt");
    for (int i = 1; !rc && i < ids.count && ids.at[i] != j->f->start; i++)
        rc = ids_push(&j->prompt, ids.at[i], e);
    ids_release(&ids);
    return rc;
}

/* --------------------------------------------------------------- features -- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long the recording is, and whether one window holds it. */
static int measure(struct tape *t, const struct job *j, struct err *e)
{
    const struct mel_config *c = mel_settings(j->s->senses.mel);
    int64_t count = t->audio->count, frames = count / c->hop;
    t->out->seconds = (double)count / c->rate;
    if (frames >= SPEECH_FRAMES_MAX)
        return err_set(e, ERR_DATA, "the recording has %.0f s, expected at most %.0f s",
                       t->out->seconds, (double)SPEECH_FRAMES_MAX * c->hop / c->rate);
    bool is_long = frames > j->W;
    t->has_times = is_long || j->o->has_timestamps;
    t->frames = (int)(is_long ? frames : least((count + c->hop - 1) / c->hop, j->W));
    t->made = is_long ? t->frames : j->W;
    return 0;
}

static void compute(struct tape *t, const struct job *j)
{
    const struct mel *mel = j->s->senses.mel;
    int64_t count = t->audio->count;
    if (t->made == j->W)
        count = least(count, mel_settings(mel)->samples_max);
    t->mel = xcalloc((size_t)t->made * (size_t)j->M + 1, sizeof *t->mel);
    mel_compute(mel, t->audio->samples, count, t->made, t->mel);
}

/* What the encoder makes of the windows: [N,positions,D]. */
static mx_array hear(const struct job *j, const struct window *w, int n, struct err *e)
{
    size_t cells = (size_t)j->W * (size_t)j->M;
    float *mel = xcalloc((size_t)n * cells, sizeof *mel);
    uint8_t *valid = xmalloc((size_t)n * (size_t)j->W);
    memset(valid, 1, (size_t)n * (size_t)j->W);
    for (int i = 0; i < n; i++) {
        const struct tape *t = w[i].tape;
        size_t frames = (size_t)least(t->made - t->seek, j->W);
        memcpy(mel + (size_t)i * cells, t->mel + (size_t)t->seek * (size_t)j->M,
               frames * (size_t)j->M * sizeof *mel);
    }
    struct model_input in = {
        .mel = mx_from(mel, MX_FLOAT32, (int[]){n, j->W, j->M}, 3),
        .frame_valid = mx_from(valid, MX_BOOL, (int[]){n, j->W}, 2),
    };
    free(mel);
    free(valid);
    mx_array heard = model_hear(j->s->model, &in);
    return mx_eval(&heard, 1, e) ? MX_NONE : heard;
}

/* --------------------------------------------- what the first token tells -- */

/* The logits [N,V] behind token at[i] of each row's tokens, read with what was heard. */
static float *logits_at(const struct model *m, const struct batch *b, const int32_t *at,
                        mx_array heard, struct err *e)
{
    size_t count = (size_t)b->rows * (size_t)m->facts.vocab;
    float *logits = xcalloc(count, sizeof *logits);
    mx_enter();
    struct model_input in = {
        .tokens = mx_from(b->tokens, MX_INT32, (int[]){b->rows, b->len}, 2),
        .heard = heard,
        .kept = mx_from(at, MX_INT32, (int[]){b->rows, 1}, 2),
    };
    mx_array hidden = mx_squeeze(model_hidden(m, &in), 1);                          /* [N,D] */
    int rc = mx_read(model_logits(m, hidden), MX_FLOAT32, logits, count * sizeof *logits, e);
    mx_leave(MX_NONE);
    if (!rc)
        return logits;
    free(logits);
    return NULL;
}

/* The probability of `id` among ids from .. to - 1. */
static double probability(const float *logits, int32_t id, int32_t from, int32_t to)
{
    double sum = 0;
    for (int32_t i = from; i < to; i++)
        sum += exp((double)(logits[i] - logits[id]));
    return 1 / sum;
}

/* The likeliest language of each row of `heard`, and its probability among all. */
static int detect(const struct session *s, mx_array heard, int n, int32_t *ids, double *p,
                  struct err *e)
{
    const struct whisper_format *f = &s->chat.whisper;
    int V = s->model->facts.vocab, from = f->first_language, to = from + f->language_count;
    int32_t *tokens = xcalloc((size_t)n, sizeof *tokens), *at = xcalloc((size_t)n, sizeof *at);
    for (int i = 0; i < n; i++)
        tokens[i] = f->start;
    struct batch b = {.rows = n, .len = 1, .tokens = tokens};
    float *logits = logits_at(s->model, &b, at, heard, e);
    for (int i = 0; logits && i < n; i++) {
        const float *row = logits + (size_t)i * (size_t)V;
        ids[i] = from;
        for (int32_t k = from; k < to; k++)
            ids[i] = row[k] > row[ids[i]] ? k : ids[i];
        p[i] = probability(row, ids[i], from, to);
    }
    int rc = logits ? 0 : err_in(e, "finding the language");
    free(logits);
    free(tokens);
    free(at);
    return rc;
}

/* Give the recordings that start here their languages. */
static int find_languages(const struct job *j, struct window *w, int n, mx_array heard,
                          struct err *e)
{
    int missing = 0;
    for (int i = 0; i < n; i++)
        missing += w[i].tape->language < 0;
    if (!missing || !j->f->is_multilingual)
        return 0;
    int32_t *ids = xcalloc((size_t)n, sizeof *ids);
    double *p = xcalloc((size_t)n, sizeof *p);
    int rc = detect(j->s, heard, n, ids, p, e);
    for (int i = 0; !rc && i < n; i++) {
        struct tape *t = w[i].tape;
        if (t->language >= 0)
            continue;
        t->language = ids[i];
        t->out->language_p = p[i];
    }
    free(ids);
    free(p);
    return rc;
}

/* --------------------------------------------------------------- prefixes -- */

/* <|startofprev|> and the last of `text`. */
static int push_before(const struct job *j, const struct ids *text, struct ids *out, struct err *e)
{
    int most = j->f->positions / 2 - 1, skip = text->count > most ? text->count - most : 0;
    if (ids_push(out, j->f->prev, e))
        return -1;
    for (int i = skip; i < text->count; i++)
        if (ids_push(out, text->at[i], e))
            return -1;
    return 0;
}

/* What the decoder is given of a window before it writes. */
static int make_prefix(const struct job *j, struct window *w, struct err *e)
{
    const struct tape *t = w->tape;
    struct ids start = IDS_INIT;
    struct whisper_speech speech = {
        .language = t->language < 0 ? NULL : whisper_language_code(j->f, t->language),
        .task = j->o->task,
        .timestamps = t->has_times,
    };
    const struct ids *text = t->looks_back && t->past.count ? &t->past : &j->prompt;
    int language_at, rc = text->count ? push_before(j, text, &w->prefix, e) : 0;
    w->start_at = w->prefix.count;
    if (!rc)
        rc = whisper_prefix(j->f, &speech, NULL, t->has_times, false, &start, &language_at, e);
    for (int i = 0; !rc && i < start.count; i++)
        rc = ids_push(&w->prefix, start.at[i], e);
    ids_release(&start);
    return rc;
}

/* The prefixes of the windows rows[0 .. n), each cut behind `lengths`, as tokens [n,len]. */
static void fill_tokens(const struct job *j, struct batch *b, struct window *const *rows)
{
    for (int i = 0; i < b->rows; i++)
        b->len = b->lengths[i] > b->len ? b->lengths[i] : b->len;
    b->tokens = xcalloc((size_t)b->rows * (size_t)b->len, sizeof *b->tokens);
    for (int i = 0; i < b->rows; i++)
        for (int t = 0; t < b->len; t++)
            b->tokens[i * b->len + t] =
                t < b->lengths[i] ? rows[i]->prefix.at[t] : j->s->model->facts.pad_id;
}

/* The probability that nothing is said in each window: <|nospeech|> in place of what follows
 * <|startoftranscript|>. */
static int find_silence(const struct job *j, struct window *const *rows, int n, mx_array heard,
                        struct err *e)
{
    int V = j->s->model->facts.vocab;
    struct batch b = {.rows = n, .lengths = xcalloc((size_t)n, sizeof *b.lengths)};
    int32_t *at = xcalloc((size_t)n, sizeof *at);
    for (int i = 0; i < n; i++) {
        at[i] = rows[i]->start_at;
        b.lengths[i] = at[i] + 1;
    }
    fill_tokens(j, &b, rows);
    float *logits = logits_at(j->s->model, &b, at, heard, e);
    for (int i = 0; logits && i < n; i++)
        rows[i]->no_speech = probability(logits + (size_t)i * (size_t)V, j->f->no_speech, 0, V);
    int rc = logits ? 0 : err_in(e, "finding silence");
    free(logits);
    free(at);
    batch_release(&b);
    return rc;
}

/* ------------------------------------------------------------------ tries -- */

static int room_of(const struct job *j, const struct window *w)
{
    int room = j->f->positions - w->prefix.count, most = j->o->max_new_tokens;
    return most > 0 && most < room ? most : room;
}

/* Is the window's text to be believed?  `sum` is its log-probability. */
static void judge(const struct job *j, struct window *w, double temperature, double sum)
{
    const struct speech_options *o = j->o;
    bool has_end = w->ids.count < room_of(j, w);
    int count = w->ids.count + has_end;
    w->temperature = temperature;
    w->logprob = count ? sum / count : 0;
    w->compression_ratio =
        speech_compression(&w->ids, has_end ? j->f->end : -1, j->s->model->facts.vocab);
    bool is_repeating = o->compression_ratio > 0 && w->compression_ratio > o->compression_ratio;
    bool is_improbable = w->logprob < o->logprob;
    bool is_limited = o->logprob > -INFINITY;
    w->is_left_out =
        o->no_speech > 0 && w->no_speech > o->no_speech && (is_improbable || !is_limited);
    w->is_doubtful = !w->is_left_out && (is_repeating || is_improbable);
}

struct row_rules {
    const struct job *j;
    struct window *const *rows;
};

static void apply_rules(void *arg, int row, const struct ids *ids, float *logits, int V)
{
    const struct row_rules *r = arg;
    const struct job *j = r->j;
    if (r->rows[row]->tape->has_times)
        speech_rules_apply_times((void *)(uintptr_t)&j->times, row, ids, logits, V);
    else
        speech_rules_apply((void *)(uintptr_t)j->times.rules, row, ids, logits, V);
}

/* The rows of `heard` that stand for these windows of w[0 ..). */
static mx_array heard_by(mx_array heard, const struct window *w, struct window *const *rows, int n)
{
    int32_t *at = xcalloc((size_t)n, sizeof *at);
    for (int i = 0; i < n; i++)
        at[i] = (int32_t)(rows[i] - w);
    mx_array some =
        n == mx_dim(heard, 0) ? heard : mx_take(heard, mx_from(at, MX_INT32, (int[]){n}, 1), 0);
    free(at);
    return some;
}

/* Let the model write what it hears in these windows, for the k-th time. */
static int try_windows(const struct job *j, struct window *const *rows, int n, int k,
                       mx_array heard, struct err *e)
{
    const struct speech_options *o = j->o;
    int most = 1;
    struct batch b = {.rows = n, .lengths = xcalloc((size_t)n, sizeof *b.lengths)};
    uint32_t *keys = xcalloc((size_t)n, sizeof *keys);
    double *sums = xcalloc((size_t)n, sizeof *sums);
    struct ids *out = xcalloc((size_t)n, sizeof *out);
    for (int i = 0; i < n; i++) {
        b.lengths[i] = rows[i]->prefix.count;
        keys[i] = (uint32_t)k << TRY_SHIFT | (uint32_t)rows[i]->tape->seek;
        most = room_of(j, rows[i]) > most ? room_of(j, rows[i]) : most;
    }
    fill_tokens(j, &b, rows);
    struct generate_options g = {
        .max_new_tokens = most,
        .stop_ids = &j->f->end,
        .stop_count = 1,
        .temperature = o->temperature_count ? o->temperatures[k] : 0,
        .seed = o->seed,
        .keys = keys,
        .heard = heard,
        .rules = apply_rules,
        .rules_arg = &(struct row_rules){j, rows},
        .logprobs = sums,
    };
    int rc = generate(j->s->model, &b, &g, out, e);
    for (int i = 0; i < n; i++) {
        ids_release(&rows[i]->ids);
        rows[i]->ids = out[i];
        if (!rc)
            judge(j, rows[i], g.temperature, sums[i]);
    }
    free(out);
    free(sums);
    free(keys);
    batch_release(&b);
    return rc;
}

/* Decode the windows, the doubtful ones again and hotter. */
static int decode_windows(const struct job *j, struct window *w, int n, mx_array heard,
                          struct err *e)
{
    struct window **rows = xcalloc((size_t)n, sizeof *rows);
    int tries = j->o->temperature_count ? j->o->temperature_count : 1;
    for (int i = 0; i < n; i++)
        rows[i] = &w[i];
    int rc = find_silence(j, rows, n, heard, e);
    for (int k = 0, left = n; !rc && k < tries && left; k++) {
        mx_enter();
        rc = try_windows(j, rows, left, k, heard_by(heard, w, rows, left), e);
        mx_leave(MX_NONE);
        int doubtful = 0;
        for (int i = 0; i < left; i++)
            if (rows[i]->is_doubtful)
                rows[doubtful++] = rows[i];
        left = doubtful;
    }
    free(rows);
    return rc;
}

/* ---------------------------------------------------------------- results -- */

/* The text of ids, times and special tokens left out; behind what `text` holds. */
static int add_text(const struct job *j, const struct ids *ids, struct buf *text, struct err *e)
{
    int32_t *words = xcalloc((size_t)ids->count + 1, sizeof *words);
    size_t n = 0;
    for (int i = 0; i < ids->count; i++)
        if (ids->at[i] < j->f->first_time)
            words[n++] = ids->at[i];
    int rc = tokenizer_decode(j->s->tokenizer, words, n, true, text, e);
    free(words);
    return rc;
}

static int push_all(struct ids *out, const int32_t *ids, int count, struct err *e)
{
    for (int i = 0; i < count; i++)
        if (ids_push(out, ids[i], e))
            return -1;
    return 0;
}

/* Keep a piece of a window as a segment, and as text for the windows behind. */
static int add_segment(const struct job *j, const struct window *w, const struct speech_piece *p,
                       struct err *e)
{
    struct tape *t = w->tape;
    struct speech *s = t->out;
    double from = t->seek * (WHISPER_TIME_STEP / SPEECH_TIME_FRAMES);
    struct buf text;
    s->segments = xreallocarray(s->segments, (size_t)s->count + 1, sizeof *s->segments);
    struct speech_segment *x = &s->segments[s->count++];
    *x = (struct speech_segment){
        .start = fmin(from + p->start * WHISPER_TIME_STEP, s->seconds),
        .end = fmin(from + p->end * WHISPER_TIME_STEP, s->seconds),
        .window = s->windows,
        .temperature = w->temperature,
        .logprob = w->logprob,
        .compression_ratio = w->compression_ratio,
        .no_speech = w->no_speech,
    };
    int count = p->to - p->from;
    if (push_all(&x->ids, w->ids.at + p->from, count, e))
        return -1;
    /* Of two times at the end the second one says only that speech went on. */
    bool ends_double = count > 2 && x->ids.at[count - 2] >= j->f->first_time;
    if (push_all(&t->past, x->ids.at, count - ends_double, e))
        return -1;
    buf_init(&text, TEXT_BYTES_MAX);
    int rc = add_text(j, &x->ids, &text, e) || buf_check(&text, "the text", e) ? -1 : 0;
    x->text = buf_take(&text, NULL);
    buf_release(&text);
    return rc;
}

/* Keep what a window says and go to the next. */
static int advance(const struct job *j, struct window *w, struct err *e)
{
    struct tape *t = w->tape;
    struct speech_piece *pieces = xcalloc((size_t)w->ids.count + 1, sizeof *pieces);
    int rc = 0, frames = w->frames;
    if (!w->is_left_out) {
        int n = speech_cut(&w->ids, j->f->first_time, w->frames, pieces, &frames);
        for (int i = 0; !rc && i < n; i++)
            if (pieces[i].to > pieces[i].from)
                rc = add_segment(j, w, &pieces[i], e);
    }
    t->out->left_out += w->is_left_out;
    t->out->windows++;
    t->looks_back = j->o->condition && w->temperature < TEMPERATURE_HIGH;
    t->seek += frames;
    if (t->seek >= t->frames) {
        free(t->mel);
        t->mel = NULL;
    }
    free(pieces);
    return rc;
}

/* The text of all segments, trimmed, and the language. */
static int finish(const struct job *j, const struct tape *t, struct err *e)
{
    struct speech *s = t->out;
    struct buf text;
    const char *code = t->language < 0 ? NULL : whisper_language_code(j->f, t->language);
    strncpy(s->language, code ? code : "", sizeof s->language - 1);
    buf_init(&text, TEXT_BYTES_MAX);
    for (int i = 0; i < s->count; i++)
        buf_add_str(&text, s->segments[i].text);
    int rc = buf_check(&text, "the text", e);
    const char *from = text.data, *to = text.data + text.size;
    while (to > from && (to[-1] == ' ' || to[-1] == '\n'))
        to--;
    while (from < to && (*from == ' ' || *from == '\n'))
        from++;
    s->text = xstrndup(from, (size_t)(to - from));
    buf_release(&text);
    return rc;
}

/* ------------------------------------------------------------------ rounds -- */

/* Decode a window of each of w[0 .. n). */
static int decode_round(const struct job *j, struct window *w, int n, struct err *e)
{
    mx_array heard = hear(j, w, n, e);
    if (mx_is_none(heard))
        return err_in(e, "hearing");
    if (find_languages(j, w, n, heard, e))
        return -1;
    for (int i = 0; i < n; i++)
        if (make_prefix(j, &w[i], e))
            return -1;
    if (decode_windows(j, w, n, heard, e))
        return -1;
    for (int i = 0; i < n; i++)
        if (advance(j, &w[i], e))
            return -1;
    return 0;
}

/* The recordings that have sound left, the first `most` of them, as windows. */
static int pick(const struct job *j, struct window *w, int most)
{
    int n = 0;
    for (int i = 0; i < j->count && n < most; i++) {
        struct tape *t = &j->tapes[i];
        if (t->seek >= t->frames)
            continue;
        if (!t->mel)
            compute(t, j);
        w[n++] = (struct window){.tape = t, .frames = (int)least(t->frames - t->seek, j->W)};
    }
    return n;
}

static void report(const struct job *j)
{
    double done = 0;
    if (!j->o->on_progress)
        return;
    for (int i = 0; i < j->count; i++) {
        const struct tape *t = &j->tapes[i];
        done += t->seek >= t->frames ? t->out->seconds
                                     : t->seek * (WHISPER_TIME_STEP / SPEECH_TIME_FRAMES);
    }
    j->o->on_progress(j->o->arg, done, j->seconds);
}

static int decode_all(const struct job *j, struct err *e)
{
    int most = j->o->batch > 0 && j->o->batch < j->count ? j->o->batch : j->count;
    struct window *w = xcalloc((size_t)most + 1, sizeof *w);
    int rc = 0, n;
    while (!rc && (n = pick(j, w, most)) > 0) {
        if (j->o->is_stopped && j->o->is_stopped(j->o->arg)) {
            rc = err_set(e, ERR_STOPPED, "stopped");
            break;
        }
        mx_enter();
        rc = decode_round(j, w, n, e);
        mx_leave(MX_NONE);
        for (int i = 0; i < n; i++) {
            ids_release(&w[i].prefix);
            ids_release(&w[i].ids);
        }
        report(j);
    }
    free(w);
    for (int i = 0; !rc && i < j->count; i++)
        rc = finish(j, &j->tapes[i], e);
    return rc;
}

/* Everything is known of the tapes but their sound. */
static int prepare(struct job *j, struct speech *out, const struct speech_audio *audio,
                   struct err *e)
{
    int32_t language;
    if (find_language(j, &language, e) || make_prompt(j, e))
        return -1;
    for (int i = 0; i < j->count; i++) {
        struct tape *t = &j->tapes[i];
        *t = (struct tape){.audio = &audio[i],
                           .out = &out[i],
                           .language = language,
                           .looks_back = j->o->condition};
        out[i].language_p = 1;
        if (measure(t, j, e) || push_all(&t->past, j->prompt.at, j->prompt.count, e))
            return -1;
        j->seconds += out[i].seconds;
    }
    return 0;
}

int speech_decode(struct speech *out, const struct session *s, const struct speech_audio *audio,
                  int count, const struct speech_options *o, struct err *e)
{
    struct job j = {.s = s, .o = o, .f = &s->chat.whisper, .count = count};
    for (int i = 0; i < count; i++)
        out[i] = (struct speech){0};
    if (s->chat.family != CHAT_WHISPER || !s->senses.mel) {
        err_set(e, ERR_USAGE, "%s: found no Whisper model", s->model->dir);
        return err_hint(e, "long recordings and times are for Whisper");
    }
    const struct mel_config *c = mel_settings(s->senses.mel);
    j.W = (int)(c->samples_max / c->hop);
    j.M = c->bins;
    j.times = (struct speech_times){&s->rules, j.f};
    j.tapes = xcalloc((size_t)count + 1, sizeof *j.tapes);
    int rc = prepare(&j, out, audio, e) || decode_all(&j, e) ? -1 : 0;
    for (int i = 0; i < count; i++) {
        free(j.tapes[i].mel);
        ids_release(&j.tapes[i].past);
        if (rc)
            speech_release(&out[i]);
    }
    free(j.tapes);
    ids_release(&j.prompt);
    return rc;
}

void speech_release(struct speech *s)
{
    for (int i = 0; i < s->count; i++) {
        free(s->segments[i].text);
        ids_release(&s->segments[i].ids);
    }
    free(s->segments);
    free(s->text);
    *s = (struct speech){0};
}

/* ---------------------------------------------------------------- batches -- */

/* Detect the languages of the rows asking[0 .. n). */
static int detect_rows(const struct session *s, struct batch *b, const int32_t *asking, int n,
                       double *p, struct err *e)
{
    int32_t *ids = xcalloc((size_t)n, sizeof *ids);
    double *likely = xcalloc((size_t)n, sizeof *likely);
    mx_enter();
    mx_array at = mx_from(asking, MX_INT32, (int[]){n}, 1);
    mx_array mel = mx_from(b->mel, MX_FLOAT32, (int[]){b->clips, b->frames, b->bins}, 3);
    mx_array valid = mx_from(b->frame_valid, MX_BOOL, (int[]){b->clips, b->frames}, 2);
    struct model_input in = {
        .mel = mx_take(mel, at, 0),
        .frame_valid = mx_take(valid, at, 0),
    };
    int rc = detect(s, model_hear(s->model, &in), n, ids, likely, e);
    mx_leave(MX_NONE);
    for (int i = 0; !rc && i < n; i++) {
        int row = asking[i];
        b->tokens[row * b->len + b->language_at[row]] = ids[i];
        if (p)
            p[row] = likely[i];
    }
    free(ids);
    free(likely);
    return rc;
}

int speech_detect(const struct session *s, struct batch *b, double *p, struct err *e)
{
    int32_t *asking = xcalloc((size_t)b->rows + 1, sizeof *asking);
    int n = 0;
    for (int i = 0; i < b->rows; i++) {
        if (p)
            p[i] = 1;
        if (b->language_at && b->language_at[i] >= 0)
            asking[n++] = i;
    }
    int rc = n ? detect_rows(s, b, asking, n, p, e) : 0;
    free(asking);
    return rc;
}
