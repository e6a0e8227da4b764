/* cmd_data_plan.c - `attune data plan`: what a run over these data would take, before it begins.
 *
 * With --json one object:
 *     sources        [{pattern, kind ("tables", "shards"), files, bytes, records, exact, weight,
 *                    share, seconds}]
 *     records, seconds (null: not known), windows, steps, exact    of an epoch
 *     run            {steps, epochs}
 *     fetch          {epoch_bytes, epoch_requests, run_bytes, run_requests, lists, fits_disk}
 *     cost           {date, internet: {epoch, run}, same_region: {epoch, run}}    dollars
 *     disk           {least, most, limit}     bytes
 *     memory         {limit, pieces, batches, records}     bytes
 *     speed          {bytes_per_second, connections, epoch_seconds, times_real_time}, or null
 *     padding        {frames, tokens (parts, null: not known), windows, records, guess}
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/data_job.h"
#include "cli/output.h"
#include "data/forecast.h"
#include "net/net.h"
#include "net/store.h"
#include "train/format.h"

enum { RANGES = 3, REPORT_BYTES_MAX = 64 << 20 };

/* List prices in US dollars of standard storage in the USA, first tier.  Colder storage asks for
 * more on each reading. */
#define PRICES_OF "2026-09"
static const struct price {
    const char *store;
    double get, list;                     /* 1000 requests */
    double egress, unit;                  /* to the internet, for so many bytes */
} prices[] = {
    {"gs", 0.0004, 0.005, 0.12, 1073741824.0},
    {"s3", 0.0004, 0.005, 0.09, 1e9},
};

struct totals {
    double bytes, gets;
    double requests_cost, egress_cost;
};

struct planned {
    const struct data_job *job;
    const struct config *c;
    struct forecast f;
    double epochs;
    bool fits;                            /* all shards stay on the disk after the first epoch */
    bool is_remote;
    struct totals epoch, run;
    double lists;
    int64_t least, most, limit;           /* of disk */
    double speed;                         /* bytes a second, 0: not measured */
    int speed_connections;
    struct err disk_error;                /* `disk` does not do for a run */
};

/* ------------------------------------------------------------------- money -- */

static void add_fetch(struct totals *t, const struct forecast_fetch *f, double times)
{
    t->bytes += times * f->bytes;
    t->gets += times * f->gets;
    for (size_t i = 0; i < sizeof prices / sizeof *prices; i++) {
        const struct price *p = &prices[i];
        if (strcmp(p->store, f->store) != 0)
            continue;
        t->requests_cost += times * f->gets / 1000 * p->get;
        t->egress_cost += times * f->bytes / p->unit * p->egress;
    }
}

static void add_lists(struct totals *t, const struct forecast_source *s)
{
    const char *store = *s->shards.store ? s->shards.store : s->tables.store;
    for (size_t i = 0; i < sizeof prices / sizeof *prices; i++)
        if (!strcmp(prices[i].store, store))
            t->requests_cost += s->lists / 1000 * prices[i].list;
}

static void add_up(struct planned *p)
{
    const struct forecast *f = &p->f;
    const struct manifest *m = &p->job->manifest;
    p->epochs = f->steps > 0 ? p->c->steps / f->steps : 0;
    p->limit = p->c->disk;
    p->least = f->table_bytes + 2 * f->largest;
    p->most = f->table_bytes + f->spool_bytes;
    p->fits = p->most <= p->limit;
    if (!p->fits)
        p->most = p->limit;
    for (int i = 0; i < m->source_count; i++) {
        const struct forecast_source *s = &f->sources[i];
        double weight = m->sources[i].weight, shards = weight * p->epochs;
        if (p->fits && shards > 1)
            shards = 1;
        add_fetch(&p->epoch, &s->shards, p->fits && weight > 1 ? 1 : weight);
        add_fetch(&p->epoch, &s->clips, weight);
        add_fetch(&p->run, &s->tables, 1);
        add_fetch(&p->run, &s->shards, shards);
        add_fetch(&p->run, &s->clips, weight * p->epochs);
        add_lists(&p->run, s);
        p->lists += s->lists;
        p->is_remote = p->is_remote || *s->shards.store || *s->clips.store || *s->tables.store;
    }
}

/* ------------------------------------------------------------------- speed -- */

/* One of several ranges that are read at the same time. */
struct reading {
    struct net *net;
    const struct object *object;
    int64_t offset;
    size_t size;
    pthread_t thread;
    struct err error;
};

static void *read_range(void *arg)
{
    struct reading *r = arg;
    char *bytes = xmalloc(r->size);
    if (store_read(r->net, r->object, r->offset, bytes, r->size, 0, NULL, &r->error) &&
        !r->error.kind)
        err_set(&r->error, ERR_BUG, "a failure without a text");
    free(bytes);
    return NULL;
}

/* Read some of the object, each range over a connection of its own. */
static int measure_object(struct planned *p, const struct object *o, struct err *e)
{
    struct reading readings[RANGES];
    int count = 0, most = p->c->connections < RANGES ? p->c->connections : RANGES;
    double began = clock_seconds(), bytes = 0;
    for (int64_t at = 0; at < o->size && count < most; at += SPOOL_CHUNK) {
        struct reading *r = &readings[count];
        int64_t size = o->size - at < SPOOL_CHUNK ? o->size - at : SPOOL_CHUNK;
        *r = (struct reading){p->job->inputs.net, o, at, (size_t)size, .error = {0}};
        if (pthread_create(&r->thread, NULL, read_range, r))
            break;
        bytes += (double)size;
        count++;
    }
    for (int i = 0; i < count; i++) {
        pthread_join(readings[i].thread, NULL);
        if (readings[i].error.kind && !e->kind)
            *e = readings[i].error;
    }
    double seconds = clock_seconds() - began;
    if (e->kind)
        return -1;
    p->speed = seconds > 0 ? bytes / seconds : 0;
    p->speed_connections = count;
    return 0;
}

/* How fast is it from here, now?  What was fetched to look into tells it, else some of a shard. */
static int measure_speed(struct planned *p, struct err *e)
{
    const struct manifest *m = &p->job->manifest;
    if (p->f.fetched_bytes > 0 && p->f.fetch_s > 0) {
        double ranges = ceil(p->f.fetched_bytes / SPOOL_CHUNK);
        p->speed = p->f.fetched_bytes / p->f.fetch_s;
        p->speed_connections = ranges < p->c->connections ? (int)ranges : p->c->connections;
        return 0;
    }
    for (int64_t i = 0; i < m->file_count; i++) {
        const struct manifest_file *f = &m->files[i];
        if (f->kind == MANIFEST_TAR && store_knows(f->object.uri) && f->object.size > 0)
            return measure_object(p, &f->object, e);
    }
    return 0;
}

/* -------------------------------------------------------------------- text -- */

static const char *about(bool is_exact)
{
    return is_exact ? "" : "about ";
}

static const char *dollars(double x, char out[32])
{
    snprintf(out, 32, x > 0 && x < 0.005 ? "below $0.01" : "$%.2f", x);
    return out;
}

static void print_sources(const struct planned *p)
{
    const struct manifest *m = &p->job->manifest;
    printf("%-9s %7s %9s %15s %7s %7s\n", "sources", "files", "bytes", "records", "weight",
           "share");
    for (int i = 0; i < m->source_count; i++) {
        const struct manifest_source *s = &m->sources[i];
        const struct forecast_source *f = &p->f.sources[i];
        char bytes[32], records[32];
        snprintf(records, sizeof records, "%s%.0f", about(f->is_exact), f->records);
        printf("%9s %7lld %9s %15s %7.4g %6.1f%%  %s\n", s->is_shards ? "shards" : "tables",
               (long long)s->file_count, data_bytes((double)s->bytes, bytes), records, s->weight,
               100 * f->share, s->pattern);
    }
    if (p->f.fetched)
        printf("          (\"about\": as in %s, the one shard that was fetched)\n", p->f.fetched);
}

static void print_epoch(const struct planned *p)
{
    const struct forecast *f = &p->f;
    char time[32];
    printf("\nepoch     %s%.0f records", about(f->is_exact), f->records);
    if (f->knows_seconds)
        printf(", %s of sound", data_time(f->seconds, time));
    printf("; %s%.0f step%s of %d in %lld window%s\n", about(f->is_exact), f->steps,
           f->steps > 1 ? "s" : "", p->c->batch, (long long)f->windows, f->windows == 1 ? "" : "s");
    printf("run       %d steps are %s%.3g epoch%s\n", p->c->steps, about(f->is_exact), p->epochs,
           p->epochs > 1 || p->epochs < 1 ? "s" : "");
}

static void print_padding(const struct planned *p)
{
    const struct forecast_padding *d = &p->f.padding;
    printf("padding   ");
    if (d->frames < 0 && d->tokens < 0) {
        printf("not known before the first window\n");
        return;
    }
    if (d->frames >= 0)
        printf("%.1f %% of sound frames, ", 100 * d->frames);
    printf("about %.1f %% of tokens", 100 * d->tokens);
    if (d->is_guess)
        printf(", if all shards are like that one");
    else if (!d->is_whole)
        printf(" (the first %lld windows)", (long long)d->windows);
    printf("%s\n", p->c->length_sorted ? "" : "; length_sorted would make it less");
}

/* Clips that lie alone in a store, and whose sizes nobody told? */
static bool has_unknown_clips(const struct planned *p)
{
    for (int i = 0; i < p->job->manifest.source_count; i++)
        if (*p->f.sources[i].clips.store && p->f.sources[i].clips.bytes <= 0)
            return true;
    return false;
}

static void print_fetch(const struct planned *p)
{
    char a[32], b[32];
    if (!p->is_remote) {
        printf("fetch     nothing: all files are on this machine\n");
        return;
    }
    printf("fetch     an epoch %s in %.0f requests, the run %s in %.0f%s\n",
           data_bytes(p->epoch.bytes, a), p->epoch.gets, data_bytes(p->run.bytes, b),
           p->run.gets + p->lists,
           has_unknown_clips(p) ? "; clips come on top: their sizes are not known" : "");
    if (p->fits && p->epochs > 1 && p->f.spool_bytes > 0)
        printf("          (all shards fit into disk: only the first epoch fetches them)\n");
}

static void print_cost(const struct planned *p)
{
    char a[32], b[32], c[32];
    if (p->run.requests_cost <= 0)
        return;
    printf("cost      to the internet %s an epoch, %s the run; inside the bucket's region %s%s\n",
           dollars(p->epoch.egress_cost + p->epoch.requests_cost, a),
           dollars(p->run.egress_cost + p->run.requests_cost, b), dollars(p->run.requests_cost, c),
           has_unknown_clips(p) ? "; clips' bytes not counted" : "");
    printf("          (list prices of " PRICES_OF
           ", standard storage; colder classes ask for more)\n");
}

/* A limit as it is set: "4 GiB", "100 MB". */
static const char *limit_text(int64_t bytes, char out[32])
{
    const int64_t MIB = 1 << 20, GIB = 1 << 30;
    if (bytes % GIB == 0)
        snprintf(out, 32, "%lld GiB", (long long)(bytes / GIB));
    else if (bytes % MIB == 0)
        snprintf(out, 32, "%lld MiB", (long long)(bytes / MIB));
    else
        data_bytes((double)bytes, out);
    return out;
}

static void print_places(const struct planned *p)
{
    char a[32], b[32], c[32];
    const struct inputs *in = &p->job->inputs;
    if (p->least > p->limit)
        printf("disk      at least %s: more than disk, which is %s\n",
               data_bytes((double)p->least, a), limit_text(p->limit, c));
    else if (p->least > 0)
        printf("disk      at least %s, up to %s will be used (disk is %s)\n",
               data_bytes((double)p->least, a), data_bytes((double)p->most, b),
               limit_text(p->limit, c));
    printf("memory    up to %s: %s for pieces of files, the rest for samples and batches\n",
           limit_text(p->c->memory, a), limit_text(p->c->memory - in->loader_memory, b));
}

static void print_speed(const struct planned *p)
{
    char a[32], b[32];
    if (p->speed <= 0)
        return;
    double seconds = p->epoch.bytes / p->speed;
    printf("time      %s/s now over %d connection%s: an epoch's bytes in %s",
           data_bytes(p->speed, a), p->speed_connections, p->speed_connections == 1 ? "" : "s",
           data_time(seconds, b));
    if (p->f.knows_seconds && seconds > 0)
        printf(", %.0f times real time", p->f.seconds / seconds);
    printf("\n");
}

/* -------------------------------------------------------------------- JSON -- */

static json_t *sources_json(const struct planned *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->job->manifest.source_count; i++) {
        const struct manifest_source *s = &p->job->manifest.sources[i];
        const struct forecast_source *f = &p->f.sources[i];
        json_t *o = json_object();
        json_put_str(o, "pattern", s->pattern);
        json_put_str(o, "kind", s->is_shards ? "shards" : "tables");
        json_put_int(o, "files", s->file_count);
        json_put_int(o, "bytes", s->bytes);
        json_put_int(o, "records", (int64_t)f->records);
        json_put_bool(o, "exact", f->is_exact);
        json_put_double(o, "weight", s->weight);
        json_put_double(o, "share", f->share);
        json_put_double(o, "seconds", f->known >= 0.99 ? f->seconds : NAN);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *pair_json(double epoch, double run)
{
    json_t *o = json_object();
    json_put_double(o, "epoch", epoch);
    json_put_double(o, "run", run);
    return o;
}

static json_t *cost_json(const struct planned *p)
{
    json_t *o = json_object();
    json_put_str(o, "date", PRICES_OF);
    json_put(o, "internet",
             pair_json(p->epoch.egress_cost + p->epoch.requests_cost,
                       p->run.egress_cost + p->run.requests_cost));
    json_put(o, "same_region", pair_json(p->epoch.requests_cost, p->run.requests_cost));
    return o;
}

static json_t *fetch_json(const struct planned *p)
{
    json_t *o = json_object();
    json_put_int(o, "epoch_bytes", (int64_t)p->epoch.bytes);
    json_put_int(o, "epoch_requests", (int64_t)p->epoch.gets);
    json_put_int(o, "run_bytes", (int64_t)p->run.bytes);
    json_put_int(o, "run_requests", (int64_t)p->run.gets);
    json_put_int(o, "lists", (int64_t)p->lists);
    json_put_bool(o, "fits_disk", p->fits);
    return o;
}

static json_t *places_json(const struct planned *p, json_t **memory)
{
    json_t *disk = json_object();
    json_put_int(disk, "least", p->least);
    json_put_int(disk, "most", p->most);
    json_put_int(disk, "limit", p->limit);
    *memory = json_object();
    json_put_int(*memory, "limit", p->c->memory);
    json_put_int(*memory, "pieces", p->c->memory - p->job->inputs.loader_memory);
    json_put_int(*memory, "batches", p->job->inputs.loader_memory);
    json_put_int(*memory, "records",
                 p->job->manifest.line_count * (int64_t)sizeof(struct manifest_line));
    return disk;
}

static json_t *speed_json(const struct planned *p)
{
    if (p->speed <= 0)
        return json_null();
    json_t *o = json_object();
    double seconds = p->epoch.bytes / p->speed;
    json_put_double(o, "bytes_per_second", p->speed);
    json_put_int(o, "connections", p->speed_connections);
    json_put_double(o, "epoch_seconds", seconds);
    json_put_double(o, "times_real_time", p->f.knows_seconds ? p->f.seconds / seconds : NAN);
    return o;
}

static json_t *padding_json(const struct forecast_padding *d)
{
    json_t *o = json_object();
    json_put_double(o, "frames", d->frames >= 0 ? d->frames : NAN);
    json_put_double(o, "tokens", d->tokens >= 0 ? d->tokens : NAN);
    json_put_int(o, "windows", d->windows);
    json_put_int(o, "records", d->records);
    json_put_bool(o, "guess", d->is_guess);
    return o;
}

static int print_json(const struct planned *p, struct err *e)
{
    const struct forecast *f = &p->f;
    struct buf b;
    json_t *o = json_object(), *run = json_object(), *memory, *disk = places_json(p, &memory);
    json_put(o, "sources", sources_json(p));
    json_put_int(o, "records", (int64_t)f->records);
    json_put_double(o, "seconds", f->knows_seconds ? f->seconds : NAN);
    json_put_int(o, "windows", f->windows);
    json_put_int(o, "steps", (int64_t)f->steps);
    json_put_bool(o, "exact", f->is_exact);
    json_put_int(run, "steps", p->c->steps);
    json_put_double(run, "epochs", p->epochs);
    json_put(o, "run", run);
    json_put(o, "fetch", fetch_json(p));
    json_put(o, "cost", cost_json(p));
    json_put(o, "disk", disk);
    json_put(o, "memory", memory);
    json_put(o, "speed", speed_json(p));
    json_put(o, "padding", padding_json(&f->padding));
    buf_init(&b, REPORT_BYTES_MAX);
    json_write_compact(o, &b);
    int rc = output_line(&b, e);
    buf_release(&b);
    json_decref(o);
    return rc;
}

/* ----------------------------------------------------------------- command -- */

static int report(const struct planned *p, struct err *e)
{
    if (p->job->o->config.json)
        return print_json(p, e);
    print_sources(p);
    print_epoch(p);
    print_padding(p);
    print_fetch(p);
    print_cost(p);
    print_speed(p);
    print_places(p);
    return output_flush(e);
}

static int plan_run(struct data_job *j, struct err *e)
{
    const struct config *c = &j->o->config;
    struct planned p = {.job = j, .c = c};
    int64_t window_bytes = 0;
    /* A disk budget that is too small is said at the end, beside what it would have to be. */
    if (inputs_window_bytes(&j->inputs, &j->manifest, NULL, &window_bytes, &p.disk_error))
        window_bytes = 0;
    struct plan *plan = plan_new(
        &(struct plan_options){
            .manifest = &j->manifest,
            .seed = c->seed,
            .batch = c->batch,
            .is_sorted = format_is_sorted(c),
            .sorts_text = format_sorts_text(c),
            .window_shards = c->window_shards,
            .window_bytes = window_bytes,
        },
        e);
    if (!plan)
        return -1;
    log_status("looking at the data");
    struct forecast_options fo = {.plan = plan, .micros = c->accumulate};
    int rc = forecast(&p.f, &fo, e);
    if (!rc) {
        add_up(&p);
        rc = measure_speed(&p, e);
    }
    log_status_end();
    if (!rc)
        rc = report(&p, e);
    if (!rc && p.disk_error.kind) {
        *e = p.disk_error;
        rc = -1;
    }
    forecast_release(&p.f);
    plan_free(plan);
    return rc;
}

int cmd_data_plan(const struct options *o, struct err *e)
{
    struct data_job j;
    if (data_job_open(&j, o, e))
        return -1;
    int rc = plan_run(&j, e);
    data_job_close(&j);
    return rc;
}
