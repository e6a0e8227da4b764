/* test_import_bigquery.c - rows out of a BigQuery of our own: pages, waiting, every type of value,
 * credentials, errors. */
#include "auth_testing.h"
#include "import_testing.h"

#include "base/json.h"
#include "base/log.h"
#include "data/import_bigquery.h"

#define SCHEMA                                                                                     \
    "\"schema\": {\"fields\": ["                                                                   \
    "{\"name\": \"id\", \"type\": \"INTEGER\"}, {\"name\": \"audio_url\", \"type\": \"STRING\"}, " \
    "{\"name\": \"text_perfect\", \"type\": \"STRING\"}, "                                         \
    "{\"name\": \"language\", \"type\": \"STRING\"}, "                                             \
    "{\"name\": \"duration\", \"type\": \"FLOAT\"}]}"

#define ROW(id, text)                                                                              \
    "{\"f\": [{\"v\": \"" id "\"}, {\"v\": \"gs://b/" id ".wav\"}, {\"v\": " text "}, "            \
    "{\"v\": \"en\"}, {\"v\": \"2.5\"}]}"

#define JOB "\"jobReference\": {\"projectId\": \"p\", \"jobId\": \"job_1\", \"location\": \"EU\"}"

/* A page for each request of a row of them; the last one stays. */
struct service {
    struct http_server *server;
    const char *answers[8];
    int statuses[8];
    char *asked[8], *sent[8];
    int count;
};

static void answer(void *arg, const struct server_request *q, struct server_reply *r)
{
    struct service *s = arg;
    int i = s->count < 8 ? s->count++ : 7;
    free(s->asked[i]);
    free(s->sent[i]);
    s->asked[i] = xasprintf("%s %s\n%s", q->method, q->path, q->headers);
    s->sent[i] = xstrndup(q->body ? q->body : "", q->body_size);
    r->status = s->statuses[i] ? s->statuses[i] : 200;
    r->body = s->answers[i] ? s->answers[i] : "{}";
    r->size = strlen(r->body);
}

static void service_start(struct service *s, struct importer *m)
{
    *s = (struct service){0};
    importer_start(m);
    fake_environment(m->folder);
    s->server = http_server_start(answer, s);
    setenv("BIGQUERY_EMULATOR_HOST", http_server_url(s->server), 1);
}

static void service_stop(struct service *s, struct importer *m)
{
    http_server_stop(s->server);
    for (int i = 0; i < 8; i++) {
        free(s->asked[i]);
        free(s->sent[i]);
    }
    importer_stop(m);
}

static int run(struct importer *m, const struct bigquery_source *source)
{
    struct net *net = net_open(&(struct net_options){.seed = 1, .budget_s = 2});
    int result = import_bigquery(m->import, net, source, &m->e);
    net_close(net);
    return result;
}

static void test_import_bigquery__a_table_in_pages(void **state)
{
    (void)state;
    struct service s;
    struct importer m;
    service_start(&s, &m);
    char *wanted[] = {"en", "pt-BR"};
    m.options.mode = LANGUAGES_STRICT;
    m.options.languages = wanted;
    m.options.language_count = 2;
    importer_begin(&m);
    s.answers[0] = "{\"schema\": {\"fields\": [{\"name\": \"id\", \"type\": \"INTEGER\"}, "
                   "{\"name\": \"blob\", \"type\": \"BYTES\"}, {\"name\": \"audio_url\"}, "
                   "{\"name\": \"text_perfect\"}, {\"name\": \"language\"}, "
                   "{\"name\": \"duration\"}]}}";
    s.answers[1] = "{\"jobComplete\": false, " JOB "}";
    s.answers[2] = "{\"jobComplete\": true, \"totalRows\": \"3\", \"pageToken\": \"next=1\", " JOB
                   ", " SCHEMA ", \"rows\": [" ROW("1", "\"one\"") ", " ROW("2", "null") "]}";
    s.answers[3] = "{\"jobComplete\": true, " JOB ", \"rows\": [" ROW("3", "\"three\"") "]}";
    assert_int_equal(run(&m, &(struct bigquery_source){.table = "proj.set.table", .limit = 7}), 0);
    assert_ok(m.e);
    assert_int_equal(s.count, 4);
    assert_has(s.asked[0], "GET /bigquery/v2/projects/proj/datasets/set/tables/table\n");
    assert_null(strstr(s.asked[0], "authorization"));
    assert_has(s.asked[1], "POST /bigquery/v2/projects/proj/queries\n");
    struct err e = {0};
    json_t *sent = json_read_text("sent", s.sent[1], strlen(s.sent[1]), &e);
    assert_ok(e);
    assert_string_equal(json_need_str(sent, "query", &e),
                        "SELECT `id`, `audio_url`, `text_perfect`, `language`, `duration` FROM "
                        "`proj.set.table` WHERE REGEXP_EXTRACT(LOWER(`language`), r'^[a-z]+') IN "
                        "('en', 'pt') LIMIT 7");
    assert_false(json_get_bool(sent, "useLegacySql", true, &e));
    assert_int_equal(strlen(json_need_str(sent, "requestId", &e)), 32);
    json_decref(sent);
    assert_has(s.asked[2], "GET /bigquery/v2/projects/proj/queries/job_1?maxResults=10000");
    assert_has(s.asked[2], "location=EU");
    assert_has(s.asked[3], "pageToken=next%3D1");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1\",\"audio\":\"gs://b/1.wav\",\"text\":\"one\",\"language\":\"en\","
               "\"duration\":2.5}\n"
               "{\"id\":\"3\",\"audio\":\"gs://b/3.wav\",\"text\":\"three\",\"language\":\"en\","
               "\"duration\":2.5}\n");
    assert_int_equal(import_counts(m.import)->left[LEFT_EMPTY], 1);
    service_stop(&s, &m);
}

static void test_import_bigquery__a_query_with_every_type(void **state)
{
    (void)state;
    struct service s;
    struct importer m;
    service_start(&s, &m);
    s.answers[0] =
        "{\"jobComplete\": true, \"totalRows\": \"1\", " JOB ", \"schema\": {\"fields\": ["
        "{\"name\": \"id\", \"type\": \"TIMESTAMP\"}, {\"name\": \"ok\", \"type\": \"BOOLEAN\"}, "
        "{\"name\": \"audio\", \"type\": \"RECORD\", \"fields\": [{\"name\": \"path\", "
        "\"type\": \"STRING\"}, {\"name\": \"tags\", \"type\": \"STRING\", \"mode\": "
        "\"REPEATED\"}]}, {\"name\": \"text\", \"type\": \"STRING\"}]}, "
        "\"rows\": [{\"f\": [{\"v\": \"1.7E9\"}, {\"v\": \"true\"}, {\"v\": {\"f\": [{\"v\": "
        "\"gs://b/a.wav\"}, {\"v\": [{\"v\": \"x\"}, {\"v\": \"y\"}]}]}}, {\"v\": \"hello\"}]}]}";
    assert_int_equal(run(&m, &(struct bigquery_source){.query = "SELECT 1", .project = "payer"}),
                     0);
    assert_ok(m.e);
    assert_has(s.asked[0], "POST /bigquery/v2/projects/payer/queries\n");
    assert_out(&m, SPLIT_NONE,
               "{\"id\":\"1.7E9\",\"audio\":\"gs://b/a.wav\",\"text\":\"hello\"}\n");
    service_stop(&s, &m);
}

static void test_import_bigquery__says_what_is_wrong(void **state)
{
    (void)state;
    struct service s;
    struct importer m;
    service_start(&s, &m);
    struct bigquery_source query = {.query = "SELEC 1", .project = "p"};
    struct bigquery_source table = {.table = "p.d.t"};

    s.statuses[0] = 400;
    s.answers[0] = "{\"error\": {\"code\": 400, \"message\": \"Syntax error: SELEC\"}}";
    assert_int_equal(run(&m, &query), -1);
    assert_err(m.e, ERR_FAILED, "Syntax error: SELEC");
    m.e = (struct err){0};
    s.count = 0;
    s.statuses[0] = 404;
    s.answers[0] = "{\"error\": {\"code\": 404, \"message\": \"Not found: Table p:d.t\"}}";
    assert_int_equal(run(&m, &table), -1);
    assert_err(m.e, ERR_DATA, "p.d.t: 404: Not found");
    m.e = (struct err){0};
    s.count = 0;
    s.statuses[0] = 200;
    s.answers[0] = "{\"schema\": {\"fields\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}}";
    assert_int_equal(run(&m, &table), -1);
    assert_err(m.e, ERR_USAGE, "p.d.t: no column is known for the text among: a, b");

    static const char *const answers[] = {"[]",
                                          "{\"jobComplete\": 3}",
                                          "{\"jobComplete\": false}",
                                          "{\"jobComplete\": true}",
                                          "{\"jobComplete\": true, \"schema\": {\"fields\": []}}",
                                          "{\"jobComplete\": true, " SCHEMA
                                          ", \"rows\": [{\"f\": [{\"v\": \"1\"}]}]}",
                                          "{\"jobComplete\": true, " SCHEMA ", \"rows\": {}}",
                                          "{\"jobComplete\": true, " SCHEMA ", \"rows\": [7]}"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        m.e = (struct err){0};
        s.count = 0;
        s.answers[0] = answers[i];
        assert_int_equal(run(&m, &query), -1);
        assert_err(m.e, ERR_DATA, "");
    }
    assert_int_equal(run(&m, &(struct bigquery_source){.query = "SELECT 1"}), -1);
    m.e = (struct err){0};
    assert_int_equal(run(&m, &(struct bigquery_source){.query = "SELECT 1"}), -1);
    assert_err(m.e, ERR_USAGE, "no project is known");
    service_stop(&s, &m);
}

static void test_import_bigquery__takes_no_more_than_wanted(void **state)
{
    (void)state;
    struct service s;
    struct importer m;
    service_start(&s, &m);
    m.options.limit = 1;
    importer_begin(&m);
    s.answers[0] = "{\"jobComplete\": true, \"totalRows\": \"3\", \"pageToken\": \"x\", " JOB
                   ", " SCHEMA ", \"rows\": [" ROW("1", "\"one\"") ", " ROW("2", "\"two\"") "]}";
    assert_int_equal(run(&m, &(struct bigquery_source){.query = "q", .project = "p"}), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(import_counts(m.import)->written[SPLIT_NONE], 1);
    service_stop(&s, &m);
}

static void test_import_bigquery__knows_tables_by_their_names(void **state)
{
    (void)state;
    static const char *const tables[] = {"my-project.set.table", "p:set.table", "bq://p.d.t",
                                         "example.com:p.d.t", "bigquery-public-data.a.b_2020"};
    static const char *const others[] = {"a.csv", "a",    "a.b",  "gs://a.b/c.d.e", "dir/a.b.c",
                                         ".a.b",  "a..b", "a.b.", "a.b`c.d",        "x y.b.c"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        assert_true(bigquery_is_table(tables[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(bigquery_is_table(others[i]));
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_bigquery__a_table_in_pages),
        cmocka_unit_test(test_import_bigquery__a_query_with_every_type),
        cmocka_unit_test(test_import_bigquery__says_what_is_wrong),
        cmocka_unit_test(test_import_bigquery__takes_no_more_than_wanted),
        cmocka_unit_test(test_import_bigquery__knows_tables_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
