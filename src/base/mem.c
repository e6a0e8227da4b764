/* mem.c - see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die(size_t size)
{
    fprintf(stderr, "attune: out of memory: could not get %zu bytes\n", size);
    exit(5);
}

_Noreturn void mem_die(const char *why)
{
    fprintf(stderr, "attune: %s\n", why);
    exit(5);
}

static size_t product(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        die(SIZE_MAX);
    return count * size;
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        die(size);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    size_t total = product(count, size);
    void *p = calloc(total ? total : 1, 1);
    if (!p)
        die(total);
    return p;
}

void *xrealloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        die(size);
    return q;
}

void *xreallocarray(void *p, size_t count, size_t size)
{
    return xrealloc(p, product(count, size));
}

void *xmemdup(const void *p, size_t size)
{
    void *q = xmalloc(size);
    if (size)
        memcpy(q, p, size);
    return q;
}

char *xstrndup(const char *s, size_t size)
{
    size_t n = strnlen(s, size);
    char *copy = xmalloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

char *xstrdup(const char *s)
{
    return xmemdup(s, strlen(s) + 1);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    size_t size = n < 0 ? 1 : (size_t)n + 1;
    char *s = xmalloc(size);
    s[0] = 0;
    vsnprintf(s, size, fmt, again);
    va_end(again);
    return s;
}

void *mem_grow(void *items, size_t *capacity, size_t size)
{
    size_t n = *capacity ? product(*capacity, 2) : 8;
    items = xreallocarray(items, n, size);
    *capacity = n;
    return items;
}
