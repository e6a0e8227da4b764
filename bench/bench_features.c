/* bench_features.c - processor time of decoding and of mel features, as JSON, for features.py.
 *
 *     bench_features MODEL CLIP...
 *
 * "mean" and "square" are of all features of real frames, so that the other side can show that it
 * computed the same.
 */
#include "base/mem.h"
#include "media/audio.h"
#include "media/mel.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REPEATS = 3 };

struct result {
    double decode_s, mel_s;            /* best of REPEATS, all clips together */
    double seconds;                    /* of sound */
    double mean, square;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int measure_clip(const struct mel *m, const char *path, struct result *r, double *values,
                        struct err *e)
{
    struct audio a;
    double start = now();
    if (audio_read(&a, path, NULL, e))
        return -1;
    r->decode_s += now() - start;
    r->seconds += (double)a.count / AUDIO_RATE;
    const struct mel_config *c = mel_settings(m);
    int64_t heard = c->is_window && a.count > c->samples_max ? c->samples_max : a.count;
    int frames = mel_frames_valid(m, heard), count = frames * c->bins;
    start = now();
    float *out = xcalloc((size_t)count + 1, sizeof *out);
    mel_compute(m, a.samples, heard, frames, out);
    r->mel_s += now() - start;
    for (int i = 0; i < count; i++) {
        r->mean += (double)out[i];
        r->square += (double)out[i] * (double)out[i];
    }
    *values += count;
    free(out);
    audio_release(&a);
    return 0;
}

static int measure(const struct mel *m, char **paths, int count, struct result *best, struct err *e)
{
    for (int k = 0; k < REPEATS; k++) {
        struct result r = {0};
        double values = 0;
        for (int i = 0; i < count; i++) {
            if (measure_clip(m, paths[i], &r, &values, e))
                return -1;
        }
        r.mean /= values;
        r.square /= values;
        double decode_s = k && best->decode_s < r.decode_s ? best->decode_s : r.decode_s;
        double mel_s = k && best->mel_s < r.mel_s ? best->mel_s : r.mel_s;
        *best = r;
        best->decode_s = decode_s;
        best->mel_s = mel_s;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct mel_config config;
    struct mel *m = NULL;
    struct result r = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_features MODEL CLIP...\n");
        return 2;
    }
    if (!mel_config_read(&config, argv[1], &e))
        m = mel_new(&config, &e);
    if (!m || measure(m, argv + 2, argc - 2, &r, &e)) {
        fprintf(stderr, "bench_features: %s\n", e.text);
        mel_free(m);
        return 1;
    }
    printf("{\"decode_s\":%.5f,\"mel_s\":%.5f,\"seconds\":%.4f,\"mean\":%.7f,\"square\":%.7f}\n",
           r.decode_s, r.mel_s, r.seconds, r.mean, r.square);
    mel_free(m);
    return 0;
}
