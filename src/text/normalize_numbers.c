/* normalize_numbers.c - English numbers in words as digits: EnglishNumberNormalizer of Whisper.
 *
 * Words are read one after the other.  A number that is being said is the value so far; a word
 * continues it (as a number: "twenty" "one", or as a text of digits: "one" "oh" "one"), ends it
 * with a suffix ("twenty" "first"), or is none of its words: then it is put out.  A prefix, the
 * currency or the sign, waits for the next output.  What the rules make of odd input ("five
 * twenties") is what the reference makes of it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/decimal.h"
#include "text/normalize_parts.h"
#include "text/number_words.h"
#include "text/unicode.h"

static bool is_ascii_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint32_t c)
{
    return c >= 'a' && c <= 'z';
}

/* ------------------------------------------------- "and a half", and gaps -- */

/* The end of what \band\s+a\s+half\b matches at `i`; 0: nothing. */
static size_t and_a_half_end(const struct codepoints *t, size_t i)
{
    static const char *const words[] = {"and", "a", "half"};
    if (!codepoints_begin(t->at + i, t->count - i, "and") ||
        !codepoints_boundary(t->at, t->count, i))
        return 0;
    for (int k = 0; k < 3; k++) {
        size_t gap = i;
        while (i < t->count && unicode_is_strippable(t->at[i]))
            i++;
        if ((k > 0 && i == gap) || !codepoints_begin(t->at + i, t->count - i, words[k]))
            return 0;
        i += strlen(words[k]);
    }
    return codepoints_boundary(t->at, t->count, i) ? i : 0;
}

/* The last word of a stretch: can "point five" stand behind it? */
static bool ends_with_number(const uint32_t *at, size_t count)
{
    size_t end = count;
    while (end > 0 && unicode_is_strippable(at[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && !unicode_is_strippable(at[start - 1]))
        start--;
    switch (number_word(at + start, end - start).kind) {
    case NUMBER_ZERO:
    case NUMBER_ONE:
    case NUMBER_TEN:
    case NUMBER_MULTIPLIER: return true;
    default: return false;
    }
}

static void add_part(struct codepoints *out, bool *is_first, const uint32_t *at, size_t count)
{
    if (!*is_first)
        codepoints_add(out, ' ');
    *is_first = false;
    codepoints_add_all(out, at, count);
}

static bool is_blank(const uint32_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!unicode_is_strippable(at[i]))
            return false;
    return true;
}

/* "Two and a half" becomes "two point five"; parts are joined by spaces, blank ones dropped with
 * the half behind them. */
static void say_halves(const struct codepoints *in, struct codepoints *out)
{
    bool is_first = true;
    size_t start = 0;
    for (size_t i = 0; i < in->count;) {
        size_t end = and_a_half_end(in, i);
        if (!end) {
            i++;
            continue;
        }
        if (!is_blank(in->at + start, i - start)) {
            add_part(out, &is_first, in->at + start, i - start);
            bool is_number = ends_with_number(in->at + start, i - start);
            codepoints_add_ascii(out, is_number ? " point five" : " and a half");
        }
        start = i = end;
    }
    if (!is_blank(in->at + start, in->count - start))
        add_part(out, &is_first, in->at + start, in->count - start);
}

/* A space where a digit meets a letter. */
static void part_digits(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t c = in->at[i], next = i + 1 < in->count ? in->at[i + 1] : 0;
        codepoints_add(out, c);
        if ((is_letter(c) && is_ascii_digit(next)) || (is_ascii_digit(c) && is_letter(next)))
            codepoints_add(out, ' ');
    }
}

/* ([0-9])\s+(st|nd|rd|th|s)\b : no space. */
static void join_suffixes(const struct codepoints *in, struct codepoints *out)
{
    static const char *const suffixes[] = {"st", "nd", "rd", "th", "s"};
    for (size_t i = 0; i < in->count;) {
        size_t end = i + 1;
        codepoints_add(out, in->at[i++]);
        while (end < in->count && unicode_is_strippable(in->at[end]))
            end++;
        if (!is_ascii_digit(in->at[i - 1]) || end == i)
            continue;
        for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++)
            if (codepoints_begin(in->at + end, in->count - end, suffixes[k]) &&
                codepoints_boundary(in->at, in->count, end + strlen(suffixes[k])))
                i = end;
    }
}

/* --------------------------------------------------------- word after word -- */

struct word {
    const uint32_t *at;
    size_t size;
    struct number_word means;
    bool is_numeric;                     /* ^\d+(\.\d+)?$ */
};

struct reading {
    const struct word *words;
    size_t count, i;
    struct decimal value;                /* of the number so far */
    uint32_t prefix;                     /* 0: none */
    bool skips;                          /* the next word was taken together with this one */
    struct codepoints *out;
};

static const struct word none = {.at = NULL};

static const struct word *before(const struct reading *r)
{
    return r->i > 0 ? &r->words[r->i - 1] : &none;
}

static const struct word *behind(const struct reading *r)
{
    return r->i + 1 < r->count ? &r->words[r->i + 1] : &none;
}

/* Put these out as a word of their own, the prefix in front; the number is over. */
static void put(struct reading *r, const uint32_t *at, size_t size, const char *suffix)
{
    if (r->out->count)
        codepoints_add(r->out, ' ');
    if (r->prefix)
        codepoints_add(r->out, r->prefix);
    codepoints_add_all(r->out, at, size);
    codepoints_add_ascii(r->out, suffix);
    r->prefix = 0;
    decimal_clear(&r->value);
}

static void put_value(struct reading *r, const char *suffix)
{
    put(r, r->value.digits.at, r->value.digits.count, suffix);
}

static void put_waiting(struct reading *r)
{
    if (r->value.is_set)
        put_value(r, "");
}

static void put_word(struct reading *r, const struct word *w)
{
    put_waiting(r);
    put(r, w->at, w->size, "");
}

/* str(value or ""): a zero that was written as a digit is dropped. */
static void drop_zero(struct reading *r)
{
    if (decimal_is_zero(&r->value))
        decimal_clear(&r->value);
}

static bool is_prefix(uint32_t c)
{
    return c == '-' || c == '+' || c == '$' || c == 0xa2 || c == 0xa3 || c == 0x20ac;
}

static bool is_numeric(const uint32_t *at, size_t size)
{
    size_t i = 0;
    while (i < size && codepoint_is_digit(at[i]))
        i++;
    if (i == 0 || i == size)
        return i > 0;
    size_t point = i++;
    while (i < size && codepoint_is_digit(at[i]))
        i++;
    return at[point] == '.' && i == size && i > point + 1;
}

/* Digits, perhaps behind a currency's symbol; false: the word is no such. */
static bool read_digits(struct reading *r, const struct word *w)
{
    bool has_prefix = is_prefix(w->at[0]);
    const uint32_t *at = w->at + has_prefix;
    size_t size = w->size - has_prefix;
    const struct codepoints *so_far = &r->value.digits;
    if (!is_numeric(at, size))
        return false;
    if (r->value.is_set && r->value.is_text && so_far->at[so_far->count - 1] == '.') {
        decimal_append(&r->value, w->at, w->size);
        return true;
    }
    put_waiting(r);
    if (has_prefix)
        r->prefix = w->at[0];
    if (!decimal_scale_text(at, size, 0, &r->value))
        decimal_append(&r->value, at, size);
    return true;
}

static bool is_one(const struct word *w)
{
    return w->means.kind == NUMBER_ONE;
}

/* One to nineteen behind what was said: in its zeros if there is room, else as further digits. */
static void read_one(struct reading *r, const struct word *w)
{
    int ones = w->means.value;
    size_t zeros = ones < 10 ? 1 : 2;
    struct decimal *v = &r->value;
    if (!v->is_set) {
        decimal_set(v, ones);
    } else if (v->is_text || is_one(before(r))) {
        if (before(r)->means.kind == NUMBER_TEN && ones < 10)
            v->digits.count--;           /* the zero of the tens */
        decimal_append_int(v, ones);
    } else if (decimal_has_zeros(v, zeros)) {
        decimal_fill(v, zeros, ones);
    } else {
        decimal_append_int(v, ones);
    }
}

static void read_ten(struct reading *r, const struct word *w)
{
    struct decimal *v = &r->value;
    if (!v->is_set)
        decimal_set(v, w->means.value);
    else if (!v->is_text && decimal_has_zeros(v, 2))
        decimal_fill(v, 2, w->means.value);
    else
        decimal_append_int(v, w->means.value);
}

static void set_power(struct decimal *v, int zeros)
{
    static const uint32_t one = '1';
    (void)decimal_scale_text(&one, 1, zeros, v);
}

static void read_multiplier(struct reading *r, const struct word *w)
{
    struct decimal *v = &r->value;
    int zeros = w->means.value;
    if (!v->is_set) {
        set_power(v, zeros);
    } else if (!v->is_text) {
        decimal_multiply_rest(v, zeros);
    } else if (!decimal_scale_text(v->digits.at, v->digits.count, zeros, v)) {
        put_value(r, "");
        set_power(v, zeros);
    }
}

static void read_sign(struct reading *r, const struct word *w)
{
    put_waiting(r);
    if (behind(r)->means.kind || behind(r)->is_numeric)
        r->prefix = w->means.symbol;
    else
        put_word(r, w);
}

static void read_currency(struct reading *r, const struct word *w)
{
    if (!r->value.is_set) {
        put_word(r, w);
        return;
    }
    r->prefix = w->means.symbol;
    put_value(r, "");
}

static void read_percent(struct reading *r, const struct word *w)
{
    const struct word *next = behind(r);
    bool is_whole = w->means.kind == NUMBER_PERCENT || codepoints_are(next->at, next->size, "cent");
    if (!r->value.is_set || !is_whole) {
        put_word(r, w);
        return;
    }
    put_value(r, "%");
    r->skips = w->means.kind == NUMBER_PER;
}

/* "And", "double", "triple", "point": special only where a number can follow. */
static void read_special(struct reading *r, const struct word *w)
{
    const struct word *next = behind(r);
    enum number_kind what = w->means.kind, then = next->means.kind;
    bool is_one_digit = then == NUMBER_ONE || then == NUMBER_ZERO;
    if (!then && !next->is_numeric) {
        put_word(r, w);
    } else if (what == NUMBER_AND) {
        if (before(r)->means.kind != NUMBER_MULTIPLIER)
            put_word(r, w);
    } else if (what == NUMBER_POINT) {
        if (is_one_digit || then == NUMBER_TEN || next->is_numeric) {
            drop_zero(r);
            decimal_append_ascii(&r->value, ".");
        }
    } else if (is_one_digit) {
        drop_zero(r);
        for (int i = what == NUMBER_DOUBLE ? 2 : 3; i > 0; i--)
            decimal_append_int(&r->value, next->means.value);
        r->skips = true;
    } else {
        put_word(r, w);
    }
}

static void read_word(struct reading *r)
{
    const struct word *w = &r->words[r->i];
    if (read_digits(r, w))
        return;
    switch (w->means.kind) {
    case NUMBER_NONE: put_word(r, w); break;
    case NUMBER_ZERO:
        drop_zero(r);
        decimal_append_ascii(&r->value, "0");
        break;
    case NUMBER_ONE: read_one(r, w); break;
    case NUMBER_TEN: read_ten(r, w); break;
    case NUMBER_MULTIPLIER: read_multiplier(r, w); break;
    case NUMBER_ONES:
        read_one(r, w);
        put_value(r, w->means.suffix);
        break;
    case NUMBER_TENS:
        read_ten(r, w);
        put_value(r, w->means.suffix);
        break;
    case NUMBER_MULTIPLIERS:
        read_multiplier(r, w);
        put_value(r, w->means.suffix);
        break;
    case NUMBER_SIGN: read_sign(r, w); break;
    case NUMBER_CURRENCY: read_currency(r, w); break;
    case NUMBER_PER:
    case NUMBER_PERCENT: read_percent(r, w); break;
    case NUMBER_AND:
    case NUMBER_DOUBLE:
    case NUMBER_TRIPLE:
    case NUMBER_POINT: read_special(r, w); break;
    }
}

static struct word *split(const struct codepoints *t, size_t *count)
{
    struct word *words = NULL;
    size_t room = 0, at = 0, start, size;
    *count = 0;
    while (next_word(t, &at, &start, &size)) {
        assert(t->at);
        if (*count == room)
            words = mem_grow(words, &room, sizeof *words);
        const uint32_t *first = t->at + start;
        words[(*count)++] = (struct word){
            .at = first,
            .size = size,
            .means = number_word(first, size),
            .is_numeric = is_numeric(first, size),
        };
    }
    return words;
}

static void read_numbers(const struct codepoints *in, struct codepoints *out)
{
    struct reading r = {.out = out};
    struct word *words = split(in, &r.count);
    r.words = words;
    for (r.i = 0; r.i < r.count; r.i++) {
        if (r.skips)
            r.skips = false;
        else
            read_word(&r);
    }
    put_waiting(&r);
    decimal_release(&r.value);
    free(words);
}

/* -------------------------------------------------------------- afterwards -- */

static bool is_unit(uint32_t c)
{
    return c == '$' || c == 0xa3 || c == 0x20ac;
}

/* How many ASCII digits stand at `i`. */
static size_t digits_at(const struct codepoints *t, size_t i)
{
    size_t n = 0;
    while (i + n < t->count && is_ascii_digit(t->at[i + n]))
        n++;
    return n;
}

/* One or two digits and a word's end at `i`: their value, and their number; -1: there are none. */
static int cents_at(const struct codepoints *t, size_t i, size_t *size)
{
    *size = digits_at(t, i);
    if (*size < 1 || *size > 2 || !codepoints_boundary(t->at, t->count, i + *size))
        return -1;
    int value = 0;
    for (size_t k = 0; k < *size; k++)
        value = 10 * value + (int)(t->at[i + k] - '0');
    return value;
}

static void add_int(struct codepoints *out, int value)
{
    if (value >= 10)
        codepoints_add(out, (uint32_t)('0' + value / 10));
    codepoints_add(out, (uint32_t)('0' + value % 10));
}

/* ([unit])([0-9]+) (?:and )?(cent)([0-9]{1,2})\b : unit, number, stop, cents.  Returns the end of
 * what was matched at `i`; 0: nothing. */
static size_t combine_at(const struct codepoints *in, size_t i, struct codepoints *out)
{
    if (!is_unit(in->at[i]))
        return 0;
    size_t whole = digits_at(in, i + 1), k = i + 1 + whole, size;
    if (whole == 0 || k == in->count || in->at[k++] != ' ')
        return 0;
    if (codepoints_begin(in->at + k, in->count - k, "and "))
        k += 4;
    if (k == in->count || in->at[k++] != 0xa2)
        return 0;
    int cents = cents_at(in, k, &size);
    if (cents < 0)
        return 0;
    codepoints_add_all(out, in->at + i, 1 + whole);
    codepoints_add(out, '.');
    codepoints_add(out, (uint32_t)('0' + cents / 10));
    codepoints_add(out, (uint32_t)('0' + cents % 10));
    return k + size;
}

/* [unit]0.([0-9]{1,2})\b : the sign of cents and the number; the dot is any character. */
static size_t extract_at(const struct codepoints *in, size_t i, struct codepoints *out)
{
    size_t size;
    if (!is_unit(in->at[i]) || in->count - i < 4 || in->at[i + 1] != '0')
        return 0;
    int cents = cents_at(in, i + 3, &size);
    if (cents < 0)
        return 0;
    codepoints_add(out, 0xa2);
    add_int(out, cents);
    return i + 3 + size;
}

/* \b1(s?)\b : "one" or "ones". */
static size_t one_at(const struct codepoints *in, size_t i, struct codepoints *out)
{
    if (in->at[i] != '1' || !codepoints_boundary(in->at, in->count, i))
        return 0;
    bool has_s = i + 1 < in->count && in->at[i + 1] == 's';
    size_t end = i + 1 + has_s;
    if (!codepoints_boundary(in->at, in->count, end))
        return 0;
    codepoints_add_ascii(out, has_s ? "ones" : "one");
    return end;
}

typedef size_t match_fn(const struct codepoints *in, size_t i, struct codepoints *out);

static void substitute(const struct codepoints *in, match_fn *match, struct codepoints *out)
{
    for (size_t i = 0; i < in->count;) {
        size_t end = match(in, i, out);
        if (end == 0)
            codepoints_add(out, in->at[i]);
        i = end ? end : i + 1;
    }
}

void english_numbers(const struct codepoints *text, struct codepoints *out)
{
    struct codepoints a = {0}, b = {0};
    if (!text->count)
        return;
    say_halves(text, &a);
    part_digits(&a, &b);
    a.count = 0;
    join_suffixes(&b, &a);
    b.count = 0;
    read_numbers(&a, &b);
    a.count = 0;
    substitute(&b, combine_at, &a);
    b.count = 0;
    substitute(&a, extract_at, &b);
    substitute(&b, one_at, out);
    codepoints_release(&a);
    codepoints_release(&b);
}
