"""Writes models in the Qwen3-ASR layout with random weights, of any size and any order of token ids.

    python -m bench.qwen3.folder OUT_FOLDER --hidden 512 --layers 8

The graphs are built here with onnx.helper; tokens come from a tokenizer.json given as pattern, its ids
permuted by the seed, so that nothing may rely on fixed ids. Used by bench/qwen3/scaled.py and the tests.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.qwen3.decoder import decoder_weights, write_decoders
from bench.qwen3.encoder import write_encoder
from bench.qwen3.graph import Shape

PATTERN = Path(__file__).resolve().parents[2] / "tests" / "data" / "qwen3_asr_tiny" / "tokenizer.json"
SPECIAL = {
    "im_start_token_id": "<|im_start|>",
    "im_end_token_id": "<|im_end|>",
    "audio_start_token_id": "<|audio_start|>",
    "audio_end_token_id": "<|audio_end|>",
    "audio_pad_token_id": "<|audio_pad|>",
    "asr_text_token_id": "<asr_text>",
    "pad_token_id": "<|endoftext|>",
}


def write_tokenizer(folder: Path, pattern: Path, shape: Shape, rng: np.random.Generator) -> dict[str, int]:
    """Write tokenizer.json with all ids permuted over the vocabulary; returns token to id."""
    tokenizer = json.loads(pattern.read_text(encoding="utf-8"))
    names = [*tokenizer["model"]["vocab"], *(one["content"] for one in tokenizer["added_tokens"])]
    names = list(dict.fromkeys(names))
    ids = dict(zip(names, map(int, rng.permutation(shape.vocab)[: len(names)]), strict=True))
    tokenizer["model"]["vocab"] = ids  # the special ones too: otherwise the loader would number them itself
    for one in tokenizer["added_tokens"]:
        one["id"] = ids[one["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    return ids


def write_config(folder: Path, shape: Shape, ids: dict[str, int], quantised: bool) -> None:
    s = shape
    encoder = {"num_layers": s.enc_layers, "hidden_size": s.enc_hidden, "num_heads": s.enc_heads}
    encoder |= {"ffn_dim": s.enc_ffn, "conv_channels": s.conv, "output_dim": s.hidden}
    decoder = {"num_layers": s.layers, "hidden_size": s.hidden, "num_attention_heads": s.heads}
    decoder |= {"num_key_value_heads": s.kv_heads, "head_dim": s.head_dim, "intermediate_size": s.ffn}
    decoder |= {"vocab_size": s.vocab, "rope_theta": s.rope_theta, "rms_norm_eps": s.norm_eps}
    special: dict[str, Any] = {key: ids[token] for key, token in SPECIAL.items()}
    special["eos_token_ids"] = [ids["<|endoftext|>"], ids["<|im_end|>"]]
    config: dict[str, Any] = {
        "model_type": "qwen3_asr",
        "encoder": encoder | {"downsample_factor": 8, "num_mel_bins": 128},
        "decoder": decoder | {"tie_word_embeddings": False},
        "mel": {
            "sample_rate": 16000,
            "n_fft": 400,
            "hop_length": 160,
            "n_mels": 128,
            "fmin": 0,
            "fmax": 8000,
        },
        "special_tokens": special,
    }
    if s.embed != "float32":
        config["embed_tokens_dtype"] = s.embed
    if quantised:
        config["quantization"] = dict.fromkeys(("decoder_init", "decoder_step"), "int4_rtn_block32_al4")
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def write_model(folder: Path, shape: Shape, seed: int = 1, pattern: Path = PATTERN, block: int = 32) -> None:
    """Write a whole model folder, FP32 and (with `block`) int4."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    ids = write_tokenizer(folder, pattern, shape, rng)
    values = decoder_weights(shape, rng)
    write_encoder(folder / "encoder.onnx", shape, rng)
    write_decoders(folder, shape, values)
    if block:
        write_decoders(folder, shape, values, block)
    kind = np.float16 if shape.embed == "float16" else np.float32
    (folder / "embed_tokens.bin").write_bytes(values["embed"].astype(kind).tobytes())
    write_config(folder, shape, ids, bool(block))


SCALED = Shape(
    hidden=512, layers=8, heads=8, kv_heads=4, head_dim=64, ffn=1536, vocab=2048,
    enc_hidden=256, enc_layers=4, enc_heads=4, enc_ffn=1024, conv=64, embed="float16",
)  # fmt: skip
"""The tiny model's structure at hidden 512 with 8 layers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, default=SCALED.hidden)
    parser.add_argument("--layers", type=int, default=SCALED.layers)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    write_model(asked.folder, replace(SCALED, hidden=asked.hidden, layers=asked.layers), asked.seed)


if __name__ == "__main__":
    main()
