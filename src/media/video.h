/* video.h - frames of a video, chosen and timed as the reference's video processor does.
 *
 * Of N frames n = min(frames_max, N) are taken: number i of them is frame (int)(i * N / n)
 * (transformers, BaseVideoProcessor.sample_frames; it refuses a video of fewer than frames_max
 * frames, here all of them are taken).  Its time is its number divided by the mean frame rate,
 * also where the rate varies (VideoMetadata.timestamps).  N and the mean rate are those of the
 * packets, as torchcodec counts them, not what the header states.
 */
#ifndef MEDIA_VIDEO_H
#define MEDIA_VIDEO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "media/image.h"

enum {
    VIDEO_FRAMES_MAX = 1024,                   /* that may be asked for */
    VIDEO_SOURCE_FRAMES_MAX = 1 << 22,         /* of a file: a day and a half at 30 a second */
};
#define VIDEO_FILE_BYTES_MAX ((int64_t)4 << 30)
#define VIDEO_PIXELS_MAX ((int64_t)8192 * 4608)         /* of a frame */

struct video {
    struct image *frames;              /* [count] RGB, turned as the container says */
    double *times;                     /* [count] seconds */
    int count;
    int64_t source_frames;             /* N */
    double fps, seconds;
    char codec[24];
};

/* Called with each chosen frame, in order; it may take the pixels away (set im->pixels to NULL).
 * -1 ends with its error. */
typedef int (*video_frame_fn)(void *arg, struct image *im, double time, struct err *e);

/* Decode a file in memory and hand out at most `frames_max` frames, one at a time, so that a long
 * video never lies decoded in memory.  ERR_DATA: no video stream (the message says what streams
 * there are), damaged, truncated, a codec that is not allowed, too many or too large frames.
 * `facts` may be NULL; its frames and times stay NULL, its count is how many were handed out.
 * Containers and codecs are allow-listed: MP4, MOV, WebM, Matroska; H.264, HEVC, VP8, VP9, AV1,
 * MPEG-4, MJPEG.  One thread; other calls may run at the same time. */
int video_decode(const void *bytes, size_t size, int frames_max, video_frame_fn fn, void *arg,
                 struct video *facts, struct err *e) MUST_CHECK;

/* All chosen frames at once. */
int video_read(struct video *v, const void *bytes, size_t size, int frames_max,
               struct err *e) MUST_CHECK;
void video_release(struct video *v);           /* safe on a zeroed struct */

/* Which of the source's frames is number i of the `frames` that are taken. */
int64_t video_frame_number(int64_t source_frames, int frames, int i);

#endif
