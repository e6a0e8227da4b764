/* source.c - see source.h. */
#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

enum { NAME_MAX_BYTES = 16 << 10, RANGE_DIGITS_MAX = 12 };

/* A local file.  It is opened for each read, so that a thousand shards need no thousand
 * descriptors; opening takes microseconds. */
struct source {
    char *name;
    int64_t size;
};

/* ---------------------------------------------------------------- opening -- */

/* "file:///a/b" is "/a/b"; other schemes are for other kinds of sources. */
static const char *local_path(const char *uri, struct err *e)
{
    const char *colon = strstr(uri, "://");
    if (!colon)
        return uri;
    if (strncmp(uri, "file:///", 8) == 0)
        return uri + 7;
    err_set(e, ERR_DATA, "%s: cannot read \"%.*s://\", only local files", uri, (int)(colon - uri),
            uri);
    err_hint(e, "copy the data to a local folder and give its path");
    return NULL;
}

/* Open a regular file; -1 on failure. */
static int open_file(const char *path, int64_t *size, struct err *e)
{
    /* O_NONBLOCK: a named pipe must not make us wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, ERR_DATA, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        err_set(e, ERR_DATA, "%s: %s", path,
                S_ISDIR(st.st_mode) ? "is a folder, expected a file" : "is not a regular file");
        close(fd);
        return -1;
    }
    *size = (int64_t)st.st_size;
    return fd;
}

struct source *source_open(const char *uri, struct err *e)
{
    const char *path = local_path(uri, e);
    int64_t size = 0;
    int fd = path ? open_file(path, &size, e) : -1;
    if (fd < 0)
        return NULL;
    close(fd);
    struct source *s = xcalloc(1, sizeof *s);
    s->name = xstrdup(path);
    s->size = size;
    return s;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    free(s->name);
    free(s);
}

int64_t source_size(const struct source *s)
{
    return s->size;
}

static int read_range(const char *name, int fd, int64_t offset, char *out, size_t size,
                      struct err *e)
{
    int64_t end = offset + (int64_t)size;
    while (offset < end) {
        ssize_t n = pread(fd, out, (size_t)(end - offset), (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, ERR_DATA, "%s: %s", name, strerror(errno));
        if (n == 0)
            return err_set(e, ERR_DATA, "%s: ends at byte %lld, expected %lld", name,
                           (long long)offset, (long long)end);
        out += n;
        offset += n;
    }
    return 0;
}

int source_read(const struct source *s, int64_t offset, void *out, size_t size, struct err *e)
{
    int64_t now = 0;
    int fd = open_file(s->name, &now, e);
    if (fd < 0)
        return -1;
    int failed = now == s->size ? read_range(s->name, fd, offset, out, size, e)
                                : err_set(e, ERR_INTEGRITY,
                                          "%s: changed while in use, had %lld bytes, now %lld",
                                          s->name, (long long)s->size, (long long)now);
    close(fd);
    return failed;
}

void *source_load(const char *uri, int64_t bytes_max, size_t *size, struct err *e)
{
    struct source *s = source_open(uri, e);
    if (!s)
        return NULL;
    void *bytes = NULL;
    if (s->size > bytes_max) {
        err_set(e, ERR_DATA, "%s: %lld bytes, at most %lld are allowed", uri, (long long)s->size,
                (long long)bytes_max);
    } else {
        bytes = xmalloc((size_t)s->size + 1);
        *size = (size_t)s->size;
        if (source_read(s, 0, bytes, *size, e)) {
            free(bytes);
            bytes = NULL;
        }
    }
    source_close(s);
    return bytes;
}

char *source_resolve(const char *dir, const char *name)
{
    return strstr(name, "://") ? xstrdup(name) : path_join(dir, name);
}

/* --------------------------------------------------------------- patterns -- */

void source_list_release(struct source_list *l)
{
    for (int64_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    memset(l, 0, sizeof *l);
}

static int list_add(struct source_list *l, const char *name, struct err *e)
{
    if (l->count == SOURCE_MATCH_MAX)
        return err_set(e, ERR_DATA, "means more than %d files", SOURCE_MATCH_MAX);
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->names = xreallocarray(l->names, (size_t)l->capacity, sizeof *l->names);
    }
    l->names[l->count++] = xstrdup(name);
    return 0;
}

/* The names that fit a pattern without braces; a plain name is taken as it is. */
static int match_glob(struct source_list *l, const char *pattern, struct err *e)
{
    if (!strpbrk(pattern, "*?[") || file_exists(pattern))
        return list_add(l, pattern, e);
    glob_t found;
    int failed = glob(pattern, GLOB_ERR, NULL, &found);
    if (failed == GLOB_NOMATCH)
        return 0;
    if (failed)
        return err_set(e, ERR_DATA, "cannot read the folder: %s", strerror(errno));
    for (size_t i = 0; i < found.gl_pathc && !failed; i++)
        failed = list_add(l, found.gl_pathv[i], e);
    globfree(&found);
    return failed ? -1 : 0;
}

/* Is [begin, end) a range "0000..0919"? */
static bool is_range(const char *begin, const char *end, long *low, long *high, int *digits)
{
    size_t n = strspn(begin, "0123456789");
    const char *second = begin + n + 2;
    if (n == 0 || n > RANGE_DIGITS_MAX || end - begin < (ptrdiff_t)n + 3 ||
        strncmp(begin + n, "..", 2) != 0)
        return false;
    size_t m = strspn(second, "0123456789");
    if (m == 0 || m > RANGE_DIGITS_MAX || second + m != end)
        return false;
    *low = strtol(begin, NULL, 10);
    *high = strtol(second, NULL, 10);
    *digits = *begin == '0' || n == m ? (int)n : 1;
    return *low <= *high;
}

static int match(struct source_list *l, const char *pattern, struct err *e);

/* One value in the place of the braces; further braces follow in what comes behind. */
static int match_value(struct source_list *l, const char *pattern, const char *open,
                       const char *close, const char *value, size_t size, struct err *e)
{
    struct buf name;
    buf_init(&name, NAME_MAX_BYTES);
    buf_add(&name, pattern, (size_t)(open - pattern));
    buf_add(&name, value, size);
    buf_add_str(&name, close + 1);
    int failed = buf_check(&name, "the name", e) || match(l, name.data, e);
    buf_release(&name);
    return failed ? -1 : 0;
}

static int match(struct source_list *l, const char *pattern, struct err *e)
{
    const char *open = strchr(pattern, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close || close == open + 1)
        return match_glob(l, pattern, e);
    long low, high;
    int digits;
    if (is_range(open + 1, close, &low, &high, &digits)) {
        if (high - low >= SOURCE_MATCH_MAX)
            return err_set(e, ERR_DATA, "means more than %d files", SOURCE_MATCH_MAX);
        for (long i = low; i <= high; i++) {
            char value[32];
            int n = snprintf(value, sizeof value, "%0*ld", digits, i);
            if (match_value(l, pattern, open, close, value, (size_t)n, e))
                return -1;
        }
        return 0;
    }
    for (const char *value = open + 1; value <= close;) {
        size_t n = strcspn(value, ",}");
        if (match_value(l, pattern, open, close, value, n, e))
            return -1;
        value += n + 1;
    }
    return 0;
}

int source_match(struct source_list *l, const char *pattern, struct err *e)
{
    const char *path = local_path(pattern, e);
    if (!path)
        return -1;
    int64_t before = l->count;
    if (file_exists(path) ? list_add(l, path, e) : match(l, path, e))
        return err_in(e, "%s", pattern);
    if (l->count == before)
        return err_set(e, ERR_DATA, "%s: no such file", pattern);
    return 0;
}
