/* test_patch.c - tables of corrections: what they say of a record, and what is wrong with them. */
#include "testing.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/mem.h"
#include "bucket.h"
#include "data/patch.h"

static char *folder;

static int set_up(void **state)
{
    (void)state;
    folder = testing_folder();
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

/* Put a file below the folder. */
static void put(const char *name, const char *text)
{
    struct err e = {0};
    char *path = path_join(folder, name), *dir = path_dir(path);
    assert_int_equal(dir_make(dir, &e), 0);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    free(path);
    free(dir);
}

static struct patch *open_patch(void)
{
    struct err e = {0};
    struct patch *p = patch_open(NULL, folder, &e);
    assert_ok(e);
    return p;
}

static void check(const struct patch *p, const char *id, const char *text, bool is_deleted,
                  bool is_protected)
{
    struct patch_entry found = patch_find(p, id);
    assert_int_equal(found.text != NULL, text != NULL);
    if (text)
        assert_string_equal(found.text, text);
    assert_int_equal(found.is_deleted, is_deleted);
    assert_int_equal(found.is_protected, is_protected);
}

static void check_bad(const char *name, const char *text, enum err_kind kind, const char *part)
{
    struct err e = {0};
    put("delete/ok.csv", "id\n1\n");
    put(name, text);
    assert_null(patch_open(NULL, folder, &e));
    assert_err(e, kind, part);
    assert_int_equal(strncmp(e.text, folder, strlen(folder)), 0);
    char *path = path_join(folder, name);
    assert_int_equal(remove(path), 0);
    free(path);
}

static void test_patch__finds_what_the_tables_say(void **state)
{
    (void)state;
    put("override_text/b.csv", "id,text\na,later\n");
    put("override_text/a.csv", "\xef\xbb\xbfid,text\r\na,first\r\nb,\"with, comma\nand line\"\r\n"
                               "\r\nempty,\r\n");
    put("override_text_verbatim/v.csv", "id,corrected,wer\n8,eight,0.5\n");
    put("delete/blacklist.csv", "id,reference,hypothesis\n1.0,x,y\n 2 ,x,y\na,x,y\nkept,,\n");
    put("do_not_blacklist/k.csv", "id\nkept\n3\n");
    put("other/notes.txt", "passed over");
    put("readme.md", "passed over");
    put("delete/.hidden", "passed over");
    put("override_text_perfect/p.tsv", "new_text\ttext\tid\n\"verse \"\"\"\told\t7\n");
    struct patch *p = open_patch();
    check(p, "a", "later", false, false);
    check(p, "b", "with, comma\nand line", false, false);
    check(p, "empty", "", false, false);
    check(p, "7", "verse \"", false, false);
    check(p, "8", "eight", false, false);
    check(p, "1", NULL, true, false);
    check(p, "1.0", NULL, true, false);
    check(p, "1.00", NULL, false, false);
    check(p, "2", NULL, true, false);
    check(p, "kept", NULL, false, true);
    check(p, "3", NULL, false, true);
    check(p, "3.0", NULL, false, true);
    check(p, "", NULL, false, false);
    check(p, NULL, NULL, false, false);
    check(p, "zzz", NULL, false, false);
    check(p, "kep", NULL, false, false);
    check(p, "kept2", NULL, false, false);
    assert_int_equal(patch_count(p), 9);
    patch_free(p);
    patch_free(NULL);
}

static void test_patch__a_text_is_no_deletion(void **state)
{
    (void)state;
    put("delete/d.csv", "id\nx\ny\n");
    put("override_text/o.csv", "id,text\nx,better\n");
    struct patch *p = open_patch();
    check(p, "x", "better", false, false);
    check(p, "y", NULL, true, false);
    patch_free(p);
}

static void test_patch__the_hash_covers_all(void **state)
{
    (void)state;
    char hash[4][HASH_HEX_SIZE];
    const char *texts[] = {"id\n1\n", "id\n2\n", "id\n1\n", "id\n1\n"};
    for (int i = 0; i < 4; i++) {
        put("delete/d.csv", texts[i]);
        if (i == 3)
            put("delete/e.csv", "id\n1\n");
        struct patch *p = open_patch();
        memcpy(hash[i], patch_hash(p), HASH_HEX_SIZE);
        patch_free(p);
    }
    /* printf 'delete/d.csv 5\nid\n1\n' | sha256sum */
    assert_string_equal(hash[0],
                        "446976284c537a81f82370f08d468ce6187de5aef21c7b4ea350d64161aae65b");
    assert_string_equal(hash[0], hash[2]);
    assert_string_not_equal(hash[0], hash[1]);
    assert_string_not_equal(hash[0], hash[3]);
}

static void test_patch__says_what_is_wrong(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(patch_open(NULL, folder, &e));
    assert_err(e, ERR_USAGE, "none of the folders override_text, delete, do_not_blacklist");
    e = (struct err){0};
    assert_null(patch_open(NULL, "/nothing/here", &e));
    assert_int_equal(e.kind != 0, 1);
    e = (struct err){0};
    assert_null(patch_open(NULL, "gs://b/patches", &e));
    assert_err(e, ERR_USAGE, "gs://b/patches: only local folders");
    check_bad("delete/a.csv", "x,y\n1,2\n", ERR_DATA,
              "a.csv:1: no column \"id\", the first one is");
    check_bad("delete/a.csv", "", ERR_DATA, "a.csv:1: an empty table");
    check_bad("delete/a.csv", "id,x\n1,2\n3\n", ERR_DATA, "a.csv:3: found 1 fields, expected 2");
    check_bad("delete/a.csv", "id,x\n1,\"a\nb\"\n,3\n", ERR_DATA, "a.csv:4: a row without an id");
    check_bad("delete/a.csv", "id\n5\"\n", ERR_DATA, "a.csv:2: field 1: a quote inside");
    check_bad("delete/a.csv", "id,id\n1,2\n", ERR_DATA, "the column \"id\" is there twice");
    check_bad("override_text/a.csv", "id\n1\n", ERR_DATA, "a.csv:1: no column for the text");
    check_bad("delete/a.xlsx", "PK", ERR_USAGE, "delete/a.xlsx: not a .csv or .tsv file");
    check_bad("overide_text/a.csv", "id,text\n", ERR_USAGE,
              "the folder \"overide_text\" looks like \"override_text\"");
}

static void test_patch__reads_them_from_a_store(void **state)
{
    (void)state;
    struct err e = {0};
    struct bucket *bucket = bucket_start();
    struct net *net = net_open(&(struct net_options){.budget_s = 5});
    bucket_put(bucket, "p/delete/a.csv", "id\n1\n", 5);
    bucket_put(bucket, "p/override_text/a b.csv", "id,text\n2,two\n", 14);
    bucket_put(bucket, "p/readme.md", "x", 1);
    bucket_put(bucket, "px/delete/a.csv", "id\n9\n", 5);
    for (int i = 0; i < 2; i++) {
        struct patch *p = patch_open(net, i ? "gs://bucket/p/" : "gs://bucket/p", &e);
        assert_ok(e);
        check(p, "1", NULL, true, false);
        check(p, "2", "two", false, false);
        check(p, "9", NULL, false, false);
        assert_int_equal(patch_count(p), 2);
        patch_free(p);
    }
    assert_null(patch_open(net, "gs://bucket/q", &e));
    assert_err(e, ERR_USAGE, "gs://bucket/q: none of the folders");
    net_close(net);
    bucket_stop(bucket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_patch__finds_what_the_tables_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patch__a_text_is_no_deletion, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patch__the_hash_covers_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patch__says_what_is_wrong, set_up, tear_down),
        cmocka_unit_test(test_patch__reads_them_from_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
