/* clock.c - see clock.h. */
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_now(char text[24])
{
    struct tm tm;
    time_t now = time(NULL);
    memset(&tm, 0, sizeof tm);
    gmtime_r(&now, &tm);
    strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void clock_sleep(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    while (nanosleep(&t, &t) && errno == EINTR)
        continue;
}
