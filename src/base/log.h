/* log.h - messages on stderr, and one status line that stays below them.
 *
 * A message is one line; control bytes in it are shown as '?'.  Colour follows the terminal,
 * NO_COLOR and CLICOLOR_FORCE.  All functions may be called from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Show messages up to this level; LOG_LEVEL_INFO at the start. */
void log_set_level(enum log_level level);

/* Also add every shown message, with the time, to this file (NULL: no more).  A file that cannot
 * be opened is reported once as a warning. */
void log_set_file(const char *path);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Show or replace the status line (cut to the width of the terminal).  Nothing happens when
 * stderr is not a terminal.  log_status_end leaves it where it is and goes to the next line. */
void log_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_status_end(void);

bool log_is_terminal(void);            /* is stderr a terminal? */
bool log_has_color(void);              /* shall stderr carry colours? */
int log_width(void);                   /* columns of the terminal; 80 when not known */

#endif
