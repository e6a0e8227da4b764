/* loader_bad.c - bad records: which ones, how many, and whether they are too many.
 *
 * How many may be bad is decided within each epoch, so that a run that is resumed decides as one
 * that was not.  Which ones were met before is known for this process only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/loader_parts.h"

enum { BAD_SHOWN = 5, BAD_SHOWN_BYTES = 130 };

/* ---------------------------------------------------------- distinct ones -- */

/* Where a record is or would be in the set; empty places have file -1. */
static struct loader_bad_key *find(struct loader_bad_key *set, int64_t capacity,
                                   const struct loader_bad_key *key)
{
    uint64_t at = rng_u64((uint64_t)key->file, 0, (uint64_t)key->index);
    for (;; at++) {
        struct loader_bad_key *place = &set[at % (uint64_t)capacity];
        if (place->file < 0 || (place->file == key->file && place->index == key->index))
            return place;
    }
}

static void grow(struct loader *l)
{
    int64_t capacity = l->seen_capacity ? 2 * l->seen_capacity : 64;
    struct loader_bad_key *set = xcalloc((size_t)capacity, sizeof *set);
    for (int64_t i = 0; i < capacity; i++)
        set[i].file = -1;
    for (int64_t i = 0; i < l->seen_capacity; i++)
        if (l->seen[i].file >= 0)
            *find(set, capacity, &l->seen[i]) = l->seen[i];
    free(l->seen);
    l->seen = set;
    l->seen_capacity = capacity;
}

/* Note a bad record; returns whether it is a new one. */
static bool note(struct loader *l, const struct loader_bad_key *key, const char *text)
{
    if (2 * l->bad_count >= l->seen_capacity)
        grow(l);
    struct loader_bad_key *place = find(l->seen, l->seen_capacity, key);
    if (place->file >= 0)
        return false;
    *place = *key;
    l->bad_count++;
    if (l->bad_kept < LOADER_BAD_KEPT)
        l->bad[l->bad_kept++] = (struct loader_bad){xstrdup(text)};
    return true;
}

/* ---------------------------------------------------------------- counting -- */

void loader_count(struct loader *l, struct slot *slot, struct loader_step *s)
{
    s->bad = xcalloc((size_t)slot->count + 1, sizeof *s->bad);
    for (int i = 0; i < slot->count; i++) {
        if (!slot->bad[i])
            continue;
        l->epoch_bad++;
        if (note(l, &slot->keys[i], slot->bad[i]))
            s->bad[s->bad_count++] = xstrdup(slot->bad[i]);
    }
    l->taken += slot->count;
    l->epoch_taken += slot->count;
}

/* The first few bad records, shortened, in one line. */
static void list_bad(const struct loader *l, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < l->bad_kept && i < BAD_SHOWN && used < size; i++) {
        const char *text = l->bad[i].text;
        bool is_long = strlen(text) > BAD_SHOWN_BYTES;
        used += (size_t)snprintf(out + used, size - used, "%s%.*s%s", i ? "; " : "",
                                 is_long ? BAD_SHOWN_BYTES : (int)strlen(text), text,
                                 is_long ? "..." : "");
    }
}

int loader_check_bad(struct loader *l, const struct plan_cursor *place,
                     const struct plan_cursor *next, struct err *e)
{
    int64_t seen = l->epoch_taken, bad = l->epoch_bad;
    int64_t fraction = (int64_t)(l->o.bad_fraction * (double)seen);
    int64_t allowed = fraction > l->o.bad_min ? fraction : l->o.bad_min;
    bool is_end = next->epoch != place->epoch;
    bool is_fruitless =
        is_end && bad > 0 && bad == seen && !plan_settings(l->o.plan)->is_sequential;
    if (is_end)
        l->epoch_bad = l->epoch_taken = 0;
    if (bad <= allowed && !is_fruitless)
        return 0;
    char list[700];
    list_bad(l, list, sizeof list);
    if (is_fruitless)
        err_set(e, ERR_DATA, "none of the %lld records can be used: %s", (long long)seen, list);
    else
        err_set(e, ERR_DATA, "%lld of %lld records are bad, %lld may be: %s", (long long)bad,
                (long long)seen, (long long)allowed, list);
    return err_hint(e, "mend or remove them; bad_fraction and bad_min say how many are tolerated");
}

int64_t loader_taken(const struct loader *l)
{
    return l->taken;
}

int64_t loader_bad_count(const struct loader *l)
{
    return l->bad_count;
}

const struct loader_bad *loader_bad_records(const struct loader *l, int *kept)
{
    *kept = l->bad_kept;
    return l->bad;
}
