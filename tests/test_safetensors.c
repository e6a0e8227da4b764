/* The safetensors reader against Python's files and an attack for every rule; the writer against
 * faults at every call, and against itself read back. */
#include "nn_testing.h"

#include <errno.h>

#include "base/dir.h"
#include "base/file.h"

/* ------------------------------------------------------------------- attacks -- */

/* A file: the header's length, the header, `data` bytes of zeros.  The caller frees. */
static unsigned char *make(const char *header, size_t data, size_t *size)
{
    size_t n = strlen(header);
    unsigned char *file = calloc(1, 8 + n + data + 1);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(file + 8, header, n);
    *size = 8 + n + data;
    return file;
}

static struct safetensors *parse(const char *header, size_t data, struct err *e)
{
    static unsigned char *file;         /* lives as long as what was parsed from it */
    size_t size;
    free(file);
    file = NULL;
    if (!header)
        return NULL;
    file = make(header, data, &size);
    return safetensors_parse(file, size, "w.safetensors", e);
}

static void refused(const char *header, size_t data, const char *text)
{
    struct err e = {0};
    assert_null(parse(header, data, &e));
    assert_err(e, ERR_INTEGRITY, text);
    assert_non_null(strstr(e.text, "w.safetensors: "));
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                         \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" first "},"                         \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" second "}}"

static void test_safetensors__refuses_sizes_that_overflow(void **state)
{
    (void)state;
    refused(ONE("F32", "[65536,65536,65536,65536]", "[0,0]"), 0,
            "tensor a at offset 0: its shape holds more bytes than 64 bits can count");
    refused(ONE("F32", "[4294967300]", "[0,16]"), 16, "tensor a at offset 0: a dimension is not");
    refused(ONE("F32", "[-1,-4]", "[0,16]"), 16, "tensor a at offset 0: a dimension is not");
    refused(ONE("F32", "[2147483647,2147483647]", "[0,4]"), 4, "has 4 bytes, its shape and dtype");
    refused(ONE("F32", "[4]", "[18446744073709551608,8]"), 16, "header:1:");
    refused(ONE("F32", "[4]", "[-8,8]"), 16, "tensor a: data_offsets [-8,8] do not lie in");
    refused(ONE("F32", "[4]", "[16,0]"), 16, "data_offsets [16,0] do not lie in");
    refused(ONE("F32", "[4]", "[0,16]"), 15,
            "data_offsets [0,16] do not lie in the file's 15 bytes");
    refused(ONE("F32", "[4]", "[9223372036854775807,9223372036854775807]"), 16, "do not lie in");
}

static void test_safetensors__refuses_wrong_entries(void **state)
{
    (void)state;
    refused(ONE("F32", "[3]", "[0,16]"), 16, "has 16 bytes, its shape and dtype need 12");
    refused(ONE("F32", "[4.0]", "[0,16]"), 16, "a dimension is not a whole number");
    refused(ONE("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), 16, "has 9 dimensions, more than 8");
    refused(ONE("F32", "4", "[0,16]"), 16, "has no shape");
    refused(ONE("F8_E4M3", "[4]", "[0,4]"), 4, "dtype F8_E4M3 is not known");
    refused(ONE("f32", "[4]", "[0,16]"), 16, "dtype f32 is not known");
    refused(ONE("F32", "[4]", "[0]"), 16, "tensor a: data_offsets are not two whole numbers");
    refused(ONE("F32", "[4]", "[0,16,32]"), 16, "data_offsets are not two whole numbers");
    refused(ONE("F32", "[4]", "[0.0,16]"), 16, "data_offsets are not two whole numbers");
    refused("{\"a\":[]}", 0, "its entry is not an object");
    refused("{\"a\":{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "has no dtype");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4,
            "has keys besides dtype, shape and data_offsets");
    refused("{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "has 0 bytes");
    refused("{\"a\\u001b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
            "a tensor's name has a control character");
    refused("{\"__metadata__\":{\"x\":1}}", 0, "__metadata__ holds something that is no string");
    refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
}

static void test_safetensors__refuses_holes_and_overlaps(void **state)
{
    (void)state;
    refused(TWO("[0,8]", "[4,12]"), 12, "tensor b at offset 4 overlaps a, which ends at 8");
    refused(TWO("[0,8]", "[0,8]"), 8, "at offset 0 overlaps");
    refused(TWO("[0,8]", "[12,20]"), 20, "tensor b at offset 12: a hole of 4 bytes lies before it");
    refused(ONE("F32", "[2]", "[4,12]"), 12, "a hole of 4 bytes");
    refused(ONE("F32", "[2]", "[0,8]"), 12, "4 bytes lie behind the last tensor");
    refused("{}", 4, "4 bytes lie behind the last tensor");
}

static void test_safetensors__refuses_broken_json(void **state)
{
    (void)state;
    refused(TWO("[0,8]", "[8,16]") " x", 16, "header:1:");
    refused("{\"a\":", 0, "header:1:");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            4, "header:1:");
    refused(" {}", 0, "the header does not begin with {");
    refused("", 0, "the header does not begin with {");

    enum { DEEP = 1 << 20 };
    char *deep = malloc(DEEP + 6);
    assert_non_null(deep);
    memcpy(deep, "{\"a\":", 5);
    memset(deep + 5, '[', DEEP);
    deep[DEEP + 5] = 0;
    refused(deep, 0, "header:1:");
    free(deep);
}

static void refused_file(const void *bytes, size_t size, const char *text)
{
    struct err e = {0};
    assert_null(safetensors_parse(bytes, size, "w.safetensors", &e));
    assert_err(e, ERR_INTEGRITY, text);
}

static void test_safetensors__refuses_other_files(void **state)
{
    (void)state;
    refused_file("GGUF\3\0\0\0\0\0\0\0\0\0\0", 16, "is a GGUF file, expected safetensors");
    refused_file("PK\3\4\0\0\0\0\0\0\0\0\0\0\0", 16, "is a pickle (PyTorch) or zip file");
    refused_file("\x80\x02}q\0.\0\0\0\0\0", 12, "is a pickle file");
    refused_file("version https://git-lfs.github.com/spec/v1\n", 43, "is a Git LFS pointer");
    refused_file("<!DOCTYPE html>", 15, "is a web page");
    refused_file("", 0, "0 bytes are too few");
    refused_file("\7\0\0\0\0\0\0", 7, "7 bytes are too few");
    refused_file("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
                 "claims a header of 18446744073709551615");
    refused_file("\3\0\0\0\0\0\0\0{}", 10, "claims a header of 3 bytes; the file has 10");
}

/* Every prefix of a good file is refused, and none crashes. */
static void test_safetensors__refuses_every_truncation(void **state)
{
    (void)state;
    struct err e = {0};
    size_t size;
    char *file = file_read(NN_DATA "python.safetensors", 1 << 20, &size, &e);
    assert_non_null(file);
    for (size_t n = 0; n < size; n++) {
        struct err f = {0};
        unsigned char *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, file, n);
        assert_null(safetensors_parse(cut, n, "cut", &f));
        assert_int_equal(f.kind, ERR_INTEGRITY);
        free(cut);
    }
    free(file);
}

/* ------------------------------------------------------------------- reading -- */

static void test_safetensors__reads_what_is_allowed(void **state)
{
    (void)state;
    struct err e = {0};
    struct safetensors *s = parse("{}", 0, &e);
    assert_int_equal(safetensors_count(s), 0);
    assert_null(safetensors_find(s, "a"));
    safetensors_close(s);
    s = parse(TWO("[8,16]", "[0,8]") "   ", 16, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(s), 2);
    assert_int_equal(safetensors_find(s, "a")->bytes, 8);
    safetensors_close(s);
    parse(NULL, 0, NULL);
}

static void expect_tensor(struct safetensors *s, const char *name, enum mx_dtype dtype,
                          const float *want, const int *shape, int n)
{
    const struct safetensors_tensor *t = safetensors_find(s, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->n, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(t->shape[i], shape[i]);
    float *v = read_floats(mx_astype(safetensors_array(s, t), MX_FLOAT32));
    for (size_t i = 0; i < t->bytes / mx_dtype_size(dtype); i++)
        assert_near(v[i], want[i], 0);
    free(v);
}

static void test_safetensors__reads_pythons(void **state)
{
    (void)state;
    struct err e = {0};
    struct safetensors *s = safetensors_open(NN_DATA "python.safetensors", &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(s), 11);
    assert_string_equal(safetensors_metadata(s, "maker"), "torch");
    assert_null(safetensors_metadata(s, "nobody"));
    expect_tensor(s, "i64", MX_INT64, (float[]){1, -2, 1099511627776.0f}, SHAPE(3));
    expect_tensor(s, "i32", MX_INT32, (float[]){1, -2}, SHAPE(1, 2));
    expect_tensor(s, "u8", MX_UINT8, (float[]){0, 255}, SHAPE(2));
    expect_tensor(s, "i8", MX_INT8, (float[]){-128, 127}, SHAPE(2));
    expect_tensor(s, "bool", MX_BOOL, (float[]){1, 0, 1}, SHAPE(3));
    expect_tensor(s, "scalar", MX_FLOAT32, (float[]){2.5f}, NULL, 0);
    expect_tensor(s, "empty", MX_FLOAT32, NULL, SHAPE(0, 3));
    assert_int_equal(safetensors_find(s, "bf16")->dtype, MX_BFLOAT16);
    assert_int_equal(safetensors_find(s, "f16")->dtype, MX_FLOAT16);
    safetensors_close(s);
}

/* An array outlives the file's handle. */
static void test_safetensors__arrays_keep_the_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct safetensors *s = safetensors_open(NN_DATA "net", &e);
    assert_ok(e);
    mx_array x = safetensors_array(s, safetensors_find(s, "model.layers.0.q_proj.weight"));
    safetensors_close(s);
    float *v = read_floats(x);
    assert_true(fabsf(v[47]) < 1);
    free(v);
}

/* --------------------------------------------------------------------- folders -- */

static char *dir;

static void put(const char *name, const void *data, size_t size)
{
    struct err e = {0};
    char *path = path_join(dir, name);
    assert_int_equal(file_write(path, data, size, &e), 0);
    free(path);
}

static void put_shard(const char *name, const char *header)
{
    size_t size;
    unsigned char *file = make(header, 8, &size);
    put(name, file, size);
    free(file);
}

static void put_index(const char *map)
{
    char text[500];
    snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":{%s}}", map);
    put("model.safetensors.index.json", text, strlen(text));
}

static void refused_folder(enum err_kind kind, const char *text)
{
    struct err e = {0};
    assert_null(safetensors_open(dir, &e));
    assert_err(e, kind, text);
}

static void test_safetensors__shards(void **state)
{
    (void)state;
    struct err e = {0};
    dir = testing_folder();
    refused_folder(ERR_USAGE, "no model.safetensors and no model.safetensors.index.json");
    put("pytorch_model.bin", "x", 1);
    refused_folder(ERR_INTEGRITY, "only pytorch_model.bin");

    put_shard("m-1.safetensors",
              "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}");
    put_shard("m-2.safetensors",
              "{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}");
    put_index("\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"");
    struct safetensors *s = safetensors_open(dir, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(s), 2);
    assert_non_null(strstr(safetensors_find(s, "b")->file, "m-2.safetensors"));
    safetensors_close(s);

    put_index("\"a\":\"m-1.safetensors\"");
    assert_non_null(s = safetensors_open(dir, &e));
    safetensors_close(s);
    put_index("\"a\":\"m-2.safetensors\",\"b\":\"m-2.safetensors\"");
    refused_folder(ERR_INTEGRITY, "tensor a is not in m-2.safetensors");
    put_index("\"b\":\"m-2.safetensors\",\"a\":\"../m-1.safetensors\"");
    refused_folder(ERR_INTEGRITY, "tensor a: its file is not the name of");
    put_index("\"a\":\"m-3.safetensors\"");
    refused_folder(ERR_FAILED, "m-3.safetensors");
    put_index("");
    refused_folder(ERR_INTEGRITY, "weight_map is empty");
    put_shard("m-2.safetensors",
              "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}");
    put_index("\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"");
    refused_folder(ERR_INTEGRITY, "tensor a lies both in");
    put_shard("m-2.safetensors",
              "{\"c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}");
    put_index("\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\",\"d\":\"m-2.safetensors\"");
    refused_folder(ERR_INTEGRITY, "tensor d is not in m-2.safetensors");
    assert_int_equal(dir_remove(dir, &e), 0);
    free(dir);
}

/* --------------------------------------------------------------------- writing -- */

static void test_safetensors__writes_what_it_reads(void **state)
{
    (void)state;
    struct err e = {0};
    dir = testing_folder();
    char *path = path_join(dir, "w.safetensors"), hash[65], again[65];
    struct safetensors *s = safetensors_open(NN_DATA "python.safetensors", &e);
    struct safetensors_item items[11];
    struct safetensors_pair pair = {"step", "\"12\""};

    for (int i = 0; i < 11; i++) {
        const struct safetensors_tensor *t = safetensors_at(s, 10 - i);
        items[i] = (struct safetensors_item){t->name, safetensors_array(s, t), t->dtype};
    }
    if (safetensors_write(path, items, 11, &pair, 1, hash, &e))
        fail_msg("%s", e.text);
    assert_int_equal(hash_file(path, again, &e), 0);
    assert_string_equal(hash, again);

    struct safetensors *w = safetensors_open(path, &e);
    assert_ok(e);
    assert_int_equal(safetensors_count(w), 11);
    assert_string_equal(safetensors_metadata(w, "format"), "pt");
    assert_string_equal(safetensors_metadata(w, "step"), "\"12\"");
    for (int i = 0; i < 11; i++) {
        const struct safetensors_tensor *a = safetensors_at(s, i), *b = safetensors_at(w, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->bytes, b->bytes);
        assert_int_equal(memcmp(a->data, b->data, a->bytes), 0);
        assert_int_equal((uintptr_t)b->data % mx_dtype_size(b->dtype), 0);
    }
    safetensors_close(w);
    safetensors_close(s);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
}

/* Casts, non-contiguous arrays, and more rows than one piece holds. */
static void test_safetensors__writes_in_pieces(void **state)
{
    (void)state;
    enum { ROWS = 9000, COLUMNS = 1024 };
    struct err e = {0};
    dir = testing_folder();
    char *path = path_join(dir, "w.safetensors");
    mx_array x = mx_reshape(mx_arange(0, ROWS * COLUMNS, 1, MX_FLOAT32), COLUMNS, ROWS);
    struct safetensors_item item = {"x", mx_swapaxes(x, 0, 1), MX_FLOAT32};

    if (safetensors_write(path, &item, 1, NULL, 0, NULL, &e))
        fail_msg("%s", e.text);
    struct safetensors *s = safetensors_open(path, &e);
    assert_ok(e);
    const float *v = safetensors_at(s, 0)->data;
    for (size_t r = 0; r < ROWS; r += 100)
        for (size_t c = 0; c < COLUMNS; c += 10)
            assert_true(v[r * COLUMNS + c] == (float)(c * ROWS + r));
    safetensors_close(s);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
}

static int countdown;

static int fail_later(const char *call)
{
    (void)call;
    return --countdown == 0 ? ENOSPC : 0;
}

/* The n-th call fails, for every n: the old file is whole, or the new one is. */
static void test_safetensors__a_fault_leaves_the_old_file(void **state)
{
    (void)state;
    struct err e = {0};
    dir = testing_folder();
    char *path = path_join(dir, "w.safetensors");
    struct safetensors_item old = {"old", mx_full(1, MX_FLOAT32, 3), MX_FLOAT32};
    struct safetensors_item new = {"new", mx_full(2, MX_FLOAT32, 300), MX_FLOAT32};
    int failures = 0;

    for (int n = 1;; n++) {
        struct err f = {0};
        assert_int_equal(safetensors_write(path, &old, 1, NULL, 0, NULL, &e), 0);
        countdown = n;
        file_fault = fail_later;
        int rc = safetensors_write(path, &new, 1, NULL, 0, NULL, &f);
        file_fault = NULL;
        struct safetensors *s = safetensors_open(path, &e);
        assert_ok(e);
        assert_non_null(safetensors_find(s, rc == 0                                ? "new"
                                            : f.kind && safetensors_find(s, "old") ? "old"
                                                                                   : "new"));
        safetensors_close(s);
        failures += rc != 0;
        if (rc)
            assert_non_null(strstr(f.text, dir));
        if (countdown > 0)
            break;
    }
    assert_true(failures >= 4);
    assert_int_equal(dir_remove(dir, &e), 0);
    free(path);
    free(dir);
}

static void test_safetensors__refuses_to_write_nonsense(void **state)
{
    (void)state;
    struct err e = {0};
    dir = testing_folder();
    char *path = path_join(dir, "w.safetensors");
    struct safetensors_item twice[2] = {{"x", mx_float(1), MX_FLOAT32},
                                        {"x", mx_float(1), MX_FLOAT32}};
    assert_int_equal(safetensors_write(path, twice, 2, NULL, 0, NULL, &e), -1);
    assert_err(e, ERR_BUG, "tensor x is to be written twice");
    e = (struct err){0};
    twice[0].array = MX_NONE;
    assert_int_equal(safetensors_write(path, twice, 2, NULL, 0, NULL, &e), -1);
    assert_err(e, ERR_BUG, "nothing to write");
    e = (struct err){0};
    twice[0].array = mx_reshape(mx_float(1), 2);
    assert_int_equal(safetensors_write(path, twice, 1, NULL, 0, NULL, &e), -1);
    assert_false(file_exists(path));
    struct err clear = {0};
    assert_int_equal(mx_check(&clear), 0);
    assert_int_equal(dir_remove(dir, &clear), 0);
    free(path);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        nn_test(test_safetensors__refuses_sizes_that_overflow),
        nn_test(test_safetensors__refuses_wrong_entries),
        nn_test(test_safetensors__refuses_holes_and_overlaps),
        nn_test(test_safetensors__refuses_broken_json),
        nn_test(test_safetensors__refuses_other_files),
        nn_test(test_safetensors__refuses_every_truncation),
        nn_test(test_safetensors__reads_what_is_allowed),
        nn_test(test_safetensors__reads_pythons),
        nn_test(test_safetensors__arrays_keep_the_file),
        nn_test(test_safetensors__shards),
        nn_test(test_safetensors__writes_what_it_reads),
        nn_test(test_safetensors__writes_in_pieces),
        nn_test(test_safetensors__a_fault_leaves_the_old_file),
        nn_test(test_safetensors__refuses_to_write_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
