/* word_split.c - see word_split.h. */
#include "text/word_split.h"

#include "base/buf.h"
#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    STEPS_MAX = 2000000,       /* of one match; GPT-2's expression needs a few */
    HEAP_MAX_KB = 64 << 10,
    REWRITTEN_MAX = 64 * WORD_PATTERN_MAX,
};

/* Oniguruma's \s: Unicode's property White_Space, to which PCRE2 adds U+180E. */
#define SPACES                                                                                     \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
    "\\x{205f}\\x{3000}"

/* Letters and digits that Unicode 15 and 16 brought, which PCRE2 before 10.45 does not know. */
#define NEW_LETTERS                                                                                \
    "\\x{1c89}\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-"     \
    "\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}\\x{11240}\\x{11380}-"          \
    "\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-" \
    "\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-"          \
    "\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}"          \
    "\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}"          \
    "\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NEW_DIGITS                                                                                 \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"         \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1e4f0}-\\x{1e4f9}"         \
    "\\x{1e5f1}-\\x{1e5fa}"

/* What is rewritten, and the characters that it stands for. */
static const struct {
    const char *name, *members;
} properties[] = {
    {"\\p{L}", "\\p{L}" NEW_LETTERS},
    {"\\p{N}", "\\p{N}" NEW_DIGITS "\\x{1d2c0}-\\x{1d2d3}"},
    {"\\p{Nd}", "\\p{Nd}" NEW_DIGITS},
    {"\\d", "\\p{Nd}" NEW_DIGITS},
    {"\\s", SPACES},
};
enum { PROPERTY_COUNT = sizeof properties / sizeof *properties };

struct word_split {
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct word_scratch {
    pcre2_match_data *data;
};

/* ------------------------------------------------------------- rewriting -- */

/* An expression being rewritten. */
struct rewriting {
    const char *at;            /* what is left of it */
    bool is_class;             /* inside [...] */
    struct buf out;
};

static int not_known(struct err *e, const char *what, size_t size)
{
    return err_set(e, ERR_USAGE, "'%.*s' in a regular expression is not known", (int)size, what);
}

/* A set of characters by its name, \p{L} or \d; \P and \D are the others.  Inside [...] those
 * cannot be written. */
static int add_set(struct rewriting *r, size_t size, struct err *e)
{
    bool is_negated = r->at[1] == 'P' || r->at[1] == 'S' || r->at[1] == 'D';
    char name[24] = "\\";
    int i = 0;

    if (size >= sizeof name)
        return not_known(e, r->at, sizeof name);
    for (size_t k = 1; k < size; k++)
        name[k] = r->at[k];
    name[1] = (char)(is_negated ? name[1] - 'A' + 'a' : name[1]);
    while (i < PROPERTY_COUNT && strcmp(properties[i].name, name) != 0)
        i++;
    if (is_negated && r->is_class)
        return not_known(e, r->at, size);
    if (i == PROPERTY_COUNT)
        buf_add(&r->out, r->at, size);
    else if (r->is_class)
        buf_add_str(&r->out, properties[i].members);
    else
        buf_printf(&r->out, "[%s%s]", is_negated ? "^" : "", properties[i].members);
    r->at += size;
    return 0;
}

static int add_escape(struct rewriting *r, struct err *e)
{
    char c = r->at[1];
    const char *close = c && r->at[2] == '{' ? strchr(r->at, '}') : NULL;

    if (c && strchr("pP", c)) {
        if (!close || r->at[3] == '^')
            return not_known(e, r->at, close ? (size_t)(close - r->at) + 1 : 2);
        return add_set(r, (size_t)(close - r->at) + 1, e);
    }
    if (c && strchr("sSdD", c))
        return add_set(r, 2, e);
    if (!c || !strchr("nrt\\.,;:!?'\"()[]{}<>|/^$+*-#&%=@~`_ ", c))
        return not_known(e, r->at, c ? 2 : 1);
    buf_add(&r->out, r->at, 2);
    r->at += 2;
    return 0;
}

/* What opens a group: no names, no captures that something could refer to. */
static int add_group(struct rewriting *r, struct err *e)
{
    static const char *const kinds[] = {"(?:", "(?!", "(?=", "(?>", "(?<!", "(?<=", "(?i:"};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t size = strlen(kinds[i]);
        if (strncmp(r->at, kinds[i], size) == 0) {
            buf_add(&r->out, r->at, size);
            r->at += size;
            return 0;
        }
    }
    if (r->at[1] == '?' || r->at[1] == '*')
        return not_known(e, r->at, 3);
    buf_add_str(&r->out, "(?:");
    r->at++;
    return 0;
}

/* A character inside [...]: Oniguruma nests sets and intersects them. */
static int add_member(struct rewriting *r, struct err *e)
{
    if (*r->at == '[' || strncmp(r->at, "&&", 2) == 0)
        return not_known(e, r->at, *r->at == '[' ? 1 : 2);
    r->is_class = *r->at != ']';
    buf_add_char(&r->out, *r->at++);
    return 0;
}

static int add_next(struct rewriting *r, struct err *e)
{
    char c = *r->at;

    if (c == '\\')
        return add_escape(r, e);
    if (r->is_class)
        return add_member(r, e);
    if (c == '(')
        return add_group(r, e);
    if (c == '^' || c == '$')
        return not_known(e, r->at, 1);
    if (c == '}' && r->at[1] == '+')     /* possessive for PCRE2, not for Oniguruma */
        return not_known(e, r->at, 2);
    if (c == '[') {
        size_t size = r->at[1] == '^' ? 2 : 1;
        if (r->at[size] == ']')
            return not_known(e, r->at, size + 1);
        r->is_class = true;
        buf_add(&r->out, r->at, size);
        r->at += size;
        return 0;
    }
    buf_add_char(&r->out, c);
    r->at++;
    return 0;
}

/* ----------------------------------------------------------------- compile -- */

static struct word_split *compile(const struct buf *pattern, struct err *e)
{
    int code;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!context || !limits)
        mem_die("no memory for a regular expression");

    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(limits, STEPS_MAX);
    pcre2_set_depth_limit(limits, STEPS_MAX);
    pcre2_set_heap_limit(limits, HEAP_MAX_KB);
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern->data, pattern->size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!compiled) {
        char text[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        err_set(e, ERR_DATA, "a regular expression is damaged: %s", text);
        pcre2_match_context_free(limits);
        return NULL;
    }
    /* Where the system allows no code to be made, PCRE2 interprets. */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    struct word_split *s = xcalloc(1, sizeof *s);
    *s = (struct word_split){compiled, limits};
    return s;
}

struct word_split *word_split_new(const char *pattern, struct err *e)
{
    struct rewriting r = {.at = pattern};
    struct word_split *s = NULL;
    int rc = 0;

    if (strlen(pattern) > WORD_PATTERN_MAX) {
        err_set(e, ERR_DATA, "a regular expression of %zu bytes, above the limit of %d",
                strlen(pattern), WORD_PATTERN_MAX);
        return NULL;
    }
    buf_init(&r.out, REWRITTEN_MAX);
    while (*r.at && rc == 0)
        rc = add_next(&r, e);
    if (rc == 0 && buf_check(&r.out, "a regular expression", e) == 0)
        s = compile(&r.out, e);
    buf_release(&r.out);
    return s;
}

void word_split_free(struct word_split *s)
{
    if (!s)
        return;
    pcre2_code_free(s->code);
    pcre2_match_context_free(s->limits);
    free(s);
}

struct word_scratch *word_scratch_new(void)
{
    struct word_scratch *s = xcalloc(1, sizeof *s);

    s->data = pcre2_match_data_create(1, NULL);
    if (!s->data)
        mem_die("no memory for a regular expression");
    return s;
}

void word_scratch_free(struct word_scratch *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->data);
    free(s);
}

/* -------------------------------------------------------------------- walk -- */

/* Look for a match from w->from on: 1 with its place, 0 when there is none. */
static int find_match(struct word_walk *w, size_t *start, size_t *end, struct err *e)
{
    const struct word_split *s = w->split;
    pcre2_match_data *data = w->scratch->data;
    int rc = pcre2_match(s->code, (PCRE2_SPTR)w->text, w->size, w->from, PCRE2_NO_UTF_CHECK, data,
                         s->limits);

    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(s->code, (PCRE2_SPTR)w->text, w->size, w->from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, s->limits);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0) {
        char text[200] = "";
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
        return err_set(e, ERR_DATA, "the tokenizer cannot split this text into words: %s", text);
    }
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(data);
    *start = place[0];
    *end = place[1];
    return 1;
}

/* As find_match, but an empty match right behind another does not count. */
static int next_match(struct word_walk *w, size_t *start, size_t *end, struct err *e)
{
    for (;;) {
        int found = w->from <= w->size ? find_match(w, start, end, e) : 0;
        if (found <= 0)
            return found;
        if (*start < *end || !w->is_behind_match || *end != w->from) {
            w->from = *end;
            w->is_behind_match = true;
            return 1;
        }
        w->is_behind_match = false;
        do
            w->from++;
        while (w->from < w->size && ((unsigned char)w->text[w->from] & 0xc0) == 0x80);
    }
}

int word_next(struct word_walk *w, struct err *e)
{
    size_t start = 0, end = 0;

    w->start = w->end;
    if (w->has_match) {
        w->has_match = false;
        w->end = w->match_end;
        return 1;
    }
    while (w->start < w->size) {
        int found = next_match(w, &start, &end, e);
        if (found < 0)
            return -1;
        if (!found)
            start = end = w->size;
        assert(start >= w->start && end >= start && end <= w->size);
        if (start > w->start) {          /* what lies in front of the match comes first */
            w->end = start;
            w->match_end = end;
            w->has_match = end > start;
            return 1;
        }
        if (end > start) {
            w->end = end;
            return 1;
        }
    }
    return 0;
}
