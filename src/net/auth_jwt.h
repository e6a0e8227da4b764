/* auth_jwt.h - JSON Web Tokens signed by RS256 (RFC 7515, RFC 7518 part 3.3), by OpenSSL. */
#ifndef NET_AUTH_JWT_H
#define NET_AUTH_JWT_H

#include "base/err.h"
#include "base/json.h"

struct jwt_key;

/* An RSA key of at least 2048 bits, from PEM text without a password.  Errors do not quote it. */
struct jwt_key *jwt_key_read(const char *pem, struct err *e) MUST_CHECK;
void jwt_key_free(struct jwt_key *k);     /* NULL is fine */

/* "header.claims.signature"; `id` (may be NULL) names the key in the header.  The caller frees. */
char *jwt_sign(const struct jwt_key *k, const char *id, const json_t *claims,
               struct err *e) MUST_CHECK;

#endif
