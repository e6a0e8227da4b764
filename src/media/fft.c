/* fft.c - see fft.h. */
#include "media/fft.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum { STAGES_MAX = 12 };          /* 2^11 = FFT_MAX / 2 */

struct fft {
    int n;
    double *cos, *sin;             /* [N] of 2 pi k / N */
    int radix[STAGES_MAX];         /* their product is N / 2 */
    int stages;
};

/* A signal of complex numbers on its way from one stage to the next. */
struct line {
    double *re, *im;
};

bool fft_is_size(int n)
{
    if (n < 4 || n > FFT_MAX || n % 2)
        return false;
    for (int radix = 2; radix <= 5; radix++)
        while (n % radix == 0)
            n /= radix;
    return n == 1;
}

struct fft *fft_new(int n)
{
    assert(fft_is_size(n));
    struct fft *f = xcalloc(1, sizeof *f);
    f->n = n;
    f->cos = xcalloc((size_t)n, sizeof *f->cos);
    f->sin = xcalloc((size_t)n, sizeof *f->sin);
    for (int k = 0; k < n; k++) {
        f->cos[k] = cos(2 * M_PI * k / n);
        f->sin[k] = sin(2 * M_PI * k / n);
    }
    /* The widest first: the first stage has no neighbours to work on side by side. */
    int rest = n / 2;
    for (int radix = 5; radix >= 2; radix--)
        for (; radix != 4 && rest % radix == 0; rest /= radix)
            f->radix[f->stages++] = radix;
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

/* ----------------------------------------------------------------- stages -- */

/* A stage does h butterflies of s neighbours each out of x into y: of the numbers at s (p + h j),
 * j below the radix, the transform times W^(j p s), W = exp(-4 pi i / N), to s (radix p + j). */

static void stage2(const struct fft *f, int h, int s, struct line x, struct line y)
{
    for (int p = 0; p < h; p++) {
        double wr = f->cos[2 * p * s], wi = -f->sin[2 * p * s];
        const double *restrict ar = x.re + s * p, *restrict ai = x.im + s * p;
        const double *restrict br = x.re + s * (p + h), *restrict bi = x.im + s * (p + h);
        double *restrict cr = y.re + 2 * s * p, *restrict ci = y.im + 2 * s * p;
        for (int q = 0; q < s; q++) {
            double dr = ar[q] - br[q], di = ai[q] - bi[q];
            cr[q] = ar[q] + br[q];
            ci[q] = ai[q] + bi[q];
            cr[q + s] = dr * wr - di * wi;
            ci[q + s] = dr * wi + di * wr;
        }
    }
}

static void stage3(const struct fft *f, int h, int s, struct line x, struct line y)
{
    const double sine = sqrt(0.75);
    for (int p = 0; p < h; p++) {
        const double *restrict xr = x.re + s * p, *restrict xi = x.im + s * p;
        double *restrict yr = y.re + 3 * s * p, *restrict yi = y.im + 3 * s * p;
        double c1 = f->cos[2 * p * s], s1 = f->sin[2 * p * s];
        double c2 = f->cos[4 * p * s], s2 = f->sin[4 * p * s];
        int hs = h * s;
        for (int q = 0; q < s; q++) {
            double tr = xr[q + hs] + xr[q + 2 * hs], ti = xi[q + hs] + xi[q + 2 * hs];
            double dr = sine * (xr[q + hs] - xr[q + 2 * hs]);
            double di = sine * (xi[q + hs] - xi[q + 2 * hs]);
            double mr = xr[q] - tr / 2, mi = xi[q] - ti / 2;
            yr[q] = xr[q] + tr;
            yi[q] = xi[q] + ti;
            yr[q + s] = (mr + di) * c1 + (mi - dr) * s1;
            yi[q + s] = (mi - dr) * c1 - (mr + di) * s1;
            yr[q + 2 * s] = (mr - di) * c2 + (mi + dr) * s2;
            yi[q + 2 * s] = (mi + dr) * c2 - (mr - di) * s2;
        }
    }
}

/* Neighbour q of a butterfly of five, before the factors: out [5] pairs of real and imaginary. */
static inline void five(const double *restrict xr, const double *restrict xi, int hs, int q,
                        double out[10])
{
    /* cos and sin of 72 and 144 degrees */
    const double c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;
    const double s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;
    double tr = xr[q + hs] + xr[q + 4 * hs], ti = xi[q + hs] + xi[q + 4 * hs];
    double ur = xr[q + 2 * hs] + xr[q + 3 * hs], ui = xi[q + 2 * hs] + xi[q + 3 * hs];
    double dr = xr[q + hs] - xr[q + 4 * hs], di = xi[q + hs] - xi[q + 4 * hs];
    double er = xr[q + 2 * hs] - xr[q + 3 * hs], ei = xi[q + 2 * hs] - xi[q + 3 * hs];
    double ar = xr[q] + c1 * tr + c2 * ur, ai = xi[q] + c1 * ti + c2 * ui;
    double br = xr[q] + c2 * tr + c1 * ur, bi = xi[q] + c2 * ti + c1 * ui;
    double fr = s1 * dr + s2 * er, fi = s1 * di + s2 * ei;
    double gr = s2 * dr - s1 * er, gi = s2 * di - s1 * ei;
    out[0] = xr[q] + tr + ur;
    out[1] = xi[q] + ti + ui;
    out[2] = ar + fi;
    out[3] = ai - fr;
    out[4] = br + gi;
    out[5] = bi - gr;
    out[6] = br - gi;
    out[7] = bi + gr;
    out[8] = ar - fi;
    out[9] = ai + fr;
}

static void stage5(const struct fft *f, int h, int s, struct line x, struct line y)
{
    for (int p = 0; p < h; p++) {
        const double *restrict xr = x.re + s * p, *restrict xi = x.im + s * p;
        double *restrict yr = y.re + 5 * s * p, *restrict yi = y.im + 5 * s * p;
        double c[5], d[5];
        for (int j = 0; j < 5; j++) {
            c[j] = f->cos[2 * p * s * j];
            d[j] = f->sin[2 * p * s * j];
        }
        for (int q = 0; q < s; q++) {
            double z[10];
            five(xr, xi, h * s, q, z);
            for (int j = 0; j < 5; j++) {
                yr[q + j * s] = z[2 * j] * c[j] + z[2 * j + 1] * d[j];
                yi[q + j * s] = z[2 * j + 1] * c[j] - z[2 * j] * d[j];
            }
        }
    }
}

/* --------------------------------------------------------------- the whole -- */

void fft_powers(const struct fft *f, const double *x, double *out, double *work)
{
    int m = f->n / 2;
    struct line a = {work, work + m}, b = {work + 2 * m, work + 3 * m};
    for (int i = 0; i < m; i++) {
        a.re[i] = x[2 * i];
        a.im[i] = x[2 * i + 1];
    }
    for (int i = 0, h = m, s = 1; i < f->stages; s *= f->radix[i++]) {
        h /= f->radix[i];
        if (f->radix[i] == 2)
            stage2(f, h, s, a, b);
        else if (f->radix[i] == 3)
            stage3(f, h, s, a, b);
        else
            stage5(f, h, s, a, b);
        struct line old = a;
        a = b;
        b = old;
    }
    out[0] = (a.re[0] + a.im[0]) * (a.re[0] + a.im[0]);
    out[m] = (a.re[0] - a.im[0]) * (a.re[0] - a.im[0]);
    for (int k = 1; k < m; k++) {
        double er = (a.re[k] + a.re[m - k]) / 2, ei = (a.im[k] - a.im[m - k]) / 2;
        double sr = (a.im[k] + a.im[m - k]) / 2, si = (a.re[m - k] - a.re[k]) / 2;
        double re = er + f->cos[k] * sr + f->sin[k] * si;
        double im = ei + f->cos[k] * si - f->sin[k] * sr;
        out[k] = re * re + im * im;
    }
}

void fft_magnitudes(const struct fft *f, const double *x, double *out, double *work)
{
    fft_powers(f, x, out, work);
    for (int k = 0; k <= f->n / 2; k++)
        out[k] = sqrt(out[k]);
}
