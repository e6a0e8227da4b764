/* mirror_files.c - see mirror_files.h. */
#include "train/mirror_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"

enum { DEPTH_MAX = 8, DIGITS_MIN = 6, DIGITS_MAX = 12 };

void mirror_files_release(struct mirror_files *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->at[i].name);
    free(l->at);
    *l = (struct mirror_files){0};
}

struct mirror_file *mirror_files_find(struct mirror_files *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->at[i].name, name))
            return &l->at[i];
    return NULL;
}

/* "ckpt/000200/state.json": the step and the rest of the name; -1 for other names. */
static int64_t step_of(const char *name, const char **rest)
{
    if (strncmp(name, "ckpt/", 5) != 0)
        return -1;
    size_t n = strspn(name + 5, "0123456789");
    if (n < DIGITS_MIN || n > DIGITS_MAX || name[5 + n] != '/')
        return -1;
    *rest = name + 5 + n + 1;
    return strtoll(name + 5, NULL, 10);
}

struct mirror_file *mirror_files_add(struct mirror_files *l, const char *name)
{
    const char *rest = "";
    if (l->count == l->room)
        l->at = mem_grow(l->at, &l->room, sizeof *l->at);
    struct mirror_file *f = &l->at[l->count++];
    *f = (struct mirror_file){.name = xstrdup(name), .time_ns = -1};
    f->step = step_of(name, &rest);
    f->is_manifest = f->step >= 0 && !strcmp(rest, "manifest.json");
    return f;
}

bool mirror_name_is_fine(const char *name)
{
    static const char *const own[] = {"lock", "machine", "owner.json"};
    const char *rest;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(name, own[i]))
            return false;
    if (!strncmp(name, "ckpt/", 5) && step_of(name, &rest) < 0)
        return false;
    bool is_start = true;
    for (const char *p = name; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\')
            return false;
        if (is_start && (*p == '.' || *p == '/'))
            return false;
        is_start = *p == '/';
    }
    size_t n = strlen(name);
    return !is_start && !(n > 4 && !strcmp(name + n - 4, ".tmp"));
}

static int read_folder(struct mirror_files *l, const char *dir, const char *front, int depth,
                       struct err *e)
{
    struct dir_list names = {0};
    char *path = *front ? path_join(dir, front) : xstrdup(dir);
    int rc = dir_list_read(&names, path, e);
    for (size_t i = 0; !rc && i < names.count; i++) {
        char *name = *front ? path_join(front, names.names[i]) : xstrdup(names.names[i]);
        char *full = path_join(dir, name);
        /* A folder may be gone meanwhile: checkpoints are pruned while others are copied. */
        struct err gone = {0};
        if (!file_is_dir(full)) {
            if (mirror_name_is_fine(name) && file_exists(full))
                mirror_files_add(l, name);
        } else if (depth < DEPTH_MAX && names.names[i][0] != '.' &&
                   read_folder(l, dir, name, depth + 1, &gone) && file_exists(full)) {
            *e = gone;
            rc = -1;
        }
        free(full);
        free(name);
    }
    dir_list_release(&names);
    free(path);
    return rc;
}

/* Whatever makes sense alone, then checkpoints (older ones first, of each its manifest last), and
 * last of all what says that the run is finished. */
static int rank(const struct mirror_file *f)
{
    if (!strcmp(f->name, "result.json"))
        return 2;
    return f->step >= 0;
}

static int compare_files(const void *a, const void *b)
{
    const struct mirror_file *x = a, *y = b;
    if (rank(x) != rank(y))
        return rank(x) - rank(y);
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    if (x->is_manifest != y->is_manifest)
        return x->is_manifest - y->is_manifest;
    return strcmp(x->name, y->name);
}

int mirror_files_read(struct mirror_files *l, const char *dir, struct err *e)
{
    *l = (struct mirror_files){0};
    if (read_folder(l, dir, "", 0, e)) {
        mirror_files_release(l);
        return -1;
    }
    if (l->count)
        qsort(l->at, l->count, sizeof *l->at, compare_files);
    return 0;
}

bool mirror_file_stat(const char *path, int64_t *size, int64_t *time_ns)
{
    struct stat st;
    if (stat(path, &st))
        return false;
#ifdef __APPLE__
    const struct timespec *t = &st.st_mtimespec;
#else
    const struct timespec *t = &st.st_mtim;
#endif
    *size = st.st_size;
    *time_ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
    return true;
}

int mirror_file_crc(const char *path, uint32_t *crc, struct err *e)
{
    struct file_map m;
    if (file_map_open(&m, path, e))
        return -1;
    *crc = crc32c(0, m.data, m.size);
    file_map_close(&m);
    return 0;
}
