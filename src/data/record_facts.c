/* record_facts.c - what planning needs to know of a record (record.h), without complaint: a bad
 * record is found bad when its turn comes. */
#include <stdio.h>
#include <string.h>

#include "data/patch.h"
#include "data/record_parts.h"
#include "data/shard.h"

enum {
    CLIP_BYTES_PER_TOKEN = 1280,          /* 40 ms of 16-bit sound at 16 kHz */
    TOKENS_PER_SECOND = 25,
    TEXT_BYTES_PER_TOKEN = 4,
    SECONDS_MAX = 1000000,                /* more is a mistake, and not counted */
};

/* What is counted while the facts are gathered. */
struct count {
    struct record_facts *f;
    const struct record_place *place;
    const json_t *lists[RECORD_KINDS];
    size_t used[RECORD_KINDS];            /* of them */
    int64_t text_bytes, clip_bytes;
};

double record_seconds(const json_t *duration, const json_t *audio_seconds)
{
    const json_t *v = json_is_number(duration) ? duration : audio_seconds;
    double s = json_is_number(v) ? json_number_value(v) : 0;
    return s > 0 && s < SECONDS_MAX ? s : 0;
}

/* Does "ours=theirs" give `key` a value, which `theirs` has?  Returns where its name begins. */
static const char *column_for(const char *column, const char *key)
{
    size_t size = strlen(key);
    return strncmp(column, key, size) == 0 && column[size] == '=' ? column + size + 1 : NULL;
}

/* The value that `key` will have after record_rename, NULL when it is missing or null. */
static json_t *value_of(const json_t *o, const char *key, const struct record_place *place)
{
    bool is_moved = false;
    for (int i = place->column_count - 1; i >= 0; i--) {
        const char *theirs = column_for(place->columns[i], key);
        json_t *v = theirs ? record_value(o, theirs) : NULL;
        if (v)
            return v;
        theirs = strchr(place->columns[i], '=');
        is_moved = is_moved || (theirs && strcmp(theirs + 1, key) == 0);
    }
    return is_moved ? NULL : record_value(o, key);
}

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

/* False when there is no room for more media. */
static bool count_one(struct count *c, enum record_media_kind kind)
{
    struct record_facts *f = c->f;
    int *const counts[] = {&f->clip_count, &f->image_count, &f->video_count};
    if (f->media_count == RECORD_MEDIA_MAX)
        return false;
    f->media_count++;
    ++*counts[kind];
    return true;
}

static void count_media(struct count *c, enum record_media_kind kind, const json_t *v,
                        bool has_sound)
{
    const char *uri = record_uri(v, kind);
    if (!uri || !count_one(c, kind))
        return;
    if (kind == RECORD_AUDIO)
        c->clip_bytes += clip_size(c, uri);
    if (has_sound)
        count_one(c, RECORD_AUDIO);
}

static void count_part(struct count *c, const json_t *v)
{
    struct record_part part = record_look(v);
    if (!part.is_media) {
        count_text(c, json_is_object(v) ? json_object_get(v, "text") : v);
    } else if (part.is_encoded) {
        const json_t *data = json_object_get(part.value, "data");
        if (count_one(c, part.kind) && part.kind == RECORD_AUDIO)
            c->clip_bytes += (int64_t)json_string_length(data) / 4 * 3;
        if (part.has_sound)
            count_one(c, RECORD_AUDIO);
    } else if (part.value) {
        count_media(c, part.kind, part.value, part.has_sound);
    } else {
        size_t next = c->used[part.kind]++;
        count_media(c, part.kind, record_list_at(c->lists[part.kind], next), part.has_sound);
    }
}

static void count_messages(struct count *c, const json_t *list, const char *patch)
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
                count_part(c, json_array_get(content, k));
    }
}

/* The texts of segments, where there is no other. */
static void count_segments(struct count *c, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        count_text(c, json_object_get(json_array_get(list, i), "text"));
}

static void count_short_form(struct count *c, const json_t *o, const char *patch)
{
    const json_t *completion = value_of(o, "completion", c->place);
    const json_t *text = value_of(o, "text", c->place);
    json_t *sound = value_of(o, "sound", c->place);
    bool has_sound = json_is_true(sound) ||
                     (json_is_string(sound) && strcmp(json_string_value(sound), "true") == 0);
    bool has_media = false;
    for (int k = 0; k < RECORD_KINDS; k++) {
        for (size_t i = 0; i < record_list_size(c->lists[k]); i++)
            count_media(c, (enum record_media_kind)k, record_list_at(c->lists[k], i),
                        has_sound && k == RECORD_VIDEO);
        has_media = has_media || c->lists[k];
    }
    count_text(c, value_of(o, "prompt", c->place));
    if (patch)
        c->text_bytes += (int64_t)strlen(patch);
    else if (has_media && !text && !completion)
        count_segments(c, value_of(o, "segments", c->place));
    else
        count_text(c, (has_media && text) || !completion ? text : completion);
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

static void add_up(struct record_facts *f, const struct count *c)
{
    int64_t length = c->text_bytes / TEXT_BYTES_PER_TOKEN;
    f->text_length = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
    if (f->media_count > 0 && f->clip_count == 0)
        f->seconds = 0;
    if (f->seconds > 0)
        length += (int64_t)(f->seconds * TOKENS_PER_SECOND);
    else
        length += c->clip_bytes / CLIP_BYTES_PER_TOKEN;
    length += (int64_t)f->image_count * RECORD_IMAGE_TOKENS;
    length += (int64_t)f->video_count * RECORD_VIDEO_TOKENS;
    f->length = length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}

uint32_t record_text_length(uint32_t length, double seconds, int64_t file_bytes)
{
    int64_t sound = (int64_t)(seconds * TOKENS_PER_SECOND);
    if (seconds <= 0)
        sound = file_bytes / CLIP_BYTES_PER_TOKEN;
    return sound < (int64_t)length ? length - (uint32_t)sound : 0;
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
    f->seconds = (float)record_seconds(
        duration, json_is_number(duration) ? NULL : value_of(o, "audio_seconds", place));
    for (int k = 0; k < RECORD_KINDS; k++) {
        c.lists[k] = value_of(o, record_kinds[k].plural, place);
        if (!c.lists[k])
            c.lists[k] = value_of(o, record_kinds[k].name, place);
    }
    if (!c.lists[RECORD_AUDIO])
        c.lists[RECORD_AUDIO] = value_of(o, "audio_filepath", place);
    const json_t *messages = value_of(o, "messages", place);
    if (messages)
        count_messages(&c, messages, patch.text);
    else
        count_short_form(&c, o, patch.text);
    add_up(f, &c);
}
