/* lora.c - adapters: which layers a pattern means, fresh ones, the table of what is trained. */
#include "nn/lora.h"

#include <assert.h>
#include <ctype.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"

enum { NEAREST_MAX = 3 };

/* --------------------------------------------------------------- patterns -- */

static bool is_glob(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

/* Does `name`, or its last parts, equal the pattern? */
static bool matches_name(const char *name, const char *pattern)
{
    if (is_glob(pattern))
        return fnmatch(pattern, name, 0) == 0;
    size_t n = strlen(name), k = strlen(pattern);
    return n >= k && strcmp(name + n - k, pattern) == 0 && (n == k || name[n - k - 1] == '.');
}

static bool matches(const char *name, const char *pattern)
{
    static const char wrapped[] = ".linear";
    size_t n = strlen(name), k = sizeof wrapped - 1;

    if (matches_name(name, pattern))
        return true;
    if (n <= k || strcmp(name + n - k, wrapped) != 0)
        return false;
    char *outer = xstrndup(name, n - k);
    bool yes = matches_name(outer, pattern);
    free(outer);
    return yes;
}

static bool in_tower(const struct nn_module *m, char *const *towers, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(towers[i], m->tower) == 0)
            return true;
    return false;
}

/* The blocks of a tower are the items of its list called `layers`. */
static bool in_block(const char *name)
{
    return strstr(name, ".layers.") != NULL;
}

/* A projector has none: all of it counts as one block. */
static bool has_blocks(const struct nn_params *p, const char *tower)
{
    for (int i = 0; i < p->module_count; i++)
        if (strcmp(p->modules[i].tower, tower) == 0 && in_block(p->modules[i].name))
            return true;
    return false;
}

/* ------------------------------------------------------------ nearest names -- */

/* The end of `name` with as many dots as the pattern has. */
static const char *tail(const char *name, const char *pattern)
{
    int dots = 0;
    for (const char *c = pattern; *c; c++)
        dots += *c == '.';
    const char *p = name + strlen(name);
    while (p > name && (p[-1] != '.' || dots-- > 0))
        p--;
    return p;
}

struct near {
    const char *word;
    int distance;
};

/* Keep the word among the nearest, nearest first, unless it is there or is too far. */
static void offer(struct near best[NEAREST_MAX], const char *word, int d)
{
    int at = NEAREST_MAX;

    for (int k = NEAREST_MAX - 1; k >= 0; k--) {
        if (best[k].word && strcmp(best[k].word, word) == 0)
            return;
        if (!best[k].word || d < best[k].distance)
            at = k;
    }
    for (int k = NEAREST_MAX - 1; k > at; k--)
        best[k] = best[k - 1];
    if (at < NEAREST_MAX)
        best[at] = (struct near){word, d};
}

/* The names nearest to the pattern, as a list for a message. */
static void nearest(const struct nn_params *p, const struct nn_lora_config *c, const char *pattern,
                    struct buf *out)
{
    struct near best[NEAREST_MAX] = {0};

    for (int i = 0; i < p->module_count; i++) {
        const char *word = tail(p->modules[i].name, pattern);
        if (in_tower(&p->modules[i], c->towers, c->tower_count))
            offer(best, word, suggest_distance(pattern, word));
    }
    for (int k = 0; k < NEAREST_MAX && best[k].word; k++)
        buf_printf(out, "%s%s", k ? ", " : "", best[k].word);
}

/* ------------------------------------------------------------------- attach -- */

static double scale_of(const struct nn_lora_config *c)
{
    return c->rslora ? c->alpha / sqrt(c->rank) : c->alpha / c->rank;
}

/* Bits of the name for dropout's site (FNV-1a, 32 bits). */
static uint32_t site_of(const char *name)
{
    uint32_t h = 0x811c9dc5u;
    for (const char *s = name; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x01000193u;
    return h;
}

static mx_array add_slot(struct nn_params *p, const struct nn_module *m, const char *suffix,
                         mx_array value)
{
    char *name = xasprintf("%s%s", m->name, suffix);
    mx_array slot = mx_slot(value);
    nn_params_add(p, name, m->tower, slot, NN_ADAPTER)->trainable = true;
    free(name);
    return slot;
}

int nn_lora_put(struct nn_params *p, struct nn_module *m, const struct nn_lora_config *c,
                mx_array a, mx_array b, struct err *e)
{
    mx_array both[] = {a, b};

    assert(m->linear->lora.rank == 0);
    if (mx_eval(both, 2, e))
        return err_in(e, "adapter of %s", m->name);
    m->linear->lora = (struct nn_lora){
        .a = add_slot(p, m, ".lora_A.weight", a),
        .b = add_slot(p, m, ".lora_B.weight", b),
        .rank = c->rank,
        .scale = scale_of(c),
        .site = site_of(m->name),
        .dropout = &p->dropout,
    };
    return 0;
}

static int attach_fresh(struct nn_params *p, struct nn_module *m, const struct nn_lora_config *c,
                        struct err *e)
{
    const struct nn_linear *l = m->linear;
    double bound = 1 / sqrt(l->in);

    mx_enter();
    mx_array key = nn_name_key(c->seed, m->name);
    mx_array a = mx_random_uniform_(key, -bound, bound, (int[]){c->rank, l->in}, 2);
    mx_array b = mx_zeros(MX_FLOAT32, l->out, c->rank);
    int rc = nn_lora_put(p, m, c, a, b, e);
    mx_leave(MX_NONE);
    return rc;
}

static bool is_target(const struct nn_params *p, const struct nn_module *m,
                      const struct nn_lora_config *c)
{
    if (!in_tower(m, c->towers, c->tower_count))
        return false;
    if (c->target_count == 0)
        return in_block(m->name) || !has_blocks(p, m->tower);
    for (int i = 0; i < c->target_count; i++)
        if (matches(m->name, c->targets[i]))
            return true;
    return false;
}

static int refuse_pattern(const struct nn_params *p, const struct nn_lora_config *c,
                          const char *pattern, struct err *e)
{
    struct buf names;
    buf_init(&names, 4 * NN_NAME_MAX);
    nearest(p, c, pattern, &names);
    err_set(e, ERR_USAGE, "lora target %.100s matches no linear layer of the chosen towers",
            pattern);
    if (names.size > 0)
        err_hint(e, "nearest: %s", names.data);
    buf_release(&names);
    return -1;
}

static bool matches_any(const struct nn_params *p, const struct nn_lora_config *c,
                        const char *pattern)
{
    for (int i = 0; i < p->module_count; i++)
        if (in_tower(&p->modules[i], c->towers, c->tower_count) &&
            matches(p->modules[i].name, pattern))
            return true;
    return false;
}

static int check_config(const struct nn_params *p, const struct nn_lora_config *c, struct err *e)
{
    if (c->rank < 1 || c->rank > NN_LORA_RANK_MAX)
        return err_set(e, ERR_USAGE, "lora rank is %d, expected 1 to %d", c->rank,
                       NN_LORA_RANK_MAX);
    if (!isfinite(c->alpha) || c->alpha <= 0)
        return err_set(e, ERR_USAGE, "lora alpha is %g, expected a number above 0", c->alpha);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_set(e, ERR_USAGE, "lora dropout is %g, expected 0 to below 1", c->dropout);
    if (nn_lora_attached(p))
        return err_set(e, ERR_BUG, "there is an adapter on the model already");
    for (int i = 0; i < c->tower_count; i++)
        if (nn_params_check_tower(p, c->towers[i], e))
            return -1;
    for (int i = 0; i < c->target_count; i++)
        if (!matches_any(p, c, c->targets[i]))
            return refuse_pattern(p, c, c->targets[i], e);
    return 0;
}

/* A tower that was asked for and gets no adapter would be left as it is without a word. */
static int check_towers(const struct nn_params *p, const struct nn_lora_config *c, struct err *e)
{
    for (int t = 0; t < c->tower_count; t++) {
        bool found = false;
        for (int i = 0; i < p->module_count && !found; i++)
            found =
                strcmp(p->modules[i].tower, c->towers[t]) == 0 && is_target(p, &p->modules[i], c);
        if (found)
            continue;
        err_set(e, ERR_USAGE, "lora would put no adapter on the tower %s%s", c->towers[t],
                c->target_count ? ": no target is in it" : ": it has no linear layer");
        return err_hint(e, "take it out of lora.towers, or add a target in it to lora.targets");
    }
    return 0;
}

int nn_lora_attach(struct nn_params *p, const struct nn_lora_config *config, struct err *e)
{
    static char language[] = "language", *const towers[] = {language};
    struct nn_lora_config c = *config;

    if (c.tower_count == 0) {
        c.towers = towers;
        c.tower_count = 1;
    }
    if (check_config(p, &c, e) || check_towers(p, &c, e))
        return -1;
    nn_params_freeze(p);
    p->dropout = (struct nn_dropout){.rate = c.dropout};
    for (int i = 0; i < p->module_count; i++) {
        if (is_target(p, &p->modules[i], &c) && attach_fresh(p, &p->modules[i], &c, e))
            return -1;
    }
    nn_params_sort(p);
    return 0;
}

bool nn_lora_attached(const struct nn_params *p)
{
    for (int i = 0; i < p->module_count; i++)
        if (p->modules[i].linear->lora.rank > 0)
            return true;
    return false;
}

void nn_dropout_key(struct nn_params *p, mx_array key)
{
    p->dropout.key = key;
}

/* ---------------------------------------------------------------- the table -- */

static bool is_adapter_b(const struct nn_param *q)
{
    const char *dot = strstr(q->name, ".lora_B.weight");
    return q->role == NN_ADAPTER && dot;
}

/* The parameter's name for the table: its module's, numbers replaced. */
static void group_name(const struct nn_param *q, char out[NN_NAME_MAX])
{
    size_t size = strlen(q->name), n = 0;
    if (q->role == NN_ADAPTER)
        size -= strlen(".lora_A.weight");
    for (size_t i = 0; i < size && n < NN_NAME_MAX - 1;) {
        bool starts = i == 0 || q->name[i - 1] == '.';
        size_t digits = 0;
        while (i + digits < size && isdigit((unsigned char)q->name[i + digits]))
            digits++;
        bool is_number = starts && digits > 0 && (i + digits == size || q->name[i + digits] == '.');
        out[n++] = is_number ? '*' : q->name[i];
        i += is_number ? digits : 1;
    }
    out[n] = 0;
}

int nn_trained_table(const struct nn_params *p, struct nn_trained **rows)
{
    struct nn_trained *t = NULL;
    size_t capacity = 0;
    int count = 0;

    for (int i = 0; i < p->count; i++) {
        const struct nn_param *q = &p->at[i];
        char name[NN_NAME_MAX];
        int k = 0;
        if (!q->trainable)
            continue;
        group_name(q, name);
        while (k < count && strcmp(t[k].name, name) != 0)
            k++;
        if (k == count) {
            if ((size_t)count == capacity)
                t = mem_grow(t, &capacity, sizeof *t);
            t[count] = (struct nn_trained){.tower = q->tower};
            memcpy(t[count++].name, name, sizeof name);
        }
        t[k].count += !is_adapter_b(q);
        t[k].parameters += (int64_t)mx_size(q->slot);
    }
    *rows = t;
    return count;
}
