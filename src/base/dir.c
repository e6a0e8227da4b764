/* dir.c - see dir.h.  (dir_sync is in file.c, beside the other flushes.) */
#include "base/dir.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DEPTH_MAX 64       /* folders within folders that dir_remove follows */

static int failed(const char *path, const char *verb, struct err *e)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;
    return err_set(e, is_full ? ERR_SPACE : ERR_FAILED, "%s: could not %s: %s", path, verb,
                   strerror(errno));
}

/* mkdir, where a folder that is there is fine. */
static int make_one(const char *path, struct err *e)
{
    int code = file_fault ? file_fault("mkdir") : 0;
    if (code)
        errno = code;
    else if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST && file_is_dir(path))
        return 0;
    return failed(path, "make this folder", e);
}

int dir_make(const char *path, struct err *e)
{
    char *part = xstrdup(path);
    int rc = 0;
    for (char *slash = part + 1; *part && !rc && (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (!file_is_dir(part))
            rc = make_one(part, e);
        *slash = '/';
    }
    if (!rc && *part && !file_is_dir(part))
        rc = make_one(part, e);
    free(part);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int dir_list_read(struct dir_list *l, const char *path, struct err *e)
{
    size_t capacity = 0;
    *l = (struct dir_list){0};
    DIR *d = opendir(path);
    if (!d)
        return failed(path, "read this folder", e);
    struct dirent *entry;
    while (errno = 0, entry = readdir(d)) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (l->count == capacity)
            l->names = mem_grow(l->names, &capacity, sizeof *l->names);
        l->names[l->count++] = xstrdup(entry->d_name);
    }
    int rc = errno ? failed(path, "read this folder", e) : 0;
    closedir(d);
    if (rc)
        dir_list_release(l);
    else if (l->count)
        qsort(l->names, l->count, sizeof *l->names, by_name);
    return rc;
}

void dir_list_release(struct dir_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    *l = (struct dir_list){0};
}

static int remove_within(const char *path, int depth, struct err *e)
{
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : failed(path, "remove", e);
    if (!S_ISDIR(st.st_mode))
        return file_remove(path, e);
    if (depth == DEPTH_MAX)
        return err_set(e, ERR_FAILED, "%s: more than %d folders deep", path, DEPTH_MAX);
    struct dir_list l;
    if (dir_list_read(&l, path, e))
        return -1;
    int rc = 0;
    for (size_t i = 0; i < l.count && !rc; i++) {
        char *child = path_join(path, l.names[i]);
        rc = remove_within(child, depth + 1, e);
        free(child);
    }
    dir_list_release(&l);
    if (!rc && rmdir(path) && errno != ENOENT)
        rc = failed(path, "remove this folder", e);
    return rc;
}

int dir_remove(const char *path, struct err *e)
{
    return remove_within(path, 0, e);
}

int dir_free_bytes(const char *path, uint64_t *bytes, struct err *e)
{
    struct statvfs st;
    if (statvfs(path, &st))
        return failed(path, "ask for free space", e);
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

char *path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    if (!n || name[0] == '/')
        return xstrdup(name);
    return xasprintf("%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name);
}

char *path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *path_extension(const char *path)
{
    const char *dot = strrchr(path_base(path), '.');
    return dot ? dot + 1 : path + strlen(path);
}
