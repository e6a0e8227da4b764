/* cmd_data_import.c - `attune data import`: data files out of CSV tables, NVIDIA's and NeMo's
 * manifests, BigQuery, and data sets in the Hub's layout. */
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "data/import.h"
#include "data/import_bigquery.h"
#include "data/import_output.h"
#include "data/source.h"
#include "train/inputs.h"

enum { PROGRESS_ROWS = 1000 };

enum source_kind { KIND_TABLE, KIND_HUB, KIND_BIGQUERY };

struct job {
    const struct options *o;
    struct inputs inputs;
    struct import_place place;
    struct import_output output;
    struct import *import;
    int64_t emitted;
};

/* ------------------------------------------------------------------ options -- */

static bool has_ending(const char *name, const char *const *endings)
{
    size_t size = strlen(name);
    for (; *endings; endings++) {
        size_t n = strlen(*endings);
        if (size > n && !strcmp(name + size - n, *endings))
            return true;
    }
    return false;
}

static bool is_table_name(const char *name)
{
    static const char *const endings[] = {
        ".csv",      ".tsv",      ".jsonl",     ".json",       ".ndjson",  ".csv.gz",
        ".tsv.gz",   ".jsonl.gz", ".json.gz",   ".csv.zst",    ".tsv.zst", ".jsonl.zst",
        ".json.zst", ".tar",      ".ndjson.gz", ".ndjson.zst", NULL};
    return has_ending(name, endings);
}

static enum source_kind kind_of(const struct options *o, const char *name)
{
    if (!strcmp(o->from, "bigquery"))
        return KIND_BIGQUERY;
    if (!strcmp(o->from, "hf"))
        return KIND_HUB;
    if (strcmp(o->from, "auto") != 0)
        return KIND_TABLE;
    const char *local = source_local_path(name);
    if (!strncmp(name, "bq://", 5) ||
        (local && !is_table_name(name) && !file_exists(local) && bigquery_is_table(name)))
        return KIND_BIGQUERY;
    if ((local && file_is_dir(local)) || (!strncmp(name, "hf://", 5) && !is_table_name(name)))
        return KIND_HUB;
    return KIND_TABLE;
}

/* "strict", "mixed", "override:xx", or "" for what fits the rest. */
static int take_languages(const struct options *o, struct import_options *out, struct err *e)
{
    static const char override[] = "override:";
    char tag[16];
    const char *mode = o->language_mode;
    out->languages = o->languages.at;
    out->language_count = o->languages.count;
    for (int i = 0; i < o->languages.count; i++) {
        import_language(o->languages.at[i], tag);
        if (!*tag)
            return err_set(e, ERR_USAGE, "--languages: \"%s\" is no language, such as en or de",
                           o->languages.at[i]);
    }
    if (!*mode) {
        out->mode = o->languages.count ? LANGUAGES_STRICT : LANGUAGES_MIXED;
    } else if (!strcmp(mode, "strict")) {
        out->mode = LANGUAGES_STRICT;
    } else if (!strcmp(mode, "mixed")) {
        out->mode = LANGUAGES_MIXED;
    } else if (!strncmp(mode, override, sizeof override - 1)) {
        out->mode = LANGUAGES_OVERRIDE;
        out->language = mode + sizeof override - 1;
        import_language(out->language, tag);
        if (!*tag)
            return err_set(e, ERR_USAGE, "--language-mode: \"%s\" names no language", mode);
    } else {
        return err_set(e, ERR_USAGE,
                       "--language-mode: \"%s\", expected strict, mixed or override:xx", mode);
    }
    if (*mode && out->mode != LANGUAGES_STRICT && o->languages.count)
        return err_set(e, ERR_USAGE, "--languages has no effect with --language-mode %s", mode);
    return 0;
}

static enum import_check check_of(const char *word)
{
    return !strcmp(word, "all")       ? CHECK_ALL
           : !strcmp(word, "sampled") ? CHECK_SAMPLED
           : !strcmp(word, "none")    ? CHECK_NONE
                                      : CHECK_LOCAL;
}

static int check_options(const struct options *o, struct err *e)
{
    if (!*o->output) {
        err_set(e, ERR_USAGE, "data import: --output is missing");
        return err_hint(e, "name the file to write (x.jsonl), or - for stdout");
    }
    if (store_knows(o->output)) {
        err_set(e, ERR_USAGE, "--output: %s is no file of this machine", o->output);
        return err_hint(e, "write a local file and copy it, as the clips' names may change");
    }
    if (!o->data.count && !*o->query) {
        err_set(e, ERR_USAGE, "data import: no source was given");
        return err_hint(e, "name tables, a folder, hf://datasets/..., or project.dataset.table");
    }
    if (*o->query && o->data.count)
        return err_set(e, ERR_USAGE, "--query and %s: expected one of them", o->data.at[0]);
    if (*o->query && strcmp(o->from, "auto") != 0 && strcmp(o->from, "bigquery") != 0)
        return err_set(e, ERR_USAGE, "--query and --from %s: only BigQuery takes a query", o->from);
    if (!strcmp(o->output, "-") && o->split > 0)
        return err_set(e, ERR_USAGE, "--split and --output -: two files need a name");
    return 0;
}

/* -------------------------------------------------------------------- sources -- */

static int emit(void *arg, enum import_split split, const char *line, size_t size, struct err *e)
{
    struct job *j = arg;
    if (++j->emitted % PROGRESS_ROWS == 0)
        output_progress("importing", j->emitted, 0);
    return import_output_emit(&j->output, split, line, size, e);
}

static int run_tables(struct job *j, const struct string_list *patterns, const char *base,
                      struct err *e)
{
    struct manifest m;
    if (inputs_manifest(&j->inputs, patterns, NULL, &m, e))
        return -1;
    int result = import_tables(j->import, &m, base, e);
    manifest_release(&m);
    return result < 0 ? -1 : 0;
}

static int run_hub(struct job *j, const char *uri, struct err *e)
{
    struct object_list found = {0};
    if (import_hub_tables(j->inputs.net, uri, &found, e))
        return -1;
    struct string_list names = {.at = xcalloc((size_t)found.count, sizeof *names.at)};
    for (int64_t i = 0; i < found.count; i++)
        names.at[names.count++] = found.at[i].uri;
    int result = run_tables(j, &names, uri, e);
    free(names.at);
    object_list_release(&found);
    return result;
}

static int run_bigquery(struct job *j, const char *table, struct err *e)
{
    struct bigquery_source s = {
        .table = table,
        .query = *j->o->query ? j->o->query : NULL,
        .project = j->o->project,
        .limit = j->o->limit,
    };
    return import_bigquery(j->import, j->inputs.net, &s, e);
}

static int run_sources(struct job *j, struct err *e)
{
    const struct options *o = j->o;
    int result = *o->query ? run_bigquery(j, NULL, e) : 0;
    for (int i = 0; i < o->data.count && !result; i++) {
        const struct string_list one = {.at = &o->data.at[i], .count = 1};
        switch (kind_of(o, o->data.at[i])) {
        case KIND_BIGQUERY: result = run_bigquery(j, o->data.at[i], e); break;
        case KIND_HUB: result = run_hub(j, o->data.at[i], e); break;
        case KIND_TABLE: result = run_tables(j, &one, NULL, e); break;
        }
    }
    return result ? -1 : import_end(j->import, e);
}

/* -------------------------------------------------------------------- summary -- */

static int64_t written(const struct import_counts *n)
{
    int64_t sum = 0;
    for (int s = 0; s < SPLIT_COUNT; s++)
        sum += n->written[s];
    return sum;
}

static void explain(const struct job *j, const struct import_counts *n)
{
    log_info("read %lld rows, wrote %lld records", (long long)n->read, (long long)written(n));
    for (int s = 0; s < SPLIT_COUNT; s++)
        if (n->written[s] && j->output.paths[s])
            log_info("%s: %lld records, %.2f h of sound", j->output.paths[s],
                     (long long)n->written[s], n->seconds[s] / 3600);
    for (int r = 0; r < LEFT_COUNT; r++)
        if (n->left[r])
            log_info("left out: %lld %s", (long long)n->left[r],
                     import_reason_text((enum import_reason)r));
    if (n->bad)
        log_info("left out: %lld bad, named above", (long long)n->bad);
    if (j->place.looked < j->place.asked)
        log_info("%lld of %lld clips were looked for, and found", (long long)j->place.looked,
                 (long long)j->place.asked);
    if (j->o->split > 0 && !n->written[SPLIT_EVAL])
        log_warn("no record fell to evaluation: too few for --split %g", j->o->split);
}

static int print_json(const struct job *j, const struct import_counts *n, struct err *e)
{
    struct buf line;
    json_t *o = json_object(), *left = json_object(), *files = json_object();
    json_put_int(o, "read", n->read);
    json_put_int(o, "written", written(n));
    json_put_int(o, "bad", n->bad);
    for (int r = 0; r < LEFT_COUNT; r++)
        if (n->left[r])
            json_put_int(left, import_reason_text((enum import_reason)r), n->left[r]);
    for (int s = 0; s < SPLIT_COUNT; s++)
        if (j->output.paths[s])
            json_put_int(files, j->output.paths[s], n->written[s]);
    json_put(o, "left_out", left);
    json_put(o, "files", files);
    buf_init(&line, 1 << 20);
    json_write_compact(o, &line);
    json_decref(o);
    int result = output_line(&line, e);
    buf_release(&line);
    return result;
}

static int finish(struct job *j, struct err *e)
{
    const struct import_counts *n = import_counts(j->import);
    bool is_stdout = j->output.stream != NULL;
    if (!written(n)) {
        explain(j, n);
        return err_set(e, ERR_DATA, "data import: no record is left of %lld rows",
                       (long long)n->read);
    }
    if (is_stdout ? output_flush(e) : import_output_commit(&j->output, e))
        return -1;
    explain(j, n);
    return j->o->config.json && !is_stdout ? print_json(j, n, e) : 0;
}

/* ------------------------------------------------------------------- together -- */

static int import_all(struct job *j, struct err *e)
{
    const struct options *o = j->o;
    struct import_options options = {
        .columns = o->config.columns.at,
        .column_count = o->config.columns.count,
        .patch = j->inputs.patch,
        .seconds_max = o->max_duration,
        .eval_part = o->split,
        .seed = o->config.seed,
        .limit = o->limit,
        .bad_fraction = o->config.bad_fraction,
        .bad_min = o->config.bad_min,
        .place = &j->place,
        .emit = emit,
        .arg = j,
    };
    if (take_languages(o, &options, e))
        return -1;
    j->import = import_new(&options, e);
    if (!j->import || run_sources(j, e))
        return -1;
    log_status_end();
    return finish(j, e);
}

int cmd_data_import(const struct options *o, struct err *e)
{
    struct job j = {.o = o};
    if (check_options(o, e) || inputs_open(&j.inputs, &o->config, e))
        return -1;
    bool is_stdout = !strcmp(o->output, "-");
    char *dir = is_stdout ? NULL : path_dir(o->output);
    import_output_open(&j.output, o->output, stdout);
    int result = import_place_init(&j.place, o->audio_root.at, o->audio_root.count,
                                   check_of(o->check), j.inputs.net, dir, e);
    if (!result)
        result = import_all(&j, e);
    free(dir);
    import_free(j.import);
    import_output_release(&j.output);
    import_place_release(&j.place);
    inputs_close(&j.inputs);
    return result;
}
