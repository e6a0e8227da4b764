/* hub.c - save a whole model in the layout of the Hugging Face Hub.
 *
 * Tensors of the source that the run left out (a tower that was not read, keys of layers that
 * share them) are copied as they are, so that the folder is as complete as the one it came from.
 */
#include "export/hub.h"

#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { FILE_MAX = 256 << 20, CONFIG_MAX = 16 << 20 };

/* The files beside the weights that a Hub folder may have. */
static const char *const FILES[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "normalizer.json",
    "LICENSE",
};

/* ------------------------------------------------------------------- weights -- */

static bool is_float(enum mx_dtype d)
{
    return d == MX_FLOAT16 || d == MX_BFLOAT16 || d == MX_FLOAT32;
}

/* A parameter in the shape that the checkpoint gave it. */
static struct safetensors_item model_item(const struct nn_param *q, enum mx_dtype dtype)
{
    bool keeps = q->role == NN_BUFFER || !is_float(q->stored);
    return (struct safetensors_item){
        .name = q->name,
        .array = mx_reshape_(q->slot, q->shape, q->n),
        .dtype = keeps ? q->stored : dtype,
    };
}

static int save_weights(const struct nn_params *p, struct safetensors *source, const char *path,
                        enum mx_dtype dtype, struct err *e)
{
    size_t extra = source ? (size_t)safetensors_count(source) : 0;
    struct safetensors_item *items = xcalloc((size_t)p->count + extra + 1, sizeof *items);
    int n = 0;

    mx_enter();
    for (int i = 0; i < p->count; i++)
        if (p->at[i].role != NN_ADAPTER)
            items[n++] = model_item(&p->at[i], dtype);
    for (size_t i = 0; i < extra; i++) {
        const struct safetensors_tensor *t = safetensors_at(source, (int)i);
        if (!nn_params_find(p, t->name))
            items[n++] = (struct safetensors_item){t->name, safetensors_array(source, t), t->dtype};
    }
    int rc = safetensors_write(path, items, n, NULL, 0, NULL, e);
    mx_leave(MX_NONE);
    free(items);
    return rc;
}

static bool has_weights(const char *dir)
{
    char *single = path_join(dir, "model.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    bool has = file_exists(single) || file_exists(index);
    free(single);
    free(index);
    return has;
}

static int write_weights(const struct nn_params *p, const char *dir, const struct hub_options *o,
                         struct err *e)
{
    struct safetensors *source = NULL;
    if (has_weights(o->source)) {
        source = safetensors_open(o->source, e);
        if (!source)
            return -1;
    }
    char *path = path_join(dir, "model.safetensors");
    int rc = save_weights(p, source, path, o->dtype, e);
    free(path);
    safetensors_close(source);
    return rc;
}

/* --------------------------------------------------------------- other files -- */

/* The config says of which dtype the weights are; readers go by that. */
static void set_dtype(json_t *config, const char *name)
{
    static const char *const KEYS[] = {"dtype", "torch_dtype"};
    const char *key;
    json_t *v;

    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (json_is_string(json_object_get(config, KEYS[i])))
            json_put_str(config, KEYS[i], name);
    json_object_foreach(config, key, v) if (json_is_object(v) && strstr(key, "_config"))
        set_dtype(v, name);
}

static int write_config(const char *dir, const struct hub_options *o, struct err *e)
{
    char *from = path_join(o->source, "config.json"), *to = path_join(dir, "config.json");
    json_t *config = json_read_file(from, CONFIG_MAX, e);
    int rc = -1;

    if (config) {
        struct buf text;
        buf_init(&text, 4 * (size_t)CONFIG_MAX);
        set_dtype(config, mx_dtype_name(o->dtype));
        json_write_pretty(config, &text);
        rc = buf_check(&text, from, e) || file_write(to, text.data, text.size, e) ? -1 : 0;
        buf_release(&text);
        json_decref(config);
    }
    free(from);
    free(to);
    return rc;
}

static int copy_file(const char *from, const char *to, struct err *e)
{
    size_t size = 0;
    if (!file_exists(from))
        return 0;
    char *data = file_read(from, FILE_MAX, &size, e);
    if (!data)
        return -1;
    int rc = file_write(to, data, size, e);
    free(data);
    return rc;
}

static int copy_files(const char *dir, const struct hub_options *o, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES && rc == 0; i++) {
        char *from = path_join(o->source, FILES[i]), *to = path_join(dir, FILES[i]);
        rc = copy_file(from, to, e);
        free(from);
        free(to);
    }
    return rc;
}

/* ------------------------------------------------------------------ the folder -- */

/* Rename over a folder that may be there: it steps aside first, and goes when the new one is in
 * its place.  A crash in between leaves both, whole, under their temporary names. */
static int put_in_place(const char *temp, const char *dir, struct err *e)
{
    char *old = xasprintf("%s.old", dir);
    bool there = file_exists(dir);
    int rc = dir_remove(old, e);

    if (rc == 0 && there)
        rc = file_rename(dir, old, e);
    if (rc == 0)
        rc = file_rename(temp, dir, e);
    if (rc == 0 && there)
        rc = dir_remove(old, e);
    free(old);
    return rc;
}

int hub_save(const struct nn_params *p, const char *dir, const struct hub_options *o, struct err *e)
{
    char *temp = xasprintf("%s.tmp", dir);
    int rc = dir_remove(temp, e) || dir_make(temp, e) || write_weights(p, temp, o, e) ||
             write_config(temp, o, e) || copy_files(temp, o, e) || dir_sync(temp, e) ||
             put_in_place(temp, dir, e);

    if (rc) {
        struct err ignored = {0};
        if (dir_remove(temp, &ignored))
            err_in(e, "%s is left behind", temp);
    }
    free(temp);
    return rc ? -1 : 0;
}
