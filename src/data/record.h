/* record.h - one line of a JSONL file as a conversation with its media, or as plain text.
 *
 *     {"messages": [{"role": "user", "content": [{"type": "audio", "audio": "a.flac"},
 *                                                {"type": "text", "text": "Transcribe."}]},
 *                   {"role": "assistant", "content": "good morning"}]}
 *     {"audio": "a.flac", "text": "good morning"}           also with "prompt", "language"
 *     {"prompt": "2 + 2 =", "completion": "4"}
 *     {"text": "any text"}
 *
 * An audio part names a file (`audio`, `path`, `url`, or `audio_url: {url}`) or holds one in base64
 * (`input_audio: {data, format}`, or a data: URI).  A part {"type": "audio"} alone takes the next
 * entry of the record's "audios".  Paths are relative to the folder of the JSONL file.  "id" is
 * the record's name.  Other keys are ignored, unless they look like a misspelt one.
 *
 * The short form with `audio` becomes a user turn (the clip, then the prompt) and an assistant
 * turn (the text).  {prompt, completion} becomes a user and an assistant turn.
 */
#ifndef DATA_RECORD_H
#define DATA_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "text/chat.h"

enum {
    RECORD_MESSAGES_MAX = 4096,
    RECORD_PARTS_MAX = 4096,              /* of one message */
    RECORD_MEDIA_MAX = 256,
};

enum record_kind { RECORD_CHAT, RECORD_TEXT };

/* A clip: either a place or the bytes of a file. */
struct record_media {
    char *uri;                            /* resolved; NULL when `bytes` is set */
    void *bytes;
    size_t size;
    char *name;                           /* for messages: as written in the record */
};

struct record {
    enum record_kind kind;
    char *id;                             /* NULL: it has none */
    char *where;                          /* "file:line" */
    const char *text;                     /* RECORD_TEXT */
    struct chat_message *messages;        /* RECORD_CHAT */
    int message_count;
    struct record_media *media;           /* chat_part.media points here */
    int media_count;
    const char *language;                 /* NULL: not said */
    double seconds;                       /* "duration", 0: not said */
    json_t *json;                         /* owns the texts of the line ... */
    char *prompt;                         /* ... and this the default prompt */
};

/* Read one line.  `where` names it ("train.jsonl:17"), `dir` is where relative paths start,
 * `prompt` is the text part for clips that bring none (NULL or "" for none).  Fails with ERR_DATA,
 * naming line, column and key.  On failure `r` is released. */
int record_parse(struct record *r, const char *line, size_t size, const char *where,
                 const char *dir, const char *prompt, struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void record_release(struct record *r);

/* The record of a single clip, to be transcribed: a user turn with the clip and the prompt. */
void record_of_clip(struct record *r, const char *path, const char *prompt);

/* The last message when it is the assistant's: what a generated reply is compared with; its text
 * parts joined, the caller frees.  NULL when there is none. */
char *record_reference(const struct record *r);

#endif
