"""Cross-attention inputs of a window: keys and values of its positions and of the silence after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arrays import Array
from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import open_session, runtime_errors
from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.silence import BLOCK, Silence

Float32 = NDArray[np.float32]
BIAS = "cross_bias"
CLOSED = np.float32(-1e30)
"""Additive bias of stored positions that do not count."""


@dataclass(frozen=True, slots=True)
class Cross:
    """Cross-attention inputs of the decoder graph for one window, [1, ...] each; number of positions."""

    arrays: Mapping[str, Array]
    positions: int

    @property
    def stored(self) -> int:
        """Positions and states of silence that are stored, in whole blocks."""
        return int(self.arrays[BIAS].shape[3])


class CrossProjector:
    """`cross.onnx`: hidden states of one window and the silence after it to keys and values."""

    def __init__(self, folder: Path, provider: str, silence: Silence) -> None:
        opened = open_session(folder / "cross.onnx", provider=provider, options=graph_options(1))
        self._session, self.fallback = opened.session, opened.fallback
        self._names = [node.name for node in opened.session.get_outputs()]
        self._silence = silence

    def project(self, hidden: Float32) -> Cross:
        """Keys and values of `hidden` [positions, d_model]."""
        rows, bias = with_silence(hidden, self._silence)
        with runtime_errors("cross-attention"):
            made = self._session.run(self._names, {"hidden": rows[None]})
        return Cross(dict(zip(self._names, made, strict=True)) | {BIAS: bias}, len(hidden))


def with_silence(hidden: Float32, silence: Silence) -> tuple[Float32, Float32]:
    """`hidden` [positions, d_model] with states of silence and zeros up to whole blocks [stored, d_model].

    Also returns their bias [1, 1, 1, stored]: 0, ln(positions that a state represents), and
    :data:`CLOSED`.

    The silence starts with a new group of positions, so that attention to it is separate.
    """
    states, sizes = silence.behind(len(hidden))
    first = -(-len(hidden) // GROUP) * GROUP
    end = first + len(states)
    rows = np.zeros((-(-end // BLOCK) * BLOCK, hidden.shape[1]), np.float32)
    rows[: len(hidden)], rows[first:end] = hidden, states
    bias = np.full((1, 1, 1, len(rows)), CLOSED, np.float32)
    bias[..., : len(hidden)] = 0
    bias[..., first:end] = np.log(sizes)
    return rows, bias
