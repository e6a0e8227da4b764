/* cmd_eval.c - `attune eval`: loss, word and character error rate (also by language and by length),
 * exact replies, and the worst transcripts.  With --ablate the same once more with silence or grey
 * in the media's place: what gets no worse without them does not come from them. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "train/blacklist.h"
#include "train/breakdown.h"
#include "train/evaluate.h"
#include "train/inputs.h"

enum {
    WORST_SHOWN = 5,
    BAD_SHOWN = 5,
    REPORT_BYTES_MAX = 64 << 20,
    PREDICTIONS_BYTES_MAX = 1 << 30,
};

static void show_progress(void *arg, const char *what, int64_t done, int64_t all)
{
    (void)arg;
    output_progress(what, done, all);
}

/* --------------------------------------------------------------- the file -- */

static void add_prediction(struct buf *line, const struct evaluated *t)
{
    json_t *o = json_object();
    json_put_str(o, "id", t->id);
    json_put_str(o, "reference", t->reference);
    json_put_str(o, "hypothesis", t->hypothesis);
    json_put_double(o, "wer", error_rate(&t->wer));
    json_put_double(o, "cer", error_rate(&t->cer));
    if (t->language)
        json_put_str(o, "language", t->language);
    if (t->seconds > 0)
        json_put_double(o, "seconds", t->seconds);
    json_write_compact(o, line);
    buf_add_char(line, '\n');
    json_decref(o);
}

static int write_predictions(const struct evaluation *v, struct net *net, const char *path,
                             struct err *e)
{
    struct buf lines;
    buf_init(&lines, PREDICTIONS_BYTES_MAX);
    for (int64_t i = 0; i < v->transcript_count; i++)
        add_prediction(&lines, &v->transcripts[i]);
    int rc = output_save(net, path, &lines, "the file of predictions", e);
    buf_release(&lines);
    return rc;
}

/* Say what was listed, and what can be done with it. */
static void explain_blacklist(const struct blacklist_counts *n, const struct options *o)
{
    log_info("%s: %lld records with a word error rate of %.2f or more", o->blacklist,
             (long long)n->listed, o->blacklist_wer);
    if (n->protected)
        log_info("  %lld more are protected by do_not_blacklist", (long long)n->protected);
    if (n->without_id)
        log_warn("%lld of them have no id and are listed by their place: patches cannot name them "
                 "(give records an \"id\")",
                 (long long)n->without_id);
    if (n->listed)
        log_info("  look at them, then: to leave them out, put the file into patches/delete/; to "
                 "correct them, mend column text and put it into patches/override_text/; then "
                 "--patches patches");
}

static int write_blacklist(const struct evaluation *v, const struct inputs *in,
                           const struct options *o, struct err *e)
{
    struct buf table;
    struct blacklist_counts counts;
    buf_init(&table, PREDICTIONS_BYTES_MAX);
    blacklist_table(v, in->patch, o->blacklist_wer, &table, &counts);
    int rc = output_save(in->net, o->blacklist, &table, "the blacklist", e);
    buf_release(&table);
    if (!rc)
        explain_blacklist(&counts, o);
    return rc;
}

/* ----------------------------------------------------------------- report -- */

struct evaluations {
    struct evaluation whole, without;
    enum sample_ablation ablation;     /* SAMPLE_WHOLE: `without` was not made */
};

static const char *ablated_name(enum sample_ablation a)
{
    return a == SAMPLE_WITHOUT_AUDIO ? "audio" : "image";
}

/* Is there a language at all, or is the only group the one of none? */
static bool has_languages(const struct breakdown *b)
{
    return b->count > 1 || (b->count == 1 && strcmp(b->at[0].name, "unknown") != 0);
}

static void put_errors(json_t *o, const char *rate, const char *of, const struct error_count *c)
{
    json_t *counts = json_object();
    json_put_int(counts, "reference", c->reference);
    json_put_int(counts, "substitutions", c->substitutions);
    json_put_int(counts, "deletions", c->deletions);
    json_put_int(counts, "insertions", c->insertions);
    json_put_double(o, rate, error_rate(c));
    json_put(o, of, counts);
}

/* The figures of each group by its name. */
static json_t *groups_json(const struct breakdown *b)
{
    json_t *o = json_object();
    for (int i = 0; i < b->count; i++) {
        const struct breakdown_group *g = &b->at[i];
        json_t *one = json_object();
        json_put_int(one, "count", g->transcripts);
        json_put_double(one, "audio_s", g->seconds);
        put_errors(one, "wer", "words", &g->wer);
        put_errors(one, "cer", "characters", &g->cer);
        json_put_double(one, "exact", (double)g->exact / (double)g->transcripts);
        json_put(o, g->name, one);
    }
    return o;
}

static void put_groups(json_t *o, const struct evaluation *v)
{
    struct breakdown languages, durations;
    breakdown_by_language(v, &languages);
    breakdown_by_duration(v, &durations);
    if (has_languages(&languages))
        json_put(o, "by_language", groups_json(&languages));
    if (durations.count)
        json_put(o, "by_duration", groups_json(&durations));
    breakdown_release(&languages);
    breakdown_release(&durations);
}

static json_t *figures(const struct evaluation *v)
{
    json_t *o = json_object();
    json_put_int(o, "records", v->records);
    json_put_int(o, "bad_records", v->bad);
    json_put_int(o, "supervised_tokens", v->supervised);
    json_put_double(o, "audio_s", v->audio_s);
    json_put_double(o, "loss", v->loss);
    json_put_double(o, "perplexity", v->perplexity);
    if (v->transcript_count) {
        json_put_int(o, "transcripts", v->transcript_count);
        put_errors(o, "wer", "words", &v->wer);
        put_errors(o, "cer", "characters", &v->cer);
        json_put_double(o, "exact", evaluation_exact(v));
        json_put_int(o, "cut", v->cut);
        json_put_str(o, "normalizer", normalizer_name(v->normalizer));
        if (v->normalizer == NORMALIZE_WHISPER_ENGLISH)
            json_put_bool(o, "american_spellings", v->has_spellings);
    }
    json_put_double(o, "seconds", v->seconds);
    return o;
}

/* What is worse, or better, without the media. */
static json_t *differences(const struct evaluation *v, const struct evaluation *without)
{
    json_t *o = json_object();
    json_put_double(o, "loss", without->loss - v->loss);
    if (v->transcript_count && without->transcript_count) {
        json_put_double(o, "wer", error_rate(&without->wer) - error_rate(&v->wer));
        json_put_double(o, "cer", error_rate(&without->cer) - error_rate(&v->cer));
        json_put_double(o, "exact", evaluation_exact(without) - evaluation_exact(v));
    }
    return o;
}

/* The words that differ; recordings of hours are too long for it. */
static void put_difference(const struct evaluated *t, struct buf *out)
{
    struct err why = {0};
    if (wer_diff(t->reference_norm, t->hypothesis_norm, false, out, &why))
        buf_printf(out, "(%s)", why.text);
}

static void put_worst(json_t *o, const struct evaluation *v)
{
    int64_t worst[WORST_SHOWN];
    int n = evaluation_worst(v, worst, WORST_SHOWN);
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        const struct evaluated *t = &v->transcripts[worst[i]];
        struct buf diff;
        buf_init(&diff, REPORT_BYTES_MAX);
        put_difference(t, &diff);
        json_t *one = json_object();
        json_put_str(one, "id", t->id);
        json_put_double(one, "wer", error_rate(&t->wer));
        json_put_str(one, "reference", t->reference);
        json_put_str(one, "hypothesis", t->hypothesis);
        json_put_str(one, "difference", diff.data);
        json_array_append_new(list, one);
        buf_release(&diff);
    }
    json_put(o, "worst", list);
}

static void report_json(const struct evaluations *all, struct buf *out)
{
    json_t *o = figures(&all->whole);
    if (all->ablation) {
        json_put_str(o, "ablate", ablated_name(all->ablation));
        json_put(o, "ablated", figures(&all->without));
        json_put(o, "difference", differences(&all->whole, &all->without));
    }
    if (all->whole.transcript_count) {
        put_groups(o, &all->whole);
        put_worst(o, &all->whole);
    }
    json_write_compact(o, out);
    json_decref(o);
}

static void report_rate(struct buf *out, const char *name, const char *unit,
                        const struct error_count *c)
{
    buf_printf(out, "%-12s%.2f %%  (of %lld %s: %lld wrong, %lld missing, %lld extra)\n", name,
               100 * error_rate(c), (long long)c->reference, unit, (long long)c->substitutions,
               (long long)c->deletions, (long long)c->insertions);
}

static void report_groups(struct buf *out, const char *title, const struct breakdown *b)
{
    if (b->count < 2)
        return;
    buf_printf(out, "\n%-14s%8s %9s %9s %9s\n", title, "records", "minutes", "WER", "CER");
    for (int i = 0; i < b->count; i++) {
        const struct breakdown_group *g = &b->at[i];
        buf_printf(out, "  %-12s%8lld %9.1f %7.2f %% %7.2f %%\n", g->name,
                   (long long)g->transcripts, g->seconds / 60, 100 * error_rate(&g->wer),
                   100 * error_rate(&g->cer));
    }
}

static void report_breakdowns(struct buf *out, const struct evaluation *v)
{
    struct breakdown languages, durations;
    breakdown_by_language(v, &languages);
    breakdown_by_duration(v, &durations);
    report_groups(out, "by language", &languages);
    report_groups(out, "by length", &durations);
    breakdown_release(&languages);
    breakdown_release(&durations);
}

static void report_normalizer(struct buf *out, const struct evaluation *v)
{
    bool is_british = v->normalizer == NORMALIZE_WHISPER_ENGLISH && !v->has_spellings;
    buf_printf(out, "            (normaliser: %s%s", normalizer_name(v->normalizer),
               is_british ? " (no normalizer.json: British spellings stay)" : "");
    if (v->cut)
        buf_printf(out, "; %lld transcripts reached max_new_tokens", (long long)v->cut);
    buf_add_str(out, ")\n");
}

static void report_worst(const struct evaluation *v, struct buf *out)
{
    int64_t worst[WORST_SHOWN];
    int n = evaluation_worst(v, worst, WORST_SHOWN);
    const char *tail = n < v->transcript_count ? ", most errors first" : "";
    if (n)
        buf_printf(out, "\ntranscripts%s ([-missing-], {+extra+}):\n", tail);
    for (int i = 0; i < n; i++) {
        const struct evaluated *t = &v->transcripts[worst[i]];
        double rate = error_rate(&t->wer);
        buf_printf(out, "\n  %s  (WER %.0f %%)\n    reference   ", t->id, 100 * rate);
        output_one_line(t->reference, out);
        buf_add_str(out, "\n    transcript  ");
        output_one_line(t->hypothesis, out);
        buf_add_str(out, "\n    difference  ");
        put_difference(t, out);
        buf_add_char(out, '\n');
    }
}

static void compare_rates(struct buf *out, const char *name, double whole, double without)
{
    buf_printf(out, "%-12s%8.2f %% %8.2f %% %+8.2f\n", name, 100 * whole, 100 * without,
               100 * (without - whole));
}

static void report_ablation(const struct evaluations *all, struct buf *out)
{
    const struct evaluation *v = &all->whole, *w = &all->without;
    bool is_audio = all->ablation == SAMPLE_WITHOUT_AUDIO;
    buf_printf(out, "\nwith %s in place of the %s:\n%-12s%10s %10s %8s\n",
               is_audio ? "silence" : "grey", is_audio ? "sound" : "pictures", "", "whole",
               "without", "change");
    buf_printf(out, "%-12s%10.4f %10.4f %+8.4f\n", "loss", v->loss, w->loss, w->loss - v->loss);
    if (!v->transcript_count || !w->transcript_count)
        return;
    compare_rates(out, "WER", error_rate(&v->wer), error_rate(&w->wer));
    compare_rates(out, "CER", error_rate(&v->cer), error_rate(&w->cer));
    compare_rates(out, "exact", evaluation_exact(v), evaluation_exact(w));
}

static void report_text(const struct evaluations *all, struct buf *out)
{
    const struct evaluation *v = &all->whole;
    buf_printf(out, "records     %lld", (long long)v->records);
    if (v->audio_s > 0)
        buf_printf(out, "  (%.1f minutes of sound)", v->audio_s / 60);
    if (v->bad)
        buf_printf(out, ", and %lld bad", (long long)v->bad);
    buf_printf(out, "\nloss        %.4f  (mean over %lld tokens)\nperplexity  %.3f\n", v->loss,
               (long long)v->supervised, v->perplexity);
    if (!v->transcript_count) {
        if (all->ablation)
            report_ablation(all, out);
        return;
    }
    report_rate(out, "WER", "words", &v->wer);
    report_rate(out, "CER", "characters", &v->cer);
    buf_printf(out, "%-12s%.2f %%  (of %lld replies)\n", "exact", 100 * evaluation_exact(v),
               (long long)v->transcript_count);
    report_normalizer(out, v);
    report_breakdowns(out, v);
    if (all->ablation)
        report_ablation(all, out);
    report_worst(v, out);
}

static int report(const struct evaluations *v, bool is_json, struct err *e)
{
    struct buf out;
    buf_init(&out, REPORT_BYTES_MAX);
    if (is_json) {
        report_json(v, &out);
        buf_add_char(&out, '\n');
    } else {
        report_text(v, &out);
    }
    int rc = buf_check(&out, "the report", e);
    if (!rc) {
        fwrite(out.data, 1, out.size, stdout);
        rc = output_flush(e);
    }
    buf_release(&out);
    return rc;
}

/* ---------------------------------------------------------------- command -- */

static void show_bad(const struct evaluation *v)
{
    for (int i = 0; i < v->bad_count && i < BAD_SHOWN; i++)
        log_warn("%s", v->bad_texts[i]);
    if (v->bad > BAD_SHOWN)
        log_warn("and %lld more bad records", (long long)v->bad - BAD_SHOWN);
}

/* Someone who has trained may forget to say that the result is to be measured. */
static void mention_adapter(const struct config *c)
{
    if (*c->adapter || !*c->config_path)
        return;
    char *adapter = xasprintf("%s/%s/adapter", c->runs, c->name);
    if (file_is_dir(adapter))
        log_info("measuring the model alone; --adapter %s adds what was trained", adapter);
    free(adapter);
}

static int write_files(const struct evaluation *v, const struct inputs *in, const struct options *o,
                       struct err *e)
{
    if (*o->predictions && write_predictions(v, in->net, o->predictions, e))
        return -1;
    return *o->blacklist ? write_blacklist(v, in, o, e) : 0;
}

static int eval_session(const struct session *s, const struct manifest *m, struct inputs *in,
                        const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    struct evaluate_options eo = evaluate_options_of(c);
    eo.on_progress = show_progress;
    eo.memory_max = in->loader_memory;
    eo.watch = watch_new(in->net, NULL, NULL);
    struct evaluations all = {.ablation = o->ablate};
    int rc = evaluate(&all.whole, s, m, &eo, e);
    if (!rc && o->ablate) {
        eo.ablation = o->ablate;
        rc = evaluate(&all.without, s, m, &eo, e);
        if (rc)
            err_in(e, "without %s", ablated_name(o->ablate));
    }
    watch_free(eo.watch);
    log_status_end();
    if (!rc) {
        show_bad(&all.whole);
        rc = write_files(&all.whole, in, o, e) || report(&all, c->json, e) ? -1 : 0;
    }
    evaluation_release(&all.whole);
    evaluation_release(&all.without);
    return rc;
}

/* Is there what is to be taken away? */
static int check_ablation(const struct options *o, const struct manifest *m, struct err *e)
{
    bool is_audio = o->ablate == SAMPLE_WITHOUT_AUDIO;
    unsigned wanted = is_audio ? SESSION_SOUND : SESSION_PICTURES;
    if (!o->ablate || manifest_media(m, wanted, o->config.eval_max_records))
        return 0;
    return err_set(e, ERR_USAGE, "ablate: no record has %s that could be taken away",
                   is_audio ? "sound" : "an image or a video");
}

static int eval_manifest(const struct options *o, struct inputs *in, const struct manifest *m,
                         struct err *e)
{
    const struct config *c = &o->config;
    struct session_options so = session_options_of(c);
    so.net = in->net;
    so.init_random = false;
    if (check_ablation(o, m, e) || session_check_sound(c->model, m, c->eval_max_records, e))
        return -1;
    session_fit(&so, m, c->eval_max_records);
    struct session s;
    if (session_open(&s, &so, e))
        return -1;
    int rc = eval_session(&s, m, in, o, e);
    session_close(&s);
    return rc;
}

int cmd_eval(const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    struct inputs in;
    struct manifest m;
    if (inputs_open(&in, c, e))
        return -1;
    int rc = inputs_manifest(&in, o->data.count ? &o->data : &c->eval, NULL, &m, e);
    if (!rc) {
        mention_adapter(c);
        rc = eval_manifest(o, &in, &m, e);
        manifest_release(&m);
    }
    inputs_close(&in);
    return rc;
}
