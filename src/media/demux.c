/* demux.c - see demux.h. */
#include "media/demux.h"

#include <ctype.h>
#include <libavutil/opt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "media/container.h"

enum {
    IO_BUFFER = 32 << 10,               /* bytes that FFmpeg asks for at a time */
};
#define FFMPEG_ALLOC_MAX ((size_t)1 << 30)

/* ------------------------------------------------------------------ input -- */

static int input_read(void *opaque, uint8_t *out, int size)
{
    struct demux *d = opaque;
    int64_t left = d->size - d->at;
    if (left <= 0)
        return AVERROR_EOF;
    int n = left < size ? (int)left : size;
    memcpy(out, d->bytes + d->at, (size_t)n);
    d->at += n;
    return n;
}

static int64_t input_seek(void *opaque, int64_t offset, int whence)
{
    struct demux *d = opaque;
    int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return d->size;
    case SEEK_SET: break;
    case SEEK_CUR: base = d->at; break;
    case SEEK_END: base = d->size; break;
    default: return AVERROR(EINVAL);
    }
    if (offset > d->size - base || offset < -base)
        return AVERROR(EINVAL);
    return d->at = base + offset;
}

/* No file may name another file. */
static int refuse_open(AVFormatContext *s, AVIOContext **pb, const char *url, int flags,
                       AVDictionary **options)
{
    (void)s, (void)pb, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

static void log_nothing(void *context, int level, const char *fmt, va_list ap)
{
    (void)context, (void)level, (void)fmt, (void)ap;
}

static void prepare_ffmpeg(void)
{
    av_log_set_callback(log_nothing);
    av_max_alloc(FFMPEG_ALLOC_MAX);
}

/* ---------------------------------------------------------------- opening -- */

/* State what a file that nobody recognises begins with. */
static int not_known(const struct demux *d, struct err *e)
{
    char begin[25];
    size_t n = 0;
    for (; n < sizeof begin - 1 && (int64_t)n < d->size; n++)
        begin[n] = isprint(d->bytes[n]) ? (char)d->bytes[n] : '.';
    begin[n] = 0;
    err_set(e, ERR_DATA, "not a %s file: %lld bytes that begin with \"%s\"", d->rules->what,
            (long long)d->size, begin);
    return err_hint(e, "known are %s", d->rules->known);
}

/* The demuxer of a file whose first bytes leave no doubt; otherwise NULL, and FFmpeg lets all
 * that it has look at the file, which takes longer than decoding a short clip. */
static const AVInputFormat *obvious_format(const struct demux *d)
{
    static const struct {
        int at;
        const char bytes[5], more[5];   /* `more` stands at 8 */
        const char *name;
    } known[] = {
        {0, "RIFF", "WAVE", "wav"}, {0, "FORM", "AIFF", "aiff"},
        {0, "fLaC", "", "flac"},    {0, "OggS", "", "ogg"},
        {4, "ftyp", "", "mov"},     {0, "\x1a\x45\xdf\xa3", "", "matroska"},
    };
    for (size_t i = 0; d->size >= 12 && i < sizeof known / sizeof *known; i++)
        if (!memcmp(d->bytes + known[i].at, known[i].bytes, 4) &&
            (!known[i].more[0] || !memcmp(d->bytes + 8, known[i].more, 4)))
            return av_find_input_format(known[i].name);
    return NULL;
}

static int make_contexts(struct demux *d, struct err *e)
{
    uint8_t *buffer = av_malloc(IO_BUFFER);
    d->io =
        buffer ? avio_alloc_context(buffer, IO_BUFFER, 0, d, input_read, NULL, input_seek) : NULL;
    if (!d->io)
        av_free(buffer);
    d->format = avformat_alloc_context();
    if (!d->io || !d->format)
        return err_set(e, ERR_SPACE, "no memory for decoding");
    d->format->pb = d->io;
    d->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    d->format->io_open = refuse_open;
    d->format->error_recognition = AV_EF_CRCCHECK;
    return 0;
}

int demux_open(struct demux *d, const struct demux_rules *rules, const void *bytes, size_t size,
               struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_ffmpeg);
    *d = (struct demux){.rules = rules, .bytes = bytes, .size = (int64_t)size};
    if (make_contexts(d, e))
        return -1;
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", rules->formats, 0);
    av_dict_set(&options, "codec_whitelist", rules->codecs, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    /* The first packet must do for finding out whether PCM is a coded stream in disguise. */
    av_dict_set(&options, "max_probe_packets", "1", 0);
    int failed = avformat_open_input(&d->format, NULL, obvious_format(d), &options);
    av_dict_free(&options);
    if (failed == AVERROR(ENOMEM))
        return err_set(e, ERR_DATA, "asks for more than %zu bytes of memory", FFMPEG_ALLOC_MAX);
    if (failed && container_is_cut(d->bytes, (size_t)d->size))
        return err_set(e, ERR_DATA, "truncated: the file ends in the middle of a part");
    return failed ? not_known(d, e) : 0;
}

int demux_find_streams(struct demux *d, struct err *e)
{
    unsigned count = d->format->nb_streams;
    AVDictionary **options = xcalloc(count ? count : 1, sizeof(AVDictionary *));
    for (unsigned i = 0; d->rules->pixels_max && i < count; i++)
        av_dict_set_int(&options[i], "max_pixels", d->rules->pixels_max, 0);
    int found = avformat_find_stream_info(d->format, options);
    for (unsigned i = 0; i < count; i++)
        av_dict_free(&options[i]);
    free(options);
    if (found < 0)
        return err_set(e, ERR_DATA, "damaged %s file", d->format->iformat->name);
    return 0;
}

void demux_close(struct demux *d)
{
    avformat_close_input(&d->format);
    if (d->io)
        av_freep(&d->io->buffer);
    avio_context_free(&d->io);
}

/* ---------------------------------------------------------------- streams -- */

bool demux_is_cover(const AVStream *s)
{
    return s->disposition & AV_DISPOSITION_ATTACHED_PIC;
}

int demux_no_stream(const struct demux *d, enum AVMediaType type, struct err *e)
{
    const AVFormatContext *f = d->format;
    char found[200] = "";
    size_t used = 0;
    for (unsigned i = 0; i < f->nb_streams && used < sizeof found - 60; i++) {
        const AVCodecParameters *p = f->streams[i]->codecpar;
        const char *kind = av_get_media_type_string(p->codec_type);
        if (demux_is_cover(f->streams[i]))
            kind = "a cover picture";
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%s (%.30s)", i ? ", " : "",
                                 kind ? kind : "data", avcodec_get_name(p->codec_id));
    }
    return err_set(e, ERR_DATA, "no %s stream; it has %s", av_get_media_type_string(type),
                   found[0] ? found : "no stream at all");
}

static bool is_allowed(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = names; (p = strstr(p, name)); p += n)
        if ((p == names || p[-1] == ',') && (p[n] == ',' || p[n] == 0))
            return true;
    return false;
}

AVCodecContext *demux_codec(const struct demux *d, int stream, struct err *e)
{
    const AVStream *s = d->format->streams[stream];
    const AVCodec *codec = avcodec_find_decoder(s->codecpar->codec_id);
    if (!codec || !is_allowed(d->rules->codecs, codec->name)) {
        err_set(e, ERR_DATA, "%s is coded as %s, which is not supported", d->rules->what,
                avcodec_get_name(s->codecpar->codec_id));
        return NULL;
    }
    AVCodecContext *c = avcodec_alloc_context3(codec);
    if (!c || avcodec_parameters_to_context(c, s->codecpar) < 0) {
        err_set(e, ERR_DATA, "damaged header of the %s stream", codec->name);
        avcodec_free_context(&c);
        return NULL;
    }
    c->thread_count = 1;
    c->pkt_timebase = s->time_base;
    if (d->rules->pixels_max)
        c->max_pixels = d->rules->pixels_max;
    return c;
}
