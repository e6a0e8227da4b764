/* split.c - see split.h. */
#include "media/split.h"

enum {
    WINDOWS_A_SECOND = 10,             /* the quiet part is a tenth of a second */
    SEARCH_SECONDS = 5,                /* before the limit */
};

/* Where to end the piece that starts at x and may have `longest` of the `count` samples there are.
 * Of equally quiet windows the last: pieces become longer, and fewer. */
static int64_t find_cut(const float *x, int64_t count, int rate, int64_t longest)
{
    if (count <= longest)
        return count;
    int64_t window = rate / WINDOWS_A_SECOND, search = (int64_t)rate * SEARCH_SECONDS;
    int64_t step = window / 2 > 0 ? window / 2 : 1;
    int64_t first = longest - search > longest / 2 ? longest - search : longest / 2;
    int64_t best = longest;
    double least = -1;
    for (int64_t at = first; at + window <= longest; at += step) {
        double energy = 0;
        for (int64_t i = at; i < at + window; i++)
            energy += (double)x[i] * (double)x[i];
        if (least < 0 || energy <= least) {
            least = energy;
            best = at + window / 2;
        }
    }
    return best > 0 ? best : longest;
}

int audio_split(const float *x, int64_t count, int rate, int64_t longest, int64_t *cuts, int max)
{
    int pieces = 0;
    cuts[0] = 0;
    if (longest < 1)
        return -1;
    for (int64_t at = 0; at < count; at = cuts[pieces]) {
        if (pieces == max)
            return -1;
        cuts[pieces + 1] = at + find_cut(x + at, count - at, rate, longest);
        pieces++;
    }
    return pieces;
}
