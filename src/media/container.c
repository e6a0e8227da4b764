/* container.c - see container.h.
 *
 *     RIFF size WAVE  (id size content [pad to even])*          sizes little-endian
 *     FORM size AIFF  (id size content [pad to even])*          sizes big-endian
 *     (OggS ... segments  length[segments]  content)*
 *     (size type [size64] content)*                         MP4, MOV; sizes big-endian
 *     (id size content)*                                    Matroska, WebM; numbers of 1 to 8 bytes
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

/* Boxes of ISO 14496-12 and QuickTime that may stand outermost.  What has another name is no box:
 * somebody has appended it. */
static bool is_box(const uint8_t *type)
{
    static const char names[] = "ftyp moov mdat moof mfra free skip wide udta meta uuid sidx ssix "
                                "styp pdin pnot prft emsg PICT junk";
    for (const char *n = names; n + 4 < names + sizeof names; n += 5)
        if (begins(type, n))
            return true;
    return false;
}

static bool boxes_are_cut(const uint8_t *p, size_t size)
{
    for (size_t at = 0; at + 8 <= size;) {
        uint64_t box = read_size(p + at, true), head = 8;
        if (!is_box(p + at + 4) || box == 0)
            return false;
        if (box == 1) {
            head = 16;
            if (size - at < head)
                return true;
            box = (uint64_t)read_size(p + at + 8, true) << 32 | read_size(p + at + 12, true);
        }
        if (box < head)
            return false;
        if (box > size - at)
            return true;
        at += (size_t)box;
    }
    return false;
}

/* A number of Matroska at p, `left` bytes before the end: how many bytes it takes, 0 when it is
 * cut or none.  All ones stand for "unknown". */
static size_t read_number(const uint8_t *p, size_t left, bool keeps_marker, uint64_t *out)
{
    size_t n = 1;
    while (n <= 8 && left && !(p[0] & 0x100 >> n))
        n++;
    if (n > 8 || n > left)
        return 0;
    uint64_t mask = ((uint64_t)1 << 7 * n) - 1, value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    *out = keeps_marker ? value : value & mask;
    if (!keeps_marker && *out == mask)
        *out = UINT64_MAX;
    return n;
}

static bool elements_are_cut(const uint8_t *p, size_t size)
{
    enum { SEGMENT = 0x18538067, CLUSTER = 0x1f43b675 };
    for (size_t at = 0; at < size;) {
        uint64_t id, content;
        size_t n = read_number(p + at, size - at, true, &id);
        if (!n)
            return size - at < 8;
        at += n;
        n = read_number(p + at, size - at, false, &content);
        if (!n)
            return size - at < 8;
        at += n;
        if (content == UINT64_MAX && (id == SEGMENT || id == CLUSTER))
            continue;
        if (content == UINT64_MAX)
            return false;
        if (content > size - at)
            return true;
        at += (size_t)content;
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
    if (is_box(p + 4))
        return boxes_are_cut(p, size);
    if (begins(p, "\x1a\x45\xdf\xa3"))
        return elements_are_cut(p, size);
    return false;
}
