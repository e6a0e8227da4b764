/* subtitle.c - see subtitle.h. */
#include "text/subtitle.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "text/unicode.h"

enum { MS_A_SECOND = 1000, MS_A_MINUTE = 60 * MS_A_SECOND, MS_AN_HOUR = 60 * MS_A_MINUTE };

const char *subtitle_extension(enum subtitle_format f)
{
    switch (f) {
    case SUBTITLE_PLAIN: return "txt";
    case SUBTITLE_SRT: return "srt";
    case SUBTITLE_VTT: return "vtt";
    case SUBTITLE_TSV: return "tsv";
    case SUBTITLE_JSON: break;
    }
    return "json";
}

/* -------------------------------------------------------------------- times -- */

/* Whole milliseconds first and the parts from them: no part is rounded up to 60. */
static int64_t milliseconds(double seconds)
{
    return seconds > 0 ? (int64_t)llrint(seconds * MS_A_SECOND) : 0;
}

static void put_time(int64_t ms, bool has_hours, char mark, struct buf *out)
{
    int64_t hours = ms / MS_AN_HOUR, minutes = ms % MS_AN_HOUR / MS_A_MINUTE;
    if (has_hours || hours)
        buf_printf(out, "%02lld:", (long long)hours);
    buf_printf(out, "%02lld:%02lld%c%03lld", (long long)minutes,
               (long long)(ms % MS_A_MINUTE / MS_A_SECOND), mark, (long long)(ms % MS_A_SECOND));
}

static void put_span(const struct subtitle *s, bool has_hours, char mark, struct buf *out)
{
    int64_t start = milliseconds(s->start), end = milliseconds(s->end);
    put_time(start, has_hours, mark, out);
    buf_add_str(out, " --> ");
    put_time(end > start ? end : start, has_hours, mark, out);
    buf_add_char(out, '\n');
}

/* --------------------------------------------------------------------- text -- */

/* What ends a line somewhere, or moves a cursor. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

static bool is_blank(uint32_t c)
{
    return is_control(c) || unicode_is_space(c);
}

/* One character as each format can hold it.  An arrow "-->" would be taken for a line of times: its
 * shaft is shortened until it is none, however long it was. */
static void put_char(enum subtitle_format f, uint32_t c, size_t start, struct buf *out)
{
    char bytes[4];
    bool is_cue = f == SUBTITLE_SRT || f == SUBTITLE_VTT;
    if (f == SUBTITLE_VTT && (c == '&' || c == '<')) {
        buf_add_str(out, c == '&' ? "&amp;" : "&lt;");
        return;
    }
    while (is_cue && c == '>' && out->size >= start + 2 &&
           memcmp(out->data + out->size - 2, "--", 2) == 0)
        buf_truncate(out, out->size - 1);
    buf_add(out, bytes, (size_t)utf8_encode(c, bytes));
}

/* Append the text, trimmed, in one line; each run of control characters is a space.  Returns
 * whether anything was left. */
static bool put_text(enum subtitle_format f, const char *text, struct buf *out)
{
    size_t size = strlen(text), start = out->size, pos = 0, end = start;
    bool is_gap = false;
    while (pos < size) {
        uint32_t c = utf8_next(text, size, &pos);
        bool blank = is_blank(c);
        if (blank && end == start)
            continue;                             /* in front of the first word */
        if (!is_control(c))
            put_char(f, c, start, out);
        else if (!is_gap)
            buf_add_char(out, ' ');
        is_gap = is_control(c);
        if (!blank)
            end = out->size;
    }
    if (!out->overflowed)
        buf_truncate(out, end);
    return end > start;
}

/* ------------------------------------------------------------------ formats -- */

/* One cue; `number` counts from 1. */
static void put_cue(enum subtitle_format f, const struct subtitle *s, const char *text, int number,
                    struct buf *out)
{
    switch (f) {
    case SUBTITLE_SRT:
        buf_printf(out, "%d\n", number);
        put_span(s, true, ',', out);
        break;
    case SUBTITLE_VTT: put_span(s, false, '.', out); break;
    case SUBTITLE_TSV: {
        int64_t start = milliseconds(s->start), end = milliseconds(s->end);
        buf_printf(out, "%lld\t%lld\t", (long long)start, (long long)(end > start ? end : start));
        break;
    }
    case SUBTITLE_PLAIN:
    case SUBTITLE_JSON: break;
    }
    buf_add_str(out, text);
    buf_add_str(out, f == SUBTITLE_SRT || f == SUBTITLE_VTT ? "\n\n" : "\n");
}

int subtitle_write(enum subtitle_format f, const struct subtitle *at, int count, struct buf *out,
                   struct err *e)
{
    struct buf text;
    int number = 0;

    if (f == SUBTITLE_JSON)
        return err_set(e, ERR_BUG, "subtitles: JSON is not written here");
    if (f == SUBTITLE_VTT)
        buf_add_str(out, "WEBVTT\n\n");
    if (f == SUBTITLE_TSV)
        buf_add_str(out, "start\tend\ttext\n");
    buf_init(&text, out->max);
    for (int i = 0; i < count; i++) {
        buf_clear(&text);
        double last = fmax(at[i].start, at[i].end);
        if (!isfinite(at[i].start) || !isfinite(at[i].end) || last > SUBTITLE_SECONDS_MAX) {
            buf_release(&text);
            return err_set(e, ERR_DATA, "subtitle %d: times %g and %g, expected seconds up to %d",
                           i + 1, at[i].start, at[i].end, (int)SUBTITLE_SECONDS_MAX);
        }
        if (put_text(f, at[i].text, &text))
            put_cue(f, &at[i], text.data, ++number, out);
    }
    buf_release(&text);
    return buf_check(out, "subtitles", e);
}
