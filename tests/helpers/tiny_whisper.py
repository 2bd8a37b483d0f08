"""Random Whisper models of any size in the published ONNX layouts, made without torch.

The weights come from numpy's generator, so a seed names the same model everywhere; the graphs are written
with `onnx.helper` after the architecture in the Whisper paper and the tensor names of `transformers`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LANGUAGES = ("en", "de", "fr")


@dataclass(frozen=True)
class Tiny:
    """Sizes of one random model; `window` are the seconds of the encoder graph, `trained` of the decoder."""

    seed: int
    heads: int = 2
    encoder_layers: int = 1
    decoder_layers: int = 1
    n_mels: int = 80
    multilingual: bool = False
    trained: int = 10
    window: int = 10
    words: int = 300
    context: int = 64

    @property
    def d_model(self) -> int:
        return 16 * self.heads


def special_tokens(spec: Tiny) -> list[str]:
    languages = LANGUAGES if spec.multilingual else LANGUAGES[:1]
    control = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    control += [
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    return control + [f"<|{i * 0.02:.2f}|>" for i in range(spec.trained * 50 + 1)]


def ids(spec: Tiny) -> dict[str, int]:
    return {token: spec.words + i for i, token in enumerate(special_tokens(spec))}


def write_json(folder: Path, spec: Tiny) -> None:
    """config, generation_config, preprocessor_config and tokenizer as `transformers` writes them."""
    special = ids(spec)
    eot, sot = special["<|endoftext|>"], special["<|startoftranscript|>"]
    common = {"bos_token_id": eot, "eos_token_id": eot, "pad_token_id": eot, "decoder_start_token_id": sot}
    # Time stamps too: `generate` would take one in a transcript without time stamps for a place to seek to.
    suppress = [5, 17, 40, *(n for n in special.values() if n != eot)]
    common |= {"begin_suppress_tokens": [220, eot], "suppress_tokens": suppress}
    config = common | {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "d_model": spec.d_model,
        "encoder_layers": spec.encoder_layers,
        "encoder_attention_heads": spec.heads,
        "decoder_layers": spec.decoder_layers,
        "decoder_attention_heads": spec.heads,
        "encoder_ffn_dim": 4 * spec.d_model,
        "decoder_ffn_dim": 4 * spec.d_model,
        "num_mel_bins": spec.n_mels,
        "vocab_size": spec.words + len(special),
        "max_source_positions": spec.trained * 50,
        "max_target_positions": spec.context,
        "activation_function": "gelu",
        "dropout": 0.0,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "use_cache": True,
    }
    generation = common | {
        "is_multilingual": spec.multilingual,
        "no_timestamps_token_id": special["<|notimestamps|>"],
        "prev_sot_token_id": special["<|startofprev|>"],
        "max_initial_timestamp_index": 50,
        "max_length": spec.context,
        "return_timestamps": False,
    }
    if spec.multilingual:
        generation["lang_to_id"] = {f"<|{code}|>": special[f"<|{code}|>"] for code in LANGUAGES}
        generation["task_to_id"] = {task: special[f"<|{task}|>"] for task in ("transcribe", "translate")}
    preprocessor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": spec.n_mels,
        "chunk_length": spec.trained,
        "n_samples": spec.trained * 16000,
        "nb_max_frames": spec.trained * 100,
        "hop_length": 160,
        "n_fft": 400,
        "sampling_rate": 16000,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(spec)))


def tokenizer_json(spec: Tiny) -> dict[str, Any]:
    """A byte-level vocabulary: the 256 bytes, then pairs of letters, then the special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {char: i for i, char in enumerate(sorted(ByteLevel.alphabet()))}
    pairs = [(a, b) for a in "etaoins" for b in "hrdlucm"][: spec.words - 256]
    vocab |= {a + b: 256 + i for i, (a, b) in enumerate(pairs)}
    added = [
        {"id": n, "content": t, "special": not t[2].isdigit(), "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for t, n in ids(spec).items()
    ]  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [f"{a} {b}" for a, b in pairs]},
    }


def weights(spec: Tiny) -> dict[str, np.ndarray]:
    """State dict with the names of `WhisperForConditionalGeneration`, scaled so that tokens vary."""
    rng = np.random.default_rng(spec.seed)
    d, ffn = spec.d_model, 4 * spec.d_model
    state: dict[str, np.ndarray] = {}

    def linear(name: str, out: int, inner: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = rng.standard_normal((out, inner)).astype(np.float32) * float(
            1.6 / inner**0.5
        )
        if bias:
            state[f"{name}.bias"] = rng.standard_normal(out).astype(np.float32) * 0.1

    def norm(name: str) -> None:
        state[f"{name}.weight"] = (1 + 0.1 * rng.standard_normal(d)).astype(np.float32)
        state[f"{name}.bias"] = (0.1 * rng.standard_normal(d)).astype(np.float32)

    def attention(name: str) -> None:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{name}.{part}", d, d, bias=part != "k_proj")

    def layer(name: str, cross: bool) -> None:
        attention(f"{name}.self_attn")
        norm(f"{name}.self_attn_layer_norm")
        if cross:
            attention(f"{name}.encoder_attn")
            norm(f"{name}.encoder_attn_layer_norm")
        linear(f"{name}.fc1", ffn, d)
        linear(f"{name}.fc2", d, ffn)
        norm(f"{name}.final_layer_norm")

    def conv(name: str, inner: int) -> None:
        state[f"{name}.weight"] = rng.standard_normal((d, inner, 3)).astype(np.float32) / float(inner**0.5)
        state[f"{name}.bias"] = rng.standard_normal(d).astype(np.float32) * 0.1

    conv("model.encoder.conv1", spec.n_mels)
    conv("model.encoder.conv2", d)
    state["model.encoder.embed_positions.weight"] = sinusoids(spec.trained * 50, d)
    for i in range(spec.encoder_layers):
        layer(f"model.encoder.layers.{i}", cross=False)
    norm("model.encoder.layer_norm")
    vocab = spec.words + len(special_tokens(spec))
    state["model.decoder.embed_tokens.weight"] = rng.standard_normal((vocab, d)).astype(np.float32)
    # Strong positions: with tied embeddings a random decoder would else repeat the token it is fed with.
    state["model.decoder.embed_positions.weight"] = 3 * rng.standard_normal((spec.context, d)).astype(
        np.float32
    )
    for i in range(spec.decoder_layers):
        layer(f"model.decoder.layers.{i}", cross=True)
    norm("model.decoder.layer_norm")
    return state


def sinusoids(length: int, channels: int) -> np.ndarray:
    scale = np.exp(-np.log(10000) / (channels // 2 - 1) * np.arange(channels // 2))
    angle = np.arange(length)[:, None] * scale[None]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


class Graph:
    """Nodes of one (sub)graph; weights are added to a table that subgraphs share."""

    def __init__(self, state: dict[str, np.ndarray], table: dict[str, np.ndarray], prefix: str = "") -> None:
        self.state, self.table, self.prefix = state, table, prefix
        self.nodes: list[onnx.NodeProto] = []

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{self.prefix}n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def const(self, value: Any, dtype: Any = np.int64) -> str:
        array = np.asarray(value, dtype)
        name = (
            f"c_{array.dtype}_{'x'.join(map(str, array.shape))}_{'_'.join(map(str, array.ravel().tolist()))}"
        )
        self.table[name] = array
        return name

    def weight(self, name: str, transpose: bool = False) -> str:
        key = name + (".T" if transpose else "")
        self.table[key] = self.state[name].T.copy() if transpose else self.state[name]
        return key

    def linear(self, x: str, name: str) -> str:
        y = self.op("MatMul", x, self.weight(f"{name}.weight", transpose=True))
        return self.op("Add", y, self.weight(f"{name}.bias")) if f"{name}.bias" in self.state else y

    def norm(self, x: str, name: str) -> str:
        return self.op(
            "LayerNormalization",
            x,
            self.weight(f"{name}.weight"),
            self.weight(f"{name}.bias"),
            axis=-1,
            epsilon=1e-5,
        )

    def gelu(self, x: str) -> str:
        erf = self.op("Erf", self.op("Div", x, self.const(np.sqrt(2.0), np.float32)))
        half = self.op("Mul", x, self.const(0.5, np.float32))
        return self.op("Mul", half, self.op("Add", erf, self.const(1.0, np.float32)))

    def mlp(self, x: str, name: str) -> str:
        y = self.gelu(self.linear(self.norm(x, f"{name}.final_layer_norm"), f"{name}.fc1"))
        return self.op("Add", x, self.linear(y, f"{name}.fc2"))

    def split_heads(self, x: str, heads: int, width: int, out: str | None = None) -> str:
        y = self.op("Reshape", x, self.const([0, 0, heads, width]))
        return self.op("Transpose", y, perm=[0, 2, 1, 3], out=out)

    def attend(
        self, q: str, k: str, v: str, name: str, spec: Tiny, mask: str | None = None, kept: str | None = None
    ) -> str:
        width = spec.d_model // spec.heads
        q = self.op("Mul", q, self.const(width**-0.5, np.float32))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1, out=kept), v)
        joined = self.op(
            "Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), self.const([0, 0, spec.d_model])
        )
        return self.linear(joined, f"{name}.out_proj")

    def initializers(self) -> list[TensorProto]:
        return [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in self.table.items()]


def encoder_model(spec: Tiny, state: dict[str, np.ndarray]) -> onnx.ModelProto:
    g = Graph(state, {})
    x = "input_features"
    for name, stride in (("conv1", 1), ("conv2", 2)):
        base = f"model.encoder.{name}"
        x = g.op(
            "Conv",
            x,
            g.weight(f"{base}.weight"),
            g.weight(f"{base}.bias"),
            kernel_shape=[3],
            pads=[1, 1],
            strides=[stride],
        )
        x = g.gelu(x)
    g.table["positions"] = state["model.encoder.embed_positions.weight"][: spec.window * 50]
    x = g.op("Add", g.op("Transpose", x, perm=[0, 2, 1]), "positions")
    width = spec.d_model // spec.heads
    for i in range(spec.encoder_layers):
        name = f"model.encoder.layers.{i}"
        y = g.norm(x, f"{name}.self_attn_layer_norm")
        q, k, v = (g.split_heads(g.linear(y, f"{name}.self_attn.{p}_proj"), spec.heads, width) for p in "qkv")
        x = g.mlp(g.op("Add", x, g.attend(q, k, v, f"{name}.self_attn", spec)), name)
    g.op("LayerNormalization", x, g.weight("model.encoder.layer_norm.weight"), g.weight("model.encoder.layer_norm.bias"),
         axis=-1, epsilon=1e-5, out="last_hidden_state")  # fmt: skip
    inputs = [info("input_features", TensorProto.FLOAT, ["batch_size", spec.n_mels, spec.window * 100])]
    outputs = [info("last_hidden_state", TensorProto.FLOAT, ["batch_size", spec.window * 50, spec.d_model])]
    return model(g.nodes, inputs, outputs, g.initializers())


def decoder_body(g: Graph, spec: Tiny, past: bool, prefix: str = "") -> list[str]:
    """Nodes of a decoder with or without past; returns output names: logits, then present.* in order."""
    width = spec.d_model // spec.heads
    length = g.op("Gather", g.op("Shape", "input_ids"), g.const(1), axis=0)
    start = (
        g.op("Gather", g.op("Shape", "past_key_values.0.decoder.key"), g.const(2), axis=0)
        if past
        else g.const(0)
    )
    end = g.op("Add", start, length)
    steps = g.op("Range", start, end, g.const(1))
    x = g.op("Add", g.op("Gather", g.weight("model.decoder.embed_tokens.weight"), "input_ids"),
             g.op("Gather", g.weight("model.decoder.embed_positions.weight"), steps))  # fmt: skip
    later = g.op(
        "Greater", g.op("Range", g.const(0), end, g.const(1)), g.op("Unsqueeze", steps, g.const([1]))
    )
    mask = g.op("Mul", g.op("Cast", later, to=TensorProto.FLOAT), g.const(-1e9, np.float32))
    outputs: list[str] = []
    for i in range(spec.decoder_layers):
        name = f"model.decoder.layers.{i}"
        y = g.norm(x, f"{name}.self_attn_layer_norm")
        q = g.split_heads(g.linear(y, f"{name}.self_attn.q_proj"), spec.heads, width)
        own = []
        for kind in ("key", "value"):
            new = g.split_heads(g.linear(y, f"{name}.self_attn.{kind[0]}_proj"), spec.heads, width)
            parts = [f"past_key_values.{i}.decoder.{kind}", new] if past else [new]
            own.append(g.op("Concat", *parts, axis=2, out=f"{prefix}present.{i}.decoder.{kind}"))
        x = g.op("Add", x, g.attend(q, own[0], own[1], f"{name}.self_attn", spec, mask))
        y = g.norm(x, f"{name}.encoder_attn_layer_norm")
        q = g.split_heads(g.linear(y, f"{name}.encoder_attn.q_proj"), spec.heads, width)
        cross = []
        for kind in ("key", "value"):
            out = f"{prefix}present.{i}.encoder.{kind}"
            if past:
                cross.append(g.op("Identity", f"past_key_values.{i}.encoder.{kind}", out=out))
            else:
                y2 = g.linear("encoder_hidden_states", f"{name}.encoder_attn.{kind[0]}_proj")
                cross.append(g.split_heads(y2, spec.heads, width, out=out))
        kept = f"{prefix}cross_attentions.{i}"
        x = g.op("Add", x, g.attend(q, cross[0], cross[1], f"{name}.encoder_attn", spec, kept=kept))
        x = g.mlp(x, name)
        outputs += own + cross
    x = g.norm(x, "model.decoder.layer_norm")
    logits = g.op(
        "MatMul", x, g.weight("model.decoder.embed_tokens.weight", transpose=True), out=f"{prefix}logits"
    )
    return [logits, *outputs]


def info(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: Any, inputs: Any, outputs: Any, table: Any) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "main", inputs, outputs, table)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def cache_infos(spec: Tiny, prefix: str, encoder: bool = True) -> list[onnx.ValueInfoProto]:
    width = spec.d_model // spec.heads
    return [
        info(
            f"{prefix}.{i}.{side}.{kind}",
            TensorProto.FLOAT,
            ["batch_size", spec.heads, f"{side}_{prefix}_length", width],
        )
        for i in range(spec.decoder_layers)
        for side in ("decoder", "encoder")
        for kind in ("key", "value")
        if encoder or side == "decoder"
    ]


def decoder_inputs(spec: Tiny, hidden: bool, past: bool) -> list[onnx.ValueInfoProto]:
    inputs = [info("input_ids", TensorProto.INT64, ["batch_size", "decoder_sequence_length"])]
    if hidden:
        inputs.append(
            info(
                "encoder_hidden_states",
                TensorProto.FLOAT,
                ["batch_size", "encoder_sequence_length", spec.d_model],
            )
        )
    return inputs + (cache_infos(spec, "past_key_values") if past else [])


def decoder_model(
    spec: Tiny, state: dict[str, np.ndarray], past: bool, attentions: bool = False
) -> onnx.ModelProto:
    g = Graph(state, {})
    decoder_body(g, spec, past)
    vocab = spec.words + len(special_tokens(spec))
    logits = info("logits", TensorProto.FLOAT, ["batch_size", "decoder_sequence_length", vocab])
    outputs = [logits, *cache_infos(spec, "present", encoder=not past)]
    shape = ["batch_size", spec.heads, "decoder_sequence_length", "encoder_sequence_length"]
    layers = range(spec.decoder_layers if attentions else 0)
    outputs += [info(f"cross_attentions.{i}", TensorProto.FLOAT, shape) for i in layers]
    return model(g.nodes, decoder_inputs(spec, hidden=not past, past=past), outputs, g.initializers())


def merged_model(spec: Tiny, state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """One graph with `use_cache_branch`, as optimum merges them."""
    table: dict[str, np.ndarray] = {}
    branches = {}
    for key, past in (("then_branch", True), ("else_branch", False)):
        g = Graph(state, table, prefix=f"{key}_")
        names = decoder_body(g, spec, past, prefix=f"{key}_")
        outs = [info(n, TensorProto.FLOAT, None) for n in names]
        branches[key] = helper.make_graph(g.nodes, key, [], outs)
    vocab = spec.words + len(special_tokens(spec))
    outputs = [info("logits", TensorProto.FLOAT, ["batch_size", "decoder_sequence_length", vocab])]
    outputs += cache_infos(spec, "present")
    node = helper.make_node("If", ["use_cache_branch"], [o.name for o in outputs], **branches)
    inputs = [*decoder_inputs(spec, True, True), info("use_cache_branch", TensorProto.BOOL, [1])]
    return model(
        [node],
        inputs,
        outputs,
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in table.items()],
    )


def publish(
    folder: Path, spec: Tiny, layout: str = "merged", flat: bool = False, attentions: bool = False
) -> dict[str, np.ndarray]:
    """Write the model as a published folder (`merged` or `split`); returns its state dict.

    `attentions`: the decoders of a split folder give their cross-attentions, as timestamped exports do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder, spec)
    state = weights(spec)
    target = folder if flat else folder / "onnx"
    target.mkdir(exist_ok=True)
    onnx.save(encoder_model(spec, state), target / "encoder_model.onnx")
    if layout == "merged":
        onnx.save(merged_model(spec, state), target / "decoder_model_merged.onnx")
    else:
        onnx.save(decoder_model(spec, state, False, attentions), target / "decoder_model.onnx")
        onnx.save(decoder_model(spec, state, True, attentions), target / "decoder_with_past_model.onnx")
    return state
