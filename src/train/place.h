/* place.h - where in its data a run is, as it stands in a checkpoint's state.json:
 *
 *     "data": {"epoch": 0, "window": 3, "batch": 17, "bad": 2, "taken": 4096}
 */
#ifndef TRAIN_PLACE_H
#define TRAIN_PLACE_H

#include <stdint.h>

#include "base/json.h"
#include "data/plan.h"

/* The batch of the next step, and what the loader counted in this epoch until there. */
struct place {
    struct plan_cursor cursor;
    int64_t bad, taken;
};

json_t *place_to_json(const struct place *p);
/* Errors as all getters of json.h: look at e->kind.  `o` may be NULL after one. */
struct place place_of_json(const json_t *o, struct err *e);

#endif
