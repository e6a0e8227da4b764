/* suggest.h - the known word nearest to a misspelt one. */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

/* Letters to insert, delete, change or swap with a neighbour to turn `a` into `b`.  Words longer
 * than 127 bytes are too far from everything. */
int suggest_distance(const char *a, const char *b);

/* The word of `words[0..n)` nearest to `word`, or NULL when none is near: a third of the letters
 * may differ, and a word that begins with all of `word` (three letters or more) is near too. */
const char *suggest_nearest(const char *word, const char *const *words, int n);

#endif
