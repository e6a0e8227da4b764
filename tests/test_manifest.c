/* test_manifest.c - files found and pinned, and where their records begin, in tables of every
 * kind. */
#include "testing.h"

#include "tar_testing.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/manifest.h"

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

static char *write_bytes(const char *name, const void *bytes, size_t size)
{
    struct err e = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_write(path, bytes, size, &e), 0);
    return path;
}

static char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static char *write_shard(const char *name, int count)
{
    struct buf tar;
    buf_init(&tar, 1 << 20);
    for (int i = 0; i < count; i++) {
        char member[40];
        snprintf(member, sizeof member, "%d.txt", i);
        tar_add(&tar, member, "hello");
    }
    tar_end(&tar);
    char *path = write_bytes(name, tar.data, tar.size);
    buf_release(&tar);
    return path;
}

static int open_paths(struct manifest *m, char *const *paths, int count, struct err *e)
{
    return manifest_open(m, &(struct manifest_options){.patterns = paths, .pattern_count = count},
                         e);
}

/* The record of a line as compact JSON, and the number in its name. */
static void check_line(const struct manifest *m, int64_t i, const char *text, int line)
{
    struct err e = {0};
    struct record_ref ref = {.index = i, .file = (int32_t)m->lines[i].file};
    json_t *o = manifest_json(m, &ref, NULL, NULL, &e);
    assert_ok(e);
    struct buf found;
    buf_init(&found, 1 << 20);
    json_write_compact(o, &found);
    assert_string_equal(found.data, text);
    char *where = manifest_where(m, &ref), number[20];
    snprintf(number, sizeof number, ":%d", line);
    assert_string_equal(strrchr(where, ':'), number);
    free(where);
    buf_release(&found);
    json_decref(o);
}

/* -------------------------------------------------------------------- tables -- */

static void test_manifest__finds_lines(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char *paths[] = {
        write_text("a.jsonl", "\xef\xbb\xbf{\"a\": 1}\n\n  \t\r\n{\"b\": 2}\r\n{\"c\": 3}"),
        write_text("b.jsonl", "{\"d\": 4}\n\n\n"),
    };
    assert_int_equal(open_paths(&m, paths, 2, &e), 0);
    assert_ok(e);
    assert_int_equal(m.count, 4);
    assert_int_equal(m.line_count, 4);
    assert_true(m.is_complete);
    check_line(&m, 0, "{\"a\":1}", 1);
    check_line(&m, 1, "{\"b\":2}", 4);
    check_line(&m, 2, "{\"c\":3}", 5);
    check_line(&m, 3, "{\"d\":4}", 1);
    assert_string_equal(m.files[1].dir, folder);
    assert_int_equal(m.sources[1].first_line, 3);
    assert_int_equal(m.sources[1].line_count, 1);
    assert_int_equal(m.bytes, 36 + 11);
    assert_int_equal(strlen(m.hash), 64);
    manifest_release(&m);
    manifest_release(&m);
    free(paths[0]);
    free(paths[1]);
}

static void test_manifest__finds_rows(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char *paths[] = {
        write_text("a.csv",
                   "\xef\xbb\xbfid,text\r\n1,plain\r\n\r\n2,\"two\nlines, \"\"quoted\"\"\"\r\n"
                   "3,last"),
        write_text("b.tsv", "text\tduration\nx, y\t1.5\n"),
    };
    assert_int_equal(open_paths(&m, paths, 2, &e), 0);
    assert_ok(e);
    assert_int_equal(m.count, 4);
    check_line(&m, 0, "{\"id\":\"1\",\"text\":\"plain\"}", 2);
    check_line(&m, 1, "{\"id\":\"2\",\"text\":\"two\\nlines, \\\"quoted\\\"\"}", 4);
    check_line(&m, 2, "{\"id\":\"3\",\"text\":\"last\"}", 6);
    check_line(&m, 3, "{\"text\":\"x, y\",\"duration\":1.5}", 2);
    manifest_release(&m);
    free(paths[0]);
    free(paths[1]);
}

/* Rows that span the pieces in which a file is read. */
static void test_manifest__rows_span_pieces(void **state)
{
    (void)state;
    enum { COUNT = 9000 };
    for (int is_csv = 0; is_csv < 2; is_csv++) {
        struct err e = {0};
        struct manifest m;
        struct buf text;
        buf_init(&text, 8 << 20);
        if (is_csv)
            buf_add_str(&text, "id,text\n");
        for (int i = 0; i < COUNT; i++) {
            buf_printf(&text, is_csv ? "%d,\"" : "{\"id\":%d,\"text\":\"", i);
            for (int k = 0; k < i % 97; k++)
                buf_add_str(&text, is_csv ? "\"\",\n" : "\\\",\\n");
            buf_add_str(&text, is_csv ? "\"\n" : "\"}\n");
        }
        assert_true(text.size > 1 << 20);
        char *path = write_bytes(is_csv ? "span.csv" : "span.jsonl", text.data, text.size);
        assert_int_equal(open_paths(&m, &path, 1, &e), 0);
        assert_int_equal(m.count, COUNT);
        for (int i = 0; i < COUNT; i += 7) {
            struct record_ref ref = {.index = i};
            json_t *o = manifest_json(&m, &ref, NULL, NULL, &e);
            assert_ok(e);
            const char *s = json_string_value(json_object_get(o, "text"));
            assert_int_equal(s ? strlen(s) : 0, 3 * (i % 97));
            json_decref(o);
        }
        manifest_release(&m);
        buf_release(&text);
        free(path);
    }
}

static void test_manifest__limits_a_line(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    size_t size = MANIFEST_LINE_MAX + 5;
    char *text = xmalloc(size);
    memset(text, 'x', size);
    memcpy(text + MANIFEST_LINE_MAX + 1, "\n{}\n", 4);
    char *path = write_bytes("long.jsonl", text, size);
    assert_int_equal(open_paths(&m, &path, 1, &e), 0);
    assert_int_equal(m.count, 2);
    struct record_ref ref = {0};
    struct record r;
    assert_null(manifest_json(&m, &ref, NULL, NULL, &e));
    assert_err(e, ERR_DATA, "longer than the 16777216 bytes");
    e = (struct err){0};
    assert_int_equal(manifest_record(&m, &ref, NULL, NULL, NULL, &r, &e), -1);
    assert_err(e, ERR_DATA, "long.jsonl:1: longer than the 16777216 bytes");
    check_line(&m, 1, "{}", 2);
    manifest_release(&m);
    free(text);
    free(path);
}

static void check_refused(const char *name, const void *bytes, size_t size, const char *part)
{
    struct err e = {0};
    struct manifest m;
    char *path = write_bytes(name, bytes, size);
    assert_int_equal(open_paths(&m, &path, 1, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_non_null(strstr(e.text, name));
    assert_null(m.files);
    free(path);
}

static void test_manifest__refuses_other_files(void **state)
{
    (void)state;
    check_refused("empty.jsonl", "", 0, "holds no record");
    check_refused("blank.jsonl", "\n \n", 3, "holds no record");
    check_refused("header.csv", "a,b\n", 4, "holds no record");
    check_refused("utf16.jsonl", "\xff\xfe{\0", 4, "is UTF-16");
    check_refused("packed.jsonl", "\x1f\x8b\x08\0", 4, "is compressed");
    check_refused("a.parquet", "PAR1....", 8, "a file of an unknown kind");
    check_refused("b.jsonl", "PAR1....", 8, "is not text");
    check_refused("plain", "{}\n", 3, "a file of an unknown kind");
    struct err e = {0};
    struct manifest m;
    char *missing = path_join(folder, "missing.jsonl");
    assert_int_equal(open_paths(&m, &missing, 1, &e), -1);
    assert_err(e, ERR_DATA, "missing.jsonl: ");
    free(missing);
    e = (struct err){0};
    char *path = write_text("twice.jsonl", "{}\n"), *both[] = {path, path};
    assert_int_equal(open_paths(&m, both, 2, &e), -1);
    assert_err(e, ERR_DATA, "twice.jsonl: given twice");
    free(path);
    e = (struct err){0};
    assert_int_equal(open_paths(&m, NULL, 0, &e), -1);
    assert_err(e, ERR_DATA, "no data files are given");
}

/* -------------------------------------------------------------------- sources -- */

static void test_manifest__knows_shards_and_tables_apart(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    char *paths[] = {write_shard("k1.tar", 3), write_shard("k2.tar", 3),
                     write_text("k3.jsonl", "{}\n")};
    char *shards = path_join(folder, "k{1,2}.tar"), *all = path_join(folder, "k*");
    char *patterns[] = {shards, paths[2]};
    assert_int_equal(open_paths(&m, patterns, 2, &e), 0);
    assert_ok(e);
    assert_int_equal(m.source_count, 2);
    assert_int_equal(m.file_count, 3);
    assert_true(m.sources[0].is_shards);
    assert_false(m.sources[1].is_shards);
    assert_false(m.is_complete);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.files[1].source_index, 0);
    assert_int_equal(m.files[2].source_index, 1);
    assert_null(m.files[1].source);
    manifest_release(&m);
    assert_int_equal(open_paths(&m, &all, 1, &e), -1);
    assert_err(e, ERR_DATA, "k*: means both tables and shards: ");
    e = (struct err){0};
    char *overlap[] = {shards, paths[1]};
    assert_int_equal(open_paths(&m, overlap, 2, &e), -1);
    assert_err(e, ERR_DATA, "k2.tar: given twice");
    for (int i = 0; i < 3; i++)
        free(paths[i]);
    free(shards);
    free(all);
}

static void test_manifest__checks_weights(void **state)
{
    (void)state;
    static const double weights[] = {0, -1, NAN, 1e9};
    char *path = write_text("w.jsonl", "{}\n");
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        struct manifest m;
        struct manifest_options o = {.patterns = &path, .pattern_count = 1, .weights = &weights[i]};
        assert_int_equal(manifest_open(&m, &o, &e), -1);
        assert_err(e, ERR_DATA, "w.jsonl: a weight of ");
    }
    free(path);
}

/* Opens these files and returns the hash. */
static void hash_of(char *const *paths, int count, const double *weights, char *column, char *hash)
{
    struct err e = {0};
    struct manifest m;
    struct manifest_options o = {.patterns = paths,
                                 .pattern_count = count,
                                 .weights = weights,
                                 .columns = &column,
                                 .column_count = column != NULL};
    assert_int_equal(manifest_open(&m, &o, &e), 0);
    memcpy(hash, m.hash, HASH_HEX_SIZE);
    manifest_release(&m);
}

static void test_manifest__hash_tells_changes(void **state)
{
    (void)state;
    enum { COUNT = 9 };
    char hash[COUNT][HASH_HEX_SIZE], column[] = "text=transcript";
    static const double weights[] = {1, 2};
    char *paths[] = {write_text("h.jsonl", "{\"a\": 1}\n"), write_shard("h.tar", 2)};
    char *turned[] = {paths[1], paths[0]};
    hash_of(paths, 2, NULL, NULL, hash[0]);
    hash_of(turned, 2, NULL, NULL, hash[1]);
    hash_of(paths, 2, weights, NULL, hash[2]);
    hash_of(paths, 2, NULL, column, hash[3]);
    hash_of(paths, 1, NULL, NULL, hash[4]);
    free(write_text("h.jsonl", "{\"a\": 2}\n"));
    hash_of(paths, 2, NULL, NULL, hash[5]);
    free(write_text("h.jsonl", "{\"a\": 1}\n"));
    free(write_shard("h.tar", 3));
    hash_of(paths, 2, NULL, NULL, hash[6]);
    free(write_shard("h.tar", 2));
    hash_of(paths, 2, NULL, NULL, hash[7]);
    assert_string_equal(hash[0], hash[7]);
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(hash[i], hash[k]);
    /* Data that were moved are the same. */
    struct err e = {0};
    char *moved = path_join(folder, "moved/h.jsonl"), *dir = path_join(folder, "moved");
    assert_int_equal(dir_make(dir, &e), 0);
    free(write_text("moved/h.jsonl", "{\"a\": 1}\n"));
    hash_of(&moved, 1, NULL, NULL, hash[8]);
    assert_string_equal(hash[8], hash[4]);
    free(dir);
    free(moved);
    free(paths[0]);
    free(paths[1]);
}

/* ----------------------------------------------------------------------- size -- */

static void test_manifest__is_fast(void **state)
{
    (void)state;
    struct err e = {0};
    struct manifest m;
    enum { COUNT = 300000 };
    static const char line[] =
        "{\"audio\": \"clips/0001.flac\", \"text\": \"good morning to all\"}\n";
    char *text = xmalloc(COUNT * (sizeof line - 1));
    for (int i = 0; i < COUNT; i++)
        memcpy(text + (size_t)i * (sizeof line - 1), line, sizeof line - 1);
    char *path = write_bytes("many.jsonl", text, COUNT * (sizeof line - 1));
    double begin = clock_seconds();
    assert_int_equal(open_paths(&m, &path, 1, &e), 0);
    assert_int_equal(m.count, COUNT);
    assert_true(clock_seconds() - begin < 5);
    manifest_release(&m);
    free(text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest__finds_lines),
        cmocka_unit_test(test_manifest__finds_rows),
        cmocka_unit_test(test_manifest__rows_span_pieces),
        cmocka_unit_test(test_manifest__limits_a_line),
        cmocka_unit_test(test_manifest__refuses_other_files),
        cmocka_unit_test(test_manifest__knows_shards_and_tables_apart),
        cmocka_unit_test(test_manifest__checks_weights),
        cmocka_unit_test(test_manifest__hash_tells_changes),
        cmocka_unit_test(test_manifest__is_fast),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
