/* base64.h - bytes inside text (RFC 4648, section 4). */
#ifndef DATA_BASE64_H
#define DATA_BASE64_H

#include <stddef.h>

/* The bytes of `size` characters; white space is skipped, "=" may be missing at the end.  NULL, and
 * `*size_out` the offset of the first wrong character, when it is not base64.  The caller frees. */
void *base64_decode(const char *text, size_t size, size_t *size_out);

#endif
