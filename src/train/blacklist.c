/* blacklist.c - see blacklist.h. */
#include "train/blacklist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/csv.h"

struct row {
    const struct evaluated *of;
    double wer;
    int64_t place;                     /* among the transcripts */
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->wer > y->wer || x->wer < y->wer)
        return x->wer < y->wer ? 1 : -1;
    return x->place > y->place ? 1 : -1;
}

/* Words where the text has none count as one error for each word of none: infinitely many. */
static void add_rate(double rate, struct buf *out)
{
    if (isfinite(rate))
        buf_printf(out, "%.4f,", rate);
    else
        buf_add_str(out, "inf,");
}

static void add_row(const struct row *r, double limit, struct buf *out)
{
    const struct evaluated *t = r->of;
    char reason[120];
    snprintf(reason, sizeof reason, "word error rate %.2f is %.2f or more%s", r->wer, limit,
             t->has_id ? "" : "; the record has no id, patches cannot name it");
    csv_write(t->id, ',', out);
    buf_add_char(out, ',');
    csv_write(t->reference, ',', out);
    buf_add_char(out, ',');
    csv_write(t->hypothesis, ',', out);
    buf_add_char(out, ',');
    add_rate(r->wer, out);
    add_rate(error_rate(&t->cer), out);
    csv_write(reason, ',', out);
    buf_add_char(out, '\n');
}

void blacklist_table(const struct evaluation *v, const struct patch *p, double wer, struct buf *out,
                     struct blacklist_counts *counts)
{
    struct row *rows = xcalloc((size_t)v->transcript_count + 1, sizeof *rows);
    int64_t n = 0;
    *counts = (struct blacklist_counts){0};
    for (int64_t i = 0; i < v->transcript_count; i++) {
        const struct evaluated *t = &v->transcripts[i];
        double rate = error_rate(&t->wer);
        if (rate < wer)
            continue;
        if (p && t->has_id && patch_find(p, t->id).is_protected)
            counts->protected ++;
        else
            rows[n++] = (struct row){t, rate, i};
    }
    if (n)
        qsort(rows, (size_t)n, sizeof *rows, compare_rows);
    buf_add_str(out, "id,text,predicted,wer,cer,reason\n");
    for (int64_t i = 0; i < n; i++) {
        add_row(&rows[i], wer, out);
        counts->without_id += !rows[i].of->has_id;
    }
    counts->listed = n;
    free(rows);
}
