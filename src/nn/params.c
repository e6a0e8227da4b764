/* params.c - the list of a model's parameters: lookup, and what is trained. */
#include "nn/params.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "nn/table.h"

struct nn_param *nn_params_add(struct nn_params *p, const char *name, const char *tower,
                               mx_array slot, enum nn_role role)
{
    if ((size_t)p->count == p->capacity)
        p->at = mem_grow(p->at, &p->capacity, sizeof *p->at);
    struct nn_param *param = &p->at[p->count++];
    *param = (struct nn_param){.name = xstrdup(name), .tower = tower, .slot = slot, .role = role};
    param->n = mx_ndim(slot);
    param->stored = mx_dtype(slot);
    for (int i = 0; i < param->n; i++)
        param->shape[i] = mx_dim(slot, i);
    return param;
}

struct nn_param *nn_params_find(const struct nn_params *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->at[i].name, name) == 0)
            return &p->at[i];
    return NULL;
}

void nn_params_release(struct nn_params *p)
{
    for (int i = 0; i < p->count; i++) {
        mx_slot_free(p->at[i].slot);
        nn_table_close(p->at[i].table);
        free(p->at[i].name);
    }
    for (int i = 0; i < p->module_count; i++)
        free(p->modules[i].name);
    free(p->at);
    free(p->modules);
    free(p->trainable);
    free(p->trainable_slots);
    *p = (struct nn_params){0};
}

/* ------------------------------------------------------------ what is trained -- */

static int by_name(const void *a, const void *b)
{
    const struct nn_param *x = *(struct nn_param *const *)a, *y = *(struct nn_param *const *)b;
    return strcmp(x->name, y->name);
}

void nn_params_sort(struct nn_params *p)
{
    int n = 0;

    free(p->trainable);
    free(p->trainable_slots);
    p->trainable = xcalloc((size_t)p->count + 1, sizeof(struct nn_param *));
    p->trainable_slots = xcalloc((size_t)p->count + 1, sizeof *p->trainable_slots);
    for (int i = 0; i < p->count; i++) {
        if (p->at[i].linear)
            p->at[i].linear->trained = p->at[i].trainable;
        if (p->at[i].trainable)
            p->trainable[n++] = &p->at[i];
    }
    qsort(p->trainable, (size_t)n, sizeof *p->trainable, by_name);
    for (int i = 0; i < n; i++)
        p->trainable_slots[i] = p->trainable[i]->slot;
    p->trainable_count = n;
}

/* The first trainable parameter whose name, cut to `size` bytes, is not below the prefix, or,
 * with `after`, is above it. */
static int bound(const struct nn_params *p, const char *prefix, size_t size, bool after)
{
    int lo = 0, hi = p->trainable_count;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, order = strncmp(p->trainable[mid]->name, prefix, size);
        if (order < 0 || (after && order == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct nn_param *const *nn_trainable_params(const struct nn_params *p, const char *prefix,
                                            int *count)
{
    size_t size = strlen(prefix);
    int first = bound(p, prefix, size, false);
    *count = bound(p, prefix, size, true) - first;
    return *count > 0 ? p->trainable + first : NULL;
}

struct mx_arrays nn_trainable(const struct nn_params *p, const char *prefix)
{
    size_t size = strlen(prefix);
    int first = bound(p, prefix, size, false), last = bound(p, prefix, size, true);
    return (struct mx_arrays){last > first ? p->trainable_slots + first : NULL, last - first};
}

void nn_params_freeze(struct nn_params *p)
{
    for (int i = 0; i < p->count; i++)
        p->at[i].trainable = false;
    nn_params_sort(p);
}

static bool has_tower(const struct nn_params *p, const char *tower)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->at[i].tower, tower) == 0)
            return true;
    return false;
}

int nn_params_check_tower(const struct nn_params *p, const char *tower, struct err *e)
{
    struct buf names;

    if (has_tower(p, tower))
        return 0;
    buf_init(&names, 1000);
    for (int i = 0; i < p->count; i++) {
        const char *t = p->at[i].tower;
        bool first = true;
        for (int k = 0; k < i && first; k++)
            first = strcmp(p->at[k].tower, t) != 0;
        if (first)
            buf_printf(&names, "%s%s", names.size ? ", " : "", t);
    }
    err_set(e, ERR_USAGE, "the model has no tower %.60s (it has %s)", tower, names.data);
    buf_release(&names);
    return -1;
}

static bool is_chosen(const struct nn_param *p, char *const *towers, int tower_count)
{
    bool chosen = tower_count == 0;
    for (int i = 0; i < tower_count; i++)
        chosen = chosen || strcmp(towers[i], p->tower) == 0;
    return chosen && p->role == NN_WEIGHT;
}

/* A quantised weight has no gradient. */
static int refuse_quantised(const struct nn_param *q, struct err *e)
{
    err_set(e, ERR_USAGE, "%s is quantised and cannot be trained in full", q->name);
    return err_hint(e, "train adapters on it (lora), or start from the checkpoint that is not "
                       "quantised, with `quantize: none`");
}

int nn_params_train(struct nn_params *p, char *const *towers, int tower_count, struct err *e)
{
    for (int i = 0; i < tower_count; i++)
        if (nn_params_check_tower(p, towers[i], e))
            return -1;
    for (int i = 0; i < p->count; i++) {
        struct nn_param *q = &p->at[i];
        q->trainable = is_chosen(q, towers, tower_count);
        if (q->trainable && q->quant)
            return refuse_quantised(q, e);
        if (!q->trainable || mx_dtype(q->slot) == MX_FLOAT32)
            continue;
        mx_enter();
        mx_array x = mx_astype(q->slot, MX_FLOAT32);
        int rc = mx_eval(&x, 1, e);
        if (rc == 0)
            mx_set(q->slot, x);
        mx_leave(MX_NONE);
        if (rc)
            return err_in(e, "%s", q->name);
    }
    nn_params_sort(p);
    return 0;
}
