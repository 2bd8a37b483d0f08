"""Random Whisper models of `tiny_whisper` as CTranslate2 folders, in every version and type of the format."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tiny_whisper import LANGUAGES, Tiny, ids, special_tokens, tokenizer_json, weights

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
_LAYER = {
    "self_attn_layer_norm": "self_attention/layer_norm",
    "self_attn.out_proj": "self_attention/linear_1",
    "encoder_attn_layer_norm": "attention/layer_norm",
    "encoder_attn.q_proj": "attention/linear_0",
    "encoder_attn.out_proj": "attention/linear_2",
    "final_layer_norm": "ffn/layer_norm",
    "fc1": "ffn/linear_0",
    "fc2": "ffn/linear_1",
}
_FUSED = {"self_attention/linear_0": ("self_attn", "qkv"), "attention/linear_1": ("encoder_attn", "kv")}


def variables(state: Mapping[str, np.ndarray], spec: Tiny) -> dict[str, np.ndarray]:
    """The model's arrays as CTranslate2 names and joins them, float32, and its scalars."""
    state = {name.removeprefix("model."): value for name, value in state.items()}
    made: dict[str, np.ndarray] = {}

    def put(target: str, name: str, kinds: tuple[str, str] = ("weight", "bias")) -> None:
        for theirs, ours in zip(kinds, ("weight", "bias"), strict=True):
            if f"{name}.{ours}" in state:
                made[f"{target}/{theirs}"] = state[f"{name}.{ours}"]

    for side, layers in (("encoder", spec.encoder_layers), ("decoder", spec.decoder_layers)):
        for i in range(layers):
            ours, theirs = f"{side}.layers.{i}", f"{side}/layer_{i}"
            for name, target in _LAYER.items():
                norm = ("gamma", "beta") if "norm" in target else ("weight", "bias")
                put(f"{theirs}/{target}", f"{ours}.{name}", norm)
            for target, (attention, letters) in _FUSED.items():
                names = [f"{ours}.{attention}.{letter}_proj" for letter in letters]
                if f"{names[0]}.weight" not in state:
                    continue
                made[f"{theirs}/{target}/weight"] = np.concatenate([state[f"{n}.weight"] for n in names])
                zero = np.zeros(spec.d_model, np.float32)
                made[f"{theirs}/{target}/bias"] = np.concatenate(
                    [state.get(f"{n}.bias", zero) for n in names]
                )
        put(f"{side}/layer_norm", f"{side}.layer_norm", ("gamma", "beta"))
        made[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        made[f"{side}/num_heads"] = np.int16(spec.heads)
    put("encoder/conv1", "encoder.conv1")
    put("encoder/conv2", "encoder.conv2")
    made["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    made["decoder/activation"], made["decoder/pre_norm"] = np.int8(3), np.int8(1)
    return made


def quantised(made: Mapping[str, np.ndarray], kind: str) -> dict[str, tuple[str, np.ndarray]]:
    """Name to (type, array) as a conversion with `--quantization kind` stores them."""
    whole, _, rest = kind.partition("_")
    rest = rest or ("float32" if whole.startswith("int") else whole)
    out: dict[str, tuple[str, np.ndarray]] = {}
    for name, value in made.items():
        if value.ndim == 0:
            out[name] = (str(value.dtype), value)
        elif name.endswith("/weight") and "conv" not in name and whole in ("int8", "int16"):
            largest = np.abs(value).max(1) if whole == "int8" else np.abs(value).max()
            scale = np.float32((127 if whole == "int8" else 1024) / largest)
            out[f"{name}_scale"] = ("float32", scale)
            out[name] = (whole, np.rint(value * (scale[:, None] if scale.ndim else scale)).astype(whole))
        else:
            out[name] = (rest, stored(value, rest))
    return out


def stored(value: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bfloat16":
        bits = np.ascontiguousarray(value).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
    return value.astype(kind)


def string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def variable(name: str, kind: str, value: np.ndarray) -> bytes:
    head = string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    return head + struct.pack("<BI", TYPES[kind], value.nbytes) + value.tobytes()


def model_bin(
    parts: Mapping[str, tuple[str, np.ndarray]], *, version: int = 6, specification: str = "WhisperSpec"
) -> bytes:
    """The file; the projection is an alias of the embedding."""
    head = struct.pack("<I", version) + string(specification) + struct.pack("<II", 3, len(parts))
    body = b"".join(variable(name, *parts[name]) for name in sorted(parts))
    alias = string("decoder/projection/weight") + string("decoder/embeddings/weight")
    return head + body + struct.pack("<I", 1) + alias


def write(
    folder: Path, spec: Tiny, kind: str = "float32", *, version: int = 6, tokenizer: bool = True
) -> dict[str, np.ndarray]:
    """A CTranslate2 folder of the model; returns the state dict that it was made from."""
    folder.mkdir(parents=True, exist_ok=True)
    state = weights(spec)
    (folder / "model.bin").write_bytes(model_bin(quantised(variables(state, spec), kind), version=version))
    special = ids(spec)
    # Time stamps are suppressed as in `tiny_whisper.write_json`.
    config: dict[str, Any] = {
        "suppress_ids": [5, 17, 40, *(n for n in special.values() if n != special["<|endoftext|>"])],
        "suppress_ids_begin": [220, special["<|endoftext|>"]],
        "lang_ids": [special[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in special],
        "alignment_heads": [[spec.decoder_layers - 1, 0]],
    }
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(spec)))
    write_vocabulary(folder, spec)
    return state


def write_vocabulary(folder: Path, spec: Tiny) -> None:
    known = sorted(tokenizer_json(spec)["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [token for token, _ in known]
    tokens += [""] * (spec.words - len(tokens)) + special_tokens(spec)
    (folder / "vocabulary.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
