/* gemma4.h - Gemma 4 as a family of models: text decoder, audio tower, and how they are joined.
 *
 * `gemma4` is the multimodal layout of the Hub (Gemma4ForConditionalGeneration), `gemma4_text` the
 * text-only one (Gemma4ForCausalLM).  A vision tower is neither read nor run.
 */
#ifndef MODEL_GEMMA4_H
#define MODEL_GEMMA4_H

#include "model/model.h"

extern const struct model_family gemma4_family;
extern const struct model_family gemma4_text_family;

#endif
