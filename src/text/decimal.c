/* decimal.c - see decimal.h. */
#include "text/decimal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { BELOW_THOUSAND = 3 };

void decimal_release(struct decimal *d)
{
    codepoints_release(&d->digits);
    *d = (struct decimal){0};
}

void decimal_clear(struct decimal *d)
{
    d->is_set = d->is_text = false;
    d->digits.count = 0;
}

void decimal_set(struct decimal *d, int value)
{
    decimal_clear(d);
    decimal_append_int(d, value);
    d->is_text = false;
}

bool decimal_is_zero(const struct decimal *d)
{
    return d->is_set && !d->is_text && d->digits.count == 1 && d->digits.at[0] == '0';
}

bool decimal_has_zeros(const struct decimal *d, size_t zeros)
{
    size_t n = d->digits.count;
    assert(d->is_set && !d->is_text);
    for (size_t i = n > zeros ? n - zeros : 0; i < n; i++)
        if (d->digits.at[i] != '0')
            return false;
    return true;
}

void decimal_fill(struct decimal *d, size_t zeros, int value)
{
    assert(decimal_has_zeros(d, zeros));
    if (decimal_is_zero(d)) {
        decimal_set(d, value);
        return;
    }
    for (size_t i = d->digits.count; value; value /= 10)
        d->digits.at[--i] = (uint32_t)('0' + value % 10);
}

/* a += b, digit by digit from the right. */
static void add(struct codepoints *a, const struct codepoints *b)
{
    struct codepoints sum = {0};
    uint32_t carry = 0;
    for (size_t i = 0; i < a->count || i < b->count || carry; i++) {
        carry += i < a->count ? a->at[a->count - 1 - i] - '0' : 0;
        carry += i < b->count ? b->at[b->count - 1 - i] - '0' : 0;
        codepoints_add(&sum, '0' + carry % 10);
        carry /= 10;
    }
    a->count = 0;
    for (size_t i = sum.count; i > 0; i--)
        codepoints_add(a, sum.at[i - 1]);
    codepoints_release(&sum);
}

/* Take zeros off the front, but the last. */
static void trim(struct codepoints *digits)
{
    size_t zeros = 0;
    while (zeros + 1 < digits->count && digits->at[zeros] == '0')
        zeros++;
    digits->count -= zeros;
    memmove(digits->at, digits->at + zeros, digits->count * sizeof *digits->at);
}

void decimal_multiply_rest(struct decimal *d, int zeros)
{
    size_t n = d->digits.count, from = n > BELOW_THOUSAND ? n - BELOW_THOUSAND : 0;
    struct codepoints rest = {0};
    assert(d->is_set && !d->is_text);
    for (size_t i = from; i < n; i++) {
        codepoints_add(&rest, d->digits.at[i]);
        d->digits.at[i] = '0';
    }
    for (int i = 0; i < zeros; i++)
        codepoints_add(&rest, '0');
    add(&d->digits, &rest);
    trim(&d->digits);
    codepoints_release(&rest);
}

/* ------------------------------------------------------------------- text -- */

void decimal_append(struct decimal *d, const uint32_t *at, size_t count)
{
    codepoints_add_all(&d->digits, at, count);
    d->is_set = d->is_text = true;
}

void decimal_append_ascii(struct decimal *d, const char *s)
{
    codepoints_add_ascii(&d->digits, s);
    d->is_set = d->is_text = true;
}

void decimal_append_int(struct decimal *d, int value)
{
    char s[16];
    snprintf(s, sizeof s, "%d", value);
    decimal_append_ascii(d, s);
}

/* Append the digits from *i on, of whatever script, to `out`. */
static void read_digits(const uint32_t *at, size_t count, size_t *i, struct codepoints *out)
{
    while (*i < count && codepoint_is_digit(at[*i]))
        codepoints_add(out, (uint32_t)('0' + codepoint_digit(at[(*i)++])));
}

bool decimal_scale_text(const uint32_t *at, size_t count, int zeros, struct decimal *out)
{
    struct codepoints digits = {0};
    size_t i = 0;
    read_digits(at, count, &i, &digits);
    size_t whole = digits.count;
    if (i < count && at[i] == '.') {
        i++;
        read_digits(at, count, &i, &digits);
    }
    bool is_number = i == count && digits.count > 0;
    while (digits.count > whole && digits.at[digits.count - 1] == '0')
        digits.count--;
    size_t places = digits.count - whole;
    bool is_whole = is_number && places <= (size_t)zeros;
    if (is_whole) {
        for (size_t k = places; k < (size_t)zeros; k++)
            codepoints_add(&digits, '0');
        if (!digits.count)
            codepoints_add(&digits, '0');
        trim(&digits);
        decimal_clear(out);
        out->is_set = true;
        codepoints_add_all(&out->digits, digits.at, digits.count);
    }
    codepoints_release(&digits);
    return is_whole;
}
