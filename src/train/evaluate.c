/* evaluate.c - see evaluate.h.
 *
 * Two passes over the records: the loss needs the answers in the input, generation must not see
 * them.  Neither pass depends on the batch size, except by rounding.
 */
#include "train/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "data/loader.h"
#include "data/plan.h"
#include "nn/lora.h"
#include "text/language.h"
#include "train/generate.h"
#include "train/speech.h"

/* inputs_window_bytes counts on it that an evaluation spools two shards at most. */
enum { LOADER_AHEAD = 2, WINDOW_SHARDS = 1, NORMALIZED_MAX = 16 << 20 };

struct evaluate_options evaluate_options_of(const struct config *c)
{
    return (struct evaluate_options){
        .batch = c->eval_batch,
        .max_records = c->eval_max_records,
        .generates = c->eval_generate,
        .max_new_tokens = c->max_new_tokens,
        .normalizer = c->normalizer,
        .checkpoint = c->model,
        .bad_fraction = c->bad_fraction,
        .bad_min = c->bad_min,
    };
}

struct pass {
    struct evaluation *v;
    const struct session *s;
    const struct evaluate_options *o;
    struct data_format format;         /* the session's, for this evaluation */
    struct normalizer_words words;
    double loss_sum;
    size_t transcript_room;
};

typedef int (*batch_fn)(struct pass *p, struct batch *b, struct err *e);

/* Does entry i of a batch's records go on with the record in front: a further window of it? */
static bool continues(const struct batch *b, int i)
{
    return i > 0 && b->records[i] >= 0 && b->records[i] == b->records[i - 1];
}

/* ------------------------------------------------------------------- loss -- */

static int add_loss(struct pass *p, struct batch *b, struct err *e)
{
    if (b->language_at && speech_detect(p->s, b, NULL, e))
        return -1;
    mx_enter();
    struct model_input in;
    session_input(&in, p->s->model, b, &(struct session_rows){SESSION_KEPT});
    mx_array logprobs = model_logprobs(p->s->model, &in);                           /* [R] */
    double sum = 0;
    int rc = mx_item(mx_sum_all(mx_multiply(logprobs, in.target_weights)), &sum, e);
    mx_leave(MX_NONE);
    p->loss_sum -= sum;
    for (int i = 0; i < b->records_count; i++)
        p->v->records += !continues(b, i);
    p->v->supervised += b->supervised;
    p->v->total += b->total;
    p->v->audio_s += b->audio_s;
    return rc;
}

/* ------------------------------------------------------------ transcripts -- */

static void evaluated_release(struct evaluated *t)
{
    free(t->id);
    free(t->reference);
    free(t->hypothesis);
    free(t->reference_norm);
    free(t->hypothesis_norm);
    free(t->language);
}

static char *normalized(const struct pass *p, const char *text, struct err *e)
{
    struct buf b;
    buf_init(&b, NORMALIZED_MAX);
    char *out = NULL;
    if (!normalize_text(p->o->normalizer, &p->words, text, &b, e))
        out = buf_take(&b, NULL);
    buf_release(&b);
    return out;
}

/* Equal but for white space at both ends. */
static bool is_same(const char *a, const char *b)
{
    static const char space[] = " \t\n\v\f\r";
    a += strspn(a, space);
    b += strspn(b, space);
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return !a[n + strspn(a + n, space)] && !b[n + strspn(b + n, space)];
}

/* Put `more` behind a text, with a space between them where it brings none, and free it. */
static void append(char **text, char *more)
{
    if (!*text || !**text || !*more) {
        bool keeps = *text && **text;
        free(keeps ? more : *text);
        *text = keeps ? *text : more;
        return;
    }
    char *both = xasprintf("%s%s%s", *text, *more == ' ' ? "" : " ", more);
    free(*text);
    free(more);
    *text = both;
}

/* Count what one row gave, and put it behind what the rows in front gave.  Takes `hypothesis`. */
static int compare(struct evaluated *t, const struct pass *p, const char *reference,
                   char *hypothesis, struct err *e)
{
    char *expected = normalized(p, reference, e);
    char *found = expected ? normalized(p, hypothesis, e) : NULL;
    int rc =
        found && !wer_count(&t->wer, expected, found, e) && !cer_count(&t->cer, expected, found, e)
            ? 0
            : -1;
    if (!rc)
        t->is_exact = t->is_exact && is_same(expected, found);
    append(&t->reference, xstrdup(reference));
    append(&t->hypothesis, hypothesis);
    append(&t->reference_norm, expected ? expected : xstrdup(""));
    append(&t->hypothesis_norm, found ? found : xstrdup(""));
    return rc;
}

/* The language that entry i of a batch's records is in, for reports; the caller frees. */
static char *language_of(const struct pass *p, const struct batch *b, int i)
{
    const struct sample_crossing *crossing = &p->format.crossing;
    const char *said = b->languages[i];
    int row = b->record_rows[i], at = b->language_at ? b->language_at[row] : -1;
    struct err ignored = {0};
    if (at >= 0) {
        said = whisper_language_code(&p->s->chat.whisper, b->tokens[row * b->len + at]);
        return said ? xstrdup(said) : NULL;
    }
    if ((!said || !*said) && crossing->is_used)
        said = crossing->language;
    if (!said || !*said)
        return NULL;
    int known = language_find(said, LANGUAGES_COUNT, &ignored);
    return xstrdup(known >= 0 ? language_code(known) : said);
}

/* Did a row stop for want of room? */
static bool is_cut(const struct pass *p, const struct batch *b, int row, const struct ids *ids)
{
    const struct model_facts *f = &p->s->model->facts;
    return ids->count >= p->o->max_new_tokens ||
           (f->is_crossing && b->lengths[row] + ids->count >= f->positions_max);
}

/* What the rows of a record gave, its entries first .. end - 1. */
static int compare_windows(struct evaluated *t, bool *was_cut, const struct pass *p,
                           const struct batch *b, const struct ids *ids, int first, int end,
                           struct err *e)
{
    for (int i = first; i < end; i++) {
        int row = b->record_rows[i];
        char *text = b->references[i] ? session_text(p->s, &ids[row], e) : xstrdup("");
        if (!text || compare(t, p, b->references[i] ? b->references[i] : "", text, e))
            return -1;
        t->seconds += b->seconds[i];
        *was_cut |= is_cut(p, b, row, &ids[row]);
    }
    return 0;
}

static int add_transcript(struct pass *p, const struct batch *b, const struct ids *ids, int first,
                          int end, struct err *e)
{
    struct evaluation *v = p->v;
    struct evaluated t = {
        .id = xstrdup(b->ids[first]),
        .has_id = b->has_ids[first],
        .is_exact = true,
        .language = language_of(p, b, first),
    };
    bool was_cut = false;
    if (compare_windows(&t, &was_cut, p, b, ids, first, end, e)) {
        err_in(e, "%s", t.id);
        evaluated_release(&t);
        return -1;
    }
    error_count_add(&v->wer, &t.wer);
    error_count_add(&v->cer, &t.cer);
    v->exact += t.is_exact;
    v->cut += was_cut;
    if ((size_t)v->transcript_count == p->transcript_room)
        v->transcripts = mem_grow(v->transcripts, &p->transcript_room, sizeof *v->transcripts);
    v->transcripts[v->transcript_count++] = t;
    return 0;
}

static int compare_batch(struct pass *p, const struct batch *b, const struct ids *ids,
                         struct err *e)
{
    int rc = 0;
    for (int first = 0, end; first < b->records_count && !rc; first = end) {
        end = first + 1;
        while (end < b->records_count && continues(b, end))
            end++;
        if (b->references[first])
            rc = add_transcript(p, b, ids, first, end, e);
    }
    return rc;
}

static int add_transcripts(struct pass *p, struct batch *b, struct err *e)
{
    struct speech_rules rules = p->s->rules;
    bool has_rules = rules.never_count > 0 || rules.never_first_count > 0;
    struct generate_options o = {
        .max_new_tokens = p->o->max_new_tokens,
        .stop_ids = p->s->stop_ids,
        .stop_count = p->s->stop_count,
        .rules = has_rules ? speech_rules_apply : NULL,
        .rules_arg = &rules,
    };
    bool has_reference = false;
    for (int i = 0; i < b->records_count; i++)
        has_reference |= b->references[i] != NULL;
    if (!has_reference)
        return 0;
    if (b->language_at && speech_detect(p->s, b, NULL, e))
        return -1;
    struct ids *out = xcalloc((size_t)b->rows, sizeof *out);
    int rc = generate(p->s->model, b, &o, out, e);
    if (!rc)
        rc = compare_batch(p, b, out, e);
    for (int i = 0; i < b->rows; i++)
        ids_release(&out[i]);
    free(out);
    return rc;
}

/* ----------------------------------------------------------------- passes -- */

/* Holes are reported by the first pass; the second meets the same ones again. */
static void take_bad(struct evaluation *v, const struct loader *l)
{
    int kept;
    const struct loader_bad *bad = loader_bad_records(l, &kept);
    v->bad = loader_bad_count(l);
    v->bad_texts = xcalloc((size_t)kept + 1, sizeof *v->bad_texts);
    for (int i = 0; i < kept; i++)
        v->bad_texts[v->bad_count++] = xstrdup(bad[i].text);
}

/* How many records a pass goes through, 0: nobody knows before it is over. */
static int64_t count_records(const struct manifest *m, int64_t limit)
{
    if (!m->is_complete)
        return 0;
    return limit && limit < m->count ? limit : m->count;
}

static int next_step(struct pass *p, struct loader *l, struct loader_step *s, struct err *e)
{
    watch_begin(p->o->watch, l);
    int got = loader_next(l, s, e);
    watch_end(p->o->watch);
    return got;
}

static int run_steps(struct pass *p, struct loader *l, const char *what, int64_t all, batch_fn fn,
                     struct err *e)
{
    struct loader_step step;
    int got;
    while ((got = next_step(p, l, &step, e)) == 1) {
        int rc = 0;
        for (int i = 0; i < step.count && !rc; i++)
            rc = fn(p, &step.micros[i], e);
        int64_t done = step.taken_before;
        loader_step_release(&step);
        if (!rc && p->o->is_stopped && p->o->is_stopped(p->o->arg))
            rc = err_set(e, ERR_STOPPED, "interrupted");
        if (rc)
            return -1;
        if (p->o->on_progress)
            p->o->on_progress(p->o->arg, what, done, all);
    }
    return got;
}

static int run_loader(struct pass *p, const struct plan *plan, enum sample_purpose purpose,
                      struct err *e)
{
    const struct evaluate_options *o = p->o;
    const struct manifest *m = plan_settings(plan)->manifest;
    struct loader_options lo = {
        .plan = plan,
        .format = &p->format,
        .spool = m->options.spool,
        .purpose = purpose,
        .ahead = LOADER_AHEAD,
        .memory_max = o->memory_max,
        .bad_fraction = o->bad_fraction,
        .bad_min = o->bad_min,
    };
    struct loader *l = loader_open(&lo, e);
    if (!l)
        return -1;
    bool is_first = purpose == SAMPLE_TRAIN;
    int rc = run_steps(p, l, is_first ? "measuring" : "generating",
                       count_records(m, o->max_records), is_first ? add_loss : add_transcripts, e);
    if (!rc && is_first)
        take_bad(p->v, l);
    loader_close(l);
    return rc;
}

static int run_pass(struct pass *p, const struct manifest *m, enum sample_purpose purpose,
                    struct err *e)
{
    struct plan *plan = plan_new(
        &(struct plan_options){
            .manifest = m,
            .batch = p->o->batch,
            .is_sequential = true,
            .window_shards = WINDOW_SHARDS,
            .limit = p->o->max_records,
        },
        e);
    if (!plan)
        return -1;
    int rc = run_loader(p, plan, purpose, e);
    plan_free(plan);
    return rc;
}

static int open_words(struct pass *p, struct err *e)
{
    const struct evaluate_options *o = p->o;
    if (o->normalizer != NORMALIZE_WHISPER_ENGLISH || !o->checkpoint)
        return 0;
    if (normalizer_words_open(&p->words, o->checkpoint, e))
        return -1;
    p->v->has_spellings = p->words.table != NULL;
    return 0;
}

int evaluate(struct evaluation *v, const struct session *s, const struct manifest *m,
             const struct evaluate_options *o, struct err *e)
{
    *v = (struct evaluation){.normalizer = o->normalizer};
    struct pass p = {.v = v, .s = s, .o = o, .format = s->format};
    p.format.ablation = o->ablation;
    double start = clock_seconds();
    nn_dropout_key(&s->model->params, MX_NONE);
    int rc = open_words(&p, e);
    if (!rc)
        rc = run_pass(&p, m, SAMPLE_TRAIN, e);
    if (!rc && o->generates)
        rc = run_pass(&p, m, SAMPLE_GENERATE, e);
    normalizer_words_release(&p.words);
    if (rc) {
        evaluation_release(v);
        return -1;
    }
    v->loss = v->supervised ? p.loss_sum / (double)v->supervised : NAN;
    v->perplexity = exp(v->loss);
    v->seconds = clock_seconds() - start;
    return 0;
}

void evaluation_release(struct evaluation *v)
{
    for (int64_t i = 0; i < v->transcript_count; i++)
        evaluated_release(&v->transcripts[i]);
    for (int i = 0; i < v->bad_count; i++)
        free(v->bad_texts[i]);
    free(v->transcripts);
    free(v->bad_texts);
    *v = (struct evaluation){0};
}

double evaluation_exact(const struct evaluation *v)
{
    return v->transcript_count ? (double)v->exact / (double)v->transcript_count : NAN;
}

static int64_t word_errors(const struct evaluated *t)
{
    return t->wer.substitutions + t->wer.deletions + t->wer.insertions;
}

int evaluation_worst(const struct evaluation *v, int64_t *out, int max)
{
    int n = 0;
    for (int64_t i = 0; i < v->transcript_count; i++) {
        int64_t errors = word_errors(&v->transcripts[i]);
        int at = n < max ? n++ : max;
        while (at > 0 && errors > word_errors(&v->transcripts[out[at - 1]])) {
            if (at < max)
                out[at] = out[at - 1];
            at--;
        }
        if (at < max)
            out[at] = i;
    }
    return n;
}
