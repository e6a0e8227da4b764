/* reason.c - see reason.h. */
#include "net/reason.h"

#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

void reason_clean(const char *text, size_t text_size, char *out, size_t size)
{
    size_t at = 0, to = 0, whole = 0;
    while (at < text_size && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r'))
        at++;
    while (at < text_size && text[at] && text[at] != '\n' && text[at] != '\r') {
        uint32_t point = 0;
        int n = utf8_decode(text + at, text_size - at, &point);
        bool is_clean = n > 0 && point >= 0x20 && !(point >= 0x7f && point < 0xa0);
        size_t step = n > 0 ? (size_t)n : 1, need = is_clean ? step : 1;
        if (to + need + 1 > size) {
            to = whole;
            memcpy(out + to, "...", 3);
            to += 3;
            break;
        }
        if (is_clean)
            memcpy(out + to, text + at, step);
        else
            out[to] = '?';
        at += step;
        to += need;
        whole = to + 4 <= size ? to : whole;
    }
    while (to && (out[to - 1] == ' ' || out[to - 1] == '.') && !(to > 2 && out[to - 2] == '.'))
        to--;                      /* our messages have no full stop */
    out[to] = 0;
}

static const char *string_in(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void of_json(const char *body, size_t size, struct reason *out)
{
    struct err ignored = {0};
    json_t *o = json_read_text("answer", body, size, &ignored);
    if (!o)
        return;
    const json_t *error = json_object_get(o, "error");
    const char *text = string_in(error, "message");
    const char *code = string_in(json_array_get(json_object_get(error, "errors"), 0), "reason");
    if (!*text)
        text = string_in(o, "error_description");
    if (!*text)
        text = string_in(o, "error");
    if (!*text)
        text = string_in(o, "message");
    if (!*code)
        code = string_in(o, "error");
    reason_clean(text, strlen(text), out->text, sizeof out->text);
    reason_clean(code, strlen(code), out->code, sizeof out->code);
    json_decref(o);
}

/* Undo the five entities of XML, in place. */
static void undo_entities(char *s)
{
    static const struct {
        const char *name;
        char is;
    } entities[] = {
        {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}};
    char *to = s;
    while (*s) {
        size_t used = 0;
        for (size_t i = 0; i < sizeof entities / sizeof *entities && !used; i++)
            if (!strncmp(s, entities[i].name, strlen(entities[i].name))) {
                used = strlen(entities[i].name);
                *to++ = entities[i].is;
            }
        if (!used)
            *to++ = *s;
        s += used ? used : 1;
    }
    *to = 0;
}

/* The text between <NAME> and </NAME>. */
static void of_element(const char *body, const char *name, char *out, size_t size)
{
    char mark[32];
    snprintf(mark, sizeof mark, "<%s>", name);
    const char *from = strstr(body, mark);
    if (!from)
        return;
    from += strlen(mark);
    const char *end = strstr(from, "</");
    if (!end)
        return;
    reason_clean(from, (size_t)(end - from), out, size);
    undo_entities(out);
}

void reason_of(const struct http_response *r, struct reason *out)
{
    const char *body = r->body ? r->body : "";
    size_t space = strspn(body, " \t\r\n");
    *out = (struct reason){0};
    if (http_header(r, "x-error-message", out->text, sizeof out->text)) {
        char raw[sizeof out->text];      /* the Hugging Face Hub's */
        memcpy(raw, out->text, sizeof raw);
        reason_clean(raw, strlen(raw), out->text, sizeof out->text);
    } else if (body[space] == '{') {
        of_json(body, r->size, out);
    } else if (body[space] == '<') {
        of_element(body, "Message", out->text, sizeof out->text);
        of_element(body, "Code", out->code, sizeof out->code);
    } else {
        reason_clean(body, r->size, out->text, sizeof out->text);
    }
}
