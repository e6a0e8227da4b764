/* shard_build.h - how the tables of a shard are filled, and what its members mean: for shard*.c. */
#ifndef DATA_SHARD_BUILD_H
#define DATA_SHARD_BUILD_H

#include "data/shard.h"

/* A shard that is being made. */
struct shard_build {
    struct shard *shard;
    size_t record_capacity, member_capacity;
};

/* A new sample, and a member of the newest one, with their limits; names are copied. */
int shard_add_record(struct shard_build *b, const char *key, size_t key_size,
                     struct err *e) MUST_CHECK;
int shard_add_member(struct shard_build *b, const char *name, int64_t offset, int64_t size,
                     struct err *e) MUST_CHECK;

/* Check that there is a sample, and that no key comes twice. */
int shard_finish(struct shard_build *b, struct err *e) MUST_CHECK;

/* Refuse names that are not UTF-8 or hold control bytes. */
int shard_check_name(const char *name, struct err *e) MUST_CHECK;

/* A copy of a text that lives as long as the shard. */
const char *shard_keep(struct shard *s, const char *text, size_t size);

/* The last part of a name; points into it. */
const char *shard_base(const char *name);

/* What follows the key and its dot in a member's name. */
const char *shard_suffix(const struct shard_record *r, const struct shard_member *m);

enum shard_role {
    SHARD_OTHER,
    SHARD_JSON,
    SHARD_TEXT,
    SHARD_LANGUAGE,
    SHARD_AUDIO,                          /* media in the order of enum record_media_kind */
    SHARD_IMAGE,
    SHARD_VIDEO,
};
enum shard_role shard_role(const struct shard_record *r, const struct shard_member *m);

#endif
