/* cmd_generate.c - `attune generate`: the model's answer to one prompt. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "data/collate.h"
#include "train/generate.h"
#include "train/inputs.h"
#include "train/session.h"

enum { PROMPT_BYTES_MAX = 16 << 20 };

static int read_stdin(struct buf *out, struct err *e)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
        buf_add(out, piece, n);
    if (ferror(stdin))
        return err_set(e, ERR_DATA, "stdin: %s", strerror(errno));
    if (memchr(out->data, 0, out->size))
        return err_set(e, ERR_DATA, "stdin: the prompt holds a zero byte");
    return buf_check(out, "the prompt", e);
}

static int read_prompt(const struct options *o, struct buf *out, struct err *e)
{
    for (int i = 0; i < o->args.count; i++)
        buf_printf(out, "%s%s", i ? " " : "", o->args.at[i]);
    if (o->args.count)
        return buf_check(out, "the prompt", e);
    /* A clip may be all there is to say. */
    if (o->audio.count)
        return 0;
    return read_stdin(out, e);
}

/* The conversation as a record of a data file, so that both are read by the same rules. */
static int make_record(struct record *r, const struct options *o, const char *prompt, struct err *e)
{
    json_t *content = json_array();
    for (int i = 0; i < o->audio.count; i++) {
        json_t *part = json_object();
        json_put_str(part, "type", "audio");
        json_put_str(part, "audio", o->audio.at[i]);
        json_array_append_new(content, part);
    }
    if (*prompt) {
        json_t *part = json_object();
        json_put_str(part, "type", "text");
        json_put_str(part, "text", prompt);
        json_array_append_new(content, part);
    }
    json_t *message = json_object(), *messages = json_array(), *record = json_object();
    json_put_str(message, "role", "user");
    json_put(message, "content", content);
    json_array_append_new(messages, message);
    json_put(record, "messages", messages);
    struct buf line;
    buf_init(&line, 8 * PROMPT_BYTES_MAX);
    json_write_compact(record, &line);
    json_decref(record);
    int rc = buf_check(&line, "the prompt", e);
    if (!rc)
        rc = record_parse(r, line.data, line.size,
                          &(struct record_place){.where = "the prompt", .dir = "."}, e);
    buf_release(&line);
    return rc;
}

static int print_answer(const struct session *s, const struct options *o, const struct sample *p,
                        const struct ids *ids, struct err *e)
{
    char *text = session_text(s, ids, e);
    if (!text)
        return -1;
    struct buf line;
    buf_init(&line, 8 * PROMPT_BYTES_MAX);
    if (o->config.json) {
        json_t *v = json_object();
        json_put_str(v, "text", text);
        json_put_int(v, "prompt_tokens", p->count);
        json_put_int(v, "new_tokens", ids->count);
        json_write_compact(v, &line);
        json_decref(v);
    } else {
        buf_add_str(&line, text);
    }
    free(text);
    if (ids->count >= o->config.max_new_tokens)
        log_info("stopped after max_new_tokens, %d", o->config.max_new_tokens);
    int rc = output_line(&line, e);
    buf_release(&line);
    return rc;
}

static int answer(const struct session *s, const struct options *o, const char *prompt,
                  struct err *e)
{
    struct record r;
    if (make_record(&r, o, prompt, e))
        return -1;
    struct sample p;
    int rc = sample_make(&p, &s->format, &r, SAMPLE_GENERATE, e);
    record_release(&r);
    if (rc)
        return err_in(e, "generate");
    struct generate_options g = {
        .max_new_tokens = o->config.max_new_tokens,
        .stop_ids = s->stop_ids,
        .stop_count = s->stop_count,
        .temperature = o->temperature,
        .top_p = o->top_p,
        .seed = o->config.seed,
    };
    struct batch b;
    collate(&b, &s->format, &p, 1);
    struct ids ids = IDS_INIT;
    rc = generate(s->model, &b, &g, &ids, e);
    if (!rc)
        rc = print_answer(s, o, &p, &ids, e);
    ids_release(&ids);
    batch_release(&b);
    sample_release(&p);
    return rc;
}

int cmd_generate(const struct options *o, struct err *e)
{
    struct buf prompt;
    buf_init(&prompt, PROMPT_BYTES_MAX);
    struct session_options so = session_options_of(&o->config);
    so.max_tokens = 0;                 /* as long as the model can */
    so.without_audio = !o->audio.count && !session_adapter_hears(so.adapter);
    struct session s = {0};
    struct inputs in = {0};
    int rc = read_prompt(o, &prompt, e);
    if (!rc)
        rc = inputs_open(&in, &o->config, e);
    so.net = in.net;
    if (!rc)
        rc = session_open(&s, &so, e);
    if (!rc) {
        rc = answer(&s, o, prompt.data, e);
        session_close(&s);
    }
    inputs_close(&in);
    buf_release(&prompt);
    return rc;
}
