/* collate.c - see collate.h. */
#include "data/collate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/collate_parts.h"

/* ---------------------------------------------------------------- shared -- */

int collate_round_up(int n, int multiple, int fallback)
{
    int m = multiple > 0 ? multiple : fallback;
    return (n + m - 1) / m * m;
}

int32_t *collate_filled(size_t count, int32_t value)
{
    int32_t *x = xcalloc(count + 1, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = value;
    return x;
}

void collate_records(struct batch *b, int count)
{
    size_t room = (size_t)count + 1;
    b->records_count = count;
    b->ids = xcalloc(room, sizeof *b->ids);
    b->has_ids = xcalloc(room, sizeof *b->has_ids);
    b->records = xcalloc(room, sizeof *b->records);
    b->references = xcalloc(room, sizeof *b->references);
    b->languages = xcalloc(room, sizeof *b->languages);
    b->seconds = xcalloc(room, sizeof *b->seconds);
    b->record_rows = xcalloc(room, sizeof *b->record_rows);
    b->record_starts = xcalloc(room, sizeof *b->record_starts);
    b->record_lengths = xcalloc(room, sizeof *b->record_lengths);
}

void collate_name(struct batch *b, const struct sample *s, int record, double seconds)
{
    b->ids[record] = xstrdup(s->id);
    b->has_ids[record] = s->has_id;
    b->records[record] = s->record;
    b->references[record] = s->reference ? xstrdup(s->reference) : NULL;
    b->languages[record] = s->language ? xstrdup(s->language) : NULL;
    b->seconds[record] = seconds;
}

void collate_tokens(struct batch *b, int pad_id)
{
    size_t targets = (size_t)b->targets;
    b->tokens = collate_filled((size_t)b->rows * (size_t)b->len, pad_id);
    b->target_rows = collate_filled(targets, 0);
    b->target_ids = collate_filled(targets, pad_id);
    b->target_weights = xcalloc(targets + 1, sizeof *b->target_weights);
    b->record_of_target = collate_filled(targets, 0);
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* ------------------------------------------------------------------- rows -- */

/* A sample, to be sorted by two numbers. */
struct item {
    int first, second, index;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->second != y->second)
        return x->second < y->second ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool is_packed(const struct data_format *f, const struct sample *samples, int count)
{
    bool is = f->pack_tokens > 0;
    for (int i = 0; i < count; i++)
        is = is && samples[i].purpose == SAMPLE_TRAIN;
    return is;
}

/* Put each sample into the first row that has room for it, the longest first. */
static void pack(struct batch *b, int most, struct item *items)
{
    int count = b->records_count;
    for (int i = 0; i < count; i++)
        items[i] = (struct item){-b->record_lengths[i], i, i};
    qsort(items, (size_t)count, sizeof *items, compare_items);
    for (int i = 0; i < count; i++) {
        int k = items[i].index, row = 0, length = b->record_lengths[k];
        while (row < b->rows && b->lengths[row] + length > most)
            row++;
        b->rows = larger(b->rows, row + 1);
        b->record_rows[k] = row;
        b->record_starts[k] = b->lengths[row];
        b->lengths[row] += length;
    }
}

/* Decide where each sample lies: B, T and the lengths of the rows.  Returns the samples in the
 * order of rows and tokens; the caller frees. */
static struct item *place(struct batch *b, const struct data_format *f,
                          const struct sample *samples, int count)
{
    size_t most = (size_t)count + 1;
    struct item *items = xcalloc(most, sizeof *items);
    collate_records(b, count);
    b->lengths = xcalloc(most, sizeof *b->lengths);
    for (int i = 0; i < count; i++)
        b->record_lengths[i] = samples[i].count;
    if (is_packed(f, samples, count)) {
        pack(b, f->pack_tokens, items);
    } else {
        b->rows = count;
        for (int i = 0; i < count; i++) {
            b->record_rows[i] = i;
            b->lengths[i] = samples[i].count;
        }
    }
    int longest = 0;
    for (int i = 0; i < b->rows; i++)
        longest = larger(longest, b->lengths[i]);
    b->len = collate_round_up(longest, f->tokens_multiple, SAMPLE_TOKENS);
    for (int i = 0; i < count; i++)
        items[i] = (struct item){b->record_rows[i], b->record_starts[i], i};
    qsort(items, (size_t)count, sizeof *items, compare_items);
    return items;
}

/* ---------------------------------------------------------------- shapes -- */

/* Soft tokens that pictures are padded to: a multiple, but not more than pictures may have. */
static int pad_picture(const struct data_format *f, int soft_tokens)
{
    const int limits[] = {f->picture->frame_tokens_max, f->picture->tokens_max};
    int slots = collate_round_up(soft_tokens, f->patches_multiple, SAMPLE_PATCHES);
    for (int i = 0; i < 2; i++)
        if (soft_tokens <= limits[i] && limits[i] < slots)
            slots = limits[i];
    return slots;
}

/* N, F, I, J, E, R and the sums. */
static void measure(struct batch *b, const struct data_format *f, const struct sample *samples,
                    int count)
{
    int frames = 0, soft_tokens = 0, targets = 0;
    for (int i = 0; i < count; i++) {
        const struct sample *s = &samples[i];
        b->total += s->count;
        for (int t = 1; t < s->count; t++)
            targets += s->supervised[t];
        b->clips += s->clip_count;
        for (int k = 0; k < s->clip_count; k++) {
            frames = larger(frames, s->clips[k].frames);
            b->audio_s += s->clips[k].audio_s;
        }
        b->pictures += s->picture_count;
        for (int k = 0; k < s->picture_count; k++)
            soft_tokens = larger(soft_tokens, s->pictures[k].picture.soft_tokens);
    }
    b->supervised = targets;
    b->targets = collate_round_up(targets, f->targets_multiple, SAMPLE_TARGETS);
    if (b->clips > 0) {
        b->frames = collate_round_up(frames, f->frames_multiple, SAMPLE_FRAMES);
        b->bins = mel_settings(f->mel)->bins;
        b->slots = mel_soft_tokens(f->mel, b->frames);
    }
    if (b->pictures > 0) {
        b->picture_slots = pad_picture(f, soft_tokens);
        b->patches = picture_patches(f->picture, b->picture_slots);
        b->patch_numbers = picture_patch_numbers(f->picture);
    }
}

static void allocate(struct batch *b, int pad_id)
{
    size_t cells = (size_t)b->rows * (size_t)b->len;
    collate_tokens(b, pad_id);
    if (b->clips > 0) {
        size_t frames = (size_t)b->clips * (size_t)b->frames;
        b->mel = xcalloc(frames * (size_t)b->bins, sizeof *b->mel);
        b->frame_valid = xcalloc(frames, sizeof *b->frame_valid);
        b->clip_keys = xcalloc((size_t)b->clips, sizeof *b->clip_keys);
    }
    if (b->pictures > 0) {
        size_t patches = (size_t)b->pictures * (size_t)b->patches;
        b->pixels = xcalloc(patches * (size_t)b->patch_numbers, sizeof *b->pixels);
        b->patch_at = collate_filled(2 * patches, -1);
        b->picture_keys = xcalloc((size_t)b->pictures, sizeof *b->picture_keys);
    }
    if (b->clips > 0 || b->pictures > 0)
        b->soft = collate_filled(cells, -1);
}

/* ------------------------------------------------------------------ media -- */

static void put_clip(struct batch *b, const struct sample_clip *c, int clip)
{
    size_t at = (size_t)clip * (size_t)b->frames;
    memcpy(b->mel + at * (size_t)b->bins, c->mel,
           (size_t)c->frames * (size_t)b->bins * sizeof *b->mel);
    memset(b->frame_valid + at, 1, (size_t)c->frames);
    b->clip_keys[clip] = c->key;
}

static void put_picture(struct batch *b, const struct sample_picture *p, int picture)
{
    int across = p->picture.across, patches = across * p->picture.down;
    size_t at = (size_t)picture * (size_t)b->patches, numbers = (size_t)b->patch_numbers;
    assert(patches <= b->patches);
    memcpy(b->pixels + at * numbers, p->picture.patches, (size_t)patches * numbers);
    for (int j = 0; j < patches; j++) {
        b->patch_at[2 * (at + (size_t)j)] = j % across;
        b->patch_at[2 * (at + (size_t)j) + 1] = j / across;
    }
    b->picture_keys[picture] = p->key;
}

/* The media of a sample, the first of them number `clip` and `picture` of the batch. */
static void put_media(struct batch *b, const struct sample *s, int record, int clip, int picture)
{
    for (int k = 0; k < s->clip_count; k++)
        put_clip(b, &s->clips[k], clip + k);
    for (int k = 0; k < s->picture_count; k++)
        put_picture(b, &s->pictures[k], picture + k);
    int32_t start = b->record_rows[record] * b->len + b->record_starts[record];
    for (int i = 0; i < s->span_count; i++) {
        const struct chat_span *span = &s->spans[i];
        const struct sample_block *block = &s->blocks[i];
        int first = block->is_picture
                        ? b->clips * b->slots + (picture + block->index) * b->picture_slots
                        : (clip + block->index) * b->slots;
        assert(span->count <= (block->is_picture ? b->picture_slots : b->slots));
        for (int k = 0; k < span->count; k++)
            b->soft[start + span->start + k] = first + k;
    }
}

/* ----------------------------------------------------------------- tokens -- */

static int put_targets(struct batch *b, const struct sample *s, int record, int r)
{
    int32_t start = b->record_rows[record] * b->len + b->record_starts[record];
    for (int t = 1; t < s->count; t++) {
        if (!s->supervised[t])
            continue;
        b->target_rows[r] = start + t - 1;
        b->target_ids[r] = s->tokens[t];
        b->target_weights[r] = 1;
        b->record_of_target[r] = record;
        r++;
    }
    return r;
}

static void put_record(struct batch *b, const struct sample *s, int record)
{
    int32_t start = b->record_rows[record] * b->len + b->record_starts[record];
    memcpy(b->tokens + start, s->tokens, (size_t)s->count * sizeof *b->tokens);
    collate_name(b, s, record, s->audio_s);
}

/* Number the records of each row, and the places in each record; what is behind them is numbered
 * as one more. */
static void put_segments(struct batch *b, const struct item *items)
{
    int *segments = xcalloc((size_t)b->rows + 1, sizeof *segments);
    for (int i = 0; i < b->records_count; i++)
        segments[b->record_rows[i]]++;
    for (int row = 0; row < b->rows; row++)
        b->segments = larger(b->segments, segments[row]);
    if (b->segments > 1) {
        size_t cells = (size_t)b->rows * (size_t)b->len;
        b->segment = xcalloc(cells, sizeof *b->segment);
        b->position = xcalloc(cells, sizeof *b->position);
        for (int row = 0, i = 0; row < b->rows; row++)
            for (int s = 0, t = 0; s <= segments[row]; s++) {
                int count = s < segments[row] ? b->record_lengths[items[i++].index] : b->len - t;
                for (int k = 0; k < count; k++, t++) {
                    b->segment[row * b->len + t] = s;
                    b->position[row * b->len + t] = k;
                }
            }
    }
    free(segments);
}

void collate(struct batch *b, const struct data_format *f, const struct sample *samples, int count)
{
    memset(b, 0, sizeof *b);
    b->segments = 1;
    if (f->crossing.is_used) {
        collate_windows(b, f, samples, count);
        return;
    }
    struct item *items = place(b, f, samples, count);
    measure(b, f, samples, count);
    allocate(b, f->pad_id);
    for (int i = 0, clip = 0, picture = 0; i < count; i++) {
        put_record(b, &samples[i], i);
        put_media(b, &samples[i], i, clip, picture);
        clip += samples[i].clip_count;
        picture += samples[i].picture_count;
    }
    for (int i = 0, target = 0; i < count; i++)
        target = put_targets(b, &samples[items[i].index], items[i].index, target);
    put_segments(b, items);
    free(items);
}

void batch_release(struct batch *b)
{
    for (int i = 0; i < b->records_count; i++) {
        if (b->ids)
            free(b->ids[i]);
        if (b->references)
            free(b->references[i]);
        if (b->languages)
            free(b->languages[i]);
    }
    free(b->ids);
    free(b->references);
    free(b->languages);
    free(b->seconds);
    free(b->language_at);
    free(b->has_ids);
    free(b->records);
    free(b->record_rows);
    free(b->record_starts);
    free(b->record_lengths);
    free(b->tokens);
    free(b->lengths);
    free(b->mel);
    free(b->frame_valid);
    free(b->clip_keys);
    free(b->pixels);
    free(b->patch_at);
    free(b->picture_keys);
    free(b->soft);
    free(b->segment);
    free(b->position);
    free(b->target_rows);
    free(b->target_ids);
    free(b->target_weights);
    free(b->record_of_target);
    memset(b, 0, sizeof *b);
}
