#!/usr/bin/env python3
"""Train a few steps on models of Gemma 4's true shapes with random weights: does it fit, and how fast?

    python3 bench/true_shapes.py run [--attune ./attune] [--sizes e2b,e4b,...] [--steps 6] [--set key=value]...
    python3 bench/true_shapes.py make SIZE DIR            config, tokenizer and weights (bf16) on the disk
    python3 bench/true_shapes.py config SIZE DIR          the same without weights, for `init: random`

`run` writes records of random letters, `--tokens` long, trains LoRA on them and prints one line a size: tokens
a second and peak device memory as attune's metrics.jsonl says them, the plan beside it, the peak of the process.
Without `--weights DIR` the weights are made up in memory (`init: random`); with it they are made once in
DIR/SIZE and read like a downloaded model (E2B: 10 GB).  Steps after the second count for the speed (so at least three).
The sizes are those of the published models; their numbers are not copied from a file but written here.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

VOCAB = 262144
BLOCK = 1 << 22                 # random numbers that the weights are cut from, again and again

VISION_SMALL = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=16, num_attention_heads=12,
                    num_key_value_heads=12, head_dim=64, use_clipped_linears=True)
VISION_LARGE = dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16,
                    num_key_value_heads=16, head_dim=72, standardize=True)
# Layers, width, inner width, heads, key heads; every `period`-th layer has full attention.
SIZES = {
    "e2b": dict(layers=35, hidden=1536, inner=6144, heads=8, kv=1, period=5, shared=20, wide=True, ple=256,
                window=512, vision=VISION_SMALL, audio={}),
    "e4b": dict(layers=42, hidden=2560, inner=10240, heads=8, kv=2, period=6, shared=18, ple=256,
                window=512, vision=VISION_SMALL, audio={}),
    "12b": dict(layers=48, hidden=3840, inner=15360, heads=16, kv=8, full_kv=1, period=6, window=1024,
                unified=True),
    "26b": dict(layers=30, hidden=2816, inner=2112, heads=16, kv=8, full_kv=2, period=6, window=1024,
                experts=128, chosen=8, expert_inner=704, vision=VISION_LARGE),
    "31b": dict(layers=60, hidden=5376, inner=21504, heads=32, kv=16, full_kv=4, period=6, window=1024,
                vision=VISION_LARGE),
}


def text_config(s):
    kinds = ["full_attention" if (i + 1) % s["period"] == 0 else "sliding_attention" for i in range(s["layers"])]
    c = dict(
        vocab_size=VOCAB, hidden_size=s["hidden"], intermediate_size=s["inner"], num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=256, global_head_dim=512,
        layer_types=kinds, sliding_window=s["window"], num_kv_shared_layers=s.get("shared", 0),
        use_double_wide_mlp=s.get("wide", False), final_logit_softcapping=30.0, max_position_embeddings=131072,
        rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh", bos_token_id=2, eos_token_id=1, pad_token_id=0,
        attention_k_eq_v="full_kv" in s, num_global_key_value_heads=s.get("full_kv"), tie_word_embeddings=True)
    if not s.get("unified"):
        c.update(model_type="gemma4_text", hidden_size_per_layer_input=s.get("ple", 0),
                 vocab_size_per_layer_input=VOCAB, enable_moe_block="experts" in s,
                 num_experts=s.get("experts"), top_k_experts=s.get("chosen"),
                 moe_intermediate_size=s.get("expert_inner"),
                 use_bidirectional_attention=None if s.get("ple") else "vision")
    else:
        c.update(model_type="gemma4_unified_text", use_bidirectional_attention="vision")
    return c


def config_of(size):
    s = SIZES[size]
    kind = "gemma4_unified" if s.get("unified") else "gemma4"
    c = dict(model_type=kind, dtype="bfloat16", tie_word_embeddings=True, text_config=text_config(s),
             audio_token_id=21, boa_token_id=20, eoa_token_index=22, image_token_id=18, boi_token_id=17,
             eoi_token_id=19, video_token_id=23, eos_token_id=[1, 16], vision_config=None, audio_config=None)
    if s.get("unified"):
        c["vision_config"] = dict(model_type="gemma4_unified_vision", mm_embed_dim=s["hidden"],
                                  output_proj_dims=s["hidden"])
        c["audio_config"] = dict(model_type="gemma4_unified_audio")
    if "vision" in s:
        c["vision_config"] = dict(s["vision"], model_type="gemma4_vision", patch_size=16, pooling_kernel_size=3,
                                  position_embedding_size=10240)
    if "audio" in s:
        c["audio_config"] = dict(model_type="gemma4_audio")
    return c


def write_config(size, folder, source):
    os.makedirs(folder, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        shutil.copy(os.path.join(source, name), os.path.join(folder, name))
    config = config_of(size)
    if size == "12b":
        # No processor file: the folder's model type says what features it takes.
        os.remove(os.path.join(folder, "processor_config.json"))
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    return config


def decoder_tensors(t):
    """-> name and shape of every tensor of a dense decoder, towers left out."""
    hidden, layers, ple = t["hidden_size"], t["num_hidden_layers"], t.get("hidden_size_per_layer_input", 0)
    root = "model.language_model."
    yield root + "embed_tokens.weight", (VOCAB, hidden)
    yield root + "norm.weight", (hidden,)
    if ple:
        yield root + "embed_tokens_per_layer.weight", (VOCAB, layers * ple)
        yield root + "per_layer_model_projection.weight", (layers * ple, hidden)
        yield root + "per_layer_projection_norm.weight", (ple,)
    for i in range(layers):
        at = "%slayers.%d." % (root, i)
        full = t["layer_types"][i] == "full_attention"
        head = t["global_head_dim"] if full else t["head_dim"]
        has_kv = i < layers - t["num_kv_shared_layers"]
        inner = t["intermediate_size"] * (2 if t["use_double_wide_mlp"] and not has_kv else 1)
        k_is_v = t["attention_k_eq_v"] and full
        kv = (t["num_global_key_value_heads"] if k_is_v else t["num_key_value_heads"]) * head
        for norm in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                     "post_feedforward_layernorm"):
            yield at + norm + ".weight", (hidden,)
        yield at + "self_attn.q_proj.weight", (t["num_attention_heads"] * head, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, t["num_attention_heads"] * head)
        yield at + "self_attn.q_norm.weight", (head,)
        if has_kv:
            yield at + "self_attn.k_proj.weight", (kv, hidden)
            yield at + "self_attn.k_norm.weight", (head,)
            if not k_is_v:
                yield at + "self_attn.v_proj.weight", (kv, hidden)
        yield at + "mlp.gate_proj.weight", (inner, hidden)
        yield at + "mlp.up_proj.weight", (inner, hidden)
        yield at + "mlp.down_proj.weight", (hidden, inner)
        if ple:
            yield at + "per_layer_input_gate.weight", (ple, hidden)
            yield at + "per_layer_projection.weight", (hidden, ple)
            yield at + "post_per_layer_input_norm.weight", (hidden,)
        yield at + "layer_scalar", (1,)


def write_weights(config, folder):
    """One bf16 safetensors file of the decoder (E2B and E4B); towers are left out of the config."""
    path = os.path.join(folder, "model.safetensors")
    tensors = sorted(decoder_tensors(config["text_config"]))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # bf16 of normal numbers with deviation 0.02: the upper half of their float32.
    rng = random.Random(1)
    import array
    import struct
    floats = array.array("f", [rng.gauss(0, 0.02) for _ in range(BLOCK)])
    raw = bytes(floats)
    halves = memoryview(raw).cast("H")
    block = array.array("H", halves[1::2].tolist()).tobytes()
    one = struct.pack("<f", 1.0)[2:]
    with open(path + ".tmp", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            left = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
            if len(shape) == 1:
                f.write(one * (left // 2))
                continue
            while left > 0:
                part = block[:left]
                f.write(part)
                left -= len(part)
    os.rename(path + ".tmp", path)


def make(size, folder, source):
    config = write_config(size, folder, source)
    if size not in ("e2b", "e4b"):
        sys.exit("true_shapes.py: weights are written for e2b and e4b only; the others use `init: random`")
    config["vision_config"] = config["audio_config"] = None
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        write_weights(config, folder)


def write_records(path, tokens, count):
    """Random letters: about `tokens` tokens each, an eighth of them in the answer."""
    rng = random.Random(2)
    with open(path, "w") as f:
        for _ in range(count):
            letters = ["qxzjkvw"[rng.randrange(7)] for _ in range(tokens - 24)]
            cut = len(letters) * 7 // 8
            f.write(json.dumps({"prompt": "".join(letters[:cut]), "completion": "".join(letters[cut:])}) + "\n")


def peak_mb(usage):
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def run_size(size, o):
    with tempfile.TemporaryDirectory() as work:
        model = os.path.join(o.weights, size) if o.weights else os.path.join(work, "model")
        if o.weights:
            make(size, model, o.source)
        else:
            write_config(size, model, o.source)
        data = os.path.join(work, "train.jsonl")
        write_records(data, o.tokens, o.batch * o.steps)
        command = [o.attune, "train", "--model", model, "--train", data, "--runs", work, "--name", "run",
                   "--steps", str(o.steps), "--batch", str(o.batch), "--save-every", "100000", "--log-every", "1",
                   "--max-tokens", str(2 * o.tokens)]
        if not o.weights:
            command += ["--init", "random"]
        for pair in o.set:
            command += ["--set", pair]
        start = time.time()
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            print("%-5s failed with exit code %d: %s" % (size, code, log.strip().splitlines()[-1:]), flush=True)
            return False
        lines = [json.loads(line) for line in open(os.path.join(work, "run", "metrics.jsonl"))]
        steps = [line for line in lines if "grad_norm" in line]
        # A step's line is written when the next one is on its way: the first has the time of two, and on a CPU,
        # which computes while it is told what to do, the last has none.
        seconds = sum(s["seconds"] for s in steps[1:]) or 1e-9
        timed = steps[2:]
        rate = sum(s["tokens"] for s in timed) / seconds
        plan = re.search(r"(?m)^.*\bmemory: weights.*$", log)
        print("%-5s %8.0f tokens/s  %6.2f s a step  device peak %7.2f GB  process %8.0f MB  whole run %4.0f s  loss %.3f"
              % (size, rate, seconds / max(len(timed), 1), steps[-1]["memory"] / 1e9,
                 peak_mb(usage), time.time() - start, steps[-1]["loss"]), flush=True)
        if plan:
            print("      " + plan.group(0).strip(), flush=True)
        return True


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    sub = p.add_subparsers(dest="verb", required=True)
    for verb in ("make", "config"):
        q = sub.add_parser(verb)
        q.add_argument("size", choices=SIZES)
        q.add_argument("folder")
        q.add_argument("--source", default="demo/model-src")
    q = sub.add_parser("run")
    q.add_argument("--attune", default="./attune")
    q.add_argument("--sizes", default=",".join(SIZES))
    q.add_argument("--source", default="demo/model-src")
    q.add_argument("--weights", default="", help="folder for weights on the disk")
    q.add_argument("--batch", type=int, default=4)
    q.add_argument("--tokens", type=int, default=1024)
    q.add_argument("--steps", type=int, default=6)
    q.add_argument("--set", action="append", default=[])
    o = p.parse_args()
    if o.verb == "make":
        make(o.size, o.folder, o.source)
    elif o.verb == "config":
        write_config(o.size, o.folder, o.source)
    else:
        unknown = [s for s in o.sizes.split(",") if s not in SIZES]
        if unknown:
            sys.exit("true_shapes.py: unknown size %s, known are %s" % (unknown[0], ", ".join(SIZES)))
        sys.exit(0 if all([run_size(s, o) for s in o.sizes.split(",")]) else 1)


if __name__ == "__main__":
    main()
