/* buf.c - see buf.h. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What `data` points to before anything is added; never written to. */
static char empty[1];

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.data = empty, .max = max};
}

void buf_release(struct buf *b)
{
    if (b->capacity)
        free(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->overflowed = false;
    buf_truncate(b, 0);
}

void buf_truncate(struct buf *b, size_t size)
{
    if (size > b->size)
        return;
    b->size = size;
    if (b->capacity)
        b->data[size] = 0;
}

char *buf_extend(struct buf *b, size_t size)
{
    if (b->overflowed || size > b->max - b->size) {
        b->overflowed = true;
        buf_truncate(b, 0);
        return NULL;
    }
    size_t need = b->size + size + 1;
    if (need > b->capacity) {
        size_t n = b->capacity < b->max / 2 ? 2 * b->capacity : b->max + 1;
        if (n < need)
            n = need;
        if (n < 64 && b->max >= 63)
            n = 64;
        b->data = xrealloc(b->capacity ? b->data : NULL, n);
        b->capacity = n;
    }
    char *at = b->data + b->size;
    b->size += size;
    b->data[b->size] = 0;
    return at;
}

void buf_add(struct buf *b, const void *data, size_t size)
{
    char *at = buf_extend(b, size);
    if (at && size)
        memcpy(at, data, size);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *at = n > 0 ? buf_extend(b, (size_t)n) : NULL;
    if (at)
        vsnprintf(at, (size_t)n + 1, fmt, again);
    va_end(again);
}

char *buf_take(struct buf *b, size_t *size)
{
    if (size)
        *size = b->size;
    char *data = b->capacity ? b->data : xstrdup("");
    buf_init(b, b->max);
    return data;
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (!b->overflowed)
        return 0;
    return err_set(e, ERR_FAILED, "%s is larger than the limit of %zu bytes", what, b->max);
}
