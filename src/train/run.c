/* run.c - see run.h. */
#include "train/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/patch.h"
#include "mx/mx.h"
#include "train/drift.h"
#include "train/session.h"

enum { JSON_BYTES_MAX = 16 << 20, LIST_BYTES_MAX = 1 << 20, FACT_BYTES_MAX = 256 };

/* Of a large file its size, its first bytes (which hold all names, shapes and places), and from
 * there on a piece of each stretch are hashed: 4 KiB of each MiB meet every tensor of a MiB or
 * more, so that two checkpoints of which any layer differs do not pass for one, at a 256th of the
 * reading.  The last piece is the file's end. */
enum { HASHED_WHOLE = 64 << 20, HASHED_STRETCH = 1 << 20, HASHED_PIECE = 4096 };

/* ----------------------------------------------------------------- hashes -- */

static void hash_content(struct hash *h, const unsigned char *data, size_t size)
{
    if (size <= HASHED_WHOLE) {
        if (size)
            hash_add(h, data, size);
        return;
    }
    hash_add(h, data, HASHED_WHOLE);
    for (size_t at = HASHED_WHOLE; at < size - HASHED_PIECE; at += HASHED_STRETCH)
        hash_add(h, data + at, HASHED_PIECE);
    hash_add(h, data + size - HASHED_PIECE, HASHED_PIECE);
}

static int hash_into(struct hash *h, const char *dir, const char *name, struct err *e)
{
    struct file_map m;
    char *path = path_join(dir, name);
    int rc = file_map_open(&m, path, e);
    if (!rc) {
        char head[600];
        int n = snprintf(head, sizeof head, "%s %zu\n", name, m.size);
        hash_add(h, head, (size_t)(n < (int)sizeof head ? n : (int)sizeof head - 1));
        hash_content(h, m.data, m.size);
        file_map_close(&m);
    }
    free(path);
    return rc;
}

static bool is_hashed(const char *name, bool with_weights)
{
    static const char *const always[] = {
        "config.json",           "tokenizer.json",      "preprocessor_config.json",
        "processor_config.json", "chat_template.jinja", "chat_template.json",
        "tokenizer_config.json", "adapter_config.json"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (!strcmp(name, always[i]))
            return true;
    return with_weights && !strcmp(path_extension(name), "safetensors");
}

/* A hash over the files of a checkpoint or adapter folder that make the mathematics. */
static int hash_folder(const char *dir, bool with_weights, char hex[HASH_HEX_SIZE], struct err *e)
{
    struct dir_list l = {0};
    if (dir_list_read(&l, dir, e))
        return -1;
    struct hash *h = hash_new();
    int rc = 0;
    for (size_t i = 0; !rc && i < l.count; i++)
        if (is_hashed(l.names[i], with_weights))
            rc = hash_into(h, dir, l.names[i], e);
    unsigned char digest[HASH_SIZE];
    hash_end(h, digest);
    hash_hex(digest, hex);
    hash_free(h);
    dir_list_release(&l);
    return rc;
}

/* ------------------------------------------------------------------ facts -- */

/* Facts stand in every checkpoint's state, which stays small: of a long one its hash does. */
static json_t *shortened(json_t *v)
{
    struct buf b;
    buf_init(&b, LIST_BYTES_MAX);
    json_write_compact(v, &b);
    if (b.size <= FACT_BYTES_MAX && !b.overflowed) {
        buf_release(&b);
        return v;
    }
    char hex[HASH_HEX_SIZE];
    hash_bytes(b.data, b.size, hex);
    buf_release(&b);
    json_decref(v);
    return json_string(hex);
}

static json_t *words(const struct string_list *l)
{
    json_t *a = json_array();
    for (int i = 0; i < l->count; i++)
        json_array_append_new(a, json_string(l->at[i]));
    return shortened(a);
}

static const char *schedule_name(enum schedule_kind k)
{
    static const char *const names[] = {"constant", "linear", "cosine"};
    return names[k];
}

static void add_optimizer_facts(json_t *f, const struct config *c)
{
    json_put_double(f, "learning_rate", c->learning_rate);
    json_put(f, "learning_rates", words(&c->learning_rates));
    json_put_str(f, "schedule", schedule_name(c->schedule));
    if (c->schedule != SCHEDULE_CONSTANT) {
        /* A constant rate may go on for longer; the others end where they end. */
        json_put_int(f, "steps", c->steps);
        json_put_double(f, "min_lr_ratio", c->min_lr_ratio);
    }
    json_put_int(f, "warmup_steps", c->warmup_steps);
    json_put_double(f, "beta1", c->beta1);
    json_put_double(f, "beta2", c->beta2);
    json_put_double(f, "epsilon", c->epsilon);
    json_put_double(f, "weight_decay", c->weight_decay);
    json_put_double(f, "clip", c->clip);
}

static void add_method_facts(json_t *f, const struct config *c)
{
    json_put_str(f, "method", c->method == METHOD_FULL ? "full" : "lora");
    json_put_str(f, "init", c->init == INIT_RANDOM ? "random" : "checkpoint");
    static const char *const bits[] = {"none", "4bit", "8bit"};
    json_put_str(f, "quantize", bits[c->quantize]);
    if (c->quantize != QUANTIZE_NONE)
        json_put_int(f, "quantize_group", c->quantize_group);
    if (c->method == METHOD_FULL)
        json_put(f, "full.towers", words(&c->full.towers));
    if (c->method == METHOD_FULL || *c->adapter)
        return;                        /* an adapter brings its own rank and targets */
    json_put_int(f, "lora.rank", c->lora.rank);
    json_put_double(f, "lora.alpha", c->lora.alpha);
    json_put_double(f, "lora.dropout", c->lora.dropout);
    json_put_bool(f, "lora.rslora", c->lora.rslora);
    json_put_bool(f, "lora.dora", c->lora.dora);
    json_put(f, "lora.ranks", words(&c->lora.ranks));
    json_put(f, "lora.towers", words(&c->lora.towers));
    json_put(f, "lora.targets", words(&c->lora.targets));
}

/* How records become what the model is given. */
static void add_format_facts(json_t *f, const struct config *c)
{
    static const char *const masks[] = {"forward", "generate"}, *const longs[] = {"refuse",
                                                                                  "split"};
    json_put_int(f, "max_tokens", c->max_tokens);
    json_put_int(f, "pack_tokens", c->pack_tokens);
    json_put_bool(f, "thinking", c->thinking);
    json_put(f, "prompt", shortened(json_string(c->prompt ? c->prompt : "")));
    json_put_int(f, "image_tokens", c->image_tokens);
    json_put_int(f, "video_tokens", c->video_tokens);
    json_put_int(f, "video_frames", c->video_frames);
    json_put_str(f, "image_mask", masks[c->image_mask]);
    json_put_str(f, "long_audio", longs[c->long_audio]);
}

/* How clips become an encoder-decoder's rows, and what is done to them. */
static void add_crossing_facts(json_t *f, const struct config *c)
{
    static const char *const joins[] = {"no", "plain", "timestamps"}, *const lengths[] = {"window",
                                                                                          "clip"};
    json_put_str(f, "language", c->language ? c->language : "");
    json_put_str(f, "task", c->task == WHISPER_TRANSLATE ? "translate" : "transcribe");
    json_put_bool(f, "timestamps", c->timestamps);
    json_put_str(f, "join_audio", joins[c->join_audio]);
    json_put_str(f, "audio_length", lengths[c->audio_length]);
    json_put_double(f, "mask_time_prob", c->mask_time_prob);
    json_put_double(f, "mask_feature_prob", c->mask_feature_prob);
    json_put_int(f, "mask_time_length", c->mask_time_length);
    json_put_int(f, "mask_feature_length", c->mask_feature_length);
    json_put_double(f, "dropout", c->dropout);
}

static int add_facts(json_t *f, const struct config *c, const struct manifest *train, struct err *e)
{
    char hex[HASH_HEX_SIZE];
    if (hash_folder(c->model, c->init != INIT_RANDOM, hex, e))
        return -1;
    json_put_str(f, "model", hex);
    if (*c->adapter && hash_folder(c->adapter, true, hex, e))
        return -1;
    json_put_str(f, "adapter", *c->adapter ? hex : "");
    json_put_str(f, "train", train->hash);
    json_put(f, "weights", words(&c->weights));
    json_put(f, "columns", words(&c->columns));
    json_put_str(f, "patches", train->options.patch ? patch_hash(train->options.patch) : "");
    add_method_facts(f, c);
    json_put_int(f, "batch", c->batch);
    add_format_facts(f, c);
    if (session_is_crossing(c->model))
        add_crossing_facts(f, c);
    json_put_double(f, "label_smoothing", c->label_smoothing);
    json_put_bool(f, "length_sorted", c->length_sorted);
    json_put_int(f, "window_shards", c->window_shards);
    json_put_int(f, "seed", (int64_t)c->seed);
    add_optimizer_facts(f, c);
    return 0;
}

void run_conditions(struct run *r, const struct config *c, const char *version)
{
    json_t *o = json_object();
    json_decref(r->conditions);
    r->conditions = o;
    json_put_str(o, "attune", version);
    json_put_str(o, "mlx", mx_version());
    json_put_str(o, "device", mx_device_name());
    json_put_int(o, "blas_threads", mx_device() == MX_CPU ? mx_thread_count() : 0);
    static const char *const dtypes[] = {"auto", "f32", "bf16", "f16"};
    json_put_str(o, "dtype", dtypes[c->dtype]);
    json_put_bool(o, "compile", c->compile);
    json_put_bool(o, "checkpointing", c->checkpointing);
    json_put_int(o, "accumulate", c->accumulate);
    json_put_bool(o, "drop_rows", c->drop_rows);
}

/* --------------------------------------------------------------- comparing -- */

/* What is said of a fact that is a hash: of the data, which files they are. */
static void describe_hash(const struct run *r, const char *key, struct buf *out)
{
    struct buf files;
    buf_init(&files, LIST_BYTES_MAX);
    if (!strcmp(key, "train") && r->train) {
        char *path = path_join(r->dir, "data.jsonl");
        drift_describe(path, r->train, &files);
        free(path);
    }
    if (files.size)
        buf_printf(out, " (%s)", files.data);
    else
        buf_add_str(out, " (its files are others)");
    buf_release(&files);
}

/* Is that what versions did which did not know the key? */
static bool is_newer(const char *key, const json_t *value)
{
    return !strcmp(key, "label_smoothing") && json_number_value(value) == 0.0;
}

/* Append "key (found X, was Y)" for each key whose value differs; hashes are not shown. */
static int list_differences(const struct run *r, const json_t *now, const json_t *before,
                            struct buf *out)
{
    int count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        const json_t *old = json_object_get(before, key);
        if (!old && is_newer(key, value))
            continue;
        /* Numbers went through text: compare them as it shows them. */
        struct buf a, b;
        buf_init(&a, LIST_BYTES_MAX);
        buf_init(&b, LIST_BYTES_MAX);
        json_write_compact(value, &a);
        if (old)
            json_write_compact(old, &b);
        if (strcmp(a.data, b.data) != 0) {
            bool is_hash = a.size > HASH_HEX_SIZE || b.size > HASH_HEX_SIZE;
            buf_printf(out, "%s%s", count++ ? ", " : "", key);
            if (is_hash)
                describe_hash(r, key, out);
            else
                buf_printf(out, " (found %s, was %s)", a.data, old ? b.data : "not set");
        }
        buf_release(&a);
        buf_release(&b);
    }
    return count;
}

int run_check_facts(const struct run *r, const json_t *before, struct err *e)
{
    struct buf list;
    buf_init(&list, LIST_BYTES_MAX);
    int rc = 0;
    if (list_differences(r, r->facts, before, &list) > 0) {
        rc = err_set(e, ERR_USAGE, "%s was begun with another configuration: %s", r->shown,
                     list.data);
        err_hint(e, "give this run another name, or remove %s to begin anew", r->shown);
    }
    buf_release(&list);
    return rc;
}

char *run_changed_conditions(const struct run *r, const json_t *before)
{
    struct buf list;
    buf_init(&list, LIST_BYTES_MAX);
    char *text = NULL;
    if (before && list_differences(r, r->conditions, before, &list) > 0)
        text = xstrdup(list.data);
    buf_release(&list);
    return text;
}

/* ---------------------------------------------------------------- the folder -- */

static int write_json(const struct run *r, const char *name, const json_t *v, struct err *e)
{
    struct buf b;
    char *path = path_join(r->dir, name);
    buf_init(&b, JSON_BYTES_MAX);
    json_write_pretty(v, &b);
    int rc = buf_check(&b, name, e) || file_write(path, b.data, b.size, e) ? -1 : 0;
    buf_release(&b);
    free(path);
    return rc;
}

static int check_name(const struct config *c, struct err *e)
{
    if (*c->name && !strchr(c->name, '/') && c->name[0] != '.')
        return 0;
    err_set(e, ERR_USAGE, "name: \"%s\" cannot be the name of a run", c->name);
    return err_hint(e, "a name has no slash and does not begin with a dot");
}

static int lock_folder(struct run *r, struct err *e)
{
    char *path = path_join(r->dir, "lock");
    r->lock = file_lock(path, e);
    free(path);
    if (r->lock >= 0)
        return 0;
    if (e->kind == ERR_RETRY)
        err_hint(e, "another process is training this run; wait for it, or give this one a name");
    return err_in(e, "%s", r->dir);
}

int run_open(struct run *r, const struct config *c, const char *local, const struct manifest *train,
             struct err *e)
{
    *r = (struct run){.lock = -1, .train = train};
    if (check_name(c, e))
        return -1;
    r->dir = path_join(local ? local : c->runs, c->name);
    r->shown = path_join(c->runs, c->name);
    r->metrics = path_join(r->dir, "metrics.jsonl");
    r->output = path_join(r->dir, c->method == METHOD_FULL ? "model" : "adapter");
    r->facts = json_object();
    if (dir_make(r->dir, e) || lock_folder(r, e) || add_facts(r->facts, c, train, e)) {
        run_close(r);
        return -1;
    }
    return 0;
}

void run_close(struct run *r)
{
    if (r->lock >= 0)
        file_unlock(r->lock);
    free(r->dir);
    free(r->shown);
    free(r->metrics);
    free(r->output);
    json_decref(r->facts);
    json_decref(r->conditions);
    *r = (struct run){.lock = -1};
}

int run_describe(const struct run *r, const struct config *c, const char *yaml,
                 const char *approximate, struct err *e)
{
    char *path = path_join(r->dir, "config.yaml");
    int rc = file_write(path, yaml, strlen(yaml), e);
    free(path);
    path = path_join(r->dir, "data.jsonl");
    if (!rc && r->train)
        rc = drift_write(path, r->train, e);
    free(path);
    if (rc)
        return -1;
    char now[24];
    clock_now(now);
    json_t *o = json_object();
    json_put_str(o, "started", now);
    json_put_str(o, "model", c->model);
    json_put_str(o, "resume", approximate ? "approximate" : "exact");
    if (approximate)
        json_put_str(o, "because", approximate);
    json_put(o, "conditions", json_incref(r->conditions));
    json_put(o, "facts", json_incref(r->facts));
    rc = write_json(r, "attune.lock", o, e);
    json_decref(o);
    return rc;
}

int run_result(const struct run *r, json_t **result, struct err *e)
{
    char *path = path_join(r->dir, "result.json");
    *result = NULL;
    int rc = 0;
    if (file_exists(path)) {
        *result = json_read_file(path, JSON_BYTES_MAX, e);
        rc = *result ? 1 : -1;
    }
    free(path);
    return rc;
}

int run_finish(const struct run *r, const json_t *result, struct err *e)
{
    return write_json(r, "result.json", result, e);
}
