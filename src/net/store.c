/* store.c - see store.h: what all kinds of stores have in common. */
#include "net/store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/checksum.h"

enum {
    REFETCHES = 3,                /* of an object whose checksum is wrong */
    FIRST_MAX = 32 << 20,         /* what the first request of a whole object asks for */
    PART_MAX = 8 << 20,           /* each further one */
};

static const struct store_kind *const kinds[] = {&store_gcs, &store_s3, &store_web, &store_hf};

/* ---------------------------------------------------------------- objects -- */

void object_init(struct object *o, const char *uri)
{
    *o = (struct object){.uri = xstrdup(uri), .size = -1};
}

void object_release(struct object *o)
{
    free(o->uri);
    *o = (struct object){.size = -1};
}

void object_copy(struct object *to, const struct object *from)
{
    *to = *from;
    to->uri = from->uri ? xstrdup(from->uri) : NULL;
}

void object_list_release(struct object_list *l)
{
    for (int64_t i = 0; i < l->count; i++)
        object_release(&l->at[i]);
    free(l->at);
    *l = (struct object_list){0};
}

void object_list_add(struct object_list *l, struct object *o)
{
    if (l->count == l->capacity) {
        size_t capacity = (size_t)l->capacity;
        l->at = mem_grow(l->at, &capacity, sizeof *l->at);
        l->capacity = (int64_t)capacity;
    }
    l->at[l->count++] = *o;
    *o = (struct object){.size = -1};
}

static int compare_uris(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    return strcmp(x->uri, y->uri);
}

/* --------------------------------------------------------------- dispatch -- */

static const struct store_kind *kind_of(const char *uri)
{
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (int i = 0; kinds[k]->schemes[i]; i++)
            if (strncmp(uri, kinds[k]->schemes[i], strlen(kinds[k]->schemes[i])) == 0)
                return kinds[k];
    return NULL;
}

bool store_knows(const char *uri)
{
    return kind_of(uri) != NULL;
}

char *store_shown(const char *uri)
{
    const char *query = kind_of(uri) == &store_web ? strchr(uri, '?') : NULL;
    if (!query)
        return xstrdup(uri);
    return xasprintf("%.*s?...", (int)(query - uri), uri);
}

static const struct store_kind *need_kind(const char *uri, struct err *e)
{
    const struct store_kind *k = kind_of(uri);
    if (!k) {
        err_set(e, ERR_DATA, "%s: not a URI of a store that is known", uri);
        err_hint(e, "gs://, s3://, https:// and hf:// are");
    }
    return k;
}

int store_stat(struct net *n, const char *uri, struct object *o, struct err *e)
{
    const struct store_kind *k = need_kind(uri, e);
    if (!k)
        return -1;
    object_init(o, uri);
    if (!k->stat(n, uri, o, e))
        return 0;
    object_release(o);
    return -1;
}

int store_list(struct net *n, const char *prefix, int64_t max, struct object_list *l, struct err *e)
{
    const struct store_kind *k = need_kind(prefix, e);
    *l = (struct object_list){0};
    if (!k)
        return -1;
    if (!k->list) {
        char *shown = store_shown(prefix);
        err_set(e, ERR_DATA, "%s: a web server cannot be asked for a list of its files", shown);
        err_hint(e, "name each file, for example with {0000..0919}");
        free(shown);
        return -1;
    }
    if (k->list(n, prefix, max, l, e)) {
        object_list_release(l);
        return -1;
    }
    if (l->count)
        qsort(l->at, (size_t)l->count, sizeof *l->at, compare_uris);
    return 0;
}

int store_complete(struct net *n, struct object *o, struct err *e)
{
    const struct store_kind *k = need_kind(o->uri, e);
    if (!k)
        return -1;
    return k->complete && !o->has_crc32c && !o->digest[0] ? k->complete(n, o, e) : 0;
}

/* ---------------------------------------------------------------- reading -- */

/* A checksum that was wrong: true when it is to be fetched once more. */
static bool try_again(struct net *n, int *tries, struct err *e)
{
    if (++*tries > REFETCHES || net_is_stopped(n))
        return false;
    net_count_retry(n, "wrong checksum");
    *e = (struct err){0};
    return true;
}

int store_read(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
               double hedge_s, uint32_t *crc, struct err *e)
{
    const struct store_kind *k = need_kind(o->uri, e);
    if (!k)
        return -1;
    bool knows_size = o->size > 0 || (o->size == 0 && o->version[0]);
    if (offset < 0 || (knows_size && (offset > o->size || size > (uint64_t)(o->size - offset)))) {
        char *shown = store_shown(o->uri);
        err_set(e, ERR_DATA, "%s: has %lld bytes, %zu at %lld were asked for", shown,
                (long long)o->size, size, (long long)offset);
        free(shown);
        return -1;
    }
    bool is_whole = o->has_crc32c && offset == 0 && knows_size && (uint64_t)o->size == size;
    for (int tries = 0;;) {
        if (size && k->read(n, o, offset, out, size, hedge_s, e))
            return -1;
        uint32_t sum = crc || is_whole ? crc32c(0, out, size) : 0;
        if (crc)
            *crc = sum;
        if (!is_whole || sum == o->crc32c)
            return 0;
        err_set(e, ERR_INTEGRITY, "%s: CRC-32C is %08x, expected %08x", o->uri, sum, o->crc32c);
        if (!try_again(n, &tries, e))
            return -1;
    }
}

/* Do these bytes have the object's checksum? */
static int check_bytes(const struct object *o, const void *data, size_t size, struct err *e)
{
    char found[HASH_HEX_SIZE];
    uint32_t crc = o->has_crc32c ? crc32c(0, data, size) : 0;
    if (o->has_crc32c && crc != o->crc32c)
        return err_set(e, ERR_INTEGRITY, "CRC-32C is %08x, expected %08x", crc, o->crc32c);
    if (!o->has_crc32c && o->digest[0] && !checksum_fits(o->digest, data, size, found))
        return err_set(e, ERR_INTEGRITY, "digest is %s, expected %s", found, o->digest);
    return 0;
}

/* All stored bytes: by one request when they are few, else the rest in parts of the same version.
 */
static void *load_stored(struct net *n, const struct store_kind *k, struct object *o,
                         int64_t bytes_max, size_t *size, struct err *e)
{
    size_t room = bytes_max < FIRST_MAX ? (size_t)bytes_max : FIRST_MAX;
    char *data = k->first(n, o, room, size, e);
    if (!data)
        return NULL;
    if (o->size > bytes_max) {
        err_set(e, ERR_DATA, "has %lld bytes, more than %lld", (long long)o->size,
                (long long)bytes_max);
        goto fail;
    }
    if (*size < (uint64_t)o->size)
        data = xrealloc(data, (size_t)o->size + 1);
    while (*size < (uint64_t)o->size) {
        size_t part = (size_t)o->size - *size < PART_MAX ? (size_t)o->size - *size : PART_MAX;
        if (k->read(n, o, (int64_t)*size, data + *size, part, 0, e))
            goto fail;
        *size += part;
    }
    data[*size] = 0;
    return data;
fail:
    free(data);
    return NULL;
}

/* The bytes behind a gzip coding (RFC 1952; several members may follow each other). */
static void *undo_gzip(const void *data, size_t size, int64_t bytes_max, size_t *size_out,
                       struct err *e)
{
    enum { PIECE = 256 << 10 };
    struct buf out;
    z_stream z = {0};
    int code = Z_OK;
    z.next_in = (Bytef *)(uintptr_t)data;
    buf_init(&out, (size_t)bytes_max);
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        mem_die("zlib cannot be used");
    char *piece = xmalloc(PIECE);
    size_t left = size;
    while (!out.overflowed && (code == Z_OK || (code == Z_STREAM_END && left + z.avail_in > 0))) {
        if (code == Z_STREAM_END)
            inflateReset(&z);
        if (!z.avail_in) {
            z.avail_in = left < PIECE ? (uInt)left : PIECE;
            left -= z.avail_in;
        }
        z.next_out = (Bytef *)piece;
        z.avail_out = PIECE;
        code = inflate(&z, Z_NO_FLUSH);
        buf_add(&out, piece, PIECE - z.avail_out);
    }
    inflateEnd(&z);
    free(piece);
    if (buf_check(&out, "its unpacked content", e) || code != Z_STREAM_END) {
        err_set(e, ERR_DATA, "stored with Content-Encoding: gzip, but it is not whole gzip data");
        buf_release(&out);
        return NULL;
    }
    if (!out.size) {
        buf_release(&out);
        *size_out = 0;
        return xstrdup("");
    }
    return buf_take(&out, size_out);
}

/* Fetch until the checksum is right; `found` holds the facts then. */
static void *load_right(struct net *n, const struct store_kind *k, const struct object *o,
                        struct object *found, int64_t bytes_max, size_t *size, struct err *e)
{
    for (int tries = 0;;) {
        object_copy(found, o);
        if (!o->version[0] && o->size == 0)
            found->size = -1;
        void *data = load_stored(n, k, found, bytes_max, size, e);
        if (data && !check_bytes(found, data, *size, e))
            return data;
        object_release(found);
        if (!data)
            return NULL;
        free(data);
        if (!try_again(n, &tries, e))
            return NULL;
    }
}

void *store_load(struct net *n, struct object *o, int64_t bytes_max, size_t *size, struct err *e)
{
    struct object found;
    const struct store_kind *k = need_kind(o->uri, e);
    if (!k)
        return NULL;
    char *shown = store_shown(o->uri);
    void *data = load_right(n, k, o, &found, bytes_max, size, e);
    if (data && found.is_gzip) {
        void *coded = data;
        data = undo_gzip(coded, *size, bytes_max, size, e);
        free(coded);
        if (!data)
            object_release(&found);
    }
    if (data) {
        object_release(o);
        *o = found;
    } else if (strncmp(e->text, shown, strlen(shown)) != 0) {
        err_in(e, "%s", shown);
    }
    free(shown);
    return data;
}

int store_verify(const struct object *o, const char *path, uint32_t crc, struct err *e)
{
    char found[HASH_HEX_SIZE];
    uint64_t size;
    bool fits = true;
    if (file_size(path, &size, e))
        return -1;
    if (o->size >= 0 && size != (uint64_t)o->size)
        return err_set(e, ERR_INTEGRITY, "%s: %llu bytes came, expected %lld", o->uri,
                       (unsigned long long)size, (long long)o->size);
    if (o->has_crc32c && crc != o->crc32c)
        return err_set(e, ERR_INTEGRITY, "%s: CRC-32C is %08x, expected %08x", o->uri, crc,
                       o->crc32c);
    if (o->has_crc32c || !o->digest[0])
        return 0;
    if (checksum_of_file(o->digest, path, &fits, found, e))
        return -1;
    if (!fits)
        return err_set(e, ERR_INTEGRITY, "%s: digest is %s, expected %s", o->uri, found, o->digest);
    return 0;
}

/* ---------------------------------------------------------------- writing -- */

static const struct store_kind *need_writer(const char *uri, struct err *e)
{
    const struct store_kind *k = need_kind(uri, e);
    if (k && !k->write) {
        char *shown = store_shown(uri);
        err_set(e, ERR_USAGE, "%s: cannot be written to", shown);
        err_hint(e, "results can go to gs:// or to a local folder");
        free(shown);
        k = NULL;
    }
    return k;
}

static int write_object(struct net *n, const char *uri, const void *data, size_t size, int fd,
                        const char *only_if, struct object *o, struct err *e)
{
    struct object made;
    const struct store_kind *k = need_writer(uri, e);
    if (!k)
        return -1;
    object_init(&made, uri);
    int failed = k->write(n, uri, data, size, fd, only_if, &made, e);
    if (!failed && o) {
        *o = made;
        made = (struct object){.size = -1};
    }
    object_release(&made);
    return failed;
}

int store_write(struct net *n, const char *uri, const void *data, size_t size, const char *only_if,
                struct object *o, struct err *e)
{
    return write_object(n, uri, size ? data : "", size, -1, only_if, o, e);
}

int store_write_file(struct net *n, const char *uri, const char *path, struct object *o,
                     struct err *e)
{
    uint64_t size;
    if (file_size(path, &size, e))
        return err_in(e, "%s", uri);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: %s cannot be opened", uri, path);
    int failed = write_object(n, uri, NULL, (size_t)size, fd, NULL, o, e);
    close(fd);
    return failed;
}

int store_remove(struct net *n, const char *uri, struct err *e)
{
    const struct store_kind *k = need_writer(uri, e);
    return k ? k->remove(n, uri, e) : -1;
}
