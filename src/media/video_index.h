/* video_index.h - which frames a video has, when they are shown, and where decoding can begin.
 *
 * Made by reading all packets once, without decoding: headers of containers state lengths and
 * rates that are estimates, or wrong.
 */
#ifndef MEDIA_VIDEO_INDEX_H
#define MEDIA_VIDEO_INDEX_H

#include <stdint.h>

#include "base/err.h"
#include "media/demux.h"

/* Times are in units of the stream's time_base. */
struct video_index {
    int64_t *times;                     /* [count] ascending; no two are equal */
    int64_t count;
    int64_t *keys;                      /* [key_count] ascending: times of frames that need no
                                           other */
    int64_t key_count;
    double fps;                         /* frames divided by seconds */
    double seconds;                     /* from the first frame's time to the end of the last */
};

/* Read all packets of the stream.  ERR_DATA: none, more than VIDEO_SOURCE_FRAMES_MAX, a packet
 * that cannot be read or has no time.  The demuxer is at its end afterwards. */
int video_index_read(struct video_index *x, struct demux *d, int stream, struct err *e) MUST_CHECK;
void video_index_release(struct video_index *x);        /* safe on a zeroed struct */

/* The time of the last key frame that is shown at `time` or before; AV_NOPTS_VALUE: none. */
int64_t video_index_key(const struct video_index *x, int64_t time);

#endif
