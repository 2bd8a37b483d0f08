"""A Whisper of a given size with random weights, as a Hugging Face folder: speed depends only on the size.

`python -m bench.random_model DIR --size tiny`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

SIZES = {"tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12)}
LANGUAGES = ("en", "de", "fr", "es", "it", "ja", "zh")
TEXT = 50257


def special_tokens() -> list[str]:
    codes = [f"<|{code}|>" for code in LANGUAGES]
    codes += [f"<|x{chr(97 + i // 26)}{chr(97 + i % 26)}|>" for i in range(99 - len(codes))]
    names = ["<|endoftext|>", "<|startoftranscript|>", *codes, "<|translate|>", "<|transcribe|>"]
    names += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    return names + [f"<|{i * 0.02:.2f}|>" for i in range(1501)]


def tokenizer(words: int, special: list[str]) -> dict[str, Any]:
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {char: i for i, char in enumerate(sorted(ByteLevel.alphabet()))}
    vocab |= {f"Ġw{i}": i for i in range(len(vocab), words)}
    added = [
        {"id": words + i, "content": name, "special": not name[2].isdigit(), "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for i, name in enumerate(special)
    ]  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocab, "merges": []}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": level,
        "decoder": level,
        "model": model,
    }


def json_files(d: int, heads: int, layers: int, endless: bool) -> dict[str, Any]:
    special = special_tokens()
    at = {name: TEXT + i for i, name in enumerate(special)}
    eot, sot = at["<|endoftext|>"], at["<|startoftranscript|>"]
    common = {"bos_token_id": eot, "eos_token_id": eot, "pad_token_id": eot, "decoder_start_token_id": sot}
    common |= {
        "begin_suppress_tokens": [220, eot],
        "suppress_tokens": [n for n in at.values() if n != eot or endless],
    }
    config = common | {
        "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": d,
        "encoder_layers": layers, "encoder_attention_heads": heads, "decoder_layers": layers,
        "decoder_attention_heads": heads, "encoder_ffn_dim": 4 * d, "decoder_ffn_dim": 4 * d,
        "num_mel_bins": 80, "vocab_size": TEXT + len(special), "max_source_positions": 1500,
        "max_target_positions": 448, "activation_function": "gelu", "scale_embedding": False,
        "tie_word_embeddings": True, "is_encoder_decoder": True, "use_cache": True,
    }  # fmt: skip
    generation = common | {
        "is_multilingual": True, "no_timestamps_token_id": at["<|notimestamps|>"],
        "prev_sot_token_id": at["<|startofprev|>"], "max_initial_timestamp_index": 50, "max_length": 448,
        "lang_to_id": {f"<|{code}|>": at[f"<|{code}|>"] for code in LANGUAGES},
        "task_to_id": {task: at[f"<|{task}|>"] for task in ("transcribe", "translate")},
    }  # fmt: skip
    preprocessor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80,
                    "chunk_length": 30, "n_samples": 480000, "nb_max_frames": 3000, "hop_length": 160,
                    "n_fft": 400, "sampling_rate": 16000}  # fmt: skip
    tokens = tokenizer(TEXT, special)
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    return {
        "config.json": config,
        "generation_config.json": generation,
        "preprocessor_config.json": preprocessor,
        "tokenizer.json": tokens,
        "vocab.json": tokens["model"]["vocab"],
        "added_tokens.json": at,
        "normalizer.json": {},
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer", **names},
    }


def make(folder: Path, size: str = "tiny", seed: int = 0, endless: bool = True) -> Path:
    """Write the folder; with `endless`, generation_config forbids end-of-text, so that lengths are forced."""
    d, heads, layers = SIZES[size]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in json_files(d, heads, layers, endless).items():
        (folder / name).write_text(json.dumps(content))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    save_file(weights(d, layers, TEXT + len(special_tokens()), seed), folder / "model.safetensors")
    return folder


def weights(d: int, layers: int, vocab: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, scale: float) -> None:
        state[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)

    def linear(name: str, out: int, inner: int, bias: bool = True) -> None:
        normal(f"{name}.weight", out, inner, scale=inner**-0.5)
        if bias:
            normal(f"{name}.bias", out, scale=0.02)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = np.ones(d, np.float32)
        normal(f"{name}.bias", d, scale=0.02)

    for i, inner in ((1, 80), (2, d)):
        normal(f"model.encoder.conv{i}.weight", d, inner, 3, scale=(3 * inner) ** -0.5)
        normal(f"model.encoder.conv{i}.bias", d, scale=0.02)
    for side, rows in (("encoder", 1500), ("decoder", 448)):
        normal(f"model.{side}.embed_positions.weight", rows, d, scale=0.1)
        for i in range(layers):
            name = f"model.{side}.layers.{i}"
            for block in ("self_attn", "encoder_attn")[: 2 if side == "decoder" else 1]:
                for part in "qkv":
                    linear(f"{name}.{block}.{part}_proj", d, d, bias=part != "k")
                linear(f"{name}.{block}.out_proj", d, d)
                norm(f"{name}.{block}_layer_norm")
            linear(f"{name}.fc1", 4 * d, d)
            linear(f"{name}.fc2", d, 4 * d)
            norm(f"{name}.final_layer_norm")
        norm(f"model.{side}.layer_norm")
    normal("model.decoder.embed_tokens.weight", vocab, d, scale=1.0)
    state["model.decoder.embed_positions.weight"] *= 10  # otherwise a random decoder repeats its last token
    return state


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    args = parser.parse_args()
    make(args.folder, args.size)
