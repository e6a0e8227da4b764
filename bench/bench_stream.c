/* bench_stream.c - how fast samples come out of a bucket, as JSON, for stream.py.
 *
 *     bench_stream MODE PATTERN [KEY=VALUE...]
 *
 * MODE   fetch     objects to the disk, checked: nothing else
 *        raw       records and the bytes of their clips, in the order of a shuffled plan
 *        decode    the same, and the clips decoded to 16 kHz
 *        batches   what training gets: mel features, tokens, padded batches (needs model=)
 *
 *     from=0.9           begin at this part of an epoch (0)
 *     samples=N          stop after so many (one epoch)
 *     batch=16  threads=2  connections=8  ahead=8  shards=32 (of a window)
 *     disk=4096          MiB
 *     cache=DIR          where fetched files lie
 *     model=DIR          checkpoint whose tokenizer and mel settings MODE batches uses
 *     pace=X             a step takes as long as its sound divided by X
 *
 * "first_s" runs from the start of the program to the first batch, "seconds" to the end.  "starved"
 * are the steps behind the first that had to wait for more than 1 ms.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "data/loader.h"
#include "data/manifest.h"
#include "data/plan.h"
#include "data/spool.h"
#include "media/audio.h"
#include "net/net.h"
#include "text/tokenizer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 64, FILES_MAX = 4096, SEED = 1 };

enum mode { FETCH, RAW, DECODE, BATCHES };

struct settings {
    enum mode mode;
    char *pattern;
    const char *cache, *model;
    double from, samples, batch, threads, connections, ahead, shards, disk, pace;
};

struct result {
    double started, first_s;
    int64_t samples, bytes, steps, starved;
    double audio_s, waited_s, padding;
};

struct bench {
    struct settings s;
    struct net *net;
    struct spool *spool;
    struct manifest manifest;
    struct plan *plan;
    struct result r;
};

static int open_data(struct bench *b, struct err *e)
{
    const struct settings *s = &b->s;
    b->net = net_open(&(struct net_options){.connections = (int)s->connections});
    b->spool = spool_open(&(struct spool_options){.net = b->net,
                                                  .dir = s->cache,
                                                  .bytes_max = (int64_t)s->disk << 20,
                                                  .connections = (int)s->connections},
                          e);
    struct manifest_options o = {
        .patterns = &b->s.pattern, .pattern_count = 1, .net = b->net, .spool = b->spool};
    if (!b->spool || manifest_open(&b->manifest, &o, e))
        return -1;
    b->plan = plan_new(&(struct plan_options){.manifest = &b->manifest,
                                              .seed = SEED,
                                              .batch = (int)s->batch,
                                              .is_sorted = true,
                                              .window_shards = (int)s->shards,
                                              .window_bytes = (int64_t)(s->disk / 2) << 20},
                       e);
    return b->plan ? 0 : -1;
}

static void close_data(struct bench *b)
{
    plan_free(b->plan);
    manifest_release(&b->manifest);
    spool_close(b->spool);
    net_close(b->net);
}

static double since_start(const struct bench *b)
{
    return clock_seconds() - b->r.started;
}

/* The window where the part `from` of an epoch begins, by bytes of shards, and the part of it. */
static int64_t find_start(const struct bench *b, double *inside)
{
    int64_t window = 0, count = plan_windows(b->plan, 0);
    double left = b->s.from * (double)b->manifest.bytes;
    for (; window < count - 1; window++) {
        int32_t files[FILES_MAX];
        int n = plan_window_files(b->plan, 0, window, files, FILES_MAX);
        double size = 0;
        for (int i = 0; i < n && i < FILES_MAX; i++)
            size += (double)b->manifest.files[files[i]].object.size;
        *inside = left / size;
        if (left < size)
            return window;
        left -= size;
    }
    *inside = 0;
    return window;
}

/* ------------------------------------------------------------------ fetch -- */

static int fetch_all(struct bench *b, struct err *e)
{
    for (int64_t i = 0; i < b->manifest.file_count; i++)
        spool_want(b->spool, &b->manifest.files[i].object);
    for (int64_t i = 0; i < b->manifest.file_count; i++) {
        const struct object *o = &b->manifest.files[i].object;
        int64_t size;
        char *path;
        if (spool_take(b->spool, o, &path, &size, e))
            return -1;
        if (!i)
            b->r.first_s = since_start(b);
        b->r.bytes += size;
        b->r.samples++;
        free(path);
        spool_give(b->spool, o);
    }
    return 0;
}

/* -------------------------------------------------------------- raw, decode -- */

/* A window, its shards as open files, and the threads that go through its records. */
struct walk {
    struct bench *b;
    struct plan_window w;
    int fds[FILES_MAX];
    double inside;                         /* where the first window begins */
    pthread_mutex_t lock;                  /* of everything below */
    int64_t at;                            /* record that is taken next */
    struct err e;                          /* the first failure */
};

struct place {
    int fd;
};

static int read_shard(void *arg, int64_t offset, void *out, size_t size, struct err *e)
{
    const struct place *p = arg;
    ssize_t n = pread(p->fd, out, size, (off_t)offset);
    return n == (ssize_t)size ? 0 : err_set(e, ERR_DATA, "found %zd bytes, expected %zu", n, size);
}

static int use_clip(const struct walk *k, const struct record_media *m, struct place *p,
                    int64_t *bytes, double *audio_s, struct err *e)
{
    struct audio a = {0};
    if (!m->member)
        return err_set(e, ERR_DATA, "%s is no member of its shard", m->name);
    char *data = xmalloc((size_t)m->member->size);
    int failed = read_shard(p, m->member->offset, data, (size_t)m->member->size, e);
    if (!failed && k->b->s.mode == DECODE)
        failed = audio_decode(&a, data, (size_t)m->member->size, NULL, e);
    *bytes += m->member->size;
    *audio_s += (double)a.count / AUDIO_RATE;
    audio_release(&a);
    free(data);
    return failed;
}

static int use_record(struct walk *k, int64_t i, int64_t *bytes, double *audio_s, struct err *e)
{
    const struct record_ref *ref = &k->w.records[i];
    struct place p = {-1};
    struct record r;
    for (int s = 0; s < k->w.shard_count; s++)
        if (k->w.files[s] == ref->file)
            p.fd = k->fds[s];
    if (manifest_record(&k->b->manifest, ref, read_shard, &p, NULL, &r, e))
        return -1;
    int failed = 0;
    for (int m = 0; m < r.media_count && !failed; m++)
        failed = use_clip(k, &r.media[m], &p, bytes, audio_s, e);
    record_release(&r);
    return failed;
}

static void *walk_records(void *arg)
{
    struct walk *k = arg;
    struct result *r = &k->b->r;
    pthread_mutex_lock(&k->lock);
    while (k->at < k->w.count && !k->e.kind && (double)r->samples < k->b->s.samples) {
        int64_t i = k->at++, bytes = 0;
        double audio_s = 0;
        struct err e = {0};
        pthread_mutex_unlock(&k->lock);
        int failed = use_record(k, i, &bytes, &audio_s, &e);
        pthread_mutex_lock(&k->lock);
        if (failed && !k->e.kind)
            k->e = e;
        r->bytes += bytes;
        r->audio_s += audio_s;
        if (++r->samples == (int64_t)k->b->s.batch)
            r->first_s = since_start(k->b);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void want(struct bench *b, int64_t window, bool is_wanted)
{
    int32_t files[FILES_MAX];
    if (window >= plan_windows(b->plan, 0))
        return;
    int n = plan_window_files(b->plan, 0, window, files, FILES_MAX);
    for (int i = 0; i < n; i++) {
        const struct object *o = &b->manifest.files[files[i]].object;
        if (is_wanted)
            spool_want(b->spool, o);
        else
            spool_give(b->spool, o);
    }
}

static int walk_window(struct bench *b, struct walk *k, int64_t window, struct err *e)
{
    pthread_t threads[THREADS_MAX];
    int count = (int)b->s.threads, failed = 0;
    if (plan_window_open(&k->w, b->plan, 0, window, e))
        return -1;
    for (int i = 0; i < k->w.shard_count; i++) {
        char *path;
        k->fds[i] = -1;
        if (failed ||
            spool_take(b->spool, &b->manifest.files[k->w.files[i]].object, &path, NULL, e)) {
            failed = -1;
            continue;
        }
        k->fds[i] = open(path, O_RDONLY);
        free(path);
    }
    k->at = b->r.samples ? 0 : (int64_t)(k->inside * (double)k->w.count);
    for (int i = 0; i < count && !failed; i++)
        pthread_create(&threads[i], NULL, walk_records, k);
    for (int i = 0; i < count && !failed; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < k->w.shard_count; i++)
        if (k->fds[i] >= 0)
            close(k->fds[i]);
    plan_window_release(&k->w);
    if (k->e.kind)
        *e = k->e;
    return failed || k->e.kind ? -1 : 0;
}

static int walk_all(struct bench *b, struct err *e)
{
    struct walk *k = xcalloc(1, sizeof *k);
    int64_t count = plan_windows(b->plan, 0), first = find_start(b, &k->inside);
    int failed = 0;
    k->b = b;
    pthread_mutex_init(&k->lock, NULL);
    want(b, first, true);
    for (int64_t w = first; w < count && !failed && (double)b->r.samples < b->s.samples; w++) {
        want(b, w + 1, true);
        failed = walk_window(b, k, w, e);
        want(b, w, false);
    }
    pthread_mutex_destroy(&k->lock);
    free(k);
    return failed;
}

/* ---------------------------------------------------------------- batches -- */

struct tools {
    struct tokenizer *tokenizer;
    struct chat_format chat;
    struct mel *mel;
    struct data_format format;
};

static int open_tools(struct tools *t, const struct bench *b, struct err *e)
{
    struct mel_config c;
    t->tokenizer = tokenizer_open(b->s.model, e);
    if (!t->tokenizer || chat_format_open(&t->chat, b->s.model, t->tokenizer, e) ||
        mel_config_read(&c, b->s.model, e))
        return -1;
    t->mel = mel_new(&c, e);
    t->format = (struct data_format){.chat = &t->chat, .net = b->net, .mel = t->mel};
    return t->mel ? 0 : -1;
}

static struct loader *start_loader(struct bench *b, const struct tools *t, struct err *e)
{
    double inside;
    int64_t steps = plan_steps(b->plan, 0), window = find_start(b, &inside);
    struct loader_options o = {.plan = b->plan,
                               .format = &t->format,
                               .spool = b->spool,
                               .from = {.window = window},
                               .end_step = steps > 0 ? steps : 1 << 30,
                               .threads = (int)b->s.threads,
                               .ahead = (int)b->s.ahead};
    return loader_open(&o, e);
}

static void count_step(struct bench *b, const struct loader_step *s)
{
    struct result *r = &b->r;
    double begun = clock_seconds();
    for (int i = 0; i < s->count; i++) {
        r->samples += s->micros[i].rows;
        r->bytes += (int64_t)s->micros[i].clips * s->micros[i].frames * s->micros[i].bins * 4;
    }
    r->audio_s += s->audio_s;
    r->padding += s->padding;
    if (!r->steps++) {
        r->first_s = since_start(b);
    } else {
        r->waited_s += s->waited_s;
        r->starved += s->waited_s > 0.001;
    }
    double early_s = b->s.pace > 0 ? begun + s->audio_s / b->s.pace - clock_seconds() : 0;
    if (early_s > 0)
        clock_sleep(early_s);
}

static int load_all(struct bench *b, struct err *e)
{
    struct tools t = {0};
    struct loader *l = NULL;
    int got = -1;
    if (!open_tools(&t, b, e))
        l = start_loader(b, &t, e);
    while (l) {
        struct loader_step s;
        got = loader_next(l, &s, e);
        if (got != 1)
            break;
        bool ends = s.next.epoch > 0;
        count_step(b, &s);
        loader_step_release(&s);
        if (ends || (double)b->r.samples >= b->s.samples)
            break;
    }
    loader_close(l);
    mel_free(t.mel);
    tokenizer_free(t.tokenizer);
    return got < 0 ? -1 : 0;
}

/* ------------------------------------------------------------------- main -- */

static int read_settings(struct settings *s, int argc, char **argv)
{
    static const char *const modes[] = {"fetch", "raw", "decode", "batches"};
    const struct {
        const char *name;
        double *number;
    } keys[] = {
        {"from", &s->from},       {"samples", &s->samples}, {"batch", &s->batch},
        {"threads", &s->threads}, {"ahead", &s->ahead},     {"connections", &s->connections},
        {"disk", &s->disk},       {"shards", &s->shards},   {"pace", &s->pace}};
    bool is_known = false;
    for (int i = 0; argc > 2 && i < 4; i++)
        if (!strcmp(argv[1], modes[i])) {
            s->mode = (enum mode)i;
            is_known = true;
        }
    for (int i = 3; i < argc && is_known; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return -1;
        *value++ = 0;
        is_known = false;
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            if (!strcmp(argv[i], keys[k].name)) {
                *keys[k].number = strtod(value, NULL);
                is_known = true;
            }
        if (!strcmp(argv[i], "cache"))
            s->cache = value;
        else if (!strcmp(argv[i], "model"))
            s->model = value;
        else if (!is_known)
            return -1;
        is_known = true;
    }
    if (!is_known || s->threads > THREADS_MAX)
        return -1;
    s->pattern = argv[2];
    return 0;
}

static void print_result(const struct bench *b, double seconds)
{
    struct net_stats n;
    struct spool_stats d;
    const struct result *r = &b->r;
    net_stats(b->net, &n);
    spool_stats(b->spool, &d);
    printf("{\"samples\":%lld,\"bytes\":%lld,\"seconds\":%.4f,\"first_s\":%.4f,\"audio_s\":%.2f,"
           "\"steps\":%lld,\"starved\":%lld,\"waited_s\":%.4f,\"padding\":%.5f,\"requests\":%lld,"
           "\"net_bytes\":%lld,\"retries\":%lld,\"hedges\":%lld,\"disk_peak\":%lld}\n",
           (long long)r->samples, (long long)r->bytes, seconds, r->first_s, r->audio_s,
           (long long)r->steps, (long long)r->starved, r->waited_s,
           r->steps ? r->padding / (double)r->steps : 0, (long long)n.requests, (long long)n.bytes,
           (long long)n.retries, (long long)n.hedges, (long long)d.disk_peak);
}

int main(int argc, char **argv)
{
    struct bench b = {.r.started = clock_seconds()};
    struct err e = {0};
    b.s = (struct settings){.samples = 1e15,
                            .batch = 16,
                            .threads = 2,
                            .connections = 8,
                            .ahead = 8,
                            .shards = 32,
                            .disk = 4096,
                            .model = "demo/model"};
    if (read_settings(&b.s, argc, argv)) {
        fprintf(stderr, "usage: bench_stream fetch|raw|decode|batches PATTERN [KEY=VALUE...]\n");
        return 2;
    }
    char *fallback = b.s.cache ? NULL : spool_default_dir();
    b.s.cache = b.s.cache ? b.s.cache : fallback;
    int failed = open_data(&b, &e);
    if (!failed && b.s.mode == FETCH)
        failed = fetch_all(&b, &e);
    else if (!failed && b.s.mode == BATCHES)
        failed = load_all(&b, &e);
    else if (!failed)
        failed = walk_all(&b, &e);
    double seconds = since_start(&b);
    if (failed)
        fprintf(stderr, "bench_stream: %s\n", e.text);
    else
        print_result(&b, seconds);
    close_data(&b);
    free(fallback);
    return failed ? 1 : 0;
}
