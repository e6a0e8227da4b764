/* chat_whisper.c - see chat_whisper.h. */
#include "text/chat_whisper.h"

#include "base/mem.h"

#include <string.h>

/* A conversation that is a transcript. */
struct transcript {
    const char *prompt;                  /* NULL: none */
    const char *text;                    /* NULL: there is no assistant's turn */
};

static int not_transcript(struct err *e)
{
    return err_hint(e, "Whisper takes a user's message with one clip, and a prompt where it is "
                       "wanted, and an assistant's message with the transcript");
}

/* The user's clip and prompt. */
static int read_user(struct transcript *t, const struct chat_request *r, struct err *e)
{
    const struct chat_message *m = &r->messages[0];
    int clips = 0;

    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        if (p->kind == CHAT_TEXT) {
            if (t->prompt)
                return err_set(e, ERR_DATA, "two texts, expected one prompt at most");
            t->prompt = p->text;
            continue;
        }
        if (p->kind != CHAT_AUDIO)
            return err_set(e, ERR_DATA, "%s, of which the model sees nothing",
                           p->kind == CHAT_IMAGE ? "an image" : "a video");
        if (p->media != 0 || r->media_count != 1)
            return err_set(e, ERR_DATA, "media item %d of %d, expected one clip", p->media + 1,
                           r->media_count);
        clips++;
    }
    return clips == 1 ? 0 : err_set(e, ERR_DATA, "%d clips, expected one", clips);
}

static int read_reply(struct transcript *t, const struct chat_message *m, struct err *e)
{
    if (m->role != CHAT_ASSISTANT)
        return err_set(e, ERR_DATA, "a second message of the user, expected the assistant's");
    if (m->reasoning && *m->reasoning)
        return err_set(e, ERR_DATA, "reasoning, of which the model writes none");
    if (m->part_count > 1 || (m->part_count == 1 && m->parts[0].kind != CHAT_TEXT))
        return err_set(e, ERR_DATA, "%d parts, expected one text", m->part_count);
    t->text = m->part_count == 1 ? m->parts[0].text : "";
    return 0;
}

static int read_transcript(struct transcript *t, const struct chat_request *r, struct err *e)
{
    int wanted = r->has_generation_prompt ? 1 : 2;

    if (r->messages[0].role != CHAT_USER) {
        err_set(e, ERR_DATA, "message 1 of %d is %s, expected the user's", r->message_count,
                r->messages[0].role == CHAT_SYSTEM ? "the system's" : "the assistant's");
        return not_transcript(e);
    }
    if (r->message_count > wanted) {
        err_set(e, ERR_DATA, "%d messages, expected %d%s", r->message_count, wanted,
                r->has_generation_prompt ? ": the reply is to be made" : " at most");
        return not_transcript(e);
    }
    if (read_user(t, r, e)) {
        err_in(e, "message 1 of %d", r->message_count);
        return not_transcript(e);
    }
    if (r->message_count > 1 && read_reply(t, &r->messages[1], e)) {
        err_in(e, "message 2 of 2");
        return not_transcript(e);
    }
    return 0;
}

int chat_whisper_render(const struct whisper_format *f, const struct chat_request *request,
                        struct chat_rendered *out, struct err *e)
{
    static const struct whisper_speech nothing = {.task = WHISPER_TASK_UNKNOWN, .timestamps = -1};
    const struct whisper_speech *s = request->speech ? request->speech : &nothing;
    bool has_timestamps = s->timestamps == 1;
    struct transcript t = {0};

    if (read_transcript(&t, request, e) ||
        whisper_prefix(f, s, t.prompt, has_timestamps, request->has_generation_prompt, &out->ids,
                       &out->language_at, e))
        return -1;
    int first = out->ids.count;
    if (t.text && (whisper_text(f, s, t.text, has_timestamps, 0, &out->ids, e) ||
                   ids_push(&out->ids, f->end, e)))
        return err_in(e, "message 2 of 2");
    out->supervised = xcalloc((size_t)out->ids.count + 1, sizeof *out->supervised);
    memset(out->supervised + first, 1, (size_t)(out->ids.count - first));
    return 0;
}
