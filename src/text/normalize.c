/* normalize.c - see normalize.h. */
#include "text/normalize.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "text/unicode.h"

#include <stdbool.h>
#include <string.h>

static const char *const names[] = {[NORMALIZE_NONE] = "none", [NORMALIZE_BASIC] = "basic"};

const char *normalizer_name(enum normalizer n)
{
    return names[n];
}

static void put(struct buf *out, uint32_t c)
{
    char bytes[4];
    buf_add(out, bytes, (size_t)utf8_encode(c, bytes));
}

/* A letter, digit or combining mark: what is neither space, mark, formatting nor control. */
static bool is_content(uint32_t c)
{
    return c > 0x20 && c != 0x7f && !(c >= 0x80 && c < 0xa0) && !unicode_is_space(c) &&
           !unicode_is_mark(c) && !unicode_is_format(c);
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* Does a mark between two characters belong to the word: an apostrophe between letters, or a full
 * stop or comma between digits? */
static bool joins(uint32_t before, uint32_t c, uint32_t after)
{
    if (c == '\'')
        return is_content(before) && is_content(after);
    return (c == '.' || c == ',') && is_digit(before) && is_digit(after);
}

/* U+2019, the typographic apostrophe, is an apostrophe. */
static uint32_t plain(uint32_t c)
{
    return c == 0x2019 ? '\'' : c;
}

static void basic(const char *text, size_t size, struct buf *out)
{
    uint32_t before = ' ';               /* the character in front, formatting left out */
    bool has_gap = false;
    size_t pos = 0, start = out->size;

    while (pos < size) {
        uint32_t c = plain(utf8_next(text, size, &pos));
        if (unicode_is_format(c))
            continue;
        size_t next = pos;
        uint32_t after = ' ';
        while (next < size && unicode_is_format(after = plain(utf8_next(text, size, &next))))
            after = ' ';
        if (is_content(c) || joins(before, c, after)) {
            if (has_gap && out->size > start)
                buf_add_char(out, ' ');
            has_gap = false;
            put(out, unicode_fold(c));
        } else {
            has_gap = true;
        }
        before = c;
    }
}

int normalize_text(enum normalizer n, const char *text, struct buf *out, struct err *e)
{
    size_t size = strlen(text), pos = 0;

    if (n == NORMALIZE_BASIC)
        basic(text, size, out);
    else
        while (pos < size)
            put(out, utf8_next(text, size, &pos));
    return buf_check(out, "the normalised text", e);
}
