/* test_cmd_data_import.c - `attune data import` as it is typed. */
#include "import_testing.h"

#include "base/log.h"
#include "cli/cmd.h"
#include "cli/options.h"

enum { WORDS_MAX = 20 };

/* Run with these words; "@/x" is x in the test's folder. */
static int run(struct importer *m, const char *const *words, int count)
{
    struct options o;
    char *made[WORDS_MAX];
    m->e = (struct err){0};
    for (int i = 0; i < count; i++) {
        const char *at = strstr(words[i], "@/");
        made[i] = at ? xasprintf("%.*s%s/%s", (int)(at - words[i]), words[i], m->folder, at + 2)
                     : xstrdup(words[i]);
    }
    int result = options_parse(&o, VERB_DATA_IMPORT, count, (const char **)made, &m->e);
    if (!result) {
        result = cmd_data_import(&o, &m->e);
        options_release(&o);
    }
    for (int i = 0; i < count; i++)
        free(made[i]);
    return result;
}

#define RUN(m, ...)                                                                                \
    run((m), (const char *const[]){__VA_ARGS__},                                                   \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void assert_file(struct importer *m, const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(m->folder, name), *found = file_read(path, 1 << 20, NULL, &e);
    assert_ok(e);
    assert_string_equal(found, text);
    free(found);
    free(path);
}

static bool has_file(struct importer *m, const char *name)
{
    char *path = path_join(m->folder, name);
    bool has = file_exists(path);
    free(path);
    return has;
}

static const char rows[] = "id,audio_path,text_perfect,language,duration\n"
                           "1,clips/1.wav,one,en,1.5\n2,clips/2.wav,two,de,2\n"
                           "3,clips/3.wav,three,en,40\n";

static void start(struct importer *m)
{
    importer_start(m);
    setenv("XDG_CACHE_HOME", m->folder, 1);
    free(importer_file(m, "rows.csv", rows));
    for (int i = 1; i <= 3; i++) {
        char name[] = "clips/0.wav";
        name[6] = (char)('0' + i);
        free(importer_file(m, name, "x"));
    }
}

static void test_cmd_data_import__writes_a_file(void **state)
{
    (void)state;
    struct importer m;
    start(&m);
    int result =
        RUN(&m, "@/rows.csv", "-o", "@/x.jsonl", "--languages", "en", "--max-duration", "30");
    assert_ok(m.e);
    assert_int_equal(result, 0);
    assert_file(&m, "x.jsonl",
                "{\"id\":\"1\",\"audio\":\"clips/1.wav\",\"text\":\"one\",\"language\":\"en\","
                "\"duration\":1.5}\n");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/y.jsonl", "--language-mode", "override:it",
                         "--limit", "1", "--columns", "text=id"),
                     0);
    assert_file(&m, "y.jsonl",
                "{\"id\":\"1\",\"audio\":\"clips/1.wav\",\"text\":\"1\",\"language\":\"it\","
                "\"duration\":1.5}\n");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/z.jsonl", "--split", "0.5"), 0);
    assert_true(has_file(&m, "z.train.jsonl") || has_file(&m, "z.eval.jsonl"));
    assert_false(has_file(&m, "z.jsonl"));
    importer_stop(&m);
}

static void test_cmd_data_import__a_missing_clip_is_a_bad_row(void **state)
{
    (void)state;
    struct importer m;
    start(&m);
    char *clip = path_join(m.folder, "clips/2.wav");
    unlink(clip);
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x.jsonl", "--bad-min", "0"), -1);
    assert_err(m.e, ERR_DATA, "1 of 2 rows are bad");
    assert_false(has_file(&m, "x.jsonl"));
    assert_false(has_file(&m, "x.jsonl.tmp"));
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x.jsonl"), 0);
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x.jsonl", "--bad-min", "0", "--check", "none"),
                     0);
    free(clip);
    importer_stop(&m);
}

static void test_cmd_data_import__guesses_what_a_source_is(void **state)
{
    (void)state;
    struct importer m;
    start(&m);
    free(importer_file(&m, "set/train/metadata.csv", "file_name,text\na.wav,one\n"));
    free(importer_file(&m, "set/train/a.wav", "x"));
    assert_int_equal(RUN(&m, "@/set", "-o", "@/x.jsonl"), 0);
    assert_true(has_file(&m, "x.train.jsonl"));
    assert_int_equal(RUN(&m, "@/clips", "-o", "@/x.jsonl"), -1);
    assert_err(m.e, ERR_DATA, "clips: there is no metadata.csv");
    assert_int_equal(RUN(&m, "@/nothing.csv", "-o", "@/x.jsonl"), -1);
    assert_err(m.e, ERR_DATA, "nothing.csv");
    setenv("BIGQUERY_EMULATOR_HOST", "127.0.0.1:1", 1);
    assert_int_equal(RUN(&m, "p.d.t", "-o", "@/x.jsonl", "--retry-for", "1"), -1);
    assert_err(m.e, ERR_RETRY, "p.d.t");
    unsetenv("BIGQUERY_EMULATOR_HOST");
    importer_stop(&m);
}

static void test_cmd_data_import__refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct importer m;
    start(&m);
    assert_int_equal(RUN(&m, "@/rows.csv"), -1);
    assert_err(m.e, ERR_USAGE, "--output is missing");
    assert_int_equal(RUN(&m, "-o", "@/x.jsonl"), -1);
    assert_err(m.e, ERR_USAGE, "no source was given");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "gs://b/x.jsonl"), -1);
    assert_err(m.e, ERR_USAGE, "is no file of this machine");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "-", "--split", "0.1"), -1);
    assert_err(m.e, ERR_USAGE, "two files need a name");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x", "--query", "SELECT 1"), -1);
    assert_err(m.e, ERR_USAGE, "expected one of them");
    assert_int_equal(RUN(&m, "-o", "@/x", "--query", "SELECT 1", "--from", "csv"), -1);
    assert_err(m.e, ERR_USAGE, "only BigQuery takes a query");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x", "--language-mode", "all"), -1);
    assert_err(m.e, ERR_USAGE, "expected strict, mixed or override:xx");
    assert_int_equal(
        RUN(&m, "@/rows.csv", "-o", "@/x", "--language-mode", "mixed", "--languages", "en"), -1);
    assert_err(m.e, ERR_USAGE, "has no effect");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x", "--languages", "1"), -1);
    assert_err(m.e, ERR_USAGE, "is no language");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/no/x"), -1);
    assert_err(m.e, ERR_USAGE, "there is no such folder");
    assert_int_equal(RUN(&m, "@/rows.csv", "-o", "@/x", "--languages", "fr"), -1);
    assert_err(m.e, ERR_DATA, "no record is left of 3 rows");
    assert_false(has_file(&m, "x"));
    importer_stop(&m);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_data_import__writes_a_file),
        cmocka_unit_test(test_cmd_data_import__a_missing_clip_is_a_bad_row),
        cmocka_unit_test(test_cmd_data_import__guesses_what_a_source_is),
        cmocka_unit_test(test_cmd_data_import__refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
