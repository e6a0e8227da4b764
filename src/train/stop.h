/* stop.h - SIGINT and SIGTERM as a wish that is asked for, not as an end.  A second signal ends
 * the process at once. */
#ifndef TRAIN_STOP_H
#define TRAIN_STOP_H

#include <signal.h>

/* What was done about the signals before. */
struct stop_handlers {
    struct sigaction interrupt, terminate;
};

void stop_catch(struct stop_handlers *old);
void stop_restore(const struct stop_handlers *old);

/* The signal that came since stop_catch, 0: none.  Any thread may ask. */
int stop_signal(void);

#endif
