/* whisper_config.h - the sizes and rates that Whisper's config.json gives. */
#ifndef MODEL_WHISPER_CONFIG_H
#define MODEL_WHISPER_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "model/whisper_model.h"

/* Fill in what config.json says and make the layers.  -1: a value that is missing, or one that
 * would change the mathematics in a way that is not known. */
int whisper_configure(struct whisper *m, const json_t *config, struct err *e) MUST_CHECK;

#endif
