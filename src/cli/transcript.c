/* transcript.c - see transcript.h. */
#include "cli/transcript.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/output.h"
#include "data/source.h"
#include "text/subtitle.h"
#include "text/unicode.h"

enum { TEXT_BYTES_MAX = 64 << 20 };

/* ------------------------------------------------------------------- places -- */

/* "talk" of "gs://bucket/talk.mp3?x=1". */
static char *stem_of(const char *input)
{
    if (strcmp(input, "-") == 0)
        return xstrdup("stdin");
    bool is_local = source_local_path(input) != NULL;
    size_t n = is_local ? strlen(input) : strcspn(input, "?#");
    char *whole = xstrndup(input, n);
    const char *base = path_base(whole), *dot = strrchr(base, '.');
    char *stem = dot && dot != base ? xstrndup(base, (size_t)(dot - base)) : xstrdup(base);
    free(whole);
    if (*stem)
        return stem;
    free(stem);
    return xstrdup("recording");
}

struct claim {
    const char *place, *input;
};

/* Disks of Macs see no case. */
static int by_place(const void *a, const void *b)
{
    return strcasecmp(((const struct claim *)a)->place, ((const struct claim *)b)->place);
}

static int check_claims(const struct transcripts *t, struct err *e)
{
    struct claim *all = xcalloc((size_t)t->count + 1, sizeof *all);
    int rc = 0;
    for (int i = 0; i < t->count; i++)
        all[i] = (struct claim){t->places[i], t->inputs[i]};
    qsort(all, (size_t)t->count, sizeof *all, by_place);
    for (int i = 1; i < t->count && !rc; i++)
        if (by_place(&all[i - 1], &all[i]) == 0) {
            rc = err_set(e, ERR_USAGE, "transcribe: %s and %s would both be written to %s",
                         all[i - 1].input, all[i].input, all[i].place);
            err_hint(e, "files of the same name need an --output folder each");
        }
    free(all);
    for (int i = 0; i < t->count && !rc; i++)
        if (file_is_same(t->places[i], t->inputs[i]))
            rc = err_set(e, ERR_USAGE, "transcribe: %s would be overwritten by its transcript",
                         t->inputs[i]);
    return rc;
}

static int choose_places(struct transcripts *t, const char *folder, struct err *e)
{
    const char *local = source_local_path(folder);
    t->places = xcalloc((size_t)t->count + 1, sizeof *t->places);
    for (int i = 0; i < t->count; i++) {
        char *stem = stem_of(t->inputs[i]);
        char *name = xasprintf("%s.%s", stem, subtitle_extension(t->format));
        t->places[i] = source_resolve(folder, name);
        free(stem);
        free(name);
    }
    if (check_claims(t, e))
        return -1;
    if (local && file_exists(local) && !file_is_dir(local)) {
        err_set(e, ERR_USAGE, "transcribe: output %s: this is a file, expected a folder", local);
        return err_hint(e, "without --output the transcript goes to stdout");
    }
    return local && dir_make(local, e) ? err_in(e, "transcribe: output") : 0;
}

static int check_stdin(const struct transcripts *t, struct err *e)
{
    int count = 0;
    for (int i = 0; i < t->count; i++)
        count += strcmp(t->inputs[i], "-") == 0;
    return count > 1 ? err_set(e, ERR_USAGE, "transcribe: - (stdin) is given %d times", count) : 0;
}

int transcripts_open(struct transcripts *t, const struct options *o, struct net *net, struct err *e)
{
    *t = (struct transcripts){
        .format = o->config.json ? SUBTITLE_JSON : o->format,
        .has_times = o->config.timestamps && o->format == SUBTITLE_PLAIN && !o->config.json,
        .inputs = o->args.at,
        .count = o->args.count,
        .net = net,
    };
    if (check_stdin(t, e))
        return -1;
    if (o->config.json && o->format != SUBTITLE_PLAIN && o->format != SUBTITLE_JSON)
        return err_set(e, ERR_USAGE, "transcribe: --json and --format %s: expected one of them",
                       subtitle_extension(o->format));
    if (*o->output)
        return choose_places(t, o->output, e);
    bool is_lines = t->format == SUBTITLE_JSON || (t->format == SUBTITLE_PLAIN && !t->has_times);
    if (is_lines || t->count < 2)
        return 0;
    err_set(e, ERR_USAGE, "transcribe: %d recordings cannot share stdout as %s", t->count,
            t->has_times ? "text with timestamps" : subtitle_extension(t->format));
    return err_hint(e, "--output DIR writes a file for each");
}

void transcripts_close(struct transcripts *t)
{
    for (int i = 0; t->places && i < t->count; i++)
        free(t->places[i]);
    free(t->places);
    *t = (struct transcripts){0};
}

bool transcripts_need_times(const struct transcripts *t)
{
    return t->format != SUBTITLE_PLAIN || t->has_times;
}

/* --------------------------------------------------------------------- text -- */

static bool is_spaced(const char *language)
{
    static const char *const WITHOUT[] = {"zh", "ja", "yue", "th", "lo", "my", "km", "bo", NULL};
    for (const char *const *s = WITHOUT; *s; s++)
        if (strcmp(*s, language) == 0)
            return false;
    return true;
}

char *transcript_text(const struct speech *s)
{
    struct buf b;
    bool spaced = is_spaced(s->language);
    buf_init(&b, TEXT_BYTES_MAX);
    for (int i = 0; i < s->count; i++) {
        const char *text = s->segments[i].text;
        bool is_apart = !b.size || !*text || b.data[b.size - 1] == ' ' || *text == ' ';
        if (spaced && !is_apart)
            buf_add_char(&b, ' ');
        buf_add_str(&b, text);
    }
    const char *text = b.data;
    size_t size = b.size;
    utf8_trim(&text, &size);
    char *trimmed = xstrndup(text, size);
    buf_release(&b);
    return trimmed;
}

static char *trimmed_copy(const char *text)
{
    size_t size = strlen(text);
    utf8_trim(&text, &size);
    return xstrndup(text, size);
}

/* To so many parts of one: no more digits than batches of other sizes agree about. */
static double rounded(double x, int parts)
{
    return round(x * parts) / parts;
}
enum { TIME_PARTS = 1000, SCORE_PARTS = 10000, PROBABILITY_PARTS = 1000000 };

static json_t *segments_json(const struct transcripts *t, const struct speech *s)
{
    json_t *all = json_array();
    for (int i = 0; i < s->count; i++) {
        const struct speech_segment *g = &s->segments[i];
        char *text = trimmed_copy(g->text);
        json_t *v = json_object();
        json_put_double(v, "start", rounded(g->start, TIME_PARTS));
        json_put_double(v, "end", rounded(g->end, TIME_PARTS));
        json_put_str(v, "text", text);
        if (t->has_scores) {
            json_put_double(v, "temperature", g->temperature);
            json_put_double(v, "logprob", rounded(g->logprob, SCORE_PARTS));
            json_put_double(v, "compression_ratio", rounded(g->compression_ratio, SCORE_PARTS));
            json_put_double(v, "no_speech", rounded(g->no_speech, PROBABILITY_PARTS));
        }
        if (*text)
            json_array_append(all, v);
        json_decref(v);
        free(text);
    }
    return all;
}

static void put_json(const struct transcripts *t, int i, const struct speech *s, struct buf *out)
{
    char *text = transcript_text(s);
    json_t *v = json_object();
    json_put_str(v, "file", t->inputs[i]);
    json_put_str(v, "text", text);
    if (t->has_scores && *s->language) {
        json_put_str(v, "language", s->language);
        json_put_double(v, "language_p", rounded(s->language_p, PROBABILITY_PARTS));
    }
    json_put_double(v, "duration", rounded(s->seconds, TIME_PARTS));
    json_put(v, "segments", segments_json(t, s));
    json_write_compact(v, out);
    buf_add_char(out, '\n');
    json_decref(v);
    free(text);
}

/* One line on stdout, with the file's name in front when there are several. */
static void put_line(const struct transcripts *t, int i, const struct speech *s, struct buf *out)
{
    char *text = transcript_text(s);
    if (t->count > 1) {
        output_one_line(t->inputs[i], out);
        buf_add_char(out, '\t');
    }
    output_one_line(text, out);
    buf_add_char(out, '\n');
    free(text);
}

/* "[00:00.000 --> 00:02.500] Hello." from the cues of WebVTT. */
static int put_timed(const struct subtitle *cues, int count, struct buf *out, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < count && !rc; i++) {
        struct buf cue, text;
        buf_init(&cue, out->max);
        buf_init(&text, out->max);
        rc = subtitle_write(SUBTITLE_VTT, &cues[i], 1, &cue, e) ||
                     subtitle_write(SUBTITLE_PLAIN, &cues[i], 1, &text, e)
                 ? -1
                 : 0;
        const char *line = cue.data + strlen("WEBVTT\n\n");
        if (!rc && text.size)
            buf_printf(out, "[%.*s] %s", (int)strcspn(line, "\n"), line, text.data);
        buf_release(&cue);
        buf_release(&text);
    }
    return rc;
}

static int put_cues(const struct transcripts *t, const struct speech *s, struct buf *out,
                    struct err *e)
{
    struct subtitle *cues = xcalloc((size_t)s->count + 1, sizeof *cues);
    for (int i = 0; i < s->count; i++)
        cues[i] = (struct subtitle){s->segments[i].start, s->segments[i].end, s->segments[i].text};
    int rc = t->has_times ? put_timed(cues, s->count, out, e)
                          : subtitle_write(t->format, cues, s->count, out, e);
    free(cues);
    return rc;
}

static int print(const struct buf *b, struct err *e)
{
    if (buf_check(b, "a transcript", e))
        return -1;
    fwrite(b->data, 1, b->size, stdout);
    return output_flush(e);
}

int transcripts_write(const struct transcripts *t, int i, const struct speech *s, struct err *e)
{
    struct buf out;
    int rc = 0;
    buf_init(&out, TEXT_BYTES_MAX);
    if (t->format == SUBTITLE_JSON)
        put_json(t, i, s, &out);
    else if (t->format == SUBTITLE_PLAIN && !t->places && !t->has_times)
        put_line(t, i, s, &out);
    else
        rc = put_cues(t, s, &out, e);
    if (!rc && t->places)
        rc = output_save(t->net, t->places[i], &out, t->places[i], e);
    else if (!rc)
        rc = print(&out, e);
    buf_release(&out);
    return rc;
}
