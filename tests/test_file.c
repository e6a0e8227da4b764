/* test_file.c - reading, and above all: that writing is all or nothing, whatever fails.
 *
 * The fault loops fail the n-th call that changes something, for every n, until a run goes
 * through; the kill loop ends the process there instead.  Each time the file must be the old one
 * or the new one, whole. */
#include "base/file.h"
#include "base/mem.h"
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NEW_SIZE 300000

static char *folder, *path;
static char old_text[] = "the old content", new_text[NEW_SIZE];

static int setup(void **state)
{
    (void)state;
    folder = testing_folder();
    path = path_join(folder, "file");
    for (int i = 0; i < NEW_SIZE; i++)
        new_text[i] = (char)('a' + i % 26);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err e = {0};
    file_fault = NULL;
    assert_int_equal(dir_remove(folder, &e), 0);
    assert_false(file_exists(folder));
    free(folder);
    free(path);
    return 0;
}

static void put_old(void)
{
    struct err e = {0};
    assert_int_equal(file_write(path, old_text, strlen(old_text), &e), 0);
}

/* Is the file the old one (0), the new one (1), or torn (test fails)? */
static int which(void)
{
    struct err e = {0};
    size_t size;
    char *text = file_read(path, 1 << 20, &size, &e);
    assert_ok(e);
    int is_new = size == NEW_SIZE && !memcmp(text, new_text, size);
    if (!is_new) {
        assert_int_equal(size, strlen(old_text));
        assert_memory_equal(text, old_text, size);
    }
    free(text);
    return is_new;
}

static size_t names_in_folder(void)
{
    struct err e = {0};
    struct dir_list l;
    assert_int_equal(dir_list_read(&l, folder, &e), 0);
    size_t count = l.count;
    dir_list_release(&l);
    return count;
}

/* The new content in pieces: small ones, and one larger than what is gathered. */
static int write_new(struct err *e)
{
    struct file_writer w;
    int rc = file_writer_open(&w, path, e);
    for (size_t at = 0, n = 1; !rc && at < NEW_SIZE; at += n, n = at < 5000 ? 1000 : 100000) {
        if (n > NEW_SIZE - at)
            n = NEW_SIZE - at;
        rc = file_writer_write(&w, new_text + at, n, e);
    }
    if (!rc)
        rc = file_writer_commit(&w, NULL, e);
    file_writer_abort(&w);
    return rc;
}

/* ----------------------------------------------------------------- faults -- */

static int fault_in, fault_code, fault_forever, fault_kills;
static char fault_call[16];

static int fault(const char *call)
{
    if (fault_in != 1) {
        fault_in -= fault_in > 1;
        return 0;
    }
    if (fault_kills)
        kill(getpid(), SIGKILL);
    if (!fault_forever)
        fault_in = 0;
    snprintf(fault_call, sizeof fault_call, "%s", call);
    return fault_code;
}

/* Arm the n-th call from now on. */
static void arm(int n, int code, int forever)
{
    fault_in = n;
    fault_code = code;
    fault_forever = forever;
    fault_call[0] = 0;
    file_fault = fault;
}

static void fault_loop(int code, int forever)
{
    int n = 1, rc;
    do {
        struct err e = {0};
        put_old();
        arm(n, code, forever);
        rc = write_new(&e);
        file_fault = NULL;
        int is_new = which();
        if (rc) {
            /* After the rename the new file is in place, though perhaps not yet on the disk. */
            assert_true(!is_new || !strcmp(fault_call, "fsync") || !strcmp(fault_call, "open") ||
                        !strcmp(fault_call, "close"));
            assert_int_equal(e.kind, code == ENOSPC ? ERR_SPACE : ERR_FAILED);
            assert_non_null(strstr(e.text, folder));
            assert_non_null(strstr(e.text, strerror(code)));
            assert_int_equal(e.hint[0] != 0, code == ENOSPC);
        } else {
            assert_true(is_new);
            assert_ok(e);
        }
        assert_int_equal(names_in_folder(), 1);
    } while (fault_call[0] && n++ < 100);
    assert_in_range(n, 8, 99);
    assert_int_equal(rc, 0);
}

static void test_file__a_failing_call_leaves_old_or_new(void **state)
{
    (void)state;
    fault_loop(EIO, 0);
    fault_loop(ENOSPC, 0);
    fault_loop(ENOSPC, 1);
}

static void test_file__an_interrupted_write_goes_on(void **state)
{
    (void)state;
    struct err e = {0};
    put_old();
    arm(2, EINTR, 0);
    assert_int_equal(write_new(&e), 0);
    assert_string_equal(fault_call, "write");
    assert_int_equal(which(), 1);
}

/* A child is killed at its n-th call; the next writer works in what it left behind. */
static void test_file__a_kill_leaves_old_or_new(void **state)
{
    (void)state;
    int died = 1, seen_new = 0, seen_old = 0;
    for (int n = 1; died && n < 100; n++) {
        struct err e = {0};
        int status;
        put_old();
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            fault_kills = 1;
            arm(n, EIO, 0);
            _exit(write_new(&e) ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        died = WIFSIGNALED(status);
        if (!died)
            assert_int_equal(WEXITSTATUS(status), 0);
        if (which())
            seen_new++;
        else
            seen_old++;
        assert_int_equal(write_new(&e), 0);
        assert_int_equal(which(), 1);
    }
    assert_false(died);
    assert_true(seen_new >= 2 && seen_old >= 5);
}

/* ------------------------------------------------------------ the writer -- */

static void test_file__writer_knows_size_and_hash(void **state)
{
    (void)state;
    struct err e = {0};
    struct file_writer w;
    char hex[HASH_HEX_SIZE], expected[HASH_HEX_SIZE];
    assert_int_equal(file_writer_open(&w, path, &e), 0);
    assert_int_equal(file_writer_write(&w, new_text, 10, &e), 0);
    assert_int_equal(file_writer_write(&w, new_text + 10, NEW_SIZE - 10, &e), 0);
    assert_int_equal(file_writer_write(&w, "", 0, &e), 0);
    assert_int_equal(w.size, NEW_SIZE);
    assert_int_equal(file_writer_commit(&w, hex, &e), 0);
    file_writer_abort(&w);
    hash_bytes(new_text, NEW_SIZE, expected);
    assert_string_equal(hex, expected);
    assert_int_equal(hash_file(path, hex, &e), 0);
    assert_string_equal(hex, expected);
}

static void test_file__abort_leaves_the_old_file_and_no_other(void **state)
{
    (void)state;
    struct err e = {0};
    struct file_writer w;
    put_old();
    assert_int_equal(file_writer_open(&w, path, &e), 0);
    assert_int_equal(file_writer_write(&w, new_text, NEW_SIZE, &e), 0);
    file_writer_abort(&w);
    file_writer_abort(&w);
    assert_int_equal(which(), 0);
    assert_int_equal(names_in_folder(), 1);
    assert_int_equal(file_writer_write(&w, "x", 1, &e), -1);
    assert_err(e, ERR_BUG, "not open");
}

static void test_file__two_writers_do_not_mix(void **state)
{
    (void)state;
    struct err e = {0};
    struct file_writer a, b;
    assert_int_equal(file_writer_open(&a, path, &e), 0);
    assert_int_equal(file_writer_write(&a, "a", 1, &e), 0);
    assert_int_equal(file_writer_open(&b, path, &e), -1);
    assert_err(e, ERR_RETRY, "file.tmp: another process is using it");
    file_writer_abort(&b);
    e = (struct err){0};
    assert_int_equal(file_writer_commit(&a, NULL, &e), 0);
    assert_int_equal(file_writer_open(&b, path, &e), 0);
    file_writer_abort(&b);
    assert_true(file_exists(path));
}

static void test_file__no_folder_is_an_error(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(file_write("/nowhere/at/all", "x", 1, &e), -1);
    assert_err(e, ERR_FAILED, "/nowhere/at/all.tmp: could not write: No such file");
}

static void test_file__full_device_is_an_error_of_space(void **state)
{
    (void)state;
    struct err e = {0};
    if (access("/dev/full", W_OK))
        skip();
    assert_int_equal(file_append("/dev/full", "x", 1, &e), -1);
    assert_err(e, ERR_SPACE, "/dev/full: could not write: No space left");
}

/* ---------------------------------------------------------------- reading -- */

static void test_file__read_has_a_limit(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size = 0;
    put_old();
    char *text = file_read(path, strlen(old_text), &size, &e);
    assert_string_equal(text, old_text);
    assert_int_equal(size, strlen(old_text));
    free(text);
    assert_null(file_read(path, 5, &size, &e));
    assert_err(e, ERR_DATA, "has 15 bytes, the limit is 5");
    e = (struct err){0};
    assert_null(file_read(folder, 5000, &size, &e));
    assert_int_equal(e.kind, ERR_FAILED);
    e = (struct err){0};
    assert_null(file_read("/dev/zero", 5000, &size, &e));
    assert_err(e, ERR_DATA, "is larger than the limit of 5000 bytes");
    e = (struct err){0};
    text = file_read("/dev/null", 0, &size, &e);
    assert_int_equal(size, 0);
    assert_string_equal(text, "");
    free(text);
}

static void test_file__map(void **state)
{
    (void)state;
    struct err e = {0};
    struct file_map m;
    put_old();
    assert_int_equal(file_map_open(&m, path, &e), 0);
    assert_int_equal(m.size, strlen(old_text));
    assert_memory_equal(m.data, old_text, m.size);
    file_map_close(&m);
    file_map_close(&m);
    assert_int_equal(file_write(path, "", 0, &e), 0);
    assert_int_equal(file_map_open(&m, path, &e), 0);
    assert_int_equal(m.size, 0);
    file_map_close(&m);
    assert_int_equal(file_map_open(&m, folder, &e), -1);
    assert_err(e, ERR_FAILED, "is not a regular file");
}

static void test_file__append_size_rename_remove(void **state)
{
    (void)state;
    struct err e = {0};
    uint64_t size;
    char *to = path_join(folder, "other");
    assert_int_equal(file_append(path, "ab", 2, &e), 0);
    assert_int_equal(file_append(path, "c", 1, &e), 0);
    assert_int_equal(file_size(path, &size, &e), 0);
    assert_int_equal(size, 3);
    assert_int_equal(file_rename(path, to, &e), 0);
    assert_false(file_exists(path));
    assert_true(file_exists(to));
    assert_false(file_is_dir(to));
    assert_true(file_is_dir(folder));
    char *again = xasprintf("%s/./", folder);
    assert_true(file_is_same(folder, again));
    assert_false(file_is_same(folder, to));
    free(again);
    assert_int_equal(file_remove(to, &e), 0);
    assert_int_equal(file_remove(to, &e), 0);
    assert_int_equal(file_size(to, &size, &e), -1);
    assert_err(e, ERR_FAILED, "No such file");
    free(to);
}

static void test_file__lock_is_held_by_one(void **state)
{
    (void)state;
    struct err e = {0};
    int lock = file_lock(path, &e), status;
    assert_true(lock >= 0);
    pid_t child = fork();
    if (!child) {
        int second = file_lock(path, &e);
        _exit(second < 0 && e.kind == ERR_RETRY ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    file_unlock(lock);
    lock = file_lock(path, &e);
    assert_true(lock >= 0);
    file_unlock(lock);
}

/* test_file write PATH LETTER: make PATH 300,000 times LETTER, for scripts/soak, which kills it. */
static int write_letter(const char *to, int letter)
{
    struct err e = {0};
    memset(new_text, letter, NEW_SIZE);
    return file_write(to, new_text, NEW_SIZE, &e) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "write"))
        return write_letter(argv[2], argv[3][0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file__a_failing_call_leaves_old_or_new, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_file__an_interrupted_write_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__a_kill_leaves_old_or_new, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__writer_knows_size_and_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__abort_leaves_the_old_file_and_no_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_file__two_writers_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__no_folder_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__full_device_is_an_error_of_space, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_file__read_has_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__map, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__append_size_rename_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file__lock_is_held_by_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
