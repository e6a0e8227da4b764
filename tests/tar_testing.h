/* tar_testing.h - tar archives for tests, member by member, also such as no program would write.
 *
 *     struct buf t;
 *     buf_init(&t, 1 << 20);
 *     tar_add(&t, "a/1.json", "{}");
 *     tar_end(&t);
 */
#ifndef TAR_TESTING_H
#define TAR_TESTING_H

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

/* The last header gets the right checksum. */
static inline void tar_sum(char *h)
{
    char digits[24];
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(digits, sizeof digits, "%06o", sum);
    memcpy(h + 148, digits, 7);
}

/* A header alone; returns its bytes, which are valid until more is added. */
static inline char *tar_header(struct buf *t, const char *name, char type, unsigned long size)
{
    char *h = buf_extend(t, 512);
    memset(h, 0, 512);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(h + 100,
           "0000644\0"
           "0000000\0"
           "0000000",
           24);
    char digits[24];
    snprintf(digits, sizeof digits, "%011lo", size);
    memcpy(h + 124, digits, 11);
    memcpy(h + 136, "00000000000", 12);
    h[156] = type;
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    tar_sum(h);
    return h;
}

static inline void tar_add_bytes(struct buf *t, const char *name, char type, const void *bytes,
                                 size_t size)
{
    tar_header(t, name, type, (unsigned long)size);
    buf_add(t, bytes, size);
    size_t fill = (512 - size % 512) % 512;
    memset(buf_extend(t, fill), 0, fill);
}

static inline void tar_add(struct buf *t, const char *name, const char *text)
{
    tar_add_bytes(t, name, '0', text, strlen(text));
}

/* The end mark. */
static inline void tar_end(struct buf *t)
{
    memset(buf_extend(t, 1024), 0, 1024);
}

#endif
