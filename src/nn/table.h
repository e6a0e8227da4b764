/* table.h - big embeddings whose rows the host gathers from where they lie.
 *
 * A table of billions of numbers of which a batch needs a few thousand rows is not given to the
 * device: its rows are copied out of the mapped file, batch by batch.
 */
#ifndef NN_TABLE_H
#define NN_TABLE_H

#include <stdint.h>

#include "mx/mx.h"
#include "nn/linear.h"
#include "nn/safetensors.h"

struct nn_table;

/* Over tensors of an open file: a dense weight [rows,columns] alone, or a quantised one with its
 * scales and biases (and q's bits and group).  The file stays open as long as the table. */
struct nn_table *nn_table_open(struct safetensors *s, const struct safetensors_tensor *weight,
                               const struct safetensors_tensor *scales,
                               const struct safetensors_tensor *biases, const struct nn_quant *q);
/* Random numbers in bfloat16 with the deviation `std` that depend on `seed` and place only. */
struct nn_table *nn_table_random(uint64_t seed, double std, int rows, int columns);
void nn_table_close(struct nn_table *t);                /* NULL is fine */

/* The weight (0), scales (1), biases (2) as arrays that take no memory of the device until they are
 * evaluated. */
mx_array nn_table_array(struct nn_table *t, int part);

/* As nn_embedding for ids on the host: [count] -> [count,in] in the layer's dtype.  Layers without
 * a table, and those whose table is trained, look up their weight. */
mx_array nn_embedding_host(const struct nn_linear *l, const int32_t *ids, int64_t count);

#endif
