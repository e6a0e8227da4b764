/* collate_windows.c - batches of encoder-decoder models: row b is the transcript of window b.
 *
 * A window holds one clip, or several behind each other when they are joined.  Then the row begins
 * as the first one's tokens do, their texts follow each other, and one token ends it, which counts
 * as the last one's.  A clip begins at a step of the timestamps, so that its times become those of
 * the window by adding steps.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/collate_parts.h"
#include "data/sample_parts.h"

/* A clip of a sample with its tokens, and where it is put. */
struct piece {
    const struct sample *s;
    const struct sample_clip *clip;
    const int32_t *tokens;                /* of its own */
    int prefix, text;                     /* tokens before the text, and of it; behind it may be one
                                             that ends the row */
    int row, place;                       /* the row's first, second, ... */
    int64_t from;                         /* first sample in the window */
};

struct window {
    int prefix, tokens;                   /* so far, the end included */
    const struct piece *first;
    int count;                            /* pieces */
    int64_t samples;
};

/* What is going on while a batch is made. */
struct collating {
    struct batch *b;
    const struct data_format *f;
    const struct mel_config *m;
    struct piece *pieces;                 /* [records_count] in the order of the samples */
    struct window *windows;               /* [rows] */
    const struct piece **order;           /* [records_count] in the order of rows and tokens */
};

static bool is_trained(const struct piece *p)
{
    return p->s->purpose == SAMPLE_TRAIN;
}

/* ------------------------------------------------------------------ pieces -- */

static struct piece piece_of(const struct sample *s, int k)
{
    int start = s->starts[k], count = s->starts[k + 1] - start, prefix = 0;
    while (prefix < count && !s->supervised[start + prefix])
        prefix++;
    /* The end of the row is no text. */
    return (struct piece){.s = s,
                          .clip = &s->clips[k],
                          .tokens = s->tokens + start,
                          .prefix = prefix,
                          .text = prefix < count ? count - prefix - 1 : 0};
}

static void find_pieces(struct collating *g, const struct sample *samples, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += samples[i].clip_count;
    g->pieces = xcalloc((size_t)n + 1, sizeof *g->pieces);
    g->windows = xcalloc((size_t)n + 1, sizeof *g->windows);
    g->order = xcalloc((size_t)n + 1, sizeof *g->order);
    collate_records(g->b, n);
    n = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < samples[i].clip_count; k++)
            g->pieces[n++] = piece_of(&samples[i], k);
}

/* ----------------------------------------------------------------- windows -- */

/* Samples between two timestamps. */
static int64_t step_of(const struct collating *g)
{
    int64_t step = (int64_t)(WHISPER_TIME_STEP * g->m->rate + 0.5);
    return step > 0 ? step : 1;
}

/* Tokens of the text behind another one. */
static int text_behind(const struct piece *p)
{
    return p->clip->behind ? p->clip->behind_count : p->text;
}

static int64_t behind(const struct collating *g, const struct window *w)
{
    int64_t step = step_of(g);
    return (w->samples + step - 1) / step * step;
}

static bool has_room(const struct collating *g, const struct window *w, const struct piece *p)
{
    int positions = g->f->chat->whisper.positions, most = g->f->max_tokens;
    most = most > 0 && most < positions ? most : positions;
    return w->first->clip->can_join && w->prefix == p->prefix &&
           memcmp(w->first->tokens, p->tokens, (size_t)p->prefix * sizeof *p->tokens) == 0 &&
           behind(g, w) + p->clip->sample_count <= g->m->samples_max &&
           w->tokens + text_behind(p) <= most;
}

/* Into a window of its own, or behind those that are in it. */
static void put_piece(struct collating *g, struct piece *p, int row)
{
    struct window *w = &g->windows[row];
    p->row = row;
    p->place = w->count++;
    if (p->place == 0) {
        *w = (struct window){.prefix = p->prefix,
                             .tokens = p->prefix + p->text + is_trained(p),
                             .first = p,
                             .count = 1};
        g->b->rows++;
    } else {
        p->from = behind(g, w);
        w->tokens += text_behind(p);
    }
    w->samples = p->from + p->clip->sample_count;
}

/* The longest first; equally long ones in their order. */
static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
    if (x->clip->sample_count != y->clip->sample_count)
        return x->clip->sample_count > y->clip->sample_count ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int compare_places(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Each piece into the first window that has room for it. */
static void place_pieces(struct collating *g)
{
    int count = g->b->records_count;
    bool joins = false;
    for (int i = 0; i < count; i++) {
        joins = joins || g->pieces[i].clip->can_join;
        g->order[i] = &g->pieces[i];
    }
    if (joins)
        qsort(g->order, (size_t)count, sizeof *g->order, compare_pieces);
    for (int i = 0; i < count; i++) {
        struct piece *p = &g->pieces[g->order[i] - g->pieces];
        int row = p->clip->can_join ? 0 : g->b->rows;
        while (row < g->b->rows && !has_room(g, &g->windows[row], p))
            row++;
        put_piece(g, p, row);
    }
    qsort(g->order, (size_t)count, sizeof *g->order, compare_places);
}

/* ------------------------------------------------------------------ shapes -- */

static void measure(struct collating *g)
{
    struct batch *b = g->b;
    int longest = 0, targets = 0, positions = g->f->chat->whisper.positions;
    int64_t samples = 0;
    b->lengths = xcalloc((size_t)b->rows + 1, sizeof *b->lengths);
    for (int i = 0; i < b->rows; i++) {
        const struct window *w = &g->windows[i];
        b->lengths[i] = w->tokens;
        b->total += w->tokens;
        longest = w->tokens > longest ? w->tokens : longest;
        samples = w->samples > samples ? w->samples : samples;
        targets += is_trained(w->first) ? w->tokens - w->prefix : 0;
    }
    int len = collate_round_up(longest, g->f->tokens_multiple, SAMPLE_TOKENS);
    b->len = len > positions && longest <= positions ? positions : len;
    b->supervised = targets;
    b->targets = collate_round_up(targets, g->f->targets_multiple, SAMPLE_TARGETS);
    if (b->rows == 0)
        return;
    int window = (int)(g->m->samples_max / g->m->hop);
    int frames = (int)((samples + g->m->hop - 1) / g->m->hop);
    frames = (collate_round_up(frames, g->f->frames_multiple, SAMPLE_FRAMES) + 1) / 2 * 2;
    b->clips = b->rows;
    b->frames = frames > window || g->f->crossing.has_whole_window ? window : frames;
    b->bins = g->m->bins;
    b->slots = mel_soft_tokens(g->f->mel, b->frames);
}

static void allocate(struct collating *g)
{
    struct batch *b = g->b;
    size_t frames = (size_t)b->clips * (size_t)b->frames;
    collate_tokens(b, g->f->pad_id);
    b->mel = xcalloc(frames * (size_t)b->bins + 1, sizeof *b->mel);
    b->frame_valid = xcalloc(frames + 1, sizeof *b->frame_valid);
    b->clip_keys = xcalloc((size_t)b->clips + 1, sizeof *b->clip_keys);
    memset(b->frame_valid, 1, frames);
}

/* ------------------------------------------------------------------ tokens -- */

static int32_t *push(int32_t *to, const int32_t *tokens, int count)
{
    memcpy(to, tokens, (size_t)count * sizeof *tokens);
    return to + count;
}

/* The text of a piece behind others, its times moved to where it lies. */
static int32_t *push_behind(const struct collating *g, int32_t *to, const struct piece *p)
{
    const struct whisper_format *w = &g->f->chat->whisper;
    int32_t first = w->first_time, last = first + w->time_count - 1;
    int32_t steps = (int32_t)(p->from / step_of(g));
    if (p->clip->behind)
        return push(to, p->clip->behind, p->clip->behind_count);
    for (int i = 0; i < p->text; i++) {
        int32_t id = p->tokens[p->prefix + i];
        /* A time may be rounded up, but not out of the window. */
        int32_t moved = id + steps < last ? id + steps : last;
        *to++ = id >= first ? moved : id;
    }
    return to;
}

/* The tokens of the rows, and which of them are whose. */
static void put_tokens(struct collating *g)
{
    struct batch *b = g->b;
    int32_t *to = b->tokens, *row = to;
    for (int i = 0; i < b->records_count; i++) {
        const struct piece *p = g->order[i];
        const struct window *w = &g->windows[p->row];
        int record = (int)(p - g->pieces);
        if (p->place == 0)
            to = row = b->tokens + (size_t)p->row * (size_t)b->len;
        int start = (int)(to - row);
        if (p->place == 0)
            to = push(to, p->tokens, p->prefix + p->text);
        else
            to = push_behind(g, to, p);
        if (p->place == w->count - 1 && is_trained(p))
            *to++ = p->tokens[p->prefix + p->text];
        b->record_rows[record] = p->row;
        b->record_starts[record] = start;
        b->record_lengths[record] = (int)(to - row) - start;
        assert((int)(to - row) <= w->tokens);
    }
}

static void put_targets(struct collating *g)
{
    struct batch *b = g->b;
    int r = 0;
    for (int i = 0; i < b->records_count; i++) {
        const struct piece *p = g->order[i];
        int record = (int)(p - g->pieces), start = b->record_starts[record];
        int32_t *row = b->tokens + (size_t)p->row * (size_t)b->len;
        int first = p->place == 0 ? start + p->prefix : start;
        for (int t = first; t < start + b->record_lengths[record] && is_trained(p); t++, r++) {
            b->target_rows[r] = p->row * b->len + t - 1;
            b->target_ids[r] = row[t];
            b->target_weights[r] = 1;
            b->record_of_target[r] = record;
        }
    }
    assert(r == b->supervised);
}

static void put_records(struct collating *g)
{
    struct batch *b = g->b;
    for (int i = 0; i < b->records_count; i++) {
        const struct piece *p = &g->pieces[i];
        collate_name(b, p->s, i, p->clip->audio_s);
        if (p->clip->reference) {
            free(b->references[i]);
            b->references[i] = xstrdup(p->clip->reference);
        }
        b->audio_s += p->clip->audio_s;
        if (p->clip->language_at < 0)
            continue;
        if (!b->language_at)
            b->language_at = collate_filled((size_t)b->rows, -1);
        b->language_at[p->row] = p->clip->language_at;
    }
}

/* ---------------------------------------------------------------- features -- */

/* The features of clips that were joined, of as many frames as are not all alike. */
static float *make_mel(const struct collating *g, const struct piece *const *pieces, int count,
                       int64_t samples, int *frames)
{
    float *x = xcalloc((size_t)samples + 1, sizeof *x);
    for (int i = 0; i < count; i++)
        memcpy(x + pieces[i]->from, pieces[i]->clip->samples,
               (size_t)pieces[i]->clip->sample_count * sizeof *x);
    *frames = sample_window_frames(g->f, samples);
    float *mel = xcalloc((size_t)*frames * (size_t)g->m->bins + 1, sizeof *mel);
    mel_compute(g->f->mel, x, samples, *frames, mel);
    free(x);
    return mel;
}

/* Put a window's features in their place, and silence behind them. */
static void put_mel(struct batch *b, int row, const float *mel, int frames)
{
    size_t bins = (size_t)b->bins;
    float *to = b->mel + (size_t)row * (size_t)b->frames * bins;
    int copied = frames < b->frames ? frames : b->frames;
    memcpy(to, mel, (size_t)copied * bins * sizeof *to);
    for (int i = copied; i < b->frames; i++)
        memcpy(to + (size_t)i * bins, mel + (size_t)(frames - 1) * bins, bins * sizeof *to);
}

/* What the encoder makes of a window depends on how much of it there is, too. */
static uint64_t key_of(const struct collating *g, uint64_t key)
{
    bool is_whole = g->b->frames == (int)(g->m->samples_max / g->m->hop);
    if (!key || is_whole)
        return key;
    key = rng_u64(key, 0, (uint64_t)g->b->frames);
    return key ? key : 1;
}

static void augment(const struct collating *g, const struct piece *first)
{
    struct batch *b = g->b;
    uint64_t key = rng_u64(first->s->augment_key, 0, (uint64_t)(first->clip - first->s->clips));
    float *mel = b->mel + (size_t)first->row * (size_t)b->frames * (size_t)b->bins;
    if (!is_trained(first) || !spec_augment_is_on(&g->f->crossing.augment))
        return;
    spec_augment(&g->f->crossing.augment, key, mel, b->frames, b->bins);
    b->clip_keys[first->row] = 0;
}

static void put_features(struct collating *g)
{
    struct batch *b = g->b;
    for (int i = 0; i < b->records_count; i += g->windows[g->order[i]->row].count) {
        const struct piece *p = g->order[i];
        const struct window *w = &g->windows[p->row];
        uint64_t key = p->clip->key;
        if (p->clip->mel) {
            put_mel(b, p->row, p->clip->mel, p->clip->frames);
        } else {
            int frames;
            float *mel = make_mel(g, &g->order[i], w->count, w->samples, &frames);
            put_mel(b, p->row, mel, frames);
            if (g->f->has_keys)
                key = sample_key((int32_t[]){frames, b->bins, 0}, mel,
                                 (size_t)frames * (size_t)b->bins * sizeof *mel);
            free(mel);
        }
        b->clip_keys[p->row] = key_of(g, key);
        augment(g, p);
    }
}

void collate_windows(struct batch *b, const struct data_format *f, const struct sample *samples,
                     int count)
{
    struct collating g = {.b = b, .f = f, .m = mel_settings(f->mel)};
    find_pieces(&g, samples, count);
    place_pieces(&g);
    measure(&g);
    allocate(&g);
    put_tokens(&g);
    put_targets(&g);
    put_records(&g);
    put_features(&g);
    free(g.pieces);
    free(g.windows);
    free(g.order);
}
