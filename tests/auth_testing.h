/* auth_testing.h - for the tests of credentials: a service that answers by rules and remembers what
 * it was asked, and an environment in which nothing of the user's own is found. */
#ifndef AUTH_TESTING_H
#define AUTH_TESTING_H

#include "testing.h"

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "http_server.h"
#include "net/auth.h"
#include "net/net.h"

enum { FAKE_RULES = 8 };

/* What a path that begins so is answered, and what came. */
struct fake_rule {
    const char *path;
    int status;
    const char *headers, *body;
    double delay_s;
    int count;
    char *asked, *sent;           /* of the last request: "METHOD path\nheaders", and the body */
};

struct fake {
    struct http_server *server;
    struct fake_rule rules[FAKE_RULES];
    char *folder;
    struct net *net;
    struct err e;
};

static void fake_answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct fake *f = arg;
    for (struct fake_rule *rule = f->rules; rule < f->rules + FAKE_RULES && rule->path; rule++) {
        if (strncmp(q->path, rule->path, strlen(rule->path)) != 0)
            continue;
        rule->count++;
        free(rule->asked);
        free(rule->sent);
        rule->asked = xasprintf("%s %s\n%s", q->method, q->path, q->headers);
        rule->sent = xstrndup(q->body ? q->body : "", q->body_size);
        r->status = rule->status;
        r->headers = rule->headers;
        r->body = rule->body;
        r->size = rule->body ? strlen(rule->body) : 0;
        r->delay_s = rule->delay_s;
        return;
    }
    r->status = 404;
}

/* No test sees who runs it. */
static inline void fake_environment(const char *home)
{
    static const char *const names[] = {
        "GOOGLE_APPLICATION_CREDENTIALS",
        "CLOUDSDK_CONFIG",
        "STORAGE_EMULATOR_HOST",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "GCE_METADATA_HOST",
        "NO_GCE_CHECK",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_NO_SIGN_REQUEST",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HOME",
        "XDG_CACHE_HOME",
        "http_proxy",
        "HTTP_PROXY",
        "BIGQUERY_EMULATOR_HOST",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("HOME", home, 1);
}

static inline void fake_start(struct fake *f)
{
    *f = (struct fake){0};
    f->folder = testing_folder();
    fake_environment(f->folder);
    f->server = http_server_start(fake_answer, f);
    assert_non_null(f->server);
    f->net = net_open(&(struct net_options){.connections = 4, .seed = 1});
}

/* The network anew: nothing is remembered. */
static inline void fake_forget(struct fake *f)
{
    net_close(f->net);
    f->net = net_open(&(struct net_options){.connections = 4, .seed = 1});
    f->e = (struct err){0};
}

static inline void fake_stop(struct fake *f)
{
    struct err e = {0};
    net_close(f->net);
    http_server_stop(f->server);
    for (int i = 0; i < FAKE_RULES; i++) {
        free(f->rules[i].asked);
        free(f->rules[i].sent);
    }
    assert_int_equal(dir_remove(f->folder, &e), 0);
    free(f->folder);
}

/* A file in the test's folder; "$URL" in the text becomes the service's.  The caller frees the
 * path. */
static inline char *fake_file(struct fake *f, const char *name, const char *text)
{
    struct err e = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    for (const char *s = text, *mark; *s; s = mark) {
        mark = strstr(s, "$URL");
        buf_add(&out, s, mark ? (size_t)(mark - s) : strlen(s));
        if (!mark)
            break;
        buf_add_str(&out, http_server_url(f->server));
        mark += 4;
    }
    char *path = path_join(f->folder, name), *dir = path_dir(path);
    assert_int_equal(dir_make(dir, &e), 0);
    assert_int_equal(file_write(path, out.data, out.size, &e), 0);
    free(dir);
    buf_release(&out);
    return path;
}

/* The same, and a variable that names it. */
static inline void fake_named_file(struct fake *f, const char *variable, const char *name,
                                   const char *text)
{
    char *path = fake_file(f, name, text);
    setenv(variable, path, 1);
    free(path);
}

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            print_error("\"%s\" is not in: %s\n", (part), (text));                                 \
        assert_non_null(strstr((text), (part)));                                                   \
    } while (0)

#endif
