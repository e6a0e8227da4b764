/* unicode.c - see unicode.h. */
#include "text/unicode.h"

#include "base/utf8.h"

struct span {
    uint32_t first, last;
};

struct fold {
    uint32_t first, last;
    int32_t step, delta;
};

#include "text/unicode_tables.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ------------------------------------------------------------------ UTF-8 -- */

uint32_t utf8_next(const char *text, size_t size, size_t *pos)
{
    uint32_t c = UTF8_BAD;
    int n = utf8_decode(text + *pos, size - *pos, &c);

    *pos += n > 0 ? (size_t)n : 1;
    return c;
}

size_t utf8_bad_at(const char *text, size_t size)
{
    size_t pos = 0;
    uint32_t c;

    while (pos < size) {
        int n = (unsigned char)text[pos] < 0x80 ? 1 : utf8_decode(text + pos, size - pos, &c);
        if (n < 0)
            return pos;
        pos += (size_t)n;
    }
    return size;
}

/* ------------------------------------------------------------- properties -- */

static bool in_spans(const struct span *spans, size_t count, uint32_t c)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > spans[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && c >= spans[low].first;
}

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool unicode_is_strippable(uint32_t c)
{
    return unicode_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

bool unicode_is_word(uint32_t c)
{
    return in_spans(word_spans, COUNT(word_spans), c);
}

bool unicode_is_mark(uint32_t c)
{
    return in_spans(mark_spans, COUNT(mark_spans), c);
}

bool unicode_is_format(uint32_t c)
{
    return in_spans(format_spans, COUNT(format_spans), c);
}

uint32_t unicode_fold(uint32_t c)
{
    size_t low = 0, high = COUNT(folds);

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c > folds[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == COUNT(folds) || c < folds[low].first)
        return c;
    if ((c - folds[low].first) % (uint32_t)folds[low].step != 0)
        return c;
    return (uint32_t)((int32_t)c + folds[low].delta);
}

void utf8_trim(const char **text, size_t *size)
{
    const char *s = *text;
    size_t start = 0, end = 0, pos = 0;
    bool any = false;

    while (pos < *size) {
        size_t at = pos;
        if (unicode_is_strippable(utf8_next(s, *size, &pos)))
            continue;
        if (!any)
            start = at;
        any = true;
        end = pos;
    }
    *text = any ? s + start : s;
    *size = any ? end - start : 0;
}
