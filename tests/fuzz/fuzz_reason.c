/* fuzz_reason.c - any bytes as an answer (headers, an empty line, a body): the reason is one clean
 * line, the wishes are numbers within their limits. */
#include "base/mem.h"
#include "base/utf8.h"
#include "net/reason.h"
#include "net/retry.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(const char *text, size_t size)
{
    assert(memchr(text, 0, size));
    assert(utf8_is_valid(text, strlen(text)));
    for (; *text; text++)
        assert((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_wish(double seconds)
{
    assert(seconds >= 0 && seconds <= RETRY_AFTER_MAX_S);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *headers = xstrndup((const char *)data, size), value[200];
    char *cut = strstr(headers, "\n\n");
    size_t used = cut ? (size_t)(cut - headers) + 2 : size;
    if (cut)
        cut[1] = 0;
    char *body = xmalloc(size - used + 1);
    memcpy(body, data + used, size - used);
    body[size - used] = 0;
    const struct http_response r = {
        .status = 503, .headers = headers, .body = body, .size = size - used};
    struct reason why;
    reason_of(&r, &why);
    check_clean(why.text, sizeof why.text);
    check_clean(why.code, sizeof why.code);
    if (http_header(&r, "retry-after", value, sizeof value)) {
        check_wish(retry_after(value, 1000000000));
        assert(retry_date(value) >= -1);
    }
    if (http_header(&r, "ratelimit", value, sizeof value))
        check_wish(retry_rate_limit(value));
    free(body);
    free(headers);
    return 0;
}
