/* family.h - settings that mean nothing for a model's family are mistakes, said at the start. */
#ifndef TRAIN_FAMILY_H
#define TRAIN_FAMILY_H

#include "base/err.h"
#include "data/manifest.h"
#include "train/config.h"

/* ERR_USAGE that names a setting which would do nothing for the model, and what does the same for
 * it; or says that the records have no sound where the model learns from nothing else.  What is
 * wrong with the model's folder is said when it is opened. */
int family_check(const struct config *c, const struct manifest *train, struct err *e) MUST_CHECK;

#endif
