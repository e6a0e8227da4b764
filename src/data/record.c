/* record.c - see record.h.
 *
 * Which form a record has is told by its keys, in this order: "messages"; "audio"; "prompt" or
 * "completion"; "text".  A clip or a text that would be left out because its key is misspelt is
 * the worst that could happen here: the run would go on and learn the wrong thing.  So keys that
 * the form does not use must not look like those that it could have used.
 */
#include "data/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/utf8.h"
#include "data/base64.h"
#include "data/patch.h"
#include "data/shard.h"
#include "data/source.h"

enum {
    KEYS_SHOWN_BYTES = 200,
    CLIP_BYTES_PER_TOKEN = 1280,          /* 40 ms of 16-bit sound at 16 kHz */
    TOKENS_PER_SECOND = 25,
    TEXT_BYTES_PER_TOKEN = 4,
    SECONDS_MAX = 1000000,                /* more is a mistake, and not counted */
};

static const char FORMS[] = "a record has \"messages\", \"audio\" and \"text\", "
                            "\"prompt\" and \"completion\", or \"text\"";

/* What the parser needs besides the record. */
struct parse {
    struct record *r;
    const struct record_place *place;
    json_t *clips;                        /* "audios": for parts without a name of their own */
    size_t clips_used;
    int capacity;                         /* of r->media */
};

static const char *place_dir(const struct record_place *place)
{
    return place->dir ? place->dir : ".";
}

/* ------------------------------------------------------------------- keys -- */

/* The value of a key, NULL when it is missing or null. */
static json_t *lookup(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static bool has(const json_t *o, const char *key)
{
    return lookup(o, key) != NULL;
}

/* Refuse keys that look like one that the form could use and that is not there. */
static int check_misspelt(json_t *o, const char *const *usable, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v)
    {
        for (const char *const *known = usable; *known; known++) {
            int limit = strlen(*known) > 5 ? 2 : 1;
            bool is_media = strcmp(*known, "audio") == 0 &&
                            (strncmp(key, "audio_", 6) == 0 || strncmp(key, "wav", 3) == 0);
            if (has(o, *known) || strcmp(key, *known) == 0 ||
                (!is_media && suggest_distance(key, *known) > limit))
                continue;
            err_set(e, ERR_DATA, "unknown key \"%s\" looks like \"%s\"", key, *known);
            return err_hint(e, "write \"%s\", or give the key another name", *known);
        }
    }
    return 0;
}

static int no_form(json_t *o, struct err *e)
{
    struct buf keys;
    buf_init(&keys, KEYS_SHOWN_BYTES);
    const char *key;
    json_t *v;
    int shown = 0;
    json_object_foreach(o, key, v)
    {
        size_t before = keys.size;
        if (before + strlen(key) + 8 > KEYS_SHOWN_BYTES)
            break;
        buf_printf(&keys, "%s\"%s\"", shown++ ? ", " : "", key);
    }
    if (json_object_size(o) == 0)
        err_set(e, ERR_DATA, "an empty record");
    else
        err_set(e, ERR_DATA, "no usable form, found the keys %s%s", keys.data,
                (size_t)shown < json_object_size(o) ? ", ..." : "");
    buf_release(&keys);
    return err_hint(e, "%s", FORMS);
}

/* ------------------------------------------------------------------ media -- */

static int decode_bytes(struct record_media *m, const char *text, struct err *e)
{
    size_t size = 0;
    m->bytes = base64_decode(text, strlen(text), &size);
    if (!m->bytes)
        return err_set(e, ERR_DATA, "not base64 at character %zu", size + 1);
    m->size = size;
    if (size == 0)
        return err_set(e, ERR_DATA, "holds no bytes");
    return 0;
}

/* Add an empty clip.  Returns its index. */
static int new_clip(struct parse *p, struct err *e)
{
    struct record *r = p->r;
    if (r->media_count == RECORD_MEDIA_MAX)
        return err_set(e, ERR_DATA, "more than %d clips", RECORD_MEDIA_MAX);
    if (r->media_count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 2;
        r->media = xreallocarray(r->media, (size_t)p->capacity, sizeof *r->media);
    }
    memset(&r->media[r->media_count], 0, sizeof *r->media);
    return r->media_count++;
}

/* Add a clip that has a place, is in the shard, or is written out as a data: URI.  Returns its
 * index. */
static int add_clip(struct parse *p, const char *uri, struct err *e)
{
    const struct record_place *place = p->place;
    if (!*uri)
        return err_set(e, ERR_DATA, "an empty file name");
    int i = new_clip(p, e);
    if (i < 0)
        return -1;
    struct record_media *m = &p->r->media[i];
    if (strncmp(uri, "data:", 5) == 0) {
        const char *comma = strstr(uri, ";base64,");
        m->name = xasprintf("clip %d", i + 1);
        if (!comma)
            return err_set(e, ERR_DATA, "a data: URI without \";base64,\"");
        return decode_bytes(m, comma + 8, e) ? -1 : i;
    }
    m->name = xstrdup(uri);
    if (place->shard)
        m->member = shard_find(place->shard, place->index, uri);
    if (!m->member)
        m->uri = source_resolve(place_dir(place), uri);
    return i;
}

/* A clip as a string or as an object that names a file. */
static int add_clip_value(struct parse *p, const json_t *v, const char *key, struct err *e)
{
    if (json_is_object(v)) {
        static const char *const names[] = {"path", "url", "uri", "audio"};
        for (int i = 0; i < 4; i++)
            if (json_is_string(json_object_get(v, names[i])))
                return add_clip(p, json_string_value(json_object_get(v, names[i])), e);
        return err_set(e, ERR_DATA, "\"%s\": an object without \"path\" or \"url\"", key);
    }
    if (!json_is_string(v))
        return err_set(e, ERR_DATA, "\"%s\": expected a file name, found %s", key,
                       json_kind_name(v));
    return add_clip(p, json_string_value(v), e);
}

/* {"data": base64, "format": "wav"} */
static int add_clip_bytes(struct parse *p, const json_t *o, struct err *e)
{
    const char *data = json_need_str(o, "data", e);
    int i = data ? new_clip(p, e) : -1;
    if (i < 0)
        return -1;
    struct record_media *m = &p->r->media[i];
    m->name = xasprintf("clip %d", i + 1);
    return decode_bytes(m, data, e) ? err_in(e, "\"input_audio\"") : i;
}

static int next_of_list(struct parse *p, struct err *e)
{
    if (p->clips_used >= json_array_size(p->clips))
        return err_set(e, ERR_DATA, "an audio part without a file: needs \"audio\" or \"path\"");
    return add_clip_value(p, json_array_get(p->clips, p->clips_used++), "audios", e);
}

/* ------------------------------------------------------------------ parts -- */

static int read_audio_part(struct parse *p, const json_t *o, struct err *e)
{
    static const char *const keys[] = {"audio", "path", "url", "uri", "audio_url"};
    if (has(o, "input_audio"))
        return add_clip_bytes(p, json_object_get(o, "input_audio"), e);
    for (int i = 0; i < 5; i++)
        if (has(o, keys[i]))
            return add_clip_value(p, json_object_get(o, keys[i]), keys[i], e);
    return next_of_list(p, e);
}

/* What a part is: its "type", or the one key that tells. */
static const char *part_type(const json_t *o, struct err *e)
{
    static const char *const keys[] = {"text",  "audio",     "input_audio", "audio_url",
                                       "image", "image_url", "video"};
    const char *type = json_get_str(o, "type", NULL, e);
    for (int i = 0; i < 7 && !type && !e->kind; i++)
        if (has(o, keys[i]))
            type = keys[i];
    if (!type)
        err_set(e, ERR_DATA, "a part without \"type\"");
    return e->kind ? NULL : type;
}

static int read_part(struct parse *p, struct chat_part *part, const json_t *v, struct err *e)
{
    if (json_is_string(v)) {
        *part = (struct chat_part){.kind = CHAT_TEXT, .text = json_string_value(v)};
        return 0;
    }
    const char *type = part_type(v, e);
    if (!type)
        return -1;
    if (strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
        strcmp(type, "output_text") == 0) {
        *part = (struct chat_part){.kind = CHAT_TEXT, .text = json_need_str(v, "text", e)};
        return part->text ? 0 : -1;
    }
    if (strcmp(type, "audio") == 0 || strcmp(type, "input_audio") == 0 ||
        strcmp(type, "audio_url") == 0) {
        int i = read_audio_part(p, v, e);
        *part = (struct chat_part){.kind = CHAT_AUDIO, .media = i};
        return i < 0 ? -1 : 0;
    }
    if (strncmp(type, "image", 5) == 0 || strncmp(type, "video", 5) == 0)
        return err_set(e, ERR_DATA, "parts of type \"%s\" are not supported, only text and audio",
                       type);
    return err_set(e, ERR_DATA, "unknown part type \"%s\", known are text and audio", type);
}

/* --------------------------------------------------------------- messages -- */

static int read_role(enum chat_role *role, const char *name, struct err *e)
{
    static const struct {
        const char *name;
        enum chat_role role;
    } roles[] = {{"user", CHAT_USER},
                 {"assistant", CHAT_ASSISTANT},
                 {"system", CHAT_SYSTEM},
                 {"developer", CHAT_SYSTEM},
                 {"model", CHAT_ASSISTANT}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(name, roles[i].name) == 0) {
            *role = roles[i].role;
            return 0;
        }
    }
    return err_set(e, ERR_DATA, "unknown role \"%s\", known are system, user and assistant", name);
}

/* Room for the parts of message `m`; freed with the record. */
static struct chat_part *new_parts(struct chat_message *m, size_t count)
{
    struct chat_part *parts = xcalloc(count + 1, sizeof *parts);
    m->parts = parts;
    return parts;
}

static int read_content(struct parse *p, struct chat_message *m, const json_t *v, struct err *e)
{
    if (json_is_string(v)) {
        new_parts(m, 1)[0] = (struct chat_part){.kind = CHAT_TEXT, .text = json_string_value(v)};
        m->part_count = 1;
        return 0;
    }
    if (!json_is_array(v))
        return err_set(e, ERR_DATA, "content: expected a string or a list of parts, found %s",
                       json_kind_name(v));
    size_t count = json_array_size(v);
    if (count > RECORD_PARTS_MAX)
        return err_set(e, ERR_DATA, "content: %zu parts, at most %d are allowed", count,
                       RECORD_PARTS_MAX);
    struct chat_part *parts = new_parts(m, count);
    m->is_list = true;
    for (size_t i = 0; i < count; i++) {
        if (read_part(p, &parts[i], json_array_get(v, i), e))
            return err_in(e, "content[%zu]", i);
        m->part_count++;
    }
    return 0;
}

static int read_message(struct parse *p, struct chat_message *m, const json_t *o, struct err *e)
{
    const char *role = json_need_str(o, "role", e);
    if (!role || read_role(&m->role, role, e))
        return -1;
    if (has(o, "tool_calls"))
        return err_set(e, ERR_DATA, "\"tool_calls\" are not supported");
    if (has(o, "weight") && json_number_value(json_object_get(o, "weight")) != 1)
        return err_set(e, ERR_DATA, "\"weight\": only 1 is supported");
    if (has(o, "reasoning"))
        m->reasoning = json_get_str(o, "reasoning", NULL, e);
    else
        m->reasoning = json_get_str(o, "reasoning_content", NULL, e);
    if (e->kind)
        return -1;
    return read_content(p, m, json_object_get(o, "content"), e);
}

static int read_messages(struct parse *p, json_t *o, struct err *e)
{
    struct record *r = p->r;
    static const char *const usable[] = {"audios", NULL};
    json_t *list = json_get_array(o, "messages", e);
    if (!list)
        return -1;
    size_t count = json_array_size(list);
    if (count == 0 || count > RECORD_MESSAGES_MAX)
        return err_set(e, ERR_DATA, "\"messages\": found %zu messages, allowed are 1 to %d", count,
                       RECORD_MESSAGES_MAX);
    r->messages = xcalloc(count, sizeof *r->messages);
    for (size_t i = 0; i < count; i++) {
        r->message_count++;
        if (read_message(p, &r->messages[i], json_array_get(list, i), e))
            return err_in(e, "messages[%zu]", i);
    }
    if (p->clips_used < json_array_size(p->clips))
        return err_set(e, ERR_DATA, "\"audios\" has %zu files, the messages take %zu",
                       json_array_size(p->clips), p->clips_used);
    if (r->media_count == 0 && (has(o, "audio") || has(o, "audio_filepath")))
        return err_set(e, ERR_DATA, "\"audio\" beside \"messages\" in which no part is audio");
    return check_misspelt(o, usable, e);
}

/* ------------------------------------------------------------ short forms -- */

/* A user turn of an optional clip and an optional text, and an assistant turn if there is a
 * reply. */
static void make_turns(struct record *r, int clip, const char *text, const char *reply)
{
    r->messages = xcalloc(2, sizeof *r->messages);
    struct chat_message *user = &r->messages[r->message_count++];
    struct chat_part *parts = new_parts(user, 2);
    user->role = CHAT_USER;
    user->is_list = true;
    if (clip >= 0)
        parts[user->part_count++] = (struct chat_part){.kind = CHAT_AUDIO, .media = clip};
    if (text && *text)
        parts[user->part_count++] = (struct chat_part){.kind = CHAT_TEXT, .text = text};
    if (!reply)
        return;
    struct chat_message *assistant = &r->messages[r->message_count++];
    assistant->role = CHAT_ASSISTANT;
    new_parts(assistant, 1)[0] = (struct chat_part){.kind = CHAT_TEXT, .text = reply};
    assistant->part_count = 1;
}

static int read_transcript(struct parse *p, json_t *o, struct err *e)
{
    static const char *const usable[] = {"text", "prompt", "language", NULL};
    const char *key = has(o, "audio") ? "audio" : "audio_filepath";
    const char *text = json_get_str(o, "text", NULL, e);
    const char *prompt = json_get_str(o, "prompt", p->r->prompt, e);
    if (e->kind || check_misspelt(o, usable, e))
        return -1;
    if (has(o, "completion"))
        return err_set(e, ERR_DATA, "\"completion\" beside \"audio\", expected \"text\"");
    int clip = add_clip_value(p, json_object_get(o, key), key, e);
    if (clip < 0)
        return -1;
    make_turns(p->r, clip, prompt, text);
    return 0;
}

static int read_completion(struct parse *p, json_t *o, struct err *e)
{
    static const char *const usable[] = {"audio", "prompt", "completion", NULL};
    const char *prompt = json_need_str(o, "prompt", e);
    const char *completion = json_get_str(o, "completion", NULL, e);
    if (e->kind || check_misspelt(o, usable, e))
        return -1;
    if (!completion && has(o, "text"))
        return err_set(e, ERR_DATA, "\"text\" beside \"prompt\", expected \"completion\"");
    make_turns(p->r, -1, prompt, completion);
    return 0;
}

static int read_text(struct parse *p, json_t *o, struct err *e)
{
    static const char *const usable[] = {"audio", "prompt", "completion", "messages", NULL};
    p->r->kind = RECORD_TEXT;
    p->r->text = json_need_str(o, "text", e);
    if (!p->r->text)
        return -1;
    return check_misspelt(o, usable, e);
}

static int read_form(struct parse *p, json_t *o, struct err *e)
{
    static const char *const later[] = {"image", "images", "video", "videos"};
    for (int i = 0; i < 4; i++)
        if (has(o, later[i]) && !has(o, "messages"))
            return err_set(e, ERR_DATA, "\"%s\" is not supported, only text and audio", later[i]);
    if (has(o, "messages"))
        return read_messages(p, o, e);
    if (has(o, "audio") || has(o, "audio_filepath"))
        return read_transcript(p, o, e);
    if (has(o, "prompt") || has(o, "completion"))
        return read_completion(p, o, e);
    if (has(o, "text"))
        return read_text(p, o, e);
    static const char *const usable[] = {"messages", "audio", "prompt", "completion", "text", NULL};
    return check_misspelt(o, usable, e) ? -1 : no_form(o, e);
}

/* ---------------------------------------------------- columns and patches -- */

/* Does "ours=theirs" give `key` a value, which `theirs` has?  Returns where its name begins. */
static const char *column_for(const char *column, const char *key)
{
    size_t size = strlen(key);
    return strncmp(column, key, size) == 0 && column[size] == '=' ? column + size + 1 : NULL;
}

void record_rename(json_t *o, char *const *columns, int column_count)
{
    json_t **values = column_count > 0 ? xcalloc((size_t)column_count, sizeof(json_t *)) : NULL;
    for (int i = 0; i < column_count; i++) {
        const char *theirs = strchr(columns[i], '=');
        if (theirs && has(o, theirs + 1))
            values[i] = json_incref(json_object_get(o, theirs + 1));
    }
    for (int i = 0; i < column_count; i++)
        if (values[i])
            json_object_del(o, strchr(columns[i], '=') + 1);
    for (int i = 0; i < column_count; i++) {
        if (!values[i])
            continue;
        char *ours = xstrndup(columns[i], strcspn(columns[i], "="));
        json_put(o, ours, values[i]);
        free(ours);
    }
    free(values);
}

/* The value that `key` will have after record_rename, NULL when it is missing or null. */
static json_t *value_of(const json_t *o, const char *key, const struct record_place *place)
{
    bool is_moved = false;
    for (int i = place->column_count - 1; i >= 0; i--) {
        const char *theirs = column_for(place->columns[i], key);
        json_t *v = theirs ? lookup(o, theirs) : NULL;
        if (v)
            return v;
        theirs = strchr(place->columns[i], '=');
        is_moved = is_moved || (theirs && strcmp(theirs + 1, key) == 0);
    }
    return is_moved ? NULL : lookup(o, key);
}

/* Give the record the text that a patch has for it: to the assistant's last turn. */
static int override_text(json_t *o, const char *text, struct err *e)
{
    if (!has(o, "messages")) {
        bool is_completion = !has(o, "audio") && !has(o, "audio_filepath") &&
                             (has(o, "prompt") || has(o, "completion"));
        json_put_str(o, is_completion ? "completion" : "text", text);
        return 0;
    }
    json_t *list = json_get_array(o, "messages", e);
    if (!list)
        return -1;
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (!role || (strcmp(role, "assistant") != 0 && strcmp(role, "model") != 0))
        return err_set(e, ERR_DATA,
                       "a patch has a text for it, but its last message is not the "
                       "assistant's");
    json_put_str(last, "content", text);
    return 0;
}

/* ------------------------------------------------------------- the record -- */

static double read_seconds(const json_t *duration, const json_t *audio_seconds)
{
    const json_t *v = json_is_number(duration) ? duration : audio_seconds;
    double s = json_is_number(v) ? json_number_value(v) : 0;
    return s > 0 && s < SECONDS_MAX ? s : 0;
}

static int read_name(struct record *r, const json_t *o, struct err *e)
{
    const json_t *id = json_object_get(o, "id");
    if (json_is_string(id))
        r->id = xstrdup(json_string_value(id));
    else if (json_is_integer(id))
        r->id = xasprintf("%lld", (long long)json_integer_value(id));
    else if (id && !json_is_null(id))
        return err_set(e, ERR_DATA, "\"id\": expected a string or an integer, found %s",
                       json_kind_name(id));
    r->language = json_get_str(o, "language", NULL, e);
    r->seconds = read_seconds(json_object_get(o, "duration"), json_object_get(o, "audio_seconds"));
    return e->kind ? -1 : 0;
}

static int read_object(struct parse *p, struct err *e)
{
    struct record *r = p->r;
    const struct record_place *place = p->place;
    if (!json_is_object(r->json))
        return err_set(e, ERR_DATA, "expected an object, found %s", json_kind_name(r->json));
    record_rename(r->json, place->columns, place->column_count);
    if (read_name(r, r->json, e))
        return -1;
    struct patch_entry patch = {0};
    if (place->patch)
        patch = patch_find(place->patch, r->id);
    if (patch.text && override_text(r->json, patch.text, e))
        return -1;
    if (has(r->json, "audios"))
        p->clips = json_get_array(r->json, "audios", e);
    return e->kind ? -1 : read_form(p, r->json, e);
}

int record_of_json(struct record *r, json_t *o, const struct record_place *place, struct err *e)
{
    memset(r, 0, sizeof *r);
    r->where = xstrdup(place->where ? place->where : "");
    r->prompt = xstrdup(place->prompt ? place->prompt : "");
    r->json = o;
    struct parse p = {.r = r, .place = place};
    if (read_object(&p, e)) {
        err_in(e, "%s", r->where);
        record_release(r);
        return -1;
    }
    return 0;
}

/* How many bytes in front are UTF-8. */
static size_t valid_utf8(const char *line, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint32_t point;
        int n = utf8_decode(line + at, size - at, &point);
        if (n < 1)
            break;
        at += (size_t)n;
    }
    return at;
}

int record_parse(struct record *r, const char *line, size_t size, const struct record_place *place,
                 struct err *e)
{
    const char *where = place->where ? place->where : "";
    memset(r, 0, sizeof *r);
    size_t valid = valid_utf8(line, size);
    if (valid < size)
        return err_set(e, ERR_DATA, "%s:%zu: the byte 0x%02x is not UTF-8", where, valid + 1,
                       (unsigned char)line[valid]);
    json_error_t at;
    json_t *o = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (!o)
        return err_set(e, ERR_DATA, "%s:%d: %s", where, at.column > 0 ? at.column : 1, at.text);
    return record_of_json(r, o, place, e);
}

void record_of_clip(struct record *r, const char *path, const char *prompt)
{
    memset(r, 0, sizeof *r);
    r->where = xstrdup(path);
    r->prompt = xstrdup(prompt ? prompt : "");
    r->media = xcalloc(1, sizeof *r->media);
    r->media_count = 1;
    r->media[0].uri = xstrdup(path);
    r->media[0].name = xstrdup(path);
    make_turns(r, 0, r->prompt, NULL);
}

void record_release(struct record *r)
{
    for (int i = 0; i < r->message_count; i++)
        free((void *)(uintptr_t)r->messages[i].parts);
    free(r->messages);
    for (int i = 0; i < r->media_count; i++) {
        free(r->media[i].uri);
        free(r->media[i].bytes);
        free(r->media[i].name);
    }
    free(r->media);
    free(r->id);
    free(r->where);
    free(r->prompt);
    json_decref(r->json);
    memset(r, 0, sizeof *r);
}

char *record_reference(const struct record *r)
{
    if (r->message_count == 0 || r->messages[r->message_count - 1].role != CHAT_ASSISTANT)
        return NULL;
    const struct chat_message *m = &r->messages[r->message_count - 1];
    struct buf text;
    buf_init(&text, 1 << 30);
    for (int i = 0; i < m->part_count; i++)
        if (m->parts[i].kind == CHAT_TEXT)
            buf_add_str(&text, m->parts[i].text);
    char *taken = xstrdup(text.data);
    buf_release(&text);
    return taken;
}

/* ------------------------------------------------------------------ facts -- */

/* What is counted while the facts are gathered. */
struct count {
    struct record_facts *f;
    const struct record_place *place;
    size_t clips_used;                    /* of "audios" */
    int64_t text_bytes, clip_bytes;
};

static void count_text(struct count *c, const json_t *text)
{
    c->text_bytes += (int64_t)json_string_length(text);
}

/* Bytes of a clip in the record's shard or in the record itself.  Files beside it are not asked for
 * their size: the order of the data would hang on what no manifest pins, and be another one in a
 * bucket. */
static int64_t clip_size(const struct count *c, const char *uri)
{
    const struct record_place *place = c->place;
    if (strncmp(uri, "data:", 5) == 0)
        return (int64_t)strlen(uri) / 4 * 3;
    const struct shard_member *m =
        place->shard ? shard_find(place->shard, place->index, uri) : NULL;
    return m ? m->size : 0;
}

static void count_clip(struct count *c, const json_t *v)
{
    static const char *const names[] = {"path", "url", "uri", "audio"};
    for (int i = 0; i < 4 && json_is_object(v); i++)
        if (json_is_string(json_object_get(v, names[i])))
            v = json_object_get(v, names[i]);
    if (!json_is_string(v) || c->f->media_count == RECORD_MEDIA_MAX)
        return;
    c->f->media_count++;
    c->clip_bytes += clip_size(c, json_string_value(v));
}

static void count_part(struct count *c, const json_t *part, const json_t *audios)
{
    static const char *const keys[] = {"audio", "path", "url", "uri", "audio_url"};
    struct err ignored = {0};
    const char *type = json_is_object(part) ? part_type(part, &ignored) : NULL;
    if (!type || !strstr(type, "audio")) {
        count_text(c, json_is_object(part) ? json_object_get(part, "text") : part);
        return;
    }
    if (has(part, "input_audio")) {
        const json_t *data = json_object_get(json_object_get(part, "input_audio"), "data");
        c->f->media_count += c->f->media_count < RECORD_MEDIA_MAX;
        c->clip_bytes += (int64_t)json_string_length(data) / 4 * 3;
        return;
    }
    for (int i = 0; i < 5; i++) {
        if (has(part, keys[i])) {
            count_clip(c, json_object_get(part, keys[i]));
            return;
        }
    }
    count_clip(c, json_array_get(audios, c->clips_used++));
}

static void count_messages(struct count *c, const json_t *list, const json_t *audios,
                           const char *patch)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *content = json_object_get(m, "content");
        count_text(c, json_object_get(m, "reasoning"));
        if (patch && i + 1 == json_array_size(list))
            c->text_bytes += (int64_t)strlen(patch);
        else if (json_is_string(content))
            count_text(c, content);
        else
            for (size_t k = 0; k < json_array_size(content); k++)
                count_part(c, json_array_get(content, k), audios);
    }
}

static void count_short_form(struct count *c, const json_t *o, const char *patch)
{
    const json_t *clip = value_of(o, "audio", c->place);
    if (!clip)
        clip = value_of(o, "audio_filepath", c->place);
    const json_t *completion = clip ? NULL : value_of(o, "completion", c->place);
    count_text(c, value_of(o, "prompt", c->place));
    if (patch)
        c->text_bytes += (int64_t)strlen(patch);
    else
        count_text(c, completion ? completion : value_of(o, "text", c->place));
    if (clip)
        count_clip(c, clip);
}

static void copy_id(struct record_facts *f, const json_t *id)
{
    if (json_is_integer(id)) {
        snprintf(f->id, sizeof f->id, "%lld", (long long)json_integer_value(id));
    } else if (json_is_string(id)) {
        size_t size = json_string_length(id);
        size_t skip = size < sizeof f->id ? 0 : size - sizeof f->id + 1;
        memcpy(f->id, json_string_value(id) + skip, size - skip + 1);
    }
}

void record_facts(struct record_facts *f, const json_t *o, const struct record_place *place)
{
    struct count c = {.f = f, .place = place};
    struct patch_entry patch = {0};
    memset(f, 0, sizeof *f);
    if (!json_is_object(o))
        return;
    const json_t *id = value_of(o, "id", place);
    copy_id(f, id);
    if (place->patch && f->id[0])
        patch = patch_find(place->patch, json_is_string(id) ? json_string_value(id) : f->id);
    const json_t *duration = value_of(o, "duration", place);
    f->seconds = (float)read_seconds(
        duration, json_is_number(duration) ? NULL : value_of(o, "audio_seconds", place));
    const json_t *messages = value_of(o, "messages", place);
    if (messages)
        count_messages(&c, messages, value_of(o, "audios", place), patch.text);
    else
        count_short_form(&c, o, patch.text);
    int64_t length = c.text_bytes / TEXT_BYTES_PER_TOKEN;
    if (f->seconds > 0)
        length += (int64_t)(f->seconds * TOKENS_PER_SECOND);
    else
        length += c.clip_bytes / CLIP_BYTES_PER_TOKEN;
    f->length = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}
