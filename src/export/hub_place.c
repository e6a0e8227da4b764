/* hub_place.c - where a model may be saved, and what a folder of weights holds; see hub.h. */
#include "export/hub.h"

#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "export/hub_files.h"
#include "nn/safetensors.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* Is it the name of a file that hub_save writes? */
static bool is_ours(const char *name)
{
    bool is_weights =
        strncmp(name, "model", 5) == 0 &&
        (ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json"));
    return is_weights || strcmp(name, "config.json") == 0 || hub_files_has(name);
}

static bool has_note(const char *dir, const char *written_by)
{
    struct err ignored = {0};
    struct safetensors *s = safetensors_open(dir, &ignored);
    const char *by = s ? safetensors_metadata(s, HUB_NOTE) : NULL;
    bool has = by && strcmp(by, written_by) == 0;
    safetensors_close(s);
    return has;
}

/* What is in the way in a folder: the name of a file that such a command did not write, NULL when
 * nothing is. */
static const char *obstacle(const struct dir_list *l, bool is_noted)
{
    for (size_t i = 0; i < l->count; i++)
        if (!is_noted || !is_ours(l->names[i]))
            return l->names[i];
    return NULL;
}

int hub_check_place(const char *dir, const char *source, const char *written_by, struct err *e)
{
    struct dir_list l;
    if (!file_exists(dir))
        return 0;
    if (file_is_same(dir, source)) {
        err_set(e, ERR_USAGE, "%s: this is the folder that the model is read from", dir);
        return err_hint(e, "name a new folder");
    }
    if (file_is_same(dir, ".")) {
        err_set(e, ERR_USAGE, "%s: this is the folder that the command was started in", dir);
        return err_hint(e, "name a new folder");
    }
    if (!file_is_dir(dir))
        return err_set(e, ERR_USAGE, "%s: this is a file, expected a folder or nothing", dir);
    if (dir_list_read(&l, dir, e))
        return -1;
    const char *name = obstacle(&l, l.count && has_note(dir, written_by));
    int rc = 0;
    if (name) {
        rc = err_set(e, ERR_USAGE, "%s: there is %s, which is not of an earlier export", dir, name);
        err_hint(e, "name a new or an empty folder; nothing of others is overwritten");
    }
    dir_list_release(&l);
    return rc;
}

int hub_dtype(const char *dir, enum mx_dtype *dtype, struct err *e)
{
    static const enum mx_dtype KINDS[] = {MX_FLOAT32, MX_BFLOAT16, MX_FLOAT16};
    uint64_t bytes[3] = {0}, most = 0;
    struct safetensors *s = safetensors_open(dir, e);
    *dtype = MX_FLOAT32;
    if (!s)
        return -1;
    for (int i = 0; i < safetensors_count(s); i++)
        for (int k = 0; k < 3; k++)
            if (safetensors_at(s, i)->dtype == KINDS[k])
                bytes[k] += safetensors_at(s, i)->bytes;
    for (int k = 0; k < 3; k++)
        if (bytes[k] > most) {
            most = bytes[k];
            *dtype = KINDS[k];
        }
    safetensors_close(s);
    return 0;
}
