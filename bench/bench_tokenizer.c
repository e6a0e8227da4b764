/* bench_tokenizer.c - processor time of one tokenizer on one text, as JSON, for tokenizer.py.
 *
 *     bench_tokenizer TOKENIZER.json TEXT.txt
 */
#include "base/file.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int encode_lines(const struct tokenizer *t, const char *text, size_t size, struct ids *ids,
                        struct err *e)
{
    for (size_t pos = 0; pos < size;) {
        const char *end = memchr(text + pos, '\n', size - pos);
        size_t length = end ? (size_t)(end - text) - pos : size - pos;
        if (tokenizer_encode(t, text + pos, length, ids, e))
            return -1;
        pos += length + 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct ids ids = IDS_INIT;
    double load_s = 0, whole_s = 1e9, lines_s = 1e9;
    struct tokenizer *t = NULL;
    size_t size = 0;
    char *text = argc == 3 ? file_read(argv[2], TOKENIZER_TEXT_MAX, &size, &e) : NULL;
    int count = 0;
    uint32_t hash = 0;

    if (text) {
        double start = now();
        t = tokenizer_open(argv[1], &e);
        load_s = now() - start;
    }
    for (int i = 0; t && i < 3 && !e.kind; i++) {
        ids_clear(&ids);
        double start = now();
        if (tokenizer_encode(t, text, size, &ids, &e))
            break;
        whole_s = now() - start < whole_s ? now() - start : whole_s;
        count = ids.count;
        hash = 0;
        for (int k = 0; k < count; k++)
            hash = hash * 31 + (uint32_t)ids.at[k];
        ids_clear(&ids);
        start = now();
        if (encode_lines(t, text, size, &ids, &e))
            break;
        lines_s = now() - start < lines_s ? now() - start : lines_s;
    }
    if (argc != 3 || e.kind) {
        fprintf(stderr, "bench_tokenizer TOKENIZER.json TEXT.txt: %s\n", e.text);
        return 1;
    }
    printf("{\"load_s\":%.4f,\"whole_s\":%.4f,\"lines_s\":%.4f,\"ids\":%d,\"hash\":%u}\n", load_s,
           whole_s, lines_s, count, hash);
    ids_release(&ids);
    tokenizer_free(t);
    free(text);
    return 0;
}
