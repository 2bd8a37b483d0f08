"""The decoder of the slots: the graphs of a bundle, or the kernels that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arrays import Array
from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.sessions import open_session
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.buffers import Buffers, Stepper
from asr_batch.models.whisper.engine.cross import Cross, CrossProjector
from asr_batch.models.whisper.engine.kernel import AnyKernel, KernelProjector, KernelStepper, kernel_listener
from asr_batch.models.whisper.engine.vocabulary import VocabularyGraphs
from asr_batch.models.whisper.kernels.opening import open_decoder_kernel
from asr_batch.models.whisper.silence import Silence, read_silence

Float32 = NDArray[np.float32]

Listener = Callable[[Any, Sequence[int]], tuple[Float32, Float32]]
"""Feeds tokens to one window; returns the alignment heads' weights [heads, tokens, stored] and logits
[tokens, vocab].
"""


class Heard(Protocol):
    """Cross-attention inputs of a window: `positions` of the window itself, `stored` including silence."""

    @property
    def positions(self) -> int:
        """Positions of the window."""

    @property
    def stored(self) -> int:
        """Positions including the states of silence."""


class Projector(Protocol):
    """Projects hidden states to cross-attention keys and values."""

    def project(self, hidden: Float32) -> Heard:
        """Keys and values of `hidden` [positions, d_model] and the silence after them."""


class SlotBuffers(Protocol):
    """The caches of several slots; see :class:`Buffers`."""

    slots: int

    def put(self, slot: int, cross: Any) -> None:
        """Set the cross-attention inputs of `slot`."""

    def drop(self, slot: int) -> None:
        """Release the cross-attention inputs of a `slot` without a window."""

    def cross_of(self, slot: int) -> Heard:
        """The cross-attention inputs of `slot`."""

    def fit(self, stored: int) -> None:
        """Store as many positions as the longest window needs."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copy slot `source` with `length` tokens over slot `target`."""

    def reorder(self, rows: Sequence[int], length: int) -> None:
        """Slot i gets the self-attention cache of slot rows[i]."""


class Steps(Protocol):
    """Steps over slots; see :class:`Stepper`."""

    attended: Float32

    @property
    def buffers(self) -> SlotBuffers:
        """The slots' caches."""

    def step(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        pool: Executor | None = None,
        pieces: int = 1,
        places: Sequence[int] | None = None,
    ) -> None:
        """Feed one token to each of the first slots, or tokens to the slots `places`, if the decoder can."""

    def prefill(self, slot: int, ids: Sequence[int]) -> Any:
        """Feed the tokens `ids` to an empty slot at once."""


class Decoder(Protocol):
    """The decoder of a bundle.

    `beside`: rows that pay besides one for each window, because rows of a window share its keys and values.
    """

    fallback: bool
    arithmetic: str
    beside: int
    projector: Projector

    def steps(self, slots: int, capacity: int, states: Array) -> Steps:
        """New slots for `capacity` tokens each; a step writes `states` [slots, d_model]."""

    def listener(self, threads: int) -> Listener:
        """The source of attention for word times."""


def open_decoder(folder: Path, config: WhisperConfig, vocabulary: VocabularyGraphs, provider: str) -> Decoder:
    """The kernels if the processor supports them, else the graphs. Raises ModelError."""
    silence = read_silence(folder, config.d_model, config.max_source_positions)
    kernel = open_decoder_kernel(folder, config, provider)
    if kernel is not None:
        return _Kernels(kernel, vocabulary, silence)
    return _Graphs(folder, silence, provider)


class _Graphs:
    """`decoder.onnx`, `cross.onnx` and `decoder_words.onnx`."""

    arithmetic = "graphs"
    beside = 0

    def __init__(self, folder: Path, silence: Silence, provider: str) -> None:
        opened = open_session(folder / "decoder.onnx", provider=provider, options=graph_options(1))
        self._session, self.fallback = opened.session, opened.fallback
        self._folder = folder
        self.projector: Projector = CrossProjector(folder, provider, silence)

    def steps(self, slots: int, capacity: int, states: Array) -> Steps:
        return Stepper(self._session, Buffers(self._session, slots, capacity), states)

    def listener(self, threads: int) -> Listener:
        path, options = self._folder / "decoder_words.onnx", graph_options(threads)
        session = open_session(path, provider="cpu", options=options).session

        def listen(cross: Cross, fed: Sequence[int]) -> tuple[Float32, Float32]:
            stepper = Stepper(session, Buffers(session, 1, len(fed)))
            stepper.buffers.put(0, cross)
            outputs = stepper.prefill(0, fed)
            return outputs["attention"][0], outputs["logits"][0]

        return listen


class _Kernels:
    """The functions of `kernels/c`, or the same in numpy."""

    fallback = False
    arithmetic = "kernels"
    beside = 8

    def __init__(self, kernel: AnyKernel, vocabulary: VocabularyGraphs, silence: Silence) -> None:
        self._kernel, self._vocabulary = kernel, vocabulary
        self.projector: Projector = KernelProjector(kernel, silence)

    def steps(self, slots: int, capacity: int, states: Array) -> Steps:
        return KernelStepper(self._kernel, slots, capacity, states)

    def listener(self, threads: int) -> Listener:
        return kernel_listener(self._kernel, self._vocabulary)
