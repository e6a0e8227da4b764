/* cmd_data_check.c - `attune data check` and `attune data stats`: every record looked at, with or
 * without its clips decoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/data_job.h"
#include "cli/histogram.h"
#include "cli/output.h"
#include "data/survey.h"

enum { BAD_SHOWN = 20, PAIRS_SHOWN = 5, LANGUAGES_SHOWN = 12, TABLE_BYTES_MAX = 1 << 30 };

static void on_progress(void *arg, int64_t done)
{
    const struct data_job *j = arg;
    output_progress("looking at records", done, j->manifest.is_complete ? j->manifest.count : 0);
}

/* ---------------------------------------------------------------------- text -- */

static void print_pairs(const char *what, const struct survey_pair *pairs, int64_t count)
{
    if (!count)
        return;
    printf("%-10s %lld\n", what, (long long)count);
    for (int64_t i = 0; i < count && i < PAIRS_SHOWN; i++)
        printf("  %s  and  %s\n", pairs[i].first, pairs[i].second);
    if (count > PAIRS_SHOWN)
        printf("  ... (--json lists %s)\n", count > SURVEY_PAIRS_MAX ? "1000" : "all");
}

static void print_languages(const struct survey *s)
{
    char time[32];
    if (s->language_count < 1 || (s->language_count == 1 && !*s->languages[0].name))
        return;
    printf("languages  ");
    for (int i = 0; i < s->language_count && i < LANGUAGES_SHOWN; i++) {
        const struct survey_language *l = &s->languages[i];
        printf("%s%s %lld", i ? ", " : "", *l->name ? l->name : "not said", (long long)l->records);
        if (l->seconds > 0)
            printf(" (%s)", data_time(l->seconds, time));
    }
    printf("%s\n", s->language_count > LANGUAGES_SHOWN ? ", ..." : "");
}

static void print_sound(const struct survey *s)
{
    char time[32];
    long long known = (long long)(s->clips - s->unknown);
    if (!s->clips)
        return;
    printf("sound      %lld clip%s", (long long)s->clips, s->clips == 1 ? "" : "s");
    if (known)
        printf(", %s", data_time(s->seconds, time));
    if (s->unknown)
        printf("%s %lld of a length that the data do not say (`attune data check` measures it)",
               known ? " and" : ",", (long long)s->unknown);
    printf("\n");
}

static void print_pictures(const struct survey *s)
{
    if (!s->images && !s->videos)
        return;
    printf("pictures   ");
    if (s->images)
        printf("%lld image%s%s", (long long)s->images, s->images == 1 ? "" : "s",
               s->videos ? ", " : "");
    if (s->videos)
        printf("%lld video%s", (long long)s->videos, s->videos == 1 ? "" : "s");
    printf("\n");
}

/* What records say of how they are transcribed. */
static void print_speech(const struct survey *s)
{
    if (s->tasks[WHISPER_TRANSCRIBE] + s->tasks[WHISPER_TRANSLATE])
        printf("tasks      %lld to transcribe, %lld to translate, %lld not said\n",
               (long long)s->tasks[WHISPER_TRANSCRIBE], (long long)s->tasks[WHISPER_TRANSLATE],
               (long long)(s->records - s->bad_records - s->tasks[WHISPER_TRANSCRIBE] -
                           s->tasks[WHISPER_TRANSLATE]));
    if (s->segments)
        printf("segments   %lld in %lld record%s\n", (long long)s->segments,
               (long long)s->segmented, s->segmented == 1 ? "" : "s");
    if (s->windows)
        printf("windows    %lld\n", (long long)s->windows);
}

static void print_totals(const struct data_job *j, const struct survey *s)
{
    char bytes[32];
    printf("records    %lld in %lld file%s (%s)\n", (long long)s->records,
           (long long)j->manifest.file_count, j->manifest.file_count == 1 ? "" : "s",
           data_bytes((double)j->manifest.bytes, bytes));
    print_sound(s);
    print_pictures(s);
    printf("text       %lld characters", (long long)s->characters);
    if (s->tokens)
        printf("; %lld tokens in all, %lld of them trained", (long long)s->tokens,
               (long long)s->supervised);
    printf("\n");
    print_languages(s);
    print_speech(s);
}

static void print_wrong(const struct survey *s, bool decodes)
{
    if (s->misstated)
        printf("durations  %lld say another one than the sound has\n", (long long)s->misstated);
    print_pairs("same id", s->same_ids, s->same_id_count);
    if (decodes)
        print_pairs("same media", s->same_clips, s->same_clip_count);
    if (s->lost_shards)
        printf("unreadable %lld shard%s\n", (long long)s->lost_shards,
               s->lost_shards == 1 ? "" : "s");
    printf("bad        %lld\n", (long long)s->bad_records);
    for (int64_t i = 0; i < s->bad_count && i < BAD_SHOWN; i++)
        printf("  %s: %s\n", s->bad[i].where, s->bad[i].why);
    if (s->bad_count > BAD_SHOWN)
        printf("  ... (--json lists all, --output FILE makes a table of them)\n");
}

/* ---------------------------------------------------------------------- JSON -- */

static json_t *pairs_json(const struct survey_pair *pairs, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count && i < SURVEY_PAIRS_MAX; i++)
        json_array_append_new(list, json_pack("[ss]", pairs[i].first, pairs[i].second));
    return list;
}

static json_t *values_json(const struct survey_values *v)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"min", 0}, {"p5", 0.05}, {"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1}};
    json_t *o = json_object();
    histogram_sort(v->at, v->count);
    json_put_int(o, "count", v->count);
    for (size_t i = 0; v->count && i < sizeof points / sizeof *points; i++)
        json_put_double(o, points[i].name, histogram_quantile(v->at, v->count, points[i].part));
    return o;
}

static json_t *bad_json(const struct survey *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->bad_count; i++) {
        json_t *o = json_object();
        json_put_str(o, s->bad[i].is_shard ? "shard" : "where", s->bad[i].where);
        if (!s->bad[i].is_shard)
            json_put_str(o, "id", s->bad[i].id);
        json_put_str(o, "why", s->bad[i].why);
        json_array_append_new(list, o);
    }
    return list;
}

static int print_json(const struct data_job *j, const struct survey *s, struct err *e)
{
    struct buf b;
    json_t *o = json_object(), *languages = json_object();
    for (int i = 0; i < s->language_count; i++)
        json_put_int(languages, s->languages[i].name, s->languages[i].records);
    json_put_int(o, "files", j->manifest.file_count);
    json_put_int(o, "bytes", j->manifest.bytes);
    json_put_int(o, "records", s->records);
    json_put_int(o, "clips", s->clips);
    json_put_int(o, "images", s->images);
    json_put_int(o, "videos", s->videos);
    json_put_double(o, "seconds", s->seconds);
    json_put_int(o, "clips_of_unknown_duration", s->unknown);
    json_put_int(o, "characters", s->characters);
    json_put_int(o, "tokens", s->tokens);
    json_put_int(o, "supervised_tokens", s->supervised);
    json_put(o, "languages", languages);
    json_put_int(o, "transcribe", s->tasks[WHISPER_TRANSCRIBE]);
    json_put_int(o, "translate", s->tasks[WHISPER_TRANSLATE]);
    json_put_int(o, "records_with_segments", s->segmented);
    json_put_int(o, "segments", s->segments);
    json_put_int(o, "windows", s->windows);
    json_put(o, "duration", values_json(&s->durations));
    json_put(o, "text_characters", values_json(&s->texts));
    json_put(o, "length_tokens", values_json(&s->lengths));
    json_put_int(o, "misstated_durations", s->misstated);
    json_put_int(o, "same_ids", s->same_id_count);
    json_put(o, "same_id", pairs_json(s->same_ids, s->same_id_count));
    json_put_int(o, "same_clips", s->same_clip_count);
    json_put(o, "same_clip", pairs_json(s->same_clips, s->same_clip_count));
    json_put_int(o, "bad_records", s->bad_records);
    json_put_int(o, "lost_shards", s->lost_shards);
    json_put(o, "bad", bad_json(s));
    buf_init(&b, TABLE_BYTES_MAX);
    json_write_compact(o, &b);
    int rc = output_line(&b, e);
    buf_release(&b);
    json_decref(o);
    return rc;
}

/* ------------------------------------------------------------------ commands -- */

/* Before hours of work: may the table be written at the end? */
static int check_output(const struct options *o, struct err *e)
{
    const char *path = source_local_path(o->output), *patches = o->config.patches;
    size_t n = strlen(patches);
    if (!*o->output || !path)
        return 0;
    if (n && !strncmp(path, patches, n) && file_exists(path)) {
        err_set(e, ERR_USAGE, "--output %s: is there already, and part of --patches", path);
        return err_hint(e, "it would lose what it lists now: give the new table another name");
    }
    char *dir = path_dir(path);
    int rc = dir_make(dir, e);
    free(dir);
    return rc;
}

/* The bad records as a table that patches/delete/ takes. */
static int write_table(const struct data_job *j, const struct survey *s, struct err *e)
{
    struct buf b;
    int64_t count = 0;
    if (!*j->o->output)
        return 0;
    buf_init(&b, TABLE_BYTES_MAX);
    buf_add_str(&b, "id,where,reason\n");
    for (int64_t i = 0; i < s->bad_count; i++) {
        const struct survey_bad *bad = &s->bad[i];
        if (!bad->id)
            continue;
        csv_write(bad->id, ',', &b);
        buf_add_char(&b, ',');
        csv_write(bad->where, ',', &b);
        buf_add_char(&b, ',');
        csv_write(bad->why, ',', &b);
        buf_add_char(&b, '\n');
        count++;
    }
    int rc =
        count ? output_save(j->inputs.net, j->o->output, &b, "the table of bad records", e) : 0;
    buf_release(&b);
    if (rc)
        return -1;
    if (count)
        log_info("%s: %lld bad records; in the folder delete/ of your patches it leaves them out",
                 j->o->output, (long long)count);
    else
        log_info("%s: not written, there is nothing to list", j->o->output);
    if (s->bad_records > count)
        log_warn("%lld bad records have no id: patches cannot leave them out",
                 (long long)(s->bad_records - count));
    if (count && s->same_id_count)
        log_warn("some records have the same id: leaving one out leaves out the others, too");
    return 0;
}

static int report(const struct data_job *j, const struct survey *s, bool decodes, struct err *e)
{
    if (j->o->config.json)
        return print_json(j, s, e);
    print_totals(j, s);
    if (!decodes) {
        histogram_draw(stdout, "sound in a record", "seconds", s->durations.at, s->durations.count);
        histogram_draw(stdout, "text in a record", "characters", s->texts.at, s->texts.count);
        histogram_draw(stdout, "length of a record", "tokens", s->lengths.at, s->lengths.count);
        printf("\n");
    }
    print_wrong(s, decodes);
    return output_flush(e);
}

/* What is wrong, as the command's error. */
static int conclude(const struct options *o, const struct survey *s, struct err *e)
{
    if (!s->bad_records && !s->lost_shards)
        return 0;
    if (!s->lost_shards)
        err_set(e, ERR_DATA, "%lld of %lld records cannot be used", (long long)s->bad_records,
                (long long)s->records);
    else
        err_set(e, ERR_DATA,
                "%lld shard%s cannot be read; of %lld records in the others %lld "
                "cannot be used",
                (long long)s->lost_shards, s->lost_shards == 1 ? "" : "s", (long long)s->records,
                (long long)s->bad_records);
    if (s->bad_records && !*o->output)
        err_hint(e, "mend them, or leave them out: --output patches/delete/bad.csv lists them for "
                    "--patches");
    return -1;
}

static int look(const struct options *o, bool decodes, struct err *e)
{
    struct data_job j;
    struct survey s;
    if (check_output(o, e) || data_job_open(&j, o, e))
        return -1;
    struct survey_options so = {
        .manifest = &j.manifest,
        .format = &j.format,
        /* Tokens are counted by making samples. */
        .decodes = decodes || j.format.chat,
        .limit = o->limit,
        .on_progress = on_progress,
        .arg = &j,
    };
    /* Clips that lie elsewhere are waited for. */
    if (so.decodes)
        so.threads = o->config.connections;
    int rc = survey(&s, &so, e);
    log_status_end();
    if (!rc) {
        rc = report(&j, &s, decodes, e);
        if (!rc && decodes)
            rc = write_table(&j, &s, e);
        if (!rc && decodes)
            rc = conclude(o, &s, e);
        survey_release(&s);
    }
    data_job_close(&j);
    return rc;
}

int cmd_data_check(const struct options *o, struct err *e)
{
    return look(o, true, e);
}

int cmd_data_stats(const struct options *o, struct err *e)
{
    return look(o, false, e);
}
