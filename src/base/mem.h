/* mem.h - host memory that is always there.
 *
 * These functions end the program with a message when the machine has no memory left: no caller
 * could go on.  Sizes that come from a file are checked against a limit, or against the size of
 * that file, before they come here.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* `size` bytes, not cleared.  The caller frees.  Size 0 gives a pointer that can be freed. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));

/* `count` items of `size` bytes, all zero.  A product that overflows ends the program. */
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Resize `p` (NULL is fine) to `size` bytes. */
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));

/* Resize `p` to `count` items of `size` bytes.  A product that overflows ends the program. */
void *xreallocarray(void *p, size_t count, size_t size) __attribute__((returns_nonnull));

/* Copies; the caller frees. */
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t size) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t size) __attribute__((malloc, returns_nonnull));

/* A formatted string of any length.  The caller frees. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/* End the program with "attune: WHY": for failures that no caller could handle. */
_Noreturn void mem_die(const char *why);

/* Room for one more item in a growing array: doubles `*capacity` when `count` has reached it.
 *
 *     if (n == capacity)
 *         items = mem_grow(items, &capacity, sizeof *items);
 */
void *mem_grow(void *items, size_t *capacity, size_t size) __attribute__((returns_nonnull));

#endif
