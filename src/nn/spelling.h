/* spelling.h - tensors by our names, which are transformers', in checkpoints of MLX's tools.
 *
 *     model.language_model.X      language_model.model.X
 *     model.X                     X                       of towers and projectors
 *     lm_head.X                   language_model.lm_head.X
 */
#ifndef NN_SPELLING_H
#define NN_SPELLING_H

#include "nn/safetensors.h"

/* The tensor of this name in either spelling, or NULL. */
const struct safetensors_tensor *spelling_find(const struct safetensors *s, const char *name);

/* Our name for a tensor of a checkpoint; the caller frees. */
char *spelling_ours(const char *name);

#endif
