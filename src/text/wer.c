/* wer.c - see wer.h.
 *
 * The distance is Levenshtein's: D[i][j] is the least number of errors that turn the first i items
 * of the reference into the first j of the hypothesis.  Equal items at the front and the end are
 * taken off first.  Of several alignments with the fewest errors, the one counts that the rapidfuzz
 * library chooses, so that substitutions, deletions and insertions are those that jiwer reports.
 */
#include "text/wer.h"

#include "base/buf.h"
#include "base/mem.h"
#include "text/unicode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A word or a character in a text. */
struct item {
    const char *text;
    size_t size;
};

struct items {
    struct item *at;
    size_t count, room;
};

static int add_item(struct items *s, const char *text, size_t size, const char *what, struct err *e)
{
    if (s->count == WER_TOKENS_MAX)
        return err_set(e, ERR_DATA, "a transcript has more than %d %s", WER_TOKENS_MAX, what);
    if (s->count == s->room)
        s->at = mem_grow(s->at, &s->room, sizeof *s->at);
    s->at[s->count++] = (struct item){text, size};
    return 0;
}

static int split_words(struct items *s, const char *text, struct err *e)
{
    size_t size = strlen(text), pos = 0, start = 0;
    bool in_word = false;

    while (pos < size) {
        size_t at = pos;
        bool is_space = unicode_is_strippable(utf8_next(text, size, &pos));
        if (in_word && is_space && add_item(s, text + start, at - start, "words", e))
            return -1;
        if (!in_word && !is_space)
            start = at;
        in_word = !is_space;
    }
    return in_word ? add_item(s, text + start, size - start, "words", e) : 0;
}

static int split_characters(struct items *s, const char *text, struct err *e)
{
    size_t size = strlen(text), pos = 0;

    utf8_trim(&text, &size);
    while (pos < size) {
        size_t at = pos;
        utf8_next(text, size, &pos);
        if (add_item(s, text + at, pos - at, "characters", e))
            return -1;
    }
    return 0;
}

static bool is_same(const struct item *a, const struct item *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* ---------------------------------------------------------------- distance -- */

static void add_edit(struct alignment *a, enum edit_kind kind, size_t i, size_t j)
{
    a->edits[a->count++] =
        (struct edit){kind, kind == EDIT_INSERT ? -1 : (int)i, kind == EDIT_DELETE ? -1 : (int)j};
}

/* D[i][j] from its neighbours D[i-1][j], D[i][j-1] and D[i-1][j-1], and the step that leads to it:
 * a deletion if that is among the best, an insertion if it is better than going nowhere. */
static enum edit_kind choose(int32_t up, int32_t left, int32_t diagonal, bool same, int32_t *best)
{
    *best = diagonal + !same;
    if (left + 1 < *best)
        *best = left + 1;
    if (up + 1 <= *best) {
        *best = up + 1;
        return EDIT_DELETE;
    }
    if (left == diagonal - 1)
        return EDIT_INSERT;
    return same ? EDIT_EQUAL : EDIT_SUBSTITUTE;
}

/* The step that leads to each cell of D, one byte for each. */
static uint8_t *fill_steps(const struct item *r, size_t n, const struct item *h, size_t m)
{
    uint8_t *steps = xcalloc((n + 1) * (m + 1), 1);
    int32_t *row = xcalloc(m + 1, sizeof *row);

    for (size_t j = 0; j <= m; j++) {
        row[j] = (int32_t)j;
        steps[j] = EDIT_INSERT;
    }
    for (size_t i = 1; i <= n; i++) {
        int32_t diagonal = row[0];
        row[0] = (int32_t)i;
        steps[i * (m + 1)] = EDIT_DELETE;
        for (size_t j = 1; j <= m; j++) {
            int32_t up = row[j];
            bool same = is_same(&r[i - 1], &h[j - 1]);
            steps[i * (m + 1) + j] = (uint8_t)choose(up, row[j - 1], diagonal, same, &row[j]);
            diagonal = up;
        }
    }
    free(row);
    return steps;
}

/* Append the alignment of r[0 .. n) and h[0 .. m), whose items begin at index `first`. */
static void align_middle(struct alignment *a, const struct item *r, size_t n, const struct item *h,
                         size_t m, size_t first)
{
    uint8_t *steps = fill_steps(r, n, h, m);
    int start = a->count;

    for (size_t i = n, j = m; i > 0 || j > 0;) {
        enum edit_kind kind = (enum edit_kind)steps[i * (m + 1) + j];
        i -= kind != EDIT_INSERT;
        j -= kind != EDIT_DELETE;
        add_edit(a, kind, first + i, first + j);
    }
    for (int i = start, k = a->count - 1; i < k; i++, k--) {
        struct edit swap = a->edits[i];
        a->edits[i] = a->edits[k];
        a->edits[k] = swap;
    }
    free(steps);
}

/* How many items at the front and at the end are equal. */
static void common_ends(const struct items *r, const struct items *h, size_t *front, size_t *back)
{
    size_t n = r->count, m = h->count, f = 0, b = 0;

    while (f < n && f < m && is_same(&r->at[f], &h->at[f]))
        f++;
    while (b < n - f && b < m - f && is_same(&r->at[n - 1 - b], &h->at[m - 1 - b]))
        b++;
    *front = f;
    *back = b;
}

static int align(struct alignment *a, const struct items *r, const struct items *h, struct err *e)
{
    size_t n = r->count, m = h->count, front, back;

    common_ends(r, h, &front, &back);
    size_t rows = n - front - back, columns = m - front - back;
    if ((rows + 1) * (columns + 1) > WER_CELLS_MAX)
        return err_set(e, ERR_DATA, "two transcripts of %zu and %zu words are too long to align", n,
                       m);
    *a = (struct alignment){.edits = xcalloc(n + m + 1, sizeof *a->edits)};
    for (size_t i = 0; i < front; i++)
        add_edit(a, EDIT_EQUAL, i, i);
    const struct item *from = n > 0 ? r->at + front : NULL, *to = m > 0 ? h->at + front : NULL;
    align_middle(a, from, rows, to, columns, front);
    for (; back > 0; back--)
        add_edit(a, EDIT_EQUAL, n - back, m - back);
    return 0;
}

void alignment_release(struct alignment *a)
{
    free(a->edits);
    *a = (struct alignment){0};
}

/* ----------------------------------------------------------------- counts -- */

typedef int split_fn(struct items *s, const char *text, struct err *e);

static int split_both(split_fn *split, const char *reference, const char *hypothesis,
                      struct items *r, struct items *h, struct err *e)
{
    if (split(r, reference, e))
        return err_in(e, "reference");
    return split(h, hypothesis, e) ? err_in(e, "hypothesis") : 0;
}

/* The errors on the way to a cell of D. */
struct cell {
    int32_t cost, substitutions, deletions, insertions;
};

/* Walk over D with one row of cells, and add what the last cell has. */
static void count_middle(struct error_count *c, const struct item *r, size_t n,
                         const struct item *h, size_t m)
{
    struct cell *row = xcalloc(m + 1, sizeof *row);

    for (size_t j = 0; j <= m; j++)
        row[j] = (struct cell){.cost = (int32_t)j, .insertions = (int32_t)j};
    for (size_t i = 1; i <= n; i++) {
        struct cell diagonal = row[0];
        row[0] = (struct cell){.cost = (int32_t)i, .deletions = (int32_t)i};
        for (size_t j = 1; j <= m; j++) {
            struct cell up = row[j], left = row[j - 1];
            int32_t best;
            enum edit_kind kind =
                choose(up.cost, left.cost, diagonal.cost, is_same(&r[i - 1], &h[j - 1]), &best);
            row[j] = kind == EDIT_DELETE ? up : kind == EDIT_INSERT ? left : diagonal;
            row[j].cost = best;
            row[j].deletions += kind == EDIT_DELETE;
            row[j].insertions += kind == EDIT_INSERT;
            row[j].substitutions += kind == EDIT_SUBSTITUTE;
            diagonal = up;
        }
    }
    c->substitutions += row[m].substitutions;
    c->deletions += row[m].deletions;
    c->insertions += row[m].insertions;
    c->hits += (int64_t)n - row[m].substitutions - row[m].deletions;
    free(row);
}

static int count_errors(struct error_count *c, const char *reference, const char *hypothesis,
                        split_fn *split, struct err *e)
{
    struct items r = {0}, h = {0};
    int rc = split_both(split, reference, hypothesis, &r, &h, e);

    if (rc == 0 && (r.count == 0 || h.count == 0)) {
        c->deletions += (int64_t)r.count;
        c->insertions += (int64_t)h.count;
        c->reference += (int64_t)r.count;
    } else if (rc == 0) {
        size_t front, back;
        common_ends(&r, &h, &front, &back);
        count_middle(c, r.at + front, r.count - front - back, h.at + front, h.count - front - back);
        c->hits += (int64_t)(front + back);
        c->reference += (int64_t)r.count;
    }
    free(r.at);
    free(h.at);
    return rc;
}

int wer_count(struct error_count *c, const char *reference, const char *hypothesis, struct err *e)
{
    return count_errors(c, reference, hypothesis, split_words, e);
}

int cer_count(struct error_count *c, const char *reference, const char *hypothesis, struct err *e)
{
    return count_errors(c, reference, hypothesis, split_characters, e);
}

void error_count_add(struct error_count *sum, const struct error_count *c)
{
    sum->hits += c->hits;
    sum->substitutions += c->substitutions;
    sum->deletions += c->deletions;
    sum->insertions += c->insertions;
    sum->reference += c->reference;
}

double error_rate(const struct error_count *c)
{
    int64_t errors = c->substitutions + c->deletions + c->insertions;

    if (c->reference == 0)
        return errors > 0 ? (double)INFINITY : 0;
    return (double)errors / (double)c->reference;
}

int wer_align(struct alignment *a, const char *reference, const char *hypothesis, struct err *e)
{
    struct items r = {0}, h = {0};
    int rc = split_both(split_words, reference, hypothesis, &r, &h, e);

    *a = (struct alignment){0};
    if (rc == 0)
        rc = align(a, &r, &h, e);
    free(r.at);
    free(h.at);
    return rc;
}

/* ------------------------------------------------------------------- diff -- */

static void add_word(struct buf *out, const struct item *word, const char *open, const char *close)
{
    assert(word);
    buf_add_str(out, open);
    buf_add(out, word->text, word->size);
    buf_add_str(out, close);
}

int wer_diff(const char *reference, const char *hypothesis, bool color, struct buf *out,
             struct err *e)
{
    struct items r = {0}, h = {0};
    struct alignment a = {0};
    int rc = split_both(split_words, reference, hypothesis, &r, &h, e);

    if (rc == 0)
        rc = align(&a, &r, &h, e);
    for (int i = 0; i < a.count; i++) {
        const struct edit *s = &a.edits[i];
        if (i > 0)
            buf_add_char(out, ' ');
        if (s->kind == EDIT_EQUAL)
            add_word(out, &r.at[s->reference], "", "");
        if (s->kind == EDIT_SUBSTITUTE || s->kind == EDIT_DELETE)
            add_word(out, &r.at[s->reference], color ? "\x1b[31m" : "[-", color ? "\x1b[0m" : "-]");
        if (s->kind == EDIT_SUBSTITUTE && color)
            buf_add_char(out, ' ');
        if (s->kind == EDIT_SUBSTITUTE || s->kind == EDIT_INSERT)
            add_word(out, &h.at[s->hypothesis], color ? "\x1b[32m" : "{+",
                     color ? "\x1b[0m" : "+}");
    }
    alignment_release(&a);
    free(r.at);
    free(h.at);
    return rc ? -1 : buf_check(out, "the differences", e);
}
