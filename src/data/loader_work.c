/* loader_work.c - making samples, in the order of the plan, side by side, within the memory.
 *
 * Before a sample is begun, what it may take is counted; it waits until that fits.  A sample of the
 * step that the caller gets next is begun, too, when no other one is being made: then nothing but
 * this step can free memory.  So there is always one that goes on, whatever the sizes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/collate.h"
#include "data/loader_parts.h"

enum {
    SAMPLE_BYTES = 64 << 10,              /* that every sample takes: text, tokens, structures */
    SOUND_BYTES_PER_SECOND = 256 << 10,   /* decoded, mixed, resampled: 16 kHz floats, 4 times */
    TOKENS_PER_SECOND = 25,
    PICTURE_BYTES = 36 << 20,             /* of a photo of 12 million pixels, decoded: there is
                                             never more than one in a sample at a time */
};

/* ------------------------------------------------------------------- memory -- */

/* Bytes of the members of a sample, 0 for a line. */
static int64_t member_bytes(const struct record_ref *ref)
{
    int64_t bytes = 0;
    if (!ref->shard)
        return 0;
    const struct shard_record *r = &ref->shard->records[ref->index];
    for (int i = 0; i < r->count; i++)
        bytes += ref->shard->members[r->first + i].size;
    return bytes;
}

/* Features of so many seconds. */
static int64_t feature_bytes(const struct loader *l, double seconds)
{
    if (!l->format.mel)
        return 0;
    const struct mel_config *m = mel_settings(l->format.mel);
    return (int64_t)(seconds * m->rate / m->hop * m->bins * (int)sizeof(float));
}

/* The place that a clip has in the batch, for those of encoder-decoder models. */
static int64_t window_bytes(const struct loader *l)
{
    const struct mel_config *m = mel_settings(l->format.mel);
    return feature_bytes(l, (double)m->samples_max / m->rate);
}

static double seconds_of(uint32_t length)
{
    return (double)length / TOKENS_PER_SECOND;
}

/* Sound of so many tokens while it is made, with its place in the batch, which is as long as the
 * longest one's. */
static int64_t sound_bytes(const struct loader *l, const struct slot *slot, uint32_t length)
{
    double seconds = seconds_of(length);
    if (!l->format.mel)
        return 0;
    if (l->format.crossing.is_used)
        return (int64_t)(seconds * SOUND_BYTES_PER_SECOND) + feature_bytes(l, seconds) +
               window_bytes(l);
    return (int64_t)(seconds * SOUND_BYTES_PER_SECOND) + feature_bytes(l, seconds) +
           feature_bytes(l, seconds_of(slot->longest));
}

/* The patches of a picture of so many tokens. */
static int64_t patch_bytes(const struct loader *l, int soft_tokens)
{
    const struct picture_config *c = l->format.picture;
    return (int64_t)picture_patches(c, soft_tokens) * picture_patch_numbers(c);
}

/* Pictures of a record of so many tokens while they are made, with their places in the batch.  What
 * planning took a picture for becomes what it may have.  Records without room for a picture in
 * their length have none. */
static int64_t sight_bytes(const struct loader *l, uint32_t length)
{
    const struct picture_config *c = l->format.picture;
    if (!c || length < RECORD_IMAGE_TOKENS)
        return 0;
    double images = (double)c->tokens_max / RECORD_IMAGE_TOKENS;
    double videos = (double)c->frames_max * c->frame_tokens_max / RECORD_VIDEO_TOKENS;
    double tokens = (double)length * (images > videos ? images : videos);
    return PICTURE_BYTES + (int64_t)(2 * tokens * (double)patch_bytes(l, 1));
}

/* About what a sample takes while it is made: what is known of it is its length and, in a shard,
 * its bytes.  Never more than half of all, which is enough for it to be begun. */
static int64_t estimate(const struct loader *l, const struct slot *slot, int i)
{
    const struct plan_window *w = &slot->window->plan;
    uint32_t length = w->lengths[slot->first + i];
    int64_t sound = sound_bytes(l, slot, length), sight = sight_bytes(l, length);
    int64_t bytes = SAMPLE_BYTES + 2 * member_bytes(&w->records[slot->first + i]);
    bytes += sound > sight ? sound : sight;
    return bytes < l->o.memory_max / 2 ? bytes : l->o.memory_max / 2;
}

/* What a sample that is made takes, with its place in the batch. */
static int64_t sample_bytes(const struct loader *l, const struct slot *slot, int i)
{
    const struct sample *s = &slot->samples[i];
    int64_t bytes = SAMPLE_BYTES + (int64_t)s->count * 32;
    int bins = l->format.mel ? mel_settings(l->format.mel)->bins : 0;
    for (int k = 0; k < s->clip_count; k++) {
        const struct sample_clip *c = &s->clips[k];
        bytes += (int64_t)c->frames * bins * (int)sizeof(float);
        bytes += c->samples ? c->sample_count * (int64_t)sizeof(float) : 0;
    }
    for (int k = 0; k < s->picture_count; k++) {
        int tokens = s->pictures[k].picture.soft_tokens;
        int multiple = l->format.patches_multiple > 0 ? l->format.patches_multiple : SAMPLE_PATCHES;
        bytes += patch_bytes(l, tokens) + patch_bytes(l, tokens + multiple);
    }
    if (l->format.crossing.is_used)
        return bytes + s->clip_count * window_bytes(l);
    return bytes + (s->clip_count ? feature_bytes(l, seconds_of(slot->longest)) : 0);
}

static int64_t batch_bytes(const struct batch *b)
{
    int64_t cells = (int64_t)b->rows * b->len, frames = (int64_t)b->clips * b->frames;
    int64_t patches = (int64_t)b->pictures * b->patches;
    return cells * (b->segment ? 16 : 8) + frames * (4 * (int64_t)b->bins + 1) +
           patches * ((int64_t)b->patch_numbers + 8) + (int64_t)b->targets * 16 +
           (int64_t)b->records_count * 256;
}

/* The mutex is locked. */
static void count_bytes(struct loader *l, int64_t bytes)
{
    l->memory += bytes;
    if (l->memory > l->memory_peak)
        l->memory_peak = l->memory;
}

int64_t loader_memory_peak(const struct loader *loader)
{
    struct loader *l = (struct loader *)(uintptr_t)loader;
    pthread_mutex_lock(&l->mutex);
    int64_t peak = l->memory_peak;
    pthread_mutex_unlock(&l->mutex);
    return peak;
}

/* --------------------------------------------------------------- one sample -- */

/* At most as many threads as there are cores compute; more would only take turns. */
static void begin_computing(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    while (l->computing >= l->o.threads && !l->is_stopped)
        pthread_cond_wait(&l->can_compute, &l->mutex);
    l->computing++;
    pthread_mutex_unlock(&l->mutex);
}

static void end_computing(struct loader *l)
{
    pthread_mutex_lock(&l->mutex);
    l->computing--;
    pthread_cond_signal(&l->can_compute);
    pthread_mutex_unlock(&l->mutex);
}

/* Count the files of a sample, once they are here: those that lie loose were not known before. */
static void hold_files(struct loader *l, struct slot *slot, int i, const struct record *r)
{
    int64_t bytes = SAMPLE_BYTES;
    for (int k = 0; k < r->media_count; k++)
        bytes += r->media[k].bytes ? (int64_t)r->media[k].size : 0;
    pthread_mutex_lock(&l->mutex);
    if (bytes > slot->held[i]) {
        count_bytes(l, bytes - slot->held[i]);
        slot->held[i] = bytes;
    }
    pthread_mutex_unlock(&l->mutex);
}

/* Its number, and what is hidden of its features: that depends on where the record lies, for its
 * number begins anew when a run is resumed. */
static void number_sample(const struct loader *l, struct sample *s, const struct loader_window *w,
                          int64_t i)
{
    const struct record_ref *ref = &w->plan.records[i];
    uint64_t place = rng_u64((uint64_t)ref->file, 0, (uint64_t)ref->index);
    s->record = w->number + i;
    s->augment_key = rng_u64(l->format.crossing.augment_seed, (uint64_t)w->plan.epoch, place);
}

/* What came of a sample. */
enum outcome { MADE, BAD_RECORD, BAD_LUCK };

/* Errors of records begin with the record's name. */
static enum outcome make_sample(struct loader *l, struct slot *slot, int i, struct err *e)
{
    struct loader_window *w = slot->window;
    const struct record_ref *ref = &w->plan.records[slot->first + i];
    struct sample *s = &slot->samples[i];
    struct loader_reader reader;
    struct record r;
    int64_t stored = member_bytes(ref);
    slot->keys[i] = (struct loader_bad_key){ref->file, ref->index};
    if (stored > l->o.memory_max / 2) {
        char *where = manifest_where(l->m, ref);
        err_set(e, ERR_DATA, "%s: %lld bytes, at most half of the memory (%lld) is for one record",
                where, (long long)stored, (long long)l->o.memory_max);
        free(where);
        return BAD_RECORD;
    }
    loader_reader_init(&reader, l, w, ref);
    int failed = manifest_record(l->m, ref, loader_read, &reader, l->format.prompt, &r, e);
    if (!failed) {
        failed = sample_fetch(&l->format, &r, loader_read, &reader, e);
        loader_reader_release(&reader);
        if (!failed) {
            hold_files(l, slot, i, &r);
            begin_computing(l);
            failed = sample_make(s, &l->format, &r, l->o.purpose, e);
            end_computing(l);
        }
        if (failed)
            err_in(e, "%s", r.where);
        else
            number_sample(l, s, w, slot->first + i);
        record_release(&r);
    }
    loader_reader_release(&reader);
    if (!failed)
        return MADE;
    return e->kind == ERR_DATA && !reader.has_failed ? BAD_RECORD : BAD_LUCK;
}

/* ----------------------------------------------------------------- one step -- */

/* Parts of a batch that are real, and all of it: frames when there is sound, else tokens; tokens of
 * rows that are packed, too, and where each clip has a whole window whatever its length. */
static void measure(const struct loader *l, const struct batch *b, int64_t *real, int64_t *all)
{
    const struct sample_crossing *c = &l->format.crossing;
    bool is_packed = l->format.pack_tokens > 0 && l->o.purpose == SAMPLE_TRAIN;
    bool counts_tokens = is_packed || (c->is_used && c->has_whole_window);
    int64_t frames = counts_tokens ? 0 : (int64_t)b->clips * b->frames;
    *all += frames ? frames : (int64_t)b->rows * b->len;
    *real += frames ? 0 : b->total;
    if (frames && c->is_used) {
        const struct mel_config *m = mel_settings(l->format.mel);
        *real += (int64_t)(b->audio_s * m->rate / m->hop);
        return;
    }
    for (int64_t i = 0; i < frames; i++)
        *real += b->frame_valid[i];
}

/* Collate the samples of each micro-batch; holes leave their places empty. */
static void finish_step(struct loader *l, struct slot *slot)
{
    struct loader_step *step = &slot->step;
    int64_t real = 0, all = 0;
    struct sample *good = xcalloc((size_t)slot->count + 1, sizeof *good);
    step->micros = xcalloc((size_t)l->o.micros + 1, sizeof *step->micros);
    for (int i = 0, end; i < slot->count; i = end) {
        int64_t part = (int64_t)i * l->o.micros / slot->count;
        int n = 0;
        for (end = i; end < slot->count; end++) {
            if ((int64_t)end * l->o.micros / slot->count != part)
                break;
            if (!slot->bad[end])
                good[n++] = slot->samples[end];
        }
        if (n == 0)
            continue;
        struct batch *b = &step->micros[step->count++];
        collate(b, &l->format, good, n);
        step->supervised += b->supervised;
        step->total += b->total;
        step->audio_s += b->audio_s;
        slot->bytes += batch_bytes(b);
        step->pictures += b->pictures;
        for (int k = 0; k < n; k++)
            step->splits += good[k].split_count;
        measure(l, b, &real, &all);
    }
    step->padding = all ? 1 - (double)real / (double)all : 0;
    free(good);
    for (int i = 0; i < slot->count; i++)
        sample_release(&slot->samples[i]);
}

void loader_slot_release(struct slot *s)
{
    loader_step_release(&s->step);
    for (int i = 0; i < s->count && s->samples; i++)
        sample_release(&s->samples[i]);
    for (int i = 0; i < s->count && s->bad; i++)
        free(s->bad[i]);
    free(s->samples);
    free(s->bad);
    free(s->keys);
    free(s->held);
    memset(s, 0, sizeof *s);
}

/* ------------------------------------------------------------------ threads -- */

/* The next sample to begin, if there is one and it fits into memory; the mutex is locked. */
static struct slot *next_sample(struct loader *l, int64_t *bytes)
{
    struct slot *slot = NULL;
    if (l->next_begin < l->next_out)
        l->next_begin = l->next_out;
    for (; l->next_begin < l->next_in; l->next_begin++) {
        slot = &l->slots[l->next_begin % l->o.ahead];
        if (slot->begun < slot->count && !slot->error.kind)
            break;
    }
    if (l->next_begin >= l->next_in)
        return NULL;
    *bytes = estimate(l, slot, slot->begun);
    bool is_awaited = slot->step.step == l->next_out && l->active == 0;
    return l->memory + *bytes <= l->o.memory_max || is_awaited ? slot : NULL;
}

/* What is wrong with a record, and what to do; the caller frees. */
static char *describe(const struct err *e)
{
    char line[ERR_LINE_SIZE];
    err_line(e, line);
    return xstrdup(line);
}

/* Note what came of a sample; the mutex is locked. */
static void end_sample(struct loader *l, struct slot *slot, int i, enum outcome outcome,
                       const struct err *e)
{
    int64_t real = outcome == MADE ? sample_bytes(l, slot, i) : 0;
    l->active--;
    count_bytes(l, real - slot->held[i]);
    slot->held[i] = real;
    if (outcome == BAD_RECORD) {
        slot->bad[i] = describe(e);
    } else if (outcome == BAD_LUCK && i < slot->error_at) {
        slot->error = *e;
        slot->error_at = i;
    }
    slot->done++;
}

/* All samples that were begun are made: collate them.  The mutex is locked, but not all the
 * time. */
static void end_step(struct loader *l, struct slot *slot)
{
    bool is_whole = !slot->error.kind;
    pthread_mutex_unlock(&l->mutex);
    if (is_whole)
        finish_step(l, slot);
    pthread_mutex_lock(&l->mutex);
    for (int i = 0; i < slot->count; i++)
        count_bytes(l, -slot->held[i]);
    count_bytes(l, slot->bytes);
    slot->state = SLOT_READY;
    l->has_made_one = true;
    loader_leave_window(l, slot);
    pthread_cond_broadcast(&l->can_take);
    pthread_cond_broadcast(&l->can_plan);
}

void *loader_work(void *loader)
{
    struct loader *l = loader;
    pthread_mutex_lock(&l->mutex);
    while (!l->is_stopped) {
        int64_t bytes;
        struct slot *slot = next_sample(l, &bytes);
        if (!slot) {
            pthread_cond_wait(&l->can_work, &l->mutex);
            continue;
        }
        int i = slot->begun++;
        slot->held[i] = bytes;
        count_bytes(l, bytes);
        l->active++;
        pthread_mutex_unlock(&l->mutex);

        struct err e = {0};
        enum outcome outcome = make_sample(l, slot, i, &e);

        pthread_mutex_lock(&l->mutex);
        end_sample(l, slot, i, outcome, &e);
        bool is_end = slot->done == slot->count ||
                      (slot->error.kind && slot->done == slot->begun && slot->state != SLOT_READY);
        if (is_end)
            end_step(l, slot);
        pthread_cond_broadcast(&l->can_work);
        pthread_mutex_unlock(&l->mutex);
        if (is_end)
            loader_reap(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}
