/* fuzz_pattern.c - a pattern and a name, on two lines: the quick matcher says what a plain one says
 * that tries everything, and braces end at their limit. */
#include "base/mem.h"
#include "data/pattern.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LENGTH_MAX = 48, EXPAND_MAX = 500 };

/* What is known of (rest of the pattern, rest of the name): 0 nothing, 1 no, 2 yes. */
struct table {
    const char *pattern, *name;
    char known[LENGTH_MAX + 1][LENGTH_MAX + 1];
};

static bool fits(struct table *t, const char *p, const char *n);

static bool is_plain(const struct table *t, const char *n)
{
    bool is_first = n == t->name || n[-1] == '/';
    return *n && *n != '/' && !(is_first && *n == '.');
}

/* Behind the bracket that ends a class; NULL when it is none. */
static const char *class_end(const char *p)
{
    const char *q = p + 1;
    if (*q == '!' || *q == '^')
        q++;
    if (*q == ']')
        q++;
    while (*q && *q != ']' && *q != '/')
        q++;
    return *q == ']' && q > p + 1 ? q + 1 : NULL;
}

static bool in_class(const char *p, const char *end, char c)
{
    bool is_not = p[1] == '!' || p[1] == '^', found = false;
    const char *q = p + 1 + is_not, *last = end - 1;
    while (q < last) {
        bool is_range = q + 2 < last && q[1] == '-';
        unsigned char low = (unsigned char)*q, high = (unsigned char)(is_range ? q[2] : *q);
        found = found || ((unsigned char)c >= low && (unsigned char)c <= high);
        q += is_range ? 3 : 1;
    }
    return found != is_not;
}

/* Any bytes and slashes, but for names that begin with a '.'. */
static bool fits_across(struct table *t, const char *p, const char *n)
{
    for (;; n++) {
        if (fits(t, p, n))
            return true;
        if (!*n || (*n != '/' && !is_plain(t, n)))
            return false;
    }
}

/* Whole folders, whose names do not begin with a '.'. */
static bool fits_folders(struct table *t, const char *p, const char *n)
{
    for (;;) {
        if (fits(t, p, n))
            return true;
        const char *slash = strchr(n, '/');
        if (!slash || *n == '.')
            return false;
        n = slash + 1;
    }
}

static bool compute(struct table *t, const char *p, const char *n)
{
    if (!*p)
        return !*n;
    if (p[0] == '*' && p[1] == '*') {
        bool is_part = p == t->pattern || p[-1] == '/';
        return is_part && p[2] == '/' ? fits_folders(t, p + 3, n) : fits_across(t, p + 2, n);
    }
    if (*p == '*')
        return fits(t, p + 1, n) || (is_plain(t, n) && fits(t, p, n + 1));
    if (*p == '?')
        return is_plain(t, n) && fits(t, p + 1, n + 1);
    const char *end = *p == '[' ? class_end(p) : NULL;
    if (end)
        return is_plain(t, n) && in_class(p, end, *n) && fits(t, end, n + 1);
    return *p == *n && fits(t, p + 1, n + 1);
}

static bool fits(struct table *t, const char *p, const char *n)
{
    char *known = &t->known[p - t->pattern][n - t->name];
    if (!*known)
        *known = compute(t, p, n) ? 2 : 1;
    return *known == 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct pattern_list l = {0};
    char *pattern = xstrndup((const char *)data, size);
    char *line = strchr(pattern, '\n');
    const char *name = line ? line + 1 : "";
    if (line)
        *line = 0;
    if (pattern_expand(&l, pattern, EXPAND_MAX, &e) == 0)
        assert(l.count > 0 && l.count <= EXPAND_MAX);
    else
        assert(e.kind == ERR_DATA);
    pattern_list_release(&l);
    assert(pattern_literal(pattern) <= strlen(pattern));
    bool found = pattern_match(pattern, name);
    if (strlen(pattern) <= LENGTH_MAX && strlen(name) <= LENGTH_MAX) {
        struct table t = {.pattern = pattern, .name = name};
        assert(found == fits(&t, pattern, name));
    }
    free(pattern);
    return 0;
}
