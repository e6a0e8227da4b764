/* writable_bucket.h - the bucket of bucket.h, which also takes small uploads (with
 * ifGenerationMatch) and removals, and remembers in which order they came. */
#ifndef WRITABLE_BUCKET_H
#define WRITABLE_BUCKET_H

#include "bucket.h"

enum { UPLOADS_MAX = 4000 };

struct writable_bucket {
    struct bucket bucket;
    /* Under the bucket's mutex: */
    char *kept[UPLOADS_MAX];              /* bytes of uploads: a reader may still send them */
    int kept_count;
    char changes[16000];                  /* "+name -name " in their order */
    int refuses;                          /* so many uploads are answered 503; -1: all */
};

static inline void writable_note(struct writable_bucket *w, char sign, const char *name)
{
    size_t n = strlen(w->changes);
    snprintf(w->changes + n, sizeof w->changes - n, "%c%s ", sign, name);
}

/* The second part of a multipart body: between its blank line and the last boundary. */
static inline char *writable_bytes(const struct server_request *q, size_t *size)
{
    const char *boundary_end = strstr(q->body, "\r\n"), *at = q->body;
    size_t boundary = (size_t)(boundary_end - q->body);
    for (int i = 0; i < 2; i++)
        at = strstr(at, "\r\n\r\n") + 4;
    *size = q->body_size - (size_t)(at - q->body) - boundary - strlen("\r\n--\r\n");
    char *bytes = malloc(*size + 1);
    memcpy(bytes, at, *size);
    return bytes;
}

static inline void writable_upload(struct writable_bucket *w, const struct server_request *q,
                                   struct server_reply *r)
{
    char name[120], only_if[20];
    bucket_query(q->path, "name", name, sizeof name);
    bucket_query(q->path, "ifGenerationMatch", only_if, sizeof only_if);
    struct bucket *b = &w->bucket;
    bucket_lock(b);
    const struct bucket_object *was = bucket_find(b, name);
    bool fits = !*only_if || atoi(only_if) == (was ? was->generation : 0);
    bool refused = w->refuses != 0;
    w->refuses -= w->refuses > 0;
    bucket_unlock(b);
    if (refused || !fits) {
        bucket_reply_text(r, refused ? 503 : 412, strdup("{\"error\":{\"message\":\"no\"}}"));
        return;
    }
    size_t size;
    char *bytes = writable_bytes(q, &size), *text = malloc(600);
    struct bucket_object *o = bucket_put(b, name, bytes, size);
    bucket_lock(b);
    assert_true(w->kept_count < UPLOADS_MAX);
    w->kept[w->kept_count++] = bytes;
    writable_note(w, '+', name);
    bucket_describe(o, text, 600);
    bucket_unlock(b);
    bucket_reply_text(r, 200, text);
}

static inline void writable_remove(struct writable_bucket *w, const char *name,
                                   struct server_reply *r)
{
    struct bucket *b = &w->bucket;
    bucket_lock(b);
    struct bucket_object *o = bucket_find(b, name);
    if (o) {
        writable_note(w, '-', name);
        *o = b->objects[--b->count];
    }
    bucket_unlock(b);
    bucket_reply_text(r, o ? 204 : 404, strdup(""));
}

static inline void writable_handle(void *arg, const struct server_request *q,
                                   struct server_reply *r)
{
    struct writable_bucket *w = arg;
    static const char upload[] = "/upload/storage/v1/b/bucket/o?";
    static const char root[] = "/storage/v1/b/bucket/o/";
    char name[400];
    if (!strncmp(q->path, upload, sizeof upload - 1)) {
        writable_upload(w, q, r);
    } else if (!strcmp(q->method, "DELETE")) {
        const char *at = q->path + sizeof root - 1;
        bucket_decode(at, strcspn(at, "?"), name, sizeof name);
        writable_remove(w, name, r);
    } else {
        bucket_handle(&w->bucket, q, r);
    }
}

static inline struct writable_bucket *writable_start(void)
{
    struct writable_bucket *w = calloc(1, sizeof *w);
    assert_non_null(w);
    pthread_mutex_init(&w->bucket.mutex, NULL);
    w->bucket.server = http_server_start(writable_handle, w);
    setenv("STORAGE_EMULATOR_HOST", http_server_url(w->bucket.server), 1);
    return w;
}

static inline void writable_stop(struct writable_bucket *w)
{
    http_server_stop(w->bucket.server);
    pthread_mutex_destroy(&w->bucket.mutex);
    for (int i = 0; i < w->kept_count; i++)
        free(w->kept[i]);
    free(w);
}

/* Is there an object of this name?  `text` (may be NULL): with these bytes? */
static inline bool writable_has(struct writable_bucket *w, const char *name, const char *text)
{
    bucket_lock(&w->bucket);
    const struct bucket_object *o = bucket_find(&w->bucket, name);
    bool has = o && (!text || (o->size == strlen(text) && !memcmp(o->data, text, o->size)));
    bucket_unlock(&w->bucket);
    return has;
}

/* Where in the order of changes this one stands, -1: nowhere. */
static inline long writable_when(struct writable_bucket *w, const char *change)
{
    bucket_lock(&w->bucket);
    const char *at = strstr(w->changes, change);
    long when = at ? (long)(at - w->changes) : -1;
    bucket_unlock(&w->bucket);
    return when;
}

#endif
