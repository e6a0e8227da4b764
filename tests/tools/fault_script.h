/* fault_script.h - what fault_proxy does to which request: rules read from JSON, and the verdict on
 * each request.  Part of fault_proxy.c alone.
 *
 *     {"seed": 7, "outage": false,
 *      "rtt_ms": 50, "bytes_per_s": 25e6,       a line to the server: delay, speed a connection
 *      "page_max": 1000, "strip_md5": true,     what real GCS does and the emulator does not
 *      "require_user_project": "payer",         400 without it
 *      "require_token": true,                   401 without the token last given out
 *      "rules": [{"name": "slow down", "method": "GET", "path": "/o/.*tar", "kind": "media",
 *                 "nth": 3, "action": "status", "status": 429, "retry_after": 1}]}
 *
 * All rules that meet a request apply.  A rule meets requests of its `method`, `path` (a POSIX
 * extended expression over the target as sent), `kind` (list meta media upload delete other),
 * `ranged` (true, false), `connection` (counted from 0) and moment (`after_s` `before_s` since the
 * script came, `after_bytes` `before_bytes` sent down so far).  Of those that it meets it touches
 * the `nth` (from 1), each `every`th, each with `probability` (drawn from the seed), those behind
 * the first `skip`, or all; `times` at most.  With `per_path` each path is counted by itself.
 *
 * Actions:
 *     delay            `seconds` before the answer
 *     slow             `bytes_per_s`
 *     stall            after `at` bytes of the body nothing more comes
 *     reset, close     the connection, after `at` bytes of the body (at -1: before the status)
 *     flip             one bit of the body's byte `at` (-1: of any)
 *     status           `status`, with `body` or `body_size` bytes of junk, and `retry_after`
 *     content_range    wrong by `shift` bytes
 *     whole            the server never sees the Range
 *     empty_page       of a list, with a token that leads on
 *     drop_token       the token given out last is not good any more
 */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum request_kind { LIST, META, MEDIA, UPLOAD, DELETION, OTHER, KINDS };
static const char *const kind_names[] = {"list",   "meta",  "media", "upload",
                                         "delete", "other", NULL};

enum action {
    DELAY,
    SLOW,
    STALL,
    RESET,
    CLOSE,
    FLIP,
    STATUS,
    CONTENT_RANGE,
    WHOLE,
    EMPTY_PAGE,
    DROP_TOKEN
};
static const char *const action_names[] = {"delay", "slow",       "stall",      "reset",
                                           "close", "flip",       "status",     "content_range",
                                           "whole", "empty_page", "drop_token", NULL};

enum { RULES_MAX = 64, SCRIPT_MAX = 1 << 20, JUNK_MAX = 64 << 20 };

struct path_count {
    uint64_t hash;
    int64_t count;
};

struct rule {
    char *name, *method, *body;
    regex_t path;
    bool has_path, per_path;
    int kind, ranged;                      /* -1: any */
    int64_t connection, nth, every, skip, times;
    double probability, after_s, before_s, after_bytes, before_bytes;
    enum action action;
    int64_t at, shift, body_size;
    double seconds, bytes_per_s;
    int status, retry_after;
    int64_t met, touched;
    struct path_count *paths;
    size_t path_count, path_capacity;
};

struct script {
    uint64_t seed;
    bool outage, strip_md5, require_token;
    double rtt_s, bytes_per_s, started;
    int64_t page_max;
    char *user_project;                    /* "": not required */
    struct rule rules[RULES_MAX];
    int rule_count;
};

/* What a script wants to know of a request. */
struct request_facts {
    const char *method, *target;
    enum request_kind kind;
    bool is_ranged, has_user_project, has_token;
    int64_t connection, bytes_so_far;
};

/* What happens to a request; -1 where nothing does.  Owns nothing but `body`. */
struct verdict {
    bool outage, whole, empty_page, strip_md5, drop_token;
    bool flips_anywhere;                   /* `flip_at` is random, to be cut to the body's size */
    double delay_s, rtt_s, bytes_per_s;
    int64_t stall_at, close_at, flip_at, shift, page_max;
    int64_t reset_at;                      /* -2: no reset; -1: before the status */
    int status, retry_after;
    char *body;
    size_t body_size;
    char names[256];                       /* of the rules, for the log */
};

/* ---------------------------------------------------------------- reading -- */

static int script_word(const json_t *o, const char *key, const char *const *words, struct err *e)
{
    const char *s = json_get_str(o, key, NULL, e);
    for (int i = 0; s && words[i]; i++)
        if (!strcmp(s, words[i]))
            return i;
    if (s)
        err_set(e, ERR_USAGE, "%s: \"%s\" is unknown", key, s);
    return -1;
}

static int script_known(const json_t *o, const char *const *known, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return err_set(e, ERR_USAGE, "unknown key \"%s\"", key);
    }
    return 0;
}

static int rule_read_action(struct rule *r, const json_t *o, struct err *e)
{
    int action = script_word(o, "action", action_names, e);
    if (action < 0)
        return err_set(e, ERR_USAGE, "no action");
    r->action = (enum action)action;
    r->at = json_get_int(o, "at", r->action == FLIP ? -1 : 0, e);
    r->shift = json_get_int(o, "shift", 1, e);
    r->seconds = json_get_double(o, "seconds", 0, e);
    r->bytes_per_s = json_get_double(o, "bytes_per_s", 0, e);
    r->status = (int)json_get_int(o, "status", 503, e);
    r->retry_after = (int)json_get_int(o, "retry_after", -1, e);
    r->body = xstrdup(json_get_str(o, "body", "", e));
    r->body_size = json_get_int(o, "body_size", 0, e);
    if (r->body_size < 0 || r->body_size > JUNK_MAX)
        return err_set(e, ERR_USAGE, "body_size: %lld is out of range", (long long)r->body_size);
    return e->kind ? -1 : 0;
}

static int rule_read(struct rule *r, const json_t *o, int index, struct err *e)
{
    static const char *const known[] = {
        "name",         "method",      "path",        "kind",        "ranged",   "connection",
        "nth",          "every",       "skip",        "times",       "per_path", "after_s",
        "before_s",     "after_bytes", "probability", "action",      "at",       "shift",
        "seconds",      "bytes_per_s", "status",      "retry_after", "body",     "body_size",
        "before_bytes", NULL};
    if (!json_is_object(o))
        return err_set(e, ERR_USAGE, "rule %d is %s", index, json_kind_name(o));
    char fallback[32];
    snprintf(fallback, sizeof fallback, "rule %d", index);
    r->name = xstrdup(json_get_str(o, "name", fallback, e));
    r->method = xstrdup(json_get_str(o, "method", "", e));
    r->kind = script_word(o, "kind", kind_names, e);
    r->ranged = json_object_get(o, "ranged") ? json_get_bool(o, "ranged", false, e) : -1;
    r->per_path = json_get_bool(o, "per_path", false, e);
    r->connection = json_get_int(o, "connection", -1, e);
    r->nth = json_get_int(o, "nth", 0, e);
    r->every = json_get_int(o, "every", 0, e);
    r->skip = json_get_int(o, "skip", 0, e);
    r->times = json_get_int(o, "times", INT64_MAX, e);
    r->probability = json_get_double(o, "probability", 1, e);
    r->after_s = json_get_double(o, "after_s", 0, e);
    r->before_s = json_get_double(o, "before_s", 1e300, e);
    r->after_bytes = json_get_double(o, "after_bytes", 0, e);
    r->before_bytes = json_get_double(o, "before_bytes", 1e300, e);
    const char *path = json_get_str(o, "path", NULL, e);
    if (path && regcomp(&r->path, path, REG_EXTENDED | REG_NOSUB))
        err_set(e, ERR_USAGE, "path: \"%s\" is not a regular expression", path);
    else
        r->has_path = path != NULL;
    if (script_known(o, known, e) || rule_read_action(r, o, e))
        return err_in(e, "%s", r->name);
    return 0;
}

static void script_free(struct script *s)
{
    for (int i = 0; s && i < s->rule_count; i++) {
        struct rule *r = &s->rules[i];
        free(r->name);
        free(r->method);
        free(r->body);
        free(r->paths);
        if (r->has_path)
            regfree(&r->path);
    }
    if (s)
        free(s->user_project);
    free(s);
}

/* `seed` is used when the script names none. */
static struct script *script_read(const char *text, size_t size, uint64_t seed, struct err *e)
{
    static const char *const known[] = {
        "seed",      "outage",        "rtt_ms", "bytes_per_s",          "page_max",
        "strip_md5", "require_token", "rules",  "require_user_project", NULL};
    struct script *s = xcalloc(1, sizeof *s);
    json_t *o = json_read_text("script", text, size, e);
    if (o && !script_known(o, known, e)) {
        s->seed = (uint64_t)json_get_int(o, "seed", (int64_t)seed, e);
        s->outage = json_get_bool(o, "outage", false, e);
        s->rtt_s = json_get_double(o, "rtt_ms", 0, e) / 1000;
        s->bytes_per_s = json_get_double(o, "bytes_per_s", 0, e);
        s->page_max = json_get_int(o, "page_max", 0, e);
        s->strip_md5 = json_get_bool(o, "strip_md5", false, e);
        s->require_token = json_get_bool(o, "require_token", false, e);
        s->user_project = xstrdup(json_get_str(o, "require_user_project", "", e));
        s->started = clock_seconds();
        json_t *rules = json_get_array(o, "rules", e);
        if (json_array_size(rules) > RULES_MAX)
            err_set(e, ERR_USAGE, "%zu rules, %d are allowed", json_array_size(rules), RULES_MAX);
        for (size_t i = 0; !e->kind && i < json_array_size(rules); i++) {
            s->rule_count++;
            if (rule_read(&s->rules[i], json_array_get(rules, i), (int)i, e))
                break;
        }
    }
    json_decref(o);
    if (!e->kind)
        return s;
    script_free(s);
    return NULL;
}

/* --------------------------------------------------------------- deciding -- */

static uint64_t text_hash(const char *s, size_t size)
{
    uint64_t h = 14695981039346656037u;    /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

/* Count this request; returns its number among those that the rule meets, from 1. */
static int64_t rule_count(struct rule *r, const struct request_facts *q)
{
    r->met++;
    if (!r->per_path)
        return r->met;
    uint64_t h = text_hash(q->target, strcspn(q->target, "?"));
    size_t i = 0;
    while (i < r->path_count && r->paths[i].hash != h)
        i++;
    if (i == r->path_count) {
        if (r->path_count == r->path_capacity)
            r->paths = mem_grow(r->paths, &r->path_capacity, sizeof *r->paths);
        r->paths[r->path_count++] = (struct path_count){.hash = h};
    }
    return ++r->paths[i].count;
}

static bool rule_meets(const struct rule *r, const struct script *s, const struct request_facts *q)
{
    double now_s = clock_seconds() - s->started, bytes = (double)q->bytes_so_far;
    return (!*r->method || !strcmp(r->method, q->method)) &&
           (r->kind < 0 || r->kind == (int)q->kind) &&
           (r->ranged < 0 || r->ranged == (int)q->is_ranged) &&
           (r->connection < 0 || r->connection == q->connection) && now_s >= r->after_s &&
           now_s < r->before_s && bytes >= r->after_bytes && bytes < r->before_bytes &&
           (!r->has_path || !regexec(&r->path, q->target, 0, NULL, 0));
}

static void rule_apply(const struct rule *r, uint64_t random, struct verdict *v)
{
    switch (r->action) {
    case DELAY: v->delay_s += r->seconds; break;
    case SLOW: v->bytes_per_s = r->bytes_per_s; break;
    case STALL: v->stall_at = r->at; break;
    case RESET: v->reset_at = r->at; break;
    case CLOSE: v->close_at = r->at; break;
    case FLIP:
        v->flips_anywhere = r->at < 0;
        v->flip_at = r->at >= 0 ? r->at : (int64_t)(random >> 2);
        break;
    case STATUS:
        v->status = r->status;
        v->retry_after = r->retry_after;
        free(v->body);
        v->body_size = r->body_size ? (size_t)r->body_size : strlen(r->body);
        v->body = xmalloc(v->body_size + 1);
        for (size_t i = 0; r->body_size && i < v->body_size; i++)
            v->body[i] = (char)(random >> (i % 8 * 8));
        if (!r->body_size)
            memcpy(v->body, r->body, v->body_size);
        break;
    case CONTENT_RANGE: v->shift = r->shift; break;
    case WHOLE: v->whole = true; break;
    case EMPTY_PAGE: v->empty_page = true; break;
    case DROP_TOKEN: v->drop_token = true; break;
    }
    size_t n = strlen(v->names);
    snprintf(v->names + n, sizeof v->names - n, "%s%s", n ? "," : "", r->name);
}

static void refuse(struct verdict *v, int status, const char *why)
{
    v->status = status;
    v->retry_after = -1;
    free(v->body);
    v->body = xasprintf("{\"error\":{\"code\":%d,\"message\":\"%s\"}}", status, why);
    v->body_size = strlen(v->body);
}

/* The verdict on a request of the storage API.  The caller frees `body`. */
static void script_decide(struct script *s, const struct request_facts *q, struct verdict *v)
{
    *v = (struct verdict){.outage = s->outage,
                          .strip_md5 = s->strip_md5,
                          .rtt_s = s->rtt_s,
                          .bytes_per_s = s->bytes_per_s,
                          .page_max = s->page_max,
                          .stall_at = -1,
                          .reset_at = -2,
                          .close_at = -1,
                          .flip_at = -1,
                          .retry_after = -1};
    if (s->require_token && !q->has_token)
        refuse(v, 401, "Invalid Credentials");
    else if (*s->user_project && !q->has_user_project)
        refuse(v, 400, "Bucket is a requester pays bucket but no user project provided.");
    for (int i = 0; i < s->rule_count; i++) {
        struct rule *r = &s->rules[i];
        if (!rule_meets(r, s, q))
            continue;
        int64_t n = rule_count(r, q);
        uint64_t index = (uint64_t)n ^ (r->per_path ? text_hash(q->target, strlen(q->target)) : 0);
        if ((r->nth && n != r->nth) || (r->every && n % r->every) || n <= r->skip ||
            r->touched >= r->times || rng_uniform(s->seed, (uint64_t)i, index) >= r->probability)
            continue;
        r->touched++;
        rule_apply(r, rng_u64(s->seed, (uint64_t)i + RULES_MAX, index), v);
    }
}

#endif
