/* suggest.c - see suggest.h.  The distance is optimal string alignment, in three rows. */
#include "base/suggest.h"

#include <string.h>

enum { WORD_MAX = 127, TOO_FAR = 1000 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

int suggest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return TOO_FAR;
    int row[3][WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(up[j] + 1, now[j - 1] + 1), up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], up2[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

const char *suggest_nearest(const char *word, const char *const *words, int n)
{
    size_t len = strlen(word);
    const char *best = NULL;
    int best_distance = len < 4 ? 2 : (int)(len / 3) + 1;   /* must be below this */
    for (int i = 0; i < n; i++) {
        int d = suggest_distance(word, words[i]);
        if (len >= 3 && !strncmp(word, words[i], len))
            d = least(d, 1);
        if (d < best_distance) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}
