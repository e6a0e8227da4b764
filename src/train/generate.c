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
#include "train/session.h"

/* The keys and values of this many tokens are held at most, prompts included. */
enum { CAPACITY_MAX = 1 << 20 };

/* --------------------------------------------------------------- sampling -- */

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

/* SplitMix64 (Steele, Lea, Flood 2014) as a function of seed, row and step. */
static double uniform(uint64_t seed, int row, int step)
{
    uint64_t z =
        seed + 0x9e3779b97f4a7c15u * ((uint64_t)row << 32 | (uint32_t)step) + 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 2; i++) {
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return (double)(z >> 11) * 0x1p-53;
}

/* Draw one token from the logits [V] of a row. */
static int32_t draw(const float *logits, int V, const struct generate_options *o, double u)
{
    struct candidate *c = xcalloc((size_t)V, sizeof *c);
    double top = logits[0], sum = 0, kept = 0;
    for (int i = 1; i < V; i++)
        top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < V; i++) {
        c[i] = (struct candidate){i, exp((logits[i] - top) / o->temperature)};
        sum += c[i].p;
    }
    qsort(c, (size_t)V, sizeof *c, by_probability);
    int n = V;
    if (o->top_p > 0 && o->top_p < 1)
        for (n = 0; n < V && kept < o->top_p * sum; n++)
            kept += c[n].p;
    else
        kept = sum;
    double rest = u * kept;
    int i = 0;
    while (i < n - 1 && rest >= c[i].p)
        rest -= c[i++].p;
    int32_t id = c[i].id;
    free(c);
    return id;
}

/* ------------------------------------------------------------------ steps -- */

struct run {
    const struct model *m;
    const struct generate_options *o;
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

/* Choose each row's next token from the hidden states [B,D]. */
static int choose(struct run *r, mx_array hidden, int step, struct err *e)
{
    size_t B = (size_t)r->B;
    mx_array logits = model_logits(r->m, hidden);                                   /* [B,V] */
    if (r->o->temperature <= 0)
        return mx_read(mx_argmax(logits, -1, false), MX_INT32, r->next, B * sizeof *r->next, e);
    int V = mx_dim(logits, 1);
    float *host = xcalloc(B * (size_t)V, sizeof *host);
    int rc = mx_read(logits, MX_FLOAT32, host, B * (size_t)V * sizeof *host, e);
    for (int b = 0; !rc && b < r->B; b++)
        r->next[b] = draw(host + (size_t)b * (size_t)V, V, r->o, uniform(r->o->seed, b, step));
    free(host);
    return rc;
}

/* Give the newest tokens to their rows. */
static int take(struct run *r, struct ids *out, struct err *e)
{
    for (int b = 0; b < r->B; b++) {
        if (r->has_ended[b])
            continue;
        if (is_stop(r->o, r->next[b])) {
            r->has_ended[b] = true;
            r->ended++;
            continue;
        }
        if (ids_push(&out[b], r->next[b], e))
            return -1;
        if (b == 0 && r->o->on_token)
            r->o->on_token(r->o->arg, r->next[b]);
    }
    return 0;
}

static int prefill(struct run *r, const struct batch *b, struct err *e)
{
    mx_enter();
    struct model_input in;
    session_input(&in, r->m, b, &(struct session_rows){0});
    mx_array lengths = mx_from(b->lengths, MX_INT32, (int[]){b->rows}, 1);
    int rc = choose(r, model_prefill(r->m, r->cache, &in, lengths), 0, e);
    mx_leave(MX_NONE);
    return rc;
}

static int decode(struct run *r, int step, struct err *e)
{
    mx_enter();
    mx_array tokens = mx_from(r->next, MX_INT32, (int[]){r->B}, 1);
    int rc = choose(r, model_decode(r->m, r->cache, tokens), step, e);
    mx_leave(MX_NONE);
    return rc;
}

static int run_all(struct run *r, const struct batch *b, struct ids *out, struct err *e)
{
    if (prefill(r, b, e))
        return err_in(e, "reading the prompt");
    for (int step = 1;; step++) {
        if (take(r, out, e))
            return -1;
        if (r->ended == r->B || step == r->o->max_new_tokens)
            return 0;
        if (decode(r, step, e))
            return err_in(e, "token %d", step + 1);
    }
}

int generate(const struct model *m, const struct batch *b, const struct generate_options *o,
             struct ids *out, struct err *e)
{
    for (int i = 0; i < b->rows; i++)
        out[i] = (struct ids){0};
    if (!b->rows)
        return 0;
    int64_t capacity = (int64_t)b->len + o->max_new_tokens;
    if (capacity > CAPACITY_MAX)
        return err_set(e, ERR_USAGE,
                       "the prompt's %d tokens and max_new_tokens %d are more than %d together",
                       b->len, o->max_new_tokens, CAPACITY_MAX);
    struct run r = {.m = m, .o = o, .B = b->rows};
    r.cache = model_cache_new(m, b->rows, (int)capacity);
    r.next = xcalloc((size_t)b->rows, sizeof *r.next);
    r.has_ended = xcalloc((size_t)b->rows, sizeof *r.has_ended);
    int rc = run_all(&r, b, out, e);
    model_cache_free(m, r.cache);
    free(r.next);
    free(r.has_ended);
    return rc;
}
