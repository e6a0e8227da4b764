/* test_inputs.c - budgets of memory and disk, and what becomes of a configuration. */
#include "train/inputs.h"

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "data/plan.h"

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

static struct config make_config(void)
{
    return (struct config){
        .patches = (char *)"", .cache_dir = (char *)"", .user_project = (char *)""};
}

static void test_inputs__splits_the_memory(void **state)
{
    (void)state;
    struct err e = {0};
    struct inputs in;
    struct config c = make_config();
    assert_int_equal(inputs_open(&in, &c, &e), 0);
    assert_int_equal(in.loader_memory, GIB - 8 * SPOOL_CHUNK);        /* the defaults */
    assert_null(in.patch);
    inputs_close(&in);
    c.connections = 4;
    c.memory = 96 * MIB;
    assert_int_equal(inputs_open(&in, &c, &e), 0);
    assert_int_equal(in.loader_memory, 64 * MIB);
    inputs_close(&in);
    c.memory--;
    assert_int_equal(inputs_open(&in, &c, &e), -1);
    assert_err(e, ERR_USAGE, "memory is 95MiB, expected at least 96MiB for 4 connections");
    inputs_close(&in);
}

static void test_inputs__patches_must_be_there(void **state)
{
    (void)state;
    struct err e = {0};
    struct inputs in;
    struct config c = make_config();
    c.patches = (char *)"/nowhere/at/all";
    assert_int_equal(inputs_open(&in, &c, &e), -1);
    assert_non_null(strstr(e.text, "patches: /nowhere/at/all"));
}

static void test_inputs__opens_a_manifest(void **state)
{
    (void)state;
    struct err e = {0};
    struct inputs in;
    struct manifest m;
    char *folder = testing_folder(), *path = path_join(folder, "a.jsonl");
    char *patches = path_join(folder, "patches"), *delete = path_join(patches, "delete");
    char *file = path_join(delete, "x.csv");
    const char *text = "{\"id\":\"1\",\"words\":\"good\"}\n{\"id\":\"2\",\"words\":\"bad\"}\n";
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    assert_int_equal(dir_make(delete, &e) || file_write(file, "id\n2\n", 5, &e), 0);
    char *columns[] = {(char *)"text=words"}, *weights[] = {(char *)"2.5"};
    struct config c = make_config();
    c.patches = patches;
    c.columns = (struct string_list){columns, 1};
    struct string_list patterns = {&path, 1}, numbers = {weights, 1};
    assert_int_equal(inputs_open(&in, &c, &e), 0);
    assert_int_equal(inputs_manifest(&in, &patterns, &numbers, &m, &e), 0);
    assert_int_equal(m.count, 2);
    assert_near(m.sources[0].weight, 2.5, 0);
    assert_true(patch_find(m.options.patch, "2").is_deleted);
    struct record r;
    struct record_ref ref = {.index = 0};
    assert_int_equal(manifest_record(&m, &ref, NULL, NULL, "", &r, &e), 0);
    assert_string_equal(r.text, "good");
    record_release(&r);
    manifest_release(&m);
    numbers.count = 0;
    assert_int_equal(inputs_manifest(&in, &patterns, &numbers, &m, &e), 0);
    assert_near(m.sources[0].weight, 1, 0);
    manifest_release(&m);
    inputs_close(&in);
    assert_int_equal(dir_remove(folder, &e), 0);
    char *names[] = {folder, path, patches, delete, file};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        free(names[i]);
}

/* A manifest of remote shards of one size. */
static struct manifest shards(struct manifest_file *files, int count, int64_t size)
{
    for (int i = 0; i < count; i++)
        files[i] = (struct manifest_file){.kind = MANIFEST_TAR,
                                          .object = {.uri = (char *)"gs://b/x.tar", .size = size}};
    return (struct manifest){.files = files, .file_count = count};
}

static void test_inputs__windows_fit_on_the_disk(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest_file a[3], b[2];
    struct config c = make_config();
    struct inputs in = {.c = &c};
    int64_t bytes;
    struct manifest train = shards(a, 3, 100 * MIB), eval = shards(b, 2, 300 * MIB);
    assert_int_equal(inputs_window_bytes(&in, &train, NULL, &bytes, &e), 0);
    assert_int_equal(bytes, PLAN_BYTES);                       /* 4 GiB: two of 2 GiB */
    assert_int_equal(inputs_window_bytes(&in, &train, &eval, &bytes, &e), 0);
    assert_int_equal(bytes, (4 * GIB - 600 * MIB) / 2);
    c.disk = 800 * MIB;
    assert_int_equal(inputs_window_bytes(&in, &train, &eval, &bytes, &e), 0);
    assert_int_equal(bytes, 100 * MIB);
    c.disk = 799 * MIB;
    assert_int_equal(inputs_window_bytes(&in, &train, &eval, &bytes, &e), -1);
    assert_err(e, ERR_USAGE, "disk is 799MiB, expected at least 800MiB");
    /* Local files take no room; packed ones are unpacked. */
    e = (struct err){0};
    for (int i = 0; i < 3; i++)
        a[i].object.uri = (char *)"x.tar";
    c.disk = 1 * MIB;
    assert_int_equal(inputs_window_bytes(&in, &train, NULL, &bytes, &e), 0);
    assert_int_equal(bytes, PLAN_BYTES);
    a[1].object.uri = (char *)"x.tar.gz";
    assert_int_equal(inputs_window_bytes(&in, &train, NULL, &bytes, &e), -1);
    assert_err(e, ERR_USAGE, "disk is 1MiB, expected at least 400MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs__splits_the_memory),
        cmocka_unit_test(test_inputs__patches_must_be_there),
        cmocka_unit_test(test_inputs__opens_a_manifest),
        cmocka_unit_test(test_inputs__windows_fit_on_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
