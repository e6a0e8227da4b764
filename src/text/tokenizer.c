/* tokenizer.c - see tokenizer.h. */
#include "text/tokenizer.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_MAX_BYTES = 256 << 20,          /* a tokenizer.json; Gemma's is 32 MB */
    NORMALIZED_MAX = 4 * TOKENIZER_TEXT_MAX,
};

/* -------------------------------------------------------------------- ids -- */

int ids_push(struct ids *ids, int32_t id, struct err *e)
{
    if (ids->count == ids->room) {
        if (ids->count >= TOKENIZER_IDS_MAX)
            return err_set(e, ERR_DATA, "more than %d tokens", TOKENIZER_IDS_MAX);
        ids->room = ids->room ? 2 * ids->room : 64;
        ids->at = xreallocarray(ids->at, (size_t)ids->room, sizeof *ids->at);
    }
    ids->at[ids->count++] = id;
    return 0;
}

void ids_clear(struct ids *ids)
{
    ids->count = 0;
}

void ids_release(struct ids *ids)
{
    free(ids->at);
    *ids = (struct ids)IDS_INIT;
}

/* ---------------------------------------------------------- open and free -- */

static struct tokenizer *of_json(json_t *root, struct err *e)
{
    struct tokenizer *t = xcalloc(1, sizeof *t);

    if (tokenizer_read_json(t, root, e) == 0)
        return t;
    tokenizer_free(t);
    return NULL;
}

struct tokenizer *tokenizer_parse(const char *json, size_t size, const char *name, struct err *e)
{
    json_t *root = json_read_text(name, json, size, e);
    if (!root)
        return NULL;
    struct tokenizer *t = of_json(root, e);
    if (!t)
        err_in(e, "%s", name);
    json_decref(root);
    return t;
}

/* A folder of older files, without a tokenizer.json. */
static struct tokenizer *open_files(const char *dir, struct err *e)
{
    json_t *root = tokenizer_files_json(dir, e);
    struct tokenizer *t = root ? of_json(root, e) : NULL;

    json_decref(root);
    if (!t)
        err_in(e, "%s", dir);
    return t;
}

struct tokenizer *tokenizer_open(const char *dir_or_file, struct err *e)
{
    bool is_dir = file_is_dir(dir_or_file);
    char *path = is_dir ? path_join(dir_or_file, "tokenizer.json") : xstrdup(dir_or_file);
    char *older = path_join(dir_or_file, "vocab.json");
    struct tokenizer *t = NULL;

    if (is_dir && !file_exists(path) && file_exists(older)) {
        t = open_files(dir_or_file, e);
    } else {
        size_t size = 0;
        char *json = file_read(path, FILE_MAX_BYTES, &size, e);
        t = json ? tokenizer_parse(json, size, path, e) : NULL;
        free(json);
    }
    free(older);
    free(path);
    return t;
}

static void replaces_release(struct replaces *r)
{
    for (int i = 0; i < r->count; i++) {
        free(r->at[i].from);
        free(r->at[i].to);
    }
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(t->bpe);
    added_set_free(t->raw);
    added_set_free(t->normalized);
    for (size_t i = 0; i < t->added_count; i++) {
        free(t->added[i].content);
        free(t->patterns[i]);
    }
    free(t->added);
    free(t->patterns);
    free(t->added_by_id);
    free(t->is_time);
    for (int i = 0; i < t->split_count; i++)
        word_split_free(t->splits[i]);
    replaces_release(&t->normalizer);
    replaces_release(&t->decoder);
    free(t);
}

/* ------------------------------------------------------------ replacement -- */

void replaced_release(struct replaced *r)
{
    free(r->text);
    free(r->map);
    *r = (struct replaced){0};
}

/* Room for `size` more bytes. */
static int reserve(struct replaced *r, size_t size, bool has_map, struct err *e)
{
    if (r->size + size > NORMALIZED_MAX) {
        err_set(e, ERR_DATA, "the normalised text is above the limit of %d bytes", NORMALIZED_MAX);
        return -1;
    }
    if (!r->text || r->size + size > r->room) {
        r->room = 2 * (r->size + size) + 64;
        r->text = xrealloc(r->text, r->room);
        if (has_map)
            r->map = xreallocarray(r->map, r->room, sizeof *r->map);
    }
    return 0;
}

/* The first `from` in s .. end; `end` when there is none. */
static const char *find_from(const struct replace *p, const char *s, const char *end)
{
    while ((size_t)(end - s) >= p->from_size) {
        s = memchr(s, p->from[0], (size_t)(end - s));
        if (!s || (size_t)(end - s) < p->from_size)
            break;
        if (memcmp(s, p->from, p->from_size) == 0)
            return s;
        s++;
    }
    return end;
}

/* `from_map` says where the bytes of `text` came from; NULL: from themselves. */
static int replace_one(const struct replace *p, const char *text, size_t size,
                       const int32_t *from_map, bool has_map, struct replaced *out, struct err *e)
{
    size_t pos = 0;

    while (pos < size) {
        const char *hit = find_from(p, text + pos, text + size);
        size_t plain = (size_t)(hit - text) - pos;
        size_t added = hit < text + size ? p->to_size : 0;
        size_t end = (size_t)(hit - text) + (hit < text + size ? p->from_size : 0);
        if (reserve(out, plain + added, has_map, e))
            return -1;
        memcpy(out->text + out->size, text + pos, plain);
        memcpy(out->text + out->size + plain, p->to, added);
        for (size_t i = 0; has_map && i < plain + added; i++) {
            size_t at = i < plain ? pos + i : end - 1;
            out->map[out->size + i] = from_map ? from_map[at] : (int32_t)at + 1;
        }
        out->size += plain + added;
        pos = end;
    }
    return 0;
}

static int copy_as_it_is(const char *text, size_t size, bool has_map, struct replaced *out,
                         struct err *e)
{
    if (reserve(out, size, has_map, e))
        return -1;
    memcpy(out->text, text, size);
    for (size_t i = 0; has_map && i < size; i++)
        out->map[i] = (int32_t)i + 1;
    out->size = size;
    return 0;
}

int replaces_apply(const struct replaces *r, const char *text, size_t size, bool has_map,
                   struct replaced *out, struct err *e)
{
    struct replaced last = {0};

    out->size = 0;
    if (r->count == 0)
        return copy_as_it_is(text, size, has_map, out, e);
    for (int i = 0; i < r->count; i++) {
        struct replaced next = i == 0 ? *out : (struct replaced){0};
        int rc = replace_one(&r->at[i], text, size, i == 0 ? NULL : last.map, has_map, &next, e);
        if (i > 0)
            replaced_release(&last);
        last = next;
        if (rc) {
            *out = last;
            return -1;
        }
        text = last.text;
        size = last.size;
    }
    *out = last;
    return 0;
}

/* ----------------------------------------------------------------- encode -- */

/* One call of tokenizer_encode. */
struct encoding {
    const struct tokenizer *t;
    bool is_plain;
    struct ids *out, *ends;              /* ends: NULL when not wanted */
    struct replaced text;                /* scratch: the normalised text */
    struct ids part_ends;                /* scratch: ends within it */
    struct word_scratch *words;          /* scratch: for cutting it */
    char *chars;                         /* scratch: a word's bytes as characters; owned */
    size_t chars_room;
};

static int push_token(struct encoding *c, const struct added_token *token, size_t end,
                      struct err *e)
{
    if (ids_push(c->out, token->id, e))
        return -1;
    return c->ends ? ids_push(c->ends, (int32_t)end, e) : 0;
}

/* A stretch of normalised text, and where it comes from. */
struct stretch {
    const char *text;
    size_t size;
    size_t start;              /* `text` begins here in the encoding's text; ... */
    size_t prefix;             /* ... but for so many bytes in front that are not there */
    size_t base;               /* the encoding's text begins here in the whole */
};

/* Append the offsets in the whole text of ends within a stretch. */
static int push_ends(struct encoding *c, const struct stretch *s, struct err *e)
{
    for (int i = 0; i < c->part_ends.count; i++) {
        size_t end = (size_t)c->part_ends.at[i];
        size_t at = s->start + (end > s->prefix ? end - s->prefix : 0);
        size_t origin = at > 0 ? (size_t)c->text.map[at - 1] : 0;
        if (ids_push(c->ends, (int32_t)(s->base + origin), e))
            return -1;
    }
    return 0;
}

/* Offsets in the characters that stand for bytes become offsets in the bytes. */
static void count_chars(const char *chars, struct ids *ends)
{
    size_t pos = 0;
    int32_t count = 0;

    for (int i = 0; i < ends->count; i++) {
        for (; pos < (size_t)ends->at[i]; pos++)
            count += ((unsigned char)chars[pos] & 0xc0) != 0x80;
        ends->at[i] = count;
    }
}

/* Encode one word, or all of the text where there are none. */
static int encode_stretch(struct encoding *c, const struct stretch *s, struct err *e)
{
    const struct tokenizer *t = c->t;
    struct ids *part_ends = c->ends ? &c->part_ends : NULL;
    const char *text = s->text;
    size_t size = s->size;

    ids_clear(&c->part_ends);
    if (t->is_byte_level) {
        if (c->chars_room < BYTE_LEVEL_SIZE_MAX * size) {
            c->chars_room = 2 * BYTE_LEVEL_SIZE_MAX * size;
            c->chars = xrealloc(c->chars, c->chars_room);
        }
        size = byte_level_encode(&t->byte_level, text, size, c->chars);
        text = c->chars;
    }
    if (bpe_encode(t->bpe, text, size, c->out, part_ends, e))
        return -1;
    if (!c->ends)
        return 0;
    if (t->is_byte_level)
        count_chars(text, &c->part_ends);
    return push_ends(c, s, e);
}

static int encode_split(struct encoding *c, const struct stretch *s, int level, struct err *e);

/* The same with a space in front. */
static int encode_prefixed(struct encoding *c, const struct stretch *s, int level, struct err *e)
{
    struct stretch prefixed = *s;
    char *text = xmalloc(s->size + 1);

    text[0] = ' ';
    memcpy(text + 1, s->text, s->size);
    prefixed.text = text;
    prefixed.size++;
    prefixed.prefix++;
    int rc = encode_split(c, &prefixed, level, e);
    free(text);
    return rc;
}

/* Cut the text by the expressions from number `level` on. */
static int encode_split(struct encoding *c, const struct stretch *s, int level, struct err *e)
{
    if (level == c->t->prefix_at && s->size > 0 && s->text[0] != ' ')
        return encode_prefixed(c, s, level, e);
    if (level == c->t->split_count)
        return encode_stretch(c, s, e);

    struct word_walk w = {
        .split = c->t->splits[level], .scratch = c->words, .text = s->text, .size = s->size};
    int more;
    while ((more = word_next(&w, e)) > 0) {
        struct stretch word = {.text = s->text + w.start, .size = w.end - w.start, .base = s->base};
        word.start = s->start + (w.start > s->prefix ? w.start - s->prefix : 0);
        word.prefix = w.start < s->prefix ? s->prefix - w.start : 0;
        if (encode_split(c, &word, level + 1, e))
            return -1;
    }
    return more;
}

/* Encode normalised text without tokens, `start` bytes into c->text; it came from a piece that
 * begins at `base` of the whole text. */
static int encode_words(struct encoding *c, size_t start, size_t end, size_t base, struct err *e)
{
    if (end <= start)
        return 0;
    struct stretch s = {
        .text = c->text.text + start, .size = end - start, .start = start, .base = base};
    return encode_split(c, &s, 0, e);
}

/* Encode text[start .. end), in which no raw token is. */
static int encode_between(struct encoding *c, const char *text, size_t start, size_t end,
                          struct err *e)
{
    if (end <= start)
        return 0;
    if (replaces_apply(&c->t->normalizer, text + start, end - start, c->ends, &c->text, e))
        return -1;
    if (c->t->normalized_count == 0)
        return encode_words(c, 0, c->text.size, start, e);

    struct added_walk w = {
        .text = c->text.text, .size = c->text.size, .skips_special = c->is_plain};
    const struct added_token *token;
    while ((token = added_next(c->t->normalized, &w))) {
        if (encode_words(c, w.done, w.start, start, e))
            return -1;
        size_t origin = c->ends ? (size_t)c->text.map[w.end - 1] : 0;
        if (push_token(c, token, start + origin, e))
            return -1;
    }
    return encode_words(c, w.done, w.start, start, e);
}

static int encode_text(struct encoding *c, const char *text, size_t size, struct err *e)
{
    if (size > TOKENIZER_TEXT_MAX)
        return err_set(e, ERR_DATA, "the text has %zu bytes, above the limit of %d", size,
                       TOKENIZER_TEXT_MAX);
    size_t bad = utf8_bad_at(text, size);
    if (bad < size)
        return err_set(e, ERR_DATA, "the text is not UTF-8: byte 0x%02x at offset %zu",
                       (unsigned char)text[bad], bad);

    struct added_walk w = {.text = text, .size = size, .skips_special = c->is_plain};
    const struct added_token *token;
    while ((token = added_next(c->t->raw, &w)))
        if (encode_between(c, text, w.done, w.start, e) || push_token(c, token, w.end, e))
            return -1;
    return encode_between(c, text, w.done, w.start, e);
}

static int encode(struct encoding *c, const char *text, size_t size, struct err *e)
{
    int count = c->out->count, ends = c->ends ? c->ends->count : 0;
    c->words = c->t->split_count > 0 ? word_scratch_new() : NULL;
    int rc = encode_text(c, text, size, e);

    if (rc) {
        c->out->count = count;
        if (c->ends)
            c->ends->count = ends;
    }
    replaced_release(&c->text);
    ids_release(&c->part_ends);
    word_scratch_free(c->words);
    free(c->chars);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, struct ids *out,
                     struct err *e)
{
    return encode(&(struct encoding){.t = t, .out = out}, text, size, e);
}

int tokenizer_encode_ends(const struct tokenizer *t, const char *text, size_t size, struct ids *out,
                          struct ids *ends, struct err *e)
{
    return encode(&(struct encoding){.t = t, .out = out, .ends = ends}, text, size, e);
}

int tokenizer_encode_plain(const struct tokenizer *t, const char *text, size_t size,
                           struct ids *out, struct err *e)
{
    return encode(&(struct encoding){.t = t, .out = out, .is_plain = true}, text, size, e);
}

/* ----------------------------------------------------------------- decode -- */

/* The byte that a piece like "<0x0A>" stands for; -1 when it is no such piece. */
static int byte_of(const char *piece, size_t size)
{
    int value = 0;

    if (size != 6 || memcmp(piece, "<0x", 3) != 0 || piece[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = piece[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* A run of bytes is text if all of it is UTF-8, else one U+FFFD for each byte. */
static void flush_bytes(struct buf *bytes, struct buf *out)
{
    if (utf8_is_valid(bytes->data, bytes->size))
        buf_add(out, bytes->data, bytes->size);
    else
        for (size_t i = 0; i < bytes->size; i++)
            buf_add_str(out, "\xef\xbf\xbd");
    buf_clear(bytes);
}

static int decode_piece(const struct tokenizer *t, const char *piece, struct replaced *scratch,
                        struct buf *bytes, struct buf *out, struct err *e)
{
    if (replaces_apply(&t->decoder, piece, strlen(piece), false, scratch, e))
        return -1;
    int byte = t->decodes_bytes ? byte_of(scratch->text, scratch->size) : -1;
    if (byte >= 0) {
        buf_add_char(bytes, (char)byte);
        return 0;
    }
    if (t->decodes_byte_level) {
        byte_level_decode(&t->byte_level, scratch->text, scratch->size, bytes);
        return 0;
    }
    flush_bytes(bytes, out);
    buf_add(out, scratch->text ? scratch->text : "", scratch->size);
    return 0;
}

/* Does an id give nothing where control tokens are left out? */
static bool is_skipped(const struct tokenizer *t, int32_t id)
{
    return tokenizer_is_special(t, id) || t->is_time[id];
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                     struct buf *out, struct err *e)
{
    struct replaced scratch = {0};
    struct buf bytes;
    bool is_first = true;
    int rc = 0;

    buf_init(&bytes, TOKENIZER_IDS_MAX);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const char *piece = tokenizer_piece(t, ids[i]);
        if (!piece || (skip_special && is_skipped(t, ids[i])))
            continue;
        if (t->joins_with_spaces && !is_first)
            buf_add_char(out, ' ');
        is_first = false;
        rc = decode_piece(t, piece, &scratch, &bytes, out, e);
    }
    if (t->decodes_byte_level)
        byte_level_repair(bytes.data, bytes.size, out);
    else
        flush_bytes(&bytes, out);
    buf_release(&bytes);
    replaced_release(&scratch);
    return rc ? rc : buf_check(out, "the decoded text", e);
}

/* ----------------------------------------------------------------- pieces -- */

int32_t tokenizer_id(const struct tokenizer *t, const char *piece)
{
    int32_t id = bpe_find(t->bpe, piece, strlen(piece));

    for (size_t i = 0; i < t->added_count && id < 0; i++)
        if (strcmp(t->added[i].content, piece) == 0)
            id = t->added[i].id;
    return id;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    size_t size;

    if (id < 0 || id >= t->vocab_size)
        return NULL;
    if (t->added_by_id[id])
        return t->added_by_id[id]->content;
    return bpe_piece(t->bpe, id, &size);
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab_size && t->added_by_id[id] && t->added_by_id[id]->is_special;
}

int32_t tokenizer_find_special(const struct tokenizer *t, const char *text, size_t size)
{
    struct added_walk w = {.text = text, .size = size};
    const struct added_token *token;

    while ((token = added_next(t->raw, &w)))
        if (token->is_special)
            return token->id;
    if (t->normalized_count == 0)
        return -1;

    struct replaced normalized = {0};
    struct err ignored = {0};
    int32_t id = -1;
    if (replaces_apply(&t->normalizer, text, size, false, &normalized, &ignored) == 0) {
        w = (struct added_walk){.text = normalized.text, .size = normalized.size};
        while (id < 0 && (token = added_next(t->normalized, &w)))
            if (token->is_special)
                id = token->id;
    }
    replaced_release(&normalized);
    return id;
}

int tokenizer_vocab_size(const struct tokenizer *t)
{
    return t->vocab_size;
}
