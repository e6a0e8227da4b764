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
    int media, count;                    /* of soft tokens: whose, and how many */
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
    bool *is_used;                       /* [media_count] */
};

/* ------------------------------------------------------------- the format -- */

static const struct {
    const char *model_type;
    enum chat_family family;
} families[] = {
    {"gemma4", CHAT_GEMMA4},
    {"gemma4_text", CHAT_GEMMA4},
    {"gemma4_unified", CHAT_GEMMA4},
    {"gemma4_unified_text", CHAT_GEMMA4},
};

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
    if (find_token(t, "<bos>", true, &f->bos, e) || find_token(t, "<eos>", false, &f->eos, e) ||
        find_token(t, "<turn|>", true, &f->turn_end, e) ||
        find_token(t, "<|turn>", true, &(int32_t){0}, e) ||
        find_token(t, "<|audio|>", false, &f->audio, e) ||
        find_token(t, "<|image|>", false, &f->image, e))
        return -1;
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

int chat_format_open(struct chat_format *f, const char *dir, const struct tokenizer *t,
                     struct err *e)
{
    char *path = path_join(dir, "config.json");
    json_t *config = json_read_file(path, CONFIG_MAX_BYTES, e);
    const char *model_type = config ? json_need_str(config, "model_type", e) : NULL;
    int rc = -1;

    if (model_type) {
        char *text = find_template(dir, e);
        if (!e->kind)
            rc = chat_format_init(f, model_type, text, t, e);
        if (rc)
            err_in(e, "%s", dir);
        free(text);
    } else if (config) {
        err_in(e, "%s", path);
    }
    json_decref(config);
    free(path);
    return rc;
}

int chat_stop_ids(const struct chat_format *f, int32_t *out, int max)
{
    int count = 0;

    if (count < max)
        out[count++] = f->turn_end;
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

/* No special token may be written out in what a record says. */
static int check_text(const struct chat_format *f, const char *text, size_t size, struct err *e)
{
    int32_t id = tokenizer_find_special(f->tokenizer, text, size);

    if (id < 0)
        return 0;
    err_set(e, ERR_DATA, "the text contains the control token %s",
            tokenizer_piece(f->tokenizer, id));
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

static int add_media(struct writer *w, const struct chat_request *r, const struct chat_part *p,
                     struct err *e)
{
    bool is_audio = p->kind == CHAT_AUDIO;
    const char *name = is_audio ? "audio" : "image";
    const char *newlines = !is_audio && w->f->has_image_newlines ? "\n\n" : "";

    if ((is_audio ? w->f->audio : w->f->image) < 0)
        return err_set(e, ERR_DATA, "the model takes no %s: its tokenizer has no <|%s|>", name,
                       name);
    if (p->media < 0 || p->media >= r->media_count)
        return err_set(e, ERR_DATA, "media item %d is asked for, the record has %d", p->media + 1,
                       r->media_count);
    if (w->is_used[p->media])
        return err_set(e, ERR_DATA, "media item %d is used twice", p->media + 1);
    int count = r->soft_tokens[p->media];
    if (count <= 0)
        return err_set(e, ERR_DATA, "media item %d, %s, gives no soft tokens: it is too short",
                       p->media + 1, name);
    w->is_used[p->media] = true;

    buf_printf(&w->text, "%s<|%s>", newlines, name);
    size_t start = w->text.size;
    for (int i = 0; i < count && !w->text.overflowed; i++)
        buf_printf(&w->text, "<|%s|>", name);
    add_range(&w->soft, (struct range){start, w->text.size, p->media, count});
    buf_printf(&w->text, "<%s|>%s", name, newlines);
    return 0;
}

static int add_parts(struct writer *w, const struct chat_request *r, const struct chat_message *m,
                     bool is_spaced, struct err *e)
{
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        int rc;
        if (p->kind != CHAT_TEXT && m->role != CHAT_USER)
            return err_set(e, ERR_DATA, "audio and images belong into a user's message");
        if (p->kind != CHAT_TEXT)
            rc = add_media(w, r, p, e);
        else if (m->role == CHAT_ASSISTANT)
            rc = add_reply(w, p->text, e);
        else
            rc = add_text(w, p->text, strlen(p->text), e);
        if (rc)
            return -1;
        if (is_spaced)
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
    if (has_message && add_parts(w, r, m, m->is_list, e))
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
    size_t start = w->text.size;
    bool thinks = is_reply && m->reasoning && *m->reasoning && w->f->has_reasoning;
    if (thinks && i > last_user && add_reasoning(w, m->reasoning, e))
        return -1;
    if (add_parts(w, r, m, false, e))
        return -1;
    bool stays_open = is_reply && w->f->leaves_turn_open && is_assistant(r, i + 1);
    if (!stays_open)
        buf_add_str(&w->text, "<turn|>");
    if (is_reply)
        add_range(&w->supervised, (struct range){start, w->text.size, -1, 0});
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
        *span = (struct chat_span){.media = r->media, .start = i};
        while (i < ends->count && (size_t)ends->at[i] <= r->end)
            i++;
        span->count = i - span->start;
        if (span->count != r->count)
            return err_set(e, ERR_USAGE, "the tokenizer made %d ids of %d soft tokens", span->count,
                           r->count);
    }
    return 0;
}

int chat_render(const struct chat_format *f, const struct chat_request *request,
                struct chat_rendered *out, struct err *e)
{
    struct writer w = {.f = f};
    struct ids ends = IDS_INIT;
    int rc = -1;

    *out = (struct chat_rendered){0};
    if (request->message_count < 1)
        return err_set(e, ERR_DATA, "the conversation has no message");
    buf_init(&w.text, TOKENIZER_TEXT_MAX);
    w.is_used = xcalloc((size_t)request->media_count + 1, sizeof *w.is_used);

    if (add_conversation(&w, request, e) == 0 &&
        tokenizer_encode_ends(f->tokenizer, w.text.data, w.text.size, &out->ids, &ends, e) == 0) {
        out->supervised = xcalloc((size_t)out->ids.count + 1, sizeof *out->supervised);
        mark_supervised(&w.supervised, &ends, out->supervised);
        rc = find_spans(&w, &ends, out, e);
    }
    if (rc)
        chat_rendered_release(out);
    ids_release(&ends);
    buf_release(&w.text);
    free(w.supervised.at);
    free(w.soft.at);
    free(w.is_used);
    return rc;
}

void chat_rendered_release(struct chat_rendered *r)
{
    ids_release(&r->ids);
    free(r->supervised);
    free(r->spans);
    *r = (struct chat_rendered){0};
}

int chat_render_text(const struct chat_format *f, const char *text, struct chat_rendered *out,
                     struct err *e)
{
    static const char bos[] = "<bos>";
    bool has_bos = strncmp(text, bos, sizeof bos - 1) == 0;

    *out = (struct chat_rendered){0};
    int rc = has_bos ? 0 : ids_push(&out->ids, f->bos, e);
    if (rc == 0)
        rc = tokenizer_encode(f->tokenizer, text, strlen(text), &out->ids, e);
    for (int i = 0; i < out->ids.count && rc == 0; i++)
        if (out->ids.at[i] == f->audio || out->ids.at[i] == f->image)
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
