/* csv.h - tables of text: CSV (RFC 4180) and TSV, with a header line, as records.
 *
 * Fields may be quoted ("" is a quote, separators and line ends may be inside); CRLF and LF end
 * lines.  In TSV quotes count the same way.  Every row has as many fields as the header.  What RFC
 * 4180 does not allow is an error, not a guess: a quote inside a field that does not begin with
 * one, bytes behind a closing quote, a carriage return alone, a zero byte, bytes that are not
 * UTF-8.
 */
#ifndef DATA_CSV_H
#define DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

struct csv_row {
    char **fields;                        /* [count] unquoted */
    int count;
    char *text;                           /* owns the fields */
};

enum { CSV_FIELDS_MAX = 4096, CSV_ROW_BYTES_MAX = 16 << 20 };

/* Read the row at the front of `text`; returns its bytes with the line end, 0 when it does not end
 * in `size` bytes and `is_last` is false (and when there are none), -1 on error (ERR_DATA, which
 * names the field).  Blank lines give a row of 0 fields.  `row` is set anew, and holds nothing
 * unless the result is above 0.  A byte order mark in front of a file is the caller's to skip. */
int64_t csv_read(struct csv_row *row, const char *text, size_t size, char separator, bool is_last,
                 struct err *e) MUST_CHECK;
/* Safe on a zeroed struct. */
void csv_row_release(struct csv_row *row);

/* Where csv_row_end stands; begin with {.separator = ','}. */
struct csv_scan {
    char separator;
    bool is_quoted;                       /* inside quotes */
    bool is_after_quote;                  /* the last byte was a quote inside quotes:
                                             their end, or half of a "" */
    bool is_inside;                       /* not at the beginning of a field */
};

/* Where the row at the front of `text` ends (bytes with the line feed), 0: not in here; then it
 * goes on with the next piece and the same `scan`.  Finds the end of rows that are not well-formed,
 * too: a stray quote spoils no row but its own. */
size_t csv_row_end(const char *text, size_t size, struct csv_scan *scan);

/* A row as a JSON object: names are the keys; "duration" and "audio_seconds" become numbers; empty
 * fields are left out, and fields that begin with '{' or '[' under "messages" or "audios" are
 * parsed.  ERR_DATA when the numbers of fields differ, or the header has a name twice. */
json_t *csv_object(const struct csv_row *row, const struct csv_row *header,
                   struct err *e) MUST_CHECK;

/* A field as it is written: quoted when it must be. */
struct buf;
void csv_write(const char *field, char separator, struct buf *out);

#endif
