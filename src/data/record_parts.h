/* record_parts.h - what the files of the record share: record.c knows the forms, record_media.c
 * media and parts of messages, record_speech.c how clips are transcribed, record_facts.c what
 * planning counts. */
#ifndef DATA_RECORD_PARTS_H
#define DATA_RECORD_PARTS_H

#include "data/record.h"

enum { RECORD_KINDS = 3 };

/* How the kinds of media are called. */
struct record_kind_names {
    const char *name, *plural;            /* keys: "image", "images" */
    const char *input, *url;              /* keys and types of parts: "input_image", "image_url" */
    const char *noun, *article;           /* in messages: "clip"; "an image" */
    enum chat_part_kind part;
};
extern const struct record_kind_names record_kinds[RECORD_KINDS];

/* What the parser needs besides the record. */
struct record_parse {
    struct record *r;
    const struct record_place *place;
    const json_t *lists[RECORD_KINDS];    /* "audios", ...: for parts without a name of their own;
                                             a list, or one file; NULL: there is none */
    size_t used[RECORD_KINDS];            /* of them */
    int capacity;                         /* of r->media */
};

/* The value of a key, NULL when it is missing or null. */
json_t *record_value(const json_t *o, const char *key);

/* Add media that a string or an object names, or a string holds (data: URI).  Returns the index. */
int record_add(struct record_parse *p, enum record_media_kind kind, const json_t *v,
               const char *key, struct err *e) MUST_CHECK;

/* Add the sound track of a video.  Returns the index. */
int record_add_sound(struct record_parse *p, int video, struct err *e) MUST_CHECK;

/* Whether "sound" says that a video's sound counts: true, or "true" in a table; -1 when it is
 * neither that nor false. */
int record_wants_sound(const json_t *o);

/* Read a part of a message into `out`, of which there is room for two: a video may bring its sound.
 * Returns how many there are. */
int record_read_part(struct record_parse *p, struct chat_part *out, const json_t *v,
                     struct err *e) MUST_CHECK;

/* A part of a message as it is written, without complaint. */
struct record_part {
    bool is_media;                        /* else a text */
    enum record_media_kind kind;
    const char *key;                      /* under which `value` stands ... */
    const json_t *value;                  /* ... what names or holds it; NULL: it takes the next of
                                             the record's list */
    bool is_encoded;                      /* `value` is {data, format} */
    bool has_sound;
};
struct record_part record_look(const json_t *part);

/* The place that a string or an object names, NULL: none. */
const char *record_uri(const json_t *v, enum record_media_kind kind);

/* A list has so many entries, one file is one; and the entry. */
size_t record_list_size(const json_t *list);
const json_t *record_list_at(const json_t *list, size_t i);

/* Nothing is said of a clip. */
void record_no_speech(struct whisper_speech *s);
/* Read "task", "timestamps" and "segments" of a record with sound. */
int record_read_speech(struct record *r, json_t *o, struct err *e) MUST_CHECK;

/* "duration" or "audio_seconds"; 0: neither says anything sensible. */
double record_seconds(const json_t *duration, const json_t *audio_seconds);

#endif
