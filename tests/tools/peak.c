/* peak.c - runs a command and writes what it took into a file: "KB seconds cpu_seconds" (peak
 * resident memory of the process, wall clock, processor time).  Exits as the command did.
 *
 *     peak FILE COMMAND...
 */
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t child;

static void pass_on(int number)
{
    if (child > 0)
        kill((pid_t)child, number);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: peak FILE COMMAND...\n");
        return 2;
    }
    double start = clock_seconds();
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        fprintf(stderr, "peak: %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    child = pid;
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
#ifdef __APPLE__
    long kb = used.ru_maxrss >> 10;
#else
    long kb = used.ru_maxrss;
#endif
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    FILE *f = fopen(argv[1], "w");
    if (!f || fprintf(f, "%ld %.2f %.2f\n", kb, clock_seconds() - start, cpu_s) < 0 || fclose(f)) {
        fprintf(stderr, "peak: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
