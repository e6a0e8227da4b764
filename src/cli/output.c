/* output.c - see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "data/source.h"
#include "net/store.h"

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

int output_save(struct net *net, const char *uri, const struct buf *b, const char *what,
                struct err *e)
{
    const char *path = source_local_path(uri);
    if (buf_check(b, what, e))
        return -1;
    return path ? file_write(path, b->data, b->size, e)
                : store_write(net, uri, b->data, b->size, NULL, NULL, e);
}

void output_progress(const char *what, int64_t done, int64_t all)
{
    if (all)
        log_status("%s %lld/%lld", what, (long long)(done < all ? done : all), (long long)all);
    else
        log_status("%s %lld", what, (long long)done);
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
