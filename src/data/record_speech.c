/* record_speech.c - what a record says of how its clip is transcribed: "language", "task",
 * "timestamps", "segments" (record.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "data/record_parts.h"

enum { TEXT_BYTES_MAX = 1 << 30 };

static const char *const task_names[] = {"transcribe", "translate"};

const char *record_task_name(enum whisper_task task)
{
    return task == WHISPER_TASK_UNKNOWN ? NULL : task_names[task];
}

void record_no_speech(struct whisper_speech *s)
{
    *s = (struct whisper_speech){.task = WHISPER_TASK_UNKNOWN, .timestamps = -1};
}

static int read_task(struct whisper_speech *s, const json_t *o, struct err *e)
{
    const char *task = json_get_str(o, "task", NULL, e);
    if (e->kind)
        return -1;
    for (int i = 0; i < 2 && task; i++)
        if (strcmp(task, task_names[i]) == 0)
            s->task = (enum whisper_task)i;
    if (!task || s->task != WHISPER_TASK_UNKNOWN)
        return 0;
    err_set(e, ERR_DATA, "\"task\": unknown \"%s\", known are transcribe and translate", task);
    return err_hint(e, "give the key another name if it means something else");
}

/* True or false, in tables also as words. */
static int read_timestamps(struct whisper_speech *s, const json_t *o, struct err *e)
{
    const json_t *v = record_value(o, "timestamps");
    const char *word = json_string_value(v);
    if (!v)
        return 0;
    bool is_true = json_is_true(v) || (word && strcmp(word, "true") == 0);
    bool is_false = json_is_false(v) || (word && strcmp(word, "false") == 0);
    s->timestamps = is_true;
    if (is_true || is_false)
        return 0;
    err_set(e, ERR_DATA, "\"timestamps\": expected true or false, found %s", json_kind_name(v));
    return err_hint(e, "times of what is said belong into \"segments\"; give the key another name "
                       "if it means something else");
}

/* Keys of a segment that look like one that it lacks. */
static int check_keys(const json_t *o, struct err *e)
{
    static const char *const known[] = {"start", "end", "text"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        for (int i = 0; i < 3; i++) {
            if (json_object_get(o, known[i]) || suggest_distance(key, known[i]) > 1)
                continue;
            err_set(e, ERR_DATA, "unknown key \"%s\" looks like \"%s\"", key, known[i]);
            return err_hint(e, "write \"%s\"", known[i]);
        }
    }
    return 0;
}

static int read_segment(struct whisper_segment *s, const json_t *o, struct err *e)
{
    if (!json_is_object(o))
        return err_set(e, ERR_DATA, "expected an object, found %s", json_kind_name(o));
    if (check_keys(o, e))
        return -1;
    s->start = json_need_double(o, "start", e);
    if (!e->kind)
        s->end = json_need_double(o, "end", e);
    if (!e->kind)
        s->text = json_need_str(o, "text", e);
    if (e->kind)
        return -1;
    if (!isfinite(s->start) || !isfinite(s->end) || s->start < 0)
        return err_set(e, ERR_DATA, "from %g to %g s is no stretch of a clip", s->start, s->end);
    return 0;
}

/* A column of a table holds JSON as text. */
static int unfold_segments(json_t *o, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, "segments"));
    json_error_t at;
    if (!text || *text != '[')
        return 0;
    json_t *list = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    if (!list)
        return err_set(e, ERR_DATA, "\"segments\": character %d: %s", at.position, at.text);
    json_put(o, "segments", list);
    return 0;
}

static int read_segments(struct whisper_speech *s, json_t *o, struct err *e)
{
    if (unfold_segments(o, e))
        return -1;
    const json_t *list = record_value(o, "segments");
    if (!list)
        return 0;
    if (!json_is_array(list)) {
        err_set(e, ERR_DATA, "\"segments\": expected a list, found %s", json_kind_name(list));
        return err_hint(e, "[{\"start\": 0.0, \"end\": 2.5, \"text\": \"...\"}, ...], in seconds");
    }
    size_t count = json_array_size(list);
    if (count > WHISPER_SEGMENTS_MAX)
        return err_set(e, ERR_DATA, "\"segments\": %zu of them, at most %d are allowed", count,
                       WHISPER_SEGMENTS_MAX);
    s->segments = xcalloc(count + 1, sizeof *s->segments);
    for (size_t i = 0; i < count; i++) {
        if (read_segment(&s->segments[i], json_array_get(list, i), e))
            return err_in(e, "segments[%zu]", i);
        s->segment_count++;
    }
    return 0;
}

/* Recordings have times of their own, too: a "timestamp" is a misspelt "timestamps" only where it
 * says what that could say. */
static int check_timestamps_key(const json_t *o, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (!json_is_boolean(v) || strcmp(key, "timestamps") == 0 ||
            suggest_distance(key, "timestamps") > 2)
            continue;
        err_set(e, ERR_DATA, "unknown key \"%s\" looks like \"timestamps\"", key);
        return err_hint(e, "write \"timestamps\", or give the key another name");
    }
    return 0;
}

int record_read_speech(struct record *r, json_t *o, struct err *e)
{
    struct whisper_speech *s = &r->speech;
    if (read_task(s, o, e) || read_timestamps(s, o, e) || read_segments(s, o, e))
        return -1;
    return check_timestamps_key(o, e);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *record_join_segments(const struct whisper_segment *segments, int count)
{
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    for (int i = 0; i < count; i++) {
        const char *text = segments[i].text;
        if (b.size > 0 && *text && !is_space(*text) && !is_space(b.data[b.size - 1]))
            buf_add_char(&b, ' ');
        buf_add_str(&b, text);
    }
    char *joined = xstrdup(b.data);
    buf_release(&b);
    return joined;
}
