#!/usr/bin/env python3
"""Measure decoding and resizing of a picture against Pillow and transformers: processor time of one thread.

    python bench/pictures.py BENCH_PICTURES [PICTURE]

BENCH_PICTURES is bench/bench_pictures.c, built by `make bench`.  By default the picture is a JPEG of 12 megapixels
that is made here: waves and noise, 2 MB.  The other side is transformers' load_image (Pillow) and its
Gemma4ImageProcessor (torchvision).  Each does it seven times; the best counts.  The comparison is void, and the
exit code 1, when the levels' mean or mean square differ by more than 0.01 or 1.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import Gemma4ImageProcessor  # noqa: E402
from transformers.image_utils import load_image  # noqa: E402

REPEATS, TOKENS = 7, 280


def make_picture(path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:3000, 0:4000].astype(np.float32)
    levels = rng.normal(128, 6, (3000, 4000, 3)).astype(np.float32)
    for c in range(3):
        for k in range(6):
            levels[..., c] += 20 / (k + 1) * np.sin(x * 0.002 * 2**k + c + k) * np.cos(y * 0.0023 * 2**k - c * k)
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def best_of(fn):
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return min(times), result


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = (sys.argv + [None])[2]
        if not path:
            path = os.path.join(folder, "picture.jpg")
            make_picture(path)
        processor = Gemma4ImageProcessor()
        decode_s, image = best_of(lambda: load_image(path))
        patches_s, out = best_of(lambda: processor(images=image, max_soft_tokens=TOKENS, return_tensors="pt"))
        ours = json.loads(subprocess.run([sys.argv[1], path, str(TOKENS)], check=True, capture_output=True,
                                         text=True).stdout)
    levels = out["pixel_values"][out["image_position_ids"][..., 0] >= 0].double() * 255
    for name, x, limit in (("mean", levels.mean(), 0.01), ("square", (levels**2).mean(), 1)):
        if abs(ours[name] - x) > limit:
            sys.exit("the comparison is void: %s found %f, expected %f" % (name, ours[name], x))
    print("pictures       %d x %d pixels to %d soft tokens" % (*image.size, ours["soft_tokens"]))
    for name, peer, theirs, mine in (("decode", "Pillow", decode_s, ours["decode_s"]),
                                     ("resize", "torchvision", patches_s, ours["patches_s"])):
        print("%-14s %-12s %7.1f ms   attune %7.1f ms   ratio %5.1f" %
              (name, peer, 1e3 * theirs, 1e3 * mine, theirs / mine))


if __name__ == "__main__":
    main()
