/* gemma4_unified.c - the picture embedder of encoder-free Gemma 4.
 *
 *     x = layernorm(W layernorm(p/255) + b)                   p: levels of a large patch
 *     y = layernorm(x + X[at.x] + Y[at.y])
 *
 * The norms have weights and biases.  Letters are dimensions:
 *
 *     I pictures    J patches a picture    E numbers a patch    D width
 */
#include "model/gemma4_unified.h"

static const double LAYER_NORM_EPS = 1e-5;      /* PyTorch's own: the config says nothing of it */

/* ---------------------------------------------------------------- weights -- */

/* clang-format off */
void gemma4_unified_bind(struct gemma4_unified *u, struct nn_binder *b,
                         struct nn_linear *projection, int out)
{
    int E = u->E, D = u->D;
    struct nn_init zero = {NN_INIT_CONSTANT, 0};

    nn_root(b, "model.");
    nn_under(b, "%s", "");
    const char *place = nn_has(b, "vision_embedder.patch_dense.weight") ? "vision_embedder."
                                                                        : "embed_vision.";
    b->tower = "vision";
    b->eps = LAYER_NORM_EPS;
    nn_under(b, "%s", place);
    nn_bind_norm       (b, "patch_ln1",      &u->patch_ln1,      E);
    nn_bind_tensor     (b, "patch_ln1.bias", &u->patch_ln1.bias, (int[]){E}, 1, zero);
    nn_bind_linear_bias(b, "patch_dense",    &u->patch_dense,    E, D);
    nn_module_name     (b, "model.embed_vision.patch_dense");
    nn_bind_norm       (b, "patch_ln2",      &u->patch_ln2,      D);
    nn_bind_tensor     (b, "patch_ln2.bias", &u->patch_ln2.bias, (int[]){D}, 1, zero);
    nn_bind_tensor     (b, "pos_embedding",  &u->pos_embedding,  (int[]){u->positions, 2, D}, 3,
                        (struct nn_init){NN_INIT_NORMAL, 0.02});
    nn_bind_norm       (b, "pos_norm",       &u->pos_norm,       D);
    nn_bind_tensor     (b, "pos_norm.bias",  &u->pos_norm.bias,  (int[]){D}, 1, zero);

    b->tower = "projector";
    nn_under(b, "%s", "");
    nn_under(b, "%s", nn_has(b, "embed_vision.embedding_projection.weight")
                          ? "embed_vision." : "embed_vision.multimodal_embedder.");
    nn_bind_linear     (b, "embedding_projection", projection,   D, out);
    nn_module_name     (b, "model.embed_vision.multimodal_embedder.embedding_projection");
}
/* clang-format on */

/* ---------------------------------------------------------------- forward -- */

/* What the table says of x and y; nothing where there is none. */
static mx_array positions(const struct gemma4_unified *u, mx_array patch_at)
{
    mx_array sum = MX_NONE;

    for (int axis = 0; axis < 2; axis++) {
        mx_array at = mx_index(patch_at, 2, axis);                              /* [I,J] */
        mx_array is_patch = mx_expand_dims(mx_greater_equal(at, mx_int(0)), -1);
        mx_array e = mx_take(mx_index(u->pos_embedding, 1, axis), mx_maximum(at, mx_int(0)), 0);
        e = mx_where(is_patch, e, mx_zeros_like(e));                            /* [I,J,D] */
        sum = axis ? mx_add(sum, e) : e;
    }
    return sum;
}

mx_array gemma4_unified_see(const struct gemma4_unified *u, mx_array pixels, mx_array patch_at)
{
    mx_at("embed_vision.patch_dense");
    mx_array x = mx_scale(mx_astype(pixels, MX_FLOAT32), 1.0 / 255);            /* [I,J,E] */
    x = nn_layer_norm(&u->patch_ln1, mx_astype(x, u->patch_dense.dtype));
    x = nn_layer_norm(&u->patch_ln2, nn_linear(&u->patch_dense, x));            /* [I,J,D] */

    mx_at("embed_vision.pos_norm");
    x = mx_add(x, mx_astype(positions(u, patch_at), mx_dtype(x)));
    return nn_layer_norm(&u->pos_norm, x);                                      /* [I,J,D] */
}
