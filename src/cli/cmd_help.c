/* cmd_help.c - `attune help [TOPIC]`. */
#include <string.h>

#include "cli/cmd.h"

int cmd_help(const struct options *o, struct err *e)
{
    if (o->args.count > 1)
        return err_set(e, ERR_USAGE, "help: unexpected word \"%s\"", o->args.at[1]);
    const char *topic = o->args.count ? o->args.at[0] : "";
    if (!*topic) {
        help_program(stdout);
    } else if (!strcmp(topic, "config")) {
        help_config(stdout);
    } else if (!strcmp(topic, "exit-codes")) {
        help_exit_codes(stdout);
    } else {
        enum verb v = verb_find(topic, e);
        if (v == VERB_COUNT)
            return err_in(e, "help");
        help_verb(stdout, v);
    }
    return 0;
}
