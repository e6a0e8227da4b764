/* gemma4.c - Gemma 4: soft tokens take the places of placeholders, and the decoder runs.
 *
 *     x = √D · embed(tokens)
 *     x[b,t] = W norm(tower(mel)[n,k])                where soft[b,t] names token k of clip n
 *
 * To every table a placeholder is the padding token, whatever its own id (which may lie outside
 * the vocabulary).  Soft tokens are not multiplied by √D, and the norm in front of W has no weight.
 *
 *     B batch    T time     D model     N clips    F frames    M mel bins    S soft tokens a clip
 */
#include "model/gemma4.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/gemma4_audio.h"
#include "model/gemma4_config.h"
#include "model/gemma4_text.h"

enum { PLACEHOLDERS = 3 };

struct gemma4 {
    struct gemma4_text text;
    struct gemma4_audio audio;
    struct nn_linear embedding_projection;      /* of embed_audio: out -> D */
    bool is_multimodal;                         /* tensors are under "model.language_model." */
    bool has_audio;
    int placeholders[PLACEHOLDERS];             /* ids of audio, image, video; -1: none */
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
    f->audio_id = m->has_audio ? m->placeholders[0] : -1;
    f->mel_bins = m->has_audio ? m->audio.M : 0;
}

static void gemma4_close(void *self)
{
    struct gemma4 *m = self;
    if (!m)
        return;
    gemma4_text_release(&m->text);
    gemma4_audio_release(&m->audio);
    free(m);
}

static int configure(struct gemma4 *m, const json_t *config, bool without_audio, struct err *e)
{
    const json_t *text = m->is_multimodal ? json_need_object(config, "text_config", e) : config;
    const json_t *audio = m->is_multimodal ? json_get_object(config, "audio_config", e) : NULL;

    if (e->kind)
        return -1;
    if (!json_get_bool(config, "tie_word_embeddings", true, e))
        err_set(e, ERR_FAILED, "tie_word_embeddings: false, but this build has no separate head");
    if (gemma4_text_configure(&m->text, text, e))
        return m->is_multimodal ? err_in(e, "text_config") : -1;
    m->has_audio = audio && !without_audio;
    if (m->has_audio && gemma4_audio_configure(&m->audio, audio, e))
        return err_in(e, "audio_config");
    read_placeholders(m, config, e);
    return e->kind ? -1 : 0;
}

static void *gemma4_open(const json_t *config, bool without_audio, struct model_facts *facts,
                         struct err *e)
{
    struct gemma4 *m = xcalloc(1, sizeof *m);
    const char *type = json_get_str(config, "model_type", "", e);

    m->is_multimodal = strcmp(type, gemma4_family.model_type) == 0;
    if (!configure(m, config, without_audio, e))
        read_facts(m, config, facts, e);
    if (e->kind) {
        gemma4_close(m);
        return NULL;
    }
    return m;
}

/* ---------------------------------------------------------------- weights -- */

static void gemma4_bind(void *self, struct nn_binder *b)
{
    struct gemma4 *m = self;

    nn_ignore(b, "lm_head.weight");             /* tied: a copy of embed_tokens */
    nn_ignore(b, m->is_multimodal ? "model.language_model.layers.*.self_attn.[kv]_*"
                                  : "model.layers.*.self_attn.[kv]_*");
    gemma4_text_bind(&m->text, b, m->is_multimodal ? "model.language_model." : "model.");
    if (m->is_multimodal) {
        nn_ignore(b, "model.vision_tower.*");
        nn_ignore(b, "model.embed_vision.*");
    }
    if (!m->has_audio) {
        nn_ignore(b, "model.audio_tower.*");
        nn_ignore(b, "model.embed_audio.*");
        return;
    }
    gemma4_audio_bind(&m->audio, b);
    b->tower = "projector";
    nn_root(b, "model.embed_audio.");
    nn_under(b, "%s", "");
    nn_bind_linear(b, "embedding_projection", &m->embedding_projection, m->audio.out, m->text.D);
}

/* ---------------------------------------------------------------- forward -- */

/* The tokens as the tables see them. */
static mx_array hard_tokens(const struct gemma4 *m, mx_array tokens)            /* [B,T] */
{
    mx_array pad = mx_int(m->text.pad_id);

    for (int i = 0; i < PLACEHOLDERS; i++)
        if (m->placeholders[i] >= 0)
            tokens = mx_where(mx_equal(tokens, mx_int(m->placeholders[i])), pad, tokens);
    return tokens;
}

static mx_array soft_tokens(const struct gemma4 *m, const struct model_input *in)
{
    mx_array y = gemma4_audio(&m->audio, in->mel, in->frame_valid, in->checkpoint); /* [N,S,out] */

    mx_at("embed_audio");
    y = mx_rms_norm(y, MX_NONE, m->audio.eps);
    return nn_linear(&m->embedding_projection, y);                              /* [N,S,D] */
}

static mx_array join(const struct gemma4 *m, const struct model_input *in, mx_array ids)
{
    mx_array x = gemma4_text_embed(&m->text, ids);                              /* [B,T,D] */

    if (mx_is_none(in->mel))
        return x;
    if (!m->has_audio)
        return mx_fail("the batch has sound, but the model has no audio tower");
    mx_array soft = soft_tokens(m, in);

    mx_at("join");
    soft = mx_reshape(soft, -1, m->text.D);                                     /* [N·S,D] */
    mx_array at = mx_maximum(in->soft, mx_int(0));
    mx_array is_soft = mx_expand_dims(mx_greater_equal(in->soft, mx_int(0)), -1);
    return mx_where(is_soft, mx_take(soft, at, 0), x);                          /* [B,T,D] */
}

static mx_array gemma4_hidden(const void *self, const struct model_input *in)
{
    const struct gemma4 *m = self;
    mx_array ids = hard_tokens(m, in->tokens);
    mx_array x = join(m, in, ids);
    return gemma4_text_hidden(&m->text, ids, x, in->first_row, in->checkpoint);
}

static void gemma4_head(const void *self, struct nn_head *head)
{
    const struct gemma4 *m = self;
    *head = (struct nn_head){.weight = m->text.embed_tokens.weight, .softcap = m->text.softcap};
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
    mx_array ids = hard_tokens(m, in->tokens);
    return gemma4_text_prefill(&m->text, c->text, ids, join(m, in, ids), lengths);
}

static mx_array decode(const void *self, struct model_cache *c, mx_array tokens)
{
    const struct gemma4 *m = self;
    return gemma4_text_decode(&m->text, c->text, hard_tokens(m, tokens));
}

/* -------------------------------------------------------------- the family -- */

const struct model_family gemma4_family = {
    .model_type = "gemma4",
    .open = gemma4_open,
    .close = gemma4_close,
    .bind = gemma4_bind,
    .hidden = gemma4_hidden,
    .head = gemma4_head,
    .cache_new = cache_new,
    .prefill = prefill,
    .decode = decode,
    .cache_free = cache_free,
};

const struct model_family gemma4_text_family = {
    .model_type = "gemma4_text",
    .open = gemma4_open,
    .close = gemma4_close,
    .bind = gemma4_bind,
    .hidden = gemma4_hidden,
    .head = gemma4_head,
    .cache_new = cache_new,
    .prefill = prefill,
    .decode = decode,
    .cache_free = cache_free,
};
