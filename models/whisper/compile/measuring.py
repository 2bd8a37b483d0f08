"""Measurements before a bundle is written: states of silence, and layers that need a scale per row.

Both use the full encoder on recordings padded to the full length, in float64: in float32, libraries on two
processors differ in the sixth digit, and with it the hash of a model that is compiled on each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx.products import product
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.compile.weights import Source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import average_silence

Float32 = NDArray[np.float32]
Double = NDArray[np.float64]
_SPIKE = 4.0
"""Ratio of a window's largest value to that of its median row from which a layer gets a scale per row. Of
Whisper-base's six layers, three have 4 to 22; of tiny's four, one has 13; all others have at most 3.
"""
_BLOCK, _QUERIES = 1 << 15, 256  # elements of GELU and queries at once, so that they stay in the cache
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


@dataclass(frozen=True, slots=True)
class Measured:
    """States of silence [groups, d_model], and encoder layers with outliers before their last product."""

    silence: Float32
    spiky: frozenset[int]


def measure(source: Source, config: WhisperConfig, recordings: Iterable[Samples]) -> Measured:
    """Run the encoder of `source` over the recordings."""
    ratios: list[list[float]] = []

    def encode(log_mel: Float32) -> Double:
        hidden, peaks = TrueEncoder(source, config).run(log_mel)
        ratios.append([float(one.max() / max(np.median(one), 1e-6)) for one in peaks])
        return hidden

    silence = average_silence(encode, recordings, config.n_mels, config.max_source_positions)
    spikes = np.median(ratios, axis=0)
    return Measured(silence, frozenset(np.flatnonzero(spikes > _SPIKE).tolist()))


class TrueEncoder:
    """The encoder in float64; its weights are converted when they are needed, because all would take twice
    the memory of the model.
    """

    def __init__(self, source: Source, config: WhisperConfig) -> None:
        self._source, self._config = source, config

    def run(self, log_mel: Float32) -> tuple[Double, list[Double]]:
        """Hidden states [positions, d_model] of `log_mel` [n_mels, 2 * positions], and for each layer the
        largest value of each position before its last product.
        """
        config, x, peaks = self._config, log_mel.T.astype(np.float64), list[Double]()
        x = _gelu(self._convolved("encoder.conv1", x, 1))
        x = _gelu(self._convolved("encoder.conv2", x, 2))
        shape = config.max_source_positions, config.d_model
        x += self._source.get("encoder.embed_positions.weight", *shape)[: len(x)]
        for i in range(config.encoder_layers):
            name = f"encoder.layers.{i}"
            x += self._attention(f"{name}.self_attn", self._norm(f"{name}.self_attn_layer_norm", x))
            wide = self._linear(f"{name}.fc1", self._norm(f"{name}.final_layer_norm", x), config.encoder_ffn)
            peaks.append(_gelu(wide).max(axis=1))
            x += self._linear(f"{name}.fc2", wide, config.d_model)
        return self._norm("encoder.layer_norm", x), peaks

    def _convolved(self, name: str, x: Double, stride: int) -> Double:
        d, width = self._config.d_model, x.shape[1]
        weight = self._source.get(f"{name}.weight", d, width, 3).astype(np.float64)
        padded = np.pad(x, ((1, 1), (0, 0)))
        made = sum(product(padded[i : len(x) + i : stride], weight[:, :, i].T) for i in range(3))
        return np.asarray(made + self._source.get(f"{name}.bias", d))

    def _linear(self, name: str, x: Double, width: int, *, bias: bool = True) -> Double:
        made = product(x, self._source.get(f"{name}.weight", width, x.shape[1]).astype(np.float64).T)
        if bias:
            made += self._source.get(f"{name}.bias", width)
        return np.asarray(made)

    def _norm(self, name: str, x: Double) -> Double:
        d = x.shape[1]
        away = x - x.mean(axis=1, keepdims=True)
        away /= np.sqrt((away**2).mean(axis=1, keepdims=True) + 1e-5)
        made = away * self._source.get(f"{name}.weight", d) + self._source.get(f"{name}.bias", d)
        return np.asarray(made)

    def _attention(self, name: str, x: Double) -> Double:
        d, heads = x.shape[1], self._config.encoder_heads
        parts = (self._linear(f"{name}.{kind}_proj", x, d, bias=kind != "k") for kind in "qkv")
        query, key, value = (part.reshape(len(x), heads, -1).transpose(1, 0, 2) for part in parts)
        sums = [_attended(*one) for one in zip(query, key, value, strict=True)]
        return self._linear(f"{name}.out_proj", np.hstack(sums), d)


def _attended(query: Double, key: Double, value: Double) -> Double:
    """Attention of one head, [positions, width] each."""
    query, made = query * query.shape[1] ** -0.5, np.empty(query.shape)
    key, value = np.ascontiguousarray(key.T), np.ascontiguousarray(value)
    for at in range(0, len(query), _QUERIES):
        scores = product(query[at : at + _QUERIES], key)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        made[at : at + _QUERIES] = product(scores, value) / scores.sum(axis=1, keepdims=True)
    return made


def _gelu(x: Double) -> Double:
    """GELU of `x`, in place, with erf within 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    flat = x.reshape(-1)
    for at in range(0, flat.size, _BLOCK):
        some = flat[at : at + _BLOCK]
        some *= 0.5
        half = np.abs(some)
        t = 1 / (1 + 0.3275911 * 2**0.5 * half)
        missing = np.polyval(_ERF, t) * t * np.exp(-2 * half * half)
        some += half * (1 - missing)
    return x
