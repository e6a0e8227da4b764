/* auth_token.c - see auth_token.h. */
#include "net/auth_token.h"

#include "base/mem.h"
#include "net/retry.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void auth_token_release(struct auth_token *t)
{
    free(t->text);
    *t = (struct auth_token){0};
}

bool auth_is_clean(const char *s)
{
    size_t size = strlen(s);
    if (size == 0 || size > AUTH_TOKEN_MAX)
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

/* ---------------------------------------------------------------- asking -- */

static bool repeats_a_secret(const char *text, const char *const *secrets)
{
    for (; secrets && *secrets; secrets++)
        if (**secrets && strstr(text, *secrets))
            return true;
    return false;
}

/* What an error answer says: OAuth's error and error_description (RFC 6749, part 5.2), or the
 * message of a Google API; "" for nothing that can be shown. */
static void answer_reason(const struct http_response *r, const char *const *secrets, char *out,
                          size_t size)
{
    struct err ignored = {0};
    *out = 0;
    json_t *o = json_read_text("answer", r->body ? r->body : "", r->body ? r->size : 0, &ignored);
    const json_t *error = json_object_get(o, "error");
    const char *code = json_string_value(error), *text = NULL;
    if (json_is_object(error))
        text = json_string_value(json_object_get(error, "message"));
    else
        text = json_string_value(json_object_get(o, "error_description"));
    if (code || text)
        snprintf(out, size, "%s%s%s", code ? code : "", code && text ? ": " : "", text ? text : "");
    if (repeats_a_secret(out, secrets))
        snprintf(out, size, "(its reason repeats a secret and is not shown)");
    json_decref(o);
}

static int answer_refused(const struct auth_ask *q, const struct http_response *r, struct err *e)
{
    char reason[400];
    answer_reason(r, q->secrets, reason, sizeof reason);
    err_set(e, ERR_LOGIN, "%s answered %d%s%s", q->what, r->status, *reason ? ": " : "", reason);
    if (q->file)
        err_hint(e, "are the credentials in %s still valid, and is this machine's clock right?",
                 q->file);
    return -1;
}

/* One try.  1: failed, but may work later (`e` says why; `after_s` is what the server asks for). */
static int try_once(struct net *n, const struct auth_ask *q, struct http_response *r,
                    double *after_s, struct err *e)
{
    struct http_request http = q->http;
    if (http.total_s == 0)
        http.total_s = 20;
    http.into = NULL;
    http.group = net_group(n);
    http.body_max = AUTH_ANSWER_MAX;
    *after_s = 0;
    net_count_request(n);
    if (http_run(net_http(n), &http, r, e)) {
        err_in(e, "%s", q->what);
        return e->kind == ERR_RETRY ? 1 : -1;
    }
    net_count_answer(n);
    if (retry_status(r->status)) {
        char value[64];
        if (http_header(r, "retry-after", value, sizeof value))
            *after_s = retry_after(value, (int64_t)time(NULL));
        answer_refused(q, r, e);
        e->kind = ERR_RETRY;
        e->hint[0] = 0;
        return 1;
    }
    return r->status == 200 ? 0 : answer_refused(q, r, e);
}

/* As auth_ask; `k` counts the failures. */
static int try_often(struct net *n, const struct auth_ask *q, struct http_response *r, int *k,
                     struct err *e)
{
    const struct retry_policy policy = {.first_s = 0.5, .cap_s = 5};
    int tries = q->tries ? q->tries : 4;
    for (;; ++*k) {
        struct err failure = {0};
        double after_s;
        *r = (struct http_response){0};
        int result = try_once(n, q, r, &after_s, &failure);
        if (result == 0)
            return 0;
        http_response_release(r);
        *r = (struct http_response){0};
        if (result < 0 || *k + 1 == tries || after_s > 30) {
            *e = e->kind ? *e : failure;
            return -1;
        }
        if (*k == 0)
            net_count_waiting(n);
        net_count_retry(n, "login");
        if (net_sleep(n, retry_delay(&policy, *k, net_random(n), after_s), e)) {
            ++*k;
            return -1;
        }
    }
}

int auth_ask(struct net *n, const struct auth_ask *q, struct http_response *r, struct err *e)
{
    int failures = 0;
    net_enter(n);
    int result = try_often(n, q, r, &failures, e);
    net_leave(n, failures > 0);
    return result;
}

json_t *auth_ask_json(struct net *n, const struct auth_ask *q, struct err *e)
{
    struct http_response r;
    if (auth_ask(n, q, &r, e))
        return NULL;
    struct err garbled = {0};
    json_t *o = json_read_text("answer", r.body ? r.body : "", r.size, &garbled);
    http_response_release(&r);
    if (!json_is_object(o)) {
        json_decref(o);
        err_set(e, ERR_LOGIN, "%s: the answer is no JSON object", q->what);
        return NULL;
    }
    return o;
}

int auth_token_read(struct auth_token *t, const json_t *o, const char *what, struct err *e)
{
    struct err wrong = {0};
    const char *text = json_need_str(o, "access_token", &wrong);
    double seconds = json_get_double(o, "expires_in", 3600, &wrong);
    if (wrong.kind)
        return err_set(e, ERR_LOGIN, "%s: the answer: %s", what, wrong.text);
    if (!auth_is_clean(text))
        return err_set(e, ERR_LOGIN, "%s: the answer: \"access_token\" is no token", what);
    if (!(seconds >= 0 && seconds <= 1e7))
        return err_set(e, ERR_LOGIN, "%s: the answer: \"expires_in\" is %g", what, seconds);
    t->text = xstrdup(text);
    t->expires = (int64_t)time(NULL) + (int64_t)seconds;
    return 0;
}

/* ------------------------------------------------------------------ parts -- */

void auth_form_add(struct buf *form, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    char *coded = http_encode(value, false);
    buf_printf(form, "%s%s=", form->size ? "&" : "", name);
    buf_add_str(form, coded);
    free(coded);
}

/* Days from 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t days = y * 365 + y / 4 - y / 100 + y / 400 - 719162;
    return days + before[month - 1] + (month > 2 && is_leap) + day - 1;
}

int64_t auth_time(const char *text)
{
    int year, month, day, hour, minute, second, read = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
               &read) != 6 ||
        read != 19)
        return -1;
    text += read;
    if (*text == '.')
        text += 1 + strspn(text + 1, "0123456789");
    if (strcmp(text, "Z") != 0 && strcmp(text, "+00:00") != 0)
        return -1;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60)
        return -1;
    return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

static bool host_is_among(const char *host, const char *const *hosts)
{
    for (; hosts && *hosts; hosts++)
        if (!strcmp(host, *hosts))
            return true;
    return false;
}

int auth_check_url(const char *url, const char *what, const char *const *hosts, struct err *e)
{
    static const char *const here[] = {"localhost", "127.0.0.1", "[::1]", NULL};
    char *scheme = NULL, *host = NULL, *user = NULL;
    CURLU *u = curl_url();
    if (!u)
        mem_die("out of memory");
    int result = -1;
    if (curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0))
        err_set(e, ERR_LOGIN, "\"%s\" is no URL", what);
    else if (!curl_url_get(u, CURLUPART_USER, &user, 0))
        err_set(e, ERR_LOGIN, "\"%s\" is a URL with a user name in it", what);
    else if (!strcmp(scheme, "https") ||
             (!strcmp(scheme, "http") && (host_is_among(host, here) || host_is_among(host, hosts))))
        result = 0;
    else
        err_set(e, ERR_LOGIN, "\"%s\" is %s://%s: expected https", what, scheme, host);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(u);
    return result;
}
