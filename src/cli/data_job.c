/* data_job.c - see data_job.h. */
#include "cli/data_job.h"

#include <stdio.h>

#include "base/file.h"

static int open_model(struct data_job *j, struct err *e)
{
    const char *dir = j->o->config.model;
    struct model_facts facts;
    struct senses_options senses = senses_options_of(&j->o->config);
    if (!file_is_dir(dir)) {
        err_set(e, ERR_USAGE, "model %s: no such folder", dir);
        return err_hint(e, "its tokenizer and configuration are read, not its weights");
    }
    j->tokenizer = tokenizer_open(dir, e);
    if (!j->tokenizer || chat_format_open(&j->chat, dir, j->tokenizer, e) ||
        model_facts_read(dir, &facts, e) || senses_open(&j->senses, dir, &facts, &senses, e))
        return -1;
    j->format.chat = &j->chat;
    senses_format(&j->senses, &j->format);
    return 0;
}

static int open_parts(struct data_job *j, struct err *e)
{
    const struct config *c = &j->o->config;
    /* Weights belong to the config's `train`; only a plan takes them for other data, too. */
    bool is_train = !j->o->data.count;
    const struct string_list *patterns = is_train ? &c->train : &j->o->data;
    bool is_weighted = is_train || j->o->verb == VERB_DATA_PLAN;
    if (inputs_open(&j->inputs, c, e) ||
        inputs_manifest(&j->inputs, patterns, is_weighted ? &c->weights : NULL, &j->manifest, e))
        return -1;
    j->format = (struct data_format){
        .net = j->inputs.net,
        .prompt = c->prompt,
        .is_thinking = c->thinking,
        .max_tokens = c->max_tokens,
    };
    return *c->model ? open_model(j, e) : 0;
}

int data_job_open(struct data_job *j, const struct options *o, struct err *e)
{
    *j = (struct data_job){.o = o};
    if (!open_parts(j, e))
        return 0;
    data_job_close(j);
    return -1;
}

void data_job_close(struct data_job *j)
{
    manifest_release(&j->manifest);
    inputs_close(&j->inputs);
    senses_release(&j->senses);
    tokenizer_free(j->tokenizer);
    *j = (struct data_job){0};
}

const char *data_time(double seconds, char out[32])
{
    if (seconds < 60)
        snprintf(out, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(out, 32, "%.0f min %02.0f s", (double)(int)(seconds / 60),
                 seconds - 60 * (double)(int)(seconds / 60));
    else
        snprintf(out, 32, "%.0f h %02.0f min", (double)(int64_t)(seconds / 3600),
                 (double)((int64_t)(seconds / 60) % 60));
    return out;
}

const char *data_bytes(double bytes, char out[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int i = 0;
    for (; bytes >= 1000 && i < 5; i++)
        bytes /= 1000;
    snprintf(out, 32, i && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return out;
}
