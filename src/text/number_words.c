/* number_words.c - see number_words.h. */
#include "text/number_words.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WORD_SIZE = 24 };

static const char *const ones[] = {
    NULL,     "one",     "two",       "three",    "four",     "five",    "six",
    "seven",  "eight",   "nine",      "ten",      "eleven",   "twelve",  "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
};
static const char *const tens[] = {
    NULL, NULL, "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
};
static const struct {
    const char *name;
    int zeros;
} multipliers[] = {
    {"hundred", 2},      {"thousand", 3},     {"million", 6},     {"billion", 9},
    {"trillion", 12},    {"quadrillion", 15}, {"quintillion", 18}, {"sextillion", 21},
    {"septillion", 24},  {"octillion", 27},   {"nonillion", 30},  {"decillion", 33},
};

/* Words that follow no rule. */
static const struct {
    const char *name;
    struct number_word is;
} others[] = {
    {"o", {NUMBER_ZERO, 0, "", 0}},
    {"oh", {NUMBER_ZERO, 0, "", 0}},
    {"zero", {NUMBER_ZERO, 0, "", 0}},
    {"sixes", {NUMBER_ONES, 6, "s", 0}},
    {"zeroth", {NUMBER_ONES, 0, "th", 0}},
    {"first", {NUMBER_ONES, 1, "st", 0}},
    {"second", {NUMBER_ONES, 2, "nd", 0}},
    {"third", {NUMBER_ONES, 3, "rd", 0}},
    {"fifth", {NUMBER_ONES, 5, "th", 0}},
    {"twelfth", {NUMBER_ONES, 12, "th", 0}},
    {"minus", {NUMBER_SIGN, 0, "", '-'}},
    {"negative", {NUMBER_SIGN, 0, "", '-'}},
    {"plus", {NUMBER_SIGN, 0, "", '+'}},
    {"positive", {NUMBER_SIGN, 0, "", '+'}},
    {"pound", {NUMBER_CURRENCY, 0, "", 0xa3}},
    {"pounds", {NUMBER_CURRENCY, 0, "", 0xa3}},
    {"euro", {NUMBER_CURRENCY, 0, "", 0x20ac}},
    {"euros", {NUMBER_CURRENCY, 0, "", 0x20ac}},
    {"dollar", {NUMBER_CURRENCY, 0, "", '$'}},
    {"dollars", {NUMBER_CURRENCY, 0, "", '$'}},
    {"cent", {NUMBER_CURRENCY, 0, "", 0xa2}},
    {"cents", {NUMBER_CURRENCY, 0, "", 0xa2}},
    {"per", {NUMBER_PER, 0, "", 0}},
    {"percent", {NUMBER_PERCENT, 0, "", 0}},
    {"and", {NUMBER_AND, 0, "", 0}},
    {"double", {NUMBER_DOUBLE, 0, "", 0}},
    {"triple", {NUMBER_TRIPLE, 0, "", 0}},
    {"point", {NUMBER_POINT, 0, "", 0}},
};

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static bool is_joined(const char *word, const char *stem, size_t size, const char *end)
{
    return strncmp(word, stem, size) == 0 && strcmp(word + size, end) == 0;
}

/* "six", "fours", "fourth", "eighth"; the ordinals are made with "th" throughout ("nineth"), but
 * those among `others`. */
static struct number_word find_one(const char *word)
{
    for (int i = 1; i < COUNT(ones); i++) {
        const char *name = ones[i];
        size_t n = strlen(name);
        bool has_ordinal = i > 3 && i != 5 && i != 12;
        if (!strcmp(word, name))
            return (struct number_word){NUMBER_ONE, i, "", 0};
        if (i != 6 && is_joined(word, name, n, "s"))
            return (struct number_word){NUMBER_ONES, i, "s", 0};
        if (has_ordinal && is_joined(word, name, n, name[n - 1] == 't' ? "h" : "th"))
            return (struct number_word){NUMBER_ONES, i, "th", 0};
    }
    return (struct number_word){NUMBER_NONE, 0, "", 0};
}

static struct number_word find_ten(const char *word)
{
    for (int i = 2; i < COUNT(tens); i++) {
        size_t stem = strlen(tens[i]) - 1;           /* without its y */
        if (!strcmp(word, tens[i]))
            return (struct number_word){NUMBER_TEN, 10 * i, "", 0};
        if (is_joined(word, tens[i], stem, "ies"))
            return (struct number_word){NUMBER_TENS, 10 * i, "s", 0};
        if (is_joined(word, tens[i], stem, "ieth"))
            return (struct number_word){NUMBER_TENS, 10 * i, "th", 0};
    }
    return (struct number_word){NUMBER_NONE, 0, "", 0};
}

static struct number_word find_multiplier(const char *word)
{
    for (int i = 0; i < COUNT(multipliers); i++) {
        const char *name = multipliers[i].name;
        int zeros = multipliers[i].zeros;
        if (!strcmp(word, name))
            return (struct number_word){NUMBER_MULTIPLIER, zeros, "", 0};
        if (is_joined(word, name, strlen(name), "s"))
            return (struct number_word){NUMBER_MULTIPLIERS, zeros, "s", 0};
        if (is_joined(word, name, strlen(name), "th"))
            return (struct number_word){NUMBER_MULTIPLIERS, zeros, "th", 0};
    }
    return (struct number_word){NUMBER_NONE, 0, "", 0};
}

struct number_word number_word(const uint32_t *word, size_t size)
{
    char s[WORD_SIZE] = "";
    if (size >= sizeof s)
        return (struct number_word){NUMBER_NONE, 0, "", 0};
    for (size_t i = 0; i < size; i++) {
        if (word[i] < 'a' || word[i] > 'z')
            return (struct number_word){NUMBER_NONE, 0, "", 0};
        s[i] = (char)word[i];
    }
    for (int i = 0; i < COUNT(others); i++)
        if (!strcmp(s, others[i].name))
            return others[i].is;
    struct number_word w = find_one(s);
    if (!w.kind)
        w = find_ten(s);
    return w.kind ? w : find_multiplier(s);
}
