/* hash.h - SHA-256, by OpenSSL. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/err.h"

#include <stddef.h>

#define HASH_SIZE 32                       /* bytes of a digest */
#define HASH_HEX_SIZE (2 * HASH_SIZE + 1)  /* as lower-case hexadecimal digits and a zero */

struct hash;

/* A hash of no bytes so far.  hash_free(NULL) is fine. */
struct hash *hash_new(void);
void hash_free(struct hash *h);
void hash_add(struct hash *h, const void *data, size_t size);

/* The digest of what was added; the hash starts over. */
void hash_end(struct hash *h, unsigned char digest[HASH_SIZE]);

void hash_hex(const unsigned char digest[HASH_SIZE], char hex[HASH_HEX_SIZE]);
void hash_bytes(const void *data, size_t size, char hex[HASH_HEX_SIZE]);
MUST_CHECK int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *e);

#endif
