/* tower_cache.c - see tower_cache.h. */
#include "train/tower_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/sample.h"

/* What a tower made of one clip or picture. */
struct output {
    uint64_t key;
    int rows, width;
    enum mx_dtype dtype;
    size_t bytes;
    unsigned char *data;               /* [rows,width] */
};

/* Outputs of one tower, found by key: open addressing, at most half full. */
struct shelf {
    bool is_used;                      /* the tower is frozen */
    struct output *slots;              /* [room], data NULL where free */
    size_t room, count;
};

struct tower_cache {
    const struct model *model;
    int64_t bytes_max;
    struct shelf heard, seen;
    struct tower_cache_stats stats;
};

enum { ROOM_FIRST = 64 };

/* ------------------------------------------------------------------ shelf -- */

/* The place of a key: where it is, or would be put. */
static struct output *place_of(const struct shelf *s, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (s->room - 1);
    while (s->slots[at].data && s->slots[at].key != key)
        at = (at + 1) & (s->room - 1);
    return &s->slots[at];
}

static const struct output *find(const struct shelf *s, uint64_t key)
{
    if (!s->room || !key)
        return NULL;
    const struct output *o = place_of(s, key);
    return o->data ? o : NULL;
}

static void grow(struct shelf *s)
{
    struct shelf old = *s;
    if (2 * (old.count + 1) <= old.room)
        return;
    s->room = old.room ? 2 * old.room : ROOM_FIRST;
    s->slots = xcalloc(s->room, sizeof *s->slots);
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].data)
            *place_of(s, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

static void release(struct shelf *s)
{
    for (size_t i = 0; i < s->room; i++)
        free(s->slots[i].data);
    free(s->slots);
}

/* Takes over the data of `o` when there is room for them. */
static bool put(struct tower_cache *c, struct shelf *s, const struct output *o)
{
    int64_t bytes = (int64_t)(o->bytes + sizeof *o);
    if (!o->key || c->stats.bytes + bytes > c->bytes_max)
        return false;
    grow(s);
    *place_of(s, o->key) = *o;
    s->count++;
    c->stats.bytes += bytes;
    return true;
}

/* ------------------------------------------------------------------ towers -- */

/* One item of a batch, as its tower is given it. */
typedef mx_array (*tower_fn)(const struct model *m, const struct batch *b, int i);

/* A clip alone, its frames padded to a multiple of SAMPLE_FRAMES. */
static mx_array hear_clip(const struct model *m, const struct batch *b, int i)
{
    const uint8_t *valid = b->frame_valid + (size_t)i * (size_t)b->frames;
    size_t bins = (size_t)b->bins;
    int n = b->frames;
    while (n > 0 && !valid[n - 1])
        n--;
    n = n > 0 ? n : 1;
    int F = (n + SAMPLE_FRAMES - 1) / SAMPLE_FRAMES * SAMPLE_FRAMES;
    float *mel = xcalloc((size_t)F * bins, sizeof *mel);
    uint8_t *is_real = xcalloc((size_t)F, 1);
    memcpy(mel, b->mel + (size_t)i * (size_t)b->frames * bins, (size_t)n * bins * sizeof *mel);
    memcpy(is_real, valid, (size_t)n);
    struct model_input in = {
        .mel = mx_from(mel, MX_FLOAT32, (int[]){1, F, b->bins}, 3),
        .frame_valid = mx_from(is_real, MX_BOOL, (int[]){1, F}, 2),
    };
    free(mel);
    free(is_real);
    return model_hear(m, &in);
}

/* An encoder-decoder's window alone, as long as the batch's: there is no padding that the decoder
 * would not see. */
static mx_array hear_window(const struct model *m, const struct batch *b, int i)
{
    size_t frames = (size_t)i * (size_t)b->frames;
    struct model_input in = {
        .mel = mx_from(b->mel + frames * (size_t)b->bins, MX_FLOAT32,
                       (int[]){1, b->frames, b->bins}, 3),
        .frame_valid = mx_from(b->frame_valid + frames, MX_BOOL, (int[]){1, b->frames}, 2),
    };
    return model_hear(m, &in);
}

/* A picture alone, without padding. */
static mx_array see(const struct model *m, const struct batch *b, int i)
{
    const int32_t *at = b->patch_at + (size_t)i * (size_t)b->patches * 2;
    const uint8_t *pixels = b->pixels + (size_t)i * (size_t)b->patches * (size_t)b->patch_numbers;
    int J = b->patches;
    while (J > 1 && at[2 * (J - 1)] < 0)
        J--;
    struct model_input in = {
        .pixels = mx_from(pixels, MX_UINT8, (int[]){1, J, b->patch_numbers}, 3),
        .patch_at = mx_from(at, MX_INT32, (int[]){1, J, 2}, 3),
    };
    return model_see(m, &in);
}

/* The items of a batch that have to go through one tower. */
struct job {
    struct shelf *shelf;
    tower_fn tower;
    const struct batch *batch;
    const uint64_t *keys;              /* NULL: unknown */
    uint64_t salt;                     /* what else their outputs depend on */
    int count, slots;                  /* slots 0: as many as the tower makes rows */
};

/* One item on its way. */
struct item {
    uint64_t key;
    const struct output *found;        /* in the cache, ... */
    int same;                          /* ... or the same as this earlier one, -1: none, ... */
    mx_array x;                        /* ... or [1,rows,width] under way */
    struct output made;
};

static uint64_t key_of(const struct job *j, int i)
{
    uint64_t key = j->keys ? j->keys[i] : 0;
    return key && j->salt ? rng_u64(key, j->salt, 0) : key;
}

static int find_same(const struct item *items, int i)
{
    for (int k = 0; k < i; k++)
        if (items[i].key && items[k].key == items[i].key && !items[k].found && items[k].same < 0)
            return k;
    return -1;
}

/* Start what is not there.  Each item passes the tower alone; the device goes on with one while the
 * host builds the next. */
static int start(struct tower_cache *c, const struct job *j, struct item *items, struct err *e)
{
    for (int i = 0; i < j->count; i++) {
        struct item *it = &items[i];
        *it = (struct item){.key = key_of(j, i), .same = -1, .x = MX_NONE};
        it->found = find(j->shelf, it->key);
        if (!it->found)
            it->same = find_same(items, i);
        if (it->found || it->same >= 0) {
            c->stats.hits++;
            continue;
        }
        c->stats.misses++;
        it->x = j->tower(c->model, j->batch, i);
        if (mx_async_eval(&it->x, 1, e))
            return -1;
    }
    return 0;
}

static int read_output(struct item *it, struct err *e)
{
    struct output *o = &it->made;
    *o = (struct output){
        .key = it->key,
        .rows = mx_dim(it->x, 1),
        .width = mx_dim(it->x, 2),
        .dtype = mx_dtype(it->x),
        .bytes = mx_nbytes(it->x),
    };
    o->data = xmalloc(o->bytes + 1);
    if (!mx_read(it->x, o->dtype, o->data, o->bytes, e))
        return 0;
    free(o->data);
    o->data = NULL;
    return -1;
}

/* What the items of a batch become together: [count,slots,width]. */
struct gathered {
    unsigned char *data;
    int slots, width;
    enum mx_dtype dtype;
};

static void gather(struct gathered *g, const struct output *o, int i, int count)
{
    if (!g->data) {
        g->slots = g->slots ? g->slots : o->rows;
        g->width = o->width;
        g->dtype = o->dtype;
    }
    size_t row = o->bytes / (size_t)o->rows, all = row * (size_t)g->slots;
    if (!g->data)
        g->data = xcalloc((size_t)count, all);
    size_t n = o->rows < g->slots ? (size_t)o->rows : (size_t)g->slots;
    memcpy(g->data + (size_t)i * all, o->data, n * row);
}

/* Read what was started, and put all together. */
static int finish(const struct job *j, struct item *items, struct gathered *g, struct err *e)
{
    for (int i = 0; i < j->count; i++) {
        struct item *it = &items[i];
        if (!it->found && it->same < 0 && read_output(it, e))
            return -1;
        gather(g, it->found ? it->found : &items[it->same < 0 ? i : it->same].made, i, j->count);
    }
    return 0;
}

/* Nobody points into the shelf any more: what was made goes there. */
static void keep(struct tower_cache *c, const struct job *j, struct item *items)
{
    for (int i = 0; i < j->count; i++) {
        struct output *o = &items[i].made;
        if (o->data && !put(c, j->shelf, o))
            free(o->data);
    }
}

static int gather_all(struct tower_cache *c, const struct job *j, mx_array *out, struct err *e)
{
    struct gathered g = {.slots = j->slots};
    struct item *items = xcalloc((size_t)j->count + 1, sizeof *items);
    mx_enter();
    int rc = start(c, j, items, e) || finish(j, items, &g, e) ? -1 : 0;
    mx_leave(MX_NONE);
    keep(c, j, items);
    if (!rc)
        *out = mx_from(g.data, g.dtype, (int[]){j->count, g.slots, g.width}, 3);
    free(g.data);
    free(items);
    return rc;
}

int tower_cache_input(struct tower_cache *c, struct model_input *in, const struct batch *b,
                      struct err *e)
{
    bool is_crossing = c->model->facts.is_crossing;
    const struct job hearing = {
        .shelf = &c->heard,
        .tower = is_crossing ? hear_window : hear_clip,
        .batch = b,
        .keys = b->clip_keys,
        .salt = is_crossing ? (uint64_t)b->frames : 0,
        .count = b->clips,
        .slots = is_crossing ? 0 : b->slots,
    };
    const struct job seeing = {
        .shelf = &c->seen,
        .tower = see,
        .batch = b,
        .keys = b->picture_keys,
        .count = b->pictures,
        .slots = b->picture_slots,
    };
    if (c->heard.is_used && b->clips) {
        if (gather_all(c, &hearing, &in->heard, e))
            return err_in(e, "audio tower");
        in->mel = in->frame_valid = MX_NONE;
    }
    if (c->seen.is_used && b->pictures) {
        if (gather_all(c, &seeing, &in->seen, e))
            return err_in(e, "vision tower");
        in->pixels = in->patch_at = MX_NONE;
    }
    return 0;
}

/* ------------------------------------------------------------------ cache -- */

static bool is_frozen(const struct nn_params *p, const char *tower)
{
    for (int i = 0; i < p->trainable_count; i++)
        if (!strcmp(p->trainable[i]->tower, tower))
            return false;
    return true;
}

struct tower_cache *tower_cache_new(const struct model *m, int64_t bytes_max)
{
    bool hears = m->facts.audio_id >= 0 && m->facts.has_audio_tower && m->family->hear &&
                 is_frozen(&m->params, "audio");
    bool sees = m->facts.image_id >= 0 && m->facts.has_vision_tower && m->family->see &&
                is_frozen(&m->params, "vision");
    if (bytes_max <= 0 || (!hears && !sees))
        return NULL;
    struct tower_cache *c = xcalloc(1, sizeof *c);
    c->model = m;
    c->bytes_max = bytes_max;
    c->heard.is_used = hears;
    c->seen.is_used = sees;
    return c;
}

void tower_cache_free(struct tower_cache *c)
{
    if (!c)
        return;
    release(&c->heard);
    release(&c->seen);
    free(c);
}

struct tower_cache_stats tower_cache_stats(const struct tower_cache *c)
{
    return c->stats;
}
