/* sample_media.c - see sample_parts.h. */
#include "data/sample_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "data/source.h"
#include "media/audio.h"
#include "media/image.h"
#include "media/split.h"
#include "media/video.h"

enum {
    FINEST_RATE = 192000,                 /* of recordings, Hz ... */
    FINEST_CHANNELS = 8,
    FINEST_BYTES = 4,                     /* ... a sample and channel */
    OTHER_BYTES = 16 << 20,               /* pictures and the like in a sound file */
    GREY = 128,                           /* what shows nothing */
};

/* What is going on while the media of a record are made. */
struct making {
    struct sample_media *m;
    struct sample *s;
    const struct data_format *f;
};

/* ----------------------------------------------------------------- limits -- */

int sample_check_senses(const struct data_format *f, const struct record *r, struct err *e)
{
    for (int i = 0; i < r->media_count; i++) {
        bool is_sound = r->media[i].kind == RECORD_AUDIO;
        if (is_sound ? f->mel != NULL : f->picture != NULL)
            continue;
        err_set(e, ERR_DATA, "%s: the model %s nothing", r->media[i].name,
                is_sound ? "hears" : "sees");
        return is_sound ? err_hint(e, "use a checkpoint that hears, or records without sound")
                        : err_hint(e, "use a checkpoint that sees, or records without pictures");
    }
    return 0;
}

/* The longest clip that is decoded, in seconds: what the model takes at once, or, when long ones
 * are cut, what the tokens of a record have room for. */
static double seconds_max(const struct data_format *f, bool is_segmented)
{
    const struct mel_config *m = mel_settings(f->mel);
    double one = (double)m->samples_max / m->rate;
    int tokens = f->max_tokens > 0 ? f->max_tokens : SAMPLE_SOFT_TOKENS_MAX;
    if (f->crossing.is_used)
        return is_segmented ? SAMPLE_SEGMENTED_SECONDS_MAX : one;
    if (!f->splits_long_audio)
        return one;
    double room = (double)tokens * m->subsample * m->hop / m->rate;
    room = room < AUDIO_SECONDS_MAX ? room : AUDIO_SECONDS_MAX;
    return room > one ? room : one;
}

/* The largest file that a clip can be in: the longest clip, as fine as sound is recorded, and
 * whatever else may lie in the file. */
static int64_t sound_bytes_max(const struct data_format *f, const struct record *r)
{
    double sound =
        seconds_max(f, r->speech.segment_count > 0) * FINEST_RATE * FINEST_CHANNELS * FINEST_BYTES +
        OTHER_BYTES;
    return sound < (double)AUDIO_FILE_BYTES_MAX ? (int64_t)sound : AUDIO_FILE_BYTES_MAX;
}

static int64_t kind_bytes_max(const struct data_format *f, const struct record *r,
                              enum record_media_kind kind)
{
    if (kind == RECORD_IMAGE)
        return IMAGE_FILE_BYTES_MAX;
    if (kind == RECORD_VIDEO)
        return VIDEO_FILE_BYTES_MAX;
    return f->mel ? sound_bytes_max(f, r) : AUDIO_FILE_BYTES_MAX;
}

int64_t sample_bytes_max(const struct data_format *f, const struct record *r, int i)
{
    /* A video's file is as large as a video may be, even where only its sound is asked for. */
    int64_t most = 0;
    for (int k = 0; k < r->media_count; k++) {
        int64_t bytes = kind_bytes_max(f, r, r->media[k].kind);
        if (record_file(r, k) == record_file(r, i) && bytes > most)
            most = bytes;
    }
    return f->media_bytes_max > 0 && f->media_bytes_max < most ? f->media_bytes_max : most;
}

/* ----------------------------------------------------------------- blocks -- */

/* Count a block of soft tokens, which is the sample's next clip or picture. */
static int add_block(struct making *g, bool is_picture, int soft_tokens, double time, struct err *e)
{
    struct sample_media *m = g->m;
    m->total += soft_tokens;
    if (m->total > SAMPLE_SOFT_TOKENS_MAX) {
        err_set(e, ERR_DATA, "more than %d tokens of media", SAMPLE_SOFT_TOKENS_MAX);
        return err_hint(e, "image_tokens, video_tokens and video_frames make them fewer");
    }
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 16;
        m->blocks = xrealloc(m->blocks, (size_t)m->capacity * sizeof *m->blocks);
        m->soft_tokens = xrealloc(m->soft_tokens, (size_t)m->capacity * sizeof *m->soft_tokens);
        m->times = xrealloc(m->times, (size_t)m->capacity * sizeof *m->times);
    }
    m->blocks[m->count] =
        (struct sample_block){is_picture, is_picture ? g->s->picture_count : g->s->clip_count};
    m->soft_tokens[m->count] = soft_tokens;
    m->times[m->count++] = time;
    return 0;
}

/* Is there still room?  Where there is none, the record is bad, and nothing needs to be kept. */
static bool has_room(const struct making *g)
{
    return g->f->max_tokens <= 0 || g->m->total <= g->f->max_tokens;
}

uint64_t sample_key(const int32_t shape[3], const void *data, size_t size)
{
    unsigned char digest[HASH_SIZE];
    uint64_t key = 0;
    struct hash *h = hash_new();
    hash_add(h, shape, 3 * sizeof *shape);
    hash_add(h, data, size);
    hash_end(h, digest);
    hash_free(h);
    for (int i = 0; i < 8; i++)
        key = key << 8 | digest[i];
    return key ? key : 1;
}

/* ------------------------------------------------------------------ sound -- */

/* Features of a clip that the model takes at once, or of a piece. */
static int add_clip(struct making *g, const float *x, int64_t count, struct err *e)
{
    const struct mel *mel = g->f->mel;
    const struct mel_config *m = mel_settings(mel);
    double audio_s = (double)count / m->rate;
    int frames = mel_frames_valid(mel, count);
    if (frames < 1)
        return err_set(e, ERR_DATA, "%.4f s are too short for a single frame", audio_s);
    struct sample_clip c = {
        .frames = frames, .soft_tokens = mel_soft_tokens(mel, frames), .audio_s = audio_s};
    if (add_block(g, false, c.soft_tokens, 0, e))
        return -1;
    if (has_room(g)) {
        size_t numbers = (size_t)frames * (size_t)m->bins;
        float *silence = NULL;
        if (g->f->ablation == SAMPLE_WITHOUT_AUDIO)
            x = silence = xcalloc((size_t)count, sizeof *silence);
        c.mel = xcalloc(numbers, sizeof *c.mel);
        mel_compute(mel, x, count, frames, c.mel);
        free(silence);
        if (g->f->has_keys)
            c.key = sample_key((int32_t[]){frames, m->bins, 0}, c.mel, numbers * sizeof *c.mel);
    }
    struct sample *s = g->s;
    s->clips = xrealloc(s->clips, ((size_t)s->clip_count + 1) * sizeof *s->clips);
    s->clips[s->clip_count++] = c;
    return 0;
}

/* Cut a clip that is longer than the model takes. */
static int add_pieces(struct making *g, const float *x, int64_t count, struct err *e)
{
    const struct mel_config *m = mel_settings(g->f->mel);
    int max = (int)(count / (m->samples_max / 2 + 1)) + 2;
    int64_t *cuts = xcalloc((size_t)max + 1, sizeof *cuts);
    int pieces = audio_split(x, count, m->rate, m->samples_max, cuts, max);
    int failed = pieces < 0 ? err_set(e, ERR_BUG, "more than %d pieces of sound", max) : 0;
    for (int i = 0; i < pieces && !failed; i++)
        failed = add_clip(g, x + cuts[i], cuts[i + 1] - cuts[i], e);
    free(cuts);
    g->s->split_count += !failed;
    return failed;
}

int sample_check_silence(const struct data_format *f, const struct audio *a, struct err *e)
{
    if (f->allows_silence || audio_peak(a) >= SAMPLE_SILENCE_PEAK)
        return 0;
    return err_set(e, ERR_DATA, "the clip is silent (%.1f s, all below -60 dB)",
                   (double)a->count / mel_settings(f->mel)->rate);
}

static const char SPLIT_HINT[] = "`long_audio: split` cuts longer recordings at silence";

static int add_sound(struct making *g, const struct audio *a, struct err *e)
{
    const struct mel_config *m = mel_settings(g->f->mel);
    double audio_s = (double)a->count / m->rate;
    bool is_long = a->count > m->samples_max;
    if (is_long && !g->f->splits_long_audio) {
        err_set(e, ERR_DATA, "%.1f s long, the model takes at most %.1f s", audio_s,
                (double)m->samples_max / m->rate);
        return err_hint(e, "%s", SPLIT_HINT);
    }
    if (mel_frames_valid(g->f->mel, a->count) > 0 && sample_check_silence(g->f, a, e))
        return -1;
    return is_long ? add_pieces(g, a->samples, a->count, e) : add_clip(g, a->samples, a->count, e);
}

static int decode_sound(struct making *g, const void *bytes, size_t size, struct err *e)
{
    char hint[120];
    double most = seconds_max(g->f, false);
    bool is_cut = g->f->splits_long_audio;
    if (is_cut && g->f->max_tokens > 0)
        snprintf(hint, sizeof hint, "max_tokens: %d has room for %.1f s of sound", g->f->max_tokens,
                 most);
    else
        snprintf(hint, sizeof hint, "%s", is_cut ? "cut the recording" : SPLIT_HINT);
    struct audio_options options = {
        .seconds_max = most, .rate = mel_settings(g->f->mel)->rate, .long_hint = hint};
    struct audio a;
    int failed = audio_decode(&a, bytes, size, &options, e);
    if (!failed)
        failed = add_sound(g, &a, e);
    audio_release(&a);
    return failed;
}

/* --------------------------------------------------------------- pictures -- */

/* Does the model have places for all patches? */
static int check_side(const struct data_format *f, const struct picture *p, struct err *e)
{
    int side = p->across > p->down ? p->across : p->down;
    if (f->picture_side <= 0 || side <= f->picture_side)
        return 0;
    err_set(e, ERR_DATA, "%d x %d patches, the model takes at most %d a side", p->across, p->down,
            f->picture_side);
    return err_hint(e, "crop it, or lower image_tokens (video_tokens)");
}

static int add_picture(struct making *g, int tokens_max, const struct image *im, double time,
                       struct err *e)
{
    const struct picture_config *c = g->f->picture;
    struct sample_picture p = {0};
    if (picture_make(&p.picture, c, tokens_max, im, e))
        return -1;
    if (check_side(g->f, &p.picture, e) || add_block(g, true, p.picture.soft_tokens, time, e)) {
        picture_release(&p.picture);
        return -1;
    }
    int32_t shape[] = {p.picture.across, p.picture.down, picture_patch_numbers(c)};
    size_t size = (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2];
    if (!has_room(g)) {
        picture_release(&p.picture);
    } else {
        if (g->f->ablation == SAMPLE_WITHOUT_IMAGE)
            memset(p.picture.patches, GREY, size);
        if (g->f->has_keys)
            p.key = sample_key(shape, p.picture.patches, size);
    }
    struct sample *s = g->s;
    s->pictures = xrealloc(s->pictures, ((size_t)s->picture_count + 1) * sizeof *s->pictures);
    s->pictures[s->picture_count++] = p;
    return 0;
}

static int decode_image(struct making *g, const void *bytes, size_t size, struct err *e)
{
    struct image im = {0};
    int failed = image_decode(&im, bytes, size, e);
    if (!failed)
        failed = add_picture(g, g->f->picture->tokens_max, &im, 0, e);
    image_release(&im);
    return failed;
}

/* Takes a frame of a video; a video_frame_fn. */
static int take_frame(void *making, struct image *im, double time, struct err *e)
{
    struct making *g = making;
    return add_picture(g, g->f->picture->frame_tokens_max, im, time, e);
}

static int decode_video(struct making *g, const void *bytes, size_t size, struct err *e)
{
    struct video facts = {0};
    int before = g->m->count;
    int failed = video_decode(bytes, size, g->f->picture->frames_max, take_frame, g, &facts, e);
    video_release(&facts);
    if (!failed && g->m->count == before)
        return err_set(e, ERR_DATA, "a video without a frame");
    return failed;
}

/* ------------------------------------------------------------------ items -- */

/* The bytes of item `i`: those of the record, else loaded into `loaded`, once for each file. */
static const void *bytes_of(const struct data_format *f, const struct record *r, int i,
                            struct record_media *loaded, size_t *size, struct err *e)
{
    const struct record_media *media = record_file(r, i);
    if (!media->bytes && !media->uri) {
        err_set(e, ERR_BUG, "%s: was not read from its shard", media->name);
        return NULL;
    }
    struct record_media *own = &loaded[media - r->media];
    if (!media->bytes && !own->bytes)
        own->bytes = source_load(f->net, media->uri, sample_bytes_max(f, r, i), &own->size, e);
    *size = media->bytes ? media->size : own->size;
    return media->bytes ? media->bytes : own->bytes;
}

static int make_item(struct making *g, const struct record *r, int i, struct record_media *loaded,
                     struct err *e)
{
    size_t size = 0;
    const void *bytes = bytes_of(g->f, r, i, loaded, &size, e);
    if (!bytes)
        return -1;
    int failed;
    if (r->media[i].kind == RECORD_AUDIO)
        failed = decode_sound(g, bytes, size, e);
    else if (r->media[i].kind == RECORD_IMAGE)
        failed = decode_image(g, bytes, size, e);
    else
        failed = decode_video(g, bytes, size, e);
    return failed ? err_in(e, "%s", r->media[i].name) : 0;
}

int sample_decode(const struct data_format *f, const struct record *r, int i,
                  const struct audio_options *o, struct audio *a, struct err *e)
{
    struct record_media *loaded = xcalloc((size_t)r->media_count + 1, sizeof *loaded);
    size_t size = 0;
    const void *bytes = bytes_of(f, r, i, loaded, &size, e);
    int failed = bytes ? audio_decode(a, bytes, size, o, e) : -1;
    if (bytes && failed)
        err_in(e, "%s", r->media[i].name);
    for (int k = 0; k < r->media_count; k++)
        free(loaded[k].bytes);
    free(loaded);
    return failed;
}

static void begin(struct sample_media *m, int items)
{
    memset(m, 0, sizeof *m);
    m->items = items;
    m->firsts = xcalloc((size_t)items + 1, sizeof *m->firsts);
    m->chat = xcalloc((size_t)items + 1, sizeof *m->chat);
}

/* What chat_render wants to know; the arrays do not grow any more. */
static void fill_chat(struct sample_media *m, const struct record *r)
{
    for (int i = 0; i < m->items; i++) {
        int first = m->firsts[i];
        bool is_video = r && r->media[i].kind == RECORD_VIDEO;
        m->chat[i] = (struct chat_media){.count = m->firsts[i + 1] - first,
                                         .soft_tokens = m->soft_tokens + first,
                                         .times = is_video ? m->times + first : NULL};
    }
}

int sample_media_make(struct sample_media *m, struct sample *s, const struct data_format *f,
                      const struct record *r, int items, struct err *e)
{
    begin(m, items);
    if (sample_check_senses(f, r, e))
        return -1;
    struct making g = {m, s, f};
    struct record_media *loaded = xcalloc((size_t)r->media_count + 1, sizeof *loaded);
    int failed = 0;
    for (int i = 0; i < items && !failed; i++) {
        failed = make_item(&g, r, i, loaded, e);
        m->firsts[i + 1] = m->count;
    }
    for (int i = 0; i < r->media_count; i++)
        free(loaded[i].bytes);
    free(loaded);
    if (!failed)
        fill_chat(m, r);
    return failed;
}

int sample_media_of_audio(struct sample_media *m, struct sample *s, const struct data_format *f,
                          const float *x, int64_t count, struct err *e)
{
    begin(m, 1);
    struct making g = {m, s, f};
    struct audio a = {.samples = (float *)(uintptr_t)x, .count = count};
    if (add_sound(&g, &a, e))
        return -1;
    m->firsts[1] = m->count;
    fill_chat(m, NULL);
    return 0;
}

void sample_media_release(struct sample_media *m)
{
    free(m->blocks);
    free(m->soft_tokens);
    free(m->times);
    free(m->firsts);
    free(m->chat);
    memset(m, 0, sizeof *m);
}
