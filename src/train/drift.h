/* drift.h - the files that a run learns from, as they were when it began: data.jsonl in its
 * folder.
 *
 *     {"uri":"gs://b/train-0000.tar","size":104857600,"version":"1700000000000000","crc32c":...}
 *
 * The manifest's hash tells that the data are others; this list tells which of them.
 */
#ifndef TRAIN_DRIFT_H
#define TRAIN_DRIFT_H

#include "base/buf.h"
#include "base/err.h"
#include "data/manifest.h"

int drift_write(const char *path, const struct manifest *m, struct err *e) MUST_CHECK;

/* Append what differs from a list that was written: "gs://b/x.tar is new, gs://b/y.tar is gone,
 * gs://b/z.tar is another version (..., was ...)", the first few of them.  Appends nothing when
 * there is no such list, or when it does not tell. */
void drift_describe(const char *path, const struct manifest *m, struct buf *out);

#endif
