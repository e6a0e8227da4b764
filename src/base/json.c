/* json.c - see json.h. */
#include "base/json.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- reading -- */

json_t *json_read_text(const char *name, const char *text, size_t size, struct err *e)
{
    json_error_t at;
    json_t *v = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (!v)
        err_set(e, ERR_DATA, "%s:%d:%d: %s", name, at.line, at.column, at.text);
    return v;
}

json_t *json_read_file(const char *path, size_t max, struct err *e)
{
    size_t size;
    char *text = file_read(path, max, &size, e);
    if (!text)
        return NULL;
    json_t *v = json_read_text(path, text, size, e);
    free(text);
    return v;
}

/* ---------------------------------------------------------------- getters -- */

const char *json_kind_name(const json_t *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",   [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return v ? names[json_typeof(v)] : "nothing";
}

/* The value of `key`, NULL when it is missing or null. */
static json_t *lookup(const json_t *o, const char *key, struct err *e)
{
    if (!json_is_object(o)) {
        err_set(e, ERR_DATA, "expected an object with \"%s\", found %s", key, json_kind_name(o));
        return NULL;
    }
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static void wrong(const char *key, const char *expected, const json_t *v, struct err *e)
{
    err_set(e, ERR_DATA, "\"%s\": expected %s, found %s", key, expected, json_kind_name(v));
}

static bool is_missing(const json_t *o, const char *key, struct err *e)
{
    if (lookup(o, key, e))
        return false;
    err_set(e, ERR_DATA, "\"%s\" is missing", key);
    return true;
}

int64_t json_get_int(const json_t *o, const char *key, int64_t fallback, struct err *e)
{
    const json_t *v = lookup(o, key, e);
    if (!v)
        return fallback;
    if (json_is_integer(v))
        return json_integer_value(v);
    if (json_is_real(v)) {
        double d = json_real_value(v);
        if (d == floor(d) && fabs(d) <= 9007199254740992.0)
            return (int64_t)d;
    }
    wrong(key, "an integer", v, e);
    return fallback;
}

double json_get_double(const json_t *o, const char *key, double fallback, struct err *e)
{
    const json_t *v = lookup(o, key, e);
    if (!v)
        return fallback;
    if (json_is_number(v))
        return json_number_value(v);
    wrong(key, "a number", v, e);
    return fallback;
}

bool json_get_bool(const json_t *o, const char *key, bool fallback, struct err *e)
{
    const json_t *v = lookup(o, key, e);
    if (!v)
        return fallback;
    if (json_is_boolean(v))
        return json_is_true(v);
    wrong(key, "true or false", v, e);
    return fallback;
}

const char *json_get_str(const json_t *o, const char *key, const char *fallback, struct err *e)
{
    const json_t *v = lookup(o, key, e);
    if (!v)
        return fallback;
    if (json_is_string(v))
        return json_string_value(v);
    wrong(key, "a string", v, e);
    return fallback;
}

json_t *json_get_array(const json_t *o, const char *key, struct err *e)
{
    json_t *v = lookup(o, key, e);
    if (!v || json_is_array(v))
        return v;
    wrong(key, "an array", v, e);
    return NULL;
}

json_t *json_get_object(const json_t *o, const char *key, struct err *e)
{
    json_t *v = lookup(o, key, e);
    if (!v || json_is_object(v))
        return v;
    wrong(key, "an object", v, e);
    return NULL;
}

int64_t json_need_int(const json_t *o, const char *key, struct err *e)
{
    return is_missing(o, key, e) ? 0 : json_get_int(o, key, 0, e);
}

double json_need_double(const json_t *o, const char *key, struct err *e)
{
    return is_missing(o, key, e) ? 0 : json_get_double(o, key, 0, e);
}

const char *json_need_str(const json_t *o, const char *key, struct err *e)
{
    return is_missing(o, key, e) ? NULL : json_get_str(o, key, NULL, e);
}

json_t *json_need_array(const json_t *o, const char *key, struct err *e)
{
    return is_missing(o, key, e) ? NULL : json_get_array(o, key, e);
}

json_t *json_need_object(const json_t *o, const char *key, struct err *e)
{
    return is_missing(o, key, e) ? NULL : json_get_object(o, key, e);
}

/* ---------------------------------------------------------------- setters -- */

void json_put(json_t *o, const char *key, json_t *v)
{
    if (!v || json_object_set_new(o, key, v))
        mem_die("a JSON value could not be made");
}

void json_put_int(json_t *o, const char *key, int64_t v)
{
    json_put(o, key, json_integer(v));
}

void json_put_double(json_t *o, const char *key, double v)
{
    json_put(o, key, isfinite(v) ? json_real(v) : json_null());
}

void json_put_bool(json_t *o, const char *key, bool v)
{
    json_put(o, key, json_boolean(v));
}

void json_put_str(json_t *o, const char *key, const char *v)
{
    if (!v) {
        json_put(o, key, json_null());
        return;
    }
    if (utf8_is_valid(v, strlen(v))) {
        json_put(o, key, json_string(v));
        return;
    }
    struct buf text;
    buf_init(&text, 4 * strlen(v));
    for (uint32_t point; *v;) {
        int n = utf8_decode(v, strnlen(v, 4), &point);
        buf_add(&text, n > 0 ? v : "\xef\xbf\xbd", n > 0 ? (size_t)n : 3);
        v += n > 0 ? n : 1;
    }
    json_put(o, key, json_string(text.data));
    buf_release(&text);
}

/* ---------------------------------------------------------------- writing -- */

void json_write_str(const char *s, size_t size, struct buf *out)
{
    buf_add_char(out, '"');
    size_t plain = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, s + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\t')
            buf_add_str(out, "\\t");
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_add(out, s + plain, size - plain);
    buf_add_char(out, '"');
}

/* Nine digits give every float back; the point tells that 2.0 is no integer. */
static void write_real(double v, struct buf *out)
{
    char text[40];
    snprintf(text, sizeof text, "%.9g", v);
    buf_add_str(out, text);
    if (!strpbrk(text, ".e"))
        buf_add_str(out, ".0");
}

static void new_line(int indent, struct buf *out)
{
    if (indent >= 0)
        buf_printf(out, "\n%*s", indent, "");
}

static void write_value(const json_t *v, int indent, struct buf *out);

static void write_object(const json_t *v, int indent, struct buf *out)
{
    int inner = indent < 0 ? indent : indent + 2;
    const char *comma = "";
    void *at = json_object_iter((json_t *)(uintptr_t)v);
    buf_add_char(out, '{');
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)v, at)) {
        const char *key = json_object_iter_key(at);
        buf_add_str(out, comma);
        new_line(inner, out);
        json_write_str(key, strlen(key), out);
        buf_add_str(out, indent < 0 ? ":" : ": ");
        write_value(json_object_iter_value(at), inner, out);
        comma = ",";
    }
    if (*comma)
        new_line(indent, out);
    buf_add_char(out, '}');
}

static void write_array(const json_t *v, int indent, struct buf *out)
{
    int inner = indent < 0 ? indent : indent + 2;
    size_t n = json_array_size(v);
    buf_add_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, ',');
        new_line(inner, out);
        write_value(json_array_get(v, i), inner, out);
    }
    if (n)
        new_line(indent, out);
    buf_add_char(out, ']');
}

/* `indent` is the column of the line that holds the value, -1 for all on one line. */
static void write_value(const json_t *v, int indent, struct buf *out)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: write_object(v, indent, out); break;
    case JSON_ARRAY: write_array(v, indent, out); break;
    case JSON_STRING: json_write_str(json_string_value(v), json_string_length(v), out); break;
    case JSON_INTEGER: buf_printf(out, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: write_real(json_real_value(v), out); break;
    case JSON_TRUE: buf_add_str(out, "true"); break;
    case JSON_FALSE: buf_add_str(out, "false"); break;
    case JSON_NULL: buf_add_str(out, "null"); break;
    }
}

void json_write_compact(const json_t *v, struct buf *out)
{
    write_value(v, -1, out);
}

void json_write_pretty(const json_t *v, struct buf *out)
{
    write_value(v, 0, out);
    buf_add_char(out, '\n');
}
