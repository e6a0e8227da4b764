/* subtitle.h - transcripts with times as files that other programs read: SRT, WebVTT, TSV, JSON, or
 * plain text.  Layouts are those of OpenAI's whisper command:
 *
 *     SRT   1                                  WebVTT   WEBVTT           TSV   start  end   text
 *           00:00:00,000 --> 00:00:02,500                                      0      2500  Hello.
 *           Hello.                                      00:00.000 --> 00:02.500
 *                                                       Hello.
 *
 * A text is written in one line, trimmed, its line ends, tabs and other control characters as
 * spaces.  What would be read as something else is changed: "-->" becomes "->" in SRT and WebVTT,
 * and `&` and `<` are escaped in WebVTT.  Cues without text are left out and not numbered; one that
 * ends before it starts ends where it starts.
 */
#ifndef TEXT_SUBTITLE_H
#define TEXT_SUBTITLE_H

#include "base/err.h"

struct buf;

enum subtitle_format { SUBTITLE_PLAIN, SUBTITLE_SRT, SUBTITLE_VTT, SUBTITLE_TSV, SUBTITLE_JSON };

enum { SUBTITLE_SECONDS_MAX = 1000 * 3600 };

struct subtitle {
    double start, end;                   /* seconds */
    const char *text;
};

/* "txt", "srt", ...: the end of a file's name. */
const char *subtitle_extension(enum subtitle_format f);

/* Append all cues, header included (WebVTT, TSV); plain text is a line for each.  SUBTITLE_JSON is
 * not for here (ERR_BUG); times that are not finite or beyond the limit are ERR_DATA. */
int subtitle_write(enum subtitle_format f, const struct subtitle *at, int count, struct buf *out,
                   struct err *e) MUST_CHECK;

#endif
