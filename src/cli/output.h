/* output.h - what a command gives out: on stdout, where a line that did not arrive is a failure,
 * and to files. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Hand what was printed to the system.  -1 with "stdout: reason" (a full disk is ERR_SPACE). */
int output_flush(struct err *e) MUST_CHECK;

/* Print the bytes of `b` and a line feed, and flush. */
int output_line(const struct buf *b, struct err *e) MUST_CHECK;

/* Make a file, or an object in a bucket, hold what `b` does; `what` names it if it has grown too
 * large. */
struct net;
int output_save(struct net *net, const char *uri, const struct buf *b, const char *what,
                struct err *e) MUST_CHECK;

/* "measuring 8/100" on the status line; `all` 0: nobody knows how many there are. */
void output_progress(const char *what, int64_t done, int64_t all);

/* Has the reader of a pipe gone away, as in `attune score ... | head`? */
bool output_lost_reader(void);

/* Append `s` with tabs, line feeds and other control bytes as spaces: one field of one line. */
void output_one_line(const char *s, struct buf *out);

#endif
