/* Checkpoints: round trip, every kind of damage, every call that can fail. */
#include "testing.h"

#include <errno.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/log.h"
#include "nn/bind.h"
#include "train/checkpoint.h"

struct fixture {
    char *dir;
    struct nn_params params;
    struct nn_adamw adamw;
    json_t *state;
};

static void fill(mx_array slot, double v)
{
    mx_enter();
    mx_set(slot, mx_shift(mx_zeros_like(slot), v));
    mx_leave(MX_NONE);
}

static void values(struct fixture *f, double v)
{
    for (int i = 0; i < 2; i++)
        fill(f->params.at[i].slot, v + i);
    for (int i = 0; i < 4; i++)
        fill(f->adamw.state[i], 10 * v + i);
}

static void expect_values(struct fixture *f, double v)
{
    struct err e = {0};
    for (int i = 0; i < 6; i++) {
        double got, want = i < 2 ? v + i : 10 * v + i - 2;
        mx_enter();
        mx_array x = i < 2 ? f->params.at[i].slot : f->adamw.state[i - 2];
        assert_int_equal(mx_item(mx_max(mx_flatten(x, 0, -1), 0, false), &got, &e), 0);
        mx_leave(MX_NONE);
        assert_near(got, want, 1e-6);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = testing_folder();
    mx_enter();
    nn_params_add(&f->params, "b", "language", mx_slot(mx_zeros(MX_FLOAT32, 3, 2)), NN_ADAPTER);
    nn_params_add(&f->params, "a", "language", mx_slot(mx_zeros(MX_FLOAT32, 4)), NN_ADAPTER);
    mx_leave(MX_NONE);
    f->params.at[0].trainable = f->params.at[1].trainable = true;
    nn_params_sort(&f->params);
    struct nn_adamw_config c = {.beta1 = 0.9, .beta2 = 0.999};
    mx_enter();
    nn_adamw_init(&f->adamw, nn_trainable(&f->params, ""), NULL, &c);
    mx_leave(MX_NONE);
    f->state = json_object();
    json_put_str(f->state, "hello", "world");
    log_set_level(LOG_LEVEL_ERROR);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    file_fault = NULL;
    nn_adamw_release(&f->adamw);
    nn_params_release(&f->params);
    json_decref(f->state);
    assert_int_equal(dir_remove(f->dir, &e), 0);
    free(f->dir);
    free(f);
    assert_int_equal(mx_live(), 0);
    return 0;
}

static void save(struct fixture *f, int step)
{
    struct err e = {0};
    values(f, step);
    if (checkpoint_save(f->dir, step, &f->params, &f->adamw, f->state, &e))
        fail_msg("%s", e.text);
}

/* The newest whole checkpoint is that of `step` (0: there is none), and holds its values. */
static void expect_newest(struct fixture *f, int step)
{
    struct err e = {0};
    char *path;
    json_t *state;
    int found = checkpoint_find(f->dir, &path, &state, &e);
    assert_ok(e);
    assert_int_equal(found, step != 0);
    if (!found)
        return;
    assert_string_equal(json_get_str(state, "hello", "", &e), "world");
    values(f, -1);
    if (checkpoint_load(path, &f->params, &f->adamw, &e))
        fail_msg("%s", e.text);
    expect_values(f, step);
    free(path);
    json_decref(state);
}

static char *file_of(struct fixture *f, int step, const char *name)
{
    char *path = malloc(1000);
    snprintf(path, 1000, "%s/ckpt/%06d/%s", f->dir, step, name);
    return path;
}

static void test_checkpoint__round_trip_and_prune(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    expect_newest(f, 0);
    for (int step = 5; step <= 20; step += 5)
        save(f, step);
    save(f, 15);                                /* once more: replaced */
    expect_newest(f, 20);
    assert_int_equal(checkpoint_prune(f->dir, 2, -1, &e), 0);
    char *old = file_of(f, 10, "");
    assert_false(file_exists(old));
    free(old);
    expect_newest(f, 20);
}

static const char *const names[] = {"weights.safetensors", "optimizer.safetensors", "state.json",
                                    "manifest.json"};

static void test_checkpoint__every_damaged_file_is_found(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    save(f, 1);
    for (int i = 0; i < 4; i++) {
        for (int kind = 0; kind < 3; kind++) {
            save(f, 2);
            char *path = file_of(f, 2, names[i]);
            size_t size;
            char *bytes = file_read(path, 1 << 20, &size, &e);
            assert_non_null(bytes);
            bytes[size / 2] ^= 4;
            if (kind == 0)
                assert_int_equal(file_write(path, bytes, size, &e), 0);
            else if (kind == 1)
                assert_int_equal(file_write(path, bytes, size / 3, &e), 0);
            else
                assert_int_equal(file_remove(path, &e), 0);
            expect_newest(f, 1);
            free(bytes);
            free(path);
        }
    }
}

static int calls, fail_at;

static int on_call(const char *call)
{
    (void)call;
    return ++calls == fail_at ? ENOSPC : 0;
}

/* Whichever call fails, the save says so, and the checkpoint before is still there. */
static void test_checkpoint__every_failing_call_leaves_the_old_one(void **state)
{
    struct fixture *f = *state;
    save(f, 1);
    for (fail_at = 1;; fail_at++) {
        struct err e = {0};
        values(f, 2);
        calls = 0;
        file_fault = on_call;
        int rc = checkpoint_save(f->dir, 2, &f->params, &f->adamw, f->state, &e);
        file_fault = NULL;
        if (calls < fail_at) {
            assert_int_equal(rc, 0);
            break;
        }
        if (rc == 0)
            continue;                           /* a flush of a folder that may fail */
        assert_int_equal(e.kind, ERR_SPACE);
        assert_non_null(strstr(e.text, "checkpoint of step 2"));
        char *dir = file_of(f, 2, "");
        bool was_renamed = file_exists(dir);    /* only the last flush failed */
        free(dir);
        expect_newest(f, was_renamed ? 2 : 1);
    }
    assert_true(fail_at > 10);
    expect_newest(f, 2);
}

static void test_checkpoint__needs_space(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    uint64_t need = checkpoint_bytes(&f->params), size, sum = 0;
    save(f, 1);
    for (int i = 0; i < 4; i++) {
        char *path = file_of(f, 1, names[i]);
        assert_int_equal(file_size(path, &size, &e), 0);
        sum += size;
        free(path);
    }
    assert_true(sum <= need && need < sum + (80 << 10));
    assert_int_equal(checkpoint_check_space(f->dir, need, &e), 0);
    assert_int_equal(checkpoint_check_space(f->dir, (uint64_t)1 << 62, &e), -1);
    assert_err(e, ERR_SPACE, "no space for a checkpoint: the disk has");
    assert_non_null(strstr(e.text, "4611686018427.4 MB are needed"));
}

static void test_checkpoint__of_other_parameters_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char *path;
    json_t *json;
    save(f, 1);
    f->params.at[0].trainable = false;
    nn_params_sort(&f->params);
    assert_int_equal(checkpoint_find(f->dir, &path, &json, &e), 1);
    assert_int_equal(checkpoint_load(path, &f->params, &f->adamw, &e), -1);
    assert_err(e, ERR_INTEGRITY, "weights.safetensors holds 2 tensors, this run has 1");
    free(path);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_checkpoint__round_trip_and_prune, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoint__every_damaged_file_is_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoint__every_failing_call_leaves_the_old_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoint__needs_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_checkpoint__of_other_parameters_is_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
