/* fuzz_json.c - any bytes as JSON: what is read and written reads again as the same text. */
#include "base/json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct buf first, second;
    json_t *v = json_read_text("f", (const char *)data, size, &e);
    assert((v != NULL) == (e.kind == ERR_NONE));
    if (!v)
        return 0;
    buf_init(&first, 100 + 50 * size);
    buf_init(&second, 100 + 50 * size);
    json_write_compact(v, &first);
    assert(!first.overflowed);
    json_t *again = json_read_text("g", first.data, first.size, &e);
    assert(again);
    json_write_compact(again, &second);
    assert(first.size == second.size && !memcmp(first.data, second.data, first.size));
    json_decref(v);
    json_decref(again);
    buf_release(&first);
    buf_release(&second);
    return 0;
}
