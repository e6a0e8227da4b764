/* test_record.c - every form of a record, and a message for everything that is none. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "data/patch.h"
#include "data/record.h"

static struct record parse_with(const char *line, const char *prompt)
{
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "train.jsonl:17", .dir = "data", .prompt = prompt};
    int failed = record_parse(&r, line, strlen(line), &place, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return r;
}

static struct record parse(const char *line)
{
    return parse_with(line, NULL);
}

static void check_bad(const char *line, const char *part)
{
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "train.jsonl:17", .dir = "data"};
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_int_equal(strncmp(e.text, "train.jsonl:17:", 15), 0);
    assert_null(r.json);
    assert_null(r.where);
}

static const struct chat_part *part_of(const struct record *r, int message, int part)
{
    assert_true(message < r->message_count);
    assert_true(part < r->messages[message].part_count);
    return &r->messages[message].parts[part];
}

/* ------------------------------------------------------------------ forms -- */

static void test_record__messages_with_strings(void **state)
{
    (void)state;
    struct record r = parse("{\"id\": 7, \"messages\": ["
                            "{\"role\": \"system\", \"content\": \"Be brief.\"},"
                            "{\"role\": \"user\", \"content\": \"Hi\"},"
                            "{\"role\": \"assistant\", \"content\": \"Hello\", \"name\": \"x\"}]}");
    assert_int_equal(r.kind, RECORD_CHAT);
    assert_string_equal(r.id, "7");
    assert_string_equal(r.where, "train.jsonl:17");
    assert_int_equal(r.message_count, 3);
    assert_int_equal(r.messages[0].role, CHAT_SYSTEM);
    assert_false(r.messages[0].is_list);
    assert_string_equal(part_of(&r, 1, 0)->text, "Hi");
    assert_int_equal(r.messages[2].role, CHAT_ASSISTANT);
    char *reference = record_reference(&r);
    assert_string_equal(reference, "Hello");
    free(reference);
    record_release(&r);
}

static void test_record__messages_with_parts(void **state)
{
    (void)state;
    struct record r = parse(
        "{\"messages\": [{\"role\": \"user\", \"content\": ["
        "{\"type\": \"audio\", \"audio\": \"a.flac\"}, {\"type\": \"text\", \"text\": \"and\"},"
        "{\"type\": \"audio\", \"path\": \"/abs/b.wav\"},"
        "{\"type\": \"audio_url\", \"audio_url\": {\"url\": \"file:///c.mp3\"}},"
        "{\"type\": \"input_audio\", \"input_audio\": {\"data\": \"Zm9v\", \"format\": \"wav\"}},"
        "{\"audio\": \"data:audio/wav;base64,YmFy\"}]},"
        "{\"role\": \"model\", \"content\": [{\"text\": \"o\"}, \"k\"]}]}");
    assert_int_equal(r.message_count, 2);
    assert_true(r.messages[0].is_list);
    assert_int_equal(r.media_count, 5);
    assert_string_equal(r.media[0].uri, "data/a.flac");
    assert_string_equal(r.media[0].name, "a.flac");
    assert_string_equal(r.media[1].uri, "/abs/b.wav");
    assert_string_equal(r.media[2].uri, "file:///c.mp3");
    assert_null(r.media[3].uri);
    assert_memory_equal(r.media[3].bytes, "foo", 3);
    assert_memory_equal(r.media[4].bytes, "bar", 3);
    assert_int_equal(r.media[4].size, 3);
    assert_int_equal(part_of(&r, 0, 0)->kind, CHAT_AUDIO);
    assert_int_equal(part_of(&r, 0, 1)->kind, CHAT_TEXT);
    assert_int_equal(part_of(&r, 0, 5)->media, 4);
    char *reference = record_reference(&r);
    assert_string_equal(reference, "ok");
    free(reference);
    record_release(&r);
}

static void test_record__audios_fill_parts_without_a_file(void **state)
{
    (void)state;
    struct record r = parse("{\"audios\": [\"a.wav\", {\"path\": \"b.wav\"}], \"messages\": ["
                            "{\"role\": \"user\", \"content\": [{\"type\": \"audio\"},"
                            "{\"type\": \"audio\"}]}]}");
    assert_int_equal(r.media_count, 2);
    assert_string_equal(r.media[1].uri, "data/b.wav");
    record_release(&r);
    check_bad("{\"audios\": [\"a.wav\", \"b.wav\"], \"messages\": ["
              "{\"role\": \"user\", \"content\": [{\"type\": \"audio\"}]}]}",
              "\"audios\" has 2 files, the messages take 1");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"audio\"}]}]}",
              "messages[0]: content[0]: an audio part without a file");
}

static void test_record__transcript(void **state)
{
    (void)state;
    struct record r = parse_with("{\"audio\": \"a.wav\", \"text\": \"good morning\","
                                 " \"language\": \"en\", \"duration\": 2.5, \"speaker\": \"x\"}",
                                 "Transcribe.");
    assert_int_equal(r.message_count, 2);
    assert_int_equal(r.messages[0].part_count, 2);
    assert_int_equal(part_of(&r, 0, 0)->kind, CHAT_AUDIO);
    assert_string_equal(part_of(&r, 0, 1)->text, "Transcribe.");
    assert_string_equal(part_of(&r, 1, 0)->text, "good morning");
    assert_string_equal(r.language, "en");
    assert_near(r.seconds, 2.5, 0);
    record_release(&r);

    r = parse_with("{\"audio_filepath\": \"a.wav\", \"text\": \"x\", \"prompt\": \"Own.\"}",
                   "Transcribe.");
    assert_string_equal(part_of(&r, 0, 1)->text, "Own.");
    record_release(&r);

    r = parse("{\"audio\": {\"path\": \"a.wav\"}}");
    assert_int_equal(r.message_count, 1);
    assert_int_equal(r.messages[0].part_count, 1);
    assert_null(record_reference(&r));
    record_release(&r);
}

static void test_record__completion_and_text(void **state)
{
    (void)state;
    struct record r = parse("{\"prompt\": \"2 + 2 =\", \"completion\": \"4\", \"source\": 1}");
    assert_int_equal(r.message_count, 2);
    assert_string_equal(part_of(&r, 0, 0)->text, "2 + 2 =");
    assert_string_equal(part_of(&r, 1, 0)->text, "4");
    record_release(&r);
    r = parse("{\"prompt\": \"2 + 2 =\"}");
    assert_int_equal(r.message_count, 1);
    record_release(&r);
    r = parse(" {\"text\": \"any \\u00e9 text\\n\", \"url\": \"x\", \"test\": 1} ");
    assert_int_equal(r.kind, RECORD_TEXT);
    assert_string_equal(r.text, "any \xc3\xa9 text\n");
    assert_null(r.id);
    record_release(&r);
}

static void test_record__of_clip(void **state)
{
    (void)state;
    struct record r;
    record_of_clip(&r, "a.m4a", "Transcribe.");
    assert_int_equal(r.message_count, 1);
    assert_int_equal(r.messages[0].part_count, 2);
    assert_string_equal(r.media[0].uri, "a.m4a");
    assert_null(record_reference(&r));
    record_release(&r);
    record_of_clip(&r, "a.m4a", NULL);
    assert_int_equal(r.messages[0].part_count, 1);
    record_release(&r);
    record_release(&r);
}

/* ----------------------------------------------------- columns and patches -- */

static json_t *json_of(const char *text)
{
    struct err e = {0};
    json_t *o = json_read_text("here", text, strlen(text), &e);
    assert_ok(e);
    return o;
}

static void check_renamed(const char *text, char *const *columns, int count, const char *expected)
{
    json_t *o = json_of(text);
    record_rename(o, columns, count);
    char *found = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(found, expected);
    free(found);
    json_decref(o);
}

static void test_record__columns_are_renamed_all_at_once(void **state)
{
    (void)state;
    char *columns[] = {"text=transcript", "audio=wav_path", "id=no such"};
    check_renamed("{\"transcript\": \"a\", \"wav_path\": \"b\", \"id\": 1, \"c\": 2}", columns, 3,
                  "{\"audio\":\"b\",\"c\":2,\"id\":1,\"text\":\"a\"}");
    check_renamed("{\"transcript\": \"a\", \"text\": \"b\"}", columns, 3, "{\"text\":\"a\"}");
    check_renamed("{\"transcript\": null, \"text\": \"b\"}", columns, 3,
                  "{\"text\":\"b\",\"transcript\":null}");
    char *swap[] = {"text=prompt", "prompt=text", "id=text"};
    check_renamed("{\"prompt\": \"a\", \"text\": \"b\"}", swap, 3,
                  "{\"id\":\"b\",\"prompt\":\"b\",\"text\":\"a\"}");
    check_renamed("{\"a\": 1}", NULL, 0, "{\"a\":1}");

    struct err e = {0};
    struct record r;
    struct record_place place = {
        .where = "a.csv:2", .dir = "d", .columns = columns, .column_count = 2};
    const char line[] = "{\"wav_path\": \"b.wav\", \"transcript\": \"t\"}";
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), 0);
    assert_string_equal(r.media[0].uri, "d/b.wav");
    assert_string_equal(part_of(&r, 1, 0)->text, "t");
    record_release(&r);
}

/* A folder of patches: 7 has another text, "gone" is deleted. */
static struct patch *new_patch(void)
{
    struct err e = {0};
    char *folder = testing_folder();
    static const char *const files[][2] = {{"override_text", "id,text\n7,better\n"},
                                           {"delete", "id\ngone\n"}};
    for (int i = 0; i < 2; i++) {
        char *dir = path_join(folder, files[i][0]), *path = path_join(dir, "a.csv");
        assert_int_equal(dir_make(dir, &e), 0);
        assert_int_equal(file_write(path, files[i][1], strlen(files[i][1]), &e), 0);
        free(path);
        free(dir);
    }
    struct patch *p = patch_open(NULL, folder, &e);
    assert_ok(e);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return p;
}

static void check_reference(const char *line, const struct patch *p, const char *expected)
{
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "a:1", .patch = p};
    int failed = record_parse(&r, line, strlen(line), &place, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    char *reference = record_reference(&r);
    assert_string_equal(reference ? reference : r.text, expected);
    free(reference);
    record_release(&r);
}

static void test_record__patches_give_other_texts(void **state)
{
    (void)state;
    struct patch *p = new_patch();
    check_reference("{\"id\": 7, \"audio\": \"a.wav\", \"text\": \"x\"}", p, "better");
    check_reference("{\"id\": \"7.0\", \"audio\": \"a.wav\"}", p, "better");
    check_reference("{\"id\": 8, \"audio\": \"a.wav\", \"text\": \"x\"}", p, "x");
    check_reference("{\"audio\": \"a.wav\", \"text\": \"x\"}", p, "x");
    check_reference("{\"id\": 7, \"text\": \"x\"}", p, "better");
    check_reference("{\"id\": 7, \"prompt\": \"a\", \"completion\": \"x\"}", p, "better");
    check_reference("{\"id\": 7, \"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
                    "{\"role\": \"assistant\", \"content\": [{\"text\": \"x\"}, \"y\"]}]}",
                    p, "better");
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "a:1", .patch = p};
    const char line[] = "{\"id\": 7, \"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}";
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), -1);
    assert_err(e, ERR_DATA, "a:1: a patch has a text for it, but its last message is not");
    patch_free(p);
}

/* ------------------------------------------------------------------- facts -- */

static struct record_facts facts_of(const char *text, const struct record_place *place)
{
    struct record_facts f;
    json_t *o = json_of(text);
    record_facts(&f, o, place);
    json_decref(o);
    return f;
}

static void test_record__facts_of_texts_and_durations(void **state)
{
    (void)state;
    struct record_place place = {.dir = "/nothing/here"};
    struct record_facts f = facts_of("{\"id\": 7, \"audio\": \"a.wav\", \"text\": \"12345678\","
                                     " \"prompt\": \"1234\", \"duration\": 2.5}",
                                     &place);
    assert_string_equal(f.id, "7");
    assert_int_equal(f.length, 3 + 62);
    assert_near(f.seconds, 2.5, 0);
    assert_int_equal(f.media_count, 1);
    f = facts_of("{\"audio\": \"a.wav\", \"text\": \"\", \"audio_seconds\": 4}", &place);
    assert_string_equal(f.id, "");
    assert_int_equal(f.length, 100);
    f = facts_of("{\"audio\": \"gs://b/a.wav\", \"text\": \"1234\"}", &place);
    assert_int_equal(f.length, 1);
    f = facts_of("{\"prompt\": \"1234\", \"completion\": \"12345678\"}", &place);
    assert_int_equal(f.length, 3);
    f = facts_of("{\"messages\": [{\"role\": \"user\", \"content\": \"1234\"}, {\"content\": ["
                 "{\"text\": \"1234\"}, \"1234\", {\"type\": \"audio\"}, {\"audio\": \"b\"},"
                 "{\"type\": \"audio\", \"input_audio\": {\"data\": \"AAAAAAAA\"}}]}],"
                 "\"audios\": [\"a.wav\"]}",
                 &place);
    assert_int_equal(f.length, 3);
    assert_int_equal(f.media_count, 3);
    f = facts_of("{\"duration\": 1e30, \"text\": \"1234\"}", &place);
    assert_int_equal(f.length, 1);
    f = facts_of("{\"text\": 5, \"messages\": 7, \"id\": [], \"audio\": {}}", &place);
    assert_int_equal(f.length, 0);
    f = facts_of("[1]", &place);
    assert_int_equal(f.length, 0);
}

static void test_record__facts_of_files(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder(), *path = path_join(folder, "a.wav");
    static const char bytes[12800];
    assert_int_equal(file_write(path, bytes, sizeof bytes, &e), 0);
    struct record_place place = {.dir = folder};
    struct record_facts f = facts_of("{\"audio\": \"a.wav\"}", &place);
    /* No manifest pins the size of a file beside it. */
    assert_int_equal(f.length, 0);
    f = facts_of("{\"audio\": \"a.wav\", \"duration\": 1}", &place);
    assert_int_equal(f.length, 25);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(folder);
}

static void test_record__facts_know_columns_and_patches(void **state)
{
    (void)state;
    struct patch *p = new_patch();
    char *columns[] = {"id=utt", "text=transcript", "duration=s"};
    struct record_place place = {.columns = columns, .column_count = 3, .patch = p};
    struct record_facts f = facts_of("{\"utt\": 7, \"s\": 2, \"audio\": \"gs://b/a\","
                                     " \"transcript\": \"long enough to count\"}",
                                     &place);
    assert_string_equal(f.id, "7");
    assert_int_equal(f.length, 50 + 1);
    f = facts_of("{\"utt\": 8, \"transcript\": \"12345678\", \"text\": \"\"}", &place);
    assert_int_equal(f.length, 2);
    /* Renamed before. */
    f = facts_of("{\"id\": 8, \"text\": \"12345678\"}", &place);
    assert_string_equal(f.id, "8");
    assert_int_equal(f.length, 2);
    patch_free(p);
    char text[400], id[300];
    memset(id, 'x', sizeof id);
    memcpy(id + 290, "the end!!", 10);
    snprintf(text, sizeof text, "{\"id\": \"%s\"}", id);
    f = facts_of(text, &(struct record_place){0});
    assert_int_equal(strlen(f.id), 255);
    assert_string_equal(f.id + 246, "the end!!");
}

/* ------------------------------------------------------------- bad records -- */

static void test_record__says_where_json_is_wrong(void **state)
{
    (void)state;
    check_bad("{\"text\": \"a\" \"b\"}", "train.jsonl:17:16: ");
    check_bad("{\"text\": \"a\", \"text\": \"b\"}", "duplicate object key");
    check_bad("{\"text\": \"a\"", "train.jsonl:17:12: ");
    check_bad("{\"text\": \"a\"} x", "end of file expected");
    check_bad("{\"text\": \"\xff\"}", "train.jsonl:17:11: the byte 0xff is not UTF-8");
    check_bad("{\"text\": \"\xed\xa0\x80\"}", "UTF-8");
    check_bad("{\"text\": \"a\\u0000b\"}", "u0000");
    check_bad("", "train.jsonl:17:1: ");
    check_bad("[1, 2]", "expected an object, found an array");
    check_bad("\"text\"", "expected an object, found a string");
}

static void test_record__names_the_keys_it_found(void **state)
{
    (void)state;
    check_bad("{}", "an empty record");
    check_bad("{\"question\": \"a\", \"answer\": \"b\"}",
              "no usable form, found the keys \"question\", \"answer\"");
    check_bad("{\"mesages\": []}", "unknown key \"mesages\" looks like \"messages\"");
    check_bad("{\"txet\": \"a\"}", "unknown key \"txet\" looks like \"text\"");
    check_bad("{\"image\": \"a.png\", \"text\": \"b\"}", "\"image\" is not supported");
}

/* A clip or a text must not be left out silently. */
static void test_record__does_not_overlook_misspelt_keys(void **state)
{
    (void)state;
    check_bad("{\"adio\": \"a.wav\", \"text\": \"b\"}", "\"adio\" looks like \"audio\"");
    check_bad("{\"audio_path\": \"a.wav\", \"text\": \"b\"}",
              "\"audio_path\" looks like \"audio\"");
    check_bad("{\"wav\": \"a.wav\", \"text\": \"b\"}", "\"wav\" looks like \"audio\"");
    check_bad("{\"audio\": \"a.wav\", \"test\": \"b\"}", "\"test\" looks like \"text\"");
    check_bad("{\"audio\": \"a.wav\", \"text\": \"b\", \"promt\": \"c\"}", "looks like \"prompt\"");
    check_bad("{\"prompt\": \"a\", \"completions\": \"b\"}", "looks like \"completion\"");
    check_bad("{\"prompt\": \"a\", \"text\": \"b\"}", "\"text\" beside \"prompt\"");
    check_bad("{\"completion\": \"a\"}", "\"prompt\" is missing");
    check_bad("{\"audio\": \"a.wav\", \"completion\": \"a\"}", "\"completion\" beside \"audio\"");
    check_bad("{\"audio\": \"a.wav\", \"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
              "\"audio\" beside \"messages\"");
}

static void test_record__names_wrong_values(void **state)
{
    (void)state;
    check_bad("{\"text\": 5}", "\"text\": expected a string, found an integer");
    check_bad("{\"audio\": 5, \"text\": \"a\"}", "\"audio\": expected a file name");
    check_bad("{\"audio\": \"\", \"text\": \"a\"}", "an empty file name");
    check_bad("{\"audio\": {\"array\": []}, \"text\": \"a\"}", "without \"path\"");
    check_bad("{\"audio\": \"data:audio/wav,xx\", \"text\": \"a\"}", "data: URI");
    check_bad("{\"audio\": \"data:audio/wav;base64,Zg!\", \"text\": \"a\"}", "not base64");
    check_bad("{\"id\": [], \"text\": \"a\"}", "\"id\": expected a string or an integer");
    check_bad("{\"messages\": 3}", "\"messages\": expected an array, found an integer");
    check_bad("{\"messages\": []}", "found 0 messages");
    check_bad("{\"messages\": [5]}", "messages[0]: ");
    check_bad("{\"messages\": [{\"content\": \"a\"}]}", "\"role\" is missing");
    check_bad("{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}",
              "unknown role \"tool\"");
    check_bad("{\"messages\": [{\"role\": \"user\"}]}", "content: expected a string or a list");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}",
              "messages[0]: content[0]: parts of type \"image\" are not supported");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"smell\"}]}]}",
              "unknown part type \"smell\"");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]}",
              "\"text\" is missing");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{}]}]}", "without \"type\"");
    check_bad("{\"messages\": [{\"role\": \"assistant\", \"content\": \"\","
              " \"tool_calls\": [{}]}]}",
              "\"tool_calls\"");
    check_bad("{\"messages\": [{\"role\": \"assistant\", \"content\": \"\", \"weight\": 0}]}",
              "\"weight\"");
}

static void test_record__survives_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    char *line = malloc(DEPTH + 1);
    memset(line, '[', DEPTH);
    line[DEPTH] = 0;
    check_bad(line, "train.jsonl:17:");
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record__messages_with_strings),
        cmocka_unit_test(test_record__messages_with_parts),
        cmocka_unit_test(test_record__audios_fill_parts_without_a_file),
        cmocka_unit_test(test_record__transcript),
        cmocka_unit_test(test_record__completion_and_text),
        cmocka_unit_test(test_record__of_clip),
        cmocka_unit_test(test_record__columns_are_renamed_all_at_once),
        cmocka_unit_test(test_record__patches_give_other_texts),
        cmocka_unit_test(test_record__facts_of_texts_and_durations),
        cmocka_unit_test(test_record__facts_of_files),
        cmocka_unit_test(test_record__facts_know_columns_and_patches),
        cmocka_unit_test(test_record__says_where_json_is_wrong),
        cmocka_unit_test(test_record__names_the_keys_it_found),
        cmocka_unit_test(test_record__does_not_overlook_misspelt_keys),
        cmocka_unit_test(test_record__names_wrong_values),
        cmocka_unit_test(test_record__survives_deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
