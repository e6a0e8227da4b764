/* gemma4.c - Gemma 4: soft tokens take the places of placeholders, and the decoder runs.
 *
 *     x = √D · embed(tokens)
 *     x[b,t] = W norm(heard[n,k])                 where soft[b,t] names token k of clip n
 *     x[b,t] = W norm(seen[i,k])                  where soft[b,t] names token k of picture i
 *
 * heard and seen come from the towers, or, in encoder-free models, are the samples themselves and
 * embedded patches.  To every table a placeholder is the padding token, whatever its own id (which
 * may lie outside the vocabulary).  Soft tokens are not multiplied by √D, and the norms in front of
 * W have no weight.
 *
 *     B batch    T time     D model     N clips    I pictures    S soft tokens of one of them
 */
#include "model/gemma4.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/gemma4_audio.h"
#include "model/gemma4_config.h"
#include "model/gemma4_text.h"
#include "model/gemma4_towers_config.h"
#include "model/gemma4_unified.h"
#include "model/gemma4_vision.h"
#include "nn/table.h"

enum { AUDIO, IMAGE, VIDEO, PLACEHOLDERS };

/* From a tower's width into the decoder's. */
struct projector {
    struct nn_linear embedding_projection;
    double eps;
};

struct gemma4 {
    struct gemma4_text text;
    struct gemma4_audio audio;
    struct gemma4_vision vision;
    struct gemma4_unified unified;              /* in place of both towers */
    int samples;                                /* of a soft token, in encoder-free models */
    struct projector embed_audio, embed_vision;
    bool is_multimodal;                         /* tensors are under "model.language_model." */
    bool is_unified;                            /* encoder-free */
    bool has_audio, has_vision;
    int placeholders[PLACEHOLDERS];             /* ids; -1: none */
};

/* ----------------------------------------------------------------- config -- */

static void read_placeholders(struct gemma4 *m, const json_t *config, struct err *e)
{
    static const char *const keys[] = {"audio_token_id", "image_token_id", "video_token_id"};
    static const int ids[] = {258881, 258880, 258884};

    for (int i = 0; i < PLACEHOLDERS; i++)
        m->placeholders[i] = m->is_multimodal ? (int)json_get_int(config, keys[i], ids[i], e) : -1;
}

static void read_facts(const struct gemma4 *m, const json_t *config, struct model_facts *f,
                       struct err *e)
{
    f->vocab = m->text.V;
    f->pad_id = m->text.pad_id;
    f->bos_id = m->text.bos_id;
    f->positions_max = m->text.positions_max;
    f->eos_ids[0] = 1;
    f->eos_count = 1;
    if (m->is_multimodal)
        model_read_ends(json_object_get(config, "text_config"), f, e);
    model_read_ends(config, f, e);

    f->audio_id = m->has_audio ? m->placeholders[AUDIO] : -1;
    f->has_audio_tower = m->has_audio && !m->is_unified;
    if (m->has_audio)
        f->mel_bins = m->is_unified ? m->samples : m->audio.M;

    f->image_id = m->has_vision ? m->placeholders[IMAGE] : -1;
    f->video_id = m->has_vision ? m->placeholders[VIDEO] : -1;
    f->has_vision_tower = m->has_vision && !m->is_unified;
    f->is_merged = m->is_unified;
    if (m->has_vision) {
        f->patch = m->is_unified ? m->unified.patch : m->vision.patch;
        f->pool = m->is_unified ? m->unified.pool : m->vision.pool;
        f->picture_side = m->is_unified ? m->unified.positions : m->vision.positions;
    }
}

static void gemma4_close(void *self)
{
    struct gemma4 *m = self;
    if (!m)
        return;
    gemma4_text_release(&m->text);
    gemma4_audio_release(&m->audio);
    gemma4_vision_release(&m->vision);
    free(m);
}

static int configure_audio(struct gemma4 *m, const json_t *c, struct err *e)
{
    if (m->is_unified)
        return gemma4_unified_configure_audio(&m->samples, &m->embed_audio.eps, c, e);
    int failed = gemma4_audio_configure(&m->audio, c, e);
    m->embed_audio.eps = m->audio.eps;
    return failed;
}

static int configure_vision(struct gemma4 *m, const json_t *c, struct err *e)
{
    int failed = m->is_unified ? gemma4_unified_configure(&m->unified, c, e)
                               : gemma4_vision_configure(&m->vision, c, e);
    m->embed_vision.eps = m->is_unified ? m->unified.eps : m->vision.eps;
    return failed;
}

static int configure(struct gemma4 *m, const json_t *config, const struct model_options *o,
                     struct err *e)
{
    bool all = m->is_multimodal;
    const json_t *text = all ? json_need_object(config, "text_config", e) : config;
    const json_t *audio = all ? json_get_object(config, "audio_config", e) : NULL;
    const json_t *vision = all ? json_get_object(config, "vision_config", e) : NULL;

    if (e->kind)
        return -1;
    if (!json_get_bool(config, "tie_word_embeddings", true, e))
        err_set(e, ERR_FAILED, "tie_word_embeddings: false, but this build has no separate head");
    if (gemma4_text_configure(&m->text, text, m->is_unified, e))
        return all ? err_in(e, "text_config") : -1;
    if (m->is_unified && m->text.seeing != GEMMA4_CAUSAL && o->mask == MODEL_MASK_FORWARD)
        m->text.seeing = GEMMA4_IMAGE_EVERYWHERE;
    m->has_audio = audio && !o->without_audio;
    if (m->has_audio && configure_audio(m, audio, e))
        return err_in(e, "audio_config");
    m->has_vision = vision && !o->without_vision;
    if (m->has_vision && configure_vision(m, vision, e))
        return err_in(e, "vision_config");
    read_placeholders(m, config, e);
    return e->kind ? -1 : 0;
}

static void *gemma4_open(const json_t *config, const struct model_options *o,
                         struct model_facts *facts, struct err *e)
{
    struct gemma4 *m = xcalloc(1, sizeof *m);
    const char *type = json_get_str(config, "model_type", "", e);

    m->is_unified = strcmp(type, gemma4_unified_family.model_type) == 0 ||
                    strcmp(type, gemma4_unified_text_family.model_type) == 0;
    m->is_multimodal = strcmp(type, gemma4_family.model_type) == 0 ||
                       strcmp(type, gemma4_unified_family.model_type) == 0;
    if (!configure(m, config, o, e))
        read_facts(m, config, facts, e);
    if (e->kind) {
        gemma4_close(m);
        return NULL;
    }
    return m;
}

/* ---------------------------------------------------------------- weights -- */

static void bind_projection(struct nn_binder *b, const char *root, struct projector *p, int in,
                            int out)
{
    b->tower = "projector";
    nn_root(b, root);
    nn_under(b, "%s", "");
    nn_bind_linear(b, "embedding_projection", &p->embedding_projection, in, out);
}

static void bind_audio(struct gemma4 *m, struct nn_binder *b)
{
    if (!m->has_audio) {
        nn_ignore(b, "model.audio_tower.*");
        nn_ignore(b, "model.embed_audio.*");
        return;
    }
    if (!m->is_unified)
        gemma4_audio_bind(&m->audio, b);
    bind_projection(b, "model.embed_audio.", &m->embed_audio,
                    m->is_unified ? m->samples : m->audio.out, m->text.D);
}

static void bind_vision(struct gemma4 *m, struct nn_binder *b)
{
    if (!m->has_vision) {
        nn_ignore(b, "model.vision_tower.*");
        nn_ignore(b, "model.vision_embedder.*");
        nn_ignore(b, "model.embed_vision.*");
    } else if (m->is_unified) {
        gemma4_unified_bind(&m->unified, b, &m->embed_vision.embedding_projection, m->text.D);
    } else {
        gemma4_vision_bind(&m->vision, b);
        bind_projection(b, "model.embed_vision.", &m->embed_vision, m->vision.D, m->text.D);
    }
}

static void gemma4_bind(void *self, struct nn_binder *b)
{
    struct gemma4 *m = self;

    nn_ignore(b, "lm_head.weight");             /* tied: a copy of embed_tokens */
    nn_ignore(b, m->is_multimodal ? "model.language_model.layers.*.self_attn.[kv]_*"
                                  : "model.layers.*.self_attn.[kv]_*");
    gemma4_text_bind(&m->text, b, m->is_multimodal ? "model.language_model." : "model.");
    if (m->is_multimodal) {
        bind_audio(m, b);
        bind_vision(m, b);
    }
}

/* -------------------------------------------------------------- soft tokens -- */

static mx_array hear(const void *self, const struct model_input *in)
{
    const struct gemma4 *m = self;

    if (!m->has_audio)
        return mx_fail("the batch has sound, but the model hears nothing");
    if (m->is_unified)                                                          /* [N,S,samples] */
        return mx_astype(in->mel, m->embed_audio.embedding_projection.dtype);
    return gemma4_audio(&m->audio, in->mel, in->frame_valid, in->checkpoint);   /* [N,S,width] */
}

static mx_array see(const void *self, const struct model_input *in)
{
    const struct gemma4 *m = self;

    if (!m->has_vision)
        return mx_fail("the batch has pictures, but the model sees nothing");
    if (m->is_unified)
        return gemma4_unified_see(&m->unified, in->pixels, in->patch_at);
    return gemma4_vision(&m->vision, in->pixels, in->patch_at, in->checkpoint); /* [I,S,width] */
}

static mx_array project(const struct projector *p, mx_array y)                  /* [..,S,width] */
{
    return nn_linear(&p->embedding_projection, mx_rms_norm(y, MX_NONE, p->eps));
}

/* Those of the clips, then those of the pictures; none when the batch is text. */
static mx_array soft_tokens(const struct gemma4 *m, const struct model_input *in)
{
    mx_array part[2];
    int n = 0;

    if (!mx_is_none(in->mel) || !mx_is_none(in->heard)) {
        mx_array heard = mx_is_none(in->heard) ? hear(m, in) : in->heard;
        mx_at("embed_audio");
        part[n++] = project(&m->embed_audio, heard);
    }
    if (!mx_is_none(in->pixels) || !mx_is_none(in->seen)) {
        mx_array seen = mx_is_none(in->seen) ? see(m, in) : in->seen;
        mx_at("embed_vision");
        part[n++] = project(&m->embed_vision, seen);
    }
    mx_at("join");
    for (int i = 0; i < n; i++)
        part[i] = mx_flatten(part[i], 0, 1);                                    /* [..·S,D] */
    return n == 2 ? mx_concatenate(part, n, 0) : n ? part[0] : MX_NONE;
}

static mx_array join(const struct gemma4 *m, const struct model_input *in, mx_array ids)
{
    mx_array x = gemma4_text_embed(&m->text, ids);                              /* [B,T,D] */
    mx_array soft = soft_tokens(m, in);                                         /* [..,D] */

    if (mx_is_none(soft))
        return x;
    mx_array at = mx_maximum(in->soft, mx_int(0));
    mx_array is_soft = mx_expand_dims(mx_greater_equal(in->soft, mx_int(0)), -1);
    return mx_where(is_soft, mx_take(soft, at, 0), x);                          /* [B,T,D] */
}

/* ------------------------------------------------------------------ tokens -- */

static mx_array is_token(const struct gemma4 *m, mx_array tokens, int which)
{
    return mx_equal(tokens, mx_int(m->placeholders[which]));
}

/* The tokens as the tables see them. */
static mx_array hard_tokens(const struct gemma4 *m, mx_array tokens)            /* [B,T] */
{
    for (int i = 0; m->is_multimodal && i < PLACEHOLDERS; i++)
        tokens = mx_where(is_token(m, tokens, i), mx_int(m->text.pad_id), tokens);
    return tokens;
}

/* Where the decoder lets tokens of one picture see each other: none where it does not. */
static mx_array image_tokens(const struct gemma4 *m, const struct model_input *in)
{
    bool has_any = !mx_is_none(in->pixels) || !mx_is_none(in->seen);

    if (m->text.seeing == GEMMA4_CAUSAL || !has_any)
        return MX_NONE;
    return mx_logical_or(is_token(m, in->tokens, IMAGE), is_token(m, in->tokens, VIDEO));
}

/* The table of per-layer embeddings where its rows are to be had from the host, else NULL. */
static const struct nn_linear *host_table(const struct gemma4 *m)
{
    const struct nn_linear *t = &m->text.embed_tokens_per_layer;
    return m->text.P && t->table && !t->trained ? t : NULL;
}

static mx_array table_rows(const void *self, const int32_t *tokens, int64_t count)
{
    const struct gemma4 *m = self;
    const struct nn_linear *table = host_table(m);

    if (!table)
        return MX_NONE;
    int32_t *ids = xcalloc((size_t)count + 1, sizeof *ids);
    for (int64_t i = 0; i < count; i++) {
        ids[i] = tokens[i];
        for (int k = 0; m->is_multimodal && k < PLACEHOLDERS; k++)
            if (tokens[i] == m->placeholders[k])
                ids[i] = m->text.pad_id;
    }
    mx_array rows = nn_embedding_host(table, ids, count);                       /* [count,L·P] */
    free(ids);
    return rows;
}

/* Likewise for tokens on the device, in generation: they are computed first. */
static mx_array rows_of(const struct gemma4 *m, mx_array tokens)
{
    size_t count = mx_size(tokens);
    struct err e = {0};
    mx_array rows = MX_NONE;

    if (!host_table(m))
        return MX_NONE;
    int32_t *host = xcalloc(count + 1, sizeof *host);
    if (mx_read(tokens, MX_INT32, host, count * sizeof *host, &e))
        mx_fail("%s", e.text);
    else
        rows = table_rows(m, host, (int64_t)count);
    free(host);
    return rows;
}

/* ----------------------------------------------------------------- forward -- */

static struct gemma4_rows decoder_rows(const struct gemma4 *m, const struct model_input *in)
{
    return (struct gemma4_rows){
        .ids = hard_tokens(m, in->tokens),
        .is_image = image_tokens(m, in),
        .segment = in->segment,
        .position = in->position,
        .kept = in->kept,
        .per_layer = in->per_layer,
        .checkpoint = in->checkpoint,
    };
}

static mx_array gemma4_hidden(const void *self, const struct model_input *in)
{
    const struct gemma4 *m = self;
    struct gemma4_rows r = decoder_rows(m, in);
    return gemma4_text_hidden(&m->text, join(m, in, r.ids), &r);
}

static void gemma4_head(const void *self, struct nn_head *head)
{
    const struct gemma4 *m = self;
    *head = (struct nn_head){.weight = m->text.embed_tokens.weight,
                             .quant = m->text.embed_tokens.quant,
                             .softcap = m->text.softcap};
}

/* ------------------------------------------------------------- generation -- */

struct model_cache {
    struct gemma4_cache *text;
};

static struct model_cache *cache_new(const void *self, int rows, int capacity)
{
    const struct gemma4 *m = self;
    struct model_cache *c = xcalloc(1, sizeof *c);
    c->text = gemma4_cache_new(&m->text, rows, capacity);
    return c;
}

static void cache_free(struct model_cache *c)
{
    if (!c)
        return;
    gemma4_cache_free(c->text);
    free(c);
}

static mx_array prefill(const void *self, struct model_cache *c, const struct model_input *in,
                        mx_array lengths)
{
    const struct gemma4 *m = self;
    struct gemma4_rows r = decoder_rows(m, in);

    if (mx_is_none(r.per_layer) && host_table(m))
        r.per_layer = mx_reshape(rows_of(m, in->tokens), mx_dim(in->tokens, 0),
                                 mx_dim(in->tokens, 1), m->text.L * m->text.P);
    return gemma4_text_prefill(&m->text, c->text, join(m, in, r.ids), &r, lengths);
}

static mx_array decode(const void *self, struct model_cache *c, mx_array tokens)
{
    const struct gemma4 *m = self;
    return gemma4_text_decode(&m->text, c->text, hard_tokens(m, tokens), rows_of(m, tokens));
}

/* ------------------------------------------------------------ the families -- */

#define FAMILY(type)                                                                               \
    {                                                                                              \
        .model_type = (type), .open = gemma4_open, .close = gemma4_close, .bind = gemma4_bind,     \
        .hidden = gemma4_hidden, .hear = hear, .see = see, .rows = table_rows,                     \
        .head = gemma4_head, .cache_new = cache_new, .prefill = prefill, .decode = decode,         \
        .cache_free = cache_free,                                                                  \
    }

const struct model_family gemma4_family = FAMILY("gemma4");
const struct model_family gemma4_text_family = FAMILY("gemma4_text");
const struct model_family gemma4_unified_family = FAMILY("gemma4_unified");
const struct model_family gemma4_unified_text_family = FAMILY("gemma4_unified_text");
