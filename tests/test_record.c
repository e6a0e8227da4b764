/* test_record.c - every form of a record, and a message for everything that is none. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
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
    assert_string_equal(r.speech.language, "en");
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

/* ------------------------------------------------------- images and videos -- */

/* The parts of a message in letters: t, a, i, v. */
static void check_parts(const struct record *r, int message, const char *expected)
{
    char found[20] = {0};
    assert_true(message < r->message_count);
    assert_true(r->messages[message].part_count < 20);
    for (int i = 0; i < r->messages[message].part_count; i++)
        found[i] = "taiv"[part_of(r, message, i)->kind];
    assert_string_equal(found, expected);
}

static void check_media(const struct record *r, int i, enum record_media_kind kind, const char *uri,
                        int same_as)
{
    assert_true(i < r->media_count);
    assert_int_equal(r->media[i].kind, kind);
    assert_int_equal(r->media[i].same_as, same_as);
    assert_string_equal(r->media[i].uri, uri);
    assert_ptr_equal(record_file(r, i), &r->media[same_as >= 0 ? same_as : i]);
}

static void test_record__captions_and_questions(void **state)
{
    (void)state;
    struct record r = parse_with("{\"image\": \"a.jpg\", \"text\": \"a red circle\"}", "Caption.");
    check_parts(&r, 0, "it");
    check_media(&r, 0, RECORD_IMAGE, "data/a.jpg", -1);
    assert_string_equal(part_of(&r, 0, 1)->text, "Caption.");
    assert_string_equal(part_of(&r, 1, 0)->text, "a red circle");
    record_release(&r);
    r = parse("{\"images\": [\"a.jpg\", {\"path\": \"b.png\"}], \"prompt\": \"Which is larger?\","
              " \"completion\": \"The second.\"}");
    check_parts(&r, 0, "iit");
    check_media(&r, 1, RECORD_IMAGE, "data/b.png", -1);
    assert_string_equal(part_of(&r, 1, 0)->text, "The second.");
    record_release(&r);
    r = parse("{\"image\": [\"data:image/png;base64,Zm9v\"], \"prompt\": \"What?\"}");
    check_parts(&r, 0, "it");
    assert_int_equal(r.message_count, 1);
    assert_memory_equal(r.media[0].bytes, "foo", 3);
    assert_string_equal(r.media[0].name, "image 1");
    record_release(&r);
    r = parse("{\"audio\": \"a.wav\", \"prompt\": \"Who speaks?\", \"completion\": \"A child.\"}");
    check_parts(&r, 0, "at");
    assert_string_equal(part_of(&r, 1, 0)->text, "A child.");
    record_release(&r);
}

static void test_record__sound_beside_pictures(void **state)
{
    (void)state;
    struct record r = parse("{\"audio\": [\"a.wav\", \"b.wav\"], \"image\": \"a.jpg\","
                            " \"text\": \"t\", \"prompt\": \"p\"}");
    check_parts(&r, 0, "iaat");
    check_media(&r, 0, RECORD_IMAGE, "data/a.jpg", -1);
    check_media(&r, 2, RECORD_AUDIO, "data/b.wav", -1);
    assert_int_equal(record_count(&r, RECORD_AUDIO), 2);
    record_release(&r);
    /* A video and its sound: one file, or two. */
    r = parse("{\"video\": \"a.mp4\", \"sound\": true, \"text\": \"t\"}");
    check_parts(&r, 0, "va");
    check_media(&r, 0, RECORD_VIDEO, "data/a.mp4", -1);
    check_media(&r, 1, RECORD_AUDIO, "data/a.mp4", 0);
    record_release(&r);
    r = parse("{\"video\": \"a.mp4\", \"sound\": false, \"audio\": \"a.wav\", \"text\": \"t\"}");
    check_parts(&r, 0, "va");
    check_media(&r, 1, RECORD_AUDIO, "data/a.wav", -1);
    record_release(&r);
    r = parse("{\"video\": \"a.mp4\", \"audio\": \"./a.mp4\", \"text\": \"t\"}");
    assert_int_equal(r.media[1].same_as, -1);
    record_release(&r);
    r = parse("{\"video\": \"a.mp4\", \"audio\": \"a.mp4\", \"text\": \"t\"}");
    check_media(&r, 1, RECORD_AUDIO, "data/a.mp4", 0);
    record_release(&r);
    /* Columns of a table are texts. */
    r = parse("{\"videos\": [\"a.mp4\", \"b.mov\", \"a.mp4\"], \"sound\": \"true\"}");
    check_parts(&r, 0, "vavava");
    check_media(&r, 3, RECORD_AUDIO, "data/b.mov", 2);
    check_media(&r, 4, RECORD_VIDEO, "data/a.mp4", 0);
    check_media(&r, 5, RECORD_AUDIO, "data/a.mp4", 0);
    record_release(&r);
    /* A remark of somebody else's. */
    r = parse("{\"audio\": \"a.wav\", \"text\": \"t\", \"sound\": \"dog\", \"round\": 3,"
              " \"video_url\": \"x\", \"video_id\": \"y\", \"image_width\": 3}");
    check_parts(&r, 0, "a");
    record_release(&r);
}

static void test_record__media_in_any_turn(void **state)
{
    (void)state;
    struct record r = parse(
        "{\"messages\": [{\"role\": \"user\", \"content\": ["
        "{\"type\": \"image\", \"image\": \"a.jpg\"}, {\"type\": \"text\", \"text\": \"and\"},"
        "{\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,Zm9v\"}},"
        "{\"type\": \"input_image\", \"image_url\": \"gs://b/c.webp\", \"detail\": \"high\"},"
        "{\"image\": \"a.jpg\"}]},"
        "{\"role\": \"assistant\", \"content\": [\"here:\", {\"image\": \"b.png\"}]},"
        "{\"role\": \"user\", \"content\": [{\"type\": \"video\", \"video\": \"v.mp4\","
        " \"sound\": true}, {\"type\": \"video_url\", \"video_url\": {\"url\": \"w.mov\"}},"
        "{\"type\": \"audio\", \"path\": \"w.mov\"}, {\"type\": \"video\", \"path\": \"x.mp4\"},"
        "{\"type\": \"input_video\", \"input_video\": {\"data\": \"YmFy\"}, \"sound\": true},"
        "\"well?\"]}]}");
    assert_int_equal(r.message_count, 3);
    check_parts(&r, 0, "itiii");
    check_parts(&r, 1, "ti");
    check_parts(&r, 2, "vavavvat");
    assert_int_equal(r.media_count, 12);
    check_media(&r, 0, RECORD_IMAGE, "data/a.jpg", -1);
    assert_memory_equal(r.media[1].bytes, "foo", 3);
    check_media(&r, 2, RECORD_IMAGE, "gs://b/c.webp", -1);
    check_media(&r, 3, RECORD_IMAGE, "data/a.jpg", 0);
    check_media(&r, 4, RECORD_IMAGE, "data/b.png", -1);
    check_media(&r, 6, RECORD_AUDIO, "data/v.mp4", 5);
    check_media(&r, 8, RECORD_AUDIO, "data/w.mov", 7);
    assert_int_equal(r.media[11].kind, RECORD_AUDIO);
    assert_int_equal(r.media[11].same_as, 10);
    assert_memory_equal(record_file(&r, 11)->bytes, "bar", 3);
    for (int i = 0; i < 5; i++)
        if (part_of(&r, 0, i)->kind != CHAT_TEXT)
            assert_int_equal(part_of(&r, 0, i)->media, i == 0 ? 0 : i - 1);
    record_release(&r);
    r = parse(
        "{\"images\": [\"a.png\", \"b.png\"], \"video\": \"c.mp4\", \"audios\": [], \"messages\": ["
        "{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, {\"type\": \"video\"}]},"
        "{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}");
    check_parts(&r, 0, "iv");
    check_media(&r, 2, RECORD_IMAGE, "data/b.png", -1);
    record_release(&r);
}

/* Every record in docs/data.md is one. */
static void test_record__examples_of_the_docs(void **state)
{
    (void)state;
    struct err e = {0};
    char *docs = file_read("docs/data.md", 1 << 20, NULL, &e);
    assert_ok(e);
    int count = 0, turns = 0;
    for (char *block = docs; (block = strstr(block, "```json\n"));) {
        char *at = block + 8, *end = strstr(at, "```");
        assert_non_null(end);
        json_error_t where;
        for (json_t *o; (o = json_loadb(at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK, &where));) {
            struct record r;
            int failed = record_of_json(&r, o, &(struct record_place){.where = "docs/data.md"}, &e);
            assert_ok(e);
            assert_int_equal(failed, 0);
            turns += r.message_count;
            record_release(&r);
            at += where.position;
            count++;
        }
        assert_int_equal(strspn(at, "\n"), end - at);
        block = end;
    }
    assert_int_equal(count, 16);
    assert_int_equal(turns, 15 * 2 + 6);
    free(docs);
}

static void test_record__of_files(void **state)
{
    (void)state;
    struct err e = {0};
    struct record r;
    char image[] = "a.png", video[] = "b.mp4", clip[] = "c.wav", bad[] = "\xff";
    char *images[] = {image, image}, *videos[] = {video}, *clips[] = {clip}, *bads[] = {bad};
    struct record_files files = {.images = images,
                                 .image_count = 2,
                                 .videos = videos,
                                 .video_count = 1,
                                 .clips = clips,
                                 .clip_count = 1,
                                 .has_sound = true};
    assert_int_equal(record_of_files(&r, &files, "What?", &e), 0);
    check_parts(&r, 0, "iivaat");
    check_media(&r, 1, RECORD_IMAGE, "./a.png", 0);
    check_media(&r, 3, RECORD_AUDIO, "./b.mp4", 2);
    check_media(&r, 4, RECORD_AUDIO, "./c.wav", -1);
    assert_string_equal(r.where, "a.png");
    record_release(&r);
    assert_int_equal(record_of_files(&r, &(struct record_files){.image_count = 0}, "Hi", &e), 0);
    check_parts(&r, 0, "t");
    record_release(&r);
    files.images = bads;
    assert_int_equal(record_of_files(&r, &files, NULL, &e), -1);
    assert_err(e, ERR_DATA, "not UTF-8");
}

/* What would be left out or taken for something else. */
static void test_record__refuses_bad_media(void **state)
{
    (void)state;
    check_bad("{\"image\": 5, \"text\": \"a\"}",
              "\"image\": expected a file name, found an integer");
    check_bad("{\"images\": \"a.png\", \"text\": \"a\"}", "\"images\": expected an array");
    check_bad("{\"images\": [\"a.png\", null], \"text\": \"a\"}",
              "\"images\": expected a file name");
    check_bad("{\"image\": {\"width\": 3}, \"text\": \"a\"}", "an object without \"path\"");
    check_bad("{\"image\": [], \"text\": \"a\"}", "\"image\": an empty list");
    check_bad("{\"image\": \"a\", \"images\": [\"b\"], \"text\": \"a\"}",
              "\"image\" beside \"images\"");
    check_bad("{\"image\": \"a\", \"completion\": \"a\"}", "\"completion\" beside \"image\"");
    check_bad("{\"image\": \"a\", \"prompt\": \"p\", \"text\": \"a\", \"completion\": \"a\"}",
              "\"completion\" beside \"text\"");
    check_bad("{\"image\": \"data:image/png;base64,\", \"text\": \"a\"}", "holds no bytes");
    check_bad("{\"video\": \"a\", \"sound\": true, \"audio\": \"b\"}",
              "\"sound\" beside \"audio\"");
    check_bad("{\"image\": \"a\", \"sound\": true, \"text\": \"b\"}",
              "\"sound\" without \"video\"");
    check_bad("{\"video\": \"a\", \"sound\": 1, \"text\": \"b\"}",
              "\"sound\": expected true or false, found an integer");
    check_bad("{\"video\": \"a\", \"sond\": true, \"text\": \"b\"}",
              "\"sond\" looks like \"sound\"");
    check_bad("{\"imgae\": \"a\", \"text\": \"b\"}", "\"imgae\" looks like \"image\"");
    check_bad("{\"image_path\": \"a\", \"text\": \"b\"}", "\"image_path\" looks like \"image\"");
    check_bad("{\"image_url\": \"a\", \"text\": \"b\"}", "\"image_url\" looks like \"image\"");
    check_bad("{\"audio\": \"a\", \"image_file\": \"b\"}", "\"image_file\" looks like \"image\"");
    check_bad("{\"image\": \"a\", \"audio_url\": \"b\"}", "\"audio_url\" looks like \"audio\"");
    check_bad("{\"video_file\": \"a\", \"prompt\": \"b\"}", "\"video_file\" looks like \"video\"");
#define USER(parts) "{\"messages\": [{\"role\": \"user\", \"content\": [" parts "]}]"
    check_bad(USER("{\"type\": \"video\"}") "}",
              "messages[0]: content[0]: a video part without a file: needs \"video\" or \"path\"");
    check_bad(USER("{\"type\": \"image\", \"image\": 7}") "}",
              "content[0]: \"image\": expected a file name, found an integer");
    check_bad(USER("{\"type\": \"input_image\", \"input_image\": {\"data\": \"?\"}}") "}",
              "\"input_image\": not base64");
    check_bad(USER("{\"image\": \"a\", \"sound\": true}") "}", "\"sound\" in an image part");
    check_bad(USER("{\"audio\": \"a\", \"sound\": true}") "}", "\"sound\" in an audio part");
    check_bad(USER("{\"type\": \"video\", \"video\": \"a\", \"sound\": 1}") "}",
              "expected true or false");
    check_bad(USER("{\"type\": \"video\", \"video\": \"a\", \"sounds\": true}") "}",
              "looks like \"sound\"");
    check_bad(USER("{\"type\": \"video\", \"video\": \"a\", \"audio\": \"b\"}") "}",
              "\"audio\" in a video part");
    check_bad(USER("\"a\"") ", \"images\": [\"a.png\"]}",
              "\"images\" has 1 file, the messages take 0");
    check_bad(USER("\"a\"") ", \"image\": \"a.png\"}",
              "\"image\" beside \"messages\" in which no part is an image");
    check_bad(USER("{\"image\": \"a\"}") ", \"image\": \"a.png\"}",
              "\"image\" has 1 file, the messages take 0");
    check_bad(USER("{\"video\": \"a\"}") ", \"sound\": true}", "\"sound\" beside \"messages\"");
    check_bad(USER("{\"type\": \"image\"}") ", \"imags\": [\"a\"]}",
              "an image part without a file");
    check_bad(USER("\"a\"") ", \"imags\": [\"a\"]}", "\"imags\" looks like \"images\"");
    check_bad(USER("{\"type\": \"image\"}") ", \"image\": \"a\", \"images\": [\"a\"]}",
              "\"image\" beside \"images\"");
    char *line = xstrdup("{\"text\": \"a\", \"images\": [\"0\"");
    for (int i = 0; i < RECORD_MEDIA_MAX; i++) {
        char *longer = xasprintf("%s,\"%d\"", line, i);
        free(line);
        line = longer;
    }
    char *whole = xasprintf("%s]}", line);
    check_bad(whole, "more than 256 clips, images and videos");
    free(whole);
    free(line);
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
    check_reference("{\"id\": 7, \"image\": \"a.png\", \"prompt\": \"q\", \"completion\": \"x\"}",
                    p, "better");
    check_reference("{\"id\": 7, \"image\": \"a.png\", \"prompt\": \"q\", \"text\": \"x\"}", p,
                    "better");
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
    assert_int_equal(f.clip_count, 3);
    f = facts_of(
        "{\"image\": [\"a\", \"b\"], \"audio\": \"c\", \"text\": \"1234\", \"prompt\": \"1234\"}",
        &place);
    assert_int_equal(f.length, 2 + 2 * RECORD_IMAGE_TOKENS);
    assert_int_equal(f.image_count, 2);
    assert_int_equal(f.clip_count, 1);
    assert_int_equal(f.media_count, 3);
    f = facts_of(
        "{\"video\": \"a\", \"sound\": true, \"prompt\": \"1234\", \"completion\": \"1234\","
        " \"duration\": 2}",
        &place);
    assert_int_equal(f.length, 2 + RECORD_VIDEO_TOKENS + 50);
    assert_int_equal(f.video_count, 1);
    assert_int_equal(f.clip_count, 1);
    assert_near(f.seconds, 2, 0);
    /* Seconds without sound. */
    f = facts_of("{\"video\": \"a\", \"text\": \"1234\", \"duration\": 2}", &place);
    assert_int_equal(f.length, 1 + RECORD_VIDEO_TOKENS);
    assert_near(f.seconds, 0, 0);
    f = facts_of(
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, {\"type\":"
        " \"video\", \"path\": \"v\", \"sound\": true}, {\"image_url\": {\"url\": "
        "\"data:;base64,AAAAAAAA\"}},"
        "{\"type\": \"image\"}, \"1234\"]}], \"images\": [\"a\"]}",
        &place);
    assert_int_equal(f.image_count, 2);
    assert_int_equal(f.video_count, 1);
    assert_int_equal(f.clip_count, 1);
    assert_int_equal(f.length, 1 + 2 * RECORD_IMAGE_TOKENS + RECORD_VIDEO_TOKENS);
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
              "messages[0]: content[0]: an image part without a file: needs \"image\" or \"path\"");
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
        cmocka_unit_test(test_record__captions_and_questions),
        cmocka_unit_test(test_record__sound_beside_pictures),
        cmocka_unit_test(test_record__media_in_any_turn),
        cmocka_unit_test(test_record__examples_of_the_docs),
        cmocka_unit_test(test_record__of_files),
        cmocka_unit_test(test_record__refuses_bad_media),
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
