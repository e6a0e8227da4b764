/* breakdown.c - see breakdown.h. */
#include "train/breakdown.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char UNKNOWN[] = "unknown", OTHER[] = "other";

static void add(struct breakdown_group *g, const struct evaluated *t)
{
    g->transcripts++;
    g->exact += t->is_exact;
    g->seconds += t->seconds;
    error_count_add(&g->wer, &t->wer);
    error_count_add(&g->cer, &t->cer);
}

/* -------------------------------------------------------------- languages -- */

/* The group of this name, a new one where there is room. */
static struct breakdown_group *find(struct breakdown *b, const char *language)
{
    char name[BREAKDOWN_NAME_SIZE];
    snprintf(name, sizeof name, "%s", language ? language : UNKNOWN);
    for (int i = 0; i < b->count; i++)
        if (!strcmp(b->at[i].name, name))
            return &b->at[i];
    if (b->count == BREAKDOWN_GROUPS_MAX)
        return &b->at[b->count - 1];
    bool is_last = b->count == BREAKDOWN_GROUPS_MAX - 1;
    struct breakdown_group *g = &b->at[b->count++];
    snprintf(g->name, sizeof g->name, "%s", is_last ? OTHER : name);
    return g;
}

static int rank(const char *name)
{
    return !strcmp(name, UNKNOWN) ? 2 : !strcmp(name, OTHER);
}

static int compare_names(const void *a, const void *b)
{
    const struct breakdown_group *x = a, *y = b;
    int by_rank = rank(x->name) - rank(y->name);
    return by_rank ? by_rank : strcmp(x->name, y->name);
}

void breakdown_by_language(const struct evaluation *v, struct breakdown *out)
{
    *out = (struct breakdown){.at = xcalloc(BREAKDOWN_GROUPS_MAX, sizeof *out->at)};
    for (int64_t i = 0; i < v->transcript_count; i++)
        add(find(out, v->transcripts[i].language), &v->transcripts[i]);
    qsort(out->at, (size_t)out->count, sizeof *out->at, compare_names);
}

/* ---------------------------------------------------------------- lengths -- */

static const struct {
    double most;                          /* seconds */
    const char *name;
} lengths[] = {{2, "0-2 s"},    {5, "2-5 s"},    {10, "5-10 s"},
               {20, "10-20 s"}, {30, "20-30 s"}, {(double)INFINITY, ">30 s"}};

enum { LENGTHS = sizeof lengths / sizeof *lengths };

void breakdown_by_duration(const struct evaluation *v, struct breakdown *out)
{
    *out = (struct breakdown){.at = xcalloc(LENGTHS, sizeof *out->at)};
    for (int64_t i = 0; i < v->transcript_count; i++) {
        const struct evaluated *t = &v->transcripts[i];
        int k = 0;
        while (k < LENGTHS - 1 && t->seconds > lengths[k].most)
            k++;
        if (t->seconds > 0)
            add(&out->at[k], t);
    }
    for (int k = 0; k < LENGTHS; k++) {
        if (!out->at[k].transcripts)
            continue;
        struct breakdown_group *g = &out->at[out->count++];
        *g = out->at[k];
        snprintf(g->name, sizeof g->name, "%s", lengths[k].name);
    }
}

void breakdown_release(struct breakdown *b)
{
    free(b->at);
    *b = (struct breakdown){0};
}
