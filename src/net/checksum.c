/* checksum.c - see checksum.h. */
#include "net/checksum.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Base64 of exactly `want` bytes (17 at most). */
static bool decode(const char *text, size_t size, uint8_t *out, size_t want)
{
    uint8_t room[24];
    size_t padding = (3 - want % 3) % 3, length = (want + padding) / 3 * 4;
    if (size != length || length / 4 * 3 > sizeof room)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((text[i] == '=') != (i >= size - padding))
            return false;
    if (EVP_DecodeBlock(room, (const unsigned char *)text, (int)size) != (int)(want + padding))
        return false;
    memcpy(out, room, want);
    return true;
}

bool checksum_crc32c_read(const char *text, size_t size, uint32_t *crc)
{
    uint8_t b[4];
    if (!decode(text, size, b, sizeof b))
        return false;
    *crc = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return true;
}

void checksum_crc32c_write(uint32_t crc, char text[CHECKSUM_CRC32C_SIZE])
{
    uint8_t b[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
    EVP_EncodeBlock((unsigned char *)text, b, sizeof b);
}

static void write_hex(const uint8_t *bytes, size_t size, char *hex)
{
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    hex[2 * size] = 0;
}

bool checksum_md5_read(const char *text, size_t size, char hex[HASH_HEX_SIZE])
{
    uint8_t b[16];
    if (!decode(text, size, b, sizeof b))
        return false;
    write_hex(b, sizeof b, hex);
    return true;
}

bool checksum_is_hex(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

/* The computation that `digest` asks for by its length; NULL where it is not possible. */
static EVP_MD_CTX *begin(const char *digest)
{
    const EVP_MD *kind = strlen(digest) == CHECKSUM_MD5_DIGITS ? EVP_md5() : EVP_sha256();
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c)
        mem_die("out of memory");
    if (EVP_DigestInit_ex(c, kind, NULL) != 1) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return c;
}

static void add(EVP_MD_CTX *c, const void *data, size_t size)
{
    if (c && EVP_DigestUpdate(c, data, size) != 1)
        mem_die("OpenSSL cannot compute a digest");
}

/* Compare and free; without a computation, the digest counts as found. */
static bool end(EVP_MD_CTX *c, const char *digest, char found[HASH_HEX_SIZE])
{
    uint8_t b[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    snprintf(found, HASH_HEX_SIZE, "%s", digest);
    if (c && (EVP_DigestFinal_ex(c, b, &size) != 1 || size > HASH_SIZE))
        mem_die("OpenSSL cannot compute a digest");
    if (c)
        write_hex(b, size, found);
    EVP_MD_CTX_free(c);
    return strcmp(found, digest) == 0;
}

bool checksum_fits(const char *digest, const void *data, size_t size, char found[HASH_HEX_SIZE])
{
    EVP_MD_CTX *c = begin(digest);
    add(c, data, size);
    return end(c, digest, found);
}

int checksum_of_file(const char *digest, const char *path, bool *fits, char found[HASH_HEX_SIZE],
                     struct err *e)
{
    enum { PIECE = 1 << 20 };
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set(e, ERR_FAILED, "%s: %s", path, strerror(errno));
    EVP_MD_CTX *c = begin(digest);
    char *piece = xmalloc(PIECE);
    for (size_t size; (size = fread(piece, 1, PIECE, f)) > 0;)
        add(c, piece, size);
    *fits = end(c, digest, found);
    if (ferror(f))
        err_set(e, ERR_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    free(piece);
    fclose(f);
    return e->kind ? -1 : 0;
}
