/* step_notes.h - what is to be said of the records of a step. */
#ifndef TRAIN_STEP_NOTES_H
#define TRAIN_STEP_NOTES_H

#include <stddef.h>
#include <stdint.h>

#include "data/loader.h"

/* All zero at the start of a run. */
struct step_notes {
    int bad_shown;                     /* bad records that were named */
    int64_t splits;                    /* long clips that were cut so far */
};

/* Name the first bad records, and say once that long clips are cut. */
void step_notes(struct step_notes *n, const struct loader_step *s);

/* Clips of all its micro-batches. */
int64_t step_windows(const struct loader_step *s);

/* Names of the records of a step, as many as fit. */
void step_names(const struct loader_step *s, char *out, size_t size);

#endif
