/* tokenizer_parts.h - what a tokenizer is made of; for tokenizer*.c only.
 *
 * Encoding: cut out the raw added tokens; normalise what lies between; cut out the normalised
 * added tokens; encode the rest.  A byte-level tokenizer cuts the rest into words, writes their
 * bytes as printable characters (byte_level.h), and encodes each word alone.
 */
#ifndef TEXT_TOKENIZER_PARTS_H
#define TEXT_TOKENIZER_PARTS_H

#include "base/json.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/word_split.h"

enum {
    REPLACES_MAX = 8,          /* replacements in a normaliser or a decoder */
    SPLITS_MAX = 8,            /* expressions that cut a text, one after the other */
};

/* Replace every `from` by `to`; `from` is not empty. */
struct replace {
    char *from, *to;           /* owned */
    size_t from_size, to_size;
};

struct replaces {
    struct replace at[REPLACES_MAX];
    int count;
};

struct tokenizer {
    struct bpe *bpe;
    int vocab_size;                      /* one more than the highest id of pieces and added */

    struct added_token *added;
    size_t added_count;
    const struct added_token **added_by_id;    /* [vocab_size], NULL where there is none */
    struct added_set *raw, *normalized;
    char **patterns;                     /* [added_count] normalised contents; owned */
    size_t normalized_count;             /* tokens in `normalized` */

    struct replaces normalizer;

    bool is_byte_level;                  /* words, written as characters that stand for bytes */
    struct word_split *splits[SPLITS_MAX];    /* each cuts what the ones before left */
    int split_count;
    int prefix_at;                       /* before this one a space is put in front of what does not
                                          * begin with one; -1: nowhere */
    struct byte_level byte_level;

    struct replaces decoder;             /* applied to each piece, then: */
    bool decodes_bytes;                  /* byte pieces become bytes */
    bool decodes_byte_level;             /* ... or: characters become the bytes they stand for */
    bool *is_time;                       /* [vocab_size] an added token like <|1.24|> */
    bool joins_with_spaces;              /* no decoder: pieces with spaces between */
};

/* Text after replacements, and where it came from. */
struct replaced {
    char *text;
    int32_t *map;              /* [size] offset in the original behind the origin of each byte */
    size_t size, room;
};

void replaced_release(struct replaced *r);

/* Apply the replacements to `text`; `out` is overwritten.  `map` is filled if has_map. */
int replaces_apply(const struct replaces *r, const char *text, size_t size, bool has_map,
                   struct replaced *out, struct err *e) MUST_CHECK;

/* Fill an empty tokenizer from the root of a tokenizer.json. */
int tokenizer_read_json(struct tokenizer *t, json_t *root, struct err *e) MUST_CHECK;

/* What the older files of a checkpoint folder say (vocab.json, merges.txt, added_tokens.json,
 * special_tokens_map.json, tokenizer_config.json), written as the root of a tokenizer.json; the
 * caller calls json_decref.  NULL on failure. */
json_t *tokenizer_files_json(const char *dir, struct err *e) MUST_CHECK;

#endif
