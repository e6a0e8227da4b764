/* format.h - how a training run makes its batches, beside what its checkpoint says. */
#ifndef TRAIN_FORMAT_H
#define TRAIN_FORMAT_H

#include <stdbool.h>

#include "base/err.h"
#include "data/loader.h"
#include "data/sample.h"
#include "train/config.h"
#include "train/session.h"

/* The session's format, to which coarser padding is added where steps are compiled, with what is
 * for training alone: packed rows, joined clips, SpecAugment. */
void format_for_training(struct data_format *out, struct session *s, const struct config *c);

/* Batches of like lengths: not where clips share windows, which short and long ones fill best
 * together. */
bool format_is_sorted(const struct config *c);
/* By the text alone: where every clip takes a whole window for itself. */
bool format_sorts_text(const struct config *c);

/* Does a frozen encoder make something else of the same clip in each epoch? */
bool format_is_random(const struct data_format *f, const struct model_facts *facts);

/* Put the likeliest language into rows whose record leaves it to the model. */
int format_detect(const struct session *s, const struct loader_step *step,
                  struct err *e) MUST_CHECK;

#endif
