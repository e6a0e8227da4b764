/* schedule.c - see schedule.h. */
#include "train/schedule.h"

#include <math.h>

double schedule_rate(const struct schedule *s, int64_t t)
{
    if (t <= s->warmup_steps)
        return s->rate * (double)t / (double)s->warmup_steps;
    if (s->kind == SCHEDULE_CONSTANT || s->steps <= s->warmup_steps)
        return s->rate;
    double f = (double)(t - s->warmup_steps - 1) / (double)(s->steps - s->warmup_steps);
    if (f > 1)
        f = 1;
    double part = s->kind == SCHEDULE_LINEAR ? 1 - f : (1 + cos(acos(-1.0) * f)) / 2;
    return s->rate * (s->min_ratio + (1 - s->min_ratio) * part);
}
