/* value.h - one value of the option table: from words to a field of struct options. */
#ifndef CLI_VALUE_H
#define CLI_VALUE_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/options.h"

enum value_source { VALUE_DEFAULT, VALUE_FILE, VALUE_ENVIRONMENT, VALUE_FLAG };

/* Where an option's value came from. */
struct option_origin {
    enum value_source source;
    char place[300];                   /* "run.yaml:3:1", "ATTUNE_STEPS", "--steps" */
};

/* A value as written: one word, or the items of a list. */
struct value_words {
    char **at;
    int count;
    bool is_list;                      /* written as a list, though it may have one item */
};

/* Take a value of a flag, a variable or --set apart: [a, b] is a list for every list option,
 * commas separate for OPTION_WORDS. */
void value_split(const struct option *t, const char *text, struct value_words *w);
void value_words_release(struct value_words *w);

/* Check the words against type and range and store them; `adds` keeps what a list already has. */
int value_set(const struct option *t, struct options *o, const struct value_words *w, bool adds,
              struct err *e) MUST_CHECK;

/* Free what the field holds. */
void value_release(const struct option *t, struct options *o);

#endif
