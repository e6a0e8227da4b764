/* gemma4_towers_config.h - the parts of Gemma 4's config.json that concern sound and pictures:
 * sizes for the towers, and errors for what they do not know.  Missing keys have the defaults of
 * transformers.
 */
#ifndef MODEL_GEMMA4_TOWERS_CONFIG_H
#define MODEL_GEMMA4_TOWERS_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "model/gemma4_audio.h"
#include "model/gemma4_unified.h"
#include "model/gemma4_vision.h"

/* Read an `audio_config`: sets every size and allocates the layers.  Release with
 * gemma4_audio_release, also after an error. */
int gemma4_audio_configure(struct gemma4_audio *a, const json_t *config, struct err *e) MUST_CHECK;

/* Read a `vision_config`, likewise. */
int gemma4_vision_configure(struct gemma4_vision *v, const json_t *config,
                            struct err *e) MUST_CHECK;

/* Read the `vision_config` of an encoder-free model. */
int gemma4_unified_configure(struct gemma4_unified *u, const json_t *config,
                             struct err *e) MUST_CHECK;

/* Read the `audio_config` of an encoder-free model: the samples of a soft token and the ε of the
 * projector's norm. */
int gemma4_unified_configure_audio(int *samples, double *eps, const json_t *config,
                                   struct err *e) MUST_CHECK;

#endif
