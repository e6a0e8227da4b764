/* tokenizer_parts.h - what a tokenizer is made of; for tokenizer.c and tokenizer_json.c only.
 *
 * Encoding: cut out the raw added tokens; normalise what lies between; cut out the normalised
 * added tokens; encode the rest.  A tokenizer that splits the text into words first (Whisper's)
 * would do that right before the last step.
 */
#ifndef TEXT_TOKENIZER_PARTS_H
#define TEXT_TOKENIZER_PARTS_H

#include "base/json.h"
#include "text/added.h"
#include "text/bpe.h"

enum {
    REPLACES_MAX = 8,          /* replacements in a normaliser or a decoder */
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

    struct replaces decoder;             /* applied to each piece, then: */
    bool decodes_bytes;                  /* byte pieces become bytes */
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

#endif
