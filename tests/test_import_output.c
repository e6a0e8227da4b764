/* test_import_output.c - files that are whole or not there. */
#include "import_testing.h"

#include "data/import_output.h"

static int put(struct import_output *o, enum import_split split, const char *line, struct err *e)
{
    return import_output_emit(o, split, line, strlen(line), e);
}

static void assert_file(struct importer *m, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(m->folder, name), *found = file_read(path, 1000, NULL, &e);
    assert_ok(e);
    assert_string_equal(found, text);
    free(found);
    free(path);
}

static size_t files_in(struct importer *m)
{
    struct dir_list l;
    struct err e = {0};
    assert_int_equal(dir_list_read(&l, m->folder, &e), 0);
    size_t count = l.count;
    dir_list_release(&l);
    return count;
}

static void test_import_output__one_file_or_one_for_each_split(void **state)
{
    (void)state;
    struct importer m;
    struct import_output o;
    importer_start(&m);
    char *path = path_join(m.folder, "x.jsonl");
    import_output_open(&o, path, stdout);
    assert_int_equal(put(&o, SPLIT_NONE, "1\n", &m.e), 0);
    assert_int_equal(put(&o, SPLIT_NONE, "2\n", &m.e), 0);
    assert_false(file_exists(path));
    assert_int_equal(import_output_commit(&o, &m.e), 0);
    import_output_release(&o);
    assert_file(&m, "x.jsonl", "1\n2\n");

    import_output_open(&o, path, stdout);
    assert_int_equal(put(&o, SPLIT_TRAIN, "3\n", &m.e), 0);
    assert_int_equal(put(&o, SPLIT_EVAL, "4\n", &m.e), 0);
    assert_int_equal(put(&o, SPLIT_TEST, "5\n", &m.e), 0);
    assert_int_equal(import_output_commit(&o, &m.e), 0);
    import_output_release(&o);
    assert_file(&m, "x.train.jsonl", "3\n");
    assert_file(&m, "x.eval.jsonl", "4\n");
    assert_file(&m, "x.test.jsonl", "5\n");
    assert_file(&m, "x.jsonl", "1\n2\n");
    free(path);
    importer_stop(&m);
}

static void test_import_output__nothing_is_left_of_what_was_not_committed(void **state)
{
    (void)state;
    struct importer m;
    struct import_output o;
    importer_start(&m);
    char *path = path_join(m.folder, "x.jsonl"), *lost = path_join(m.folder, "no/where.jsonl");
    import_output_open(&o, path, stdout);
    assert_int_equal(put(&o, SPLIT_TRAIN, "1\n", &m.e), 0);
    assert_int_equal(files_in(&m), 1);
    import_output_release(&o);
    assert_int_equal(files_in(&m), 0);
    import_output_open(&o, lost, stdout);
    assert_int_equal(put(&o, SPLIT_NONE, "1\n", &m.e), -1);
    assert_err(m.e, ERR_FAILED, "no/where.jsonl");
    import_output_release(&o);
    import_output_release(&o);
    free(path);
    free(lost);
    importer_stop(&m);
}

static void test_import_output__a_stream(void **state)
{
    (void)state;
    struct importer m;
    struct import_output o;
    importer_start(&m);
    FILE *stream = tmpfile();
    import_output_open(&o, "-", stream);
    assert_int_equal(put(&o, SPLIT_NONE, "1\n", &m.e), 0);
    assert_int_equal(put(&o, SPLIT_TRAIN, "2\n", &m.e), 0);
    assert_int_equal(import_output_commit(&o, &m.e), 0);
    import_output_release(&o);
    char text[10] = "";
    rewind(stream);
    assert_int_equal(fread(text, 1, sizeof text, stream), 4);
    assert_string_equal(text, "1\n2\n");
    fclose(stream);
    importer_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_output__one_file_or_one_for_each_split),
        cmocka_unit_test(test_import_output__nothing_is_left_of_what_was_not_committed),
        cmocka_unit_test(test_import_output__a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
