/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json: an error, or a tokenizer that works. */
#include "base/buf.h"
#include "text/tokenizer.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "ab  abc <x>\n\xc3\xa9\xe2\x96\x81 cab <bos>aaaa bbbb";
    struct err e = {0};
    struct tokenizer *t = tokenizer_parse((const char *)data, size, "f", &e);

    assert((t != NULL) == (e.kind == ERR_NONE));
    if (!t)
        return 0;
    struct ids ids = IDS_INIT, ends = IDS_INIT;
    struct buf out;
    buf_init(&out, 1 << 24);
    for (int pass = 0; pass < 2; pass++) {
        e = (struct err){0};
        if (tokenizer_encode_ends(t, text, sizeof text - 1, &ids, &ends, &e) == 0)
            (void)!tokenizer_decode(t, ids.at, (size_t)ids.count, pass, &out, &e);
    }
    for (int i = 0; i < ids.count; i++) {
        assert(tokenizer_piece(t, ids.at[i]));
        assert(tokenizer_id(t, tokenizer_piece(t, ids.at[i])) == ids.at[i]);
    }
    tokenizer_find_special(t, text, sizeof text - 1);
    buf_release(&out);
    ids_release(&ids);
    ids_release(&ends);
    tokenizer_free(t);
    return 0;
}
