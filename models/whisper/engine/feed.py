"""Turns submitted windows into cross-attention inputs: log-mel, encoder, projection; retries NPU errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import RetryableError
from asr_batch.models.encoder import Encoder, EncoderJob
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.engine.encoder import CpuEncoder, CpuWork
from asr_batch.models.whisper.engine.recent import Recent
from asr_batch.models.whisper.silence import encoded_positions, features

Float32 = NDArray[np.float32]
_TRIES = 3
_AHEAD = 12  # windows that an NPU encodes ahead, so that it never waits for a full set of slots
_NOTHING = np.zeros(0, np.float32)
T = TypeVar("T")
H = TypeVar("H")


@dataclass(slots=True)
class Ready(Generic[T, H]):
    """A window with its cross-attention inputs, or with an error message."""

    item: T
    heard: H | None
    backend: str = "cpu"
    flags: tuple[str, ...] = ()
    error: str | None = None


@dataclass(slots=True)
class _Queued(Generic[T]):
    item: T
    samples: Samples
    cpu: bool
    whole: bool
    again: bool = False


class _Flight(Protocol[T, H]):
    """Windows being encoded."""

    def done(self) -> bool:
        """Whether `land` returns without waiting."""

    def land(self) -> list[Ready[T, H]]:
        """The encoded windows. Raises WorkerFatalError."""


@dataclass(slots=True)
class _Here(Generic[T, H]):
    """A window on a thread of this process."""

    work: CpuWork[Ready[T, H]]

    def done(self) -> bool:
        return self.work.done()

    def land(self) -> list[Ready[T, H]]:
        return [self.work.result()]


@dataclass(slots=True)
class _Away(Generic[T, H]):
    """Windows on a device."""

    items: list[_Queued[T]]
    log_mel: Float32
    start: Callable[[Float32], EncoderJob]
    project: Callable[[Float32], H]
    job: EncoderJob

    def done(self) -> bool:
        return self.job.done()

    def land(self) -> list[Ready[T, H]]:
        for _ in range(_TRIES):
            try:
                hidden = self.job.result()
                break
            except RetryableError as error:
                sentence = f"the encoder failed {_TRIES} times: {error}"
                self.job = self.start(self.log_mel)
        else:
            return [Ready(one.item, None, error=sentence) for one in self.items]
        return [
            _ready(one.item, log_mel, states, self.project, self.job.backend, self.job.flags)
            for one, log_mel, states in zip(self.items, self.log_mel, hidden, strict=True)
        ]


class EncoderFeed(Generic[T, H]):
    """A queue of windows, in order, in front of an encoder for a model with `trained` positions.

    Windows get as many positions as they need, or `fixed` ones. `project` turns the hidden states
    [positions, d_model] of a window into cross-attention inputs.
    """

    def __init__(
        self, encoder: Encoder, trained: int, project: Callable[[Float32], H], fixed: int | None = None
    ) -> None:
        self._encoder, self._trained, self._project, self._fixed = encoder, trained, project, fixed
        self._ahead = encoder.depth if isinstance(encoder, CpuEncoder) else max(encoder.depth, _AHEAD)
        self._waiting: deque[_Queued[T]] = deque()
        self._flights: deque[_Flight[T, H]] = deque()
        self._flying = 0
        self._ready: deque[Ready[T, H]] = deque()
        self._recent = Recent()

    def __len__(self) -> int:
        return len(self._waiting) + self._flying + len(self._ready)

    def put(
        self, item: T, samples: Samples, *, cpu: bool = False, whole: bool = False, again: bool = False
    ) -> None:
        """Queue a window, and start encoding if the encoder has room, while the caller reads on.

        `cpu`: do not encode on an NPU. `whole`: encode all the silence that the model was trained with, on
        the CPU. `again`: keep the states, as the window may come once more.
        """
        self._waiting.append(_Queued(item, samples, cpu or whole, whole, again))
        if len(self._waiting) >= self._encoder.max_batch:
            self._launch()

    def take(self, *, wait: bool = True) -> Ready[T, H] | None:
        """The next window with its cross-attention inputs; None if the queue is empty, or none is encoded.

        Waiting keeps the decoder's slots full: a step over few windows costs nearly as much as one over
        many.
        """
        self._launch()
        while wait and not self._ready and self._flights:
            self._land()
            self._launch()
        return self._ready.popleft() if self._ready else None

    def advance(self) -> None:
        """Collect encoded windows and start others, without waiting; called between decoder steps."""
        while self._flights and self._flights[0].done():
            self._land()
        self._launch()

    def clear(self) -> None:
        """Drop the queue; results of running jobs are ignored."""
        self._waiting.clear()
        self._flights.clear()
        self._ready.clear()
        self._recent.clear()
        self._flying = 0

    def _launch(self) -> None:
        depth = max(1, self._encoder.depth)
        while (
            self._waiting
            and len(self._flights) < depth
            and len(self._flights) + len(self._ready) < max(depth, self._ahead)
        ):
            count = min(self._encoder.max_batch, len(self._waiting))
            items = [self._waiting.popleft() for _ in range(count)]
            self._flying += count
            self._flights.append(self._start(items))

    def _start(self, items: list[_Queued[T]]) -> _Flight[T, H]:
        if isinstance(self._encoder, CpuEncoder):
            (one,) = items
            return _Here(self._encoder.work(partial(self._hear, self._encoder, one)))
        start = partial(self._encoder.start, cpu=any(one.cpu for one in items))
        log_mel = self._features(items)
        return _Away(items, log_mel, start, self._project, start(log_mel))

    def _hear(self, encoder: CpuEncoder, one: _Queued[T]) -> Ready[T, H]:
        """Encode and project a window, on a thread of the encoder."""
        log_mel, hidden = self._states(encoder, one)
        return _ready(one.item, log_mel, hidden, self._project)

    def _states(self, encoder: CpuEncoder, one: _Queued[T] | _Queued[None]) -> tuple[Float32, Float32]:
        """Log-mel (empty if the states are still kept) and hidden states of a window."""
        known = self._recent.find(one.samples, self._positions(one))
        if known is not None:
            return _NOTHING, known
        log_mel = self._features([one])
        hidden = encoder.encode(log_mel)[0]
        if one.again and np.isfinite(log_mel).all():
            self._recent.keep(one.samples, hidden)
        return log_mel[0], hidden

    def encode(
        self, windows: Sequence[Samples], *, whole: bool = False, meanwhile: Callable[[], bool] = bool
    ) -> list[Float32]:
        """Hidden states [positions, d_model] of windows, outside the queue and in parallel.

        `whole` as in :meth:`put`, if the encoder supports it. Until they are there, `meanwhile` does other
        work, piece by piece; False: there is none, or it would take a core from the encoder.
        """
        full = whole and self._encoder.frames is None
        asked = [_Queued(None, samples, cpu=False, whole=full, again=not full) for samples in windows]
        jobs = [self._encoding(one) for one in asked]
        found = []
        for done, states in jobs:
            while not done() and meanwhile():
                pass
            found.append(states())
        return found

    def _encoding(self, one: _Queued[None]) -> tuple[Callable[[], bool], Callable[[], Float32]]:
        """Start to encode a window; whether it is done, and what waits for its hidden states."""
        if isinstance(self._encoder, CpuEncoder):
            work = self._encoder.work(partial(self._states, self._encoder, one))
            return work.done, lambda: work.result()[1]
        job = self._encoder.start(self._features([one]))
        return job.done, lambda: job.result()[0]

    def _features(self, items: Sequence[_Queued[T] | _Queued[None]]) -> Float32:
        """Log-mel [batch, n_mels, frames] of windows, each padded with silence."""
        positions = max(map(self._positions, items))
        rows = [features(one.samples, self._encoder.n_mels, positions, self._trained) for one in items]
        return np.ascontiguousarray(rows)

    def _positions(self, one: _Queued[T] | _Queued[None]) -> int:
        if self._fixed is not None:
            return self._fixed
        if one.whole:
            return self._trained
        if self._encoder.frames is None or one.cpu:
            return encoded_positions(len(one.samples), self._trained)
        return self._encoder.frames // 2

    def _land(self) -> None:
        landed = self._flights.popleft().land()
        self._flying -= len(landed)
        self._ready.extend(landed)


def _ready(
    item: T,
    log_mel: Float32,
    hidden: Float32,
    project: Callable[[Float32], H],
    backend: str = "cpu",
    flags: tuple[str, ...] = (),
) -> Ready[T, H]:
    """A window with its values, if both ends are finite; integers in between hide a NaN."""
    if not np.isfinite(log_mel).all():
        return Ready(item, None, backend, flags, "the audio contains NaN or infinity")
    if not np.isfinite(hidden).all():
        return Ready(item, None, backend, flags, f"the encoder ({backend}) returned NaN or infinity")
    return Ready(item, project(hidden), backend, flags)
