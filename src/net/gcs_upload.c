/* gcs_upload.c - objects made in Google Cloud Storage, whole or not at all.
 *
 * Small ones go up in one request, together with their CRC-32C, which the service compares before
 * it makes the object.  Large ones get a session (a "resumable upload"): pieces of a multiple of
 * 256 KiB, each answered by 308 and how many bytes are safe.  When a piece fails, the session is
 * asked how many are, and the next piece begins there; a session that is gone (404, 410) is begun
 * anew.  What the service says it has made is compared, and removed when it is wrong.
 */
#include "net/gcs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "net/checksum.h"
#include "net/fetch.h"
#include "net/retry.h"

enum {
    SMALL_MAX = 8 << 20,          /* goes up in one request */
    PIECE = 16 << 20,             /* a multiple of 256 KiB */
    BEGINNINGS_MAX = 4,           /* sessions, or requests for small ones, that ended badly */
};

/* One try of a piece: what went wrong is asked of the session before the next one. */
#define ONE_TRY_S 0.001

struct upload {
    struct net *n;
    const char *uri, *only_if;
    struct gcs_name g;
    const char *data;             /* NULL: from fd */
    int fd;
    size_t size;
    uint32_t crc;                 /* of all bytes */
    char crc_text[CHECKSUM_CRC32C_SIZE];
    char *session;                /* URL */
    bool may_be_made;             /* all bytes were sent: what is there may be ours */
    char *piece;                  /* room for bytes of the file */
    struct object *made;          /* out */
};

/* How one request of an upload has ended. */
enum outcome {
    OUTCOME_FAILED,               /* for good: the error is set */
    OUTCOME_MADE,                 /* the object is there */
    OUTCOME_MORE,                 /* `safe` bytes are there */
    OUTCOME_LOST,                 /* begin again */
    OUTCOME_UNKNOWN,              /* ask the session */
};

/* ------------------------------------------------------------------ bytes -- */

/* `size` bytes at `offset`; NULL when the file does not have them. */
static const char *bytes_at(struct upload *u, size_t offset, size_t size, struct err *e)
{
    if (u->data)
        return u->data + offset;
    if (!u->piece)
        u->piece = xmalloc(u->size < PIECE ? u->size + 1 : PIECE);
    for (size_t done = 0; done < size;) {
        ssize_t count = pread(u->fd, u->piece + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            err_set(e, ERR_FAILED, "%s: cannot read the file to be stored: %s", u->uri,
                    count ? strerror(errno) : "it has become shorter");
            return NULL;
        }
        done += (size_t)count;
    }
    return u->piece;
}

static int compute_crc(struct upload *u, struct err *e)
{
    u->crc = 0;
    for (size_t offset = 0; offset < u->size;) {
        size_t size = u->size - offset < PIECE ? u->size - offset : PIECE;
        const char *at = bytes_at(u, offset, size, e);
        if (!at)
            return -1;
        u->crc = crc32c(u->crc, at, size);
        offset += size;
    }
    checksum_crc32c_write(u->crc, u->crc_text);
    return 0;
}

/* ---------------------------------------------------------------- answers -- */

/* The object that the service says is there: is it ours?  If not, it must go. */
static enum outcome check_made(struct upload *u, const json_t *v, struct err *e)
{
    struct object *o = u->made;
    if (gcs_metadata(v, o, e))
        return OUTCOME_FAILED;
    if (o->size == (int64_t)u->size && (!o->has_crc32c || o->crc32c == u->crc))
        return OUTCOME_MADE;
    if (gcs_remove(u->n, u->uri, o->version, e))
        return OUTCOME_FAILED;
    return OUTCOME_LOST;
}

/* 412 is either another object that is there, or our own, made by a try whose answer was lost. */
static enum outcome check_precondition(struct upload *u, struct err *e)
{
    struct err why = {0};
    struct object *o = u->made;
    bool is_there = !gcs_stat(u->n, u->uri, o, &why);
    if (!is_there && why.kind != ERR_DATA) {
        *e = why;
        return OUTCOME_FAILED;
    }
    if (is_there && u->may_be_made && o->size == (int64_t)u->size && o->has_crc32c &&
        o->crc32c == u->crc && strcmp(o->version, u->only_if) != 0)
        return OUTCOME_MADE;
    if (is_there)
        err_set(e, ERR_INTEGRITY, "%s: its generation is %s, expected %s", u->uri, o->version,
                strcmp(u->only_if, "0") ? u->only_if : "none");
    else
        err_set(e, ERR_INTEGRITY, "%s: is not there, expected generation %s", u->uri, u->only_if);
    err_hint(e, "somebody else has written it at the same time");
    return OUTCOME_FAILED;
}

/* The service has compared the checksum itself, and found other bytes. */
static bool is_checksum_refusal(const struct http_response *r)
{
    return r->status == 400 && r->body &&
           (strstr(r->body, "CRC32C") || strstr(r->body, "crc32c") || strstr(r->body, "hecksum"));
}

static enum outcome refuse(const struct upload *u, const struct http_response *r, struct err *e)
{
    if (is_checksum_refusal(r))
        return OUTCOME_LOST;
    err_set(e, ERR_FAILED, "%s: answer %d: %.200s", u->uri, r->status, r->body ? r->body : "");
    return OUTCOME_FAILED;
}

/* ------------------------------------------------------------------ small -- */

/* multipart/related (RFC 2387): the metadata, then the bytes.  No content holds its own SHA-256, so
 * that makes a boundary. */
static char *multipart(struct upload *u, char boundary[HASH_HEX_SIZE], size_t *size, struct err *e)
{
    struct buf b;
    const char *at = bytes_at(u, 0, u->size, e);
    if (!at)
        return NULL;
    hash_bytes(at, u->size, boundary);
    buf_init(&b, SMALL_MAX + 4096);
    buf_printf(&b,
               "--%s\r\nContent-Type: application/json\r\n\r\n{\"crc32c\":\"%s\"}\r\n"
               "--%s\r\nContent-Type: application/octet-stream\r\n\r\n",
               boundary, u->crc_text, boundary);
    buf_add(&b, at, u->size);
    buf_printf(&b, "\r\n--%s--\r\n", boundary);
    return buf_take(&b, size);
}

static char *upload_url(const struct upload *u, const char *type)
{
    char *name = http_encode(u->g.name, false);
    char *only_if = http_encode(u->only_if ? u->only_if : "", false);
    char *query = xasprintf("uploadType=%s&name=%s%s%s", type, name,
                            u->only_if ? "&ifGenerationMatch=" : "", only_if);
    char *url = gcs_url(u->n, GCS_UPLOAD, u->g.bucket, NULL, query);
    free(query);
    free(only_if);
    free(name);
    return url;
}

static enum outcome send_small(struct upload *u, struct err *e)
{
    static const int statuses[] = {400, 412, 0};
    char boundary[HASH_HEX_SIZE], type[HASH_HEX_SIZE + 80];
    struct http_response r = {0};
    json_t *v = NULL;
    size_t size;
    enum outcome outcome = OUTCOME_FAILED;
    char *body = multipart(u, boundary, &size, e);
    if (!body)
        return OUTCOME_FAILED;
    snprintf(type, sizeof type, "Content-Type: multipart/related; boundary=%s", boundary);
    char *url = upload_url(u, "multipart");
    struct request q = {.http = {.method = "POST",
                                 .url = url,
                                 .headers = (const char *const[]){type, NULL},
                                 .body = body,
                                 .body_size = size},
                        .login = LOGIN_GOOGLE,
                        .what = u->uri,
                        .statuses = statuses};
    if (!fetch_json_answer(u->n, &q, &v, &r, e)) {
        u->may_be_made = u->may_be_made || r.tries > 1;
        if (v)
            outcome = check_made(u, v, e);
        else
            outcome = r.status == 412 && u->only_if ? check_precondition(u, e) : refuse(u, &r, e);
    }
    json_decref(v);
    http_response_release(&r);
    free(url);
    free(body);
    return outcome;
}

/* ---------------------------------------------------------------- session -- */

/* Take over path and query of the session's address, never its host: credentials go there. */
static char *session_url(struct upload *u, const char *location)
{
    const char *payer = net_settings(u->n)->user_project, *path = location;
    if (strstr(location, "://")) {
        path = strstr(location, "://") + 3;
        path += strcspn(path, "/");
    }
    if (*path != '/' || strpbrk(path, " \t\r\n"))
        return NULL;
    char *origin = gcs_origin(), *p = http_encode(payer ? payer : "", false);
    bool adds = *p && !strstr(path, "userProject=");
    char *url = xasprintf("%s%s%s%s", origin, path,
                          !adds                ? ""
                          : strchr(path, '?') ? "&userProject="
                                              : "?userProject=",
                          adds ? p : "");
    free(origin);
    free(p);
    return url;
}

static int judge_session(void *arg, const struct http_response *r, struct err *e)
{
    struct upload *u = arg;
    char location[4096];
    if (r->status == 400 || r->status == 412)
        return 0;
    free(u->session);
    u->session = NULL;
    if (r->status / 100 == 2 && http_header(r, "location", location, sizeof location))
        u->session = session_url(u, location);
    return u->session ? 0 : err_set(e, ERR_RETRY, "answer %d begins no upload", r->status);
}

static enum outcome begin_session(struct upload *u, struct err *e)
{
    static const int statuses[] = {400, 412, 0};
    struct http_response r = {0};
    char length[60], body[40];
    enum outcome outcome = OUTCOME_FAILED;
    snprintf(length, sizeof length, "X-Upload-Content-Length: %zu", u->size);
    snprintf(body, sizeof body, "{\"crc32c\":\"%s\"}", u->crc_text);
    char *url = upload_url(u, "resumable");
    struct request q = {
        .http = {.method = "POST",
                 .url = url,
                 .headers = (const char *const[]){"Content-Type: application/json", length,
                                                  "X-Upload-Content-Type: "
                                                  "application/octet-stream",
                                                  NULL},
                 .body = body,
                 .body_size = strlen(body)},
        .login = LOGIN_GOOGLE,
        .what = u->uri,
        .check = judge_session,
        .arg = u,
        .statuses = statuses};
    if (!request_run(u->n, &q, &r, e)) {
        if (r.status / 100 == 2)
            outcome = OUTCOME_MORE;
        else
            outcome = r.status == 412 && u->only_if ? check_precondition(u, e) : refuse(u, &r, e);
    }
    http_response_release(&r);
    free(url);
    return outcome;
}

/* "bytes=0-99" is 100 safe bytes; without a Range there are none. */
static int64_t safe_bytes(const struct http_response *r)
{
    char text[60];
    if (!http_header(r, "range", text, sizeof text))
        return 0;
    int64_t last = strncmp(text, "bytes=0-", 8) == 0 ? fetch_int(text + 8) : -1;
    return last < 0 ? -1 : last + 1;
}

static int judge_piece(void *arg, const struct http_response *r, struct err *e)
{
    (void)arg;
    if (r->status == 308 && safe_bytes(r) < 0)
        return err_set(e, ERR_RETRY, "308 with a range that is none");
    return 0;
}

/* What the answer to a piece, or to the question for it, means. */
static enum outcome read_answer(struct upload *u, const struct http_response *r, size_t *safe,
                                struct err *e)
{
    struct err bad = {0};
    enum outcome outcome;
    if (r->status == 308) {
        *safe = (size_t)safe_bytes(r);
        return *safe <= u->size ? OUTCOME_MORE : OUTCOME_LOST;
    }
    if (r->status == 404 || r->status == 410)
        return OUTCOME_LOST;
    if (r->status == 412 && u->only_if)
        return check_precondition(u, e);
    if (r->status / 100 != 2)
        return refuse(u, r, e);
    json_t *v = json_read_text("answer", r->body ? r->body : "", r->size, &bad);
    outcome = v ? check_made(u, v, e) : OUTCOME_UNKNOWN;
    json_decref(v);
    return outcome;
}

/* Send `size` bytes at `offset`, or with size 0 ask how many are safe. */
static enum outcome send_piece(struct upload *u, size_t offset, size_t size, size_t *safe,
                               struct err *e)
{
    static const int statuses[] = {308, 400, 404, 410, 412, 0};
    struct http_response r = {0};
    char range[100];
    const char *at = bytes_at(u, offset, size, e);
    enum outcome outcome;
    if (!at)
        return OUTCOME_FAILED;
    if (size)
        snprintf(range, sizeof range, "Content-Range: bytes %zu-%zu/%zu", offset, offset + size - 1,
                 u->size);
    else
        snprintf(range, sizeof range, "Content-Range: bytes */%zu", u->size);
    struct request q = {.http = {.method = "PUT",
                                 .url = u->session,
                                 .headers = (const char *const[]){range, NULL},
                                 .body = at,
                                 .body_size = size},
                        .login = LOGIN_GOOGLE,
                        .what = u->uri,
                        .check = judge_piece,
                        .statuses = statuses,
                        .budget_s = size ? ONE_TRY_S : 0};
    int failed = request_run(u->n, &q, &r, e);
    if (!failed) {
        outcome = read_answer(u, &r, safe, e);
    } else if (e->kind == ERR_RETRY && size) {
        *e = (struct err){0};
        outcome = OUTCOME_UNKNOWN;
    } else {
        outcome = OUTCOME_FAILED;
    }
    http_response_release(&r);
    u->may_be_made = u->may_be_made || offset + size == u->size;
    return outcome;
}

/* Pieces until the object is there.  Time without progress is limited by the budget, as in any
 * other operation; the questions between have budgets of their own. */
static enum outcome send_pieces(struct upload *u, struct err *e)
{
    const struct retry_policy policy = {.first_s = 0.5, .cap_s = 30};
    size_t safe = 0, best = 0;
    double since = net_now(u->n), budget = net_settings(u->n)->budget_s;
    for (int failures = 0;;) {
        size_t left = u->size - safe, size = left < PIECE ? left : PIECE;
        enum outcome outcome = send_piece(u, safe, size, &safe, e);
        bool has_failed = outcome == OUTCOME_UNKNOWN;
        if (has_failed)
            outcome = send_piece(u, 0, 0, &safe, e);
        if (outcome != OUTCOME_MORE && outcome != OUTCOME_UNKNOWN)
            return outcome;
        if (safe > best) {
            best = safe;
            since = net_now(u->n);
            failures = 0;
        } else if (net_now(u->n) - since > budget) {
            err_set(e, ERR_RETRY, "%s: no byte could be stored for %.0f s", u->uri, budget);
            return OUTCOME_FAILED;
        } else {
            net_count_retry(u->n, "upload interrupted");
            if (net_sleep(u->n, retry_delay(&policy, failures++, net_random(u->n), 0), e))
                return OUTCOME_FAILED;
        }
    }
}

static enum outcome send_large(struct upload *u, struct err *e)
{
    enum outcome outcome = begin_session(u, e);
    return outcome == OUTCOME_MORE ? send_pieces(u, e) : outcome;
}

/* -------------------------------------------------------------------- all -- */

static int send_all(struct upload *u, struct err *e)
{
    for (int i = 0; i < BEGINNINGS_MAX; i++) {
        if (i)
            net_count_retry(u->n, "upload begun again");
        if (compute_crc(u, e))
            return -1;
        enum outcome outcome = u->size <= SMALL_MAX ? send_small(u, e) : send_large(u, e);
        if (outcome == OUTCOME_MADE)
            return 0;
        if (outcome == OUTCOME_FAILED)
            return -1;
    }
    return err_set(e, ERR_INTEGRITY, "%s: what was stored %d times was not what was sent", u->uri,
                   BEGINNINGS_MAX);
}

int gcs_write(struct net *n, const char *uri, const void *data, size_t size, int fd,
              const char *only_if, struct object *o, struct err *e)
{
    struct upload u = {
        .n = n, .uri = uri, .only_if = only_if, .data = data, .fd = fd, .size = size, .made = o};
    if (gcs_name(&u.g, uri, false, e))
        return -1;
    int failed = send_all(&u, e);
    if (failed)
        gcs_explain(n, uri, "storage.objects.create (and delete, to overwrite)", e);
    free(u.piece);
    free(u.session);
    free(u.g.bucket);
    return failed;
}
