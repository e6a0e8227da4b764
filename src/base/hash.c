/* hash.c - see hash.h. */
#include "base/hash.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hash {
    EVP_MD_CTX *context;
};

/* OpenSSL fails here only when it has no memory or was built without SHA-256. */
static void must(int ok)
{
    if (ok != 1)
        mem_die("OpenSSL cannot compute SHA-256");
}

struct hash *hash_new(void)
{
    struct hash *h = xmalloc(sizeof *h);
    h->context = EVP_MD_CTX_new();
    must(h->context != NULL);
    must(EVP_DigestInit_ex(h->context, EVP_sha256(), NULL));
    return h;
}

void hash_free(struct hash *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

void hash_add(struct hash *h, const void *data, size_t size)
{
    must(EVP_DigestUpdate(h->context, data, size));
}

void hash_end(struct hash *h, unsigned char digest[HASH_SIZE])
{
    unsigned size = HASH_SIZE;
    must(EVP_DigestFinal_ex(h->context, digest, &size));
    must(EVP_DigestInit_ex(h->context, EVP_sha256(), NULL));
}

void hash_hex(const unsigned char digest[HASH_SIZE], char hex[HASH_HEX_SIZE])
{
    for (int i = 0; i < HASH_SIZE; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[HASH_HEX_SIZE - 1] = 0;
}

void hash_bytes(const void *data, size_t size, char hex[HASH_HEX_SIZE])
{
    unsigned char digest[HASH_SIZE];
    struct hash *h = hash_new();
    hash_add(h, data, size);
    hash_end(h, digest);
    hash_free(h);
    hash_hex(digest, hex);
}

int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *e)
{
    enum { BLOCK = 1 << 17 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: %s", path, strerror(errno));
    unsigned char *block = xmalloc(BLOCK), digest[HASH_SIZE];
    struct hash *h = hash_new();
    ssize_t n;
    while ((n = read(fd, block, BLOCK)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            hash_add(h, block, (size_t)n);
    if (n < 0)
        err_set(e, ERR_FAILED, "%s: %s", path, strerror(errno));
    hash_end(h, digest);
    hash_hex(digest, hex);
    hash_free(h);
    free(block);
    close(fd);
    return n < 0 ? -1 : 0;
}
