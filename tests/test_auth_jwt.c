/* test_auth_jwt.c - which keys are taken, and the form of what they sign; test_auth.c verifies the
 * signature. */
#include "testing.h"

#include "net/auth_jwt.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

static char *pem_of(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    long size = BIO_get_mem_data(out, &data);
    char *pem = strndup(data, (size_t)size);
    BIO_free(out);
    return pem;
}

static void test_auth_jwt__takes_rsa_keys_only(void **state)
{
    (void)state;
    EVP_PKEY *curve = EVP_EC_gen("P-256"), *small = EVP_RSA_gen(1024);
    char *pems[] = {pem_of(curve), pem_of(small)};
    for (int i = 0; i < 2; i++) {
        struct err e = {0};
        assert_null(jwt_key_read(pems[i], &e));
        assert_err(e, ERR_LOGIN, "is not an RSA key of at least 2048 bits");
        free(pems[i]);
    }
    EVP_PKEY_free(curve);
    EVP_PKEY_free(small);
    static const char *const bad[] = {
        "", "word", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00000000000000000000000000000000\n\nAAAAAAAAAAAAAAAAAAAAAA==\n"
        "-----END RSA PRIVATE KEY-----\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(jwt_key_read(bad[i], &e));
        assert_err(e, ERR_LOGIN, "is no private key in PEM form");
    }
}

static void test_auth_jwt__writes_header_and_claims(void **state)
{
    (void)state;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    char *pem = pem_of(rsa);
    struct err e = {0};
    struct jwt_key *key = jwt_key_read(pem, &e);
    assert_ok(e);
    json_t *claims = json_object();
    json_put_str(claims, "iss", "joe");
    char *jwt = jwt_sign(key, NULL, claims, &e);
    assert_ok(e);
    /* base64url of {"alg":"RS256","typ":"JWT"} and {"iss":"joe"} */
    static const char front[] = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJqb2UifQ.";
    assert_memory_equal(jwt, front, sizeof front - 1);
    assert_int_equal(strlen(jwt) - (sizeof front - 1), 342);    /* 256 bytes, no padding */
    assert_null(strpbrk(jwt, "+/=\n"));
    char *other = jwt_sign(key, "id", claims, &e);
    assert_string_not_equal(jwt, other);
    free(other);
    free(jwt);
    json_decref(claims);
    jwt_key_free(key);
    jwt_key_free(NULL);
    free(pem);
    EVP_PKEY_free(rsa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_jwt__takes_rsa_keys_only),
        cmocka_unit_test(test_auth_jwt__writes_header_and_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
