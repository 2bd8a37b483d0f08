"""The graphs of a published Whisper folder: encoder, and decoder with a growing key-value cache.

A cache is a value: `prefill` makes one, `step` returns the next, `keep` selects rows. Arrays stay ONNX
Runtime values between steps, so nothing is copied through numpy per token. If a graph returns its
cross-attentions, they give each token's position in the window.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.calibration import packaged_clips
from asr_batch.models.onnx.sessions import Opened, Tensor, check_tensors, open_session, runtime_errors
from asr_batch.models.recognizer import LoadOptions
from asr_batch.models.whisper.alignment import GROUP, alignment_heads
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import average_silence

Float32 = NDArray[np.float32]
_FLOAT, _INT, _BOOL = "tensor(float)", "tensor(int64)", "tensor(bool)"
_PAST = re.compile(r"past_key_values\.(\d+)\.(decoder|encoder)\.(key|value)")


class PublishedEncoder:
    """`encoder_model*.onnx`: log-mel [batch, n_mels, frames] to hidden states.

    If a graph has a shorter window than the model was trained on (a 10 s encoder with a stock decoder),
    its hidden states are extended to the trained length with states of silence, measured when it opens.
    With nothing or zeros, the decoder would not recognise the end of the speech.
    """

    def __init__(self, path: Path, config: WhisperConfig, options: LoadOptions) -> None:
        opened = open_session(path, threads=options.threads, provider=options.provider)
        self._session = opened.session
        self.provider, self.fallback = opened.provider, opened.fallback
        check_tensors(
            path,
            "input",
            self._session.get_inputs(),
            {"input_features": Tensor(_FLOAT, (None, config.n_mels, None))},
            frozenset(),
        )
        check_tensors(
            path,
            "output",
            self._session.get_outputs(),
            {"last_hidden_state": Tensor(_FLOAT, (None, None, config.d_model))},
            frozenset(),
        )
        batch, _, frames = self._session.get_inputs()[0].shape
        self.frames = _window_frames(path, frames, config)
        self._single = batch == 1
        self._rest = self._silence(config)  # [missing positions of the window, d_model]

    def encode(self, log_mel: Float32) -> Float32:
        """Hidden states [batch, max_source_positions, d_model] of `log_mel` [batch, n_mels, frames]."""
        hidden = self._own_states(log_mel)
        if not len(self._rest):
            return hidden
        return np.concatenate([hidden, np.broadcast_to(self._rest, (len(hidden), *self._rest.shape))], axis=1)

    def _own_states(self, log_mel: Float32) -> Float32:
        parts = np.split(log_mel, len(log_mel)) if self._single else [log_mel]
        with runtime_errors("encoder"):
            hidden = [self._session.run(["last_hidden_state"], {"input_features": p})[0] for p in parts]
        return hidden[0] if len(hidden) == 1 else np.concatenate(hidden)

    def _silence(self, config: WhisperConfig) -> Float32:
        """The mean state after speech in the window's second half, for every missing position."""
        positions = self.frames // 2
        missing = config.max_source_positions - positions
        if not missing:
            return np.zeros((0, config.d_model), np.float32)

        def encode(log_mel: Float32) -> Float32:
            return np.asarray(self._own_states(log_mel[None])[0])

        table = average_silence(encode, packaged_clips()[::4], config.n_mels, positions)
        return np.repeat(table[len(table) // 2 :].mean(axis=0, keepdims=True), missing, axis=0)


def _window_frames(path: Path, frames: Any, config: WhisperConfig) -> int:
    """Log-mel frames of a window: of the graph, else the preprocessor, else the trained length."""
    trained = 2 * config.max_source_positions
    if not isinstance(frames, int):
        frames = min(config.nb_max_frames or trained, trained)
    if not 2 <= frames <= trained or frames % 2:
        raise ModelError(
            f"{path}: a window of {frames} log-mel frames; expected an even number up to the {trained} that "
            "max_source_positions in config.json allows"
        )
    return int(frames)


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of the running windows by input name, and how many tokens each row holds."""

    values: Mapping[str, ort.OrtValue]
    length: int


class CachedDecoder:
    """A decoder of one or two graphs; `prefill` and `step` return logits of the running windows.

    `listened` [batch, groups]: the mean attention of the alignment heads in the last call, for the last
    token, in groups of :data:`GROUP` positions; None without cross-attentions.
    """

    def __init__(self, first: Opened, past: Opened, merged: bool, config: WhisperConfig) -> None:
        self._first, self._past = first.session, past.session
        self._merged = merged
        self._config = config
        self.fallback = first.fallback or past.fallback
        self._names = [i.name for i in self._past.get_inputs() if _PAST.fullmatch(i.name)]
        self._attentions = frozenset(o.name for o in self._first.get_outputs())
        self._heads = alignment_heads(config)
        layers = sorted({layer for layer, _ in self._heads})
        both = self._attentions & {o.name for o in self._past.get_outputs()}
        self._followed = layers if both.issuperset(map(_attention, layers)) else []
        self._attended = [_attention(layer) for layer in self._followed]
        self.listened: Float32 | None = None
        self._extra = {i.name for s in (self._first, self._past) for i in s.get_inputs()}

    def prefill(self, ids: NDArray[np.int64], hidden: Float32) -> tuple[Float32, Cache]:
        """Logits [batch, len, vocab] of the prompts `ids` [batch, len] over `hidden`, and their cache."""
        logits, cache, weights = self._prefill(ids, hidden, self._attended)
        self._listen(weights)
        return logits, cache

    def has_attention(self, layers: Iterable[int]) -> bool:
        """Whether the graph returns the cross-attention of these layers."""
        return self._attentions.issuperset(_attention(layer) for layer in layers)

    def attention(
        self, ids: NDArray[np.int64], hidden: Float32, heads: Sequence[tuple[int, int]]
    ) -> Float32 | None:
        """Cross-attention [heads, len, positions] of one sequence `ids` [1, len]; None if it has none."""
        layers = sorted({layer for layer, _ in heads})
        if not self.has_attention(layers):
            return None
        _, _, values = self._prefill(ids, hidden, [_attention(layer) for layer in layers])
        by_layer = dict(zip(layers, values, strict=True))
        return np.stack([by_layer[layer][0, head] for layer, head in heads])

    def _prefill(
        self, ids: NDArray[np.int64], hidden: Float32, more: Sequence[str]
    ) -> tuple[Float32, Cache, list[Float32]]:
        feeds = {"input_ids": ids, "encoder_hidden_states": hidden, **self._positions_from(0, ids.shape[1])}
        if self._merged:
            heads, width = self._config.decoder_heads, self._config.head_dim
            empty = np.zeros((len(ids), heads, 1, width), np.float32)  # ignored by this branch
            feeds |= dict.fromkeys(self._names, empty) | {"use_cache_branch": np.array([False])}
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(v)) for name, v in feeds.items()
        }
        outputs = ["logits", *more, *(_present(name) for name in self._names)]
        with runtime_errors("decoder"):
            logits, *others = self._first.run_with_ort_values(outputs, values)
        cache = dict(zip(self._names, others[len(more) :], strict=True))
        if self._merged:
            cache["encoder_hidden_states"] = values["encoder_hidden_states"]
        return logits.numpy(), Cache(cache, ids.shape[1]), [v.numpy() for v in others[: len(more)]]

    def step(self, ids: NDArray[np.int64], cache: Cache) -> tuple[Float32, Cache]:
        """Logits [batch, vocab] after the tokens `ids` [batch, 1]; extends the cache."""
        feeds: dict[str, Any] = {"input_ids": ids, **self._positions_from(cache.length, 1)}
        if self._merged:
            feeds["use_cache_branch"] = np.array([True])
        values = {name: ort.OrtValue.ortvalue_from_numpy(v) for name, v in feeds.items()} | dict(cache.values)
        growing = [name for name in self._names if ".decoder." in name]  # cross-attention keys stay the same
        outputs = ["logits", *self._attended, *(_present(name) for name in growing)]
        with runtime_errors("decoder"):
            logits, *others = self._past.run_with_ort_values(outputs, values)
        more = len(self._attended)
        grown = others[more:]
        self._listen([value.numpy() for value in others[:more]])
        longer = {**cache.values, **dict(zip(growing, grown, strict=True))}
        return logits.numpy()[:, -1], Cache(longer, cache.length + 1)

    def _listen(self, weights: Sequence[Float32]) -> None:
        """Store the alignment heads' attention of the last token; `weights` [batch, heads, new,
        positions].
        """
        if not self._followed:
            return
        by_layer = dict(zip(self._followed, weights, strict=True))
        mean = np.mean([by_layer[layer][:, head, -1] for layer, head in self._heads], axis=0)
        missing = -mean.shape[1] % GROUP
        grouped = np.pad(mean, ((0, 0), (0, missing))).reshape(len(mean), -1, GROUP)
        self.listened = grouped.sum(axis=2, dtype=np.float32)

    def _positions_from(self, start: int, count: int) -> dict[str, NDArray[np.int64]]:
        if "cache_position" not in self._extra:
            return {}
        return {"cache_position": np.arange(start, start + count, dtype=np.int64)}


def keep_rows(cache: Cache, rows: Sequence[int]) -> Cache:
    """Keep only the cache rows of the windows at `rows`."""
    picked = {
        name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value.numpy()[list(rows)]))
        for name, value in cache.values.items()
    }
    return Cache(picked, cache.length)


def _attention(layer: int) -> str:
    return f"cross_attentions.{layer}"


def _present(past: str) -> str:
    return past.replace("past_key_values", "present")


def open_decoder(
    merged: Path | None, first: Path | None, past: Path | None, config: WhisperConfig, options: LoadOptions
) -> CachedDecoder:
    """Open one merged graph, or the pair. Raises ModelError if a tensor does not match the config."""
    if merged is not None:
        opened = open_session(merged, threads=options.threads, provider=options.provider)
        _check(merged, opened.session, config, cached=True, branch=True)
        return CachedDecoder(opened, opened, True, config)
    assert first is not None
    assert past is not None
    opened = open_session(first, threads=options.threads, provider=options.provider)
    second = open_session(past, threads=options.threads, provider=options.provider)
    _check(first, opened.session, config, cached=False, branch=False)
    _check(past, second.session, config, cached=True, branch=False)
    return CachedDecoder(opened, second, False, config)


def _check(
    path: Path, session: ort.InferenceSession, config: WhisperConfig, *, cached: bool, branch: bool
) -> None:
    hidden = {"encoder_hidden_states": Tensor(_FLOAT, (None, None, config.d_model))}
    inputs = {"input_ids": Tensor(_INT, (None, None)), "cache_position": Tensor(_INT, (None,))}
    inputs |= hidden if branch or not cached else {}
    inputs |= _cache_tensors(config, "past_key_values") if cached else {}
    inputs |= {"use_cache_branch": Tensor(_BOOL, (1,))} if branch else {}
    check_tensors(path, "input", session.get_inputs(), inputs, frozenset({"cache_position"}))
    outputs = {"logits": Tensor(_FLOAT, (None, None, config.vocab_size))} | _cache_tensors(config, "present")
    fixed = frozenset(name for name in outputs if cached and not branch and ".encoder." in name)
    check_tensors(path, "output", session.get_outputs(), outputs, fixed)


def _cache_tensors(config: WhisperConfig, prefix: str) -> dict[str, Tensor]:
    shape = (None, config.decoder_heads, None, config.head_dim)
    return {
        f"{prefix}.{layer}.{side}.{kind}": Tensor(_FLOAT, shape)
        for layer in range(config.decoder_layers)
        for side in ("decoder", "encoder")
        for kind in ("key", "value")
    }
