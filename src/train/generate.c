/* generate.c - see generate.h.
 *
 * The prompts are read at once (prefill) and leave keys and values in the cache; each further step
 * runs the model on one token a row.  Rows that have ended go on until all have, unheard: their
 * tokens are dropped, and no row sees another's.
 *
 * Sampling draws from the softmax of logits / temperature, cut to the smallest set of likeliest
 * tokens whose probabilities reach top_p, on the host.
 */
#include "train/generate.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "mx/fastmath.h"
#include "train/session.h"

/* The keys and values of this many tokens are held at most, prompts included. */
enum { CAPACITY_MAX = 1 << 20 };

/* --------------------------------------------------------------- sampling -- */

/* SplitMix64 (Steele, Lea, Flood 2014) as a function of seed, key and step. */
static double uniform(uint64_t seed, uint32_t key, int step)
{
    uint64_t z =
        seed + 0x9e3779b97f4a7c15u * ((uint64_t)key << 32 | (uint32_t)step) + 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static float greatest(const float *x, int n)
{
    float top = x[0];
    for (int i = 1; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* p[i] becomes exp((logits[i] - greatest) * scale); returns the sum. */
static double weigh(float *p, const float *logits, int V, double scale)
{
    double sum = 0;
    float top = greatest(logits, V);
    for (int i = 0; i < V; i++)
        p[i] = (float)((double)(logits[i] - top) * scale);
    fastmath_exp(p, p, (size_t)V);
    for (int i = 0; i < V; i++)
        sum += (double)p[i];
    return sum;
}

struct candidate {
    int32_t id;
    double p;
};

static int by_probability(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->p > y->p || x->p < y->p)
        return x->p > y->p ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Draw among the likeliest tokens that together have the part `top_p` of `sum`. */
static int32_t draw_likely(const float *p, int V, double sum, double top_p, double u)
{
    struct candidate *c = xcalloc((size_t)V, sizeof *c);
    double kept = 0;
    int n = 0, i = 0;
    for (int k = 0; k < V; k++)
        c[k] = (struct candidate){k, (double)p[k]};
    qsort(c, (size_t)V, sizeof *c, by_probability);
    while (n < V && kept < top_p * sum)
        kept += c[n++].p;
    double rest = u * kept;
    while (i < n - 1 && rest >= c[i].p)
        rest -= c[i++].p;
    int32_t id = c[i].id;
    free(c);
    return id;
}

/* Draw one token from the logits [V] of a row; `p` [V] is for use. */
static int32_t draw(const float *logits, float *p, int V, const struct generate_options *o,
                    double u)
{
    double sum = weigh(p, logits, V, 1 / o->temperature);
    if (o->top_p > 0 && o->top_p < 1)
        return draw_likely(p, V, sum, o->top_p, u);
    double rest = u * sum;
    int32_t last = 0;
    for (int i = 0; i < V; i++) {
        if (p[i] > 0)
            last = i;
        if (p[i] > 0 && rest < (double)p[i])
            break;
        rest -= (double)p[i];
    }
    return last;
}

static int32_t likeliest(const float *logits, int V)
{
    int32_t best = 0;
    for (int i = 1; i < V; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

/* ------------------------------------------------------------------ steps -- */

struct run {
    const struct model *m;
    const struct generate_options *o;
    const int32_t *lengths;            /* [B] of the prompts */
    struct ids *out;                   /* [B] */
    struct model_cache *cache;
    int B;                             /* rows */
    int32_t *next;                     /* [B] the newest token of each row */
    bool *has_ended;                   /* [B] */
    int ended;
};

static bool is_stop(const struct generate_options *o, int32_t id)
{
    for (int i = 0; i < o->stop_count; i++)
        if (o->stop_ids[i] == id)
            return true;
    return false;
}

/* Choose the next token of row b from its logits. */
static int32_t choose_one(const struct run *r, int b, float *logits, float *p, int V)
{
    const struct generate_options *o = r->o;
    if (o->rules)
        o->rules(o->rules_arg, b, &r->out[b], logits, V);
    uint32_t key = o->keys ? o->keys[b] : (uint32_t)b;
    int32_t id = o->temperature > 0 ? draw(logits, p, V, o, uniform(o->seed, key, r->out[b].count))
                                    : likeliest(logits, V);
    if (o->logprobs)
        o->logprobs[b] += (double)(logits[id] - greatest(logits, V)) - log(weigh(p, logits, V, 1));
    return id;
}

/* Choose each row's next token from the hidden states [B,D]. */
static int choose(struct run *r, mx_array hidden, struct err *e)
{
    const struct generate_options *o = r->o;
    size_t B = (size_t)r->B;
    mx_array logits = model_logits(r->m, hidden);                                   /* [B,V] */
    if (o->temperature <= 0 && !o->rules && !o->logprobs)
        return mx_read(mx_argmax(logits, -1, false), MX_INT32, r->next, B * sizeof *r->next, e);
    size_t V = (size_t)mx_dim(logits, 1);
    float *host = xcalloc((B + 1) * V, sizeof *host);
    int rc = mx_read(logits, MX_FLOAT32, host, B * V * sizeof *host, e);
    for (int b = 0; !rc && b < r->B; b++)
        if (!r->has_ended[b])
            r->next[b] = choose_one(r, b, host + (size_t)b * V, host + B * V, (int)V);
    free(host);
    return rc;
}

/* Has the decoder no place for a further token behind row b? */
static bool is_full(const struct run *r, int b)
{
    const struct model_facts *f = &r->m->facts;
    return f->is_crossing && r->lengths[b] + r->out[b].count >= f->positions_max;
}

static void end_row(struct run *r, int b)
{
    r->has_ended[b] = true;
    r->ended++;
}

/* Give the newest tokens to their rows. */
static int take(struct run *r, struct err *e)
{
    for (int b = 0; b < r->B; b++) {
        if (r->has_ended[b])
            continue;
        if (is_stop(r->o, r->next[b])) {
            end_row(r, b);
            continue;
        }
        if (ids_push(&r->out[b], r->next[b], e))
            return -1;
        if (b == 0 && r->o->on_token)
            r->o->on_token(r->o->arg, r->next[b]);
        if (is_full(r, b))
            end_row(r, b);
    }
    return 0;
}

static int prefill(struct run *r, const struct batch *b, struct err *e)
{
    mx_enter();
    struct model_input in;
    struct batch seen = *b;
    if (!mx_is_none(r->o->heard))
        seen.clips = 0;
    session_input(&in, r->m, &seen, &(struct session_rows){0});
    in.heard = r->o->heard;
    mx_array lengths = mx_from(b->lengths, MX_INT32, (int[]){b->rows}, 1);
    int rc = choose(r, model_prefill(r->m, r->cache, &in, lengths), e);
    mx_leave(MX_NONE);
    return rc;
}

static int decode(struct run *r, struct err *e)
{
    mx_enter();
    mx_array tokens = mx_from(r->next, MX_INT32, (int[]){r->B}, 1);
    int rc = choose(r, model_decode(r->m, r->cache, tokens), e);
    mx_leave(MX_NONE);
    return rc;
}

static int run_all(struct run *r, const struct batch *b, struct err *e)
{
    if (prefill(r, b, e))
        return err_in(e, "reading the prompt");
    for (int step = 1;; step++) {
        if (take(r, e))
            return -1;
        if (r->ended == r->B || step == r->o->max_new_tokens)
            return 0;
        if (decode(r, e))
            return err_in(e, "token %d", step + 1);
    }
}

/* The width of the cache that the rows need, or -1. */
static int find_capacity(const struct model *m, const struct batch *b,
                         const struct generate_options *o, struct err *e)
{
    int64_t capacity = (int64_t)b->len + o->max_new_tokens;
    if (capacity > CAPACITY_MAX)
        return err_set(e, ERR_USAGE,
                       "the prompt's %d tokens and max_new_tokens %d are more than %d together",
                       b->len, o->max_new_tokens, CAPACITY_MAX);
    for (int i = 0; m->facts.is_crossing && i < b->rows; i++)
        if (b->lengths[i] >= m->facts.positions_max)
            return err_set(e, ERR_DATA,
                           "the prompt has %d tokens, expected less than the decoder's %d",
                           b->lengths[i], m->facts.positions_max);
    return (int)capacity;
}

int generate(const struct model *m, const struct batch *b, const struct generate_options *o,
             struct ids *out, struct err *e)
{
    for (int i = 0; i < b->rows; i++) {
        out[i] = (struct ids){0};
        if (o->logprobs)
            o->logprobs[i] = 0;
    }
    if (!b->rows)
        return 0;
    int capacity = find_capacity(m, b, o, e);
    if (capacity < 0)
        return -1;
    struct run r = {.m = m, .o = o, .lengths = b->lengths, .out = out, .B = b->rows};
    r.cache = model_cache_new(m, b->rows, capacity);
    r.next = xcalloc((size_t)b->rows, sizeof *r.next);
    r.has_ended = xcalloc((size_t)b->rows, sizeof *r.has_ended);
    int rc = run_all(&r, b, e);
    model_cache_free(m, r.cache);
    free(r.next);
    free(r.has_ended);
    return rc;
}
