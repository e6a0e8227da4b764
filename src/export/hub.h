/* hub.h - save a whole model in the layout of the Hugging Face Hub. */
#ifndef EXPORT_HUB_H
#define EXPORT_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mx/mx.h"
#include "nn/bind.h"

struct hub_options {
    const char *source;                 /* folder whose config and tokenizer files are copied */
    enum mx_dtype dtype;                /* of the saved weights; numbers that are not floating
                                           point, and buffers, keep theirs */
    bool merge;                         /* put adapters into the weights; else they are left out */
    uint64_t shard_bytes;               /* largest file of weights; 0: 5 GB, as the Hub's tools */
};

/* Write weights and the other files to the folder `dir`.  Quantised weights are written dense, in
 * the names and layout of transformers whatever the source's were; weights beyond one file are
 * sharded, with model.safetensors.index.json.  Weights are made and written one by one.  All goes
 * to a temporary folder beside it that takes its place by renaming, so that nothing half-done is
 * ever at `dir`; a folder that is there already is replaced. */
int hub_save(const struct nn_params *p, const char *dir, const struct hub_options *o,
             struct err *e) MUST_CHECK;

#endif
