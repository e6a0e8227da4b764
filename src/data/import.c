/* import.c - see import.h. */
#include "data/import.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/dir.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/patch.h"

enum { RECORD_BYTES_MAX = 16 << 20, LANGUAGE_SIZE = 16, ID_DIGITS = 16 };

struct import {
    struct import_options o;
    struct import_counts counts;
    int64_t expected;
    uint64_t *seen;               /* hashes of ids, by open addressing; 0: free */
    size_t seen_size, seen_count; /* size: a power of two */
    bool has_rows, has_media;     /* of tables without a header: does the first row name a clip? */
};

const char *import_reason_text(enum import_reason r)
{
    static const char *const texts[LEFT_COUNT] = {
        [LEFT_DELETED] = "deleted by a patch",
        [LEFT_LANGUAGE] = "of another language",
        [LEFT_NO_LANGUAGE] = "of unknown language",
        [LEFT_EMPTY] = "without text",
        [LEFT_LONG] = "too long",
        [LEFT_TASK] = "no transcription",
        [LEFT_OFFSET] = "a piece of a longer file",
        [LEFT_TWICE] = "with an id that was there before",
    };
    return texts[r];
}

struct import *import_new(const struct import_options *o, struct err *e)
{
    if (import_names_check(o->columns, o->column_count, NULL, 0, e))
        return NULL;
    struct import *m = xcalloc(1, sizeof *m);
    m->o = *o;
    m->seen_size = 1024;
    m->seen = xcalloc(m->seen_size, sizeof *m->seen);
    return m;
}

void import_free(struct import *m)
{
    if (m)
        free(m->seen);
    free(m);
}

void import_expect(struct import *m, int64_t rows)
{
    m->expected += rows;
}

const struct import_options *import_settings(const struct import *m)
{
    return &m->o;
}

const struct import_counts *import_counts(const struct import *m)
{
    return &m->counts;
}

/* ---------------------------------------------------------------- bad rows -- */

static bool has_too_many(const struct import *m)
{
    int64_t all = m->counts.read > m->expected ? m->counts.read : m->expected;
    return m->counts.bad > m->o.bad_min && (double)m->counts.bad > m->o.bad_fraction * (double)all;
}

static int refuse(const struct import *m, struct err *e)
{
    err_set(e, ERR_DATA, "%lld of %lld rows are bad (allowed: %d, or %g %% of all)",
            (long long)m->counts.bad, (long long)m->counts.read, m->o.bad_min,
            100 * m->o.bad_fraction);
    return err_hint(e, "each is named above; --bad-fraction and --bad-min allow more");
}

int import_bad(struct import *m, const char *where, const struct err *why, struct err *e)
{
    m->counts.read++;
    m->counts.bad++;
    log_warn("%s: %s", where, why->text);
    return has_too_many(m) ? refuse(m, e) : 0;
}

int import_end(struct import *m, struct err *e)
{
    m->expected = 0;
    return has_too_many(m) ? refuse(m, e) : 0;
}

/* ---------------------------------------------------------------------- ids -- */

static uint64_t id_hash(const char *id)
{
    uint64_t h = rng_seed(0, id);
    return h ? h : 1;
}

static void insert(uint64_t *table, size_t size, uint64_t h)
{
    size_t i = (size_t)h & (size - 1);
    while (table[i])
        i = (i + 1) & (size - 1);
    table[i] = h;
}

/* Note the id; true when it was there already. */
static bool is_seen(struct import *m, const char *id)
{
    uint64_t h = id_hash(id);
    for (size_t i = (size_t)h & (m->seen_size - 1); m->seen[i]; i = (i + 1) & (m->seen_size - 1))
        if (m->seen[i] == h)
            return true;
    if (2 * ++m->seen_count > m->seen_size) {
        uint64_t *table = xcalloc(2 * m->seen_size, sizeof *table);
        for (size_t i = 0; i < m->seen_size; i++)
            if (m->seen[i])
                insert(table, 2 * m->seen_size, m->seen[i]);
        free(m->seen);
        m->seen = table;
        m->seen_size *= 2;
    }
    insert(m->seen, m->seen_size, h);
    return false;
}

static enum import_split split_of(const struct import *m, const char *id)
{
    if (m->o.eval_part <= 0)
        return SPLIT_NONE;
    uint64_t h = rng_seed(m->o.seed, id);
    return (double)(h >> 11) * 0x1p-53 < m->o.eval_part ? SPLIT_EVAL : SPLIT_TRAIN;
}

/* ---------------------------------------------------------------- languages -- */

void import_language(const char *tag, char *out)
{
    static const char *const none[] = {"und", "unknown", "none", "null", "nan", "auto"};
    size_t size = 0;
    for (; size + 1 < LANGUAGE_SIZE && tag[size]; size++) {
        char c = tag[size];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (c < 'a' || c > 'z')
            break;
        out[size] = c;
    }
    out[size] = 0;
    bool is_tag = size >= 2 && (!tag[size] || tag[size] == '-' || tag[size] == '_');
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        is_tag = is_tag && strcmp(out, none[i]) != 0;
    if (!is_tag)
        *out = 0;
}

/* Shall a row of this language (a tag, NULL: not said) be kept?  The reason when not, else -1. */
static int language_reason(const struct import *m, const char *tag)
{
    char found[LANGUAGE_SIZE] = "", wanted[LANGUAGE_SIZE];
    if (m->o.mode != LANGUAGES_STRICT)
        return -1;
    if (tag)
        import_language(tag, found);
    if (!*found)
        return LEFT_NO_LANGUAGE;
    for (int i = 0; i < m->o.language_count; i++) {
        import_language(m->o.languages[i], wanted);
        if (!strcmp(found, wanted))
            return -1;
    }
    return m->o.language_count ? (int)LEFT_LANGUAGE : -1;
}

/* ---------------------------------------------------------------------- rows -- */

/* A row taken apart.  Strings are owned, NULL when the row does not have them. */
struct fields {
    char *of[ROLE_COUNT];
    double seconds, offset;       /* -1: not said */
    char *audio, *image;          /* as our record names them */
    char id[2 * ID_DIGITS];       /* made, when the row has none */
};

static void fields_release(struct fields *f)
{
    for (int r = 0; r < ROLE_COUNT; r++)
        free(f->of[r]);
    free(f->audio);
    free(f->image);
}

static bool is_blank(const char *s)
{
    return !s || !s[strspn(s, " \t\r\n")];
}

static void drop_blank(char **s)
{
    if (is_blank(*s)) {
        free(*s);
        *s = NULL;
    }
}

/* An id of what the row is about, where it has none of its own. */
static const char *id_of(struct fields *f)
{
    if (f->of[ROLE_ID])
        return f->of[ROLE_ID];
    struct hash *h = hash_new();
    static const enum import_role roles[] = {ROLE_AUDIO, ROLE_IMAGE, ROLE_PROMPT, ROLE_TEXT};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const char *s = f->of[roles[i]];
        hash_add(h, s ? s : "", s ? strlen(s) + 1 : 1);
        if (s && roles[i] == ROLE_AUDIO)    /* the clip alone: texts are corrected */
            break;
    }
    unsigned char digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    hash_end(h, digest);
    hash_hex(digest, hex);
    hash_free(h);
    snprintf(f->id, sizeof f->id, "%.*s", ID_DIGITS, hex);
    return f->id;
}

static int take_apart(struct fields *f, const struct import_row *row,
                      const struct import_names *names, struct err *e)
{
    if (json_object_get(row->json, "messages"))
        return err_set(e, ERR_DATA, "has \"messages\": it is a record of ours already");
    for (int r = 0; r < ROLE_COUNT; r++) {
        const char *key = names->of[r];
        f->of[r] = import_text(row->json, key);
        if (r != ROLE_TEXT)
            drop_blank(&f->of[r]);
        const json_t *v = key ? json_object_get(row->json, key) : NULL;
        if (!f->of[r] && (json_is_object(v) || json_is_array(v)))
            return err_set(e, ERR_DATA, "\"%s\": expected a text, found %s", key,
                           json_kind_name(v));
    }
    f->seconds = import_seconds(row->json, names->of[ROLE_DURATION]);
    f->offset = import_seconds(row->json, names->of[ROLE_OFFSET]);
    if (f->seconds == -2)
        return err_set(e, ERR_DATA, "\"%s\" is \"%.40s\", expected seconds",
                       names->of[ROLE_DURATION], f->of[ROLE_DURATION] ? f->of[ROLE_DURATION] : "");
    if (!f->of[ROLE_CORPUS] && row->corpus)
        f->of[ROLE_CORPUS] = xstrdup(row->corpus);
    return 0;
}

static bool is_transcription(const struct fields *f)
{
    const char *task = f->of[ROLE_TASK], *target = f->of[ROLE_TARGET];
    const char *source = f->of[ROLE_LANGUAGE];
    if (task && strcasecmp(task, "asr") != 0 && strcasecmp(task, "transcribe") != 0 &&
        strcasecmp(task, "transcription") != 0)
        return false;
    return !target || !source || !strcasecmp(target, source);
}

/* Why it is left out, -1: it is not.  A patch's text stands in for the row's. */
static int reason_of(struct import *m, struct fields *f)
{
    struct patch_entry entry = {0};
    if (m->o.patch)
        entry = patch_find(m->o.patch, id_of(f));
    if (entry.is_deleted)
        return LEFT_DELETED;
    if (entry.text) {
        free(f->of[ROLE_TEXT]);
        f->of[ROLE_TEXT] = xstrdup(entry.text);
    }
    if (!is_transcription(f))
        return LEFT_TASK;
    if (f->offset > 0)
        return LEFT_OFFSET;
    int reason = language_reason(m, f->of[ROLE_LANGUAGE]);
    if (reason >= 0)
        return reason;
    if (is_blank(f->of[ROLE_TEXT]))
        return LEFT_EMPTY;
    return m->o.seconds_max > 0 && f->seconds > m->o.seconds_max ? (int)LEFT_LONG : -1;
}

static bool is_image(const char *name)
{
    static const char *const known[] = {"jpg", "jpeg", "png", "webp", "gif", "bmp"};
    const char *extension = path_extension(name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(extension, known[i]))
            return true;
    return false;
}

/* A row that names no clip, though others do, would become plain text to learn. */
static int check_media(struct import *m, const struct fields *f, const struct import_row *row,
                       const struct import_names *names, struct err *e)
{
    bool has_media = f->of[ROLE_AUDIO] || f->of[ROLE_IMAGE];
    if (!has_media && (names->of[ROLE_AUDIO] || names->of[ROLE_IMAGE]))
        return err_set(e, ERR_DATA, "\"%s\" is empty",
                       names->of[names->of[ROLE_AUDIO] ? ROLE_AUDIO : ROLE_IMAGE]);
    if (!row->names) {
        if (m->has_rows && m->has_media != has_media)
            return err_set(e, ERR_DATA, "names %s clip, unlike the first row",
                           has_media ? "a" : "no");
        m->has_rows = true;
        m->has_media = has_media;
    }
    return 0;
}

static int find_media(struct import *m, struct fields *f, const struct import_row *row,
                      struct err *e)
{
    const char *corpus = f->of[ROLE_CORPUS];
    if (f->of[ROLE_AUDIO] && !f->of[ROLE_IMAGE] && is_image(f->of[ROLE_AUDIO])) {
        f->of[ROLE_IMAGE] = f->of[ROLE_AUDIO];      /* file_name says not of what */
        f->of[ROLE_AUDIO] = NULL;
    }
    if (f->of[ROLE_AUDIO]) {
        f->audio = import_place_find(m->o.place, f->of[ROLE_AUDIO], row->dir, corpus, e);
        if (!f->audio)
            return -1;
    }
    if (f->of[ROLE_IMAGE]) {
        f->image = import_place_find(m->o.place, f->of[ROLE_IMAGE], row->dir, corpus, e);
        if (!f->image)
            return -1;
    }
    return 0;
}

static void put(json_t *o, const char *key, const char *value)
{
    if (value)
        json_put_str(o, key, value);
}

static void write_record(const struct import *m, struct fields *f, struct buf *out)
{
    json_t *o = json_object();
    bool is_pair = !f->audio && !f->image && f->of[ROLE_PROMPT];
    char language[LANGUAGE_SIZE] = "";
    put(o, "id", id_of(f));
    put(o, "audio", f->audio);
    put(o, "image", f->image);
    put(o, "prompt", f->of[ROLE_PROMPT]);
    put(o, is_pair ? "completion" : "text", f->of[ROLE_TEXT]);
    if (f->of[ROLE_LANGUAGE])
        import_language(f->of[ROLE_LANGUAGE], language);
    if (m->o.mode == LANGUAGES_OVERRIDE)
        put(o, "language", m->o.language);
    else if (*language)
        put(o, "language", f->of[ROLE_LANGUAGE]);
    if (f->seconds >= 0)
        json_put_double(o, "duration", f->seconds);
    put(o, "corpus", f->of[ROLE_CORPUS]);
    json_write_compact(o, out);
    buf_add_char(out, '\n');
    json_decref(o);
}

static int emit(struct import *m, struct fields *f, enum import_split split, struct err *e)
{
    struct buf line;
    buf_init(&line, RECORD_BYTES_MAX);
    if (split == SPLIT_NONE)
        split = split_of(m, id_of(f));
    write_record(m, f, &line);
    int result = buf_check(&line, "a record", e);
    if (!result)
        result = m->o.emit(m->o.arg, split, line.data, line.size, e);
    buf_release(&line);
    if (result)
        return -1;
    m->counts.written[split]++;
    m->counts.seconds[split] += f->seconds > 0 ? f->seconds : 0;
    return 0;
}

static bool has_enough(const struct import *m)
{
    int64_t written = 0;
    for (int s = 0; s < SPLIT_COUNT; s++)
        written += m->counts.written[s];
    return m->o.limit > 0 && written >= m->o.limit;
}

int import_row(struct import *m, const struct import_row *row, struct err *e)
{
    struct import_names own;
    struct fields f = {0};
    struct err bad = {0};
    if (has_enough(m))
        return 1;
    if (!row->names)
        import_names_of(&own, row->json, m->o.columns, m->o.column_count);
    int reason = -1, result = 0;
    if (has_enough(m))
        return 1;
    const struct import_names *names = row->names ? row->names : &own;
    if (!take_apart(&f, row, names, &bad)) {
        reason = reason_of(m, &f);
        if (reason < 0 && !check_media(m, &f, row, names, &bad) && !find_media(m, &f, row, &bad) &&
            is_seen(m, id_of(&f)))
            reason = LEFT_TWICE;
    }
    if (bad.kind == ERR_DATA) {
        result = import_bad(m, row->where, &bad, e);
    } else if (bad.kind) {
        *e = e->kind ? *e : bad;
        result = err_in(e, "%s", row->where);
    } else {
        m->counts.read++;
        if (reason >= 0)
            m->counts.left[reason]++;
        else
            result = emit(m, &f, row->split, e);
    }
    fields_release(&f);
    return !result && has_enough(m) ? 1 : result;
}
