#!/usr/bin/env python3
"""Measure a LoRA training step against transformers + PEFT: same machine, same minute, same work.

    python bench/train.py [--model DIR] [--data FILE.jsonl] [--batch N] [--threads N] ...

Both sides start from the same adapter (attune writes it, PEFT loads it) and train in float32 on the same
batch again and again: same token ids, same padding (tokens to a multiple of 16, frames to one of 64),
same number of threads, AdamW without decay, gradients clipped to 1.  They take turns, `--rounds` times.
Times are medians over all steps after `--warmup`; preparing data is in neither.  attune's come from
its own metrics.jsonl.  The comparison is void, and the exit code 1, when a loss of one side is farther
than 1e-4 from the other's in the first step, or 1e-2 in any later one.

The memory is the peak of the whole process, libraries included.  "cpu s" is processor time of
all threads in a step: the peer's median; attune's is that of its whole run, start and data included, divided
by the number of steps.
Needs torch, transformers and peft; records need a WAV of one channel and 16 bits in "audio".
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave

RATE, LR = 16000, 1e-4
TOKENS_MULTIPLE, FRAMES_MULTIPLE = 16, 64


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--attune", default="./attune")
    p.add_argument("--model", default="demo/model")
    p.add_argument("--data", default="demo/out/speaker/train.jsonl")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--towers", default="language,audio")
    p.add_argument("--steps", type=int, default=25)
    p.add_argument("--warmup", type=int, default=5)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--peer", help=argparse.SUPPRESS)
    return p.parse_args()


def run(command, threads, check=True):
    """-> stdout, peak resident MB, processor seconds."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads),
               TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_OFFLINE="1")
    p = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if check and p.returncode:
        sys.exit("exit code %d: %s" % (p.returncode, " ".join(command)))
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return out, peak, usage.ru_utime + usage.ru_stime


# ------------------------------------------------------------------- attune --

def attune_train(a, work, name, steps, adapter=None):
    start = ["--adapter", adapter] if adapter else [
        "--lora-rank", str(a.rank), "--lora-alpha", str(2 * a.rank), "--lora-towers", a.towers]
    _, peak, cpu = run([
        a.attune, "train", "--model", a.model, "--train", os.path.join(work, "batch.jsonl"), *start,
        "--steps", str(steps), "--batch", str(a.batch), "--learning-rate", str(LR), "--schedule",
        "constant", "--warmup-steps", "0", "--clip", "1", "--dtype", "f32", "--device", "cpu",
        "--save-every", "100000", "--runs", work, "--name", name, "--quiet"], a.threads)
    rows = [json.loads(line) for line in open(os.path.join(work, name, "metrics.jsonl"))]
    rows = [r for r in rows if "loss" in r]
    # The host is one step ahead of the arithmetic, so the last step's own seconds are no step's.
    return {"losses": [r["loss"] for r in rows], "seconds": [r["seconds"] for r in rows[:-1]],
            "cpu_s": cpu / steps, "peak_mb": peak}


# --------------------------------------------------------------------- peer --

def read_wav(path):
    import numpy as np
    with wave.open(path) as w:
        if (w.getnchannels(), w.getsampwidth()) != (1, 2):
            sys.exit("%s: found %s, expected one channel of 16 bits" % (path, w.getparams()))
        return np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float32), w.getframerate()


def write_16k(source, path):
    """A copy at 16 kHz, so that no resampler can make a difference; straight lines are good enough."""
    import numpy as np
    x, rate = read_wav(source)
    x = np.interp(np.arange(int(len(x) * RATE / rate)) * rate / RATE, np.arange(len(x)), x)
    with wave.open(path, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(np.round(x).astype("<i2").tobytes())


def padded(n, multiple):
    return (n + multiple - 1) // multiple * multiple


def peer_batch(model, records):
    """The batch as attune makes it: records hold ids and supervised_tokens of `attune score --ids`."""
    import torch
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    settings = json.load(open(os.path.join(model, "processor_config.json")))["feature_extractor"]
    settings.pop("feature_extractor_type", None)
    extractor = Gemma4AudioFeatureExtractor(**settings)
    f = extractor([read_wav(r["audio"])[0] / 32768 for r in records], return_tensors="pt")
    features, valid = f["input_features"], f["input_features_mask"]
    more = padded(features.shape[1], FRAMES_MULTIPLE) - features.shape[1]
    features = torch.nn.functional.pad(features, (0, 0, 0, more))
    valid = torch.nn.functional.pad(valid, (0, more))
    length = padded(max(len(r["input_ids"]) for r in records), TOKENS_MULTIPLE)
    ids = torch.zeros(len(records), length, dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, r in enumerate(records):
        n, k = len(r["input_ids"]), r["supervised_tokens"]
        ids[row, :n] = torch.tensor(r["input_ids"])
        mask[row, :n] = 1
        labels[row, n - 1 - k:n - 1] = ids[row, n - 1 - k:n - 1]     # a newline follows the answer
    return dict(input_ids=ids, attention_mask=mask, labels=labels, input_features=features,
                input_features_mask=valid, mm_token_type_ids=torch.zeros_like(ids))


def peer_train(job):
    import torch
    from peft import PeftModel
    from transformers import Gemma4ForConditionalGeneration
    torch.set_num_threads(job["threads"])
    base = Gemma4ForConditionalGeneration.from_pretrained(
        job["model"], dtype=torch.float32, attn_implementation="sdpa")
    model = PeftModel.from_pretrained(base, job["adapter"], is_trainable=True)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    batch = peer_batch(job["model"], job["records"])
    losses, seconds, cpu = [], [], []
    for _ in range(job["steps"]):
        start, start_cpu = time.monotonic(), time.process_time()
        optimizer.zero_grad()
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.monotonic() - start)
        cpu.append(time.process_time() - start_cpu)
    print(json.dumps({"losses": losses, "seconds": seconds, "cpu_s": statistics.median(cpu),
                      "trained": sum(p.numel() for p in trained), "tokens": batch["input_ids"].shape,
                      "frames": batch["input_features"].shape}))


def peer(a, work, records, adapter):
    path = os.path.join(work, "job.json")
    job = {"model": a.model, "adapter": adapter, "records": records, "steps": a.steps,
           "threads": a.threads}
    json.dump(job, open(path, "w", encoding="utf-8"))
    out, peak, _ = run([sys.executable, os.path.abspath(__file__), "--peer", path], a.threads)
    return dict(json.loads(out.splitlines()[-1]), peak_mb=peak)


# ------------------------------------------------------------------- report --

def read_records(a, work):
    folder = os.path.dirname(os.path.abspath(a.data))
    lines = [json.loads(line) for line in open(a.data, encoding="utf-8")][:a.batch]
    for i, r in enumerate(lines):
        path = os.path.join(work, "%d.wav" % i)
        write_16k(os.path.join(folder, r["audio"]), path)
        r["audio"] = path
    path = os.path.join(work, "batch.jsonl")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r) + "\n" for r in lines)
    out, _, _ = run([a.attune, "score", "--model", a.model, "--data", path, "--ids", "--quiet"], 1)
    return [dict(r, **json.loads(s)) for r, s in zip(lines, out.splitlines(), strict=True)]


def check_losses(ours, theirs):
    far = [abs(x - y) for x, y in zip(ours["losses"], theirs["losses"], strict=True)]
    print("loss           first step %.6f and %.6f; farthest apart in %d steps: %.1e" %
          (ours["losses"][0], theirs["losses"][0], len(far), max(far)))
    if not (far[0] <= 1e-4 and max(far) <= 1e-2):
        sys.exit("the comparison is void: the two do not compute the same")


def main():
    a = arguments()
    if a.peer:
        peer_train(json.load(open(a.peer, encoding="utf-8")))
        return
    if not os.path.exists(a.data):
        sys.exit("%s is missing; `make demo` makes the demo's clips" % a.data)
    with tempfile.TemporaryDirectory() as work:
        records = read_records(a, work)
        attune_train(a, work, "start", 2)
        adapter = os.path.join(work, "start", "adapter")
        ours, theirs = [], []
        for i in range(a.rounds):
            ours.append(attune_train(a, work, "round%d" % i, a.steps, adapter))
            theirs.append(peer(a, work, records, adapter))
    p = theirs[0]
    print("LoRA step      %d trained numbers, batch %d x %d tokens, %d frames, f32, threads: %d, load: %.1f" %
          (p["trained"], p["tokens"][0], p["tokens"][1], p["frames"][1], a.threads,
           os.getloadavg()[0]))
    check_losses(ours[0], p)
    rows = []
    for name, unit, of in [
            ("seconds a step", "%.3f s", lambda rs: statistics.median(
                s for r in rs for s in r["seconds"][a.warmup:])),
            ("cpu s a step", "%.3f s", lambda rs: statistics.median(r["cpu_s"] for r in rs)),
            ("peak memory", "%.0f MB", lambda rs: max(r["peak_mb"] for r in rs))]:
        rows.append((name, unit % of(theirs), unit % of(ours), of(theirs) / of(ours)))
    for row in rows:
        print("%-14s transformers + PEFT %9s   attune %9s   ratio %5.2f" % row)


if __name__ == "__main__":
    main()
