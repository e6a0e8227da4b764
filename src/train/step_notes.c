/* step_notes.c - see step_notes.h. */
#include "train/step_notes.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { BAD_TEXTS_SHOWN = 10 };

/* Names of the records of a step, as many as fit. */
void step_names(const struct loader_step *s, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < s->count; i++) {
        for (int r = 0; r < s->micros[i].records_count; r++) {
            const char *name = s->micros[i].ids[r];
            if (n + strlen(name) + 8 > size) {
                snprintf(out + n, size - n, ", ...");
                return;
            }
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", name);
        }
    }
}

int64_t step_windows(const struct loader_step *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->micros[i].clips;
    return n;
}

static void warn_of_bad(struct step_notes *n, const struct loader_step *s)
{
    for (int i = 0; i < s->bad_count; i++) {
        if (n->bad_shown < BAD_TEXTS_SHOWN)
            log_warn("left out: %s", s->bad[i]);
        else if (n->bad_shown == BAD_TEXTS_SHOWN)
            log_warn("further bad records are only counted");
        n->bad_shown++;
    }
}

static void note_splits(struct step_notes *n, const struct loader_step *s)
{
    if (s->splits && !n->splits)
        log_info("step %lld: clips longer than the model takes are cut where they are quietest "
                 "(long_audio: split)",
                 (long long)s->step + 1);
    n->splits += s->splits;
}

void step_notes(struct step_notes *n, const struct loader_step *s)
{
    warn_of_bad(n, s);
    note_splits(n, s);
}
