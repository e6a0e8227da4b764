/* fft.h - magnitudes of the spectrum of a real signal.
 *
 * N real numbers are taken as N/2 complex ones, transformed by a radix-2 Stockham FFT in double
 * precision, and put apart again: X[k] = E[k] + W^k O[k] with E, O the spectra of the even and
 * odd samples and W = exp(-2 pi i / N).
 */
#ifndef MEDIA_FFT_H
#define MEDIA_FFT_H

enum { FFT_MAX = 4096 };

struct fft;                        /* tables for one N; never written after fft_new */

/* N is a power of two in 4 .. FFT_MAX. */
struct fft *fft_new(int n);
void fft_free(struct fft *f);

/* |X[k]| of x [N] for k = 0 .. N/2, into out [N/2 + 1].  `work` holds 2 N numbers; x is kept. */
void fft_magnitudes(const struct fft *f, const double *x, double *out, double *work);

#endif
