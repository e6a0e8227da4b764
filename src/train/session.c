/* session.c - see session.h. */
#include "train/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "nn/lora.h"
#include "nn/safetensors.h"

/* first_row is rounded down to a multiple of this, so that few shapes occur. */
enum { FIRST_ROW_MULTIPLE = 16 };

enum { TEXT_BYTES_MAX = 16 << 20 };      /* of one generated text */

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
    };
}

bool session_adapter_hears(const char *dir)
{
    struct err ignored = {0};
    bool found = false;
    if (!*dir)
        return false;
    char *path = path_join(dir, "adapter_model.safetensors");
    struct safetensors *s = safetensors_open(path, &ignored);
    /* All families call it audio_tower, and what joins it to the decoder embed_audio. */
    for (int i = 0; s && i < safetensors_count(s) && !found; i++)
        found = strstr(safetensors_at(s, i)->name, "audio") != NULL;
    safetensors_close(s);
    free(path);
    return found;
}

void session_fit(struct session_options *o, const struct manifest *m, int64_t count)
{
    o->without_audio =
        !manifest_has_sound(m, count) && !session_adapter_hears(o->adapter ? o->adapter : "");
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
    case DTYPE_AUTO: break;
    }
    return mx_device() == MX_GPU ? MX_BFLOAT16 : MX_FLOAT32;
}

static int open_mel(struct session *s, struct err *e)
{
    if (s->model->facts.audio_id < 0)
        return 0;
    struct mel_config c;
    if (mel_config_read(&c, s->model->dir, e))
        return -1;
    if (c.bins != s->model->facts.mel_bins)
        return err_set(e, ERR_USAGE, "%s: the features have %d mel bins, the model expects %d",
                       s->model->dir, c.bins, s->model->facts.mel_bins);
    s->mel = mel_new(&c, e);
    return s->mel ? 0 : -1;
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
    };
    s->model = model_open(o->model, &mo, e);
    if (!s->model)
        return -1;
    s->tokenizer = tokenizer_open(o->model, e);
    if (!s->tokenizer || chat_format_open(&s->chat, o->model, s->tokenizer, e))
        return -1;
    return check_vocabulary(s, o->model, e) || open_mel(s, e) ? -1 : 0;
}

static int open_parts(struct session *s, const struct session_options *o, struct err *e)
{
    if (!file_is_dir(o->model)) {
        err_set(e, ERR_USAGE, "model %s: no such folder", o->model);
        return err_hint(e, "a checkpoint is a folder with config.json, tokenizer.json and "
                           "safetensors files");
    }
    if (session_use_device(o->device, e))
        return -1;
    if (open_checkpoint(s, o, e))
        return blame(e, "a checkpoint has config.json, tokenizer.json and safetensors files");
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
        .mel = s->mel,
        .pad_id = facts->pad_id,
        .max_tokens =
            o->max_tokens && (!longest || o->max_tokens < longest) ? o->max_tokens : longest,
        .prompt = o->prompt,
        .is_thinking = o->is_thinking,
    };
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
    mel_free(s->mel);
    tokenizer_free(s->tokenizer);
    *s = (struct session){0};
}

static int first_row(const struct batch *b)
{
    int first = b->len;
    for (int i = 0; i < b->targets; i++)
        if (b->target_weights[i] > 0 && b->target_rows[i] % b->len < first)
            first = b->target_rows[i] % b->len;
    return first == b->len ? 0 : first / FIRST_ROW_MULTIPLE * FIRST_ROW_MULTIPLE;
}

void session_input(struct model_input *in, const struct batch *b)
{
    int B = b->rows, T = b->len, N = b->clips, F = b->frames, M = b->bins, R = b->targets;
    *in = (struct model_input){
        .tokens = mx_from(b->tokens, MX_INT32, (int[]){B, T}, 2),
        .first_row = first_row(b),
    };
    if (N) {
        in->soft = mx_from(b->soft, MX_INT32, (int[]){B, T}, 2);
        in->mel = mx_from(b->mel, MX_FLOAT32, (int[]){N, F, M}, 3);
        in->frame_valid = mx_from(b->frame_valid, MX_BOOL, (int[]){N, F}, 2);
    }
    if (R) {
        in->target_rows = mx_from(b->target_rows, MX_INT32, (int[]){R}, 1);
        in->target_ids = mx_from(b->target_ids, MX_INT32, (int[]){R}, 1);
        in->target_weights = mx_from(b->target_weights, MX_FLOAT32, (int[]){R}, 1);
    }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *session_text(const struct session *s, const struct ids *ids, struct err *e)
{
    int32_t thought_end = tokenizer_id(s->tokenizer, "<channel|>");
    int start = 0;
    for (int i = 0; thought_end >= 0 && i < ids->count; i++)
        if (ids->at[i] == thought_end)
            start = i + 1;
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    char *text = NULL;
    if (!tokenizer_decode(s->tokenizer, ids->at + start, (size_t)(ids->count - start), true, &b,
                          e) &&
        !buf_check(&b, "the generated text", e)) {
        size_t from = 0, to = b.size;
        while (to > 0 && is_space(b.data[to - 1]))
            to--;
        while (from < to && is_space(b.data[from]))
            from++;
        text = xstrndup(b.data + from, to - from);
    }
    buf_release(&b);
    return text;
}
