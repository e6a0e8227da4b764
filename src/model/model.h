/* model.h - what the training side sees of a model, whatever its family.
 *
 * A family (gemma4, whisper, later gemma3n) is one line in registry.c: its `model_type` and the
 * functions of struct model_family.  Weights are bound by nn_bind, so every parameter has the name
 * of the checkpoint and is listed in `params`.
 *
 *     B rows   T tokens   N clips   F frames   M mel bins   R targets   D model   V vocabulary
 *     I pictures   J patches a picture   E numbers a patch   Q rows that are kept (see `kept`)
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "mx/mx.h"
#include "nn/bind.h"
#include "nn/loss.h"

/* The arrays of a batch on the device; absent ones are MX_NONE, and a zeroed struct is empty. */
struct model_input {
    mx_array tokens;           /* [B,T] int32 */
    mx_array soft;             /* [B,T] int32, -1 for text; as in data/batch.h */
    mx_array mel;              /* [N,F,M] float32 */
    mx_array frame_valid;      /* [N,F] bool */
    mx_array pixels;           /* [I,J,E] uint8 */
    mx_array patch_at;         /* [I,J,2] int32, -1 for padding */
    /* What the towers make of them, when that was computed before (model_hear, model_see): then
     * `mel` and `pixels` are not read. */
    mx_array heard;            /* [N,slots,audio width] */
    mx_array seen;             /* [I,picture slots,vision width] */
    mx_array segment;          /* [B,T] int32: attention stays inside; none: one record a row */
    mx_array position;         /* [B,T] int32; none: 0 .. T-1 */
    mx_array per_layer;        /* [B,T,L·P]: rows of the per-layer-embedding table (model_rows);
                                  none: they are looked up in it */
    mx_array target_rows;      /* [R] int32, flat positions b * T + t - 1; b * Q + q with `kept` */
    mx_array target_ids;       /* [R] int32 */
    mx_array target_weights;   /* [R] float32 */

    /* The positions of each row that are needed, in order: those whose logits are read.  After the
     * last layer that makes keys and values nobody reads the others: they are dropped there, and
     * model_hidden returns these, [B,Q,D].  Exact, and cheaper.  Padding repeats a position.  None:
     * all are kept. */
    mx_array kept;             /* [B,Q] int32 */
    /* Set by model_hidden: the key of the model's own dropout (not of adapters'), MX_NONE: none. */
    mx_array dropout_key;
    /* Set by model_hidden: recompute blocks in the backward pass, for these parameters. */
    const struct nn_params *checkpoint;
};

struct model;
struct model_cache;            /* keys and values of a generation in progress */

struct model_facts;
struct model_options;

struct model_family {
    const char *model_type;
    /* Read config.json (unknown mathematics are errors); make the structs. */
    void *(*open)(const json_t *config, const struct model_options *o, struct model_facts *facts,
                  struct err *e);
    void (*close)(void *self);
    void (*bind)(void *self, struct nn_binder *b);      /* every tensor, with name and shape */
    /* Final normed hidden states [B,T,D] (or [B,Q,D]) of a training or scoring forward. */
    mx_array (*hidden)(const void *self, const struct model_input *in);
    /* The towers alone, as model_hear and model_see; NULL in families without. */
    mx_array (*hear)(const void *self, const struct model_input *in);
    mx_array (*see)(const void *self, const struct model_input *in);
    mx_array (*rows)(const void *self, const int32_t *tokens, int64_t count);   /* as model_rows */
    void (*head)(const void *self, struct nn_head *head);           /* how hidden becomes logits */
    /* Generation, as model_prefill and model_decode below. */
    struct model_cache *(*cache_new)(const void *self, int rows, int capacity);
    mx_array (*prefill)(const void *self, struct model_cache *c, const struct model_input *in,
                        mx_array lengths);
    mx_array (*decode)(const void *self, struct model_cache *c, mx_array tokens);
    void (*cache_free)(struct model_cache *c);
};

/* What the data side must know to make batches for a model. */
enum { MODEL_EOS_MAX = 8 };

struct model_facts {
    int vocab, pad_id, bos_id;
    int eos_ids[MODEL_EOS_MAX], eos_count;     /* tokens that end a generated turn */
    int audio_id;                      /* the placeholder's id, -1: the model hears nothing */
    int image_id, video_id;            /* -1: the model sees nothing */
    int mel_bins;                      /* M; of encoder-free models the samples of a token */
    bool is_merged;                    /* pictures as large patches (media/picture.h) */
    int patch, pool;                   /* of pictures, as the config says; 0: it does not */
    int picture_side;                  /* patches (large ones, if merged) a side at most: the model
                                          has no position for more; 0: it sees nothing */
    bool has_audio_tower, has_vision_tower;     /* encoder-free models have none */
    int positions_max;
    bool is_crossing;                  /* encoder-decoder: row b of the tokens attends to clip b
                                          (data/batch.h); audio_id is 0 and means nothing */
    int audio_positions;               /* of the encoder, which a whole window fills; 0: any */
    double dropout;                    /* the greatest of its rates of dropout while training:
                                          above 0 it drops where nn_dropout_key gave a key */
};

struct model {
    const struct model_family *family;
    void *self;
    char *dir;                         /* folder of the checkpoint */
    json_t *config;                    /* config.json as read */
    struct model_facts facts;
    struct nn_params params;           /* every parameter, in binding order */
    enum mx_dtype dtype;               /* of activations */
    bool checkpointing;                /* recompute blocks in the backward pass; off after open */
    double label_smoothing;            /* of model_loss_sum (nn/loss.h); 0 after open */
};

/* Whom image tokens see in encoder-free models.  transformers is not consistent with itself there:
 * its forward() (and so what it trains) lets tokens of one image see each other in every layer and
 * however far apart, its generate() in layers with a sliding window only, and inside it. */
enum model_mask { MODEL_MASK_FORWARD, MODEL_MASK_GENERATE };

struct model_options {
    enum mx_dtype dtype;               /* weights and activations: MX_FLOAT32 on the CPU */
    bool init_random;                  /* fresh weights keyed by `seed`; no weight file is read */
    uint64_t seed;
    bool without_audio;                /* leave the audio tower out: neither read nor run */
    bool without_vision;               /* the vision tower, likewise */
    int quantize_bits;                 /* 4 or 8: quantise the linear layers of the decoder and of
                                          the towers as they are read (nn/quant.h); 0: as stored */
    int quantize_group;                /* numbers that share a scale, 32, 64 or 128 */
    enum model_mask mask;
    double dropout;                    /* Whisper: rate of dropout behind attention, MLP and
                                          embeddings while training; < 0: config.json's */
};

/* Open a Hub folder: config.json, weights (single file or sharded).  Lists every missing, left-over
 * or misshapen tensor in one error.  NULL on failure. */
struct model *model_open(const char *dir, const struct model_options *o, struct err *e) MUST_CHECK;
void model_close(struct model *m);

/* What the data side must know of a Hub folder: config.json and generation_config.json are read, no
 * weights. */
int model_facts_read(const char *dir, struct model_facts *f, struct err *e) MUST_CHECK;

/* The family of `model_type`, or NULL. */
const struct model_family *model_family_find(const char *model_type);
/* Names of all families, for messages: "gemma4, gemma4_text, ...". */
const char *model_family_names(void);

/* For families: read `eos_token_id`, an id or a list of them; a missing key changes nothing. */
void model_read_ends(const json_t *config, struct model_facts *f, struct err *e);

/* What the towers make of `in->mel`, `in->pixels`, before the projection into the decoder: `heard`
 * and `seen` of struct model_input.  No gradient flows through them. */
mx_array model_hear(const struct model *m, const struct model_input *in);
mx_array model_see(const struct model *m, const struct model_input *in);

/* Rows of the per-layer-embedding table for a batch's tokens [count], gathered by the host from the
 * mapped file: [count,L·P] in the dtype of activations, `per_layer` of struct model_input once
 * reshaped.  MX_NONE when the model has no such table or trains it. */
mx_array model_rows(const struct model *m, const int32_t *tokens, int64_t count);

/* Final normed hidden states [B,T,D] (or [B,Q,D]). */
mx_array model_hidden(const struct model *m, const struct model_input *in);
/* [...,D] -> [...,V], float32, after the final softcap. */
mx_array model_logits(const struct model *m, mx_array hidden);
/* Sum over targets of weight * -log p(target), float32, 0-d.  Head and cross entropy run in chunks
 * over the R target rows; the [T,V] logits never exist.  Labels are smoothed by
 * m->label_smoothing. */
mx_array model_loss_sum(const struct model *m, const struct model_input *in);
/* log p(target) of each target [R], float32. */
mx_array model_logprobs(const struct model *m, const struct model_input *in);

/* Generation.  `capacity` is the width T of the padded prompts plus the tokens that will follow.
 *
 *     struct model_cache *c = model_cache_new(m, B, T + new);
 *     h = model_prefill(m, c, &in, lengths);              in a scope that evaluates: h [B,D]
 *     next = mx_argmax(model_logits(m, h), -1, false);    [B]
 *     h = model_decode(m, c, next);                       again and again, [B] -> [B,D]
 *     model_cache_free(m, c);
 *
 * `in` holds prompts padded on the right and `lengths` [B] int32 their true lengths; `h` is the
 * hidden state of each row's last token.  Each call leaves new arrays in the cache's slots:
 * evaluate what follows from `h`, which evaluates them too.  A row that has ended does no harm. */
struct model_cache *model_cache_new(const struct model *m, int rows, int capacity);
mx_array model_prefill(const struct model *m, struct model_cache *c, const struct model_input *in,
                       mx_array lengths);
mx_array model_decode(const struct model *m, struct model_cache *c, mx_array tokens);
void model_cache_free(const struct model *m, struct model_cache *c);

#endif
