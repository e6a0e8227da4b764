/* trained.c - see trained.h. */
#include "train/trained.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/lora.h"

/* The number that "tower=number" gives to this tower; NaN when none does. */
static double number_for(const struct string_list *pairs, const char *tower)
{
    size_t n = strlen(tower);
    for (int i = 0; i < pairs->count; i++)
        if (!strncmp(pairs->at[i], tower, n) && pairs->at[i][n] == '=')
            return strtod(pairs->at[i] + n + 1, NULL);
    return NAN;
}

/* The name of a pair, cut to the buffer. */
static const char *name_of(const char *pair, char *out, size_t size)
{
    size_t n = strcspn(pair, "=");
    n = n < size - 1 ? n : size - 1;
    memcpy(out, pair, n);
    out[n] = 0;
    return out;
}

static bool has(const struct string_list *l, const char *word)
{
    for (int i = 0; i < l->count; i++)
        if (!strcmp(l->at[i], word))
            return true;
    return false;
}

/* ----------------------------------------------------------------- towers -- */

/* Is this tower to be trained? */
static bool is_named(const struct config *c, const char *tower)
{
    return has(c->method == METHOD_FULL ? &c->full.towers : &c->lora.towers, tower);
}

static bool needs(const struct config *c, const char *tower)
{
    return c->init == INIT_RANDOM || is_named(c, tower) || session_adapter_has(c->adapter, tower);
}

void trained_fit(struct session_options *o, const struct config *c, const struct manifest *train,
                 const struct manifest *eval)
{
    o->without_audio = o->without_vision = false;
    if (session_is_crossing(c->model))
        return;
    /* Whatever is decided already need not be looked for, which may be far away. */
    unsigned wanted = session_senses(c->model);
    bool needs_audio = needs(c, "audio"), needs_vision = needs(c, "vision");
    wanted &=
        ~(unsigned)((needs_audio ? SESSION_SOUND : 0) | (needs_vision ? SESSION_PICTURES : 0));
    unsigned media = wanted ? manifest_media(train, wanted, 0) : 0;
    if (wanted & ~media)
        media |= manifest_media(eval, wanted & ~media, c->eval_max_records);
    bool has_sound = media & SESSION_SOUND, has_pictures = media & SESSION_PICTURES;
    /* The projector joins towers to the decoder: without any there is none. */
    bool joins = is_named(c, "projector") && !media && !needs_audio && !needs_vision;
    o->without_audio = !has_sound && !joins && !needs_audio;
    o->without_vision = !has_pictures && !joins && !needs_vision;
}

/* ----------------------------------------------------------------- method -- */

static int check_full(const struct nn_params *p, const struct config *c, struct err *e)
{
    if (c->quantize != QUANTIZE_NONE) {
        err_set(e, ERR_USAGE,
                "quantize: only frozen weights can be kept in few bits, and method "
                "full trains them");
        return err_hint(e, "method: lora trains adapters beside quantised weights (QLoRA)");
    }
    for (int i = 0; i < p->count; i++) {
        if (p->at[i].role != NN_WEIGHT || mx_dtype(p->at[i].slot) != MX_UINT32)
            continue;
        err_set(e, ERR_USAGE, "method: full cannot train %s: the checkpoint is quantised",
                p->at[i].name);
        return err_hint(e, "method: lora trains adapters beside quantised weights, or take the "
                           "checkpoint that is not quantised");
    }
    return 0;
}

static int attach(struct nn_params *p, const struct config *c, struct err *e)
{
    const struct lora_config *l = &c->lora;
    struct nn_lora_config lora = {
        .rank = l->rank,
        .alpha = l->alpha,
        .dropout = l->dropout,
        .rslora = l->rslora,
        .dora = l->dora,
        .towers = l->towers.at,
        .tower_count = l->towers.count,
        .targets = l->targets.at,
        .target_count = l->targets.count,
        .seed = c->seed,
    };
    char names[NN_LORA_TOWERS_MAX][32];
    for (int i = 0; i < l->ranks.count; i++) {
        if (i == NN_LORA_TOWERS_MAX)
            return err_set(e, ERR_USAGE, "lora.ranks: found %d towers, at most %d are known",
                           l->ranks.count, NN_LORA_TOWERS_MAX);
        const char *tower = name_of(l->ranks.at[i], names[i], sizeof names[i]);
        if (l->towers.count ? !has(&l->towers, tower) : strcmp(tower, "language") != 0)
            return err_set(e, ERR_USAGE, "lora.ranks: %s is not among lora.towers", tower);
        int rank = (int)number_for(&l->ranks, tower);
        lora.others[lora.other_count++] = (struct nn_lora_tower){
            .tower = tower, .rank = rank, .alpha = l->alpha * rank / l->rank};
    }
    return nn_lora_attach(p, &lora, e);
}

static bool is_trained(const struct nn_params *p, const char *tower)
{
    for (int i = 0; i < p->trainable_count; i++)
        if (!strcmp(p->trainable[i]->tower, tower))
            return true;
    return false;
}

static int check_rates(const struct nn_params *p, const struct config *c, struct err *e)
{
    char name[32];
    for (int i = 0; i < c->learning_rates.count; i++) {
        const char *tower = name_of(c->learning_rates.at[i], name, sizeof name);
        if (!is_trained(p, tower))
            return err_set(e, ERR_USAGE, "learning_rates: nothing of tower %s is trained", tower);
    }
    return 0;
}

int trained_choose(struct nn_params *p, const struct config *c, struct err *e)
{
    int rc = 0;
    mx_enter();
    if (c->method == METHOD_FULL)
        rc = check_full(p, c, e) || nn_params_train(p, c->full.towers.at, c->full.towers.count, e);
    else if (!*c->adapter)             /* else the session has put it on */
        rc = attach(p, c, e);
    mx_leave(MX_NONE);
    return rc || check_rates(p, c, e) ? -1 : 0;
}

/* ------------------------------------------------------------------ rates -- */

double trained_rate(const struct config *c, const char *tower)
{
    double own = number_for(&c->learning_rates, tower);
    return isnan(own) ? c->learning_rate : own;
}

double *trained_factors(const struct nn_params *p, const struct config *c)
{
    double *factors = xcalloc((size_t)p->trainable_count + 1, sizeof *factors);
    for (int i = 0; i < p->trainable_count; i++) {
        double own = number_for(&c->learning_rates, p->trainable[i]->tower);
        factors[i] = isnan(own) ? 1 : own / c->learning_rate;
    }
    return factors;
}
