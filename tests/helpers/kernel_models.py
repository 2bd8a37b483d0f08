"""Random models as the kernels want them: named constants, as the graphs of an int8 bundle have them."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import numpy as np

from asr_batch.models.whisper.compile.quantize import int8_columns

Arrays = dict[str, np.ndarray]


class _Layers:
    """Named constants of random layers."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.found: Arrays = {}

    def linear(self, name: str, k: int, n: int, bias: bool = True, by: float = 1.0) -> None:
        weight = self.rng.standard_normal((k, n), np.float32) * np.float32(by / math.sqrt(k))
        self.found[f"{name}.int8"], self.found[f"{name}.scale"] = int8_columns(weight)
        if bias:
            self.found[f"{name}.bias"] = self.rng.standard_normal(n, np.float32) / 2

    def norm(self, name: str, d: int) -> None:
        self.found[f"{name}.weight"] = self.rng.uniform(0.5, 2, d).astype(np.float32)
        self.found[f"{name}.bias"] = self.rng.standard_normal(d, np.float32) / 2


def random_encoder(positions: int, heads: int, width: int, ffn: int, mels: int, layers: int = 2) -> Arrays:
    """Named constants as `encoder.onnx` of an int8 bundle has them."""
    made = _Layers(positions)
    rng, d, found, linear = made.rng, heads * width, made.found, made.linear
    norm = partial(made.norm, d=d)
    linear("encoder.conv1", 3 * mels, d)
    linear("encoder.conv2", 3 * d, d)
    found["encoder.embed_positions.weight"] = rng.standard_normal((positions, d), np.float32)
    for i in range(layers):
        name = f"encoder.layers.{i}"
        norm(f"{name}.self_attn_layer_norm")
        linear(f"{name}.self_attn.q_proj", d, d, by=width**-0.5)
        linear(f"{name}.self_attn.kv_proj", d, 2 * d, bias=False)
        linear(f"{name}.self_attn.out_proj", d, d)
        norm(f"{name}.final_layer_norm")
        linear(f"{name}.fc1", d, ffn)
        linear(f"{name}.fc2", ffn, d)
    norm("encoder.layer_norm")
    return found


def random_table(tokens: int, d: int) -> tuple[Arrays, np.ndarray]:
    """A vocabulary's constants, and its table in float64 [tokens, d]."""
    table = np.random.default_rng(tokens).standard_normal((tokens, d), np.float32)
    columns, scale = int8_columns(np.ascontiguousarray(table.T))
    arrays = {"vocabulary.int8": np.ascontiguousarray(columns.T), "vocabulary.scale": scale}
    return arrays, columns.T.astype(np.float64) * scale[:, None]


def decoder_config(heads: int, width: int, ffn: int, layers: int = 2) -> SimpleNamespace:
    """What the kernel asks of a WhisperConfig."""
    return SimpleNamespace(
        decoder_layers=layers,
        decoder_heads=heads,
        d_model=heads * width,
        decoder_ffn=ffn,
        head_dim=width,
        max_source_positions=100,
        scale_embedding=True,
        alignment_heads=[(0, 0), (1, heads - 1)],
    )


def random_decoder(heads: int, width: int, ffn: int, layers: int = 2) -> Arrays:
    """Named constants of `decoder.onnx` and `cross.onnx`: 50 tokens, 20 positions."""
    made = _Layers(width)
    rng, d, found, linear = made.rng, heads * width, made.found, made.linear
    norm = partial(made.norm, d=d)
    table, scale = int8_columns(rng.standard_normal((d, 50), np.float32))
    found["decoder.embed_tokens.int8"] = np.ascontiguousarray(table.T)
    found["decoder.embed_tokens.scale"] = scale
    found["decoder.embed_positions.weight"] = rng.standard_normal((20, d), np.float32)
    for name in (f"decoder.layers.{i}" for i in range(layers)):
        norm(f"{name}.self_attn_layer_norm")
        linear(f"{name}.self_attn.qkv_proj", d, 3 * d)
        linear(f"{name}.self_attn.out_proj", d, d)
        norm(f"{name}.encoder_attn_layer_norm")
        linear(f"{name}.encoder_attn.q_proj", d, d, by=width**-0.5)
        linear(f"{name}.encoder_attn.kv_proj", d, 2 * d, bias=False)
        linear(f"{name}.encoder_attn.out_proj", d, d)
        norm(f"{name}.final_layer_norm")
        linear(f"{name}.fc1", d, ffn)
        linear(f"{name}.fc2", ffn, d)
    norm("decoder.layer_norm")
    return found
