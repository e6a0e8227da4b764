/* demux.h - a file in memory, taken apart by FFmpeg: what sound and videos share.
 *
 * FFmpeg is used as a parser of hostile bytes: it reads the given bytes only, is refused every
 * other file, says nothing on the terminal, and may try the listed formats and codecs only.
 */
#ifndef MEDIA_DEMUX_H
#define MEDIA_DEMUX_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct demux_rules {
    const char *formats;                /* names of demuxers, with commas */
    const char *codecs;                 /* names of decoders, with commas */
    const char *what;                   /* "sound": what is looked for */
    const char *known;                  /* "WAV, FLAC and MP3": for people */
    int64_t pixels_max;                 /* of a picture that FFmpeg may decode, 0: its own limit */
};

struct demux {
    AVFormatContext *format;
    AVIOContext *io;
    const struct demux_rules *rules;
    const uint8_t *bytes;               /* where FFmpeg reads */
    int64_t size, at;
};

/* Open the file.  `d` and `bytes` stay where they are until demux_close.  ERR_DATA: not a file of
 * these formats. */
int demux_open(struct demux *d, const struct demux_rules *rules, const void *bytes, size_t size,
               struct err *e) MUST_CHECK;

/* Let FFmpeg look into the streams for what the header does not say. */
int demux_find_streams(struct demux *d, struct err *e) MUST_CHECK;

/* Safe on a zeroed struct. */
void demux_close(struct demux *d);

/* State that there is no stream of this type, and which streams there are.  Returns -1. */
int demux_no_stream(const struct demux *d, enum AVMediaType type, struct err *e);

/* A decoder for the stream, on one thread, to be opened with avcodec_open2 and freed by the
 * caller.  NULL: its codec is not allowed, or the stream's header is damaged. */
AVCodecContext *demux_codec(const struct demux *d, int stream, struct err *e) MUST_CHECK;

/* Does the stream hold a picture of the cover rather than a video? */
bool demux_is_cover(const AVStream *s);

#endif
