/* registry.c - the families of models there are: one line each. */
#include <stddef.h>
#include <string.h>

#include "model/gemma4.h"
#include "model/model.h"
#include "model/whisper_model.h"

static const struct model_family *const families[] = {
    &gemma4_family,  &gemma4_text_family, &gemma4_unified_family, &gemma4_unified_text_family,
    &whisper_family,
};

enum { FAMILIES = sizeof families / sizeof *families };

const struct model_family *model_family_find(const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i]->model_type, model_type) == 0)
            return families[i];
    return NULL;
}

const char *model_family_names(void)
{
    static char names[256];

    if (names[0] == '\0') {
        for (int i = 0; i < FAMILIES; i++) {
            size_t used = strlen(names);
            strncat(names, i ? ", " : "", sizeof names - used - 1);
            used = strlen(names);
            strncat(names, families[i]->model_type, sizeof names - used - 1);
        }
    }
    return names;
}
