#!/usr/bin/env python3
"""Makes demo/model-src/tokenizer.json: Gemma's kind of tokenizer, in small.

    demo/make_tokenizer.py WORDS OUT.json

BPE with byte fallback, blanks turned into U+2581, Gemma 4's special tokens. WORDS holds the vocabulary, one word a
line (awk -f sentences.awk -v kind=vocab). Pieces are merged inside a word until every word is one piece; the blank stays
a piece of its own, so that a word has the same piece at the start of a sentence and within. Other text is spelled in
letters, and in bytes where there is no letter. Standard library only; the same input gives the same bytes.
"""
import collections
import json
import sys

SPECIALS = [
    "<pad>", "<eos>", "<bos>", "<unk>", "<mask>",
    "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>',
    "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>",
    "<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>",
]
EXTRA_WORDS = ["user", "model", "system", "thought"]  # what the chat template writes


def learn_pieces(words):
    """Byte pair encoding inside words until each is one piece; returns the pieces in order of birth."""
    splits = {word: list(word) for word in words}
    pieces = []
    while True:
        pairs = collections.Counter()
        for parts in splits.values():
            pairs.update(zip(parts, parts[1:]))
        if not pairs:
            return pieces
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        pieces.append(best[0] + best[1])
        for word, parts in splits.items():
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i:i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            splits[word] = merged


def encode(word, rank):
    parts = list(word)
    while True:
        candidates = [(rank[pair], i) for i, pair in enumerate(zip(parts, parts[1:])) if pair in rank]
        if not candidates:
            return parts
        _, i = min(candidates)
        parts[i:i + 2] = [parts[i] + parts[i + 1]]


def main(words_path, out_path):
    with open(words_path, encoding="utf-8") as f:
        words = f.read().split() + EXTRA_WORDS
    letters = ["\n", "\u2581"] + [chr(c) for c in range(33, 127)]
    born = learn_pieces(words)
    merged = list(dict.fromkeys(born))
    pieces = SPECIALS + [f"<0x{byte:02X}>" for byte in range(256)] + ["\n\n", "\n\n\n", "\u2581\u2581"] + merged + letters
    pieces += [f"<unused{i}>" for i in range(-len(pieces) % 64)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    assert len(vocab) == len(pieces)

    merges = []  # every way to build a piece, in the order of pieces
    for piece in ["\n\n", "\n\n\n", "\u2581\u2581"] + merged:
        merges += [[piece[:i], piece[i:]] for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
    rank = {tuple(pair): i for i, pair in reversed(list(enumerate(merges)))}
    for word in words:
        assert encode(word, rank) == [word], (word, encode(word, rank))

    added = [
        {"id": vocab[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for token in SPECIALS
    ]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
        ]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }
    with open(out_path, "w", encoding="utf-8") as f:
        json.dump(tokenizer, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(f"{len(vocab)} pieces, {len(merges)} merges", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
