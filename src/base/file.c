/* file.c - see file.h. */
#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX ((size_t)1 << 16)      /* bytes gathered before a write */
#define WRITE_MAX ((size_t)1 << 30)        /* bytes in one write; macOS refuses 2 GiB */

int (*file_fault)(const char *call);

/* ----------------------------------------------------------- system calls -- */

static bool faulted(const char *call)
{
    int code = file_fault ? file_fault(call) : 0;
    if (code)
        errno = code;
    return code != 0;
}

static int sys_open(const char *path, int flags)
{
    int fd;
    if (faulted("open"))
        return -1;
    do
        fd = open(path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = faulted("write") ? -1 : write(fd, data, size < WRITE_MAX ? size : WRITE_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* To the disk itself: on macOS fsync stops at the drive's cache. */
static int flush(int fd)
{
    if (faulted("fsync"))
        return -1;
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
#endif
    int rc;
    do
        rc = fsync(fd);
    while (rc && errno == EINTR);
    return rc;
}

static int sys_close(int fd)
{
    int rc = close(fd);
    if (faulted("close"))
        return -1;
    return rc && errno != EINTR ? -1 : 0;
}

/* State that the last system call on `path` failed. */
static int failed(const char *path, const char *verb, struct err *e)
{
    int code = errno;
    bool is_full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    err_set(e, is_full ? ERR_SPACE : ERR_FAILED, "%s: could not %s: %s", path, verb,
            strerror(code));
    if (is_full)
        err_hint(e, "free some space on the disk that holds it, then run the same command again");
    return -1;
}

/* ---------------------------------------------------------------- reading -- */

/* All of `fd` up to `max` bytes; `guess` is how many there probably are. */
static char *read_all(int fd, const char *path, size_t guess, size_t max, size_t *size,
                      struct err *e)
{
    size_t capacity = guess + 1, n = 0;
    char *data = xmalloc(capacity + 1);
    for (;;) {
        ssize_t got = read(fd, data + n, capacity - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            failed(path, "read", e);
        n += got > 0 ? (size_t)got : 0;
        if (n > max)
            err_set(e, ERR_DATA, "%s: is larger than the limit of %zu bytes", path, max);
        if (got <= 0 || n > max)
            break;
        if (n == capacity) {
            capacity *= 2;
            data = xrealloc(data, capacity + 1);
        }
    }
    if (e->kind) {
        free(data);
        return NULL;
    }
    data[n] = 0;
    if (size)
        *size = n;
    return data;
}

char *file_read(const char *path, size_t max, size_t *size, struct err *e)
{
    struct stat st;
    char *data = NULL;
    int fd = sys_open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        failed(path, "read", e);
    else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
        err_set(e, ERR_DATA, "%s: has %lld bytes, the limit is %zu", path, (long long)st.st_size,
                max);
    else
        data = read_all(fd, path, S_ISREG(st.st_mode) ? (size_t)st.st_size : 4096, max, size, e);
    if (fd >= 0)
        close(fd);
    return data;
}

int file_map_open(struct file_map *m, const char *path, struct err *e)
{
    struct stat st;
    *m = (struct file_map){0};
    int fd = sys_open(path, O_RDONLY), rc = 0;
    if (fd < 0 || fstat(fd, &st)) {
        rc = failed(path, "read", e);
    } else if (!S_ISREG(st.st_mode)) {
        rc = err_set(e, ERR_FAILED, "%s: is not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = failed(path, "map", e);
        else
            *m = (struct file_map){p, (size_t)st.st_size};
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

void file_map_close(struct file_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (struct file_map){0};
}

/* ---------------------------------------------------------------- writing -- */

/* Is `fd` still the file called `path`?  Another writer may have renamed it since we opened it. */
static bool is_same_file(int fd, const char *path)
{
    struct stat a, b;
    return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Open `path`, which nobody else may hold.  The lock goes with the descriptor, so a crash leaves
 * none.  File systems without locks are taken as they are. */
static int open_locked(const char *path, const char *verb, struct err *e)
{
    for (;;) {
        int fd = sys_open(path, O_RDWR | O_CREAT);
        if (fd < 0)
            return failed(path, verb, e);
        if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
            close(fd);
            err_set(e, ERR_RETRY, "%s: another process is using it", path);
            return err_hint(e, "wait until that process has ended");
        }
        if (is_same_file(fd, path))
            return fd;
        close(fd);
    }
}

int file_writer_open(struct file_writer *w, const char *path, struct err *e)
{
    *w = (struct file_writer){.fd = -1};
    w->path = xstrdup(path);
    w->temp = xasprintf("%s.tmp", path);
    w->pending = xmalloc(PENDING_MAX);
    w->hash = hash_new();
    w->fd = open_locked(w->temp, "write", e);
    if (w->fd < 0)
        return -1;
    if (ftruncate(w->fd, 0))
        return failed(w->temp, "write", e);
    return 0;
}

static int write_pending(struct file_writer *w, struct err *e)
{
    if (write_all(w->fd, w->pending, w->pending_size))
        return failed(w->temp, "write", e);
    w->pending_size = 0;
    return 0;
}

int file_writer_write(struct file_writer *w, const void *data, size_t size, struct err *e)
{
    if (w->fd < 0)
        return err_set(e, ERR_BUG, "write to a file that is not open");
    hash_add(w->hash, data, size);
    w->size += size;
    if (w->pending_size + size > PENDING_MAX && write_pending(w, e))
        return -1;
    if (size > PENDING_MAX) {
        if (write_all(w->fd, data, size))
            return failed(w->temp, "write", e);
    } else if (size) {
        memcpy(w->pending + w->pending_size, data, size);
        w->pending_size += size;
    }
    return 0;
}

static void writer_release(struct file_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w->temp);
    free(w->pending);
    hash_free(w->hash);
    *w = (struct file_writer){.fd = -1};
}

int file_writer_commit(struct file_writer *w, char hex[HASH_HEX_SIZE], struct err *e)
{
    if (w->fd < 0)
        return err_set(e, ERR_BUG, "commit of a file that is not open");
    if (write_pending(w, e))
        return -1;
    if (flush(w->fd))
        return failed(w->temp, "flush", e);
    if (file_rename(w->temp, w->path, e))
        return -1;
    int fd = w->fd;
    w->fd = -1;
    if (sys_close(fd))
        return failed(w->path, "close", e);
    if (hex) {
        unsigned char digest[HASH_SIZE];
        hash_end(w->hash, digest);
        hash_hex(digest, hex);
    }
    writer_release(w);
    return 0;
}

void file_writer_abort(struct file_writer *w)
{
    /* Only a temporary that is ours may go: after a lost race it belongs to another writer. */
    if (w->fd >= 0 && is_same_file(w->fd, w->temp))
        unlink(w->temp);
    if (w->path)
        writer_release(w);
}

int file_write(const char *path, const void *data, size_t size, struct err *e)
{
    struct file_writer w;
    int rc = file_writer_open(&w, path, e);
    if (!rc)
        rc = file_writer_write(&w, data, size, e);
    if (!rc)
        rc = file_writer_commit(&w, NULL, e);
    file_writer_abort(&w);
    return rc;
}

int file_append(const char *path, const void *data, size_t size, struct err *e)
{
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0)
        return failed(path, "write", e);
    int rc = write_all(fd, data, size);
    if (rc)
        failed(path, "write", e);
    if (sys_close(fd) && !rc)
        rc = failed(path, "close", e);
    return rc;
}

/* ------------------------------------------------------------------ names -- */

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_is_same(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int file_size(const char *path, uint64_t *size, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return failed(path, "read", e);
    *size = (uint64_t)st.st_size;
    return 0;
}

int file_remove(const char *path, struct err *e)
{
    if ((faulted("unlink") || unlink(path)) && errno != ENOENT)
        return failed(path, "remove", e);
    return 0;
}

int file_rename(const char *from, const char *to, struct err *e)
{
    if (faulted("rename") || rename(from, to))
        return failed(to, "rename to it", e);
    char *dir = path_dir(to);
    int rc = dir_sync(dir, e);
    free(dir);
    return rc;
}

int dir_sync(const char *path, struct err *e)
{
    int fd = sys_open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return failed(path, "open", e);
    int rc = flush(fd);
    /* Some file systems cannot flush a folder; theirs are written through. */
    if (rc && errno != EINVAL && errno != ENOTSUP)
        failed(path, "flush", e);
    else
        rc = 0;
    close(fd);
    return rc;
}

int file_lock(const char *path, struct err *e)
{
    return open_locked(path, "lock", e);
}

void file_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
