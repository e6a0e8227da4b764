/* place.c - see place.h. */
#include "train/place.h"

json_t *place_to_json(const struct place *p)
{
    json_t *o = json_object();
    json_put_int(o, "epoch", p->cursor.epoch);
    json_put_int(o, "window", p->cursor.window);
    json_put_int(o, "batch", p->cursor.batch);
    json_put_int(o, "bad", p->bad);
    json_put_int(o, "taken", p->taken);
    return o;
}

struct place place_of_json(const json_t *o, struct err *e)
{
    struct place p = {0};
    if (!o)
        return p;
    p.cursor.epoch = json_need_int(o, "epoch", e);
    p.cursor.window = json_need_int(o, "window", e);
    p.cursor.batch = json_need_int(o, "batch", e);
    p.bad = json_need_int(o, "bad", e);
    p.taken = json_need_int(o, "taken", e);
    bool is_fine = p.cursor.epoch >= 0 && p.cursor.window >= 0 && p.cursor.batch >= 0 &&
                   p.bad >= 0 && p.taken >= p.bad;
    if (!e->kind && !is_fine)
        err_set(e, ERR_INTEGRITY, "data: a number is out of range");
    return p;
}
