/* xml.c - see xml.h. */
#include "net/xml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* The first place of `what` in [at, end), or NULL. */
static const char *find(const char *at, const char *end, const char *what)
{
    size_t size = strlen(what);
    for (; (size_t)(end - at) >= size; at++) {
        at = memchr(at, what[0], (size_t)(end - at));
        if (!at || (size_t)(end - at) < size)
            return NULL;
        if (memcmp(at, what, size) == 0)
            return at;
    }
    return NULL;
}

/* The end of the opening tag `<name ...>` that begins at `at`; NULL when it is another name. */
static const char *opening_end(const char *at, const char *end, size_t name_size)
{
    const char *p = at + 1 + name_size;
    if (p >= end || !strchr("> \t\r\n/", *p))
        return NULL;
    p = memchr(p, '>', (size_t)(end - p));
    return p ? p + 1 : NULL;
}

bool xml_next(struct xml_slice *in, const char *name, struct xml_slice *inside)
{
    const char *at = in->at, *end = in->at + in->size, *body;
    char *open = xasprintf("<%s", name), *close = xasprintf("</%s>", name);
    bool is_found = false;
    while ((at = find(at, end, open)) != NULL) {
        body = opening_end(at, end, strlen(name));
        if (!body) {
            at++;
            continue;
        }
        bool is_empty = body[-2] == '/';
        const char *last = is_empty ? body : find(body, end, close);
        if (last) {
            *inside = (struct xml_slice){body, (size_t)(last - body)};
            in->at = is_empty ? body : last + strlen(close);
            in->size = (size_t)(end - in->at);
            is_found = true;
        }
        break;
    }
    free(open);
    free(close);
    return is_found;
}

/* "&#233;" or "&#xe9;": its number, 0 when it is none. */
static uint32_t number(const char *s, size_t size)
{
    char digits[12];
    if (size < 2 || s[0] != '#' || size - 1 >= sizeof digits)
        return 0;
    memcpy(digits, s + 1, size - 1);
    digits[size - 1] = 0;
    bool is_hex = digits[0] == 'x';
    const char *from = digits + is_hex;
    if (!*from || from[strspn(from, is_hex ? "0123456789abcdefABCDEF" : "0123456789")])
        return 0;
    return (uint32_t)strtoul(from, NULL, is_hex ? 16 : 10);
}

/* The bytes of the entity `name` (without & and ;); 0 when it is not known. */
static int entity(const char *name, size_t size, char out[4])
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"quot", '"'}, {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"apos", '\''}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == size && memcmp(known[i].name, name, size) == 0) {
            out[0] = known[i].c;
            return 1;
        }
    uint32_t point = number(name, size);
    return point ? utf8_encode(point, out) : 0;
}

char *xml_text(struct xml_slice in, const char *name)
{
    struct xml_slice inside;
    if (!xml_next(&in, name, &inside))
        return NULL;
    char *text = xmalloc(inside.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < inside.size; i++) {
        const char *at = inside.at + i;
        const char *end = *at == '&' ? memchr(at, ';', inside.size - i) : NULL;
        char bytes[4];
        int count = end ? entity(at + 1, (size_t)(end - at) - 1, bytes) : 0;
        if (count > 0) {
            /* An entity is never shorter than what it stands for. */
            memcpy(text + size, bytes, (size_t)count);
            size += (size_t)count;
            i += (size_t)(end - at);
        } else {
            text[size++] = *at;
        }
    }
    text[size] = 0;
    return text;
}
