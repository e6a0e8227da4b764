/* auth_token.h - a token with its end, and the requests by which credentials are turned into one.
 *
 * For the files auth*.c.  request.h cannot be used here: it asks auth.h for its headers.
 */
#ifndef NET_AUTH_TOKEN_H
#define NET_AUTH_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "net/http.h"
#include "net/net.h"

enum { AUTH_TOKEN_MAX = 8000, AUTH_ANSWER_MAX = 1 << 20 };

struct auth_token {
    char *text;                   /* owned; printable, without spaces; NULL: none */
    int64_t expires;              /* seconds since 1970 */
};
void auth_token_release(struct auth_token *t);

/* Is it fit to be put into a header: 1 to AUTH_TOKEN_MAX printable ASCII characters, no spaces? */
bool auth_is_clean(const char *s);

/* An exchange with a service that hands out tokens. */
struct auth_ask {
    struct http_request http;     /* total_s 0: 20 s a try */
    const char *what;             /* for messages: "the token endpoint" */
    const char *file;             /* that the credentials came from; NULL: none */
    int tries;                    /* 0: 4 */
    const char *const *secrets;   /* NULL-ended: texts that no message may repeat; may be NULL */
};

/* Send it, again after failures that may pass.  Statuses other than 200 are ERR_LOGIN, with the
 * reason that the answer gives; no answer is ERR_RETRY.  The caller releases `r`. */
int auth_ask(struct net *n, const struct auth_ask *q, struct http_response *r,
             struct err *e) MUST_CHECK;

/* The same; the answer must be a JSON object (caller: json_decref). */
json_t *auth_ask_json(struct net *n, const struct auth_ask *q, struct err *e) MUST_CHECK;

/* An OAuth answer {"access_token", "expires_in"} (RFC 6749, part 5.1) as a token. */
int auth_token_read(struct auth_token *t, const json_t *o, const char *what,
                    struct err *e) MUST_CHECK;

/* "name=value" at the end of a form (application/x-www-form-urlencoded); NULL adds nothing. */
void auth_form_add(struct buf *form, const char *name, const char *value);

/* Seconds since 1970 of "2026-01-31T23:59:59Z" (fractions of a second are left out), -1 when it
 * is no such time. */
int64_t auth_time(const char *text);

/* May secrets be sent there?  https, or http on this machine, without user or password; other hosts
 * by http only when they are among `hosts` (NULL-ended; may be NULL).  ERR_LOGIN, naming `what`. */
int auth_check_url(const char *url, const char *what, const char *const *hosts,
                   struct err *e) MUST_CHECK;

#endif
