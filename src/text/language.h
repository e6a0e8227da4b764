/* language.h - languages by their code and English name, in the order of Whisper's vocabulary. */
#ifndef TEXT_LANGUAGE_H
#define TEXT_LANGUAGE_H

#include "base/err.h"

/* How many there are; a checkpoint knows the first so many of them. */
enum { LANGUAGES_COUNT = 100 };

/* The code ("de") and the English name ("german") of a place in that order, 0 .. count - 1. */
const char *language_code(int index);
const char *language_name(int index);

/* The place of a language that is given in any case by its code, by its code with a region or a
 * script behind it ("pt-BR", "zh_Hant"), or by an English name, of which there may be several
 * ("spanish", "castilian").  Only the first `count` languages are there: another word is ERR_DATA,
 * which names the nearest of them. */
int language_find(const char *word, int count, struct err *e) MUST_CHECK;

#endif
