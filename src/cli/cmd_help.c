/* cmd_help.c - `attune help [TOPIC]`. */
#include <string.h>

#include "cli/cmd.h"

int cmd_help(const struct options *o, struct err *e)
{
    const char *const *words = (const char *const *)o->args.at;
    const char *topic = o->args.count ? words[0] : "";
    bool is_group = verb_is_group(topic);
    int most = is_group ? 2 : 1;
    if (o->args.count > most)
        return err_set(e, ERR_USAGE, "help: unexpected word \"%s\"", words[most]);
    if (is_group && o->args.count == 1) {
        help_group(stdout, topic);
    } else if (!*topic) {
        help_program(stdout);
    } else if (!strcmp(topic, "config")) {
        help_config(stdout);
    } else if (!strcmp(topic, "exit-codes")) {
        help_exit_codes(stdout);
    } else {
        int used;
        enum verb v = verb_find(words, o->args.count, &used, e);
        if (v == VERB_COUNT)
            return err_in(e, "help");
        help_verb(stdout, v);
    }
    return 0;
}
