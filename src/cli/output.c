/* output.c - see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool lost_reader;

int output_flush(struct err *e)
{
    errno = 0;
    bool is_lost = fflush(stdout) != 0;
    int why = errno;
    if (!is_lost && !ferror(stdout))
        return 0;
    lost_reader |= why == EPIPE;
    return err_set(e, why == ENOSPC ? ERR_SPACE : ERR_FAILED, "stdout: %s",
                   why ? strerror(why) : "the output could not be written");
}

int output_line(const struct buf *b, struct err *e)
{
    if (buf_check(b, "a line of output", e))
        return -1;
    fwrite(b->data, 1, b->size, stdout);
    putchar('\n');
    return output_flush(e);
}

bool output_lost_reader(void)
{
    return lost_reader;
}

void output_one_line(const char *s, struct buf *out)
{
    for (; *s; s++)
        buf_add_char(out, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
}
