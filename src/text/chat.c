/* chat.c - see chat.h.
 *
 * A conversation is written out as the checkpoint's template would, control tokens spelled out,
 * and this one string is tokenized: ids are those that transformers gives.  Beside the string we
 * remember which bytes of it are supervised and which are soft tokens; the end offsets of the ids
 * carry both over.
 */
#include "text/chat.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/chat_whisper.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum {
    TEMPLATE_MAX_BYTES = 1 << 20,
    CONFIG_MAX_BYTES = 64 << 20,
};

/* Bytes of the rendered text that belong together. */
struct range {
    size_t start, end;
    int media, block, count;             /* of soft tokens: whose, and how many ... */
    int32_t id;                          /* ... and which */
};

struct ranges {
    struct range *at;
    size_t count, room;
};

/* A conversation being written. */
struct writer {
    const struct chat_format *f;
    struct buf text;
    struct ranges supervised, soft;
    bool is_reply;                       /* inside an assistant's message, ... */
    size_t reply_start;                  /* ... of which is supervised what begins here */
    bool *is_used;                       /* [media_count] */
};

/* How media are written; a video is its frames, which are images of another soft token. */
static const struct {
    const char *name, *begin, *soft, *end;
} media_kinds[] = {
    [CHAT_AUDIO] = {"audio", "<|audio>", "<|audio|>", "<audio|>"},
    [CHAT_IMAGE] = {"image", "<|image>", "<|image|>", "<image|>"},
    [CHAT_VIDEO] = {"video", "<|image>", "<|video|>", "<image|>"},
};

/* ------------------------------------------------------------- the format -- */

static const struct {
    const char *model_type;
    enum chat_family family;
} families[] = {
    {"gemma4", CHAT_GEMMA4},         {"gemma4_text", CHAT_GEMMA4},
    {"gemma4_unified", CHAT_GEMMA4}, {"gemma4_unified_text", CHAT_GEMMA4},
    {"whisper", CHAT_WHISPER},
};

enum { WHISPER_POSITIONS = 448 };        /* of the decoder of every published model */

static int find_token(const struct tokenizer *t, const char *piece, bool is_needed, int32_t *id,
                      struct err *e)
{
    *id = tokenizer_id(t, piece);
    if (tokenizer_is_special(t, *id))
        return 0;
    *id = -1;
    return is_needed ? err_set(e, ERR_USAGE, "the tokenizer has no special token %s", piece) : 0;
}

/* What is written in a template tells the published versions apart. */
static int read_template(struct chat_format *f, const char *text, struct err *e)
{
    if (!text) {
        f->has_think_newline = f->continues_turn = f->leaves_turn_open = f->has_reasoning = true;
        return 0;
    }
    if (!strstr(text, "<|turn>") || !strstr(text, "<turn|>")) {
        err_set(e, ERR_USAGE, "the chat template has no <|turn>: it is not of Gemma 4's family");
        return err_hint(e, "is this checkpoint's tokenizer the one it was trained with?");
    }
    f->has_empty_thought = strstr(text, "<|channel>thought\\n<channel|>") != NULL;
    f->has_image_newlines = strstr(text, "\\n\\n<|image|>\\n\\n") != NULL;
    f->has_video_newlines = strstr(text, "\\n\\n<|video|>\\n\\n") != NULL;
    f->has_think_newline = !strstr(text, "<|think|>") || strstr(text, "<|think|>\\n");
    f->continues_turn = strstr(text, "continue_same_model_turn") != NULL;
    f->leaves_turn_open = strstr(text, "continues_into_next") != NULL;
    f->has_reasoning = strstr(text, "thinking_gate") != NULL;
    return 0;
}

int chat_format_init(struct chat_format *f, const char *model_type, const char *template_text,
                     const struct tokenizer *t, struct err *e)
{
    size_t i = 0, count = sizeof families / sizeof *families;

    *f = (struct chat_format){.tokenizer = t};
    while (i < count && strcmp(families[i].model_type, model_type) != 0)
        i++;
    if (i == count)
        return err_set(e, ERR_USAGE, "no chat format is known for the model type '%.80s'",
                       model_type);
    f->family = families[i].family;
    if (f->family == CHAT_WHISPER) {
        f->bos = f->eos = f->turn_end = f->audio = f->image = f->video = -1;
        return whisper_format_init(&f->whisper, t, tokenizer_vocab_size(t), WHISPER_POSITIONS, e);
    }
    if (find_token(t, "<bos>", true, &f->bos, e) || find_token(t, "<eos>", false, &f->eos, e) ||
        find_token(t, "<turn|>", true, &f->turn_end, e) ||
        find_token(t, "<|turn>", true, &(int32_t){0}, e) ||
        find_token(t, "<|audio|>", false, &f->audio, e) ||
        find_token(t, "<|image|>", false, &f->image, e) ||
        find_token(t, "<|video|>", false, &f->video, e))
        return -1;
    f->spells_video = f->video >= 0;
    if (!f->spells_video)
        f->video = f->image;
    return read_template(f, template_text, e);
}

/* The template in a JSON file that may have one: a string, or a list with one named "default". */
static char *template_of_json(const char *path, struct err *e)
{
    json_t *o = json_read_file(path, CONFIG_MAX_BYTES, e);
    json_t *v = json_object_get(o, "chat_template");

    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        json_t *item = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0)
            v = json_object_get(item, "template");
    }
    char *text = json_is_string(v) ? xstrdup(json_string_value(v)) : NULL;
    json_decref(o);
    return text;
}

/* The checkpoint's template; NULL without an error when it has none. */
static char *find_template(const char *dir, struct err *e)
{
    static const char *const names[] = {"chat_template.jinja", "chat_template.json",
                                        "tokenizer_config.json"};
    char *text = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !text && !e->kind; i++) {
        char *path = path_join(dir, names[i]);
        if (file_exists(path))
            text =
                i == 0 ? file_read(path, TEMPLATE_MAX_BYTES, NULL, e) : template_of_json(path, e);
        free(path);
    }
    return text;
}

/* The format of a model whose conversations are written by a template. */
static int open_template(struct chat_format *f, const char *dir, const char *model_type,
                         const json_t *config, const struct tokenizer *t, struct err *e)
{
    char *text = find_template(dir, e);
    int64_t video = json_get_int(config, "video_token_id", -1, e);
    int rc = e->kind ? -1 : chat_format_init(f, model_type, text, t, e);

    if (!rc && !f->spells_video && video >= 0 && video < TOKENIZER_VOCAB_MAX)
        f->video = (int32_t)video;
    free(text);
    return rc ? err_in(e, "%s", dir) : 0;
}

int chat_format_open(struct chat_format *f, const char *dir, const struct tokenizer *t,
                     struct err *e)
{
    char *path = path_join(dir, "config.json");
    json_t *config = json_read_file(path, CONFIG_MAX_BYTES, e);
    const char *model_type = config ? json_need_str(config, "model_type", e) : NULL;
    int rc = -1;

    if (model_type && strcmp(model_type, "whisper") == 0) {
        rc = chat_format_init(f, model_type, NULL, t, e)
                 ? err_in(e, "%s", dir)
                 : whisper_format_open(&f->whisper, dir, t, e);
    } else if (model_type) {
        rc = open_template(f, dir, model_type, config, t, e);
    } else if (config) {
        err_in(e, "%s", path);
    }
    json_decref(config);
    free(path);
    return rc;
}

int chat_stop_ids(const struct chat_format *f, int32_t *out, int max)
{
    int32_t end = f->family == CHAT_WHISPER ? f->whisper.end : f->turn_end;
    int count = 0;

    if (count < max)
        out[count++] = end;
    if (count < max && f->eos >= 0)
        out[count++] = f->eos;
    return count;
}

/* ---------------------------------------------------------------- writing -- */

static void add_range(struct ranges *r, struct range range)
{
    if (r->count == r->room)
        r->at = mem_grow(r->at, &r->room, sizeof *r->at);
    r->at[r->count++] = range;
}

static bool contains(const char *text, size_t size, const char *part)
{
    size_t n = strlen(part);

    for (size_t i = 0; i + n <= size; i++)
        if (text[i] == part[0] && memcmp(text + i, part, n) == 0)
            return true;
    return false;
}

/* What an assistant says is supervised, the media in it are not. */
static void end_supervised(struct writer *w)
{
    if (w->is_reply && w->text.size > w->reply_start)
        add_range(&w->supervised, (struct range){w->reply_start, w->text.size, -1, 0, 0, -1});
}

/* No special token may be written out in what a record says: <|video|> neither, which the
 * reference adds to tokenizers that have none. */
static int check_text(const struct chat_format *f, const char *text, size_t size, struct err *e)
{
    int32_t id = tokenizer_find_special(f->tokenizer, text, size);
    const char *video = media_kinds[CHAT_VIDEO].soft;

    if (id < 0 && !contains(text, size, video))
        return 0;
    err_set(e, ERR_DATA, "the text contains the control token %s",
            id < 0 ? video : tokenizer_piece(f->tokenizer, id));
    return err_hint(e, "text must not forge turns: remove the token from the data, or give a "
                       "finished rendering as a {text} record");
}

static int add_text(struct writer *w, const char *text, size_t size, struct err *e)
{
    utf8_trim(&text, &size);
    if (check_text(w->f, text, size, e))
        return -1;
    buf_add(&w->text, text, size);
    return 0;
}

/* An assistant's text without what stands between <|channel> and <channel|>: each piece of the
 * text that <channel|> ends counts up to its first <|channel>. */
static int add_reply(struct writer *w, const char *text, struct err *e)
{
    struct buf kept;

    buf_init(&kept, TOKENIZER_TEXT_MAX);
    while (text) {
        const char *close = strstr(text, "<channel|>"), *open = strstr(text, "<|channel>");
        if (open && (!close || open < close))
            buf_add(&kept, text, (size_t)(open - text));
        else
            buf_add(&kept, text, close ? (size_t)(close - text) : strlen(text));
        text = close ? close + strlen("<channel|>") : NULL;
    }
    int rc = buf_check(&kept, "the text of a message", e) || add_text(w, kept.data, kept.size, e);
    buf_release(&kept);
    return rc ? -1 : 0;
}

/* The item that a part stands for, with its soft tokens checked; NULL on failure. */
static const struct chat_media *take_media(struct writer *w, const struct chat_request *r,
                                           const struct chat_part *p, struct err *e)
{
    const char *name = media_kinds[p->kind].name;
    const char *needed = media_kinds[p->kind == CHAT_VIDEO ? CHAT_IMAGE : p->kind].soft;

    if ((p->kind == CHAT_AUDIO ? w->f->audio : w->f->image) < 0) {
        err_set(e, ERR_DATA, "the model takes no %s: its tokenizer has no %s", name, needed);
        return NULL;
    }
    if (p->media < 0 || p->media >= r->media_count) {
        err_set(e, ERR_DATA, "media item %d is asked for, the record has %d", p->media + 1,
                r->media_count);
        return NULL;
    }
    if (w->is_used[p->media]) {
        err_set(e, ERR_DATA, "media item %d is used twice", p->media + 1);
        return NULL;
    }
    w->is_used[p->media] = true;
    const struct chat_media *m = &r->media[p->media];
    bool is_empty = m->count <= 0;
    for (int i = 0; i < m->count; i++)
        is_empty = is_empty || m->soft_tokens[i] <= 0;
    if (is_empty)
        err_set(e, ERR_DATA, "media item %d, %s, gives no soft tokens: it is too short",
                p->media + 1, name);
    return is_empty ? NULL : m;
}

/* One block of soft tokens between its begin and its end. */
static void add_block(struct writer *w, enum chat_part_kind kind, int media, int block, int count)
{
    bool is_unknown = kind == CHAT_VIDEO && !w->f->spells_video;
    const char *soft = media_kinds[is_unknown ? CHAT_IMAGE : kind].soft;
    int32_t id = kind == CHAT_AUDIO ? w->f->audio : kind == CHAT_IMAGE ? w->f->image : w->f->video;

    buf_add_str(&w->text, media_kinds[kind].begin);
    size_t start = w->text.size;
    for (int i = 0; i < count && !w->text.overflowed; i++)
        buf_add_str(&w->text, soft);
    add_range(&w->soft, (struct range){start, w->text.size, media, block, count, id});
    buf_add_str(&w->text, media_kinds[kind].end);
}

static int add_media(struct writer *w, const struct chat_request *r, const struct chat_part *p,
                     struct err *e)
{
    const struct chat_media *m = take_media(w, r, p, e);
    bool has_newlines = (p->kind == CHAT_IMAGE && w->f->has_image_newlines) ||
                        (p->kind == CHAT_VIDEO && w->f->has_video_newlines);
    const char *newlines = has_newlines ? "\n\n" : "";

    if (!m)
        return -1;
    end_supervised(w);
    buf_add_str(&w->text, newlines);
    for (int i = 0; i < m->count; i++) {
        if (p->kind == CHAT_VIDEO) {
            int64_t seconds = (int64_t)m->times[i];
            buf_printf(&w->text, "%s%02d:%02d ", i > 0 ? " " : "", (int)(seconds / 60),
                       (int)(seconds % 60));
        }
        add_block(w, p->kind, p->media, i, m->soft_tokens[i]);
    }
    buf_add_str(&w->text, newlines);
    w->reply_start = w->text.size;
    return 0;
}

static int add_parts(struct writer *w, const struct chat_request *r, const struct chat_message *m,
                     struct err *e)
{
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        int rc;
        if (p->kind != CHAT_TEXT)
            rc = add_media(w, r, p, e);
        else if (m->role == CHAT_ASSISTANT)
            rc = add_reply(w, p->text, e);
        else
            rc = add_text(w, p->text, strlen(p->text), e);
        if (rc)
            return -1;
    }
    return 0;
}

/* The parts of the first system message: the template writes texts only, and puts a space behind
 * each part of a list. */
static int add_system_parts(struct writer *w, const struct chat_message *m, struct err *e)
{
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        if (p->kind != CHAT_TEXT) {
            err_set(e, ERR_DATA, "%s in the system message, of which the model reads texts only",
                    media_kinds[p->kind].name);
            return err_hint(e, "put media into a user's message");
        }
        if (add_text(w, p->text, strlen(p->text), e))
            return -1;
        if (m->is_list)
            buf_add_char(&w->text, ' ');
    }
    return 0;
}

static int add_reasoning(struct writer *w, const char *text, struct err *e)
{
    if (check_text(w->f, text, strlen(text), e))
        return err_in(e, "reasoning");
    buf_printf(&w->text, "<|channel>thought\n%s\n<channel|>", text);
    return 0;
}

/* The system turn that thinking or a first system message makes. */
static int add_system(struct writer *w, const struct chat_request *r, bool has_message,
                      struct err *e)
{
    const struct chat_message *m = r->messages;

    buf_add_str(&w->text, "<|turn>system\n");
    if (r->is_thinking)
        buf_add_str(&w->text, w->f->has_think_newline ? "<|think|>\n" : "<|think|>");
    if (has_message && add_system_parts(w, m, e))
        return err_in(e, "message 1 of %d", r->message_count);
    buf_add_str(&w->text, "<turn|>\n");
    return 0;
}

static bool is_assistant(const struct chat_request *r, int i)
{
    return i >= 0 && i < r->message_count && r->messages[i].role == CHAT_ASSISTANT;
}

/* One message of the loop; `first` is the loop's first index, `last_user` that of the last user's
 * message. */
static int add_message(struct writer *w, const struct chat_request *r, int i, int first,
                       int last_user, struct err *e)
{
    static const char *const names[] = {"system", "user", "model"};
    const struct chat_message *m = &r->messages[i];
    bool is_reply = m->role == CHAT_ASSISTANT;
    bool continues = is_reply && w->f->continues_turn && i > first && is_assistant(r, i - 1);

    if (!continues)
        buf_printf(&w->text, "<|turn>%s\n", names[m->role]);
    w->is_reply = is_reply;
    w->reply_start = w->text.size;
    bool thinks = is_reply && m->reasoning && *m->reasoning && w->f->has_reasoning;
    if (thinks && i > last_user && add_reasoning(w, m->reasoning, e))
        return -1;
    if (add_parts(w, r, m, e))
        return -1;
    bool stays_open = is_reply && w->f->leaves_turn_open && is_assistant(r, i + 1);
    if (!stays_open)
        buf_add_str(&w->text, "<turn|>");
    end_supervised(w);
    if (!stays_open)
        buf_add_char(&w->text, '\n');
    return 0;
}

static int add_conversation(struct writer *w, const struct chat_request *r, struct err *e)
{
    bool has_system = r->messages[0].role == CHAT_SYSTEM;
    int last_user = -1;

    buf_add_str(&w->text, "<bos>");
    if ((has_system || r->is_thinking) && add_system(w, r, has_system, e))
        return -1;
    for (int i = has_system; i < r->message_count; i++)
        if (r->messages[i].role == CHAT_USER)
            last_user = i;
    for (int i = has_system; i < r->message_count; i++)
        if (add_message(w, r, i, has_system, last_user, e))
            return err_in(e, "message %d of %d", i + 1, r->message_count);
    for (int i = 0; i < r->media_count; i++)
        if (!w->is_used[i])
            return err_set(e, ERR_DATA, "media item %d is in no message", i + 1);
    if (r->has_generation_prompt) {
        buf_add_str(&w->text, "<|turn>model\n");
        if (w->f->has_empty_thought && !r->is_thinking)
            buf_add_str(&w->text, "<|channel>thought\n<channel|>");
    }
    return buf_check(&w->text, "the conversation", e);
}

/* --------------------------------------------------------------- encoding -- */

/* Mark each id that has a byte in a supervised range.  Ids and ranges are in order. */
static void mark_supervised(const struct ranges *ranges, const struct ids *ends, uint8_t *out)
{
    size_t r = 0;
    int32_t start = 0;

    for (int i = 0; i < ends->count; start = ends->at[i++]) {
        while (r < ranges->count && ranges->at[r].end <= (size_t)start)
            r++;
        out[i] = r < ranges->count && ranges->at[r].start < (size_t)ends->at[i];
    }
}

/* Find the ids of each range of soft tokens. */
static int find_spans(const struct writer *w, const struct ids *ends, struct chat_rendered *out,
                      struct err *e)
{
    int i = 0;

    out->spans = xcalloc(w->soft.count + 1, sizeof *out->spans);
    for (size_t k = 0; k < w->soft.count; k++) {
        const struct range *r = &w->soft.at[k];
        struct chat_span *span = &out->spans[out->span_count++];
        while (i < ends->count && (size_t)ends->at[i] <= r->start)
            i++;
        *span = (struct chat_span){.media = r->media, .block = r->block, .start = i};
        while (i < ends->count && (size_t)ends->at[i] <= r->end)
            out->ids.at[i++] = r->id;
        span->count = i - span->start;
        if (span->count != r->count)
            return err_set(e, ERR_USAGE, "the tokenizer made %d ids of %d soft tokens", span->count,
                           r->count);
    }
    return 0;
}

/* Write the conversation out, encode it, and carry over what belongs to which bytes. */
static int render_template(const struct chat_format *f, const struct chat_request *request,
                           struct chat_rendered *out, struct err *e)
{
    struct writer w = {.f = f};
    struct ids ends = IDS_INIT;
    int rc = -1;

    buf_init(&w.text, TOKENIZER_TEXT_MAX);
    w.is_used = xcalloc((size_t)request->media_count + 1, sizeof *w.is_used);

    if (add_conversation(&w, request, e) == 0 &&
        tokenizer_encode_ends(f->tokenizer, w.text.data, w.text.size, &out->ids, &ends, e) == 0) {
        out->supervised = xcalloc((size_t)out->ids.count + 1, sizeof *out->supervised);
        mark_supervised(&w.supervised, &ends, out->supervised);
        rc = find_spans(&w, &ends, out, e);
    }
    ids_release(&ends);
    buf_release(&w.text);
    free(w.supervised.at);
    free(w.soft.at);
    free(w.is_used);
    return rc;
}

int chat_render(const struct chat_format *f, const struct chat_request *request,
                struct chat_rendered *out, struct err *e)
{
    *out = (struct chat_rendered){.language_at = -1};
    if (request->message_count < 1)
        return err_set(e, ERR_DATA, "the conversation has no message");
    int rc = f->family == CHAT_WHISPER ? chat_whisper_render(&f->whisper, request, out, e)
                                       : render_template(f, request, out, e);
    if (rc)
        chat_rendered_release(out);
    return rc;
}

void chat_rendered_release(struct chat_rendered *r)
{
    ids_release(&r->ids);
    free(r->supervised);
    free(r->spans);
    *r = (struct chat_rendered){.language_at = -1};
}

int chat_render_text(const struct chat_format *f, const char *text, struct chat_rendered *out,
                     struct err *e)
{
    static const char bos[] = "<bos>";
    bool has_bos = strncmp(text, bos, sizeof bos - 1) == 0;

    *out = (struct chat_rendered){.language_at = -1};
    if (f->family == CHAT_WHISPER) {
        err_set(e, ERR_DATA, "a text without a clip, of which the model learns nothing");
        return err_hint(e, "Whisper is trained on records of {audio, text}");
    }
    int rc = has_bos ? 0 : ids_push(&out->ids, f->bos, e);
    if (rc == 0)
        rc = tokenizer_encode(f->tokenizer, text, strlen(text), &out->ids, e);
    for (int i = 0; i < out->ids.count && rc == 0; i++)
        if (out->ids.at[i] == f->audio || out->ids.at[i] == f->image || out->ids.at[i] == f->video)
            rc = err_set(e, ERR_DATA, "a plain text contains the soft token %s",
                         tokenizer_piece(f->tokenizer, out->ids.at[i]));
    if (rc) {
        chat_rendered_release(out);
        return -1;
    }
    out->supervised = xmalloc((size_t)out->ids.count + 1);
    memset(out->supervised, 1, (size_t)out->ids.count + 1);
    out->supervised[0] = 0;
    return 0;
}
