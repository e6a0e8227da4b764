/* value.c - see value.h. */
#include "cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/suggest.h"

enum { EXPECTS_MAX = 300, LIST_MAX = 10000 };

static void *field(const struct option *t, struct options *o)
{
    return (char *)o + t->offset;
}

static bool is_list(const struct option *t)
{
    return t->type == OPTION_WORDS || t->type == OPTION_PATHS || t->type == OPTION_NUMBERS ||
           t->type == OPTION_PAIRS;
}

/* ----------------------------------------------------------------- words -- */

static void add_word(struct value_words *w, const char *start, size_t size)
{
    while (size && isspace((unsigned char)start[size - 1]))
        size--;
    while (size && isspace((unsigned char)*start))
        start++, size--;
    w->at = xreallocarray(w->at, (size_t)w->count + 1, sizeof *w->at);
    w->at[w->count++] = xstrndup(start, size);
}

void value_split(const struct option *t, const char *text, struct value_words *w)
{
    *w = (struct value_words){0};
    size_t size = strlen(text);
    bool has_brackets = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    if (!is_list(t) || (t->type == OPTION_PATHS && !has_brackets)) {
        w->at = xmalloc(sizeof *w->at);
        w->at[w->count++] = xstrdup(text);
        return;
    }
    w->is_list = true;
    if (has_brackets)
        text++, size -= 2;
    if (!size)
        return;
    for (;;) {
        size_t n = 0;
        while (n < size && text[n] != ',')
            n++;
        add_word(w, text, n);
        if (n == size)
            return;
        text += n + 1;
        size -= n + 1;
    }
}

void value_words_release(struct value_words *w)
{
    for (int i = 0; i < w->count; i++)
        free(w->at[i]);
    free(w->at);
    *w = (struct value_words){0};
}

/* ----------------------------------------------------------------- types -- */

static int expected(const struct option *t, struct err *e)
{
    char text[EXPECTS_MAX];
    option_expects(t, text, sizeof text);
    return err_hint(e, "expected %s", text);
}

static int wrong(const struct option *t, const char *word, const char *what, struct err *e)
{
    err_set(e, ERR_USAGE, "\"%s\" is not %s", word, what);
    return expected(t, e);
}

static int out_of_range(const struct option *t, const char *word, struct err *e)
{
    char text[EXPECTS_MAX];
    option_expects(t, text, sizeof text);
    err_set(e, ERR_USAGE, "%s is out of range, expected %s", word, text);
    return -1;
}

/* YAML 1.1's words for truth, and nothing else. */
static int set_bool(const struct option *t, bool *out, const char *word, struct err *e)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (int i = 0; i < 6; i++) {
        const char *a = word, *b = words[i];
        while (*b && tolower((unsigned char)*a) == *b)
            a++, b++;
        if (!*a && !*b) {
            *out = i % 2;
            return 0;
        }
    }
    return wrong(t, word, "yes or no", e);
}

/* Is the word a decimal number as people write it?  strtod would take hex, inf and nan, too. */
static bool is_decimal(const char *s, bool has_fraction)
{
    bool has_digit = false;
    for (const char *p = s; *p; p++) {
        bool is_sign = (*p == '-' || *p == '+') && (p == s || p[-1] == 'e' || p[-1] == 'E');
        bool is_real = has_fraction && (*p == '.' || ((*p == 'e' || *p == 'E') && has_digit));
        if (isdigit((unsigned char)*p))
            has_digit = true;
        else if (!is_sign && !is_real)
            return false;
    }
    return has_digit;
}

static int set_int(const struct option *t, int *out, const char *word, struct err *e)
{
    if (!is_decimal(word, false))
        return wrong(t, word, "a whole number", e);
    errno = 0;
    long long v = strtoll(word, NULL, 10);
    if (errno || (double)v < t->low || (double)v > t->high)
        return out_of_range(t, word, e);
    *out = (int)v;
    return 0;
}

static int set_seed(const struct option *t, uint64_t *out, const char *word, struct err *e)
{
    if (!is_decimal(word, false))
        return wrong(t, word, "a whole number", e);
    errno = 0;
    unsigned long long v = strtoull(word, NULL, 10);
    if (errno || *word == '-')
        return out_of_range(t, word, e);
    *out = v;
    return 0;
}

static int set_number(const struct option *t, double *out, const char *word, struct err *e)
{
    char *end = NULL;
    double v = is_decimal(word, true) ? strtod(word, &end) : NAN;
    if (isnan(v) || (end && *end))
        return wrong(t, word, "a number", e);
    if (v < t->low || v > t->high || (t->above_low && v <= t->low))
        return out_of_range(t, word, e);
    *out = v;
    return 0;
}

/* What a unit of bytes stands for ("MiB", "mb", "m", "" for bytes), 0: it is none.  The letters K,
 * M, G, T alone are powers of 1024, as are those with "iB"; those with "B" are powers of 1000. */
static double unit_bytes(const char *unit)
{
    static const char letters[] = "kmgt";
    char u[4] = "";
    for (int i = 0; unit[i] && i < 4; i++) {
        if (i == 3)
            return 0;
        u[i] = (char)tolower((unsigned char)unit[i]);
    }
    if (!*u || !strcmp(u, "b"))
        return 1;
    const char *letter = strchr(letters, *u);
    bool is_binary = !u[1] || !strcmp(u + 1, "ib");
    if (!letter || (!is_binary && strcmp(u + 1, "b") != 0))
        return 0;
    return pow(is_binary ? 1024 : 1000, (double)(letter - letters + 1));
}

static int set_bytes(const struct option *t, int64_t *out, const char *word, struct err *e)
{
    size_t n = strspn(word, "0123456789.");
    char *number = xstrndup(word, n), *end = number;
    double unit = unit_bytes(word + n + strspn(word + n, " "));
    double v = is_decimal(number, true) ? strtod(number, &end) : NAN;
    bool is_wrong = isnan(v) || *end || unit <= 0;
    free(number);
    if (is_wrong)
        return wrong(t, word, "a number of bytes", e);
    if (v * unit < t->low || v * unit > t->high)
        return out_of_range(t, word, e);
    *out = (int64_t)(v * unit);
    return 0;
}

/* The place of `word` among the allowed ones, or -1 with an error. */
static int find_word(const struct option *t, const char *word, struct err *e)
{
    int n = 0;
    for (; t->values[n]; n++)
        if (!strcmp(t->values[n], word))
            return n;
    char text[EXPECTS_MAX];
    option_expects(t, text, sizeof text);
    const char *nearest = suggest_nearest(word, t->values, n);
    err_set(e, ERR_USAGE, "\"%s\" is unknown, expected %s", word, text);
    if (nearest)
        err_hint(e, "did you mean %s?", nearest);
    return -1;
}

static void list_clear(struct string_list *l)
{
    for (int i = 0; i < l->count; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct string_list){0};
}

/* "text=transcript": a known name, and something behind it. */
static int check_pair(const struct option *t, const char *item, struct err *e)
{
    const char *equals = strchr(item, '=');
    if (!equals || equals == item || !equals[1])
        return wrong(t, item, "NAME=VALUE", e);
    char *name = xstrndup(item, (size_t)(equals - item));
    int found = find_word(t, name, e);
    free(name);
    double ignored;
    if (found >= 0 && t->high > 0 && set_number(t, &ignored, equals + 1, e))
        return err_in(e, "%s", item);
    return found < 0 ? -1 : 0;
}

static int check_item(const struct option *t, const char *item, struct err *e)
{
    double ignored;
    if (t->type == OPTION_NUMBERS)
        return set_number(t, &ignored, item, e);
    if (t->type == OPTION_PAIRS)
        return check_pair(t, item, e);
    return t->values && find_word(t, item, e) < 0 ? -1 : 0;
}

static int set_list(const struct option *t, struct string_list *l, const struct value_words *w,
                    bool adds, struct err *e)
{
    for (int i = 0; i < w->count; i++) {
        if (!*w->at[i])
            return err_set(e, ERR_USAGE, "item %d of the list is empty", i + 1);
        if (check_item(t, w->at[i], e))
            return -1;
    }
    if (!adds)
        list_clear(l);
    if (l->count + w->count > LIST_MAX)
        return err_set(e, ERR_USAGE, "the list has %d items, more than %d", l->count + w->count,
                       LIST_MAX);
    for (int i = 0; i < w->count; i++) {
        l->at = xreallocarray(l->at, (size_t)l->count + 1, sizeof *l->at);
        l->at[l->count++] = xstrdup(w->at[i]);
    }
    return 0;
}

int value_set(const struct option *t, struct options *o, const struct value_words *w, bool adds,
              struct err *e)
{
    void *at = field(t, o);
    if (is_list(t))
        return set_list(t, at, w, adds, e);
    if (w->is_list || w->count != 1) {
        err_set(e, ERR_USAGE, "found a list, expected one value");
        return expected(t, e);
    }
    const char *word = w->at[0];
    switch (t->type) {
    case OPTION_BOOL: return set_bool(t, at, word, e);
    case OPTION_INT: return set_int(t, at, word, e);
    case OPTION_SEED: return set_seed(t, at, word, e);
    case OPTION_NUMBER: return set_number(t, at, word, e);
    case OPTION_BYTES: return set_bytes(t, at, word, e);
    case OPTION_ENUM: {
        int v = find_word(t, word, e);
        if (v < 0)
            return -1;
        *(int *)at = v;
        return 0;
    }
    case OPTION_TEXT:
        if (t->values && find_word(t, word, e) < 0)
            return -1;
        break;
    case OPTION_WORDS:
    case OPTION_PATHS:
    case OPTION_NUMBERS:
    case OPTION_PAIRS: break;
    }
    free(*(char **)at);
    *(char **)at = xstrdup(word);
    return 0;
}

void value_release(const struct option *t, struct options *o)
{
    if (is_list(t))
        list_clear(field(t, o));
    if (t->type == OPTION_TEXT) {
        char **at = field(t, o);
        free(*at);
        *at = NULL;
    }
}
