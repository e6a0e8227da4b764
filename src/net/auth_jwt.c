/* auth_jwt.c - see auth_jwt.h. */
#include "net/auth_jwt.h"

#include "base/buf.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { JWT_MAX = 64 << 10, KEY_BITS_MIN = 2048, SIGNATURE_MAX = 2048 };

struct jwt_key {
    EVP_PKEY *rsa;
};

/* OpenSSL would ask for a password on the terminal. */
static int no_password(char *out, int size, int is_writing, void *arg)
{
    (void)out, (void)size, (void)is_writing, (void)arg;
    return -1;
}

struct jwt_key *jwt_key_read(const char *pem, struct err *e)
{
    BIO *text = strlen(pem) <= JWT_MAX ? BIO_new_mem_buf(pem, -1) : NULL;
    EVP_PKEY *rsa = text ? PEM_read_bio_PrivateKey(text, NULL, no_password, NULL) : NULL;
    BIO_free(text);
    if (!rsa) {
        err_set(e, ERR_LOGIN, "is no private key in PEM form");
        return NULL;
    }
    if (EVP_PKEY_base_id(rsa) != EVP_PKEY_RSA || EVP_PKEY_bits(rsa) < KEY_BITS_MIN) {
        err_set(e, ERR_LOGIN, "is not an RSA key of at least %d bits", KEY_BITS_MIN);
        EVP_PKEY_free(rsa);
        return NULL;
    }
    struct jwt_key *k = xmalloc(sizeof *k);
    k->rsa = rsa;
    return k;
}

void jwt_key_free(struct jwt_key *k)
{
    if (k)
        EVP_PKEY_free(k->rsa);
    free(k);
}

/* Base64 with - and _, without padding (RFC 7515, appendix C). */
static void add_base64url(struct buf *out, const void *data, size_t size)
{
    unsigned char *text = xmalloc(4 * ((size + 2) / 3) + 1);
    int length = EVP_EncodeBlock(text, data, (int)size);
    for (int i = 0; i < length && text[i] != '='; i++)
        buf_add_char(out, text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i]);
    free(text);
}

static void add_json(struct buf *out, const json_t *o)
{
    struct buf text;
    buf_init(&text, JWT_MAX / 2);
    json_write_compact(o, &text);
    add_base64url(out, text.data, text.size);
    buf_release(&text);
}

/* EVP_DigestSign takes the key as not const, though it only reads it; any number of threads may. */
static bool sign(const struct jwt_key *k, const struct buf *text, unsigned char *out, size_t *size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_fine =
        context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, k->rsa) == 1 &&
        EVP_DigestSign(context, out, size, (const unsigned char *)text->data, text->size) == 1;
    EVP_MD_CTX_free(context);
    return is_fine;
}

char *jwt_sign(const struct jwt_key *k, const char *id, const json_t *claims, struct err *e)
{
    struct buf out;
    buf_init(&out, JWT_MAX);
    json_t *header = json_object();
    json_put_str(header, "alg", "RS256");
    json_put_str(header, "typ", "JWT");
    if (id)
        json_put_str(header, "kid", id);
    add_json(&out, header);
    json_decref(header);
    buf_add_char(&out, '.');
    add_json(&out, claims);

    unsigned char signature[SIGNATURE_MAX];
    size_t size = sizeof signature;
    if (EVP_PKEY_size(k->rsa) > SIGNATURE_MAX || !sign(k, &out, signature, &size)) {
        err_set(e, ERR_LOGIN, "the private key could not sign");
        buf_release(&out);
        return NULL;
    }
    buf_add_char(&out, '.');
    add_base64url(&out, signature, size);
    if (buf_check(&out, "the signed request", e)) {
        buf_release(&out);
        return NULL;
    }
    return buf_take(&out, NULL);
}
