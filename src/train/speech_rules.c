/* speech_rules.c - see speech_rules.h. */
#include "train/speech_rules.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { CONFIG_BYTES_MAX = 4 << 20 };

/* ---------------------------------------------------------------- reading -- */

/* The ids under `key`, each below `vocab`. */
static int read_ids(const json_t *config, const char *key, int64_t vocab, int32_t **out, int *count,
                    struct err *e)
{
    json_t *list = json_get_array(config, key, e);
    size_t n = list ? json_array_size(list) : 0;
    if (e->kind)
        return -1;
    if (n > SPEECH_RULES_MAX)
        return err_set(e, ERR_DATA, "%s has %zu tokens, expected at most %d", key, n,
                       (int)SPEECH_RULES_MAX);
    *out = xcalloc(n + 1, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_array_get(list, i);
        if (!json_is_integer(v))
            return err_set(e, ERR_DATA, "%s[%zu] is %s, expected an integer", key, i,
                           json_kind_name(v));
        json_int_t id = json_integer_value(v);
        if (id == -1)
            continue;                  /* older files' word for nothing; so it is in transformers */
        if (id < 0 || id >= vocab)
            return err_set(e, ERR_DATA, "%s[%zu] is %lld, expected an id below vocab_size %lld",
                           key, i, (long long)id, (long long)vocab);
        (*out)[(*count)++] = (int32_t)id;
    }
    return 0;
}

static int read_rules(struct speech_rules *r, const json_t *config, int64_t vocab, struct err *e)
{
    if (read_ids(config, "suppress_tokens", vocab, &r->never, &r->never_count, e) ||
        read_ids(config, "begin_suppress_tokens", vocab, &r->never_first, &r->never_first_count, e))
        return -1;
    int64_t last = json_get_int(config, "max_initial_timestamp_index", -1, e);
    if (e->kind)
        return -1;
    r->first_times = last >= 0 && last < vocab ? (int)last + 1 : 0;
    return 0;
}

/* *config stays NULL when there is no such file. */
static int read_config(json_t **config, const char *path, struct err *e)
{
    if (!file_exists(path))
        return 0;
    *config = json_read_file(path, CONFIG_BYTES_MAX, e);
    if (!*config)
        return -1;
    if (!json_is_object(*config))
        return err_set(e, ERR_DATA, "%s: found %s, expected an object", path,
                       json_kind_name(*config));
    return 0;
}

int speech_rules_open(struct speech_rules *r, const char *dir, struct err *e)
{
    *r = (struct speech_rules){0};
    char *model = path_join(dir, "config.json");
    char *generation = path_join(dir, "generation_config.json");
    json_t *m = NULL, *g = NULL;
    int rc = read_config(&m, model, e) || read_config(&g, generation, e) ? -1 : 0;
    int64_t vocab = !rc && m ? json_get_int(m, "vocab_size", INT32_MAX, e) : INT32_MAX;
    if (!rc && e->kind)
        rc = err_in(e, "%s", model);
    if (!rc && (g || m) && read_rules(r, g ? g : m, vocab, e))
        rc = err_in(e, "%s", g ? generation : model);
    json_decref(m);
    json_decref(g);
    free(model);
    free(generation);
    if (rc)
        speech_rules_release(r);
    return rc;
}

void speech_rules_release(struct speech_rules *r)
{
    free(r->never);
    free(r->never_first);
    *r = (struct speech_rules){0};
}

/* ------------------------------------------------------------------ rules -- */

static void forbid(float *logits, int V, int from, int to)
{
    for (int i = from > 0 ? from : 0; i < to && i < V; i++)
        logits[i] = -INFINITY;
}

static void forbid_listed(float *logits, int V, const int32_t *ids, int count)
{
    for (int i = 0; i < count; i++)
        if (ids[i] < V)
            logits[ids[i]] = -INFINITY;
}

void speech_rules_apply(void *rules, int row, const struct ids *ids, float *logits, int V)
{
    const struct speech_rules *r = rules;
    (void)row;
    if (ids->count == 0)
        forbid_listed(logits, V, r->never_first, r->never_first_count);
    forbid_listed(logits, V, r->never, r->never_count);
}

/* A text stands between two times, the next begins with a third, and time does not go back. */
static void pair_times(const struct whisper_format *f, const struct ids *ids, float *logits, int V)
{
    int n = ids->count, first = f->first_time;
    bool is_last = n >= 1 && ids->at[n - 1] >= first;
    bool is_before = n < 2 || ids->at[n - 2] >= first;
    if (is_last && is_before)
        forbid(logits, V, first, V);
    else if (is_last)
        forbid(logits, V, 0, f->end);
    int i = n - 1;
    while (i >= 0 && ids->at[i] < first)
        i--;
    /* A segment begins where the last ended, or later; but it takes some time. */
    if (i >= 0)
        forbid(logits, V, first, ids->at[i] + (is_last && !is_before ? 0 : 1));
}

/* Are the times together likelier than each other token? */
static bool prefers_time(const float *logits, int V, int first)
{
    float text = -INFINITY, top = -INFINITY;
    double sum = 0;
    for (int i = 0; i < first; i++)
        text = logits[i] > text ? logits[i] : text;
    for (int i = first; i < V; i++)
        top = logits[i] > top ? logits[i] : top;
    if (!(top > -INFINITY))
        return false;
    for (int i = first; i < V; i++)
        sum += exp((double)(logits[i] - top));
    return (double)top + log(sum) > (double)text;
}

void speech_rules_apply_times(void *times, int row, const struct ids *ids, float *logits, int V)
{
    const struct speech_times *t = times;
    const struct whisper_format *f = t->format;
    speech_rules_apply((void *)(uintptr_t)t->rules, row, ids, logits, V);
    if (f->first_time >= V)
        return;
    forbid(logits, V, f->no_timestamps, f->no_timestamps + 1);
    pair_times(f, ids, logits, V);
    if (ids->count == 0) {
        forbid(logits, V, 0, f->first_time);
        if (t->rules->first_times)
            forbid(logits, V, f->first_time + t->rules->first_times, V);
    }
    if (prefers_time(logits, V, f->first_time))
        forbid(logits, V, 0, f->first_time);
}
