/* spool_files.c - see spool_files.h. */
#include "data/spool_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

enum { SLOTS_MAX = 1000, KEY_DIGITS = SPOOL_KEY_SIZE - 1, PIECE = 1 << 18 };

static const char main_lock[] = "attune-spool.lock";

/* ------------------------------------------------------------------ names -- */

static char *path_of(const struct spool_files *f, const char *key, const char *rest)
{
    return xasprintf("%s/attune-%s%s", f->dir, key, rest);
}

char *spool_files_part(const struct spool_files *f, const char *key)
{
    return path_of(f, key, ".part");
}

char *spool_files_unpacked(const struct spool_files *f, const char *key)
{
    return path_of(f, key, ".unpacked");
}

char *spool_files_data(const struct spool_files *f, const char *key, uint32_t crc)
{
    return xasprintf("%s/attune-%s-%08x.data", f->dir, key, (unsigned)crc);
}

static size_t hex_digits(const char *s)
{
    return strspn(s, "0123456789abcdef");
}

/* Is it a whole object's name? */
static bool is_data(const char *name, struct spool_left *left)
{
    const char *key = name + 7;
    if (strncmp(name, "attune-", 7) != 0 || hex_digits(key) != KEY_DIGITS)
        return false;
    const char *crc = key + KEY_DIGITS + 1;
    if (crc[-1] != '-' || hex_digits(crc) != 8 || strcmp(crc + 8, ".data") != 0)
        return false;
    memcpy(left->key, key, KEY_DIGITS);
    left->key[KEY_DIGITS] = 0;
    left->crc = (uint32_t)strtoul(crc, NULL, 16);
    return true;
}

/* Is it the name of something unfinished? */
static bool is_partial(const char *name)
{
    if (strncmp(name, "attune-", 7) != 0 || hex_digits(name + 7) != KEY_DIGITS)
        return false;
    const char *rest = name + 7 + KEY_DIGITS;
    return strcmp(rest, ".part") == 0 || strcmp(rest, ".unpacked") == 0;
}

/* The number of "attune-spool-N" + `rest`; -1: another name. */
static int slot_number(const char *name, const char *rest)
{
    static const char head[] = "attune-spool-";
    if (strncmp(name, head, sizeof head - 1) != 0)
        return -1;
    const char *digits = name + sizeof head - 1;
    size_t n = strspn(digits, "0123456789");
    if (n < 1 || n > 3 || (n > 1 && *digits == '0') || strcmp(digits + n, rest) != 0)
        return -1;
    return (int)strtol(digits, NULL, 10);
}

/* ------------------------------------------------- what dead processes left -- */

static int by_use(const void *a, const void *b)
{
    const struct spool_left *x = a, *y = b;
    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    return strcmp(x->key, y->key);
}

/* Remove our files in a folder that we hold, but for whole objects when `left` wants them. */
static int sweep(const char *dir, struct spool_left **left, size_t *count, struct err *e)
{
    struct dir_list names;
    size_t capacity = 0;
    if (dir_list_read(&names, dir, e))
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        struct spool_left found = {0};
        char *path = path_join(dir, names.names[i]);
        struct stat st;
        bool is_whole = is_data(names.names[i], &found);
        bool is_ours = is_whole || is_partial(names.names[i]);
        if (is_ours && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            if (is_whole && left && *count < SPOOL_FILES_MAX) {
                found.size = (int64_t)st.st_size;
                found.used = (int64_t)st.st_mtime;
                if (*count == capacity)
                    *left = mem_grow(*left, &capacity, sizeof **left);
                (*left)[(*count)++] = found;
            } else {
                unlink(path);
            }
        }
        free(path);
    }
    dir_list_release(&names);
    if (left && *count)
        qsort(*left, *count, sizeof **left, by_use);
    return 0;
}

/* Remove a folder of ours; foreign files in it, and then it, stay. */
static void remove_slot(const char *dir)
{
    struct err unused = {0};
    if (sweep(dir, NULL, NULL, &unused) == 0)
        rmdir(dir);
}

/* Remove the folders of processes that are gone. */
static void remove_dead_slots(const char *dir)
{
    struct dir_list names;
    struct err unused = {0};
    if (dir_list_read(&names, dir, &unused))
        return;
    for (size_t i = 0; i < names.count; i++) {
        if (slot_number(names.names[i], "") < 0 && slot_number(names.names[i], ".lock") < 0)
            continue;
        char *name = path_join(dir, names.names[i]);
        size_t n = strlen(name);
        if (slot_number(names.names[i], "") < 0)
            name[n - strlen(".lock")] = 0;
        char *lock_path = xasprintf("%s.lock", name);
        struct err busy = {0};
        int lock = file_lock(lock_path, &busy);
        if (lock >= 0) {
            remove_slot(name);
            unlink(lock_path);
            file_unlock(lock);
        }
        free(lock_path);
        free(name);
    }
    dir_list_release(&names);
}

/* ---------------------------------------------------------------- opening -- */

/* The first subfolder that nobody holds. */
static int take_slot(struct spool_files *f, const char *dir, struct err *e)
{
    for (int i = 0; i < SLOTS_MAX; i++) {
        struct err busy = {0};
        f->dir = xasprintf("%s%sattune-spool-%d", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", i);
        f->lock_path = xasprintf("%s.lock", f->dir);
        f->lock = file_lock(f->lock_path, &busy);
        if (f->lock >= 0)
            return dir_make(f->dir, e) || sweep(f->dir, NULL, NULL, e) ? -1 : 0;
        free(f->dir);
        free(f->lock_path);
        f->dir = f->lock_path = NULL;
        if (busy.kind != ERR_RETRY)
            return err_set(e, busy.kind, "%s", busy.text);
    }
    return err_set(e, ERR_FAILED, "%s: %d processes use it already", dir, SLOTS_MAX);
}

/* The folder itself: 1 when it is ours now, 0 when another process holds it. */
static int take_whole(struct spool_files *f, const char *dir, struct err *e)
{
    struct err busy = {0};
    f->lock_path = path_join(dir, main_lock);
    f->lock = file_lock(f->lock_path, &busy);
    if (f->lock >= 0) {
        f->dir = xstrdup(dir);
        f->keeps = true;
        return 1;
    }
    free(f->lock_path);
    f->lock_path = NULL;
    if (busy.kind != ERR_RETRY)
        return err_set(e, busy.kind, "%s", busy.text);
    log_info("%s: another process holds this cache; this one keeps nothing", dir);
    return 0;
}

int spool_files_open(struct spool_files *f, const char *dir, bool keeps, struct spool_left **left,
                     size_t *count, struct err *e)
{
    *f = (struct spool_files){.lock = -1};
    *left = NULL;
    *count = 0;
    if (dir_make(dir, e))
        return -1;
    remove_dead_slots(dir);
    int whole = keeps ? take_whole(f, dir, e) : 0;
    if (whole < 0 || (whole ? sweep(f->dir, left, count, e) : take_slot(f, dir, e))) {
        spool_files_close(f);
        return -1;
    }
    return 0;
}

void spool_files_close(struct spool_files *f)
{
    if (f->lock >= 0) {
        if (!f->keeps && f->dir)
            remove_slot(f->dir);
        unlink(f->lock_path);
        file_unlock(f->lock);
    }
    free(f->dir);
    free(f->lock_path);
    *f = (struct spool_files){.lock = -1};
}

int spool_files_sum(const char *path, uint32_t *crc, int64_t *size, bool (*stop)(void *arg),
                    void *arg, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_set(e, ERR_FAILED, "%s: %s", path, strerror(errno));
    char *piece = xmalloc(PIECE);
    int failed = 0;
    *crc = 0;
    *size = 0;
    while (!failed) {
        ssize_t n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            failed = err_set(e, ERR_FAILED, "%s: %s", path, strerror(errno));
        else if (n > 0 && stop && stop(arg))
            failed = err_set(e, ERR_STOPPED, "%s: stopped", path);
        if (n <= 0)
            break;
        *crc = crc32c(*crc, piece, (size_t)n);
        *size += n;
    }
    free(piece);
    close(fd);
    return failed;
}
