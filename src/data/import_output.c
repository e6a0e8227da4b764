/* import_output.c - see import_output.h. */
#include "data/import_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int begin(struct import_output *o, enum import_split split, struct err *e)
{
    static const char *const parts[SPLIT_COUNT] = {"", ".train", ".eval", ".test"};
    o->paths[split] = xasprintf("%s%s%s", o->stem, parts[split], o->ending);
    if (!file_writer_open(&o->writers[split], o->paths[split], e))
        return 0;
    file_writer_abort(&o->writers[split]);
    free(o->paths[split]);
    o->paths[split] = NULL;
    return -1;
}

void import_output_open(struct import_output *o, const char *path, FILE *stream)
{
    *o = (struct import_output){0};
    if (!strcmp(path, "-")) {
        o->stream = stream;
        return;
    }
    bool has_ending = !strcmp(path_extension(path), "jsonl");
    o->ending = xstrdup(has_ending ? ".jsonl" : "");
    o->stem = xstrndup(path, strlen(path) - strlen(o->ending));
}

int import_output_emit(void *arg, enum import_split split, const char *line, size_t size,
                       struct err *e)
{
    struct import_output *o = arg;
    if (o->stream) {
        if (fwrite(line, 1, size, o->stream) == size)
            return 0;
        return err_set(e, errno == ENOSPC ? ERR_SPACE : ERR_FAILED, "stdout: %s", strerror(errno));
    }
    if (!o->paths[split] && begin(o, split, e))
        return -1;
    return file_writer_write(&o->writers[split], line, size, e);
}

int import_output_commit(struct import_output *o, struct err *e)
{
    for (int s = 0; s < SPLIT_COUNT; s++)
        if (o->paths[s] && file_writer_commit(&o->writers[s], NULL, e))
            return -1;
    return 0;
}

void import_output_release(struct import_output *o)
{
    for (int s = 0; s < SPLIT_COUNT; s++) {
        if (o->paths[s])
            file_writer_abort(&o->writers[s]);
        free(o->paths[s]);
    }
    free(o->stem);
    free(o->ending);
    *o = (struct import_output){0};
}
