/* auth_google.h - Google's credential files (AIP-4110 and what it refers to), and the tokens that
 * they are exchanged for.  For auth.c. */
#ifndef NET_AUTH_GOOGLE_H
#define NET_AUTH_GOOGLE_H

#include "base/err.h"
#include "base/json.h"
#include "net/auth_jwt.h"
#include "net/auth_token.h"
#include "net/net.h"

/* What tokens are asked for: reading and writing objects, and queries of BigQuery. */
#define GOOGLE_SCOPE                                                                               \
    "https://www.googleapis.com/auth/devstorage.read_write "                                      \
    "https://www.googleapis.com/auth/bigquery"

enum google_kind {
    GOOGLE_SERVICE_ACCOUNT,       /* a private key */
    GOOGLE_USER,                  /* a refresh token, from gcloud auth application-default login */
    GOOGLE_EXTERNAL_USER,         /* the same of a workforce pool */
    GOOGLE_EXTERNAL,              /* a token of another provider, to be exchanged */
    GOOGLE_IMPERSONATED,          /* other credentials that may act as a service account */
};

enum { GOOGLE_HEADERS_MAX = 16 };

/* One file, checked; never changed, so any number of threads may use it.  Strings belong to `json`
 * and are NULL when the kind does not have them. */
struct google_credentials {
    enum google_kind kind;
    char *file;                             /* its path */
    json_t *json;
    char *email;                            /* of the service account; NULL: none; owned */
    const char *project, *quota_project;
    const char *token_url;
    const char *key_id;                     /* service account */
    struct jwt_key *key;
    const char *client_id, *client_secret, *refresh_token;
    const char *audience, *subject_type;    /* external */
    const char *subject_file, *subject_url, *subject_field, *workforce_project;
    const json_t *subject_headers;          /* GOOGLE_HEADERS_MAX at most */
    const char *impersonation_url;          /* external (may be NULL), impersonated */
    const json_t *delegates;
    int64_t lifetime_s;
    struct google_credentials *source;      /* impersonated: who acts */
};

/* Read a file; every mistake in it is ERR_LOGIN, "PATH: ...". */
struct google_credentials *google_credentials_read(const char *path, struct err *e) MUST_CHECK;
/* The same out of a text. */
struct google_credentials *google_credentials_parse(const char *path, const char *text, size_t size,
                                                    struct err *e) MUST_CHECK;
void google_credentials_free(struct google_credentials *c);     /* NULL is fine */

/* "service account x@y (from FILE)"; the caller frees. */
char *google_credentials_describe(const struct google_credentials *c);

/* A new token for `scope` (words apart by spaces). */
int google_credentials_token(const struct google_credentials *c, struct net *n, const char *scope,
                             struct auth_token *t, struct err *e) MUST_CHECK;

#endif
