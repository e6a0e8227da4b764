/* transcribe_parts.h - what the files of `attune transcribe` share. */
#ifndef CLI_TRANSCRIBE_PARTS_H
#define CLI_TRANSCRIBE_PARTS_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/options.h"
#include "media/audio.h"
#include "train/session.h"
#include "train/speech.h"

/* A recording on its way. */
struct recording {
    const char *name;
    struct audio audio;
    bool is_bad;                       /* `error` says why; it has no result */
    struct err error;
    struct speech result;
};

/* Everything that a group of recordings is transcribed with; borrowed. */
struct transcriber {
    const struct session *session;
    const struct options *options;
    struct speech_options speech;      /* of Whisper */
    bool is_whisper;
};

/* Below SAMPLE_SILENCE_PEAK throughout? */
bool transcribe_is_silent(const float *x, int64_t count);

/* Transcribe a group by pieces that the model can take whole, cut where it is quietest.  A
 * recording that cannot be used is marked bad and the others go on; -1: none can. */
int transcribe_pieces(const struct transcriber *t, struct recording *at, int count,
                      struct err *e) MUST_CHECK;

#endif
