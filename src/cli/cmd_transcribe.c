/* cmd_transcribe.c - `attune transcribe FILE...`: what is said in sound files.
 *
 * Files are taken in groups of eval_batch.  A clip that is longer than the model listens is cut
 * where it is quietest, and the pieces' texts are joined by spaces; a silent piece gives nothing.
 * A file that cannot be used is named on stderr and the others go on; the end is then ERR_DATA.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "data/collate.h"
#include "data/source.h"
#include "media/audio.h"
#include "media/split.h"
#include "train/generate.h"
#include "train/inputs.h"
#include "train/session.h"

enum {
    TEXT_BYTES_MAX = 64 << 20,
    TURN_TOKENS = 64,                      /* room for what stands around a clip */
};

/* A group of files on its way. */
struct group {
    const struct session *s;
    const struct options *o;
    struct sample *pieces;
    int *file_of;                          /* [piece_count] index of the file in the group */
    size_t piece_count, piece_room, owner_room;
    struct buf *texts;                     /* [files] */
    bool *is_bad;                          /* [files] */
};

/* ----------------------------------------------------------------- pieces -- */

/* Samples that the features are made for and whose soft tokens the model has positions for. */
static int64_t longest_piece(const struct session *s)
{
    const struct mel_config *c = mel_settings(s->senses.mel);
    int64_t longest = c->samples_max ? c->samples_max : INT64_MAX;
    if (s->format.max_tokens) {
        int64_t words = (int64_t)strlen(s->format.prompt) + TURN_TOKENS;
        int64_t fits = (s->format.max_tokens - words) * c->subsample * c->hop;
        longest = fits < longest ? fits : longest;
    }
    return longest > AUDIO_RATE ? longest : AUDIO_RATE;
}

static bool is_silent(const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (x[i] >= SAMPLE_SILENCE_PEAK || x[i] <= -SAMPLE_SILENCE_PEAK)
            return false;
    return true;
}

static int add_piece(struct group *g, int file, const float *x, int64_t count, struct err *e)
{
    struct sample s;
    if (sample_of_audio(&s, &g->s->format, x, count, NULL, e))
        return -1;
    if (g->piece_count == g->piece_room)
        g->pieces = mem_grow(g->pieces, &g->piece_room, sizeof *g->pieces);
    if (g->piece_count == g->owner_room)
        g->file_of = mem_grow(g->file_of, &g->owner_room, sizeof *g->file_of);
    g->pieces[g->piece_count] = s;
    g->file_of[g->piece_count++] = file;
    return 0;
}

/* Decode a file, wherever it lies. */
static int read_audio(const struct group *g, struct audio *a, const char *name, struct err *e)
{
    const char *path = source_local_path(name);
    if (path)
        return audio_read(a, path, NULL, e);
    size_t size;
    void *bytes = source_load(g->s->format.net, name, AUDIO_FILE_BYTES_MAX, &size, e);
    if (!bytes)
        return -1;
    int rc = audio_decode(a, bytes, size, NULL, e);
    free(bytes);
    return rc;
}

static int add_file(struct group *g, int file, const char *path, struct err *e)
{
    struct audio a;
    if (read_audio(g, &a, path, e))
        return strstr(e->text, path) ? -1 : err_in(e, "%s", path);
    int64_t longest = longest_piece(g->s);
    /* No piece is shorter than half the longest, but for the last. */
    int max = (int)(a.count / (longest / 2)) + 2;
    int64_t *cuts = xcalloc((size_t)max + 1, sizeof *cuts);
    int count = audio_split(a.samples, a.count, AUDIO_RATE, longest, cuts, max);
    int rc = 0;
    for (int i = 0; i < count && !rc; i++) {
        const float *piece = a.samples + cuts[i];
        int64_t n = cuts[i + 1] - cuts[i];
        /* A file that is one piece is an error when silent; so is one of nothing but silence. */
        if (count == 1 || !is_silent(piece, n) || is_silent(a.samples, a.count))
            rc = add_piece(g, file, piece, n, e);
    }
    free(cuts);
    audio_release(&a);
    if (rc && !strstr(e->text, path))
        err_in(e, "%s", path);
    return rc;
}

/* ------------------------------------------------------------------- text -- */

static int transcribe_pieces(struct group *g, size_t first, int count, struct err *e)
{
    const struct config *c = &g->o->config;
    struct generate_options o = {
        .max_new_tokens = c->max_new_tokens,
        .stop_ids = g->s->stop_ids,
        .stop_count = g->s->stop_count,
    };
    struct batch b;
    collate(&b, &g->s->format, g->pieces + first, count);
    struct ids *out = xcalloc((size_t)count, sizeof *out);
    int rc = generate(g->s->model, &b, &o, out, e);
    for (int i = 0; i < count; i++) {
        struct buf *text = &g->texts[g->file_of[first + (size_t)i]];
        char *piece = rc ? NULL : session_text(g->s, &out[i], e);
        if (!piece)
            rc = -1;
        else if (*piece)
            buf_printf(text, "%s%s", text->size ? " " : "", piece);
        free(piece);
        ids_release(&out[i]);
    }
    free(out);
    batch_release(&b);
    return rc;
}

static int print_file(const char *path, const struct buf *text, const struct options *o,
                      struct err *e)
{
    struct buf line;
    buf_init(&line, TEXT_BYTES_MAX);
    if (o->config.json) {
        json_t *v = json_object();
        json_put_str(v, "file", path);
        json_put_str(v, "text", text->data);
        json_write_compact(v, &line);
        json_decref(v);
    } else if (o->args.count > 1) {
        output_one_line(path, &line);
        buf_add_char(&line, '\t');
        output_one_line(text->data, &line);
    } else {
        output_one_line(text->data, &line);
    }
    int rc = buf_check(text, "a transcript", e) || output_line(&line, e) ? -1 : 0;
    buf_release(&line);
    return rc;
}

/* ----------------------------------------------------------------- groups -- */

/* Transcribe `count` files; adds to `bad` those that cannot be used. */
static int run_group(struct group *g, char **paths, int count, int *bad, struct err *e)
{
    for (int i = 0; i < count; i++) {
        struct err file_error = {0};
        g->is_bad[i] = add_file(g, i, paths[i], &file_error) != 0;
        if (!g->is_bad[i])
            continue;
        if (file_error.kind != ERR_DATA) {
            *e = file_error;
            return -1;
        }
        log_error("%s", file_error.text);
        ++*bad;
    }
    int at_once = g->o->config.eval_batch;
    for (size_t i = 0; i < g->piece_count; i += (size_t)at_once) {
        size_t left = g->piece_count - i;
        int n = left < (size_t)at_once ? (int)left : at_once;
        if (transcribe_pieces(g, i, n, e))
            return err_in(e, "%s", paths[g->file_of[i]]);
    }
    for (int i = 0; i < count; i++)
        if (!g->is_bad[i] && print_file(paths[i], &g->texts[i], g->o, e))
            return -1;
    return 0;
}

static void group_clear(struct group *g, int files)
{
    for (size_t i = 0; i < g->piece_count; i++)
        sample_release(&g->pieces[i]);
    g->piece_count = 0;
    for (int i = 0; i < files; i++)
        buf_clear(&g->texts[i]);
}

static int run_all(const struct session *s, const struct options *o, struct err *e)
{
    int size = o->config.eval_batch, bad = 0, rc = 0;
    struct group g = {.s = s, .o = o};
    g.texts = xcalloc((size_t)size, sizeof *g.texts);
    g.is_bad = xcalloc((size_t)size, sizeof *g.is_bad);
    for (int i = 0; i < size; i++)
        buf_init(&g.texts[i], TEXT_BYTES_MAX);
    for (int at = 0; at < o->args.count && !rc; at += size) {
        int n = o->args.count - at < size ? o->args.count - at : size;
        log_status("transcribing %d/%d", at, o->args.count);
        rc = run_group(&g, o->args.at + at, n, &bad, e);
        group_clear(&g, size);
    }
    log_status_end();
    for (int i = 0; i < size; i++)
        buf_release(&g.texts[i]);
    free(g.texts);
    free(g.is_bad);
    free(g.pieces);
    free(g.file_of);
    if (rc || !bad)
        return rc;
    err_set(e, ERR_DATA, "transcribe: %d of %d files could not be used", bad, o->args.count);
    return err_hint(e, "each is named above; the others were transcribed");
}

static int transcribe(const struct options *o, const struct inputs *in, struct err *e)
{
    const struct config *c = &o->config;
    struct session_options so = session_options_of(c);
    so.net = in->net;
    so.max_tokens = 0;                 /* as long as the model can */
    struct session s;
    if (session_open(&s, &so, e))
        return -1;
    int rc;
    if (s.senses.mel) {
        rc = run_all(&s, o, e);
    } else {
        rc = err_set(e, ERR_USAGE, "%s: this model has no audio tower", c->model);
        err_hint(e, "transcribing needs a model that hears, such as Gemma 4 E2B");
    }
    session_close(&s);
    return rc;
}

int cmd_transcribe(const struct options *o, struct err *e)
{
    if (!o->args.count) {
        err_set(e, ERR_USAGE, "transcribe: no file is given");
        return err_hint(e, "attune transcribe --model DIR FILE...");
    }
    struct inputs in;
    if (inputs_open(&in, &o->config, e))
        return -1;
    int rc = transcribe(o, &in, e);
    inputs_close(&in);
    return rc;
}
