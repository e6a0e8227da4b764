/* fft.h - the spectrum of a real signal: powers and magnitudes.
 *
 * N real numbers are taken as N/2 complex ones, transformed by a Stockham FFT of radix 2, 3 and 5
 * in double precision, and put apart again: X[k] = E[k] + W^k O[k] with E, O the spectra of the
 * even and odd samples and W = exp(-2 pi i / N).
 */
#ifndef MEDIA_FFT_H
#define MEDIA_FFT_H

#include <stdbool.h>

enum { FFT_MAX = 4096 };

struct fft;                        /* tables for one N; never written after fft_new */

/* Whether N is a size: even, in 4 .. FFT_MAX, and without prime factors above 5. */
bool fft_is_size(int n);

struct fft *fft_new(int n);        /* N is a size */
void fft_free(struct fft *f);

/* |X[k]|^2, or |X[k]|, of x [N] for k = 0 .. N/2, into out [N/2 + 1].  `work` holds 2 N numbers;
 * x is kept. */
void fft_powers(const struct fft *f, const double *x, double *out, double *work);
void fft_magnitudes(const struct fft *f, const double *x, double *out, double *work);

#endif
