/* checksum.h - the checksums of objects, as stores write them: CRC-32C and MD5 in base64
 * (big-endian), MD5 and SHA-256 in hexadecimal digits.  By OpenSSL. */
#ifndef NET_CHECKSUM_H
#define NET_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"

enum { CHECKSUM_MD5_DIGITS = 32, CHECKSUM_CRC32C_SIZE = 9 };

/* "AAAAAA==" of `size` characters; false when they are no such checksum. */
bool checksum_crc32c_read(const char *text, size_t size, uint32_t *crc);
void checksum_crc32c_write(uint32_t crc, char text[CHECKSUM_CRC32C_SIZE]);

/* An MD5 in base64, 24 characters, as 32 digits. */
bool checksum_md5_read(const char *text, size_t size, char hex[HASH_HEX_SIZE]);

/* Is it `digits` (32 or 64) lower-case hexadecimal digits and nothing else? */
bool checksum_is_hex(const char *text, size_t digits);

/* Are these bytes (this file's) what `digest`, an MD5 or a SHA-256, says?  Where OpenSSL is not
 * allowed to compute MD5 (FIPS), an MD5 counts as right.  `found` receives the digest. */
bool checksum_fits(const char *digest, const void *data, size_t size, char found[HASH_HEX_SIZE]);
int checksum_of_file(const char *digest, const char *path, bool *fits, char found[HASH_HEX_SIZE],
                     struct err *e) MUST_CHECK;

#endif
