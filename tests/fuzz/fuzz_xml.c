/* fuzz_xml.c - any bytes as an answer of S3: slices stay inside, texts do not grow. */
#include "net/xml.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xml_slice rest = {(const char *)data, size}, item;
    while (xml_next(&rest, "Contents", &item)) {
        assert(item.at >= (const char *)data && item.size <= size);
        assert(item.at + item.size <= rest.at && rest.size < size);
        char *key = xml_text(item, "Key");
        assert(!key || strlen(key) <= item.size);
        free(key);
    }
    return 0;
}
