/* spec_augment.h - spans of time and of mel bins hidden at random (SpecAugment, Park et al. 2019),
 * as transformers' Whisper does it while training.
 *
 * Of an axis of n positions, floor(probability * n / length + u) spans are hidden, u uniform in
 * [0, 1), but at least so many as are asked for, at most floor(n / length), and none where n is
 * below the length.  They begin at different positions of 0 .. n - length, each as likely as the
 * others, so all end inside; they may overlap, and so hide somewhat less than the probability.
 * Hidden features are 0, of all bins of a frame or all frames of a bin.  What is hidden is a
 * function of the key and the sizes alone.
 */
#ifndef MEDIA_SPEC_AUGMENT_H
#define MEDIA_SPEC_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

/* The names of config.json ("mask_time_prob", ...); a probability of 0 hides nothing. */
struct spec_augment {
    double time_prob, feature_prob;
    int time_length, feature_length;   /* frames, bins of a span, 1 or more */
    int time_spans, feature_spans;     /* at least so many, where the probability is not 0 */
};

bool spec_augment_is_on(const struct spec_augment *a);

/* Hide spans of `mel` [frames,bins]. */
void spec_augment(const struct spec_augment *a, uint64_t key, float *mel, int frames, int bins);

#endif
