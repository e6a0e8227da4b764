/* yaml.c - see yaml.h.  libyaml gives events; here they become a tree. */
#include "base/yaml.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *file;
    int depth, nodes;
    struct err *e;
};

static int fail_at(struct reader *r, yaml_mark_t at, const char *what)
{
    return err_set(r->e, ERR_USAGE, "%s:%zu:%zu: %s", r->file, at.line + 1, at.column + 1, what);
}

/* The next event, which the caller deletes. */
static int next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_READER_ERROR)
        return err_set(r->e, ERR_USAGE, "%s: byte %zu: %s", r->file, p->problem_offset, p->problem);
    yaml_mark_t at = p->problem_mark;
    return fail_at(r, at, p->problem ? p->problem : "not valid YAML");
}

static struct yaml *node_new(struct reader *r, enum yaml_kind kind, yaml_mark_t at)
{
    struct yaml *v = xcalloc(1, sizeof *v);
    v->kind = kind;
    v->file = r->file;
    v->line = (int)at.line + 1;
    v->column = (int)at.column + 1;
    return v;
}

static void node_free(struct yaml *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->count; i++) {
        if (v->keys)
            node_free(v->keys[i]);
        node_free(v->values[i]);
    }
    free(v->keys);
    free(v->values);
    free(v->text);
    free(v);
}

/* What the subset leaves out. */
static int check_event(struct reader *r, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_ALIAS_EVENT)
        return fail_at(r, event->start_mark, "aliases (*name) are not supported");
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
            return fail_at(r, event->start_mark, "a value contains a zero byte");
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor)
        return fail_at(r, event->start_mark, "anchors (&name) are not supported");
    if (tag)
        return fail_at(r, event->start_mark, "tags (!name) are not supported");
    if (++r->nodes > YAML_NODES_MAX)
        return fail_at(r, event->start_mark, "too many keys and values");
    return 0;
}

static struct yaml *read_value(struct reader *r, yaml_event_t *event);

static int check_key(struct reader *r, const struct yaml *map, const struct yaml *key)
{
    if (key->kind != YAML_SCALAR)
        return yaml_err(key, r->e, "a key must be plain text, found %s", yaml_kind_name(key));
    for (size_t i = 0; i < map->count; i++)
        if (!strcmp(map->keys[i]->text, key->text))
            return yaml_err(key, r->e, "key \"%s\" is here twice, first in line %d", key->text,
                            map->keys[i]->line);
    return 0;
}

/* The entries of a list or map up to its end event. */
static int read_entries(struct reader *r, struct yaml *v)
{
    size_t capacity = 0, key_capacity = 0;
    yaml_event_t event;
    while (!next(r, &event)) {
        bool is_end = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        if (is_end) {
            yaml_event_delete(&event);
            return 0;
        }
        struct yaml *key = NULL;
        if (v->kind == YAML_MAP) {
            key = read_value(r, &event);
            if (!key || check_key(r, v, key) || next(r, &event)) {
                node_free(key);
                return -1;
            }
        }
        struct yaml *value = read_value(r, &event);
        if (!value) {
            node_free(key);
            return -1;
        }
        if (v->count == capacity)
            v->values = mem_grow(v->values, &capacity, sizeof *v->values);
        if (key && v->count == key_capacity)
            v->keys = mem_grow(v->keys, &key_capacity, sizeof *v->keys);
        if (key)
            v->keys[v->count] = key;
        v->values[v->count++] = value;
    }
    return -1;
}

/* The value that begins with `event`, which is deleted. */
static struct yaml *read_value(struct reader *r, yaml_event_t *event)
{
    struct yaml *v = NULL;
    yaml_mark_t at = event->start_mark;
    if (check_event(r, event)) {
        yaml_event_delete(event);
        return NULL;
    }
    if (event->type == YAML_SCALAR_EVENT) {
        v = node_new(r, YAML_SCALAR, at);
        v->text = xstrndup((const char *)event->data.scalar.value, event->data.scalar.length);
        v->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    } else {
        v = node_new(r, event->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST, at);
    }
    yaml_event_delete(event);
    if (v->kind == YAML_SCALAR)
        return v;
    int rc = 0;
    if (++r->depth > YAML_DEPTH_MAX)
        rc = fail_at(r, at, "lists and maps lie too deep within each other");
    if (!rc)
        rc = read_entries(r, v);
    r->depth--;
    if (rc) {
        node_free(v);
        return NULL;
    }
    return v;
}

static struct yaml *read_document(struct reader *r)
{
    yaml_event_t event;
    struct yaml *root = NULL;
    while (!r->e->kind && !next(r, &event)) {
        yaml_event_type_t type = event.type;
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
            type == YAML_DOCUMENT_END_EVENT || type == YAML_STREAM_END_EVENT) {
            if (type == YAML_DOCUMENT_START_EVENT && root)
                fail_at(r, event.start_mark, "a second document begins here");
            yaml_event_delete(&event);
            if (type == YAML_STREAM_END_EVENT)
                break;
        } else {
            root = read_value(r, &event);
        }
    }
    if (!r->e->kind && !root)
        root = node_new(r, YAML_MAP, (yaml_mark_t){0});
    return root;
}

struct yaml *yaml_read_text(const char *name, const char *text, size_t size, struct err *e)
{
    struct reader r = {.e = e};
    if (size > YAML_SIZE_MAX) {
        err_set(e, ERR_USAGE, "%s: has %zu bytes, the limit is %zu", name, size, YAML_SIZE_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.parser))
        mem_die("libyaml could not start");
    char *file = xstrdup(name);
    r.file = file;
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    struct yaml *root = read_document(&r);
    yaml_parser_delete(&r.parser);
    if (e->kind) {
        node_free(root);
        free(file);
        return NULL;
    }
    return root;
}

struct yaml *yaml_read_file(const char *path, struct err *e)
{
    size_t size;
    char *text = file_read(path, YAML_SIZE_MAX, &size, e);
    if (!text) {
        if (e->kind == ERR_FAILED || e->kind == ERR_DATA)
            e->kind = ERR_USAGE;
        return NULL;
    }
    struct yaml *root = yaml_read_text(path, text, size, e);
    free(text);
    return root;
}

void yaml_root_free(struct yaml *root)
{
    if (root)
        free((char *)(uintptr_t)root->file);
    node_free(root);
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    for (size_t i = 0; map->kind == YAML_MAP && i < map->count; i++)
        if (!strcmp(map->keys[i]->text, key))
            return map->values[i];
    return NULL;
}

bool yaml_is_null(const struct yaml *v)
{
    return v->kind == YAML_SCALAR && !v->is_quoted &&
           (!v->text[0] || !strcmp(v->text, "~") || !strcmp(v->text, "null"));
}

const char *yaml_kind_name(const struct yaml *v)
{
    return v->kind == YAML_MAP ? "a map" : v->kind == YAML_LIST ? "a list" : "a scalar";
}

int yaml_err(const struct yaml *v, struct err *e, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(e, ERR_USAGE, "%s:%d:%d: %s", v->file, v->line, v->column, text);
}
