/* session.h - everything that belongs to one checkpoint, opened together: the model on its device,
 * the tokenizer, the way chats are written, features of sounds and pictures.
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
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "train/config.h"
#include "train/senses.h"
#include "train/speech_rules.h"

enum { SESSION_STOP_IDS_MAX = 16 };

/* Kinds of media, as manifest_media tells them. */
enum {
    SESSION_SOUND = 1 << RECORD_AUDIO,
    SESSION_PICTURES = 1 << RECORD_IMAGE | 1 << RECORD_VIDEO,
};

/* All zero (but `model`) is fine: no adapter, the best device and its number format. */
struct session_options {
    const char *model;                 /* checkpoint folder */
    const char *adapter;               /* PEFT folder to put on it; NULL or "": none */
    enum config_device device;
    enum config_dtype dtype;
    bool init_random;                  /* fresh weights from `seed`; no weight file is read */
    uint64_t seed;
    bool without_audio;                /* the audio tower is neither read nor run */
    bool without_vision;               /* the vision tower, likewise */
    int quantize_bits, quantize_group; /* of struct model_options */
    enum model_mask mask;
    struct senses_options senses;
    struct net *net;                   /* of data_format: for media elsewhere; borrowed */
    const char *prompt;                /* of data_format; borrowed */
    double dropout;                    /* of model_options */
    int max_tokens;                    /* of data_format; 0: no limit but the model's */
    bool is_thinking;
};

struct session {
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat_format chat;
    struct senses senses;
    struct data_format format;         /* points to the fields above */
    int32_t stop_ids[SESSION_STOP_IDS_MAX];   /* tokens that end a generated turn */
    int stop_count;
    struct speech_rules rules;         /* of encoder-decoder models */
};

/* What a configuration says of them. */
struct session_options session_options_of(const struct config *c);

/* Has the adapter of a PEFT folder parts in the tower "audio" or "vision", or in what joins it to
 * the decoder?  False when it cannot be read, which session_open will say better; "" has none. */
bool session_adapter_has(const char *dir, const char *tower);

/* The kinds of media that a checkpoint can take; all, when its folder cannot be read, which
 * session_open will say better. */
unsigned session_senses(const char *model);

/* Is it an encoder-decoder (model_facts.is_crossing)?  False when it cannot be read. */
bool session_is_crossing(const char *model);

/* ERR_USAGE when the model makes text of sound alone, and none of the first `count` records (0:
 * all) has any. */
int session_check_sound(const char *model, const struct manifest *m, int64_t count,
                        struct err *e) MUST_CHECK;

/* Leave the audio tower out when none of the first `count` records (0: all) has a clip, and the
 * adapter no part in it; the vision tower, when none has an image or a video.  Of encoder-decoders
 * nothing is left out. */
void session_fit(struct session_options *o, const struct manifest *m, int64_t count);

/* Choose the device for this process; once, before anything of MLX is used. */
int session_use_device(enum config_device device, struct err *e) MUST_CHECK;

/* Open all; calls session_use_device.  On failure `s` is closed. */
int session_open(struct session *s, const struct session_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void session_close(struct session *s);

/* How a batch becomes arrays.  A zeroed struct keeps all rows. */
struct session_rows {
    int kept_multiple;                 /* positions without loss are dropped (model_input.kept); a
                                          row keeps a multiple of so many; 0: all are kept */
};
enum { SESSION_KEPT = 16 };            /* a multiple that makes few shapes */

/* The arrays of a batch, in the current scope. */
void session_input(struct model_input *in, const struct model *m, const struct batch *b,
                   const struct session_rows *rows);

/* The text of generated ids, special tokens, times and thoughts (what stands before <channel|>)
 * left out, trimmed.  The caller frees; NULL on failure. */
char *session_text(const struct session *s, const struct ids *ids, struct err *e) MUST_CHECK;

#endif
