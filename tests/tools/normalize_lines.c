/* normalize_lines.c - a normaliser as a filter, to be compared with its reference
 * (tests/fixtures/check_normalize.py).
 *
 *     normalize_lines whisper_english FOLDER < texts > normalised
 *
 * One JSON string a line, in and out.  FOLDER holds normalizer.json, or does not. */
#include "base/buf.h"
#include "text/normalize.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1 << 20 };

static int filter_line(enum normalizer n, const struct normalizer_words *w, const char *line,
                       struct err *e)
{
    struct buf array, out;
    buf_init(&array, LINE_MAX_BYTES);
    buf_init(&out, LINE_MAX_BYTES);
    buf_printf(&array, "[%s]", line);
    json_t *v = json_read_text("line", array.data, array.size, e);
    const char *text = json_string_value(json_array_get(v, 0));
    int rc = text ? normalize_text(n, w, text, &out, e) : err_set(e, ERR_DATA, "no text");
    buf_clear(&array);
    json_write_str(out.data, out.size, &array);
    puts(array.data);
    json_decref(v);
    buf_release(&array);
    buf_release(&out);
    return rc;
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    struct normalizer_words words;
    struct err e = {0};
    enum normalizer n = NORMALIZE_NONE;
    while (argc == 3 && n < NORMALIZE_WHISPER_ENGLISH && strcmp(argv[1], normalizer_name(n)) != 0)
        n++;
    int rc = argc == 3 ? normalizer_words_open(&words, argv[2], &e) : -1;
    while (!rc && fgets(line, sizeof line, stdin))
        rc = filter_line(n, &words, line, &e);
    if (rc)
        fprintf(stderr, "normalize_lines: %s\n", argc == 3 ? e.text : "two arguments, please");
    else
        normalizer_words_release(&words);
    return rc ? 1 : 0;
}
