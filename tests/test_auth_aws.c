/* test_auth_aws.c - AWS's keys from each place, in order. */
#include "auth_testing.h"

static void get(struct fake *f, struct auth_aws *out)
{
    *out = (struct auth_aws){0};
    fake_forget(f);
    int result = auth_aws(f->net, false, out, &f->e);
    assert_ok(f->e);
    assert_int_equal(result, 0);
}

static void assert_refused(struct fake *f, const char *part)
{
    struct auth_aws out = {0};
    fake_forget(f);
    assert_int_equal(auth_aws(f->net, false, &out, &f->e), -1);
    assert_err(f->e, ERR_LOGIN, part);
    assert_null(strstr(f->e.text, "hidden"));
    assert_string_equal(out.keys, "");
    f->e = (struct err){0};
}

/* The instance's service at the fake one. */
static void instance_rules(struct fake *f)
{
    f->rules[0] = (struct fake_rule){.path = "/latest/api/token", .status = 200, .body = "imds2"};
    f->rules[1] = (struct fake_rule){
        .path = "/latest/meta-data/iam/security-credentials/the-role",
        .status = 200,
        .body = "{\"Code\": \"Success\", \"AccessKeyId\": \"ASIA1\", \"SecretAccessKey\": "
                "\"hidden1\", \"Token\": \"session1\", \"Expiration\": \"2093-03-01T12:00:00Z\"}"};
    f->rules[2] = (struct fake_rule){
        .path = "/latest/meta-data/iam/security-credentials/", .status = 200, .body = "the-role"};
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", http_server_url(f->server), 1);
}

static void test_auth_aws__environment_comes_first(void **state)
{
    (void)state;
    struct fake f;
    struct auth_aws a;
    fake_start(&f);
    instance_rules(&f);
    setenv("AWS_ACCESS_KEY_ID", "AKIA1", 1);
    assert_refused(&f, "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not");
    setenv("AWS_SECRET_ACCESS_KEY", "hidden/1+", 1);
    get(&f, &a);
    assert_string_equal(a.keys, "AKIA1:hidden/1+");
    assert_string_equal(a.token, "");
    assert_string_equal(a.region, "us-east-1");
    setenv("AWS_SESSION_TOKEN", "session0", 1);
    setenv("AWS_DEFAULT_REGION", "eu-west-3", 1);
    get(&f, &a);
    assert_string_equal(a.token, "session0");
    assert_string_equal(a.region, "eu-west-3");
    setenv("AWS_REGION", "eu-central-1", 1);
    get(&f, &a);
    assert_string_equal(a.region, "eu-central-1");
    setenv("AWS_REGION", "eu/../central", 1);
    assert_refused(&f, "\"eu/../central\" is no region");
    unsetenv("AWS_REGION");
    setenv("AWS_SECRET_ACCESS_KEY", "hidden\r\nX-Evil: 1", 1);
    assert_refused(&f, "AWS_ACCESS_KEY_ID: the access key is no key");
    setenv("AWS_NO_SIGN_REQUEST", "yes", 1);
    get(&f, &a);
    assert_string_equal(a.keys, "");
    assert_int_equal(http_server_requests(f.server), 0);
    fake_stop(&f);
}

static void test_auth_aws__profiles_of_both_files(void **state)
{
    (void)state;
    struct fake f;
    struct auth_aws a;
    fake_start(&f);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    free(fake_file(&f, ".aws/credentials",
                   "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = hidden1\n"
                   "[team]\naws_access_key_id=AKIA2\naws_secret_access_key=hidden2=\n"
                   "aws_session_token=session2\n[half]\naws_access_key_id=AKIA3\n"));
    free(fake_file(&f, ".aws/config",
                   "[default]\nregion = eu-west-1 # Ireland\n[profile team]\nregion=eu-west-2\n"
                   "[profile sso]\nsso_session = corp\nregion=eu-west-3\n[profile open]\n"));
    get(&f, &a);
    assert_string_equal(a.keys, "AKIA1:hidden1");
    assert_string_equal(a.region, "eu-west-1");
    setenv("AWS_PROFILE", "team", 1);
    get(&f, &a);
    assert_string_equal(a.keys, "AKIA2:hidden2=");
    assert_string_equal(a.token, "session2");
    assert_string_equal(a.region, "eu-west-2");
    setenv("AWS_PROFILE", "half", 1);
    assert_refused(&f, "profile \"half\" has no aws_secret_access_key");
    setenv("AWS_PROFILE", "sso", 1);
    assert_refused(&f, "the AWS profile \"sso\" logs in by sso_session");
    setenv("AWS_PROFILE", "nobody", 1);
    assert_refused(&f, "there is no profile \"nobody\"");
    setenv("AWS_PROFILE", "open", 1);
    get(&f, &a);
    assert_string_equal(a.keys, "");
    free(fake_file(&f, ".aws/config", "region = x\nhidden without an equals sign\n"));
    assert_refused(&f, ".aws/config:2: expected \"key = value\"");
    fake_stop(&f);
}

static void test_auth_aws__container(void **state)
{
    (void)state;
    struct fake f;
    struct auth_aws a;
    fake_start(&f);
    instance_rules(&f);
    f.rules[3] = (struct fake_rule){
        .path = "/pod",
        .status = 200,
        .body = "{\"AccessKeyId\": \"ASIA9\", \"SecretAccessKey\": \"hidden9\", \"Token\": "
                "\"session9\", \"Expiration\": \"2093-03-01T12:00:00.125Z\"}"};
    char *url = xasprintf("%s/pod", http_server_url(f.server));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    fake_named_file(&f, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "pod-token", "let me in\n");
    get(&f, &a);
    assert_string_equal(a.keys, "ASIA9:hidden9");
    assert_string_equal(a.token, "session9");
    assert_has(f.rules[3].asked, "authorization: let me in\n");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/steal", 1);
    assert_refused(&f, "\"AWS_CONTAINER_CREDENTIALS_FULL_URI\" is http://example.com");
    free(url);
    fake_stop(&f);
}

static void test_auth_aws__instance_by_version_2(void **state)
{
    (void)state;
    struct fake f;
    struct auth_aws a;
    fake_start(&f);
    instance_rules(&f);
    get(&f, &a);
    assert_string_equal(a.keys, "ASIA1:hidden1");
    assert_string_equal(a.token, "session1");
    assert_has(f.rules[0].asked, "PUT /latest/api/token");
    assert_has(f.rules[0].asked, "x-aws-ec2-metadata-token-ttl-seconds: 21600");
    assert_has(f.rules[1].asked, "x-aws-ec2-metadata-token: imds2");

    f.rules[1].body = "{\"AccessKeyId\": \"ASIA2\", \"SecretAccessKey\": \"hidden2\", \"Token\": "
                      "\"session2\", \"Expiration\": \"2093-03-01T12:00:00Z\"}";
    assert_int_equal(auth_aws(f.net, true, &a, &f.e), 0);       /* refused: others are asked for */
    assert_string_equal(a.keys, "ASIA2:hidden2");
    f.rules[1].body = "{\"Code\": \"Failed\"}";
    assert_refused(&f, "\"AccessKeyId\" is missing");
    f.rules[2].status = 404;                                    /* an instance without a role */
    get(&f, &a);
    assert_string_equal(a.keys, "");
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    int asked = http_server_requests(f.server);
    get(&f, &a);
    assert_string_equal(a.keys, "");
    assert_int_equal(http_server_requests(f.server), asked);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auth_aws__environment_comes_first),
        cmocka_unit_test(test_auth_aws__profiles_of_both_files),
        cmocka_unit_test(test_auth_aws__container),
        cmocka_unit_test(test_auth_aws__instance_by_version_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
