/* result.c - see result.h. */
#include "train/result.h"

#include <math.h>
#include <stdio.h>

struct train_result result_empty(void)
{
    return (struct train_result){
        .loss = NAN,
        .eval_loss = NAN,
        .wer = NAN,
        .cer = NAN,
        .exact = NAN,
    };
}

void result_note_peak(struct train_result *r)
{
    int64_t peak = (int64_t)mx_memory_peak();
    r->memory_peak = peak > r->memory_peak ? peak : r->memory_peak;
}

void result_evaluation(struct train_result *r, const struct evaluation *v)
{
    bool has_transcripts = v->transcript_count > 0;
    r->has_evaluation = true;
    r->eval_loss = v->loss;
    r->wer = has_transcripts ? error_rate(&v->wer) : NAN;
    r->cer = has_transcripts ? error_rate(&v->cer) : NAN;
    r->exact = evaluation_exact(v);
}

json_t *result_to_json(const struct train_result *r)
{
    json_t *o = json_object();
    json_put_int(o, "steps", r->steps);
    json_put_double(o, "loss", r->loss);
    json_put_double(o, "seconds", r->seconds);
    if (*r->sha256)
        json_put_str(o, "sha256", r->sha256);
    if (r->has_evaluation) {
        json_put_double(o, "eval_loss", r->eval_loss);
        json_put_double(o, "wer", r->wer);
        json_put_double(o, "cer", r->cer);
        json_put_double(o, "exact", r->exact);
    }
    if (r->has_memory) {
        json_t *memory = memory_plan_to_json(&r->memory);
        json_put_int(memory, "peak", memory_plan_measured(&r->memory, r->memory_peak));
        json_put(o, "memory", memory);
    }
    if (r->windows_per_s > 0)
        json_put_double(o, "windows_per_s", r->windows_per_s);
    if (r->has_cache) {
        json_t *cache = json_object();
        json_put_int(cache, "hits", r->cache.hits);
        json_put_int(cache, "misses", r->cache.misses);
        json_put_int(cache, "bytes", r->cache.bytes);
        json_put(o, "tower_cache", cache);
    }
    return o;
}

struct train_result result_of_json(const json_t *o, struct err *e)
{
    struct train_result r = result_empty();
    r.steps = json_need_int(o, "steps", e);
    r.loss = json_get_double(o, "loss", NAN, e);
    r.seconds = json_get_double(o, "seconds", 0, e);
    r.eval_loss = json_get_double(o, "eval_loss", NAN, e);
    r.wer = json_get_double(o, "wer", NAN, e);
    r.cer = json_get_double(o, "cer", NAN, e);
    r.exact = json_get_double(o, "exact", NAN, e);
    r.has_evaluation = !isnan(r.eval_loss);
    snprintf(r.sha256, sizeof r.sha256, "%s", json_get_str(o, "sha256", "", e));
    return r;
}
