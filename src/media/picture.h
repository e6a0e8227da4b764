/* picture.h - pixels to patches: how a model wants pictures and frames.
 *
 * A picture is resized, its proportions kept, to the largest size whose sides are multiples of
 * pool * patch pixels and that has at most `tokens_max` soft tokens, and cut into patches of
 * patch x patch pixels, row by row.  pool x pool patches become one soft token.  For encoder-free
 * models ("merged") these pool x pool patches are one large patch from the start.
 *
 *     J patches a picture    E numbers a patch: rows, columns, then red, green, blue
 */
#ifndef MEDIA_PICTURE_H
#define MEDIA_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "media/image.h"

/* Budgets of soft tokens that Gemma 4 was trained with. */
enum { PICTURE_BUDGETS = 5 };
extern const int picture_budgets[PICTURE_BUDGETS];      /* 70, 140, 280, 560, 1120 */

struct picture_config {
    int patch;                         /* pixels a side, 16 */
    int pool;                          /* patches a side of a soft token, 3 */
    bool is_merged;                    /* E is (pool patch)² 3, and J the soft tokens */
    int tokens_max;                    /* of an image, 280 */
    int frame_tokens_max;              /* of a frame of a video, 70 */
    int frames_max;                    /* of a video, 32 */
};

bool picture_is_budget(int tokens);

/* Gemma 4's own settings. */
void picture_config_gemma4(struct picture_config *c, bool is_merged);

/* Read the settings of a checkpoint folder: "image_processor" and "video_processor" in
 * processor_config.json, else preprocessor_config.json and video_preprocessor_config.json, else
 * Gemma 4's own.  Settings that would change the pixels and cannot be honoured (a mean, another
 * filter) are errors (ERR_USAGE) that name the key. */
int picture_config_read(struct picture_config *c, const char *dir, bool is_merged,
                        struct err *e) MUST_CHECK;

/* Pixels a picture is resized to.  When one side is more than tokens_max times the other, the
 * proportions are lost: one soft token by tokens_max.  ERR_DATA when no size fits. */
int picture_size(const struct picture_config *c, int tokens_max, int width, int height,
                 int *to_width, int *to_height, struct err *e) MUST_CHECK;

/* A picture as a model sees it. */
struct picture {
    uint8_t *patches;                  /* [J,E] levels 0 .. 255 */
    int across, down;                  /* patches: J = across * down; patch j is at
                                          x = j % across, y = j / across */
    int soft_tokens;
};

/* Resize and cut.  The caller releases.  Thread-safe. */
int picture_make(struct picture *p, const struct picture_config *c, int tokens_max,
                 const struct image *im, struct err *e) MUST_CHECK;
void picture_release(struct picture *p);            /* safe on a zeroed struct */

int picture_patch_numbers(const struct picture_config *c);          /* E */
/* J of a picture with so many soft tokens. */
int picture_patches(const struct picture_config *c, int soft_tokens);

/* The patches put together again, for people to look at. */
void picture_to_image(struct image *im, const struct picture *p, const struct picture_config *c);

#endif
