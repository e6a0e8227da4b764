/* collate.c - see collate.h. */
#include "data/collate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int round_up(int n, int multiple, int fallback)
{
    int m = multiple > 0 ? multiple : fallback;
    return (n + m - 1) / m * m;
}

/* B, T, N, F, R and the sums. */
static void measure(struct batch *b, const struct data_format *f, const struct sample *samples,
                    int count)
{
    int longest = 0, frames = 0, targets = 0;
    b->rows = count;
    for (int i = 0; i < count; i++) {
        const struct sample *s = &samples[i];
        longest = s->count > longest ? s->count : longest;
        b->total += s->count;
        for (int t = 1; t < s->count; t++)
            targets += s->supervised[t];
        b->clips += s->clip_count;
        for (int k = 0; k < s->clip_count; k++) {
            frames = s->clips[k].frames > frames ? s->clips[k].frames : frames;
            b->audio_s += s->clips[k].audio_s;
        }
    }
    b->len = round_up(longest, f->tokens_multiple, SAMPLE_TOKENS);
    b->supervised = targets;
    b->targets = round_up(targets, f->targets_multiple, SAMPLE_TARGETS);
    if (b->clips > 0) {
        b->frames = round_up(frames, f->frames_multiple, SAMPLE_FRAMES);
        b->bins = mel_settings(f->mel)->bins;
        b->slots = mel_soft_tokens(f->mel, b->frames);
    }
}

static void allocate(struct batch *b)
{
    size_t rows = (size_t)b->rows, cells = rows * (size_t)b->len, targets = (size_t)b->targets;
    b->tokens = xcalloc(cells + 1, sizeof *b->tokens);
    b->lengths = xcalloc(rows + 1, sizeof *b->lengths);
    b->ids = xcalloc(rows + 1, sizeof *b->ids);
    b->has_ids = xcalloc(rows + 1, sizeof *b->has_ids);
    b->records = xcalloc(rows + 1, sizeof *b->records);
    b->references = xcalloc(rows + 1, sizeof *b->references);
    b->target_rows = xcalloc(targets + 1, sizeof *b->target_rows);
    b->target_ids = xcalloc(targets + 1, sizeof *b->target_ids);
    b->target_weights = xcalloc(targets + 1, sizeof *b->target_weights);
    b->row_of_target = xcalloc(targets + 1, sizeof *b->row_of_target);
    if (b->clips > 0) {
        size_t frames = (size_t)b->clips * (size_t)b->frames;
        b->mel = xcalloc(frames * (size_t)b->bins, sizeof *b->mel);
        b->frame_valid = xcalloc(frames, sizeof *b->frame_valid);
        b->soft = xcalloc(cells, sizeof *b->soft);
        for (size_t i = 0; i < cells; i++)
            b->soft[i] = -1;
    }
}

/* The clips of one row, the first of them number `first` of the batch. */
static void put_clips(struct batch *b, const struct sample *s, int row, int first)
{
    for (int k = 0; k < s->clip_count; k++) {
        const struct sample_clip *c = &s->clips[k];
        size_t at = (size_t)(first + k) * (size_t)b->frames;
        memcpy(b->mel + at * (size_t)b->bins, c->mel,
               (size_t)c->frames * (size_t)b->bins * sizeof *b->mel);
        memset(b->frame_valid + at, 1, (size_t)c->frames);
    }
    for (int i = 0; i < s->span_count; i++) {
        const struct chat_span *span = &s->spans[i];
        assert(span->media < s->clip_count && span->count <= b->slots);
        for (int k = 0; k < span->count; k++)
            b->soft[row * b->len + span->start + k] = (first + span->media) * b->slots + k;
    }
}

static int put_targets(struct batch *b, const struct sample *s, int row, int r)
{
    for (int t = 1; t < s->count; t++) {
        if (!s->supervised[t])
            continue;
        b->target_rows[r] = row * b->len + t - 1;
        b->target_ids[r] = s->tokens[t];
        b->target_weights[r] = 1;
        b->row_of_target[r] = row;
        r++;
    }
    return r;
}

void collate(struct batch *b, const struct data_format *f, const struct sample *samples, int count)
{
    memset(b, 0, sizeof *b);
    measure(b, f, samples, count);
    allocate(b);
    int clip = 0, target = 0;
    for (int row = 0; row < count; row++) {
        const struct sample *s = &samples[row];
        for (int t = 0; t < b->len; t++)
            b->tokens[row * b->len + t] = t < s->count ? s->tokens[t] : f->pad_id;
        b->lengths[row] = s->count;
        b->ids[row] = xstrdup(s->id);
        b->has_ids[row] = s->has_id;
        b->records[row] = s->record;
        b->references[row] = s->reference ? xstrdup(s->reference) : NULL;
        put_clips(b, s, row, clip);
        clip += s->clip_count;
        target = put_targets(b, s, row, target);
    }
    for (; target < b->targets; target++)
        b->target_ids[target] = f->pad_id;
}

void batch_release(struct batch *b)
{
    for (int i = 0; i < b->rows; i++) {
        if (b->ids)
            free(b->ids[i]);
        if (b->references)
            free(b->references[i]);
    }
    free(b->ids);
    free(b->references);
    free(b->has_ids);
    free(b->records);
    free(b->tokens);
    free(b->lengths);
    free(b->mel);
    free(b->frame_valid);
    free(b->soft);
    free(b->target_rows);
    free(b->target_ids);
    free(b->target_weights);
    free(b->row_of_target);
    memset(b, 0, sizeof *b);
}
