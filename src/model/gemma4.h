/* gemma4.h - Gemma 4 as families of models: text decoder, towers, and how they are joined.
 *
 *     gemma4                 audio and vision towers before the decoder: E2B, E4B, 26B-A4B, 31B
 *     gemma4_text            a decoder alone
 *     gemma4_unified         raw patches and samples go into the decoder: 12B
 *     gemma4_unified_text    its decoder alone
 */
#ifndef MODEL_GEMMA4_H
#define MODEL_GEMMA4_H

#include "model/model.h"

extern const struct model_family gemma4_family;
extern const struct model_family gemma4_text_family;
extern const struct model_family gemma4_unified_family;
extern const struct model_family gemma4_unified_text_family;

#endif
