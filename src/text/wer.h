/* wer.h - word and character error rate, by edit distance.
 *
 * Rate = (substitutions + deletions + insertions) / words of the reference, over all clips together
 * (the sum of errors by the sum of words, not the mean of rates).  Words are separated by white
 * space; characters are Unicode code points, spaces counted but for those at both ends, as jiwer
 * does.  Texts are compared as they are: normalise them before.
 *
 *     struct error_count wer = {0}, cer = {0};
 *     for each clip:
 *         wer_count(&wer, reference, hypothesis, e);
 *         cer_count(&cer, reference, hypothesis, e);
 *     printf("WER %.1f %%", 100 * error_rate(&wer));
 */
#ifndef TEXT_WER_H
#define TEXT_WER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;

enum {
    WER_TOKENS_MAX = 20000,              /* words or characters of one text */
    WER_CELLS_MAX = 64 << 20,            /* of an alignment: differing words, multiplied */
};

struct error_count {
    int64_t hits, substitutions, deletions, insertions;
    int64_t reference;                   /* words (characters) of the references */
};

/* Errors by reference length: 0 for two empty texts, and infinite for words where the reference
 * has none. */
double error_rate(const struct error_count *c);

/* *sum += *c. */
void error_count_add(struct error_count *sum, const struct error_count *c);

/* Add the errors of one pair, by words or by characters.  Fails beyond WER_TOKENS_MAX. */
int wer_count(struct error_count *c, const char *reference, const char *hypothesis,
              struct err *e) MUST_CHECK;
int cer_count(struct error_count *c, const char *reference, const char *hypothesis,
              struct err *e) MUST_CHECK;

enum edit_kind { EDIT_EQUAL, EDIT_SUBSTITUTE, EDIT_DELETE, EDIT_INSERT };

/* One step of an alignment of words. */
struct edit {
    enum edit_kind kind;
    int reference, hypothesis;           /* index of the word; -1 where there is none */
};

/* An alignment with the fewest errors. */
struct alignment {
    struct edit *edits;                  /* [count]; owned */
    int count;
};

/* Align two texts word by word; `a` is empty before and after an error. */
int wer_align(struct alignment *a, const char *reference, const char *hypothesis,
              struct err *e) MUST_CHECK;
void alignment_release(struct alignment *a);

/* Append one line that shows the differences: equal words as they are, [-deleted-], {+inserted+},
 * [-old-]{+new+}.  With `color` in terminal colours (red and green) instead of brackets. */
int wer_diff(const char *reference, const char *hypothesis, bool color, struct buf *out,
             struct err *e) MUST_CHECK;

#endif
