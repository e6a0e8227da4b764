/* err.c - see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Error texts are one line on the user's terminal: foreign control bytes become '?'. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    if (e->kind != ERR_NONE)
        return -1;
    e->kind = kind;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    make_printable(e->text);
    return -1;
}

int err_in(struct err *e, const char *fmt, ...)
{
    char front[sizeof e->text], whole[2 * sizeof e->text + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    make_printable(front);
    snprintf(whole, sizeof whole, "%s: %s", front, e->text);
    memcpy(e->text, whole, sizeof e->text);
    e->text[sizeof e->text - 1] = 0;
    return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
    if (e->hint[0])
        return -1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->hint, sizeof e->hint, fmt, ap);
    va_end(ap);
    make_printable(e->hint);
    return -1;
}

void err_line(const struct err *e, char out[ERR_LINE_SIZE])
{
    _Static_assert(sizeof e->text + sizeof e->hint < ERR_LINE_SIZE, "both fit");
    snprintf(out, ERR_LINE_SIZE, "%s%s%s%s", e->text, e->hint[0] ? " (" : "", e->hint,
             e->hint[0] ? ")" : "");
}
