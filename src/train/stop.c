/* stop.c - see stop.h. */
#include "train/stop.h"

#include <stdatomic.h>
#include <unistd.h>

/* A signal handler knows nothing but globals. */
static atomic_int came;

static void on_signal(int sig)
{
    if (atomic_exchange(&came, sig))
        _exit(128 + sig);
}

void stop_catch(struct stop_handlers *old)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    atomic_store(&came, 0);
    sigaction(SIGINT, &a, &old->interrupt);
    sigaction(SIGTERM, &a, &old->terminate);
}

void stop_restore(const struct stop_handlers *old)
{
    sigaction(SIGINT, &old->interrupt, NULL);
    sigaction(SIGTERM, &old->terminate, NULL);
}

int stop_signal(void)
{
    return atomic_load(&came);
}
