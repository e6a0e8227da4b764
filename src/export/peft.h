/* peft.h - save an adapter as PEFT's folder: adapter_config.json, adapter_model.safetensors. */
#ifndef EXPORT_PEFT_H
#define EXPORT_PEFT_H

#include "base/err.h"
#include "mx/mx.h"
#include "nn/bind.h"

struct peft_options {
    const char *base_model;             /* base_model_name_or_path: Hub id or folder */
    enum mx_dtype dtype;                /* of the saved tensors; MX_FLOAT32 to lose nothing */
};

/* Write the adapter to the folder `dir`, which is made; on failure what was there is as before.
 * Tensors are named as PEFT names them, base_model.model.<module>.lora_A.weight, and
 * target_modules is a list of full module names, so that it hits exactly what was trained.  Layers
 * with another rank or alpha than the first are named in rank_pattern and alpha_pattern.
 * `sha256`, when not NULL, gets the hash of adapter_model.safetensors: 64 digits and a NUL. */
int peft_save(const struct nn_params *p, const char *dir, const struct peft_options *o,
              char *sha256, struct err *e) MUST_CHECK;

#endif
