/* session.h - everything that belongs to one checkpoint, opened together: the model on its device,
 * the tokenizer, the way chats are written, the mel features.
 *
 *     struct session s;
 *     if (session_open(&s, &(struct session_options){.model = "dir", .prompt = ""}, e)) ...
 *     sample_make(&sample, &s.format, ...);
 *     session_close(&s);
 */
#ifndef TRAIN_SESSION_H
#define TRAIN_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/batch.h"
#include "data/sample.h"
#include "media/mel.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/config.h"

enum { SESSION_STOP_IDS_MAX = 16 };

/* All zero (but `model`) is fine: no adapter, the best device and its number format. */
struct session_options {
    const char *model;                 /* checkpoint folder */
    const char *adapter;               /* PEFT folder to put on it; NULL or "": none */
    enum config_device device;
    enum config_dtype dtype;
    bool init_random;                  /* fresh weights from `seed`; no weight file is read */
    uint64_t seed;
    bool without_audio;                /* the audio tower is neither read nor run */
    struct net *net;                   /* of data_format: for media elsewhere; borrowed */
    const char *prompt;                /* of data_format; borrowed */
    int max_tokens;                    /* of data_format; 0: no limit but the model's */
    bool is_thinking;
};

struct session {
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat_format chat;
    struct mel *mel;                   /* NULL: the model hears nothing */
    struct data_format format;         /* points to the fields above */
    int32_t stop_ids[SESSION_STOP_IDS_MAX];   /* tokens that end a generated turn */
    int stop_count;
};

/* What a configuration says of them. */
struct session_options session_options_of(const struct config *c);

/* Has the adapter of a PEFT folder parts in an audio tower?  False when it cannot be read, which
 * session_open will say better; "" has none. */
bool session_adapter_hears(const char *dir);

/* Leave the audio tower out when none of the first `count` records (0: all) has a clip, and the
 * adapter no part in it. */
void session_fit(struct session_options *o, const struct manifest *m, int64_t count);

/* Choose the device for this process; once, before anything of MLX is used. */
int session_use_device(enum config_device device, struct err *e) MUST_CHECK;

/* Open all; calls session_use_device.  On failure `s` is closed. */
int session_open(struct session *s, const struct session_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void session_close(struct session *s);

/* The arrays of a batch, in the current scope.  `in->first_row` is set from the targets. */
void session_input(struct model_input *in, const struct batch *b);

/* The text of generated ids, special tokens and thoughts (what stands before <channel|>) left out,
 * trimmed.  The caller frees; NULL on failure. */
char *session_text(const struct session *s, const struct ids *ids, struct err *e) MUST_CHECK;

#endif
