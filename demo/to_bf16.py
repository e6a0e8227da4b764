#!/usr/bin/env python3
"""to_bf16.py IN.safetensors OUT.safetensors: float32 tensors rounded to bfloat16 (nearest, ties to even).

Standard library only.
"""
import array
import json
import struct
import sys


def to_bf16(raw):
    words = array.array("I", raw)
    if sys.byteorder == "big":
        words.byteswap()
    half = array.array("H", [(w + 0x7FFF + (w >> 16 & 1)) >> 16 for w in words])  # weights are finite
    if sys.byteorder == "big":
        half.byteswap()
    return half.tobytes()


def main(source, target):
    with open(source, "rb") as f:
        data = f.read()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    out = {"__metadata__": header.pop("__metadata__", {"format": "pt"})}
    parts, at = [], 0
    for name in sorted(header):
        entry = header[name]
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin:8 + size + end]
        dtype = entry["dtype"]
        if dtype == "F32":
            raw, dtype = to_bf16(raw), "BF16"
        out[name] = {"dtype": dtype, "shape": entry["shape"], "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


if __name__ == "__main__":
    main(*sys.argv[1:])
