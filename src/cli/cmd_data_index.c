/* cmd_data_index.c - `attune data index`: writes beside each shard what is in it, so that a run
 * can plan, and read single samples, before the shard is here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"
#include "cli/data_job.h"
#include "cli/output.h"

enum { INDEX_BYTES_MAX = 1 << 30, REPORT_BYTES_MAX = 1 << 16 };

struct totals {
    int64_t written, kept, records;
};

static int write_index(const struct data_job *j, const struct manifest_file *f, const char *path,
                       struct totals *t, struct err *e)
{
    const struct config *c = &j->o->config;
    struct shard s;
    struct buf b;
    if (shard_index(&s, path, f->object.uri, c->columns.at, c->columns.count, e))
        return -1;
    buf_init(&b, INDEX_BYTES_MAX);
    int rc = shard_sum(&s, path, e);
    if (!rc) {
        char *uri = xasprintf("%s.idx", f->object.uri);
        shard_write_index(&s, &f->object, c->columns.at, c->columns.count, &b);
        rc = output_save(j->inputs.net, uri, &b, uri, e);
        free(uri);
    }
    t->written++;
    t->records += s.record_count;
    buf_release(&b);
    shard_release(&s);
    return rc;
}

/* The shard that is wanted already. */
static int index_shard(const struct data_job *j, const struct manifest_file *f, struct totals *t,
                       struct err *e)
{
    char *path;
    if (spool_take(j->inputs.spool, &f->object, &path, NULL, e))
        return -1;
    int rc = write_index(j, f, path, t, e);
    free(path);
    return rc;
}

/* Shards without an index of their own version, as indexes into the manifest's files. */
static int find_missing(const struct data_job *j, int32_t **missing, int64_t *count,
                        struct totals *t, struct err *e)
{
    const struct manifest *m = &j->manifest;
    *missing = xcalloc((size_t)m->file_count + 1, sizeof **missing);
    *count = 0;
    for (int64_t i = 0; i < m->file_count; i++) {
        struct shard s = {0};
        int32_t file = (int32_t)i;
        if (m->files[i].kind != MANIFEST_TAR)
            return err_set(e, ERR_USAGE, "%s: only shards (tar) have an index",
                           m->files[i].object.uri);
        if (m->files[i].index_object && manifest_read_indexes(m, m->options.net, &file, 1, &s, e))
            return -1;
        if (s.name) {
            t->kept++;
            t->records += s.record_count;
        } else {
            (*missing)[(*count)++] = file;
        }
        shard_release(&s);
    }
    return 0;
}

static int index_all(const struct data_job *j, struct totals *t, struct err *e)
{
    const struct manifest *m = &j->manifest;
    int32_t *missing;
    int64_t count, done = 0;
    int rc = find_missing(j, &missing, &count, t, e);
    if (!rc && count)
        spool_want(j->inputs.spool, &m->files[missing[0]].object);
    for (; !rc && done < count; done++) {
        /* The next one is fetched while this one is read. */
        if (done + 1 < count)
            spool_want(j->inputs.spool, &m->files[missing[done + 1]].object);
        output_progress("indexing shards", done, count);
        rc = index_shard(j, &m->files[missing[done]], t, e);
        spool_give(j->inputs.spool, &m->files[missing[done]].object);
        if (rc && done + 1 < count)
            spool_give(j->inputs.spool, &m->files[missing[done + 1]].object);
    }
    free(missing);
    return rc;
}

static int report(const struct data_job *j, const struct totals *t, struct err *e)
{
    struct buf b;
    if (!j->o->config.json) {
        printf("%lld indexes written, %lld were there; %lld records in %lld shards\n",
               (long long)t->written, (long long)t->kept, (long long)t->records,
               (long long)j->manifest.file_count);
        return output_flush(e);
    }
    json_t *o = json_object();
    json_put_int(o, "written", t->written);
    json_put_int(o, "kept", t->kept);
    json_put_int(o, "records", t->records);
    json_put_int(o, "shards", j->manifest.file_count);
    buf_init(&b, REPORT_BYTES_MAX);
    json_write_compact(o, &b);
    int rc = output_line(&b, e);
    buf_release(&b);
    json_decref(o);
    return rc;
}

int cmd_data_index(const struct options *o, struct err *e)
{
    struct data_job j;
    struct totals t = {0};
    if (data_job_open(&j, o, e))
        return -1;
    int rc = index_all(&j, &t, e);
    log_status_end();
    if (!rc)
        rc = report(&j, &t, e);
    data_job_close(&j);
    return rc;
}
