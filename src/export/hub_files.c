/* hub_files.c - see hub_files.h. */
#include "export/hub_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { FILE_MAX = 256 << 20 };

static const char VOCAB[] = "vocab.json", MERGES[] = "merges.txt", ADDED[] = "added_tokens.json";

static const char *const FILES[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    ADDED,
    "chat_template.jinja",
    "chat_template.json",
    VOCAB,
    MERGES,
    "preprocessor_config.json",
    "processor_config.json",
    "normalizer.json",
    "LICENSE",
    "NOTICE",
};
enum { FILE_COUNT = sizeof FILES / sizeof *FILES };

bool hub_files_has(const char *name)
{
    for (int i = 0; i < FILE_COUNT; i++)
        if (strcmp(name, FILES[i]) == 0)
            return true;
    return false;
}

static int copy_file(const char *from, const char *to, struct err *e)
{
    size_t size = 0;
    if (!file_exists(from))
        return 0;
    char *data = file_read(from, FILE_MAX, &size, e);
    if (!data)
        return -1;
    int rc = file_write(to, data, size, e);
    free(data);
    return rc;
}

int hub_files_copy(const char *source, const char *dir, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < FILE_COUNT && rc == 0; i++) {
        char *from = path_join(source, FILES[i]), *to = path_join(dir, FILES[i]);
        rc = copy_file(from, to, e);
        free(from);
        free(to);
    }
    return rc;
}

/* ------------------------------------------------------------------- tables -- */

/* {"<|endoftext|>": 50257, ...}: added tokens that the vocabulary does not hold. */
static void put_added(const json_t *root, const json_t *vocab, struct buf *out, struct err *e)
{
    json_t *list = json_get_array(root, "added_tokens", e), *all = json_object(), *token;
    size_t i;
    json_array_foreach(list, i, token)
    {
        const char *content = json_need_str(token, "content", e);
        int64_t id = json_need_int(token, "id", e);
        if (content && !json_object_get(vocab, content))
            json_put_int(all, content, id);
    }
    json_write_pretty(all, out);
    json_decref(all);
}

/* A pair a line; tokenizer.json has them so ("a b") or as pairs. */
static void put_merges(const json_t *model, struct buf *out, struct err *e)
{
    json_t *list = json_need_array(model, "merges", e), *merge;
    size_t i;
    buf_add_str(out, "#version: 0.2\n");
    json_array_foreach(list, i, merge)
    {
        const char *a = json_string_value(json_array_get(merge, 0));
        const char *b = json_string_value(json_array_get(merge, 1));
        if (json_is_string(merge))
            buf_printf(out, "%s\n", json_string_value(merge));
        else if (a && b)
            buf_printf(out, "%s %s\n", a, b);
        else
            err_set(e, ERR_DATA, "model.merges[%zu]: found %s, expected a pair", i,
                    json_kind_name(merge));
    }
}

static int put_file(const char *dir, const char *name, const struct buf *text, struct err *e)
{
    char *path = path_join(dir, name);
    int rc = buf_check(text, path, e) ? -1 : 0;
    if (!rc && !file_exists(path))
        rc = file_write(path, text->data, text->size, e);
    free(path);
    return rc;
}

static bool is_byte_level(const json_t *root)
{
    const char *decoder =
        json_string_value(json_object_get(json_object_get(root, "decoder"), "type"));
    const char *model = json_string_value(json_object_get(json_object_get(root, "model"), "type"));
    return decoder && model && !strcmp(decoder, "ByteLevel") && !strcmp(model, "BPE");
}

static int put_tables(const json_t *root, const char *dir, struct err *e)
{
    struct buf tables[3];
    const char *const names[3] = {VOCAB, MERGES, ADDED};
    const json_t *model = json_need_object(root, "model", e);
    json_t *vocab = model ? json_need_object(model, "vocab", e) : NULL;
    int rc = 0;

    for (int i = 0; i < 3; i++)
        buf_init(&tables[i], FILE_MAX);
    if (vocab) {
        json_write_compact(vocab, &tables[0]);
        put_merges(model, &tables[1], e);
        put_added(root, vocab, &tables[2], e);
    }
    rc = e->kind ? -1 : 0;
    for (int i = 0; i < 3; i++) {
        if (!rc)
            rc = put_file(dir, names[i], &tables[i], e);
        buf_release(&tables[i]);
    }
    return rc;
}

static bool has(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    bool is = file_exists(path);
    free(path);
    return is;
}

int hub_files_tables(const char *dir, struct err *e)
{
    if (!has(dir, "tokenizer.json") || (has(dir, VOCAB) && has(dir, MERGES) && has(dir, ADDED)))
        return 0;
    char *path = path_join(dir, "tokenizer.json");
    json_t *root = json_read_file(path, FILE_MAX, e);
    int rc = root ? 0 : -1;
    if (root && is_byte_level(root) && put_tables(root, dir, e))
        rc = err_in(e, "%s", path);
    json_decref(root);
    free(path);
    return rc;
}
