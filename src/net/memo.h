/* memo.h - what the network has told once and need not be asked again: a bucket's region, the
 * commit of a branch, the place where a file really lies.
 *
 * A small map from text to text that any thread may use.  It forgets the oldest entry when it is
 * full, so nothing may depend on what it holds.
 */
#ifndef NET_MEMO_H
#define NET_MEMO_H

#include <stdbool.h>
#include <stddef.h>

struct memo;

enum { MEMO_ENTRIES = 512 };

struct memo *memo_new(void);
void memo_free(struct memo *m);            /* NULL is fine */

/* Remember `value` under `key`; both are copied. */
void memo_put(struct memo *m, const char *key, const char *value);

/* What is remembered under `key`, NULL for nothing.  The caller frees. */
char *memo_get(struct memo *m, const char *key);

/* Forget `key` if `value` is still what it stands for: another thread may know better already. */
void memo_drop(struct memo *m, const char *key, const char *value);

#endif
