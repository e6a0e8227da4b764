/* record.h - one record (a line of JSONL, a row of CSV, a sample of a shard) as a conversation with
 * its media, or as plain text.
 *
 *     {"messages": [{"role": "user", "content": [{"type": "audio", "audio": "a.flac"},
 *                                                {"type": "text", "text": "Transcribe."}]},
 *                   {"role": "assistant", "content": "good morning"}]}
 *     {"audio": "a.flac", "text": "good morning"}           also with "prompt"
 *     {"image": "a.jpg", "text": "a red circle"}            also with "prompt", "audio"
 *     {"video": "a.mp4", "text": "a door opens"}            also with "prompt", "audio"
 *     {"prompt": "2 + 2 =", "completion": "4"}
 *     {"text": "any text"}
 *
 * A part of audio, image or video names a file (`audio`, `path`, `url`, `uri`, or `audio_url:
 * {url}`; for the others alike) or holds one in base64 (`input_audio: {data, format}`, or a data:
 * URI).  A part {"type": "audio"} alone takes the next entry of the record's "audios" ("images",
 * "videos").  The sound track of a video is an audio part of its own that names the video's file;
 * `"sound": true` in a video part, or in a record of the short form, puts one behind it.  Paths are
 * relative to the folder of the JSONL file.  "id" is the record's name.  Other keys are ignored,
 * unless they look like a misspelt one.
 *
 * A record with sound may say how it is transcribed (text/whisper.h), whatever its form:
 * "language", "task" ("transcribe", "translate"), "timestamps" (true, false) and "segments", a list
 * of {"start", "end", "text"} in seconds from the clip's begin.  In the short form the texts of the
 * segments, joined, stand for a "text" that is not there.  A patch's text takes the place of the
 * segments.
 *
 * The short forms with media become a user turn (images, videos, clips, then the prompt) and an
 * assistant turn (the text; beside a prompt, "completion" will do, too).  "image", "video" and
 * "audio" may be lists.  {prompt, completion} becomes a user and an assistant turn.
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
    RECORD_IMAGE_TOKENS = 256,            /* what planning takes an image for ... */
    RECORD_VIDEO_TOKENS = 2048,           /* ... and a video: about 32 frames of 64 */
};

enum record_kind { RECORD_CHAT, RECORD_TEXT };

enum record_media_kind { RECORD_AUDIO, RECORD_IMAGE, RECORD_VIDEO };

/* A clip, a picture or a video: a place, the bytes of a file, or a member of the shard that the
 * record is in.  An item that is the same file as an earlier one has the same place, too. */
struct record_media {
    enum record_media_kind kind;
    int same_as;                          /* an earlier item that is the same file, whose bytes
                                             count for this one, too; -1: none */
    char *uri;                            /* resolved; NULL when one of the others is set */
    void *bytes;
    size_t size;
    const struct shard_member *member;    /* borrowed from the shard */
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
    struct whisper_speech speech;         /* "language", "task", "timestamps", "segments": borrowed
                                             from `json`, the segments owned.  Of records without
                                             sound the language only */
    double seconds;                       /* "duration" or "audio_seconds", 0: not said */
    json_t *json;                         /* owns the texts of the line ... */
    char *prompt;                         /* ... and this the default prompt */
    char *joined;                         /* the text of the segments, where there is no other */
};

/* What surrounds a record.  Everything is borrowed while it is read; `shard` for as long as the
 * record lives. */
struct record_place {
    const char *where;                    /* its name: "train.jsonl:17" */
    const char *dir;                      /* relative paths start here */
    const char *prompt;                   /* for media that bring none; NULL or "" for none */
    const struct shard *shard;            /* the shard that it is a sample of, or NULL ... */
    int index;                            /* ... and which one */
    char *const *columns;                 /* [column_count] "text=transcript": our key,
                                             their name */
    int column_count;
    const struct patch *patch;            /* or NULL */
};

/* Read one line of JSON.  Fails with ERR_DATA, naming line, column and key.  On failure `r` is
 * released. */
int record_parse(struct record *r, const char *line, size_t size, const struct record_place *place,
                 struct err *e) MUST_CHECK;

/* The same for an object, which is changed by columns and patches; takes over the reference, on
 * failure too.  Errors begin with the place's name. */
int record_of_json(struct record *r, json_t *o, const struct record_place *place,
                   struct err *e) MUST_CHECK;

/* What planning needs to know of a record, without its media being opened. */
struct record_facts {
    char id[256];                         /* "id", "" when it has none (longer ones: their end) */
    uint32_t length;                      /* about how many tokens: bytes of text, clips by their
                                             duration or else their size, images and videos by
                                             RECORD_IMAGE_TOKENS, ... */
    float seconds;                        /* "duration" or "audio_seconds", 0: not said, or
                                             there are media without sound only */
    uint32_t text_length;                 /* the part of `length` that is text */
    int media_count;                      /* of all kinds, named in it; soundtracks count */
    int clip_count, image_count, video_count;
};

/* The text of a record of which only its length and its seconds of sound are known, and how many
 * bytes its files have. */
uint32_t record_text_length(uint32_t length, double seconds, int64_t file_bytes);

/* Columns are looked up as they are named in `place`, so that `o` may be as it was written; a
 * patch's text counts instead of the record's.  A clip that lies elsewhere counts by the duration
 * that the record says, and without one not at all. */
void record_facts(struct record_facts *f, const json_t *o, const struct record_place *place);

/* Apply the column mapping: each "ours=theirs" gives the value of `theirs` the name `ours`, all at
 * once; a name that the record does not have is left alone.  record_of_json does it. */
void record_rename(json_t *o, char *const *columns, int column_count);

/* Safe on a zeroed struct. */
void record_release(struct record *r);

/* The record of a single clip, to be transcribed: a user turn with the clip and the prompt. */
void record_of_clip(struct record *r, const char *path, const char *prompt);

/* The same of any files, in the order of the short forms; borrowed during the call. */
struct record_files {
    char *const *images, *const *videos, *const *clips;
    int image_count, video_count, clip_count;
    bool has_sound;                       /* videos bring their sound track */
};
int record_of_files(struct record *r, const struct record_files *files, const char *prompt,
                    struct err *e) MUST_CHECK;

/* The item that holds the bytes of item `i`: itself, or the earlier one that is the same file. */
const struct record_media *record_file(const struct record *r, int i);

/* How many media of a kind it has; soundtracks are clips. */
int record_count(const struct record *r, enum record_media_kind kind);

/* The texts of segments as one, with a space between where neither side has one; the caller
 * frees. */
char *record_join_segments(const struct whisper_segment *segments, int count);

/* "transcribe", "translate"; NULL: unknown. */
const char *record_task_name(enum whisper_task task);

/* The last message when it is the assistant's: what a generated reply is compared with; its text
 * parts joined, the caller frees.  NULL when there is none. */
char *record_reference(const struct record *r);

#endif
