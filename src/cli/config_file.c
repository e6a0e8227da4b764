/* config_file.c - see config_file.h. */
#include "cli/config_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/yaml.h"

struct walk {
    config_entry_fn fn;
    void *arg;
};

static char *place_of(const struct yaml *v)
{
    return xasprintf("%s:%d:%d", v->file, v->line, v->column);
}

/* The text of a plain value; NULL with an error when it is none. */
static const char *plain(const struct yaml *v, const char *key, struct err *e)
{
    if (v->kind != YAML_SCALAR) {
        yaml_err(v, e, "%s: found %s, expected a plain value", key, yaml_kind_name(v));
        return NULL;
    }
    if (yaml_is_null(v)) {
        yaml_err(v, e, "key \"%s\" has no value", key);
        err_hint(e, "give one, or remove the key");
        return NULL;
    }
    return v->text;
}

/* A list of pairs may also be a map: {text: transcript} for [text=transcript]. */
static bool is_pairs(const struct yaml *v, const char *key)
{
    int i = option_find(key);
    return v->kind == YAML_MAP && i >= 0 && option_table[i].type == OPTION_PAIRS;
}

static int take_words(const struct yaml *v, const char *key, struct value_words *w, struct err *e)
{
    bool has_names = is_pairs(v, key);
    w->is_list = v->kind == YAML_LIST || has_names;
    size_t n = w->is_list ? v->count : 1;
    w->at = xcalloc(n + 1, sizeof *w->at);
    for (size_t i = 0; i < n; i++) {
        const char *text = plain(w->is_list ? v->values[i] : v, key, e);
        if (!text)
            return -1;
        w->at[w->count++] = has_names ? xasprintf("%s=%s", v->keys[i]->text, text) : xstrdup(text);
    }
    return 0;
}

static int walk_entry(const struct walk *w, const struct yaml *k, const struct yaml *v,
                      const char *key, struct err *e)
{
    char *place = place_of(k), *value_place = place_of(v);
    struct config_entry entry = {.key = key, .place = place, .value_place = value_place};
    int rc = take_words(v, key, &entry.words, e);
    if (!rc)
        rc = w->fn(w->arg, &entry, e);
    value_words_release(&entry.words);
    free(place);
    free(value_place);
    return rc;
}

static bool is_group(const char *key)
{
    for (int i = 0; i < option_count; i++)
        if (!strncmp(option_table[i].key, key, strlen(key)) &&
            option_table[i].key[strlen(key)] == '.')
            return true;
    return false;
}

static int walk_map(const struct walk *w, const struct yaml *map, const char *group, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < map->count && !rc; i++) {
        const struct yaml *k = map->keys[i], *v = map->values[i];
        char *key = *group ? xasprintf("%s.%s", group, k->text) : xstrdup(k->text);
        if (is_group(key) && v->kind != YAML_MAP) {
            rc = yaml_err(v, e, "key \"%s\" is a group, found %s, expected a map", key,
                          yaml_is_null(v) ? "nothing" : yaml_kind_name(v));
            err_hint(e, "write %s: {rank: 16}", key);
        } else if (is_group(key)) {
            rc = walk_map(w, v, key, e);
        } else {
            rc = walk_entry(w, k, v, key, e);
        }
        free(key);
    }
    return rc;
}

int config_file_read(const char *path, config_entry_fn fn, void *arg, struct err *e)
{
    struct yaml *root = yaml_read_file(path, e);
    if (!root)
        return -1;
    int rc;
    if (root->kind != YAML_MAP) {
        rc = yaml_err(root, e, "found %s, expected keys and values", yaml_kind_name(root));
        err_hint(e, "a config file begins like this: model: DIR");
    } else {
        rc = walk_map(&(struct walk){fn, arg}, root, "", e);
    }
    yaml_root_free(root);
    return rc;
}
