/* container.h - is a file of sound or video as long as its own structure says?
 *
 * FFmpeg makes do with what is there: a WAV whose samples end early is a shorter WAV to it, and the
 * cut last page of an Ogg file is dropped, as is the cut last cluster of a WebM.  For training that
 * is wrong: the text says more than the sound.  So the outermost structure is walked once, which
 * touches a few bytes.
 */
#ifndef MEDIA_CONTAINER_H
#define MEDIA_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

/* Does the file end inside a chunk, page, box or element?  Known are WAV, AIFF, Ogg, MP4 (MOV) and
 * Matroska (WebM); of anything else, and of sizes that mean "written as a stream, length unknown",
 * false. */
bool container_is_cut(const void *bytes, size_t size);

#endif
