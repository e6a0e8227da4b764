/* survey.c - see survey.h. */
#include "data/survey.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "data/walk.h"
#include "media/audio.h"
#include "media/image.h"
#include "media/video.h"

enum {
    LARGE_BYTES = 4 << 20,
    VIDEO_FRAMES = 32,                    /* the reference takes so many; between them all are
                                             decoded, too */
};

/* To find equal ones: a hash, and which record it is of. */
struct key {
    uint64_t hash;
    int64_t number;
};

struct keys {
    struct key *at;
    int64_t count;
    size_t capacity;
};

/* Where a record is, to name it later. */
struct place {
    int64_t index;
    int32_t file;
};

struct survey_private {
    const struct survey_options *o;
    pthread_mutex_t mutex;                /* guards all of the survey while it is made */
    pthread_mutex_t large;                /* held while a large clip is decoded */
    struct keys ids, clips;
    struct place *places;                 /* [record number] */
    size_t place_capacity;
    size_t bad_capacity;
};

/* What one record adds. */
struct facts {
    double seconds;
    int64_t clips, images, videos, unknown, misstated;
    int64_t characters, tokens, supervised, windows;
    uint64_t hashes[RECORD_MEDIA_MAX];    /* of the media files' bytes */
    int hash_count;
};

static uint64_t hash64(const void *data, size_t size)
{
    unsigned char digest[HASH_SIZE];
    uint64_t h;
    struct hash *hash = hash_new();
    hash_add(hash, data, size);
    hash_end(hash, digest);
    hash_free(hash);
    memcpy(&h, digest, sizeof h);
    return h;
}

/* --------------------------------------------------------------- one record -- */

/* `file` holds the bytes of `m`, which may be those of an earlier item. */
static int decode_clip(struct facts *f, const struct record_media *m,
                       const struct record_media *file, bool allows_silence, struct err *e)
{
    struct audio a;
    if (audio_decode(&a, file->bytes, file->size, NULL, e))
        return err_in(e, "%s", m->name);
    bool is_silent = audio_peak(&a) < SAMPLE_SILENCE_PEAK;
    double seconds = (double)a.count / AUDIO_RATE;
    audio_release(&a);
    if (is_silent && !allows_silence)
        return err_set(e, ERR_DATA, "%s: the clip is silent (%.1f s, all below -60 dB)", m->name,
                       seconds);
    f->seconds += seconds;
    return 0;
}

static void count_characters(struct facts *f, const struct record *r)
{
    char *reply = r->kind == RECORD_TEXT ? xstrdup(r->text) : record_reference(r);
    for (const char *c = reply; c && *c; c++)
        f->characters += ((unsigned char)*c & 0xc0) != 0x80;
    free(reply);
}

static int pass_frame(void *arg, struct image *im, double time, struct err *e)
{
    (void)arg;
    (void)im;
    (void)time;
    (void)e;
    return 0;
}

static int decode(struct facts *f, const struct survey *s, const struct record_media *m,
                  const struct record_media *file, struct err *e)
{
    struct image im = {0};
    struct video v = {0};
    int failed = 0;
    if (m->kind == RECORD_AUDIO)
        return decode_clip(f, m, file, s->own->o->format->allows_silence, e);
    if (m->kind == RECORD_IMAGE)
        failed = image_decode(&im, file->bytes, file->size, e);
    else
        failed = video_decode(file->bytes, file->size, VIDEO_FRAMES, pass_frame, NULL, &v, e);
    image_release(&im);
    video_release(&v);
    return failed ? err_in(e, "%s", m->name) : 0;
}

/* A long clip as samples, or a large picture, takes much memory: one of them at a time. */
static int decode_gently(struct facts *f, const struct survey *s, const struct record *r, int i,
                         struct err *e)
{
    const struct record_media *m = &r->media[i], *file = record_file(r, i);
    if (file->size < LARGE_BYTES)
        return decode(f, s, m, file, e);
    pthread_mutex_lock(&s->own->large);
    int rc = decode(f, s, m, file, e);
    pthread_mutex_unlock(&s->own->large);
    return rc;
}

/* A conversation without a word to learn, which rendering it for a model would find, too. */
static int check_words(const struct record *r, struct err *e)
{
    if (r->kind == RECORD_TEXT)
        return *r->text ? 0 : err_set(e, ERR_DATA, "the text is empty");
    for (int i = 0; i < r->message_count; i++) {
        const struct chat_message *m = &r->messages[i];
        for (int k = 0; k < m->part_count && m->role == CHAT_ASSISTANT; k++)
            if (m->parts[k].kind == CHAT_TEXT && *m->parts[k].text)
                return 0;
    }
    return err_set(e, ERR_DATA, "no text to learn: nothing that the assistant says");
}

/* Segments of the only clip must lie in it. */
static int check_segments(const struct facts *f, const struct record *r, struct err *e)
{
    struct whisper_speech speech = r->speech;
    if (f->clips != 1)
        return 0;
    speech.seconds = f->seconds;
    return whisper_check_segments(&speech, e);
}

/* All that needs the bytes of the media. */
static int look_inside(struct facts *f, const struct survey *s, const struct walk_record *w,
                       struct err *e)
{
    const struct survey_options *o = s->own->o;
    struct record *r = w->record;
    bool is_cut = false;                  /* then silence between its windows was left out */
    if (sample_fetch(o->format, r, w->read, w->read_arg, e))
        return -1;
    for (int i = 0; i < r->media_count; i++)
        if (r->media[i].same_as < 0)
            f->hashes[f->hash_count++] = hash64(r->media[i].bytes, r->media[i].size);
    if (!o->format->chat) {
        for (int i = 0; i < r->media_count; i++)
            if (decode_gently(f, s, r, i, e))
                return -1;
        if (check_segments(f, r, e))
            return -1;
    } else {
        struct sample made;
        if (sample_make(&made, o->format, r, SAMPLE_TRAIN, e))
            return -1;
        f->tokens = made.count;
        for (int i = 0; i < made.count; i++)
            f->supervised += made.supervised[i];
        f->windows = made.starts ? made.clip_count : 0;
        f->seconds = made.audio_s;
        is_cut = made.starts && made.split_count > 0;
        sample_release(&made);
    }
    double off = is_cut ? 0 : fabs(r->seconds - f->seconds);
    f->misstated = f->clips > 0 && r->seconds > 0 && off > 0.5 && off > 0.05 * f->seconds;
    return 0;
}

static int look(struct facts *f, const struct survey *s, const struct walk_record *w, struct err *e)
{
    const struct record *r = w->record;
    f->clips = record_count(r, RECORD_AUDIO);
    f->images = record_count(r, RECORD_IMAGE);
    f->videos = record_count(r, RECORD_VIDEO);
    count_characters(f, r);
    if (!s->own->o->format->crossing.is_used && check_words(r, e))
        return -1;
    if (s->own->o->decodes)
        return look_inside(f, s, w, e);
    if (f->clips == 0)
        return 0;
    f->seconds = r->seconds;
    if (f->seconds <= 0 && w->ref->shard)
        f->seconds = (double)w->ref->shard->records[w->ref->index].seconds;
    f->unknown = f->seconds <= 0 ? f->clips : 0;
    return 0;
}

/* ------------------------------------------------------------------- adding -- */

static void add_value(struct survey_values *v, double value)
{
    if ((size_t)v->count == v->capacity)
        v->at = mem_grow(v->at, &v->capacity, sizeof *v->at);
    v->at[v->count++] = (float)value;
}

static void add_key(struct keys *k, uint64_t hash, int64_t number)
{
    if ((size_t)k->count == k->capacity)
        k->at = mem_grow(k->at, &k->capacity, sizeof *k->at);
    k->at[k->count++] = (struct key){hash, number};
}

static void add_language(struct survey *s, const char *name, double seconds)
{
    int i = 0;
    name = name ? name : "";
    while (i < s->language_count && strcmp(s->languages[i].name, name) != 0)
        i++;
    if (i == s->language_count) {
        if (i == SURVEY_LANGUAGES_MAX)
            return;
        if (!s->languages)
            s->languages = xcalloc(SURVEY_LANGUAGES_MAX, sizeof *s->languages);
        s->languages[s->language_count++].name = xstrdup(name);
    }
    s->languages[i].records++;
    s->languages[i].seconds += seconds;
}

/* Errors of records begin with their names, those of JSON with "file:line:column". */
static char *reason(const char *where, const char *why)
{
    size_t skip = strlen(where);
    if (strncmp(why, where, skip) != 0 || why[skip] != ':')
        return xstrdup(why);
    why += skip + 1;
    return *why == ' ' ? xstrdup(why + 1) : xasprintf("column %s", why);
}

static void add_bad(struct survey *s, const struct survey_bad *bad, const char *where,
                    const char *id, const struct err *why)
{
    char line[ERR_LINE_SIZE];
    err_line(why, line);
    *(bad->is_shard ? &s->lost_shards : &s->bad_records) += 1;
    if (s->bad_count == SURVEY_BAD_MAX)
        return;
    if ((size_t)s->bad_count == s->own->bad_capacity)
        s->bad = mem_grow(s->bad, &s->own->bad_capacity, sizeof *s->bad);
    s->bad[s->bad_count++] = (struct survey_bad){bad->number, bad->is_shard, xstrdup(where),
                                                 id ? xstrdup(id) : NULL, reason(where, line)};
}

static void add_place(struct survey *s, int64_t number, const struct record_ref *ref)
{
    struct survey_private *own = s->own;
    while ((size_t)number >= own->place_capacity)
        own->places = mem_grow(own->places, &own->place_capacity, sizeof *own->places);
    own->places[number] = (struct place){ref->index, ref->file};
}

static void add_good(struct survey *s, const struct facts *f, const struct record *r,
                     int64_t number)
{
    s->clips += f->clips;
    s->images += f->images;
    s->videos += f->videos;
    s->seconds += f->seconds;
    s->unknown += f->unknown;
    s->characters += f->characters;
    s->tokens += f->tokens;
    s->supervised += f->supervised;
    s->misstated += f->misstated;
    if (f->clips && !f->unknown)
        add_value(&s->durations, f->seconds);
    add_value(&s->texts, (double)f->characters);
    if (f->tokens)
        add_value(&s->lengths, (double)f->tokens);
    add_language(s, r->speech.language, f->seconds);
    if (r->speech.task != WHISPER_TASK_UNKNOWN)
        s->tasks[r->speech.task]++;
    s->segmented += r->speech.segment_count > 0;
    s->segments += r->speech.segment_count;
    s->windows += f->windows;
    for (int i = 0; i < f->hash_count; i++)
        add_key(&s->own->clips, f->hashes[i], number);
}

static int visit(void *arg, const struct walk_record *w, struct err *e)
{
    struct survey *s = arg;
    struct survey_private *own = s->own;
    struct err mine = {0};
    struct facts *f = xcalloc(1, sizeof *f);
    if (!w->record)
        mine = *w->why;
    else if (look(f, s, w, &mine) && mine.kind != ERR_DATA)
        *e = mine;                        /* nobody's fault here */
    uint64_t id = w->id ? hash64(w->id, strlen(w->id)) : 0;
    pthread_mutex_lock(&own->mutex);
    s->records++;
    add_place(s, w->number, w->ref);
    if (w->id)
        add_key(&own->ids, id, w->number);
    if (mine.kind || !w->record)
        add_bad(s, &(struct survey_bad){.number = w->number}, w->where, w->id, &mine);
    else
        add_good(s, f, w->record, w->number);
    pthread_mutex_unlock(&own->mutex);
    free(f);
    return e->kind ? -1 : 0;
}

static void on_lost(void *arg, int64_t number, const char *shard, const struct err *why)
{
    struct survey *s = arg;
    pthread_mutex_lock(&s->own->mutex);
    add_bad(s, &(struct survey_bad){.number = number, .is_shard = true}, shard, NULL, why);
    pthread_mutex_unlock(&s->own->mutex);
}

static void on_progress(void *arg, int64_t done)
{
    const struct survey *s = arg;
    if (s->own->o->on_progress)
        s->own->o->on_progress(s->own->o->arg, done);
}

/* -------------------------------------------------------------- what is equal -- */

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* "file:line", and "shard, record 17" since the shard is closed now. */
static char *name_of(const struct survey *s, int64_t number)
{
    const struct manifest *m = s->own->o->manifest;
    const struct place *p = &s->own->places[number];
    const struct manifest_file *f = &m->files[p->file];
    if (f->kind != MANIFEST_TAR)
        return manifest_where(m, &(struct record_ref){.index = p->index, .file = p->file});
    return xasprintf("%s, sample %lld", f->object.uri, (long long)p->index + 1);
}

static struct survey_pair *find_equal(const struct survey *s, struct keys *k, int64_t *count)
{
    struct survey_pair *pairs = xcalloc(SURVEY_PAIRS_MAX, sizeof *pairs);
    *count = 0;
    if (k->count > 0)
        qsort(k->at, (size_t)k->count, sizeof *k->at, compare_keys);
    for (int64_t i = 1, first = 0; i < k->count; i++) {
        if (k->at[i].hash != k->at[first].hash) {
            first = i;
            continue;
        }
        /* One record may show a file twice. */
        if (k->at[i].number == k->at[first].number)
            continue;
        if (*count < SURVEY_PAIRS_MAX)
            pairs[*count] =
                (struct survey_pair){name_of(s, k->at[first].number), name_of(s, k->at[i].number)};
        ++*count;
    }
    return pairs;
}

static int compare_bad(const void *a, const void *b)
{
    const struct survey_bad *x = a, *y = b;
    /* A lost shard stands in front of the record that came next. */
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    if (x->is_shard != y->is_shard)
        return x->is_shard ? -1 : 1;
    return strcmp(x->where, y->where);
}

static int compare_languages(const void *a, const void *b)
{
    const struct survey_language *x = a, *y = b;
    if (x->records != y->records)
        return x->records > y->records ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void finish(struct survey *s)
{
    s->same_ids = find_equal(s, &s->own->ids, &s->same_id_count);
    s->same_clips = find_equal(s, &s->own->clips, &s->same_clip_count);
    if (s->bad_count)
        qsort(s->bad, (size_t)s->bad_count, sizeof *s->bad, compare_bad);
    if (s->language_count)
        qsort(s->languages, (size_t)s->language_count, sizeof *s->languages, compare_languages);
}

int survey(struct survey *s, const struct survey_options *o, struct err *e)
{
    *s = (struct survey){.own = xcalloc(1, sizeof *s->own)};
    s->own->o = o;
    pthread_mutex_init(&s->own->mutex, NULL);
    pthread_mutex_init(&s->own->large, NULL);
    struct walk_options w = {
        .manifest = o->manifest,
        .prompt = o->format->prompt,
        .limit = o->limit,
        .threads = o->threads,
        .visit = visit,
        .on_lost = on_lost,
        .on_progress = on_progress,
        .arg = s,
    };
    if (walk(&w, e)) {
        survey_release(s);
        return -1;
    }
    finish(s);
    return 0;
}

static void release_pairs(struct survey_pair *pairs, int64_t count)
{
    for (int64_t i = 0; i < count && i < SURVEY_PAIRS_MAX; i++) {
        free(pairs[i].first);
        free(pairs[i].second);
    }
    free(pairs);
}

void survey_release(struct survey *s)
{
    for (int64_t i = 0; i < s->bad_count; i++) {
        free(s->bad[i].where);
        free(s->bad[i].id);
        free(s->bad[i].why);
    }
    for (int i = 0; i < s->language_count; i++)
        free(s->languages[i].name);
    if (s->same_ids)
        release_pairs(s->same_ids, s->same_id_count);
    if (s->same_clips)
        release_pairs(s->same_clips, s->same_clip_count);
    free(s->bad);
    free(s->languages);
    free(s->durations.at);
    free(s->texts.at);
    free(s->lengths.at);
    if (s->own) {
        pthread_mutex_destroy(&s->own->mutex);
        pthread_mutex_destroy(&s->own->large);
        free(s->own->ids.at);
        free(s->own->clips.at);
        free(s->own->places);
        free(s->own);
    }
    *s = (struct survey){0};
}
