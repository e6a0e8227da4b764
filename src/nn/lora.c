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

static bool is_router(const char *name)
{
    static const char end[] = ".router.proj";
    size_t n = strlen(name), k = sizeof end - 1;
    return n > k && strcmp(name + n - k, end) == 0;
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

/* Rank and alpha of a tower's adapters. */
static struct nn_lora_tower tower_of(const struct nn_lora_config *c, const char *tower)
{
    for (int i = 0; i < c->other_count; i++)
        if (strcmp(c->others[i].tower, tower) == 0)
            return c->others[i];
    return (struct nn_lora_tower){tower, c->rank, c->alpha};
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
                         mx_array value, enum nn_role role)
{
    char *name = xasprintf("%s%s", m->name, suffix);
    mx_array slot = mx_slot(value);
    nn_params_add(p, name, m->tower, slot, role)->trainable = role == NN_ADAPTER;
    free(name);
    return slot;
}

/* The lengths of the rows of W + s B A. */
static mx_array row_lengths(const struct nn_linear *l, const struct nn_lora *lora)
{
    struct nn_linear plain = *l;
    plain.lora = *lora;
    return mx_sqrt(mx_sum(mx_square(nn_linear_merged(&plain, MX_FLOAT32)), 1, false));
}

int nn_lora_put(struct nn_params *p, struct nn_module *m, const struct nn_lora_config *c,
                double alpha, mx_array a, mx_array b, mx_array magnitude, struct err *e)
{
    struct nn_linear *l = m->linear;
    int rank = mx_dim(a, 0);
    struct nn_lora made = {
        .a = a,
        .b = b,
        .rank = rank,
        .scale = c->rslora ? alpha / sqrt(rank) : alpha / rank,
        .site = site_of(m->name),
        .dropout = &p->dropout,
    };
    mx_array all[] = {a, b, magnitude, MX_NONE};

    assert(l->lora.rank == 0);
    if (c->dora) {
        all[2] = mx_is_none(magnitude) ? row_lengths(l, &made) : magnitude;
        all[3] = nn_linear_squares(l);
    }
    if (mx_eval(all, c->dora ? 4 : 2, e))
        return err_in(e, "adapter of %s", m->name);
    made.a = add_slot(p, m, ".lora_A.weight", a, NN_ADAPTER);
    made.b = add_slot(p, m, ".lora_B.weight", b, NN_ADAPTER);
    if (c->dora) {
        made.magnitude = add_slot(p, m, ".lora_magnitude_vector", all[2], NN_ADAPTER);
        made.squares = add_slot(p, m, ".squares", all[3], NN_PART);
    }
    l->lora = made;
    return 0;
}

static int attach_fresh(struct nn_params *p, struct nn_module *m, const struct nn_lora_config *c,
                        struct err *e)
{
    const struct nn_linear *l = m->linear;
    struct nn_lora_tower t = tower_of(c, m->tower);
    double bound = 1 / sqrt(l->in);

    mx_enter();
    mx_array key = nn_name_key(c->seed, m->name);
    mx_array a = mx_random_uniform_(key, -bound, bound, (int[]){t.rank, l->in}, 2);
    mx_array b = mx_zeros(MX_FLOAT32, l->out, t.rank);
    int rc = nn_lora_put(p, m, c, t.alpha, a, b, MX_NONE, e);
    mx_leave(MX_NONE);
    return rc;
}

static bool is_target(const struct nn_params *p, const struct nn_module *m,
                      const struct nn_lora_config *c)
{
    if (!in_tower(m, c->towers, c->tower_count))
        return false;
    if (c->target_count == 0)
        return (in_block(m->name) && !is_router(m->name)) || !has_blocks(p, m->tower);
    for (int i = 0; i < c->target_count; i++)
        if (matches(m->name, c->targets[i]))
            return true;
    return false;
}

/* Weights of experts are the tensors with an axis for each of them. */
static bool means_experts(const struct nn_params *p, const char *pattern)
{
    for (int i = 0; i < p->count; i++)
        if (strstr(p->at[i].name, ".experts.") && matches(p->at[i].name, pattern))
            return true;
    return false;
}

static int refuse_pattern(const struct nn_params *p, const struct nn_lora_config *c,
                          const char *pattern, struct err *e)
{
    struct buf names;

    if (means_experts(p, pattern)) {
        err_set(e, ERR_USAGE, "lora target %.100s means experts, which get no adapter", pattern);
        return err_hint(e, "adapters are for linear layers: attention, the dense mlp, router.proj");
    }
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

static int check_rank(int rank, double alpha, const char *of, struct err *e)
{
    if (rank < 1 || rank > NN_LORA_RANK_MAX)
        return err_set(e, ERR_USAGE, "lora rank%s is %d, expected 1 to %d", of, rank,
                       NN_LORA_RANK_MAX);
    if (!isfinite(alpha) || alpha <= 0)
        return err_set(e, ERR_USAGE, "lora alpha%s is %g, expected a number above 0", of, alpha);
    return 0;
}

static int check_others(const struct nn_params *p, const struct nn_lora_config *c, struct err *e)
{
    for (int i = 0; i < c->other_count; i++) {
        const struct nn_lora_tower *t = &c->others[i];
        char of[80];
        bool chosen = false;

        snprintf(of, sizeof of, " of %.60s", t->tower);
        if (nn_params_check_tower(p, t->tower, e) || check_rank(t->rank, t->alpha, of, e))
            return -1;
        for (int k = 0; k < c->tower_count; k++)
            chosen = chosen || strcmp(c->towers[k], t->tower) == 0;
        if (!chosen) {
            err_set(e, ERR_USAGE, "there is a lora rank for the tower %s, which gets no adapter",
                    t->tower);
            return err_hint(e, "add it to lora.towers");
        }
    }
    return 0;
}

static int check_config(const struct nn_params *p, const struct nn_lora_config *c, struct err *e)
{
    if (check_rank(c->rank, c->alpha, "", e))
        return -1;
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_set(e, ERR_USAGE, "lora dropout is %g, expected 0 to below 1", c->dropout);
    if (nn_lora_attached(p))
        return err_set(e, ERR_BUG, "there is an adapter on the model already");
    for (int i = 0; i < c->tower_count; i++)
        if (nn_params_check_tower(p, c->towers[i], e))
            return -1;
    if (check_others(p, c, e))
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

/* The suffix of an adapter's tensor, or "". */
static const char *adapter_suffix(const struct nn_param *q)
{
    static const char *const SUFFIXES[] = {".lora_A.weight", ".lora_B.weight",
                                           ".lora_magnitude_vector"};
    size_t n = strlen(q->name);

    for (size_t i = 0; i < sizeof SUFFIXES / sizeof *SUFFIXES && q->role == NN_ADAPTER; i++) {
        size_t k = strlen(SUFFIXES[i]);
        if (n > k && strcmp(q->name + n - k, SUFFIXES[i]) == 0)
            return SUFFIXES[i];
    }
    return "";
}

/* The parameter's name for the table: its module's, numbers replaced. */
static void group_name(const struct nn_param *q, const char *suffix, char out[NN_NAME_MAX])
{
    size_t size = strlen(q->name) - strlen(suffix), n = 0;
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
        const char *suffix = adapter_suffix(q);
        char name[NN_NAME_MAX];
        int k = 0;
        if (!q->trainable)
            continue;
        group_name(q, suffix, name);
        while (k < count && strcmp(t[k].name, name) != 0)
            k++;
        if (k == count) {
            if ((size_t)count == capacity)
                t = mem_grow(t, &capacity, sizeof *t);
            t[count] = (struct nn_trained){.tower = q->tower};
            memcpy(t[count++].name, name, sizeof name);
        }
        bool is_first = *suffix == 0 || strcmp(suffix, ".lora_A.weight") == 0;
        t[k].count += is_first;
        t[k].rank = *suffix && is_first ? q->shape[0] : t[k].rank;
        t[k].parameters += (int64_t)mx_size(q->slot);
    }
    *rows = t;
    return count;
}
