#!/usr/bin/env python3
"""Measure decoding and mel features against librosa and transformers: same clips, processor time of one thread.

    python bench/features.py BENCH_FEATURES [MODEL CLIP...]

BENCH_FEATURES is bench/bench_features.c, built by `make bench`.  By default the model and the clips are the
demo's.  Each side takes the clips one at a time, three times over; the best counts.  The comparison is void, and
the exit code 1, when the features' mean or mean square differ by more than 1e-3.
"""
import glob
import json
import os
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import librosa  # noqa: E402
import numpy as np  # noqa: E402
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor  # noqa: E402

REPEATS = 3


def best_of(fn):
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return min(times), result


def main():
    program, model = sys.argv[1], (sys.argv + ["demo/model"])[2]
    clips = sys.argv[3:] or sorted(glob.glob("demo/out/speaker/train/*.wav"))
    if not clips:
        sys.exit("demo/out/speaker/train has no clips; `make demo` makes them")
    settings = json.load(open(os.path.join(model, "processor_config.json")))["feature_extractor"]
    settings.pop("feature_extractor_type", None)
    extractor = Gemma4AudioFeatureExtractor(**settings)
    librosa.load(clips[0], sr=16000)
    decode_s, sounds = best_of(lambda: [librosa.load(c, sr=16000)[0] for c in clips])
    mel_s, out = best_of(lambda: [extractor([x], return_tensors="np") for x in sounds])
    values = np.concatenate([f["input_features"][0][f["input_features_mask"][0]].ravel() for f in out])
    values = values.astype(np.float64)
    ours = json.loads(subprocess.run([program, model, *clips], check=True, capture_output=True,
                                     text=True).stdout)
    for name, x in (("mean", values.mean()), ("square", (values**2).mean())):
        if abs(ours[name] - x) > 1e-3:
            sys.exit("the comparison is void: %s found %f, expected %f" % (name, ours[name], x))
    print("features       %d clips, %.0f s of sound" % (len(clips), ours["seconds"]))
    for name, peer, theirs, mine in (("decode", "librosa", decode_s, ours["decode_s"]),
                                     ("mel", "transformers", mel_s, ours["mel_s"])):
        print("%-14s %-12s %7.3f s   attune %7.3f s %6.0fx real time   ratio %5.1f" %
              (name, peer, theirs, mine, ours["seconds"] / mine, theirs / mine))


if __name__ == "__main__":
    main()
