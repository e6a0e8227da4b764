/* test_source.c - local files and objects as sources, and patterns of names. */
#include "testing.h"

#include "bucket.h"

#include "base/file.h"
#include "base/mem.h"
#include "data/source.h"

static char *folder;

static void write_file(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    struct err e = {0};
    char *sub = path_join(folder, "sub");
    assert_int_equal(dir_make(sub, &e), 0);
    free(sub);
    write_file("a-0008.jsonl", "8");
    write_file("a-0009.jsonl", "9");
    write_file("a-0010.jsonl", "10");
    write_file("b.jsonl", "0123456789");
    write_file("odd{name}.jsonl", "x");
    write_file("sub/c.jsonl", "c");
    write_file("sub/d.tar.gz", "d");
    write_file("sub/e.tar.zst", "e");
    write_file("sub/f.csv", "f");
    write_file("sub/.g.csv", "g");
    write_file("sub/h.txt", "h");
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

static void test_source__reads_ranges(void **state)
{
    (void)state;
    struct err e = {0};
    char *path = path_join(folder, "b.jsonl"), out[11] = "";
    struct source *s = source_open(NULL, path, &e);
    assert_non_null(s);
    assert_int_equal(source_size(s), 10);
    assert_int_equal(source_read(s, 3, out, 4, &e), 0);
    assert_string_equal(out, "3456");
    assert_int_equal(source_read(s, 8, out, 4, &e), -1);
    assert_err(e, ERR_DATA, "ends at byte 10, expected 12");
    e = (struct err){0};
    write_file("b.jsonl", "shorter");
    assert_int_equal(source_read(s, 0, out, 4, &e), -1);
    assert_err(e, ERR_INTEGRITY, "changed while in use, had 10 bytes, now 7");
    write_file("b.jsonl", "0123456789");
    source_close(s);
    free(path);
}

static void test_source__names_what_it_cannot_open(void **state)
{
    (void)state;
    struct err e = {0};
    char *missing = path_join(folder, "missing.wav");
    size_t size;
    assert_null(source_load(NULL, missing, 100, &size, &e));
    assert_err(e, ERR_DATA, "missing.wav: No such file");
    e = (struct err){0};
    assert_null(source_load(NULL, folder, 100, &size, &e));
    assert_err(e, ERR_DATA, "is a folder");
    e = (struct err){0};
    assert_null(source_load(NULL, "gs://bucket/a.wav", 100, &size, &e));
    assert_err(e, ERR_DATA, "cannot read \"gs://\"");
    e = (struct err){0};
    char *big = path_join(folder, "b.jsonl");
    assert_null(source_load(NULL, big, 9, &size, &e));
    assert_err(e, ERR_DATA, "10 bytes, at most 9");
    free(missing);
    free(big);
}

/* The names that a pattern gives, without the folder, joined by spaces. */
static void check_match(const char *pattern, const char *expected)
{
    struct err e = {0};
    struct object_list l = {0};
    char *path = path_join(folder, pattern), found[500] = "";
    int failed = source_match(NULL, &l, path, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    for (int64_t i = 0; i < l.count; i++) {
        strcat(found, i ? " " : "");
        strcat(found, l.at[i].uri + strlen(folder) + 1);
    }
    assert_string_equal(found, expected);
    object_list_release(&l);
    free(path);
}

static void test_source__matches_patterns(void **state)
{
    (void)state;
    check_match("b.jsonl", "b.jsonl");
    check_match("a-*.jsonl", "a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("a-000?.jsonl", "a-0008.jsonl a-0009.jsonl");
    check_match("a-{0008..0010}.jsonl", "a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("a-00{08..10}.jsonl", "a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("{b,sub/c}.jsonl", "b.jsonl sub/c.jsonl");
    check_match("{b,a-*}.jsonl", "b.jsonl a-0008.jsonl a-0009.jsonl a-0010.jsonl");
    check_match("odd{name}.jsonl", "odd{name}.jsonl");
    check_match("*/*.csv", "sub/f.csv");
    check_match("**/*.jsonl",
                "a-0008.jsonl a-0009.jsonl a-0010.jsonl b.jsonl odd{name}.jsonl sub/c.jsonl");
    check_match("s?b/[cd].*", "sub/c.jsonl sub/d.tar.gz");
    check_match("sub", "sub/c.jsonl sub/d.tar.gz sub/e.tar.zst sub/f.csv");
    check_match("sub/", "sub/c.jsonl sub/d.tar.gz sub/e.tar.zst sub/f.csv");
}

static void test_source__refuses_patterns_without_files(void **state)
{
    (void)state;
    struct err e = {0};
    struct object_list l = {0};
    char *path = path_join(folder, "q-*.jsonl");
    assert_int_equal(source_match(NULL, &l, path, &e), -1);
    assert_err(e, ERR_DATA, "q-*.jsonl: no such file");
    e = (struct err){0};
    assert_int_equal(source_match(NULL, &l, "x{1..99999999}", &e), -1);
    assert_err(e, ERR_DATA, "more than 1000000 files");
    free(path);
    /* A name of an expansion, and a pattern in one, that fits nothing. */
    e = (struct err){0};
    path = path_join(folder, "a-{0010..0011}.jsonl");
    assert_int_equal(source_match(NULL, &l, path, &e), -1);
    assert_err(e, ERR_DATA, "a-0011.jsonl: No such file");
    assert_non_null(strstr(e.text, "a-{0010..0011}.jsonl: "));
    free(path);
    e = (struct err){0};
    path = path_join(folder, "{b,z*}.jsonl");
    assert_int_equal(source_match(NULL, &l, path, &e), -1);
    assert_err(e, ERR_DATA, "z*.jsonl: no such file");
    free(path);
    e = (struct err){0};
    path = path_join(folder, "s*");               /* a folder is no file */
    assert_int_equal(source_match(NULL, &l, path, &e), -1);
    assert_err(e, ERR_DATA, "no such file");
    object_list_release(&l);
    free(path);
}

/* What it knows of local files. */
static void test_source__tells_facts(void **state)
{
    (void)state;
    struct err e = {0};
    struct object o;
    char *path = path_join(folder, "b.jsonl"), *uri = xasprintf("file://%s", path);
    assert_int_equal(source_stat(NULL, uri, &o, &e), 0);
    assert_int_equal(o.size, 10);
    assert_string_equal(o.uri, path);
    assert_string_equal(o.version, "");
    assert_string_equal(source_local_path(uri), path);
    assert_null(source_local_path("gs://b/x"));
    assert_string_equal(source_local_path("x"), "x");
    struct source *s = source_open_object(NULL, &o, &e);
    assert_non_null(s);
    char out[3] = "";
    assert_int_equal(source_read(s, 8, out, 2, &e), 0);
    assert_string_equal(out, "89");
    source_close(s);
    object_release(&o);
    assert_int_equal(source_stat(NULL, "ftp://host/x", &o, &e), -1);
    assert_err(e, ERR_DATA, "cannot read \"ftp://\"");
    free(uri);
    free(path);
}

/* ------------------------------------------------------------------ stores -- */

static struct bucket *bucket;
static struct net *net;

static int set_up_bucket(void **state)
{
    (void)state;
    bucket = bucket_start();
    net = net_open(&(struct net_options){.budget_s = 5});
    for (int i = 0; i < 40; i++) {
        char name[40];
        snprintf(name, sizeof name, "data/train-%04d.tar", i);
        bucket_put(bucket, name, "0123456789", 10);
    }
    bucket_put(bucket, "data/dev.jsonl.gz", "dev", 3);
    bucket_put(bucket, "data/readme.txt", "r", 1);
    bucket_put(bucket, "data/deep/a.tar", "a", 1);
    bucket_put(bucket, "other/train-0000.tar", "o", 1);
    bucket_put(bucket, "odd/a[1].tar", "odd", 3);
    bucket_put(bucket, "odd/b?.tar", "odd", 3);
    bucket_put(bucket, "odd/b1.tar", "odd", 3);
    return 0;
}

static int tear_down_bucket(void **state)
{
    (void)state;
    net_close(net);
    bucket_stop(bucket);
    return 0;
}

static void test_source__reads_objects(void **state)
{
    (void)state;
    struct err e = {0};
    char out[5] = "";
    struct source *s = source_open(net, "gs://bucket/data/train-0001.tar", &e);
    assert_ok(e);
    assert_int_equal(source_size(s), 10);
    assert_int_equal(source_read(s, 3, out, 4, &e), 0);
    assert_string_equal(out, "3456");
    assert_int_equal(source_read(s, 8, out, 4, &e), -1);
    assert_err(e, ERR_DATA, "gs://bucket/data/train-0001.tar: ends at byte 10, expected 12");
    /* Replaced meanwhile. */
    e = (struct err){0};
    bucket_put(bucket, "data/train-0001.tar", "9876543210", 10);
    assert_int_equal(source_read(s, 3, out, 4, &e), -1);
    assert_err(e, ERR_INTEGRITY, "gs://bucket/data/train-0001.tar");
    source_close(s);
    e = (struct err){0};
    size_t size;
    char *bytes = source_load(net, "gs://bucket/data/dev.jsonl.gz", 100, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "dev", 3);
    free(bytes);
    assert_null(source_open(net, "gs://bucket/none", &e));
    assert_err(e, ERR_DATA, "gs://bucket/none");
}

/* How many there are, the first, the last, and how many requests of each kind it took. */
static void check_remote(const char *pattern, int count, const char *first, const char *last,
                         int lists, int stats)
{
    struct err e = {0};
    struct object_list l = {0};
    bucket_lock(bucket);
    bucket->lists = bucket->stats = 0;
    bucket_unlock(bucket);
    int failed = source_match(net, &l, pattern, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(l.count, count);
    assert_string_equal(l.at[0].uri + strlen("gs://bucket/"), first);
    assert_string_equal(l.at[count - 1].uri + strlen("gs://bucket/"), last);
    for (int i = 0; i < count; i++)
        assert_true(l.at[i].has_crc32c && l.at[i].version[0] && l.at[i].size > 0);
    bucket_lock(bucket);
    assert_int_equal(bucket->lists, lists);
    assert_int_equal(bucket->stats, stats);
    bucket_unlock(bucket);
    object_list_release(&l);
}

static void test_source__lists_once(void **state)
{
    (void)state;
    check_remote("gs://bucket/data/dev.jsonl.gz", 1, "data/dev.jsonl.gz", "data/dev.jsonl.gz", 0,
                 1);
    check_remote("gs://bucket/data/train-{0000..0039}.tar", 40, "data/train-0000.tar",
                 "data/train-0039.tar", 1, 0);
    check_remote("gs://bucket/data/train-{0000..0002}.tar", 3, "data/train-0000.tar",
                 "data/train-0002.tar", 0, 3);
    check_remote("gs://bucket/data/train-000?.tar", 10, "data/train-0000.tar",
                 "data/train-0009.tar", 1, 0);
    check_remote("gs://bucket/data/*.tar", 40, "data/train-0000.tar", "data/train-0039.tar", 1, 0);
    check_remote("gs://bucket/data/{train-000[01],train-003*}.tar", 12, "data/train-0000.tar",
                 "data/train-0039.tar", 2, 0);
    check_remote("gs://bucket/**/train-0000.tar", 2, "data/train-0000.tar", "other/train-0000.tar",
                 1, 0);
    check_remote("gs://bucket/{data/train-{0000..0005},other/train-0000}.tar", 7,
                 "data/train-0000.tar", "other/train-0000.tar", 1, 1);
    check_remote("gs://bucket/data/", 41, "data/dev.jsonl.gz", "data/train-0039.tar", 1, 0);
    check_remote("gs://bucket/odd/a[1].tar", 1, "odd/a[1].tar", "odd/a[1].tar", 1, 0);
    check_remote("gs://bucket/odd/b?.tar", 1, "odd/b?.tar", "odd/b?.tar", 1, 0);
    check_remote("gs://bucket/odd/b*.tar", 2, "odd/b1.tar", "odd/b?.tar", 1, 0);
}

/* A common prefix under which far more lies than is wanted is not listed to its end, and not
 * everybody may list. */
static void test_source__asks_when_lists_do_not_serve(void **state)
{
    (void)state;
    for (int i = 0; i < 1500; i++) {
        char name[40];
        snprintf(name, sizeof name, "many/x-%05d.tar", 3 * i);
        bucket_put(bucket, name, "m", 1);
    }
    check_remote("gs://bucket/many/x-0{0000,0003,0006,0009,0012}.tar", 5, "many/x-00000.tar",
                 "many/x-00012.tar", 1, 0);
    check_remote("gs://bucket/many/x-{00000,00300,00600,00900,01200}.tar", 5, "many/x-00000.tar",
                 "many/x-01200.tar", 2, 5);
    check_remote("gs://bucket/many/", 1500, "many/x-00000.tar", "many/x-04497.tar", 2, 0);
    bucket_lock(bucket);
    bucket->refuses_lists = true;
    bucket_unlock(bucket);
    check_remote("gs://bucket/data/train-{0000..0009}.tar", 10, "data/train-0000.tar",
                 "data/train-0009.tar", 0, 10);
    struct err e = {0};
    struct object_list l = {0};
    assert_int_equal(source_match(net, &l, "gs://bucket/data/*.tar", &e), -1);
    assert_err(e, ERR_LOGIN, "gs://bucket/data/*.tar: ");
    bucket_lock(bucket);
    bucket->refuses_lists = false;
    bucket_unlock(bucket);
    object_list_release(&l);
}

static void test_source__names_missing_objects(void **state)
{
    (void)state;
    struct object_list l = {0};
    static const char *const cases[][2] = {
        {"gs://bucket/data/train-{0035..0040}.tar", "gs://bucket/data/train-0040.tar"},
        {"gs://bucket/data/train-{0039..0040}.tar", "gs://bucket/data/train-0040.tar"},
        {"gs://bucket/data/x*", "gs://bucket/data/x*: no such file"},
        {"gs://bucket/none/", "gs://bucket/none/: no such file: no jsonl"},
        {"https://localhost/a/*.tar", "a web server cannot list"},
        {"https://localhost/a/", "a web server cannot list"},
        {"ftp://host/a", "cannot read \"ftp://\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        assert_int_equal(source_match(net, &l, cases[i][0], &e), -1);
        assert_err(e, ERR_DATA, cases[i][1]);
        assert_int_equal(strncmp(e.text, cases[i][0], strlen(cases[i][0])), 0);
        object_list_release(&l);
    }
}

static void test_source__resolves_names(void **state)
{
    (void)state;
    char *a = source_resolve("data", "x/a.wav"), *b = source_resolve("data", "/x/a.wav");
    char *c = source_resolve("data", "gs://b/a.wav");
    assert_string_equal(a, "data/x/a.wav");
    assert_string_equal(b, "/x/a.wav");
    assert_string_equal(c, "gs://b/a.wav");
    free(a);
    free(b);
    free(c);
    static const char *const cases[][3] = {
        {"gs://b/x", "a.wav", "gs://b/x/a.wav"},
        {"gs://b/x/", "./a.wav", "gs://b/x/a.wav"},
        {"gs://b/x/y", "../a.wav", "gs://b/x/a.wav"},
        {"gs://b/x", "../../../a.wav", "gs://b/a.wav"},
        {"gs://b", "a.wav", "gs://b/a.wav"},
        {"gs://b/x", "/y/a.wav", "/y/a.wav"},
        {"gs://b/x", "..a.wav", "gs://b/x/..a.wav"},
        {"file:///d", "a.wav", "/d/a.wav"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name = source_resolve(cases[i][0], cases[i][1]);
        assert_string_equal(name, cases[i][2]);
        free(name);
    }
    static const char *const dirs[][2] = {
        {"gs://b/a/c.tar", "gs://b/a"},
        {"gs://b/c.tar", "gs://b"},
        {"https://h/a/c.jsonl?x=/y", "https://h/a"},
        {"gs://b/what?/a#/c.jsonl", "gs://b/what?/a#"},
        {"a/c.jsonl", "a"},
        {"c.jsonl", "."},
        {"file:///a/c.jsonl", "/a"},
    };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *dir = source_dir(dirs[i][0]);
        assert_string_equal(dir, dirs[i][1]);
        free(dir);
    }
}

int main(void)
{
    const struct CMUnitTest local[] = {
        cmocka_unit_test(test_source__reads_ranges),
        cmocka_unit_test(test_source__names_what_it_cannot_open),
        cmocka_unit_test(test_source__matches_patterns),
        cmocka_unit_test(test_source__refuses_patterns_without_files),
        cmocka_unit_test(test_source__tells_facts),
        cmocka_unit_test(test_source__resolves_names),
    };
    const struct CMUnitTest remote[] = {
        cmocka_unit_test(test_source__reads_objects),
        cmocka_unit_test(test_source__lists_once),
        cmocka_unit_test(test_source__asks_when_lists_do_not_serve),
        cmocka_unit_test(test_source__names_missing_objects),
    };
    return cmocka_run_group_tests(local, set_up, tear_down) +
           cmocka_run_group_tests(remote, set_up_bucket, tear_down_bucket);
}
