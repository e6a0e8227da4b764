#!/usr/bin/env python3
"""Measure decoding and mel features against librosa and transformers: same clips, processor time of one thread.

    python bench/features.py BENCH_FEATURES [MODEL CLIP...]

BENCH_FEATURES is bench/bench_features.c, built by `make bench`.  By default the models are the
demo's Gemma and Whisper of 80 and 128 bins, whose windows are whole, and the clips are the demo's.  Each side takes the clips one at a time, three times over; the best counts.  The comparison is void, and
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
from transformers import WhisperFeatureExtractor  # noqa: E402

REPEATS = 3
WHISPER = "tests/data/mel_whisper/"   # settings of 30 s windows, of 80 and of 128 bins


def best_of(fn):
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return min(times), result


def settings_of(model):
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = os.path.join(model, name)
        if os.path.exists(path):
            settings = json.load(open(path))
            return settings.get("feature_extractor", settings)
    sys.exit("%s has no settings of a feature extractor" % model)


def extract_gemma(settings, sounds):
    extractor = Gemma4AudioFeatureExtractor(**settings)
    s, out = best_of(lambda: [extractor([x], return_tensors="np") for x in sounds])
    return s, [f["input_features"][0][f["input_features_mask"][0]] for f in out]


def extract_whisper(settings, sounds):
    extractor = WhisperFeatureExtractor(**settings)
    s, out = best_of(lambda: [extractor(x, sampling_rate=16000, return_tensors="np") for x in sounds])
    return s, [f["input_features"][0] for f in out]


def compare(program, model, clips, decode_s, sounds):
    settings = settings_of(model)
    kind = settings.pop("feature_extractor_type", None)
    extract = extract_whisper if kind == "WhisperFeatureExtractor" else extract_gemma
    mel_s, out = extract(settings, sounds)
    values = np.concatenate([f.ravel() for f in out]).astype(np.float64)
    ours = json.loads(subprocess.run([program, model, *clips], check=True, capture_output=True,
                                     text=True).stdout)
    for name, x in (("mean", values.mean()), ("square", (values**2).mean())):
        if abs(ours[name] - x) > 1e-3:
            sys.exit("the comparison is void: %s found %f, expected %f" % (name, ours[name], x))
    print("features       %s: %d clips, %.0f s of sound" % (model, len(clips), ours["seconds"]))
    for name, peer, theirs, mine in (("decode", "librosa", decode_s, ours["decode_s"]),
                                     ("mel", "transformers", mel_s, ours["mel_s"])):
        print("%-14s %-12s %7.3f s   attune %7.3f s %6.0fx real time   ratio %5.1f" %
              (name, peer, theirs, mine, ours["seconds"] / mine, theirs / mine))
    if extract is extract_whisper:
        print("%-14s %-12s %7.2f ms  attune %7.2f ms" % ("a window", "transformers", mel_s / len(clips) * 1e3,
                                                       ours["mel_s"] / len(clips) * 1e3))


def main():
    program, models = sys.argv[1], sys.argv[2:3] or ["demo/model", WHISPER + "v2", WHISPER + "v3"]
    clips = sys.argv[3:] or sorted(glob.glob("demo/out/speaker/train/*.wav"))
    if not clips:
        sys.exit("demo/out/speaker/train has no clips; `make demo` makes them")
    librosa.load(clips[0], sr=16000)
    decode_s, sounds = best_of(lambda: [librosa.load(c, sr=16000)[0] for c in clips])
    for model in models:
        compare(program, model, clips, decode_s, sounds)


if __name__ == "__main__":
    main()
