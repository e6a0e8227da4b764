/* test_record_speech.c - what records say of how their clips are transcribed. */
#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/csv.h"
#include "data/patch.h"
#include "data/record.h"

static struct record parse(const char *line)
{
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "a.jsonl:1", .dir = "data"};
    int failed = record_parse(&r, line, strlen(line), &place, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return r;
}

static void check_bad(const char *line, const char *part)
{
    struct err e = {0};
    struct record r;
    struct record_place place = {.where = "a.jsonl:1", .dir = "data"};
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_null(r.json);
    assert_null(r.speech.segments);
}

static const char *text_of(const struct record *r)
{
    assert_int_equal(r->message_count, 2);
    assert_int_equal(r->messages[1].part_count, 1);
    return r->messages[1].parts[0].text;
}

static void test_record_speech__nothing_said(void **state)
{
    (void)state;
    struct record r = parse("{\"audio\": \"a.wav\", \"text\": \"x\"}");
    assert_null(r.speech.language);
    assert_int_equal(r.speech.task, WHISPER_TASK_UNKNOWN);
    assert_int_equal(r.speech.timestamps, -1);
    assert_int_equal(r.speech.segment_count, 0);
    record_release(&r);
    /* null is as good as not there. */
    r = parse("{\"audio\": \"a.wav\", \"text\": \"x\", \"language\": null, \"task\": null,"
              " \"timestamps\": null, \"segments\": null}");
    assert_null(r.speech.language);
    assert_int_equal(r.speech.task, WHISPER_TASK_UNKNOWN);
    assert_int_equal(r.speech.timestamps, -1);
    record_release(&r);
    record_of_clip(&r, "a.wav", NULL);
    assert_int_equal(r.speech.task, WHISPER_TASK_UNKNOWN);
    assert_int_equal(r.speech.timestamps, -1);
    record_release(&r);
}

static void check_all(const struct record *r)
{
    const struct whisper_speech *s = &r->speech;
    assert_string_equal(s->language, "de");
    assert_int_equal(s->task, WHISPER_TRANSLATE);
    assert_int_equal(s->timestamps, 1);
    assert_int_equal(s->segment_count, 2);
    assert_near(s->segments[0].start, 0, 0);
    assert_near(s->segments[0].end, 1.24, 0);
    assert_string_equal(s->segments[0].text, "Guten Morgen.");
    assert_near(s->segments[1].start, 1.6, 0);
    assert_near(s->segments[1].end, 3, 0);
    assert_string_equal(s->segments[1].text, "Wie geht's?");
}

#define ALL                                                                                        \
    "\"language\": \"de\", \"task\": \"translate\", \"timestamps\": true, \"segments\": ["         \
    "{\"start\": 0, \"end\": 1.24, \"text\": \"Guten Morgen.\"},"                                  \
    "{\"start\": 1.6, \"end\": 3, \"text\": \"Wie geht's?\"}]"

static void test_record_speech__in_every_form(void **state)
{
    (void)state;
    struct record r = parse("{\"audio\": \"a.wav\", \"text\": \"whole\", " ALL "}");
    check_all(&r);
    assert_string_equal(text_of(&r), "whole");
    record_release(&r);
    r = parse("{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"a.wav\"}]},"
              " {\"role\": \"assistant\", \"content\": \"whole\"}], " ALL "}");
    check_all(&r);
    assert_string_equal(text_of(&r), "whole");
    record_release(&r);
    r = parse("{\"audio\": \"a.wav\", \"text\": \"x\", \"task\": \"transcribe\","
              " \"timestamps\": false, \"segments\": []}");
    assert_int_equal(r.speech.task, WHISPER_TRANSCRIBE);
    assert_int_equal(r.speech.timestamps, 0);
    assert_int_equal(r.speech.segment_count, 0);
    record_release(&r);
    /* Of records without sound other programs may say what they like. */
    r = parse("{\"image\": \"a.png\", \"text\": \"x\", \"task\": \"caption\", \"mask\": 1,"
              " \"segments\": 7, \"timestamps\": [1]}");
    assert_int_equal(r.speech.task, WHISPER_TASK_UNKNOWN);
    record_release(&r);
}

static void test_record_speech__text_of_segments(void **state)
{
    (void)state;
    struct record r = parse("{\"audio\": \"a.wav\", " ALL "}");
    assert_string_equal(text_of(&r), "Guten Morgen. Wie geht's?");
    char *reference = record_reference(&r);
    assert_string_equal(reference, "Guten Morgen. Wie geht's?");
    free(reference);
    record_release(&r);
    r = parse("{\"audio\": \"a.wav\", \"segments\": ["
              "{\"start\": 0, \"end\": 1, \"text\": \" a\"}, {\"start\": 1, \"end\": 2,"
              " \"text\": \" b \"}, {\"start\": 2, \"end\": 3, \"text\": \"c\"},"
              "{\"start\": 3, \"end\": 4, \"text\": \"\"}, {\"start\": 4, \"end\": 5,"
              " \"text\": \"d\"}]}");
    assert_string_equal(text_of(&r), " a b c d");
    record_release(&r);
    /* Nothing is said of what is said. */
    r = parse("{\"audio\": \"a.wav\", \"segments\": []}");
    assert_int_equal(r.message_count, 1);
    record_release(&r);
    r = parse("{\"audio\": \"a.wav\", \"text\": \"\", " ALL "}");
    assert_string_equal(text_of(&r), "");
    record_release(&r);
}

static void test_record_speech__bad_values(void **state)
{
    (void)state;
#define WITH(more) "{\"audio\": \"a.wav\", \"text\": \"x\", " more "}"
#define SEGMENT(more) WITH("\"segments\": [{\"start\": 0, \"end\": 1, \"text\": \"a\"}, " more "]")
    check_bad(WITH("\"language\": 7"), "\"language\"");
    check_bad(WITH("\"task\": \"asr\""), "\"task\": unknown \"asr\"");
    check_bad(WITH("\"task\": true"), "\"task\"");
    check_bad(WITH("\"timestamps\": 1"), "\"timestamps\": expected true or false, found");
    check_bad(WITH("\"timestamps\": \"yes\""), "\"timestamps\": expected true or false");
    check_bad(WITH("\"timestamps\": [0.5, 1]"), "\"timestamps\": expected true or false");
    check_bad(WITH("\"segments\": \"all\""), "\"segments\": expected a list, found a string");
    check_bad(WITH("\"segments\": {\"start\": 0}"), "\"segments\": expected a list");
    check_bad(SEGMENT("3"), "segments[1]: expected an object");
    check_bad(SEGMENT("{\"end\": 1, \"text\": \"a\"}"), "segments[1]: \"start\"");
    check_bad(SEGMENT("{\"start\": 1, \"text\": \"a\"}"), "segments[1]: \"end\"");
    check_bad(SEGMENT("{\"start\": 1, \"end\": 2}"), "segments[1]: \"text\"");
    check_bad(SEGMENT("{\"start\": \"1\", \"end\": 2, \"text\": \"a\"}"), "segments[1]: \"start\"");
    check_bad(SEGMENT("{\"start\": -1, \"end\": 2, \"text\": \"a\"}"), "segments[1]: from -1 to 2");
    check_bad(SEGMENT("{\"strat\": 1, \"end\": 2, \"text\": \"a\"}"),
              "segments[1]: unknown key \"strat\" looks like \"start\"");
    check_bad("{\"messages\": [{\"role\": \"user\", \"content\": [{\"audio\": \"a.wav\"}]}],"
              " \"task\": \"talk\"}",
              "\"task\": unknown \"talk\"");
}

static void test_record_speech__misspelt_keys(void **state)
{
    (void)state;
    check_bad(WITH("\"langauge\": \"de\""), "\"langauge\" looks like \"language\"");
    check_bad(WITH("\"tsak\": \"translate\""), "\"tsak\" looks like \"task\"");
    check_bad(WITH("\"segment\": []"), "\"segment\" looks like \"segments\"");
    check_bad(WITH("\"timestamp\": true"), "\"timestamp\" looks like \"timestamps\"");
    /* When it was recorded. */
    struct record r = parse(WITH("\"timestamp\": 1700000000"));
    assert_int_equal(r.speech.timestamps, -1);
    record_release(&r);
}

static struct record parse_row(const char *header_line, const char *line)
{
    struct err e = {0};
    struct csv_row header, row;
    struct record r;
    struct record_place place = {.where = "a.csv:2", .dir = "data"};
    assert_true(csv_read(&header, header_line, strlen(header_line), ',', true, &e) > 0);
    assert_true(csv_read(&row, line, strlen(line), ',', true, &e) > 0);
    json_t *o = csv_object(&row, &header, &e);
    assert_ok(e);
    assert_int_equal(record_of_json(&r, o, &place, &e), 0);
    csv_row_release(&header);
    csv_row_release(&row);
    return r;
}

static void test_record_speech__columns_of_a_table(void **state)
{
    (void)state;
    struct record r = parse_row(
        "audio,text,language,task,timestamps,segments",
        "a.wav,whole,de,translate,true,\"[{\"\"start\"\": 0, \"\"end\"\": 1.24, \"\"text\"\":"
        " \"\"Guten Morgen.\"\"}, {\"\"start\"\": 1.6, \"\"end\"\": 3, \"\"text\"\":"
        " \"\"Wie geht's?\"\"}]\"");
    check_all(&r);
    record_release(&r);
    r = parse_row("audio,text,language,task,timestamps,segments", "a.wav,x,,,false,");
    assert_null(r.speech.language);
    assert_int_equal(r.speech.timestamps, 0);
    record_release(&r);
}

/* The table may call them otherwise. */
static void test_record_speech__columns_with_other_names(void **state)
{
    (void)state;
    struct err e = {0};
    struct record r;
    char *columns[] = {"segments=parts", "language=lang"};
    struct record_place place = {.where = "a", .columns = columns, .column_count = 2};
    const char *line = "{\"audio\": \"a.wav\", \"lang\": \"de\", \"parts\":"
                       " \"[{\\\"start\\\": 0, \\\"end\\\": 1, \\\"text\\\": \\\"x\\\"}]\"}";
    int failed = record_parse(&r, line, strlen(line), &place, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_string_equal(r.speech.language, "de");
    assert_int_equal(r.speech.segment_count, 1);
    assert_string_equal(text_of(&r), "x");
    record_release(&r);
    check_bad(WITH("\"segments\": \"[{]\""), "\"segments\": character");
}

/* The segments have the text that a patch mends. */
static void test_record_speech__a_patch_replaces_segments(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder(), *dir = path_join(folder, "override_text");
    assert_int_equal(dir_make(dir, &e), 0);
    char *path = path_join(dir, "a.csv");
    const char *table = "id,text\nx,mended\n";
    assert_int_equal(file_write(path, table, strlen(table), &e), 0);
    struct patch *patch = patch_open(NULL, folder, &e);
    assert_ok(e);
    struct record_place place = {.where = "a.jsonl:1", .dir = "data", .patch = patch};
    const char *line = "{\"id\": \"x\", \"audio\": \"a.wav\", " ALL "}";
    struct record r;
    assert_int_equal(record_parse(&r, line, strlen(line), &place, &e), 0);
    assert_string_equal(text_of(&r), "mended");
    assert_int_equal(r.speech.segment_count, 0);
    assert_string_equal(r.speech.language, "de");
    record_release(&r);
    patch_free(patch);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(path);
    free(dir);
    free(folder);
}

static struct record_facts facts_of(const char *line)
{
    struct record_facts f;
    struct record_place place = {.where = ""};
    json_t *o = json_loads(line, 0, NULL);
    assert_non_null(o);
    record_facts(&f, o, &place);
    json_decref(o);
    return f;
}

static void test_record_speech__planning_counts_the_segments_text(void **state)
{
    (void)state;
    struct record_facts f = facts_of("{\"audio\": \"a.wav\", \"duration\": 4, \"segments\": ["
                                     "{\"start\": 0, \"end\": 1, \"text\": \"12345678\"},"
                                     "{\"start\": 1, \"end\": 2, \"text\": \"1234\"}]}");
    assert_int_equal(f.length, 100 + 3);
    assert_int_equal(f.text_length, 3);
    f = facts_of("{\"audio\": \"a.wav\", \"duration\": 4, \"text\": \"12345678\", \"segments\": ["
                 "{\"start\": 0, \"end\": 1, \"text\": \"12345678\"},"
                 "{\"start\": 1, \"end\": 2, \"text\": \"1234\"}]}");
    assert_int_equal(f.length, 100 + 2);
    assert_int_equal(f.text_length, 2);
    assert_int_equal(record_text_length(102, 4, 0), 2);
    assert_int_equal(record_text_length(102, 0, 1280 * 90), 12);
    assert_int_equal(record_text_length(10, 4, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_speech__nothing_said),
        cmocka_unit_test(test_record_speech__in_every_form),
        cmocka_unit_test(test_record_speech__text_of_segments),
        cmocka_unit_test(test_record_speech__bad_values),
        cmocka_unit_test(test_record_speech__misspelt_keys),
        cmocka_unit_test(test_record_speech__columns_of_a_table),
        cmocka_unit_test(test_record_speech__columns_with_other_names),
        cmocka_unit_test(test_record_speech__a_patch_replaces_segments),
        cmocka_unit_test(test_record_speech__planning_counts_the_segments_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
