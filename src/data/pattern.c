/* pattern.c - see pattern.h. */
#include "data/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { NAME_MAX_BYTES = 16 << 10, RANGE_DIGITS_MAX = 12, BRACES_MAX = 64 };

void pattern_list_release(struct pattern_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct pattern_list){0};
}

/* ----------------------------------------------------------------- braces -- */

struct expansion {
    struct pattern_list *list;
    size_t max;
    int depth;
};

static int too_many(const struct expansion *x, struct err *e)
{
    return err_set(e, ERR_DATA, "means more than %zu files", x->max);
}

/* Is [begin, end) a range "0000..0919"? */
static bool is_range(const char *begin, const char *end, long *low, long *high, int *digits)
{
    size_t n = strspn(begin, "0123456789");
    const char *second = begin + n + 2;
    if (n == 0 || n > RANGE_DIGITS_MAX || end - begin < (ptrdiff_t)n + 3 ||
        strncmp(begin + n, "..", 2) != 0)
        return false;
    size_t m = strspn(second, "0123456789");
    if (m == 0 || m > RANGE_DIGITS_MAX || second + m != end)
        return false;
    *low = strtol(begin, NULL, 10);
    *high = strtol(second, NULL, 10);
    *digits = *begin == '0' || n == m ? (int)n : 1;
    return *low <= *high;
}

/* The brace that closes the one at `open`; NULL when none does. */
static const char *closing(const char *open)
{
    int depth = 0;
    for (const char *p = open; *p; p++) {
        depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
        if (depth == 0)
            return p;
    }
    return NULL;
}

/* The first braces that hold something. */
static const char *find_braces(const char *pattern, const char **close)
{
    for (const char *open = pattern; (open = strchr(open, '{')); open++) {
        *close = closing(open);
        if (*close && *close > open + 1)
            return open;
    }
    return NULL;
}

static int expand(struct expansion *x, const char *pattern, struct err *e);

/* One value in the place of the braces; those that are left are expanded in turn. */
static int expand_value(struct expansion *x, const char *pattern, const char *open,
                        const char *close, const char *value, size_t size, struct err *e)
{
    struct buf name;
    buf_init(&name, NAME_MAX_BYTES);
    buf_add(&name, pattern, (size_t)(open - pattern));
    buf_add(&name, value, size);
    buf_add_str(&name, close + 1);
    int failed = buf_check(&name, "the name", e) || expand(x, name.data, e);
    buf_release(&name);
    return failed ? -1 : 0;
}

static int expand_range(struct expansion *x, const char *pattern, const char *open,
                        const char *close, long low, long high, int digits, struct err *e)
{
    if ((unsigned long)(high - low) >= x->max)
        return too_many(x, e);
    for (long i = low; i <= high; i++) {
        char value[32];
        int n = snprintf(value, sizeof value, "%0*ld", digits, i);
        if (expand_value(x, pattern, open, close, value, (size_t)n, e))
            return -1;
    }
    return 0;
}

static int expand_list(struct expansion *x, const char *pattern, const char *open,
                       const char *close, struct err *e)
{
    int depth = 0;
    const char *value = open + 1;
    for (const char *p = value; p <= close; p++) {
        if (p == close || (*p == ',' && depth == 0)) {
            if (expand_value(x, pattern, open, close, value, (size_t)(p - value), e))
                return -1;
            value = p + 1;
        }
        depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
    }
    return 0;
}

static int expand(struct expansion *x, const char *pattern, struct err *e)
{
    const char *close = NULL, *open = find_braces(pattern, &close);
    if (!open) {
        struct pattern_list *l = x->list;
        if (l->count >= x->max)
            return too_many(x, e);
        if (l->count == l->capacity)
            l->at = mem_grow(l->at, &l->capacity, sizeof *l->at);
        l->at[l->count++] = xstrdup(pattern);
        return 0;
    }
    if (x->depth == BRACES_MAX)
        return err_set(e, ERR_DATA, "has more than %d braces", BRACES_MAX);
    x->depth++;
    long low, high;
    int digits;
    int failed = is_range(open + 1, close, &low, &high, &digits)
                     ? expand_range(x, pattern, open, close, low, high, digits, e)
                     : expand_list(x, pattern, open, close, e);
    x->depth--;
    return failed;
}

int pattern_expand(struct pattern_list *l, const char *pattern, size_t max, struct err *e)
{
    struct expansion x = {.list = l, .max = max};
    return expand(&x, pattern, e);
}

/* -------------------------------------------------------------- wildcards -- */

/* The end of a class "[a-z]" that begins at `p`, behind its bracket; NULL when it is none. */
static const char *class_end(const char *p)
{
    const char *q = p + 1;
    q += *q == '!' || *q == '^';
    q += *q == ']';
    q = strchr(q, ']');
    return q && !memchr(p, '/', (size_t)(q - p)) ? q + 1 : NULL;
}

static bool is_in_class(const char *p, const char *end, unsigned char c)
{
    const char *q = p + 1, *last = end - 1;
    bool is_not = *q == '!' || *q == '^', is_in = false;
    for (q += is_not; q < last; q++) {
        unsigned char low = (unsigned char)*q, high = low;
        if (q + 2 < last && q[1] == '-') {
            high = (unsigned char)q[2];
            q += 2;
        }
        is_in = is_in || (c >= low && c <= high);
    }
    return is_in != is_not;
}

size_t pattern_literal(const char *pattern)
{
    for (const char *p = pattern; *p; p++)
        if (*p == '*' || *p == '?' || (*p == '[' && class_end(p)))
            return (size_t)(p - pattern);
    return strlen(pattern);
}

/* A set of places in the pattern that the name read so far may have led to: `AT` an item, or
 * `INSIDE` a folder that a "**" between slashes stands for. */
enum { AT = 1, INSIDE = 2, SMALL = 256 };

/* No wildcard stands for a slash, nor for the '.' that begins a part. */
static bool is_plain(const char *start, const char *name)
{
    bool is_first = name == start || name[-1] == '/';
    return *name && *name != '/' && !(is_first && *name == '.');
}

/* One item of the pattern that stands for one byte; its size, 0 when it does not fit. */
static size_t match_one(const char *p, const char *start, const char *name)
{
    const char *end = *p == '[' ? class_end(p) : NULL;
    if (end)
        return is_plain(start, name) && is_in_class(p, end, (unsigned char)*name)
                   ? (size_t)(end - p)
                   : 0;
    if (*p == '?')
        return is_plain(start, name);
    return *name && *p == *name;
}

/* A '*' at place `i` may be passed, which changes `now` further on, or take the next byte. */
static void match_star(const char *pattern, size_t i, const char *start, const char *name,
                       unsigned char *now, unsigned char *next)
{
    const char *p = pattern + i;
    bool is_deep = p[1] == '*';
    bool is_folders = is_deep && p[2] == '/' && (i == 0 || p[-1] == '/');
    if (now[i] & AT)
        now[i + (is_folders ? 3 : is_deep ? 2 : 1)] |= AT;
    if (*name == '/' && is_deep)
        next[i] |= AT;
    else if (is_folders && (is_plain(start, name) || (*name && (now[i] & INSIDE))))
        next[i] |= INSIDE;
    else if (!is_folders && is_plain(start, name))
        next[i] |= AT;
}

bool pattern_match(const char *pattern, const char *name)
{
    unsigned char small[2 * SMALL] = {0}, *now = small, *next;
    size_t n = strlen(pattern);
    const char *start = name;
    if (n + 1 > SMALL)
        now = xcalloc(2, n + 1);
    unsigned char *both = now;
    next = now + n + 1;
    now[0] = AT;
    bool is_alive = true;
    for (;; name++) {
        is_alive = false;
        memset(next, 0, n + 1);
        for (size_t i = 0; i < n; i++) {
            if (now[i] && pattern[i] == '*')
                match_star(pattern, i, start, name, now, next);
            size_t size = now[i] && pattern[i] != '*' ? match_one(pattern + i, start, name) : 0;
            if (size)
                next[i + size] = AT;
            is_alive = is_alive || size || next[i];
        }
        if (!*name || !is_alive)
            break;
        unsigned char *swap = now;
        now = next;
        next = swap;
    }
    bool fits = !*name && now[n];
    if (both != small)
        free(both);
    return fits;
}
