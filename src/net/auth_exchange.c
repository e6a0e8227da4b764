/* auth_exchange.c - see auth_google.h: how each kind of credentials is exchanged for a token. */
#include "net/auth_google.h"

#include "base/file.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOUD_SCOPE "https://www.googleapis.com/auth/cloud-platform"

enum { SUBJECT_MAX = 64 << 10, FORM_MAX = 1 << 20, LIFETIME_S = 3600 };

/* Post a form; the answer is an OAuth token. */
static int post_form(const struct google_credentials *c, struct net *n, const struct buf *form,
                     const char *basic, const char *const *secrets, struct auth_token *t,
                     struct err *e)
{
    const char *what = "the token endpoint";
    if (buf_check(form, "the request for a token", e))
        return -1;
    const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", basic, NULL};
    struct auth_ask q = {
        .http = {.method = "POST",
                 .url = c->token_url,
                 .headers = headers,
                 .body = form->data,
                 .body_size = form->size},
        .what = what,
        .file = c->file,
        .secrets = secrets,
    };
    json_t *answer = auth_ask_json(n, &q, e);
    int result = answer ? auth_token_read(t, answer, what, e) : -1;
    json_decref(answer);
    return result;
}

/* "Authorization: Basic ..." of a client (RFC 6749, part 2.3.1).  The caller frees. */
static char *basic_header(const char *id, const char *secret)
{
    char *plain = xasprintf("%s:%s", id, secret);
    size_t size = strlen(plain);
    unsigned char *coded = xmalloc(4 * ((size + 2) / 3) + 1);
    EVP_EncodeBlock(coded, (unsigned char *)plain, (int)size);
    char *header = xasprintf("Authorization: Basic %s", (char *)coded);
    free(plain);
    free(coded);
    return header;
}

/* RFC 7523 as in developers.google.com/identity/protocols/oauth2/service-account. */
static int service_account(const struct google_credentials *c, struct net *n, const char *scope,
                           struct auth_token *t, struct err *e)
{
    int64_t now = (int64_t)time(NULL);
    json_t *claims = json_object();
    json_put_str(claims, "iss", c->email);
    json_put_str(claims, "scope", scope);
    json_put_str(claims, "aud", c->token_url);
    json_put_int(claims, "iat", now);
    json_put_int(claims, "exp", now + LIFETIME_S);
    char *assertion = jwt_sign(c->key, c->key_id, claims, e);
    json_decref(claims);
    if (!assertion)
        return -1;
    struct buf form;
    buf_init(&form, FORM_MAX);
    auth_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    auth_form_add(&form, "assertion", assertion);
    const char *const secrets[] = {assertion, NULL};
    int result = post_form(c, n, &form, NULL, secrets, t, e);
    buf_release(&form);
    free(assertion);
    return result;
}

static int user(const struct google_credentials *c, struct net *n, struct auth_token *t,
                struct err *e)
{
    struct buf form;
    buf_init(&form, FORM_MAX);
    auth_form_add(&form, "grant_type", "refresh_token");
    auth_form_add(&form, "refresh_token", c->refresh_token);
    char *basic = NULL;
    if (c->kind == GOOGLE_EXTERNAL_USER) {
        basic = basic_header(c->client_id, c->client_secret);
    } else {
        auth_form_add(&form, "client_id", c->client_id);
        auth_form_add(&form, "client_secret", c->client_secret);
    }
    const char *const secrets[] = {c->refresh_token, c->client_secret, NULL};
    int result = post_form(c, n, &form, basic, secrets, t, e);
    if (result && e->kind == ERR_LOGIN) {
        e->hint[0] = 0;
        err_hint(e, "run: gcloud auth application-default login");
    }
    buf_release(&form);
    free(basic);
    return result;
}

/* ------------------------------------------------------------ impersonation -- */

static json_t *words_of(const char *scope)
{
    json_t *list = json_array();
    for (;;) {
        size_t size = strcspn(scope, " ");
        json_array_append_new(list, json_stringn(scope, size));
        if (!scope[size])
            return list;
        scope += size + 1;
    }
}

/* The answer of generateAccessToken: {"accessToken", "expireTime"}. */
static int read_generated(struct auth_token *t, const json_t *o, const char *what, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, "accessToken"));
    const char *time_text = json_string_value(json_object_get(o, "expireTime"));
    int64_t expires = time_text ? auth_time(time_text) : -1;
    if (!text || !auth_is_clean(text))
        return err_set(e, ERR_LOGIN, "%s: the answer: \"accessToken\" is no token", what);
    if (expires < 0)
        return err_set(e, ERR_LOGIN, "%s: the answer: \"expireTime\" is no time", what);
    t->text = xstrdup(text);
    t->expires = expires;
    return 0;
}

/* A token of the service account, made for whom `source` is a token of: the method
 * projects.serviceAccounts.generateAccessToken of the IAM Credentials API. */
static int impersonate(const struct google_credentials *c, struct net *n,
                       const struct auth_token *source, const char *scope, struct auth_token *t,
                       struct err *e)
{
    char *what = xasprintf("impersonation of %s", c->email);
    char *login = xasprintf("Authorization: Bearer %s", source->text);
    char *lifetime = xasprintf("%llds", (long long)c->lifetime_s);
    json_t *o = json_object();
    if (c->delegates)
        json_put(o, "delegates", json_deep_copy(c->delegates));
    json_put(o, "scope", words_of(scope));
    json_put_str(o, "lifetime", lifetime);
    struct buf body;
    buf_init(&body, FORM_MAX);
    json_write_compact(o, &body);
    json_decref(o);

    const char *const headers[] = {"Content-Type: application/json", login, NULL};
    const char *const secrets[] = {source->text, NULL};
    struct auth_ask q = {
        .http = {.method = "POST",
                 .url = c->impersonation_url,
                 .headers = headers,
                 .body = body.data,
                 .body_size = body.size},
        .what = what,
        .secrets = secrets,
    };
    int result = buf_check(&body, "the request for a token", e);
    json_t *answer = result ? NULL : auth_ask_json(n, &q, e);
    result = answer ? read_generated(t, answer, what, e) : -1;
    if (result && e->kind == ERR_LOGIN)
        err_hint(e, "the role Service Account Token Creator on this account is needed");
    json_decref(answer);
    buf_release(&body);
    free(lifetime);
    free(login);
    free(what);
    return result;
}

/* ---------------------------------------------------------- workload identity -- */

static char *fetch_subject(const struct google_credentials *c, struct net *n, size_t *size,
                           struct err *e)
{
    const char *headers[GOOGLE_HEADERS_MAX + 1] = {0};
    int count = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)c->subject_headers, name, value)
    {
        if (count < GOOGLE_HEADERS_MAX)
            headers[count++] = xasprintf("%s: %s", name, json_string_value(value));
    }
    struct auth_ask q = {.http = {.url = c->subject_url, .headers = headers},
                         .what = "the identity provider",
                         .file = c->file};
    struct http_response r = {0};
    char *text = NULL;
    if (!auth_ask(n, &q, &r, e)) {
        *size = r.body ? r.size : 0;
        text = xstrndup(r.body ? r.body : "", *size);
    }
    http_response_release(&r);
    for (int i = 0; i < count; i++)
        free((char *)headers[i]);
    return text;
}

/* The token of the other provider, read anew each time: who put it there renews it. */
static char *subject_token(const struct google_credentials *c, struct net *n, struct err *e)
{
    size_t size = 0;
    char *text = c->subject_file ? file_read(c->subject_file, SUBJECT_MAX, &size, e)
                                 : fetch_subject(c, n, &size, e);
    if (!text) {
        if (c->subject_file)
            e->kind = ERR_LOGIN;
        return NULL;
    }
    if (c->subject_field) {
        struct err garbled = {0};
        json_t *o = json_read_text("", text, size, &garbled);
        const char *field = json_string_value(json_object_get(o, c->subject_field));
        free(text);
        text = xstrdup(field ? field : "");
        json_decref(o);
    }
    size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]))
        text[--size] = 0;
    if (!*text) {
        err_set(e, ERR_LOGIN, "%s: holds no token",
                c->subject_file ? c->subject_file : "the identity provider");
        free(text);
        return NULL;
    }
    return text;
}

/* Google's own field: JSON, percent-encoded before the form is. */
static void add_options(struct buf *form, const char *project)
{
    struct buf text;
    buf_init(&text, FORM_MAX);
    json_t *o = json_object();
    json_put_str(o, "userProject", project);
    json_write_compact(o, &text);
    json_decref(o);
    char *coded = http_encode(text.data, false);
    auth_form_add(form, "options", coded);
    free(coded);
    buf_release(&text);
}

/* RFC 8693 as in cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token. */
static int external(const struct google_credentials *c, struct net *n, const char *scope,
                    struct auth_token *t, struct err *e)
{
    char *subject = subject_token(c, n, e), *basic = NULL;
    if (!subject)
        return -1;
    struct buf form;
    buf_init(&form, FORM_MAX);
    auth_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    auth_form_add(&form, "audience", c->audience);
    auth_form_add(&form, "scope", scope);
    auth_form_add(&form, "requested_token_type", "urn:ietf:params:oauth:token-type:access_token");
    auth_form_add(&form, "subject_token", subject);
    auth_form_add(&form, "subject_token_type", c->subject_type);
    if (c->client_id) {
        basic = basic_header(c->client_id, c->client_secret);
    } else if (c->workforce_project) {
        add_options(&form, c->workforce_project);
    }
    const char *const secrets[] = {subject, basic ? c->client_secret : subject, NULL};
    int result = post_form(c, n, &form, basic, secrets, t, e);
    buf_release(&form);
    free(basic);
    free(subject);
    return result;
}

static int token_as_oneself(const struct google_credentials *c, struct net *n, const char *scope,
                            struct auth_token *t, struct err *e)
{
    switch (c->kind) {
    case GOOGLE_SERVICE_ACCOUNT: return service_account(c, n, scope, t, e);
    case GOOGLE_EXTERNAL: return external(c, n, scope, t, e);
    case GOOGLE_IMPERSONATED: return google_credentials_token(c->source, n, CLOUD_SCOPE, t, e);
    default: return user(c, n, t, e);
    }
}

int google_credentials_token(const struct google_credentials *c, struct net *n, const char *scope,
                             struct auth_token *t, struct err *e)
{
    *t = (struct auth_token){0};
    if (!c->impersonation_url)
        return token_as_oneself(c, n, scope, t, e);
    struct auth_token own;
    if (token_as_oneself(c, n, CLOUD_SCOPE, &own, e))
        return -1;
    int result = impersonate(c, n, &own, scope, t, e);
    auth_token_release(&own);
    return result;
}
