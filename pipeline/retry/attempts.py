"""Further decodings of the windows of a track side by side: requests out, results in, in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.records import DecodedWindow, Stretch
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.thresholds import AT_ONCE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecodedTrack:
    """A track whose windows have all been decoded once.

    `end`: second of the file where it ended; `threshold`: the audit's; `budget`: seconds of audio that may
    be decoded again, besides its gaps.
    """

    stretch: Stretch
    end: float
    windows: list[DecodedWindow]
    threshold: float
    budget: float

    def reader(self) -> Rereader:
        """Reads its samples once more."""
        stretch = self.stretch
        return Rereader(stretch.source, stretch.start, self.end, stretch.channel, stretch.track)


class Attempts(ABC, Generic[T]):
    """Runs at most `AT_ONCE` attempts at a time, each a generator of requests that returns a `T`."""

    def __init__(self, track: DecodedTrack) -> None:
        self.finished = False
        self._track = track
        self._waiting: deque[int] = deque()
        self._running: dict[int, Generator[DecodeRequest, WindowResult, T]] = {}
        self._requests: list[tuple[int, DecodeRequest]] = []
        self._reader: Rereader | None = None

    @abstractmethod
    def _attempt(self, index: int, reader: Rereader) -> Generator[DecodeRequest, WindowResult, T]:
        """The attempt at a window, whose samples it reads."""

    @abstractmethod
    def _take(self, index: int, found: T) -> None:
        """Keep what an attempt returned."""

    @abstractmethod
    def _go_on(self) -> None:
        """Begin what follows, or finish, when all attempts have ended."""

    def requests(self) -> list[tuple[int, DecodeRequest]]:
        """Decodings that can start now, each with the index of its window; each is returned once."""
        requests, self._requests = self._requests, []
        return requests

    def give(self, index: int, result: WindowResult) -> None:
        """Pass a result to the attempt that requested it. Raises ItemError if the audio cannot be read."""
        self._send(index, result)
        self._start()
        if not self._running:
            self._go_on()

    def close(self) -> None:
        """Release the file."""
        for running in self._running.values():
            running.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _begin(self, indices: Iterable[int]) -> None:
        """Start an attempt at each of these windows, in order of time, as soon as it may run."""
        self.close()  # the audio is read from the beginning
        self._waiting.extend(indices)
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            index = self._waiting.popleft()
            if self._reader is None:
                self._reader = self._track.reader()
            self._running[index] = self._attempt(index, self._reader)
            self._send(index, None)

    def _send(self, index: int, result: WindowResult | None) -> None:
        running = self._running[index]
        try:
            request = next(running) if result is None else running.send(result)
        except StopIteration as stop:
            del self._running[index]
            self._take(index, stop.value)
            return
        self._ask(index, request)

    def _ask(self, index: int, request: DecodeRequest) -> None:
        self._requests.append((index, request))
