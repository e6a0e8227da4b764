/* What all stores have in common, and Google's against an emulator of its API. */
#include "store_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "net/request.h"

/* ------------------------------------------------------------------------------ objects -- */

static void test_store__knows_its_uris(void **state)
{
    (void)state;
    static const char *const known[] = {"gs://b/x", "s3://b/x", "https://h/x", "http://h/x",
                                        "hf://datasets/a/b/c"};
    static const char *const foreign[] = {"/data/x", "data/x", "file:///x", "ftp://h/x",
                                          "gs:/b/x", "",       "GS"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_true(store_knows(known[i]));
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        assert_false(store_knows(foreign[i]));

    struct net *n = net_open(&(struct net_options){0});
    struct object o;
    struct object_list l;
    struct err e = {0};
    assert_int_equal(store_stat(n, "ftp://h/x", &o, &e), -1);
    assert_err(e, ERR_DATA, "ftp://h/x: not a URI of a store that is known");
    e = (struct err){0};
    assert_int_equal(store_list(n, "https://h/x?key=secret", 5, &l, &e), -1);
    assert_err(e, ERR_DATA, "https://h/x?...: a web server cannot be asked for a list");
    assert_null(strstr(e.text, "secret"));
    e = (struct err){0};
    assert_int_equal(store_write(n, "s3://b/x", "a", 1, NULL, NULL, &e), -1);
    assert_err(e, ERR_USAGE, "s3://b/x: cannot be written to");
    e = (struct err){0};
    assert_int_equal(store_remove(n, "hf://a/b/x", &e), -1);
    assert_err(e, ERR_USAGE, "cannot be written to");
    net_close(n);
}

static void test_store__copies_and_lists_objects(void **state)
{
    (void)state;
    struct object_list l = {0};
    struct object o, copy;
    for (int i = 0; i < 1000; i++) {
        object_init(&o, "gs://b/x");
        assert_int_equal(o.size, -1);
        o.size = i;
        object_list_add(&l, &o);
        assert_null(o.uri);
    }
    assert_int_equal(l.count, 1000);
    object_copy(&copy, &l.at[999]);
    assert_int_equal(copy.size, 999);
    assert_ptr_not_equal(copy.uri, l.at[999].uri);
    object_list_release(&l);
    assert_int_equal(l.count, 0);
    assert_string_equal(copy.uri, "gs://b/x");
    object_release(&copy);
}

static void test_store__verifies_a_copy(void **state)
{
    (void)state;
    struct err e = {0};
    char *dir = testing_folder(), *path = path_join(dir, "f");
    struct object o = {.uri = "s3://b/x", .size = 9};
    must(file_write(path, "123456789", 9, &e));
    must(store_verify(&o, path, 0, &e));

    /* The checks of RFC 3720, RFC 1321 and FIPS 180-2 over "123456789". */
    o.has_crc32c = true;
    o.crc32c = 0xe3069283;
    must(store_verify(&o, path, 0xe3069283, &e));
    assert_int_equal(store_verify(&o, path, 0xe3069284, &e), -1);
    assert_err(e, ERR_INTEGRITY, "s3://b/x: CRC-32C is e3069284, expected e3069283");
    e = (struct err){0};
    o.has_crc32c = false;
    strcpy(o.digest, "25f9e794323b453885f5181f1b624d0b");
    must(store_verify(&o, path, 0, &e));
    strcpy(o.digest, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    must(store_verify(&o, path, 0, &e));
    o.digest[5] ^= 1;
    assert_int_equal(store_verify(&o, path, 0, &e), -1);
    assert_err(e, ERR_INTEGRITY, "digest is 15e2b0d3c338");
    e = (struct err){0};
    strcpy(o.digest, "25f9e794323b453885f5181f1b624d0c");
    assert_int_equal(store_verify(&o, path, 0, &e), -1);
    assert_err(e, ERR_INTEGRITY, "expected 25f9e794323b453885f5181f1b624d0c");
    e = (struct err){0};
    o.digest[0] = 0;
    o.size = 10;
    assert_int_equal(store_verify(&o, path, 0, &e), -1);
    assert_err(e, ERR_INTEGRITY, "9 bytes came, expected 10");
    e = (struct err){0};
    must(dir_remove(dir, &e));
    free(path);
    free(dir);
}

/* ----------------------------------------------------------------------------- emulator -- */

struct emulator {
    pid_t pid;                    /* 0: not there */
    int port;
    struct net *net;
};

/* A port of loopback that nobody uses now. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void start(struct emulator *m, const char *program)
{
    char port[12];
    m->port = free_port();
    snprintf(port, sizeof port, "%d", m->port);
    m->pid = fork();
    assert_true(m->pid >= 0);
    if (m->pid)
        return;
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execl(program, program, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port",
          port, (char *)NULL);
    _exit(127);
}

/* The program's own address has no bucket yet: make one. */
static void make_bucket(struct emulator *m)
{
    char url[80];
    struct http_response r = {0};
    struct err e = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/storage/v1/b", m->port);
    struct request q = {
        .http = {.method = "POST",
                 .url = url,
                 .headers = (const char *const[]){"Content-Type: application/json", NULL},
                 .body = "{\"name\":\"bk\"}",
                 .body_size = 13},
        .what = "bucket"};
    /* It takes a while until it listens; a connection that is refused is tried again. */
    must(request_run(m->net, &q, &r, &e));
    http_response_release(&r);
}

static int open_emulator(void **state)
{
    static struct emulator m;
    const char *program = ".deps/bin/fake-gcs-server";
    char host[40];
    *state = &m;
    if (!file_exists(program)) {
        if (getenv("CI"))
            fail_msg("%s is not there", program);
        return 0;
    }
    start(&m, program);
    snprintf(host, sizeof host, "127.0.0.1:%d", m.port);
    setenv("STORAGE_EMULATOR_HOST", host, 1);
    m.net = net_open(&(struct net_options){.budget_s = 60, .seed = 3});
    make_bucket(&m);
    return 0;
}

static int close_emulator(void **state)
{
    struct emulator *m = *state;
    net_close(m->net);
    if (m->pid) {
        kill(m->pid, SIGKILL);
        waitpid(m->pid, NULL, 0);
    }
    return 0;
}

static void test_store__writes_and_reads_at_the_emulator(void **state)
{
    const struct emulator *m = *state;
    if (!m->pid)
        skip();
    struct err e = {0};
    struct object o, found;
    size_t size;
    char part[100];
    uint32_t crc;
    const char *uri = "gs://bk/dir/a b%41 \xc3\xa9+.txt";
    unsigned char *data = testing_bytes(100000);

    must(store_write(m->net, uri, data, 100000, "0", &o, &e));
    assert_int_equal(o.size, 100000);
    assert_true(o.has_crc32c && o.crc32c == crc32c(0, data, 100000));
    must(store_stat(m->net, uri, &found, &e));
    assert_string_equal(found.version, o.version);
    assert_int_equal(found.crc32c, o.crc32c);
    assert_int_equal(strlen(found.digest), 32);
    must(store_read(m->net, &o, 99900, part, 100, 0, &crc, &e));
    assert_memory_equal(part, data + 99900, 100);
    assert_int_equal(crc, crc32c(0, part, 100));
    object_release(&found);

    object_init(&found, uri);
    char *all = store_load(m->net, &found, 100000, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 100000);
    assert_memory_equal(all, data, size);
    assert_string_equal(found.version, o.version);
    free(all);
    object_release(&found);

    /* Somebody replaces it, and removes it. */
    assert_int_equal(store_write(m->net, uri, data, 10, "0", NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "expected none");
    e = (struct err){0};
    must(store_write(m->net, uri, data, 10, o.version, NULL, &e));
    assert_int_equal(store_read(m->net, &o, 0, part, 5, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "was replaced: its generation is ");
    e = (struct err){0};
    must(store_remove(m->net, uri, &e));
    must(store_remove(m->net, uri, &e));
    assert_int_equal(store_read(m->net, &o, 0, part, 5, 0, NULL, &e), -1);
    assert_err(e, ERR_INTEGRITY, "was deleted");
    e = (struct err){0};
    assert_int_equal(store_stat(m->net, uri, &found, &e), -1);
    assert_err(e, ERR_DATA, uri);
    object_release(&o);
    free(data);
}

static void test_store__lists_at_the_emulator(void **state)
{
    const struct emulator *m = *state;
    if (!m->pid)
        skip();
    static const char *const names[] = {"l/2",     "l/10",   "l/\xc3\xa9", "l/sub/1 2",
                                        "l/empty", "l/dir/", "k"};
    struct err e = {0};
    struct object_list l;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *uri = xasprintf("gs://bk/%s", names[i]);
        must(store_write(m->net, uri, names[i], strstr(names[i], "r/") || i == 4 ? 0 : 2, NULL,
                         NULL, &e));
        free(uri);
    }
    must(store_list(m->net, "gs://bk/l/", 100, &l, &e));
    assert_int_equal(l.count, 5);
    assert_string_equal(l.at[0].uri, "gs://bk/l/10");
    assert_string_equal(l.at[1].uri, "gs://bk/l/2");
    assert_string_equal(l.at[2].uri, "gs://bk/l/empty");
    assert_int_equal(l.at[2].size, 0);
    assert_string_equal(l.at[3].uri, "gs://bk/l/sub/1 2");
    assert_int_equal(l.at[3].crc32c, crc32c(0, "l/", 2));
    assert_string_equal(l.at[4].uri, "gs://bk/l/\xc3\xa9");
    object_list_release(&l);
    must(store_list(m->net, "gs://bk/nothing", 100, &l, &e));
    assert_int_equal(l.count, 0);
    size_t size;
    struct object o;
    object_init(&o, "gs://bk/l/empty");
    char *data = store_load(m->net, &o, 100, &size, &e);
    assert_ok(e);
    assert_int_equal(size, 0);
    free(data);
    object_release(&o);
}

static void test_store__writes_a_large_file_to_the_emulator(void **state)
{
    const struct emulator *m = *state;
    if (!m->pid)
        skip();
    enum { SIZE = 20 << 20 };
    struct err e = {0};
    struct object o;
    size_t size;
    char *dir = testing_folder(), *path = path_join(dir, "f");
    unsigned char *data = testing_bytes(SIZE);
    must(file_write(path, data, SIZE, &e));
    must(store_write_file(m->net, "gs://bk/big", path, &o, &e));
    assert_int_equal(o.size, SIZE);
    assert_int_equal(o.crc32c, crc32c(0, data, SIZE));
    unsigned char *all = store_load(m->net, &o, SIZE, &size, &e);
    assert_ok(e);
    assert_int_equal(size, SIZE);
    assert_memory_equal(all, data, SIZE);
    must(store_remove(m->net, "gs://bk/big", &e));
    must(dir_remove(dir, &e));
    object_release(&o);
    free(all);
    free(data);
    free(path);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store__knows_its_uris),
        cmocka_unit_test(test_store__copies_and_lists_objects),
        cmocka_unit_test(test_store__verifies_a_copy),
        cmocka_unit_test_setup_teardown(test_store__writes_and_reads_at_the_emulator, open_emulator,
                                        close_emulator),
        cmocka_unit_test_setup_teardown(test_store__lists_at_the_emulator, open_emulator,
                                        close_emulator),
        cmocka_unit_test_setup_teardown(test_store__writes_a_large_file_to_the_emulator,
                                        open_emulator, close_emulator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
