/* safetensors.c - the strict reader and the crash-safe writer; the header shows the format.
 *
 * Reading: a header is first parsed as JSON (duplicate keys, nesting, syntax), then each entry by
 * itself (dtype, shape, offsets, size), then all of them together: sorted by offset, each tensor
 * must begin where the one before it ends, and the last must end where the file ends.  All sums
 * and products of numbers from the file are checked for overflow.
 *
 * Writing: the header follows from names and shapes alone, so it goes first; then one tensor after
 * the other is evaluated and written in pieces, so that host memory stays small.
 */
#include "nn/safetensors.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { INDEX_MAX = 32 << 20 };          /* bytes of model.safetensors.index.json */

static const char SINGLE[] = "model.safetensors";
static const char INDEX[] = "model.safetensors.index.json";

struct shard {
    char *path;
    struct file_map map;
    bool is_mapped;                     /* false: the bytes are a caller's */
    json_t *metadata;                   /* or NULL */
};

struct safetensors {
    atomic_int users;
    struct shard *shards;
    int shard_count;
    struct safetensors_tensor *at;      /* by name; the names are owned */
    int count;
    size_t capacity;
};

/* ------------------------------------------------------------ one header -- */

static const struct {
    const char *name;
    int dtype;
} DTYPES[] = {
    {"F32", MX_FLOAT32}, {"BF16", MX_BFLOAT16}, {"F16", MX_FLOAT16}, {"F64", MX_FLOAT64},
    {"I64", MX_INT64},   {"I32", MX_INT32},     {"I16", MX_INT16},   {"I8", MX_INT8},
    {"U64", MX_UINT64},  {"U32", MX_UINT32},    {"U16", MX_UINT16},  {"U8", MX_UINT8},
    {"BOOL", MX_BOOL},
};

static int refuse(struct err *e, const struct safetensors_tensor *t, const char *what)
{
    return err_set(e, ERR_INTEGRITY, "%s: tensor %s at offset %" PRIu64 ": %s", t->file, t->name,
                   t->offset, what);
}

static int read_dtype(struct safetensors_tensor *t, const json_t *v, struct err *e)
{
    const char *s = json_string_value(v);
    if (!s)
        return refuse(e, t, "has no dtype");
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        if (strcmp(s, DTYPES[i].name) == 0) {
            t->dtype = (enum mx_dtype)DTYPES[i].dtype;
            return 0;
        }
    }
    return err_set(e, ERR_INTEGRITY,
                   "%s: tensor %s at offset %" PRIu64 ": dtype %.20s is not known", t->file,
                   t->name, t->offset, s);
}

/* The shape, and the bytes that a tensor of this shape and dtype has. */
static int read_shape(struct safetensors_tensor *t, const json_t *v, uint64_t *bytes, struct err *e)
{
    if (!json_is_array(v))
        return refuse(e, t, "has no shape");
    if (json_array_size(v) > MX_DIMS_MAX)
        return err_set(e, ERR_INTEGRITY,
                       "%s: tensor %s at offset %" PRIu64 ": has %zu dimensions, more than %d",
                       t->file, t->name, t->offset, json_array_size(v), MX_DIMS_MAX);
    *bytes = mx_dtype_size(t->dtype);
    t->n = (int)json_array_size(v);
    for (int i = 0; i < t->n; i++) {
        const json_t *d = json_array_get(v, (size_t)i);
        json_int_t dim = json_integer_value(d);
        if (!json_is_integer(d) || dim < 0 || dim > INT_MAX)
            return refuse(e, t, "a dimension is not a whole number from 0 to 2147483647");
        if (__builtin_mul_overflow(*bytes, (uint64_t)dim, bytes))
            return refuse(e, t, "its shape holds more bytes than 64 bits can count");
        t->shape[i] = (int)dim;
    }
    return 0;
}

/* Where the data lies, relative to the end of the header. */
static int read_offsets(struct safetensors_tensor *t, const json_t *v, uint64_t data_bytes,
                        struct err *e)
{
    const json_t *first = json_array_get(v, 0), *second = json_array_get(v, 1);
    json_int_t begin = json_integer_value(first), end = json_integer_value(second);

    if (json_array_size(v) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return err_set(e, ERR_INTEGRITY, "%s: tensor %s: data_offsets are not two whole numbers",
                       t->file, t->name);
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes)
        return err_set(e, ERR_INTEGRITY,
                       "%s: tensor %s: data_offsets [%" JSON_INTEGER_FORMAT ",%" JSON_INTEGER_FORMAT
                       "] do not lie in the file's %" PRIu64 " bytes of data",
                       t->file, t->name, begin, end, data_bytes);
    t->offset = (uint64_t)begin;
    t->bytes = (uint64_t)(end - begin);
    return 0;
}

static int read_entry(struct safetensors_tensor *t, const json_t *v, uint64_t data_bytes,
                      struct err *e)
{
    uint64_t bytes = 0;

    if (!json_is_object(v))
        return refuse(e, t, "its entry is not an object");
    if (read_offsets(t, json_object_get(v, "data_offsets"), data_bytes, e) ||
        read_dtype(t, json_object_get(v, "dtype"), e) ||
        read_shape(t, json_object_get(v, "shape"), &bytes, e))
        return -1;
    if (json_object_size(v) != 3)
        return refuse(e, t, "its entry has keys besides dtype, shape and data_offsets");
    if (bytes != t->bytes)
        return err_set(e, ERR_INTEGRITY,
                       "%s: tensor %s at offset %" PRIu64 ": has %" PRIu64
                       " bytes, its shape and dtype need %" PRIu64,
                       t->file, t->name, t->offset, t->bytes, bytes);
    return 0;
}

static int check_name(const char *name, const char *file, struct err *e)
{
    size_t size = strlen(name);
    if (size == 0 || size >= SAFETENSORS_NAME_MAX)
        return err_set(e, ERR_INTEGRITY, "%s: a tensor's name has %zu bytes, expected 1 to %d",
                       file, size, SAFETENSORS_NAME_MAX - 1);
    for (const char *c = name; *c; c++)
        if (iscntrl((unsigned char)*c))
            return err_set(e, ERR_INTEGRITY, "%s: a tensor's name has a control character", file);
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes == y->bytes ? 0 : x->bytes < y->bytes ? -1 : 1;
}

/* No hole, no overlap, no byte left: sorts the `n` tensors of one file by offset. */
static int check_layout(struct safetensors_tensor *t, int n, const char *file, uint64_t data_bytes,
                        struct err *e)
{
    uint64_t end = 0;

    qsort(t, (size_t)n, sizeof *t, by_offset);
    for (int i = 0; i < n; i++) {
        if (t[i].offset < end)
            return err_set(e, ERR_INTEGRITY,
                           "%s: tensor %s at offset %" PRIu64
                           " overlaps %s, which ends at %" PRIu64,
                           file, t[i].name, t[i].offset, t[i - 1].name, end);
        if (t[i].offset > end)
            return err_set(e, ERR_INTEGRITY,
                           "%s: tensor %s at offset %" PRIu64 ": a hole of %" PRIu64
                           " bytes lies before it",
                           file, t[i].name, t[i].offset, t[i].offset - end);
        end = t[i].offset + t[i].bytes;
    }
    if (end != data_bytes)
        return err_set(e, ERR_INTEGRITY, "%s: %" PRIu64 " bytes lie behind the last tensor", file,
                       data_bytes - end);
    return 0;
}

static int check_metadata(const json_t *v, const char *file, struct err *e)
{
    const char *key;
    json_t *value;

    if (!json_is_object(v))
        return err_set(e, ERR_INTEGRITY, "%s: __metadata__ is not an object", file);
    json_object_foreach((json_t *)(uintptr_t)v, key, value) if (
        !json_is_string(value)) return err_set(e, ERR_INTEGRITY,
                                               "%s: __metadata__ holds something that is no string",
                                               file);
    return 0;
}

static int add_entry(struct safetensors *s, const char *file, const char *name, const json_t *v,
                     uint64_t data_bytes, struct err *e)
{
    struct safetensors_tensor t = {.file = file, .name = name};

    if (check_name(name, file, e) || read_entry(&t, v, data_bytes, e))
        return -1;
    if (s->count == SAFETENSORS_TENSORS_MAX)
        return err_set(e, ERR_INTEGRITY, "%s: more than %d tensors", file, SAFETENSORS_TENSORS_MAX);
    if ((size_t)s->count == s->capacity)
        s->at = mem_grow(s->at, &s->capacity, sizeof *s->at);
    t.name = xstrdup(name);
    s->at[s->count++] = t;
    return 0;
}

/* Add the tensors of one shard, whose header is `root`. */
static int read_header(struct safetensors *s, struct shard *shard, json_t *root, uint64_t start,
                       struct err *e)
{
    uint64_t data_bytes = shard->map.size - start;
    int first = s->count;
    const char *name;
    json_t *v;

    if (!json_is_object(root))
        return err_set(e, ERR_INTEGRITY, "%s: the header is not an object", shard->path);
    json_object_foreach(root, name, v)
    {
        if (strcmp(name, "__metadata__") == 0) {
            if (check_metadata(v, shard->path, e))
                return -1;
            shard->metadata = json_incref(v);
        } else if (add_entry(s, shard->path, name, v, data_bytes, e)) {
            return -1;
        }
    }
    if (check_layout(s->at + first, s->count - first, shard->path, data_bytes, e))
        return -1;
    for (int i = first; i < s->count; i++) {
        s->at[i].offset += start;
        s->at[i].data = shard->map.data + s->at[i].offset;
    }
    return 0;
}

/* --------------------------------------------------------------- one file -- */

/* Say what a file is that is not safetensors, when that can be told. */
static int refuse_kind(const struct shard *shard, struct err *e)
{
    static const struct {
        const char *magic;
        size_t size;
        const char *kind, *hint;
    } KINDS[] = {
        {"GGUF", 4, "a GGUF file", "take the safetensors checkpoint it was made from"},
        {"PK\3\4", 4, "a pickle (PyTorch) or zip file",
         "pickles can run code and are never read; convert it with safetensors.torch.save_file"},
        {"\x80\x02", 2, "a pickle file",
         "pickles can run code and are never read; convert it with safetensors.torch.save_file"},
        {"\x80\x04", 2, "a pickle file",
         "pickles can run code and are never read; convert it with safetensors.torch.save_file"},
        {"version https://git-lfs", 23, "a Git LFS pointer, not the file itself",
         "fetch the file it stands for (git lfs pull)"},
        {"\x89HDF", 4, "an HDF5 file", "take the safetensors checkpoint"},
        {"<!DOCTYPE", 9, "a web page", "download the file again"},
    };

    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (shard->map.size < KINDS[i].size ||
            memcmp(shard->map.data, KINDS[i].magic, KINDS[i].size) != 0)
            continue;
        err_set(e, ERR_INTEGRITY, "%s: is %s, expected safetensors", shard->path, KINDS[i].kind);
        return err_hint(e, "%s", KINDS[i].hint);
    }
    return 0;
}

static int read_shard(struct safetensors *s, struct shard *shard, struct err *e)
{
    const unsigned char *data = shard->map.data;
    uint64_t size = shard->map.size, header = 0;

    if (refuse_kind(shard, e))
        return -1;
    if (size < 8)
        return err_set(e, ERR_INTEGRITY, "%s: %" PRIu64 " bytes are too few for safetensors",
                       shard->path, size);
    for (int i = 7; i >= 0; i--)
        header = header << 8 | data[i];
    if (header > SAFETENSORS_HEADER_MAX || header > size - 8)
        return err_set(e, ERR_INTEGRITY,
                       "%s: claims a header of %" PRIu64 " bytes; the file has %" PRIu64
                       ", the limit is %d",
                       shard->path, header, size, SAFETENSORS_HEADER_MAX);
    if (header == 0 || data[8] != '{')
        return err_set(e, ERR_INTEGRITY, "%s: the header does not begin with {", shard->path);

    struct err why = {0};
    json_t *root = json_read_text("header", (const char *)data + 8, (size_t)header, &why);
    if (!root)
        return err_set(e, ERR_INTEGRITY, "%s: %s", shard->path, why.text);
    int rc = read_header(s, shard, root, 8 + header, e);
    json_decref(root);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Sort by name; a name may lie in one shard only. */
static int sort_names(struct safetensors *s, struct err *e)
{
    qsort(s->at, (size_t)s->count, sizeof *s->at, by_name);
    for (int i = 1; i < s->count; i++)
        if (strcmp(s->at[i - 1].name, s->at[i].name) == 0)
            return err_set(e, ERR_INTEGRITY, "tensor %s lies both in %s and in %s", s->at[i].name,
                           s->at[i - 1].file, s->at[i].file);
    return 0;
}

static struct safetensors *make(int shards)
{
    struct safetensors *s = xcalloc(1, sizeof *s);
    atomic_init(&s->users, 1);
    s->shards = xcalloc((size_t)shards, sizeof *s->shards);
    s->shard_count = shards;
    s->at = mem_grow(NULL, &s->capacity, sizeof *s->at); /* never NULL, for qsort and others */
    return s;
}

static int open_shard(struct safetensors *s, int i, char *path, struct err *e)
{
    struct shard *shard = &s->shards[i];
    shard->path = path;
    if (file_map_open(&shard->map, path, e))
        return -1;
    shard->is_mapped = true;
    return read_shard(s, shard, e);
}

static struct safetensors *finish(struct safetensors *s, int rc)
{
    if (rc == 0)
        return s;
    safetensors_close(s);
    return NULL;
}

static struct safetensors *open_file(const char *path, struct err *e)
{
    struct safetensors *s = make(1);
    return finish(s, open_shard(s, 0, xstrdup(path), e) || sort_names(s, e));
}

struct safetensors *safetensors_parse(const void *bytes, size_t size, const char *name,
                                      struct err *e)
{
    struct safetensors *s = make(1);
    s->shards[0].path = xstrdup(name);
    s->shards[0].map = (struct file_map){.data = bytes, .size = size};
    return finish(s, read_shard(s, &s->shards[0], e) || sort_names(s, e));
}

/* --------------------------------------------------------------- a folder -- */

/* The shards that the index names, each once; names are checked to stay in the folder. */
static int list_shards(const json_t *map, const char *index, json_t *files, struct err *e)
{
    const char *tensor;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)map, tensor, v)
    {
        const char *file = json_string_value(v);
        if (!file || strlen(file) > 255 || file[0] == '.' || strpbrk(file, "/\\") ||
            strcmp(path_extension(file), "safetensors") != 0)
            return err_set(e, ERR_INTEGRITY,
                           "%s: tensor %.200s: its file is not the name of a "
                           "safetensors file in the same folder",
                           index, tensor);
        json_object_set_new(files, file, json_true());
    }
    if (json_object_size(files) == 0)
        return err_set(e, ERR_INTEGRITY, "%s: weight_map is empty", index);
    if (json_object_size(files) > SAFETENSORS_SHARDS_MAX)
        return err_set(e, ERR_INTEGRITY, "%s: %zu shards, the limit is %d", index,
                       json_object_size(files), SAFETENSORS_SHARDS_MAX);
    return 0;
}

/* Index and shards must tell the same story. */
static int check_index(const struct safetensors *s, const json_t *map, const char *index,
                       struct err *e)
{
    const char *tensor;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)map, tensor, v)
    {
        const struct safetensors_tensor *t = safetensors_find(s, tensor);
        if (!t || strcmp(path_base(t->file), json_string_value(v)) != 0)
            return err_set(e, ERR_INTEGRITY,
                           "%s: tensor %.200s is not in %s, where the index puts "
                           "it",
                           index, tensor, json_string_value(v));
    }
    for (int i = 0; i < s->count; i++)
        if (!json_object_get(map, s->at[i].name))
            return err_set(e, ERR_INTEGRITY, "%s: tensor %s of %s is not in the index", index,
                           s->at[i].name, s->at[i].file);
    return 0;
}

static struct safetensors *open_mapped(const char *dir, const json_t *map, const char *index,
                                       struct err *e)
{
    json_t *files = json_object();
    struct safetensors *s = NULL;
    const char *file;
    json_t *v;
    int i = 0;

    if (list_shards(map, index, files, e) == 0) {
        int rc = 0;
        s = make((int)json_object_size(files));
        json_object_foreach(files, file, v) rc = rc || open_shard(s, i++, path_join(dir, file), e);
        s = finish(s, rc || sort_names(s, e) || check_index(s, map, index, e));
    }
    json_decref(files);
    return s;
}

static struct safetensors *open_index(const char *dir, const char *index, struct err *e)
{
    struct safetensors *s = NULL;
    json_t *root = json_read_file(index, INDEX_MAX, e);
    if (!root)
        return NULL;
    json_t *map = json_need_object(root, "weight_map", e);
    if (map)
        s = open_mapped(dir, map, index, e);
    else
        err_in(e, "%s", index);
    json_decref(root);
    return s;
}

/* A folder without safetensors: name what is there in their place. */
static int refuse_folder(const char *dir, struct err *e)
{
    struct dir_list l = {0};
    const char *other = NULL;

    if (dir_list_read(&l, dir, e))
        return -1;
    for (size_t i = 0; i < l.count && !other; i++) {
        const char *x = path_extension(l.names[i]);
        if (!strcmp(x, "bin") || !strcmp(x, "pt") || !strcmp(x, "pth") || !strcmp(x, "ckpt") ||
            !strcmp(x, "gguf") || !strcmp(x, "npz"))
            other = l.names[i];
    }
    if (other) {
        err_set(e, ERR_INTEGRITY, "%s: no %s, only %s, which is a kind of file that is never read",
                dir, SINGLE, other);
        err_hint(e, "take or convert to a safetensors checkpoint");
    } else {
        err_set(e, ERR_USAGE, "%s: no %s and no %s", dir, SINGLE, INDEX);
        err_hint(e, "a model is a folder with config.json and safetensors files");
    }
    dir_list_release(&l);
    return -1;
}

struct safetensors *safetensors_open(const char *path, struct err *e)
{
    struct safetensors *s = NULL;

    if (!file_is_dir(path))
        return open_file(path, e);
    char *single = path_join(path, SINGLE), *index = path_join(path, INDEX);
    if (file_exists(single))
        s = open_file(single, e);
    else if (file_exists(index))
        s = open_index(path, index, e);
    else
        refuse_folder(path, e);
    free(single);
    free(index);
    return s;
}

struct safetensors *safetensors_keep(struct safetensors *s)
{
    atomic_fetch_add(&s->users, 1);
    return s;
}

void safetensors_close(struct safetensors *s)
{
    if (!s || atomic_fetch_sub(&s->users, 1) > 1)
        return;
    for (int i = 0; i < s->count; i++)
        free((char *)(uintptr_t)s->at[i].name);
    for (int i = 0; i < s->shard_count; i++) {
        if (s->shards[i].is_mapped)
            file_map_close(&s->shards[i].map);
        if (s->shards[i].metadata)
            json_decref(s->shards[i].metadata);
        free(s->shards[i].path);
    }
    free(s->at);
    free(s->shards);
    free(s);
}

/* ---------------------------------------------------------------- tensors -- */

int safetensors_count(const struct safetensors *s)
{
    return s->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *s, int i)
{
    return &s->at[i];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    struct safetensors_tensor key = {.name = name};
    return bsearch(&key, s->at, (size_t)s->count, sizeof *s->at, by_name);
}

const char *safetensors_metadata(const struct safetensors *s, const char *key)
{
    for (int i = 0; i < s->shard_count; i++) {
        const char *v = json_string_value(json_object_get(s->shards[i].metadata, key));
        if (v)
            return v;
    }
    return NULL;
}

static void release_wrapped(void *s)
{
    safetensors_close(s);
}

mx_array safetensors_array(struct safetensors *s, const struct safetensors_tensor *t)
{
    if (t->bytes == 0)
        return mx_zeros_(t->dtype, t->shape, t->n);
    if ((uintptr_t)t->data % mx_dtype_size(t->dtype) != 0)
        return mx_from(t->data, t->dtype, t->shape, t->n);
    return mx_wrap((void *)(uintptr_t)t->data, t->dtype, t->shape, t->n, release_wrapped,
                   safetensors_keep(s));
}

/* ---------------------------------------------------------------- writing -- */

enum { PIECE_BYTES = 32 << 20 };        /* of a tensor, on its way to the file */

static const char *dtype_tag(enum mx_dtype d)
{
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++)
        if (DTYPES[i].dtype == (int)d)
            return DTYPES[i].name;
    return NULL;
}

/* Wide types first keeps every tensor aligned without gaps. */
static int by_layout(const void *a, const void *b)
{
    const struct safetensors_item *x = *(const struct safetensors_item *const *)a;
    const struct safetensors_item *y = *(const struct safetensors_item *const *)b;
    size_t wide_x = mx_dtype_size(x->dtype), wide_y = mx_dtype_size(y->dtype);
    if (wide_x != wide_y)
        return wide_x > wide_y ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void header_metadata(struct buf *b, const struct safetensors_pair *metadata, int pairs)
{
    bool has_format = false;

    for (int i = 0; i < pairs; i++)
        has_format = has_format || strcmp(metadata[i].key, "format") == 0;
    buf_add_str(b, "{\"__metadata__\":{");
    if (!has_format)
        buf_add_str(b, "\"format\":\"pt\"");
    for (int i = 0; i < pairs; i++) {
        if (i > 0 || !has_format)
            buf_add_char(b, ',');
        json_write_str(metadata[i].key, strlen(metadata[i].key), b);
        buf_add_char(b, ':');
        json_write_str(metadata[i].value, strlen(metadata[i].value), b);
    }
    buf_add_char(b, '}');
}

/* A file being written. */
struct writing {
    struct file_writer *w;
    const struct safetensors_item *items;
    const struct safetensors_item **order;
    int count;
    safetensors_make_fn make;           /* of the arrays that items do not have */
    void *arg;
};

static mx_array array_of(const struct writing *f, const struct safetensors_item *t)
{
    return f->make && mx_is_none(t->array) ? f->make(f->arg, (int)(t - f->items)) : t->array;
}

static void header_item(struct buf *b, const struct writing *f, const struct safetensors_item *t,
                        uint64_t *offset)
{
    mx_enter();
    mx_array x = array_of(f, t);
    uint64_t end = *offset + mx_size(x) * mx_dtype_size(t->dtype);

    buf_add_char(b, ',');
    json_write_str(t->name, strlen(t->name), b);
    buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dtype_tag(t->dtype));
    for (int i = 0; i < mx_ndim(x); i++)
        buf_printf(b, i ? ",%d" : "%d", mx_dim(x, i));
    buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *offset, end);
    *offset = end;
    mx_leave(MX_NONE);
}

/* Length and JSON, padded with spaces to a multiple of 8 bytes. */
static int write_header(const struct writing *f, const struct safetensors_pair *metadata, int pairs,
                        struct err *e)
{
    unsigned char length[8];
    uint64_t offset = 0;
    struct buf b;

    buf_init(&b, SAFETENSORS_HEADER_MAX);
    header_metadata(&b, metadata, pairs);
    for (int i = 0; i < f->count; i++)
        header_item(&b, f, f->order[i], &offset);
    buf_add_char(&b, '}');
    while (b.size % 8 != 0)
        buf_add_char(&b, ' ');
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)b.size >> 8 * i);
    int rc = mx_check(e) || buf_check(&b, "the header", e) ||
             file_writer_write(f->w, length, 8, e) || file_writer_write(f->w, b.data, b.size, e);
    buf_release(&b);
    return rc ? -1 : 0;
}

/* Rows [first, last) of the array. */
static int write_piece(struct file_writer *w, mx_array x, int first, int last, enum mx_dtype dtype,
                       void *room, struct err *e)
{
    mx_enter();
    mx_array piece = mx_slice(x, 0, first, last);
    size_t bytes = mx_size(piece) * mx_dtype_size(dtype);
    int rc = mx_read(piece, dtype, room, bytes, e);
    mx_leave(MX_NONE);
    return rc ? err_in(e, "%s", w->path) : file_writer_write(w, room, bytes, e);
}

static int write_array(struct file_writer *w, const struct safetensors_item *t, mx_array x,
                       struct err *e)
{
    if (mx_ndim(x) == 0)
        x = mx_reshape(x, 1);
    if (mx_eval(&x, 1, e))
        return err_in(e, "%s: tensor %s", w->path, t->name);
    if (mx_size(x) == 0)
        return 0;
    int rows = mx_dim(x, 0), rc = 0;
    size_t row = mx_size(x) / (size_t)rows * mx_dtype_size(t->dtype);
    int step = row < PIECE_BYTES ? (int)(PIECE_BYTES / row) : 1;
    void *room = xmalloc((size_t)(step < rows ? step : rows) * row);

    for (int i = 0; rc == 0 && i < rows;) {
        int last = rows - i > step ? i + step : rows;
        rc = write_piece(w, x, i, last, t->dtype, room, e);
        i = last;
    }
    free(room);
    return rc;
}

static int check_item(const struct writing *f, const struct safetensors_item *t, struct err *e)
{
    if (check_name(t->name, "to be written", e))
        return -1;
    if (!dtype_tag(t->dtype))
        return err_set(e, ERR_BUG, "tensor %s: dtype %s cannot be written", t->name,
                       mx_dtype_name(t->dtype));
    if (f->make || !mx_is_none(t->array))
        return 0;
    if (mx_check(e))
        return err_in(e, "tensor %s", t->name);
    return err_set(e, ERR_BUG, "tensor %s: there is nothing to write", t->name);
}

/* Check the items and list them in the order of the file. */
static int order_items(struct writing *f, struct err *e)
{
    for (int i = 0; i < f->count; i++) {
        if (check_item(f, &f->items[i], e))
            return -1;
        f->order[i] = &f->items[i];
    }
    qsort(f->order, (size_t)f->count, sizeof *f->order, by_layout);
    for (int i = 1; i < f->count; i++)
        if (strcmp(f->order[i - 1]->name, f->order[i]->name) == 0)
            return err_set(e, ERR_BUG, "tensor %s is to be written twice", f->order[i]->name);
    return 0;
}

static int write_file(const struct writing *f, const struct safetensors_pair *metadata, int pairs,
                      struct err *e)
{
    if (write_header(f, metadata, pairs, e))
        return -1;
    for (int i = 0; i < f->count; i++) {
        mx_enter();
        int rc = write_array(f->w, f->order[i], array_of(f, f->order[i]), e);
        mx_leave(MX_NONE);
        if (rc)
            return -1;
    }
    return 0;
}

int safetensors_write_made(const char *path, const struct safetensors_item *items, int count,
                           safetensors_make_fn make_array, void *arg,
                           const struct safetensors_pair *metadata, int pairs, char *sha256,
                           struct err *e)
{
    struct file_writer w;
    struct writing f = {&w, items, NULL, count, make_array, arg};

    f.order = xcalloc((size_t)count + 1, sizeof *f.order);
    int rc = order_items(&f, e);
    if (rc == 0) {
        rc = file_writer_open(&w, path, e) || write_file(&f, metadata, pairs, e) ||
             file_writer_commit(&w, sha256, e);
        file_writer_abort(&w);
    }
    free(f.order);
    return rc ? -1 : 0;
}

int safetensors_write(const char *path, const struct safetensors_item *items, int count,
                      const struct safetensors_pair *metadata, int pairs, char *sha256,
                      struct err *e)
{
    return safetensors_write_made(path, items, count, NULL, NULL, metadata, pairs, sha256, e);
}
