/* auth_profile.c - see auth_profile.h. */
#include "net/auth_profile.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PROFILE_FILE_MAX = 1 << 20 };

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Without spaces at both ends; changes `s`. */
static char *trim(char *s)
{
    while (is_space(*s))
        s++;
    size_t size = strlen(s);
    while (size > 0 && is_space(s[size - 1]))
        s[--size] = 0;
    return s;
}

static void cut_comment(char *s)
{
    for (char *c = s; *c; c++)
        if ((*c == '#' || *c == ';') && (c == s || is_space(c[-1]))) {
            *c = 0;
            return;
        }
}

/* "[profile  name]" -> "profile name": one space between words.  NULL: not closed. */
static char *section_name(char *line)
{
    char *end = strchr(line, ']');
    if (!end || *trim(end + 1))
        return NULL;
    *end = 0;
    char *name = trim(line + 1), *to = name;
    for (const char *from = name; *from; from++)
        if (!is_space(*from) || !is_space(from[1]))
            *to++ = is_space(*from) ? ' ' : *from;
    *to = 0;
    return name;
}

/* One line; `is_in`: it belongs to the section that is looked for. */
static int read_line(char *line, const char *section, bool *is_in, json_t **settings, struct err *e)
{
    bool is_nested = is_space(*line);
    cut_comment(line);
    line = trim(line);
    if (!*line || is_nested)
        return 0;
    if (*line == '[') {
        const char *name = section_name(line);
        if (!name)
            return err_set(e, ERR_LOGIN, "expected [section]");
        *is_in = !strcmp(name, section);
        if (*is_in && !*settings)
            *settings = json_object();
        return 0;
    }
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return err_set(e, ERR_LOGIN, "expected \"key = value\"");
    *equals = 0;
    if (*is_in)
        json_put_str(*settings, trim(line), trim(equals + 1));
    return 0;
}

int profile_parse(const char *name, char *text, size_t size, const char *section, json_t **settings,
                  struct err *e)
{
    bool is_in = false;
    *settings = NULL;
    bool is_text = strlen(text) == size && utf8_is_valid(text, size);
    int result = is_text ? 0 : err_set(e, ERR_LOGIN, "%s: is no text", name);
    char *line = text;
    for (int number = 1; !result && line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        result = read_line(line, section, &is_in, settings, e);
        if (result)
            err_in(e, "%s:%d", name, number);
        line = end ? end + 1 : NULL;
    }
    if (result) {
        json_decref(*settings);
        *settings = NULL;
    }
    return result;
}

int profile_read(const char *path, const char *section, json_t **settings, struct err *e)
{
    *settings = NULL;
    if (!file_exists(path))
        return 0;
    size_t size;
    char *text = file_read(path, PROFILE_FILE_MAX, &size, e);
    if (!text) {
        e->kind = ERR_LOGIN;
        return -1;
    }
    int result = profile_parse(path, text, size, section, settings, e);
    free(text);
    return result;
}
