/* spelling.c - names of tensors as transformers and as MLX's tools write them. */
#include "nn/spelling.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const struct {
    const char *ours, *theirs;
} PREFIXES[] = {
    {"model.language_model.", "language_model.model."}, {"lm_head.", "language_model.lm_head."},
    {"model.vision_tower.", "vision_tower."},           {"model.audio_tower.", "audio_tower."},
    {"model.embed_vision.", "embed_vision."},           {"model.embed_audio.", "embed_audio."},
    {"model.vision_embedder.", "vision_embedder."},
};
enum { PREFIX_COUNT = sizeof PREFIXES / sizeof *PREFIXES };

/* `name` with the prefix `to` in place of `from`, or NULL. */
static char *replaced(const char *name, const char *from, const char *to)
{
    size_t n = strlen(from);
    return strncmp(name, from, n) == 0 ? xasprintf("%s%s", to, name + n) : NULL;
}

const struct safetensors_tensor *spelling_find(const struct safetensors *s, const char *name)
{
    const struct safetensors_tensor *t = safetensors_find(s, name);

    for (int i = 0; i < PREFIX_COUNT && !t; i++) {
        char *other = replaced(name, PREFIXES[i].ours, PREFIXES[i].theirs);
        if (other)
            t = safetensors_find(s, other);
        free(other);
    }
    return t;
}

char *spelling_ours(const char *name)
{
    char *ours = NULL;
    for (int i = 0; i < PREFIX_COUNT && !ours; i++)
        ours = replaced(name, PREFIXES[i].theirs, PREFIXES[i].ours);
    return ours ? ours : xstrdup(name);
}
