/* bpe.c - see bpe.h. */
#include "text/bpe.h"

#include "base/mem.h"
#include "text/unicode.h"

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHORT_MAX = 64,            /* symbols that are merged by scanning, without a heap */
    PAGE_SIZE = 256,           /* code points that share a page of `characters` */
    PAGE_COUNT = 0x110000 / PAGE_SIZE,
    PAIR_BITS_MIN = 12,
    PAIR_BITS_MAX = 23,
};

/* What is known of a piece: does the merge loop turn its text into the piece itself? */
enum { WHOLE_UNKNOWN, WHOLE_NO, WHOLE_YES };

struct piece_slot {
    uint32_t hash;
    int32_t id;                /* -1: empty */
};

struct merge_slot {
    int32_t left, right;       /* left -1: empty */
    int32_t rank, id;          /* the result of the merge */
};

struct bpe {
    char *text;                /* all pieces, each followed by a zero */
    size_t text_used, text_room;
    uint32_t *start;           /* [vocab_size] offset of each piece; UINT32_MAX: no such id */
    uint32_t *size;            /* [vocab_size] */
    int vocab_size;

    struct piece_slot *pieces; /* text to id: open addressing, linear probing */
    size_t piece_mask;
    struct merge_slot *merges; /* (left, right) to rank and id */
    size_t merge_mask;
    int32_t merge_count;

    int32_t *characters[PAGE_COUNT];     /* code point to id; NULL: none on this page */
    int32_t bytes[256];        /* ids of <0x00> to <0xFF>; -1: absent */
    bool has_all_bytes, has_byte_fallback, fuses_unknown, ignores_merges;
    int32_t unknown;           /* -1: characters that are not known vanish */

    bool is_cuttable;          /* merges only join what stands in the text */
    uint64_t *pairs;           /* a bit for each hash of two characters inside a merged piece */
    int pair_bits;             /* 2^pair_bits bits */
    atomic_uchar *whole;       /* [vocab_size] WHOLE_...; filled as texts are encoded */
};

/* A run of symbols that becomes one run of ids. */
struct symbols {
    int32_t *ids;
    int32_t *sizes;            /* bytes of the text */
    int count;
};

static const uint64_t MIX = 0x9e3779b97f4a7c15u;

/* ----------------------------------------------------------------- tables -- */

static uint32_t hash_text(const char *s, size_t n)
{
    uint64_t h = n * MIX, word;

    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = (h ^ word) * MIX;
        h ^= h >> 29;
    }
    word = 0;
    memcpy(&word, s, n);
    h = (h ^ word) * MIX;
    h ^= h >> 32;
    return (uint32_t)(h * MIX >> 32);
}

static size_t hash_pair(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * MIX;
    return (size_t)(h >> 32 ^ h >> 20);
}

/* The smallest power of two that leaves a table of `count` items at most two thirds full. */
static size_t table_size(size_t count)
{
    size_t size = 16;

    while (size < count + count / 2)
        size *= 2;
    return size;
}

struct bpe *bpe_new(const struct bpe_options *o)
{
    assert(o->vocab_size >= 0 && o->text_size < UINT32_MAX / 2 && o->merge_count < INT32_MAX);
    struct bpe *b = xcalloc(1, sizeof *b);
    size_t ids = (size_t)o->vocab_size;

    b->text_room = o->text_size + o->piece_count + 1;
    b->text = xmalloc(b->text_room);
    b->start = xreallocarray(NULL, ids + 1, sizeof *b->start);
    b->size = xcalloc(ids + 1, sizeof *b->size);
    b->whole = xcalloc(ids + 1, sizeof *b->whole);
    for (size_t i = 0; i < ids; i++)
        b->start[i] = UINT32_MAX;
    b->vocab_size = o->vocab_size;

    b->piece_mask = table_size(o->piece_count) - 1;
    b->pieces = xreallocarray(NULL, b->piece_mask + 1, sizeof *b->pieces);
    for (size_t i = 0; i <= b->piece_mask; i++)
        b->pieces[i] = (struct piece_slot){0, -1};
    b->merge_mask = table_size(o->merge_count) - 1;
    b->merges = xreallocarray(NULL, b->merge_mask + 1, sizeof *b->merges);
    for (size_t i = 0; i <= b->merge_mask; i++)
        b->merges[i] = (struct merge_slot){-1, -1, 0, 0};

    b->has_byte_fallback = o->has_byte_fallback;
    b->fuses_unknown = o->fuses_unknown;
    b->ignores_merges = o->ignores_merges;
    b->unknown = -1;
    return b;
}

void bpe_free(struct bpe *b)
{
    if (!b)
        return;
    for (int i = 0; i < PAGE_COUNT; i++)
        free(b->characters[i]);
    free(b->text);
    free(b->start);
    free(b->size);
    free(b->whole);
    free(b->pieces);
    free(b->merges);
    free(b->pairs);
    free(b);
}

/* The slot of a piece, or the empty slot where it would go. */
static struct piece_slot *piece_slot(const struct bpe *b, const char *text, size_t size,
                                     uint32_t hash)
{
    for (size_t i = hash & b->piece_mask;; i = (i + 1) & b->piece_mask) {
        struct piece_slot *s = &b->pieces[i];
        if (s->id < 0)
            return s;
        if (s->hash == hash && b->size[s->id] == size &&
            memcmp(b->text + b->start[s->id], text, size) == 0)
            return s;
    }
}

int32_t bpe_find(const struct bpe *b, const char *text, size_t size)
{
    return piece_slot(b, text, size, hash_text(text, size))->id;
}

const char *bpe_piece(const struct bpe *b, int32_t id, size_t *size)
{
    if (id < 0 || id >= b->vocab_size || b->start[id] == UINT32_MAX)
        return NULL;
    *size = b->size[id];
    return b->text + b->start[id];
}

int bpe_add_piece(struct bpe *b, const char *text, size_t size, int32_t id, struct err *e)
{
    assert(id >= 0 && id < b->vocab_size && b->text_used + size + 1 <= b->text_room);
    uint32_t hash = hash_text(text, size);
    struct piece_slot *slot = piece_slot(b, text, size, hash);

    if (slot->id >= 0)
        return err_set(e, ERR_DATA, "the piece '%.80s' is there twice, as %d and as %d", text,
                       slot->id, id);
    if (b->start[id] != UINT32_MAX)
        return err_set(e, ERR_DATA, "id %d belongs to two pieces, '%.80s' and '%.80s'", id,
                       b->text + b->start[id], text);
    b->start[id] = (uint32_t)b->text_used;
    b->size[id] = (uint32_t)size;
    memcpy(b->text + b->text_used, text, size);
    b->text[b->text_used + size] = 0;
    b->text_used += size + 1;
    *slot = (struct piece_slot){hash, id};
    return 0;
}

static struct merge_slot *merge_slot(const struct bpe *b, int32_t left, int32_t right)
{
    for (size_t i = hash_pair(left, right) & b->merge_mask;; i = (i + 1) & b->merge_mask) {
        struct merge_slot *m = &b->merges[i];
        if (m->left < 0 || (m->left == left && m->right == right))
            return m;
    }
}

/* The merge of two ids, NULL when there is none. */
static const struct merge_slot *find_merge(const struct bpe *b, int32_t left, int32_t right)
{
    const struct merge_slot *m = merge_slot(b, left, right);
    return m->left < 0 ? NULL : m;
}

int bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                  size_t right_size, struct err *e)
{
    char both[2 * TOKENIZER_PIECE_MAX];

    if (left_size > TOKENIZER_PIECE_MAX || right_size > TOKENIZER_PIECE_MAX)
        return err_set(e, ERR_DATA, "merge %d has a part of %zu bytes, above the limit of %d",
                       b->merge_count, left_size > right_size ? left_size : right_size,
                       TOKENIZER_PIECE_MAX);
    memcpy(both, left, left_size);
    memcpy(both + left_size, right, right_size);

    int32_t l = bpe_find(b, left, left_size), r = bpe_find(b, right, right_size);
    int32_t id = bpe_find(b, both, left_size + right_size);
    if (l < 0 || r < 0 || id < 0) {
        const char *missing = l < 0 ? left : r < 0 ? right : both;
        size_t size = l < 0 ? left_size : r < 0 ? right_size : left_size + right_size;
        return err_set(e, ERR_DATA, "merge %d needs the piece '%.*s', which the vocabulary lacks",
                       b->merge_count, size < 80 ? (int)size : 80, missing);
    }
    struct merge_slot *m = merge_slot(b, l, r);
    *m = (struct merge_slot){l, r, b->merge_count++, id};
    return 0;
}

/* ----------------------------------------------------------------- finish -- */

/* The next code point of text that is known to be UTF-8. */
static inline uint32_t next_valid(const char *text, size_t *pos)
{
    const unsigned char *s = (const unsigned char *)text + *pos;

    if (s[0] < 0x80) {
        *pos += 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *pos += 2;
        return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    }
    if (s[0] < 0xf0) {
        *pos += 3;
        return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    }
    *pos += 4;
    return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

static inline int32_t character_id(const struct bpe *b, uint32_t c)
{
    const int32_t *page = b->characters[c / PAGE_SIZE];
    return page ? page[c % PAGE_SIZE] : -1;
}

static inline uint64_t pair_bit(const struct bpe *b, uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 21 | right) * MIX >> (64 - b->pair_bits);
}

static void find_characters(struct bpe *b)
{
    for (int32_t id = 0; id < b->vocab_size; id++) {
        size_t size = 0, pos = 0;
        const char *text = bpe_piece(b, id, &size);
        if (!text || size == 0 || size > 4)
            continue;
        uint32_t c = next_valid(text, &pos);
        if (pos != size)
            continue;
        int32_t **page = &b->characters[c / PAGE_SIZE];
        if (!*page) {
            *page = xreallocarray(NULL, PAGE_SIZE, sizeof **page);
            for (int i = 0; i < PAGE_SIZE; i++)
                (*page)[i] = -1;
        }
        (*page)[c % PAGE_SIZE] = id;
    }
}

static void find_bytes(struct bpe *b)
{
    b->has_all_bytes = b->has_byte_fallback;
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        b->bytes[i] = b->has_byte_fallback ? bpe_find(b, name, 6) : -1;
        b->has_all_bytes = b->has_all_bytes && b->bytes[i] >= 0;
    }
}

/* Merges of byte pieces or of the unknown piece join what is not written in the text so. */
static bool merges_follow_text(const struct bpe *b)
{
    bool *is_other = xcalloc((size_t)b->vocab_size + 1, sizeof *is_other);
    bool follow = true;

    if (b->unknown >= 0)
        is_other[b->unknown] = true;
    for (int i = 0; i < 256; i++)
        if (b->bytes[i] >= 0)
            is_other[b->bytes[i]] = true;
    for (size_t i = 0; i <= b->merge_mask && follow; i++) {
        const struct merge_slot *m = &b->merges[i];
        follow = m->left < 0 || !(is_other[m->left] || is_other[m->right]);
    }
    free(is_other);
    return follow;
}

/* Note every two characters that stand side by side in a piece that a merge makes. */
static void find_pairs(struct bpe *b)
{
    b->pair_bits = PAIR_BITS_MIN;
    while (b->pair_bits < PAIR_BITS_MAX && (size_t)1 << b->pair_bits < 16 * b->text_used)
        b->pair_bits++;
    b->pairs = xcalloc((size_t)1 << (b->pair_bits - 6), sizeof *b->pairs);

    for (size_t i = 0; i <= b->merge_mask; i++) {
        if (b->merges[i].left < 0)
            continue;
        size_t size = 0, pos = 0;
        const char *text = bpe_piece(b, b->merges[i].id, &size);
        uint32_t last = 0;
        for (int n = 0; pos < size; n++) {
            uint32_t c = next_valid(text, &pos);
            if (n > 0) {
                uint64_t bit = pair_bit(b, last, c);
                b->pairs[bit / 64] |= (uint64_t)1 << bit % 64;
            }
            last = c;
        }
    }
}

int bpe_finish(struct bpe *b, const char *unknown, struct err *e)
{
    if (unknown) {
        b->unknown = bpe_find(b, unknown, strlen(unknown));
        if (b->unknown < 0)
            return err_set(e, ERR_DATA, "the unknown piece '%.80s' is not in the vocabulary",
                           unknown);
    }
    find_characters(b);
    find_bytes(b);
    b->is_cuttable = merges_follow_text(b);
    find_pairs(b);
    return 0;
}

/* ------------------------------------------------------------- merge loop -- */

/* Merge by looking at all pairs each time: the fastest way for a word. */
static void merge_short(const struct bpe *b, struct symbols *s)
{
    int32_t rank[SHORT_MAX], id[SHORT_MAX];
    int n = s->count;

    assert(n <= SHORT_MAX);
    for (int i = 0; i + 1 < n; i++) {
        const struct merge_slot *m = find_merge(b, s->ids[i], s->ids[i + 1]);
        rank[i] = m ? m->rank : INT32_MAX;
        id[i] = m ? m->id : -1;
    }
    while (n > 1) {
        int best = 0;
        for (int i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == INT32_MAX)
            break;
        s->ids[best] = id[best];
        s->sizes[best] += s->sizes[best + 1];
        size_t rest = (size_t)(n - best - 2);
        memmove(&s->ids[best + 1], &s->ids[best + 2], rest * sizeof *s->ids);
        memmove(&s->sizes[best + 1], &s->sizes[best + 2], rest * sizeof *s->sizes);
        if (rest > 0) {
            memmove(&rank[best + 1], &rank[best + 2], (rest - 1) * sizeof *rank);
            memmove(&id[best + 1], &id[best + 2], (rest - 1) * sizeof *id);
        }
        n--;
        for (int i = best > 0 ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct merge_slot *m = find_merge(b, s->ids[i], s->ids[i + 1]);
            rank[i] = m ? m->rank : INT32_MAX;
            id[i] = m ? m->id : -1;
        }
    }
    s->count = n;
}

/* A merge that may be made: the lowest rank first, the leftmost of equals. */
struct candidate {
    uint64_t key;              /* rank, position */
    int32_t id;
};

struct heap {
    struct candidate *at;
    size_t count, room;
};

static void heap_push(struct heap *h, struct candidate c)
{
    if (h->count == h->room)
        h->at = mem_grow(h->at, &h->room, sizeof *h->at);
    size_t i = h->count++;
    while (i > 0 && h->at[(i - 1) / 2].key > c.key) {
        h->at[i] = h->at[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->at[i] = c;
}

static struct candidate heap_pop(struct heap *h)
{
    struct candidate top = h->at[0], last = h->at[--h->count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->at[child + 1].key < h->at[child].key)
            child++;
        if (h->at[child].key >= last.key)
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = last;
    return top;
}

static void consider(const struct bpe *b, struct heap *h, const struct symbols *s, int i, int next)
{
    const struct merge_slot *m = find_merge(b, s->ids[i], s->ids[next]);
    if (m)
        heap_push(h, (struct candidate){(uint64_t)m->rank << 32 | (uint32_t)i, m->id});
}

/* Merge by a heap over a linked list: n log n for runs of any length.  A merged symbol stays at
 * the place of its left part; the right part gets size 0. */
static void merge_long(const struct bpe *b, struct symbols *s)
{
    int n = s->count;
    int32_t *prev = xreallocarray(NULL, (size_t)n, sizeof *prev);
    int32_t *next = xreallocarray(NULL, (size_t)n, sizeof *next);
    struct heap h = {0};

    for (int i = 0; i < n; i++) {
        prev[i] = i - 1;
        next[i] = i + 1;
        if (i + 1 < n)
            consider(b, &h, s, i, i + 1);
    }
    while (h.count > 0) {
        struct candidate c = heap_pop(&h);
        int i = (int)(uint32_t)c.key;
        int right = next[i];
        if (s->sizes[i] == 0 || right == n)
            continue;
        const struct merge_slot *m = find_merge(b, s->ids[i], s->ids[right]);
        if (!m || m->id != c.id)
            continue;                    /* one of the two has been merged since */
        s->ids[i] = c.id;
        s->sizes[i] += s->sizes[right];
        s->sizes[right] = 0;
        next[i] = next[right];
        if (next[i] < n)
            prev[next[i]] = i;
        if (prev[i] >= 0)
            consider(b, &h, s, prev[i], i);
        if (next[i] < n)
            consider(b, &h, s, i, next[i]);
    }
    int kept = 0;
    for (int i = 0; i < n; i = next[i], kept++) {
        s->ids[kept] = s->ids[i];
        s->sizes[kept] = s->sizes[i];
    }
    s->count = kept;
    free(h.at);
    free(prev);
    free(next);
}

/* ----------------------------------------------------------------- encode -- */

static void add_symbol(struct symbols *s, int32_t id, size_t size)
{
    s->ids[s->count] = id;
    s->sizes[s->count++] = (int32_t)size;
}

/* All bytes of a character as byte pieces; false, and nothing added, when one is absent. */
static bool add_bytes(const struct bpe *b, struct symbols *s, const char *text, size_t size)
{
    if (!b->has_byte_fallback)
        return false;
    for (size_t i = 0; i < size; i++)
        if (b->bytes[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < size; i++)
        add_symbol(s, b->bytes[(unsigned char)text[i]], 1);
    return true;
}

/* The symbols that a text starts as.  An unknown piece waits until a known character follows, so
 * that others can join it; bytes of byte fallback pass it, as in the `tokenizers` library. */
static void start_symbols(const struct bpe *b, const char *text, size_t size, struct symbols *s)
{
    size_t unknown = 0, pos = 0;

    while (pos < size) {
        size_t at = pos;
        int32_t id = character_id(b, next_valid(text, &pos));
        if (id >= 0) {
            if (unknown > 0)
                add_symbol(s, b->unknown, unknown);
            unknown = 0;
            add_symbol(s, id, pos - at);
        } else if (!add_bytes(b, s, text + at, pos - at) && b->unknown >= 0) {
            if (unknown > 0 && !b->fuses_unknown) {
                add_symbol(s, b->unknown, unknown);
                unknown = 0;
            }
            unknown += pos - at;
        }
    }
    if (unknown > 0)
        add_symbol(s, b->unknown, unknown);
}

static int push_id(int32_t id, size_t end, struct ids *out, struct ids *ends, struct err *e)
{
    if (ids_push(out, id, e))
        return -1;
    return ends ? ids_push(ends, (int32_t)end, e) : 0;
}

/* Encode text[start .. end), a run that no merge leaves. */
static int encode_run(const struct bpe *b, const char *text, size_t start, size_t end,
                      struct ids *out, struct ids *ends, struct err *e)
{
    size_t size = end - start;
    int32_t piece = bpe_find(b, text + start, size);
    unsigned char whole = WHOLE_NO;
    if (piece >= 0) {
        whole = atomic_load_explicit(&b->whole[piece], memory_order_relaxed);
        if (whole == WHOLE_YES)
            return push_id(piece, end, out, ends, e);
    }

    int32_t near[2][SHORT_MAX];
    int32_t *far = size > SHORT_MAX ? xreallocarray(NULL, 2 * size, sizeof *far) : NULL;
    struct symbols s = {far ? far : near[0], far ? far + size : near[1], 0};
    start_symbols(b, text + start, size, &s);
    if (s.count <= SHORT_MAX)
        merge_short(b, &s);
    else
        merge_long(b, &s);

    int rc = 0;
    for (int i = 0; i < s.count && rc == 0; i++) {
        start += (size_t)s.sizes[i];
        rc = push_id(s.ids[i], start, out, ends, e);
    }
    if (piece >= 0 && whole == WHOLE_UNKNOWN) {
        whole = s.count == 1 && s.ids[0] == piece ? WHOLE_YES : WHOLE_NO;
        atomic_store_explicit(&b->whole[piece], whole, memory_order_relaxed);
    }
    free(far);
    return rc;
}

/* Can no merge join `left`, the end of one run, to `right`?  Where characters may be unknown, only
 * between two that are known, so that unknown ones meet those that they would fuse with. */
static inline bool is_cut(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t bit = pair_bit(b, left, right);

    if (b->pairs[bit / 64] >> bit % 64 & 1)
        return false;
    return b->has_all_bytes || (character_id(b, left) >= 0 && character_id(b, right) >= 0);
}

int bpe_encode(const struct bpe *b, const char *text, size_t size, struct ids *out,
               struct ids *ends, struct err *e)
{
    if (size == 0)
        return 0;
    if (b->ignores_merges) {
        int32_t id = bpe_find(b, text, size);
        if (id >= 0)
            return push_id(id, size, out, ends, e);
    }
    if (!b->is_cuttable)
        return encode_run(b, text, 0, size, out, ends, e);

    size_t start = 0, pos = 0;
    uint32_t left = next_valid(text, &pos);
    while (pos < size) {
        size_t at = pos;
        uint32_t right = next_valid(text, &pos);
        if (is_cut(b, left, right)) {
            if (encode_run(b, text, start, at, out, ends, e))
                return -1;
            start = at;
        }
        left = right;
    }
    return encode_run(b, text, start, size, out, ends, e);
}
