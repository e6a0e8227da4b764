/* auth_google.c - see auth_google.h: reading the files.  The exchanges are in auth_exchange.c. */
#include "net/auth_google.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CREDENTIALS_MAX = 256 << 10, DEPTH_MAX = 4, LIFETIME_MAX = 43200 };

/* Azure's and Amazon's machines have their identity at this address only. */
static const char *const metadata_hosts[] = {"169.254.169.254", NULL};

static int read_kind(struct google_credentials *c, const json_t *o, int depth, struct err *e);

void google_credentials_free(struct google_credentials *c)
{
    if (!c)
        return;
    google_credentials_free(c->source);
    jwt_key_free(c->key);
    json_decref(c->json);
    free(c->email);
    free(c->file);
    free(c);
}

/* A string of ours that goes into a form or a header: there, and not empty. */
static const char *need(const json_t *o, const char *key, struct err *e)
{
    const char *s = json_need_str(o, key, e);
    if (s && !*s)
        err_set(e, ERR_LOGIN, "\"%s\" is empty", key);
    return s;
}

static const char *need_url(const json_t *o, const char *key, const char *fallback, struct err *e)
{
    const char *url = json_get_str(o, key, fallback, e);
    if (!url)
        err_set(e, ERR_LOGIN, "\"%s\" is missing", key);
    else if (!e->kind && auth_check_url(url, key, NULL, e))
        return NULL;
    return url;
}

static int read_service_account(struct google_credentials *c, const json_t *o, struct err *e)
{
    c->kind = GOOGLE_SERVICE_ACCOUNT;
    const char *email = need(o, "client_email", e);
    c->key_id = json_get_str(o, "private_key_id", NULL, e);
    c->project = json_get_str(o, "project_id", NULL, e);
    c->token_url = need_url(o, "token_uri", "https://oauth2.googleapis.com/token", e);
    const char *pem = need(o, "private_key", e);
    if (e->kind)
        return -1;
    c->email = xstrdup(email);
    c->key = jwt_key_read(pem, e);
    return c->key ? 0 : err_in(e, "\"private_key\"");
}

static int read_user(struct google_credentials *c, const json_t *o, struct err *e)
{
    c->kind = GOOGLE_USER;
    c->client_id = need(o, "client_id", e);
    c->client_secret = need(o, "client_secret", e);
    c->refresh_token = need(o, "refresh_token", e);
    c->token_url = need_url(o, "token_uri", "https://oauth2.googleapis.com/token", e);
    return e->kind ? -1 : 0;
}

static int read_external_user(struct google_credentials *c, const json_t *o, struct err *e)
{
    c->kind = GOOGLE_EXTERNAL_USER;
    c->client_id = need(o, "client_id", e);
    c->client_secret = need(o, "client_secret", e);
    c->refresh_token = need(o, "refresh_token", e);
    c->token_url = need_url(o, "token_url", "https://sts.googleapis.com/v1/oauthtoken", e);
    return e->kind ? -1 : 0;
}

/* ".../serviceAccounts/EMAIL:generateAccessToken": whose token it gives. */
static int read_impersonation(struct google_credentials *c, const json_t *o, struct err *e)
{
    static const char verb[] = ":generateAccessToken";
    c->impersonation_url = need_url(o, "service_account_impersonation_url", NULL, e);
    if (e->kind)
        return -1;
    const char *slash = strrchr(c->impersonation_url, '/');
    const char *end = slash ? strstr(slash, verb) : NULL;
    if (!end || end == slash + 1 || end[sizeof verb - 1])
        return err_set(e, ERR_LOGIN,
                       "\"service_account_impersonation_url\" does not end in "
                       "/serviceAccounts/EMAIL%s",
                       verb);
    c->email = xstrndup(slash + 1, (size_t)(end - slash - 1));
    return 0;
}

/* How the other provider's token in the file or answer is written: as it is, or a field of JSON. */
static int read_format(struct google_credentials *c, const json_t *source, struct err *e)
{
    const json_t *format = json_get_object(source, "format", e);
    const char *type = format ? json_get_str(format, "type", "text", e) : "text";
    if (e->kind)
        return err_in(e, "\"credential_source\"");
    if (!strcmp(type, "json"))
        c->subject_field = need(format, "subject_token_field_name", e);
    else if (strcmp(type, "text") != 0)
        err_set(e, ERR_LOGIN, "\"type\" is \"%.40s\", expected \"text\" or \"json\"", type);
    return e->kind ? err_in(e, "\"credential_source\": \"format\"") : 0;
}

static int read_headers(struct google_credentials *c, const json_t *source, struct err *e)
{
    c->subject_headers = json_get_object(source, "headers", e);
    if (json_object_size(c->subject_headers) > GOOGLE_HEADERS_MAX)
        return err_set(e, ERR_LOGIN, "\"headers\": more than %d", GOOGLE_HEADERS_MAX);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)c->subject_headers, key, value)
    {
        const char *text = json_string_value(value);
        if (!auth_is_clean(key) || strchr(key, ':') || !text || strpbrk(text, "\r\n"))
            return err_set(e, ERR_LOGIN, "\"headers\": not a name and a text of one line");
    }
    return e->kind ? -1 : 0;
}

static int read_source(struct google_credentials *c, const json_t *o, struct err *e)
{
    const json_t *source = json_need_object(o, "credential_source", e);
    if (e->kind)
        return -1;
    if (json_object_get(source, "executable"))
        return err_set(e, ERR_LOGIN, "\"credential_source\" is a program, and none is run for it");
    if (json_object_get(source, "environment_id") || json_object_get(source, "certificate"))
        return err_set(e, ERR_LOGIN,
                       "\"credential_source\" is an identity of AWS or a certificate, which is "
                       "not supported: expected \"file\" or \"url\"");
    c->subject_file = json_get_str(source, "file", NULL, e);
    c->subject_url = json_get_str(source, "url", NULL, e);
    if (e->kind || read_format(c, source, e))
        return -1;
    if (!c->subject_file == !c->subject_url)
        return err_set(e, ERR_LOGIN, "\"credential_source\": expected one of \"file\" and \"url\"");
    if (c->subject_url && auth_check_url(c->subject_url, "url", metadata_hosts, e))
        return err_in(e, "\"credential_source\"");
    return read_headers(c, source, e);
}

static int read_external(struct google_credentials *c, const json_t *o, struct err *e)
{
    c->kind = GOOGLE_EXTERNAL;
    c->audience = need(o, "audience", e);
    c->subject_type = need(o, "subject_token_type", e);
    c->token_url = need_url(o, "token_url", "https://sts.googleapis.com/v1/token", e);
    c->client_id = json_get_str(o, "client_id", NULL, e);
    c->client_secret = json_get_str(o, "client_secret", "", e);
    c->workforce_project = json_get_str(o, "workforce_pool_user_project", NULL, e);
    const json_t *options = json_get_object(o, "service_account_impersonation", e);
    if (options)
        c->lifetime_s = json_get_int(options, "token_lifetime_seconds", c->lifetime_s, e);
    if (e->kind || read_source(c, o, e))
        return -1;
    return json_object_get(o, "service_account_impersonation_url") ? read_impersonation(c, o, e)
                                                                   : 0;
}

static int read_impersonated(struct google_credentials *c, const json_t *o, int depth,
                             struct err *e)
{
    c->kind = GOOGLE_IMPERSONATED;
    if (read_impersonation(c, o, e))
        return -1;
    c->delegates = json_get_array(o, "delegates", e);
    for (size_t i = 0; i < json_array_size(c->delegates); i++)
        if (!json_is_string(json_array_get(c->delegates, i)))
            err_set(e, ERR_LOGIN, "\"delegates\" holds something else than strings");
    json_t *source = json_need_object(o, "source_credentials", e);
    if (e->kind)
        return -1;
    if (depth == DEPTH_MAX)
        return err_set(e, ERR_LOGIN, "more than %d credentials inside each other", DEPTH_MAX);
    c->source = xcalloc(1, sizeof *c->source);
    c->source->file = xstrdup(c->file);
    c->source->json = json_incref(source);
    return read_kind(c->source, source, depth + 1, e) ? err_in(e, "\"source_credentials\"") : 0;
}

static int read_kind(struct google_credentials *c, const json_t *o, int depth, struct err *e)
{
    const char *type = json_need_str(o, "type", e);
    c->lifetime_s = 3600;
    c->quota_project = json_get_str(o, "quota_project_id", NULL, e);
    if (e->kind)
        return -1;
    if (c->quota_project && *c->quota_project && !auth_is_clean(c->quota_project))
        return err_set(e, ERR_LOGIN, "\"quota_project_id\" is no name of a project");
    int result;
    if (!strcmp(type, "service_account"))
        result = read_service_account(c, o, e);
    else if (!strcmp(type, "authorized_user"))
        result = read_user(c, o, e);
    else if (!strcmp(type, "external_account_authorized_user"))
        result = read_external_user(c, o, e);
    else if (!strcmp(type, "external_account"))
        result = read_external(c, o, e);
    else if (!strcmp(type, "impersonated_service_account"))
        result = read_impersonated(c, o, depth, e);
    else
        return err_set(e, ERR_LOGIN,
                       "\"type\" is \"%.60s\", expected service_account, authorized_user, "
                       "impersonated_service_account or external_account",
                       type);
    if (!result && (c->lifetime_s < 600 || c->lifetime_s > LIFETIME_MAX))
        return err_set(e, ERR_LOGIN, "\"token_lifetime_seconds\" is %lld, expected 600 to %d",
                       (long long)c->lifetime_s, LIFETIME_MAX);
    return result;
}

struct google_credentials *google_credentials_parse(const char *path, const char *text, size_t size,
                                                    struct err *e)
{
    struct google_credentials *c = xcalloc(1, sizeof *c);
    struct err garbled = {0};
    c->file = xstrdup(path);
    c->json = json_read_text("", text, size, &garbled);
    /* The parser's message may quote what stands there, which may be a key. */
    if (!json_is_object(c->json))
        err_set(e, ERR_LOGIN, "is no JSON object");
    if (!e->kind && !read_kind(c, c->json, 1, e))
        return c;
    err_in(e, "%s", path);
    e->kind = ERR_LOGIN;
    google_credentials_free(c);
    return NULL;
}

struct google_credentials *google_credentials_read(const char *path, struct err *e)
{
    size_t size;
    char *text = file_read(path, CREDENTIALS_MAX, &size, e);
    if (!text) {
        e->kind = ERR_LOGIN;
        return NULL;
    }
    struct google_credentials *c = google_credentials_parse(path, text, size, e);
    free(text);
    return c;
}

char *google_credentials_describe(const struct google_credentials *c)
{
    switch (c->kind) {
    case GOOGLE_SERVICE_ACCOUNT:
        return xasprintf("service account %s (from %s)", c->email, c->file);
    case GOOGLE_IMPERSONATED:
        return xasprintf("service account %s, impersonated (from %s)", c->email, c->file);
    case GOOGLE_EXTERNAL:
        return c->email ? xasprintf("service account %s by workload identity (from %s)", c->email,
                                    c->file)
                        : xasprintf("workload identity (from %s)", c->file);
    default: return xasprintf("user credentials (from %s)", c->file);
    }
}
