/* crc32c.h - the checksum of object storage: CRC-32C (Castagnoli; RFC 3720, appendix B.4). */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` covers (0: nothing yet) followed by these bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The checksum of two pieces, the second of `size_b` bytes, from the checksums of each. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

#endif
