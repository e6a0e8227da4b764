/* fuzz_word_split.c - any bytes as a regular expression, a zero, and a text: an error, or words
 * that cover the text. */
#include "base/mem.h"
#include "base/utf8.h"
#include "text/word_split.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 && size < 1 << 14 ? memchr(data, 0, size) : NULL;
    if (!zero || !utf8_is_valid((const char *)data, size))
        return 0;

    struct err e = {0};
    struct word_split *s = word_split_new((const char *)data, &e);
    assert((s != NULL) == (e.kind == ERR_NONE));
    if (!s)
        return 0;
    struct word_scratch *scratch = word_scratch_new();
    struct word_walk w = {.split = s,
                          .scratch = scratch,
                          .text = (const char *)zero + 1,
                          .size = size - (size_t)(zero - data) - 1};
    size_t last = 0;
    int more;
    while ((more = word_next(&w, &e)) > 0) {
        assert(w.start == last && w.end > w.start && w.end <= w.size);
        last = w.end;
    }
    assert(more < 0 ? e.kind == ERR_DATA : last == w.size);
    word_scratch_free(scratch);
    word_split_free(s);
    return 0;
}
