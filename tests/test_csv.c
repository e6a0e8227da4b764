/* test_csv.c - rows as RFC 4180 has them, and as Python's csv module writes and reads them
 * (tests/fixtures/csv_rows.py). */
#include "testing.h"

#include "base/buf.h"
#include "base/mem.h"
#include "data/csv.h"

/* All rows of a text; fails the test when one is bad. */
static void check_rows(const char *text, size_t size, char separator, const json_t *rows)
{
    size_t at = 0;
    struct err e = {0};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *fields = json_array_get(rows, i);
        struct csv_row row;
        int64_t n = csv_read(&row, text + at, size - at, separator, true, &e);
        assert_ok(e);
        assert_true(n > 0);
        assert_int_equal(row.count, json_array_size(fields));
        for (int k = 0; k < row.count; k++)
            assert_string_equal(row.fields[k],
                                json_string_value(json_array_get(fields, (size_t)k)));
        csv_row_release(&row);
        at += (size_t)n;
    }
    assert_int_equal(at, size);
}

/* The ends of rows are the same when the text comes in pieces of any size. */
static void check_pieces(const char *text, size_t size, char separator, size_t piece)
{
    struct csv_scan scan = {.separator = separator};
    size_t begin = 0, at = 0;
    struct err e = {0};
    while (at < size) {
        size_t n = size - at < piece ? size - at : piece;
        size_t end = csv_row_end(text + at, n, &scan);
        assert_true(end <= n);
        at += end ? end : n;
        if (!end && at < size)
            continue;
        struct csv_row row;
        assert_int_equal(csv_read(&row, text + begin, size - begin, separator, true, &e),
                         at - begin);
        csv_row_release(&row);
        begin = at;
    }
    assert_int_equal(begin, size);
}

static json_t *read_tables(void)
{
    struct err e = {0};
    json_t *tables = json_read_file("tests/data/csv/rows.json", 1 << 24, &e);
    assert_ok(e);
    assert_true(json_array_size(tables) > 300);
    return tables;
}

static void test_csv__reads_what_python_writes(void **state)
{
    (void)state;
    json_t *tables = read_tables();
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *t = json_array_get(tables, i);
        const char *text = json_string_value(json_object_get(t, "text"));
        char separator = json_string_value(json_object_get(t, "separator"))[0];
        size_t size = strlen(text);
        check_rows(text, size, separator, json_object_get(t, "rows"));
        for (size_t piece = 1; piece < 9; piece++)
            check_pieces(text, size, separator, piece);
        check_pieces(text, size, separator, size);
    }
    json_decref(tables);
}

static void write_table(const json_t *t, struct buf *out)
{
    const json_t *rows = json_object_get(t, "rows");
    char separator = json_string_value(json_object_get(t, "separator"))[0];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *fields = json_array_get(rows, i);
        for (size_t k = 0; k < json_array_size(fields); k++) {
            if (k)
                buf_add_char(out, separator);
            csv_write(json_string_value(json_array_get(fields, k)), separator, out);
        }
        buf_add_str(out, json_string_value(json_object_get(t, "end")));
    }
}

static void test_csv__writes_as_python_does(void **state)
{
    (void)state;
    json_t *tables = read_tables();
    struct buf out;
    int compared = 0;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *t = json_array_get(tables, i);
        const char *text = json_string_value(json_object_get(t, "text"));
        char separator = json_string_value(json_object_get(t, "separator"))[0];
        buf_clear(&out);
        write_table(t, &out);
        check_rows(out.data, out.size, separator, json_object_get(t, "rows"));
        if (!json_is_true(json_object_get(t, "minimal")))
            continue;
        /* The last line end may be missing there. */
        assert_memory_equal(out.data, text, strlen(text));
        compared++;
    }
    assert_true(compared > 100);
    buf_release(&out);
    json_decref(tables);
}

/* -------------------------------------------------------------- what is bad -- */

static void check_bad(const char *text, size_t size, const char *part)
{
    struct err e = {0};
    struct csv_row row;
    assert_int_equal(csv_read(&row, text, size, ',', true, &e), -1);
    assert_err(e, ERR_DATA, part);
    assert_null(row.fields);
    assert_null(row.text);
}

static void test_csv__refuses_what_is_not_allowed(void **state)
{
    (void)state;
    check_bad("a,5\" pipe\n", 10, "field 2: a quote inside a field");
    check_bad("a,\"b\"c\n", 7, "field 2: bytes behind the closing quote");
    check_bad("\"a\" ,b\n", 7, "field 1: bytes behind the closing quote");
    check_bad("a,\"b\nc", 6, "field 2: a quote that is never closed");
    check_bad("a\rb\n", 4, "field 1: a carriage return without a line feed");
    check_bad("a\r", 2, "a carriage return without a line feed");
    check_bad("a,b\0c\n", 6, "field 2: a zero byte");
    check_bad("a,\"b\0c\"\n", 8, "field 2: a zero byte");
    check_bad("a,b,\xff\n", 6, "field 3: bytes that are not UTF-8");
    check_bad("\xed\xa0\x80\n", 4, "field 1: bytes that are not UTF-8");
}

static void test_csv__a_stray_quote_spoils_only_its_row(void **state)
{
    (void)state;
    const char text[] = "id,text\n1,5\" pipe\n2,\"x\"y\"\n3,good\n4,\"a\nb\"\n";
    struct csv_scan scan = {.separator = ','};
    size_t at = 0;
    const size_t expected[] = {8, 10, 8, 7, 8};
    for (int i = 0; i < 5; i++) {
        size_t n = csv_row_end(text + at, strlen(text) - at, &scan);
        assert_int_equal(n, expected[i]);
        at += n;
    }
    assert_int_equal(at, strlen(text));
}

static void test_csv__waits_for_the_end_of_a_row(void **state)
{
    (void)state;
    struct err e = {0};
    struct csv_row row;
    assert_int_equal(csv_read(&row, "a,b", 3, ',', false, &e), 0);
    assert_int_equal(csv_read(&row, "a,\"b\n", 5, ',', false, &e), 0);
    assert_int_equal(csv_read(&row, "", 0, ',', true, &e), 0);
    assert_int_equal(csv_read(&row, "a,b", 3, ',', true, &e), 3);
    assert_int_equal(row.count, 2);
    csv_row_release(&row);
    assert_int_equal(csv_read(&row, "\r\nx", 3, ',', false, &e), 2);
    assert_int_equal(row.count, 0);
    csv_row_release(&row);
    assert_int_equal(csv_read(&row, ",\nx", 3, ',', false, &e), 2);
    assert_int_equal(row.count, 2);
    assert_string_equal(row.fields[1], "");
    csv_row_release(&row);
    assert_ok(e);
}

static void test_csv__has_limits(void **state)
{
    (void)state;
    size_t size = (size_t)CSV_ROW_BYTES_MAX + 2;
    char *text = xmalloc(size);
    memset(text, ',', size);
    check_bad(text, CSV_FIELDS_MAX, "more than 4096 fields");
    memset(text, 'x', size);
    text[size - 1] = '\n';
    check_bad(text, size, "a row of more than 16777216 bytes");
    free(text);
}

/* ----------------------------------------------------------------- objects -- */

/* One row under one header, as JSON text; the caller frees.  NULL: an error. */
static char *object(const char *header, const char *line, struct err *e)
{
    struct csv_row names, row;
    assert_true(csv_read(&names, header, strlen(header), ',', true, e) > 0);
    assert_true(csv_read(&row, line, strlen(line), ',', true, e) > 0);
    json_t *o = csv_object(&row, &names, e);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    csv_row_release(&names);
    csv_row_release(&row);
    return text;
}

static void check_object(const char *header, const char *line, const char *expected)
{
    struct err e = {0};
    char *found = object(header, line, &e);
    assert_ok(e);
    assert_string_equal(found, expected);
    free(found);
}

static void check_no_object(const char *header, const char *line, const char *part)
{
    struct err e = {0};
    assert_null(object(header, line, &e));
    assert_err(e, ERR_DATA, part);
}

static void test_csv__makes_objects(void **state)
{
    (void)state;
    check_object("id,audio,text,duration", "17,a.wav,\"x, y\",2.5",
                 "{\"id\":\"17\",\"audio\":\"a.wav\",\"text\":\"x, y\",\"duration\":2.5}");
    check_object("id,text,duration", "17,,3", "{\"id\":\"17\",\"duration\":3}");
    check_object("messages,text", "\"[{\"\"role\"\": \"\"user\"\"}]\",[x]",
                 "{\"messages\":[{\"role\":\"user\"}],\"text\":\"[x]\"}");
    check_object("audios,audio_seconds", "\"[\"\"a.wav\"\"]\",1e1",
                 "{\"audios\":[\"a.wav\"],\"audio_seconds\":10.0}");
    check_no_object("a,b", "1,2,3", "found 3 fields, expected 2 as in the header");
    check_no_object("a,b,c", "1,2", "found 2 fields, expected 3 as in the header");
    check_no_object("a,b,a", "1,2,3", "the header has the column \"a\" twice");
    check_no_object("duration", "long", "\"duration\": \"long\" is not a number");
    check_no_object("messages", "[}", "\"messages\": character 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv__reads_what_python_writes),
        cmocka_unit_test(test_csv__writes_as_python_does),
        cmocka_unit_test(test_csv__refuses_what_is_not_allowed),
        cmocka_unit_test(test_csv__a_stray_quote_spoils_only_its_row),
        cmocka_unit_test(test_csv__waits_for_the_end_of_a_row),
        cmocka_unit_test(test_csv__has_limits),
        cmocka_unit_test(test_csv__makes_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
