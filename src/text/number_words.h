/* number_words.h - the English words that numbers are made of. */
#ifndef TEXT_NUMBER_WORDS_H
#define TEXT_NUMBER_WORDS_H

#include <stddef.h>
#include <stdint.h>

enum number_kind {
    NUMBER_NONE,                         /* any other word */
    NUMBER_ZERO,                         /* "zero", "oh", "o" */
    NUMBER_ONE,
    NUMBER_ONES, /* "one" .. "nineteen"; "sixes", "third", with a suffix */
    NUMBER_TEN,
    NUMBER_TENS, /* "twenty" .. "ninety"; "sixties", "thirtieth" */
    NUMBER_MULTIPLIER,
    NUMBER_MULTIPLIERS, /* "hundred", "million"; "millions", "millionth" */
    NUMBER_SIGN,                         /* "minus", "plus": a symbol in front of what follows */
    NUMBER_CURRENCY,                     /* "dollar", "cents": in front of what precedes */
    NUMBER_PER,                          /* of "per cent" */
    NUMBER_PERCENT,
    NUMBER_AND,
    NUMBER_DOUBLE,
    NUMBER_TRIPLE,
    NUMBER_POINT,
};

struct number_word {
    enum number_kind kind;
    int value;                           /* of ones and tens; of multipliers the zeros: 10^value */
    const char *suffix;                  /* "s", "st", "nd", "rd", "th"; "" */
    uint32_t symbol;                     /* of signs and currencies */
};

/* What a word means among numbers. */
struct number_word number_word(const uint32_t *word, size_t size);

#endif
