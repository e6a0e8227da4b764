/* batch_cut.c - see batch_cut.h. */
#include "train/batch_cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { TOKENS_MULTIPLE = 8 };

static void *copy(const void *from, size_t bytes)
{
    return from ? xmemdup(from, bytes) : NULL;
}

/* [B,T] -> [rows,len] */
static int32_t *cut_cells(const struct batch *out, const struct batch *b, const int32_t *from)
{
    if (!from)
        return NULL;
    size_t len = (size_t)out->len;
    int32_t *to = xcalloc((size_t)out->rows * len + 1, sizeof *to);
    for (int row = 0; row < out->rows; row++)
        memcpy(to + (size_t)row * len, from + (size_t)row * (size_t)b->len, len * sizeof *to);
    return to;
}

static void copy_media(struct batch *out, const struct batch *b)
{
    size_t frames = (size_t)out->clips * (size_t)b->frames;
    size_t patches = (size_t)out->pictures * (size_t)b->patches;
    if (out->clips) {
        out->mel = copy(b->mel, frames * (size_t)b->bins * sizeof *b->mel);
        out->frame_valid = copy(b->frame_valid, frames);
        out->clip_keys = copy(b->clip_keys, (size_t)out->clips * sizeof *b->clip_keys);
    }
    if (out->pictures) {
        out->pixels = copy(b->pixels, patches * (size_t)b->patch_numbers);
        out->patch_at = copy(b->patch_at, 2 * patches * sizeof *b->patch_at);
        out->picture_keys = copy(b->picture_keys, (size_t)out->pictures * sizeof *b->picture_keys);
    }
}

/* Media are numbered in the order of the rows: those up to the last one named are left. */
static void cut_media(struct batch *out, const struct batch *b)
{
    int cells = out->rows * out->len, pictures_from = b->clips * b->slots;
    for (int i = 0; i < cells; i++) {
        int soft = out->soft[i];
        if (soft >= pictures_from) {
            int picture = (soft - pictures_from) / b->picture_slots;
            out->pictures = picture >= out->pictures ? picture + 1 : out->pictures;
        } else if (soft >= 0) {
            out->clips = soft / b->slots >= out->clips ? soft / b->slots + 1 : out->clips;
        }
    }
    for (int i = 0; i < cells; i++)
        if (out->soft[i] >= pictures_from)
            out->soft[i] -= (b->clips - out->clips) * b->slots;
    if (!out->clips && !out->pictures) {
        free(out->soft);
        out->soft = NULL;
    }
    copy_media(out, b);
}

/* Of an encoder-decoder's batch each row has its clip. */
static bool is_crossing(const struct batch *b)
{
    return b->clips && !b->soft;
}

static void add_target(struct batch *out, int at, int32_t id)
{
    int k = out->targets++;
    out->target_rows[k] = at;
    out->target_ids[k] = id;
    out->target_weights[k] = 1;
    out->supervised++;
}

/* Targets mostly stand at the end of a row: where that was cut off, the same part of them is made
 * up at the new end. */
static void cut_targets(struct batch *out, const struct batch *b, double part)
{
    size_t room = (size_t)b->targets + 1;
    out->target_rows = xcalloc(room, sizeof *out->target_rows);
    out->target_ids = xcalloc(room, sizeof *out->target_ids);
    out->target_weights = xcalloc(room, sizeof *out->target_weights);
    int made_up = b->rows == 1 ? (int)ceil((double)b->supervised * part) : 0;
    for (int t = out->len - made_up; t < out->len && b->rows == 1; t++)
        if (t >= 0)
            add_target(out, t, out->tokens[t]);
    for (int i = 0; i < b->targets && b->rows > 1; i++) {
        int row = b->target_rows[i] / b->len, t = b->target_rows[i] % b->len;
        if (!(b->target_weights[i] > 0) || row >= out->rows || t >= out->len)
            continue;
        add_target(out, row * out->len + t, b->target_ids[i]);
    }
}

bool batch_cut(struct batch *out, const struct batch *b, double part)
{
    *out = (struct batch){
        .rows = (int)ceil(b->rows * part),
        .len = b->len,
        .frames = b->frames,
        .bins = b->bins,
        .slots = b->slots,
        .patches = b->patches,
        .patch_numbers = b->patch_numbers,
        .picture_slots = b->picture_slots,
        .segments = b->segments,
    };
    if (b->rows == 1) {
        int len = (int)(b->len * part) / TOKENS_MULTIPLE * TOKENS_MULTIPLE;
        out->len = len > TOKENS_MULTIPLE ? len : TOKENS_MULTIPLE;
        out->len = out->len < b->len ? out->len : b->len;
    }
    out->tokens = cut_cells(out, b, b->tokens);
    out->soft = cut_cells(out, b, b->soft);
    out->segment = cut_cells(out, b, b->segment);
    out->position = cut_cells(out, b, b->position);
    out->lengths = xcalloc((size_t)out->rows + 1, sizeof *out->lengths);
    for (int row = 0; row < out->rows; row++)
        out->lengths[row] = b->lengths[row] < out->len ? b->lengths[row] : out->len;
    if (out->soft)
        cut_media(out, b);
    if (is_crossing(b)) {
        out->clips = out->rows;
        copy_media(out, b);
    }
    cut_targets(out, b, part);
    if (out->targets)
        return true;
    batch_release(out);
    return false;
}
