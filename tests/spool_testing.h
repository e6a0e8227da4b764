/* spool_testing.h - what the tests of the spool share: a bucket, a network, a folder, and
 * spools that are closed when a test fails. */
#ifndef SPOOL_TESTING_H
#define SPOOL_TESTING_H

#include "testing.h"

#include <zlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "bucket.h"
#include "data/spool.h"

enum { MIB = 1 << 20, BIG = 17 * MIB + 12345 };

static struct bucket *bucket;
static struct net *net;
static char *folder, *cache, *bytes;
static struct spool *open_now[4];         /* closed even when a test fails */
static void *buffers[8];                  /* what the bucket may still be sending */

/* Noise, the same every time; files are parts of it. */
static inline void make_bytes(void)
{
    uint32_t x = 7;
    bytes = xmalloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (char)(x >> 24);
    }
}

static inline int set_up(void **state)
{
    (void)state;
    if (!bytes)
        make_bytes();
    folder = testing_folder();
    cache = path_join(folder, "cache");
    bucket = bucket_start();
    net = net_open(&(struct net_options){.budget_s = 20, .connections = 4});
    return 0;
}

static inline char *new_buffer(size_t size)
{
    int i = 0;
    while (buffers[i])
        i++;
    buffers[i] = xcalloc(1, size);
    return buffers[i];
}

static inline struct spool *remember(struct spool *s)
{
    int i = 0;
    while (open_now[i])
        i++;
    open_now[i] = s;
    return s;
}

static inline void close_spool(struct spool *s)
{
    for (int i = 0; i < 4; i++)
        if (open_now[i] == s)
            open_now[i] = NULL;
    spool_close(s);
}

static inline int tear_down(void **state)
{
    (void)state;
    struct err e = {0};
    for (int i = 0; i < 4; i++)
        if (open_now[i])
            close_spool(open_now[i]);
    net_close(net);
    bucket_stop(bucket);
    for (int i = 0; i < 8; i++) {
        free(buffers[i]);
        buffers[i] = NULL;
    }
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    free(cache);
    return 0;
}

static inline struct spool *open_spool(int64_t bytes_max, bool keeps)
{
    struct err e = {0};
    struct spool *s = spool_open(
        &(struct spool_options){.net = net, .dir = cache, .bytes_max = bytes_max, .keeps = keeps},
        &e);
    assert_ok(e);
    return remember(s);
}

static inline struct object put(const char *name, const void *data, size_t size)
{
    bucket_put(bucket, name, data, size);
    return bucket_object(net, name);
}

/* Take an object, compare its file, and say where it is; the caller frees. */
static inline char *take_path(struct spool *s, const struct object *o, const void *expected,
                              size_t size)
{
    struct err e = {0};
    char *path = NULL;
    int64_t found = -1;
    int failed = spool_take(s, o, &path, &found, &e);
    assert_ok(e);
    assert_int_equal(failed, 0);
    assert_int_equal(found, size);
    size_t read = 0;
    char *data = file_read(path, 1 << 30, &read, &e);
    assert_non_null(data);
    assert_int_equal(read, size);
    assert_memory_equal(data, expected, size);
    free(data);
    return path;
}

static inline void take(struct spool *s, const struct object *o, const void *expected, size_t size)
{
    free(take_path(s, o, expected, size));
}

static inline void take_fails(struct spool *s, const struct object *o, enum err_kind kind,
                              const char *part)
{
    struct err e = {0};
    char *path = NULL;
    assert_int_equal(spool_take(s, o, &path, NULL, &e), -1);
    assert_err(e, kind, part);
    assert_null(path);
}

static inline struct spool_stats stats_of(const struct spool *s)
{
    struct spool_stats stats;
    spool_stats(s, &stats);
    return stats;
}

/* Names in a folder that hold `part`. */
static inline int count_names(const char *dir, const char *part)
{
    struct dir_list l;
    struct err e = {0};
    int count = 0;
    if (!file_is_dir(dir))
        return 0;
    assert_int_equal(dir_list_read(&l, dir, &e), 0);
    for (size_t i = 0; i < l.count; i++) {
        char *path = path_join(dir, l.names[i]);
        count += strstr(l.names[i], part) != NULL;
        count += file_is_dir(path) ? count_names(path, part) : 0;
        free(path);
    }
    dir_list_release(&l);
    return count;
}

static inline size_t gzip(const char *text, size_t size, char *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)size;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

#define SPOOL_TEST(group, name)                                                                    \
    cmocka_unit_test_setup_teardown(test_##group##__##name, set_up, tear_down)

#endif
