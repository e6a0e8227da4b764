/* gcs.h - what gcs.c and gcs_upload.c share: names, addresses and metadata of the JSON API.
 *
 * https://cloud.google.com/storage/docs/json_api/v1, at the emulator that STORAGE_EMULATOR_HOST
 * names, or at the endpoint of CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE (gcloud's variable for
 * private endpoints; with a login).
 */
#ifndef NET_GCS_H
#define NET_GCS_H

#include "base/json.h"
#include "net/request.h"
#include "net/store.h"

struct gcs_name {
    char *bucket;                 /* owned */
    const char *name;             /* points into the URI; may be "" for prefixes */
};

/* Take "gs://bucket/name" apart.  The caller frees `bucket`, on success only. */
int gcs_name(struct gcs_name *g, const char *uri, bool is_prefix, struct err *e) MUST_CHECK;

enum gcs_service { GCS_STORAGE, GCS_UPLOAD };

/* The address of an object (`name`), or of a bucket's objects (NULL), with a query ("a=b&c=d",
 * already encoded, may be "") and who pays.  The caller frees. */
char *gcs_url(struct net *n, enum gcs_service service, const char *bucket, const char *name,
              const char *query);

/* Scheme and host of all addresses: "https://storage.googleapis.com".  The caller frees. */
char *gcs_origin(void);

/* The facts in an object's metadata. */
#define GCS_FIELDS "name,size,generation,crc32c,md5Hash,contentEncoding"
int gcs_metadata(const json_t *v, struct object *o, struct err *e) MUST_CHECK;

/* Facts of an object by its metadata; ERR_DATA when it is not there. */
int gcs_stat(struct net *n, const char *uri, struct object *o, struct err *e) MUST_CHECK;

/* Say of an ERR_LOGIN with which credentials it happened, and which permission is needed; of a
 * bucket whose readers pay, what to do. */
void gcs_explain(struct net *n, const char *uri, const char *permission, struct err *e);

/* gcs_upload.c: see store_kind.write. */
int gcs_write(struct net *n, const char *uri, const void *data, size_t size, int fd,
              const char *only_if, struct object *o, struct err *e) MUST_CHECK;

/* Remove an object; with a generation (may be NULL), only that one.  One that is not there is
 * fine. */
int gcs_remove(struct net *n, const char *uri, const char *generation, struct err *e) MUST_CHECK;

#endif
