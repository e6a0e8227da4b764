/* pattern.h - names that stand for several: braces, and the wildcards of the shell.
 *
 *     {a,b} {0000..0919}   each of these values; a range keeps the digits that it is written with
 *     * ?                  any bytes, any byte, but no '/'
 *     [a-z] [!a-z]         a byte of these, of none of these, but no '/'
 *     **                   any bytes, '/' too; as a whole part of the name: any folders, also none
 *
 * As in the shell, a '.' that begins a part of a name has to be written out.
 */
#ifndef DATA_PATTERN_H
#define DATA_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct pattern_list {
    char **at;
    size_t count, capacity;
};

/* Add what the braces of a pattern stand for, in their order; wildcards stay.  More than `max`
 * names are ERR_DATA.  Braces without a comma or a range stand for what is in them, empty or
 * open ones for themselves. */
int pattern_expand(struct pattern_list *l, const char *pattern, size_t max,
                   struct err *e) MUST_CHECK;
void pattern_list_release(struct pattern_list *l);

/* Bytes before the first wildcard; all of them when there is none. */
size_t pattern_literal(const char *pattern);

/* Does the whole name fit the pattern?  Takes time in proportion to the lengths' product at
 * most. */
bool pattern_match(const char *pattern, const char *name);

#endif
