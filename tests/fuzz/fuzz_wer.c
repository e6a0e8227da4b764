/* fuzz_wer.c - two texts, separated by a zero: normalised in every way, counted, aligned; the
 * counts fit. */
#include "base/buf.h"
#include "base/utf8.h"
#include "text/normalize.h"
#include "text/wer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *reference, const char *hypothesis)
{
    struct err e = {0};
    struct error_count words = {0}, characters = {0};
    struct alignment a;
    struct buf diff;

    assert(wer_count(&words, reference, hypothesis, &e) == 0);
    assert(cer_count(&characters, reference, hypothesis, &e) == 0);
    assert(words.hits + words.substitutions + words.deletions == words.reference);
    assert(wer_align(&a, reference, hypothesis, &e) == 0);
    assert(a.count == words.reference + words.insertions);
    buf_init(&diff, 1 << 20);
    assert(wer_diff(reference, hypothesis, false, &diff, &e) == 0);
    buf_release(&diff);
    alignment_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4000)
        return 0;
    char *text = calloc(size + 2, 1);
    assert(text);
    if (size > 0)
        memcpy(text, data, size);
    const char *second = text + strlen(text) + (strlen(text) < size);
    struct err e = {0};
    struct buf a, b;

    buf_init(&a, 1 << 16);
    buf_init(&b, 1 << 16);
    assert(normalize_text(NORMALIZE_BASIC, NULL, text, &a, &e) == 0);
    assert(normalize_text(NORMALIZE_BASIC, NULL, second, &b, &e) == 0);
    check(a.data, b.data);
    check(text, second);
    for (enum normalizer n = NORMALIZE_WHISPER_BASIC; n <= NORMALIZE_WHISPER_ENGLISH; n++) {
        buf_clear(&a);
        assert(normalize_text(n, NULL, text, &a, &e) == 0);
        assert(utf8_is_valid(a.data, a.size));
    }
    buf_release(&a);
    buf_release(&b);
    free(text);
    return 0;
}
