/* transcript.h - what `attune transcribe` gives out for each recording, and where. */
#ifndef CLI_TRANSCRIPT_H
#define CLI_TRANSCRIPT_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/options.h"
#include "train/speech.h"

struct net;

struct transcripts {
    enum subtitle_format format;
    bool has_times;                    /* plain text with the times of each segment in front */
    bool has_scores;                   /* segments come from Whisper's rules, and have a language */
    char *const *inputs;               /* [count] borrowed; "-" is stdin */
    char **places;                     /* [count] file or object for each; NULL: stdout */
    int count;
    struct net *net;                   /* borrowed */
};

/* Choose the format and a place for each input.  ERR_USAGE when two of them would have the same
 * one, when stdin is named twice, or when several cannot share stdout.  The folder is made. */
int transcripts_open(struct transcripts *t, const struct options *o, struct net *net,
                     struct err *e) MUST_CHECK;
void transcripts_close(struct transcripts *t);      /* safe on a zeroed struct */

/* Do the segments of this format need times? */
bool transcripts_need_times(const struct transcripts *t);

/* Write what is said in input `i`: to stdout as lines, or as a whole file. */
int transcripts_write(const struct transcripts *t, int i, const struct speech *s,
                      struct err *e) MUST_CHECK;

/* The texts of all segments as one, trimmed; between two that no space parts one is put, but in
 * languages that are written without.  The caller frees. */
char *transcript_text(const struct speech *s);

#endif
