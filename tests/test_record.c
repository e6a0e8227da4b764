/* test_record.c - every form of a record, and a message for everything that is none. */
#include "testing.h"

#include "data/record.h"

static struct record parse_with(const char *line, const char *prompt)
{
    struct err e = {0};
    struct record r;
    int failed = record_parse(&r, line, strlen(line), "train.jsonl:17", "data", prompt, &e);
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
    assert_int_equal(record_parse(&r, line, strlen(line), "train.jsonl:17", "data", NULL, &e), -1);
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
        cmocka_unit_test(test_record__says_where_json_is_wrong),
        cmocka_unit_test(test_record__names_the_keys_it_found),
        cmocka_unit_test(test_record__does_not_overlook_misspelt_keys),
        cmocka_unit_test(test_record__names_wrong_values),
        cmocka_unit_test(test_record__survives_deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
