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
#include "export/hub_files.h"
#include "nn/spelling.h"
#include "nn/table.h"

enum { CONFIG_MAX = 16 << 20 };
static const double FLOAT16_END = 65520;         /* from here on it rounds to infinity */
static const uint64_t SHARD_BYTES = 5000000000;
static const char SINGLE[] = "model.safetensors", INDEX[] = "model.safetensors.index.json";

/* ------------------------------------------------------------------- weights -- */

static bool is_float(enum mx_dtype d)
{
    return d == MX_FLOAT16 || d == MX_BFLOAT16 || d == MX_FLOAT32;
}

/* One tensor to write: a parameter of the model, or what only the source has. */
struct weight {
    const struct nn_param *param;
    const struct safetensors_tensor *tensor;
};

struct weights {
    const struct hub_options *options;
    struct safetensors *source;
    struct weight *at;
    struct safetensors_item *items;     /* without arrays: each is made when it is written */
    int count;
};

static bool is_merged(const struct weights *w, const struct nn_param *q)
{
    return w->options->merge && q->linear && q->linear->lora.rank > 0;
}

/* A parameter in the shape that the checkpoint gave it. */
static mx_array param_array(const struct weights *w, const struct nn_param *q)
{
    struct nn_quant quant = q->quant ? *q->quant : (struct nn_quant){0};
    bool is_table = q->table && !q->trainable;
    mx_array x = is_table ? nn_table_array(q->table, 0) : q->slot;

    if (is_table && q->quant) {
        quant.scales = nn_table_array(q->table, 1);
        quant.biases = nn_table_array(q->table, 2);
    }
    if (is_merged(w, q))
        x = nn_linear_merged(q->linear, w->options->dtype);
    else if (q->quant)
        x = nn_dequantize(x, &quant, w->options->dtype);
    return mx_reshape_(x, q->shape, q->n);
}

struct shard {
    const struct weights *weights;
    int first;
};

static mx_array make_array(void *arg, int i)
{
    const struct shard *s = arg;
    const struct weights *w = s->weights;
    const struct weight *t = &w->at[s->first + i];
    return t->param ? param_array(w, t->param) : safetensors_array(w->source, t->tensor);
}

static void add_weight(struct weights *w, const char *name, enum mx_dtype dtype, struct weight t)
{
    w->at[w->count] = t;
    w->items[w->count++] = (struct safetensors_item){name, MX_NONE, dtype};
}

/* A head that is tied is a copy of the embeddings as they were; loaders make their own. */
static bool is_tied_head(const char *name)
{
    return strcmp(name, "lm_head.weight") == 0 || strcmp(name, "proj_out.weight") == 0;
}

/* Is a tensor of the source one that the model has, in whatever spelling? */
static bool is_bound(const struct nn_params *p, const char *name)
{
    char *ours = spelling_ours(name);
    size_t n = strlen(ours);
    bool bound = nn_params_find(p, ours) != NULL || strstr(ours, ".switch_glu.") != NULL ||
                 is_tied_head(ours);

    for (const char *const *s = (const char *const[]){".scales", ".biases", NULL}; *s; s++) {
        size_t k = strlen(*s);
        if (bound || n <= k || strcmp(ours + n - k, *s) != 0)
            continue;
        char *weight = xasprintf("%.*s.weight", (int)(n - k), ours);
        bound = nn_params_find(p, weight) != NULL;
        free(weight);
    }
    free(ours);
    return bound;
}

static int list_weights(struct weights *w, const struct nn_params *p, struct err *e)
{
    size_t extra = w->source ? (size_t)safetensors_count(w->source) : 0;
    const char *format = w->source ? safetensors_metadata(w->source, "format") : NULL;

    w->at = xcalloc((size_t)p->count + extra + 1, sizeof *w->at);
    w->items = xcalloc((size_t)p->count + extra + 1, sizeof *w->items);
    for (int i = 0; i < p->count; i++) {
        const struct nn_param *q = &p->at[i];
        bool keeps = q->role == NN_BUFFER || !is_float(q->stored);
        if (q->role == NN_WEIGHT || q->role == NN_BUFFER)
            add_weight(w, q->name, keeps ? q->stored : w->options->dtype, (struct weight){q, NULL});
    }
    for (size_t i = 0; i < extra; i++) {
        const struct safetensors_tensor *t = safetensors_at(w->source, (int)i);
        if (is_bound(p, t->name))
            continue;
        if (format && strcmp(format, "mlx") == 0) {
            err_set(e, ERR_USAGE, "%s: tensor %s is in the layout of MLX and was not loaded",
                    t->file, t->name);
            return err_hint(e, "a model is saved as a whole when all of its towers are loaded");
        }
        add_weight(w, t->name, t->dtype, (struct weight){NULL, t});
    }
    return 0;
}

/* --------------------------------------------------------------------- shards -- */

static uint64_t bytes_of(const struct weights *w, int i)
{
    const struct weight *t = &w->at[i];
    const int *shape = t->param ? t->param->shape : t->tensor->shape;
    uint64_t bytes = mx_dtype_size(w->items[i].dtype);

    for (int k = 0; k < (t->param ? t->param->n : t->tensor->n); k++)
        bytes *= (uint64_t)shape[k];
    return bytes;
}

/* Where the shard ends that starts with tensor `first`. */
static int shard_end(const struct weights *w, int first)
{
    uint64_t most = w->options->shard_bytes ? w->options->shard_bytes : SHARD_BYTES, sum = 0;
    int i = first;

    while (i < w->count && (i == first || sum + bytes_of(w, i) <= most))
        sum += bytes_of(w, i++);
    return i;
}

static int write_shard(const struct weights *w, const char *dir, const char *file, int first,
                       int last, struct err *e)
{
    struct shard s = {w, first};
    const char *by = w->options->written_by;
    const struct safetensors_pair note = {HUB_NOTE, by};
    char *path = path_join(dir, file);
    int rc = safetensors_write_made(path, w->items + first, last - first, make_array, &s, &note,
                                    by ? 1 : 0, NULL, e);
    free(path);
    return rc;
}

static int write_json(const char *path, const json_t *value, struct err *e)
{
    struct buf text;
    buf_init(&text, 4 * (size_t)CONFIG_MAX);
    json_write_pretty(value, &text);
    int rc = buf_check(&text, path, e) || file_write(path, text.data, text.size, e) ? -1 : 0;
    buf_release(&text);
    return rc;
}

/* Several files, and the index that says which tensor is in which. */
static int write_shards(const struct weights *w, const char *dir, int shards, struct err *e)
{
    json_t *index = json_object(), *map = json_object(), *metadata = json_object();
    uint64_t total = 0;
    int rc = 0, first = 0;

    for (int k = 1; k <= shards && rc == 0; k++) {
        char *file = xasprintf("model-%05d-of-%05d.safetensors", k, shards);
        int last = shard_end(w, first);
        rc = write_shard(w, dir, file, first, last, e);
        for (; first < last; first++) {
            json_put_str(map, w->items[first].name, file);
            total += bytes_of(w, first);
        }
        free(file);
    }
    json_put_int(metadata, "total_size", (int64_t)total);
    json_put(index, "metadata", metadata);
    json_put(index, "weight_map", map);
    char *path = path_join(dir, INDEX);
    rc = rc || write_json(path, index, e) ? -1 : 0;
    free(path);
    json_decref(index);
    return rc;
}

static int write_files(const struct weights *w, const char *dir, struct err *e)
{
    int shards = 0;
    for (int first = 0; first < w->count; first = shard_end(w, first))
        shards++;
    return shards > 1 ? write_shards(w, dir, shards, e)
                      : write_shard(w, dir, SINGLE, 0, w->count, e);
}

static bool has_weights(const char *dir)
{
    char *single = path_join(dir, SINGLE), *index = path_join(dir, INDEX);
    bool has = file_exists(single) || file_exists(index);
    free(single);
    free(index);
    return has;
}

/* Numbers that float16 has none for would become infinite. */
static int check_range(const struct weights *w, struct err *e)
{
    for (int i = 0; i < w->count; i++) {
        const struct nn_param *q = w->at[i].param;
        double most = 0;
        if (!q || w->items[i].dtype != MX_FLOAT16)
            continue;
        mx_enter();
        mx_array x = mx_abs(mx_astype(param_array(w, q), MX_FLOAT32));
        int rc = mx_item(mx_max(mx_reshape(x, -1), 0, false), &most, e);
        mx_leave(MX_NONE);
        if (rc)
            return -1;
        if (most < FLOAT16_END)
            continue;
        err_set(e, ERR_USAGE, "%s: holds %g, and float16 ends at %g", q->name, most, FLOAT16_END);
        return err_hint(e, "bf16 is as small and has the range of f32");
    }
    return 0;
}

static int write_weights(const struct nn_params *p, const char *dir, const struct hub_options *o,
                         struct err *e)
{
    struct weights w = {.options = o};

    if (has_weights(o->source)) {
        w.source = safetensors_open(o->source, e);
        if (!w.source)
            return -1;
    }
    int rc = list_weights(&w, p, e) || check_range(&w, e) || write_files(&w, dir, e) ? -1 : 0;
    free(w.at);
    free(w.items);
    safetensors_close(w.source);
    return rc;
}

/* --------------------------------------------------------------- other files -- */

/* The config says of which dtype the weights are; readers go by that.  Returns whether it had a
 * key for it. */
static bool set_dtype(json_t *config, const char *name)
{
    static const char *const KEYS[] = {"dtype", "torch_dtype"};
    const char *key;
    json_t *v;
    bool was_said = false;

    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (json_object_get(config, KEYS[i])) {
            json_put_str(config, KEYS[i], name);
            was_said = true;
        }
    json_object_foreach(config, key, v) if (json_is_object(v) && strstr(key, "_config"))
        set_dtype(v, name);
    return was_said;
}

static int write_config(const char *dir, const struct hub_options *o, struct err *e)
{
    char *from = path_join(o->source, "config.json"), *to = path_join(dir, "config.json");
    json_t *config = json_read_file(from, CONFIG_MAX, e);
    int rc = -1;

    if (config) {
        /* The older key is the one that all versions read. */
        if (!set_dtype(config, mx_dtype_name(o->dtype)))
            json_put_str(config, "torch_dtype", mx_dtype_name(o->dtype));
        /* Weights are written dense. */
        json_object_del(config, "quantization");
        json_object_del(config, "quantization_config");
        rc = write_json(to, config, e);
        json_decref(config);
    }
    free(from);
    free(to);
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

int hub_save(const struct nn_params *p, const char *path, const struct hub_options *o,
             struct err *e)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *dir = xstrndup(path, n), *temp = xasprintf("%s.tmp", dir);
    int rc = dir_remove(temp, e) || dir_make(temp, e) || write_weights(p, temp, o, e) ||
             write_config(temp, o, e) || hub_files_copy(o->source, temp, e) ||
             hub_files_tables(temp, e) || dir_sync(temp, e) || put_in_place(temp, dir, e);

    if (rc) {
        struct err ignored = {0};
        if (dir_remove(temp, &ignored))
            err_in(e, "%s is left behind", temp);
    }
    free(temp);
    free(dir);
    return rc ? -1 : 0;
}
