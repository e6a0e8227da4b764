/* fuzz_safetensors.c - any bytes as a safetensors file: what is accepted lies inside the file,
 * without overlap, and has the size of its shape. */
#include "nn/safetensors.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct safetensors *s = safetensors_parse(data, size, "f", &e);
    uint64_t total = 0, sum = 0;

    assert((s != NULL) == (e.kind == ERR_NONE));
    if (!s)
        return 0;
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct safetensors_tensor *t = safetensors_at(s, i);
        uint64_t bytes = mx_dtype_size(t->dtype);
        for (int d = 0; d < t->n; d++)
            bytes *= (uint64_t)t->shape[d];
        assert(bytes == t->bytes && t->offset <= size && t->bytes <= size - t->offset);
        assert(t->data == data + t->offset);
        assert(safetensors_find(s, t->name) == t);
        for (uint64_t k = 0; k < t->bytes; k++)
            sum += ((const uint8_t *)t->data)[k];
        total += t->bytes;
    }
    assert(total <= size && sum <= 255 * total);
    safetensors_close(s);
    return 0;
}
