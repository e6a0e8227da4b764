/* config_value.h - values of a model's config.json: within bounds, or an error that names the key.
 *
 * With `e` set already these return something harmless, so that a reader can go on to the end.
 */
#ifndef MODEL_CONFIG_VALUE_H
#define MODEL_CONFIG_VALUE_H

#include "base/err.h"
#include "base/json.h"

enum { CONFIG_SIZE_MAX = 1 << 24 };

/* An integer from `least` to `most`; `fallback` when the key is missing. */
int config_size(const json_t *c, const char *key, int fallback, int least, int most, struct err *e);
/* An integer of at least 1 that must be there. */
int config_need_size(const json_t *c, const char *key, struct err *e);
/* A string that must have one value, which is also its default. */
void config_want_str(const json_t *c, const char *key, const char *value, struct err *e);
/* A flag that must be false; `what` it would ask for. */
void config_want_false(const json_t *c, const char *key, const char *what, struct err *e);

#endif
