/* fetch.c - see fetch.h. */
#include "net/fetch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { HEADER_MAX = 512, HEADERS_MAX = 16 };

/* A request of this file while it is tried again and again. */
struct judge {
    struct fetch *f;
    int64_t first, last;          /* the range that was asked for */
    bool is_whole;                /* the range is all of the object */
    bool takes_all;               /* no range was asked for: a 200 is right */
    int wrong;                    /* answers in a row that were not what was asked */
    bool knows_size;              /* the size was known, or told by a header of the store */
    bool is_ignored;              /* out: a 200 whose body would do, and was not stored */
    bool is_good, is_empty;       /* out: there is an answer; there are no bytes */
    struct object found;          /* out: facts */
};

/* ---------------------------------------------------------------- headers -- */

int64_t fetch_int(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits && digits <= 18 && !text[digits] ? strtoll(text, NULL, 10) : -1;
}

int64_t fetch_header_int(const struct http_response *r, const char *name)
{
    char text[24];
    return http_header(r, name, text, sizeof text) ? fetch_int(text) : -1;
}

/* Digits at *p, which moves behind them; -1 for none. */
static int64_t digits_at(const char **p)
{
    char text[20];
    size_t count = strspn(*p, "0123456789");
    if (!count || count >= sizeof text)
        return -1;
    memcpy(text, *p, count);
    text[count] = 0;
    *p += count;
    return fetch_int(text);
}

bool fetch_content_range(const struct http_response *r, int64_t *first, int64_t *last,
                         int64_t *total)
{
    char text[80];
    if (!http_header(r, "content-range", text, sizeof text) || strncmp(text, "bytes ", 6) != 0)
        return false;
    const char *p = text + 6;
    *first = *last = *total = -1;
    if (*p == '*') {
        p++;
    } else {
        *first = digits_at(&p);
        if (*first < 0 || *p++ != '-' || (*last = digits_at(&p)) < *first)
            return false;
    }
    if (*p++ != '/')
        return false;
    if (strcmp(p, "*") == 0)
        return *first >= 0;
    *total = digits_at(&p);
    return *total >= 0 && !*p && *last < *total;
}

bool fetch_is_protected(const char *url)
{
    static const char *const names[] = {"localhost", "[::1]"};
    if (strncmp(url, "http://", 7) != 0)
        return strncmp(url, "https://", 8) == 0;
    const char *host = url + 7;
    size_t size = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == size && strncasecmp(host, names[i], size) == 0)
            return true;
    return size >= 9 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= size;
}

void fetch_learn(struct object *o, const struct object *found)
{
    if (o->size < 0)
        o->size = found->size;
    if (!o->version[0])
        memcpy(o->version, found->version, sizeof o->version);
    if (!o->has_crc32c && found->has_crc32c) {
        o->has_crc32c = true;
        o->crc32c = found->crc32c;
    }
    if (!o->digest[0])
        memcpy(o->digest, found->digest, sizeof o->digest);
    o->is_gzip = o->is_gzip || found->is_gzip;
}

/* ---------------------------------------------------------------- judging -- */

/* An answer that is not what was asked for: once more, or, the last time, an error of this kind. */
static int wrong(struct judge *j, enum err_kind kind, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int wrong(struct judge *j, enum err_kind kind, struct err *e, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (++j->wrong < FETCH_WRONG_MAX)
        return err_set(e, ERR_RETRY, "%s", text);
    return err_set(e, kind, "%s: %s", j->f->what, text);
}

/* Are version and size those that are known? */
static int check_facts(struct judge *j, const struct http_response *r, int64_t total, struct err *e)
{
    const struct object *want = j->f->object;
    j->found = (struct object){.size = -1};
    if (j->f->facts)
        j->f->facts(r, &j->found);
    if (want->version[0] && j->found.version[0] && strcmp(want->version, j->found.version) != 0) {
        err_set(e, ERR_INTEGRITY, "%s: was replaced: its version is %s, expected %s", j->f->what,
                j->found.version, want->version);
        return err_hint(e, "put the object back, or begin a new run with the new one");
    }
    if (want->size >= 0 && total >= 0 && total != want->size)
        return wrong(j, ERR_INTEGRITY, e, "has %lld bytes now, expected %lld", (long long)total,
                     (long long)want->size);
    if (j->found.size >= 0 && total >= 0 && total != j->found.size)
        return wrong(j, ERR_INTEGRITY, e, "%lld bytes came, %lld are stored", (long long)total,
                     (long long)j->found.size);
    j->knows_size = want->size >= 0 || j->found.size >= 0;
    j->found.size = total;
    return 0;
}

/* The range that came, of how many bytes; -1 when it is not [first, last], cut at the end. */
static int check_range(struct judge *j, const struct http_response *r, int64_t *total,
                       struct err *e)
{
    int64_t first, last;
    if (!fetch_content_range(r, &first, &last, total) || first < 0)
        return wrong(j, ERR_DATA, e, "the answer does not tell its range");
    int64_t expected = j->last;
    if (*total >= 0 && expected > *total - 1)
        expected = *total - 1;
    if (first != j->first || last != expected)
        return wrong(j, ERR_INTEGRITY, e, "bytes %lld-%lld came, expected %lld-%lld",
                     (long long)first, (long long)last, (long long)j->first, (long long)expected);
    return 0;
}

/* A body that was cut is as good as a broken connection. */
static int check_size(const struct http_response *r, int64_t expected, struct err *e)
{
    if ((int64_t)r->size == expected)
        return 0;
    return err_set(e, ERR_RETRY, "%lld bytes came, expected %lld", (long long)r->size,
                   (long long)expected);
}

/* 404, 410, 412 of a version that was there; 416; the caller's own. */
static int judge_refusal(struct judge *j, const struct http_response *r, struct err *e)
{
    const struct object *want = j->f->object;
    for (const int *s = j->f->statuses; s && *s; s++)
        if (*s == r->status)
            return j->f->refused(j->f->arg, r, e);
    if (r->status == 416)
        return wrong(j, want->version[0] ? ERR_INTEGRITY : ERR_DATA, e,
                     "has no bytes %lld-%lld (416)", (long long)j->first, (long long)j->last);
    if (r->status != 404 && r->status != 410 && r->status != 412)
        return wrong(j, ERR_FAILED, e, "answer %d was not expected", r->status);
    err_set(e, ERR_INTEGRITY, "%s: version %s is not there any more (%d): replaced or deleted",
            j->f->what, want->version, r->status);
    return err_hint(e, "put the object back, or begin a new run with what is there now");
}

static int judge_range(void *arg, const struct http_response *r, struct err *e)
{
    struct judge *j = arg;
    int64_t total = -1, length = fetch_header_int(r, "content-length");
    j->f->status = r->status;
    j->is_ignored = false;
    if (r->status == 206 && !j->takes_all) {
        if (check_range(j, r, &total, e) || check_facts(j, r, total, e) ||
            check_size(r, j->last - j->first + 1, e))
            return -1;
    } else if (r->status == 200 && j->takes_all) {
        if (check_size(r, j->last - j->first + 1, e) || check_facts(j, r, (int64_t)r->size, e))
            return -1;
    } else if (r->status == 200 && j->is_whole && (length < 0 || length == j->last + 1)) {
        j->is_ignored = true;
        return 0;
    } else if (r->status == 200) {
        return wrong(j, ERR_DATA, e,
                     "the server ignores ranges: parts of the object cannot be read");
    } else {
        return judge_refusal(j, r, e);
    }
    j->is_good = true;
    return 0;
}

/* Is the length of this answer's body certain, so that a part cannot pass for the whole? */
static bool has_length(const struct http_response *r)
{
    char coding[40];
    return fetch_header_int(r, "content-length") >= 0 ||
           (http_header(r, "transfer-encoding", coding, sizeof coding) &&
            strstr(coding, "chunked"));
}

static int judge_first(void *arg, const struct http_response *r, struct err *e)
{
    struct judge *j = arg;
    int64_t total = -1, first, last;
    j->f->status = r->status;
    j->is_empty = false;
    if (r->status == 206) {
        if (check_range(j, r, &total, e))
            return -1;
        if (total < 0)
            return wrong(j, ERR_DATA, e, "the server does not tell the size of the object");
        int64_t part = (total - 1 < j->last ? total - 1 : j->last) + 1;
        if (check_facts(j, r, total, e) || check_size(r, part, e))
            return -1;
    } else if (r->status == 200) {
        if (check_facts(j, r, (int64_t)r->size, e))
            return -1;
        if (!has_length(r) && !j->knows_size && !j->found.has_crc32c)
            return wrong(j, ERR_DATA, e, "the server does not tell the size of the object");
    } else if (r->status == 416 && fetch_content_range(r, &first, &last, &total) && total == 0) {
        if (check_facts(j, r, 0, e))
            return -1;
        j->is_empty = true;
    } else {
        return judge_refusal(j, r, e);
    }
    j->is_good = true;
    return 0;
}

static int judge_facts(void *arg, const struct http_response *r, struct err *e)
{
    struct judge *j = arg;
    int64_t total = -1, first, last;
    j->f->status = r->status;
    if (r->status == 206) {
        if (check_range(j, r, &total, e))
            return -1;
    } else if (r->status == 416) {
        if (!fetch_content_range(r, &first, &last, &total) || total != 0)
            return judge_refusal(j, r, e);
    } else if (r->status == 200) {
        total = fetch_header_int(r, "content-length");
    } else {
        return judge_refusal(j, r, e);
    }
    if (check_facts(j, r, total, e))
        return -1;
    j->is_good = true;
    return 0;
}

/* --------------------------------------------------------------- requests -- */

/* What request_run is asked to leave to the judge; headers and statuses live as long as this. */
struct asked {
    struct request q;
    char range[64];
    const char *headers[HEADERS_MAX];
    int statuses[FETCH_STATUSES_MAX + 6];
};

static void ask(struct asked *a, struct judge *j,
                int (*check)(void *, const struct http_response *, struct err *))
{
    struct fetch *f = j->f;
    int count = 0, statuses = 0;
    for (; f->headers && f->headers[count] && count < HEADERS_MAX - 2; count++)
        a->headers[count] = f->headers[count];
    if (!j->takes_all) {
        snprintf(a->range, sizeof a->range, "Range: bytes=%lld-%lld", (long long)j->first,
                 (long long)j->last);
        a->headers[count++] = a->range;
    }
    a->headers[count] = NULL;

    a->statuses[statuses++] = 416;
    for (int i = 0; f->object->version[0] && i < 3; i++)
        a->statuses[statuses++] = (const int[]){404, 410, 412}[i];
    for (int i = 0; f->statuses && f->statuses[i] && i < FETCH_STATUSES_MAX; i++)
        a->statuses[statuses++] = f->statuses[i];
    a->statuses[statuses] = 0;

    a->q = (struct request){
        .http = {.url = f->url,
                 .headers = a->headers,
                 .follows = f->follows,
                 .aws_sigv4 = f->aws_sigv4,
                 .hedge_s = f->hedge_s},
        .login = f->login,
        .what = f->what,
        .check = check,
        .arg = j,
        .statuses = a->statuses,
    };
}

/* A judge that found the answer good has said so; a refusal that stated no error is one of ours. */
static int finish(const struct judge *j, struct err *e)
{
    if (j->is_good || j->is_ignored)
        return 0;
    return err_set(e, ERR_FAILED, "%s: answer %d", j->f->what, j->f->status);
}

int fetch_range(struct net *n, struct fetch *f, int64_t offset, void *out, size_t size,
                struct err *e)
{
    struct judge j = {.f = f, .first = offset, .last = offset + (int64_t)size - 1};
    j.is_whole = offset == 0 && f->object->size == (int64_t)size;
    f->status = 0;
    for (;;) {
        struct asked a;
        struct http_response r = {0};
        ask(&a, &j, judge_range);
        a.q.http.into = out;
        a.q.http.into_size = size;
        a.q.http.body_status = j.takes_all ? 200 : 206;
        int failed = request_run(n, &a.q, &r, e);
        http_response_release(&r);
        if (failed || finish(&j, e))
            return -1;
        if (!j.is_ignored)
            break;
        j.takes_all = true;
    }
    return 0;
}

void *fetch_first(struct net *n, struct fetch *f, size_t room, struct object *o, size_t *size,
                  struct err *e)
{
    struct judge j = {.f = f, .last = (int64_t)(room ? room : 1) - 1};
    struct asked a;
    struct http_response r = {0};
    char *body = NULL;
    f->status = 0;
    ask(&a, &j, judge_first);
    a.q.http.body_max = room ? room : 1;
    if (!request_run(n, &a.q, &r, e) && !finish(&j, e)) {
        body = j.is_empty || !r.body ? xstrdup("") : r.body;
        *size = j.is_empty || !r.body ? 0 : r.size;
        if (body == r.body)
            r.body = NULL;
        fetch_learn(o, &j.found);
    }
    http_response_release(&r);
    return body;
}

int fetch_facts(struct net *n, struct fetch *f, struct object *o, struct err *e)
{
    struct judge j = {.f = f};
    struct asked a;
    struct http_response r = {0};
    f->status = 0;
    ask(&a, &j, judge_facts);
    a.q.http.body_status = 206;
    int failed = request_run(n, &a.q, &r, e);
    http_response_release(&r);
    if (failed || finish(&j, e))
        return -1;
    fetch_learn(o, &j.found);
    return 0;
}

/* ------------------------------------------------------------------- JSON -- */

struct json_judge {
    const char *what;
    const int *statuses;
    json_t *v;
    int wrong;
};

static int judge_json(void *arg, const struct http_response *r, struct err *e)
{
    struct json_judge *j = arg;
    struct err bad = {0};
    json_decref(j->v);
    j->v = NULL;
    for (const int *s = j->statuses; s && *s; s++)
        if (*s == r->status)
            return 0;
    if (r->status / 100 == 2)
        j->v = json_read_text("answer", r->body ? r->body : "", r->size, &bad);
    else
        err_set(&bad, ERR_FAILED, "answer %d was not expected", r->status);
    if (j->v)
        return 0;
    if (++j->wrong < FETCH_WRONG_MAX)
        return err_set(e, ERR_RETRY, "%s", bad.text);
    return err_set(e, ERR_FAILED, "%s: %s", j->what, bad.text);
}

int fetch_json_answer(struct net *n, struct request *q, json_t **v, struct http_response *r,
                      struct err *e)
{
    struct json_judge j = {.what = q->what, .statuses = q->statuses};
    q->check = judge_json;
    q->arg = &j;
    int failed = request_run(n, q, r, e);
    q->check = NULL;
    q->arg = NULL;
    if (failed) {
        json_decref(j.v);
        j.v = NULL;
    }
    *v = j.v;
    return failed;
}

int fetch_json(struct net *n, struct request *q, json_t **v, int *status, struct err *e)
{
    struct http_response r = {0};
    int failed = fetch_json_answer(n, q, v, &r, e);
    if (status)
        *status = r.status;
    http_response_release(&r);
    return failed;
}
