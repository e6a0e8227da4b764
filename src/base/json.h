/* json.h - JSON by jansson, with limits, places in errors, and getters that name the key.
 *
 * A value is jansson's json_t.  Getters report a wrong type into `e` and return the fallback;
 * since the first error wins, a row of getters is checked once at its end:
 *
 *     c->hidden_size = json_need_int(o, "hidden_size", e);
 *     c->layers = json_get_int(o, "num_hidden_layers", 26, e);
 *     if (e->kind)
 *         return err_in(e, "%s", path);
 *
 * A key whose value is null counts as missing.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parse a file of at most `max` bytes, or a text that is called `name` in errors.  Duplicate keys
 * and bytes behind the value are errors; so is nesting beyond 2048.  Errors read
 * "file:line:column: what".  The caller calls json_decref. */
MUST_CHECK json_t *json_read_file(const char *path, size_t max, struct err *e);
MUST_CHECK json_t *json_read_text(const char *name, const char *text, size_t size, struct err *e);

/* "an object", "a string", ... for messages. */
const char *json_kind_name(const json_t *v);

/* The value of `key`, or the fallback when it is missing.  Strings and values are borrowed.  An
 * integer may be written as a real without fraction (4.0), a double as an integer. */
int64_t json_get_int(const json_t *o, const char *key, int64_t fallback, struct err *e);
double json_get_double(const json_t *o, const char *key, double fallback, struct err *e);
bool json_get_bool(const json_t *o, const char *key, bool fallback, struct err *e);
const char *json_get_str(const json_t *o, const char *key, const char *fallback, struct err *e);
json_t *json_get_array(const json_t *o, const char *key, struct err *e);       /* or NULL */
json_t *json_get_object(const json_t *o, const char *key, struct err *e);      /* or NULL */

/* The same; a missing key is an error (and gives 0 or NULL). */
int64_t json_need_int(const json_t *o, const char *key, struct err *e);
double json_need_double(const json_t *o, const char *key, struct err *e);
const char *json_need_str(const json_t *o, const char *key, struct err *e);
json_t *json_need_array(const json_t *o, const char *key, struct err *e);
json_t *json_need_object(const json_t *o, const char *key, struct err *e);

/* Set a key.  A number that is not finite becomes null; bytes that are not UTF-8 become U+FFFD;
 * a NULL string becomes null.  json_put takes over the reference to `v`. */
void json_put_int(json_t *o, const char *key, int64_t v);
void json_put_double(json_t *o, const char *key, double v);
void json_put_bool(json_t *o, const char *key, bool v);
void json_put_str(json_t *o, const char *key, const char *v);
void json_put(json_t *o, const char *key, json_t *v);

/* The value as text, keys in the order of insertion, reals by %.9g.  Compact is one line without
 * spaces; pretty has one key a line, indented by two, and ends with a line feed. */
void json_write_compact(const json_t *v, struct buf *out);
void json_write_pretty(const json_t *v, struct buf *out);

/* `s` as a JSON string with its quotes. */
void json_write_str(const char *s, size_t size, struct buf *out);

#endif
