/* Whole runs on a tiny random model: killed, stopped, damaged, and gone on with. */
#include "trainer_testing.h"

/* ----------------------------------------------------------------- tests -- */

static struct run undisturbed;
static double undisturbed_s;           /* how long it took */

static void test_trainer__runs_and_is_finished(void **state)
{
    (void)state;
    undisturbed = make_run("undisturbed");
    double begun = clock_seconds();
    expect_success(&undisturbed);
    undisturbed_s = clock_seconds() - begun;
    assert_metrics_complete(&undisturbed);
    expect_success(&undisturbed);
    char *text = last_error();
    assert_string_equal(text, "||1|0");         /* finished before */
    free(text);
    /* The same seed gives the same bytes, another seed others. */
    struct run again = make_run("again");
    expect_success(&again);
    assert_same_adapter(&undisturbed, &again);
}

static void test_trainer__loss_falls(void **state)
{
    (void)state;
    struct run r = make_run("falls");
    r.c.steps = 60;
    r.c.schedule = SCHEDULE_CONSTANT;
    r.c.lora.dropout = 0;
    r.c.save_every = 60;
    expect_success(&r);
    struct err e = {0};
    char *path = xasprintf("%s/falls/metrics.jsonl", r.c.runs);
    size_t size;
    char *text = slurp(path, &size);
    double first = 0, last = 0;
    int n = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        json_t *o = json_read_text("metrics", line, (size_t)(end - line), &e);
        double loss = json_need_double(o, "loss", &e);
        first += n < 5 ? loss / 5 : 0;
        last += n >= 55 ? loss / 5 : 0;
        json_decref(o);
    }
    assert_ok(e);
    if (!(last < 0.9 * first))
        fail_msg("loss %g at the start, %g at the end", first, last);
    free(path);
    free(text);
}

static void test_trainer__killed_at_any_moment_ends_with_the_same_bytes(void **state)
{
    (void)state;
    char name[32];
    unsigned random = 12345;
    int kills = 0;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "killed-%d", i);
        struct run r = make_run(name);
        int rc, n = 0;
        do {
            random = random * 1103515245u + 12345u;
            double part = (double)(random >> 16 & 0x7fff) / 0x8000;
            r.kill_after_s = n++ < 25 ? 0.01 + part * undisturbed_s : 0;
            rc = run(&r);
            assert_true(rc == 0 || rc == 128 + SIGKILL);
            kills += rc != 0;
        } while (rc);
        assert_same_adapter(&undisturbed, &r);
        assert_metrics_complete(&r);
    }
    assert_true(kills > 0);
}

/* Every system call that changes a file, one after the other, is the last of a process. */
static void test_trainer__killed_at_call_n_for_every_n(void **state)
{
    (void)state;
    int rc, n = 1;
    struct run r = make_run("calls");
    r.c.steps = 12;
    do {
        r.fail_at = n;
        r.fail_kills = true;
        rc = run(&r);
        assert_true(rc == 0 || rc == 128 + SIGKILL);
        n += 3;
        if (n > 60)
            n = 100000;
    } while (rc);
    assert_same_adapter(&undisturbed, &r);
    assert_metrics_complete(&r);
}

static void test_trainer__stops_on_signals_and_goes_on(void **state)
{
    (void)state;
    struct run r = make_run("signals");
    r.signal = SIGINT;
    r.signal_at = 2;
    int rc = run(&r);
    assert_int_equal(rc, 130);
    char *text = last_error();
    assert_non_null(strstr(text, "stopped after step"));
    assert_non_null(strstr(text, "progress is saved"));
    free(text);
    r.signal = SIGTERM;
    r.signal_at = 5;
    rc = run(&r);
    assert_int_equal(rc, 143);
    r.signal = 0;
    expect_success(&r);
    assert_same_adapter(&undisturbed, &r);
    assert_metrics_complete(&r);
}

static void test_trainer__changed_settings_are_named(void **state)
{
    (void)state;
    struct run r = make_run("undisturbed");
    r.c.learning_rate = 2e-2;
    r.c.batch = 2;
    assert_int_equal(run(&r), ERR_USAGE);
    char *text = last_error();
    assert_non_null(strstr(text, "batch (found 2, was 4)"));
    assert_non_null(strstr(text, "learning_rate (found 0.02, was 0.01)"));
    assert_null(strstr(text, "clip"));
    free(text);
    /* What does not enter the mathematics may change. */
    r = make_run("undisturbed");
    r.c.log_every = 5;
    r.c.keep = 3;
    expect_success(&r);
}

/* What a checkpoint holds beside weights and moments is a few numbers and the facts. */
static void test_trainer__state_is_small(void **state)
{
    (void)state;
    struct err e = {0};
    char *long_targets[200];
    for (int i = 0; i < 200; i++)
        long_targets[i] = (char *)(i ? "layers.0.self_attn.q_proj" : "q_proj");
    struct run r = make_run("small-state");
    r.c.lora.targets = (struct string_list){long_targets, 200};
    expect_success(&r);
    char *path = xasprintf("%s/small-state/ckpt/%06d/state.json", runs_path, r.c.steps);
    size_t size;
    char *text = slurp(path, &size);
    assert_true(size < 4096);
    json_t *o = json_read_text("state.json", text, size, &e);
    const json_t *data = json_need_object(o, "data", &e);
    /* 24 records, 4 a step: 12 steps are two epochs. */
    assert_int_equal(json_need_int(data, "epoch", &e), 2);
    assert_int_equal(json_need_int(data, "batch", &e), 0);
    assert_ok(e);
    json_decref(o);
    free(text);
    free(path);
}

static void test_trainer__changed_data_are_named(void **state)
{
    (void)state;
    char *path = in_folder("other.jsonl");
    size_t size;
    char *text = slurp(train_path, &size);
    spit(path, text, size);
    struct run r = make_run("drift");
    r.c.train = (struct string_list){&path, 1};
    r.c.schedule = SCHEDULE_CONSTANT;
    r.c.steps = 3;
    expect_success(&r);
    text[size - 1] = ' ';
    char *more = xasprintf("%s\n{\"prompt\":\"a\",\"completion\":\"b\"}\n", text);
    spit(path, more, strlen(more));
    r.c.steps = 6;
    assert_int_equal(run(&r), ERR_USAGE);
    char *error = last_error();
    assert_non_null(strstr(error, "was begun with another configuration: train ("));
    assert_non_null(strstr(error, "other.jsonl is another version ("));
    free(error);
    free(more);
    free(text);
    free(path);
}

static void test_trainer__a_bad_step_changes_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct run r = make_run("one-bad-step");
    r.nan_from = 5;
    r.nan_to = 6;
    expect_success(&r);
    char *path = adapter_of(&r);
    struct safetensors *s = safetensors_open(path, &e);
    assert_ok(e);
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        assert_int_equal(t->dtype, MX_FLOAT32);
        for (uint64_t k = 0; k < t->bytes / sizeof(float); k++) {
            float v;
            memcpy(&v, (const char *)t->data + k * sizeof v, sizeof v);
            assert_true(isfinite(v));
        }
    }
    safetensors_close(s);
    free(path);
    path = xasprintf("%s/one-bad-step/metrics.jsonl", r.c.runs);
    char *text = slurp(path, NULL);
    char *line = strstr(text, "{\"step\":5,\"loss\":null");
    assert_non_null(line);
    assert_non_null(strstr(line, "\"skipped\":true"));
    free(text);
    free(path);
}

static void test_trainer__three_bad_steps_end_the_run(void **state)
{
    (void)state;
    struct run r = make_run("bad-steps");
    r.nan_from = 5;
    r.nan_to = 99;
    assert_int_equal(run(&r), ERR_NONFINITE);
    char *text = last_error();
    assert_non_null(strstr(text, "step 7: loss or gradients are not finite"));
    assert_non_null(strstr(text, "records r"));
    free(text);
}

/* The newest whole checkpoint that the run has. */
static char *newest(const struct run *r)
{
    struct err e = {0};
    struct dir_list l;
    char *path = xasprintf("%s/%s/ckpt", r->c.runs, r->c.name), *found = NULL;
    assert_int_equal(dir_list_read(&l, path, &e), 0);
    for (size_t i = 0; i < l.count; i++) {
        if (l.names[i][0] < '0' || l.names[i][0] > '9')
            continue;
        free(found);
        found = path_join(path, l.names[i]);
    }
    dir_list_release(&l);
    free(path);
    assert_non_null(found);
    return found;
}

static void test_trainer__full_disk_leaves_the_old_checkpoint(void **state)
{
    (void)state;
    struct run r = make_run("full");
    /* Find out how many calls the whole run makes, then fail in the middle of it, again and again,
     * going on with a disk that is full a little later each time. */
    int rc, n = 40, failures = 0;
    do {
        r.fail_at = n;
        r.fail_errno = ENOSPC;
        rc = run(&r);
        if (rc) {
            char *text = last_error();
            if (rc != ERR_SPACE || !strstr(text, "space"))
                fail_msg("exit %d: %s", rc, text);
            free(text);
            failures++;
        }
        n += 17;
    } while (rc && failures < 12);
    assert_true(failures > 1);
    r.fail_at = 0;
    expect_success(&r);
    assert_same_adapter(&undisturbed, &r);
    assert_metrics_complete(&r);
}

static void test_trainer__damaged_checkpoint_is_put_aside(void **state)
{
    (void)state;
    struct run r = make_run("damaged");
    r.signal = SIGINT;
    r.signal_at = 8;
    assert_int_equal(run(&r), 130);
    r.signal = 0;
    char *dir = newest(&r), *path = path_join(dir, "optimizer.safetensors");
    size_t size;
    char *bytes = slurp(path, &size);
    bytes[size - 10] ^= 1;
    spit(path, bytes, size);
    expect_success(&r);
    assert_same_adapter(&undisturbed, &r);
    char *aside = xasprintf("%s/damaged/ckpt/damaged-%s", r.c.runs, path_base(dir));
    assert_true(file_is_dir(aside));
    free(aside);
    free(bytes);
    free(path);
    free(dir);
}

static void test_trainer__keeps_so_many_checkpoints(void **state)
{
    (void)state;
    struct err e = {0};
    struct dir_list l;
    char *path = xasprintf("%s/undisturbed/ckpt", undisturbed.c.runs);
    assert_int_equal(dir_list_read(&l, path, &e), 0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.names[0], "000009");
    assert_string_equal(l.names[1], "000012");
    dir_list_release(&l);
    free(path);
}

static void test_trainer__a_run_is_trained_by_one_process(void **state)
{
    (void)state;
    struct err e = {0};
    struct run r = make_run("locked");
    char *dir = xasprintf("%s/locked", r.c.runs), *path = path_join(dir, "lock");
    assert_int_equal(dir_make(dir, &e), 0);
    int lock = file_lock(path, &e);
    assert_true(lock >= 0);
    assert_int_equal(run(&r), ERR_RETRY);
    file_unlock(lock);
    free(path);
    free(dir);
}

static void test_trainer__full_training_survives_kills(void **state)
{
    (void)state;
    struct run whole = make_run("whole"), cut = make_run("cut");
    whole.c.method = cut.c.method = METHOD_FULL;
    whole.c.steps = cut.c.steps = 6;
    expect_success(&whole);
    cut.signal = SIGTERM;
    cut.signal_at = 3;
    assert_int_equal(run(&cut), 143);
    cut.signal = 0;
    expect_success(&cut);
    size_t na, nb;
    char *pa = xasprintf("%s/whole/model/model.safetensors", whole.c.runs);
    char *pb = xasprintf("%s/cut/model/model.safetensors", cut.c.runs);
    char *a = slurp(pa, &na), *b = slurp(pb, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    free(pa);
    free(pb);
    free(a);
    free(b);
}

/* The last system calls of a run, which write its result: a process ends at each of them. */
static void check_kills_at_the_end(enum train_method method, const char *file)
{
    struct run whole = make_run(method == METHOD_FULL ? "end-full" : "end-lora");
    whole.c.method = method;
    whole.c.steps = 3;
    whole.fail_at = 1 << 20;           /* only counts */
    expect_success(&whole);
    char *text = last_error(), *path = xasprintf("%s/%s/%s", runs_path, whole.c.name, file);
    int all = atoi(strrchr(text, '|') + 1);
    size_t size, cut_size;
    char *want = slurp(path, &size);
    free(text);
    free(path);
    for (int n = all > 20 ? all - 20 : 1; n <= all; n++) {
        struct run cut = whole;
        char *name = xasprintf("%s-%d", whole.c.name, n);
        cut.c.name = name;
        cut.fail_at = n;
        cut.fail_kills = true;
        assert_int_equal(run(&cut), 128 + SIGKILL);
        cut.fail_kills = false;
        cut.fail_at = 0;
        expect_success(&cut);
        path = xasprintf("%s/%s/%s", runs_path, name, file);
        char *found = slurp(path, &cut_size);
        assert_int_equal(cut_size, size);
        assert_memory_equal(found, want, size);
        free(found);
        free(path);
        free(name);
    }
    free(want);
}

static void test_trainer__killed_while_writing_the_result(void **state)
{
    (void)state;
    check_kills_at_the_end(METHOD_LORA, "adapter/adapter_model.safetensors");
    check_kills_at_the_end(METHOD_FULL, "model/model.safetensors");
}

static void test_trainer__prefetch_and_threads_change_nothing(void **state)
{
    (void)state;
    struct run few = make_run("prefetch-1"), many = make_run("prefetch-9");
    few.c.prefetch = 1;
    many.c.prefetch = 9;
    expect_success(&few);
    expect_success(&many);
    assert_same_adapter(&undisturbed, &few);
    assert_same_adapter(&undisturbed, &many);
}

static struct safetensors *open_weights(const char *model)
{
    struct err e = {0};
    struct safetensors *s = safetensors_open(model, &e);
    assert_ok(e);
    return s;
}

/* Tensors of the saved model whose bytes are not the source's, in an audio tower or not. */
static int count_changed(const struct run *r, bool in_audio)
{
    char *saved = xasprintf("%s/%s/model", runs_path, r->c.name);
    struct safetensors *a = open_weights(r->c.model), *b = open_weights(saved);
    int n = 0;
    assert_int_equal(safetensors_count(a), safetensors_count(b));
    for (int i = 0; i < safetensors_count(a); i++) {
        const struct safetensors_tensor *t = safetensors_at(a, i);
        const struct safetensors_tensor *u = safetensors_find(b, t->name);
        assert_non_null(u);
        if ((strstr(t->name, "audio") != NULL) == in_audio)
            n += u->bytes != t->bytes || memcmp(u->data, t->data, t->bytes) != 0;
    }
    safetensors_close(a);
    safetensors_close(b);
    free(saved);
    return n;
}

/* Text alone leaves the audio tower unread, and saves it as it was; so do towers that are not
 * asked for. */
static void test_trainer__full_training_of_towers(void **state)
{
    (void)state;
    char language_only[] = "language", audio[] = "audio", *towers[] = {language_only, audio};
    struct run r = make_run("text-alone");
    r.c.method = METHOD_FULL;
    r.c.init = INIT_CHECKPOINT;
    r.c.model = (char *)"tests/data/score/model";
    r.c.steps = 2;
    r.c.weight_decay = 0.1;
    expect_success(&r);
    assert_true(count_changed(&r, false) > 0);
    assert_int_equal(count_changed(&r, true), 0);
    r.c.name = (char *)"audio-tower";
    r.c.full.towers = (struct string_list){towers + 1, 1};
    expect_success(&r);
    assert_int_equal(count_changed(&r, false), 0);
    assert_true(count_changed(&r, true) > 0);            /* decayed: no clip gave a gradient */
    r.c.name = (char *)"text-alone";
    r.c.full.towers = (struct string_list){towers, 2};
    assert_int_equal(run(&r), ERR_USAGE);
    char *text = last_error();
    assert_non_null(strstr(text, "full.towers (found [\"language\",\"audio\"], was [])"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trainer__runs_and_is_finished),
        cmocka_unit_test(test_trainer__keeps_so_many_checkpoints),
        cmocka_unit_test(test_trainer__loss_falls),
        cmocka_unit_test(test_trainer__killed_at_any_moment_ends_with_the_same_bytes),
        cmocka_unit_test(test_trainer__killed_at_call_n_for_every_n),
        cmocka_unit_test(test_trainer__stops_on_signals_and_goes_on),
        cmocka_unit_test(test_trainer__changed_settings_are_named),
        cmocka_unit_test(test_trainer__state_is_small),
        cmocka_unit_test(test_trainer__changed_data_are_named),
        cmocka_unit_test(test_trainer__a_bad_step_changes_nothing),
        cmocka_unit_test(test_trainer__three_bad_steps_end_the_run),
        cmocka_unit_test(test_trainer__full_disk_leaves_the_old_checkpoint),
        cmocka_unit_test(test_trainer__damaged_checkpoint_is_put_aside),
        cmocka_unit_test(test_trainer__a_run_is_trained_by_one_process),
        cmocka_unit_test(test_trainer__full_training_survives_kills),
        cmocka_unit_test(test_trainer__killed_while_writing_the_result),
        cmocka_unit_test(test_trainer__prefetch_and_threads_change_nothing),
        cmocka_unit_test(test_trainer__full_training_of_towers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
