/* chat.h - a conversation as the one token sequence that a checkpoint was trained on.
 *
 *     struct chat_format f;
 *     if (chat_format_open(&f, checkpoint_dir, tokenizer, e)) ...
 *
 *     struct chat_part parts[] = {{CHAT_AUDIO, NULL, 0}, {CHAT_TEXT, "Transcribe.", 0}};
 *     struct chat_part reply[] = {{CHAT_TEXT, "good morning", 0}};
 *     struct chat_message m[] = {{.role = CHAT_USER, .parts = parts, .part_count = 2},
 *                                {.role = CHAT_ASSISTANT, .parts = reply, .part_count = 1}};
 *     int soft_tokens[] = {87};
 *     struct chat_media media[] = {{.count = 1, .soft_tokens = soft_tokens}};
 *     struct chat_rendered r = {0};
 *     if (chat_render(&f, &(struct chat_request){.messages = m, .message_count = 2,
 *                     .media = media, .media_count = 1}, &r, e)) ...
 *     chat_rendered_release(&r);
 *
 * Gemma 4's format (X is trimmed of white space):
 *
 *     <bos><|turn>system\nX<turn|>\n<|turn>user\nX<turn|>\n<|turn>model\nX<turn|>\n
 *
 * The checkpoint's own template is not executed.  It is read, and the few known ways in which
 * Gemma 4's published templates differ are told from what is written in it (chat_format_init).
 *
 * Supervised are the content of each assistant turn and the <turn|> that ends it, not the newline
 * after it.  A token that holds a byte of content is content; media that the assistant shows, with
 * their begin and end, are not.
 *
 * Data must not forge turns: a special token (<|turn>, <bos>, <|audio|>, ...) written out in the
 * text of a message is an error that names it.  The template's own rule comes first: what stands
 * between <|channel> and <channel|> in an assistant's text is dropped.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "text/tokenizer.h"
#include "text/whisper.h"

enum chat_family {
    CHAT_GEMMA4,
    CHAT_WHISPER,              /* no conversations but transcripts: text/whisper.h */
};

/* How conversations are written for one checkpoint. */
struct chat_format {
    enum chat_family family;
    const struct tokenizer *tokenizer;   /* borrowed */
    bool has_empty_thought;    /* the generation prompt of the large models, without thinking, ends
                                * with an empty thought channel */
    bool has_image_newlines;   /* "\n\n" around images: the first release's template; ... */
    bool has_video_newlines;   /* ... and around videos */
    bool has_think_newline;    /* "\n" after <|think|>: all but the first release's template */
    bool continues_turn;       /* an assistant message behind another opens no new turn, ... */
    bool leaves_turn_open;     /* ... and the one before does not close its turn */
    bool has_reasoning;        /* message.reasoning is rendered behind the last user turn */
    int32_t bos, eos, turn_end;          /* eos: -1 where the tokenizer has none */
    int32_t audio, image;                /* the soft tokens; -1 where the tokenizer has none */
    int32_t video;                       /* the same; the config's video_token_id, else `image`,
                                          * where the tokenizer has none: ids of soft tokens are
                                          * places only, the model looks none of them up */
    bool spells_video;                   /* the tokenizer has <|video|> */
    struct whisper_format whisper;       /* CHAT_WHISPER: this alone counts */
};

/* Choose the format of `model_type` ("gemma4", "gemma4_text", "gemma4_unified", ...) and find its
 * control tokens.  `template_text` is the checkpoint's chat template or NULL, which means the
 * current upstream one.  Fails (ERR_USAGE) on a model_type without a known format, a template of
 * another family, and a tokenizer that lacks the format's tokens. */
int chat_format_init(struct chat_format *f, const char *model_type, const char *template_text,
                     const struct tokenizer *t, struct err *e) MUST_CHECK;

/* The same for a checkpoint folder: model_type from config.json, the template from
 * chat_template.jinja, chat_template.json or tokenizer_config.json, where one of them has it;
 * "whisper" needs none, and reads what whisper_format_open says. */
int chat_format_open(struct chat_format *f, const char *dir, const struct tokenizer *t,
                     struct err *e) MUST_CHECK;

enum chat_part_kind { CHAT_TEXT, CHAT_AUDIO, CHAT_IMAGE, CHAT_VIDEO };

struct chat_part {
    enum chat_part_kind kind;
    const char *text;                    /* CHAT_TEXT: UTF-8, zero-terminated */
    int media;                           /* else: index into the record's media list */
};

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_message {
    enum chat_role role;
    const struct chat_part *parts;
    int part_count;
    bool is_list;                        /* the content was a list of parts, not a plain string:
                                          * the template puts a space after each part of a
                                          * system message that is a list */
    const char *reasoning;               /* an assistant's thoughts, or NULL */
};

/* What one item of the record's media list takes in the text: blocks of soft tokens, each between
 * its begin and end token.  An image and a clip are one block, a long clip that was cut is one for
 * each piece, one behind the other; a video has one a frame, with its time in front
 * ("00:01 <|image>...<image|> 00:02 ..."). */
struct chat_media {
    int count;                           /* blocks */
    const int *soft_tokens;              /* [count] */
    const double *times;                 /* [count] seconds of the frames; NULL but for videos */
};

/* What is to be rendered. */
struct chat_request {
    const struct chat_message *messages;
    int message_count;
    const struct chat_media *media;      /* [media_count] */
    int media_count;
    bool has_generation_prompt;          /* end with the beginning of an assistant turn */
    bool is_thinking;                    /* enable_thinking of the template */
    const struct whisper_speech *speech; /* CHAT_WHISPER: what the record says of its clip */
};

/* Where the soft tokens of one block lie in the ids. */
struct chat_span {
    int media, block;
    int start, count;                    /* ids[start .. start + count) */
};

struct chat_rendered {
    struct ids ids;
    uint8_t *supervised;                 /* [ids.count] 1: this id is predicted; owned */
    struct chat_span *spans;             /* in the order of the text; owned */
    int span_count;
    int language_at;                     /* CHAT_WHISPER: ids[language_at] is for who decodes to
                                          * fill in, since nobody said the language; -1: none */
};

void chat_rendered_release(struct chat_rendered *r);

/* Of CHAT_WHISPER: one turn of the user with one clip, which takes no tokens, and at most one text,
 * the prompt; then at most one of the assistant, the transcript; with has_generation_prompt none.
 * Supervised are the transcript, its times and <|endoftext|>.  Other conversations are ERR_DATA, as
 * is what text/whisper.h refuses. */

/* Render a conversation into `out`, which is empty or released.  Errors (ERR_DATA): no message, a
 * media index outside the list or used twice or never, media in the first system message (the
 * template leaves them out) or with no soft tokens, a special token in the text, text that is not
 * UTF-8.  The text of the error names the message ("message 2 of 4").  `out` is empty after an
 * error. */
int chat_render(const struct chat_format *f, const struct chat_request *request,
                struct chat_rendered *out, struct err *e) MUST_CHECK;

/* A plain `{text}` record: <bos> and the ids of the text as it is, nothing trimmed or appended;
 * every token but the first is supervised.  A text may be a conversation that was rendered
 * before: special tokens in it are recognised, except soft tokens, which are an error; a <bos>
 * that it begins with is not doubled.  CHAT_WHISPER has no such records: ERR_DATA. */
int chat_render_text(const struct chat_format *f, const char *text, struct chat_rendered *out,
                     struct err *e) MUST_CHECK;

/* The ids that end an assistant's turn when generating: writes up to `max`, returns how many. */
int chat_stop_ids(const struct chat_format *f, int32_t *out, int max);

#endif
