/* decimal.h - whole numbers of any size as decimal digits, and texts of digits that grow: what the
 * normaliser of English numbers counts with.
 *
 * A value is a number, which can be added to and multiplied, or a text such as "007", "1.50" or
 * "10." to which digits are appended.
 */
#ifndef TEXT_DECIMAL_H
#define TEXT_DECIMAL_H

#include "text/codepoints.h"

/* All zero: none. */
struct decimal {
    bool is_set;
    bool is_text;                         /* else `digits` are ASCII, without zeros in front */
    struct codepoints digits;
};

void decimal_release(struct decimal *d);
/* None again, memory kept. */
void decimal_clear(struct decimal *d);

void decimal_set(struct decimal *d, int value);
bool decimal_is_zero(const struct decimal *d);
/* Is a number divisible by 10^zeros? */
bool decimal_has_zeros(const struct decimal *d, size_t zeros);
/* Add less than 10^zeros to a number that is divisible by it. */
void decimal_fill(struct decimal *d, size_t zeros, int value);
/* Multiply what is below the thousands of a number by 10^zeros: 2,003 million is 3,002,000. */
void decimal_multiply_rest(struct decimal *d, int zeros);

/* Go on as a text: these characters behind it (of none: a new text). */
void decimal_append(struct decimal *d, const uint32_t *at, size_t count);
void decimal_append_int(struct decimal *d, int value);
void decimal_append_ascii(struct decimal *d, const char *s);

/* The product of 10^zeros with what a text spells, as a number into `out`; false, and nothing is
 * done, when the text spells no decimal fraction or the product is not whole. */
bool decimal_scale_text(const uint32_t *at, size_t count, int zeros, struct decimal *out);

#endif
