/* auth_aws.c - see auth.h: AWS's keys, where its own tools look for them
 * (docs.aws.amazon.com/sdkref: "Standardized credential providers"). */
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/auth_internal.h"
#include "net/auth_profile.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_on(const char *name)
{
    const char *value = auth_variable(name);
    return value &&
           (!strcasecmp(value, "true") || !strcasecmp(value, "yes") || !strcmp(value, "1"));
}

/* ------------------------------------------------------------------- checks -- */

/* Take over keys, checked: they go into headers. */
static int put_keys(struct auth_aws *out, const char *id, const char *secret, const char *token,
                    const char *place, struct err *e)
{
    if (!auth_is_clean(id) || strchr(id, ':') || !auth_is_clean(secret) ||
        strlen(id) + strlen(secret) + 2 > sizeof out->keys)
        return err_set(e, ERR_LOGIN, "%s: the access key is no key of AWS", place);
    if (token && *token && (!auth_is_clean(token) || strlen(token) >= sizeof out->token))
        return err_set(e, ERR_LOGIN, "%s: the session token is no token of AWS", place);
    snprintf(out->keys, sizeof out->keys, "%s:%s", id, secret);
    snprintf(out->token, sizeof out->token, "%s", token ? token : "");
    return 0;
}

static int put_region(struct auth_aws *out, const char *region, struct err *e)
{
    size_t size = strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    if (region[size] || size == 0 || size >= sizeof out->region)
        return err_set(e, ERR_LOGIN, "\"%.40s\" is no region of AWS", region);
    memcpy(out->region, region, size + 1);
    return 0;
}

/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} of the container's and the instance's
 * services. */
static int read_keys(struct auth_aws *out, const json_t *o, const char *what, int64_t *expires,
                     struct err *e)
{
    struct err wrong = {0};
    const char *id = json_need_str(o, "AccessKeyId", &wrong);
    const char *secret = json_need_str(o, "SecretAccessKey", &wrong);
    const char *token = json_get_str(o, "Token", "", &wrong);
    const char *until = json_get_str(o, "Expiration", NULL, &wrong);
    if (wrong.kind)
        return err_set(e, ERR_LOGIN, "%s: the answer: %s", what, wrong.text);
    *expires = until ? auth_time(until) : INT64_MAX;
    if (*expires < 0)
        return err_set(e, ERR_LOGIN, "%s: the answer: \"Expiration\" is no time", what);
    return put_keys(out, id, secret, token, what, e);
}

/* ----------------------------------------------------------------- profiles -- */

struct profile {
    char *name, *keys_path, *config_path;
    json_t *keys, *config;        /* the sections of both files; NULL: not there */
};

static void profile_release(struct profile *p)
{
    json_decref(p->keys);
    json_decref(p->config);
    free(p->name);
    free(p->keys_path);
    free(p->config_path);
}

static char *path_of(const char *variable, const char *fallback)
{
    const char *path = auth_variable(variable);
    return path ? xstrdup(path) : auth_home(fallback);
}

static int profile_load(struct profile *p, struct err *e)
{
    const char *name = auth_variable("AWS_PROFILE");
    if (!name)
        name = auth_variable("AWS_DEFAULT_PROFILE");
    p->name = xstrdup(name ? name : "default");
    p->keys_path = path_of("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    p->config_path = path_of("AWS_CONFIG_FILE", ".aws/config");
    bool is_default = !strcmp(p->name, "default");
    char *section = is_default ? xstrdup("default") : xasprintf("profile %s", p->name);
    int result = p->keys_path ? profile_read(p->keys_path, p->name, &p->keys, e) : 0;
    if (!result && p->config_path)
        result = profile_read(p->config_path, section, &p->config, e);
    free(section);
    if (!result && name && !p->keys && !p->config)
        return err_set(e, ERR_LOGIN, "AWS_PROFILE: there is no profile \"%s\" in %s and %s",
                       p->name, p->keys_path ? p->keys_path : "~/.aws/credentials",
                       p->config_path ? p->config_path : "~/.aws/config");
    return result;
}

static const char *setting(const json_t *section, const char *key)
{
    const char *value = json_string_value(json_object_get(section, key));
    return value && *value ? value : NULL;
}

/* Ways to log in that a profile may name and that need AWS's own tools. */
static int refuse_others(const struct profile *p, struct err *e)
{
    static const char *const others[] = {"role_arn",       "sso_session",
                                         "sso_start_url",  "credential_process",
                                         "login_session",  "web_identity_token_file"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (setting(p->config, others[i]) || setting(p->keys, others[i])) {
            err_set(e, ERR_LOGIN, "the AWS profile \"%s\" logs in by %s, which is not supported",
                    p->name, others[i]);
            return err_hint(e,
                            "run: eval \"$(aws configure export-credentials --profile %s "
                            "--format env)\"",
                            p->name);
        }
    return 0;
}

/* Keys of the profile: 1 when it has none. */
static int profile_keys(const struct profile *p, struct auth_aws *out, struct err *e)
{
    const json_t *from = setting(p->keys, "aws_access_key_id") ? p->keys : p->config;
    const char *id = setting(from, "aws_access_key_id");
    if (!id)
        return refuse_others(p, e) ? -1 : 1;
    const char *path = from == p->keys ? p->keys_path : p->config_path;
    const char *secret = setting(from, "aws_secret_access_key");
    if (!secret)
        return err_set(e, ERR_LOGIN, "%s: profile \"%s\" has no aws_secret_access_key", path,
                       p->name);
    return put_keys(out, id, secret, setting(from, "aws_session_token"), path, e);
}

/* ------------------------------------------------------------------ services -- */

/* Container credentials (ECS, EKS Pod Identity): 1 when there are none. */
static int container_keys(struct net *n, struct auth_aws *out, int64_t *expires, struct err *e)
{
    static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", NULL};
    const char *relative = auth_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = auth_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *file = auth_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = auth_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (!relative && !full)
        return 1;
    char *url = relative ? xasprintf("http://169.254.170.2%s", relative) : xstrdup(full);
    char *text = NULL, *header = NULL;
    json_t *answer = NULL;
    int result = -1;
    if (auth_check_url(url,
                       relative ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
                                : "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                       hosts, e))
        goto out;
    if (file) {
        text = file_read(file, AUTH_TOKEN_MAX, NULL, e);
        if (!text) {
            e->kind = ERR_LOGIN;
            goto out;
        }
        text[strcspn(text, "\r\n")] = 0;
        token = text;
    }
    if (token && (strpbrk(token, "\r\n") || !*token)) {
        err_set(e, ERR_LOGIN, "the token of AWS's container is not one line of text");
        goto out;
    }
    header = token ? xasprintf("Authorization: %s", token) : NULL;
    const char *const headers[] = {header, NULL};
    struct auth_ask q = {.http = {.url = url, .headers = headers, .total_s = 5},
                         .what = "AWS's container service"};
    answer = auth_ask_json(n, &q, e);
    result = answer ? read_keys(out, answer, q.what, expires, e) : -1;
out:
    json_decref(answer);
    free(header);
    free(text);
    free(url);
    return result;
}

static char *instance_url(const char *path)
{
    const char *end = auth_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (!end)
        end = "http://169.254.169.254";
    size_t size = strlen(end);
    while (size > 0 && end[size - 1] == '/')
        size--;
    return xasprintf("%.*s/%s", (int)size, end, path);
}

/* A line of text from the instance's service; NULL on failure.  The caller frees. */
static char *instance_line(struct net *n, const char *method, const char *path, const char *header,
                           int tries, struct err *e)
{
    char *url = instance_url(path);
    const char *const headers[] = {header, NULL};
    struct auth_ask q = {.http = {.method = method, .url = url, .headers = headers, .total_s = 1},
                         .what = "the instance's metadata service",
                         .tries = tries};
    struct http_response r = {0};
    char *text = NULL;
    if (!auth_ask(n, &q, &r, e)) {
        text = xstrdup(r.body ? r.body : "");
        text[strcspn(text, "\r\n")] = 0;
        if (!auth_is_clean(text)) {
            err_set(e, ERR_LOGIN, "%s: the answer is no line of text", q.what);
            free(text);
            text = NULL;
        }
    }
    http_response_release(&r);
    free(url);
    return text;
}

/* Keys of the instance's role, by IMDSv2: 1 when this is no instance, or one without a role. */
static int instance_keys(struct net *n, struct auth_aws *out, int64_t *expires, struct err *e)
{
    static const char roles[] = "latest/meta-data/iam/security-credentials/";
    if (is_on("AWS_EC2_METADATA_DISABLED"))
        return 1;
    struct err absent = {0};
    char *token = instance_line(n, "PUT", "latest/api/token",
                                "X-aws-ec2-metadata-token-ttl-seconds: 21600", 2, &absent);
    if (!token)
        return absent.kind == ERR_STOPPED ? err_set(e, ERR_STOPPED, "%s", absent.text) : 1;
    char *header = xasprintf("X-aws-ec2-metadata-token: %s", token);
    char *role = instance_line(n, NULL, roles, header, 3, &absent);
    int result = 1;
    if (!role && absent.kind != ERR_LOGIN)
        result = err_set(e, absent.kind, "%s", absent.text);
    if (role) {
        char *name = http_encode(role, false), *path = xasprintf("%s%s", roles, name);
        char *url = instance_url(path);
        const char *const headers[] = {header, NULL};
        struct auth_ask q = {.http = {.url = url, .headers = headers, .total_s = 5},
                             .what = "the instance's metadata service"};
        json_t *answer = auth_ask_json(n, &q, e);
        result = answer ? read_keys(out, answer, q.what, expires, e) : -1;
        json_decref(answer);
        free(url);
        free(path);
        free(name);
    }
    free(role);
    free(header);
    free(token);
    return result;
}

/* ------------------------------------------------------------------ together -- */

static int find_keys(struct net *n, const struct profile *p, struct auth_aws *out, int64_t *expires,
                     struct err *e)
{
    int result = profile_keys(p, out, e);
    if (result == 1 && auth_variable("AWS_WEB_IDENTITY_TOKEN_FILE") &&
        auth_variable("AWS_ROLE_ARN")) {
        err_set(e, ERR_LOGIN, "AWS_WEB_IDENTITY_TOKEN_FILE: web identities are not supported");
        return err_hint(e, "run: eval \"$(aws configure export-credentials --format env)\"");
    }
    if (result == 1)
        result = container_keys(n, out, expires, e);
    if (result == 1)
        result = instance_keys(n, out, expires, e);
    return result < 0 ? -1 : 0;
}

int auth_aws_fetch(struct net *n, void *arg, void *value, int64_t *expires, struct err *e)
{
    (void)arg;
    struct auth_aws *out = value;
    struct profile p = {0};
    *expires = INT64_MAX;
    const char *id = auth_variable("AWS_ACCESS_KEY_ID");
    const char *secret = auth_variable("AWS_SECRET_ACCESS_KEY");
    const char *region = auth_variable("AWS_REGION");
    if (!region)
        region = auth_variable("AWS_DEFAULT_REGION");
    bool is_anonymous = is_on("AWS_NO_SIGN_REQUEST");
    int result = 0;
    if (!is_anonymous && !id != !secret)
        result = err_set(e, ERR_LOGIN, "%s is set, %s is not",
                         id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                         id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    else if (!is_anonymous && id)
        result =
            put_keys(out, id, secret, auth_variable("AWS_SESSION_TOKEN"), "AWS_ACCESS_KEY_ID", e);
    bool is_open = !is_anonymous && !id;
    if (!result && (is_open || !region))
        result = profile_load(&p, e);
    if (!result && is_open)
        result = find_keys(n, &p, out, expires, e);
    if (!result && !region)
        region =
            setting(p.config, "region") ? setting(p.config, "region") : setting(p.keys, "region");
    if (!result)
        result = put_region(out, region ? region : "us-east-1", e);
    profile_release(&p);
    return result;
}

int auth_aws(struct net *n, bool renew, struct auth_aws *out, struct err *e)
{
    return auth_cache_get(&net_auth(n)->aws, n, renew, out, e);
}
