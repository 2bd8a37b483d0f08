"""From submitted windows to hidden states: log-mel, encoder jobs in flight, retries of a device's hiccups."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import RetryableError
from asr_batch.models.encoder import Encoder, EncoderJob
from asr_batch.models.recognizer import Samples
from asr_batch.models.whisper.silence import encoded_positions, features

Float32 = NDArray[np.float32]
_TRIES = 3
_AHEAD = 12  # windows encoded ahead, so that an NPU never waits for a full set of slots to decode
T = TypeVar("T")


@dataclass(slots=True)
class Ready(Generic[T]):
    """A window with its hidden states [positions, d_model], or with the sentence why it has none."""

    item: T
    hidden: Float32 | None
    backend: str = "cpu"
    flags: tuple[str, ...] = ()
    error: str | None = None


@dataclass(slots=True)
class _Queued(Generic[T]):
    item: T
    samples: Samples
    cpu: bool
    whole: bool


@dataclass(slots=True)
class _Flight(Generic[T]):
    items: list[_Queued[T]]
    log_mel: Float32
    job: EncoderJob
    tries: int = 1


class EncoderFeed(Generic[T]):
    """A queue of windows in front of an encoder of a model for `trained` positions. Items come out in the
    order in which they went in. Windows get as many positions as they need, or `fixed` ones.
    """

    def __init__(self, encoder: Encoder, trained: int, fixed: int | None = None) -> None:
        self._encoder, self._trained, self._fixed = encoder, trained, fixed
        self._waiting: deque[_Queued[T]] = deque()
        self._flights: deque[_Flight[T]] = deque()
        self._ready: deque[Ready[T]] = deque()

    def __len__(self) -> int:
        flying = sum(len(flight.items) for flight in self._flights)
        return len(self._waiting) + flying + len(self._ready)

    def put(self, item: T, samples: Samples, *, cpu: bool = False, whole: bool = False) -> None:
        """Queue a window, and start encoding when the encoder has room: its caller reads on meanwhile.

        `cpu`: it is not to be encoded on an NPU. `whole`: nor without all the silence that the model was
        trained to have behind it.
        """
        self._waiting.append(_Queued(item, samples, cpu or whole, whole))
        if len(self._waiting) >= self._encoder.max_batch:
            self._launch()

    def take(self) -> Ready[T] | None:
        """The next window with hidden states, waited for; None when nothing is queued.

        Waiting keeps the decoder's slots full: a step over few windows costs nearly as much as one over many.
        """
        self._launch()
        while not self._ready and self._flights:
            self._land(self._flights.popleft())
            self._launch()
        return self._ready.popleft() if self._ready else None

    def advance(self) -> None:
        """Collect what is encoded and start more, without waiting; called between decoder steps."""
        while self._flights and self._flights[0].job.done():
            self._land(self._flights.popleft())
        self._launch()

    def clear(self) -> None:
        """Forget everything that is queued; jobs in flight end unheard."""
        self._waiting.clear()
        self._flights.clear()
        self._ready.clear()

    def _launch(self) -> None:
        depth = max(1, self._encoder.depth)
        while (
            self._waiting
            and len(self._flights) < depth
            and len(self._flights) + len(self._ready) < max(depth, _AHEAD)
        ):
            count = min(self._encoder.max_batch, len(self._waiting))
            items = [self._waiting.popleft() for _ in range(count)]
            log_mel = self._features(items)
            self._flights.append(_Flight(items, log_mel, self._start(items, log_mel)))

    def _start(self, items: Sequence[_Queued[Any]], log_mel: Float32) -> EncoderJob:
        return self._encoder.start(log_mel, cpu=any(one.cpu for one in items))

    def encode(self, samples: Samples, *, whole: bool = False) -> Float32:
        """Hidden states [positions, d_model] of one window, beside the queue.

        `whole` as in :meth:`put`, where the encoder can.
        """
        one = [_Queued(None, samples, cpu=False, whole=whole and self._encoder.frames is None)]
        hidden: Float32 = self._start(one, self._features(one)).result()[0]
        return hidden

    def _features(self, items: Sequence[_Queued[Any]]) -> Float32:
        """Log-mel [batch, n_mels, frames] of windows, each continued with silence."""
        positions = max(map(self._positions, items))
        rows = [features(one.samples, self._encoder.n_mels, positions, self._trained) for one in items]
        return np.ascontiguousarray(rows)

    def _positions(self, one: _Queued[Any]) -> int:
        if self._fixed is not None:
            return self._fixed
        if one.whole:
            return self._trained
        if self._encoder.frames is None or one.cpu:
            return encoded_positions(len(one.samples), self._trained)
        return self._encoder.frames // 2

    def _land(self, flight: _Flight[T]) -> None:
        try:
            hidden = flight.job.result()
        except RetryableError as error:
            if flight.tries < _TRIES:
                again = self._start(flight.items, flight.log_mel)
                self._flights.appendleft(_Flight(flight.items, flight.log_mel, again, flight.tries + 1))
                return
            sentence = f"the encoder failed {_TRIES} times: {error}"
            self._ready.extend(Ready(one.item, None, error=sentence) for one in flight.items)
            return
        for one, log_mel, states in zip(flight.items, flight.log_mel, hidden, strict=True):
            broken = _broken(log_mel, states, flight.job.backend)
            hidden_or_none = None if broken else states
            self._ready.append(Ready(one.item, hidden_or_none, flight.job.backend, flight.job.flags, broken))


def _broken(log_mel: Float32, hidden: Float32, backend: str) -> str | None:
    """What is wrong with a window's numbers. Both ends are looked at: integers between them hide a NaN."""
    if not np.isfinite(log_mel).all():
        return "the audio holds NaN or infinity"
    if not np.isfinite(hidden).all():
        return f"the encoder ({backend}) gave NaN or infinity"
    return None
