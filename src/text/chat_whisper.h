/* chat_whisper.h - a conversation about one clip as a transcript (text/whisper.h); for chat.c.
 *
 * The user's turn is the clip, with the text before it as a prompt where there is one; the
 * assistant's turn is the transcript.
 */
#ifndef TEXT_CHAT_WHISPER_H
#define TEXT_CHAT_WHISPER_H

#include "text/chat.h"

/* chat_render of CHAT_WHISPER; `out` is empty. */
int chat_whisper_render(const struct whisper_format *f, const struct chat_request *request,
                        struct chat_rendered *out, struct err *e) MUST_CHECK;

#endif
