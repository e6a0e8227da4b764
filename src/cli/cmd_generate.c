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
    /* A clip or a picture may be all there is to say. */
    if (o->audio.count || o->image.count || o->video.count)
        return 0;
    return read_stdin(out, e);
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
    const struct record_files files = {
        .images = o->image.at,
        .videos = o->video.at,
        .clips = o->audio.at,
        .image_count = o->image.count,
        .video_count = o->video.count,
        .clip_count = o->audio.count,
    };
    if (record_of_files(&r, &files, prompt, e))
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
    if (session_is_crossing(o->config.model)) {
        err_set(e, ERR_USAGE, "generate: %s writes down what it hears, it answers no prompts",
                o->config.model);
        return err_hint(e, "attune transcribe --model %s FILE...", o->config.model);
    }
    struct buf prompt;
    buf_init(&prompt, PROMPT_BYTES_MAX);
    struct session_options so = session_options_of(&o->config);
    so.max_tokens = 0;                 /* as long as the model can */
    so.without_audio = !o->audio.count && !session_adapter_has(so.adapter, "audio");
    so.without_vision =
        !o->image.count && !o->video.count && !session_adapter_has(so.adapter, "vision");
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
