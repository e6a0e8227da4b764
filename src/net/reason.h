/* reason.h - why a service refused, out of the body of its answer, as one clean line.
 *
 * Understood are JSON (error.message, error_description, message, a string in error), XML as S3
 * sends it (Message), and plain text.  Nothing of it is trusted: it is cut, and control bytes and
 * broken UTF-8 become '?'.
 */
#ifndef NET_REASON_H
#define NET_REASON_H

#include <stdbool.h>
#include <stddef.h>

#include "net/http.h"

enum { REASON_MAX = 240, REASON_CODE_MAX = 64 };

struct reason {
    char text[REASON_MAX];         /* "" when the body tells nothing */
    char code[REASON_CODE_MAX];    /* S3's Code ("SlowDown"), Google's reason ("backendError") */
};

void reason_of(const struct http_response *r, struct reason *out);

/* Copy the first line of `text`, cleaned, cut to `size` bytes with "..." at its end. */
void reason_clean(const char *text, size_t text_size, char *out, size_t size);

#endif
