/* machine.c - see machine.h. */
#include "base/machine.h"

#include <stdio.h>
#include <unistd.h>

/* The limit of a Linux control group (version 2, then 1); 0 when there is none. */
static int64_t group_limit(const char *path)
{
    long long bytes = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    if (fscanf(f, "%lld", &bytes) != 1)
        bytes = 0;
    fclose(f);
    return bytes > 0 ? bytes : 0;
}

int64_t machine_memory(void)
{
    static const char *const limits[] = {
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    };
    int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    all = all > 0 ? all : 0;
    for (int i = 0; i < 2; i++) {
        int64_t limit = group_limit(limits[i]);
        if (limit && (!all || limit < all))
            all = limit;
    }
    return all;
}
