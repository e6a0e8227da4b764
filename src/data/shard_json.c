/* shard_json.c - the members of a sample as one record (shard.h). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "data/shard_build.h"

enum { LANGUAGE_MAX = 64 };

const char *shard_suffix(const struct shard_record *r, const struct shard_member *m)
{
    return m->name + strlen(r->key) + 1;
}

enum shard_role shard_role(const struct shard_record *r, const struct shard_member *m)
{
    static const char *const audio[] = {"flac", "wav", "mp3", "ogg", "opus", "m4a", "aac", "webm"};
    const char *suffix = shard_suffix(r, m), *dot = strrchr(suffix, '.');
    if (strcasecmp(suffix, "json") == 0)
        return SHARD_JSON;
    if (strcasecmp(suffix, "txt") == 0 || strcasecmp(suffix, "text") == 0)
        return SHARD_TEXT;
    if (strcasecmp(suffix, "lang") == 0)
        return SHARD_LANGUAGE;
    for (size_t i = 0; i < sizeof audio / sizeof *audio; i++)
        if (strcasecmp(dot ? dot + 1 : suffix, audio[i]) == 0)
            return SHARD_AUDIO;
    return SHARD_OTHER;
}

/* The one member that has a role; `*m` NULL when there is none.  Of two nobody knows which is
 * meant. */
static int find_role(const struct shard *s, int record, enum shard_role role,
                     const struct shard_member **m, struct err *e)
{
    const struct shard_record *r = &s->records[record];
    *m = NULL;
    for (int i = 0; i < r->count; i++) {
        const struct shard_member *next = &s->members[r->first + i];
        if (shard_role(r, next) != role)
            continue;
        if (*m) {
            err_set(e, ERR_DATA, "\"%s\" and \"%s\" in one sample", (*m)->name, next->name);
            return err_hint(e, "name the one that is meant in the sample's json");
        }
        *m = next;
    }
    return 0;
}

/* The bytes of a member and a zero; the caller frees. */
static char *load(const struct shard_member *m, int64_t bytes_max, shard_read_fn read, void *arg,
                  struct err *e)
{
    if (m->size > bytes_max) {
        err_set(e, ERR_DATA, "\"%s\": %lld bytes, at most %lld are allowed", m->name,
                (long long)m->size, (long long)bytes_max);
        return NULL;
    }
    char *text = xmalloc((size_t)m->size + 1);
    text[m->size] = 0;
    if (m->size > 0 && read(arg, m->offset, text, (size_t)m->size, e)) {
        err_in(e, "\"%s\"", m->name);
        free(text);
        return NULL;
    }
    return text;
}

static bool has(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

static json_t *load_json(const struct shard_member *m, shard_read_fn read, void *arg, struct err *e)
{
    char *text = load(m, SHARD_JSON_MAX, read, arg, e);
    if (!text)
        return NULL;
    json_t *o = json_read_text(shard_base(m->name), text, (size_t)m->size, e);
    free(text);
    if (o && !json_is_object(o)) {
        err_set(e, ERR_DATA, "%s: expected an object, found %s", shard_base(m->name),
                json_kind_name(o));
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* Give `key` the text of the member with this role, unless the record has one. */
static int add_text(const struct shard *s, int record, json_t *o, const char *key,
                    enum shard_role role, int64_t bytes_max, shard_read_fn read, void *arg,
                    struct err *e)
{
    const struct shard_member *m;
    if (has(o, key))
        return 0;
    if (find_role(s, record, role, &m, e))
        return -1;
    char *text = m ? load(m, bytes_max, read, arg, e) : NULL;
    if (!text)
        return m ? -1 : 0;
    size_t size = (size_t)m->size;
    size_t mark = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (size > mark && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        text[--size] = 0;
    if (!utf8_is_valid(text, size) || memchr(text, 0, size))
        err_set(e, ERR_DATA, "\"%s\" is not UTF-8 text", m->name);
    else
        json_put_str(o, key, text + mark);
    free(text);
    return e->kind ? -1 : 0;
}

/* ------------------------------------------------------------------ clips -- */

/* Does a part of a message name a clip, or bring it?  0: it is no clip; 1: a clip without a name.
 * */
static int clip_part(const json_t *part)
{
    static const char *const keys[] = {"audio", "path", "url", "uri", "audio_url", "input_audio"};
    const char *type = json_string_value(json_object_get(part, "type"));
    bool is_audio = type && (strstr(type, "audio") != NULL);
    for (int i = 0; i < 6; i++)
        if (has(part, keys[i]) && (is_audio || strstr(keys[i], "audio")))
            return 2;
    return is_audio;
}

/* Clips in the messages that have no name; -1 when any has one. */
static int count_nameless(const json_t *messages)
{
    int count = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *parts = json_object_get(json_array_get(messages, i), "content");
        for (size_t k = 0; k < json_array_size(parts); k++) {
            int found = clip_part(json_array_get(parts, k));
            if (found == 2)
                return -1;
            count += found;
        }
    }
    return count;
}

/* Name the clip of the sample where the json does not.  Beside messages that have no place for it
 * "audio" is an error of record.h: it must not be left out silently. */
static int add_clip(const struct shard *s, int record, json_t *o, struct err *e)
{
    const struct shard_member *m;
    if (has(o, "audio") || has(o, "audio_filepath") || has(o, "audios"))
        return 0;
    int nameless = count_nameless(json_object_get(o, "messages"));
    if (nameless < 0)
        return 0;
    if (find_role(s, record, SHARD_AUDIO, &m, e))
        return -1;
    if (!m)
        return 0;
    if (nameless == 0) {
        json_put_str(o, "audio", m->name);
        return 0;
    }
    json_t *list = json_array();
    if (!list || json_array_append_new(list, json_string(m->name)))
        mem_die("a JSON value could not be made");
    json_put(o, "audios", list);
    return 0;
}

json_t *shard_json(const struct shard *s, int record, shard_read_fn read, void *arg, struct err *e)
{
    const struct shard_member *m;
    if (find_role(s, record, SHARD_JSON, &m, e))
        return NULL;
    json_t *o = m ? load_json(m, read, arg, e) : json_object();
    if (!o)
        return NULL;
    if (add_text(s, record, o, "text", SHARD_TEXT, SHARD_JSON_MAX, read, arg, e) ||
        add_text(s, record, o, "language", SHARD_LANGUAGE, LANGUAGE_MAX, read, arg, e) ||
        add_clip(s, record, o, e)) {
        json_decref(o);
        return NULL;
    }
    if (!has(o, "id"))
        json_put_str(o, "id", s->records[record].key);
    return o;
}
