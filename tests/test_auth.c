/* test_auth.c - Application Default Credentials against a token endpoint of our own: every type of
 * file, the order of places, bad files, expiry, one request for many threads. */
#include "auth_testing.h"

#include "base/clock.h"
#include "base/json.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>

enum { THREADS = 100 };

#define TOKEN "{\"access_token\": \"ya29.first\", \"expires_in\": 3599, \"token_type\": \"Bearer\"}"
#define OTHER_TOKEN "{\"access_token\": \"ya29.second\", \"expires_in\": 3599}"

/* The key of the service account; made once, since it takes a moment. */
static EVP_PKEY *rsa;

static int make_key(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    return rsa ? 0 : -1;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    return 0;
}

/* The private key as a JSON string with its quotes.  The caller releases. */
static void key_text(struct buf *out)
{
    BIO *pem = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(pem, rsa, NULL, NULL, 0, NULL, NULL), 1);
    char *data;
    long size = BIO_get_mem_data(pem, &data);
    buf_init(out, 1 << 16);
    json_write_str(data, (size_t)size, out);
    BIO_free(pem);
}

static char *service_account(void)
{
    struct buf key;
    key_text(&key);
    char *text = xasprintf("{\"type\": \"service_account\", \"project_id\": \"the-project\", "
                           "\"private_key_id\": \"key-7\", \"private_key\": %s, "
                           "\"client_email\": \"robot@the-project.iam.gserviceaccount.com\", "
                           "\"token_uri\": \"$URL/token\"}",
                           key.data);
    buf_release(&key);
    return text;
}

static const char user_file[] =
    "{\"type\": \"authorized_user\", \"client_id\": \"id.apps\", \"client_secret\": "
    "\"s3cret-word\", "
    "\"refresh_token\": \"1//refresh me\", \"quota_project_id\": \"payer\", "
    "\"token_uri\": \"$URL/token\"}";

/* The value of a field of a form, decoded.  The caller frees. */
static char *form_field(const char *form, const char *name)
{
    size_t size = strlen(name);
    for (const char *s = form; s; s = strchr(s, '&') ? strchr(s, '&') + 1 : NULL)
        if (!strncmp(s, name, size) && s[size] == '=') {
            char *out = xmalloc(strlen(s) + 1), *to = out;
            for (s += size + 1; *s && *s != '&'; s++)
                if (*s == '%') {
                    *to++ = (char)strtol((char[]){s[1], s[2], 0}, NULL, 16);
                    s += 2;
                } else {
                    *to++ = *s;
                }
            *to = 0;
            return out;
        }
    print_error("no field \"%s\" in: %s\n", name, form);
    fail();
    return NULL;
}

static void assert_field(const char *form, const char *name, const char *expected)
{
    char *value = form_field(form, name);
    assert_string_equal(value, expected);
    free(value);
}

/* Base64url without padding, decoded; a zero follows.  The caller frees. */
static unsigned char *decode(const char *s, size_t size, size_t *out_size)
{
    char *padded = xcalloc(size + 4, 1);
    for (size_t i = 0; i < size; i++)
        padded[i] = s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i];
    size_t whole = (size + 3) / 4 * 4;
    for (size_t i = size; i < whole; i++)
        padded[i] = '=';
    unsigned char *out = xcalloc(whole + 1, 1);
    int n = EVP_DecodeBlock(out, (unsigned char *)padded, (int)whole);
    assert_true(n >= 0);
    *out_size = (size_t)n - (whole - size);
    out[*out_size] = 0;
    free(padded);
    return out;
}

/* The claims of a token whose signature is right.  The caller calls json_decref. */
static json_t *verified_claims(const char *jwt)
{
    const char *first = strchr(jwt, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    assert_non_null(second);
    size_t size;
    unsigned char *header = decode(jwt, (size_t)(first - jwt), &size);
    assert_string_equal((char *)header, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"key-7\"}");
    free(header);

    unsigned char *signature = decode(second + 1, strlen(second + 1), &size);
    assert_int_equal(size, 256);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, rsa), 1);
    assert_int_equal(EVP_DigestVerify(context, signature, size, (const unsigned char *)jwt,
                                      (size_t)(second - jwt)),
                     1);
    EVP_MD_CTX_free(context);
    free(signature);

    struct err e = {0};
    unsigned char *claims = decode(first + 1, (size_t)(second - first - 1), &size);
    json_t *o = json_read_text("claims", (char *)claims, size, &e);
    assert_ok(e);
    free(claims);
    return o;
}

static void assert_login(struct fake *f, const char *expected)
{
    char header[AUTH_HEADER_MAX] = "";
    int result = auth_google(f->net, false, header, &f->e);
    assert_ok(f->e);
    assert_int_equal(result, 0);
    assert_string_equal(header, expected);
}

static void assert_refused(struct fake *f, enum err_kind kind, const char *part)
{
    char header[AUTH_HEADER_MAX] = "";
    assert_int_equal(auth_google(f->net, false, header, &f->e), -1);
    assert_err(f->e, kind, part);
    assert_string_equal(header, "");
    f->e = (struct err){0};
}

static void assert_description(struct fake *f, const char *part)
{
    char *text = auth_google_describe(f->net, &f->e);
    assert_ok(f->e);
    assert_has(text, part);
    free(text);
}

/* --------------------------------------------------------------- file types -- */

static void test_auth__service_account_signs_a_request(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/token", .status = 200, .body = TOKEN};
    char *text = service_account();
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", text);
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_has(f.rules[0].asked, "POST /token");
    assert_has(f.rules[0].asked, "content-type: application/x-www-form-urlencoded");
    assert_field(f.rules[0].sent, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");

    char *jwt = form_field(f.rules[0].sent, "assertion");
    json_t *claims = verified_claims(jwt);
    struct err e = {0};
    assert_string_equal(json_need_str(claims, "iss", &e),
                        "robot@the-project.iam.gserviceaccount.com");
    char *url = xasprintf("%s/token", http_server_url(f.server));
    assert_string_equal(json_need_str(claims, "aud", &e), url);
    assert_string_equal(json_need_str(claims, "scope", &e),
                        "https://www.googleapis.com/auth/devstorage.read_write "
                        "https://www.googleapis.com/auth/bigquery");
    int64_t now = (int64_t)time(NULL), made = json_need_int(claims, "iat", &e);
    assert_true(made <= now && made > now - 60);
    assert_int_equal(json_need_int(claims, "exp", &e) - made, 3600);
    assert_ok(e);

    assert_description(&f, "service account robot@the-project.iam.gserviceaccount.com (from ");
    const char *project;
    assert_int_equal(auth_google_project(f.net, &project, &f.e), 0);
    assert_string_equal(project, "the-project");
    assert_string_equal(auth_google_quota_project(f.net), "");
    assert_int_equal(f.rules[0].count, 1);
    json_decref(claims);
    free(jwt);
    free(url);
    free(text);
    fake_stop(&f);
}

static void test_auth__user_hands_in_the_refresh_token(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/token", .status = 200, .body = TOKEN};
    free(fake_file(&f, ".config/gcloud/application_default_credentials.json", user_file));
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_field(f.rules[0].sent, "grant_type", "refresh_token");
    assert_field(f.rules[0].sent, "refresh_token", "1//refresh me");
    assert_field(f.rules[0].sent, "client_id", "id.apps");
    assert_field(f.rules[0].sent, "client_secret", "s3cret-word");
    assert_string_equal(auth_google_quota_project(f.net), "payer");
    assert_description(&f, "user credentials (from ");
    setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "another", 1);
    assert_string_equal(auth_google_quota_project(f.net), "another");
    fake_stop(&f);
}

static void test_auth__impersonation_acts_as_another_account(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/token", .status = 200, .body = TOKEN};
    f.rules[1] = (struct fake_rule){
        .path = "/v1/projects/-/serviceAccounts/target@p.iam.gserviceaccount.com:"
                "generateAccessToken",
        .status = 200,
        .body = "{\"accessToken\": \"ya29.target\", \"expireTime\": \"2093-03-01T12:00:00Z\"}"};
    char *text = xasprintf("{\"type\": \"impersonated_service_account\", "
                           "\"delegates\": [\"projects/-/serviceAccounts/between@p.com\"], "
                           "\"service_account_impersonation_url\": \"$URL%s\", "
                           "\"source_credentials\": %s}",
                           f.rules[1].path, user_file);
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", text);
    assert_login(&f, "Authorization: Bearer ya29.target");
    assert_has(f.rules[1].asked, "authorization: Bearer ya29.first");
    struct err e = {0};
    json_t *sent = json_read_text("sent", f.rules[1].sent, strlen(f.rules[1].sent), &e);
    assert_ok(e);
    assert_string_equal(
        json_string_value(json_array_get(json_need_array(sent, "delegates", &e), 0)),
        "projects/-/serviceAccounts/between@p.com");
    assert_string_equal(json_string_value(json_array_get(json_need_array(sent, "scope", &e), 0)),
                        "https://www.googleapis.com/auth/devstorage.read_write");
    assert_string_equal(json_need_str(sent, "lifetime", &e), "3600s");
    assert_description(&f, "service account target@p.iam.gserviceaccount.com, impersonated");
    json_decref(sent);
    free(text);
    fake_stop(&f);
}

#define EXTERNAL(source)                                                                           \
    "{\"type\": \"external_account\", "                                                            \
    "\"audience\": \"//iam.googleapis.com/projects/1/x\", "                                        \
    "\"subject_token_type\": \"urn:ietf:params:oauth:token-type:jwt\", "                           \
    "\"token_url\": \"$URL/sts\", \"credential_source\": " source "}"

static void test_auth__workload_identity_from_a_file(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/sts", .status = 200, .body = TOKEN};
    char *subject = fake_file(&f, "subject", "the.subject.token\n");
    char *text = xasprintf(EXTERNAL("{\"file\": \"%s\"}"), subject);
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", text);
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_field(f.rules[0].sent, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_field(f.rules[0].sent, "audience", "//iam.googleapis.com/projects/1/x");
    assert_field(f.rules[0].sent, "subject_token", "the.subject.token");
    assert_field(f.rules[0].sent, "subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    assert_field(f.rules[0].sent, "requested_token_type",
                 "urn:ietf:params:oauth:token-type:access_token");
    assert_has(f.rules[0].sent, "devstorage.read_write");
    assert_description(&f, "workload identity (from ");

    unlink(subject);                               /* the next renewal needs it */
    char header[AUTH_HEADER_MAX] = "Authorization: Bearer ya29.first";
    assert_int_equal(auth_google(f.net, true, header, &f.e), -1);
    assert_err(f.e, ERR_LOGIN, "subject");
    free(text);
    free(subject);
    fake_stop(&f);
}

static void test_auth__workload_identity_from_a_url_then_impersonation(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){
        .path = "/identity", .status = 200, .body = "{\"id_token\": \"from.the.provider\"}"};
    f.rules[1] = (struct fake_rule){.path = "/sts", .status = 200, .body = TOKEN};
    f.rules[2] = (struct fake_rule){
        .path = "/sa/target@p.com:generateAccessToken",
        .status = 200,
        .body = "{\"accessToken\": \"ya29.target\", \"expireTime\": \"2093-03-01T12:00:00Z\"}"};
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json",
                    "{\"type\": \"external_account\", \"audience\": \"aud\", "
                    "\"subject_token_type\": \"urn:ietf:params:oauth:token-type:id_token\", "
                    "\"token_url\": \"$URL/sts\", \"client_id\": \"Aladdin\", "
                    "\"client_secret\": \"open sesame\", "
                    "\"service_account_impersonation\": {\"token_lifetime_seconds\": 1800}, "
                    "\"service_account_impersonation_url\": "
                    "\"$URL/sa/target@p.com:generateAccessToken\", "
                    "\"credential_source\": {\"url\": \"$URL/identity?v=2\", "
                    "\"headers\": {\"X-Metadata\": \"yes please\"}, "
                    "\"format\": {\"type\": \"json\", \"subject_token_field_name\": "
                    "\"id_token\"}}}");
    assert_login(&f, "Authorization: Bearer ya29.target");
    assert_has(f.rules[0].asked, "GET /identity?v=2");
    assert_has(f.rules[0].asked, "x-metadata: yes please");
    assert_field(f.rules[1].sent, "subject_token", "from.the.provider");
    assert_field(f.rules[1].sent, "scope", "https://www.googleapis.com/auth/cloud-platform");
    /* RFC 7617, part 2 */
    assert_has(f.rules[1].asked, "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_has(f.rules[2].asked, "authorization: Bearer ya29.first");
    assert_has(f.rules[2].sent, "\"1800s\"");
    assert_description(&f, "service account target@p.com by workload identity");
    fake_stop(&f);
}

/* ---------------------------------------------------------- where it is found -- */

static void metadata_rules(struct fake *f)
{
    static const char flavor[] = "Metadata-Flavor: Google\r\n";
    f->rules[0] =
        (struct fake_rule){.path = "/computeMetadata/v1/instance/service-accounts/default/token",
                           .status = 200,
                           .headers = flavor,
                           .body = TOKEN};
    f->rules[1] =
        (struct fake_rule){.path = "/computeMetadata/v1/instance/service-accounts/default/email",
                           .status = 200,
                           .headers = flavor,
                           .body = "vm@p.iam.gserviceaccount.com"};
    f->rules[2] = (struct fake_rule){.path = "/computeMetadata/v1/project/project-id",
                                     .status = 200,
                                     .headers = flavor,
                                     .body = "the-vms-project"};
    char *host = xasprintf("127.0.0.1:%d", http_server_port(f->server));
    setenv("GCE_METADATA_HOST", host, 1);
    free(host);
}

static void test_auth__metadata_server_gives_the_machines_account(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_has(f.rules[0].asked, "metadata-flavor: Google");
    assert_description(&f, "service account vm@p.iam.gserviceaccount.com of this machine");
    const char *project;
    assert_int_equal(auth_google_project(f.net, &project, &f.e), 0);
    assert_string_equal(project, "the-vms-project");
    assert_int_equal(f.rules[0].count, 1);
    fake_stop(&f);
}

static void test_auth__somebody_else_at_that_address_is_nobody(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    f.rules[0].headers = NULL;                     /* no Metadata-Flavor in the answer */
    assert_login(&f, "");
    assert_description(&f, "anonymous");
    fake_stop(&f);
}

static void test_auth__without_a_metadata_server_anonymous_and_soon(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    f.rules[0].delay_s = 60;                       /* as a packet that vanishes */
    double start = clock_seconds();
    assert_login(&f, "");
    double took = clock_seconds() - start;
    print_message("anonymous after %.1f s\n", took);
    assert_true(took < 10);                        /* 3.1 s on an idle machine */
    int asked = http_server_requests(f.server);
    assert_true(asked <= 2);
    char header[AUTH_HEADER_MAX] = "";
    assert_int_equal(auth_google(f.net, true, header, &f.e), 0);
    assert_string_equal(header, "");
    assert_int_equal(http_server_requests(f.server), asked);     /* once and for all */
    fake_stop(&f);
}

static void test_auth__an_emulator_needs_no_login(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    setenv("STORAGE_EMULATOR_HOST", "localhost:4443", 1);
    setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/at/all.json", 1);
    assert_login(&f, "");
    assert_int_equal(http_server_requests(f.server), 0);
    fake_stop(&f);
}

static void test_auth__the_named_file_comes_first_and_gclouds_next(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    f.rules[3] = (struct fake_rule){.path = "/token", .status = 200, .body = OTHER_TOKEN};
    f.rules[4] = (struct fake_rule){
        .path = "/named", .status = 200, .body = "{\"access_token\": \"ya29.named\"}"};
    free(fake_file(&f, "gcloud/application_default_credentials.json", user_file));
    char *dir = path_join(f.folder, "gcloud");
    setenv("CLOUDSDK_CONFIG", dir, 1);
    assert_login(&f, "Authorization: Bearer ya29.second");
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "named.json",
                    "{\"type\": \"authorized_user\", \"client_id\": \"i\", \"client_secret\": "
                    "\"s\", \"refresh_token\": \"r\", \"token_uri\": \"$URL/named\"}");
    fake_forget(&f);
    assert_login(&f, "Authorization: Bearer ya29.named");
    assert_int_equal(f.rules[0].count, 0);
    free(dir);
    fake_stop(&f);
}

/* ------------------------------------------------------------------- failures -- */

static void test_auth__a_bad_file_is_an_error_and_nothing_else_is_tried(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    metadata_rules(&f);
    free(fake_file(&f, ".config/gcloud/application_default_credentials.json", user_file));
    setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/at/all.json", 1);
    assert_refused(&f, ERR_LOGIN, "GOOGLE_APPLICATION_CREDENTIALS: /nowhere/at/all.json");

    static const struct {
        const char *text, *error;
    } files[] = {
        {"", "is no JSON object"},
        {"[1]", "is no JSON object"},
        {"-----BEGIN PRIVATE KEY-----", "is no JSON object"},
        {"{}", "\"type\" is missing"},
        {"{\"type\": \"gdch_service_account\"}", "\"type\" is \"gdch_service_account\", expected"},
        {"{\"type\": \"authorized_user\", \"client_id\": \"i\", \"client_secret\": \"s\"}",
         "\"refresh_token\" is missing"},
        {"{\"type\": \"authorized_user\", \"client_id\": \"i\", \"client_secret\": \"s\", "
         "\"refresh_token\": \"r\", \"token_uri\": \"http://example.com/token\"}",
         "\"token_uri\" is http://example.com: expected https"},
        {"{\"type\": \"service_account\", \"client_email\": \"a@b\", \"private_key\": \"word\"}",
         "\"private_key\": is no private key in PEM form"},
        {EXTERNAL("{\"executable\": {\"command\": \"rm\"}}"), "is a program, and none is run"},
        {EXTERNAL("{\"environment_id\": \"aws1\"}"), "is an identity of AWS"},
        {EXTERNAL("{\"file\": \"a\", \"url\": \"https://b\"}"), "one of \"file\" and \"url\""},
        {EXTERNAL("{\"url\": \"http://example.com/token\"}"), "\"url\" is http://example.com"},
        {EXTERNAL("{\"file\": \"a\", \"format\": {\"type\": \"json\"}}"),
         "\"subject_token_field_name\" is missing"},
        {"{\"type\": \"impersonated_service_account\", \"service_account_impersonation_url\": "
         "\"https://x/a:generateIdToken\", \"source_credentials\": {}}",
         "does not end in"},
        {"{\"type\": \"impersonated_service_account\", \"service_account_impersonation_url\": "
         "\"https://x/a:generateAccessToken\", \"source_credentials\": {\"type\": \"x\"}}",
         "\"source_credentials\": \"type\" is \"x\""},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "bad.json", files[i].text);
        assert_refused(&f, ERR_LOGIN, files[i].error);
        assert_refused(&f, ERR_LOGIN, "bad.json");
    }
    assert_int_equal(http_server_requests(f.server), 0);
    fake_stop(&f);
}

static void test_auth__a_refusal_says_why_but_no_secret(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){
        .path = "/token",
        .status = 400,
        .body =
            "{\"error\": \"invalid_grant\", \"error_description\": \"Token has been expired\"}"};
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", user_file);
    char header[AUTH_HEADER_MAX] = "";
    assert_int_equal(auth_google(f.net, false, header, &f.e), -1);
    assert_err(f.e, ERR_LOGIN, "answered 400: invalid_grant: Token has been expired");
    assert_has(f.e.hint, "gcloud auth application-default login");
    assert_int_equal(f.rules[0].count, 1);          /* what is refused is not asked for again */
    f.e = (struct err){0};
    f.rules[0].body = "{\"error\": \"no such token: 1//refresh me\"}";
    assert_refused(&f, ERR_LOGIN, "repeats a secret");
    static const char *const answers[] = {"ya29.alone", "{\"access_token\": 5}",
                                          "{\"access_token\": \"two words\"}",
                                          "{\"access_token\": \"a\\r\\nX-Evil: 1\"}",
                                          "{\"access_token\": \"a\", \"expires_in\": -1}"};
    f.rules[0].status = 200;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        f.rules[0].body = answers[i];
        assert_refused(&f, ERR_LOGIN, "the token endpoint: the answer");
    }
    fake_stop(&f);
}

static void test_auth__a_service_that_is_down_is_asked_again(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/token", .status = 503, .body = "later"};
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", user_file);
    assert_refused(&f, ERR_RETRY, "the token endpoint answered 503");
    assert_int_equal(f.rules[0].count, 4);
    fake_stop(&f);
}

static void test_auth__an_expired_token_is_replaced(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] =
        (struct fake_rule){.path = "/token",
                           .status = 200,
                           .body = "{\"access_token\": \"ya29.brief\", \"expires_in\": 0}"};
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", user_file);
    assert_login(&f, "Authorization: Bearer ya29.brief");
    f.rules[0].body = TOKEN;
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_login(&f, "Authorization: Bearer ya29.first");
    assert_int_equal(f.rules[0].count, 2);
    fake_stop(&f);
}

/* -------------------------------------------------------------------- threads -- */

struct caller {
    struct fake *f;
    pthread_t thread;
    bool renew;
    char header[AUTH_HEADER_MAX];
    struct err e;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    if (auth_google(c->f->net, c->renew, c->header, &c->e))
        return c;
    return auth_google_quota_project(c->f->net)[0] == 'p' ? NULL : c;
}

static void call_all(struct fake *f, struct caller *callers, bool renew, const char *held)
{
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.f = f, .renew = renew};
        snprintf(callers[i].header, AUTH_HEADER_MAX, "%s", held);
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(callers[i].thread, &failed), 0);
        assert_ok(callers[i].e);
        assert_null(failed);
    }
}

static void test_auth__a_hundred_threads_make_one_request(void **state)
{
    (void)state;
    struct fake f;
    fake_start(&f);
    f.rules[0] = (struct fake_rule){.path = "/token", .status = 200, .body = TOKEN, .delay_s = 0.1};
    fake_named_file(&f, "GOOGLE_APPLICATION_CREDENTIALS", "key.json", user_file);
    struct caller *callers = xcalloc(THREADS, sizeof *callers);
    call_all(&f, callers, false, "");
    assert_int_equal(f.rules[0].count, 1);
    f.rules[0].body = OTHER_TOKEN;
    call_all(&f, callers, true, "Authorization: Bearer ya29.first");
    assert_int_equal(f.rules[0].count, 2);
    for (int i = 0; i < THREADS; i++)
        assert_string_equal(callers[i].header, "Authorization: Bearer ya29.second");
    free(callers);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth__service_account_signs_a_request),
        cmocka_unit_test(test_auth__user_hands_in_the_refresh_token),
        cmocka_unit_test(test_auth__impersonation_acts_as_another_account),
        cmocka_unit_test(test_auth__workload_identity_from_a_file),
        cmocka_unit_test(test_auth__workload_identity_from_a_url_then_impersonation),
        cmocka_unit_test(test_auth__metadata_server_gives_the_machines_account),
        cmocka_unit_test(test_auth__somebody_else_at_that_address_is_nobody),
        cmocka_unit_test(test_auth__without_a_metadata_server_anonymous_and_soon),
        cmocka_unit_test(test_auth__an_emulator_needs_no_login),
        cmocka_unit_test(test_auth__the_named_file_comes_first_and_gclouds_next),
        cmocka_unit_test(test_auth__a_bad_file_is_an_error_and_nothing_else_is_tried),
        cmocka_unit_test(test_auth__a_refusal_says_why_but_no_secret),
        cmocka_unit_test(test_auth__a_service_that_is_down_is_asked_again),
        cmocka_unit_test(test_auth__an_expired_token_is_replaced),
        cmocka_unit_test(test_auth__a_hundred_threads_make_one_request),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
