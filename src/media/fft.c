/* fft.c - see fft.h. */
#include "media/fft.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

struct fft {
    int n;
    double *cos, *sin;             /* [N/2] of 2 pi k / N */
};

struct fft *fft_new(int n)
{
    assert(n >= 4 && n <= FFT_MAX && (n & (n - 1)) == 0);
    struct fft *f = xmalloc(sizeof *f);
    f->n = n;
    f->cos = xcalloc((size_t)n / 2, sizeof *f->cos);
    f->sin = xcalloc((size_t)n / 2, sizeof *f->sin);
    for (int k = 0; k < n / 2; k++) {
        f->cos[k] = cos(2 * M_PI * k / n);
        f->sin[k] = sin(2 * M_PI * k / n);
    }
    return f;
}

void fft_free(struct fft *f)
{
    if (!f)
        return;
    free(f->cos);
    free(f->sin);
    free(f);
}

/* One stage: h butterflies of s neighbours each, out of (xr, xi) into (yr, yi). */
static void stage(const struct fft *f, int h, int s, const double *restrict xr,
                  const double *restrict xi, double *restrict yr, double *restrict yi)
{
    for (int p = 0; p < h; p++) {
        double wr = f->cos[2 * p * s], wi = -f->sin[2 * p * s];
        const double *ar = xr + s * p, *ai = xi + s * p;
        const double *br = xr + s * (p + h), *bi = xi + s * (p + h);
        double *cr = yr + 2 * s * p, *ci = yi + 2 * s * p;
        for (int q = 0; q < s; q++) {
            double dr = ar[q] - br[q], di = ai[q] - bi[q];
            cr[q] = ar[q] + br[q];
            ci[q] = ai[q] + bi[q];
            cr[q + s] = dr * wr - di * wi;
            ci[q + s] = dr * wi + di * wr;
        }
    }
}

void fft_magnitudes(const struct fft *f, const double *x, double *out, double *work)
{
    int m = f->n / 2;
    double *ar = work, *ai = work + m, *br = work + 2 * m, *bi = work + 3 * m;
    for (int i = 0; i < m; i++) {
        ar[i] = x[2 * i];
        ai[i] = x[2 * i + 1];
    }
    for (int h = m / 2, s = 1; h >= 1; h /= 2, s *= 2) {
        stage(f, h, s, ar, ai, br, bi);
        double *r = ar, *i = ai;
        ar = br, ai = bi;
        br = r, bi = i;
    }
    out[0] = fabs(ar[0] + ai[0]);
    out[m] = fabs(ar[0] - ai[0]);
    for (int k = 1; k < m; k++) {
        double er = (ar[k] + ar[m - k]) / 2, ei = (ai[k] - ai[m - k]) / 2;
        double or = (ai[k] + ai[m - k]) / 2, oi = (ar[m - k] - ar[k]) / 2;
        double re = er + f->cos[k] * or +f->sin[k] * oi;
        double im = ei + f->cos[k] * oi - f->sin[k] * or ;
        out[k] = sqrt(re * re + im * im);
    }
}
