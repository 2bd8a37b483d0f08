"""The decoder as one C function (c/decoder.h), and the keys and values of its cross-attention (c/cross.h)."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_batch.models.kernels.arrays import page_by_page
from asr_batch.models.kernels.library import (
    LANES,
    WIDEST,
    Array,
    Arrays,
    Float32,
    KernelSet,
    Scratch,
    Weights,
    place,
    scratch,
    uninitialised,
)
from asr_batch.models.whisper.alignment import GROUP, alignment_heads
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import BLOCK as STORED

BLOCK = 48
"""Maximum tokens per call."""

TOKEN = np.dtype([(name, np.int64) for name in ("id", "position", "slot", "stored", "cross")])
"""A token at `position` of the window in `slot`; its cross-attention reads `stored` positions at `cross`."""

_PARTS = (
    "self_attn_layer_norm",
    "self_attn.qkv_proj",
    "self_attn.out_proj",
    "encoder_attn_layer_norm",
    "encoder_attn.q_proj",
    "encoder_attn.out_proj",
    "final_layer_norm",
    "fc1",
    "fc2",
)


def groups_of(config: WhisperConfig) -> int:
    """Groups of positions in the longest window and the silence after it."""
    return (-(-config.max_source_positions // STORED) + 1) * STORED // GROUP


def fits(arrays: Arrays, config: WhisperConfig) -> bool:
    """Whether all weights exist, with sizes that the kernel supports."""
    names = [f"decoder.layers.{i}.{part}" for i in range(config.decoder_layers) for part in _PARTS]
    names += [f"decoder.layers.{i}.encoder_attn.kv_proj" for i in range(config.decoder_layers)]
    names += ["decoder.layer_norm", "decoder.embed_positions"]
    there = all(f"{name}.int8" in arrays or f"{name}.weight" in arrays for name in names)
    if not there or "decoder.embed_tokens.int8" not in arrays:
        return False
    width = arrays["decoder.layers.0.encoder_attn.q_proj.int8"].shape[1] // config.decoder_heads
    sizes = (config.d_model, config.decoder_ffn, width)
    return not any(size % LANES for size in sizes) and width <= WIDEST


@dataclass(frozen=True, slots=True)
class KernelCross:
    """Cross-attention keys and values of one window: `positions` of its own, `stored` with silence."""

    memory: Array
    stored: int
    positions: int


class Caches:
    """Self-attention keys and values, in pieces [2 * layers, slots, heads, tokens, width] of equal size.

    A new piece makes room for more tokens. One array for all would have to be copied to grow. Windows with
    short texts leave most pages of the later pieces untouched.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self.piece = shape, shape[3]
        self.pieces: list[Float32] = []
        self.reserve(1)

    @property
    def capacity(self) -> int:
        """Tokens of each slot."""
        return len(self.pieces) * self.piece

    def reserve(self, tokens: int) -> None:
        """Make room for this many tokens of each slot."""
        while self.capacity < tokens:
            made = page_by_page if self.pieces else scratch  # all windows fill the first: huge pages
            self.pieces.append(made(self._shape, np.float32))
            arrays = [array for piece in self.pieces for array in piece]
            self.places = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))

    def copy(self, source: Sequence[int], target: Sequence[int], length: int) -> None:
        """Copy the first `length` tokens of each slot of `source` over the one in `target`, all at once."""
        one = len(source) == 1  # numpy copies a slot several times faster if it has a number, not a list
        to, of = (target[0], source[0]) if one else (list(target), list(source))
        for start, piece in zip(range(0, length, self.piece), self.pieces, strict=False):
            tokens = slice(min(self.piece, length - start))
            piece[:, to, :, tokens] = piece[:, of, :, tokens]


class DecoderSizes:
    """Sizes of a decoder, which the kernels and numpy have in common, and caches for them."""

    def __init__(self, arrays: Arrays, config: WhisperConfig) -> None:
        self.layers, self.heads = config.decoder_layers, config.decoder_heads
        self.d_model = config.d_model
        self.width = arrays["decoder.layers.0.encoder_attn.q_proj.int8"].shape[1] // self.heads
        self.followed = np.array(sorted(alignment_heads(config), key=lambda pair: pair[0]), np.int64)
        self.groups = groups_of(config)

    def caches(self, slots: int, capacity: int) -> Caches:
        """Self-attention caches for `slots` windows of `capacity` tokens, in one piece at first."""
        return Caches((2 * self.layers, slots, self.heads, capacity, self.width))


class DecoderKernel(DecoderSizes):
    """The weights of a decoder; any number of threads may use it, each with its own scratch memory."""

    def __init__(self, chosen: KernelSet, arrays: Arrays, config: WhisperConfig) -> None:
        super().__init__(arrays, config)
        self._ffn = config.decoder_ffn
        self._weights = Weights(
            _in_order(chosen, arrays, config), arrays, mapped=[arrays["decoder.embed_tokens.int8"]]
        )
        self._cross_weights = Weights(_cross_in_order(chosen, arrays, self.layers), arrays)
        self._work = Scratch()
        self._run, self._project = chosen.function("decoder_run"), chosen.function("cross_run")
        self._scratch, self._cross_bytes, self._cross_scratch = (
            chosen.function(name, ctypes.c_long)
            for name in ("decoder_scratch", "cross_bytes", "cross_scratch")
        )

    def project(self, hidden: Float32, bias: Float32, positions: int) -> KernelCross:
        """Keys and values of `hidden` [stored, d_model], whose scores get `bias` [stored]."""
        shape, stored = _longs(self.d_model, self.heads, self.width, self.layers), len(hidden)
        memory = uninitialised(self._cross_bytes(shape, ctypes.c_long(stored)))
        work = self._work(self._cross_scratch(shape, ctypes.c_long(stored)))
        given = place(np.ascontiguousarray(hidden)), place(np.ascontiguousarray(bias, np.float32))
        weights = self._cross_weights.places
        self._project(shape, weights, *given, ctypes.c_long(stored), place(memory), place(work))
        return KernelCross(memory, stored, positions)

    def scratch(self, caches: Caches) -> Array:
        """Scratch memory for :meth:`run` with `caches` as long as they are, over windows of any length."""
        return scratch((self._scratch(self._shape(caches), ctypes.c_long(self.groups * GROUP)),))

    def run(
        self,
        tokens: Array,
        caches: Caches,
        states: Float32,
        attended: Float32,
        work: Array,
        attention: Float32 | None = None,
    ) -> None:
        """Feed `tokens` [n] of :data:`TOKEN`, in order of their positions, and append them to `caches`.

        Writes `states` [n, d_model]; `attended` [n, groups], the mean weights of the alignment heads by
        group; `attention` [n, followed, stored], their weights over the one window of all tokens.
        """
        stored = self.groups * GROUP if attention is None else attention.shape[2]
        given = self._shape(caches), self._weights.places, place(tokens), ctypes.c_long(len(tokens))
        told = place(attended), None if attention is None else place(attention)
        more = caches.places, place(self.followed), place(states), *told, ctypes.c_long(stored), place(work)
        self._run(*given, *more)

    def _shape(self, caches: Caches) -> ctypes.Array[ctypes.c_long]:
        sizes = (self.d_model, self.heads, self.width, self._ffn, self.layers, caches.piece)
        return _longs(*sizes, len(self.followed), self.groups, len(caches.pieces))


def _longs(*numbers: int) -> ctypes.Array[ctypes.c_long]:
    return (ctypes.c_long * len(numbers))(*numbers)


def embedding_scale(arrays: Arrays, config: WhisperConfig) -> Array:
    """The scale of each token's embedding, with the model's own factor."""
    factor = math.sqrt(config.d_model) if config.scale_embedding else 1
    return np.asarray(arrays["decoder.embed_tokens.scale"] * np.float32(factor))


def _in_order(chosen: KernelSet, arrays: Arrays, config: WhisperConfig) -> Iterator[Array]:
    """The arrays of `weights` for `decoder_run`, after the embedding's bytes."""
    yield embedding_scale(arrays, config)
    yield arrays["decoder.embed_positions.weight"]
    for name in (f"decoder.layers.{i}.{part}" for i in range(config.decoder_layers) for part in _PARTS):
        if name.endswith("qkv_proj"):
            yield from _scaled_queries(chosen, arrays, name, config.head_dim)
        else:
            yield from chosen.parameters(arrays, name)
    yield from chosen.parameters(arrays, "decoder.layer_norm")


def _scaled_queries(chosen: KernelSet, arrays: Arrays, name: str, width: int) -> Iterator[Array]:
    """Queries, keys and values, with queries scaled so that scores are exponents of two."""
    scale, bias = arrays[f"{name}.scale"].copy(), arrays[f"{name}.bias"].copy()
    queries = slice(len(scale) // 3)
    factor = np.float32(width**-0.5 * math.log2(math.e))
    scale[queries] *= factor
    bias[queries] *= factor
    return chosen.linear(arrays[f"{name}.int8"], scale, bias)


def _cross_in_order(chosen: KernelSet, arrays: Arrays, layers: int) -> Iterator[Array]:
    for i in range(layers):
        yield from chosen.parameters(arrays, f"decoder.layers.{i}.encoder_attn.kv_proj")


def tokens_of(
    ids: Sequence[int], positions: Sequence[int], slots: Sequence[int], windows: Sequence[KernelCross]
) -> Array:
    """The tokens `ids`, each at its position of the window in its slot, as :data:`TOKEN`."""
    made = np.zeros(len(ids), TOKEN)
    made["id"], made["position"], made["slot"] = ids, positions, slots
    made["stored"] = [window.stored for window in windows]
    made["cross"] = [window.memory.ctypes.data for window in windows]
    return made
