/* shard_json.c - the members of a sample as one record (shard.h). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "data/record_parts.h"
#include "data/shard_build.h"

enum { LANGUAGE_MAX = 64 };

const char *shard_suffix(const struct shard_record *r, const struct shard_member *m)
{
    return m->name + strlen(r->key) + 1;
}

enum shard_role shard_role(const struct shard_record *r, const struct shard_member *m)
{
    /* A .webm holds sound or a video: here it is sound, as it always was; one that is a video is
     * named by the json. */
    static const struct {
        const char *extension;
        enum shard_role role;
    } media[] = {
        {"flac", SHARD_AUDIO}, {"wav", SHARD_AUDIO},  {"mp3", SHARD_AUDIO},  {"ogg", SHARD_AUDIO},
        {"opus", SHARD_AUDIO}, {"m4a", SHARD_AUDIO},  {"aac", SHARD_AUDIO},  {"webm", SHARD_AUDIO},
        {"jpg", SHARD_IMAGE},  {"jpeg", SHARD_IMAGE}, {"png", SHARD_IMAGE},  {"webp", SHARD_IMAGE},
        {"mp4", SHARD_VIDEO},  {"mov", SHARD_VIDEO},
    };
    const char *suffix = shard_suffix(r, m), *dot = strrchr(suffix, '.');
    if (strcasecmp(suffix, "json") == 0)
        return SHARD_JSON;
    if (strcasecmp(suffix, "txt") == 0 || strcasecmp(suffix, "text") == 0)
        return SHARD_TEXT;
    if (strcasecmp(suffix, "lang") == 0)
        return SHARD_LANGUAGE;
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (strcasecmp(dot ? dot + 1 : suffix, media[i].extension) == 0)
            return media[i].role;
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
    if (record_value(o, key))
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

/* ------------------------------------------------------------------ media -- */

/* What the json says of a sample's media. */
struct named {
    bool is_named[RECORD_KINDS];          /* some of this kind have a name, or are in the json */
    int nameless[RECORD_KINDS];           /* parts that take the next of a list */
};

static void note_parts(struct named *n, const json_t *parts)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        struct record_part part = record_look(json_array_get(parts, i));
        if (part.is_media && part.value)
            n->is_named[part.kind] = true;
        else if (part.is_media)
            n->nameless[part.kind]++;
    }
}

static void note_all(struct named *n, const json_t *o)
{
    const json_t *messages = json_object_get(o, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++)
        note_parts(n, json_object_get(json_array_get(messages, i), "content"));
    for (int k = 0; k < RECORD_KINDS; k++)
        n->is_named[k] = n->is_named[k] || record_value(o, record_kinds[k].name) ||
                         record_value(o, record_kinds[k].plural);
    n->is_named[RECORD_AUDIO] = n->is_named[RECORD_AUDIO] || record_value(o, "audio_filepath");
}

/* Is this kind the json's own business?  A json that names media names all of its images and
 * videos: others beside it may be thumbnails. */
static bool is_settled(const struct named *n, enum record_media_kind kind)
{
    bool names_any = false;
    for (int k = 0; k < RECORD_KINDS; k++)
        names_any = names_any || n->is_named[k];
    return n->is_named[kind] || (names_any && kind != RECORD_AUDIO && n->nameless[kind] == 0);
}

/* Name the sample's media of a kind where the json does not: as many as there are parts without a
 * name, else the only one.  Beside messages that have no place for it, it is an error of record.h:
 * it must not be left out silently. */
static int add_media(const struct shard *s, int record, const struct named *n,
                     enum record_media_kind kind, json_t *o, struct err *e)
{
    const struct shard_record *r = &s->records[record];
    const struct shard_member *found[SHARD_MEMBERS_MAX];
    int count = 0, role = (int)SHARD_AUDIO + (int)kind;    /* in the order of the kinds */
    for (int i = 0; i < r->count; i++)
        if ((int)shard_role(r, &s->members[r->first + i]) == role)
            found[count++] = &s->members[r->first + i];
    if (count == 0)
        return 0;
    if (count > 1 && count != n->nameless[kind]) {
        err_set(e, ERR_DATA, "\"%s\" and \"%s\" in one sample", found[0]->name, found[1]->name);
        return err_hint(e, "name the one that is meant in the sample's json");
    }
    if (n->nameless[kind] == 0) {
        json_put_str(o, record_kinds[kind].name, found[0]->name);
        return 0;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        if (!list || json_array_append_new(list, json_string(found[i]->name)))
            mem_die("a JSON value could not be made");
    json_put(o, record_kinds[kind].plural, list);
    return 0;
}

static int add_all_media(const struct shard *s, int record, json_t *o, struct err *e)
{
    struct named n = {{0}, {0}};
    note_all(&n, o);
    for (int k = 0; k < RECORD_KINDS; k++)
        if (!is_settled(&n, (enum record_media_kind)k) &&
            add_media(s, record, &n, (enum record_media_kind)k, o, e))
            return -1;
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
        add_all_media(s, record, o, e)) {
        json_decref(o);
        return NULL;
    }
    if (!record_value(o, "id"))
        json_put_str(o, "id", s->records[record].key);
    return o;
}
