/* language.c - see language.h. */
#include "text/language.h"

#include "base/suggest.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    WORD_MAX = 40,             /* letters of a code or a name */
    ALIASES_MAX = 32,
};

/* The order is that of the tokens in the vocabulary of large-v3; older ones lack the last. */
static const struct {
    const char *code, *name;
} languages[LANGUAGES_COUNT] = {
    {"en", "english"},     {"zh", "chinese"},    {"de", "german"},      {"es", "spanish"},
    {"ru", "russian"},     {"ko", "korean"},     {"fr", "french"},      {"ja", "japanese"},
    {"pt", "portuguese"},  {"tr", "turkish"},    {"pl", "polish"},      {"ca", "catalan"},
    {"nl", "dutch"},       {"ar", "arabic"},     {"sv", "swedish"},     {"it", "italian"},
    {"id", "indonesian"},  {"hi", "hindi"},      {"fi", "finnish"},     {"vi", "vietnamese"},
    {"he", "hebrew"},      {"uk", "ukrainian"},  {"el", "greek"},       {"ms", "malay"},
    {"cs", "czech"},       {"ro", "romanian"},   {"da", "danish"},      {"hu", "hungarian"},
    {"ta", "tamil"},       {"no", "norwegian"},  {"th", "thai"},        {"ur", "urdu"},
    {"hr", "croatian"},    {"bg", "bulgarian"},  {"lt", "lithuanian"},  {"la", "latin"},
    {"mi", "maori"},       {"ml", "malayalam"},  {"cy", "welsh"},       {"sk", "slovak"},
    {"te", "telugu"},      {"fa", "persian"},    {"lv", "latvian"},     {"bn", "bengali"},
    {"sr", "serbian"},     {"az", "azerbaijani"}, {"sl", "slovenian"},  {"kn", "kannada"},
    {"et", "estonian"},    {"mk", "macedonian"}, {"br", "breton"},      {"eu", "basque"},
    {"is", "icelandic"},   {"hy", "armenian"},   {"ne", "nepali"},      {"mn", "mongolian"},
    {"bs", "bosnian"},     {"kk", "kazakh"},     {"sq", "albanian"},    {"sw", "swahili"},
    {"gl", "galician"},    {"mr", "marathi"},    {"pa", "punjabi"},     {"si", "sinhala"},
    {"km", "khmer"},       {"sn", "shona"},      {"yo", "yoruba"},      {"so", "somali"},
    {"af", "afrikaans"},   {"oc", "occitan"},    {"ka", "georgian"},    {"be", "belarusian"},
    {"tg", "tajik"},       {"sd", "sindhi"},     {"gu", "gujarati"},    {"am", "amharic"},
    {"yi", "yiddish"},     {"lo", "lao"},        {"uz", "uzbek"},       {"fo", "faroese"},
    {"ht", "haitian creole"}, {"ps", "pashto"},  {"tk", "turkmen"},     {"nn", "nynorsk"},
    {"mt", "maltese"},     {"sa", "sanskrit"},   {"lb", "luxembourgish"}, {"my", "myanmar"},
    {"bo", "tibetan"},     {"tl", "tagalog"},    {"mg", "malagasy"},    {"as", "assamese"},
    {"tt", "tatar"},       {"haw", "hawaiian"},  {"ln", "lingala"},     {"ha", "hausa"},
    {"ba", "bashkir"},     {"jw", "javanese"},   {"su", "sundanese"},   {"yue", "cantonese"},
};

/* Other names, and other codes that stand for the same language. */
static const struct {
    const char *word, *code;
} aliases[] = {
    {"burmese", "my"},
    {"valencian", "ca"},
    {"flemish", "nl"},
    {"haitian", "ht"},
    {"letzeburgesch", "lb"},
    {"pushto", "ps"},
    {"panjabi", "pa"},
    {"moldavian", "ro"},
    {"moldovan", "ro"},
    {"sinhalese", "si"},
    {"castilian", "es"},
    {"mandarin", "zh"},
    {"farsi", "fa"},
    {"filipino", "tl"},
    {"bokmal", "no"},
    {"nb", "no"},
    {"jv", "jw"},
    {"iw", "he"},
    {"fil", "tl"},
    {"cmn", "zh"},
};
enum { ALIAS_COUNT = sizeof aliases / sizeof *aliases };

const char *language_code(int index)
{
    assert(index >= 0 && index < LANGUAGES_COUNT);
    return languages[index].code;
}

const char *language_name(int index)
{
    assert(index >= 0 && index < LANGUAGES_COUNT);
    return languages[index].name;
}

static bool is_word(const char *known, const char *word, size_t size)
{
    return strlen(known) == size && memcmp(known, word, size) == 0;
}

/* The place of exactly this lower-case code or name, -1: none. */
static int find_exactly(const char *word, size_t size)
{
    for (int i = 0; i < ALIAS_COUNT; i++)
        if (is_word(aliases[i].word, word, size))
            return find_exactly(aliases[i].code, strlen(aliases[i].code));
    for (int i = 0; i < LANGUAGES_COUNT; i++)
        if (is_word(languages[i].code, word, size) || is_word(languages[i].name, word, size))
            return i;
    return -1;
}

static int find_word(const char *word)
{
    size_t size = strlen(word), code_size = strcspn(word, "-_");
    int index = find_exactly(word, size);

    return index < 0 && code_size <= 3 ? find_exactly(word, code_size) : index;
}

static int not_known(const char *word, const char *lower, int count, struct err *e)
{
    const char *words[2 * LANGUAGES_COUNT + ALIASES_MAX];
    int n = 0;

    for (int i = 0; i < count; i++) {
        words[n++] = languages[i].name;
        words[n++] = languages[i].code;
    }
    for (int i = 0; i < ALIAS_COUNT; i++)
        if (find_word(aliases[i].word) < count)
            words[n++] = aliases[i].word;
    const char *nearest = suggest_nearest(lower, words, n);
    err_set(e, ERR_DATA, "the model has no language '%.40s'", word);
    if (nearest)
        return err_hint(e, "did you mean '%s'?", nearest);
    return err_hint(e, "give a code such as 'de', or an English name such as 'german'");
}

int language_find(const char *word, int count, struct err *e)
{
    char lower[WORD_MAX + 1] = "";
    size_t size = strlen(word);

    assert(count >= 0 && count <= LANGUAGES_COUNT);
    for (size_t i = 0; i < size && i < WORD_MAX; i++)
        lower[i] = (char)tolower((unsigned char)word[i]);
    int index = size <= WORD_MAX ? find_word(lower) : -1;
    return index >= 0 && index < count ? index : not_known(word, lower, count, e);
}
