/* trainer_testing.h - whole runs on a tiny random model, each in a process of its own.
 *
 * MLX starts threads, and a forked child has none of its parent's: every run is a child, and the
 * test's own process never computes. */
#ifndef TRAINER_TESTING_H
#define TRAINER_TESTING_H

#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "export/hub.h"
#include "export/peft.h"
#include "nn/safetensors.h"
#include "train/trainer.h"

enum { VOCAB = 1500, RECORDS = 24 };

static char *folder, *model_path, *train_path, *runs_path;     /* paths in it */

static inline char *in_folder(const char *name)
{
    return path_join(folder, name);
}

static inline char *slurp(const char *path, size_t *size)
{
    struct err e = {0};
    char *text = file_read(path, 64 << 20, size, &e);
    assert_ok(e);
    return text;
}

static inline void spit(const char *path, const char *text, size_t size)
{
    struct err e = {0};
    assert_int_equal(file_write(path, text, size, &e), 0);
}

/* A checkpoint folder without weights, for init: random. */
static inline void make_model(void)
{
    struct err e = {0};
    char *path = path_join(model_path, "config.json");
    assert_int_equal(dir_make(model_path, &e), 0);
    json_t *config = json_read_file("tests/data/gemma4_text/config.json", 1 << 20, &e);
    assert_ok(e);
    json_put_int(config, "vocab_size", VOCAB);
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write_pretty(config, &b);
    spit(path, b.data, b.size);
    free(path);
    size_t size;
    char *tokenizer = slurp("tests/data/text/gemma.json", &size);
    path = path_join(model_path, "tokenizer.json");
    spit(path, tokenizer, size);
    free(path);
    free(tokenizer);
    buf_release(&b);
    json_decref(config);
}

static inline void make_data(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < RECORDS; i++)
        buf_printf(&b, "{\"id\":\"r%d\",\"prompt\":\"say %d\",\"completion\":\"the word is %d\"}\n",
                   i, i, i * i);
    spit(train_path, b.data, b.size);
    buf_release(&b);
}

static inline int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    model_path = in_folder("model");
    train_path = in_folder("train.jsonl");
    runs_path = in_folder("runs");
    make_model();
    make_data();
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    if (dir_remove(folder, &e))
        print_error("%s\n", e.text);
    free(folder);
    free(model_path);
    free(train_path);
    free(runs_path);
    return 0;
}

/* -------------------------------------------------------------- children -- */

/* What a run is to do besides its configuration. */
struct run {
    struct config c;
    int nan_from, nan_to;              /* steps whose targets are made useless */
    int fail_at, fail_errno;           /* the n-th changing system call fails like this ... */
    bool fail_kills;                   /* ... or kills */
    double kill_after_s;               /* the parent does it; 0: not */
    int signal, signal_at;             /* sent when the metrics have so many lines */
};

static char *adapter_targets[] = {(char *)"q_proj", (char *)"down_proj"};
static char *language[] = {(char *)"language"};

static inline struct run make_run(const char *name)
{
    return (struct run){
        .c =
            {
                .model = model_path,
                .adapter = (char *)"",
                .name = (char *)name,
                .runs = runs_path,
                .train = {&train_path, 1},
                .init = INIT_RANDOM,
                .lora = {.rank = 4,
                         .alpha = 8,
                         .dropout = 0.1,
                         .towers = {language, 1},
                         .targets = {adapter_targets, 2}},
                .steps = 12,
                .batch = 4,
                .accumulate = 1,
                .max_tokens = 128,
                .drop_rows = true,
                .learning_rate = 1e-2,
                .schedule = SCHEDULE_COSINE,
                .warmup_steps = 2,
                .beta1 = 0.9,
                .beta2 = 0.999,
                .epsilon = 1e-8,
                .clip = 1,
                .device = DEVICE_CPU,
                .seed = 7,
                .save_every = 3,
                .log_every = 1,
                .keep = 2,
                .eval_batch = 4,
                .bad_min = 10,
                .prompt = (char *)"",
                .prefetch = 2,
                .length_sorted = true,
                .config_path = (char *)"",
            },
    };
}

static const struct run *current;
static int calls;

static inline int on_call(const char *call)
{
    (void)call;
    if (++calls != current->fail_at)
        return 0;
    if (current->fail_kills)
        kill(getpid(), SIGKILL);
    return current->fail_errno;
}

static inline void spoil(int64_t step, struct batch *b)
{
    if (step < current->nan_from || step > current->nan_to)
        return;
    for (int i = 0; i < b->targets; i++)
        b->target_weights[i] = NAN;
}

static inline int export(void *arg, const struct session *s, const char *dir,
                         char sha256[HASH_HEX_SIZE], struct err *e)
{
    const struct nn_params *p = &s->model->params;
    (void)arg;
    if (current->c.method == METHOD_FULL)
        return hub_save(p, dir,
                        &(struct hub_options){.source = current->c.model, .dtype = MX_FLOAT32}, e);
    return peft_save(p, dir, &(struct peft_options){"tiny", MX_FLOAT32}, sha256, e);
}

/* In the child: train, leave what went wrong in error.txt, and how it went in the exit status. */
static inline void child(const struct run *r)
{
    struct err e = {0};
    struct train_result result;
    current = r;
    train_batch_hook = r->nan_from ? spoil : NULL;
    file_fault = r->fail_at ? on_call : NULL;
    const struct train_hooks hooks = {.export = export};
    int rc = train(&r->c, "steps: 12\n", "test", &hooks, &result, &e);
    file_fault = NULL;
    char *text = xasprintf("%s|%s|%d|%d", e.text, e.hint, rc ? 0 : result.was_finished, calls);
    char *path = in_folder("error.txt");
    struct err ignored = {0};
    int wrote = file_write(path, text, strlen(text), &ignored);
    _exit(wrote ? 99 : (int)e.kind);
}

static inline int count_lines(const char *path)
{
    if (!file_exists(path))
        return 0;
    size_t size;
    char *text = slurp(path, &size);
    int n = 0;
    for (size_t i = 0; i < size; i++)
        n += text[i] == '\n';
    free(text);
    return n;
}

/* Run a child to its end; returns its exit status, 128 + signal when it was killed. */
static inline int run(const struct run *r)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(r);
    double begun = clock_seconds();
    char *metrics = xasprintf("%s/%s/metrics.jsonl", r->c.runs, r->c.name);
    bool sent = false;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        clock_sleep(0.001);
        if (r->kill_after_s > 0 && clock_seconds() - begun > r->kill_after_s)
            kill(pid, SIGKILL);
        if (r->signal && !sent && count_lines(metrics) >= r->signal_at) {
            kill(pid, r->signal);
            sent = true;
        }
        assert_true(clock_seconds() - begun < 120);
    }
    free(metrics);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static inline char *last_error(void)
{
    char *path = in_folder("error.txt"), *text = slurp(path, NULL);
    free(path);
    return text;
}

static inline void expect_success(const struct run *r)
{
    int rc = run(r);
    if (rc) {
        char *text = last_error();
        print_error("exit %d: %s\n", rc, text);
        free(text);
    }
    assert_int_equal(rc, 0);
}

static inline char *adapter_of(const struct run *r)
{
    return xasprintf("%s/%s/adapter/adapter_model.safetensors", r->c.runs, r->c.name);
}

static inline void assert_same_adapter(const struct run *a, const struct run *b)
{
    char *pa = adapter_of(a), *pb = adapter_of(b);
    size_t na, nb;
    char *ta = slurp(pa, &na), *tb = slurp(pb, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(ta, tb, na);
    free(pa);
    free(pb);
    free(ta);
    free(tb);
}

/* Each step of the run stands in its metrics once, in order. */
static inline void assert_metrics_complete(const struct run *r)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/metrics.jsonl", r->c.runs, r->c.name);
    size_t size;
    char *text = slurp(path, &size), *line = text;
    for (int step = 1; step <= r->c.steps; step++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *o = json_read_text("metrics", line, (size_t)(end - line), &e);
        assert_ok(e);
        assert_int_equal(json_need_int(o, "step", &e), step);
        assert_ok(e);
        json_decref(o);
        line = end + 1;
    }
    assert_int_equal(*line, 0);
    free(path);
    free(text);
}

#endif
