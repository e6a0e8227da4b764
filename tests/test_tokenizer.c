/* test_tokenizer.c - ids and texts as the `tokenizers` library gives them, for nine tokenizers and
 * thousands of strings (tests/fixtures/tokenizer.py), and what a damaged file says. */
#include "testing.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

#include <pthread.h>

#define DATA "tests/data/text/"

/* The tokenizers, and the files of strings that each was tried on. */
static const struct {
    const char *name;
    const char *strings[2];
} fixtures[] = {
    {"gemma", {"strings"}},
    {"wide", {"strings"}},
    {"added", {"strings"}},
    {"unfused", {"strings"}},
    {"vanish", {"strings"}},
    {"bytes", {"byte_strings", "strings"}},
    {"bytes_prefix", {"byte_strings"}},
    {"bytes_split", {"byte_strings"}},
    {"bytes_split_prefix", {"byte_strings"}},
};

/* ---------------------------------------------------------------- helpers -- */

static struct tokenizer *open_fixture(const char *name)
{
    struct err e = {0};
    char path[200];

    snprintf(path, sizeof path, DATA "%s.json", name);
    struct tokenizer *t = tokenizer_open(path, &e);
    assert_ok(e);
    return t;
}

/* NUL may be in the strings. */
static json_t *load(const char *path)
{
    json_error_t at;
    json_t *v = json_load_file(path, JSON_ALLOW_NUL, &at);
    if (!v)
        print_error("%s: %s\n", path, at.text);
    assert_non_null(v);
    return v;
}

struct strings {
    char **text;
    size_t *size;
    size_t count;
};

/* `times` times the text of `unit`. */
static void add_string(struct strings *s, const json_t *unit, size_t times)
{
    size_t size = json_string_length(unit), i = s->count++;

    s->text = xreallocarray(s->text, s->count, sizeof *s->text);
    s->size = xreallocarray(s->size, s->count, sizeof *s->size);
    s->size[i] = size * times;
    s->text[i] = xmalloc(s->size[i]);
    for (size_t k = 0; k < times; k++)
        memcpy(s->text[i] + k * size, json_string_value(unit), size);
}

static struct strings load_strings(const char *const *files, size_t count)
{
    struct strings s = {0};

    for (size_t i = 0; i < count && files[i]; i++) {
        char path[200];
        snprintf(path, sizeof path, DATA "%s.json", files[i]);
        json_t *all = load(path);
        json_t *list = json_object_get(all, "strings"), *runs = json_object_get(all, "runs");
        for (size_t k = 0; k < json_array_size(list); k++)
            add_string(&s, json_array_get(list, k), 1);
        for (size_t k = 0; k < json_array_size(runs); k++) {
            json_t *run = json_array_get(runs, k);
            add_string(&s, json_array_get(run, 0),
                       (size_t)json_integer_value(json_array_get(run, 1)));
        }
        json_decref(all);
    }
    return s;
}

static void strings_release(struct strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->text[i]);
    free(s->text);
    free(s->size);
}

static uint64_t fnv(uint64_t h, unsigned char byte)
{
    return (h ^ byte) * 0x100000001b3u;
}

/* Compare with the i-th of the hashes written as eight hexadecimal digits each. */
static bool is_hash(const json_t *expected, const char *key, size_t i, uint64_t h)
{
    char text[9];
    const char *all = json_string_value(json_object_get(expected, key));

    snprintf(text, sizeof text, "%08x", (unsigned)(h >> 32));
    return strlen(all) >= 8 * (i + 1) && memcmp(all + 8 * i, text, 8) == 0;
}

static uint64_t hash_ids(const struct ids *ids)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < ids->count; i++)
        for (int k = 0; k < 4; k++)
            h = fnv(h, (unsigned char)((uint32_t)ids->at[i] >> 8 * k));
    return h;
}

static uint64_t hash_text(const struct buf *b)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < b->size; i++)
        h = fnv(h, (unsigned char)b->data[i]);
    return h;
}

static void expect(bool is_right, const char *name, size_t i, const char *what,
                   const struct strings *s)
{
    if (!is_right)
        fail_msg("%s: string %zu: %s differ: '%.*s'", name, i, what,
                 s->size[i] < 80 ? (int)s->size[i] : 80, s->text[i]);
}

/* ------------------------------------------------- against the `tokenizers` -- */

static void compare_string(const char *name, const struct tokenizer *t, const json_t *expected,
                           const struct strings *s, size_t i)
{
    struct err e = {0};
    struct ids ids = IDS_INIT, plain = IDS_INIT;
    struct buf text;
    json_t *first = json_array_get(json_object_get(expected, "first_ids"), i);

    assert_int_equal(tokenizer_encode(t, s->text[i], s->size[i], &ids, &e), 0);
    for (int k = 0; first && k < ids.count && (size_t)k < json_array_size(first); k++)
        if (ids.at[k] != json_integer_value(json_array_get(first, (size_t)k)))
            fail_msg("%s: string %zu '%s': id %d is %d, expected %d", name, i, s->text[i], k,
                     ids.at[k], (int)json_integer_value(json_array_get(first, (size_t)k)));
    expect(is_hash(expected, "ids", i, hash_ids(&ids)), name, i, "ids", s);

    assert_int_equal(tokenizer_encode_plain(t, s->text[i], s->size[i], &plain, &e), 0);
    expect(is_hash(expected, "plain", i, hash_ids(&plain)), name, i, "plain ids", s);

    buf_init(&text, 1 << 20);
    assert_int_equal(tokenizer_decode(t, ids.at, (size_t)ids.count, false, &text, &e), 0);
    expect(is_hash(expected, "decoded", i, hash_text(&text)), name, i, "decoded texts", s);
    buf_clear(&text);
    assert_int_equal(tokenizer_decode(t, ids.at, (size_t)ids.count, true, &text, &e), 0);
    expect(is_hash(expected, "skipped", i, hash_text(&text)), name, i, "texts without special", s);
    assert_ok(e);
    buf_release(&text);
    ids_release(&ids);
    ids_release(&plain);
}

static void test_tokenizer__equals_reference(void **state)
{
    (void)state;

    for (size_t n = 0; n < sizeof fixtures / sizeof *fixtures; n++) {
        char path[200];
        snprintf(path, sizeof path, DATA "%s.expected.json", fixtures[n].name);
        json_t *expected = load(path);
        struct strings s = load_strings(fixtures[n].strings, 2);
        struct tokenizer *t = open_fixture(fixtures[n].name);
        assert_true(s.count > 2000);
        assert_int_equal(tokenizer_vocab_size(t),
                         json_integer_value(json_object_get(expected, "vocab_size")));
        for (size_t i = 0; i < s.count; i++)
            compare_string(fixtures[n].name, t, expected, &s, i);
        tokenizer_free(t);
        json_decref(expected);
        strings_release(&s);
    }
}

/* Byte-level ids in any order, whose bytes are mostly no UTF-8. */
static void test_tokenizer__repairs_broken_characters(void **state)
{
    (void)state;
    struct err e = {0};
    json_t *expected = load(DATA "bytes.expected.json");
    json_t *cuts = json_object_get(expected, "cuts");
    struct tokenizer *t = open_fixture("bytes");
    struct buf text;

    assert_true(json_array_size(cuts) > 1000);
    buf_init(&text, 1 << 16);
    for (size_t i = 0; i < json_array_size(cuts); i++) {
        json_t *cut = json_array_get(cuts, i);
        int32_t ids[16];
        size_t count = json_array_size(cut);
        assert_true(count <= 16);
        for (size_t k = 0; k < count; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(cut, k));
        buf_clear(&text);
        assert_int_equal(tokenizer_decode(t, ids, count, false, &text, &e), 0);
        if (!is_hash(expected, "cut_texts", i, hash_text(&text)))
            fail_msg("cut %zu: found '%s'", i, text.data);
    }
    buf_release(&text);
    tokenizer_free(t);
    json_decref(expected);
}

/* A second pass finds the words that the first has learned to be whole pieces. */
static void test_tokenizer__repeats_itself(void **state)
{
    (void)state;
    struct err e = {0};
    struct strings s = load_strings((const char *const[]){"strings"}, 1);
    struct tokenizer *t = open_fixture("gemma");
    struct ids first = IDS_INIT, second = IDS_INIT;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s.count; i++)
            assert_int_equal(tokenizer_encode(t, s.text[i], s.size[i], pass ? &second : &first, &e),
                             0);
    assert_int_equal(first.count, second.count);
    assert_memory_equal(first.at, second.at, (size_t)first.count * sizeof *first.at);
    ids_release(&first);
    ids_release(&second);
    tokenizer_free(t);
    strings_release(&s);
}

/* ------------------------------------------------------------- properties -- */

/* One of several threads with one tokenizer. */
struct worker {
    const struct tokenizer *t;
    const struct strings *strings;
    struct ids ids;
};

static void *encode_all(void *arg)
{
    struct worker *w = arg;
    struct err e = {0};

    for (size_t i = 0; i < w->strings->count && !e.kind; i++)
        (void)!tokenizer_encode(w->t, w->strings->text[i], w->strings->size[i], &w->ids, &e);
    return NULL;
}

static void test_tokenizer__serves_threads(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    struct strings s = load_strings((const char *const[]){"byte_strings"}, 1);
    struct tokenizer *t = open_fixture("bytes");
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.t = t, .strings = &s};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_all, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(workers[0].ids.count > 50000);
    for (int i = 1; i < THREADS; i++) {
        assert_int_equal(workers[i].ids.count, workers[0].ids.count);
        assert_memory_equal(workers[i].ids.at, workers[0].ids.at,
                            (size_t)workers[0].ids.count * sizeof(int32_t));
    }
    for (int i = 0; i < THREADS; i++)
        ids_release(&workers[i].ids);
    tokenizer_free(t);
    strings_release(&s);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* A text of up to 40 characters of all scripts, never U+2581: it would come back as a space. */
static size_t random_text(uint64_t *state, char *out)
{
    static const uint32_t limits[] = {0x80, 0x80, 0x300, 0x3000, 0x10000, 0x110000};
    size_t size = 0;

    for (uint32_t n = next_random(state) % 40; n > 0; n--) {
        uint32_t c = next_random(state) % limits[next_random(state) % 6];
        if (next_random(state) % 6 == 0)
            c = ' ';
        if (c != 0x2581)
            size += (size_t)utf8_encode(c, out + size);
    }
    return size;
}

static void test_tokenizer__round_trip(void **state)
{
    (void)state;
    struct err e = {0};
    struct tokenizer *tokenizers[] = {open_fixture("gemma"), open_fixture("wide"),
                                      open_fixture("bytes"), open_fixture("bytes_split")};
    struct ids ids = IDS_INIT;
    uint64_t seed = 1;
    struct buf text;
    char in[200];

    buf_init(&text, sizeof in);
    for (int i = 0; i < 20000; i++) {
        size_t size = random_text(&seed, in);
        const struct tokenizer *used = tokenizers[i % 4];
        ids_clear(&ids);
        buf_clear(&text);
        assert_int_equal(tokenizer_encode(used, in, size, &ids, &e), 0);
        assert_int_equal(tokenizer_decode(used, ids.at, (size_t)ids.count, false, &text, &e), 0);
        assert_int_equal(text.size, size);
        assert_memory_equal(text.data, in, size);
    }
    buf_release(&text);
    ids_release(&ids);
    for (int i = 0; i < 4; i++)
        tokenizer_free(tokenizers[i]);
}

/* The text up to the end of an id is the text of the ids so far, unless it ends inside a
 * character that is written as bytes. */
static void check_ends(const char *name)
{
    struct err e = {0};
    struct tokenizer *t = open_fixture(name);
    struct ids ids = IDS_INIT, ends = IDS_INIT;
    uint64_t seed = 2;
    struct buf text;
    char in[300];

    buf_init(&text, sizeof in);
    for (int i = 0; i < 500; i++) {
        size_t size = random_text(&seed, in);
        memcpy(in + size, "<|turn>user model the\n", 22);
        size += 22;
        ids_clear(&ids);
        ids_clear(&ends);
        assert_int_equal(tokenizer_encode_ends(t, in, size, &ids, &ends, &e), 0);
        assert_int_equal(ids.count, ends.count);
        assert_int_equal(ends.at[ends.count - 1], size);
        for (int k = 0; k < ids.count; k++) {
            size_t end = (size_t)ends.at[k];
            if (end < size && ((unsigned char)in[end] & 0xc0) == 0x80)
                continue;
            buf_clear(&text);
            assert_int_equal(tokenizer_decode(t, ids.at, (size_t)k + 1, false, &text, &e), 0);
            assert_int_equal(text.size, end);
            assert_memory_equal(text.data, in, end);
        }
    }
    buf_release(&text);
    ids_release(&ids);
    ids_release(&ends);
    tokenizer_free(t);
}

static void test_tokenizer__ends_are_offsets(void **state)
{
    (void)state;
    check_ends("gemma");
    check_ends("bytes");
    check_ends("bytes_split");
}

/* A space that is put in front is not in the text. */
static void test_tokenizer__ends_without_the_space_in_front(void **state)
{
    (void)state;
    static const char *const names[] = {"bytes_prefix", "bytes_split_prefix"};
    static const char text[] = "x\xc3\xa9 the river<R>  and\n\n1";
    struct err e = {0};

    for (int n = 0; n < 2; n++) {
        struct tokenizer *t = open_fixture(names[n]);
        struct ids ids = IDS_INIT, ends = IDS_INIT;
        struct buf piece;
        buf_init(&piece, 100);
        assert_int_equal(tokenizer_encode_ends(t, text, sizeof text - 1, &ids, &ends, &e), 0);
        assert_int_equal(ids.count, ends.count);
        assert_int_equal(ends.at[ends.count - 1], sizeof text - 1);
        for (int i = 0; i < ids.count; i++) {
            int32_t start = i > 0 ? ends.at[i - 1] : 0, size = ends.at[i] - start;
            buf_clear(&piece);
            assert_int_equal(tokenizer_decode(t, &ids.at[i], 1, false, &piece, &e), 0);
            size_t front = piece.size - (size_t)size;
            assert_true(size >= 0 && (front == 0 || (front == 1 && piece.data[0] == ' ') ||
                                      strcmp(piece.data, "\xef\xbf\xbd") == 0 ||
                                      tokenizer_is_special(t, ids.at[i])));
            if (strcmp(piece.data, "\xef\xbf\xbd") != 0 && front < 2)
                assert_memory_equal(piece.data + front, text + start, (size_t)size);
        }
        buf_release(&piece);
        ids_release(&ids);
        ids_release(&ends);
        tokenizer_free(t);
    }
}

static void test_tokenizer__pieces(void **state)
{
    (void)state;
    struct err e = {0};
    struct tokenizer *t = open_fixture("added");
    int32_t norm = tokenizer_id(t, "<N>");

    assert_int_equal(tokenizer_id(t, "<bos>"), 2);
    assert_int_equal(tokenizer_id(t, "no such piece"), -1);
    assert_int_equal(tokenizer_id(t, ""), -1);
    assert_true(norm > 0);
    assert_string_equal(tokenizer_piece(t, norm), "<N>");
    assert_true(tokenizer_is_special(t, norm));
    assert_false(tokenizer_is_special(t, tokenizer_id(t, "<L>")));
    assert_false(tokenizer_is_special(t, -1));
    assert_null(tokenizer_piece(t, -1));
    assert_null(tokenizer_piece(t, tokenizer_vocab_size(t)));
    assert_int_equal(tokenizer_find_special(t, "a <L> word", 10), -1);
    assert_int_equal(tokenizer_find_special(t, "a <bos> <eos>", 13), 2);
    assert_int_equal(tokenizer_find_special(t, "a <N>", 5), norm);

    struct buf text;
    int32_t ids[] = {tokenizer_vocab_size(t), -7, norm};
    buf_init(&text, 100);
    assert_int_equal(tokenizer_decode(t, ids, 3, false, &text, &e), 0);
    assert_string_equal(text.data, "<N>");
    buf_release(&text);
    tokenizer_free(t);
}

/* ----------------------------------------------------------------- errors -- */

static void test_tokenizer__refuses_bad_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *at;
    } cases[] = {
        {"ab\xff", "0xff at offset 2"},        {"\xc0\x80", "0xc0 at offset 0"},
        {"x\xed\xa0\x80", "0xed at offset 1"}, {"\xe2\x96", "0xe2 at offset 0"},
        {"\xf4\x90\x80\x80", "0xf4 at"},       {"abc\x80", "0x80 at offset 3"},
    };
    struct tokenizer *t = open_fixture("gemma");
    struct ids ids = IDS_INIT;
    struct err e = {0};

    assert_int_equal(ids_push(&ids, 77, &e), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e = (struct err){0};
        assert_int_equal(tokenizer_encode(t, cases[i].text, strlen(cases[i].text), &ids, &e), -1);
        assert_err(e, ERR_DATA, cases[i].at);
        assert_int_equal(ids.count, 1);
        assert_int_equal(ids.at[0], 77);
    }
    e = (struct err){0};
    char *big = xcalloc(TOKENIZER_TEXT_MAX + 1, 1);
    assert_int_equal(tokenizer_encode(t, big, TOKENIZER_TEXT_MAX + 1, &ids, &e), -1);
    assert_err(e, ERR_DATA, "above the limit of");
    free(big);
    ids_release(&ids);
    tokenizer_free(t);
}

/* The smallest tokenizer there is, in parts. */
#define MODEL(rest) "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}," rest "}"
#define SPLIT(pattern, behavior)                                                                   \
    "{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":"      \
    "false}"
#define MERGES "\"merges\":[[\"a\",\"b\"]]"
#define ADDED(id, content) "\"added_tokens\":[{\"id\":" id ",\"content\":\"" content "\"}],"

struct bad_file {
    const char *json;
    enum err_kind kind;
    const char *text;
};

static void check_refused(const struct bad_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err e = {0};
        assert_null(tokenizer_parse(files[i].json, strlen(files[i].json), "t.json", &e));
        assert_err(e, files[i].kind, files[i].text);
        assert_non_null(strstr(e.text, "t.json"));
    }
}

static void test_tokenizer__refuses_bad_words(void **state)
{
    (void)state;
    static const struct bad_file files[] = {
        {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MODEL(MERGES) "}", ERR_USAGE,
         "pre_tokenizer: a step 'Whitespace' is not known"},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"trim\":true}," MODEL(MERGES) "}", ERR_USAGE,
         "ByteLevel: option 'trim'"},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
         "{\"type\":\"ByteLevel\"}]}," MODEL(MERGES) "}",
         ERR_USAGE, "a step behind ByteLevel, 'ByteLevel'"},
        {"{\"pre_tokenizer\":" SPLIT("\"Regex\":\"a\"", "Isolated") "," MODEL(MERGES) "}",
         ERR_USAGE, "a split by a regular expression without 'ByteLevel'"},
        {"{\"pre_tokenizer\":" SPLIT("\"Regex\":\"a\"", "Removed") "," MODEL(MERGES) "}", ERR_USAGE,
         "a split with the behavior 'Removed'"},
        {"{\"pre_tokenizer\":" SPLIT("\"Regex\":\"(\"", "Isolated") "," MODEL(MERGES) "}", ERR_DATA,
         "pre_tokenizer: a regular expression is damaged"},
        {"{\"pre_tokenizer\":" SPLIT("\"Regex\":\"^a\"", "Isolated") "," MODEL(MERGES) "}",
         ERR_USAGE, "'^' in a regular expression"},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," MODEL(MERGES ",\"unk_token\":\"<u>\"") "}",
         ERR_DATA, "unknown piece '<u>'"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":"
         "\"MergedWithPrevious\",\"invert\":false}," MODEL(MERGES) "}",
         ERR_USAGE, "splits the normalised text"},
    };
    check_refused(files, sizeof files / sizeof *files);
}

static void test_tokenizer__refuses_bad_files(void **state)
{
    (void)state;
    static const struct bad_file files[] = {
        {"{", ERR_DATA, "t.json:1:"},
        {"[]", ERR_DATA, "expected an object, found an array"},
        {"{}", ERR_DATA, "model: expected an object, found nothing"},
        {"{\"modle\":{}}", ERR_USAGE, "the file: option 'modle' is not known"},
        {"{\"model\":{\"type\":\"Unigram\"}}", ERR_USAGE, "model 'Unigram' is not known"},
        {"{\"model\":{\"type\":\"BPE\"}}", ERR_DATA, "\"vocab\" is missing"},
        {"{" MODEL("\"merges\":3") "}", ERR_DATA, "\"merges\": expected an array"},
        {"{" MODEL(MERGES ",\"dropout\":0.1") "}", ERR_USAGE, "dropout"},
        {"{" MODEL(MERGES ",\"end_of_word_suffix\":\"</w>\"") "}", ERR_USAGE, "'</w>'"},
        {"{" MODEL(MERGES ",\"continuing_subword_prefix\":\"##\"") "}", ERR_USAGE, "'##'"},
        {"{" MODEL(MERGES ",\"surprise\":1") "}", ERR_USAGE, "option 'surprise'"},
        {"{" MODEL("\"merges\":[\"a b c\"]") "}", ERR_DATA, "merge 0 is 'a b c'"},
        {"{" MODEL("\"merges\":[[\"a\"]]") "}", ERR_DATA, "merge 0 is not a pair"},
        {"{" MODEL("\"merges\":[[\"a\",\"c\"]]") "}", ERR_DATA, "merge 0 needs the piece 'c'"},
        {"{" MODEL("\"merges\":[\"b a\"]") "}", ERR_DATA, "merge 0 needs the piece 'ba'"},
        {"{" MODEL(MERGES ",\"unk_token\":\"<u>\"") "}", ERR_DATA, "unknown piece '<u>'"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", ERR_DATA, "id 0 belongs to"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", ERR_DATA, "the id of 'a' is -1"},
        {"{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", ERR_DATA, "the id of 'a'"},
        {"{\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", ERR_DATA, "no integer"},
        {"{" ADDED("5", "<x>") MODEL(MERGES) "}", ERR_DATA, "'<x>' has the id 5, expected 3"},
        {"{" ADDED("0", "ab") MODEL(MERGES) "}", ERR_DATA, "'ab' has the id 0, expected 2"},
        {"{" ADDED("3", "") MODEL(MERGES) "}", ERR_DATA, "an added token of 0 bytes"},
        {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"odd\":1}]," MODEL(MERGES) "}", ERR_USAGE,
         "an added token: option 'odd'"},
        {"{\"added_tokens\":[{\"id\":2,\"content\":\"ab\"},{\"id\":2,\"content\":\"ab\"}]," MODEL(
             MERGES) "}",
         ERR_DATA, "'ab' is there twice"},
        {"{\"normalizer\":{\"type\":\"NFKC\"}," MODEL(MERGES) "}", ERR_USAGE,
         "normalizer 'NFKC' is not known"},
        {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}"
         "," MODEL(MERGES) "}",
         ERR_USAGE, "normalizer 'Lowercase'"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"b\"}"
         "," MODEL(MERGES) "}",
         ERR_USAGE, "option 'Regex'"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"b\"}"
         "," MODEL(MERGES) "}",
         ERR_DATA, "normalizer: a pattern"},
        {"{\"decoder\":{\"type\":\"WordPiece\"}," MODEL(MERGES) "}", ERR_USAGE,
         "decoder 'WordPiece' is not known"},
        {"{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
         "\"ByteFallback\"}]}," MODEL(MERGES) "}",
         ERR_USAGE, "decoder 'ByteFallback'"},
    };
    check_refused(files, sizeof files / sizeof *files);
}

static void test_tokenizer__missing_file(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder();

    assert_null(tokenizer_open(folder, &e));
    assert_true(e.kind != ERR_NONE);
    assert_non_null(strstr(e.text, "tokenizer.json"));
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

/* Cut, overwritten and shuffled files give an error or a tokenizer, never a crash. */
static void test_tokenizer__damaged_files(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    char *json = file_read(DATA "added.json", 1 << 20, &size, &e);
    assert_non_null(json);
    uint64_t seed = 3;

    for (int i = 0; i < 300; i++) {
        char *copy = xmemdup(json, size);
        size_t used = i % 3 == 0 ? next_random(&seed) % size : size;
        for (int k = 0; i % 3 != 0 && k < 1 + i % 4; k++)
            copy[next_random(&seed) % size] = "0129,:\"{}[]ax\\"[next_random(&seed) % 14];
        e = (struct err){0};
        struct tokenizer *t = tokenizer_parse(copy, used, "damaged", &e);
        assert_true((t == NULL) == (e.kind != ERR_NONE));
        struct ids ids = IDS_INIT;
        if (t)
            assert_int_equal(tokenizer_encode(t, "The river <L> x \xc3\xa9", 18, &ids, &e), 0);
        ids_release(&ids);
        tokenizer_free(t);
        free(copy);
    }
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer__equals_reference),
        cmocka_unit_test(test_tokenizer__repairs_broken_characters),
        cmocka_unit_test(test_tokenizer__repeats_itself),
        cmocka_unit_test(test_tokenizer__serves_threads),
        cmocka_unit_test(test_tokenizer__round_trip),
        cmocka_unit_test(test_tokenizer__ends_are_offsets),
        cmocka_unit_test(test_tokenizer__ends_without_the_space_in_front),
        cmocka_unit_test(test_tokenizer__pieces),
        cmocka_unit_test(test_tokenizer__refuses_bad_text),
        cmocka_unit_test(test_tokenizer__refuses_bad_words),
        cmocka_unit_test(test_tokenizer__refuses_bad_files),
        cmocka_unit_test(test_tokenizer__missing_file),
        cmocka_unit_test(test_tokenizer__damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
