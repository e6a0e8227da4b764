/* added.c - see added.h.  The patterns form a tree of bytes. */
#include "text/added.h"

#include "base/mem.h"
#include "text/unicode.h"

#include <stdlib.h>

struct node {
    const struct added_token *token;     /* a pattern ends here; or NULL */
    int32_t child, sibling;              /* nodes; 0: none */
    unsigned char byte;
};

struct added_set {
    struct node *nodes;                  /* nodes[0] is the root */
    size_t count, room;
    int32_t first[256];                  /* the root's children by byte; 0: none */
};

struct added_set *added_set_new(void)
{
    struct added_set *s = xcalloc(1, sizeof *s);

    s->nodes = mem_grow(NULL, &s->room, sizeof *s->nodes);
    s->nodes[s->count++] = (struct node){0};
    return s;
}

void added_set_free(struct added_set *s)
{
    if (!s)
        return;
    free(s->nodes);
    free(s);
}

static int32_t find_child(const struct added_set *s, int32_t node, unsigned char byte)
{
    if (node == 0)
        return s->first[byte];
    int32_t c = s->nodes[node].child;
    while (c && s->nodes[c].byte != byte)
        c = s->nodes[c].sibling;
    return c;
}

static int32_t add_child(struct added_set *s, int32_t node, unsigned char byte)
{
    if (s->count == s->room)
        s->nodes = mem_grow(s->nodes, &s->room, sizeof *s->nodes);
    int32_t c = (int32_t)s->count++;
    s->nodes[c] = (struct node){.byte = byte, .sibling = s->nodes[node].child};
    s->nodes[node].child = c;
    if (node == 0)
        s->first[byte] = c;
    return c;
}

void added_set_add(struct added_set *s, const char *pattern, size_t size,
                   const struct added_token *token)
{
    int32_t node = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)pattern[i];
        int32_t c = find_child(s, node, byte);
        node = c ? c : add_child(s, node, byte);
    }
    if (!s->nodes[node].token)
        s->nodes[node].token = token;
}

/* The longest pattern that begins at `text`; NULL when none does. */
static const struct added_token *longest(const struct added_set *s, const char *text, size_t size,
                                         size_t *length)
{
    const struct added_token *found = NULL;
    int32_t node = 0;

    for (size_t i = 0; i < size; i++) {
        node = find_child(s, node, (unsigned char)text[i]);
        if (!node)
            break;
        if (s->nodes[node].token) {
            found = s->nodes[node].token;
            *length = i + 1;
        }
    }
    return found;
}

/* The code point that ends right before `end`; end > 0. */
static uint32_t last_point(const char *text, size_t end, size_t *start)
{
    size_t at = end - 1;

    while (at > 0 && end - at < 4 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    *start = at;
    return utf8_next(text, end, &at);
}

static bool touches_word(const char *text, size_t size, size_t start, size_t end)
{
    size_t pos = end;

    if (start > 0 && unicode_is_word(last_point(text, start, &(size_t){0})))
        return true;
    return end < size && unicode_is_word(utf8_next(text, size, &pos));
}

/* Where the white space in front of `start` begins, not before `limit`. */
static size_t space_before(const char *text, size_t limit, size_t start)
{
    size_t at = start;

    while (start > limit && unicode_is_space(last_point(text, start, &at)))
        start = at;
    return start;
}

static size_t space_behind(const char *text, size_t size, size_t end)
{
    size_t pos = end;

    while (pos < size && unicode_is_space(utf8_next(text, size, &pos)))
        end = pos;
    return end;
}

const struct added_token *added_next(const struct added_set *s, struct added_walk *w)
{
    w->done = w->end;
    while (w->from < w->size) {
        size_t at = w->from, length = 0;
        const struct added_token *t = NULL;
        if (s->first[(unsigned char)w->text[at]])
            t = longest(s, w->text + at, w->size - at, &length);
        if (!t) {
            w->from++;
            continue;
        }
        w->from = at + length;
        if (w->skips_special && t->is_special)
            continue;
        if (t->is_single_word && touches_word(w->text, w->size, at, at + length))
            continue;
        w->start = at;
        if (t->strips_left)
            w->start = at > w->done ? space_before(w->text, w->done, at) : w->done;
        w->end = t->strips_right ? space_behind(w->text, w->size, at + length) : at + length;
        return t;
    }
    w->start = w->size;
    return NULL;
}
