/* cmd_data_show.c - `attune data show`: records as they are understood: turns, media, and with a
 * model the tokens that it will see, those that are trained marked, with the media in their places.
 * Pictures can be written to files as the model sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/data_job.h"
#include "cli/output.h"
#include "data/walk.h"
#include "media/audio.h"
#include "media/image.h"
#include "media/picture.h"
#include "media/video.h"

enum { RECORD_BYTES_MAX = 64 << 20 };

struct show {
    const struct data_job *job;
    int64_t wanted;                       /* number of the record to show, from 1; 0: any */
    int64_t limit;                        /* so many are enough */
    int64_t shown, lost;
    bool has_color;
};

/* How tokens look on a terminal. */
#define TRAINED "\x1b[1;32m"
#define OTHER "\x1b[2m"
#define MEDIA "\x1b[36m"
#define PLAIN "\x1b[0m"

static const char *role_name(enum chat_role role)
{
    static const char *const names[] = {"system", "user", "assistant"};
    return names[role];
}

/* ---------------------------------------------------------------------- media -- */

static const char *kind_name(enum record_media_kind kind)
{
    static const char *const names[] = {"clip", "image", "video"};
    return names[kind];
}

/* The file that an item's bytes come from. */
static const struct record_media *file_of(const struct record *r, const struct record_media *m)
{
    return m->same_as >= 0 ? &r->media[m->same_as] : m;
}

/* "flac, 44100 Hz, 2 channels, 3.2 s"; NULL on failure. */
static char *describe_sound(const struct record_media *file, struct err *e)
{
    struct audio a;
    char time[32];
    if (audio_decode(&a, file->bytes, file->size, NULL, e))
        return NULL;
    char *text =
        xasprintf("%s, %d Hz, %d channel%s, %s", a.codec, a.source_rate, a.source_channels,
                  a.source_channels == 1 ? "" : "s", data_time((double)a.count / AUDIO_RATE, time));
    audio_release(&a);
    return text;
}

static char *describe_image(const struct record_media *file, struct err *e)
{
    struct image im;
    if (image_decode(&im, file->bytes, file->size, e))
        return NULL;
    char *text = xasprintf("%s, %d x %d", im.format, im.width, im.height);
    image_release(&im);
    return text;
}

static char *describe_video(const struct record_media *file, struct err *e)
{
    struct video v;
    char time[32];
    if (video_read(&v, file->bytes, file->size, 1, e))
        return NULL;
    char *text = xasprintf("%s, %d x %d, %lld frames at %.3g a second, %s", v.codec,
                           v.frames[0].width, v.frames[0].height, (long long)v.source_frames, v.fps,
                           data_time(v.seconds, time));
    video_release(&v);
    return text;
}

/* ": flac, 44100 Hz, 2 channels, 3.2 s, 51 kB", or what is wrong with it; "" for one that is not
 * here. */
static char *describe_media(const struct record *r, const struct record_media *m)
{
    static char *(*const describe[])(const struct record_media *file, struct err *e) = {
        describe_sound, describe_image, describe_video};
    const struct record_media *file = file_of(r, m);
    struct err e = {0};
    char bytes[32];
    if (!file->bytes)
        return xstrdup("");
    char *what = describe[m->kind](file, &e);
    if (!what)
        return xasprintf(": cannot be used: %s", e.text);
    char *text = xasprintf(": %s, %s", what, data_bytes((double)file->size, bytes));
    free(what);
    return text;
}

/* --------------------------------------------------------------------- tokens -- */

/* Tokens that stand side by side, as they look inside a text; line feeds show.  A timestamp may
 * have no piece in the tokenizer. */
static void add_tokens(const struct data_job *j, const int32_t *ids, int count, struct buf *out)
{
    struct buf text;
    struct err ignored = {0};
    double time =
        count == 1 && j->format.crossing.is_used ? whisper_time_of(&j->chat.whisper, ids[0]) : -1;
    buf_init(&text, RECORD_BYTES_MAX);
    if (time >= 0)
        buf_printf(&text, "<|%.2f|>", time);
    else if (tokenizer_decode(j->tokenizer, ids, (size_t)count, false, &text, &ignored))
        buf_add_str(&text, "?");
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add_char(out, (unsigned char)c < 0x20 ? ' ' : c);
    }
    buf_release(&text);
}

static int span_at(const struct sample *s, int i)
{
    for (int k = 0; k < s->span_count; k++)
        if (s->spans[k].start == i)
            return k;
    return -1;
}

/* The clip whose transcript begins at token `i`, in encoder-decoder models; -1: none does. */
static int window_at(const struct sample *s, int i)
{
    for (int k = 0; s->starts && k < s->clip_count; k++)
        if (s->starts[k] == i)
            return k;
    return -1;
}

/* Tokens from `i` on that look the same and have no medium or timestamp among them. */
static int run_length(const struct data_job *j, const struct sample *s, int i)
{
    const struct whisper_format *f = j->format.crossing.is_used ? &j->chat.whisper : NULL;
    int n = 1;
    if (f && whisper_time_of(f, s->tokens[i]) >= 0)
        return 1;
    while (i + n < s->count && !s->supervised[i + n] == !s->supervised[i] &&
           span_at(s, i + n) < 0 && window_at(s, i + n) < 0 &&
           !(f && whisper_time_of(f, s->tokens[i + n]) >= 0))
        n++;
    return n;
}

/* "(image 2: 260 soft tokens at 17, 20 x 13)"; counted over all media, as the record lists them. */
static void add_span(const struct show *w, const struct record *r, const struct sample *s, int k,
                     struct buf *out)
{
    const struct chat_span *span = &s->spans[k];
    const struct sample_block *block = &s->blocks[k];
    bool is_part =
        span->block > 0 || (k + 1 < s->span_count && s->spans[k + 1].media == span->media);
    if (w->has_color)
        buf_add_str(out, PLAIN MEDIA);
    buf_printf(out, "(%s %d", kind_name(r->media[span->media].kind), span->media + 1);
    if (is_part)
        buf_printf(out, " %s %d", block->is_picture ? "frame" : "piece", span->block + 1);
    buf_printf(out, ": %d soft tokens at %d", span->count, span->start);
    if (block->is_picture) {
        const struct picture *p = &s->pictures[block->index].picture;
        const struct picture_config *c = w->job->format.picture;
        int side = c->is_merged ? c->patch * c->pool : c->patch;
        buf_printf(out, ", %d x %d pixels", p->across * side, p->down * side);
    } else {
        buf_printf(out, ", %.2f s", s->clips[block->index].audio_s);
    }
    buf_add_char(out, ')');
}

/* "(clip 2: 12.30 s)", the window that a transcript belongs to. */
static void add_window(const struct show *w, const struct sample *s, int k, struct buf *out)
{
    buf_printf(out, "%s%s(clip %d: %.2f s)%s", k ? "\n  " : "", w->has_color ? MEDIA : "", k + 1,
               s->clips[k].audio_s, w->has_color ? PLAIN : "");
}

/* What stands before and behind a run of trained (or other) tokens. */
static void add_edge(const struct show *w, bool is_trained, bool is_end, struct buf *out)
{
    if (w->has_color)
        buf_add_str(out, is_end ? PLAIN : is_trained ? TRAINED : OTHER);
    else if (is_trained)
        buf_add_str(out, is_end ? "]]" : "[[");
}

/* The sequence with the trained tokens in green and the others dim, or the trained ones in
 * brackets where there is no colour. */
static void add_sequence(const struct show *w, const struct record *r, const struct sample *s,
                         struct buf *out)
{
    bool is_trained = false;
    for (int i = 0, n; i < s->count; i += n) {
        int span = span_at(s, i), window = window_at(s, i);
        bool changes = (s->supervised[i] != 0) != is_trained, breaks = span >= 0 || window >= 0;
        if (changes || (i > 0 && breaks))
            add_edge(w, is_trained, true, out);
        is_trained = s->supervised[i] != 0;
        if (window >= 0)
            add_window(w, s, window, out);
        if (span >= 0) {
            add_span(w, r, s, span, out);
            n = s->spans[span].count;
            if (w->has_color)
                buf_add_str(out, PLAIN);
            add_edge(w, is_trained, false, out);
            continue;
        }
        if (changes || breaks || i == 0)
            add_edge(w, is_trained, false, out);
        n = run_length(w->job, s, i);
        add_tokens(w->job, s->tokens + i, n, out);
    }
    add_edge(w, is_trained, true, out);
}

static int count_supervised(const struct sample *s)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->supervised[i];
    return n;
}

/* ----------------------------------------------------------------------- text -- */

static void add_message(const struct record *r, const struct chat_message *m, struct buf *out)
{
    buf_printf(out, "  %-10s", role_name(m->role));
    for (int i = 0; i < m->part_count; i++) {
        const struct chat_part *p = &m->parts[i];
        buf_add_str(out, i ? "\n            " : " ");
        if (p->kind == CHAT_TEXT) {
            output_one_line(p->text, out);
            continue;
        }
        const struct record_media *media = &r->media[p->media];
        char *what = describe_media(r, media);
        buf_printf(out, "(%s %d: %s%s)", kind_name(media->kind), p->media + 1, media->name, what);
        free(what);
    }
    buf_add_char(out, '\n');
}

static void add_why(const struct err *why, struct buf *out)
{
    buf_printf(out, "  cannot be used: %s\n", why->text);
    if (*why->hint)
        buf_printf(out, "  hint: %s\n", why->hint);
}

static void add_text(const struct show *w, const struct walk_record *k, const struct record *r,
                     const struct sample *s, const struct err *why, struct buf *out)
{
    buf_printf(out, "record %lld: %s", (long long)k->number + 1, k->where);
    if (k->id)
        buf_printf(out, ", id %s", k->id);
    if (!r) {
        buf_add_char(out, '\n');
        add_why(why, out);
        return;
    }
    if (r->speech.language)
        buf_printf(out, ", language %s", r->speech.language);
    if (r->speech.task != WHISPER_TASK_UNKNOWN)
        buf_printf(out, ", task %s", record_task_name(r->speech.task));
    if (r->speech.segment_count)
        buf_printf(out, ", %d segments", r->speech.segment_count);
    if (r->seconds > 0)
        buf_printf(out, ", says %.2f s", r->seconds);
    buf_add_char(out, '\n');
    if (r->kind == RECORD_TEXT) {
        buf_add_str(out, "  text       ");
        output_one_line(r->text, out);
        buf_add_char(out, '\n');
    }
    for (int i = 0; i < r->message_count; i++)
        add_message(r, &r->messages[i], out);
    if (why->kind)
        add_why(why, out);
    if (!s)
        return;
    buf_printf(out, "  tokens     %d, trained %d:\n  ", s->count, count_supervised(s));
    add_sequence(w, r, s, out);
    buf_add_char(out, '\n');
}

/* ----------------------------------------------------------------------- JSON -- */

static json_t *message_json(const struct record *r, const struct chat_message *m)
{
    json_t *o = json_object(), *content = json_array();
    json_put_str(o, "role", role_name(m->role));
    for (int i = 0; i < m->part_count; i++) {
        json_t *part = json_object();
        static const char *const types[] = {"text", "audio", "image", "video"};
        bool is_text = m->parts[i].kind == CHAT_TEXT;
        json_put_str(part, "type", types[m->parts[i].kind]);
        json_put_str(part, types[m->parts[i].kind],
                     is_text ? m->parts[i].text : r->media[m->parts[i].media].name);
        json_array_append_new(content, part);
    }
    json_put(o, "content", content);
    return o;
}

/* Which soft tokens stand for what. */
static json_t *spans_json(const struct record *r, const struct sample *s)
{
    json_t *list = json_array();
    for (int k = 0; k < s->span_count; k++) {
        const struct chat_span *span = &s->spans[k];
        json_t *o = json_object();
        json_put_str(o, "kind", kind_name(r->media[span->media].kind));
        json_put_int(o, "media", span->media);
        json_put_int(o, "block", span->block);
        json_put_int(o, "start", span->start);
        json_put_int(o, "count", span->count);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *record_json(const struct walk_record *k, const struct record *r,
                           const struct sample *s, const struct err *why)
{
    json_t *o = json_object(), *messages = json_array();
    json_put_int(o, "number", k->number + 1);
    json_put_str(o, "where", k->where);
    json_put_str(o, "id", k->id);
    if (why->kind)
        json_put_str(o, "error", why->text);
    if (!r) {
        json_decref(messages);
        return o;
    }
    json_put_str(o, "language", r->speech.language);
    for (int i = 0; i < r->message_count; i++)
        json_array_append_new(messages, message_json(r, &r->messages[i]));
    json_put(o, "messages", messages);
    if (r->kind == RECORD_TEXT)
        json_put_str(o, "text", r->text);
    if (s) {
        json_t *ids = json_array(), *trained = json_array();
        for (int i = 0; i < s->count; i++) {
            json_array_append_new(ids, json_integer(s->tokens[i]));
            json_array_append_new(trained, json_integer(s->supervised[i]));
        }
        json_put(o, "input_ids", ids);
        json_put(o, "supervised", trained);
        json_put(o, "media_spans", spans_json(r, s));
    }
    return o;
}

/* -------------------------------------------------------------------- pictures -- */

/* Write the pictures of a record into the folder that was asked for: "3-1.png" is the first of
 * record 3, frames of videos count. */
static int write_pictures(const struct show *w, const struct walk_record *k, const struct sample *s,
                          struct err *e)
{
    const char *dir = w->job->o->pictures;
    int rc = 0;
    if (!*dir || !s->picture_count)
        return 0;
    if (dir_make(dir, e))
        return -1;
    for (int i = 0; i < s->picture_count && !rc; i++) {
        struct image im;
        char *name = xasprintf("%lld-%d.png", (long long)k->number + 1, i + 1);
        char *path = path_join(dir, name);
        picture_to_image(&im, &s->pictures[i].picture, w->job->format.picture);
        rc = image_write_png(&im, path, e);
        if (!rc)
            log_info("wrote %s", path);
        image_release(&im);
        free(path);
        free(name);
    }
    return rc;
}

/* ------------------------------------------------------------------- one record -- */

static int print(const struct show *w, const struct walk_record *k, const struct record *r,
                 const struct sample *s, const struct err *why, struct err *e)
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    if (w->job->o->config.json) {
        json_t *o = record_json(k, r, s, why);
        json_write_compact(o, &b);
        json_decref(o);
    } else {
        add_text(w, k, r, s, why, &b);
    }
    int rc = output_line(&b, e);
    buf_release(&b);
    return rc;
}

static int show_record(struct show *w, const struct walk_record *k, struct err *e)
{
    const struct data_job *j = w->job;
    struct record *r = k->record;
    struct sample s = {0};
    struct err mine = {0};
    bool has_sample = sample_fetch(&j->format, r, k->read, k->read_arg, &mine) == 0 &&
                      j->format.chat && sample_make(&s, &j->format, r, SAMPLE_TRAIN, &mine) == 0;
    int rc = -1;
    if (mine.kind && mine.kind != ERR_DATA)
        *e = mine;
    else if (!has_sample || !write_pictures(w, k, &s, e))
        rc = print(w, k, r, has_sample ? &s : NULL, &mine, e);
    w->lost += mine.kind != ERR_NONE;
    if (has_sample)
        sample_release(&s);
    return rc;
}

static bool is_asked_for(const struct show *w, const struct walk_record *k)
{
    const char *name = w->job->o->record;
    return !*name || w->wanted > 0 || (k->id && !strcmp(k->id, name)) || !strcmp(k->where, name);
}

/* Called by one thread, in the order of the data. */
static int visit(void *arg, const struct walk_record *k, struct err *e)
{
    struct show *w = arg;
    if (!is_asked_for(w, k))
        return 0;
    if (k->record ? show_record(w, k, e) : print(w, k, NULL, NULL, k->why, e))
        return -1;
    w->lost += !k->record;
    return ++w->shown >= w->limit;
}

static void on_lost(void *arg, int64_t number, const char *shard, const struct err *why)
{
    (void)arg;
    (void)number;
    log_warn("shard cannot be used: %s%s%s", strstr(why->text, shard) ? "" : shard,
             strstr(why->text, shard) ? "" : ": ", why->text);
}

/* ---------------------------------------------------------------------- command -- */

/* "17" is the 17th record, anything else an id or a place. */
static int64_t number_of(const char *text)
{
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 15)
        return 0;
    return strtoll(text, NULL, 10);
}

static int conclude(const struct show *w, struct err *e)
{
    const char *name = w->job->o->record;
    if (w->lost)
        return err_set(e, ERR_DATA, "%lld of %lld records cannot be used", (long long)w->lost,
                       (long long)w->shown);
    if (w->shown)
        return 0;
    err_set(e, ERR_DATA, "there is no record %s", name);
    return err_hint(e,
                    "--record takes an id, a place as messages name it (FILE:LINE, SHARD:KEY), or "
                    "a number from 1 on");
}

/* Colour when asked for, or on a terminal that has it. */
static bool wants_color(const struct options *o)
{
    return o->color == COLOR_YES ||
           (o->color == COLOR_AUTO && isatty(STDOUT_FILENO) && log_has_color());
}

int cmd_data_show(const struct options *o, struct err *e)
{
    struct data_job j;
    if (*o->pictures && !*o->config.model) {
        err_set(e, ERR_USAGE, "--pictures: what a picture becomes depends on the model");
        return err_hint(e, "add --model DIR");
    }
    if (data_job_open(&j, o, e))
        return -1;
    struct show w = {
        .job = &j,
        .wanted = number_of(o->record),
        .limit = o->limit ? o->limit : 1,
        .has_color = wants_color(o),
    };
    struct walk_options wo = {
        .manifest = &j.manifest,
        .prompt = j.format.prompt,
        .first = w.wanted > 0 ? w.wanted - 1 : 0,
        /* A name is looked for in all records. */
        .limit = *o->record && !w.wanted ? 0 : w.limit,
        .threads = 1,
        .visit = visit,
        .on_lost = on_lost,
        .arg = &w,
    };
    int rc = walk(&wo, e);
    if (!rc)
        rc = conclude(&w, e);
    data_job_close(&j);
    return rc;
}
