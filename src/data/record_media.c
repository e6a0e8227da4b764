/* record_media.c - media of a record, and the parts of its messages (record_parts.h). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "data/base64.h"
#include "data/record_parts.h"
#include "data/shard.h"
#include "data/source.h"

const struct record_kind_names record_kinds[RECORD_KINDS] = {
    [RECORD_AUDIO] = {"audio", "audios", "input_audio", "audio_url", "clip", "audio", CHAT_AUDIO},
    [RECORD_IMAGE] = {"image", "images", "input_image", "image_url", "image", "an image",
                      CHAT_IMAGE},
    [RECORD_VIDEO] = {"video", "videos", "input_video", "video_url", "video", "a video",
                      CHAT_VIDEO},
};

json_t *record_value(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static bool has(const json_t *o, const char *key)
{
    return record_value(o, key) != NULL;
}

/* ------------------------------------------------------------------- media -- */

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

/* Add an empty item.  Returns its index. */
static int new_media(struct record_parse *p, enum record_media_kind kind, struct err *e)
{
    struct record *r = p->r;
    if (r->media_count == RECORD_MEDIA_MAX) {
        err_set(e, ERR_DATA, "more than %d clips, images and videos", RECORD_MEDIA_MAX);
        return err_hint(e, "make several records of it");
    }
    if (r->media_count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 2;
        r->media = xreallocarray(r->media, (size_t)p->capacity, sizeof *r->media);
    }
    r->media[r->media_count] = (struct record_media){.kind = kind, .same_as = -1};
    return r->media_count++;
}

/* The earlier item that is the same file, -1: none. */
static int find_same(const struct record *r, int i)
{
    const struct record_media *m = &r->media[i];
    for (int k = 0; k < i; k++) {
        const struct record_media *other = &r->media[k];
        if (other->same_as < 0 && ((m->member && m->member == other->member) ||
                                   (m->uri && other->uri && strcmp(m->uri, other->uri) == 0)))
            return k;
    }
    return -1;
}

/* Add an item that has a place, is in the shard, or is written out as a data: URI.  Returns its
 * index. */
static int add_uri(struct record_parse *p, enum record_media_kind kind, const char *uri,
                   struct err *e)
{
    const struct record_place *place = p->place;
    if (!*uri)
        return err_set(e, ERR_DATA, "an empty file name");
    int i = new_media(p, kind, e);
    if (i < 0)
        return -1;
    struct record_media *m = &p->r->media[i];
    if (strncmp(uri, "data:", 5) == 0) {
        const char *comma = strstr(uri, ";base64,");
        m->name = xasprintf("%s %d", record_kinds[kind].noun, i + 1);
        if (!comma)
            return err_set(e, ERR_DATA, "a data: URI without \";base64,\"");
        return decode_bytes(m, comma + 8, e) ? -1 : i;
    }
    m->name = xstrdup(uri);
    if (place->shard)
        m->member = shard_find(place->shard, place->index, uri);
    if (!m->member)
        m->uri = source_resolve(place->dir ? place->dir : ".", uri);
    m->same_as = find_same(p->r, i);
    return i;
}

const char *record_uri(const json_t *v, enum record_media_kind kind)
{
    const char *const names[] = {"path", "url", "uri", record_kinds[kind].name};
    for (int i = 0; i < 4 && json_is_object(v); i++)
        if (json_is_string(json_object_get(v, names[i])))
            return json_string_value(json_object_get(v, names[i]));
    return json_string_value(v);
}

int record_add(struct record_parse *p, enum record_media_kind kind, const json_t *v,
               const char *key, struct err *e)
{
    const char *uri = record_uri(v, kind);
    if (uri)
        return add_uri(p, kind, uri, e);
    if (json_is_object(v))
        return err_set(e, ERR_DATA, "\"%s\": an object without \"path\" or \"url\"", key);
    return err_set(e, ERR_DATA, "\"%s\": expected a file name, found %s", key, json_kind_name(v));
}

int record_add_sound(struct record_parse *p, int video, struct err *e)
{
    int i = new_media(p, RECORD_AUDIO, e);
    if (i < 0)
        return -1;
    const struct record_media *of = &p->r->media[video];
    struct record_media *m = &p->r->media[i];
    m->same_as = of->same_as >= 0 ? of->same_as : video;
    m->uri = of->uri ? xstrdup(of->uri) : NULL;
    m->member = of->member;
    m->name = xstrdup(of->name);
    return i;
}

/* {"data": base64, "format": "wav"} */
static int add_encoded(struct record_parse *p, enum record_media_kind kind, const json_t *o,
                       struct err *e)
{
    const char *data = json_need_str(o, "data", e);
    int i = data ? new_media(p, kind, e) : -1;
    if (i < 0)
        return -1;
    struct record_media *m = &p->r->media[i];
    m->name = xasprintf("%s %d", record_kinds[kind].noun, i + 1);
    return decode_bytes(m, data, e) ? err_in(e, "\"%s\"", record_kinds[kind].input) : i;
}

size_t record_list_size(const json_t *list)
{
    return json_is_array(list) ? json_array_size(list) : list != NULL;
}

const json_t *record_list_at(const json_t *list, size_t i)
{
    return json_is_array(list) ? json_array_get(list, i) : i == 0 ? list : NULL;
}

static int next_of_list(struct record_parse *p, enum record_media_kind kind, struct err *e)
{
    const struct record_kind_names *k = &record_kinds[kind];
    const json_t *v = record_list_at(p->lists[kind], p->used[kind]);
    if (!v)
        return err_set(e, ERR_DATA, "%s%s part without a file: needs \"%s\" or \"path\"",
                       kind == RECORD_AUDIO ? "an " : "", k->article, k->name);
    p->used[kind]++;
    return record_add(p, kind, v, k->plural, e);
}

/* ------------------------------------------------------------------- parts -- */

/* The kind of media of a part's type, -1: none. */
static int kind_of_type(const char *type)
{
    for (int i = 0; i < RECORD_KINDS; i++)
        if (strcmp(type, record_kinds[i].name) == 0 || strcmp(type, record_kinds[i].input) == 0 ||
            strcmp(type, record_kinds[i].url) == 0)
            return i;
    return -1;
}

/* What a part is: its "type", or the one key that tells; NULL: nothing does. */
static const char *type_of(const json_t *o)
{
    if (has(o, "type"))
        return json_string_value(json_object_get(o, "type"));
    if (has(o, "text"))
        return "text";
    for (int i = 0; i < RECORD_KINDS; i++)
        if (has(o, record_kinds[i].name) || has(o, record_kinds[i].input) ||
            has(o, record_kinds[i].url))
            return record_kinds[i].name;
    return NULL;
}

int record_wants_sound(const json_t *o)
{
    const json_t *v = record_value(o, "sound");
    if (!v || json_is_boolean(v))
        return json_is_true(v);
    const char *text = json_string_value(v);
    if (text && strcmp(text, "true") == 0)
        return 1;
    return text && strcmp(text, "false") == 0 ? 0 : -1;
}

struct record_part record_look(const json_t *part)
{
    struct record_part found = {0};
    const char *type = json_is_object(part) ? type_of(part) : NULL;
    int kind = type ? kind_of_type(type) : -1;
    if (kind < 0)
        return found;
    const struct record_kind_names *k = &record_kinds[kind];
    const char *const keys[] = {k->input, k->name, "path", "url", "uri", k->url};
    found.is_media = true;
    found.kind = (enum record_media_kind)kind;
    found.has_sound = kind == RECORD_VIDEO && record_wants_sound(part) > 0;
    for (int i = 0; i < 6 && !found.value; i++) {
        found.value = record_value(part, keys[i]);
        found.key = keys[i];
    }
    found.is_encoded = found.value && found.key == k->input;
    return found;
}

/* "sound" is for videos, and not beside a file with sound. */
static int check_sound(const json_t *o, const struct record_part *part, struct err *e)
{
    const char *key;
    json_t *v;
    int wants = record_wants_sound(o);
    if (part->kind != RECORD_VIDEO) {
        if (wants == 0)
            return 0;
        err_set(e, ERR_DATA, "\"sound\" in %s part",
                part->kind == RECORD_AUDIO ? "an audio" : "an image");
        return err_hint(e, "only a video has a sound track to add");
    }
    if (wants < 0)
        return err_set(e, ERR_DATA, "\"sound\": expected true or false, found %s",
                       json_kind_name(json_object_get(o, "sound")));
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (strcmp(key, "sound") == 0 || suggest_distance(key, "sound") > 1)
            continue;
        err_set(e, ERR_DATA, "unknown key \"%s\" looks like \"sound\"", key);
        return err_hint(e, "write \"sound\", or give the key another name");
    }
    if (has(o, "audio") || has(o, "image")) {
        err_set(e, ERR_DATA, "\"%s\" in a video part", has(o, "audio") ? "audio" : "image");
        return err_hint(e, "write a part of its own for each file");
    }
    return 0;
}

static int read_media_part(struct record_parse *p, struct chat_part *out, const json_t *o,
                           struct err *e)
{
    struct record_part part = record_look(o);
    int i, sound = -1;
    if (check_sound(o, &part, e))
        return -1;
    if (part.is_encoded)
        i = add_encoded(p, part.kind, part.value, e);
    else if (part.value)
        i = record_add(p, part.kind, part.value, part.key, e);
    else
        i = next_of_list(p, part.kind, e);
    if (i >= 0 && part.has_sound)
        sound = record_add_sound(p, i, e);
    if (i < 0 || (part.has_sound && sound < 0))
        return -1;
    out[0] = (struct chat_part){.kind = record_kinds[part.kind].part, .media = i};
    if (part.has_sound)
        out[1] = (struct chat_part){.kind = CHAT_AUDIO, .media = sound};
    return part.has_sound ? 2 : 1;
}

int record_read_part(struct record_parse *p, struct chat_part *out, const json_t *v, struct err *e)
{
    if (json_is_string(v)) {
        out[0] = (struct chat_part){.kind = CHAT_TEXT, .text = json_string_value(v)};
        return 1;
    }
    const char *type = json_get_str(v, "type", NULL, e);
    if (e->kind)
        return -1;
    if (!type)
        type = type_of(v);
    if (!type)
        return err_set(e, ERR_DATA, "a part without \"type\"");
    if (strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
        strcmp(type, "output_text") == 0) {
        out[0] = (struct chat_part){.kind = CHAT_TEXT, .text = json_need_str(v, "text", e)};
        return out[0].text ? 1 : -1;
    }
    if (kind_of_type(type) >= 0)
        return read_media_part(p, out, v, e);
    return err_set(e, ERR_DATA, "unknown part type \"%s\", known are text, audio, image and video",
                   type);
}
