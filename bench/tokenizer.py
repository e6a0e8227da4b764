#!/usr/bin/env python3
"""Measure the tokenizer against the `tokenizers` library: same files, same machine, processor time.

    python bench/tokenizer.py BENCH_TOKENIZER [TOKENIZER.json TEXT.txt]

BENCH_TOKENIZER is bench/bench_tokenizer.c, built by `make bench`.  Without files two tokenizers, of Gemma's
size (262,144 pieces, every merge) and of Whisper's (50,257 pieces of bytes), and two megabytes of text are
made up: words of English letter statistics, Zipf-distributed.  Prints one line for loading, one for
encoding the text whole, one for encoding it line by line, each with the ratio of the two.  Different
ids make the exit code 1.
"""
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

SYLLABLES = [a + b + c for a in ["", "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t",
                                 "st", "tr", "th", "w"]
             for b in "aeiou" for c in ["", "n", "r", "s", "l", "t", "nd", "ng"]]


def make_words(rng, count):
    words = {}
    while len(words) < count:
        n = rng.choice([1, 1, 2, 2, 2, 3, 3, 4])
        words["".join(rng.choice(SYLLABLES) for _ in range(n))] = None
    return list(words)


def make_text(rng, words, size):
    weights = list(itertools.accumulate(1 / (i + 5) for i in range(len(words))))
    out, length = [], 0
    while length < size:
        sentence = rng.choices(words, cum_weights=weights, k=rng.randint(5, 20))
        if rng.random() < 0.2:
            sentence.append(str(rng.randint(0, 10**rng.randint(1, 6))))
        s = " ".join(sentence).capitalize() + rng.choice([".", ".", "?", "!", ",", ":", ".\n", ".\n\n"])
        out.append(s)
        length += len(s) + 1
    return " ".join(out)


def make_tokenizer(rng, words, path, pieces=262144):
    vocab = {}
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>"]
    for s in specials + ["<0x%02X>" % i for i in range(256)]:
        vocab[s] = len(vocab)
    chars = "".join(chr(c) for c in range(33, 127)) + "\n▁"
    letters = {c: None for c in chars}
    grown = ["\n" * n for n in range(2, 9)] + ["▁" * n for n in range(2, 20)]
    for w in words:
        for form in ("▁" + w, "▁" + w.capitalize(), w, w.capitalize()):
            grown += [form[:n] for n in range(2, len(form) + 1)]
    for p in sorted(dict.fromkeys(grown), key=len):
        if len(vocab) + len(letters) >= pieces:
            break
        vocab.setdefault(p, len(vocab))
    for c in letters:
        vocab.setdefault(c, len(vocab))
    merges = []
    for p in list(vocab)[len(specials) + 256:]:
        merges += [[p[:i], p[i:]] for i in range(1, len(p)) if p[:i] in vocab and p[i:] in vocab]
    token = lambda s: {"id": vocab[s], "content": s, "single_word": False, "lstrip": False,
                       "rstrip": False, "normalized": False, "special": True}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    json.dump({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [token(s) for s in specials], "normalizer": replace,
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                          "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
                  "byte_fallback": True, "ignore_merges": False, "vocab": vocab, "merges": merges}},
        open(path, "w", encoding="utf-8"), ensure_ascii=False, indent=2)
    return len(vocab), len(merges)


def make_byte_tokenizer(text, path, pieces=50257):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=pieces, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    t.save(path)
    return t.get_vocab_size()


def best_of(count, fn):
    times = []
    for _ in range(count):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return min(times), result


def compare(program, path, text_path):
    text = open(text_path, encoding="utf-8", newline="").read()
    lines = text.split("\n")
    megabytes = len(text.encode()) / 1e6

    load_s, t = best_of(1, lambda: Tokenizer.from_file(path))
    whole_s, e = best_of(2, lambda: t.encode(text, add_special_tokens=False))
    lines_s, _ = best_of(2, lambda: [t.encode(s, add_special_tokens=False) for s in lines])
    ours = json.loads(subprocess.run([program, path, text_path], check=True,
                                     capture_output=True, text=True).stdout)
    checksum = 0
    for i in e.ids:
        checksum = (checksum * 31 + i) & 0xffffffff
    if (ours["ids"], ours["hash"]) != (len(e.ids), checksum):
        sys.exit("ids differ: found %d, expected %d" % (ours["ids"], len(e.ids)))
    rows = [("load", load_s, ours["load_s"]), ("encode whole", whole_s, ours["whole_s"]),
            ("encode lines", lines_s, ours["lines_s"])]
    for name, theirs_s, ours_s in rows:
        rate = "" if name == "load" else " %6.1f MB/s" % (megabytes / ours_s)
        print("%-14s tokenizers %7.3f s   attune %7.3f s%s   ratio %5.1f" %
              (name, theirs_s, ours_s, rate, theirs_s / ours_s))


def main():
    program = sys.argv[1]
    if len(sys.argv) > 3:
        compare(program, *sys.argv[2:4])
        return
    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(8)
        words = make_words(rng, 60000)
        path, text_path = os.path.join(folder, "tokenizer.json"), os.path.join(folder, "text")
        print("tokenizer      %d pieces, %d merges" % make_tokenizer(rng, words[:30000], path))
        text = make_text(rng, words, 2 << 20)
        open(text_path, "w", encoding="utf-8").write(text)
        compare(program, path, text_path)
        print("tokenizer      %d pieces of bytes" % make_byte_tokenizer(text, path))
        compare(program, path, text_path)


if __name__ == "__main__":
    main()
