/* cmd_score.c - `attune score`: the log-probability of every supervised token.
 *
 * One JSON line for each record, in their order:
 *
 *     {"id":…,"input_tokens":…,"supervised_tokens":…,"loss":…,"logprobs":[…]}
 *
 * with --ids also "input_ids".  `loss` is the mean of -logprobs, which are natural logarithms after
 * the final softcap.  Each record runs alone, in float32, without padding.  `id` is the record's
 * own, else "file:line".  A record that is cut into windows (Whisper, long_audio: split) has a line
 * for each, with "window" counted from 0.
 *
 * A bad record is named on stderr and left out; the others are still scored, and the command ends
 * with ERR_DATA.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "data/loader.h"
#include "train/inputs.h"
#include "train/session.h"
#include "train/speech.h"

enum { LINE_BYTES_MAX = 256 << 20 };

static void add_number(struct buf *out, double v)
{
    if (isfinite(v))
        buf_printf(out, "%.9g", v);
    else
        buf_add_str(out, "null");
}

/* The targets of one entry of the batch, in order; returns how many. */
static int pick_targets(const struct batch *b, int entry, const float *logprobs, float *out)
{
    int n = 0;
    for (int i = 0; i < b->targets; i++)
        if (b->target_weights[i] > 0 && b->record_of_target[i] == entry)
            out[n++] = logprobs[i];
    return n;
}

static void add_ids(struct buf *out, const struct batch *b, int entry)
{
    const int32_t *ids =
        b->tokens + (size_t)b->record_rows[entry] * (size_t)b->len + b->record_starts[entry];
    buf_add_str(out, ",\"input_ids\":[");
    for (int i = 0; i < b->record_lengths[entry]; i++)
        buf_printf(out, "%s%d", i ? "," : "", ids[i]);
    buf_add_char(out, ']');
}

/* The line of one entry of a batch: the record, or one of its windows. */
static void add_line(struct buf *out, const struct batch *b, int entry, const float *logprobs,
                     int n, bool has_ids)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum -= (double)logprobs[i];
    buf_add_str(out, "{\"id\":");
    json_write_str(b->ids[entry], strlen(b->ids[entry]), out);
    if (b->records_count > 1)
        buf_printf(out, ",\"window\":%d", entry);
    buf_printf(out,
               ",\"input_tokens\":%d,\"supervised_tokens\":%d,\"loss\":", b->record_lengths[entry],
               n);
    add_number(out, sum / n);
    buf_add_str(out, ",\"logprobs\":[");
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? "," : "");
        add_number(out, (double)logprobs[i]);
    }
    buf_add_char(out, ']');
    if (has_ids)
        add_ids(out, b, entry);
    buf_add_char(out, '}');
}

static int write_lines(const struct batch *b, const float *logprobs, bool has_ids, struct err *e)
{
    float *own = xcalloc((size_t)b->targets + 1, sizeof *own);
    int rc = 0;
    for (int entry = 0; entry < b->records_count && !rc; entry++) {
        struct buf line;
        int n = pick_targets(b, entry, logprobs, own);
        buf_init(&line, LINE_BYTES_MAX);
        add_line(&line, b, entry, own, n, has_ids);
        rc = output_line(&line, e);
        buf_release(&line);
    }
    free(own);
    return rc;
}

static int score_batch(const struct session *session, struct batch *b, bool has_ids, struct err *e)
{
    if (b->language_at && speech_detect(session, b, NULL, e))
        return err_in(e, "%s", b->ids[0]);
    float *logprobs = xcalloc((size_t)b->targets + 1, sizeof *logprobs);
    mx_enter();
    struct model_input in;
    session_input(&in, session->model, b, &(struct session_rows){0});
    int rc = mx_read(model_logprobs(session->model, &in), MX_FLOAT32, logprobs,
                     (size_t)b->targets * sizeof *logprobs, e);
    mx_leave(MX_NONE);
    if (!rc)
        rc = write_lines(b, logprobs, has_ids, e);
    free(logprobs);
    return rc ? err_in(e, "%s", b->ids[0]) : 0;
}

/* Each step is one record, or the hole where a bad one was. */
static int score_all(const struct session *session, struct loader *l, bool has_ids, struct err *e)
{
    struct loader_step s;
    int64_t bad = 0, all = 0;
    int got;
    while ((got = loader_next(l, &s, e)) == 1) {
        int rc = 0;
        for (int i = 0; i < s.bad_count; i++)
            log_error("%s", s.bad[i]);
        for (int i = 0; i < s.count && !rc; i++)
            rc = score_batch(session, &s.micros[i], has_ids, e);
        all++;
        bad += s.count == 0;
        loader_step_release(&s);
        if (rc)
            return -1;
    }
    if (got < 0)
        return -1;
    if (!bad)
        return 0;
    err_set(e, ERR_DATA, "score: %lld of %lld records are bad", (long long)bad, (long long)all);
    return err_hint(e, "each is named above; the others were scored");
}

static int score_plan(const struct session *session, const struct plan *plan,
                      const struct inputs *in, bool has_ids, struct err *e)
{
    struct loader *l = loader_open(
        &(struct loader_options){
            .plan = plan,
            .format = &session->format,
            .spool = in->spool,
            .memory_max = in->loader_memory,
            .bad_fraction = 1,
        },
        e);
    if (!l)
        return -1;
    int rc = score_all(session, l, has_ids, e);
    loader_close(l);
    return rc;
}

static int score_manifest(const struct options *o, struct inputs *in, const struct manifest *m,
                          struct err *e)
{
    struct session_options so = session_options_of(&o->config);
    so.net = in->net;
    so.max_tokens = 0;                 /* as long as the model can */
    so.dtype = DTYPE_F32;
    if (session_check_sound(so.model, m, 0, e))
        return err_in(e, "score");
    session_fit(&so, m, 0);
    struct plan *plan = plan_new(
        &(struct plan_options){
            .manifest = m,
            .batch = 1,
            .is_sequential = true,
            .window_shards = 1,
        },
        e);
    struct session s = {0};
    int rc = plan ? session_open(&s, &so, e) : -1;
    if (!rc) {
        s.format.tokens_multiple = 1;
        s.format.frames_multiple = s.format.crossing.is_used ? 2 : 1;
        s.format.targets_multiple = 1;
        rc = score_plan(&s, plan, in, o->ids, e);
        session_close(&s);
    }
    plan_free(plan);
    return rc;
}

int cmd_score(const struct options *o, struct err *e)
{
    struct inputs in;
    struct manifest m;
    if (inputs_open(&in, &o->config, e))
        return -1;
    /* CUDA would round the factors of matrix products to 10 bits. */
    setenv("MLX_ENABLE_TF32", "0", 0);
    int rc = inputs_manifest(&in, &o->data, NULL, &m, e);
    if (!rc) {
        rc = score_manifest(o, &in, &m, e);
        manifest_release(&m);
    }
    inputs_close(&in);
    return rc;
}
