/* unpack.c - see unpack.h. */
#include "data/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/crc32c.h"
#include "base/mem.h"

enum { PIECE = 1 << 18, GRACE = 16 << 20, WINDOW_LOG_MAX = 27 };

enum unpack_kind unpack_kind(const char *name)
{
    /* Only web addresses have a query behind the name. */
    size_t n =
        strncmp(name, "http", 4) == 0 && strstr(name, "://") ? strcspn(name, "?#") : strlen(name);
    if (n > 3 && strncmp(name + n - 3, ".gz", 3) == 0)
        return UNPACK_GZIP;
    return n > 4 && strncmp(name + n - 4, ".zst", 4) == 0 ? UNPACK_ZSTD : UNPACK_NONE;
}

enum unpack_kind unpack_kind_of_file(const char *path)
{
    unsigned char head[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head);
    if (fd >= 0)
        close(fd);
    if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b)
        return UNPACK_GZIP;
    return n == 4 && memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0 ? UNPACK_ZSTD : UNPACK_NONE;
}

struct unpacker {
    const struct unpack_job *job;
    int from, to;
    unsigned char *in, *out;      /* PIECE bytes each */
    size_t in_size, in_at;        /* what was read, and how much of it is used up */
    int64_t read;                 /* bytes of the packed file so far */
    bool is_at_end;               /* of the packed file */
    struct unpack_result *result;
};

/* Make sure that there are bytes to work on, unless the file is at its end. */
static int refill(struct unpacker *u, struct err *e)
{
    while (u->in_at == u->in_size && !u->is_at_end) {
        ssize_t n = read(u->from, u->in, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_FAILED, "%s: could not read: %s", u->job->from, strerror(errno));
        u->is_at_end = n == 0;
        u->in_at = 0;
        u->in_size = (size_t)n;
        u->read += n;
    }
    return 0;
}

static int write_out(struct unpacker *u, size_t size, struct err *e)
{
    const struct unpack_job *job = u->job;
    int64_t total = u->result->size + (int64_t)size;
    if (total > u->read * UNPACK_RATIO_MAX + GRACE)
        return err_set(e, ERR_DATA, "%s: grows to more than %d times its size when unpacked",
                       job->name, UNPACK_RATIO_MAX);
    if (size && job->room && job->room(job->arg, total, e))
        return -1;
    for (size_t at = 0; at < size;) {
        ssize_t n = write(u->to, u->out + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_SPACE : ERR_FAILED,
                           "%s: could not write: %s", job->to, strerror(errno));
        at += (size_t)n;
    }
    u->result->crc32c = crc32c(u->result->crc32c, u->out, size);
    u->result->size = total;
    return 0;
}

static int cut_off(const struct unpacker *u, struct err *e)
{
    return err_set(e, ERR_DATA, "%s: ends too early, after %" PRId64 " packed bytes", u->job->name,
                   u->read);
}

static int damaged(const struct unpacker *u, const char *why, struct err *e)
{
    return err_set(e, ERR_DATA, "%s: cannot be unpacked: %s (near byte %" PRId64 ")", u->job->name,
                   why, u->read - (int64_t)(u->in_size - u->in_at));
}

/* Between two members: is there another one?  Zeros up to the end are padding (RFC 1952 knows
 * none, but tapes and gzip(1) do).  1, 0, -1. */
static int gzip_has_more(struct unpacker *u, struct err *e)
{
    if (refill(u, e))
        return -1;
    if (u->is_at_end || u->in[u->in_at] != 0)
        return !u->is_at_end;
    while (!u->is_at_end) {
        for (; u->in_at < u->in_size; u->in_at++)
            if (u->in[u->in_at])
                return damaged(u, "there are other bytes behind its end", e);
        if (refill(u, e))
            return -1;
    }
    return 0;
}

/* The members of a gzip file, with the stream made ready. */
static int gunzip_members(struct unpacker *u, z_stream *z, struct err *e)
{
    for (int members = 0;; members++) {
        int more = members ? gzip_has_more(u, e) : 1;
        if (more <= 0)
            return more;
        for (int code = Z_OK; code != Z_STREAM_END;) {
            if (refill(u, e))
                return -1;
            if (u->is_at_end)
                return cut_off(u, e);
            z->next_in = u->in + u->in_at;
            z->avail_in = (uInt)(u->in_size - u->in_at);
            z->next_out = u->out;
            z->avail_out = PIECE;
            code = inflate(z, Z_NO_FLUSH);
            u->in_at = u->in_size - z->avail_in;
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                return damaged(u, z->msg ? z->msg : "it is not gzip", e);
            if (write_out(u, PIECE - z->avail_out, e))
                return -1;
        }
        if (inflateReset(z) != Z_OK)
            return err_set(e, ERR_BUG, "%s: zlib cannot start over", u->job->name);
    }
}

static int gunzip(struct unpacker *u, struct err *e)
{
    z_stream z = {0};
    /* 16: the gzip format, with its checksum. */
    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK)
        return err_set(e, ERR_FAILED, "%s: zlib cannot start", u->job->name);
    int failed = gunzip_members(u, &z, e);
    inflateEnd(&z);
    return failed;
}

static int unzstd_frames(struct unpacker *u, ZSTD_DCtx *z, struct err *e)
{
    size_t left = 1;              /* 0: at the end of a frame */
    for (;;) {
        if (refill(u, e))
            return -1;
        if (u->is_at_end)
            return left ? cut_off(u, e) : 0;
        ZSTD_inBuffer in = {u->in, u->in_size, u->in_at};
        ZSTD_outBuffer out;
        do {
            out = (ZSTD_outBuffer){u->out, PIECE, 0};
            left = ZSTD_decompressStream(z, &out, &in);
            u->in_at = in.pos;
            if (ZSTD_isError(left))
                return damaged(u, ZSTD_getErrorName(left), e);
            if (write_out(u, out.pos, e))
                return -1;
        } while (in.pos < in.size || (left && out.pos == PIECE));
    }
}

static int unzstd(struct unpacker *u, struct err *e)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        ZSTD_freeDCtx(z);
        return err_set(e, ERR_FAILED, "%s: zstd cannot start", u->job->name);
    }
    int failed = unzstd_frames(u, z, e);
    ZSTD_freeDCtx(z);
    return failed;
}

int unpack_file(const struct unpack_job *job, struct unpack_result *r, struct err *e)
{
    *r = (struct unpack_result){0};
    struct unpacker u = {.job = job, .result = r, .to = -1};
    u.from = open(job->from, O_RDONLY | O_CLOEXEC);
    if (u.from < 0)
        return err_set(e, ERR_DATA, "%s: %s", job->from, strerror(errno));
    int failed = 0;
    u.to = open(job->to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (u.to < 0) {
        failed = err_set(e, ERR_FAILED, "%s: could not write: %s", job->to, strerror(errno));
    } else {
        u.in = xmalloc(PIECE);
        u.out = xmalloc(PIECE);
        failed = job->kind == UNPACK_GZIP ? gunzip(&u, e) : unzstd(&u, e);
        free(u.in);
        free(u.out);
        if (close(u.to) && !failed)
            failed = err_set(e, ERR_SPACE, "%s: could not write: %s", job->to, strerror(errno));
    }
    close(u.from);
    return failed;
}
