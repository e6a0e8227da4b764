/* store.h - objects in other people's storage: named, sized, of one fixed version, read in
 * ranges.
 *
 *     gs://bucket/name        Google Cloud Storage (gcs.c)
 *     s3://bucket/name        Amazon S3 and what speaks like it (s3.c; AWS_ENDPOINT_URL)
 *     https://host/path       any web server with ranges (web.c); http:// on loopback only
 *     hf://datasets/org/name[@revision]/path   the Hugging Face Hub (hf.c; also hf://org/name/path
 *                             for models; HF_ENDPOINT)
 *
 * What is known of an object pins its version: reading one that was replaced since is an error,
 * never a mix.  What a checksum exists for is checked.  Every error names the URI.
 */
#ifndef NET_STORE_H
#define NET_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "net/net.h"

struct object {
    char *uri;                    /* owned */
    int64_t size;                 /* bytes; -1: not known */
    char version[88];             /* generation, ETag, commit; "" when the store has none */
    bool has_crc32c;
    uint32_t crc32c;              /* of all its bytes */
    char digest[HASH_HEX_SIZE];   /* MD5 (32 digits) or SHA-256 (64) of all its bytes, or "" */
    bool is_gzip;                 /* stored with Content-Encoding: gzip: size, checksums and what
                                     store_read gives are of the coded bytes */
};

struct object_list {
    struct object *at;
    int64_t count, capacity;
};

void object_release(struct object *o);
void object_copy(struct object *to, const struct object *from);
void object_list_release(struct object_list *l);
/* Takes over what `o` owns. */
void object_list_add(struct object_list *l, struct object *o);

/* Is it a URI of one of these stores? */
bool store_knows(const char *uri);

/* What there is under this name.  A missing object is ERR_DATA. */
int store_stat(struct net *n, const char *uri, struct object *o, struct err *e) MUST_CHECK;

/* All objects whose URIs begin with `prefix`, sorted by byte, with the facts that a listing
 * tells; folder markers (empty objects whose names end in '/') are left out.  More than `max`,
 * and a store that cannot list (https), are ERR_DATA.  An empty list is no error. */
int store_list(struct net *n, const char *prefix, int64_t max, struct object_list *l,
               struct err *e) MUST_CHECK;

/* Ask for the checksum of an object that a listing told without one, where the store may have it:
 * one request for s3:// (an ETag is an MD5 only if the object is not encrypted by KMS), none for
 * others. */
int store_complete(struct net *n, struct object *o, struct err *e) MUST_CHECK;

/* Exactly `size` bytes at `offset` of this version, tried again until they came whole, and sent
 * for a second time when they are slow (`hedge_s` above 0).  `crc` (may be NULL) receives their
 * CRC-32C.  A replaced object is ERR_INTEGRITY; so is a whole one whose CRC-32C stays wrong. */
int store_read(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
               double hedge_s, uint32_t *crc, struct err *e) MUST_CHECK;

/* A whole object of at most `bytes_max` bytes, checked against its checksum (fetched again when
 * wrong, three times at most, then ERR_INTEGRITY), with a gzip coding undone.  An object whose
 * version is "" takes the one that is found, and its other facts.  A zero follows the bytes.  The
 * caller frees. */
void *store_load(struct net *n, struct object *o, int64_t bytes_max, size_t *size,
                 struct err *e) MUST_CHECK;

/* Does a local copy have the bytes of the object?  `crc` is the CRC-32C of all its bytes as they
 * were fetched; digests are computed from the file.  ERR_INTEGRITY when not. */
int store_verify(const struct object *o, const char *path, uint32_t crc, struct err *e) MUST_CHECK;

/* ---------------------------------------------------------------- writing -- */

/* gs:// only (others: ERR_USAGE).  Make the object hold these bytes, whole or not at all; large
 * ones go up in pieces and go on after failures.  The checksum that the store reports is
 * compared. `only_if` (may be NULL) is the version that must be there, "0": none; another one is
 * ERR_INTEGRITY. `o` (may be NULL) receives what was made. */
int store_write(struct net *n, const char *uri, const void *data, size_t size, const char *only_if,
                struct object *o, struct err *e) MUST_CHECK;
int store_write_file(struct net *n, const char *uri, const char *path, struct object *o,
                     struct err *e) MUST_CHECK;
/* One that is not there is fine. */
int store_remove(struct net *n, const char *uri, struct err *e) MUST_CHECK;

/* --------------------------------------------- one kind of store, for src/net -- */

/* Functions get URIs of their own scheme only.  NULL: the store cannot do that. */
struct store_kind {
    const char *schemes[3];       /* "gs://", NULL */
    int (*stat)(struct net *n, const char *uri, struct object *o, struct err *e);
    int (*list)(struct net *n, const char *prefix, int64_t max, struct object_list *l,
                struct err *e);
    int (*read)(struct net *n, const struct object *o, int64_t offset, void *out, size_t size,
                double hedge_s, struct err *e);
    /* The first `room` bytes, or all when there are fewer, with a zero behind; fills in what `o`
     * does not know, its size always. */
    void *(*first)(struct net *n, struct object *o, size_t room, size_t *size, struct err *e);
    int (*complete)(struct net *n, struct object *o, struct err *e);
    /* `data`, or when it is NULL the file `fd`. */
    int (*write)(struct net *n, const char *uri, const void *data, size_t size, int fd,
                 const char *only_if, struct object *o, struct err *e);
    int (*remove)(struct net *n, const char *uri, struct err *e);
};

extern const struct store_kind store_gcs, store_s3, store_web, store_hf;

/* An object of this URI of which nothing is known yet. */
void object_init(struct object *o, const char *uri);

/* The URI as it may be shown: what stands behind a '?' may be a secret.  The caller frees. */
char *store_shown(const char *uri);

#endif
