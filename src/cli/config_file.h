/* config_file.h - a YAML file as a row of (key, value) with their places; nested maps become dotted
 * keys: `lora: {rank: 16}` is lora.rank. */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

#include "base/err.h"
#include "cli/value.h"

struct config_entry {
    const char *key;                   /* dotted */
    const char *place, *value_place;   /* "run.yaml:3:1" of the key and of the value */
    struct value_words words;
};

typedef int (*config_entry_fn)(void *arg, const struct config_entry *entry, struct err *e);

/* Call `fn` for each entry, in the order of the file; the first failure ends it. */
int config_file_read(const char *path, config_entry_fn fn, void *arg, struct err *e) MUST_CHECK;

#endif
