/* fuzz_tokenizer.c - any bytes as a text: bad UTF-8 is an error, anything else comes back from its
 * ids.  The first byte chooses the tokenizer. */
#include "base/buf.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Does the text hold U+2581, which decodes to a space? */
static bool has_block(const char *text, size_t size)
{
    for (size_t i = 0; i + 3 <= size; i++)
        if (memcmp(text + i, "\xe2\x96\x81", 3) == 0)
            return true;
    return false;
}

static void check(const struct tokenizer *t, bool is_byte_level, const char *text, size_t size,
                  bool returns)
{
    struct err e = {0};
    struct ids ids = IDS_INIT, ends = IDS_INIT, plain = IDS_INIT;
    struct buf out;
    int rc = tokenizer_encode_ends(t, text, size, &ids, &ends, &e);

    assert((rc == 0) == utf8_is_valid(text, size));
    buf_init(&out, 16 * size + 4096);
    if (rc == 0) {
        assert(ids.count == ends.count);
        for (int i = 0; i < ends.count; i++)
            assert((size_t)ends.at[i] <= size &&
                   (!is_byte_level || i == 0 || ends.at[i] >= ends.at[i - 1]));
        assert(tokenizer_encode_plain(t, text, size, &plain, &e) == 0);
        assert(tokenizer_decode(t, ids.at, (size_t)ids.count, false, &out, &e) == 0);
        if (returns && (is_byte_level || !has_block(text, size)))
            assert(out.size == size && memcmp(out.data, text, size) == 0);
    }
    buf_release(&out);
    ids_release(&ids);
    ids_release(&ends);
    ids_release(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { COUNT = 6 };
    static const struct {
        const char *path;
        bool returns;                    /* ids give back their text */
    } files[COUNT] = {
        {"tests/data/text/gemma.json", true},         {"tests/data/text/added.json", false},
        {"tests/data/text/vanish.json", false},       {"tests/data/text/bytes.json", true},
        {"tests/data/text/bytes_prefix.json", false}, {"tests/data/text/bytes_split.json", true},
    };
    static struct tokenizer *tokenizers[COUNT];

    for (int i = 0; i < COUNT && !tokenizers[i]; i++) {
        struct err e = {0};
        tokenizers[i] = tokenizer_open(files[i].path, &e);
        assert(tokenizers[i]);
    }
    if (size == 0 || size > 1 << 16)
        return 0;
    int which = data[0] % COUNT;
    check(tokenizers[which], which > 2, (const char *)data + 1, size - 1, files[which].returns);
    return 0;
}
