/* normalize.c - see normalize.h. */
#include "text/normalize.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/utf8.h"
#include "text/normalize_parts.h"
#include "text/unicode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [NORMALIZE_NONE] = "none",
    [NORMALIZE_BASIC] = "basic",
    [NORMALIZE_WHISPER_BASIC] = "whisper_basic",
    [NORMALIZE_WHISPER_ENGLISH] = "whisper_english",
};

enum { WORDS_BYTES_MAX = 4 << 20 };      /* of normalizer.json */

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

static int whisper(enum normalizer n, const struct normalizer_words *words, const char *text,
                   struct buf *out, struct err *e)
{
    size_t size = strlen(text);
    if (size > NORMALIZE_BYTES_MAX)
        return err_set(e, ERR_DATA, "a transcript has %zu bytes, at most %d can be normalised",
                       size, NORMALIZE_BYTES_MAX);
    struct codepoints in = {0}, done = {0};
    codepoints_add_utf8(&in, text, size);
    int rc = n == NORMALIZE_WHISPER_BASIC ? whisper_basic(&in, &done, e)
                                          : whisper_english(words, &in, &done, e);
    if (!rc)
        codepoints_write(done.at, done.count, out);
    codepoints_release(&in);
    codepoints_release(&done);
    return rc;
}

int normalize_text(enum normalizer n, const struct normalizer_words *words, const char *text,
                   struct buf *out, struct err *e)
{
    size_t size = strlen(text), pos = 0;

    if (n == NORMALIZE_WHISPER_BASIC || n == NORMALIZE_WHISPER_ENGLISH) {
        if (whisper(n, words, text, out, e))
            return -1;
    } else if (n == NORMALIZE_BASIC) {
        basic(text, size, out);
    } else {
        while (pos < size)
            put(out, utf8_next(text, size, &pos));
    }
    return buf_check(out, "the normalised text", e);
}

/* ------------------------------------------------------------------ words -- */

static int check_words(json_t *table, struct err *e)
{
    const char *from;
    json_t *to;

    if (!json_is_object(table))
        return err_set(e, ERR_DATA, "found %s, expected an object", json_kind_name(table));
    json_object_foreach(table, from, to)
    {
        if (!json_is_string(to))
            return err_set(e, ERR_DATA, "'%s': found %s, expected a string", from,
                           json_kind_name(to));
    }
    return 0;
}

int normalizer_words_open(struct normalizer_words *w, const char *dir, struct err *e)
{
    char *path = path_join(dir, "normalizer.json");
    int rc = 0;

    *w = (struct normalizer_words){0};
    if (file_exists(path)) {
        w->table = json_read_file(path, WORDS_BYTES_MAX, e);
        if (!w->table)
            rc = -1;
        else if (check_words(w->table, e))
            rc = err_in(e, "%s", path);
    }
    if (rc)
        normalizer_words_release(w);
    free(path);
    return rc;
}

void normalizer_words_release(struct normalizer_words *w)
{
    json_decref(w->table);
    *w = (struct normalizer_words){0};
}
