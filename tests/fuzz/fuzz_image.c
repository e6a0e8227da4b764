/* fuzz_image.c - any bytes as a picture: pixels within the limits and patches of them, or an
 * error. */
#include "media/picture.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIXELS_MAX = 1 << 18, TOKENS = 6 };

static void check_patches(const struct image *im)
{
    struct err e = {0};
    struct picture p;
    struct picture_config c;
    picture_config_gemma4(&c, false);
    int failed = picture_make(&p, &c, TOKENS, im, &e);
    assert(!failed && p.soft_tokens >= 1 && p.soft_tokens <= TOKENS);
    assert(picture_patches(&c, p.soft_tokens) == p.across * p.down);
    picture_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct image im;
    int failed = image_decode_within(&im, PIXELS_MAX, data, size, &e);
    assert((failed != 0) == (e.kind != ERR_NONE));
    if (failed) {
        assert(e.kind == ERR_DATA && e.text[0] && !im.pixels);
        return 0;
    }
    assert(image_is_known(data, size));
    assert(im.width >= 1 && im.height >= 1 && (int64_t)im.width * im.height <= PIXELS_MAX);
    check_patches(&im);
    image_release(&im);
    return 0;
}
