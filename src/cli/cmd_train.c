/* cmd_train.c - `attune train`: what is trained, how it goes, what came of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/version.h"
#include "export/hub.h"
#include "export/peft.h"
#include "nn/lora.h"
#include "train/mirror.h"
#include "train/trained.h"
#include "train/trainer.h"

enum { REPORT_BYTES_MAX = 1 << 20 };

#define REDRAW_S 0.1                    /* shortest time between two states of the progress line */

struct view {
    const struct config *c;
    double drawn;                       /* when the progress line was drawn last */
    double begun;
    int64_t first;                      /* step before the first of this process */
    /* Since the last line of log_every steps. */
    int steps;
    double loss, seconds, waited;
    int64_t total, windows, fetched, retries;
    bool hears;                         /* the model has an audio tower */
    struct step_metrics last;           /* of the newest step; step 0: none yet */
    double smooth;                      /* loss, averaged over some twenty steps; for display */
};

/* "1.2k", "3.4M": three digits and a unit. */
static void write_count(char *out, size_t size, int64_t n)
{
    static const char units[] = " kMBT";
    double v = (double)n;
    int u = 0;
    while (v >= 999.5 && units[u + 1]) {
        v /= 1000;
        u++;
    }
    if (u == 0)
        snprintf(out, size, "%lld", (long long)n);
    else
        snprintf(out, size, "%.*f%c", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u]);
}

static void write_time(char *out, size_t size, double s)
{
    int64_t t = (int64_t)(s + 0.5);
    if (t >= 3600)
        snprintf(out, size, "%lld:%02d:%02d", (long long)(t / 3600), (int)(t / 60 % 60),
                 (int)(t % 60));
    else
        snprintf(out, size, "%d:%02d", (int)(t / 60), (int)(t % 60));
}

/* ------------------------------------------------------------ the start -- */

static void show_row(int width, const struct nn_trained *r, double rate)
{
    char count[16], rank[16] = "";
    write_count(count, sizeof count, r->parameters);
    if (r->rank)
        snprintf(rank, sizeof rank, "%d", r->rank);
    log_info("  %-*s  %-9s %5d  %4s  %10s  %9.2e", width, r->name, r->tower, r->count, rank, count,
             rate);
}

/* Numbers of a parameter, as its dense weight has them; 0 of what was made from a weight. */
static int64_t numbers_of(const struct nn_param *p)
{
    int64_t n = p->role != NN_PART;
    for (int i = 0; i < p->n; i++)
        n *= p->shape[i];
    return n;
}

/* One row for each kind of module that is trained. */
static void show_trained(const struct nn_params *p, const struct config *c)
{
    struct nn_trained *rows;
    int n = nn_trained_table(p, &rows), width = 8, modules = 0;
    int64_t sum = 0, all = 0;
    char count[16];
    for (int i = 0; i < n; i++)
        if ((int)strlen(rows[i].name) > width)
            width = (int)strlen(rows[i].name);
    log_info("  %-*s  %-9s %5s  %4s  %10s  %9s", width, "trained", "tower", "count", "rank",
             "parameters", "rate");
    for (int i = 0; i < n; i++) {
        show_row(width, &rows[i], trained_rate(c, rows[i].tower));
        sum += rows[i].parameters;
        modules += rows[i].count;
    }
    for (int i = 0; i < p->count; i++)
        all += numbers_of(&p->at[i]);
    write_count(count, sizeof count, sum);
    log_info("  %-*s  %-9s %5d  %4s  %10s  (%.2f %% of all)", width, "together", "", modules, "",
             count, all ? 100 * (double)sum / (double)all : 0);
    free(rows);
}

/* What the steps will need, beside what there is. */
static void on_memory(void *arg, const struct memory_plan *p)
{
    char weights[32], adapters[32], optimizer[32], activations[32], total[32], device[32];
    (void)arg;
    memory_plan_size(weights, sizeof weights, p->weights);
    memory_plan_size(adapters, sizeof adapters, p->adapters);
    memory_plan_size(optimizer, sizeof optimizer, p->optimizer);
    memory_plan_size(activations, sizeof activations, p->activations);
    memory_plan_size(total, sizeof total, p->total);
    memory_plan_size(device, sizeof device, p->device);
    log_info("memory: weights %s, adapters %s, optimizer %s, activations %s: %s%s%s", weights,
             adapters, optimizer, activations, total, p->device ? " of " : "",
             p->device ? device : "");
    if (p->rows)
        log_info("  for %d rows of %d tokens, %d clips, %d pictures: the largest batch", p->rows,
                 p->len, p->clips, p->pictures);
    if (!p->cache)
        return;
    memory_plan_size(weights, sizeof weights, p->cache);
    log_info("  and up to %s of outputs of frozen towers", weights);
}

/* What there is to learn from: "1200 records, 8 a step, 300 steps (2.00 epochs)", or, when nobody
 * knows how many records the shards hold, "920 shards (58.1 GB)". */
static void show_data(const struct config *c, const struct plan *train)
{
    const struct manifest *m = plan_settings(train)->manifest;
    const double GB = 1e9;
    if (m->is_complete)
        log_info("%lld records, %d a step, %d steps (%.2f epochs) on %s", (long long)m->count,
                 c->batch, c->steps, (double)c->steps * c->batch / (double)m->count,
                 mx_device_name());
    else
        log_info("%lld files (%.3g GB), %d records a step, %d steps on %s",
                 (long long)m->file_count, (double)m->bytes / GB, c->batch, c->steps,
                 mx_device_name());
}

static void on_start(void *arg, const struct session *s, const struct plan *train, int64_t from)
{
    struct view *v = arg;
    const struct config *c = v->c;
    show_trained(&s->model->params, c);
    if (from)
        log_info("going on after step %lld of %d", (long long)from, c->steps);
    show_data(c, train);
    v->first = from;
    v->hears = s->senses.mel != NULL;
    v->begun = clock_seconds();
}

/* ---------------------------------------------------------------- a step -- */

/* What the data side does, where there is something to say: "  12.3 MB/s", "  3 retries", "
 * waited 4 %". */
static void write_data(char *out, size_t size, double seconds, double waited, int64_t fetched,
                       int64_t retries)
{
    const double MB = 1e6, WORTH_SAYING = 0.02;
    char *end = out + size;
    *out = 0;
    if (fetched && seconds > 0)
        out += snprintf(out, (size_t)(end - out), "  %.3g MB/s", (double)fetched / MB / seconds);
    if (retries)
        out += snprintf(out, (size_t)(end - out), "  %lld retries", (long long)retries);
    if (seconds > 0 && waited > WORTH_SAYING * seconds)
        snprintf(out, (size_t)(end - out), "  waited %.0f %% for data", 100 * waited / seconds);
}

static void draw(struct view *v, const struct step_metrics *m)
{
    double now = clock_seconds();
    if (now - v->drawn < REDRAW_S && m->step < m->steps)
        return;
    v->drawn = now;
    char left[32];
    double each = (now - v->begun) / (double)(m->step - v->first);
    write_time(left, sizeof left, each * (double)(m->steps - m->step));
    enum { BAR = 20 };
    char bar[BAR + 1];
    int full = (int)(BAR * m->step / m->steps);
    for (int i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR] = 0;
    char data[100];
    write_data(data, sizeof data, v->seconds, v->waited, v->fetched, v->retries);
    log_status("[%s] %lld/%lld  loss %.4f  lr %.2e  %.2f s/step  %s left%s", bar,
               (long long)m->step, (long long)m->steps, v->smooth, m->lr, each, left, data);
}

/* "12.3k tokens/s"; of encoder-decoders "25.4 windows/s". */
static void write_rate(char *out, size_t size, const struct view *v)
{
    char count[16];
    if (v->windows) {
        snprintf(out, size, "%.3g windows/s", v->seconds > 0 ? (double)v->windows / v->seconds : 0);
        return;
    }
    write_count(count, sizeof count, v->seconds > 0 ? (int64_t)((double)v->total / v->seconds) : 0);
    snprintf(out, size, "%s tokens/s", count);
}

static void print_line(struct view *v, const struct step_metrics *m)
{
    char rate[32], data[100];
    write_data(data, sizeof data, v->seconds, v->waited, v->fetched, v->retries);
    write_rate(rate, sizeof rate, v);
    log_info("step %lld/%lld  loss %.4f  lr %.2e  grad %.3f  %.2f s/step  %s%s", (long long)m->step,
             (long long)m->steps, v->steps ? v->loss / v->steps : NAN, m->lr, m->grad_norm,
             v->seconds / v->c->log_every, rate, data);
}

static void clear_sums(struct view *v)
{
    v->steps = 0;
    v->loss = v->seconds = v->waited = 0;
    v->total = v->windows = v->fetched = v->retries = 0;
}

static void on_step(void *arg, const struct step_metrics *m)
{
    struct view *v = arg;
    v->last = *m;
    if (isfinite(m->loss)) {
        v->loss += m->loss;
        v->steps++;
        v->smooth = isnan(v->smooth) ? m->loss : 0.9 * v->smooth + 0.1 * m->loss;
    }
    v->seconds += m->seconds;
    v->total += m->total;
    v->windows += m->windows;
    v->waited += m->data_wait;
    v->fetched += m->fetched;
    v->retries += m->retries;
    bool is_due = m->step % v->c->log_every == 0 || m->step == m->steps;
    if (log_is_terminal())
        draw(v, m);
    else if (is_due)
        print_line(v, m);
    if (is_due)
        clear_sums(v);
}

/* ----------------------------------------------------------- evaluations -- */

static void on_progress(void *arg, const char *what, int64_t done, int64_t all)
{
    struct view *v = arg;
    double now = clock_seconds();
    if (now - v->drawn < REDRAW_S && (done < all || !all))
        return;
    v->drawn = now;
    output_progress(what, done, all);
}

static void on_evaluation(void *arg, int64_t step, const struct evaluation *e)
{
    struct view *v = arg;
    v->drawn = 0;
    if (v->last.step)
        draw(v, &v->last);
    if (e->transcript_count)
        log_info("step %lld  eval loss %.4f  WER %.1f %%  CER %.1f %%  exact %.1f %%  (%lld "
                 "records, %.0f s)",
                 (long long)step, e->loss, 100 * error_rate(&e->wer), 100 * error_rate(&e->cer),
                 100 * evaluation_exact(e), (long long)e->records, e->seconds);
    else
        log_info("step %lld  eval loss %.4f  (%lld records, %.0f s)", (long long)step, e->loss,
                 (long long)e->records, e->seconds);
}

/* --------------------------------------------------------------- the end -- */

/* The number format of a checkpoint: that of its weights, or, before it has any, the one that its
 * config.json names. */
static enum mx_dtype format_of(const struct session *s, const struct config *c)
{
    const struct nn_params *p = &s->model->params;
    const json_t *named = json_object_get(s->model->config, "dtype");
    bool is_bf16 = p->count && p->at[0].stored == MX_BFLOAT16;
    if (c->init == INIT_RANDOM)
        is_bf16 = json_is_string(named) && !strcmp(json_string_value(named), "bfloat16");
    return is_bf16 ? MX_BFLOAT16 : MX_FLOAT32;
}

/* An adapter in float32, so that nothing is lost; a model in the number format that it came in. */
static int export(void *arg, const struct session *s, const char *dir, char sha256[HASH_HEX_SIZE],
                  struct err *e)
{
    const struct config *c = ((const struct view *)arg)->c;
    const struct nn_params *p = &s->model->params;
    if (c->method == METHOD_LORA)
        return peft_save(p, dir, &(struct peft_options){c->model, MX_FLOAT32}, sha256, e);
    struct hub_options o = {.source = c->model, .dtype = format_of(s, c)};
    return hub_save(p, dir, &o, e);
}

static int report_json(const struct config *c, const struct train_result *r, struct err *e)
{
    struct buf b;
    json_t *o = result_to_json(r);
    json_put_str(o, "run", c->name);
    json_put_bool(o, "was_finished", r->was_finished);
    json_put_str(o, c->method == METHOD_FULL ? "model" : "adapter", r->output);
    buf_init(&b, REPORT_BYTES_MAX);
    json_write_compact(o, &b);
    int rc = buf_check(&b, "the report", e) || output_line(&b, e) ? -1 : 0;
    buf_release(&b);
    json_decref(o);
    return rc;
}

/* What was reached, and the commands that come next. */
static void report_text(const struct view *v, const struct train_result *r)
{
    const struct config *c = v->c;
    char time[32];
    bool is_full = c->method == METHOD_FULL;
    write_time(time, sizeof time, r->seconds);
    if (r->was_finished)
        log_info("run %s is finished already: %lld steps; nothing was done", c->name,
                 (long long)r->steps);
    else
        log_info("done: %lld steps in %s, loss %.4f", (long long)r->steps, time, r->loss);
    if (r->windows_per_s > 0)
        log_info("  %.3g windows/s", r->windows_per_s);
    if (r->has_evaluation && isfinite(r->wer))
        log_info("  eval loss %.4f, WER %.1f %%, CER %.1f %%, exact %.1f %%", r->eval_loss,
                 100 * r->wer, 100 * r->cer, 100 * r->exact);
    else if (r->has_evaluation)
        log_info("  eval loss %.4f", r->eval_loss);
    log_info("  %s in %s", is_full ? "model" : "adapter", r->output);
    if (mirror_is_remote(c->runs))
        log_info("  the whole run in %s/%s", c->runs, c->name);
    if (r->was_finished && !c->eval.count)
        return;
    log_info("next:");
    const char *model = is_full ? r->output : c->model;
    const char *flag = is_full ? "" : " --adapter ", *adapter = is_full ? "" : r->output;
    if (c->eval.count)
        log_info("  attune eval --model %s%s%s --data %s", model, flag, adapter, c->eval.at[0]);
    if (r->was_finished)
        return;                         /* the model was not opened: what it can do is not known */
    if (v->hears)
        log_info("  attune transcribe --model %s%s%s FILE...", model, flag, adapter);
    else
        log_info("  attune generate --model %s%s%s \"your prompt\"", model, flag, adapter);
}

int cmd_train(const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    struct view v = {.c = c, .smooth = NAN, .begun = clock_seconds()};
    struct train_hooks hooks = {
        .export = export,
        .on_start = on_start,
        .on_memory = on_memory,
        .on_step = on_step,
        .on_evaluation = on_evaluation,
        .on_progress = on_progress,
        .arg = &v,
    };
    struct train_result r;
    char *yaml = options_to_yaml(o);
    int rc = train(c, yaml, ATTUNE_VERSION, &hooks, &r, e);
    free(yaml);
    log_status_end();
    if (!rc)
        report_text(&v, &r);
    if (!rc && c->json)
        rc = report_json(c, &r, e);
    free(r.output);
    return rc;
}
