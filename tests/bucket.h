/* bucket.h - a bucket of Google Cloud Storage on loopback for tests, of which reads can be spoiled.
 *
 * Speaks as much of the JSON API as reading needs: metadata, lists (in pages), media with ranges.
 * STORAGE_EMULATOR_HOST leads to it, so that gs://bucket/NAME is read by the real client.
 */
#ifndef BUCKET_H
#define BUCKET_H

#include "testing.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/crc32c.h"
#include "http_server.h"
#include "net/store.h"

enum { BUCKET_MAX = 2100, BUCKET_PAGE = 1000 };

struct bucket_object {
    char name[120];
    const char *data;
    size_t size;
    int generation;
    uint32_t crc;                 /* of the bytes as they were put */
    bool is_gzip;
    int flips;                    /* so many reads have one bit wrong; -1: all */
    int cuts;                     /* so many reads end after half of their bytes */
    int status;                   /* above 0: the answer to its next `status_count` reads */
    int status_count;
    int reads;
};

struct bucket {
    struct http_server *server;
    pthread_mutex_t mutex;        /* guards all below */
    struct bucket_object objects[BUCKET_MAX];
    int count;
    double delay_s, bytes_per_s;  /* of media */
    int lists, stats, reads;      /* requests so far */
    bool refuses_lists;
    char order[4000];             /* names and offsets of the reads, in the order of their coming */
};

static inline void bucket_lock(struct bucket *b)
{
    pthread_mutex_lock(&b->mutex);
}

static inline void bucket_unlock(struct bucket *b)
{
    pthread_mutex_unlock(&b->mutex);
}

static inline struct bucket_object *bucket_find(struct bucket *b, const char *name)
{
    for (int i = 0; i < b->count; i++)
        if (strcmp(b->objects[i].name, name) == 0)
            return &b->objects[i];
    return NULL;
}

/* The bytes must stay. */
static inline struct bucket_object *bucket_put(struct bucket *b, const char *name, const void *data,
                                               size_t size)
{
    bucket_lock(b);
    struct bucket_object *o = bucket_find(b, name);
    if (!o) {
        assert_true(b->count < BUCKET_MAX);
        o = &b->objects[b->count++];
        memset(o, 0, sizeof *o);
        snprintf(o->name, sizeof o->name, "%s", name);
    }
    o->data = data;
    o->size = size;
    o->crc = crc32c(0, data, size);
    o->generation += 1;
    bucket_unlock(b);
    return o;
}

static inline void bucket_crc(const struct bucket_object *o, char out[16])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t bits = (uint64_t)o->crc << 4;            /* six digits of six bits hold 36 */
    for (int i = 0; i < 6; i++)
        out[i] = digits[(bits >> (30 - 6 * i)) & 63];
    memcpy(out + 6, "==", 3);
}

static inline void bucket_decode(const char *in, size_t size, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < size && n + 1 < room; i++, n++) {
        unsigned c = (unsigned char)in[i];
        if (c == '%' && i + 2 < size && sscanf(in + i + 1, "%2x", &c) == 1)
            i += 2;
        out[n] = (char)c;
    }
    out[n] = 0;
}

/* A parameter of the query, decoded; "" when it is not there. */
static inline void bucket_query(const char *path, const char *key, char *out, size_t room)
{
    const char *at = strchr(path, '?');
    out[0] = 0;
    while (at && *at) {
        at++;
        size_t n = strcspn(at, "&");
        if (strncmp(at, key, strlen(key)) == 0 && at[strlen(key)] == '=')
            bucket_decode(at + strlen(key) + 1, n - strlen(key) - 1, out, room);
        at = at[n] ? at + n : NULL;
    }
}

static inline int bucket_describe(const struct bucket_object *o, char *out, size_t room)
{
    char crc[16];
    bucket_crc(o, crc);
    return snprintf(
        out, room, "{\"name\":\"%s\",\"size\":\"%zu\",\"generation\":\"%d\",\"crc32c\":\"%s\"%s}",
        o->name, o->size, o->generation, crc, o->is_gzip ? ",\"contentEncoding\":\"gzip\"" : "");
}

static inline void bucket_reply_text(struct server_reply *r, int status, char *owned)
{
    r->status = status;
    r->owned = owned;
    r->size = strlen(owned);
}

static inline void bucket_reply_list(struct bucket *b, const char *path, struct server_reply *r)
{
    char prefix[200], token[20];
    size_t room = (size_t)BUCKET_PAGE * 300 + 100, n = 0;
    char *text = malloc(room);
    int first, shown = 0, at = 0;
    bucket_query(path, "prefix", prefix, sizeof prefix);
    bucket_query(path, "pageToken", token, sizeof token);
    first = atoi(token);
    b->lists++;
    n += (size_t)snprintf(text, room, "{\"items\":[");
    for (at = first; at < b->count && shown < BUCKET_PAGE; at++) {
        if (strncmp(b->objects[at].name, prefix, strlen(prefix)) != 0)
            continue;
        n += (size_t)snprintf(text + n, room - n, "%s", shown++ ? "," : "");
        n += (size_t)bucket_describe(&b->objects[at], text + n, room - n);
    }
    n += (size_t)snprintf(text + n, room - n, "]");
    if (at < b->count)
        n += (size_t)snprintf(text + n, room - n, ",\"nextPageToken\":\"%d\"", at);
    snprintf(text + n, room - n, "}");
    bucket_reply_text(r, 200, text);
}

static inline void bucket_reply_media(struct bucket *b, struct bucket_object *o,
                                      const struct server_request *q, struct server_reply *r)
{
    char headers[300], crc[16];
    int64_t first = 0, last = (int64_t)o->size - 1;
    bool is_part = server_range(q, &first, &last);
    if (last < 0 || last >= (int64_t)o->size)
        last = (int64_t)o->size - 1;
    size_t used = strlen(b->order);
    snprintf(b->order + used, sizeof b->order - used, "%s@%" PRId64 " ", o->name, first);
    b->reads++;
    o->reads++;
    if (o->status_count > 0) {
        o->status_count--;
        bucket_reply_text(r, o->status, strdup("not now"));
        r->headers = "Retry-After: 0\r\n";
        return;
    }
    bucket_crc(o, crc);
    snprintf(headers, sizeof headers,
             "Content-Range: bytes %" PRId64 "-%" PRId64 "/%zu\r\nx-goog-generation: %d\r\n"
             "x-goog-hash: crc32c=%s\r\nx-goog-stored-content-length: %zu\r\n%s",
             first, last, o->size, o->generation, crc, o->size,
             o->is_gzip ? "Content-Encoding: gzip\r\n" : "");
    r->status = is_part ? 206 : 200;
    r->headers = is_part ? headers : strchr(headers, '\n') + 1;
    r->size = (size_t)(last - first + 1);
    r->body = o->data + first;
    r->delay_s = b->delay_s;
    r->bytes_per_s = b->bytes_per_s;
    if (o->flips && r->size) {
        char *wrong = malloc(r->size);
        memcpy(wrong, o->data + first, r->size);
        wrong[r->size / 2] ^= 4;
        r->owned = wrong;
        o->flips -= o->flips > 0;
    }
    if (o->cuts > 0) {
        o->cuts--;
        r->fault = SERVER_CLOSE;
        r->cut = r->size / 2;
    }
}

static inline void bucket_handle(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct bucket *b = arg;
    static const char root[] = "/storage/v1/b/bucket/o";
    char name[400], media[20], generation[20];
    bucket_lock(b);
    const char *at = strncmp(q->path, root, sizeof root - 1) == 0 ? q->path + sizeof root - 1 : "";
    bucket_decode(at + (*at == '/'), strcspn(at + (*at == '/'), "?"), name, sizeof name);
    bucket_query(q->path, "alt", media, sizeof media);
    bucket_query(q->path, "generation", generation, sizeof generation);
    struct bucket_object *o = *at == '/' ? bucket_find(b, name) : NULL;
    if (*at == '?' && !b->refuses_lists) {
        bucket_reply_list(b, q->path, r);
    } else if (*at == '?') {
        bucket_reply_text(r, 403, strdup("{\"error\":{\"message\":\"no storage.objects.list\"}}"));
    } else if (!o || (*generation && atoi(generation) != o->generation)) {
        bucket_reply_text(r, 404, strdup("{\"error\":{\"message\":\"No such object\"}}"));
    } else if (strcmp(media, "media") == 0) {
        bucket_reply_media(b, o, q, r);
    } else {
        char *text = malloc(600);
        b->stats++;
        bucket_describe(o, text, 600);
        bucket_reply_text(r, 200, text);
    }
    bucket_unlock(b);
}

static inline struct bucket *bucket_start(void)
{
    struct bucket *b = calloc(1, sizeof *b);
    assert_non_null(b);
    pthread_mutex_init(&b->mutex, NULL);
    b->server = http_server_start(bucket_handle, b);
    setenv("STORAGE_EMULATOR_HOST", http_server_url(b->server), 1);
    return b;
}

static inline void bucket_stop(struct bucket *b)
{
    http_server_stop(b->server);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

/* The facts of an object, as the store tells them; the caller releases. */
static inline struct object bucket_object(struct net *net, const char *name)
{
    struct err e = {0};
    struct object o;
    char uri[200];
    snprintf(uri, sizeof uri, "gs://bucket/%s", name);
    int failed = store_stat(net, uri, &o, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    return o;
}

/* A number in the middle of which the bucket changes: read it under the lock. */
static inline int bucket_reads(struct bucket *b)
{
    bucket_lock(b);
    int reads = b->reads;
    bucket_unlock(b);
    return reads;
}

#endif
