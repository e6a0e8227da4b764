/* gemma4_unified.h - what encoder-free Gemma 4 has in the place of towers.
 *
 * A picture's soft tokens are large patches of raw pixels behind one dense layer; a clip's are its
 * raw samples, cut into frames, behind nothing at all.  Both are then projected into the decoder.
 *
 *     I pictures    J patches a picture    E numbers a patch    D width
 */
#ifndef MODEL_GEMMA4_UNIFIED_H
#define MODEL_GEMMA4_UNIFIED_H

#include "mx/mx.h"
#include "nn/bind.h"
#include "nn/linear.h"
#include "nn/norm.h"

struct gemma4_unified {
    int E, D;
    int patch, pool;                    /* a large patch is pool x pool patches of patch pixels */
    int positions;                      /* large patches a side that have a position */
    double eps;                         /* of the projector's norm */

    struct nn_norm patch_ln1, patch_ln2, pos_norm;
    struct nn_linear patch_dense;
    mx_array pos_embedding;             /* [positions,2,D]: of x and of y */
};

/* List every tensor of the picture embedder (tower "vision"), and its projection into the decoder,
 * D -> out (tower "projector").  The sizes are set (gemma4_towers_config.h).
 *
 * Files on the Hub and the modules of transformers call them differently; both names are read,
 * adapters use the modules':
 *
 *     model.vision_embedder.patch_dense          model.embed_vision.patch_dense
 *     model.embed_vision.embedding_projection    model.embed_vision.multimodal_embedder.embedding_
 *                                                projection
 */
void gemma4_unified_bind(struct gemma4_unified *u, struct nn_binder *b,
                         struct nn_linear *projection, int out);

/* pixels [I,J,E] levels 0 .. 255, patch_at [I,J,2] int32 x and y, -1 for padding -> [I,J,D]. */
mx_array gemma4_unified_see(const struct gemma4_unified *u, mx_array pixels, mx_array patch_at);

#endif
