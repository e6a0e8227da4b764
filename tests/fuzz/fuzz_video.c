/* fuzz_video.c - any bytes as a video: at most the frames asked for, in order, or an error. */
#include "media/video.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAMES = 4 };

struct seen {
    int count;
    double time;
};

static int look(void *arg, struct image *im, double time, struct err *e)
{
    (void)e;
    struct seen *s = arg;
    assert(im->pixels && im->width > 0 && im->height > 0);
    assert((int64_t)im->width * im->height <= VIDEO_PIXELS_MAX);
    assert(time >= 0 && (!s->count || time > s->time));
    s->time = time;
    s->count++;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct seen seen = {0};
    struct video facts;
    int failed = video_decode(data, size, FRAMES, look, &seen, &facts, &e);
    assert((failed != 0) == (e.kind != ERR_NONE));
    assert(facts.count == seen.count && seen.count <= FRAMES);
    if (failed)
        assert(e.kind == ERR_DATA && e.text[0]);
    else
        assert(seen.count > 0 && facts.source_frames >= seen.count && facts.codec[0]);
    return 0;
}
