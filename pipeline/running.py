"""The windows of a track that are being decoded: their requests, and the results that each waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.decoding import Decoding
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.requests import DecodeRequest

Key = tuple[int, int]
"""Of a request: the index of its window, and its place among those that the window waits for."""

RETRY = -1
"""Place of a request of the retries, which have one per window."""

EARLY = -2
"""Place of a request that the retries will make."""


@dataclass(slots=True)
class _Open:
    decoding: Decoding
    results: list[WindowResult | None]


class Running:
    """Decodings of windows by index, and the queue of requests that can start."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._ready: deque[tuple[Key, DecodeRequest]] = deque()

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def waits(self) -> bool:
        """Whether no request can start."""
        return not self._ready

    def start(self, index: int, decoding: Decoding) -> None:
        """Queue the first requests of a window."""
        self._open[index] = _Open(decoding, [])
        self._ask(index, next(decoding))

    def retry(self, requests: Iterable[tuple[int, DecodeRequest]], place: int = RETRY) -> None:
        """Queue requests of the retries, or early ones."""
        self._ready += (((index, place), request) for index, request in requests)

    def pull(self) -> tuple[Key, DecodeRequest]:
        """The next request that can start."""
        return self._ready.popleft()

    def give(self, key: Key, result: WindowResult) -> Outcome | None:
        """Pass a result to its window, which continues once all are there; the outcome if it has ended."""
        index, place = key
        window = self._open[index]
        window.results[place] = result
        complete = [one for one in window.results if one is not None]
        if len(complete) == len(window.results):
            try:
                self._ask(index, window.decoding.send(complete))
            except StopIteration as stop:
                del self._open[index]
                outcome: Outcome = stop.value
                return outcome
        return None

    def _ask(self, index: int, asked: Sequence[DecodeRequest]) -> None:
        self._open[index].results = [None] * len(asked)
        self._ready += (((index, place), request) for place, request in enumerate(asked))
