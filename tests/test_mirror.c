/* test_mirror.c - runs in a bucket: what is copied and when, who may write, what comes back. */
#include "train/mirror.h"

#include "writable_bucket.h"

#include <time.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

static char *folder;
static struct writable_bucket *bucket;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    folder = testing_folder();
    bucket = writable_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    writable_stop(bucket);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

/* ---------------------------------------------------------------- folders -- */

static void put(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/%s", folder, dir, name), *parent = path_dir(path);
    if (dir_make(parent, &e) || file_write(path, text, strlen(text), &e))
        fail_msg("%s", e.text);
    free(parent);
    free(path);
}

static bool has(const char *dir, const char *name, const char *text)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/%s", folder, dir, name);
    char *found = file_read(path, 1 << 20, NULL, &e);
    bool same = found && !strcmp(found, text);
    free(found);
    free(path);
    return same;
}

static void add_file(json_t *files, const char *name, const char *text)
{
    char hex[HASH_HEX_SIZE];
    json_t *o = json_object();
    hash_bytes(text, strlen(text), hex);
    json_put_str(o, "name", name);
    json_put_int(o, "size", (int64_t)strlen(text));
    json_put_str(o, "sha256", hex);
    json_array_append_new(files, o);
}

/* A checkpoint as checkpoint.c knows it. */
static void put_checkpoint(const char *dir, int step, const char *weights)
{
    char name[100], state[40];
    struct buf b;
    json_t *files = json_array(), *manifest = json_object();
    snprintf(state, sizeof state, "{\"step\": %d}", step);
    add_file(files, "weights.safetensors", weights);
    add_file(files, "optimizer.safetensors", "moments");
    add_file(files, "state.json", state);
    json_put(manifest, "files", files);
    buf_init(&b, 10000);
    json_write_pretty(manifest, &b);
    const char *const names[] = {"weights.safetensors", "optimizer.safetensors", "state.json",
                                 "manifest.json"};
    const char *const texts[] = {weights, "moments", state, b.data};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "ckpt/%06d/%s", step, names[i]);
        put(dir, name, texts[i]);
    }
    buf_release(&b);
    json_decref(manifest);
}

static void remove_checkpoint(const char *dir, int step)
{
    struct err e = {0};
    char *path = xasprintf("%s/%s/ckpt/%06d", folder, dir, step);
    assert_int_equal(dir_remove(path, &e), 0);
    free(path);
}

static struct mirror *open_mirror(const char *dir, double budget_s, struct err *e)
{
    char *path = path_join(folder, dir);
    struct err ignored = {0};
    assert_int_equal(dir_make(path, &ignored), 0);
    struct net_options net = {.budget_s = budget_s};
    struct mirror *m = mirror_open(
        &(struct mirror_options){.net = &net, .uri = "gs://bucket/runs/one", .dir = path}, e);
    free(path);
    return m;
}

static struct mirror *need_mirror(const char *dir)
{
    struct err e = {0};
    struct mirror *m = open_mirror(dir, 20, &e);
    assert_ok(e);
    return m;
}

static void finish(struct mirror *m)
{
    struct err e = {0};
    int rc = mirror_finish(m, &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    mirror_close(m);
}

#define ONE "runs/one/"

/* ------------------------------------------------------------------ tests -- */

static void test_mirror__knows_its_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"gs://", "gs:///x", "gs://b/../x", "gs://b//x", "gs://b/.x"};
    struct err e = {0};
    assert_true(mirror_is_remote("gs://b/p"));
    assert_false(mirror_is_remote("runs"));
    assert_false(mirror_is_remote("/gs/runs"));
    char *local = mirror_local("/cache", "gs://b/p/q/", &e);
    assert_string_equal(local, "/cache/runs/b/p/q");
    free(local);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct err){0};
        assert_null(mirror_local("/cache", bad[i], &e));
        assert_err(e, ERR_USAGE, "is no gs://bucket/prefix");
    }
    e = (struct err){0};
    assert_null(mirror_local("/cache", "s3://b/p", &e));
    assert_err(e, ERR_USAGE, "cannot be written to");
}

static void test_mirror__manifests_come_last(void **state)
{
    (void)state;
    put("a", "config.yaml", "steps: 1\n");
    put("a", "lock", "");
    put("a", "metrics.jsonl.tmp", "torn");
    put("a", "adapter/adapter_model.safetensors", "numbers");
    put("a", "result.json", "{}");
    put("a", "ckpt/.tmp-000004/weights.safetensors", "half");
    put("a", "ckpt/damaged-000001/weights.safetensors", "bad");
    put_checkpoint("a", 2, "w2");
    put_checkpoint("a", 3, "w3");
    finish(need_mirror("a"));
    assert_true(writable_has(bucket, ONE "config.yaml", "steps: 1\n"));
    assert_true(writable_has(bucket, ONE "adapter/adapter_model.safetensors", "numbers"));
    assert_true(writable_has(bucket, ONE "ckpt/000003/weights.safetensors", "w3"));
    static const char *const not_there[] = {ONE "lock", ONE "machine", ONE "metrics.jsonl.tmp",
                                            ONE "ckpt/.tmp-000004/weights.safetensors",
                                            ONE "ckpt/damaged-000001/weights.safetensors"};
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; i++)
        assert_false(writable_has(bucket, not_there[i], NULL));
    long manifest = writable_when(bucket, "+" ONE "ckpt/000002/manifest.json");
    assert_true(writable_when(bucket, "+" ONE "ckpt/000002/state.json") < manifest);
    assert_true(writable_when(bucket, "+" ONE "ckpt/000002/weights.safetensors") < manifest);
    assert_true(manifest < writable_when(bucket, "+" ONE "ckpt/000003/state.json"));
    assert_true(writable_when(bucket, "+" ONE "ckpt/000003/manifest.json") <
                writable_when(bucket, "+" ONE "result.json"));
}

static void test_mirror__copies_what_has_changed_only(void **state)
{
    (void)state;
    put("a", "metrics.jsonl", "1\n");
    put_checkpoint("a", 2, "w2");
    finish(need_mirror("a"));
    struct mirror *m = need_mirror("a");
    bucket->changes[0] = 0;
    put("a", "metrics.jsonl", "1\n2\n");
    put_checkpoint("a", 4, "w4");
    put_checkpoint("a", 6, "w6");
    remove_checkpoint("a", 2);
    finish(m);
    assert_true(writable_has(bucket, ONE "metrics.jsonl", "1\n2\n"));
    assert_true(writable_has(bucket, ONE "ckpt/000006/manifest.json", NULL));
    assert_int_equal(writable_when(bucket, "+" ONE "ckpt/000002"), -1);
    /* The old one goes when the new one is there, its manifest first. */
    assert_false(writable_has(bucket, ONE "ckpt/000002/weights.safetensors", NULL));
    assert_true(writable_when(bucket, "+" ONE "ckpt/000006/manifest.json") <
                writable_when(bucket, "-" ONE "ckpt/000002/manifest.json"));
    assert_true(writable_when(bucket, "-" ONE "ckpt/000002/manifest.json") <
                writable_when(bucket, "-" ONE "ckpt/000002/weights.safetensors"));
}

/* A step that is saved again with other bytes: no manifest vouches for a mix. */
static void test_mirror__replaced_checkpoints_are_never_mixed(void **state)
{
    (void)state;
    put_checkpoint("a", 2, "w2");
    finish(need_mirror("a"));
    struct mirror *m = need_mirror("a");
    bucket->changes[0] = 0;
    put_checkpoint("a", 2, "v2");
    finish(m);
    long removed = writable_when(bucket, "-" ONE "ckpt/000002/manifest.json");
    assert_true(removed >= 0);
    assert_true(removed < writable_when(bucket, "+" ONE "ckpt/000002/weights.safetensors"));
    assert_true(writable_when(bucket, "+" ONE "ckpt/000002/weights.safetensors") <
                writable_when(bucket, "+" ONE "ckpt/000002/manifest.json"));
}

static void test_mirror__another_machine_goes_on(void **state)
{
    (void)state;
    put("a", "metrics.jsonl", "1\n2\n");
    put("a", "config.yaml", "x: 1\n");
    put_checkpoint("a", 2, "w2");
    put_checkpoint("a", 4, "w4");
    finish(need_mirror("a"));
    put("b", "metrics.jsonl", "1\n");                  /* an older state of the same run */
    put_checkpoint("b", 2, "w2");
    finish(need_mirror("b"));
    assert_true(has("b", "ckpt/000004/weights.safetensors", "w4"));
    assert_true(has("b", "metrics.jsonl", "1\n2\n"));
    assert_true(has("b", "config.yaml", "x: 1\n"));
    /* Back on the first one, which is behind now. */
    struct mirror *m = need_mirror("b");
    put_checkpoint("b", 6, "w6");
    put("b", "metrics.jsonl", "1\n2\n3\n");
    finish(m);
    m = need_mirror("a");
    assert_true(has("a", "ckpt/000006/weights.safetensors", "w6"));
    assert_true(has("a", "metrics.jsonl", "1\n2\n3\n"));
    /* What is here and newer is not overwritten. */
    put("a", "metrics.jsonl", "1\n2\n3\n4\n");
    put_checkpoint("a", 8, "w8");
    mirror_close(m);
    m = need_mirror("a");
    assert_true(has("a", "metrics.jsonl", "1\n2\n3\n4\n"));
    finish(m);
}

static void test_mirror__damaged_checkpoints_are_left_there(void **state)
{
    (void)state;
    put_checkpoint("a", 2, "w2");
    put_checkpoint("a", 4, "w4");
    finish(need_mirror("a"));
    bucket_put(&bucket->bucket, ONE "ckpt/000004/weights.safetensors", "x4", 2);
    log_set_level(LOG_LEVEL_ERROR);
    finish(need_mirror("b"));
    assert_true(has("b", "ckpt/000002/weights.safetensors", "w2"));
    assert_false(has("b", "ckpt/000004/weights.safetensors", "x4"));
    assert_false(has("b", "ckpt/.tmp-000004/weights.safetensors", "x4"));
    /* Names that lead out of the folder are none of ours. */
    bucket_put(&bucket->bucket, ONE "../evil", "x", 1);
    bucket_put(&bucket->bucket, ONE "ckpt/000002/../../evil", "x", 1);
    finish(need_mirror("c"));
    assert_false(has("", "evil", "x"));
    assert_false(has("c", "evil", "x"));
}

static void test_mirror__two_machines_are_told(void **state)
{
    (void)state;
    struct err e = {0};
    put_checkpoint("a", 2, "w2");
    struct mirror *m = need_mirror("a");
    assert_null(open_mirror("b", 20, &e));
    assert_err(e, ERR_RETRY, "gs://bucket/runs/one is being written by another machine");
    assert_non_null(strstr(e.hint, "gs://bucket/runs/one/owner.json"));
    mirror_close(m);                                   /* a crash: the claim stays */
    e = (struct err){0};
    assert_null(open_mirror("b", 20, &e));
    assert_int_equal(e.kind, ERR_RETRY);
    m = need_mirror("a");                              /* ... but not for the same folder */
    e = (struct err){0};
    assert_int_equal(mirror_check(m, &e), 0);
    /* The claim is taken from it. */
    bucket_put(&bucket->bucket, ONE "owner.json", "{}", 2);
    put("a", "metrics.jsonl", "1\n");
    assert_int_equal(mirror_finish(m, &e), -1);
    assert_err(e, ERR_INTEGRITY, "another machine has taken this run over");
    e = (struct err){0};
    assert_int_equal(mirror_check(m, &e), -1);
    assert_int_equal(e.kind, ERR_INTEGRITY);
    assert_false(writable_has(bucket, ONE "metrics.jsonl", NULL));
    mirror_close(m);
}

/* owner.json of another machine, seen so many seconds ago. */
static void put_owner(int64_t age_s)
{
    char *text = xasprintf("{\"machine\":\"x\",\"running\":true,\"seen_s\":%lld}",
                           (long long)((int64_t)time(NULL) - age_s));
    bucket_put(&bucket->bucket, ONE "owner.json", text, strlen(text));
    bucket_lock(&bucket->bucket);
    bucket->kept[bucket->kept_count++] = text;
    bucket_unlock(&bucket->bucket);
}

static void test_mirror__old_claims_do_not_count(void **state)
{
    (void)state;
    struct err e = {0};
    put_owner(60);
    assert_null(open_mirror("a", 20, &e));
    assert_err(e, ERR_RETRY, "seen 6");
    put_owner((int64_t)MIRROR_STALE_S + 1);
    mirror_close(need_mirror("a"));
    bucket_put(&bucket->bucket, ONE "owner.json", "nonsense", 8);
    mirror_close(need_mirror("b"));
}

static void test_mirror__failures_wait_for_the_next_push(void **state)
{
    (void)state;
    struct err e = {0};
    put_checkpoint("a", 2, "w2");
    struct mirror *m = open_mirror("a", 0.5, &e);
    assert_ok(e);
    bucket_lock(&bucket->bucket);
    bucket->refuses = -1;
    bucket_unlock(&bucket->bucket);
    assert_int_equal(mirror_finish(m, &e), -1);
    assert_int_equal(e.kind, ERR_RETRY);
    e = (struct err){0};
    assert_int_equal(mirror_check(m, &e), 0);
    bucket_lock(&bucket->bucket);
    bucket->refuses = 0;
    bucket_unlock(&bucket->bucket);
    mirror_push(m);
    finish(m);
    assert_true(writable_has(bucket, ONE "ckpt/000002/manifest.json", NULL));
}

/* Closing does not wait for a network that hangs. */
static void test_mirror__closes_at_once(void **state)
{
    (void)state;
    struct err e = {0};
    put_checkpoint("a", 2, "w2");
    struct mirror *m = open_mirror("a", 900, &e);
    assert_ok(e);
    bucket_lock(&bucket->bucket);
    bucket->refuses = -1;
    bucket_unlock(&bucket->bucket);
    mirror_push(m);
    clock_sleep(0.2);
    double begun = clock_seconds();
    mirror_close(m);
    assert_true(clock_seconds() - begun < 60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_mirror__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(knows_its_names),
        TEST(manifests_come_last),
        TEST(copies_what_has_changed_only),
        TEST(replaced_checkpoints_are_never_mixed),
        TEST(another_machine_goes_on),
        TEST(damaged_checkpoints_are_left_there),
        TEST(two_machines_are_told),
        TEST(old_claims_do_not_count),
        TEST(failures_wait_for_the_next_push),
        TEST(closes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
