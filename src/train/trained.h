/* trained.h - what of a model a configuration trains, and how fast. */
#ifndef TRAIN_TRAINED_H
#define TRAIN_TRAINED_H

#include "base/err.h"
#include "data/manifest.h"
#include "nn/params.h"
#include "train/config.h"
#include "train/session.h"

/* Leave out the towers that a run does not need: there is nothing for them to learn from or to
 * measure on, the adapter has no part in them, and they are not to be trained.  Random weights must
 * be saved whole, used or not; encoder-decoders are nothing without their encoder. */
void trained_fit(struct session_options *o, const struct config *c, const struct manifest *train,
                 const struct manifest *eval);

/* Put adapters on, or choose the weights.  Full training of a quantised model, a tower that is not
 * there, a rank or a rate for a tower in which nothing is trained are ERR_USAGE. */
int trained_choose(struct nn_params *p, const struct config *c, struct err *e) MUST_CHECK;

/* The highest learning rate of a tower's parameters. */
double trained_rate(const struct config *c, const char *tower);

/* What the learning rate of each trainable parameter is multiplied by, in the order of
 * nn_trainable; the caller frees. */
double *trained_factors(const struct nn_params *p, const struct config *c);

#endif
