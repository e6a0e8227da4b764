/* hub.h - save a whole model in the layout of the Hugging Face Hub. */
#ifndef EXPORT_HUB_H
#define EXPORT_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mx/mx.h"
#include "nn/bind.h"

#define HUB_NOTE "written_by"              /* key in the metadata of the weights' files */

struct hub_options {
    const char *source;                 /* folder whose config and tokenizer files are copied */
    enum mx_dtype dtype;                /* of the saved weights; numbers that are not floating
                                           point, and buffers, keep theirs */
    bool merge;                         /* put adapters into the weights; else they are left out */
    const char *written_by;             /* noted in the weights' files, for hub_check_place; NULL:
                                           no note */
    uint64_t shard_bytes;               /* largest file of weights; 0: 5 GB, as the Hub's tools */
};

/* Write weights and the other files to the folder `dir`.  Quantised weights are written dense, in
 * the names and layout of transformers whatever the source's were; a head that is tied to the
 * embeddings is left out; weights beyond one file are sharded, with model.safetensors.index.json.
 * config.json says the dtype.  Weights are made and written one by one; one that float16 cannot
 * hold is ERR_USAGE.  All goes to a temporary folder beside it that takes its place by renaming, so
 * that nothing half-done is ever at `dir`; a folder that is there already is replaced. */
int hub_save(const struct nn_params *p, const char *dir, const struct hub_options *o,
             struct err *e) MUST_CHECK;

/* May a user's command put a model made from the folder `source` at `dir`?  Yes, if nothing is
 * there, an empty folder, or one of the same `written_by` that nobody has added to; else ERR_USAGE
 * that says what is in the way. */
int hub_check_place(const char *dir, const char *source, const char *written_by,
                    struct err *e) MUST_CHECK;

/* The floating-point type of most of the weights' bytes in a folder; MX_FLOAT32 when there are
 * none. */
int hub_dtype(const char *dir, enum mx_dtype *dtype, struct err *e) MUST_CHECK;

#endif
