/* fuzz_audio.c - any bytes as a sound file: finite samples within the limits, or an error. */
#include "media/audio.h"

#include <assert.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct audio a;
    struct audio_options o = {.seconds_max = 5};
    int failed = audio_decode(&a, data, size, &o, &e);
    assert((failed != 0) == (e.kind != ERR_NONE));
    if (failed) {
        assert(e.kind == ERR_DATA && e.text[0] && !a.samples);
        return 0;
    }
    assert(a.count >= 0 && a.count <= 6 * AUDIO_RATE && a.codec[0]);
    for (int64_t i = 0; i < a.count; i++)
        assert(isfinite(a.samples[i]));
    audio_release(&a);
    return 0;
}
