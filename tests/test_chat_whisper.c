/* test_chat_whisper.c - which conversations are transcripts, and what the others say.  The ids are
 * compared with transformers' in test_whisper.c. */
#include "testing.h"

#include "base/mem.h"
#include "text/chat.h"

#define DATA "tests/data/text/whisper_v2"

static struct tokenizer *open_format(struct chat_format *f)
{
    struct err e = {0};
    struct tokenizer *t = tokenizer_open(DATA, &e);
    assert_ok(e);
    assert_int_equal(chat_format_open(f, DATA, t, &e), 0);
    assert_ok(e);
    return t;
}

static struct chat_part clip = {CHAT_AUDIO, NULL, 0};
static struct chat_part prompt_and_clip[] = {{CHAT_TEXT, "before", 0}, {CHAT_AUDIO, NULL, 0}};
static struct chat_part text = {CHAT_TEXT, " good morning", 0};
static struct whisper_speech english = {.language = "en", .timestamps = -1};

static struct chat_message message(enum chat_role role, const struct chat_part *parts, int count)
{
    return (struct chat_message){.role = role, .parts = parts, .part_count = count};
}

static int render(const struct chat_format *f, const struct chat_message *m, int count, int media,
                  bool has_generation_prompt, struct chat_rendered *out, struct err *e)
{
    struct chat_request r = {.messages = m,
                             .message_count = count,
                             .media_count = media,
                             .has_generation_prompt = has_generation_prompt,
                             .speech = &english};
    return chat_render(f, &r, out, e);
}

/* The prompt may stand before the clip or behind it; a reply without parts is an empty one. */
static void test_chat_whisper__reads_transcripts(void **state)
{
    (void)state;
    struct chat_format f;
    struct tokenizer *t = open_format(&f);
    struct chat_part other_way[] = {prompt_and_clip[1], prompt_and_clip[0]};
    struct chat_message m[] = {message(CHAT_USER, prompt_and_clip, 2),
                               message(CHAT_ASSISTANT, &text, 1)};
    struct chat_rendered a, b;
    struct err e = {0};

    assert_int_equal(render(&f, m, 2, 1, false, &a, &e), 0);
    m[0].parts = other_way;
    assert_int_equal(render(&f, m, 2, 1, false, &b, &e), 0);
    assert_int_equal(a.ids.count, b.ids.count);
    assert_memory_equal(a.ids.at, b.ids.at, (size_t)a.ids.count * sizeof *a.ids.at);
    assert_int_equal(a.ids.at[0], f.whisper.prev);
    assert_int_equal(a.ids.at[a.ids.count - 1], f.whisper.end);
    chat_rendered_release(&a);
    chat_rendered_release(&b);

    m[0] = message(CHAT_USER, &clip, 1);
    m[1] = message(CHAT_ASSISTANT, NULL, 0);
    assert_int_equal(render(&f, m, 2, 1, false, &a, &e), 0);
    assert_int_equal(a.ids.count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(a.supervised[i], i == 4);
    chat_rendered_release(&a);
    assert_int_equal(render(&f, m, 1, 1, false, &a, &e), 0);
    assert_int_equal(a.ids.count, 4);
    chat_rendered_release(&a);
    tokenizer_free(t);
}

static void test_chat_whisper__refuses_other_conversations(void **state)
{
    (void)state;
    struct chat_part image = {CHAT_IMAGE, NULL, 0}, video = {CHAT_VIDEO, NULL, 0};
    struct chat_part second = {CHAT_AUDIO, NULL, 1};
    struct chat_part two[] = {clip, clip}, texts[] = {clip, text, text};
    struct chat_message user = message(CHAT_USER, &clip, 1);
    struct chat_message reply = message(CHAT_ASSISTANT, &text, 1), thinking = reply;
    thinking.reasoning = "hm";
    const struct {
        struct chat_message m[3];
        int count, media;
        bool has_generation_prompt;
        const char *text;
    } cases[] = {
        {{{0}}, 0, 0, false, "has no message"},
        {{reply}, 1, 1, false, "message 1 of 1 is the assistant's, expected the user's"},
        {{message(CHAT_SYSTEM, &text, 1), user, reply},
         3,
         1,
         false,
         "message 1 of 3 is the system's"},
        {{user, reply, user}, 3, 1, false, "3 messages, expected 2 at most"},
        {{user, reply}, 2, 1, true, "2 messages, expected 1: the reply is to be made"},
        {{user, user}, 2, 1, false, "message 2 of 2: a second message of the user"},
        {{user, thinking}, 2, 1, false, "message 2 of 2: reasoning"},
        {{user, message(CHAT_ASSISTANT, &clip, 1)},
         2,
         1,
         false,
         "message 2 of 2: 1 parts, expected"},
        {{user, message(CHAT_ASSISTANT, texts + 1, 2)}, 2, 1, false, "message 2 of 2: 2 parts"},
        {{message(CHAT_USER, &text, 1), reply},
         2,
         0,
         false,
         "message 1 of 2: 0 clips, expected one"},
        {{message(CHAT_USER, two, 2), reply}, 2, 1, false, "message 1 of 2: 2 clips, expected one"},
        {{message(CHAT_USER, texts, 3), reply}, 2, 1, false, "two texts, expected one prompt"},
        {{message(CHAT_USER, &image, 1), reply}, 2, 1, false, "message 1 of 2: an image, of which"},
        {{message(CHAT_USER, &video, 1), reply}, 2, 1, false, "message 1 of 2: a video, of which"},
        {{message(CHAT_USER, &second, 1), reply},
         2,
         2,
         false,
         "media item 2 of 2, expected one clip"},
        {{user, reply}, 2, 2, false, "media item 1 of 2, expected one clip"},
    };
    struct chat_format f;
    struct tokenizer *t = open_format(&f);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_rendered out;
        struct err e = {0};
        assert_int_equal(render(&f, cases[i].m, cases[i].count, cases[i].media,
                                cases[i].has_generation_prompt, &out, &e),
                         -1);
        assert_err(e, ERR_DATA, cases[i].text);
        assert_true(i == 0 || strstr(e.hint, "one clip"));
        assert_null(out.ids.at);
        assert_int_equal(out.language_at, -1);
    }
    tokenizer_free(t);
}

static void test_chat_whisper__refuses_plain_texts(void **state)
{
    (void)state;
    struct chat_format f;
    struct tokenizer *t = open_format(&f);
    struct chat_rendered out;
    struct err e = {0};

    assert_int_equal(chat_render_text(&f, "any text", &out, &e), -1);
    assert_err(e, ERR_DATA, "a text without a clip");
    assert_non_null(strstr(e.hint, "{audio, text}"));
    assert_null(out.ids.at);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_whisper__reads_transcripts),
        cmocka_unit_test(test_chat_whisper__refuses_other_conversations),
        cmocka_unit_test(test_chat_whisper__refuses_plain_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
