/* clock.h - time that only moves forward, and time of day. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/* Seconds since some fixed moment; never steps back. */
double clock_seconds(void);

/* Now in UTC, "2026-01-31T23:59:59Z". */
void clock_now(char text[24]);

void clock_sleep(double seconds);

#endif
