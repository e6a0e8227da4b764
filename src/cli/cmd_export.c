/* cmd_export.c - `attune export`: a model and its adapter as one folder that others load. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "data/source.h"
#include "export/hub.h"
#include "train/session.h"

enum { REPORT_BYTES_MAX = 1 << 20 };

/* Folders with this note may be replaced by the next export. */
static const char WRITTEN_BY[] = "attune export";

/* The number format to write: the one asked for, else that of the checkpoint. */
static int choose_dtype(const struct config *c, enum mx_dtype stored, enum mx_dtype *out,
                        struct err *e)
{
    switch (c->dtype) {
    case DTYPE_AUTO: *out = stored; return 0;
    case DTYPE_F32: *out = MX_FLOAT32; return 0;
    case DTYPE_BF16: *out = MX_BFLOAT16; return 0;
    case DTYPE_F16: *out = MX_FLOAT16; return 0;
    }
    return err_set(e, ERR_BUG, "export: number format %d", (int)c->dtype);
}

static int merged_count(const struct nn_params *p)
{
    int n = 0;
    for (int i = 0; i < p->module_count; i++)
        n += p->modules[i].linear->lora.rank > 0;
    return n;
}

static int report(const struct options *o, const struct session *s, enum mx_dtype dtype,
                  struct err *e)
{
    int merged = merged_count(&s->model->params);
    if (!o->config.json) {
        log_info("wrote %s: %s, %s", o->output, mx_dtype_name(dtype),
                 merged ? "adapter merged" : "no adapter");
        return 0;
    }
    struct buf b;
    json_t *v = json_object();
    json_put_str(v, "model", o->output);
    json_put_str(v, "dtype", mx_dtype_name(dtype));
    json_put_int(v, "merged_layers", merged);
    buf_init(&b, REPORT_BYTES_MAX);
    json_write_compact(v, &b);
    int rc = output_line(&b, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int export(const struct options *o, const char *dir, struct err *e)
{
    const struct config *c = &o->config;
    enum mx_dtype stored, dtype = MX_FLOAT32;
    if (hub_dtype(c->model, &stored, e) || choose_dtype(c, stored, &dtype, e))
        return err_in(e, "model %s", c->model);
    struct session_options so = session_options_of(c);
    /* Nothing is computed but the merge, in float32: weights are opened in a format that holds them
     * exactly, and in few bytes where they are stored so. */
    so.dtype = stored == MX_BFLOAT16 ? DTYPE_BF16 : DTYPE_F32;
    so.quantize_bits = 0;
    struct session s;
    if (session_open(&s, &so, e))
        return -1;
    struct hub_options ho = {
        .source = c->model,
        .dtype = dtype,
        .merge = true,
        .written_by = WRITTEN_BY,
    };
    int rc = hub_save(&s.model->params, dir, &ho, e) || report(o, &s, dtype, e) ? -1 : 0;
    session_close(&s);
    return rc;
}

int cmd_export(const struct options *o, struct err *e)
{
    const char *dir = source_local_path(o->output);
    if (!dir) {
        err_set(e, ERR_USAGE, "export: output %s: expected a folder on this machine", o->output);
        return err_hint(e, "copy it elsewhere when it is there");
    }
    if (!file_is_dir(o->config.model)) {
        err_set(e, ERR_USAGE, "model %s: no such folder", o->config.model);
        return err_hint(e, "a checkpoint is a folder with config.json, tokenizer.json and "
                           "safetensors files");
    }
    if (hub_check_place(dir, o->config.model, WRITTEN_BY, e))
        return err_in(e, "export: output");
    return export(o, dir, e);
}
