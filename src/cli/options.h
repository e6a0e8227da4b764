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

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "data/sample.h"
#include "text/subtitle.h"
#include "train/config.h"

enum verb {
    VERB_TRAIN,
    VERB_EVAL,
    VERB_SCORE,
    VERB_TRANSCRIBE,
    VERB_GENERATE,
    VERB_EXPORT,
    VERB_DATA_CHECK,
    VERB_DATA_PLAN,
    VERB_DATA_INDEX,
    VERB_DATA_STATS,
    VERB_DATA_SHOW,
    VERB_DATA_IMPORT,
    VERB_DOCTOR,
    VERB_HELP,
    VERB_COUNT,
};

enum option_color { COLOR_AUTO, COLOR_YES, COLOR_NO };
enum option_windows { WINDOWS_AUTO, WINDOWS_SEQUENTIAL, WINDOWS_SPLIT };

/* What a command line says, resolved.  Strings are never NULL: "" stands for "not given". */
struct options {
    enum verb verb;
    struct config config;
    struct string_list data;           /* score, eval, data ...: tables and shards; of data ... also
                                          the words that are no flags, and else config.train */
    struct string_list audio, image, video;     /* generate: media in front of the prompt */
    bool ids;                          /* score: print input_ids too */
    enum sample_ablation ablate;       /* eval: measure again without these media */
    char *predictions;                 /* eval: JSONL file for every transcript */
    char *blacklist;                   /* eval: CSV file for transcripts that are too far off ... */
    double blacklist_wer;              /* ... from this word error rate on */
    int limit;                         /* data ...: so many records; 0: all */
    char *record;                      /* data show: an id, "file:line" or a number */
    char *pictures;                    /* data show: folder for what the model sees */
    enum option_color color;           /* data show */
    char *output;                      /* data import: JSONL file; data check: of bad records;
                                          transcribe: folder for texts; export: of the model */
    enum subtitle_format format;       /* transcribe */
    enum option_windows windows;       /* transcribe: how long recordings are gone through */
    char *from;                        /* data import: kind of the sources */
    double split;                      /* part for evaluation */
    char *language_mode;               /* "strict", "mixed", "override:xx", "" */
    struct string_list languages;      /* to keep */
    struct string_list audio_root;     /* folders of clips, "DIR" or "CORPUS=DIR" */
    char *check;                       /* which clips to look for */
    double max_duration;               /* seconds, 0: any */
    char *query, *project;             /* of BigQuery */
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
    OPTION_BYTES,                      /* int64_t; "512MiB", "1.5GB", or a plain number */
    OPTION_TEXT,
    OPTION_ENUM,
    OPTION_WORDS,                      /* struct string_list; commas separate in flags */
    OPTION_PATHS,                      /* struct string_list; a repeated flag adds */
    OPTION_NUMBERS,                    /* struct string_list of numbers; commas as in WORDS */
    OPTION_PAIRS,                      /* struct string_list of "name=value"; in files also a map */
};

struct option {
    const char *key;                   /* "lora.rank" */
    enum option_type type;
    size_t offset;                     /* of the value in struct options */
    const char *fallback;              /* default, as it would be written; "" for none */
    double low, high;                  /* INT, NUMBER, BYTES, NUMBERS, and PAIRS whose values are
                                          numbers: both ends allowed ... */
    bool above_low;                    /* ... but not `low` itself */
    const char *const *values;         /* ENUM, WORDS, TEXT: allowed words, PAIRS: allowed names;
                                          NULL-ended */
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

const char *verb_name(enum verb v);    /* "train", "data check" */
/* The verb that a command line begins with; `used` receives how many words its name has.
 * VERB_COUNT with an error that names the nearest when there is none. */
enum verb verb_find(const char *const *words, int count, int *used, struct err *e);
/* Is it the first word of verbs of two words ("data")? */
bool verb_is_group(const char *word);
void help_program(FILE *f);
void help_group(FILE *f, const char *group);
void help_verb(FILE *f, enum verb v);
void help_exit_codes(FILE *f);
/* The text of docs/config.md: every key with type, default, flag and variable. */
void help_config(FILE *f);

#endif
