/* mirror_files.h - the files of a mirrored run: which there are, which of them the bucket has, in
 * what order they go there.  Parts of mirror.c. */
#ifndef TRAIN_MIRROR_FILES_H
#define TRAIN_MIRROR_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/store.h"

/* A file of the run, by its name in the folder: "ckpt/000200/weights.safetensors". */
struct mirror_file {
    char *name;
    int64_t size, time_ns;                /* when it was last known to be the bucket's; time_ns
                                             -1: only the bucket's facts are known */
    bool is_remote;                       /* the bucket has (some version of) it */
    bool has_crc32c;
    uint32_t crc32c;
    int64_t step;                         /* of the checkpoint it belongs to, -1: none */
    bool is_manifest;                     /* of a checkpoint */
};

struct mirror_files {
    struct mirror_file *at;
    size_t count, room;
};

void mirror_files_release(struct mirror_files *l);

/* The entry of this name, or NULL; a new one. */
struct mirror_file *mirror_files_find(struct mirror_files *l, const char *name);
struct mirror_file *mirror_files_add(struct mirror_files *l, const char *name);

/* Is it a name that a run's file may have?  No part is empty, begins with a dot or holds control
 * characters; what belongs to one machine (lock, machine, owner.json, damaged checkpoints) does not
 * count. */
bool mirror_name_is_fine(const char *name);

/* The files of a folder, in the order in which they are copied. */
int mirror_files_read(struct mirror_files *l, const char *dir, struct err *e) MUST_CHECK;

/* Size, time of change and checksum of a local file; false when it is not there. */
bool mirror_file_stat(const char *path, int64_t *size, int64_t *time_ns);
int mirror_file_crc(const char *path, uint32_t *crc, struct err *e) MUST_CHECK;

#endif
