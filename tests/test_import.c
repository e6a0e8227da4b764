/* test_import.c - what becomes of a row: a record, a reason to leave it out, or a bad one. */
#include "import_testing.h"

#include "base/log.h"
#include "data/patch.h"

static int64_t left(const struct importer *m, enum import_reason r)
{
    return import_counts(m->import)->left[r];
}

static void test_import__makes_records_of_each_kind(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    IMPORT_ROWS(
        &m, "{\"utt_id\": 7, \"audio_filepath\": \"a.wav\", \"answer\": \"caf\\u00e9 \\\"x\\\"\", "
            "\"source_lang\": \"de-AT\", \"duration\": \"2.50\", \"dataset_source\": \"ytc\", "
            "\"speaker\": 3}");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"7\",\"audio\":\"a.wav\",\"text\":\"caf\xc3\xa9 \\\"x\\\"\","
               "\"language\":\"de-AT\",\"duration\":2.5,\"corpus\":\"ytc\"}\n");
    importer_begin(&m);
    IMPORT_ROWS(
        &m,
        "{\"id\": \"1\", \"image_path\": \"a.png\", \"question\": \"what?\", \"text\": "
        "\"a cat\"}",
        "{\"id\": \"2\", \"file_name\": \"b.JPG\", \"text\": \"a dog\", \"language\": \"??\"}");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1\",\"image\":\"a.png\",\"prompt\":\"what?\",\"text\":\"a cat\"}\n"
               "{\"id\":\"2\",\"image\":\"b.JPG\",\"text\":\"a dog\"}\n");
    importer_begin(&m);
    IMPORT_ROWS(&m, "{\"id\": \"1\", \"prompt\": \"2 + 2 =\", \"response\": \"4\"}",
                "{\"id\": \"2\", \"text\": \"any\"}");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1\",\"prompt\":\"2 + 2 =\",\"completion\":\"4\"}\n"
               "{\"id\":\"2\",\"text\":\"any\"}\n");
    importer_stop(&m);
}

static void test_import__makes_ids_that_stay(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    /* printf 'a.wav\0' | sha256sum; a corrected text keeps the id */
    IMPORT_ROWS(&m, "{\"audio\": \"a.wav\", \"text\": \"one\"}");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"2ba1587d2a9e0233\",\"audio\":\"a.wav\",\"text\":\"one\"}\n");
    IMPORT_ROWS(&m, "{\"audio\": \"a.wav\", \"text\": \"two\"}");
    assert_int_equal(left(&m, LEFT_TWICE), 1);
    importer_begin(&m);
    IMPORT_ROWS(&m, "{\"text\": \"one\"}", "{\"text\": \"two\"}", "{\"text\": \"one\"}");
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 2);
    importer_stop(&m);
}

static void test_import__language_modes(void **state)
{
    (void)state;
    static const char *const rows[] = {"{\"id\": \"1\", \"text\": \"a\", \"language\": \"EN-us\"}",
                                       "{\"id\": \"2\", \"text\": \"b\", \"language\": \"de\"}",
                                       "{\"id\": \"3\", \"text\": \"c\", \"language\": \"??\"}",
                                       "{\"id\": \"4\", \"text\": \"d\"}"};
    struct importer m;
    importer_start(&m);
    importer_rows(&m, rows, 4);
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 4);

    char *wanted[] = {"en", "fr"};
    m.options.mode = LANGUAGES_STRICT;
    importer_begin(&m);
    importer_rows(&m, rows, 4);
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 2);
    assert_int_equal(left(&m, LEFT_NO_LANGUAGE), 2);
    m.options.languages = wanted;
    m.options.language_count = 2;
    importer_begin(&m);
    importer_rows(&m, rows, 4);
    assert_out(&m, SPLIT_NONE, "{\"id\":\"1\",\"text\":\"a\",\"language\":\"EN-us\"}\n");
    assert_int_equal(left(&m, LEFT_LANGUAGE), 1);
    assert_int_equal(left(&m, LEFT_NO_LANGUAGE), 2);

    m.options.mode = LANGUAGES_OVERRIDE;
    m.options.language = "it";
    importer_begin(&m);
    importer_rows(&m, rows, 4);
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1\",\"text\":\"a\",\"language\":\"it\"}\n"
               "{\"id\":\"2\",\"text\":\"b\",\"language\":\"it\"}\n"
               "{\"id\":\"3\",\"text\":\"c\",\"language\":\"it\"}\n"
               "{\"id\":\"4\",\"text\":\"d\",\"language\":\"it\"}\n");
    importer_stop(&m);
}

static void test_import__leaves_out_what_teaches_nothing(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    m.options.seconds_max = 30;
    importer_begin(&m);
    IMPORT_ROWS(&m, "{\"id\": \"1\", \"audio\": \"a.wav\", \"text\": \" \\n\"}",
                "{\"id\": \"2\", \"audio\": \"a.wav\", \"text\": null}",
                "{\"id\": \"3\", \"audio\": \"a.wav\", \"text\": \"x\", \"duration\": 30.5}",
                "{\"id\": \"4\", \"audio\": \"a.wav\", \"text\": \"x\", \"duration\": 30}",
                "{\"id\": \"5\", \"audio\": \"a.wav\", \"text\": \"x\", \"taskname\": \"ast\"}",
                "{\"id\": \"6\", \"audio\": \"a.wav\", \"text\": \"x\", \"taskname\": \"asr\", "
                "\"source_lang\": \"de\", \"target_lang\": \"en\"}",
                "{\"id\": \"7\", \"audio\": \"a.wav\", \"text\": \"x\", \"offset\": 12.5}",
                "{\"id\": \"8\", \"audio\": \"a.wav\", \"text\": \"x\", \"offset\": 0.0}",
                "{\"id\": \"4\", \"audio\": \"b.wav\", \"text\": \"y\"}");
    assert_int_equal(left(&m, LEFT_EMPTY), 2);
    assert_int_equal(left(&m, LEFT_LONG), 1);
    assert_int_equal(left(&m, LEFT_TASK), 2);
    assert_int_equal(left(&m, LEFT_OFFSET), 1);
    assert_int_equal(left(&m, LEFT_TWICE), 1);
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 2);
    assert_int_equal(import_counts(m.import)->read, 9);
    assert_near(import_counts(m.import)->seconds[SPLIT_NONE], 30, 0);
    importer_stop(&m);
}

static void test_import__applies_patches(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    free(importer_file(&m, "patches/override_text/a.csv", "id,text\n2,mended\n3,mended\n"));
    free(importer_file(&m, "patches/delete/a.csv", "id\n1\n3\n4\n"));
    free(importer_file(&m, "patches/do_not_blacklist/a.csv", "id\n4\n"));
    char *dir = path_join(m.folder, "patches");
    struct patch *patch = patch_open(NULL, dir, &m.e);
    assert_ok(m.e);
    m.options.patch = patch;
    importer_begin(&m);
    IMPORT_ROWS(&m, "{\"id\": \"1\", \"text\": \"a\"}", "{\"id\": \"2.0\", \"text\": \"\"}",
                "{\"id\": 3, \"text\": \"c\"}", "{\"id\": \"4\", \"text\": \"d\"}");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"2.0\",\"text\":\"mended\"}\n{\"id\":\"3\",\"text\":\"mended\"}\n"
               "{\"id\":\"4\",\"text\":\"d\"}\n");
    assert_int_equal(left(&m, LEFT_DELETED), 1);
    patch_free(patch);
    free(dir);
    importer_stop(&m);
}

static void test_import__splits_by_id_alone(void **state)
{
    (void)state;
    struct importer m;
    char *first = NULL;
    importer_start(&m);
    m.options.eval_part = 0.1;
    m.options.seed = 3;
    for (int pass = 0; pass < 3; pass++) {
        m.options.seed = pass < 2 ? 3 : 4;
        importer_begin(&m);
        for (int i = 0; i < 2000; i++) {
            /* other rows, in another order, fall to the same side */
            int id = pass == 1 ? 1999 - i : i;
            char *row = xasprintf("{\"id\": \"%d\", \"text\": \"t\"}", id);
            assert_int_equal(importer_row(&m, row, NULL), 0);
            free(row);
        }
        const struct import_counts *n = import_counts(m.import);
        assert_int_equal(n->written[SPLIT_NONE], 0);
        assert_int_equal(n->written[SPLIT_TRAIN] + n->written[SPLIT_EVAL], 2000);
        /* five standard deviations of a binomial of 2000 and 0.1 */
        assert_true(n->written[SPLIT_EVAL] > 200 - 67 && n->written[SPLIT_EVAL] < 200 + 67);
        if (pass == 0) {
            first = xstrdup(m.out[SPLIT_EVAL].data);
        } else if (pass == 1) {
            assert_int_equal(strlen(first), m.out[SPLIT_EVAL].size);
            char *lines = xstrdup(first);
            for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
                assert_non_null(strstr(m.out[SPLIT_EVAL].data, line));
            free(lines);
        } else {
            assert_string_not_equal(first, m.out[SPLIT_EVAL].data);
        }
    }
    free(first);
    importer_stop(&m);
}

static void test_import__stops_at_too_many_bad_rows(void **state)
{
    (void)state;
    static const char bad[] =
        "{\"id\": \"1\", \"audio\": \"a.wav\", \"text\": \"x\", \"duration\": "
        "\"long\"}";
    struct importer m;
    importer_start(&m);
    m.options.bad_min = 2;
    m.options.bad_fraction = 0.01;
    importer_begin(&m);
    assert_int_equal(importer_row(&m, bad, NULL), 0);
    assert_int_equal(importer_row(&m, bad, NULL), 0);
    assert_int_equal(importer_row(&m, bad, NULL), -1);
    assert_err(m.e, ERR_DATA, "3 of 3 rows are bad (allowed: 2, or 1 % of all)");
    importer_begin(&m);
    import_expect(m.import, 300);                   /* of so many, three may be */
    for (int i = 0; i < 3; i++)
        assert_int_equal(importer_row(&m, bad, NULL), 0);
    assert_int_equal(import_end(m.import, &m.e), -1);      /* ... but no more came */
    assert_err(m.e, ERR_DATA, "3 of 3 rows are bad");
    importer_stop(&m);
}

static void test_import__names_bad_rows(void **state)
{
    (void)state;
    static const struct {
        const char *row, *message;
    } bad[] = {
        {"{\"text\": \"x\", \"audio\": {\"bytes\": \"x\"}}", "\"audio\": expected a text"},
        {"{\"text\": [\"x\"], \"audio\": \"a.wav\"}", "\"text\": expected a text, found an array"},
        {"{\"text\": \"x\", \"audio\": \"a.wav\", \"duration\": -1}", "expected seconds"},
        {"{\"text\": \"x\", \"audio\": \"\"}", "\"audio\" is empty"},
        {"{\"text\": \"x\"}", "names no clip, unlike the first row"},
        {"{\"messages\": []}", "it is a record of ours already"},
        {"{\"text\": \"x\", \"audio\": \"ftp://a/b.wav\"}", "cannot be read"},
    };
    struct importer m;
    importer_start(&m);
    char *path = path_join(m.folder, "log");
    log_set_file(path);
    IMPORT_ROWS(&m, "{\"text\": \"x\", \"audio\": \"a.wav\"}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(importer_row(&m, bad[i].row, NULL), 0);
    log_set_file(NULL);
    size_t count = sizeof bad / sizeof *bad;
    assert_int_equal(import_counts(m.import)->bad, count);
    assert_int_equal(import_counts(m.import)->read, count + 1);
    char *log = file_read(path, 1 << 20, NULL, &m.e);
    for (size_t i = 0; i < count; i++)
        assert_non_null(strstr(log, bad[i].message));
    free(log);
    free(path);
    importer_stop(&m);
}

static void test_import__writes_no_more_than_wanted(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    m.options.limit = 2;
    importer_begin(&m);
    assert_int_equal(importer_row(&m, "{\"text\": \"1\"}", NULL), 0);
    assert_int_equal(importer_row(&m, "{\"text\": \"\"}", NULL), 0);
    assert_int_equal(importer_row(&m, "{\"text\": \"2\"}", NULL), 1);
    assert_int_equal(importer_row(&m, "{\"text\": \"3\"}", NULL), 1);
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 2);
    importer_stop(&m);
}

static void test_import__many_ids(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 5000; i++) {
            char *row = xasprintf("{\"id\": %d, \"text\": \"t\"}", i);
            assert_int_equal(importer_row(&m, row, NULL), 0);
            free(row);
        }
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 5000);
    assert_int_equal(left(&m, LEFT_TWICE), 5000);
    importer_stop(&m);
}

static void test_import__reads_language_tags(void **state)
{
    (void)state;
    static const char *const tags[][2] = {{"en", "en"},    {"EN", "en"},
                                          {"en-US", "en"}, {"pt_BR", "pt"},
                                          {"yue", "yue"},  {"", ""},
                                          {"??", ""},      {"und", ""},
                                          {"unknown", ""}, {"e", ""},
                                          {"en us", ""},   {"english", "english"},
                                          {"null", ""},    {"verylonglanguagename", ""}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        char out[16];
        import_language(tags[i][0], out);
        assert_string_equal(out, tags[i][1]);
    }
}

int main(void)
{
    log_set_level(LOG_LEVEL_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import__makes_records_of_each_kind),
        cmocka_unit_test(test_import__makes_ids_that_stay),
        cmocka_unit_test(test_import__language_modes),
        cmocka_unit_test(test_import__leaves_out_what_teaches_nothing),
        cmocka_unit_test(test_import__applies_patches),
        cmocka_unit_test(test_import__splits_by_id_alone),
        cmocka_unit_test(test_import__stops_at_too_many_bad_rows),
        cmocka_unit_test(test_import__names_bad_rows),
        cmocka_unit_test(test_import__writes_no_more_than_wanted),
        cmocka_unit_test(test_import__many_ids),
        cmocka_unit_test(test_import__reads_language_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
