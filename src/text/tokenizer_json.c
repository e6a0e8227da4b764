/* tokenizer_json.c - a tokenizer.json, read strictly.
 *
 * Every part and option that could change ids is either understood or refused by its name.  Not
 * used are "truncation" and "padding" (who loads a checkpoint resets them) and "post_processor"
 * (it only adds <bos> and the like around a text).
 */
#include "base/json.h"
#include "base/mem.h"
#include "text/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADDED_MAX = 100000,
    MERGES_MAX = 16 << 20,
};

/* ---------------------------------------------------------------- helpers -- */

static int not_known(struct err *e, const char *what, const char *name)
{
    err_set(e, ERR_USAGE, "%s '%.80s' is not known", what, name);
    return err_hint(e, "attune reads Gemma's tokenizers, BPE with byte fallback, and Whisper's, "
                       "byte-level BPE");
}

/* Is `key` one of `keys`, which are separated by single spaces? */
static bool is_among(const char *key, const char *keys)
{
    size_t n = strlen(key);

    for (const char *at = keys; at; at = strchr(at, ' ')) {
        at += at != keys;
        if (strncmp(at, key, n) == 0 && (at[n] == ' ' || at[n] == 0))
            return n > 0;
    }
    return false;
}

/* `o` is an object, and all its keys are known. */
static int check_keys(json_t *o, const char *where, const char *keys, struct err *e)
{
    const char *key;
    json_t *value;

    if (!json_is_object(o))
        return err_set(e, ERR_DATA, "%s: expected an object, found %s", where, json_kind_name(o));
    json_object_foreach(o, key, value)
    {
        if (is_among(key, keys))
            continue;
        not_known(e, "option", key);
        return err_in(e, "%s", where);
    }
    return 0;
}

/* A part of the tokenizer that may be null or missing. */
static json_t *part(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static const char *type_of(json_t *o, const char *where, struct err *e)
{
    if (!json_is_object(o)) {
        err_set(e, ERR_DATA, "%s: expected an object, found %s", where, json_kind_name(o));
        return NULL;
    }
    const char *type = json_need_str(o, "type", e);
    if (!type)
        err_in(e, "%s", where);
    return type;
}

/* ----------------------------------------------- replacements, in sequence -- */

/* {"type":"Replace","pattern":{"String":" "},"content":"_"} */
static int add_replace(struct replaces *r, json_t *o, const char *where, struct err *e)
{
    if (check_keys(o, where, "type pattern content", e))
        return -1;
    json_t *pattern = json_need_object(o, "pattern", e);
    if (!pattern || check_keys(pattern, "the pattern", "String", e))
        return err_in(e, "%s", where);
    const char *from = json_need_str(pattern, "String", e);
    const char *to = json_need_str(o, "content", e);
    if (!from || !to)
        return err_in(e, "%s", where);
    if (!*from || strlen(from) > TOKENIZER_PIECE_MAX || strlen(to) > TOKENIZER_PIECE_MAX)
        return err_set(e, ERR_DATA,
                       "%s: a pattern or content of %zu and %zu bytes, expected 1 "
                       "to %d",
                       where, strlen(from), strlen(to), TOKENIZER_PIECE_MAX);
    if (r->count == REPLACES_MAX)
        return err_set(e, ERR_DATA, "%s: more than %d replacements", where, REPLACES_MAX);
    r->at[r->count++] = (struct replace){xstrdup(from), xstrdup(to), strlen(from), strlen(to)};
    return 0;
}

static int read_normalizer(struct tokenizer *t, json_t *o, struct err *e)
{
    const char *type = type_of(o, "normalizer", e);

    if (!type)
        return -1;
    if (strcmp(type, "Replace") == 0)
        return add_replace(&t->normalizer, o, "normalizer", e);
    if (strcmp(type, "Sequence") != 0)
        return not_known(e, "normalizer", type);
    if (check_keys(o, "normalizer", "type normalizers", e))
        return -1;
    json_t *list = json_need_array(o, "normalizers", e);
    if (!list)
        return err_in(e, "normalizer");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *step = json_array_get(list, i);
        const char *kind = type_of(step, "normalizer", e);
        if (!kind)
            return -1;
        if (strcmp(kind, "Replace") != 0)
            return not_known(e, "normalizer", kind);
        if (add_replace(&t->normalizer, step, "normalizer", e))
            return -1;
    }
    return 0;
}

static bool has_decoder_step(const char *kind, const char *expected, int *stage, int at)
{
    if (strcmp(kind, expected) != 0 || *stage > at)
        return false;
    *stage = at + 1;
    return true;
}

/* ByteLevel, or Replace..., ByteFallback, Fuse, in this order; each may be missing. */
static int read_decoder(struct tokenizer *t, json_t *o, struct err *e)
{
    const char *type = type_of(o, "decoder", e);
    int stage = 0;

    if (!type)
        return -1;
    bool is_sequence = strcmp(type, "Sequence") == 0;
    json_t *list = NULL;
    if (is_sequence) {
        list = json_need_array(o, "decoders", e);
        if (!list || check_keys(o, "decoder", "type decoders", e))
            return err_in(e, "decoder");
    }
    size_t count = is_sequence ? json_array_size(list) : 1;
    for (size_t i = 0; i < count; i++) {
        json_t *step = is_sequence ? json_array_get(list, i) : o;
        const char *kind = type_of(step, "decoder", e);
        if (!kind)
            return -1;
        if (strcmp(kind, "ByteLevel") == 0 && count == 1) {
            t->decodes_byte_level = true;
        } else if (strcmp(kind, "Replace") == 0 && stage == 0) {
            if (add_replace(&t->decoder, step, "decoder", e))
                return -1;
        } else if (has_decoder_step(kind, "ByteFallback", &stage, 0)) {
            t->decodes_bytes = true;
        } else if (!has_decoder_step(kind, "Fuse", &stage, 1)) {
            return not_known(e, "decoder", kind);
        }
    }
    return 0;
}

/* -------------------------------------------------------------------- words -- */

/* Gemma's pre-tokenizer splits at spaces, of which the normaliser leaves none: it does nothing.
 * One that would split something is not known. */
static int check_idle_split(const struct tokenizer *t, const char *at, bool is_inverted,
                            struct err *e)
{
    bool is_gone = false;                /* no `at` is left in normalised text */

    for (int i = 0; i < t->normalizer.count; i++) {
        const struct replace *r = &t->normalizer.at[i];
        is_gone = (is_gone || strcmp(r->from, at) == 0) && strstr(r->to, at) == NULL;
    }
    if (strlen(at) != 1 || !is_gone || is_inverted)
        return not_known(e, "a pre_tokenizer that splits the normalised text at", at);
    return 0;
}

static int add_words(struct tokenizer *t, const char *pattern, struct err *e)
{
    if (t->split_count == SPLITS_MAX)
        return err_set(e, ERR_DATA, "more than %d splits", SPLITS_MAX);
    t->splits[t->split_count] = word_split_new(pattern, e);
    return t->splits[t->split_count++] ? 0 : -1;
}

/* {"type":"Split","pattern":{"Regex":"..."},"behavior":"Isolated","invert":false} */
static int read_split(struct tokenizer *t, json_t *o, struct err *e)
{
    if (check_keys(o, "a split", "type pattern behavior invert", e))
        return -1;
    json_t *pattern = json_need_object(o, "pattern", e);
    if (!pattern || check_keys(pattern, "the pattern", "String Regex", e))
        return -1;
    const char *string = json_get_str(pattern, "String", NULL, e);
    const char *regex = json_get_str(pattern, "Regex", NULL, e);
    bool is_inverted = json_get_bool(o, "invert", false, e);
    const char *behavior = json_get_str(o, "behavior", "", e);
    if (e->kind)
        return -1;
    if (string && !regex)
        return check_idle_split(t, string, is_inverted, e);
    if (!regex)
        return err_set(e, ERR_DATA, "a split without a pattern");
    if (is_inverted || strcmp(behavior, "Isolated") != 0)
        return not_known(
            e, is_inverted ? "an inverted split with the behavior" : "a split with the behavior",
            behavior);
    return add_words(t, regex, e);
}

/* Its own expression is GPT-2's.  "trim_offsets" changes no ids. */
static int read_byte_level(struct tokenizer *t, json_t *o, struct err *e)
{
    if (check_keys(o, "ByteLevel", "type add_prefix_space trim_offsets use_regex", e))
        return -1;
    bool adds_space = json_get_bool(o, "add_prefix_space", true, e);
    bool has_words = json_get_bool(o, "use_regex", true, e);
    if (e->kind)
        return -1;
    t->is_byte_level = true;
    t->prefix_at = adds_space ? t->split_count : -1;
    return has_words ? add_words(t, WORD_SPLIT_GPT2, e) : 0;
}

/* One step of the pre-tokenizer; bytes come last. */
static int read_step(struct tokenizer *t, json_t *o, struct err *e)
{
    const char *type = type_of(o, "a step", e);

    if (!type)
        return -1;
    if (t->is_byte_level)
        return not_known(e, "a step behind ByteLevel,", type);
    if (strcmp(type, "Split") == 0)
        return read_split(t, o, e);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(t, o, e);
    return not_known(e, "a step", type);
}

static int read_pre_tokenizer(struct tokenizer *t, json_t *o, struct err *e)
{
    const char *type = type_of(o, "pre_tokenizer", e);
    int rc = type ? 0 : -1;

    if (type && strcmp(type, "Sequence") == 0) {
        json_t *list = json_need_array(o, "pretokenizers", e);
        rc = list ? check_keys(o, "the sequence", "type pretokenizers", e) : -1;
        for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
            rc = read_step(t, json_array_get(list, i), e);
    } else if (type) {
        rc = read_step(t, o, e);
    }
    if (rc == 0 && t->split_count > 0 && !t->is_byte_level)
        rc = not_known(e, "a split by a regular expression without", "ByteLevel");
    return rc ? err_in(e, "pre_tokenizer") : 0;
}

/* ------------------------------------------------------------------ model -- */

static int check_model(json_t *m, struct err *e)
{
    const char *type = json_get_str(m, "type", "BPE", e);

    if (e->kind)
        return err_in(e, "model");
    if (strcmp(type, "BPE") != 0)
        return not_known(e, "model", type);
    if (check_keys(m, "model",
                   "type dropout unk_token continuing_subword_prefix "
                   "end_of_word_suffix fuse_unk byte_fallback ignore_merges vocab merges",
                   e))
        return -1;
    const char *prefix = json_get_str(m, "continuing_subword_prefix", "", e);
    const char *suffix = json_get_str(m, "end_of_word_suffix", "", e);
    double dropout = json_get_double(m, "dropout", 0, e);
    if (e->kind)
        return err_in(e, "model");
    if (*prefix)
        return not_known(e, "model: continuing_subword_prefix", prefix);
    if (*suffix)
        return not_known(e, "model: end_of_word_suffix", suffix);
    if (dropout != 0)
        return not_known(e, "model: dropout", "above 0");
    return 0;
}

/* What bpe_new needs to know; checks each entry of the vocabulary. */
static int measure_vocab(json_t *vocab, struct bpe_options *o, struct err *e)
{
    const char *piece;
    json_t *value;

    json_object_foreach(vocab, piece, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        size_t size = strlen(piece);
        if (id < 0 || id >= TOKENIZER_VOCAB_MAX)
            return err_set(e, ERR_DATA, "the id of '%.80s' is %s%lld, expected 0 to %d", piece,
                           json_is_integer(value) ? "" : "no integer, ",
                           json_is_integer(value) ? (long long)json_integer_value(value) : 0,
                           TOKENIZER_VOCAB_MAX - 1);
        if (size > TOKENIZER_PIECE_MAX)
            return err_set(e, ERR_DATA, "the piece '%.80s' has %zu bytes, above the limit of %d",
                           piece, size, TOKENIZER_PIECE_MAX);
        o->text_size += size;
        o->piece_count++;
        if (id >= o->vocab_size)
            o->vocab_size = (int)id + 1;
    }
    return 0;
}

/* "left right" or ["left", "right"]. */
static int read_merge(struct bpe *b, json_t *v, size_t index, struct err *e)
{
    const char *left, *right;
    size_t left_size;

    if (json_is_string(v)) {
        left = json_string_value(v);
        if (strncmp(left, "#version", 8) == 0)
            return 0;
        const char *space = strchr(left, ' ');
        if (!space || strchr(space + 1, ' '))
            return err_set(e, ERR_DATA, "merge %zu is '%.80s', expected two pieces", index, left);
        left_size = (size_t)(space - left);
        right = space + 1;
    } else {
        left = json_string_value(json_array_get(v, 0));
        right = json_string_value(json_array_get(v, 1));
        if (json_array_size(v) != 2 || !left || !right)
            return err_set(e, ERR_DATA, "merge %zu is not a pair of strings", index);
        left_size = strlen(left);
    }
    return bpe_add_merge(b, left, left_size, right, strlen(right), e);
}

/* Are all characters that stand for bytes in the vocabulary?  Then no text needs the unknown piece,
 * which Whisper's files name although some do not have it. */
static bool has_all_bytes(const struct tokenizer *t)
{
    for (int i = 0; i < 256; i++)
        if (bpe_find(t->bpe, (const char *)t->byte_level.chars[i], t->byte_level.sizes[i]) < 0)
            return false;
    return t->is_byte_level;
}

static int read_model(struct tokenizer *t, json_t *m, struct err *e)
{
    if (check_model(m, e))
        return -1;
    json_t *vocab = json_need_object(m, "vocab", e);
    json_t *merges = json_need_array(m, "merges", e);
    const char *unknown = json_get_str(m, "unk_token", NULL, e);
    struct bpe_options o = {
        .merge_count = json_array_size(merges),
        .has_byte_fallback = json_get_bool(m, "byte_fallback", false, e),
        .fuses_unknown = json_get_bool(m, "fuse_unk", false, e),
        .ignores_merges = json_get_bool(m, "ignore_merges", false, e),
    };
    if (e->kind || measure_vocab(vocab, &o, e))
        return err_in(e, "model");
    if (o.merge_count > MERGES_MAX)
        return err_set(e, ERR_DATA, "model: %zu merges, above the limit of %d", o.merge_count,
                       MERGES_MAX);

    t->bpe = bpe_new(&o);
    t->vocab_size = o.vocab_size;
    const char *piece;
    json_t *value;
    json_object_foreach(vocab, piece, value) if (bpe_add_piece(t->bpe, piece, strlen(piece),
                                                               (int32_t)json_integer_value(value),
                                                               e)) return err_in(e, "model");
    for (size_t i = 0; i < o.merge_count; i++)
        if (read_merge(t->bpe, json_array_get(merges, i), i, e))
            return err_in(e, "model");
    if (unknown && has_all_bytes(t))
        unknown = NULL;
    return bpe_finish(t->bpe, unknown, e) ? err_in(e, "model") : 0;
}

/* ----------------------------------------------------------- added tokens -- */

/* A token's id is its piece's, or the next that is free; another id in the file would be ignored
 * by the `tokenizers` library, and is refused here. */
static int check_added_id(const struct tokenizer *t, const struct added_token *a, int64_t id,
                          size_t pieces, struct err *e)
{
    int64_t expected = bpe_find(t->bpe, a->content, strlen(a->content));

    if (expected < 0) {
        expected = (int64_t)pieces;
        for (size_t i = 0; i < t->added_count; i++)
            if (t->added[i].id >= expected)
                expected = t->added[i].id + (int64_t)1;
    }
    if (id != expected)
        return err_set(e, ERR_DATA, "the added token '%.80s' has the id %lld, expected %lld",
                       a->content, (long long)id, (long long)expected);
    if (id >= TOKENIZER_VOCAB_MAX)
        return err_set(e, ERR_DATA, "the id %lld of '%.80s' is above the limit of %d",
                       (long long)id, a->content, TOKENIZER_VOCAB_MAX - 1);
    return 0;
}

static int read_added(struct tokenizer *t, json_t *o, size_t pieces, struct err *e)
{
    if (check_keys(o, "an added token", "id content single_word lstrip rstrip normalized special",
                   e))
        return -1;
    struct added_token a = {
        .is_special = json_get_bool(o, "special", false, e),
        .is_single_word = json_get_bool(o, "single_word", false, e),
        .strips_left = json_get_bool(o, "lstrip", false, e),
        .strips_right = json_get_bool(o, "rstrip", false, e),
    };
    a.is_normalized = json_get_bool(o, "normalized", !a.is_special, e);
    const char *content = json_need_str(o, "content", e);
    int64_t id = json_need_int(o, "id", e);
    if (e->kind)
        return err_in(e, "an added token");
    if (!*content || strlen(content) > TOKENIZER_PIECE_MAX)
        return err_set(e, ERR_DATA, "an added token of %zu bytes, expected 1 to %d",
                       strlen(content), TOKENIZER_PIECE_MAX);
    a.content = xstrdup(content);
    if (check_added_id(t, &a, id, pieces, e)) {
        free(a.content);
        return -1;
    }
    a.id = (int32_t)id;
    t->added[t->added_count++] = a;
    if (a.id >= t->vocab_size)
        t->vocab_size = a.id + 1;
    return 0;
}

/* <|1.24|>: Whisper's timestamps are added tokens that are not special, and no text either. */
static bool is_time(const char *content)
{
    size_t whole = strncmp(content, "<|", 2) == 0 ? strspn(content + 2, "0123456789") : 0;
    if (whole == 0 || content[2 + whole] != '.')
        return false;
    const char *part = content + 3 + whole;
    size_t digits = strspn(part, "0123456789");
    return digits > 0 && strcmp(part + digits, "|>") == 0;
}

static int index_added(struct tokenizer *t, struct err *e)
{
    struct replaced normalized = {0};
    int rc = 0;

    t->raw = added_set_new();
    t->normalized = added_set_new();
    t->added_by_id = xcalloc((size_t)t->vocab_size + 1, sizeof *t->added_by_id);
    t->is_time = xcalloc((size_t)t->vocab_size + 1, sizeof *t->is_time);
    for (size_t i = 0; i < t->added_count && rc == 0; i++) {
        const struct added_token *a = &t->added[i];
        if (t->added_by_id[a->id])
            rc = err_set(e, ERR_DATA, "the added token '%.80s' is there twice", a->content);
        t->added_by_id[a->id] = a;
        t->is_time[a->id] = is_time(a->content);
        if (!a->is_normalized) {
            added_set_add(t->raw, a->content, strlen(a->content), a);
            continue;
        }
        if (rc ||
            replaces_apply(&t->normalizer, a->content, strlen(a->content), false, &normalized, e)) {
            rc = -1;
            continue;
        }
        t->patterns[i] = xmemdup(normalized.text, normalized.size);
        if (normalized.size > 0)
            added_set_add(t->normalized, t->patterns[i], normalized.size, a);
        t->normalized_count += normalized.size > 0;
    }
    replaced_release(&normalized);
    return rc;
}

static int read_all_added(struct tokenizer *t, json_t *list, size_t pieces, struct err *e)
{
    if (list && !json_is_array(list))
        return err_set(e, ERR_DATA, "added_tokens: expected an array, found %s",
                       json_kind_name(list));
    size_t count = json_array_size(list);
    if (count > ADDED_MAX)
        return err_set(e, ERR_DATA, "%zu added tokens, above the limit of %d", count, ADDED_MAX);
    t->added = xcalloc(count + 1, sizeof *t->added);
    t->patterns = xcalloc(count + 1, sizeof *t->patterns);
    for (size_t i = 0; i < count; i++)
        if (read_added(t, json_array_get(list, i), pieces, e))
            return -1;
    return index_added(t, e);
}

int tokenizer_read_json(struct tokenizer *t, json_t *root, struct err *e)
{
    int rc = check_keys(root, "the file",
                        "version truncation padding added_tokens normalizer "
                        "pre_tokenizer post_processor decoder model",
                        e);
    json_t *normalizer = part(root, "normalizer"), *pre_tokenizer = part(root, "pre_tokenizer");
    json_t *decoder = part(root, "decoder"), *model = part(root, "model");

    t->prefix_at = -1;
    byte_level_init(&t->byte_level);
    if (rc == 0 && !json_is_object(model))
        rc = err_set(e, ERR_DATA, "model: expected an object, found %s", json_kind_name(model));
    if (rc == 0 && normalizer)
        rc = read_normalizer(t, normalizer, e);
    if (rc == 0 && pre_tokenizer)
        rc = read_pre_tokenizer(t, pre_tokenizer, e);
    if (rc == 0 && decoder)
        rc = read_decoder(t, decoder, e);
    t->joins_with_spaces = !decoder;
    if (rc == 0)
        rc = read_model(t, model, e);
    if (rc == 0)
        rc = read_all_added(t, part(root, "added_tokens"),
                            json_object_size(json_object_get(model, "vocab")), e);
    return rc;
}
