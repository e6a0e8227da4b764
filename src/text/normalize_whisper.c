/* normalize_whisper.c - Whisper's two normalisers of transcripts (Radford et al. 2022, appendix C)
 * as transformers has them.
 *
 * Each step below is one regular expression of theirs, in their order: it goes through the text
 * once from left to right, and what it has consumed is not looked at again.  That is why "1,2,3"
 * becomes "12,3".
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "text/normalize_parts.h"
#include "text/unicode.h"

enum { WORD_BYTES_MAX = 4 * NORMALIZE_BYTES_MAX };

typedef void step_fn(const struct codepoints *in, struct codepoints *out);

/* Let a step make a new text of `t`. */
static void take(step_fn *step, struct codepoints *t)
{
    struct codepoints out = {0};
    step(t, &out);
    codepoints_release(t);
    *t = out;
}

static bool is_ascii_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

bool next_word(const struct codepoints *text, size_t *at, size_t *start, size_t *size)
{
    while (*at < text->count && unicode_is_strippable(text->at[*at]))
        ++*at;
    *start = *at;
    while (*at < text->count && !unicode_is_strippable(text->at[*at]))
        ++*at;
    *size = *at - *start;
    return *size > 0;
}

/* ----------------------------------------------------------- what both do -- */

/* The end of what the expression matches at `i`, behind its closing bracket; `i` when nothing. */
static size_t bracket_end(const struct codepoints *in, size_t i)
{
    uint32_t open = in->at[i];
    bool is_round = open == '(';
    size_t k = i + 1;
    if (!is_round && open != '<' && open != '[')
        return i;
    while (k < in->count && (is_round ? in->at[k] != ')' : in->at[k] != '>' && in->at[k] != ']'))
        k++;
    bool is_empty = k == i + 1;
    return k == in->count || (is_round && is_empty) ? i : k + 1;
}

/* Either [<\[][^>\]]*[>\]] or \(([^)]+?)\) : nothing in its place.  Where no closing bracket
 * follows any more, none of these can match. */
static void drop_brackets(const struct codepoints *in, bool round, struct codepoints *out)
{
    size_t last = in->count;             /* the last closing bracket and what is in front */
    while (last > 0 &&
           (round ? in->at[last - 1] != ')' : in->at[last - 1] != '>' && in->at[last - 1] != ']'))
        last--;
    for (size_t i = 0; i < in->count;) {
        bool is_round = in->at[i] == '(';
        size_t end = i < last && is_round == round ? bracket_end(in, i) : i;
        if (end == i)
            codepoints_add(out, in->at[i++]);
        i = end > i ? end : i;
    }
}

static void drop_square(const struct codepoints *in, struct codepoints *out)
{
    drop_brackets(in, false, out);
}

static void drop_round(const struct codepoints *in, struct codepoints *out)
{
    drop_brackets(in, true, out);
}

/* \s+ : one space. */
static void collapse_space(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        bool is_space = unicode_is_strippable(in->at[i]);
        if (!is_space)
            codepoints_add(out, in->at[i]);
        else if (i == 0 || !unicode_is_strippable(in->at[i - 1]))
            codepoints_add(out, ' ');
    }
}

/* ------------------------------------------------------------------ basic -- */

static void blank_symbols(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++)
        codepoints_add(out, codepoint_is_symbol(in->at[i]) ? ' ' : in->at[i]);
}

int whisper_basic(const struct codepoints *text, struct codepoints *out, struct err *e)
{
    struct codepoints t = {0}, composed = {0};
    codepoints_lower(text, &t);
    take(drop_square, &t);
    take(drop_round, &t);
    int rc = codepoints_normal_form(&t, true, &composed, e);
    take(blank_symbols, &composed);
    take(codepoints_lower, &composed);
    collapse_space(&composed, out);
    codepoints_release(&t);
    codepoints_release(&composed);
    return rc;
}

/* ---------------------------------------------------------------- English -- */

/* \b(hmm|mm|mhm|mmm|uh|um)\b : nothing. */
static void drop_fillers(const struct codepoints *in, struct codepoints *out)
{
    static const char *const fillers[] = {"hmm", "mm", "mhm", "mmm", "uh", "um"};
    for (size_t i = 0; i < in->count;) {
        size_t end = i;
        while (end < in->count && codepoint_is_word(in->at[end]))
            end++;
        bool is_filler = false;
        for (size_t k = 0; k < sizeof fillers / sizeof *fillers; k++)
            is_filler |= codepoints_are(in->at + i, end - i, fillers[k]);
        if (!is_filler)
            codepoints_add_all(out, in->at + i, end - i);
        i = end;
        if (i < in->count)
            codepoints_add(out, in->at[i++]);
    }
}

/* \s+' : an apostrophe. */
static void join_apostrophes(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count;) {
        size_t end = i;
        while (end < in->count && unicode_is_strippable(in->at[end]))
            end++;
        if (end == in->count || in->at[end] != '\'')
            codepoints_add_all(out, in->at + i, end - i);
        i = end;
        if (i < in->count)
            codepoints_add(out, in->at[i++]);
    }
}

/* Each ends where a word ends; those that begin with a letter, but "n't", begin where one does. */
static const struct replacement {
    const char *from, *to;
} replacements[] = {
    {"won't", "will not"},
    {"can't", "can not"},
    {"let's", "let us"},
    {"ain't", "aint"},
    {"y'all", "you all"},
    {"wanna", "want to"},
    {"gotta", "got to"},
    {"gonna", "going to"},
    {"i'ma", "i am going to"},
    {"imma", "i am going to"},
    {"woulda", "would have"},
    {"coulda", "could have"},
    {"shoulda", "should have"},
    {"ma'am", "madam"},
    {"mr", "mister "},
    {"mrs", "missus "},
    {"st", "saint "},
    {"dr", "doctor "},
    {"prof", "professor "},
    {"capt", "captain "},
    {"gov", "governor "},
    {"ald", "alderman "},
    {"gen", "general "},
    {"sen", "senator "},
    {"rep", "representative "},
    {"pres", "president "},
    {"rev", "reverend "},
    {"hon", "honorable "},
    {"asst", "assistant "},
    {"assoc", "associate "},
    {"lt", "lieutenant "},
    {"col", "colonel "},
    {"jr", "junior "},
    {"sr", "senior "},
    {"esq", "esquire "},
    {"'d been", " had been"},
    {"'s been", " has been"},
    {"'d gone", " had gone"},
    {"'s gone", " has gone"},
    {"'d done", " had done"},
    {"'s got", " has got"},
    {"n't", " not"},
    {"'re", " are"},
    {"'s", " is"},
    {"'d", " would"},
    {"'ll", " will"},
    {"'t", " not"},
    {"'ve", " have"},
    {"'m", " am"},
};
static void replace(const struct codepoints *in, const struct replacement *r,
                    struct codepoints *out)
{
    size_t size = strlen(r->from);
    bool is_whole = r->from[0] != '\'' && strcmp(r->from, "n't") != 0;
    for (size_t i = 0; i < in->count;) {
        bool matches = codepoints_begin(in->at + i, in->count - i, r->from) &&
                       codepoints_boundary(in->at, in->count, i + size) &&
                       (!is_whole || codepoints_boundary(in->at, in->count, i));
        if (matches)
            codepoints_add_ascii(out, r->to);
        else
            codepoints_add(out, in->at[i]);
        i += matches ? size : 1;
    }
}

static void expand_contractions(struct codepoints *t)
{
    for (size_t k = 0; k < sizeof replacements / sizeof *replacements; k++) {
        struct codepoints out = {0};
        replace(t, &replacements[k], &out);
        codepoints_release(t);
        *t = out;
    }
}

/* (\d),(\d) : the digits. */
static void drop_commas(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count;) {
        const uint32_t *c = in->at + i;
        bool matches = in->count - i >= 3 && c[1] == ',' && codepoint_is_digit(c[0]) &&
                       codepoint_is_digit(c[2]);
        codepoints_add(out, c[0]);
        if (matches)
            codepoints_add(out, c[2]);
        i += matches ? 3 : 1;
    }
}

/* \.([^0-9]|$) : a space in place of the stop. */
static void drop_stops(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        bool is_last = i + 1 == in->count;
        if (in->at[i] != '.' || (!is_last && is_ascii_digit(in->at[i + 1]))) {
            codepoints_add(out, in->at[i]);
            continue;
        }
        codepoints_add(out, ' ');
        if (!is_last)
            codepoints_add(out, in->at[++i]);
    }
}

/* Letters that NFKD does not take apart. */
static const char *plain_letters(uint32_t c)
{
    switch (c) {
    case 0x153: return "oe";
    case 0x152: return "OE";
    case 0xf8: return "o";
    case 0xd8: return "O";
    case 0xe6: return "ae";
    case 0xc6: return "AE";
    case 0xdf: return "ss";
    case 0x1e9e: return "SS";
    case 0x111: return "d";
    case 0x110: return "D";
    case 0xf0: return "d";
    case 0xd0: return "D";
    case 0xfe: return "th";
    case 0xde: return "th";
    case 0x142: return "l";
    case 0x141: return "L";
    default: return NULL;
    }
}

static bool is_currency(uint32_t c)
{
    return c == '$' || c == 0xa2 || c == 0xa3 || c == 0x20ac;
}

/* Of NFKD: no diacritics, and symbols only that belong to numbers. */
static void keep_plain(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t c = in->at[i];
        const char *plain = plain_letters(c);
        if (plain)
            codepoints_add_ascii(out, plain);
        else if (c == '.' || c == '%' || is_currency(c))
            codepoints_add(out, c);
        else if (!codepoint_is_nonspacing(c))
            codepoints_add(out, codepoint_is_symbol(c) ? ' ' : c);
    }
}

static void put_american(const json_t *table, const uint32_t *word, size_t size,
                         struct codepoints *out)
{
    struct buf key;
    buf_init(&key, WORD_BYTES_MAX);
    codepoints_write(word, size, &key);
    const char *other = json_string_value(json_object_get(table, key.data));
    if (other)
        codepoints_add_utf8(out, other, strlen(other));
    else
        codepoints_add_all(out, word, size);
    buf_release(&key);
}

/* Words, one space between them; of those in the table the American spelling. */
static void spell(const struct normalizer_words *words, const struct codepoints *in,
                  struct codepoints *out)
{
    const json_t *table = words ? words->table : NULL;
    size_t at = 0, start, size;
    for (bool is_first = true; next_word(in, &at, &start, &size); is_first = false) {
        if (!is_first)
            codepoints_add(out, ' ');
        put_american(table, in->at + start, size, out);
    }
}

/* [.$(cent)(pound)(euro)]([^0-9]) : a space in place of the symbol. */
static void drop_lone_currency(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        bool matches = (in->at[i] == '.' || is_currency(in->at[i])) && i + 1 < in->count &&
                       !is_ascii_digit(in->at[i + 1]);
        if (matches) {
            codepoints_add(out, ' ');
            i++;
        }
        codepoints_add(out, in->at[i]);
    }
}

/* ([^0-9])% : a space in place of the sign. */
static void drop_lone_percent(const struct codepoints *in, struct codepoints *out)
{
    for (size_t i = 0; i < in->count; i++) {
        codepoints_add(out, in->at[i]);
        if (i + 1 < in->count && in->at[i + 1] == '%' && !is_ascii_digit(in->at[i])) {
            codepoints_add(out, ' ');
            i++;
        }
    }
}

int whisper_english(const struct normalizer_words *words, const struct codepoints *text,
                    struct codepoints *out, struct err *e)
{
    struct codepoints t = {0}, plain = {0}, spelt = {0};
    codepoints_lower(text, &t);
    take(drop_square, &t);
    take(drop_round, &t);
    take(drop_fillers, &t);
    take(join_apostrophes, &t);
    expand_contractions(&t);
    take(drop_commas, &t);
    take(drop_stops, &t);
    int rc = codepoints_normal_form(&t, false, &plain, e);
    take(keep_plain, &plain);
    take(english_numbers, &plain);
    spell(words, &plain, &spelt);
    take(drop_lone_currency, &spelt);
    take(drop_lone_percent, &spelt);
    collapse_space(&spelt, out);
    codepoints_release(&t);
    codepoints_release(&plain);
    codepoints_release(&spelt);
    return rc;
}
