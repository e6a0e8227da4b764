/* tar.c - see tar.h.
 *
 * A member is a header of one block (512 bytes) and its bytes, filled up to whole blocks.  What
 * does not fit into the header stands in members before it: 'x' (pax: lines "LENGTH key=value") and
 * 'L' (GNU: a long name).  Places of the header's fields are those of POSIX's table.
 */
#include "data/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { BLOCK = 512 };

enum {
    NAME = 0,
    NAME_SIZE = 100,
    SIZE = 124,
    SIZE_SIZE = 12,
    CHECKSUM = 148,
    CHECKSUM_SIZE = 8,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_SIZE = 155,
};

/* What extended headers say of the member that follows. */
struct extended {
    bool has_name, is_sparse;
    int64_t size;                         /* -1: nothing */
};

/* ---------------------------------------------------------------- reading -- */

int tar_open(struct tar *t, const char *path, struct err *e)
{
    struct stat s;
    memset(t, 0, sizeof *t);
    t->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (t->fd < 0 || fstat(t->fd, &s)) {
        err_set(e, ERR_DATA, "%s: %s", path, strerror(errno));
        if (t->fd >= 0)
            close(t->fd);
        memset(t, 0, sizeof *t);
        return -1;
    }
    t->size = s.st_size;
    t->buffer = xmalloc(TAR_BUFFER);
    buf_init(&t->name, TAR_NAME_MAX);
    return 0;
}

void tar_close(struct tar *t)
{
    if (t->buffer)
        close(t->fd);
    free(t->buffer);
    buf_release(&t->name);
    memset(t, 0, sizeof *t);
}

static int read_at(int fd, int64_t offset, char *out, size_t size, struct err *e)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = pread(fd, out + got, size - got, (off_t)(offset + (int64_t)got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_DATA, "byte %lld: %s", (long long)offset, strerror(errno));
        if (n == 0)
            return err_set(e, ERR_DATA, "byte %lld: the file became shorter while it was read",
                           (long long)offset + (long long)got);
        got += (size_t)n;
    }
    return 0;
}

int tar_read(struct tar *t, int64_t offset, void *out, size_t size, struct err *e)
{
    if (offset < 0 || offset > t->size || size > (uint64_t)(t->size - offset))
        return err_set(e, ERR_DATA, "byte %lld: the file ends at byte %lld", (long long)offset,
                       (long long)t->size);
    bool is_here =
        offset >= t->buffer_at && offset + (int64_t)size <= t->buffer_at + (int64_t)t->buffer_size;
    if (!is_here)
        return read_at(t->fd, offset, out, size, e);
    if (size > 0)
        memcpy(out, t->buffer + (offset - t->buffer_at), size);
    return 0;
}

/* Fill the buffer with what begins at `offset`, unless a block of that is in it. */
static int read_ahead(struct tar *t, int64_t offset, struct err *e)
{
    if (offset >= t->buffer_at && offset + BLOCK <= t->buffer_at + (int64_t)t->buffer_size)
        return 0;
    int64_t rest = t->size - offset;
    size_t size = rest < TAR_BUFFER ? (size_t)rest : TAR_BUFFER;
    t->buffer_size = 0;
    if (read_at(t->fd, offset, t->buffer, size, e))
        return -1;
    t->buffer_at = offset;
    t->buffer_size = size;
    return 0;
}

/* ----------------------------------------------------------------- fields -- */

static int damaged(int64_t at, const char *what, struct err *e)
{
    return err_set(e, ERR_DATA, "byte %lld: %s", (long long)at, what);
}

static bool is_zero(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* Octal digits, which spaces may surround and a zero may end; or, with the first bit set, GNU's
 * binary number, its highest byte first.  -1 when it is neither or too large. */
static int64_t read_number(const char *field, int size)
{
    const unsigned char *p = (const unsigned char *)field, *end = p + size;
    int64_t v = 0;
    if (*p & 0x80) {
        v = *p & 0x7f;
        for (p++; p < end; p++) {
            if (v > INT64_MAX >> 8)
                return -1;
            v = v << 8 | *p;
        }
        return v;
    }
    while (p < end && *p == ' ')
        p++;
    for (; p < end && *p >= '0' && *p <= '7'; p++)
        v = v << 3 | (*p - '0');
    while (p < end && (*p == ' ' || *p == 0))
        p++;
    return p == end ? v : -1;
}

/* The sum of the header's bytes with spaces for the checksum itself.  Some old tars took the bytes
 * as signed. */
static bool is_checksum_right(const char *h)
{
    int64_t found = read_number(h + CHECKSUM, CHECKSUM_SIZE), sum = 0, signed_sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        bool is_own = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_SIZE;
        sum += is_own ? ' ' : (unsigned char)h[i];
        signed_sum += is_own ? ' ' : (signed char)h[i];
    }
    return found == sum || found == signed_sum;
}

static int64_t round_up(int64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---------------------------------------------------------------- headers -- */

/* The header at t->at: 1, 0 for a block of zeros. */
static int read_header(struct tar *t, char h[BLOCK], struct err *e)
{
    if (t->at >= t->size || t->size - t->at < BLOCK) {
        if (t->at == 0)
            damaged(0, "not a tar archive: shorter than one block", e);
        else
            err_set(e, ERR_DATA, "byte %lld: the file ends here, before the archive's end mark",
                    (long long)t->size);
        return err_hint(e, "it was cut: copy it again, or make it anew");
    }
    if (read_ahead(t, t->at, e) || tar_read(t, t->at, h, BLOCK, e))
        return -1;
    if (is_zero(h, BLOCK))
        return 0;
    if (!is_checksum_right(h))
        return damaged(
            t->at, t->at == 0 ? "not a tar archive" : "damaged: a header with a wrong checksum", e);
    return 1;
}

/* Behind the members stand two blocks of zeros, and more of them up to the end. */
static int read_end(struct tar *t, struct err *e)
{
    char block[BLOCK];
    if (t->size - t->at < 2 * BLOCK) {
        err_set(e, ERR_DATA, "byte %lld: the file ends here, within the archive's end mark",
                (long long)t->size);
        return err_hint(e, "it was cut: copy it again, or make it anew");
    }
    for (int64_t at = t->at; at < t->size; at += BLOCK) {
        size_t n = t->size - at < BLOCK ? (size_t)(t->size - at) : BLOCK;
        if (read_ahead(t, at, e) || tar_read(t, at, block, n, e))
            return -1;
        if (!is_zero(block, n))
            return damaged(at, "bytes that are not zero behind the archive's end mark", e);
    }
    return 0;
}

/* Do `size` bytes at `at` lie in the file?  `name` is whose they are. */
static int check_size(const struct tar *t, int64_t at, int64_t size, const char *name,
                      struct err *e)
{
    if (size < 0)
        return damaged(at - BLOCK, "damaged: a size that is no number", e);
    if (size <= t->size - at)
        return 0;
    err_set(e, ERR_DATA, "byte %lld: the file ends here, within %s (%lld bytes from byte %lld)",
            (long long)t->size, name, (long long)size, (long long)at);
    return err_hint(e, "it was cut: copy it again, or make it anew");
}

static int set_name(struct tar *t, const char *name, size_t size, struct err *e)
{
    if (memchr(name, 0, size))
        return damaged(t->at, "a zero byte in a name", e);
    if (size == 0)
        return damaged(t->at, "a member without a name", e);
    if (size > TAR_NAME_MAX)
        return err_set(e, ERR_DATA, "byte %lld: a name of %zu bytes, at most %d are allowed",
                       (long long)t->at, size, TAR_NAME_MAX);
    buf_clear(&t->name);
    buf_add(&t->name, name, size);
    return 0;
}

/* One "LENGTH key=value\n" of `size` bytes left.  Returns LENGTH, 0 when it is not of this form. */
static size_t pax_line(const char *p, size_t size, const char **key, size_t *key_size,
                       const char **value, size_t *value_size)
{
    size_t length = 0, at = 0;
    for (; at < size && p[at] >= '0' && p[at] <= '9' && length <= size; at++)
        length = 10 * length + (size_t)(p[at] - '0');
    if (at == 0 || at >= size || p[at] != ' ' || length > size || length < at + 3 ||
        p[length - 1] != '\n')
        return 0;
    const char *equals = memchr(p + at + 1, '=', length - at - 2);
    if (!equals)
        return 0;
    *key = p + at + 1;
    *key_size = (size_t)(equals - *key);
    *value = equals + 1;
    *value_size = (size_t)(p + length - 1 - *value);
    return length;
}

static bool is_key(const char *key, size_t size, const char *name)
{
    return size == strlen(name) && memcmp(key, name, size) == 0;
}

static int64_t read_decimal(const char *p, size_t size)
{
    int64_t v = 0;
    for (size_t i = 0; i < size; i++) {
        if (p[i] < '0' || p[i] > '9' || v > (INT64_MAX - 9) / 10)
            return -1;
        v = 10 * v + (p[i] - '0');
    }
    return size ? v : -1;
}

static int read_pax(struct tar *t, struct extended *x, const char *text, size_t size,
                    bool is_global, struct err *e)
{
    const char *key, *value;
    size_t n, key_size, value_size;
    for (size_t at = 0; at < size && text[at]; at += n) {
        n = pax_line(text + at, size - at, &key, &key_size, &value, &value_size);
        if (n == 0)
            return damaged(t->at, "damaged: a pax header that is not made of \"length key=value\"",
                           e);
        bool is_name = is_key(key, key_size, "path"), is_size = is_key(key, key_size, "size");
        if (is_global && (is_name || is_size))
            return damaged(t->at, "a global header with a name or a size", e);
        if (is_name && set_name(t, value, value_size, e))
            return -1;
        x->has_name = x->has_name || is_name;
        x->is_sparse = x->is_sparse || (key_size > 10 && memcmp(key, "GNU.sparse", 10) == 0);
        if (is_size && (x->size = read_decimal(value, value_size)) < 0)
            return damaged(t->at, "damaged: a size that is no number", e);
    }
    return 0;
}

/* A member that says something of the next one; t->at is its header, `at` and `size` its bytes. */
static int read_extended(struct tar *t, char type, struct extended *x, int64_t at, int64_t size,
                         struct err *e)
{
    if (size > TAR_EXTENDED_MAX)
        return err_set(e, ERR_DATA, "byte %lld: a header of %lld bytes, at most %d are allowed",
                       (long long)t->at, (long long)size, TAR_EXTENDED_MAX);
    int failed = 0;
    char *text = xmalloc((size_t)size + 1);
    text[size] = 0;
    if (type == 'K' || type == 'V')
        failed = 0;
    else if (tar_read(t, at, text, (size_t)size, e))
        failed = -1;
    else if (type == 'L')
        failed = set_name(t, text, strlen(text), e);
    else
        failed = read_pax(t, x, text, (size_t)size, type == 'g', e);
    x->has_name = x->has_name || type == 'L';
    free(text);
    return failed;
}

static enum tar_type type_of(char type, const char *name)
{
    switch (type) {
    case 0:
    case '0':
    case '7': return name[strlen(name) - 1] == '/' ? TAR_FOLDER : TAR_FILE;
    case '5': return TAR_FOLDER;
    case '1':
    case '2': return TAR_LINK;
    case '3':
    case '4':
    case '6': return TAR_DEVICE;
    case 'S': return TAR_SPARSE;
    default: return TAR_OTHER;
    }
}

/* The name in the header itself, which may be split. */
static int header_name(struct tar *t, const char *h, struct err *e)
{
    char name[PREFIX_SIZE + 1 + NAME_SIZE];
    size_t size = 0;
    if (memcmp(h + MAGIC, "ustar\0", 6) == 0 && h[PREFIX]) {
        size = strnlen(h + PREFIX, PREFIX_SIZE);
        memcpy(name, h + PREFIX, size);
        name[size++] = '/';
    }
    size_t last = strnlen(h + NAME, NAME_SIZE);
    memcpy(name + size, h + NAME, last);
    return set_name(t, name, size + last, e);
}

int tar_next(struct tar *t, struct tar_entry *entry, struct err *e)
{
    struct extended x = {.size = -1};
    char h[BLOCK] = {0};
    memset(entry, 0, sizeof *entry);
    entry->header = t->at;
    for (;;) {
        int got = read_header(t, h, e);
        if (got < 0)
            return -1;
        if (got == 0 && t->at > entry->header && (x.has_name || x.size >= 0))
            return damaged(t->at, "an extended header that no member follows", e);
        if (got == 0)
            return read_end(t, e);
        int64_t at = t->at + BLOCK, size = read_number(h + SIZE, SIZE_SIZE);
        if (h[TYPE] && strchr("xgXLKV", h[TYPE]) != NULL) {
            if (check_size(t, at, size, "an extended header", e) ||
                read_extended(t, h[TYPE], &x, at, size, e))
                return -1;
            t->at = at + round_up(size);
            continue;
        }
        if (!x.has_name && header_name(t, h, e))
            return -1;
        entry->name = t->name.data;
        entry->type = x.is_sparse ? TAR_SPARSE : type_of(h[TYPE], entry->name);
        entry->offset = at;
        if (entry->type == TAR_FILE)
            entry->size = x.size >= 0 ? x.size : size;
        if (check_size(t, at, entry->size, entry->name, e))
            return -1;
        t->at = at + round_up(entry->size);
        return 1;
    }
}
