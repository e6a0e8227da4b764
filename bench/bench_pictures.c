/* bench_pictures.c - processor time of decoding a picture and of making patches of it, as JSON, for
 * pictures.py.
 *
 *     bench_pictures PICTURE TOKENS
 *
 * "mean" and "square" are of the levels of all patches, so that the other side can show that it
 * computed the same.
 */
#include "base/file.h"
#include "media/picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REPEATS = 7 };

struct result {
    double decode_s, patches_s;        /* best of REPEATS */
    int soft_tokens;
    double mean, square;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void keep_best(double *best, double seconds, int is_first)
{
    if (is_first || seconds < *best)
        *best = seconds;
}

static int measure(struct result *r, const char *bytes, size_t size, int tokens, struct err *e)
{
    struct picture_config c;
    picture_config_gemma4(&c, false);
    for (int k = 0; k < REPEATS; k++) {
        struct image im;
        struct picture p;
        double start = now();
        if (image_decode(&im, bytes, size, e))
            return -1;
        keep_best(&r->decode_s, now() - start, k == 0);
        start = now();
        int failed = picture_make(&p, &c, tokens, &im, e);
        keep_best(&r->patches_s, now() - start, k == 0);
        image_release(&im);
        if (failed)
            return -1;
        int count = p.across * p.down * picture_patch_numbers(&c);
        r->soft_tokens = p.soft_tokens;
        r->mean = r->square = 0;
        for (int i = 0; i < count; i++) {
            r->mean += (double)p.patches[i] / count;
            r->square += (double)p.patches[i] * p.patches[i] / count;
        }
        picture_release(&p);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct result r = {0};
    size_t size;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_pictures PICTURE TOKENS\n");
        return 2;
    }
    char *bytes = file_read(argv[1], IMAGE_FILE_BYTES_MAX, &size, &e);
    int failed = !bytes || measure(&r, bytes, size, (int)strtol(argv[2], NULL, 10), &e);
    if (failed)
        fprintf(stderr, "bench_pictures: %s\n", e.text);
    else
        printf("{\"decode_s\":%.5f,\"patches_s\":%.5f,\"soft_tokens\":%d,\"mean\":%.7f,"
               "\"square\":%.7f}\n",
               r.decode_s, r.patches_s, r.soft_tokens, r.mean, r.square);
    free(bytes);
    return failed ? 1 : 0;
}
