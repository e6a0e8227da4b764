/* test_blacklist.c - which transcripts are listed, and that patches take the list. */
#include "train/blacklist.h"

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"

static struct evaluated made(const char *id, bool has_id, const char *reference,
                             const char *hypothesis)
{
    struct err e = {0};
    struct evaluated t = {
        .id = (char *)(uintptr_t)id,
        .has_id = has_id,
        .reference = (char *)(uintptr_t)reference,
        .hypothesis = (char *)(uintptr_t)hypothesis,
    };
    assert_int_equal(wer_count(&t.wer, reference, hypothesis, &e), 0);
    assert_int_equal(cer_count(&t.cer, reference, hypothesis, &e), 0);
    return t;
}

static struct patch *open_patches(const char *folder)
{
    struct err e = {0};
    struct patch *p = patch_open(NULL, folder, &e);
    assert_ok(e);
    return p;
}

static void test_blacklist__lists_the_worst_first(void **state)
{
    (void)state;
    struct evaluated at[] = {
        made("good", true, "a b c d", "a b c d"),
        made("half", true, "a b c d", "a b x y"),
        made("bad", true, "say \"one, two\"", "no"),
        made("data.jsonl:4", false, "a b c d", "x b y z"),
        made("much", true, "", "words of nobody"),
    };
    struct evaluation v = {.transcripts = at, .transcript_count = 5};
    struct blacklist_counts n;
    struct buf out;
    buf_init(&out, 10000);
    blacklist_table(&v, NULL, 0.75, &out, &n);
    assert_string_equal(
        out.data, "id,text,predicted,wer,cer,reason\n"
                  "much,,words of nobody,inf,inf,word error rate inf is 0.75 or more\n"
                  "bad,\"say \"\"one, two\"\"\",no,1.0000,0.8571,"
                  "word error rate 1.00 is 0.75 or more\n"
                  "data.jsonl:4,a b c d,x b y z,0.7500,0.4286,"
                  "\"word error rate 0.75 is 0.75 or more; the record has no id, patches cannot "
                  "name it\"\n");
    assert_int_equal(n.listed, 3);
    assert_int_equal(n.without_id, 1);
    assert_int_equal(n.protected, 0);
    buf_release(&out);
}

/* What eval writes goes into patches/delete/ as it is, and then deletes; a protected record is not
 * listed. */
static void test_blacklist__is_a_patch(void **state)
{
    (void)state;
    struct err e = {0};
    char *folder = testing_folder();
    char *keep = path_join(folder, "do_not_blacklist"), *delete = path_join(folder, "delete");
    char *keep_file = path_join(keep, "a.csv"), *delete_file = path_join(delete, "b.csv");
    assert_int_equal(dir_make(keep, &e) || dir_make(delete, &e), 0);
    assert_int_equal(file_write(keep_file, "id\nkept\n", 8, &e), 0);
    struct patch *p = open_patches(folder);
    struct evaluated at[] = {
        made("kept", true, "a b", "x y"),
        made("far, \"off\"", true, "a b", "x y"),
        made("fine", true, "a b", "a b"),
    };
    struct evaluation v = {.transcripts = at, .transcript_count = 3};
    struct blacklist_counts n;
    struct buf out;
    buf_init(&out, 10000);
    blacklist_table(&v, p, 0.75, &out, &n);
    assert_int_equal(n.listed, 1);
    assert_int_equal(n.without_id, 0);
    assert_int_equal(n.protected, 1);
    patch_free(p);
    assert_int_equal(file_write(delete_file, out.data, out.size, &e), 0);
    p = open_patches(folder);
    assert_true(patch_find(p, "far, \"off\"").is_deleted);
    assert_false(patch_find(p, "kept").is_deleted);
    assert_false(patch_find(p, "fine").is_deleted);
    patch_free(p);
    /* With its text mended it corrects instead. */
    char *override = path_join(folder, "override_text"), *moved = path_join(override, "b.csv");
    assert_int_equal(dir_make(override, &e) || file_rename(delete_file, moved, &e), 0);
    p = open_patches(folder);
    assert_false(patch_find(p, "far, \"off\"").is_deleted);
    assert_string_equal(patch_find(p, "far, \"off\"").text, "a b");
    patch_free(p);
    buf_release(&out);
    assert_int_equal(dir_remove(folder, &e), 0);
    char *names[] = {folder, keep, delete, keep_file, delete_file, override, moved};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        free(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blacklist__lists_the_worst_first),
        cmocka_unit_test(test_blacklist__is_a_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
