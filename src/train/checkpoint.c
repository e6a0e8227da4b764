/* checkpoint.c - see checkpoint.h. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "nn/safetensors.h"

enum { STEP_DIGITS = 6, STEP_DIGITS_MAX = 12, JSON_BYTES_MAX = 16 << 20 };

static const char weights_name[] = "weights.safetensors";
static const char optimizer_name[] = "optimizer.safetensors";
static const char state_name[] = "state.json";
static const char manifest_name[] = "manifest.json";

/* ------------------------------------------------------------------ space -- */

uint64_t checkpoint_bytes(const struct nn_params *p)
{
    enum { JSON = 64 << 10, HEADER = 256, COPIES = 3 };     /* the weights and two moments */
    int n;
    struct nn_param *const *at = nn_trainable_params(p, "", &n);
    uint64_t numbers = 0;
    for (int i = 0; i < n; i++)
        numbers += mx_size(at[i]->slot);
    return COPIES * (sizeof(float) * numbers + HEADER * (uint64_t)n) + JSON;
}

/* A writer would find out too, but only after it has filled the disk for everybody else. */
int checkpoint_check_space(const char *dir, uint64_t need, struct err *e)
{
    const double MB = 1e6;
    uint64_t has = 0;
    if (dir_free_bytes(dir, &has, e))
        return -1;
    if (has >= need)
        return 0;
    err_set(e, ERR_SPACE,
            "%s: no space for a checkpoint: the disk has %.1f MB free, %.1f MB are "
            "needed",
            dir, (double)has / MB, (double)need / MB);
    return err_hint(e, "free some space, then run the same command again: it goes on");
}

/* ----------------------------------------------------------------- saving -- */

/* Write items under `name` in `dir` and add the file to the manifest. */
static int save_tensors(const char *dir, const char *name, const struct safetensors_item *items,
                        int count, json_t *manifest, struct err *e)
{
    char hex[HASH_HEX_SIZE];
    char *path = path_join(dir, name);
    uint64_t size = 0;
    int rc = safetensors_write(path, items, count, NULL, 0, hex, e);
    if (!rc)
        rc = file_size(path, &size, e);
    if (!rc) {
        json_t *o = json_object();
        json_put_str(o, "name", name);
        json_put_int(o, "size", (int64_t)size);
        json_put_str(o, "sha256", hex);
        json_array_append_new(manifest, o);
    }
    free(path);
    return rc;
}

static int save_json(const char *dir, const char *name, const json_t *v, json_t *manifest,
                     struct err *e)
{
    struct buf b;
    char *path = path_join(dir, name);
    buf_init(&b, JSON_BYTES_MAX);
    json_write_pretty(v, &b);
    int rc = buf_check(&b, name, e) || file_write(path, b.data, b.size, e) ? -1 : 0;
    if (!rc && manifest) {
        char hex[HASH_HEX_SIZE];
        hash_bytes(b.data, b.size, hex);
        json_t *o = json_object();
        json_put_str(o, "name", name);
        json_put_int(o, "size", (int64_t)b.size);
        json_put_str(o, "sha256", hex);
        json_array_append_new(manifest, o);
    }
    buf_release(&b);
    free(path);
    return rc;
}

static int save_weights(const char *dir, const struct nn_params *p, json_t *manifest, struct err *e)
{
    int n;
    struct nn_param *const *at = nn_trainable_params(p, "", &n);
    struct safetensors_item *items = xcalloc((size_t)n + 1, sizeof *items);
    for (int i = 0; i < n; i++)
        items[i] = (struct safetensors_item){at[i]->name, at[i]->slot, MX_FLOAT32};
    int rc = save_tensors(dir, weights_name, items, n, manifest, e);
    free(items);
    return rc;
}

static int save_optimizer(const char *dir, const struct nn_params *p, const struct nn_adamw *o,
                          json_t *manifest, struct err *e)
{
    int n;
    struct nn_param *const *at = nn_trainable_params(p, "", &n);
    struct safetensors_item *items = xcalloc(2 * (size_t)n + 1, sizeof *items);
    char **names = xcalloc(2 * (size_t)n + 1, sizeof *names);
    for (int i = 0; i < 2 * n; i++) {
        names[i] = xasprintf("%c.%s", i < n ? 'm' : 'v', at[i % n]->name);
        items[i] = (struct safetensors_item){names[i], o->state[i], MX_FLOAT32};
    }
    int rc = save_tensors(dir, optimizer_name, items, 2 * n, manifest, e);
    for (int i = 0; i < 2 * n; i++)
        free(names[i]);
    free(names);
    free(items);
    return rc;
}

static int save_all(const char *dir, const struct nn_params *p, const struct nn_adamw *o,
                    const json_t *state, struct err *e)
{
    json_t *files = json_array(), *manifest = json_object();
    json_put(manifest, "files", files);
    int rc = save_weights(dir, p, files, e);
    if (!rc)
        rc = save_optimizer(dir, p, o, files, e);
    if (!rc)
        rc = save_json(dir, state_name, state, files, e);
    if (!rc)
        rc = save_json(dir, manifest_name, manifest, NULL, e);
    if (!rc)
        rc = dir_sync(dir, e);
    json_decref(manifest);
    return rc;
}

/* "<run>/ckpt/<prefix><step>"; the caller frees. */
static char *step_dir(const char *run_dir, const char *prefix, int64_t step)
{
    return xasprintf("%s/ckpt/%s%0*lld", run_dir, prefix, STEP_DIGITS, (long long)step);
}

/* Give the finished folder its name; one that is there is first taken away whole. */
static int publish(const char *run_dir, int64_t step, const char *temp, struct err *e)
{
    char *final = step_dir(run_dir, "", step), *old = step_dir(run_dir, ".tmp-old-", step);
    int rc = 0;
    if (file_exists(final))
        rc = dir_remove(old, e) || file_rename(final, old, e);
    rc = rc || file_rename(temp, final, e) || dir_remove(old, e) ? -1 : 0;
    free(final);
    free(old);
    return rc;
}

int checkpoint_save(const char *run_dir, int64_t step, const struct nn_params *p,
                    const struct nn_adamw *o, const json_t *state, struct err *e)
{
    char *temp = step_dir(run_dir, ".tmp-", step);
    int rc = dir_remove(temp, e) || dir_make(temp, e) ||
             checkpoint_check_space(temp, checkpoint_bytes(p), e) ||
             save_all(temp, p, o, state, e) || publish(run_dir, step, temp, e);
    if (rc) {
        struct err ignored = {0};
        if (dir_remove(temp, &ignored))
            log_debug("%s", ignored.text);
        err_in(e, "checkpoint of step %lld", (long long)step);
    }
    free(temp);
    return rc ? -1 : 0;
}

/* ---------------------------------------------------------------- finding -- */

/* The step of a folder's name, or -1. */
static int64_t step_of(const char *name)
{
    size_t n = strlen(name);
    if (n < STEP_DIGITS || n > STEP_DIGITS_MAX || strspn(name, "0123456789") != n)
        return -1;
    return strtoll(name, NULL, 10);
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of all checkpoints, the newest first.  The caller frees.  A missing folder has none. */
static int list_steps(const char *run_dir, int64_t **steps, size_t *count, struct err *e)
{
    char *path = path_join(run_dir, "ckpt");
    struct dir_list l = {0};
    *steps = NULL;
    *count = 0;
    int rc = file_exists(path) ? dir_list_read(&l, path, e) : 0;
    if (!rc) {
        *steps = xcalloc(l.count + 1, sizeof **steps);
        for (size_t i = 0; i < l.count; i++)
            if (step_of(l.names[i]) >= 0)
                (*steps)[(*count)++] = step_of(l.names[i]);
        qsort(*steps, *count, sizeof **steps, compare_steps);
    }
    dir_list_release(&l);
    free(path);
    return rc;
}

/* Remove what a crash left half-written. */
static int remove_temporary(const char *run_dir, struct err *e)
{
    char *path = path_join(run_dir, "ckpt");
    struct dir_list l = {0};
    int rc = file_exists(path) ? dir_list_read(&l, path, e) : 0;
    for (size_t i = 0; !rc && i < l.count; i++) {
        if (strncmp(l.names[i], ".tmp-", 5) != 0)
            continue;
        char *temp = path_join(path, l.names[i]);
        rc = dir_remove(temp, e);
        free(temp);
    }
    dir_list_release(&l);
    free(path);
    return rc;
}

static int check_file(const char *dir, const json_t *file, struct err *e)
{
    const char *name = json_need_str(file, "name", e);
    const char *want = json_need_str(file, "sha256", e);
    int64_t want_size = json_need_int(file, "size", e);
    if (e->kind)
        return -1;
    if (strchr(name, '/'))
        return err_set(e, ERR_INTEGRITY, "%s: names a file of another folder", manifest_name);
    char *path = path_join(dir, name), hex[HASH_HEX_SIZE];
    uint64_t size = 0;
    int rc = file_size(path, &size, e);
    if (!rc && (int64_t)size != want_size)
        rc = err_set(e, ERR_INTEGRITY, "%s: found %llu bytes, expected %lld", name,
                     (unsigned long long)size, (long long)want_size);
    if (!rc)
        rc = hash_file(path, hex, e);
    if (!rc && strcmp(hex, want) != 0)
        rc = err_set(e, ERR_INTEGRITY, "%s: found SHA-256 %.12s, expected %.12s", name, hex, want);
    free(path);
    return rc;
}

static json_t *read_json(const char *dir, const char *name, struct err *e)
{
    char *path = path_join(dir, name);
    json_t *v = json_read_file(path, JSON_BYTES_MAX, e);
    free(path);
    return v;
}

/* All files of the manifest are there and are what they were. */
static int check_whole(const char *dir, struct err *e)
{
    json_t *manifest = read_json(dir, manifest_name, e);
    if (!manifest)
        return -1;
    const json_t *files = json_get_array(manifest, "files", e);
    int rc = e->kind ? -1 : 0;
    if (!rc && json_array_size(files) != 3)
        rc = err_set(e, ERR_INTEGRITY, "%s: names %zu files, expected 3", manifest_name,
                     json_array_size(files));
    for (size_t i = 0; !rc && i < json_array_size(files); i++)
        rc = check_file(dir, json_array_get(files, i), e);
    json_decref(manifest);
    return rc;
}

static int put_aside(const char *run_dir, int64_t step, const char *reason, struct err *e)
{
    char *from = step_dir(run_dir, "", step), *to = step_dir(run_dir, "damaged-", step);
    log_warn("the checkpoint of step %lld is damaged and is not used (%s); it now is %s",
             (long long)step, reason, to);
    int rc = dir_remove(to, e) || file_rename(from, to, e) ? -1 : 0;
    free(from);
    free(to);
    return rc;
}

int checkpoint_find(const char *run_dir, char **path, json_t **state, struct err *e)
{
    int64_t *steps;
    size_t count;
    *path = NULL;
    *state = NULL;
    if (remove_temporary(run_dir, e) || list_steps(run_dir, &steps, &count, e))
        return -1;
    int rc = 0;
    for (size_t i = 0; !rc && !*path && i < count; i++) {
        struct err why = {0};
        char *dir = step_dir(run_dir, "", steps[i]);
        if (!check_whole(dir, &why) && (*state = read_json(dir, state_name, &why))) {
            *path = dir;
            continue;
        }
        free(dir);
        rc = put_aside(run_dir, steps[i], why.text, e);
    }
    free(steps);
    return rc ? -1 : *path != NULL;
}

/* ---------------------------------------------------------------- loading -- */

static int load_one(struct safetensors *file, const char *name, mx_array slot, struct err *e)
{
    const struct safetensors_tensor *t = safetensors_find(file, name);
    if (!t)
        return err_set(e, ERR_INTEGRITY, "%s is missing", name);
    bool same = t->n == mx_ndim(slot);
    for (int i = 0; same && i < t->n; i++)
        same = t->shape[i] == mx_dim(slot, i);
    if (!same)
        return err_set(e, ERR_INTEGRITY, "%s has another shape than in this run", name);
    mx_array v = mx_astype(safetensors_array(file, t), mx_dtype(slot));
    mx_set(slot, v);
    return mx_eval(&slot, 1, e);
}

/* Read `count` tensors, named prefix and parameter, into slots. */
static int load_file(const char *dir, const char *file_name, const struct nn_params *p,
                     const char *prefixes, const mx_array *state, struct err *e)
{
    int n, rc = 0, groups = (int)strlen(prefixes);
    struct nn_param *const *at = nn_trainable_params(p, "", &n);
    char *path = path_join(dir, file_name);
    struct safetensors *file = safetensors_open(path, e);
    free(path);
    if (!file)
        return -1;
    int want = n * (groups ? groups : 1);
    if (safetensors_count(file) != want)
        rc = err_set(e, ERR_INTEGRITY, "%s holds %d tensors, this run has %d", file_name,
                     safetensors_count(file), want);
    mx_enter();
    for (int i = 0; !rc && i < want; i++) {
        char *name =
            groups ? xasprintf("%c.%s", prefixes[i / n], at[i % n]->name) : xstrdup(at[i]->name);
        rc = load_one(file, name, groups ? state[i] : at[i]->slot, e);
        free(name);
    }
    mx_leave(MX_NONE);
    safetensors_close(file);
    return rc;
}

int checkpoint_load(const char *path, const struct nn_params *p, const struct nn_adamw *o,
                    struct err *e)
{
    if (load_file(path, weights_name, p, "", NULL, e) ||
        load_file(path, optimizer_name, p, "mv", o->state, e))
        return err_in(e, "%s", path);
    return 0;
}

char *checkpoint_temporary(const char *run_dir, int64_t step)
{
    return step_dir(run_dir, ".tmp-", step);
}

int checkpoint_adopt(const char *run_dir, int64_t step, const char *temp, struct err *e)
{
    json_t *state = NULL;
    if (check_whole(temp, e) || !(state = read_json(temp, state_name, e)))
        return -1;
    int64_t said = json_need_int(state, "step", e);
    json_decref(state);
    if (!e->kind && said != step)
        err_set(e, ERR_INTEGRITY, "%s: found step %lld, expected %lld", state_name, (long long)said,
                (long long)step);
    return e->kind || dir_sync(temp, e) || publish(run_dir, step, temp, e) ? -1 : 0;
}

int checkpoint_prune(const char *run_dir, int keep, int64_t held, struct err *e)
{
    int64_t *steps;
    size_t count;
    if (list_steps(run_dir, &steps, &count, e))
        return -1;
    int rc = 0;
    for (size_t i = (size_t)keep; !rc && i < count; i++) {
        if (steps[i] == held)
            continue;
        char *dir = step_dir(run_dir, "", steps[i]);
        /* Renamed first, so that a half-removed one is never taken for damaged. */
        char *temp = step_dir(run_dir, ".tmp-", steps[i]);
        rc = dir_remove(temp, e) || file_rename(dir, temp, e) || dir_remove(temp, e) ? -1 : 0;
        free(dir);
        free(temp);
    }
    free(steps);
    return rc;
}
