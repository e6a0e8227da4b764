/* gemma4_config.h - the text part of Gemma 4's config.json: sizes for the decoder, and errors for
 * what it does not know.  Missing keys have the defaults of transformers.
 */
#ifndef MODEL_GEMMA4_CONFIG_H
#define MODEL_GEMMA4_CONFIG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "model/gemma4_text.h"

/* Read a text config (the whole config.json of a text-only model, or its `text_config`): sets every
 * size and allocates the layers.  `is_unified`: it is an encoder-free model's, with defaults of its
 * own.  `seeing` becomes GEMMA4_CAUSAL or GEMMA4_IMAGE_IN_WINDOW.  Release with
 * gemma4_text_release, also after an error. */
int gemma4_text_configure(struct gemma4_text *m, const json_t *config, bool is_unified,
                          struct err *e) MUST_CHECK;

#endif
