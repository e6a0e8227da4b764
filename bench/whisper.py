#!/usr/bin/env python3
"""Measure Whisper training against transformers: same machine, same weights, same batch, windows a second.

    python3 bench/whisper.py [--attune ./attune] [--shape turbo] [--modes full,lora,decoder] [--batch N] ...

Weights are random, of a published model's shape (`--shape`), made by transformers and read by both.  Both train on one
batch of `--batch` clips of noise, 30 s each, with transcripts of random words, again and again: so the
losses can be compared step by step, and the comparison is void (exit code 1) when those of the first step differ.

    full       every weight; f32 masters, bf16 activations on a GPU (the peer: autocast), f32 on a CPU
    lora       adapters of rank 32 on all linear layers of encoder and decoder
    decoder    the same on the decoder only, the encoder's outputs kept (attune: tower_cache; the peer is
               given them)

The peer is transformers with sdpa attention, fused AdamW and torch.compile (on a GPU; `--no-compile` without), its data lie on
the device already.  attune reads, decodes and computes features as in any run; its times are those of metrics.jsonl.
Medians over the steps after `--warmup`.
"""
import argparse
import json
import math
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import wave

# d_model, encoder layers, decoder layers, heads, mel bins, vocabulary
SHAPES = {
    "tiny": (384, 4, 4, 6, 80, 51865),
    "base": (512, 6, 6, 8, 80, 51865),
    "small": (768, 12, 12, 12, 80, 51865),
    "medium": (1024, 24, 24, 16, 80, 51865),
    "large-v3": (1280, 32, 32, 20, 128, 51866),
    "turbo": (1280, 32, 4, 20, 128, 51866),
}
SECONDS, RATE = 30, 16000
TOKENS_MULTIPLE = 8


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--attune", default="./attune")
    p.add_argument("--shape", default="tiny", choices=SHAPES)
    p.add_argument("--modes", default="full,lora,decoder")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--words", type=int, default=60)
    p.add_argument("--steps", type=int, default=12)
    p.add_argument("--warmup", type=int, default=4)
    p.add_argument("--tokenizer", default="tests/data/whisper/v3", help="folder with tokenizer files")
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--set", action="append", default=[], help="further settings of attune")
    p.add_argument("--keep", default="", help="folder for checkpoint and clips, to be used again")
    p.add_argument("--peer", help=argparse.SUPPRESS)
    return p.parse_args()


# ---------------------------------------------------------------- material --

def write_clip(path, seed):
    rng = random.Random(seed)
    tones = [(rng.uniform(100, 3000), rng.uniform(0, 6)) for _ in range(6)]
    with wave.open(path, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(RATE)
        block = b"".join(struct.pack("<h", int(2500 * sum(math.sin(2 * math.pi * hz * t / RATE + phase)
                                                           for hz, phase in tones) + rng.gauss(0, 500)))
                         for t in range(RATE))
        for _ in range(SECONDS):
            f.writeframes(block)


def write_material(a, folder):
    """Checkpoint, clips and records in `folder`; -> the records."""
    import shutil

    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration
    width, encoder, decoder, heads, bins, vocab = SHAPES[a.shape]
    model = os.path.join(folder, "model")
    os.makedirs(model, exist_ok=True)
    if not os.path.exists(os.path.join(model, "model.safetensors")):
        torch.manual_seed(1)
        ids = json.load(open(os.path.join(a.tokenizer, "config.json"), encoding="utf-8"))
        config = WhisperConfig(
            vocab_size=vocab, num_mel_bins=bins, d_model=width, encoder_layers=encoder, decoder_layers=decoder,
            encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
            **{k: ids[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")})
        WhisperForConditionalGeneration(config).save_pretrained(model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(os.path.join(a.tokenizer, name), model)
        generation = json.load(open(os.path.join(a.tokenizer, "generation_config.json"), encoding="utf-8"))
        with open(os.path.join(model, "generation_config.json"), "w", encoding="utf-8") as f:
            json.dump(generation, f)
        with open(os.path.join(model, "preprocessor_config.json"), "w", encoding="utf-8") as f:
            json.dump(dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=bins, sampling_rate=RATE,
                           hop_length=160, chunk_length=SECONDS, n_fft=400, n_samples=SECONDS * RATE,
                           nb_max_frames=3000, padding_value=0.0), f)
    rng = random.Random(3)
    records = []
    for i in range(a.batch):
        path = os.path.join(folder, "%d.wav" % i)
        if not os.path.exists(path):
            write_clip(path, i)
        text = " ".join("".join(rng.choice("etaoinshr") for _ in range(rng.randint(2, 6))) for _ in range(a.words))
        records.append({"audio": path, "text": text, "language": "en"})
    with open(os.path.join(folder, "train.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r) + "\n" for r in records)
    return records


# ------------------------------------------------------------------ attune --

def lora_settings(mode):
    towers = "language,audio" if mode == "lora" else "language"
    return ["lora.rank=32", "lora.alpha=64", "lora.towers=" + towers]


def attune_train(a, folder, mode):
    runs = tempfile.mkdtemp(dir=folder)
    command = [a.attune, "train", "--model", os.path.join(folder, "model"), "--train",
               os.path.join(folder, "train.jsonl"), "--runs", runs, "--name", "run", "--steps", str(a.steps),
               "--batch", str(a.batch), "--log-every", "1", "--save-every", "1000000", "--quiet",
               "--learning-rate", "1e-5", "--schedule", "constant", "--warmup-steps", "0",
               "--method", "full" if mode == "full" else "lora"]
    settings = [] if mode == "full" else lora_settings(mode)
    settings += ["tower_cache=16GiB" if mode == "decoder" else "tower_cache=0"]
    for pair in settings + a.set:
        command += ["--set", pair]
    p = subprocess.run(command, capture_output=True, text=True, check=False)
    if p.returncode:
        sys.exit("attune %s: %s" % (mode, p.stderr.strip()))
    lines = [json.loads(s) for s in open(os.path.join(runs, "run", "metrics.jsonl"), encoding="utf-8")]
    steps = [s for s in lines if "grad_norm" in s]
    return {"seconds": [s["seconds"] for s in steps], "losses": [s["loss"] for s in steps],
            "peak_gb": steps[-1]["memory"] / 1e9}


# -------------------------------------------------------------------- peer --

def peer_model(job, torch, device):
    from transformers import WhisperForConditionalGeneration
    model = WhisperForConditionalGeneration.from_pretrained(
        os.path.join(job["folder"], "model"), attn_implementation="sdpa", dtype=torch.float32).to(device)
    model.model.encoder.embed_positions.requires_grad_(False)
    if job["mode"] != "full":
        from peft import LoraConfig, get_peft_model
        names = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
        where = "" if job["mode"] == "lora" else r"decoder\."
        if device == "cuda":
            model = model.to(torch.bfloat16)
        model = get_peft_model(model, LoraConfig(r=32, lora_alpha=64, target_modules=r".*%slayers.*\.(%s)" %
                                                 (where, "|".join(names))))
        for p in model.parameters():
            if p.requires_grad:
                p.data = p.data.float()
    return model.train()


def peer_batch(job, torch, device):
    """Features, decoder input and labels as attune makes them."""
    from tokenizers import Tokenizer
    from transformers import WhisperFeatureExtractor
    folder = os.path.join(job["folder"], "model")
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    prefix = [t.token_to_id("<|%s|>" % s) for s in ("startoftranscript", "en", "transcribe", "notimestamps")]
    rows = [prefix + t.encode(r["text"], add_special_tokens=False).ids + [t.token_to_id("<|endoftext|>")]
            for r in job["records"]]
    length = max(len(r) for r in rows)
    length = (length + TOKENS_MULTIPLE - 1) // TOKENS_MULTIPLE * TOKENS_MULTIPLE
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), -100)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r)
        labels[i, len(prefix) - 1:len(r) - 1] = torch.tensor(r[len(prefix):])
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    sounds = []
    for r in job["records"]:
        with wave.open(r["audio"]) as f:
            sounds.append(torch.frombuffer(bytearray(f.readframes(f.getnframes())), dtype=torch.int16).float().numpy() / 32768)
    features = extractor(sounds, sampling_rate=RATE, return_tensors="pt").input_features
    return features.to(device), tokens.to(device), labels.to(device)


def peer_train(job):
    import torch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = peer_model(job, torch, device)
    features, tokens, labels = peer_batch(job, torch, device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, fused=device == "cuda")
    half = torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda")
    inputs = {"input_features": features}
    if job["mode"] == "decoder":
        from transformers.modeling_outputs import BaseModelOutput
        whole = model.get_base_model()
        with torch.no_grad(), half:
            heard = whole.model.encoder(features.to(next(whole.parameters()).dtype)).last_hidden_state
        inputs = {"encoder_outputs": BaseModelOutput(heard)}
    call = torch.compile(model) if job["compile"] and device == "cuda" else model
    count = int((labels >= 0).sum())
    seconds, losses = [], []
    for _ in range(job["steps"]):
        start = time.perf_counter()
        with half:
            logits = call(decoder_input_ids=tokens, **inputs).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="sum") / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss))
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0
    json.dump({"seconds": seconds, "losses": losses, "peak_gb": peak, "device": device}, sys.stdout)


def peer(a, folder, records, mode):
    job = {"folder": folder, "mode": mode, "records": records, "steps": a.steps, "compile": not a.no_compile}
    p = subprocess.run([sys.executable, os.path.abspath(__file__), "--peer", json.dumps(job)], capture_output=True,
                       text=True, check=False)
    if p.returncode:
        sys.exit("transformers %s: %s" % (mode, p.stderr.strip()[-2000:]))
    return json.loads(p.stdout.splitlines()[-1])


def report(a, mode, ours, theirs):
    allowed = 1e-4 if theirs["device"] == "cpu" else 2e-2
    far = abs(ours["losses"][0] - theirs["losses"][0])
    rates = [a.batch / statistics.median(x["seconds"][a.warmup:]) for x in (theirs, ours)]
    print("%-9s %-8s batch %d: transformers %8.2f windows/s %6.1f GB   attune %8.2f windows/s %6.1f GB   ratio %5.2f   "
          "loss %.4f and %.4f" % (a.shape, mode, a.batch, rates[0], theirs["peak_gb"], rates[1], ours["peak_gb"],
                                  rates[1] / rates[0], theirs["losses"][0], ours["losses"][0]), flush=True)
    return far <= allowed


def main():
    a = arguments()
    if a.peer:
        peer_train(json.loads(a.peer))
        return
    with tempfile.TemporaryDirectory() as work:
        folder = a.keep or work
        os.makedirs(folder, exist_ok=True)
        records = write_material(a, folder)
        good = True
        for mode in a.modes.split(","):
            ours = attune_train(a, folder, mode)
            good = report(a, mode, ours, peer(a, folder, records, mode)) and good
    if not good:
        sys.exit("the comparison is void: the two do not compute the same")


if __name__ == "__main__":
    main()
