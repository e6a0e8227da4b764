/* output.h - stdout, where a line that did not arrive is a failure. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* Hand what was printed to the system.  -1 with "stdout: reason" (a full disk is ERR_SPACE). */
int output_flush(struct err *e) MUST_CHECK;

/* Print the bytes of `b` and a line feed, and flush. */
int output_line(const struct buf *b, struct err *e) MUST_CHECK;

/* Has the reader of a pipe gone away, as in `attune score ... | head`? */
bool output_lost_reader(void);

/* Append `s` with tabs, line feeds and other control bytes as spaces: one field of one line. */
void output_one_line(const char *s, struct buf *out);

#endif
