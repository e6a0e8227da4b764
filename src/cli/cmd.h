/* cmd.h - the commands.  Each returns 0, or -1 with an error whose kind is the exit code.  Data
 * goes to stdout, messages to stderr. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "base/err.h"
#include "cli/options.h"

int cmd_train(const struct options *o, struct err *e) MUST_CHECK;
int cmd_eval(const struct options *o, struct err *e) MUST_CHECK;
int cmd_score(const struct options *o, struct err *e) MUST_CHECK;
int cmd_transcribe(const struct options *o, struct err *e) MUST_CHECK;
int cmd_generate(const struct options *o, struct err *e) MUST_CHECK;
int cmd_export(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_check(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_plan(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_index(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_stats(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_show(const struct options *o, struct err *e) MUST_CHECK;
int cmd_data_import(const struct options *o, struct err *e) MUST_CHECK;
int cmd_doctor(const struct options *o, struct err *e) MUST_CHECK;
int cmd_help(const struct options *o, struct err *e) MUST_CHECK;

#endif
