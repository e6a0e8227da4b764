/* fuzz_csv.c - any bytes as a table: rows that add up to all of it and can be written again, or an
 * error. */
#include "base/buf.h"
#include "data/csv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The end of the first row when the text comes in pieces; `size` when it has none. */
static size_t row_end(const char *text, size_t size, size_t piece)
{
    struct csv_scan scan = {.separator = ','};
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        size_t end = csv_row_end(text + at, n, &scan);
        assert(end <= n);
        if (end)
            return at + end;
    }
    return size;
}

/* What is written is read as the same. */
static void check_again(const struct csv_row *row)
{
    struct err e = {0};
    struct csv_row again;
    struct buf out;
    buf_init(&out, 1 << 26);
    for (int i = 0; i < row->count; i++) {
        if (i)
            buf_add_char(&out, ',');
        csv_write(row->fields[i], ',', &out);
    }
    buf_add_char(&out, '\n');
    int64_t n = csv_read(&again, out.data, out.size, ',', false, &e);
    assert(n == (int64_t)out.size);
    /* A row of one empty field is a blank line. */
    bool is_blank = row->count == 1 && !row->fields[0][0];
    assert(again.count == (is_blank ? 0 : row->count));
    for (int i = 0; i < again.count; i++)
        assert(strcmp(again.fields[i], row->fields[i]) == 0);
    csv_row_release(&again);
    buf_release(&out);
}

static void check_object(const struct csv_row *row, const struct csv_row *header)
{
    struct err e = {0};
    json_t *o = csv_object(row, header, &e);
    assert((o == NULL) == (e.kind == ERR_DATA));
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct csv_row header = {0}, row;
    for (size_t at = 0; at < size;) {
        struct err e = {0};
        size_t end = row_end(text + at, size - at, size);
        assert(end == row_end(text + at, size - at, 1));
        assert(end == row_end(text + at, size - at, 3));
        int64_t n = csv_read(&row, text + at, size - at, ',', true, &e);
        assert((n < 0) == (e.kind == ERR_DATA));
        assert(n < 0 || n == (int64_t)end);
        if (n >= 0 && row.count > 0) {
            check_again(&row);
            if (header.count > 0)
                check_object(&row, &header);
        }
        at += end;
        if (n >= 0 && header.count == 0)
            header = row;
        else
            csv_row_release(&row);
    }
    csv_row_release(&header);
    return 0;
}
