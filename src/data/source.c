/* source.c - see source.h. */
#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/mem.h"

/* Seconds for a range to come before it is asked for again: a start, and 2 MB/s. */
#define HEDGE_START_S 2.0
#define HEDGE_BYTES_PER_S 2e6

/* A local file is opened for each read, so that a thousand shards need no thousand descriptors;
 * opening takes microseconds. */
struct source {
    struct net *net;              /* borrowed; NULL for a local file */
    const char *path;             /* of a local file, points into object.uri */
    struct object object;
};

/* ---------------------------------------------------------------- opening -- */

const char *source_local_path(const char *uri)
{
    if (!strstr(uri, "://"))
        return uri;
    return strncmp(uri, "file:///", 8) == 0 ? uri + 7 : NULL;
}

/* Can a name that is not local be read at all? */
static int check_remote(const struct net *net, const char *uri, struct err *e)
{
    int n = (int)(strstr(uri, "://") - uri);
    if (store_knows(uri) && net)
        return 0;
    if (store_knows(uri)) {
        err_set(e, ERR_DATA, "%s: cannot read \"%.*s://\" here, only local files", uri, n, uri);
        return err_hint(e, "copy the file to a local folder and give its path");
    }
    err_set(e, ERR_DATA, "%s: cannot read \"%.*s://\", which is no kind of storage that is known",
            uri, n, uri);
    return err_hint(e, "a path, file://, gs://, s3://, https:// or hf:// is expected");
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

int source_stat(struct net *net, const char *uri, struct object *o, struct err *e)
{
    const char *path = source_local_path(uri);
    *o = (struct object){.size = -1};
    if (!path)
        return check_remote(net, uri, e) || store_stat(net, uri, o, e) ? -1 : 0;
    int fd = open_file(path, &o->size, e);
    if (fd < 0)
        return -1;
    close(fd);
    o->uri = xstrdup(path);
    return 0;
}

/* Takes over the object. */
static struct source *new_source(struct net *net, struct object *o)
{
    struct source *s = xcalloc(1, sizeof *s);
    s->object = *o;
    s->path = source_local_path(o->uri);
    s->net = s->path ? NULL : net;
    *o = (struct object){0};
    return s;
}

struct source *source_open(struct net *net, const char *uri, struct err *e)
{
    struct object o;
    return source_stat(net, uri, &o, e) ? NULL : new_source(net, &o);
}

struct source *source_open_object(struct net *net, const struct object *o, struct err *e)
{
    if (!source_local_path(o->uri) && check_remote(net, o->uri, e))
        return NULL;
    struct object copy;
    object_copy(&copy, o);
    return new_source(net, &copy);
}

void source_close(struct source *s)
{
    if (!s)
        return;
    object_release(&s->object);
    free(s);
}

int64_t source_size(const struct source *s)
{
    return s->object.size;
}

const struct object *source_object(const struct source *s)
{
    return &s->object;
}

/* ---------------------------------------------------------------- reading -- */

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

static int read_local(const struct source *s, int64_t offset, void *out, size_t size, struct err *e)
{
    int64_t now = 0, size_then = s->object.size;
    int fd = open_file(s->path, &now, e);
    if (fd < 0)
        return -1;
    int failed =
        now == size_then || size_then < 0
            ? read_range(s->path, fd, offset, out, size, e)
            : err_set(e, ERR_INTEGRITY, "%s: changed while in use, had %lld bytes, now %lld",
                      s->path, (long long)size_then, (long long)now);
    close(fd);
    return failed;
}

/* State why a remote range cannot be read at all. */
static int refuse(const struct object *o, int64_t end, struct err *e)
{
    char *shown = store_shown(o->uri);
    if (o->is_gzip)
        err_set(e, ERR_DATA,
                "%s: is stored with Content-Encoding: gzip, so that no part of it can be read "
                "alone",
                shown);
    else
        err_set(e, ERR_DATA, "%s: ends at byte %lld, expected %lld", shown, (long long)o->size,
                (long long)end);
    free(shown);
    return -1;
}

int source_read(const struct source *s, int64_t offset, void *out, size_t size, struct err *e)
{
    const struct object *o = &s->object;
    int64_t end = offset + (int64_t)size;
    if (s->path)
        return read_local(s, offset, out, size, e);
    if (o->is_gzip || (o->size >= 0 && end > o->size))
        return refuse(o, end, e);
    double hedge_s = HEDGE_START_S + (double)size / HEDGE_BYTES_PER_S;
    return size == 0 ? 0 : store_read(s->net, o, offset, out, size, hedge_s, NULL, e);
}

static void *load_local(const char *path, int64_t bytes_max, size_t *size, struct err *e)
{
    struct source *s = source_open(NULL, path, e);
    if (!s)
        return NULL;
    void *bytes = NULL;
    if (source_size(s) > bytes_max) {
        err_set(e, ERR_DATA, "%s: %lld bytes, at most %lld are allowed", path,
                (long long)source_size(s), (long long)bytes_max);
    } else {
        *size = (size_t)source_size(s);
        bytes = xmalloc(*size + 1);
        if (source_read(s, 0, bytes, *size, e)) {
            free(bytes);
            bytes = NULL;
        }
    }
    source_close(s);
    return bytes;
}

void *source_load(struct net *net, const char *uri, int64_t bytes_max, size_t *size, struct err *e)
{
    const char *path = source_local_path(uri);
    if (path)
        return load_local(path, bytes_max, size, e);
    if (check_remote(net, uri, e))
        return NULL;
    struct object o = {.uri = xstrdup(uri), .size = -1};
    void *bytes = store_load(net, &o, bytes_max, size, e);
    object_release(&o);
    return bytes;
}

/* ------------------------------------------------------------------ names -- */

/* "gs://bucket/" of "gs://bucket/a/b": bytes that no ".." takes away. */
static size_t root_size(const char *uri)
{
    size_t scheme = (size_t)(strstr(uri, "://") - uri) + 3;
    size_t host = strcspn(uri + scheme, "/");
    return scheme + host + (uri[scheme + host] == '/');
}

char *source_dir(const char *uri)
{
    const char *path = source_local_path(uri);
    if (path)
        return path_dir(path);
    /* Only web addresses have a query behind the name. */
    size_t root = root_size(uri), slash = strcspn(uri, strncmp(uri, "http", 4) ? "" : "?#");
    while (slash > root && uri[slash] != '/')
        slash--;
    if (slash <= root)
        slash = root - (uri[root - 1] == '/');
    return xstrndup(uri, slash);
}

char *source_resolve(const char *dir, const char *name)
{
    if (strstr(name, "://"))
        return xstrdup(name);
    if (source_local_path(dir) || name[0] == '/')
        return path_join(source_local_path(dir) ? source_local_path(dir) : dir, name);
    /* Stores know no "." and "..": they are names like any other there. */
    size_t root = root_size(dir), size = strlen(dir);
    while (name[0] == '.' && (name[1] == '/' || (name[1] == '.' && name[2] == '/'))) {
        bool is_up = name[1] == '.';
        while (is_up && size > root && dir[--size] != '/')
            continue;
        name += is_up ? 3 : 2;
    }
    size -= size > 0 && dir[size - 1] == '/';
    return xasprintf("%.*s/%s", (int)size, dir, name);
}
