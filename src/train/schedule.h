/* schedule.h - the learning rate as a pure function of the step.
 *
 *     warm-up, steps 1 .. W:    rate · t / W                 (the first step already learns)
 *     then, with f = (t - W - 1) / (N - W) in [0, 1):
 *         constant   rate
 *         linear     rate · (r + (1 - r) (1 - f))
 *         cosine     rate · (r + (1 - r) (1 + cos πf) / 2)
 *
 * N is the number of steps and r the ratio at which linear and cosine end.  Without warm-up linear
 * is that of transformers' get_linear_schedule_with_warmup.
 */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include <stdint.h>

#include "train/config.h"

struct schedule {
    enum schedule_kind kind;
    double rate;                       /* the highest */
    int64_t steps;                     /* N, at least 1 */
    int64_t warmup_steps;              /* W, 0: none */
    double min_ratio;                  /* r, 0..1 */
};

/* The rate of step t, counted from 1; past the end as at the end. */
double schedule_rate(const struct schedule *s, int64_t t);

#endif
