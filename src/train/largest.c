/* largest.c - see largest.h. */
#include "train/largest.h"

#include <string.h>

/* What is added to each row's text where every row has a window of sound: about the encoder's
 * positions, so that a row more weighs more than a longer text. */
enum { WINDOW_TOKENS = 1500 };

/* What a batch is likely to need: the decoder's part grows with its positions, padding included,
 * the towers' with what is really there.  Clips that share windows fill them, whatever their rows
 * would have been. */
static int64_t weigh(const struct largest_options *o, const struct plan_window *w, int64_t batch)
{
    bool has_windows = plan_settings(o->plan)->sorts_text;
    bool is_joined = o->format->crossing.joining != SAMPLE_APART;
    const uint32_t *lengths = has_windows ? w->texts : w->lengths;
    int64_t first = w->firsts[batch], end = w->firsts[batch + 1], sum = 0;
    uint32_t longest = 0;
    for (int64_t i = first; i < end; i++) {
        longest = lengths[i] > longest ? lengths[i] : longest;
        sum += lengths[i];
    }
    if (is_joined)
        return sum;
    if (has_windows)
        return (end - first) * (int64_t)(WINDOW_TOKENS + longest);
    return (end - first) * (int64_t)longest + sum;
}

/* Look at the batches of a window from `window->batch` on; returns how many it has, -1 on error. */
static int64_t look_at(const struct largest_options *o, const struct plan_cursor *window,
                       int64_t *most, struct plan_cursor *at, struct err *e)
{
    struct plan_window w;
    if (plan_window_open(&w, o->plan, window->epoch, window->window, e))
        return -1;
    for (int64_t i = window->batch; i < w.batches; i++) {
        int64_t n = weigh(o, &w, i);
        if (n <= *most)
            continue;
        *most = n;
        *at = (struct plan_cursor){window->epoch, window->window, i};
    }
    int64_t batches = w.batches;
    plan_window_release(&w);
    return batches;
}

static int find(const struct largest_options *o, struct plan_cursor *at, struct err *e)
{
    struct plan_cursor c = o->from;
    int64_t seen = 0, most = 0;
    *at = o->from;
    for (int i = 0; i < LARGEST_WINDOWS && seen < o->steps; i++) {
        int64_t n = look_at(o, &c, &most, at, e);
        if (n < 0)
            return -1;
        seen += n - c.batch;
        c.batch = 0;
        if (++c.window < plan_windows(o->plan, c.epoch))
            continue;
        c.window = 0;
        c.epoch++;
    }
    return 0;
}

bool largest_is_known(const struct plan *p)
{
    const struct manifest *m = plan_settings(p)->manifest;
    for (int i = 0; i < m->source_count; i++)
        if (m->sources[i].is_shards)
            return false;
    return true;
}

struct batch *largest_micro(const struct loader_step *s)
{
    struct batch *most = &s->micros[0];
    for (int i = 1; i < s->count; i++)
        if (s->micros[i].rows * s->micros[i].len > most->rows * most->len)
            most = &s->micros[i];
    return most;
}

/* Take the largest micro-batch out of the step. */
static int take(struct batch *b, struct loader_step *s)
{
    if (!s->count)
        return 0;
    struct batch *most = largest_micro(s);
    *b = *most;
    *most = (struct batch){0};
    return 1;
}

int largest_batch(struct batch *b, const struct largest_options *o, struct err *e)
{
    struct plan_cursor at;
    struct loader_step s;
    if (find(o, &at, e))
        return -1;
    struct loader *l = loader_open(
        &(struct loader_options){
            .plan = o->plan,
            .format = o->format,
            .purpose = SAMPLE_TRAIN,
            .from = at,
            .end_step = 1,
            .micros = o->micros,
            .ahead = 1,
            .memory_max = o->memory_max,
            .bad_fraction = 1,
        },
        e);
    if (!l)
        return -1;
    watch_begin(o->watch, l);
    int got = loader_next(l, &s, e);
    watch_end(o->watch);
    if (got == 1) {
        got = take(b, &s);
        loader_step_release(&s);
    }
    loader_close(l);
    return got;
}
