/* tokenizer.h - text to token ids and back, as a checkpoint's tokenizer.json says.
 *
 *     struct tokenizer *t = tokenizer_open("path/to/checkpoint", e);
 *     struct ids ids = IDS_INIT;
 *     if (tokenizer_encode(t, text, strlen(text), &ids, e)) ...
 *     for (int i = 0; i < ids.count; i++) use(ids.at[i]);
 *     ids_release(&ids);
 *     tokenizer_free(t);
 *
 * The ids are those of the `tokenizers` library.  Known are Gemma's tokenizers (BPE over the whole
 * text with spaces turned into U+2581, byte fallback) and Whisper's (the text cut into words by a
 * regular expression, byte-level BPE of each), with added tokens.  A tokenizer.json with a part or
 * an option that would change ids and is not known is refused by name.  No post-processor is
 * applied: who wants <bos> adds it.
 *
 * A tokenizer does not change after tokenizer_open: any number of threads may use it.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
    TOKENIZER_TEXT_MAX = 16 << 20,       /* bytes of one text */
    TOKENIZER_IDS_MAX = 128 << 20,       /* ids that one struct ids may hold */
    TOKENIZER_VOCAB_MAX = 4 << 20,       /* pieces in a vocabulary */
    TOKENIZER_PIECE_MAX = 4096,          /* bytes of a piece or an added token */
};

/* Token ids, growing up to TOKENIZER_IDS_MAX.  All zero is an empty one. */
struct ids {
    int32_t *at;                         /* count ids; owned */
    int count, room;
};

#define IDS_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

/* Append one id; fails only beyond TOKENIZER_IDS_MAX. */
int ids_push(struct ids *ids, int32_t id, struct err *e) MUST_CHECK;

/* Forget the ids, keep the memory. */
void ids_clear(struct ids *ids);

/* Free the memory; `ids` is empty and usable again. */
void ids_release(struct ids *ids);

struct tokenizer;

/* Read tokenizer.json, or the tokenizer.json in a checkpoint folder; a folder without one may have
 * vocab.json and merges.txt, of a byte-level tokenizer.  NULL on failure; the text names the file
 * and the part of it that is damaged (ERR_DATA) or not known (ERR_USAGE). */
struct tokenizer *tokenizer_open(const char *dir_or_file, struct err *e) MUST_CHECK;

/* The same from the bytes of a tokenizer.json; `name` stands for it in messages. */
struct tokenizer *tokenizer_parse(const char *json, size_t size, const char *name,
                                  struct err *e) MUST_CHECK;

void tokenizer_free(struct tokenizer *t);

/* Append the ids of `size` bytes of UTF-8 text to `out`.  Added tokens in the text, special ones
 * too, become their ids, as in the `tokenizers` library.  Fails on text that is not UTF-8
 * (ERR_DATA, with the offset of the first bad byte) and beyond the limits; `out` then holds
 * what it held before. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, struct ids *out,
                     struct err *e) MUST_CHECK;

/* The same, and appends to `ends`, for each id, the offset in `text` after its last byte (an id
 * of byte fallback ends with its own byte, a byte-level one maybe within a character).  `ends`
 * grows in step with `out`. */
int tokenizer_encode_ends(const struct tokenizer *t, const char *text, size_t size, struct ids *out,
                          struct ids *ends, struct err *e) MUST_CHECK;

/* The same as tokenizer_encode, but the special tokens are plain text: what a user wrote cannot
 * become a control token.  Added tokens that are not special are still recognised. */
int tokenizer_encode_plain(const struct tokenizer *t, const char *text, size_t size,
                           struct ids *out, struct err *e) MUST_CHECK;

/* Append the text of `count` ids to `out`, which the caller initialised with a maximum; beyond it
 * this fails.  With skip_special the special tokens give nothing, nor do added tokens that are a
 * time (<|1.24|>, which Whisper's tokenizer drops); ids without a piece never do.  If the bytes of
 * a run of byte fallback are no UTF-8, each becomes U+FFFD; of byte-level pieces, each beginning of
 * a character that does not go on.  But for the times this is as in the `tokenizers` library. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                     struct buf *out, struct err *e) MUST_CHECK;

/* The id of a piece or an added token, given literally; -1 when there is none. */
int32_t tokenizer_id(const struct tokenizer *t, const char *piece);

/* The literal text of an id (with U+2581 or U+0120 for space), owned by `t`; NULL: none. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id);

/* Is the id a special token (<bos>, <|turn>, ...)? */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* The first special token written out in `text`, as its id; -1 when there is none. */
int32_t tokenizer_find_special(const struct tokenizer *t, const char *text, size_t size);

/* One more than the highest id. */
int tokenizer_vocab_size(const struct tokenizer *t);

#endif
