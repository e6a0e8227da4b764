/* codepoints.c - see codepoints.h.  The tables of characters are utf8proc's. */
#include "text/codepoints.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/unicode.h"

/* ------------------------------------------------------------------ array -- */

void codepoints_release(struct codepoints *t)
{
    free(t->at);
    *t = (struct codepoints){0};
}

void codepoints_add(struct codepoints *t, uint32_t c)
{
    if (t->count == t->room)
        t->at = mem_grow(t->at, &t->room, sizeof *t->at);
    t->at[t->count++] = c;
}

void codepoints_add_all(struct codepoints *t, const uint32_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        codepoints_add(t, at[i]);
}

void codepoints_add_ascii(struct codepoints *t, const char *s)
{
    for (; *s; s++)
        codepoints_add(t, (unsigned char)*s);
}

void codepoints_add_utf8(struct codepoints *t, const char *text, size_t size)
{
    for (size_t pos = 0; pos < size;)
        codepoints_add(t, utf8_next(text, size, &pos));
}

void codepoints_write(const uint32_t *at, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        char bytes[4];
        buf_add(out, bytes, (size_t)utf8_encode(at[i], bytes));
    }
}

bool codepoints_begin(const uint32_t *at, size_t count, const char *ascii)
{
    size_t i = 0;
    while (ascii[i] && i < count && at[i] == (unsigned char)ascii[i])
        i++;
    return !ascii[i];
}

bool codepoints_are(const uint32_t *at, size_t count, const char *ascii)
{
    return count == strlen(ascii) && codepoints_begin(at, count, ascii);
}

/* ---------------------------------------------------------------- classes -- */

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool codepoint_is_word(uint32_t c)
{
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return true;
    default: return c == '_';
    }
}

bool codepoint_is_digit(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool codepoints_boundary(const uint32_t *at, size_t count, size_t i)
{
    bool before = i > 0 && codepoint_is_word(at[i - 1]);
    bool after = i < count && codepoint_is_word(at[i]);
    return before != after;
}

/* Unicode gives ten digits a run of ten code points, several runs behind each other at times. */
int codepoint_digit(uint32_t c)
{
    uint32_t zero = c;
    assert(codepoint_is_digit(c));
    while (codepoint_is_digit(zero - 1))
        zero--;
    return (int)((c - zero) % 10);
}

bool codepoint_is_nonspacing(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool codepoint_is_symbol(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME) ||
           (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_SO);
}
_Static_assert(UTF8PROC_CATEGORY_MN + 2 == UTF8PROC_CATEGORY_ME, "Mn, Mc, Me");
_Static_assert(UTF8PROC_CATEGORY_PC + 10 == UTF8PROC_CATEGORY_SO, "seven P, then four S");

/* ------------------------------------------------------------- lower case -- */

enum { DOTTED_CAPITAL_I = 0x130, COMBINING_DOT = 0x307, SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };

/* Unicode's Case_Ignorable (DerivedCoreProperties.txt): besides categories, what may stand inside a
 * word. */
static bool is_case_ignorable(uint32_t c)
{
    static const uint16_t others[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,
                                      0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                      0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (c == others[i])
            return true;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return false;
    }
}

/* Unicode's Cased, of what is not ignorable: letters with case, and signs made of such. */
static bool is_cased(uint32_t c)
{
    static const uint32_t signs[][2] = {{0xaa, 0xaa},       {0xba, 0xba},       {0x2160, 0x217f},
                                        {0x24b6, 0x24e9},   {0x1f130, 0x1f149}, {0x1f150, 0x1f169},
                                        {0x1f170, 0x1f189}};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (c >= signs[i][0] && c <= signs[i][1])
            return true;
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

/* Final_Sigma (The Unicode Standard, 3.13): behind a cased letter, and before none. */
static bool ends_word(const struct codepoints *t, size_t i)
{
    size_t before = i, after = i + 1;
    while (before > 0 && is_case_ignorable(t->at[before - 1]))
        before--;
    if (before == 0 || !is_cased(t->at[before - 1]))
        return false;
    while (after < t->count && is_case_ignorable(t->at[after]))
        after++;
    return after == t->count || !is_cased(t->at[after]);
}

void codepoints_lower(const struct codepoints *t, struct codepoints *out)
{
    for (size_t i = 0; i < t->count; i++) {
        uint32_t c = t->at[i];
        if (c == SIGMA && ends_word(t, i)) {
            codepoints_add(out, FINAL_SIGMA);
        } else if (c == DOTTED_CAPITAL_I) {
            codepoints_add(out, 'i');
            codepoints_add(out, COMBINING_DOT);
        } else {
            codepoints_add(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
        }
    }
}

/* ------------------------------------------------------------ normal form -- */

int codepoints_normal_form(const struct codepoints *t, bool composes, struct codepoints *out,
                           struct err *e)
{
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPAT;
    options |= composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    struct buf utf8;
    buf_init(&utf8, 4 * t->count);
    codepoints_write(t->at, t->count, &utf8);
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)utf8.data;
    utf8proc_ssize_t size = (utf8proc_ssize_t)utf8.size;
    utf8proc_ssize_t n = utf8proc_decompose(bytes, size, NULL, 0, options);
    utf8proc_int32_t *points = NULL;
    if (n > 0) {
        points = xcalloc((size_t)n + 1, sizeof *points);
        n = utf8proc_decompose(bytes, size, points, n, options);
    }
    if (n > 0)
        n = utf8proc_normalize_utf32(points, n, options);
    buf_release(&utf8);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        codepoints_add(out, (uint32_t)points[i]);
    free(points);
    return n < 0 ? err_set(e, ERR_FAILED, "normal form of a text: %s", utf8proc_errmsg(n)) : 0;
}
