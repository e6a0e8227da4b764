/* mirror_fetch.c - see mirror_fetch.h. */
#include "train/mirror_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/checkpoint.h"
#include "train/mirror_files.h"

enum { PIECE = 16 << 20 };

/* One file of the bucket's run. */
struct remote {
    const struct object *object;
    const char *name;                     /* points into the object's URI */
    int64_t step;
    bool is_manifest;
};

struct fetch {
    struct net *net;
    const char *dir;
    struct remote *at;
    size_t count;
};

/* ---------------------------------------------------------------- one file -- */

static int copy_pieces(struct net *net, const struct object *o, struct file_writer *w,
                       struct err *e)
{
    char *piece = xmalloc(PIECE);
    uint32_t crc = 0;
    int rc = 0;
    for (int64_t at = 0; !rc && at < o->size;) {
        size_t n = o->size - at < PIECE ? (size_t)(o->size - at) : PIECE;
        rc = store_read(net, o, at, piece, n, 0, NULL, e) || file_writer_write(w, piece, n, e);
        crc = rc ? crc : crc32c(crc, piece, n);
        at += (int64_t)n;
    }
    free(piece);
    if (!rc && o->has_crc32c && crc != o->crc32c)
        rc = err_set(e, ERR_INTEGRITY, "%s: found CRC-32C %08x, expected %08x", o->uri,
                     (unsigned)crc, (unsigned)o->crc32c);
    return rc ? -1 : 0;
}

static int fetch_file(struct net *net, const struct object *o, const char *path, struct err *e)
{
    struct file_writer w;
    char *dir = path_dir(path);
    int rc = dir_make(dir, e) || file_writer_open(&w, path, e);
    free(dir);
    if (rc)
        return -1;
    rc = copy_pieces(net, o, &w, e) || file_writer_commit(&w, NULL, e);
    file_writer_abort(&w);
    return rc ? -1 : 0;
}

/* ------------------------------------------------------------- checkpoints -- */

/* The step of the newest whole checkpoint of this machine, -1: there is none. */
static int newest_here(const char *dir, int64_t *step, struct err *e)
{
    char *path;
    json_t *state;
    *step = -1;
    int found = checkpoint_find(dir, &path, &state, e);
    if (found > 0)
        *step = strtoll(path_base(path), NULL, 10);
    free(path);
    json_decref(state);
    return found < 0 ? -1 : 0;
}

/* The newest step below `below` that has a manifest in the bucket, -1: none. */
static int64_t newest_there(const struct fetch *f, int64_t below)
{
    int64_t newest = -1;
    for (size_t i = 0; i < f->count; i++)
        if (f->at[i].is_manifest && f->at[i].step < below && f->at[i].step > newest)
            newest = f->at[i].step;
    return newest;
}

static int fetch_checkpoint(const struct fetch *f, int64_t step, struct err *e)
{
    char *temp = checkpoint_temporary(f->dir, step);
    int rc = dir_remove(temp, e) || dir_make(temp, e);
    for (size_t i = 0; !rc && i < f->count; i++) {
        if (f->at[i].step != step)
            continue;
        char *path = path_join(temp, path_base(f->at[i].name));
        log_status("fetching %s", f->at[i].object->uri);
        rc = fetch_file(f->net, f->at[i].object, path, e);
        free(path);
    }
    rc = rc || checkpoint_adopt(f->dir, step, temp, e);
    struct err ignored = {0};
    if (rc && dir_remove(temp, &ignored))
        log_debug("%s", ignored.text);
    free(temp);
    return rc ? -1 : 0;
}

/* Fetch the newest that is newer than ours and whole; *step stays when there is none. */
static int fetch_newest(const struct fetch *f, int64_t *step, struct err *e)
{
    for (int64_t s = newest_there(f, INT64_MAX); s > *step; s = newest_there(f, s)) {
        struct err why = {0};
        if (!fetch_checkpoint(f, s, &why)) {
            log_info("fetched the checkpoint of step %lld", (long long)s);
            *step = s;
            return 0;
        }
        if (why.kind != ERR_DATA && why.kind != ERR_INTEGRITY) {
            *e = why;
            return -1;
        }
        log_warn("the checkpoint of step %lld in the bucket is damaged and is not used (%s)",
                 (long long)s, why.text);
    }
    return 0;
}

/* ---------------------------------------------------------------- the rest -- */

static int fetch_others(const struct fetch *f, bool is_ahead, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < f->count; i++) {
        const struct remote *r = &f->at[i];
        char *path = path_join(f->dir, r->name);
        if (r->step < 0 && (is_ahead || !file_exists(path)))
            rc = fetch_file(f->net, r->object, path, e);
        free(path);
    }
    return rc;
}

int mirror_fetch(struct net *net, const char *uri, const char *dir, const struct object_list *l,
                 struct err *e)
{
    struct fetch f = {.net = net, .dir = dir};
    struct mirror_files names = {0};
    f.at = xcalloc((size_t)l->count + 1, sizeof *f.at);
    for (int64_t i = 0; i < l->count; i++) {
        const char *name = l->at[i].uri + strlen(uri) + 1;
        if (!mirror_name_is_fine(name))
            continue;
        const struct mirror_file *file = mirror_files_add(&names, name);
        f.at[f.count++] = (struct remote){&l->at[i], name, file->step, file->is_manifest};
    }
    mirror_files_release(&names);
    int64_t here, now;
    int rc = newest_here(dir, &here, e);
    now = here;
    if (!rc)
        rc = fetch_newest(&f, &now, e);
    if (!rc)
        rc = fetch_others(&f, now > here, e);
    log_status_end();
    free(f.at);
    return rc;
}
