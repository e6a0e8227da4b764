/* cmd_transcribe.c - `attune transcribe FILE...`: what is said in sound files.
 *
 * Files are taken in groups of eval_batch.  Whisper goes through each window by window
 * (train/speech.h), or by pieces cut at silence (--windows split), as all other models do
 * (transcribe_pieces.c).  A file that cannot be used is named on stderr and the others go on; the
 * end is then ERR_DATA.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/transcribe_parts.h"
#include "cli/transcript.h"
#include "data/source.h"
#include "train/inputs.h"

/* A group ends with the recording that reaches this, so that memory is bounded: 4 bytes a sample,
 * and one recording has as many at most. */
static const int64_t GROUP_SAMPLES = (int64_t)AUDIO_SECONDS_MAX * AUDIO_RATE;
enum { STDIN_PIECE = 1 << 20 };

/* The whole command on its way. */
struct job {
    struct transcriber t;
    struct transcripts out;
    const struct options *o;
    struct net *net;
    struct recording *group;           /* [eval_batch] */
    int bad;
    int first, last;                   /* inputs of the group, for messages */
};

/* ------------------------------------------------------------------ reading -- */

static int read_stdin(struct audio *a, struct err *e)
{
    char *bytes = NULL;
    size_t size = 0, room = 0, n;
    do {
        if (room - size < STDIN_PIECE) {
            room = room ? 2 * room : 4 * (size_t)STDIN_PIECE;
            bytes = xrealloc(bytes, room);
        }
        n = fread(bytes + size, 1, STDIN_PIECE, stdin);
        size += n;
    } while (n && (int64_t)size <= AUDIO_FILE_BYTES_MAX);
    int rc = 0;
    if (ferror(stdin))
        rc = err_set(e, ERR_DATA, "stdin: %s", strerror(errno));
    else if ((int64_t)size > AUDIO_FILE_BYTES_MAX)
        rc = err_set(e, ERR_DATA, "stdin: more than %lld bytes", (long long)AUDIO_FILE_BYTES_MAX);
    else if (audio_decode(a, bytes, size, NULL, e))
        rc = err_in(e, "stdin");
    free(bytes);
    return rc;
}

/* Decode a recording, wherever it lies. */
static int read_audio(const struct job *j, struct audio *a, const char *name, struct err *e)
{
    if (strcmp(name, "-") == 0)
        return read_stdin(a, e);
    const char *path = source_local_path(name);
    if (path)
        return audio_read(a, path, NULL, e);
    size_t size;
    void *bytes = source_load(j->net, name, AUDIO_FILE_BYTES_MAX, &size, e);
    if (!bytes)
        return -1;
    int rc = audio_decode(a, bytes, size, NULL, e);
    free(bytes);
    return rc;
}

/* Read recordings from input `first` on, as many as a group takes; returns how many. */
static int read_group(struct job *j, int first)
{
    int n = 0, most = j->o->config.eval_batch;
    int64_t samples = 0;
    for (int i = first; i < j->out.count && n < most && samples < GROUP_SAMPLES; i++) {
        struct recording *r = &j->group[n++];
        *r = (struct recording){.name = j->out.inputs[i]};
        r->is_bad = read_audio(j, &r->audio, r->name, &r->error) != 0;
        samples += r->is_bad ? 0 : r->audio.count;
    }
    return n;
}

/* ----------------------------------------------------------------- decoding -- */

static void on_progress(void *arg, double done_s, double all_s)
{
    const struct job *j = arg;
    log_status("transcribing %d-%d/%d: %.0f of %.0f s", j->first + 1, j->last, j->out.count, done_s,
               all_s);
}

/* Window by window, all recordings of the group together; silent ones have no text. */
static int listen_group(const struct job *j, int count, struct err *e)
{
    struct speech_audio *audio = xcalloc((size_t)count, sizeof *audio);
    struct speech *out = xcalloc((size_t)count, sizeof *out);
    int *owner = xcalloc((size_t)count, sizeof *owner), n = 0;
    for (int i = 0; i < count; i++) {
        const struct audio *a = &j->group[i].audio;
        if (j->group[i].is_bad || transcribe_is_silent(a->samples, a->count))
            continue;
        audio[n] = (struct speech_audio){a->samples, a->count};
        owner[n++] = i;
    }
    int rc = n ? speech_decode(out, j->t.session, audio, n, &j->t.speech, e) : 0;
    for (int i = 0; i < n && !rc; i++)
        j->group[owner[i]].result = out[i];
    free(audio);
    free(out);
    free(owner);
    return rc;
}

/* Say on stderr what the output does not: what is bad, silent, or was found out. */
static int tell(struct job *j, struct recording *r, struct err *e)
{
    if (r->is_bad) {
        if (!strstr(r->error.text, strcmp(r->name, "-") ? r->name : "stdin"))
            err_in(&r->error, "%s", r->name);
        if (r->error.kind != ERR_DATA) {
            *e = r->error;
            return -1;
        }
        log_error("%s", r->error.text);
        j->bad++;
        return 0;
    }
    if (j->t.is_whisper && transcribe_is_silent(r->audio.samples, r->audio.count))
        log_info("%s: is silent, no text", r->name);
    else if (j->out.count == 1 && !j->t.speech.language && *r->result.language)
        log_info("language: %s (%.0f %%)", r->result.language, 100 * r->result.language_p);
    return 0;
}

static int write_group(struct job *j, int first, int count, struct err *e)
{
    for (int i = 0; i < count; i++) {
        struct recording *r = &j->group[i];
        if (tell(j, r, e))
            return -1;
        r->result.seconds = (double)r->audio.count / AUDIO_RATE;
        if (!r->is_bad && transcripts_write(&j->out, first + i, &r->result, e))
            return -1;
    }
    return 0;
}

static int run_group(struct job *j, int first, int count, struct err *e)
{
    bool is_sequential = j->t.is_whisper && j->o->windows != WINDOWS_SPLIT;
    int rc =
        is_sequential ? listen_group(j, count, e) : transcribe_pieces(&j->t, j->group, count, e);
    if (!rc)
        rc = write_group(j, first, count, e);
    for (int i = 0; i < count; i++) {
        audio_release(&j->group[i].audio);
        speech_release(&j->group[i].result);
    }
    return rc;
}

static int run_all(struct job *j, struct err *e)
{
    int rc = 0;
    j->group = xcalloc((size_t)j->o->config.eval_batch, sizeof *j->group);
    while (j->last < j->out.count && !rc) {
        j->first = j->last;
        log_status("transcribing %d/%d", j->first, j->out.count);
        int n = read_group(j, j->first);
        j->last += n;
        rc = run_group(j, j->first, n, e);
    }
    log_status_end();
    free(j->group);
    if (rc || !j->bad)
        return rc;
    err_set(e, ERR_DATA, "transcribe: %d of %d files could not be used", j->bad, j->out.count);
    return err_hint(e, "each is named above; the others were transcribed");
}

/* ------------------------------------------------------------------ options -- */

/* Settings that only Whisper has would be without effect. */
static int check_other(const struct options *o, struct err *e)
{
    const struct config *c = &o->config;
    const char *idle = *c->language                      ? "--language"
                       : c->task == WHISPER_TRANSLATE    ? "--task"
                       : c->timestamps                   ? "--timestamps"
                       : o->windows == WINDOWS_SEQUENTIAL ? "--windows sequential"
                                                          : NULL;
    if (!idle)
        return 0;
    err_set(e, ERR_USAGE, "transcribe: %s is for Whisper, and %s is none", idle, c->model);
    return err_hint(e, "what this model shall write is said by --prompt");
}

static struct speech_options speech_options(struct job *j)
{
    struct speech_options s = speech_options_of(&j->o->config);
    if (s.language && (!*s.language || !strcmp(s.language, "detect")))
        s.language = NULL;
    s.has_timestamps = transcripts_need_times(&j->out);
    s.on_progress = on_progress;
    s.arg = j;
    return s;
}

static int transcribe(const struct options *o, const struct session *s, struct net *net,
                      const struct transcripts *out, struct err *e)
{
    struct job j = {.o = o, .net = net, .out = *out};
    j.t =
        (struct transcriber){.session = s, .options = o, .is_whisper = s->format.crossing.is_used};
    if (!j.t.is_whisper && check_other(o, e))
        return -1;
    j.out.has_scores = j.t.is_whisper;
    j.t.speech = speech_options(&j);
    return run_all(&j, e);
}

static int open_and_transcribe(const struct options *o, struct net *net,
                               const struct transcripts *out, struct err *e)
{
    const struct config *c = &o->config;
    struct session s;
    struct session_options so = session_options_of(c);
    so.net = net;
    so.max_tokens = 0;                 /* as long as the model can */
    if (session_open(&s, &so, e))
        return -1;
    int rc;
    if (s.senses.mel) {
        rc = transcribe(o, &s, net, out, e);
    } else {
        rc = err_set(e, ERR_USAGE, "%s: this model has no audio tower", c->model);
        err_hint(e, "transcribing needs a model that hears, such as Whisper or Gemma 4 E2B");
    }
    session_close(&s);
    return rc;
}

int cmd_transcribe(const struct options *o, struct err *e)
{
    struct inputs in;
    struct transcripts out;
    if (!o->args.count) {
        err_set(e, ERR_USAGE, "transcribe: no file is given");
        return err_hint(e, "attune transcribe --model DIR FILE...");
    }
    if (inputs_open(&in, &o->config, e))
        return -1;
    int rc = transcripts_open(&out, o, in.net, e);
    if (!rc)
        rc = open_and_transcribe(o, in.net, &out, e);
    transcripts_close(&out);
    inputs_close(&in);
    return rc;
}
