/* buf.h - a growing buffer of bytes with a mandatory maximum.
 *
 *     struct buf b;
 *     buf_init(&b, LINE_MAX_BYTES);
 *     buf_printf(&b, "%d items", n);
 *     if (buf_check(&b, "the list of items", e))
 *         ...
 *     buf_release(&b);
 *
 * Adding never fails at the call.  A buffer that would pass its maximum becomes empty and stays
 * so, and buf_check says it: nobody can use half of what was meant.  The bytes are followed by a
 * zero that does not count, so `data` is also a string.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;            /* never NULL after buf_init; data[size] is 0 */
    size_t size;           /* bytes in use */
    size_t capacity;       /* bytes allocated; 0 while `data` is the shared empty string */
    size_t max;            /* the largest `size` may become */
    bool overflowed;       /* something did not fit; `size` is 0 from then on */
};

/* An empty buffer that holds at most `max` bytes. */
void buf_init(struct buf *b, size_t max);

/* Free the bytes.  A struct that is all zero may be released, too. */
void buf_release(struct buf *b);

/* Empty again, memory kept, overflow forgotten. */
void buf_clear(struct buf *b);

void buf_add(struct buf *b, const void *data, size_t size);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* `size` new bytes at the end, for the caller to fill (their content is not defined).
 * NULL when they do not fit. */
char *buf_extend(struct buf *b, size_t size);

/* Forget the bytes behind the first `size`. */
void buf_truncate(struct buf *b, size_t size);

/* Hand the bytes to the caller, who frees them; the buffer is empty again. */
char *buf_take(struct buf *b, size_t *size);

/* -1, naming `what` and the maximum, when something did not fit. */
MUST_CHECK int buf_check(const struct buf *b, const char *what, struct err *e);

#endif
