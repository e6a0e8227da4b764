/* shard.h - a tar file of samples (WebDataset's layout), and where in it each of them lies.
 *
 * Members with the same name up to the first dot of their last part are one sample, and stand one
 * behind the other: "a/000017.json", "a/000017.flac".  The archive is read in place, never
 * unpacked.  A shard is whole only when it ends with the archive's end mark; a cut one is an error.
 * So are links, devices and sparse members, names that are not UTF-8 or hold control bytes, two
 * members of one name, and a sample whose members do not stand together.  A "./" in front of names
 * is left out; folders, names without a dot and what macOS's tar adds ("._name") are passed over.
 *
 * What a sample's members mean (capitals do not matter):
 *     json                     the record (record.h); names in it may be those of members
 *     txt, text                its "text", when the json has none (line ends behind it are cut)
 *     flac wav mp3 ogg         its "audio", when the json names none; also behind the last of
 *       opus m4a aac webm      several dots: "000017.left.flac"
 *     jpg jpeg png webp        its "image", when the json names no media at all; likewise
 *     mp4 mov                  its "video"
 *     lang                     its "language", when the json has none
 * Messages with parts that have no name take as many members as they have such parts, in order.
 * Other members are used only when the json names them.  The record's "id" is the sample's key,
 * when the json has none.
 *
 * An index is the same knowledge as a file, so that a shard can be planned before it is here: for
 * "x.tar" the object "x.tar.idx" beside it, lines of JSON, the first of which names the shard's
 * size and checksum.
 */
#ifndef DATA_SHARD_H
#define DATA_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "net/store.h"

enum {
    SHARD_RECORDS_MAX = 4 << 20,
    SHARD_JSON_MAX = 16 << 20,            /* bytes of one record */
    SHARD_MEMBERS_MAX = 1024,             /* of one sample */
};

struct shard_member {
    const char *name;                     /* whole path in the archive, without "./" */
    int64_t offset, size;                 /* of its bytes in the (unpacked) file */
    bool has_crc;
    uint32_t crc;                         /* CRC-32C of these bytes: after shard_sum,
                                             and when an index says it */
};

struct shard_record {
    const char *key;                      /* the common part of the names */
    const char *id;                       /* the json's "id", else NULL */
    int first, count;                     /* its members */
    uint32_t length;                      /* see record_facts */
    float seconds;                        /* "duration", else as the clip's header (FLAC, WAV) says,
                                             0: not known */
};

struct shard {
    char *name;                           /* as in the manifest, for messages */
    int64_t size;                         /* bytes of the (unpacked) file */
    struct shard_member *members;
    int member_count;
    struct shard_record *records;
    int record_count;
    struct shard_strings *strings;        /* own the names */
};

/* Read the headers (and json members) of a local tar file called `name`; ids and lengths are those
 * of the records with the columns renamed (record.h).  A sample whose json is bad is no error here:
 * it becomes one when the record is made.  On failure `s` is released. */
int shard_index(struct shard *s, const char *path, const char *name, char *const *columns,
                int column_count, struct err *e) MUST_CHECK;
void shard_release(struct shard *s);      /* safe on a zeroed struct */

/* Read the bytes of all members, for their checksums: with them in its index a shard's samples can
 * be read one by one from where it lies. */
int shard_sum(struct shard *s, const char *path, struct err *e) MUST_CHECK;

/* The record of a sample as a JSON object, made of its members (see above), media under their
 * member names.  `read` gets bytes of the shard.  NULL on failure, without the record's name in the
 * error. */
typedef int (*shard_read_fn)(void *arg, int64_t offset, void *out, size_t size, struct err *e);
json_t *shard_json(const struct shard *s, int record, shard_read_fn read, void *arg,
                   struct err *e) MUST_CHECK;

/* The member of a record by whole name, by its last part (whatever folders stand before it, in
 * `name` or in the archive), or by "." and extension (URIs by the whole name only); NULL: none. */
const struct shard_member *shard_find(const struct shard *s, int record, const char *name);

/* "x.tar:key"; the caller frees. */
char *shard_where(const struct shard *s, int record);

/* The index as text, and back; `columns` are those of shard_index.  One that belongs to another
 * version of the shard (size or checksum differ), or was made with other columns, is ERR_INTEGRITY.
 * The one that is read is called as the object.  On failure `s` is released. */
struct buf;
void shard_write_index(const struct shard *s, const struct object *o, char *const *columns,
                       int column_count, struct buf *out);
int shard_read_index(struct shard *s, const struct object *o, char *const *columns,
                     int column_count, const char *text, size_t size, struct err *e) MUST_CHECK;

#endif
