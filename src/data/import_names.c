/* import_names.c - see import_names.h. */
#include "data/import_names.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/suggest.h"

/* In the order in which they count, ended by NULL. */
static const char *const known[ROLE_COUNT][16] = {
    [ROLE_ID] = {"id", "utt_id", "utterance_id", "note_id", "uuid"},
    [ROLE_AUDIO] = {"audio", "audio_path", "audio_filepath", "audio_file", "audio_url", "file_name",
                    "wav", "path", "file", "url"},
    [ROLE_IMAGE] = {"image", "image_path", "image_file", "image_url"},
    [ROLE_PROMPT] = {"prompt", "question", "instruction"},
    [ROLE_TEXT] = {"text", "text_perfect", "text_verbatim", "analysis_ground_truth_transcript",
                   "analysis_verbatim_transcript", "answer", "transcript", "transcription",
                   "sentence", "caption", "completion", "response", "target"},
    [ROLE_LANGUAGE] = {"language", "lang", "source_lang", "analysis_primary_language",
                       "language_code", "locale"},
    [ROLE_DURATION] = {"duration", "audio_seconds", "backend_audio_length_seconds",
                       "duration_seconds", "duration_s", "audio_duration"},
    [ROLE_CORPUS] = {"dataset_source", "source_corpus", "corpus"},
    [ROLE_TASK] = {"taskname", "task"},
    [ROLE_TARGET] = {"target_lang"},
    [ROLE_OFFSET] = {"offset"},
};

const char *import_role_name(enum import_role r)
{
    static const char *const names[ROLE_COUNT] = {
        [ROLE_ID] = "id",
        [ROLE_AUDIO] = "audio",
        [ROLE_IMAGE] = "image",
        [ROLE_PROMPT] = "prompt",
        [ROLE_TEXT] = "text",
        [ROLE_LANGUAGE] = "language",
        [ROLE_DURATION] = "duration",
        [ROLE_CORPUS] = "corpus",
        [ROLE_TASK] = "task",
        [ROLE_TARGET] = "target_lang",
        [ROLE_OFFSET] = "offset",
    };
    return names[r];
}

/* Is "ours=theirs" about this role?  A text may also be called a completion. */
static bool is_for(const char *column, enum import_role r)
{
    const char *ours = import_role_name(r);
    size_t size = strcspn(column, "=");
    return (strlen(ours) == size && !strncmp(column, ours, size)) ||
           (r == ROLE_TEXT && size == 10 && !strncmp(column, "completion", size));
}

/* The user's name for a role, NULL when none was given. */
static const char *named_by_user(enum import_role r, char *const *columns, int column_count)
{
    for (int i = 0; i < column_count; i++)
        if (is_for(columns[i], r))
            return columns[i] + strcspn(columns[i], "=") + 1;
    return NULL;
}

static const char *find(const char *name, char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return names[i];
    return NULL;
}

void import_names_find(struct import_names *n, char *const *names, int count, char *const *columns,
                       int column_count)
{
    for (int r = 0; r < ROLE_COUNT; r++) {
        const char *theirs = named_by_user((enum import_role)r, columns, column_count);
        n->of[r] = theirs ? find(theirs, names, count) : NULL;
        for (int k = 0; !theirs && known[r][k] && !n->of[r]; k++)
            n->of[r] = find(known[r][k], names, count);
    }
}

void import_names_of(struct import_names *n, const json_t *o, char *const *columns,
                     int column_count)
{
    for (int r = 0; r < ROLE_COUNT; r++) {
        const char *theirs = named_by_user((enum import_role)r, columns, column_count);
        n->of[r] = theirs && json_object_get(o, theirs) ? theirs : NULL;
        for (int k = 0; !theirs && known[r][k] && !n->of[r]; k++)
            n->of[r] = json_object_get(o, known[r][k]) ? known[r][k] : NULL;
    }
}

static int refuse(const char *name, const char *const *choices, int count, const char *what,
                  struct err *e)
{
    const char *near = suggest_nearest(name, choices, count);
    err_set(e, ERR_USAGE, "--columns: %s \"%s\"", what, name);
    return near ? err_hint(e, "did you mean \"%s\"?", near) : -1;
}

int import_names_check(char *const *columns, int column_count, char *const *names, int count,
                       struct err *e)
{
    const char *ours[ROLE_COUNT];
    for (int r = 0; r < ROLE_COUNT; r++)
        ours[r] = import_role_name((enum import_role)r);
    for (int i = 0; i < column_count; i++) {
        const char *equals = strchr(columns[i], '=');
        char *name = xstrndup(columns[i], equals ? (size_t)(equals - columns[i]) : 0);
        bool is_ours = false;
        for (int r = 0; r < ROLE_COUNT; r++)
            is_ours = is_ours || is_for(columns[i], (enum import_role)r);
        if (!equals || !equals[1])
            err_set(e, ERR_USAGE, "--columns: expected ours=theirs, found \"%s\"", columns[i]);
        else if (!is_ours)
            refuse(name, ours, ROLE_COUNT, "a record has no", e);
        else if (names && !find(equals + 1, names, count))
            refuse(equals + 1, (const char *const *)names, count, "there is no column", e);
        free(name);
        if (e->kind)
            return -1;
    }
    return 0;
}

char *import_text(const json_t *o, const char *key)
{
    const json_t *v = key ? json_object_get(o, key) : NULL;
    if (json_is_object(v))
        v = json_object_get(v, "path");
    if (json_is_string(v))
        return xstrdup(json_string_value(v));
    if (json_is_integer(v))
        return xasprintf("%lld", (long long)json_integer_value(v));
    if (json_is_real(v))
        return xasprintf("%.17g", json_real_value(v));
    if (json_is_boolean(v))
        return xstrdup(json_is_true(v) ? "true" : "false");
    return NULL;
}

double import_seconds(const json_t *o, const char *key)
{
    const json_t *v = key ? json_object_get(o, key) : NULL;
    double seconds = -1;
    if (!v || json_is_null(v))
        return -1;
    if (json_is_number(v)) {
        seconds = json_number_value(v);
    } else if (json_is_string(v)) {
        const char *text = json_string_value(v);
        char *end;
        if (!*text)
            return -1;
        seconds = strtod(text, &end);
        if (*end)
            return -2;
    } else {
        return -2;
    }
    return isfinite(seconds) && seconds >= 0 ? seconds : -2;
}
