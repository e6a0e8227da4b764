/* The folder of a run: its lock, its facts, what changed since it was begun. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "train/run.h"

static char *folder, *model, *runs;

static void put(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    folder = testing_folder();
    model = path_join(folder, "model");
    runs = path_join(folder, "runs");
    assert_int_equal(dir_make(model, &e), 0);
    put(model, "config.json", "{}");
    put(model, "model.safetensors", "weights");
    put(model, "README.md", "words");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    free(model);
    free(runs);
    return 0;
}

static struct config make_config(void)
{
    return (struct config){.model = model,
                           .adapter = (char *)"",
                           .name = (char *)"one",
                           .runs = runs,
                           .prompt = (char *)"",
                           .lora = {.rank = 4, .alpha = 8},
                           .steps = 10,
                           .batch = 2,
                           .learning_rate = 0.1,
                           .schedule = SCHEDULE_LINEAR};
}

/* Open the run with this configuration and compare it with `before`. */
static int check(const struct config *c, const json_t *before, struct err *e)
{
    struct manifest m = {.hash = "abc"};
    struct run r;
    *e = (struct err){0};
    assert_int_equal(run_open(&r, c, NULL, &m, e), 0);
    int rc = run_check_facts(&r, before, e);
    run_close(&r);
    return rc;
}

static json_t *facts_of(const struct config *c)
{
    struct err e = {0};
    struct manifest m = {.hash = "abc"};
    struct run r;
    if (run_open(&r, c, NULL, &m, &e))
        fail_msg("%s", e.text);
    json_t *facts = json_incref(r.facts);
    run_close(&r);
    return facts;
}

static void test_run__same_facts_go_on(void **state)
{
    (void)state;
    struct err e;
    struct config c = make_config();
    json_t *before = facts_of(&c);
    assert_int_equal(check(&c, before, &e), 0);
    put(model, "README.md", "other words");
    c.log_every = 3;
    c.eval_every = 7;
    assert_int_equal(check(&c, before, &e), 0);
    json_decref(before);
}

static void test_run__changed_facts_are_named(void **state)
{
    (void)state;
    struct err e;
    struct config c = make_config();
    json_t *before = facts_of(&c);
    c.lora.rank = 8;
    c.steps = 20;
    assert_int_equal(check(&c, before, &e), -1);
    assert_err(e, ERR_USAGE, "lora.rank (found 8, was 4), steps (found 20, was 10)");
    assert_non_null(strstr(e.hint, "another name"));
    c = make_config();
    put(model, "model.safetensors", "weightz");
    assert_int_equal(check(&c, before, &e), -1);
    assert_err(e, ERR_USAGE, "model (its files are others)");
    json_decref(before);
    /* A chat template may lie in any of three files. */
    before = facts_of(&c);
    put(model, "tokenizer_config.json", "{}");
    assert_int_equal(check(&c, before, &e), -1);
    assert_err(e, ERR_USAGE, "model (its files are others)");
    json_decref(before);
}

/* A file with holes, of which one MiB is not zero. */
static void put_large(const char *dir, int64_t at)
{
    char *path = path_join(dir, "model.safetensors"), *ones = malloc(1 << 20);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    memset(ones, 1, 1 << 20);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(ones, 1, 1 << 20, f), 1 << 20);
    assert_int_equal(fseek(f, 300 << 20, SEEK_SET), 0);
    assert_int_equal(fputc(0, f), 0);
    assert_int_equal(fclose(f), 0);
    free(ones);
    free(path);
}

static void test_run__any_layer_of_a_large_model_tells(void **state)
{
    (void)state;
    struct err e;
    struct config c = make_config();
    put_large(model, (200 << 20) + 12345);
    json_t *before = facts_of(&c);
    assert_int_equal(check(&c, before, &e), 0);
    put_large(model, (201 << 20) + 12345);
    assert_int_equal(check(&c, before, &e), -1);
    assert_err(e, ERR_USAGE, "model (its files are others)");
    put_large(model, (299 << 20) + 4000);                /* but for its last bytes, the end */
    assert_int_equal(check(&c, before, &e), -1);
    json_decref(before);
    put(model, "model.safetensors", "weights");
}

static void test_run__constant_rate_may_go_on_for_longer(void **state)
{
    (void)state;
    struct err e;
    struct config c = make_config();
    c.schedule = SCHEDULE_CONSTANT;
    json_t *before = facts_of(&c);
    c.steps = 20;
    assert_int_equal(check(&c, before, &e), 0);
    json_decref(before);
}

static void test_run__is_held_by_one_process(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = {.hash = "abc"};
    struct config c = make_config();
    struct run one, two;
    assert_int_equal(run_open(&one, &c, NULL, &m, &e), 0);
    assert_int_equal(run_open(&two, &c, NULL, &m, &e), -1);
    assert_int_equal(e.kind, ERR_RETRY);
    run_close(&one);
    e = (struct err){0};
    assert_int_equal(run_open(&two, &c, NULL, &m, &e), 0);
    run_close(&two);
}

static void test_run__names_stay_in_their_folder(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "../x", "a/b", ".hidden"};
    struct manifest m = {.hash = "abc"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        struct config c = make_config();
        struct run r;
        c.name = (char *)bad[i];
        assert_int_equal(run_open(&r, &c, NULL, &m, &e), -1);
        assert_err(e, ERR_USAGE, "cannot be the name of a run");
        run_close(&r);
    }
}

static void test_run__changed_conditions_and_result(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m = {.hash = "abc"};
    struct config c = make_config();
    struct run r;
    json_t *result;
    assert_int_equal(run_open(&r, &c, NULL, &m, &e), 0);
    assert_int_equal(run_result(&r, &result, &e), 0);
    run_conditions(&r, &c, "1.0");
    json_t *before = json_deep_copy(r.conditions);
    assert_null(run_changed_conditions(&r, before));
    run_conditions(&r, &c, "1.1");
    char *text = run_changed_conditions(&r, before);
    assert_string_equal(text, "attune (found \"1.1\", was \"1.0\")");
    assert_int_equal(run_describe(&r, &c, "steps: 10\n", text, &e), 0);
    free(text);
    assert_int_equal(run_finish(&r, before, &e), 0);
    assert_int_equal(run_result(&r, &result, &e), 1);
    assert_true(json_equal(result, before));
    json_decref(result);
    json_decref(before);
    char *path = path_join(r.dir, "attune.lock");
    json_t *lock = json_read_file(path, 1 << 20, &e);
    assert_non_null(lock);
    assert_string_equal(json_get_str(lock, "resume", "", &e), "approximate");
    json_decref(lock);
    free(path);
    run_close(&r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_run__same_facts_go_on),
        TEST(test_run__changed_facts_are_named),
        TEST(test_run__any_layer_of_a_large_model_tells),
        TEST(test_run__constant_rate_may_go_on_for_longer),
        TEST(test_run__is_held_by_one_process),
        TEST(test_run__names_stay_in_their_folder),
        TEST(test_run__changed_conditions_and_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
