/* test_import_tables.c - rows out of CSV files, manifests, and data sets in the Hub's layout. */
#include "import_testing.h"

#include "base/log.h"

/* Import the tables that a pattern below the folder means. */
static int import_pattern(struct importer *m, const char *pattern, const char *base)
{
    struct manifest tables;
    char *whole = path_join(m->folder, pattern);
    struct manifest_options o = {.patterns = &whole, .pattern_count = 1};
    int result = manifest_open(&tables, &o, &m->e);
    assert_ok(m->e);
    result = import_tables(m->import, &tables, base, &m->e);
    manifest_release(&tables);
    free(whole);
    return result;
}

static void test_import_tables__csv_of_an_annotation_tool(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    free(importer_file(&m, "t/notes.csv",
                       "id,audio_path,text_perfect,text_verbatim,analysis_primary_language,"
                       "backend_audio_length_seconds\r\n"
                       "1,clips/1.wav,\"One, \"\"two\"\"\",um one two,en,2.5\r\n"
                       "2,gs://b/2.wav,,only verbatim,en,\r\n"
                       "3,clips/3.wav,too,many,fields,1,1\r\n"
                       "4,clips/4.wav,\"over\nlines\",v,de,61\r\n"));
    assert_int_equal(import_pattern(&m, "t/notes.csv", NULL), 0);
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1\",\"audio\":\"t/clips/1.wav\",\"text\":\"One, \\\"two\\\"\","
               "\"language\":\"en\",\"duration\":2.5}\n"
               "{\"id\":\"4\",\"audio\":\"t/clips/4.wav\",\"text\":\"over\\nlines\","
               "\"language\":\"de\",\"duration\":61.0}\n");
    const struct import_counts *n = import_counts(m.import);
    assert_int_equal(n->left[LEFT_EMPTY], 1);       /* the verbatim text is no stand-in */
    assert_int_equal(n->bad, 1);
    assert_int_equal(n->read, 4);
    char *columns[] = {"text=text_verbatim"};
    m.options.columns = columns;
    m.options.column_count = 1;
    importer_begin(&m);
    assert_int_equal(import_pattern(&m, "t/notes.csv", NULL), 0);
    assert_non_null(strstr(m.out[SPLIT_NONE].data, "\"audio\":\"gs://b/2.wav\",\"text\":\"only"));
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 3);
    importer_stop(&m);
}

static void test_import_tables__says_which_columns_there_are(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    free(importer_file(&m, "a.tsv", "name\tverse\n1\tx\n"));
    assert_int_equal(import_pattern(&m, "a.tsv", NULL), -1);
    assert_err(m.e, ERR_USAGE, "a.tsv: no column is known for the text among: name, verse");
    assert_string_equal(m.e.hint, "name it: --columns text=NAME");
    char *columns[] = {"text=vers"};
    m.options.columns = columns;
    m.options.column_count = 1;
    importer_begin(&m);
    assert_int_equal(import_pattern(&m, "a.tsv", NULL), -1);
    assert_err(m.e, ERR_USAGE, "there is no column \"vers\"");
    assert_string_equal(m.e.hint, "did you mean \"verse\"?");
    importer_stop(&m);
}

static void test_import_tables__granary(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    free(importer_file(&m, "vox/en/a.flac", "x"));
    free(importer_file(&m, "ytc-files/b.flac", "x"));
    free(importer_file(
        &m, "manifests/en.jsonl",
        "{\"audio_filepath\": \"voxpopuli/en/a.flac\", \"duration\": 3.0, \"answer\": \"a\", "
        "\"source_lang\": \"en\", \"target_lang\": \"en\", \"taskname\": \"asr\", "
        "\"dataset_source\": \"voxpopuli\", \"utt_id\": \"u1\"}\n"
        "{\"audio_filepath\": \"ytc/deep/b.flac\", \"duration\": 3.0, \"answer\": \"b\", "
        "\"source_lang\": \"en\", \"taskname\": \"asr\", \"dataset_source\": \"ytc\", "
        "\"utt_id\": \"u2\"}\n"
        "{\"audio_filepath\": \"ytc/deep/c.flac\", \"duration\": 3.0, \"answer\": \"c\", "
        "\"source_lang\": \"en\", \"taskname\": \"asr\", \"dataset_source\": \"ytc\"}\n"
        "{\"audio_filepath\": \"yodas/d.flac\", \"answer\": \"d\", \"dataset_source\": \"yodas\"}\n"
        "{\"audio_filepath\": \"ytc/deep/b.flac\", \"answer\": \"B\", \"source_lang\": \"en\", "
        "\"target_lang\": \"de\", \"taskname\": \"ast\", \"dataset_source\": \"ytc\"}\n"
        "not JSON\n"));
    char *vox = xasprintf("voxpopuli=%s/vox", m.folder);
    char *ytc = xasprintf("ytc=%s/ytc-files", m.folder);
    char *roots[] = {vox, ytc};
    import_place_release(&m.place);
    assert_int_equal(import_place_init(&m.place, roots, 2, CHECK_LOCAL, NULL, m.folder, &m.e), 0);
    assert_int_equal(import_pattern(&m, "manifests/en.jsonl", NULL), 0);
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"u1\",\"audio\":\"vox/en/a.flac\",\"text\":\"a\",\"language\":\"en\","
               "\"duration\":3.0,\"corpus\":\"voxpopuli\"}\n"
               "{\"id\":\"u2\",\"audio\":\"ytc-files/b.flac\",\"text\":\"b\",\"language\":\"en\","
               "\"duration\":3.0,\"corpus\":\"ytc\"}\n");
    assert_int_equal(import_counts(m.import)->bad, 3);     /* c, yodas, garbage */
    assert_int_equal(import_counts(m.import)->left[LEFT_TASK], 1);
    free(vox);
    free(ytc);
    importer_stop(&m);
}

static void test_import_tables__hub_layout_with_splits(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    free(importer_file(&m, "set/train/metadata.csv", "file_name,transcription\na.wav,one\n"));
    free(importer_file(&m, "set/data/validation/metadata.jsonl",
                       "{\"file_name\": \"b.wav\", \"text\": \"two\"}\n"));
    free(importer_file(&m, "set/test/deeper/metadata.csv", "file_name,text\nc.wav,three\n"));
    free(importer_file(&m, "set/other.csv", "file_name,text\nd.wav,four\n"));
    char *base = path_join(m.folder, "set");
    struct object_list found = {0};
    assert_int_equal(import_hub_tables(NULL, base, &found, &m.e), 0);
    assert_ok(m.e);
    assert_int_equal(found.count, 3);
    for (int64_t i = 0; i < found.count; i++)
        assert_int_equal(import_pattern(&m, found.at[i].uri, base), 0);
    assert_non_null(
        strstr(m.out[SPLIT_TRAIN].data, "\"audio\":\"set/train/a.wav\",\"text\":\"one\""));
    assert_non_null(strstr(m.out[SPLIT_EVAL].data, "\"audio\":\"set/data/validation/b.wav\""));
    assert_non_null(strstr(m.out[SPLIT_TEST].data, "\"audio\":\"set/test/deeper/c.wav\""));
    assert_int_equal(m.out[SPLIT_NONE].size, 0);
    object_list_release(&found);
    free(base);
    importer_stop(&m);
}

static void test_import_tables__hub_layout_without_a_table(void **state)
{
    (void)state;
    struct importer m;
    importer_start(&m);
    struct object_list found = {0};
    free(importer_file(&m, "set/a.wav", "x"));
    char *base = path_join(m.folder, "set");
    assert_int_equal(import_hub_tables(NULL, base, &found, &m.e), -1);
    assert_err(m.e, ERR_DATA, "set: there is no metadata.csv or metadata.jsonl in it");
    m.e = (struct err){0};
    free(importer_file(&m, "set/data/train-00000-of-00001.parquet", "PAR1"));
    assert_int_equal(import_hub_tables(NULL, base, &found, &m.e), -1);
    assert_err(m.e, ERR_DATA, "set: holds Parquet files only, which are not read");
    assert_non_null(strstr(m.e.hint, "metadata.csv"));
    free(base);
    importer_stop(&m);
}

static void test_import_tables__knows_splits_by_folders(void **state)
{
    (void)state;
    assert_int_equal(import_split_of("/a/train/set/dev/m.csv", "/a/train/set"), SPLIT_EVAL);
    assert_int_equal(import_split_of("/a/set/train/m.csv", "/a/set/"), SPLIT_TRAIN);
    assert_int_equal(import_split_of("hf://datasets/o/n/data/test/m.csv", "hf://datasets/o/n"),
                     SPLIT_TEST);
    assert_int_equal(import_split_of("/a/set/train", "/a/set"), SPLIT_NONE);
    assert_int_equal(import_split_of("/a/set/training-data/m.csv", "/a/set"), SPLIT_NONE);
}

static void test_import_tables__refuses_shards(void **state)
{
    (void)state;
    struct manifest_file file = {.kind = MANIFEST_TAR, .object = {.uri = "a.tar"}};
    struct manifest tables = {.files = &file, .file_count = 1};
    struct importer m;
    importer_start(&m);
    assert_int_equal(import_tables(m.import, &tables, NULL, &m.e), -1);
    assert_err(m.e, ERR_USAGE, "a.tar: shards need no import");
    importer_stop(&m);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_tables__csv_of_an_annotation_tool),
        cmocka_unit_test(test_import_tables__says_which_columns_there_are),
        cmocka_unit_test(test_import_tables__granary),
        cmocka_unit_test(test_import_tables__hub_layout_with_splits),
        cmocka_unit_test(test_import_tables__hub_layout_without_a_table),
        cmocka_unit_test(test_import_tables__knows_splits_by_folders),
        cmocka_unit_test(test_import_tables__refuses_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
