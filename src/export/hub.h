/* hub.h - save a whole model in the layout of the Hugging Face Hub. */
#ifndef EXPORT_HUB_H
#define EXPORT_HUB_H

#include "base/err.h"
#include "mx/mx.h"
#include "nn/bind.h"

struct hub_options {
    const char *source;                 /* folder whose config and tokenizer files are copied */
    enum mx_dtype dtype;                /* of the saved weights; numbers that are not floating
                                           point, and buffers, keep theirs */
};

/* Write weights (adapters are left out) and the other files to the folder `dir`.  All is written
 * to a temporary folder beside it that takes its place by renaming, so that nothing half-done is
 * ever at `dir`; a folder that is there already is replaced. */
int hub_save(const struct nn_params *p, const char *dir, const struct hub_options *o,
             struct err *e) MUST_CHECK;

#endif
