/* gemma4_config.h - Gemma 4's config.json: sizes for the towers, and errors for what they do not
 * know.  Missing keys have the defaults of transformers.
 */
#ifndef MODEL_GEMMA4_CONFIG_H
#define MODEL_GEMMA4_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "model/gemma4_audio.h"
#include "model/gemma4_text.h"

/* Read a text config (the whole config.json of a text-only model, or its `text_config`): sets every
 * size and allocates the layers.  Release with gemma4_text_release, also after an error. */
int gemma4_text_configure(struct gemma4_text *m, const json_t *config, struct err *e) MUST_CHECK;

/* Read an `audio_config`, likewise. */
int gemma4_audio_configure(struct gemma4_audio *a, const json_t *config, struct err *e) MUST_CHECK;

#endif
