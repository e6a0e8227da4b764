/* tokenizer_files.c - the files in which byte-level tokenizers lay before tokenizer.json.
 *
 *     vocab.json               {"!": 0, ...}
 *     merges.txt               "#version: 0.2", then two pieces a line
 *     added_tokens.json        {"<|startoftranscript|>": 50258, ...}
 *     special_tokens_map.json  {"eos_token": "<|endoftext|>", "additional_special_tokens": [...]}
 *     tokenizer_config.json    {"add_prefix_space": false, "added_tokens_decoder": {"50257": ...}}
 *
 * The first two are needed.  "added_tokens_decoder" counts instead of the two files of tokens.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/tokenizer_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 64 << 20 };

static const char *const roles[] = {"bos_token", "eos_token",  "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { ROLE_COUNT = sizeof roles / sizeof *roles };

/* The folder's files; those that are not needed and not there are empty. */
struct files {
    json_t *vocab, *merges, *added, *special, *config;
};

static json_t *read_object(const char *dir, const char *name, bool is_needed, struct err *e)
{
    char *path = path_join(dir, name);
    json_t *o =
        is_needed || file_exists(path) ? json_read_file(path, FILE_MAX_BYTES, e) : json_object();
    if (o && !json_is_object(o)) {
        err_set(e, ERR_DATA, "%s: expected an object, found %s", name, json_kind_name(o));
        json_decref(o);
        o = NULL;
    }
    free(path);
    return o;
}

/* The lines of merges.txt. */
static json_t *read_merges(const char *dir, struct err *e)
{
    char *path = path_join(dir, "merges.txt");
    char *text = file_read(path, FILE_MAX_BYTES, NULL, e);
    json_t *list = text ? json_array() : NULL;

    for (char *line = text, *end; line && list; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        size_t size = end ? (size_t)(end - line) : strlen(line);
        size -= size > 0 && line[size - 1] == '\r';
        if (size > 0 && json_array_append_new(list, json_stringn(line, size))) {
            err_set(e, ERR_DATA, "merges.txt: not UTF-8 behind merge %zu", json_array_size(list));
            json_decref(list);
            list = NULL;
        }
    }
    free(text);
    free(path);
    return list;
}

static const char *content_of(const json_t *token)
{
    const char *content = json_string_value(token);
    return content ? content : json_string_value(json_object_get(token, "content"));
}

/* Does the tokenizer's list of special tokens have it? */
static bool is_special(const struct files *f, const char *content)
{
    const json_t *const places[] = {f->special, f->config};

    for (size_t k = 0; k < 2; k++) {
        const json_t *list = json_object_get(places[k], "additional_special_tokens");
        for (int i = 0; i < ROLE_COUNT; i++) {
            const char *found = content_of(json_object_get(places[k], roles[i]));
            if (found && strcmp(found, content) == 0)
                return true;
        }
        for (size_t i = 0; i < json_array_size(list); i++) {
            const char *found = content_of(json_array_get(list, i));
            if (found && strcmp(found, content) == 0)
                return true;
        }
    }
    return false;
}

/* ----------------------------------------------------------- added tokens -- */

/* Added tokens being collected, by id. */
struct tokens {
    json_t *by_content;                  /* what there is already */
    json_t **at;
    size_t count, room;
};

/* Add a token unless it is there; takes over the reference. */
static void add_token(struct tokens *t, json_t *token)
{
    const char *content = content_of(token);

    if (!content || !*content || json_object_get(t->by_content, content)) {
        json_decref(token);
        return;
    }
    json_object_set(t->by_content, content, token);
    if (t->count == t->room)
        t->at = mem_grow(t->at, &t->room, sizeof *t->at);
    t->at[t->count++] = token;
}

static json_t *make_token(const char *content, json_int_t id, bool is_special)
{
    json_t *token = json_object();

    json_put_int(token, "id", id);
    json_put_str(token, "content", content);
    json_put_bool(token, "special", is_special);
    return token;
}

/* Tokens that the vocabulary has and that play a role: they are found in texts, too. */
static void add_roles(struct tokens *t, const struct files *f, const json_t *tokens)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        const char *content = content_of(json_object_get(tokens, roles[i]));
        json_t *id = content ? json_object_get(f->vocab, content) : NULL;
        if (id)
            add_token(t, make_token(content, json_integer_value(id), true));
    }
    const json_t *list = json_object_get(tokens, "additional_special_tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *content = content_of(json_array_get(list, i));
        json_t *id = content ? json_object_get(f->vocab, content) : NULL;
        if (id)
            add_token(t, make_token(content, json_integer_value(id), true));
    }
}

/* {"50257": {"content": "<|endoftext|>", "special": true, ...}, ...} */
static int add_decoder(struct tokens *t, json_t *decoder, struct err *e)
{
    const char *key;
    json_t *value;

    json_object_foreach(decoder, key, value)
    {
        char *end;
        errno = 0;
        long id = strtol(key, &end, 10);
        if (errno || end == key || *end || !json_is_object(value))
            return err_set(e, ERR_DATA,
                           "tokenizer_config.json: added_tokens_decoder: '%.40s' is "
                           "no id with its token",
                           key);
        json_t *token = json_copy(value);
        json_put_int(token, "id", id);
        add_token(t, token);
    }
    return 0;
}

static int add_file(struct tokens *t, const struct files *f, struct err *e)
{
    const char *content;
    json_t *id;

    json_object_foreach(f->added, content, id)
    {
        if (!json_is_integer(id))
            return err_set(e, ERR_DATA, "added_tokens.json: the id of '%.80s' is no integer",
                           content);
        add_token(t, make_token(content, json_integer_value(id), is_special(f, content)));
    }
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "id"));
    json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "id"));
    return (x > y) - (x < y);
}

static json_t *collect_added(const struct files *f, struct err *e)
{
    struct tokens t = {.by_content = json_object()};
    json_t *decoder = json_object_get(f->config, "added_tokens_decoder");
    int rc = json_is_object(decoder) ? add_decoder(&t, decoder, e) : add_file(&t, f, e);
    json_t *list = rc ? NULL : json_array();

    if (rc == 0) {
        add_roles(&t, f, f->special);
        add_roles(&t, f, f->config);
    }
    if (t.count > 0)
        qsort(t.at, t.count, sizeof *t.at, compare_ids);
    for (size_t i = 0; i < t.count; i++) {
        if (list)
            json_array_append(list, t.at[i]);
        json_decref(t.at[i]);
    }
    free(t.at);
    json_decref(t.by_content);
    return list;
}

/* ------------------------------------------------------------------ whole -- */

/* A tokenizer.json of these parts. */
static json_t *put_together(const struct files *f, json_t *added, struct err *e)
{
    bool adds_space = json_get_bool(f->config, "add_prefix_space", false, e);
    if (e->kind) {
        err_in(e, "tokenizer_config.json");
        return NULL;
    }
    json_t *root = json_object(), *words = json_object(), *decoder = json_object();
    json_t *model = json_object();

    json_put_str(words, "type", "ByteLevel");
    json_put_bool(words, "add_prefix_space", adds_space);
    json_put_str(decoder, "type", "ByteLevel");
    json_put_str(model, "type", "BPE");
    json_put(model, "vocab", json_incref(f->vocab));
    json_put(model, "merges", json_incref(f->merges));
    json_put(root, "added_tokens", json_incref(added));
    json_put(root, "pre_tokenizer", words);
    json_put(root, "decoder", decoder);
    json_put(root, "model", model);
    return root;
}

json_t *tokenizer_files_json(const char *dir, struct err *e)
{
    struct files f = {
        .vocab = read_object(dir, "vocab.json", true, e),
        .merges = read_merges(dir, e),
        .added = read_object(dir, "added_tokens.json", false, e),
        .special = read_object(dir, "special_tokens_map.json", false, e),
        .config = read_object(dir, "tokenizer_config.json", false, e),
    };
    bool is_whole = f.vocab && f.merges && f.added && f.special && f.config;
    json_t *added = is_whole ? collect_added(&f, e) : NULL;
    json_t *root = added ? put_together(&f, added, e) : NULL;

    json_decref(added);
    json_decref(f.vocab);
    json_decref(f.merges);
    json_decref(f.added);
    json_decref(f.special);
    json_decref(f.config);
    return root;
}
