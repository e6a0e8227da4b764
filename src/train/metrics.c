/* metrics.c - see metrics.h. */
#include "train/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"

enum { LINE_BYTES_MAX = 1 << 16, FILE_BYTES_MAX = 1 << 30 };

static int add_line(const char *path, json_t *o, struct err *e)
{
    struct buf b;
    buf_init(&b, LINE_BYTES_MAX);
    json_write_compact(o, &b);
    buf_add_char(&b, '\n');
    int rc = buf_check(&b, "a line of metrics", e) || file_append(path, b.data, b.size, e) ? -1 : 0;
    buf_release(&b);
    json_decref(o);
    return rc;
}

int metrics_add_step(const char *path, const struct step_metrics *m, struct err *e)
{
    json_t *o = json_object();
    json_put_int(o, "step", m->step);
    json_put_double(o, "loss", m->loss);
    json_put_double(o, "lr", m->lr);
    json_put_double(o, "grad_norm", m->grad_norm);
    json_put_int(o, "supervised_tokens", m->supervised);
    json_put_int(o, "tokens", m->total);
    json_put_double(o, "audio_s", m->audio_s);
    json_put_double(o, "seconds", m->seconds);
    json_put_double(o, "data_wait", m->data_wait);
    json_put_double(o, "padding", m->padding);
    if (m->uses_net) {
        json_put_int(o, "fetched_bytes", m->fetched);
        json_put_double(o, "mb_s", m->seconds > 0 ? 1e-6 * (double)m->fetched / m->seconds : 0);
        json_put_int(o, "retries", m->retries);
        json_put_int(o, "hedges", m->hedges);
    }
    if (m->pictures)
        json_put_int(o, "pictures", m->pictures);
    if (m->windows)
        json_put_int(o, "windows", m->windows);
    if (m->cache.hits || m->cache.misses) {
        json_put_int(o, "cache_hits", m->cache.hits);
        json_put_int(o, "cache_misses", m->cache.misses);
    }
    json_put_int(o, "memory", (int64_t)m->memory);
    if (m->bad)
        json_put_int(o, "bad_records", m->bad);
    if (!m->ok)
        json_put_bool(o, "skipped", true);
    return add_line(path, o, e);
}

int metrics_add_evaluation(const char *path, int64_t step, const struct evaluation *v,
                           struct err *e)
{
    json_t *o = json_object();
    json_put_int(o, "step", step);
    json_put_double(o, "eval_loss", v->loss);
    json_put_double(o, "eval_perplexity", v->perplexity);
    json_put_int(o, "eval_records", v->records);
    json_put_int(o, "eval_supervised_tokens", v->supervised);
    if (v->transcript_count) {
        json_put_double(o, "wer", error_rate(&v->wer));
        json_put_double(o, "cer", error_rate(&v->cer));
        json_put_double(o, "exact", evaluation_exact(v));
    }
    json_put_double(o, "seconds", v->seconds);
    return add_line(path, o, e);
}

/* Does the line belong to a step up to `step`? */
static bool is_kept(const char *line, size_t size, int64_t step)
{
    struct err e = {0};
    json_t *o = json_read_text("metrics.jsonl", line, size, &e);
    if (!o)
        return false;
    int64_t at = json_need_int(o, "step", &e);
    json_decref(o);
    return !e.kind && at <= step;
}

int metrics_cut(const char *path, int64_t step, struct err *e)
{
    if (!file_exists(path))
        return 0;
    size_t size, kept = 0;
    char *text = file_read(path, FILE_BYTES_MAX, &size, e);
    if (!text)
        return -1;
    for (char *line = text, *end; (end = memchr(line, '\n', size - (size_t)(line - text)));
         line = end + 1) {
        size_t n = (size_t)(end - line);
        if (!is_kept(line, n, step))
            continue;
        memmove(text + kept, line, n + 1);
        kept += n + 1;
    }
    int rc = kept == size ? 0 : file_write(path, text, kept, e);
    free(text);
    return rc;
}
