/* main.c - the program: finds the command, runs it, prints what went wrong, chooses the exit code.
 * Nothing else prints errors or exits. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/version.h"

typedef int (*command_fn)(const struct options *o, struct err *e);

/* In the order of enum verb. */
static const command_fn commands[VERB_COUNT] = {
    cmd_train,       cmd_eval,       cmd_score,     cmd_transcribe, cmd_generate,
    cmd_export,      cmd_data_check, cmd_data_plan, cmd_data_index, cmd_data_stats,
    cmd_data_show,   cmd_data_import, cmd_doctor,   cmd_help,
};

/* A closed 0, 1 or 2 would be given to the next file opened, which print would then damage. */
static int check_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            return -1;
    return 0;
}

static int run(int argc, const char **argv, struct err *e)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        help_program(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("attune %s\n", ATTUNE_VERSION);
        return 0;
    }
    if (argv[1][0] == '-') {
        err_set(e, ERR_USAGE, "unknown flag \"%s\"", argv[1]);
        return err_hint(e, "the command comes first: attune COMMAND [FLAGS]");
    }
    bool asks = argc == 2 || !strcmp(argv[2], "--help") || !strcmp(argv[2], "-h");
    if (asks && verb_is_group(argv[1])) {
        help_group(stdout, argv[1]);
        return 0;
    }
    int used;
    enum verb v = verb_find(argv + 1, argc - 1, &used, e);
    if (v == VERB_COUNT)
        return -1;
    struct options o;
    if (options_parse(&o, v, argc - 1 - used, argv + 1 + used, e))
        return -1;
    if (o.config.quiet)
        log_set_level(LOG_LEVEL_WARN);
    int rc = 0;
    if (o.help)
        help_verb(stdout, v);
    else
        rc = commands[v](&o, e);
    options_release(&o);
    return rc;
}

/* A reader that has seen enough is not worth a message: end as if the signal had not been
 * ignored, which shells expect. */
static int end_quietly(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
    return ERR_FAILED;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (check_standard_files())
        return ERR_FAILED;
    /* A write that fails is an error with a text, not a death. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    setlocale(LC_CTYPE, "");
    int rc = run(argc, (const char **)argv, &e);
    log_status_end();
    if (!rc)
        rc = output_flush(&e);
    if (!rc)
        return 0;
    if (output_lost_reader())
        return end_quietly();
    if (e.kind == ERR_NONE)
        err_set(&e, ERR_BUG, "a failure without a text");
    fprintf(stderr, "attune: %s\n", e.text);
    if (*e.hint)
        fprintf(stderr, "hint: %s\n", e.hint);
    return (int)e.kind;
}
