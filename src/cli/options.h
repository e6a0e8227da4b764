/* options.h - every setting of the program, from one table.
 *
 * The table (option_table.c) gives each option its key, type, default, range, help and verbs.  From
 * it come the keys of config files (`lora: {rank: 16}` is key lora.rank), the flags (--lora-rank),
 * the environment (ATTUNE_LORA_RANK), `--set lora.rank=16`, --help and docs/config.md.  A flag wins
 * over the environment, that over the file, that over the default.
 *
 *     struct options o;
 *     if (options_parse(&o, VERB_TRAIN, argc, argv, e)) ...
 *     train(&o.config);
 *     options_release(&o);
 *
 * A value that does not fit its type or range, an unknown key, and a key that would have no effect
 * are errors of kind ERR_USAGE that name their place (file:line:col, flag or variable).
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "train/config.h"

enum verb {
    VERB_TRAIN,
    VERB_EVAL,
    VERB_SCORE,
    VERB_TRANSCRIBE,
    VERB_GENERATE,
    VERB_DOCTOR,
    VERB_HELP,
    VERB_COUNT,
};

/* What a command line says, resolved.  Strings are never NULL: "" stands for "not given". */
struct options {
    enum verb verb;
    struct config config;
    struct string_list data;           /* score, eval: JSONL files */
    struct string_list audio;          /* generate: clips in front of the prompt */
    bool ids;                          /* score: print input_ids too */
    char *predictions;                 /* eval: JSONL file for every transcript */
    double temperature, top_p;         /* generate: 0 is greedy; 1 keeps every token */
    struct string_list args;           /* the words that are no flags */
    bool help;                         /* --help was given: nothing else was checked */
    struct option_origin *origins;     /* one for each option of the table */
};

/* Read the command line (without program name and verb), the config file it names, and the
 * environment.  0, or -1 with `o` released. */
int options_parse(struct options *o, enum verb verb, int argc, const char **argv,
                  struct err *e) MUST_CHECK;
void options_release(struct options *o);

/* The resolved configuration as the text of a config file that gives it again.  Keys without effect
 * are left out.  The caller frees it. */
char *options_to_yaml(const struct options *o);

/* ------------------------------------------------------------- the table -- */

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_SEED,
    OPTION_NUMBER,
    OPTION_TEXT,
    OPTION_ENUM,
    OPTION_WORDS,                      /* struct string_list; commas separate in flags */
    OPTION_PATHS,                      /* struct string_list; a repeated flag adds */
};

struct option {
    const char *key;                   /* "lora.rank" */
    enum option_type type;
    size_t offset;                     /* of the value in struct options */
    const char *fallback;              /* default, as it would be written; "" for none */
    double low, high;                  /* OPTION_INT, OPTION_NUMBER: both ends allowed ... */
    bool above_low;                    /* ... but not `low` itself */
    const char *const *values;         /* OPTION_ENUM, OPTION_WORDS: allowed words, NULL-ended */
    char letter;                       /* short flag, or 0 */
    bool is_flag_only;                 /* of one command, no part of a configuration */
    unsigned verbs;                    /* bit 1 << VERB_... for each command that takes the flag */
    const char *group;                 /* heading in help */
    const char *arg;                   /* what help calls the value */
    const char *help;                  /* one line */
    const char *fallback_help;         /* what help says of the default, when that is no constant */
};

extern const struct option option_table[];
extern const int option_count;

/* Number of the option with this key, or -1. */
int option_find(const char *key);
/* "lora.rank" -> "lora-rank" and "ATTUNE_LORA_RANK", cut to the buffer. */
void option_flag(const struct option *o, char *out, size_t size);
void option_variable(const struct option *o, char *out, size_t size);
/* "a number above 0, up to 10", "one of: lora, full", ... */
void option_expects(const struct option *o, char *out, size_t size);
/* The value of `o` as it would be written in a file.  The caller frees it. */
char *option_text(const struct option *o, const struct options *values);

/* ------------------------------------------------------------------ help -- */

const char *verb_name(enum verb v);
/* The verb of this name, or VERB_COUNT with an error that names the nearest. */
enum verb verb_find(const char *name, struct err *e);
void help_program(FILE *f);
void help_verb(FILE *f, enum verb v);
void help_exit_codes(FILE *f);
/* The text of docs/config.md: every key with type, default, flag and variable. */
void help_config(FILE *f);

#endif
