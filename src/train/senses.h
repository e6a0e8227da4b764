/* senses.h - what a checkpoint hears and sees: mel features and pictures as its folder says, with
 * the budgets that a configuration puts in their place, and how clips become an encoder-decoder's
 * rows.
 */
#ifndef TRAIN_SENSES_H
#define TRAIN_SENSES_H

#include <stdbool.h>

#include "base/err.h"
#include "data/sample.h"
#include "media/mel.h"
#include "media/picture.h"
#include "model/model.h"
#include "train/config.h"

/* Budgets; zeros leave the checkpoint's own. */
struct senses_options {
    int image_tokens;                  /* soft tokens of an image, at most */
    int video_tokens, video_frames;    /* of a frame, and frames of a video */
    bool splits_long_audio;            /* clips longer than the model takes are cut */
    struct sample_crossing crossing;   /* for models that need it; strings are borrowed */
};

struct senses {
    struct mel *mel;                   /* NULL: the model hears nothing */
    struct picture_config picture;
    bool sees;                         /* `picture` is set */
    int picture_side;                  /* of data_format */
    bool splits_long_audio;
    struct sample_crossing crossing;   /* of encoder-decoders, else zeroed */
    int tokens_max;                    /* that these have places for; 0: see the model */
};

/* What a configuration says of them. */
struct senses_options senses_options_of(const struct config *c);

/* Read the settings of a checkpoint folder; those that do not fit the model are ERR_USAGE.  On
 * failure `s` is released. */
int senses_open(struct senses *s, const char *dir, const struct model_facts *facts,
                const struct senses_options *o, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void senses_release(struct senses *s);

/* Tell the data side; `s` is borrowed.  What of `crossing` is for training alone (joining, augment)
 * is left out: whoever trains puts it in. */
void senses_format(const struct senses *s, struct data_format *f);

#endif
