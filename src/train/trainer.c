/* trainer.c - see trainer.h.
 *
 * The results of a step are read after the next one has been handed to the device, so that the
 * device never waits for the host.  Evaluation comes before the checkpoint of the same step: a
 * crash between the two repeats the evaluation and cuts its line from the metrics.
 *
 * Where a run is in its data is what the loader says beside each step (loader_step.next and its
 * counts); it is saved with the weights that the step made.
 */
#include "train/trainer.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/loader.h"
#include "data/manifest.h"
#include "data/plan.h"
#include "train/checkpoint.h"
#include "train/family.h"
#include "train/format.h"
#include "train/inputs.h"
#include "train/largest.h"
#include "train/mirror.h"
#include "train/place.h"
#include "train/run.h"
#include "train/schedule.h"
#include "train/step.h"
#include "train/step_notes.h"
#include "train/stop.h"
#include "train/tower_cache.h"
#include "train/trained.h"
#include "train/watch.h"

enum { NAMES_BYTES = 400 };

void (*train_batch_hook)(int64_t step, struct batch *b);

/* A step whose results have not been read yet. */
struct pending {
    bool is_used, has_result;
    struct step_metrics metrics;
    mx_array loss, grad_norm, ok;      /* slots */
    char names[NAMES_BYTES];           /* of its records, for messages */
};

struct trainer {
    const struct config *c;
    const struct train_hooks *hooks;
    struct run run;
    struct mirror *mirror;             /* NULL: the run lives on this machine's disk only */
    struct session session;
    struct inputs inputs;
    struct watch *watch;
    struct manifest train_set, eval_set;
    int64_t window_bytes;
    struct plan *plan;
    struct schedule schedule;
    struct data_format format;         /* the session's, for training */
    struct train_step step;
    struct tower_cache *cache;         /* NULL: not used */
    int64_t rehearsed_hits, rehearsed_misses;   /* of the cache, before the first step */
    struct loader *loader;
    struct loader_step first;          /* taken from the loader before its turn */
    bool has_first;
    struct place place;
    struct pending pending;
    struct net_stats net;              /* as of the last step that was settled */
    int bad_in_row;
    int64_t windows;                   /* of steps that are settled, and ... */
    double windows_s;                  /* ... the seconds these took */
    int64_t from;                      /* steps that were done when this process began */
    int64_t done, saved;               /* steps that are done, and in a checkpoint */
    double before_s;                   /* seconds of training before that */
    double started, last;              /* on the clock */
    char *approximate;                 /* why the run is not exactly reproducible, or NULL */
    double last_loss;
    struct step_notes notes;
    struct train_result *result;
};

/* ---------------------------------------------------------------- signals -- */

static bool is_stopped(void *arg)
{
    (void)arg;
    return stop_signal() != 0;
}

/* Before the process ends: the last checkpoint should be in the bucket, but need not. */
static void copy_last(const struct trainer *t)
{
    struct err e = {0};
    if (!t->mirror)
        return;
    log_info("copying the last checkpoint to %s; Ctrl-C leaves it for the next start",
             t->run.shown);
    if (mirror_finish(t->mirror, &e))
        log_warn("%s", e.text);
}

static int stopped(const struct trainer *t, int64_t step, struct err *e)
{
    if (step)
        copy_last(t);
    enum err_kind kind = stop_signal() == SIGTERM ? ERR_TERMINATED : ERR_STOPPED;
    if (!step)
        return err_set(e, kind, "stopped before the first step");
    err_set(e, kind, "stopped after step %lld of %d; progress is saved in %s", (long long)step,
            t->c->steps, t->run.shown);
    return err_hint(e, "the same command goes on from there");
}

/* ----------------------------------------------------------------- set-up -- */

/* Outputs of frozen towers are kept when the run comes by them again. */
static void open_cache(struct trainer *t)
{
    const struct model_facts *facts = &t->session.model->facts;
    int64_t epoch = plan_steps(t->plan, 0);
    if (epoch > 0 && t->c->steps > epoch && !format_is_random(&t->format, facts))
        t->cache = tower_cache_new(t->session.model, t->c->tower_cache);
    t->step.cache = t->cache;
    t->format.has_keys = t->cache != NULL;
}

static int open_session(struct trainer *t, struct err *e)
{
    const struct config *c = t->c;
    struct session_options o = session_options_of(c);
    o.net = t->inputs.net;
    if (family_check(c, &t->train_set, e))
        return -1;
    trained_fit(&o, c, &t->train_set, &t->eval_set);
    /* Which weights there are to train hangs on it. */
    if (c->method == METHOD_FULL) {
        json_put_bool(t->run.facts, "audio_tower", !o.without_audio);
        json_put_bool(t->run.facts, "vision_tower", !o.without_vision);
    }
    const char *without[3] = {NULL};
    int n = 0;
    if (o.without_audio)
        without[n++] = "audio";
    if (o.without_vision)
        without[n++] = "vision";
    if (session_use_device(c->device, e) || memory_plan_check_weights(c, without, e))
        return -1;
    if (session_open(&t->session, &o, e) || trained_choose(&t->session.model->params, c, e))
        return -1;
    format_for_training(&t->format, &t->session, c);
    double *factors = trained_factors(&t->session.model->params, c);
    train_step_init(&t->step, t->session.model, c, factors);
    free(factors);
    open_cache(t);
    return mx_check(e);
}

static void open_pending(struct pending *p)
{
    p->loss = mx_slot(MX_NONE);
    p->grad_norm = mx_slot(MX_NONE);
    p->ok = mx_slot(MX_NONE);
}

static void add_reason(struct trainer *t, const char *reason)
{
    char *old = t->approximate;
    t->approximate = old ? xasprintf("%s; %s", old, reason) : xstrdup(reason);
    free(old);
}

/* Take over what the checkpoint's state says, and the checkpoint itself. */
static int resume_from(struct trainer *t, const char *path, const json_t *state, struct err *e)
{
    int64_t step = json_need_int(state, "step", e);
    struct place place = place_of_json(json_need_object(state, "data", e), e);
    const json_t *facts = json_need_object(state, "facts", e);
    const json_t *conditions = json_need_object(state, "conditions", e);
    const char *why = json_get_str(state, "approximate", NULL, e);
    t->before_s = json_get_double(state, "seconds", 0, e);
    t->last_loss = json_get_double(state, "loss", NAN, e);
    if (e->kind)
        return err_in(e, "%s/state.json", path);
    if (run_check_facts(&t->run, facts, e))
        return -1;
    if (why)
        add_reason(t, why);
    char *changed = run_changed_conditions(&t->run, conditions);
    if (changed) {
        log_warn("going on from step %lld under other conditions: %s; the result is approximately "
                 "that of an undisturbed run",
                 (long long)step, changed);
        add_reason(t, changed);
        free(changed);
    }
    if (checkpoint_load(path, &t->session.model->params, &t->step.adamw, e))
        return -1;
    t->from = t->done = t->saved = step;
    t->place = place;
    return 0;
}

static int resume(struct trainer *t, struct err *e)
{
    char *path;
    json_t *state;
    int found = checkpoint_find(t->run.dir, &path, &state, e);
    int rc = found < 0 ? -1 : 0;
    if (found > 0)
        rc = resume_from(t, path, state, e);
    free(path);
    json_decref(state);
    return rc ? -1 : metrics_cut(t->run.metrics, t->from, e);
}

/* While an evaluation runs, the training's batches lie ready beside its own. */
static int64_t loader_memory(const struct trainer *t, bool is_evaluation)
{
    int64_t all = t->inputs.loader_memory, less = all / 4;
    if (is_evaluation)
        return less;
    return t->eval_set.file_count ? all - less : all;
}

static int open_plan(struct trainer *t, struct err *e)
{
    const struct config *c = t->c;
    t->plan = plan_new(
        &(struct plan_options){
            .manifest = &t->train_set,
            .seed = c->seed,
            .batch = c->batch,
            .is_sorted = format_is_sorted(c),
            .sorts_text = format_sorts_text(c),
            .window_shards = c->window_shards,
            .window_bytes = t->window_bytes,
        },
        e);
    return t->plan ? 0 : err_in(e, "train");
}

static int open_loader(struct trainer *t, struct err *e)
{
    const struct config *c = t->c;
    t->schedule = (struct schedule){
        .kind = c->schedule,
        .rate = c->learning_rate,
        .steps = c->steps,
        .warmup_steps = c->warmup_steps,
        .min_ratio = c->min_lr_ratio,
    };
    if (t->from >= c->steps)
        return 0;
    t->loader = loader_open(
        &(struct loader_options){
            .plan = t->plan,
            .format = &t->format,
            .spool = t->inputs.spool,
            .purpose = SAMPLE_TRAIN,
            .from = t->place.cursor,
            .first_step = t->from,
            .end_step = c->steps,
            .micros = c->accumulate,
            .ahead = c->prefetch,
            .memory_max = loader_memory(t, false),
            .bad_fraction = c->bad_fraction,
            .bad_min = c->bad_min,
            .bad_before = t->place.bad,
            .taken_before = t->place.taken,
        },
        e);
    return t->loader ? 0 : -1;
}

/* -------------------------------------------------------------- one step -- */

/* What the network did since the last step. */
static void add_net(struct trainer *t, struct step_metrics *m)
{
    struct net_stats now;
    net_stats(t->inputs.net, &now);
    m->uses_net = now.requests > 0;
    m->fetched = now.bytes - t->net.bytes;
    m->retries = now.retries - t->net.retries;
    m->hedges = now.hedges - t->net.hedges;
    t->net = now;
}

/* Of the cache, since the first step of this process. */
static struct tower_cache_stats cache_stats(const struct trainer *t)
{
    struct tower_cache_stats s = tower_cache_stats(t->cache);
    s.hits -= t->rehearsed_hits;
    s.misses -= t->rehearsed_misses;
    return s;
}

/* Read the results of the pending step: write its line, tell, judge. */
static int settle(struct trainer *t, struct err *e)
{
    struct pending *p = &t->pending;
    struct step_metrics *m = &p->metrics;
    if (!p->is_used)
        return 0;
    p->is_used = false;
    m->loss = m->grad_norm = NAN;
    m->ok = true;
    if (p->has_result) {
        double ok = 0;
        if (mx_item(p->loss, &m->loss, e) || mx_item(p->grad_norm, &m->grad_norm, e) ||
            mx_item(p->ok, &ok, e))
            return err_in(e, "step %lld", (long long)m->step);
        m->ok = ok != 0;
    }
    double now = clock_seconds();
    m->seconds = now - t->last;
    t->last = now;
    result_note_peak(t->result);
    m->memory = (uint64_t)t->result->memory_peak;
    /* The first step waits for kernels to be made. */
    if (m->step > t->from + 1) {
        t->windows += m->windows;
        t->windows_s += m->seconds;
    }
    if (t->cache)
        m->cache = cache_stats(t);
    add_net(t, m);
    if (m->ok && p->has_result)
        t->last_loss = m->loss;
    if (metrics_add_step(t->run.metrics, m, e))
        return -1;
    if (t->hooks->on_step)
        t->hooks->on_step(t->hooks->arg, m);
    if (m->ok) {
        t->bad_in_row = 0;
        return 0;
    }
    log_warn("step %lld: loss %g, gradient norm %g; nothing was changed (records %s)",
             (long long)m->step, m->loss, m->grad_norm, p->names);
    if (++t->bad_in_row < TRAINER_BAD_STEPS_MAX)
        return 0;
    err_set(e, ERR_NONFINITE,
            "step %lld: loss or gradients are not finite, for the %drd step in a row; records %s",
            (long long)m->step, t->bad_in_row, p->names);
    return err_hint(e, "a lower learning_rate, a longer warm-up, or a look at these records");
}

/* Start the step and, while it runs, settle the one before. */
static int run_step(struct trainer *t, const struct loader_step *s, struct err *e)
{
    int64_t step = s->step + 1;
    double rate = schedule_rate(&t->schedule, step);
    struct step_result r = {MX_NONE, MX_NONE, MX_NONE};
    step_notes(&t->notes, s);
    for (int i = 0; train_batch_hook && i < s->count; i++)
        train_batch_hook(step, &s->micros[i]);
    struct step_data d = {s->micros, s->count, s->supervised};
    if (format_detect(&t->session, s, e))
        return err_in(e, "step %lld", (long long)step);
    if (s->count && train_step_run(&t->step, &d, step, rate, &r, e))
        return err_in(e, "step %lld", (long long)step);
    if (settle(t, e))
        return -1;
    struct pending *p = &t->pending;
    if (s->count) {
        mx_set(p->loss, r.loss);
        mx_set(p->grad_norm, r.grad_norm);
        mx_set(p->ok, r.ok);
    }
    p->is_used = true;
    p->has_result = s->count > 0;
    p->metrics = (struct step_metrics){
        .step = step,
        .steps = t->c->steps,
        .lr = rate,
        .supervised = s->supervised,
        .total = s->total,
        .audio_s = s->audio_s,
        .pictures = s->pictures,
        .windows = t->session.model->facts.is_crossing ? step_windows(s) : 0,
        .bad = loader_bad_count(t->loader),
        .data_wait = s->waited_s,
        .padding = s->padding,
    };
    t->done = step;
    t->place = (struct place){s->next, s->bad_before, s->taken_before};
    step_names(s, p->names, sizeof p->names);
    return 0;
}

/* ------------------------------------------------------ between the steps -- */

static int save(struct trainer *t, int64_t step, struct err *e)
{
    json_t *state = json_object();
    json_put_int(state, "step", step);
    json_put_double(state, "loss", t->last_loss);
    json_put_double(state, "seconds", t->before_s + clock_seconds() - t->started);
    json_put(state, "data", place_to_json(&t->place));
    json_put(state, "facts", json_incref(t->run.facts));
    json_put(state, "conditions", json_incref(t->run.conditions));
    if (t->approximate)
        json_put_str(state, "approximate", t->approximate);
    int rc = checkpoint_save(t->run.dir, step, &t->session.model->params, &t->step.adamw, state, e);
    json_decref(state);
    if (rc)
        return -1;
    t->saved = step;
    int64_t held = t->mirror ? mirror_held(t->mirror) : -1;
    if (checkpoint_prune(t->run.dir, t->c->keep, held, e))
        return -1;
    if (t->mirror)
        mirror_push(t->mirror);
    return 0;
}

/* Measure on the evaluation set; being stopped meanwhile is no failure. */
static int evaluate_now(struct trainer *t, int64_t step, bool is_last, struct err *e)
{
    const struct config *c = t->c;
    if (!t->eval_set.file_count || stop_signal())
        return 0;
    struct evaluate_options o = evaluate_options_of(c);
    o.memory_max = loader_memory(t, true);
    o.watch = t->watch;
    o.is_stopped = is_stopped;
    o.on_progress = t->hooks->on_progress;
    o.arg = t->hooks->arg;
    struct evaluation v;
    struct err mine = {0};
    if (evaluate(&v, &t->session, &t->eval_set, &o, &mine)) {
        if (mine.kind == ERR_STOPPED)
            return 0;
        *e = mine;
        return err_in(e, "evaluation after step %lld", (long long)step);
    }
    int rc = metrics_add_evaluation(t->run.metrics, step, &v, e);
    if (t->hooks->on_evaluation)
        t->hooks->on_evaluation(t->hooks->arg, step, &v);
    if (is_last)
        result_evaluation(t->result, &v);
    evaluation_release(&v);
    mx_memory_peak_reset();            /* that of the steps is asked for */
    t->last = clock_seconds();
    return rc;
}

/* The data do not come any more: the network is away, or was stopped with the run, or they are not
 * what they were.  What was learnt until here is kept. */
static int end_early(struct trainer *t, struct err *why, struct err *e)
{
    if (settle(t, e))
        return -1;
    bool is_new = t->done > t->saved;
    if (is_new && why->kind != ERR_BUG && save(t, t->done, e))
        return -1;
    if (stop_signal())
        return stopped(t, t->done, e);
    *e = *why;
    if (e->kind != ERR_RETRY)
        return -1;
    if (t->saved) {
        size_t n = strlen(e->text);
        snprintf(e->text + n, sizeof e->text - n, "; progress is saved after step %lld",
                 (long long)t->saved);
    }
    return err_hint(e, "the same command goes on from there when the network is back");
}

static bool is_due(int64_t step, int every)
{
    return every > 0 && step % every == 0;
}

/* What follows a step: evaluation, checkpoint, the end. */
static int after_step(struct trainer *t, int64_t step, struct err *e)
{
    bool is_last = step == t->c->steps;
    bool measures = is_due(step, t->c->eval_every) && !is_last && t->eval_set.file_count;
    bool saves = is_last || is_due(step, t->c->save_every);
    if (t->mirror && mirror_check(t->mirror, e))
        return -1;
    if (!measures && !saves && !stop_signal())
        return 0;
    if (settle(t, e))
        return -1;
    struct err why = {0};
    if (measures && evaluate_now(t, step, false, &why))
        return end_early(t, &why, e);
    bool stops = stop_signal() != 0;
    if ((saves || stops) && save(t, step, e))
        return -1;
    return stops && !is_last ? stopped(t, step, e) : 0;
}

static int next_step(struct trainer *t, struct loader_step *s, struct err *e)
{
    if (t->has_first) {
        *s = t->first;
        t->has_first = false;
        return 1;
    }
    watch_begin(t->watch, t->loader);
    int got = loader_next(t->loader, s, e);
    watch_end(t->watch);
    return got;
}

static int loop(struct trainer *t, struct err *e)
{
    struct loader_step s;
    struct err why = {0};
    int got = 0;
    t->started = t->last = clock_seconds();
    while (t->loader && (got = next_step(t, &s, &why)) == 1) {
        int64_t step = s.step + 1;
        mx_enter();
        int rc = run_step(t, &s, e);
        mx_leave(MX_NONE);
        loader_step_release(&s);
        if (rc || after_step(t, step, e))
            return -1;
    }
    return got < 0 ? end_early(t, &why, e) : settle(t, e);
}

/* ----------------------------------------------------------------- memory -- */

/* Make the largest batch of what is to come.  1, 0 when there is none, -1 on error. */
static int find_largest(struct trainer *t, struct batch *b, struct err *e)
{
    const struct largest_options o = {
        .plan = t->plan,
        .format = &t->format,
        .watch = t->watch,
        .from = t->place.cursor,
        .steps = t->c->steps - t->from,
        .micros = t->c->accumulate,
        .memory_max = loader_memory(t, false),
    };
    return largest_batch(b, &o, e);
}

/* Shards would be fetched twice: the first step is taken out of the run's own loader. */
static int take_first(struct trainer *t, struct err *e)
{
    int got = next_step(t, &t->first, e);
    t->has_first = got == 1;
    return got;
}

static int rehearse(struct trainer *t, struct memory_plan *p, struct err *e)
{
    struct err why = {0};
    struct batch b;
    bool is_known = largest_is_known(t->plan);
    int found = is_known ? find_largest(t, &b, &why) : take_first(t, &why);
    if (found < 0)
        return end_early(t, &why, e);
    if (!is_known)
        return found && t->first.count
                   ? memory_plan_rehearse(p, &t->step, largest_micro(&t->first), t->c, e)
                   : 0;
    int rc = found ? memory_plan_rehearse(p, &t->step, &b, t->c, e) : 0;
    if (found)
        batch_release(&b);
    return rc;
}

/* Rehearse a step with the largest batch that is known of, and say what it needs. */
static int plan_memory(struct trainer *t, struct err *e)
{
    struct memory_plan *p = &t->result->memory;
    if (memory_plan_arrays(p, &t->step, t->c, e) || rehearse(t, p, e))
        return -1;
    t->result->has_memory = true;
    if (t->cache) {
        struct tower_cache_stats s = tower_cache_stats(t->cache);
        t->rehearsed_hits = s.hits;
        t->rehearsed_misses = s.misses;
    }
    if (t->hooks->on_memory)
        t->hooks->on_memory(t->hooks->arg, p);
    return 0;
}

/* What the cache was good for. */
static void report_cache(struct trainer *t)
{
    struct train_result *r = t->result;
    if (!t->cache)
        return;
    r->has_cache = true;
    r->cache = cache_stats(t);
    char size[32];
    memory_plan_size(size, sizeof size, r->cache.bytes);
    log_info("frozen towers: %lld outputs came from the cache, %lld were computed; it holds %s",
             (long long)r->cache.hits, (long long)r->cache.misses, size);
}

/* ---------------------------------------------------------------- the end -- */

static int write_result(const struct trainer *t, struct err *e)
{
    json_t *o = result_to_json(t->result);
    json_put_str(o, "output", t->run.output);
    json_put_str(o, "resume", t->approximate ? "approximate" : "exact");
    json_put(o, "facts", json_incref(t->run.facts));
    int rc = run_finish(&t->run, o, e);
    json_decref(o);
    return rc;
}

/* A finished run is finished when the bucket has it. */
static int copy_result(const struct trainer *t, struct err *e)
{
    if (!t->mirror || !mirror_finish(t->mirror, e))
        return 0;
    err_in(e, "the run is finished and lies in %s, but not all of it is in %s", t->run.dir,
           t->run.shown);
    return err_hint(e, "the same command goes on with copying it");
}

static int finish(struct trainer *t, struct err *e)
{
    struct train_result *r = t->result;
    r->steps = t->c->steps;
    r->loss = t->last_loss;
    r->seconds = t->before_s + clock_seconds() - t->started;
    r->windows_per_s = t->windows_s > 0 ? (double)t->windows / t->windows_s : 0;
    report_cache(t);
    if (t->notes.splits)
        log_info("%lld clips were longer than the model takes and were cut",
                 (long long)t->notes.splits);
    if (evaluate_now(t, t->c->steps, true, e))
        return -1;
    if (stop_signal())
        return stopped(t, t->c->steps, e);
    if (t->hooks->export(t->hooks->arg, &t->session, t->run.output, r->sha256, e))
        return err_in(e, "%s", t->run.output);
    if (write_result(t, e) || copy_result(t, e))
        return -1;
    r->output = xstrdup(t->run.output);
    return 0;
}

/* 1 when an earlier start has finished this run. */
static int check_finished(struct trainer *t, struct err *e)
{
    json_t *o;
    int found = run_result(&t->run, &o, e);
    if (found <= 0)
        return found;
    struct train_result *r = t->result;
    *r = result_of_json(o, e);
    const json_t *facts = json_need_object(o, "facts", e);
    int rc = e->kind ? -1 : run_check_facts(&t->run, facts, e);
    json_decref(o);
    if (rc)
        return -1;
    r->was_finished = r->steps >= t->c->steps;
    if (r->was_finished)
        r->output = xstrdup(t->run.output);
    return r->was_finished;
}

/* Network, spool, and what there is to learn from and to measure on. */
static int open_data(struct trainer *t, struct err *e)
{
    const struct config *c = t->c;
    if (inputs_open(&t->inputs, c, e))
        return -1;
    t->watch = watch_new(t->inputs.net, is_stopped, NULL);
    if (inputs_manifest(&t->inputs, &c->train, &c->weights, &t->train_set, e))
        return err_in(e, "train");
    if (c->eval.count && inputs_manifest(&t->inputs, &c->eval, NULL, &t->eval_set, e))
        return err_in(e, "eval");
    return inputs_window_bytes(&t->inputs, &t->train_set, &t->eval_set, &t->window_bytes, e);
}

/* The run's folder; that of a run in a bucket is brought up to date first. */
static int open_run(struct trainer *t, struct err *e)
{
    const struct config *c = t->c;
    if (!mirror_is_remote(c->runs))
        return run_open(&t->run, c, NULL, &t->train_set, e);
    char *cache = inputs_cache_dir(c), *local = mirror_local(cache, c->runs, e);
    int rc = local ? run_open(&t->run, c, local, &t->train_set, e) : -1;
    free(cache);
    free(local);
    if (rc)
        return -1;
    t->mirror = mirror_open(
        &(struct mirror_options){
            .net = net_settings(t->inputs.net),
            .uri = t->run.shown,
            .dir = t->run.dir,
        },
        e);
    return t->mirror ? 0 : -1;
}

/* Begin anew or go on, up to the first step. */
static int prepare(struct trainer *t, const char *yaml, const char *version, struct err *e)
{
    const struct config *c = t->c;
    if (open_plan(t, e) || open_session(t, e))
        return -1;
    run_conditions(&t->run, c, version);
    json_put_bool(t->run.conditions, "tower_cache", t->cache != NULL);
    if (resume(t, e))
        return -1;
    /* Now, not after the first hours. */
    if (t->from < c->steps &&
        checkpoint_check_space(t->run.dir, checkpoint_bytes(&t->session.model->params), e))
        return -1;
    if (run_describe(&t->run, c, yaml, t->approximate, e))
        return -1;
    open_pending(&t->pending);
    if (t->hooks->on_start)
        t->hooks->on_start(t->hooks->arg, &t->session, t->plan, t->from);
    if (open_loader(t, e))
        return -1;
    return t->loader ? plan_memory(t, e) : 0;
}

static int run(struct trainer *t, const char *yaml, const char *version, struct err *e)
{
    if (open_data(t, e) || open_run(t, e))
        return -1;
    json_put_int(t->run.facts, "window_bytes", t->window_bytes);
    int finished = check_finished(t, e);
    if (finished)
        return finished < 0 ? -1 : copy_result(t, e);
    char *log = path_join(t->run.dir, "log.txt");
    log_set_file(log);
    free(log);
    if (prepare(t, yaml, version, e) || loop(t, e))
        return -1;
    return finish(t, e);
}

static void release(struct trainer *t)
{
    if (t->has_first)
        loader_step_release(&t->first);
    loader_close(t->loader);
    plan_free(t->plan);
    mx_slot_free(t->pending.loss);
    mx_slot_free(t->pending.grad_norm);
    mx_slot_free(t->pending.ok);
    train_step_release(&t->step);
    tower_cache_free(t->cache);
    session_close(&t->session);
    manifest_release(&t->train_set);
    manifest_release(&t->eval_set);
    watch_free(t->watch);
    mirror_close(t->mirror);
    inputs_close(&t->inputs);
    free(t->approximate);
    log_set_file(NULL);
    run_close(&t->run);
}

int train(const struct config *c, const char *yaml, const char *version,
          const struct train_hooks *hooks, struct train_result *result, struct err *e)
{
    struct trainer t = {
        .c = c,
        .hooks = hooks,
        .run = {.lock = -1},
        .last_loss = NAN,
        .result = result,
    };
    *result = result_empty();
    struct stop_handlers old;
    stop_catch(&old);
    mx_enter();
    int rc = run(&t, yaml, version, e);
    if (rc) {
        free(result->output);
        result->output = NULL;
        /* Whoever was stopped in a wait does not know by which signal. */
        if (e->kind == ERR_STOPPED && stop_signal() == SIGTERM)
            e->kind = ERR_TERMINATED;
    }
    mx_leave(MX_NONE);
    release(&t);
    stop_restore(&old);
    return rc;
}
