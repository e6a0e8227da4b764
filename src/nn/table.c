/* table.c - rows of big embeddings, gathered by the host. */
#include "nn/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* The weight, or one of its parts when it is quantised: rows of equal length. */
struct part {
    const unsigned char *data;
    enum mx_dtype dtype;
    int columns;
    size_t row_bytes;
};

struct nn_table {
    int users;                          /* of the one thread that uses MLX */
    struct safetensors *file;           /* or */
    uint16_t *own;
    int rows, part_count;
    struct part parts[3];
    int bits, group;                    /* of a quantised one */
};

static void add_part(struct nn_table *t, const void *data, enum mx_dtype dtype, int columns)
{
    t->parts[t->part_count++] = (struct part){.data = data,
                                              .dtype = dtype,
                                              .columns = columns,
                                              .row_bytes = (size_t)columns * mx_dtype_size(dtype)};
}

struct nn_table *nn_table_open(struct safetensors *s, const struct safetensors_tensor *weight,
                               const struct safetensors_tensor *scales,
                               const struct safetensors_tensor *biases, const struct nn_quant *q)
{
    const struct safetensors_tensor *all[] = {weight, scales, biases};
    struct nn_table *t = xcalloc(1, sizeof *t);

    t->users = 1;
    t->file = safetensors_keep(s);
    t->rows = weight->shape[0];
    for (int i = 0; i < 3 && all[i]; i++)
        add_part(t, all[i]->data, all[i]->dtype, all[i]->shape[1]);
    if (scales) {
        t->bits = q->bits;
        t->group = q->group;
    }
    return t;
}

/* The nearest bfloat16. */
static uint16_t to_bfloat16(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The sum of eight bytes is near enough to normal, and a table has billions of numbers.  The bytes
 * are added in pairs, then the four pairs by one product. */
static float bell(uint64_t bits)
{
    const uint64_t low = 0x00ff00ff00ff00ffu;
    uint64_t pairs = (bits & low) + (bits >> 8 & low);
    int sum = (int)(pairs * 0x0001000100010001u >> 48);
    return (float)(sum - 1020) / 209.0215f;     /* sqrt(8 (256² - 1) / 12) */
}

struct nn_table *nn_table_random(uint64_t seed, double std, int rows, int columns)
{
    struct nn_table *t = xcalloc(1, sizeof *t);
    size_t n = (size_t)rows * (size_t)columns;

    t->users = 1;
    t->rows = rows;
    t->own = xmalloc((n ? n : 1) * sizeof *t->own);
    for (size_t i = 0; i < n; i++) {
        /* splitmix64 (Steele, Lea, Flood 2014). */
        uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        t->own[i] = to_bfloat16((float)std * bell(z ^ z >> 31));
    }
    add_part(t, t->own, MX_BFLOAT16, columns);
    return t;
}

void nn_table_close(struct nn_table *t)
{
    if (!t || --t->users > 0)
        return;
    safetensors_close(t->file);
    free(t->own);
    free(t);
}

static void close_wrapped(void *t)
{
    nn_table_close(t);
}

mx_array nn_table_array(struct nn_table *t, int part)
{
    const struct part *p = &t->parts[part];
    int shape[] = {t->rows, p->columns};

    t->users++;
    return mx_wrap_later((void *)(uintptr_t)p->data, p->dtype, shape, 2, close_wrapped, t);
}

/* Rows of one part: [count, columns] in its own dtype. */
static mx_array gather(const struct part *p, const int32_t *ids, int64_t count)
{
    int shape[] = {(int)count, p->columns};
    unsigned char *room = xmalloc((size_t)count * p->row_bytes + 1);

    for (int64_t i = 0; i < count; i++)
        memcpy(room + (size_t)i * p->row_bytes, p->data + (size_t)ids[i] * p->row_bytes,
               p->row_bytes);
    return mx_wrap(room, p->dtype, shape, 2, free, room);
}

mx_array nn_embedding_host(const struct nn_linear *l, const int32_t *ids, int64_t count)
{
    const struct nn_table *t = l->table;
    mx_array parts[3] = {MX_NONE, MX_NONE, MX_NONE};

    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= l->out)
            return mx_fail("token %d is not in a table of %d rows", ids[i], l->out);
    if (!t || l->trained)
        return nn_embedding(l, mx_from(ids, MX_INT32, (int[]){(int)count}, 1));
    for (int i = 0; i < t->part_count; i++)
        parts[i] = gather(&t->parts[i], ids, count);
    if (t->bits == 0)
        return mx_astype(parts[0], l->dtype);
    struct nn_quant q = {parts[1], parts[2], t->bits, t->group};
    return nn_dequantize(parts[0], &q, l->dtype);
}
