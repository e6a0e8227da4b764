/* test_import_place.c - where clips lie, and what they are called from our file's folder. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/import_place.h"

static char *folder;                        /* without links */

static int make_folder(void **state)
{
    (void)state;
    char *made = testing_folder();
    folder = realpath(made, NULL);
    free(made);
    return folder ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    struct err e = {0};
    int result = dir_remove(folder, &e);
    free(folder);
    return result;
}

static void touch(const char *name)
{
    struct err e = {0};
    char *path = path_join(folder, name), *dir = path_dir(path);
    assert_int_equal(dir_make(dir, &e), 0);
    assert_int_equal(file_write(path, "x", 1, &e), 0);
    free(dir);
    free(path);
}

static char *below(const char *name)
{
    return path_join(folder, name);
}

static void assert_found(struct import_place *p, const char *name, const char *dir,
                         const char *corpus, const char *expected)
{
    struct err e = {0};
    char *found = import_place_find(p, name, dir, corpus, &e);
    assert_ok(e);
    assert_string_equal(found, expected);
    free(found);
}

static void assert_lost(struct import_place *p, const char *name, const char *dir,
                        const char *corpus, const char *part)
{
    struct err e = {0};
    assert_null(import_place_find(p, name, dir, corpus, &e));
    assert_err(e, ERR_DATA, part);
}

static void test_import_place__names_count_from_our_file(void **state)
{
    (void)state;
    struct import_place p;
    struct err e = {0};
    touch("tables/clips/a.wav");
    touch("other/b.wav");
    char *out = below("tables"), *tables = below("tables"), *other = below("other");
    char *b = below("other/b.wav"), *a = below("tables/clips/a.wav");
    assert_int_equal(import_place_init(&p, NULL, 0, CHECK_LOCAL, NULL, out, &e), 0);
    assert_found(&p, "clips/a.wav", tables, NULL, "clips/a.wav");
    assert_found(&p, a, other, NULL, "clips/a.wav");
    assert_found(&p, "b.wav", other, NULL, b);
    assert_found(&p, "gs://bucket/c.wav", tables, NULL, "gs://bucket/c.wav");
    assert_found(&p, "c.wav", "gs://bucket/folder", NULL, "gs://bucket/folder/c.wav");
    assert_lost(&p, "clips/c.wav", tables, NULL, "there is no clip");
    assert_lost(&p, "clips", tables, NULL, "there is no clip");          /* a folder */
    assert_lost(&p, "ftp://host/a.wav", tables, NULL, "cannot be read");
    assert_int_equal(p.asked, 7);
    assert_int_equal(p.looked, 5);
    import_place_release(&p);

    assert_int_equal(import_place_init(&p, NULL, 0, CHECK_NONE, NULL, NULL, &e), 0);
    assert_found(&p, "clips/a.wav", tables, NULL, a);    /* stdout is in no folder */
    char *lost = below("tables/lost.wav");
    assert_found(&p, "lost.wav", tables, NULL, lost);
    assert_int_equal(p.looked, 0);
    import_place_release(&p);

    assert_int_equal(import_place_init(&p, NULL, 0, CHECK_NONE, NULL, "/nowhere/at/all", &e), -1);
    assert_err(e, ERR_USAGE, "/nowhere/at/all: there is no such folder");
    import_place_release(&p);
    free(lost);
    free(a);
    free(b);
    free(out);
    free(tables);
    free(other);
}

static void test_import_place__three_ways_below_a_root(void **state)
{
    (void)state;
    struct import_place p;
    struct err e = {0};
    touch("direct/voxpopuli/en/a.wav");
    touch("stripped/en/a.wav");
    touch("flat/a.wav");
    touch("flat/b.wav");
    static const char *const folders[] = {"direct", "stripped", "flat"};
    static const char *const found[] = {"direct/voxpopuli/en/a.wav", "stripped/en/a.wav",
                                        "flat/a.wav"};
    for (int i = 0; i < 3; i++) {
        char *dir = below(folders[i]), *root = xasprintf("voxpopuli=%s", dir);
        char *roots[] = {root};
        assert_int_equal(import_place_init(&p, roots, 1, CHECK_ALL, NULL, folder, &e), 0);
        assert_found(&p, "voxpopuli/en/a.wav", "", "voxpopuli", found[i]);
        assert_lost(&p, "voxpopuli/en/z.wav", "", "voxpopuli",
                    "there is no clip voxpopuli/en/z.wav");
        assert_lost(&p, "en/a.wav", "", "ytc", "no --audio-root for corpus ytc");
        import_place_release(&p);
        free(root);
        free(dir);
    }
    char *dir = below("flat");
    char *roots[] = {dir};
    assert_int_equal(import_place_init(&p, roots, 1, CHECK_NONE, NULL, folder, &e), 0);
    assert_found(&p, "x/a.wav", "", NULL, "flat/a.wav");      /* the first shows the way ... */
    assert_found(&p, "y/z.wav", "", NULL, "flat/z.wav");      /* ... for those not looked for */
    char *whole = below("stripped/en/a.wav");
    assert_found(&p, whole, "", NULL, "stripped/en/a.wav");
    import_place_release(&p);
    free(whole);
    free(dir);
    char *bad[] = {"voxpopuli=/nowhere/at/all"};
    assert_int_equal(import_place_init(&p, bad, 1, CHECK_NONE, NULL, folder, &e), -1);
    assert_err(e, ERR_USAGE, "--audio-root: /nowhere/at/all is no folder");
    import_place_release(&p);
}

static void test_import_place__looks_for_one_in_fifty(void **state)
{
    (void)state;
    struct import_place p;
    struct err e = {0};
    int lost = 0;
    assert_int_equal(import_place_init(&p, NULL, 0, CHECK_SAMPLED, NULL, folder, &e), 0);
    for (int i = 0; i < 200; i++) {
        struct err one = {0};
        char *found = import_place_find(&p, "nothing.wav", folder, NULL, &one);
        lost += !found;
        free(found);
    }
    assert_int_equal(lost, 4);
    assert_int_equal(p.asked, 200);
    assert_int_equal(p.looked, 4);
    import_place_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_place__names_count_from_our_file),
        cmocka_unit_test(test_import_place__three_ways_below_a_root),
        cmocka_unit_test(test_import_place__looks_for_one_in_fifty),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
