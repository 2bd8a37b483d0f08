"""Writes models in the Qwen3-ASR layout with random weights, of any size and any order of token ids.

    python bench/qwen3_fixture.py OUT_FOLDER --hidden 512 --layers 8

The graphs are built here with onnx.helper; tokens come from a tokenizer.json given as pattern, its ids
permuted by the seed, so that nothing may rely on fixed ids. Used by bench/qwen3_scaled.py and the tests.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PATTERN = Path(__file__).resolve().parent.parent / "tests" / "data" / "qwen3_asr_tiny" / "tokenizer.json"
SPECIAL = {
    "im_start_token_id": "<|im_start|>",
    "im_end_token_id": "<|im_end|>",
    "audio_start_token_id": "<|audio_start|>",
    "audio_end_token_id": "<|audio_end|>",
    "audio_pad_token_id": "<|audio_pad|>",
    "asr_text_token_id": "<asr_text>",
    "pad_token_id": "<|endoftext|>",
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; encoder widths with the prefix `enc`."""

    hidden: int = 96
    layers: int = 3
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 16
    ffn: int = 160
    vocab: int = 700
    enc_hidden: int = 48
    enc_layers: int = 2
    enc_heads: int = 3
    enc_ffn: int = 64
    conv: int = 6
    embed: str = "float32"
    rope_theta: float = 500000.0
    norm_eps: float = 1e-5
    mix: float = 4.0
    """Weight of attention and MLP relative to the residual: higher values vary the answers with the audio."""


class Graph:
    """Collects nodes and weights of one ONNX graph."""

    def __init__(self, store: Store) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.store = store
        self.count = 0

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attrs: Any) -> str:
        self.count += 1
        first = name or f"v_{self.count}"
        names = [first, *(f"{first}_{extra}" for extra in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=first, **attrs))
        return first

    def const(self, value: Any, kind: Any = np.int64) -> str:
        name = f"c_{len(self.initializers)}"
        self.initializers[name] = numpy_helper.from_array(np.array(value, kind), name)
        return name

    def weight(self, name: str) -> str:
        self.initializers.setdefault(name, self.store.tensor(name))
        return name

    def linear(self, x: str, name: str, out: str = "") -> str:
        if not self.store.block:
            return self.op("MatMul", x, self.weight(name), name=out)
        k, n = self.store.values[name].shape
        parts = [self.weight(f"{name}{part}") for part in ("_q4", "_scale", "_zp")]
        return self.op(
            "MatMulNBits", x, *parts, name=out, domain="com.microsoft",
            K=k, N=n, bits=4, block_size=self.store.block, accuracy_level=4,
        )  # fmt: skip

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        def info(table: dict[str, Any]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in table.items()]

        graph = helper.make_graph(
            self.nodes, path.stem, info(inputs), info(outputs), list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        path.write_bytes(model.SerializeToString())


class Store:
    """Weights by name, written once to one external data file (or kept inside the graph)."""

    def __init__(self, values: dict[str, np.ndarray], data: Path | None, block: int = 0) -> None:
        self.values, self.data, self.block = values, data, block
        self.where: dict[str, tuple[int, int]] = {}
        self.cached: dict[str, np.ndarray] = {}
        if data is not None:
            data.write_bytes(b"")

    def array(self, name: str) -> np.ndarray:
        if name in self.values:
            return self.values[name]
        if name not in self.cached:
            base, _ = name.rsplit("_", 1)
            packed = quantise(self.values[base], self.block)
            self.cached |= {f"{base}_{key}": value for key, value in packed.items()}
        return self.cached[name]

    def tensor(self, name: str) -> onnx.TensorProto:
        array = np.ascontiguousarray(self.array(name))
        if self.data is None or array.nbytes < 1024:
            return numpy_helper.from_array(array, name)
        if name not in self.where:
            offset = -(-self.data.stat().st_size // 4096) * 4096
            with self.data.open("r+b") as handle:
                handle.seek(offset)
                handle.write(array.tobytes())
            self.where[name] = (offset, array.nbytes)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, dims=array.shape, data_type=kind, data_location=TensorProto.EXTERNAL)
        offset, length = self.where[name]
        for key, value in (("location", self.data.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def quantise(weight: np.ndarray, block: int) -> dict[str, np.ndarray]:
    """Round-to-nearest asymmetric int4 in MatMulNBits' packing; `weight` is [K, N] in whole blocks."""
    columns = weight.T.reshape(weight.shape[1], -1, block)
    low, high = np.minimum(columns.min(-1), 0), np.maximum(columns.max(-1), 0)
    scale = np.maximum((high - low) / 15, 1e-9).astype(np.float32)
    zero = np.clip(np.round(-low / scale), 0, 15).astype(np.uint8)
    values = np.clip(np.round(columns / scale[..., None]) + zero[..., None], 0, 15).astype(np.uint8)
    zero = np.pad(zero, ((0, 0), (0, zero.shape[1] % 2)))  # two per byte
    return {
        "q4": values[..., ::2] | (values[..., 1::2] << 4),
        "scale": scale,
        "zp": zero[:, ::2] | (zero[:, 1::2] << 4),
    }


def decoder_weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * gain / np.sqrt(rows)).astype(np.float32)

    def scale(size: int) -> np.ndarray:
        return (1 + 0.1 * rng.standard_normal(size)).astype(np.float32)

    s, out = shape, {}
    for layer in range(s.layers):
        p = f"layers.{layer}."
        out[p + "in_norm"], out[p + "post_norm"] = scale(s.hidden), scale(s.hidden)
        out[p + "q_norm"], out[p + "k_norm"] = scale(s.head_dim), scale(s.head_dim)
        out[p + "q"] = matrix(s.hidden, s.heads * s.head_dim)
        out[p + "k"] = matrix(s.hidden, s.kv_heads * s.head_dim)
        out[p + "v"] = matrix(s.hidden, s.kv_heads * s.head_dim)
        out[p + "o"] = matrix(s.heads * s.head_dim, s.hidden, s.mix)
        out[p + "gate"], out[p + "up"] = matrix(s.hidden, s.ffn), matrix(s.hidden, s.ffn)
        out[p + "down"] = matrix(s.ffn, s.hidden, s.mix)
    out["norm"] = scale(s.hidden)
    kind = np.float16 if s.embed == "float16" else np.float32
    out["embed"] = matrix(s.vocab, s.hidden, np.sqrt(s.vocab)).astype(kind).astype(np.float32)
    out["head"] = matrix(s.hidden, s.vocab, 4)  # not tied: random tied weights repeat their input forever
    return out


def rotate(g: Graph, x: str, cos: str, sin: str, half: int) -> str:
    axis = g.const([3])
    left = g.op("Slice", x, g.const([0]), g.const([half]), axis)
    right = g.op("Slice", x, g.const([half]), g.const([2 * half]), axis)
    turned = g.op("Concat", g.op("Neg", right), left, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def angles(g: Graph, shape: Shape) -> tuple[str, str]:
    half = shape.head_dim // 2
    inverse = (shape.rope_theta ** (-np.arange(half) / half)).astype(np.float32)
    place = g.op("Unsqueeze", g.op("Cast", "position_ids", to=TensorProto.FLOAT), g.const([-1]))
    angle = g.op("Mul", place, g.const(inverse, np.float32))
    both = g.op("Concat", angle, angle, axis=-1)
    return tuple(g.op("Unsqueeze", g.op(kind, both), g.const([1])) for kind in ("Cos", "Sin"))  # type: ignore


def norm(g: Graph, x: str, weight: str, shape: Shape) -> str:
    name = g.weight(weight)
    return g.op("SimplifiedLayerNormalization", x, name, axis=-1, epsilon=shape.norm_eps, stash_type=1)


def heads_of(g: Graph, x: str, count: int, shape: Shape, weight: str | None) -> str:
    split = g.op("Reshape", x, g.const([0, -1, count, shape.head_dim]))
    if weight:
        split = norm(g, split, weight, shape)
    return g.op("Transpose", split, perm=[0, 2, 1, 3])


def spread(g: Graph, x: str, shape: Shape) -> str:
    """Repeat each key-value head for its group of query heads."""
    group = shape.heads // shape.kv_heads
    wide = g.op("Concat", *[g.op("Unsqueeze", x, g.const([2]))] * group, axis=2)
    kept = g.op("Shape", x, start=2)
    return g.op("Reshape", wide, g.op("Concat", g.const([0, shape.heads]), kept, axis=0))


def decoder(g: Graph, x: str, shape: Shape, mask: str | None, past: bool) -> None:
    cos, sin = angles(g, shape)
    kept: dict[str, list[str]] = {"keys": [], "values": []}
    for layer in range(shape.layers):
        p = f"layers.{layer}."
        h = norm(g, x, p + "in_norm", shape)
        v = heads_of(g, g.linear(h, p + "v"), shape.kv_heads, shape, None)
        k = heads_of(g, g.linear(h, p + "k"), shape.kv_heads, shape, p + "k_norm")
        q = heads_of(g, g.linear(h, p + "q"), shape.heads, shape, p + "q_norm")
        q, k = (rotate(g, one, cos, sin, shape.head_dim // 2) for one in (q, k))
        if past:
            index = g.const(layer)
            k = g.op("Concat", g.op("Gather", "past_keys", index, axis=0), k, axis=2)
            v = g.op("Concat", g.op("Gather", "past_values", index, axis=0), v, axis=2)
        kept["keys"].append(g.op("Unsqueeze", k, g.const([0])))
        kept["values"].append(g.op("Unsqueeze", v, g.const([0])))
        score = g.op("MatMul", q, g.op("Transpose", spread(g, k, shape), perm=[0, 1, 3, 2]))
        score = g.op("Mul", score, g.const(shape.head_dim**-0.5, np.float32))
        if mask:
            score = g.op("Add", score, mask)
        mixed = g.op("MatMul", g.op("Softmax", score, axis=-1), spread(g, v, shape))
        flat = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.const([0, 0, -1]))
        x = g.op("Add", x, g.linear(flat, p + "o"))
        h = norm(g, x, p + "post_norm", shape)
        gate = g.linear(h, p + "gate")
        gate = g.op("Mul", gate, g.op("Sigmoid", gate))
        x = g.op("Add", x, g.linear(g.op("Mul", gate, g.linear(h, p + "up")), p + "down"))
    for name, parts in kept.items():
        g.op("Concat", *parts, name=f"present_{name}", axis=0)
    g.linear(norm(g, x, "norm", shape), "head", out="logits")


def cache(shape: Shape, length: str) -> tuple[int, list[Any]]:
    return TensorProto.FLOAT, [shape.layers, "batch", shape.kv_heads, length, shape.head_dim]


def write_decoders(folder: Path, shape: Shape, values: dict[str, np.ndarray], block: int = 0) -> None:
    mark = ".int4" if block else ""
    store = Store(values, folder / f"decoder_weights{mark}.data", block)
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    g = Graph(store)
    decoder(g, "input_embeds", shape, None, past=True)
    g.save(
        folder / f"decoder_step{mark}.onnx",
        {
            "input_embeds": (floats, ["batch", 1, shape.hidden]),
            "position_ids": (ints, ["batch", 1]),
            "past_keys": cache(shape, "past_seq_len"),
            "past_values": cache(shape, "past_seq_len"),
        },
        {
            "logits": (floats, ["batch", 1, shape.vocab]),
            "present_keys": cache(shape, "past_seq_len + 1"),
            "present_values": cache(shape, "past_seq_len + 1"),
        },
    )
    g = Graph(store)
    x, mask = init_head(g)
    decoder(g, x, shape, mask, past=False)
    g.save(
        folder / f"decoder_init{mark}.onnx",
        {
            "input_ids": (ints, ["batch", "seq_len"]),
            "position_ids": (ints, ["batch", "seq_len"]),
            "audio_features": (floats, ["batch", "audio_len", shape.hidden]),
            "audio_offset": (ints, [1]),
        },
        {
            "logits": (floats, ["batch", "seq_len", shape.vocab]),
            "present_keys": cache(shape, "seq_len"),
            "present_values": cache(shape, "seq_len"),
        },
    )


def init_head(g: Graph) -> tuple[str, str]:
    """Embedded prompt with the audio inserted, and the causal mask."""
    words = g.op("Gather", g.weight("embed"), "input_ids", axis=0)
    end = g.op("Add", "audio_offset", g.op("Shape", "audio_features", start=1, end=2))
    axis = g.const([1])
    head = g.op("Slice", words, g.const([0]), "audio_offset", axis)
    tail = g.op("Slice", words, end, g.const([2**31]), axis)
    x = g.op("Concat", head, "audio_features", tail, axis=1)
    length = g.op("Squeeze", g.op("Shape", "input_ids", start=1, end=2))
    place = g.op("Range", g.const(0), length, g.const(1))
    later = g.op("Greater", g.op("Unsqueeze", place, g.const([0])), g.op("Unsqueeze", place, g.const([1])))
    mask = g.op("Where", later, g.const(-3e38, np.float32), g.const(0.0, np.float32))
    return x, mask


def encoder_weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def normal(*size: int, rows: int) -> np.ndarray:
        return (rng.standard_normal(size) / np.sqrt(rows)).astype(np.float32)

    d, f, c = shape.enc_hidden, shape.enc_ffn, shape.conv
    out = {"conv1": normal(c, 1, 3, 3, rows=9), "proj": normal(16 * c, d, rows=16 * c)}
    out |= {name: normal(c, c, 3, 3, rows=9 * c) for name in ("conv2", "conv3")}
    for layer in range(shape.enc_layers):
        out |= {f"e{layer}.{name}": normal(d, d, rows=d) for name in "qkvo"}
        out |= {f"e{layer}.fc1": normal(d, f, rows=d), f"e{layer}.fc2": normal(f, d, rows=f)}
    out |= {"place": normal(1, 13, d, rows=1), "proj1": normal(d, d, rows=d)}
    return out | {"proj2": normal(d, shape.hidden, rows=d), "one": np.ones(d, np.float32)}


def write_encoder(path: Path, shape: Shape, rng: np.random.Generator) -> None:
    g = Graph(Store(encoder_weights(shape, rng), None))
    d = shape.enc_hidden
    frames = g.op("Shape", "mel", start=2)
    hundred = g.const([100])
    rest = g.op("Mod", frames, hundred)
    for _ in range(3):
        rest = g.op("Div", g.op("Add", rest, g.const([1])), g.const([2]))
    tokens = g.op("Add", g.op("Mul", g.op("Div", frames, hundred), g.const([13])), rest)
    x = pad_to(g, "mel", frames, 100, 3, 2)
    x = g.op("Transpose", g.op("Reshape", x, g.const([128, 1, -1, 100])), perm=[2, 1, 0, 3])
    for name in ("conv1", "conv2", "conv3"):
        x = gelu(g, g.op("Conv", x, g.weight(name), strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
    x = g.op("Reshape", g.op("Transpose", x, perm=[0, 3, 1, 2]), g.const([0, 0, -1]))
    x = g.op("Add", g.op("MatMul", x, g.weight("proj")), g.weight("place"))
    x = g.op("Slice", g.op("Reshape", x, g.const([1, -1, d])), g.const([0]), tokens, g.const([1]))
    x = g.op("Reshape", pad_to(g, x, tokens, 104, 3, 1), g.const([-1, 104, d]))
    mask = block_mask(g, x, tokens)
    for layer in range(shape.enc_layers):
        x = encoder_layer(g, x, f"e{layer}.", mask, shape)
    x = g.op("Slice", g.op("Reshape", x, g.const([1, -1, d])), g.const([0]), tokens, g.const([1]))
    x = gelu(g, g.op("MatMul", g.op("LayerNormalization", x, g.weight("one")), g.weight("proj1")))
    g.op("MatMul", x, g.weight("proj2"), name="audio_features")
    g.save(
        path,
        {"mel": (TensorProto.FLOAT, [1, 128, "time"])},
        {"audio_features": (TensorProto.FLOAT, [1, "positions", shape.hidden])},
    )


def pad_to(g: Graph, x: str, size: str, unit: int, rank: int, axis: int) -> str:
    """Pad `x` with zeros along `axis` to a multiple of `unit`."""
    missing = g.op("Mod", g.op("Sub", g.const([unit]), g.op("Mod", size, g.const([unit]))), g.const([unit]))
    before = g.const([0] * (rank + axis))
    return g.op("Pad", x, g.op("Concat", before, missing, g.const([0] * (rank - axis - 1)), axis=0))


def block_mask(g: Graph, x: str, tokens: str) -> str:
    """Mask [blocks, 1, 1, 104] that hides everything after the last token."""
    blocks = g.op("Squeeze", g.op("Shape", x, start=0, end=1))
    total = g.op("Mul", blocks, g.const(104))
    place = g.op("Reshape", g.op("Range", g.const(0), total, g.const(1)), g.const([-1, 1, 1, 104]))
    behind = g.op("GreaterOrEqual", place, tokens)
    return g.op("Where", behind, g.const(-3e38, np.float32), g.const(0.0, np.float32))


def gelu(g: Graph, x: str) -> str:
    return g.op("Gelu", x, domain="com.microsoft")


def encoder_layer(g: Graph, x: str, p: str, mask: str, shape: Shape) -> str:
    def heads(name: str) -> str:
        flat = g.op("MatMul", h, g.weight(p + name))
        return g.op(
            "Transpose", g.op("Reshape", flat, g.const([0, 0, shape.enc_heads, -1])), perm=[0, 2, 1, 3]
        )

    h = g.op("LayerNormalization", x, g.weight("one"))
    q, k, v = heads("q"), heads("k"), heads("v")
    scale = g.const((shape.enc_hidden // shape.enc_heads) ** -0.5, np.float32)
    score = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), scale)
    mixed = g.op("MatMul", g.op("Softmax", g.op("Add", score, mask), axis=-1), v)
    flat = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.const([0, 0, -1]))
    x = g.op("Add", x, g.op("MatMul", flat, g.weight(p + "o")))
    h = g.op("MatMul", g.op("LayerNormalization", x, g.weight("one")), g.weight(p + "fc1"))
    return g.op("Add", x, g.op("MatMul", gelu(g, h), g.weight(p + "fc2")))


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
