/* container.c - see container.h.
 *
 *     RIFF size WAVE  (id size content [pad to even])*          sizes little-endian
 *     FORM size AIFF  (id size content [pad to even])*          sizes big-endian
 *     (OggS ... segments  length[segments]  content)*
 */
#include "media/container.h"

#include <stdint.h>
#include <string.h>

/* Programs that write to a pipe put 0, 2^31 - 1 or 2^32 - 1 less a header for an unknown size. */
#define SIZE_UNKNOWN 0x7fff0000u

static bool begins(const uint8_t *p, const char *id)
{
    return memcmp(p, id, 4) == 0;
}

static uint32_t read_size(const uint8_t *p, bool is_big_endian)
{
    return is_big_endian ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
                         : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* Walk the chunks up to the one with the samples. */
static bool chunks_are_cut(const uint8_t *p, size_t size, const char *samples, bool is_big_endian)
{
    size_t at = 12;
    while (at + 8 <= size) {
        uint32_t chunk = read_size(p + at + 4, is_big_endian);
        bool is_samples = begins(p + at, samples);
        if (is_samples && (chunk == 0 || chunk >= SIZE_UNKNOWN))
            return false;
        if (chunk > size - at - 8)
            return true;
        if (is_samples)
            return false;
        at += 8 + (size_t)chunk + (chunk & 1);
    }
    return true;
}

static bool pages_are_cut(const uint8_t *p, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t left = size - at;
        if (left >= 4 && !begins(p + at, "OggS"))
            return false;
        if (left < 27 || left < 27 + (size_t)p[at + 26])
            return true;
        size_t page = 27 + (size_t)p[at + 26];
        for (size_t i = 0; i < p[at + 26]; i++)
            page += p[at + 27 + i];
        if (page > left)
            return true;
        at += page;
    }
    return false;
}

bool container_is_cut(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    if (size < 12)
        return false;
    if (begins(p, "RIFF") && begins(p + 8, "WAVE"))
        return chunks_are_cut(p, size, "data", false);
    if (begins(p, "FORM") && (begins(p + 8, "AIFF") || begins(p + 8, "AIFC")))
        return chunks_are_cut(p, size, "SSND", true);
    if (begins(p, "OggS"))
        return pages_are_cut(p, size);
    return false;
}
