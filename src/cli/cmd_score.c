/* cmd_score.c - `attune score`: the log-probability of every supervised token.
 *
 * One JSON line for each record, in their order:
 *
 *     {"id":…,"input_tokens":…,"supervised_tokens":…,"loss":…,"logprobs":[…]}
 *
 * with --ids also "input_ids".  `loss` is the mean of -logprobs, which are natural logarithms after
 * the final softcap.  Each record runs alone, in float32, without padding.  `id` is the record's
 * own, else "file:line".
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
#include "data/collate.h"
#include "data/manifest.h"
#include "train/session.h"

enum { LINE_BYTES_MAX = 256 << 20 };

static void add_number(struct buf *out, double v)
{
    if (isfinite(v))
        buf_printf(out, "%.9g", v);
    else
        buf_add_str(out, "null");
}

static void add_line(struct buf *out, const struct sample *s, const float *logprobs, int n,
                     bool has_ids)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum -= (double)logprobs[i];
    buf_add_str(out, "{\"id\":");
    json_write_str(s->id, strlen(s->id), out);
    buf_printf(out, ",\"input_tokens\":%d,\"supervised_tokens\":%d,\"loss\":", s->count, n);
    add_number(out, sum / n);
    buf_add_str(out, ",\"logprobs\":[");
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i ? "," : "");
        add_number(out, (double)logprobs[i]);
    }
    buf_add_char(out, ']');
    if (has_ids) {
        buf_add_str(out, ",\"input_ids\":[");
        for (int i = 0; i < s->count; i++)
            buf_printf(out, "%s%d", i ? "," : "", s->tokens[i]);
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}

static int score_sample(const struct session *session, const struct sample *s, bool has_ids,
                        struct err *e)
{
    struct batch b;
    collate(&b, &session->format, s, 1);
    float *logprobs = xcalloc((size_t)b.targets + 1, sizeof *logprobs);
    mx_enter();
    struct model_input in;
    session_input(&in, &b);
    int rc = mx_read(model_logprobs(session->model, &in), MX_FLOAT32, logprobs,
                     (size_t)b.targets * sizeof *logprobs, e);
    mx_leave(MX_NONE);
    if (!rc) {
        struct buf line;
        buf_init(&line, LINE_BYTES_MAX);
        add_line(&line, s, logprobs, (int)b.supervised, has_ids);
        rc = output_line(&line, e);
        buf_release(&line);
    }
    free(logprobs);
    batch_release(&b);
    return rc;
}

static int score_all(const struct session *session, const struct manifest *m, bool has_ids,
                     struct err *e)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < m->count; i++) {
        struct sample s;
        struct err record_error = {0};
        if (sample_load(&s, &session->format, m, i, SAMPLE_TRAIN, &record_error)) {
            if (record_error.kind != ERR_DATA) {
                *e = record_error;
                return -1;
            }
            log_error("%s", record_error.text);
            bad++;
            continue;
        }
        int rc = score_sample(session, &s, has_ids, e);
        if (rc)
            err_in(e, "%s", s.id);
        sample_release(&s);
        if (rc)
            return -1;
    }
    if (!bad)
        return 0;
    err_set(e, ERR_DATA, "score: %lld of %lld records are bad", (long long)bad,
            (long long)m->count);
    return err_hint(e, "each is named above; the others were scored");
}

int cmd_score(const struct options *o, struct err *e)
{
    struct manifest m;
    if (manifest_open(&m, o->data.at, o->data.count, e))
        return -1;
    /* CUDA would round the factors of matrix products to 10 bits. */
    setenv("MLX_ENABLE_TF32", "0", 0);
    struct session_options so = session_options_of(&o->config);
    so.max_tokens = 0;                 /* as long as the model can */
    so.dtype = DTYPE_F32;
    session_fit(&so, &m, 0);
    struct session s;
    int rc = session_open(&s, &so, e);
    if (!rc) {
        s.format.tokens_multiple = 1;
        s.format.frames_multiple = 1;
        s.format.targets_multiple = 1;
        rc = score_all(&s, &m, o->ids, e);
        session_close(&s);
    }
    manifest_release(&m);
    return rc;
}
