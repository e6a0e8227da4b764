/* session.c - see session.h. */
#include "train/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/lora.h"
#include "nn/safetensors.h"
#include "text/language.h"

enum { TEXT_BYTES_MAX = 16 << 20 };      /* of one generated text */

static int quantize_bits(enum config_quantize q)
{
    switch (q) {
    case QUANTIZE_4BIT: return 4;
    case QUANTIZE_8BIT: return 8;
    case QUANTIZE_NONE: break;
    }
    return 0;
}

struct session_options session_options_of(const struct config *c)
{
    return (struct session_options){
        .model = c->model,
        .adapter = c->adapter,
        .device = c->device,
        .dtype = c->dtype,
        .init_random = c->init == INIT_RANDOM,
        .seed = c->seed,
        .prompt = c->prompt,
        .max_tokens = c->max_tokens,
        .is_thinking = c->thinking,
        .quantize_bits = quantize_bits(c->quantize),
        .quantize_group = c->quantize_group,
        .mask = c->image_mask == IMAGE_MASK_GENERATE ? MODEL_MASK_GENERATE : MODEL_MASK_FORWARD,
        .senses = senses_options_of(c),
        .dropout = c->dropout,
    };
}

bool session_adapter_has(const char *dir, const char *tower)
{
    struct err ignored = {0};
    bool found = false;
    if (!*dir)
        return false;
    char *path = path_join(dir, "adapter_model.safetensors");
    struct safetensors *s = safetensors_open(path, &ignored);
    /* All families call it audio_tower, and what joins it to the decoder embed_audio. */
    for (int i = 0; s && i < safetensors_count(s) && !found; i++)
        found = strstr(safetensors_at(s, i)->name, tower) != NULL;
    safetensors_close(s);
    free(path);
    return found;
}

unsigned session_senses(const char *model)
{
    struct model_facts f;
    struct err ignored = {0};
    if (model_facts_read(model, &f, &ignored))
        return SESSION_SOUND | SESSION_PICTURES;
    return (f.audio_id >= 0 ? SESSION_SOUND : 0) | (f.image_id >= 0 ? SESSION_PICTURES : 0);
}

bool session_is_crossing(const char *model)
{
    struct model_facts f;
    struct err ignored = {0};
    return !model_facts_read(model, &f, &ignored) && f.is_crossing;
}

int session_check_sound(const char *model, const struct manifest *m, int64_t count, struct err *e)
{
    if (!session_is_crossing(model) || manifest_media(m, SESSION_SOUND, count) & SESSION_SOUND)
        return 0;
    err_set(e, ERR_USAGE, "no record has a clip, and %s makes text of nothing else", model);
    return err_hint(e,
                    "each record needs \"audio\" beside its \"text\"; --columns names them where "
                    "a table calls them otherwise");
}

void session_fit(struct session_options *o, const struct manifest *m, int64_t count)
{
    const char *adapter = o->adapter ? o->adapter : "";
    o->without_audio = o->without_vision = false;
    if (session_is_crossing(o->model))
        return;
    unsigned media = manifest_media(m, session_senses(o->model), count);
    o->without_audio = !(media & SESSION_SOUND) && !session_adapter_has(adapter, "audio");
    o->without_vision = !(media & SESSION_PICTURES) && !session_adapter_has(adapter, "vision");
}

int session_use_device(enum config_device device, struct err *e)
{
    if (device == DEVICE_GPU && !mx_has_gpu()) {
        err_set(e, ERR_USAGE, "device: gpu is asked for, but this build of attune finds none");
        return err_hint(e, "`attune doctor` says what there is; device: auto takes the best");
    }
    bool is_gpu = device != DEVICE_CPU && mx_has_gpu();
    return mx_use_device(is_gpu ? MX_GPU : MX_CPU, e);
}

static enum mx_dtype choose_dtype(enum config_dtype dtype)
{
    switch (dtype) {
    case DTYPE_F32: return MX_FLOAT32;
    case DTYPE_BF16: return MX_BFLOAT16;
    case DTYPE_F16:
    case DTYPE_AUTO: break;
    }
    return mx_device() == MX_GPU ? MX_BFLOAT16 : MX_FLOAT32;
}

static void add_stop(struct session *s, int32_t id)
{
    for (int i = 0; i < s->stop_count; i++)
        if (s->stop_ids[i] == id)
            return;
    if (s->stop_count < SESSION_STOP_IDS_MAX)
        s->stop_ids[s->stop_count++] = id;
}

/* Ids that the tokenizer can make but the model has no embedding for would be read past its end. */
static int check_vocabulary(const struct session *s, const char *dir, struct err *e)
{
    int has = s->model->facts.vocab, needs = tokenizer_vocab_size(s->tokenizer);
    if (needs <= has)
        return 0;
    err_set(e, ERR_USAGE, "%s: the tokenizer has %d ids, the model %d embeddings", dir, needs, has);
    return err_hint(e, "tokenizer.json and the weights belong to different models");
}

/* A folder that cannot be used is the configuration's fault; damaged bytes in it are not. */
static int blame(struct err *e, const char *layout)
{
    if (e->kind == ERR_FAILED)
        e->kind = ERR_USAGE;
    if (e->kind == ERR_DATA)
        e->kind = ERR_INTEGRITY;
    if (e->kind == ERR_USAGE)
        err_hint(e, "is it the right folder? %s", layout);
    if (e->kind == ERR_INTEGRITY)
        err_hint(e, "the file is damaged or no part of this model: fetch it again");
    return -1;
}

static int open_checkpoint(struct session *s, const struct session_options *o, struct err *e)
{
    struct model_options mo = {
        .dtype = choose_dtype(o->dtype),
        .init_random = o->init_random,
        .seed = o->seed,
        .without_audio = o->without_audio,
        .without_vision = o->without_vision,
        .quantize_bits = o->quantize_bits,
        .quantize_group = o->quantize_group,
        .mask = o->mask,
        .dropout = o->dropout,
    };
    s->model = model_open(o->model, &mo, e);
    if (!s->model)
        return -1;
    s->tokenizer = tokenizer_open(o->model, e);
    if (!s->tokenizer || chat_format_open(&s->chat, o->model, s->tokenizer, e))
        return -1;
    if (check_vocabulary(s, o->model, e))
        return -1;
    if (s->model->facts.is_crossing && speech_rules_open(&s->rules, o->model, e))
        return -1;
    return senses_open(&s->senses, o->model, &s->model->facts, &o->senses, e);
}

/* What is said of records that do not say it themselves must suit the checkpoint. */
static int check_speech(const struct session *s, struct err *e)
{
    const struct sample_crossing *x = &s->senses.crossing;
    const struct whisper_format *w = &s->chat.whisper;
    bool is_said = x->language && strcmp(x->language, "detect") != 0;
    if (!w->is_multilingual && x->task == WHISPER_TRANSLATE)
        return err_set(e, ERR_USAGE, "task: the model knows English only and cannot translate");
    if (!is_said)
        return 0;
    int at =
        language_find(x->language, w->is_multilingual ? w->language_count : LANGUAGES_COUNT, e);
    if (at < 0) {
        e->kind = ERR_USAGE;
        return err_in(e, "language");
    }
    if (!w->is_multilingual && at != 0)
        return err_set(e, ERR_USAGE, "language: found '%s', the model knows English only",
                       x->language);
    return 0;
}

static int open_parts(struct session *s, const struct session_options *o, struct err *e)
{
    if (!file_is_dir(o->model)) {
        err_set(e, ERR_USAGE, "model %s: no such folder", o->model);
        return err_hint(e, "a checkpoint is a folder with config.json, tokenizer.json and "
                           "safetensors files");
    }
    int group = o->quantize_bits ? o->quantize_group : 64;
    if (group != 32 && group != 64 && group != 128)
        return err_set(e, ERR_USAGE, "quantize_group: found %d, expected 32, 64 or 128", group);
    if (session_use_device(o->device, e))
        return -1;
    if (open_checkpoint(s, o, e))
        return blame(e, "a checkpoint has config.json, tokenizer.json and safetensors files");
    if (s->senses.crossing.is_used && check_speech(s, e))
        return -1;
    if (o->adapter && *o->adapter && nn_lora_load(&s->model->params, o->adapter, NULL, e)) {
        if (!strstr(e->text, o->adapter))
            err_in(e, "adapter %s", o->adapter);
        return blame(e, "an adapter has adapter_config.json and adapter_model.safetensors");
    }
    return 0;
}

int session_open(struct session *s, const struct session_options *o, struct err *e)
{
    *s = (struct session){0};
    if (open_parts(s, o, e)) {
        session_close(s);
        return -1;
    }
    const struct model_facts *facts = &s->model->facts;
    int longest = facts->positions_max;
    s->format = (struct data_format){
        .chat = &s->chat,
        .net = o->net,
        .pad_id = facts->pad_id,
        .max_tokens =
            o->max_tokens && (!longest || o->max_tokens < longest) ? o->max_tokens : longest,
        .prompt = o->prompt,
        .is_thinking = o->is_thinking,
    };
    senses_format(&s->senses, &s->format);
    int32_t ids[SESSION_STOP_IDS_MAX];
    int n = chat_stop_ids(&s->chat, ids, SESSION_STOP_IDS_MAX);
    for (int i = 0; i < n; i++)
        add_stop(s, ids[i]);
    for (int i = 0; i < facts->eos_count; i++)
        add_stop(s, facts->eos_ids[i]);
    return 0;
}

void session_close(struct session *s)
{
    if (s->model)
        model_close(s->model);
    senses_release(&s->senses);
    speech_rules_release(&s->rules);
    tokenizer_free(s->tokenizer);
    *s = (struct session){0};
}

/* ------------------------------------------------------------------ input -- */

/* The positions of each row that predict a target, in order and once each, as [B,Q]; targets then
 * point to them.  Rows that have fewer repeat their last one.  NULL when dropping the others saves
 * nothing. */
struct kept {
    int count;                         /* Q */
    int32_t *at;                       /* [B,Q] */
    int32_t *target_rows;              /* [R] b * Q + q */
};

/* index[b * T + t] becomes q + 1 where position t of row b is the q-th that is needed; returns the
 * most of any row. */
static int number_rows(const struct batch *b, int32_t *index)
{
    int most = 0;
    for (int i = 0; i < b->targets; i++)
        if (b->target_weights[i] != 0)
            index[b->target_rows[i]] = 1;
    for (int row = 0; row < b->rows; row++) {
        int n = 0;
        for (int t = 0; t < b->len; t++)
            if (index[row * b->len + t])
                index[row * b->len + t] = ++n;
        most = n > most ? n : most;
    }
    return most;
}

static bool keep_rows(struct kept *k, const struct batch *b, int multiple)
{
    size_t cells = (size_t)b->rows * (size_t)b->len;
    int32_t *index = xcalloc(cells + 1, sizeof *index);
    int most = number_rows(b, index);
    int Q = (most + multiple - 1) / multiple * multiple;
    bool is_useful = most > 0 && Q < b->len;
    if (is_useful) {
        *k = (struct kept){.count = Q};
        k->at = xcalloc((size_t)b->rows * (size_t)Q, sizeof *k->at);
        k->target_rows = xcalloc((size_t)b->targets + 1, sizeof *k->target_rows);
        for (int row = 0; row < b->rows; row++) {
            int q = 0, last = 0;
            for (int t = 0; t < b->len; t++)
                if (index[row * b->len + t])
                    k->at[row * Q + q++] = last = t;
            while (q < Q)
                k->at[row * Q + q++] = last;
        }
        for (int i = 0; i < b->targets; i++) {
            int at = b->target_rows[i], q = index[at];
            k->target_rows[i] = q ? at / b->len * Q + q - 1 : 0;
        }
    }
    free(index);
    return is_useful;
}

static void put_targets(struct model_input *in, const struct batch *b, int kept_multiple)
{
    int B = b->rows, R = b->targets;
    struct kept k = {0};
    if (!R)
        return;
    if (kept_multiple && keep_rows(&k, b, kept_multiple))
        in->kept = mx_from(k.at, MX_INT32, (int[]){B, k.count}, 2);
    in->target_rows = mx_from(k.at ? k.target_rows : b->target_rows, MX_INT32, (int[]){R}, 1);
    in->target_ids = mx_from(b->target_ids, MX_INT32, (int[]){R}, 1);
    in->target_weights = mx_from(b->target_weights, MX_FLOAT32, (int[]){R}, 1);
    free(k.at);
    free(k.target_rows);
}

void session_input(struct model_input *in, const struct model *m, const struct batch *b,
                   const struct session_rows *rows)
{
    int B = b->rows, T = b->len;
    *in = (struct model_input){.tokens = mx_from(b->tokens, MX_INT32, (int[]){B, T}, 2)};
    mx_array per_layer = model_rows(m, b->tokens, (int64_t)B * T);
    if (!mx_is_none(per_layer))
        in->per_layer = mx_reshape(per_layer, B, T, mx_dim(per_layer, 1));
    if (b->soft)
        in->soft = mx_from(b->soft, MX_INT32, (int[]){B, T}, 2);
    if (b->clips) {
        int N = b->clips, F = b->frames;
        in->mel = mx_from(b->mel, MX_FLOAT32, (int[]){N, F, b->bins}, 3);
        in->frame_valid = mx_from(b->frame_valid, MX_BOOL, (int[]){N, F}, 2);
    }
    if (b->pictures) {
        int I = b->pictures, J = b->patches;
        in->pixels = mx_from(b->pixels, MX_UINT8, (int[]){I, J, b->patch_numbers}, 3);
        in->patch_at = mx_from(b->patch_at, MX_INT32, (int[]){I, J, 2}, 3);
    }
    if (b->segment) {
        in->segment = mx_from(b->segment, MX_INT32, (int[]){B, T}, 2);
        in->position = mx_from(b->position, MX_INT32, (int[]){B, T}, 2);
    }
    put_targets(in, b, rows->kept_multiple);
}

/* ------------------------------------------------------------------- text -- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The ids that are text: not thoughts, not the times between which Whisper puts its segments (no
 * special tokens to many a tokenizer). */
static int pick_text(const struct session *s, const struct ids *ids, struct ids *out, struct err *e)
{
    bool has_times = s->chat.family == CHAT_WHISPER;
    int32_t thought_end = has_times ? -1 : tokenizer_id(s->tokenizer, "<channel|>");
    for (int i = 0; i < ids->count; i++) {
        if (thought_end >= 0 && ids->at[i] == thought_end)
            ids_clear(out);
        else if (has_times && whisper_time_of(&s->chat.whisper, ids->at[i]) >= 0)
            continue;
        else if (ids_push(out, ids->at[i], e))
            return -1;
    }
    return 0;
}

char *session_text(const struct session *s, const struct ids *ids, struct err *e)
{
    struct ids words = IDS_INIT;
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    char *text = NULL;
    if (!pick_text(s, ids, &words, e) &&
        !tokenizer_decode(s->tokenizer, words.at, (size_t)words.count, true, &b, e) &&
        !buf_check(&b, "the generated text", e)) {
        size_t from = 0, to = b.size;
        while (to > 0 && is_space(b.data[to - 1]))
            to--;
        while (from < to && is_space(b.data[from]))
            from++;
        text = xstrndup(b.data + from, to - from);
    }
    buf_release(&b);
    ids_release(&words);
    return text;
}
