/* test_walk.c - every record once, whatever the threads; numbers, limits, deleted records, cut
 * shards. */
#include "data_testing.h"

#include <pthread.h>

#include "data/patch.h"
#include "data/walk.h"

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static char *write_text(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    return path;
}

static char *write_lines(const char *name, int first, int count)
{
    struct buf b;
    buf_init(&b, 1 << 24);
    for (int i = first; i < first + count; i++)
        buf_printf(&b, "{\"id\": %d, \"text\": \"text %d\"}\n", i, i);
    char *path = write_text(name, b.data);
    buf_release(&b);
    return path;
}

enum { SEEN_MAX = 5000 };

struct seen {
    pthread_mutex_t mutex;
    int visits, lost, bad;
    int by_number[SEEN_MAX];
    char ids[SEEN_MAX][16];
    int64_t lost_at;
    int enough, fail_at;                  /* visit number; -1: never */
};

static int visit(void *arg, const struct walk_record *r, struct err *e)
{
    struct seen *s = arg;
    int rc = 0;
    pthread_mutex_lock(&s->mutex);
    s->visits++;
    s->by_number[r->number]++;
    snprintf(s->ids[r->number], 16, "%s", r->id ? r->id : "-");
    s->bad += !r->record;
    if (r->number == s->fail_at)
        rc = err_set(e, ERR_SPACE, "record %d", s->fail_at);
    else if (r->number == s->enough)
        rc = 1;
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static void on_lost(void *arg, int64_t number, const char *shard, const struct err *why)
{
    struct seen *s = arg;
    assert_non_null(strstr(why->text, shard));
    s->lost++;
    s->lost_at = number;
}

static void look(struct seen *s, const struct manifest *m, int64_t first, int64_t limit,
                 int threads, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->enough = s->fail_at = -1;
    pthread_mutex_init(&s->mutex, NULL);
    struct walk_options o = {.manifest = m,
                             .first = first,
                             .limit = limit,
                             .threads = threads,
                             .visit = visit,
                             .on_lost = on_lost,
                             .arg = s};
    assert_int_equal(walk(&o, e), e->kind ? -1 : 0);
}

/* Exactly the numbers first .. end - 1 were seen, each once. */
static void assert_seen(const struct seen *s, int first, int end)
{
    assert_int_equal(s->visits, end - first);
    for (int i = 0; i < SEEN_MAX; i++)
        assert_int_equal(s->by_number[i], i >= first && i < end);
}

static void test_walk__every_record_once(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    char *paths[] = {write_lines("a.jsonl", 0, 3000), write_shard(folder, "b.tar", 3000, 7, 0),
                     write_shard(folder, "c.tar", 3007, 5, 0), write_lines("d.jsonl", 3012, 1)};
    struct manifest m = open_files(paths, 4, NULL);
    static const int threads[] = {1, 2, 7, 0};
    for (int i = 0; i < 4; i++) {
        look(&s, &m, 0, 0, threads[i], &e);
        assert_ok(e);
        assert_seen(&s, 0, 3013);
        /* Ids are the numbers, in the order of the sources. */
        for (int k = 0; k < 3013; k++)
            assert_int_equal(atoi(s.ids[k]), k);
    }
    manifest_release(&m);
    for (int i = 0; i < 4; i++)
        free(paths[i]);
}

static void test_walk__first_and_limit(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    char *paths[] = {write_shard(folder, "e.tar", 0, 4, 0), write_lines("e.jsonl", 4, 20),
                     write_shard(folder, "f.tar", 24, 3, 0)};
    struct manifest m = open_files(paths, 3, NULL);
    static const int cases[][4] = {{0, 3, 0, 3},    {0, 4, 0, 4}, {0, 5, 0, 5},    {2, 1, 2, 3},
                                   {3, 4, 3, 7},    {4, 1, 4, 5}, {23, 2, 23, 25}, {26, 9, 26, 27},
                                   {27, 1, 27, 27}, {5, 0, 5, 27}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        look(&s, &m, cases[i][0], cases[i][1], 3, &e);
        assert_ok(e);
        assert_seen(&s, cases[i][2], cases[i][3]);
    }
    manifest_release(&m);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

static void test_walk__bad_records_have_their_ids(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    char *path = write_text("bad.jsonl", "{\"id\": \"a\", \"text\": \"x\"}\n"
                                         "{\"id\": \"b\", \"txet\": \"x\"}\n"
                                         "{\"id\": \"c\", \n"
                                         "{\"text\": \"x\"}\n");
    struct manifest m = open_files(&path, 1, NULL);
    look(&s, &m, 0, 0, 2, &e);
    assert_ok(e);
    assert_seen(&s, 0, 4);
    assert_int_equal(s.bad, 2);
    assert_string_equal(s.ids[0], "a");
    assert_string_equal(s.ids[1], "b");
    assert_string_equal(s.ids[2], "-");
    assert_string_equal(s.ids[3], "-");
    manifest_release(&m);
    free(path);
}

static void test_walk__deleted_records_are_passed_over_but_counted(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    char *dir = path_join(folder, "patches/delete");
    assert_int_equal(dir_make(dir, &e), 0);
    free(write_text("patches/delete/x.csv", "id\n1\n5\n7\n"));
    char *patches = path_join(folder, "patches");
    struct patch *patch = patch_open(NULL, patches, &e);
    assert_ok(e);
    char *paths[] = {write_lines("g.jsonl", 0, 4), write_shard(folder, "g.tar", 4, 4, 0)};
    struct manifest m;
    struct manifest_options o = {.patterns = paths, .pattern_count = 2, .patch = patch};
    assert_int_equal(manifest_open(&m, &o, &e), 0);
    look(&s, &m, 0, 0, 2, &e);
    assert_ok(e);
    assert_int_equal(s.visits, 5);
    for (int i = 0; i < 8; i++)
        assert_int_equal(s.by_number[i], i != 1 && i != 5 && i != 7);
    manifest_release(&m);
    patch_free(patch);
    free(patches);
    free(dir);
    free(paths[0]);
    free(paths[1]);
}

static void test_walk__a_cut_shard_is_lost_alone(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    size_t size;
    char *paths[] = {write_shard(folder, "h0.tar", 0, 4, 0), write_shard(folder, "h1.tar", 4, 4, 0),
                     write_shard(folder, "h2.tar", 8, 4, 0)};
    char *bytes = file_read(paths[1], 1 << 20, &size, &e);
    assert_int_equal(file_write(paths[1], bytes, size / 2, &e), 0);
    free(bytes);
    struct manifest m = open_files(paths, 3, NULL);
    look(&s, &m, 0, 0, 2, &e);
    assert_ok(e);
    assert_seen(&s, 0, 8);
    assert_int_equal(s.lost, 1);
    assert_int_equal(s.lost_at, 4);
    assert_string_equal(s.ids[4], "8");
    manifest_release(&m);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

static void test_walk__ends_when_told(void **state)
{
    (void)state;
    struct err e = {0};
    static struct seen s;
    char *path = write_lines("i.jsonl", 0, 1000);
    struct manifest m = open_files(&path, 1, NULL);
    struct walk_options o = {
        .manifest = &m, .threads = 1, .visit = visit, .on_lost = on_lost, .arg = &s};
    memset(&s, 0, sizeof s);
    pthread_mutex_init(&s.mutex, NULL);
    s.enough = 9;
    s.fail_at = -1;
    assert_int_equal(walk(&o, &e), 0);
    assert_int_equal(s.visits, 10);
    s.enough = -1;
    s.fail_at = 20;
    o.threads = 4;
    assert_int_equal(walk(&o, &e), -1);
    assert_err(e, ERR_SPACE, "record 20");
    assert_true(s.visits < 1000);
    manifest_release(&m);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk__every_record_once),
        cmocka_unit_test(test_walk__first_and_limit),
        cmocka_unit_test(test_walk__bad_records_have_their_ids),
        cmocka_unit_test(test_walk__deleted_records_are_passed_over_but_counted),
        cmocka_unit_test(test_walk__a_cut_shard_is_lost_alone),
        cmocka_unit_test(test_walk__ends_when_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
