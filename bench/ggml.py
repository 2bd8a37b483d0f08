"""Converts Whisper weights to whisper.cpp's format: `python -m bench.ggml SOURCE FILE.bin`.

The layout is that of whisper.cpp's `models/convert-h5-to-ggml.py`; matrices are quantised to `Q8_0`
(blocks of 32 with a float16 scale) like its `quantize` program does, to match the precision of the other
tools.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.features import mel_filters
from asr_batch.models.whisper.compile.weights import Source, read_source

MAGIC = 0x67676D6C
F32, F16, Q8_0 = 0, 1, 8
_FILE_TYPE = 2007  # version 2 of the quantisation, mostly Q8_0
_KEPT_WHOLE = ("positional_embedding", ".bias")
_NAMES = (
    ("embed_positions.weight", "positional_embedding"),
    ("embed_tokens", "token_embedding"),
    ("layers.", "blocks."),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
)


def write_ggml(source: Path, target: Path) -> Path:
    """Convert the weights at `source` (any source of `models compile`)."""
    weights = read_source(source)
    config = json.loads(weights.files["config.json"])
    with target.open("wb") as out:
        _write_header(out, weights, config)
        for name, tensor in weights.tensors.items():
            if name != "proj_out.weight":
                _write_tensor(out, _name(name), np.asarray(tensor, np.float32))
    return target


def _write_header(out: BinaryIO, weights: Source, config: dict[str, int]) -> None:
    audio, text = weights.tensors["encoder.embed_positions.weight"].shape
    mels = int(weights.tensors["encoder.conv1.weight"].shape[1])
    vocab, width = weights.tensors["decoder.embed_tokens.weight"].shape
    context = weights.tensors["decoder.embed_positions.weight"].shape[0]
    sides = [(audio, text, "encoder"), (context, width, "decoder")]
    numbers = [MAGIC, vocab]
    for length, state, side in sides:
        heads = config[f"{side}_attention_heads"]
        numbers += [length, state, heads, config[f"{side}_layers"]]
    filters = np.ascontiguousarray(mel_filters(mels).T, np.float32)
    out.write(struct.pack(f"<{len(numbers) + 4}i", *numbers, mels, _FILE_TYPE, *filters.shape))
    out.write(filters.tobytes())
    words = list(_words(json.loads(weights.files["tokenizer.json"])))
    out.write(struct.pack("<i", len(words)))
    for word in words:
        out.write(struct.pack("<i", len(word)) + word)


def _words(tokenizer: dict[str, dict[str, dict[str, int]]]) -> Iterator[bytes]:
    """Bytes of each ordinary token in order of ids; whisper.cpp adds the special ones itself."""
    byte_of = _bytes()
    for word, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1]):
        if all(char in byte_of for char in word) and not (word.startswith("<|") and word.endswith("|>")):
            yield bytes(byte_of[char] for char in word)


def _bytes() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones for themselves, the others from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _name(name: str) -> str:
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return name


def _write_tensor(out: BinaryIO, name: str, tensor: NDArray[np.float32]) -> None:
    if name.startswith("encoder.conv") and tensor.ndim == 1:
        tensor = tensor[:, None]
    kind = F32 if tensor.ndim == 1 or name.endswith(_KEPT_WHOLE) else F16 if tensor.ndim == 3 else Q8_0
    encoded = name.encode()
    out.write(struct.pack("<3i", tensor.ndim, len(encoded), kind))
    out.write(struct.pack(f"<{tensor.ndim}i", *tensor.shape[::-1]) + encoded)
    out.write(_coded(tensor, kind))


def _coded(tensor: NDArray[np.float32], kind: int) -> bytes:
    if kind != Q8_0:
        return np.ascontiguousarray(tensor, np.float16 if kind == F16 else np.float32).tobytes()
    blocks = tensor.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    steps = np.round(blocks / np.where(scale == 0, 1, scale)).astype(np.int8)
    packed = np.zeros(len(blocks), np.dtype([("scale", "<f2"), ("steps", "i1", 32)]))
    packed["scale"], packed["steps"] = scale[:, 0], steps
    return packed.tobytes()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    write_ggml(Path(sys.argv[1]), Path(sys.argv[2]))
