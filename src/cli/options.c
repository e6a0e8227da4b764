/* options.c - values of options from their four sources (options.h). */
#include "cli/options.h"

#include <popt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "cli/config_file.h"
#include "cli/value.h"
#include "media/picture.h"
#include "mx/mx.h"

extern char **environ;

enum { NAME_MAX_BYTES = 64, YAML_TEXT_MAX = 1 << 20 };

/* Codes that popt hands back: an option's number plus one of these. */
enum { CODE_OPTION = 1000, CODE_NEGATED = 2000, CODE_HELP = 1, CODE_SET, CODE_CONFIG };

/* ----------------------------------------------------------------- flags -- */

/* One flag of the command line, in order; applied after file and environment. */
struct flag {
    int code;
    char *value;                       /* NULL when the flag takes none */
};

struct flags {
    struct flag *at;
    size_t count, room;
};

static void flags_release(struct flags *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->at[i].value);
    free(f->at);
}

static bool takes(const struct option *o, enum verb v)
{
    return o->verbs & 1u << v;
}

static bool takes_config(enum verb v)
{
    return v != VERB_DOCTOR && v != VERB_HELP;
}

/* What popt needs to know, for one verb; names are owned by the list. */
struct popt_list {
    struct poptOption *at;
    int count;
};

static void add_popt(struct popt_list *l, const char *name, char letter, int code, bool has_value)
{
    l->at[l->count++] = (struct poptOption){
        .longName = xstrdup(name),
        .shortName = letter,
        .argInfo = has_value ? POPT_ARG_STRING : POPT_ARG_NONE,
        .val = code,
    };
}

static void popt_list_init(struct popt_list *l, enum verb v)
{
    *l = (struct popt_list){.at = xcalloc((size_t)option_count * 2 + 4, sizeof *l->at)};
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        char name[NAME_MAX_BYTES], negated[NAME_MAX_BYTES + 4];
        if (!takes(o, v))
            continue;
        option_flag(o, name, sizeof name);
        add_popt(l, name, o->letter, CODE_OPTION + i, o->type != OPTION_BOOL);
        if (o->type != OPTION_BOOL)
            continue;
        snprintf(negated, sizeof negated, "no-%s", name);
        add_popt(l, negated, 0, CODE_NEGATED + i, false);
    }
    if (takes_config(v)) {
        add_popt(l, "config", 'c', CODE_CONFIG, true);
        add_popt(l, "set", 0, CODE_SET, true);
    }
    add_popt(l, "help", 'h', CODE_HELP, false);
}

static void popt_list_release(struct popt_list *l)
{
    for (int i = 0; i < l->count; i++)
        free((char *)(uintptr_t)l->at[i].longName);
    free(l->at);
}

/* popt's complaint in our words, with the nearest flag. */
static int flag_error(const struct popt_list *l, enum verb v, const char *bad, int code,
                      struct err *e)
{
    char word[NAME_MAX_BYTES * 2];
    snprintf(word, sizeof word, "%s", bad);
    word[strcspn(word, "=")] = 0;
    if (code == POPT_ERROR_NOARG)
        return err_set(e, ERR_USAGE, "%s needs a value", word);
    if (code == POPT_ERROR_UNWANTEDARG) {
        err_set(e, ERR_USAGE, "%s takes no value", word);
        return err_hint(e, "write %s or --no-%s", word, word + strspn(word, "-"));
    }
    if (code != POPT_ERROR_BADOPT)
        return err_set(e, ERR_USAGE, "%s: %s", word, poptStrerror(code));
    const char *names[512];
    int n = 0;
    for (int i = 0; i < l->count && n < 512; i++)
        names[n++] = l->at[i].longName;
    const char *nearest = suggest_nearest(word + strspn(word, "-"), names, n);
    err_set(e, ERR_USAGE, "%s: unknown flag \"%s\"", verb_name(v), word);
    if (nearest)
        return err_hint(e, "did you mean --%s?", nearest);
    return err_hint(e, "`attune %s --help` lists the flags", verb_name(v));
}

static void list_add(struct string_list *l, char *owned)
{
    l->at = xreallocarray(l->at, (size_t)l->count + 1, sizeof *l->at);
    l->at[l->count++] = owned;
}

/* Take the command line apart: flags in order, and the other words into o->args. */
static int read_flags(struct options *o, struct flags *flags, int argc, const char **argv,
                      struct err *e)
{
    struct popt_list list;
    popt_list_init(&list, o->verb);
    /* popt skips argv[0]. */
    const char **words = xcalloc((size_t)argc + 2, sizeof *words);
    words[0] = "attune";
    if (argc)
        memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    poptContext c = poptGetContext("attune", argc + 1, words, list.at, 0);
    int code;
    while ((code = poptGetNextOpt(c)) > 0) {
        if (flags->count == flags->room)
            flags->at = mem_grow(flags->at, &flags->room, sizeof *flags->at);
        flags->at[flags->count++] = (struct flag){code, poptGetOptArg(c)};
        if (code == CODE_HELP)
            o->help = true;
    }
    int rc = 0;
    if (code < -1 && !o->help)
        rc = flag_error(&list, o->verb, poptBadOption(c, 0), code, e);
    const char *word;
    while ((word = poptGetArg(c)))
        list_add(&o->args, xstrdup(word));
    poptFreeContext(c);
    free(words);
    popt_list_release(&list);
    return rc;
}

/* ---------------------------------------------------------------- values -- */

static int give(struct options *o, int i, const struct value_words *w, enum value_source source,
                const char *place, struct err *e)
{
    const struct option *t = &option_table[i];
    struct option_origin *from = &o->origins[i];
    bool adds = source == VALUE_FLAG && from->source == VALUE_FLAG && t->type == OPTION_PATHS;
    if (value_set(t, o, w, adds, e))
        return -1;
    from->source = source;
    snprintf(from->place, sizeof from->place, "%s", place);
    return 0;
}

static int give_text(struct options *o, int i, const char *text, enum value_source source,
                     const char *place, struct err *e)
{
    struct value_words w;
    value_split(&option_table[i], text, &w);
    int rc = give(o, i, &w, source, place, e);
    value_words_release(&w);
    return rc;
}

static int apply_defaults(struct options *o, struct err *e)
{
    for (int i = 0; i < option_count; i++) {
        const struct option *t = &option_table[i];
        bool is_text = t->type == OPTION_TEXT;
        if (!*t->fallback && !is_text)
            continue;
        if (give_text(o, i, t->fallback, VALUE_DEFAULT, "default", e))
            return err_in(e, "default of %s", t->key);
    }
    return 0;
}

static int apply_file_entry(void *arg, const struct config_entry *entry, struct err *e)
{
    struct options *o = arg;
    int i = option_find(entry->key);
    if (i < 0 || option_table[i].is_flag_only) {
        const char *names[512];
        int n = 0;
        for (int k = 0; k < option_count && n < 512; k++)
            if (!option_table[k].is_flag_only)
                names[n++] = option_table[k].key;
        const char *nearest = suggest_nearest(entry->key, names, n);
        err_set(e, ERR_USAGE, "%s: unknown key \"%s\"", entry->place, entry->key);
        if (nearest)
            return err_hint(e, "did you mean %s?", nearest);
        return err_hint(e, "`attune help config` lists the keys");
    }
    if (o->origins[i].source == VALUE_FILE)
        return err_set(e, ERR_USAGE, "%s: key \"%s\" is given twice, first at %s", entry->place,
                       entry->key, o->origins[i].place);
    if (give(o, i, &entry->words, VALUE_FILE, entry->place, e))
        return err_in(e, "%s: %s", entry->value_place, entry->key);
    return 0;
}

/* Variables that begin with ATTUNE_TEST_ belong to the test suite. */
static int check_environment(struct err *e)
{
    char names[256][NAME_MAX_BYTES];
    const char *known[256];
    int n = 0;
    for (int i = 0; i < option_count && n < 256; i++) {
        if (option_table[i].is_flag_only)
            continue;
        option_variable(&option_table[i], names[n], sizeof names[n]);
        known[n] = names[n];
        n++;
    }
    for (char **v = environ; *v; v++) {
        if (strncmp(*v, "ATTUNE_", 7) != 0 || !strncmp(*v, "ATTUNE_TEST_", 12))
            continue;
        char name[NAME_MAX_BYTES * 2];
        snprintf(name, sizeof name, "%s", *v);
        name[strcspn(name, "=")] = 0;
        bool is_known = false;
        for (int i = 0; i < n; i++)
            is_known |= !strcmp(name, known[i]);
        if (is_known)
            continue;
        const char *nearest = suggest_nearest(name, known, n);
        err_set(e, ERR_USAGE, "environment: unknown variable %s", name);
        if (nearest)
            return err_hint(e, "did you mean %s?", nearest);
        return err_hint(e, "`attune help config` lists the variables");
    }
    return 0;
}

static int apply_environment(struct options *o, struct err *e)
{
    if (check_environment(e))
        return -1;
    for (int i = 0; i < option_count; i++) {
        const struct option *t = &option_table[i];
        char name[NAME_MAX_BYTES];
        option_variable(t, name, sizeof name);
        const char *text = getenv(name);
        if (!text || t->is_flag_only || !takes(t, o->verb))
            continue;
        if (give_text(o, i, text, VALUE_ENVIRONMENT, name, e))
            return err_in(e, "%s", name);
    }
    return 0;
}

/* --set a.b=c: any key of a config file. */
static int apply_set(struct options *o, const char *text, struct err *e)
{
    const char *equals = strchr(text, '=');
    if (!equals) {
        err_set(e, ERR_USAGE, "--set %s: a key and a value are needed", text);
        return err_hint(e, "write --set key=value");
    }
    char *key = xstrndup(text, (size_t)(equals - text));
    char *place = xasprintf("--set %s", key);
    struct config_entry entry = {.key = key, .place = place, .value_place = "--set"};
    int i = option_find(key), rc;
    if (i < 0 || option_table[i].is_flag_only) {
        entry.place = "--set";
        rc = apply_file_entry(o, &entry, e);
    } else {
        rc = give_text(o, i, equals + 1, VALUE_FLAG, place, e);
        if (rc)
            err_in(e, "%s", place);
    }
    free(key);
    free(place);
    return rc;
}

static int apply_flags(struct options *o, const struct flags *flags, struct err *e)
{
    for (size_t k = 0; k < flags->count; k++) {
        const struct flag *f = &flags->at[k];
        if (f->code == CODE_SET && apply_set(o, f->value, e))
            return -1;
        if (f->code < CODE_OPTION)
            continue;
        bool is_negated = f->code >= CODE_NEGATED;
        int i = f->code - (is_negated ? CODE_NEGATED : CODE_OPTION);
        char name[NAME_MAX_BYTES], place[NAME_MAX_BYTES + 8];
        option_flag(&option_table[i], name, sizeof name);
        snprintf(place, sizeof place, "--%s%s", is_negated ? "no-" : "", name);
        const char *text = f->value ? f->value : is_negated ? "no" : "yes";
        if (give_text(o, i, text, VALUE_FLAG, place, e))
            return err_in(e, "%s", place);
    }
    return 0;
}

/* ----------------------------------------------------------- whole checks -- */

static bool was_given(const struct options *o, const char *key)
{
    return o->origins[option_find(key)].source != VALUE_DEFAULT;
}

/* Why an option has no effect beside the others' values; NULL when it has one. */
static const char *idle_reason(const struct options *o, const struct option *t)
{
    const struct config *c = &o->config;
    const char *k = t->key;
    bool is_eval_key = !strcmp(k, "eval_every") || !strcmp(k, "eval_max_records") ||
                       !strcmp(k, "eval_batch") || !strcmp(k, "eval_generate") ||
                       !strcmp(k, "normalizer") || !strcmp(k, "max_new_tokens");
    if (!strncmp(k, "lora.", 5) && c->method == METHOD_FULL)
        return "method is full, which trains every weight";
    if (!strncmp(k, "full.", 5) && c->method == METHOD_LORA)
        return "method is lora, which trains adapters";
    if (!strncmp(k, "lora.", 5) && *c->adapter)
        return "adapter brings its own";
    if (!strcmp(k, "quantize_group") && c->quantize == QUANTIZE_NONE)
        return "quantize is none";
    if (!strcmp(k, "mask_time_length") && c->mask_time_prob <= 0)
        return "mask_time_prob is 0";
    if (!strcmp(k, "mask_feature_length") && c->mask_feature_prob <= 0)
        return "mask_feature_prob is 0";
    if (!strcmp(k, "adapter") && *c->adapter && c->method == METHOD_FULL)
        return "method is full, which trains every weight";
    if (!strcmp(k, "min_lr_ratio") && c->schedule == SCHEDULE_CONSTANT)
        return "schedule is constant";
    if (is_eval_key && !c->eval.count)
        return "eval names no file";
    if ((!strcmp(k, "normalizer") || !strcmp(k, "max_new_tokens")) && !c->eval_generate)
        return "eval_generate is no";
    return NULL;
}

static int check_idle(const struct options *o, struct err *e)
{
    for (int i = 0; i < option_count; i++) {
        const struct option_origin *from = &o->origins[i];
        const char *why = idle_reason(o, &option_table[i]);
        /* A variable may be there for other runs; who wrote it into this one is told. */
        if (!why || (from->source != VALUE_FILE && from->source != VALUE_FLAG))
            continue;
        err_set(e, ERR_USAGE, "%s: key \"%s\" has no effect: %s", from->place, option_table[i].key,
                why);
        return err_hint(e, "remove it");
    }
    return 0;
}

static const char *place_of(const struct options *o, const char *key)
{
    return o->origins[option_find(key)].place;
}

static int need(const struct options *o, bool is_there, const char *key, struct err *e)
{
    if (is_there)
        return 0;
    char flag[NAME_MAX_BYTES];
    option_flag(&option_table[option_find(key)], flag, sizeof flag);
    err_set(e, ERR_USAGE, "%s: no %s is given", verb_name(o->verb), key);
    if (option_table[option_find(key)].is_flag_only)
        return err_hint(e, "add --%s", flag);
    return err_hint(e, "add \"%s: ...\" to the config file, or --%s", key, flag);
}

static int check_weights(const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    if (!c->weights.count || c->weights.count == c->train.count)
        return 0;
    err_set(e, ERR_USAGE, "%s: weights has %d numbers, train has %d entries",
            place_of(o, "weights"), c->weights.count, c->train.count);
    return err_hint(e, "give one number for each entry of train, in their order");
}

/* 0 stands for the checkpoint's own. */
static bool is_budget(int tokens)
{
    return tokens == 0 || picture_is_budget(tokens);
}

/* Numbers of which only some are right. */
static int check_budgets(const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    const char *key = !is_budget(c->image_tokens)   ? "image_tokens"
                      : !is_budget(c->video_tokens) ? "video_tokens"
                                                    : NULL;
    if (key)
        return err_set(e, ERR_USAGE, "%s: %s is %d, expected 70, 140, 280, 560 or 1120",
                       place_of(o, key), key,
                       strcmp(key, "image_tokens") ? c->video_tokens : c->image_tokens);
    int g = c->quantize_group;
    if (g != 32 && g != 64 && g != 128)
        return err_set(e, ERR_USAGE, "%s: quantize_group is %d, expected 32, 64 or 128",
                       place_of(o, "quantize_group"), g);
    return 0;
}

static int check_ranks(const struct options *o, struct err *e)
{
    const struct string_list *l = &o->config.lora.ranks;
    for (int i = 0; i < l->count; i++) {
        const char *rank = strchr(l->at[i], '=') + 1;
        if (rank[strspn(rank, "0123456789")])
            return err_set(e, ERR_USAGE, "%s: lora.ranks: %s is not a whole number",
                           place_of(o, "lora.ranks"), l->at[i]);
    }
    return 0;
}

static int check_train(struct options *o, struct err *e)
{
    struct config *c = &o->config;
    if (need(o, *c->model, "model", e) || need(o, c->train.count, "train", e) || check_idle(o, e))
        return -1;
    if (c->batch % c->accumulate) {
        err_set(e, ERR_USAGE, "%s: accumulate is %d, which does not divide batch, %d",
                place_of(o, "accumulate"), c->accumulate, c->batch);
        return err_hint(e, "a batch is worked off in that many equal parts");
    }
    if (check_weights(o, e) || check_budgets(o, e) || check_ranks(o, e))
        return -1;
    if (c->warmup_steps > c->steps)
        return err_set(e, ERR_USAGE, "%s: warmup_steps is %d, more than steps, %d",
                       place_of(o, "warmup_steps"), c->warmup_steps, c->steps);
    if (strchr(c->name, '/') || !strcmp(c->name, ".") || !strcmp(c->name, "..")) {
        err_set(e, ERR_USAGE, "%s: name \"%s\" is no plain file name", place_of(o, "name"),
                c->name);
        return err_hint(e, "the folder of runs is set by the key runs");
    }
    return 0;
}

/* Data are named by the words of the command line, --data, or the train key of a config file. */
static int check_data(const struct options *o, struct err *e)
{
    if (o->verb == VERB_DATA_IMPORT)
        return 0;                      /* a query of BigQuery is a source, too */
    if (!o->data.count && !o->config.train.count) {
        err_set(e, ERR_USAGE, "%s: no data is given", verb_name(o->verb));
        return err_hint(e, "attune %s FILE..., or a config file with a key train",
                        verb_name(o->verb));
    }
    return o->data.count ? 0 : check_weights(o, e);
}

static int check_whole(struct options *o, struct err *e)
{
    struct config *c = &o->config;
    if (c->dtype == DTYPE_F16 && o->verb != VERB_EXPORT) {
        err_set(e, ERR_USAGE, "%s: dtype is f16, which only export writes", place_of(o, "dtype"));
        return err_hint(e, "bf16 is as small and has the range of f32");
    }
    if (o->verb != VERB_TRAIN && check_budgets(o, e))
        return -1;
    switch (o->verb) {
    case VERB_TRAIN: return check_train(o, e);
    case VERB_SCORE:
        return need(o, *c->model, "model", e) || need(o, o->data.count, "data", e) ? -1 : 0;
    case VERB_EVAL:
        if (o->data.count + c->eval.count == 0) {
            err_set(e, ERR_USAGE, "eval: no data is given");
            return err_hint(e, "add \"eval: FILE\" to the config file, or --data FILE");
        }
        if (was_given(o, "blacklist_wer") && !*o->blacklist) {
            err_set(e, ERR_USAGE, "%s: has no effect: blacklist names no file",
                    place_of(o, "blacklist_wer"));
            return err_hint(e, "add --blacklist FILE");
        }
        if (*o->blacklist && !c->eval_generate) {
            err_set(e, ERR_USAGE, "%s: has no effect: eval_generate is no",
                    place_of(o, "blacklist"));
            return err_hint(e, "a blacklist is made from generated transcripts");
        }
        return need(o, *c->model, "model", e);
    case VERB_DATA_CHECK:
    case VERB_DATA_PLAN:
    case VERB_DATA_INDEX:
    case VERB_DATA_STATS:
    case VERB_DATA_SHOW:
    case VERB_DATA_IMPORT: return check_data(o, e);
    case VERB_TRANSCRIBE:
    case VERB_GENERATE: return need(o, *c->model, "model", e);
    case VERB_EXPORT:
        return need(o, *c->model, "model", e) || need(o, *o->output, "output", e) ? -1 : 0;
    case VERB_DOCTOR:
    case VERB_HELP:
    case VERB_COUNT: break;
    }
    return 0;
}

/* Defaults that follow from other values. */
static void derive(struct options *o)
{
    struct config *c = &o->config;
    if (!was_given(o, "lora.alpha"))
        c->lora.alpha = 2.0 * c->lora.rank;
    if (!was_given(o, "warmup_steps"))
        c->warmup_steps = c->steps / 10 < 20 ? c->steps / 10 : 20;
    /* On CUDA the first compiled step may spend minutes in the kernel compiler (docs/speed.md). */
    if (!was_given(o, "compile"))
        c->compile = c->device != DEVICE_CPU && mx_has_metal();
    if (*c->name)
        return;
    free(c->name);
    const char *slash = strrchr(c->config_path, '/');
    c->name = xstrdup(slash ? slash + 1 : c->config_path);
    char *dot = strrchr(c->name, '.');
    if (dot && dot != c->name)
        *dot = 0;
    if (!*c->name) {
        free(c->name);
        c->name = xstrdup("run");
    }
}

/* ------------------------------------------------------------- the struct -- */

static bool is_data_verb(enum verb v)
{
    return v >= VERB_DATA_CHECK && v <= VERB_DATA_IMPORT;
}

static bool is_yaml_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

/* Is this word, which is no flag, the name of a config file?  For train and eval the one word is;
 * among the data files of the `data` commands, it is known by its name. */
static bool names_config(const struct options *o, const char *word)
{
    return o->verb == VERB_TRAIN || o->verb == VERB_EVAL ||
           (is_data_verb(o->verb) && is_yaml_name(word));
}

/* The config file: --config, or such a word, which is taken out of the words. */
static int find_config(struct options *o, const struct flags *flags, struct err *e)
{
    char *path = NULL;
    int rc = 0, kept = 0;
    for (size_t k = 0; k < flags->count; k++)
        if (flags->at[k].code == CODE_CONFIG) {
            free(path);
            path = xstrdup(flags->at[k].value);
        }
    for (int i = 0; i < o->args.count; i++) {
        char *word = o->args.at[i];
        if (rc || !names_config(o, word)) {
            o->args.at[kept++] = word;
            continue;
        }
        if (path) {
            rc = err_set(e, ERR_USAGE, "%s: unexpected word \"%s\"", verb_name(o->verb), word);
            err_hint(e, "one config file is read; flags begin with --");
            free(word);
            continue;
        }
        path = word;
    }
    o->args.count = kept;
    o->config.config_path = path ? path : xstrdup("");
    return rc;
}

/* The other words of the `data` commands are data files. */
static void take_data_words(struct options *o)
{
    for (int i = 0; i < o->args.count; i++)
        list_add(&o->data, o->args.at[i]);
    o->args.count = 0;
}

static int resolve(struct options *o, const struct flags *flags, struct err *e)
{
    if (apply_defaults(o, e) || find_config(o, flags, e))
        return -1;
    if (*o->config.config_path && config_file_read(o->config.config_path, apply_file_entry, o, e))
        return -1;
    if (apply_environment(o, e) || apply_flags(o, flags, e))
        return -1;
    if (!takes_config(o->verb) && o->verb != VERB_HELP && o->args.count)
        return err_set(e, ERR_USAGE, "%s: unexpected word \"%s\"", verb_name(o->verb),
                       o->args.at[0]);
    if (is_data_verb(o->verb))
        take_data_words(o);
    derive(o);
    return check_whole(o, e);
}

int options_parse(struct options *o, enum verb verb, int argc, const char **argv, struct err *e)
{
    *o = (struct options){.verb = verb};
    o->origins = xcalloc((size_t)option_count, sizeof *o->origins);
    struct flags flags = {0};
    int rc = read_flags(o, &flags, argc, argv, e);
    if (!rc && !o->help)
        rc = resolve(o, &flags, e);
    flags_release(&flags);
    if (rc)
        options_release(o);
    return rc;
}

void options_release(struct options *o)
{
    for (int i = 0; i < option_count; i++)
        value_release(&option_table[i], o);
    free(o->config.config_path);
    for (int i = 0; i < o->args.count; i++)
        free(o->args.at[i]);
    free(o->args.at);
    free(o->origins);
    *o = (struct options){0};
}

char *options_to_yaml(const struct options *o)
{
    struct buf b;
    buf_init(&b, YAML_TEXT_MAX);
    const char *group = "";
    for (int i = 0; i < option_count; i++) {
        const struct option *t = &option_table[i];
        if (t->is_flag_only || idle_reason(o, t))
            continue;
        char *text = option_text(t, o);
        const char *dot = strchr(t->key, '.');
        size_t front = dot ? (size_t)(dot - t->key) : 0;
        bool is_empty = !strcmp(text, "\"\"") || !strcmp(text, "[]");
        if (!is_empty && dot && strncmp(group, t->key, front + 1) != 0) {
            buf_printf(&b, "%.*s:\n", (int)front, t->key);
            group = t->key;
        }
        if (!is_empty)
            buf_printf(&b, "%s%s: %s\n", dot ? "  " : "", dot ? dot + 1 : t->key, text);
        free(text);
    }
    return buf_take(&b, NULL);
}
