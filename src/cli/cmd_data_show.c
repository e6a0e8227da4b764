/* cmd_data_show.c - `attune data show`: records as they are understood: turns, media, and with a
 * model the tokens that it will see, those that are trained marked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/data_job.h"
#include "cli/output.h"
#include "data/walk.h"
#include "media/audio.h"

enum { RECORD_BYTES_MAX = 64 << 20 };

struct show {
    const struct data_job *job;
    int64_t wanted;                       /* number of the record to show, from 1; 0: any */
    int64_t limit;                        /* so many are enough */
    int64_t shown, lost;
    bool has_color;
};

static const char *role_name(enum chat_role role)
{
    static const char *const names[] = {"system", "user", "assistant"};
    return names[role];
}

/* ---------------------------------------------------------------------- media -- */

/* ": flac, 44100 Hz, 2 channels, 3.2 s, 51 kB", or what is wrong with it; "" for one that is not
 * here. */
static char *describe_clip(const struct record_media *m)
{
    struct audio a;
    struct err e = {0};
    char time[32], bytes[32];
    if (!m->bytes)
        return xstrdup("");
    if (audio_decode(&a, m->bytes, m->size, NULL, &e))
        return xasprintf(": cannot be used: %s", e.text);
    char *text =
        xasprintf(": %s, %d Hz, %d channel%s, %s, %s", a.codec, a.source_rate, a.source_channels,
                  a.source_channels == 1 ? "" : "s", data_time((double)a.count / AUDIO_RATE, time),
                  data_bytes((double)m->size, bytes));
    audio_release(&a);
    return text;
}

/* --------------------------------------------------------------------- tokens -- */

/* One token as it looks inside a text; line feeds show. */
static void add_token(const struct tokenizer *t, int32_t id, struct buf *out)
{
    const char *piece = tokenizer_piece(t, id);
    for (const char *c = piece ? piece : "?"; *c; c++) {
        if (!strncmp(c, "\xe2\x96\x81", 3)) {
            buf_add_char(out, ' ');
            c += 2;
        } else if (*c == '\n') {
            buf_add_str(out, "\\n");
        } else {
            buf_add_char(out, (unsigned char)*c < 0x20 ? ' ' : *c);
        }
    }
}

static int span_at(const struct sample *s, int i)
{
    for (int k = 0; k < s->span_count; k++)
        if (s->spans[k].start == i)
            return k;
    return -1;
}

/* The sequence with the trained tokens in green, or in brackets where there is no colour. */
static void add_sequence(const struct show *w, const struct sample *s, struct buf *out)
{
    bool is_trained = false;
    for (int i = 0; i < s->count; i++) {
        if ((s->supervised[i] != 0) != is_trained) {
            is_trained = !is_trained;
            if (w->has_color)
                buf_add_str(out, is_trained ? "\x1b[1;32m" : "\x1b[0m");
            else
                buf_add_str(out, is_trained ? "[[" : "]]");
        }
        int span = span_at(s, i);
        if (span >= 0) {
            buf_printf(out, "(clip %d: %d soft tokens)", s->spans[span].media + 1,
                       s->spans[span].count);
            i += s->spans[span].count - 1;
            continue;
        }
        add_token(w->job->tokenizer, s->tokens[i], out);
    }
    if (is_trained)
        buf_add_str(out, w->has_color ? "\x1b[0m" : "]]");
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
        char *clip = describe_clip(&r->media[p->media]);
        buf_printf(out, "(clip %d: %s%s)", p->media + 1, r->media[p->media].name, clip);
        free(clip);
    }
    buf_add_char(out, '\n');
}

static void add_text(const struct show *w, const struct walk_record *k, const struct record *r,
                     const struct sample *s, const struct err *why, struct buf *out)
{
    buf_printf(out, "record %lld: %s", (long long)k->number + 1, k->where);
    if (k->id)
        buf_printf(out, ", id %s", k->id);
    if (!r) {
        buf_printf(out, "\n  cannot be used: %s\n", why->text);
        return;
    }
    if (r->language)
        buf_printf(out, ", language %s", r->language);
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
        buf_printf(out, "  cannot be used: %s\n", why->text);
    if (!s)
        return;
    buf_printf(out, "  tokens     %d, trained %d:\n  ", s->count, count_supervised(s));
    add_sequence(w, s, out);
    buf_add_char(out, '\n');
}

/* ----------------------------------------------------------------------- JSON -- */

static json_t *message_json(const struct record *r, const struct chat_message *m)
{
    json_t *o = json_object(), *content = json_array();
    json_put_str(o, "role", role_name(m->role));
    for (int i = 0; i < m->part_count; i++) {
        json_t *part = json_object();
        bool is_text = m->parts[i].kind == CHAT_TEXT;
        json_put_str(part, "type", is_text ? "text" : "audio");
        json_put_str(part, is_text ? "text" : "audio",
                     is_text ? m->parts[i].text : r->media[m->parts[i].media].name);
        json_array_append_new(content, part);
    }
    json_put(o, "content", content);
    return o;
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
    json_put_str(o, "language", r->language);
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
    }
    return o;
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
    else
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

int cmd_data_show(const struct options *o, struct err *e)
{
    struct data_job j;
    if (data_job_open(&j, o, e))
        return -1;
    struct show w = {
        .job = &j,
        .wanted = number_of(o->record),
        .limit = o->limit ? o->limit : 1,
        .has_color = isatty(STDOUT_FILENO) && log_has_color(),
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
