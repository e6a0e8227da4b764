/* import_bigquery.c - see import_bigquery.h. */
#include "data/import_bigquery.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/auth.h"
#include "net/request.h"

enum {
    PAGE_ROWS = 10000,
    ANSWER_MAX = 64 << 20,        /* BigQuery's own limit of a page is 20 MB */
    SQL_MAX = 1 << 20,
    COLUMNS_MAX = 10000,
    DEPTH_MAX = 16,
    POLL_S = 10,                  /* how long the server may hold a request */
    QUERY_HOURS_MAX = 6,          /* how long BigQuery lets a query run */
};

/* A query under way. */
struct query {
    struct import *m;
    struct net *net;
    char *base;                   /* "https://bigquery.googleapis.com/bigquery/v2" */
    enum request_login login;
    const char *project;
    char *job, *location, *page;  /* NULL: not known, none */
    json_t *fields;               /* of the schema */
    struct import_names names;
    char **columns;
    int column_count;
    int64_t row;                  /* rows so far */
    bool is_announced;
};

/* A table's name taken apart. */
struct table_name {
    char *project, *dataset, *table;
};

static void table_name_release(struct table_name *t)
{
    free(t->project);
    free(t->dataset);
    free(t->table);
}

/* "project.dataset.table", "project:dataset.table"; projects of organisations have a ':' or a '.'
 * of their own ("example.com:name"), so the last two dots count. */
static bool take_name(struct table_name *t, const char *name)
{
    *t = (struct table_name){0};
    if (!strncmp(name, "bq://", 5))
        name += 5;
    const char *last = strrchr(name, '.'), *first = last;
    while (first && first > name && first[-1] != '.' && first[-1] != ':')
        first--;
    if (!last || first <= name + 1 || first == last || !last[1] || strpbrk(name, "/\\`'\" \n"))
        return false;
    t->project = xstrndup(name, (size_t)(first - 1 - name));
    t->dataset = xstrndup(first, (size_t)(last - first));
    t->table = xstrdup(last + 1);
    return true;
}

bool bigquery_is_table(const char *name)
{
    struct table_name t;
    bool is_table = take_name(&t, name);
    table_name_release(&t);
    return is_table;
}

/* ------------------------------------------------------------------ requests -- */

/* A JSON answer.  The caller calls json_decref. */
static json_t *call(struct query *q, const char *url, const json_t *body, const char *what,
                    struct err *e)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct buf text;
    buf_init(&text, SQL_MAX + 4096);
    if (body)
        json_write_compact(body, &text);
    struct request r = {
        .http = {.method = body ? "POST" : NULL,
                 .url = url,
                 .headers = body ? headers : NULL,
                 .body = body ? text.data : NULL,
                 .body_size = text.size,
                 .body_max = ANSWER_MAX},
        .login = q->login,
        .what = what,
    };
    struct http_response answer = {0};
    json_t *o = NULL;
    if (!buf_check(&text, "the query", e) && !request_run(q->net, &r, &answer, e)) {
        o = json_read_text(what, answer.body ? answer.body : "", answer.body ? answer.size : 0, e);
        if (o && !json_is_object(o)) {
            err_set(e, ERR_DATA, "%s: the answer is no JSON object", what);
            json_decref(o);
            o = NULL;
        }
    }
    http_response_release(&answer);
    buf_release(&text);
    return o;
}

static void add_parameter(struct buf *url, const char *name, const char *value)
{
    if (!value)
        return;
    char *coded = http_encode(value, false);
    buf_printf(url, "%c%s=%s", strchr(url->data, '?') ? '&' : '?', name, coded);
    free(coded);
}

/* "base/projects/P/..." with each part coded.  The caller releases. */
static void begin_url(struct buf *url, const struct query *q, const char *const *parts)
{
    buf_init(url, 64 << 10);
    buf_add_str(url, q->base);
    for (; *parts; parts++) {
        char *coded = http_encode(*parts, false);
        buf_printf(url, "/%s", coded);
        free(coded);
    }
}

static int find_service(struct query *q)
{
    const char *host = getenv("BIGQUERY_EMULATOR_HOST");
    bool is_emulated = host && *host;
    q->login = is_emulated ? LOGIN_NONE : LOGIN_GOOGLE;
    if (!is_emulated)
        host = "https://bigquery.googleapis.com";
    size_t size = strlen(host);
    while (size > 0 && host[size - 1] == '/')
        size--;
    q->base =
        xasprintf("%s%.*s/bigquery/v2", strstr(host, "://") ? "" : "http://", (int)size, host);
    return 0;
}

/* -------------------------------------------------------------------- a table -- */

/* The names of the columns of a schema. */
static int take_schema(struct query *q, const json_t *schema, struct err *e)
{
    json_t *fields = json_need_array(schema, "fields", e);
    if (e->kind)
        return -1;
    size_t count = json_array_size(fields);
    if (count == 0 || count > COLUMNS_MAX)
        return err_set(e, ERR_DATA, "a schema of %zu columns, expected 1 to %d", count,
                       COLUMNS_MAX);
    free(q->columns);
    json_decref(q->fields);
    q->fields = json_incref(fields);
    q->columns = xcalloc(count, sizeof *q->columns);
    q->column_count = (int)count;
    for (size_t i = 0; i < count; i++)
        q->columns[i] = (char *)json_need_str(json_array_get(fields, i), "name", e);
    return e->kind ? -1 : 0;
}

static int find_names(struct query *q, const char *what, struct err *e)
{
    const struct import_options *o = import_settings(q->m);
    if (import_names_check(o->columns, o->column_count, q->columns, q->column_count, e))
        return err_in(e, "%s", what);
    import_names_find(&q->names, q->columns, q->column_count, o->columns, o->column_count);
    if (q->names.of[ROLE_TEXT])
        return 0;
    struct buf list;
    buf_init(&list, 400);
    for (int i = 0; i < q->column_count; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", q->columns[i]);
    err_set(e, ERR_USAGE, "%s: no column is known for the text among: %s", what,
            list.overflowed ? "(too many to show)" : list.data);
    buf_release(&list);
    return err_hint(e, "name it: --columns text=NAME");
}

/* A name in backquotes; those of BigQuery have none in them. */
static void add_name(struct buf *sql, const char *name)
{
    buf_add_char(sql, '`');
    for (; *name; name++)
        if (*name != '`' && *name != '\\')
            buf_add_char(sql, *name);
    buf_add_char(sql, '`');
}

/* Only these languages, when that is asked for and the table says them. */
static void add_languages(struct buf *sql, const struct query *q)
{
    const struct import_options *o = import_settings(q->m);
    char tag[16];
    if (o->mode != LANGUAGES_STRICT || !o->language_count || !q->names.of[ROLE_LANGUAGE])
        return;
    buf_add_str(sql, " WHERE REGEXP_EXTRACT(LOWER(");
    add_name(sql, q->names.of[ROLE_LANGUAGE]);
    buf_add_str(sql, "), r'^[a-z]+') IN (");
    for (int i = 0; i < o->language_count; i++) {
        import_language(o->languages[i], tag);
        buf_printf(sql, "%s'%s'", i ? ", " : "", tag);
    }
    buf_add_char(sql, ')');
}

/* The query for what is of use in a table.  The caller frees. */
static char *table_query(struct query *q, const struct table_name *t, int64_t limit, struct err *e)
{
    struct buf url, sql;
    char *what = xasprintf("%s.%s.%s", t->project, t->dataset, t->table), *text = NULL;
    begin_url(
        &url, q,
        (const char *[]){"projects", t->project, "datasets", t->dataset, "tables", t->table, NULL});
    json_t *o = call(q, url.data, NULL, what, e);
    const json_t *schema = o ? json_need_object(o, "schema", e) : NULL;
    if (schema && !take_schema(q, schema, e) && !find_names(q, what, e)) {
        buf_init(&sql, SQL_MAX);
        buf_add_str(&sql, "SELECT ");
        bool is_first = true;
        for (int r = 0; r < ROLE_COUNT; r++)
            if (q->names.of[r]) {
                buf_add_str(&sql, is_first ? "" : ", ");
                add_name(&sql, q->names.of[r]);
                is_first = false;
            }
        buf_add_str(&sql, " FROM ");
        add_name(&sql, what);
        add_languages(&sql, q);
        if (limit > 0)
            buf_printf(&sql, " LIMIT %lld", (long long)limit);
        if (!buf_check(&sql, "the query", e))
            text = buf_take(&sql, NULL);
        buf_release(&sql);
    }
    if (e->kind && e->kind != ERR_USAGE && !strstr(e->text, what))
        err_in(e, "%s", what);
    json_decref(o);
    buf_release(&url);
    free(what);
    return text;
}

/* ----------------------------------------------------------------------- rows -- */

/* A cell as JSON: {"v": text, null, {"f": cells}, or [{"v": ...}]}, as its field of the schema
 * says. */
static json_t *cell_value(const json_t *v, const json_t *field, int depth)
{
    if (json_is_array(v)) {
        json_t *list = json_array();
        size_t i;
        json_t *item;
        json_array_foreach(v, i, item) json_array_append_new(
            list, depth ? cell_value(json_object_get(item, "v"), field, depth - 1) : json_null());
        return list;
    }
    const json_t *cells = json_object_get(v, "f"), *inner = json_object_get(field, "fields");
    if (!json_is_array(cells))
        return v && !json_is_object(v) ? json_incref((json_t *)v) : json_null();
    json_t *o = json_object();
    for (size_t i = 0; depth && i < json_array_size(cells); i++) {
        const json_t *f = json_array_get(inner, i);
        const char *name = json_string_value(json_object_get(f, "name"));
        if (name)
            json_put(o, name,
                     cell_value(json_object_get(json_array_get(cells, i), "v"), f, depth - 1));
    }
    return o;
}

static int take_row(struct query *q, const json_t *cells, struct err *e)
{
    char where[40];
    snprintf(where, sizeof where, "bigquery:%lld", (long long)++q->row);
    if (!json_is_array(cells) || json_array_size(cells) != (size_t)q->column_count)
        return err_set(e, ERR_DATA, "%s: found %zu values, expected %d", where,
                       json_array_size(cells), q->column_count);
    json_t *o = json_object();
    for (int i = 0; i < q->column_count; i++) {
        json_t *v = cell_value(json_object_get(json_array_get(cells, (size_t)i), "v"),
                               json_array_get(q->fields, (size_t)i), DEPTH_MAX);
        if (json_is_null(v))
            json_decref(v);
        else
            json_put(o, q->columns[i], v);
    }
    struct import_row row = {.json = o, .where = where, .dir = "", .names = &q->names};
    int result = import_row(q->m, &row, e);
    json_decref(o);
    return result;
}

/* One answer of jobs.query or jobs.getQueryResults: 0 there is more to ask for, 1 done, -1. */
static int take_answer(struct query *q, const json_t *o, bool *is_complete, struct err *e)
{
    const json_t *job = json_get_object(o, "jobReference", e);
    if (job && !q->job) {
        const char *location = json_get_str(job, "location", NULL, e);
        q->job = xstrdup(json_get_str(job, "jobId", "", e));
        q->location = location ? xstrdup(location) : NULL;
    }
    *is_complete = json_get_bool(o, "jobComplete", false, e);
    if (e->kind)
        return err_in(e, "bigquery");
    if (!*is_complete)
        return q->job ? 0 : err_set(e, ERR_DATA, "bigquery: the answer names no job to wait for");
    if (!q->is_announced) {
        const char *total = json_get_str(o, "totalRows", "0", e);
        const json_t *schema = json_need_object(o, "schema", e);
        if (e->kind || take_schema(q, schema, e) || find_names(q, "bigquery", e))
            return -1;
        import_expect(q->m, strtoll(total, NULL, 10));
        q->is_announced = true;
    }
    const json_t *rows = json_get_array(o, "rows", e);
    const char *page = json_get_str(o, "pageToken", NULL, e);
    free(q->page);
    q->page = page && *page ? xstrdup(page) : NULL;
    int result = e->kind ? -1 : 0;
    for (size_t i = 0; i < json_array_size(rows) && !result; i++)
        result = take_row(q, json_object_get(json_array_get(rows, i), "f"), e);
    return result ? result : !q->page;
}

/* A name for the request, so that sending it twice runs the query once. */
static void request_id(struct query *q, char out[40])
{
    uint64_t seed = rng_seed((uint64_t)time(NULL), q->base) ^ (uint64_t)getpid();
    snprintf(out, 40, "%016llx%016llx", (unsigned long long)rng_u64(seed, 0, 0),
             (unsigned long long)rng_u64(seed, 0, 1));
}

static json_t *start(struct query *q, const char *sql, struct err *e)
{
    char id[40];
    struct buf url;
    request_id(q, id);
    json_t *body = json_object();
    json_put_str(body, "query", sql);
    json_put_bool(body, "useLegacySql", false);
    json_put_int(body, "timeoutMs", POLL_S * 1000);
    json_put_int(body, "maxResults", PAGE_ROWS);
    json_put_str(body, "requestId", id);
    begin_url(&url, q, (const char *[]){"projects", q->project, "queries", NULL});
    json_t *o = call(q, url.data, body, "bigquery", e);
    buf_release(&url);
    json_decref(body);
    return o;
}

static json_t *go_on(struct query *q, struct err *e)
{
    struct buf url;
    char number[24];
    begin_url(&url, q, (const char *[]){"projects", q->project, "queries", q->job, NULL});
    snprintf(number, sizeof number, "%d", PAGE_ROWS);
    add_parameter(&url, "maxResults", number);
    snprintf(number, sizeof number, "%d", POLL_S * 1000);
    add_parameter(&url, "timeoutMs", number);
    add_parameter(&url, "location", q->location);
    add_parameter(&url, "pageToken", q->page);
    json_t *o = call(q, url.data, NULL, "bigquery", e);
    buf_release(&url);
    return o;
}

static int run(struct query *q, const char *sql, struct err *e)
{
    int64_t begin = (int64_t)time(NULL);
    json_t *o = start(q, sql, e);
    for (;;) {
        bool is_complete = false;
        int result = o ? take_answer(q, o, &is_complete, e) : -1;
        json_decref(o);
        if (result)
            return result;
        if (!is_complete) {
            log_status("bigquery: waiting for the query");
            if ((int64_t)time(NULL) - begin > QUERY_HOURS_MAX * 3600)
                return err_set(e, ERR_RETRY, "bigquery: the query runs for more than %d hours",
                               QUERY_HOURS_MAX);
            if (net_sleep(q->net, 0.5, e))
                return -1;
        }
        o = go_on(q, e);
    }
}

/* Who runs and pays: --project, the credentials', the table's. */
static int find_project(struct query *q, const struct bigquery_source *s,
                        const struct table_name *t, struct err *e)
{
    q->project = s->project && *s->project ? s->project : NULL;
    if (!q->project && q->login == LOGIN_GOOGLE && auth_google_project(q->net, &q->project, e))
        return -1;
    if (!q->project || !*q->project)
        q->project = t->project;
    if (q->project)
        return 0;
    err_set(e, ERR_USAGE, "bigquery: no project is known that runs the query");
    return err_hint(e, "name it: --project NAME");
}

int import_bigquery(struct import *m, struct net *net, const struct bigquery_source *s,
                    struct err *e)
{
    struct query q = {.m = m, .net = net};
    struct table_name t = {0};
    char *sql = NULL;
    int result = -1;
    if (s->table && !take_name(&t, s->table)) {
        err_set(e, ERR_USAGE, "%s: expected project.dataset.table", s->table);
        return -1;
    }
    find_service(&q);
    if (!find_project(&q, s, &t, e)) {
        sql = s->table ? table_query(&q, &t, s->limit, e) : xstrdup(s->query);
        if (sql) {
            log_info("bigquery: project %s runs: %s", q.project, sql);
            result = run(&q, sql, e);
        }
    }
    free(sql);
    free(q.base);
    free(q.job);
    free(q.location);
    free(q.page);
    free(q.columns);
    json_decref(q.fields);
    table_name_release(&t);
    return result < 0 ? -1 : 0;
}
