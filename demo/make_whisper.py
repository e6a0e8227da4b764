#!/usr/bin/env python3
"""Makes demo/whisper-src: a Whisper in miniature without weights, laid out as on the Hub.

    demo/make_whisper.py WORDS DIR

WORDS holds the vocabulary, one word a line (awk -f sentences.awk -v kind=vocab). The tokenizer is Whisper's kind: BPE over
bytes, control tokens, languages and timestamps behind the text's pieces. Pieces are merged inside a word until every word is
one piece; the blank stays a piece of its own, so that a word has the same piece at the start of a sentence and within.
Standard library only; the same input gives the same bytes.
"""
import collections
import json
import pathlib
import sys

SECONDS, POSITIONS, WIDTH, LAYERS, HEADS = 4, 64, 128, 2, 4
LANGUAGES = ["en", "zh", "de", "es", "ru", "ko", "fr"]   # the first of Whisper's, in its order
END, START = "<|endoftext|>", "<|startoftranscript|>"


def byte_letters():
    """The letter that stands for each byte in a piece, in the order of ids."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(others))]


def learn_merges(words):
    """Byte pair encoding inside words until each is one piece."""
    splits = {word: list(word) for word in words}
    merges = []
    while True:
        pairs = collections.Counter()
        for parts in splits.values():
            pairs.update(zip(parts, parts[1:]))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, parts in splits.items():
            merged, i = [], 0
            while i < len(parts):
                wide = 2 if tuple(parts[i:i + 2]) == best else 1
                merged.append("".join(parts[i:i + wide]))
                i += wide
            splits[word] = merged


def make_tokenizer(words):
    """The tokenizer.json, and the ids of the control tokens."""
    merges = learn_merges(words)
    pieces = list(dict.fromkeys(byte_letters() + ["".join(pair) for pair in merges])) + [""]
    control = [END, START] + [f"<|{language}|>" for language in LANGUAGES] + [
        "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{i * 0.02:.2f}|>" for i in range(SECONDS * 50 + 1)]
    ids = {token: len(pieces) + i for i, token in enumerate(control + times)}
    edges = [{"SpecialToken": {"id": token, "type_id": 0}} for token in (START, "<|notimestamps|>", END)]
    text = [{"Sequence": {"id": "A", "type_id": 0}}]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": token in control}
            for token, id in ids.items()],
        "normalizer": None, "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing", "single": edges[:2] + text + edges[2:],
            "pair": edges[:2] + text + [{"Sequence": {"id": "B", "type_id": 1}}] + edges[2:],
            "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]}
                               for token in (END, "<|notimestamps|>", START)}},
        "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": [list(pair) for pair in merges]},
    }
    return tokenizer, ids


def files_of(words):
    tokenizer, ids = make_tokenizer(words)
    end, blank = ids[END], tokenizer["model"]["vocab"]["\u0120"]
    ends = {"bos_token_id": end, "decoder_start_token_id": ids[START], "eos_token_id": end, "pad_token_id": end}
    sizes = {}
    for side in ("decoder", "encoder"):
        sizes |= {f"{side}_attention_heads": HEADS, f"{side}_ffn_dim": 4 * WIDTH, f"{side}_layers": LAYERS}
    config = {
        "activation_function": "gelu", "architectures": ["WhisperForConditionalGeneration"],
        "begin_suppress_tokens": [blank, end], "d_model": WIDTH, **sizes, **ends, "dropout": 0.0, "dtype": "bfloat16",
        "init_std": 0.05, "is_encoder_decoder": True, "max_source_positions": SECONDS * 50,
        "max_target_positions": POSITIONS, "model_type": "whisper", "num_mel_bins": 80, "scale_embedding": False,
        "tie_word_embeddings": True, "use_cache": True, "vocab_size": max(ids.values()) + 1}
    never = [START, "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    generation = {
        "alignment_heads": [[LAYERS - 1, head] for head in range(HEADS)], "begin_suppress_tokens": [blank, end], **ends,
        "is_multilingual": True, "lang_to_id": {f"<|{language}|>": ids[f"<|{language}|>"] for language in LANGUAGES},
        "max_initial_timestamp_index": 50, "max_length": POSITIONS, "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"], "return_timestamps": False,
        "suppress_tokens": sorted(ids[token] for token in never),
        "task_to_id": {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}}
    return {
        "config.json": config, "generation_config.json": generation, "tokenizer.json": tokenizer,
        "preprocessor_config.json": {
            "chunk_length": SECONDS, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80,
            "hop_length": 160, "n_fft": 400, "n_samples": SECONDS * 16000, "nb_max_frames": SECONDS * 100,
            "padding_side": "right", "padding_value": 0.0, "processor_class": "WhisperProcessor",
            "return_attention_mask": False, "sampling_rate": 16000},
        "tokenizer_config.json": {
            "add_prefix_space": False, "bos_token": END, "eos_token": END, "errors": "replace", "model_max_length": 1024,
            "pad_token": END, "processor_class": "WhisperProcessor", "return_attention_mask": False,
            "tokenizer_class": "WhisperTokenizer", "unk_token": END},
    }


def main(words_path, folder):
    words = pathlib.Path(words_path).read_text(encoding="utf-8").split()
    for name, value in files_of(words).items():
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        pathlib.Path(folder, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
