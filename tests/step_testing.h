/* step_testing.h - batches for training steps out of the reference's batch of a tiny Gemma 4. */
#ifndef STEP_TESTING_H
#define STEP_TESTING_H

#include "gemma4_fixture.h"

#include "train/step.h"

/* The rows first..last of the reference's batch; `clips` of them, from `first_clip` on, and
 * pictures likewise. */
struct part {
    int first, last, first_clip, clips, first_picture, pictures;
};

static inline struct part everything(const struct fixture *f)
{
    return (struct part){
        .last = f->B - 1,
        .clips = mx_is_none(f->in.mel) ? 0 : mx_dim(f->in.mel, 0),
        .pictures = mx_is_none(f->in.pixels) ? 0 : mx_dim(f->in.pixels, 0),
    };
}

static inline void *read_as(mx_array x, enum mx_dtype d)
{
    struct err e = {0};
    size_t bytes = mx_size(x) * mx_dtype_size(d);
    void *p = xmalloc(bytes);
    assert_int_equal(mx_read(x, d, p, bytes, &e), 0);
    return p;
}

static inline void take_targets(struct batch *b, const struct fixture *f, const struct part *p)
{
    int32_t *rows = read_as(f->in.target_rows, MX_INT32);
    int32_t *ids = read_as(f->in.target_ids, MX_INT32);
    float *weights = read_as(f->in.target_weights, MX_FLOAT32);
    b->target_rows = xcalloc((size_t)f->R, sizeof *rows);
    b->target_ids = xcalloc((size_t)f->R, sizeof *ids);
    b->target_weights = xcalloc((size_t)f->R, sizeof *weights);
    for (int i = 0; i < f->R; i++) {
        int row = rows[i] / f->T;
        if (row < p->first || row > p->last)
            continue;
        int k = b->targets++;
        b->target_rows[k] = rows[i] - p->first * f->T;
        b->target_ids[k] = ids[i];
        b->target_weights[k] = weights[i];
        b->supervised += weights[i] > 0;
    }
    free(rows);
    free(ids);
    free(weights);
}

static inline void take_media(struct batch *b, const struct fixture *f, const struct part *p)
{
    const struct model_facts *facts = &f->model->facts;
    struct part all = everything(f);
    b->clips = p->clips;
    b->pictures = p->pictures;
    if (all.clips) {
        mx_array mel = mx_slice(f->in.mel, 0, p->first_clip, p->first_clip + p->clips);
        mx_array valid = mx_slice(f->in.frame_valid, 0, p->first_clip, p->first_clip + p->clips);
        b->frames = mx_dim(mel, 1);
        b->bins = mx_dim(mel, 2);
        b->slots = facts->has_audio_tower ? (b->frames + 3) / 4 : b->frames;
        b->mel = read_as(mel, MX_FLOAT32);
        b->frame_valid = read_as(valid, MX_BOOL);
    }
    if (all.pictures) {
        int from = p->first_picture, to = from + p->pictures;
        b->patches = mx_dim(f->in.pixels, 1);
        b->patch_numbers = mx_dim(f->in.pixels, 2);
        b->picture_slots = b->patches / (facts->is_merged ? 1 : facts->pool * facts->pool);
        b->pixels = read_as(mx_slice(f->in.pixels, 0, from, to), MX_UINT8);
        b->patch_at = read_as(mx_slice(f->in.patch_at, 0, from, to), MX_INT32);
    }
    b->soft = read_as(mx_slice(f->in.soft, 0, p->first, p->last + 1), MX_INT32);
    for (int i = 0; i < b->rows * b->len; i++) {
        if (b->soft[i] >= all.clips * b->slots)
            b->soft[i] += (b->clips - all.clips) * b->slots - p->first_picture * b->picture_slots;
        else if (b->soft[i] >= 0)
            b->soft[i] -= p->first_clip * b->slots;
    }
}

static inline struct batch take(const struct fixture *f, const struct part *p)
{
    struct batch b = {.rows = p->last - p->first + 1, .len = f->T};
    mx_array tokens = mx_slice(f->in.tokens, 0, p->first, p->last + 1);
    b.tokens = read_as(tokens, MX_INT32);
    take_targets(&b, f, p);
    if (!mx_is_none(f->in.mel) || !mx_is_none(f->in.pixels))
        take_media(&b, f, p);
    return b;
}

#endif
