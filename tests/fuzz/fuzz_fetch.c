/* fuzz_fetch.c - any bytes as headers of an answer: ranges make sense or are refused. */
#include "net/fetch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/checksum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t first, last, total;
    uint32_t crc;
    char hex[HASH_HEX_SIZE], again[CHECKSUM_CRC32C_SIZE];
    char *text = xstrndup((const char *)data, size);
    struct http_response r = {.headers = xasprintf("content-range: %s\n", text)};
    if (fetch_content_range(&r, &first, &last, &total)) {
        assert(last >= first && (first >= 0 || total >= 0));
        assert(total < 0 || last < total);
    }
    assert(fetch_int(text) >= -1);
    if (checksum_crc32c_read(text, strlen(text), &crc)) {
        /* The last character has bits that do not count. */
        checksum_crc32c_write(crc, again);
        assert(strlen(text) == 8 && memcmp(text, again, 5) == 0);
    }
    if (checksum_md5_read(text, strlen(text), hex))
        assert(checksum_is_hex(hex, CHECKSUM_MD5_DIGITS));
    free(r.headers);
    free(text);
    return 0;
}
