/* record.c - see record.h.
 *
 * Which form a record has is told by its keys, in this order: "messages"; media ("audio", "image",
 * "video"); "prompt" or "completion"; "text".  Media or a text that would be left out because its
 * key is misspelt is the worst that could happen here: the run would go on and learn the wrong
 * thing.  So keys that the form does not use must not look like those that it could have used.
 */
#include "data/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "base/utf8.h"
#include "data/patch.h"
#include "data/record_parts.h"

enum { KEYS_SHOWN_BYTES = 200 };

static const char FORMS[] = "a record has \"messages\"; \"audio\", \"image\" or \"video\" "
                            "and \"text\"; \"prompt\" and \"completion\"; or \"text\"";

/* ------------------------------------------------------------------- keys -- */

static bool has(const json_t *o, const char *key)
{
    return record_value(o, key) != NULL;
}

/* The key under which the record has media of a kind beside its text, NULL: it has none. */
static const char *media_key(const json_t *o, enum record_media_kind kind)
{
    const struct record_kind_names *k = &record_kinds[kind];
    if (has(o, k->name))
        return k->name;
    if (kind == RECORD_AUDIO && has(o, "audio_filepath"))
        return "audio_filepath";
    return has(o, k->plural) ? k->plural : NULL;
}

static bool has_media(const json_t *o)
{
    return media_key(o, RECORD_AUDIO) || media_key(o, RECORD_IMAGE) || media_key(o, RECORD_VIDEO);
}

static bool is_among(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

/* "image_path" for "image".  Links may be no more than a remark where there are other media. */
static bool names_file(const char *key, const char *known, bool is_remark)
{
    static const char *const files[] = {"path", "file", "filepath", "filename", NULL};
    static const char *const links[] = {"url", "uri", NULL};
    size_t size = strlen(known);
    if (strncmp(key, known, size) != 0 || key[size] != '_')
        return false;
    return is_among(key + size + 1, files) || (!is_remark && is_among(key + size + 1, links));
}

static bool looks_like(const char *key, const char *known, bool beside_media)
{
    bool is_audio = strcmp(known, "audio") == 0;
    bool is_media = is_audio || strcmp(known, "image") == 0 || strcmp(known, "video") == 0;
    if (is_audio && !beside_media &&
        (strncmp(key, "audio_", 6) == 0 || strncmp(key, "wav", 3) == 0))
        return true;
    if (is_media && names_file(key, known, beside_media && !is_audio))
        return true;
    return suggest_distance(key, known) <= (strlen(known) > 5 ? 2 : 1);
}

/* Refuse keys that look like one that the form could use and that is not there. */
static int check_misspelt(json_t *o, const char *const *usable, struct err *e)
{
    static const char *const ours[] = {"messages",   "audio",  "audios", "audio_filepath", "image",
                                       "images",     "video",  "videos", "sound",          "text",
                                       "completion", "prompt", "task",   "segments",       NULL};
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v)
    {
        for (const char *const *known = usable; *known && !is_among(key, ours); known++) {
            if (has(o, *known) || strcmp(key, *known) == 0 ||
                !looks_like(key, *known, has_media(o)))
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

static int read_content(struct record_parse *p, struct chat_message *m, const json_t *v,
                        struct err *e)
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
    /* Videos may bring their sound. */
    struct chat_part *parts = new_parts(m, 2 * count);
    m->is_list = true;
    for (size_t i = 0; i < count; i++) {
        int made = record_read_part(p, &parts[m->part_count], json_array_get(v, i), e);
        if (made < 0)
            return err_in(e, "content[%zu]", i);
        m->part_count += made;
    }
    return 0;
}

static int read_message(struct record_parse *p, struct chat_message *m, const json_t *o,
                        struct err *e)
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

/* Media beside messages must have their places in them. */
static int check_used(const struct record_parse *p, const json_t *o, struct err *e)
{
    for (int i = 0; i < RECORD_KINDS; i++) {
        const struct record_kind_names *k = &record_kinds[i];
        size_t count = record_list_size(p->lists[i]);
        const char *key = media_key(o, (enum record_media_kind)i);
        if (p->used[i] >= count)
            continue;
        if (strcmp(key, k->plural) != 0 && record_count(p->r, (enum record_media_kind)i) == 0)
            err_set(e, ERR_DATA, "\"%s\" beside \"messages\" in which no part is %s", k->name,
                    k->article);
        else
            err_set(e, ERR_DATA, "\"%s\" has %zu file%s, the messages take %zu", key, count,
                    count == 1 ? "" : "s", p->used[i]);
        return err_hint(e, "each file needs a part {\"type\": \"%s\"} in a user's message",
                        k->name);
    }
    if (record_wants_sound(o) > 0) {
        err_set(e, ERR_DATA, "\"sound\" beside \"messages\"");
        return err_hint(e, "it belongs into the video's part");
    }
    return 0;
}

static int read_messages(struct record_parse *p, json_t *o, struct err *e)
{
    struct record *r = p->r;
    static const char *const usable[] = {"audios", "images", "videos", NULL};
    json_t *list = json_get_array(o, "messages", e);
    if (!list)
        return -1;
    size_t count = json_array_size(list);
    if (count == 0 || count > RECORD_MESSAGES_MAX)
        return err_set(e, ERR_DATA, "\"messages\": found %zu messages, allowed are 1 to %d", count,
                       RECORD_MESSAGES_MAX);
    for (int i = 0; i < RECORD_KINDS; i++) {
        const char *key = media_key(o, (enum record_media_kind)i);
        p->lists[i] = key ? json_object_get(o, key) : NULL;
    }
    r->messages = xcalloc(count, sizeof *r->messages);
    for (size_t i = 0; i < count; i++) {
        r->message_count++;
        if (read_message(p, &r->messages[i], json_array_get(list, i), e))
            return err_in(e, "messages[%zu]", i);
    }
    if (check_used(p, o, e) || check_misspelt(o, usable, e))
        return -1;
    return record_count(r, RECORD_AUDIO) > 0 ? record_read_speech(r, o, e) : 0;
}

/* ------------------------------------------------------------ short forms -- */

/* A user turn of all media and an optional text, and an assistant turn if there is a reply. */
static void make_turns(struct record *r, const char *text, const char *reply)
{
    r->messages = xcalloc(2, sizeof *r->messages);
    struct chat_message *user = &r->messages[r->message_count++];
    struct chat_part *parts = new_parts(user, (size_t)r->media_count + 1);
    user->role = CHAT_USER;
    user->is_list = true;
    for (int i = 0; i < r->media_count; i++)
        parts[user->part_count++] =
            (struct chat_part){.kind = record_kinds[r->media[i].kind].part, .media = i};
    if (text && *text)
        parts[user->part_count++] = (struct chat_part){.kind = CHAT_TEXT, .text = text};
    if (!reply)
        return;
    struct chat_message *assistant = &r->messages[r->message_count++];
    assistant->role = CHAT_ASSISTANT;
    new_parts(assistant, 1)[0] = (struct chat_part){.kind = CHAT_TEXT, .text = reply};
    assistant->part_count = 1;
}

/* All media of a kind that the record names. */
static int add_kind(struct record_parse *p, const json_t *o, enum record_media_kind kind,
                    bool has_sound, struct err *e)
{
    const char *key = media_key(o, kind);
    const json_t *list = key ? json_object_get(o, key) : NULL;
    if (!key)
        return 0;
    if (record_list_size(list) == 0) {
        err_set(e, ERR_DATA, "\"%s\": an empty list", key);
        return err_hint(e, "leave the key out of a record that has none");
    }
    for (size_t i = 0; i < record_list_size(list); i++) {
        int at = record_add(p, kind, record_list_at(list, i), key, e);
        if (at < 0 || (has_sound && record_add_sound(p, at, e) < 0))
            return -1;
    }
    return 0;
}

/* Whether videos bring their sound; -1 when that is no use. */
static int read_sound(const json_t *o, struct err *e)
{
    const char *video = media_key(o, RECORD_VIDEO), *audio = media_key(o, RECORD_AUDIO);
    int wants = record_wants_sound(o);
    if (wants < 0 && video)
        return err_set(e, ERR_DATA, "\"sound\": expected true or false, found %s",
                       json_kind_name(json_object_get(o, "sound")));
    if (wants > 0 && !video) {
        err_set(e, ERR_DATA, "\"sound\" without \"video\"");
        return err_hint(e, "it adds the sound track of a video; a file of sound is \"audio\"");
    }
    if (wants > 0 && audio) {
        err_set(e, ERR_DATA, "\"sound\" beside \"%s\"", audio);
        return err_hint(e,
                        "the sound is the video's own, or lies in a file: leave one of them out");
    }
    return wants > 0;
}

/* The keys that the form could have used. */
static int check_media_keys(json_t *o, struct err *e)
{
    const char *usable[12] = {"text", "prompt", "language"};
    int n = 3;
    if (media_key(o, RECORD_AUDIO)) {
        usable[n++] = "task";
        usable[n++] = "segments";
    }
    if (!has(o, "text"))
        usable[n++] = "completion";
    for (int i = 0; i < RECORD_KINDS; i++)
        if (!media_key(o, (enum record_media_kind)i))
            usable[n++] = record_kinds[i].name;
    if (media_key(o, RECORD_VIDEO))
        usable[n++] = "sound";
    return check_misspelt(o, usable, e);
}

static int read_media_form(struct record_parse *p, json_t *o, struct err *e)
{
    static const enum record_media_kind order[] = {RECORD_IMAGE, RECORD_VIDEO, RECORD_AUDIO};
    const char *text = json_get_str(o, "text", NULL, e);
    const char *completion = json_get_str(o, "completion", NULL, e);
    const char *prompt = json_get_str(o, "prompt", p->r->prompt, e);
    if (e->kind || check_media_keys(o, e))
        return -1;
    for (int i = 0; i < RECORD_KINDS && completion; i++) {
        const char *key = media_key(o, order[i]);
        if (key && !has(o, "prompt"))
            return err_set(e, ERR_DATA, "\"completion\" beside \"%s\", expected \"text\"", key);
    }
    if (text && completion)
        return err_set(e, ERR_DATA, "\"completion\" beside \"text\", expected one of them");
    int has_sound = read_sound(o, e);
    if (has_sound < 0)
        return -1;
    for (int i = 0; i < RECORD_KINDS; i++)
        if (add_kind(p, o, order[i], has_sound && order[i] == RECORD_VIDEO, e))
            return -1;
    if (record_count(p->r, RECORD_AUDIO) > 0 && record_read_speech(p->r, o, e))
        return -1;
    if (!text && !completion && p->r->speech.segment_count > 0)
        text = p->r->joined =
            record_join_segments(p->r->speech.segments, p->r->speech.segment_count);
    make_turns(p->r, prompt, text ? text : completion);
    return 0;
}

static int read_completion(struct record_parse *p, json_t *o, struct err *e)
{
    static const char *const usable[] = {"audio", "image", "video", "prompt", "completion", NULL};
    const char *prompt = json_need_str(o, "prompt", e);
    const char *completion = json_get_str(o, "completion", NULL, e);
    if (e->kind || check_misspelt(o, usable, e))
        return -1;
    if (!completion && has(o, "text"))
        return err_set(e, ERR_DATA, "\"text\" beside \"prompt\", expected \"completion\"");
    make_turns(p->r, prompt, completion);
    return 0;
}

static int read_text(struct record_parse *p, json_t *o, struct err *e)
{
    static const char *const usable[] = {"audio",      "image",    "video", "prompt",
                                         "completion", "messages", NULL};
    p->r->kind = RECORD_TEXT;
    p->r->text = json_need_str(o, "text", e);
    if (!p->r->text)
        return -1;
    return check_misspelt(o, usable, e);
}

static int read_form(struct record_parse *p, json_t *o, struct err *e)
{
    for (int i = 0; i < RECORD_KINDS; i++) {
        const char *key = media_key(o, (enum record_media_kind)i);
        const char *plural = record_kinds[i].plural;
        if (!key || !has(o, plural) || strcmp(key, plural) == 0)
            continue;
        err_set(e, ERR_DATA, "\"%s\" beside \"%s\"", key, plural);
        return err_hint(e, "put all files into \"%s\"", plural);
    }
    if (has(o, "messages"))
        return read_messages(p, o, e);
    if (has_media(o))
        return read_media_form(p, o, e);
    if (has(o, "prompt") || has(o, "completion"))
        return read_completion(p, o, e);
    if (has(o, "text"))
        return read_text(p, o, e);
    static const char *const usable[] = {"messages", "audio",      "image", "video",
                                         "prompt",   "completion", "text",  NULL};
    return check_misspelt(o, usable, e) ? -1 : no_form(o, e);
}

/* ---------------------------------------------------- columns and patches -- */

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

/* Give the record the text that a patch has for it: to the assistant's last turn.  Its segments
 * have the text that was mended. */
static int override_text(json_t *o, const char *text, struct err *e)
{
    json_object_del(o, "segments");
    if (!has(o, "messages")) {
        bool is_completion = has_media(o) ? has(o, "completion") && !has(o, "text")
                                          : has(o, "prompt") || has(o, "completion");
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
    r->speech.language = json_get_str(o, "language", NULL, e);
    r->seconds =
        record_seconds(json_object_get(o, "duration"), json_object_get(o, "audio_seconds"));
    return e->kind ? -1 : 0;
}

static int read_object(struct record_parse *p, struct err *e)
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
    for (int i = 0; i < RECORD_KINDS; i++)
        if (has(r->json, record_kinds[i].plural) &&
            !json_get_array(r->json, record_kinds[i].plural, e))
            return -1;
    return read_form(p, r->json, e);
}

int record_of_json(struct record *r, json_t *o, const struct record_place *place, struct err *e)
{
    memset(r, 0, sizeof *r);
    record_no_speech(&r->speech);
    r->where = xstrdup(place->where ? place->where : "");
    r->prompt = xstrdup(place->prompt ? place->prompt : "");
    r->json = o;
    struct record_parse p = {.r = r, .place = place};
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

int record_of_files(struct record *r, const struct record_files *files, const char *prompt,
                    struct err *e)
{
    struct {
        char *const *uris;
        int count;
        enum record_media_kind kind;
    } all[] = {{files->images, files->image_count, RECORD_IMAGE},
               {files->videos, files->video_count, RECORD_VIDEO},
               {files->clips, files->clip_count, RECORD_AUDIO}};
    memset(r, 0, sizeof *r);
    record_no_speech(&r->speech);
    struct record_place place = {.dir = "."};
    struct record_parse p = {.r = r, .place = &place};
    r->prompt = xstrdup(prompt ? prompt : "");
    for (int k = 0; k < RECORD_KINDS; k++) {
        for (int i = 0; i < all[k].count; i++) {
            json_t *uri = json_string(all[k].uris[i]);
            int at = uri ? record_add(&p, all[k].kind, uri, record_kinds[all[k].kind].name, e)
                         : err_set(e, ERR_DATA, "a file name that is not UTF-8");
            json_decref(uri);
            if (at >= 0 && files->has_sound && all[k].kind == RECORD_VIDEO)
                at = record_add_sound(&p, at, e);
            if (at < 0) {
                record_release(r);
                return -1;
            }
        }
    }
    r->where = xstrdup(r->media_count ? r->media[0].name : "the prompt");
    make_turns(r, r->prompt, NULL);
    return 0;
}

void record_of_clip(struct record *r, const char *path, const char *prompt)
{
    memset(r, 0, sizeof *r);
    record_no_speech(&r->speech);
    r->where = xstrdup(path);
    r->prompt = xstrdup(prompt ? prompt : "");
    r->media = xcalloc(1, sizeof *r->media);
    r->media_count = 1;
    r->media[0] = (struct record_media){
        .kind = RECORD_AUDIO, .same_as = -1, .uri = xstrdup(path), .name = xstrdup(path)};
    make_turns(r, r->prompt, NULL);
}

const struct record_media *record_file(const struct record *r, int i)
{
    const struct record_media *m = &r->media[i];
    return m->same_as >= 0 ? &r->media[m->same_as] : m;
}

int record_count(const struct record *r, enum record_media_kind kind)
{
    int count = 0;
    for (int i = 0; i < r->media_count; i++)
        count += r->media[i].kind == kind;
    return count;
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
    free(r->joined);
    free(r->speech.segments);
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
